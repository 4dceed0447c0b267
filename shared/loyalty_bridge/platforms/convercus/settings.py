"""Settings of Convercus: how its events are mapped, and how its API is called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import LoyaltySettings, Name

if TYPE_CHECKING:
    from loyalty_bridge.platforms.form import Group


CLIENT_SECRET, PASSWORD = "convercus_client_secret", "convercus_password"

_CALL = re.compile(
    r"(?P<method>GET|POST|PUT|PATCH|DELETE) "
    r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~-]+|\{[a-z_]+\}))+/?(\?[A-Za-z0-9_=&.,-]+)?"
)
_PLACE = re.compile(r"\{([a-z_]+)\}")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")

HeaderText = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{0,200}\Z")]
WriteField = Literal[
    "couponId", "validFrom", "validTo", "accountCouponId", "code",
    "bookingType", "bookingTypeCode", "points", "reason", "referenceId", "bookingId", "type", "flag",
]  # fmt: skip
"""A field of what an action sends, or of the answer to it."""


class ConvercusRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program decides about its Convercus events.

    Attributes
    ----------
    default_currency
        ISO 4217 letters for a transaction that names no currency; None refuses its purchase.
    default_country
        ISO 3166-1 alpha-2 country of phone numbers without ``+`` whose member names no country.
    opt_in_without_record
        What an opt-in list that names none of `email_optins` says: ``subscribed``, or nothing (``untouched``).
    email_optins
        Opt-in types that stand for e-mail; case and punctuation do not matter.
    excluded_fields
        Fields of events that are not sent, where the mapping does not name them; case and punctuation do not matter.
    """

    default_currency: str | None = None
    default_country: str | None = None
    opt_in_without_record: Literal["subscribed", "untouched"] = "subscribed"
    email_optins: tuple[str, ...] = (
        "email",
        "email consent",
        "email marketing",
        "email newsletter",
        "email optin",
        "newsletter",
        "newsletter email",
    )
    excluded_fields: tuple[str, ...] = ()


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Method and path of each call; what is in braces is filled in. A fixed query may follow."""

    oauth: str = "POST /realms/{realm}/protocol/openid-connect/token"
    login: str = "POST /auth/login"
    assign_coupon: str = "POST /v2/accounts/{account_id}/accountcoupons"
    coupon_code: str = "GET /v2/accountcoupons/{account_coupon_id}/code"
    create_booking: str = "POST /accounts/{account_id}/bookings"
    bookings: str = "GET /accounts/{account_id}/bookings"
    memberships: str = "GET /accounts/{account_id}/memberships"
    set_optins: str = "PATCH /accounts/{account_id}/memberships/{user_id}/optins"
    account_details: str = "GET /v3/accountdetails/{account_id}"
    account_coupons: str = "GET /v2/accounts/{account_id}/accountcoupons"

    def __post_init__(self) -> None:
        for name, usual in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if (value := getattr(self, name)) != usual:
                _check_call(name, value, usual)


def _check_call(name: str, value: str, usual: str) -> None:
    match = _CALL.fullmatch(value)
    if not match:
        raise ValueError(f"{name}: is not a method and a path")
    if set(_PLACE.findall(value)) != set(_PLACE.findall(usual)):
        raise ValueError(f"{name}: must fill in the same as {usual}")
    # What is read is repeated freely.
    if (match["method"] == "GET") != usual.startswith("GET "):
        raise ValueError(f"{name}: must " + ("" if usual.startswith("GET ") else "not ") + "be a GET")


class ConvercusApi(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's Convercus is reached.

    Attributes
    ----------
    base_url
        Such as ``https://api.convercus.io``; empty: no action and no look-up is possible.
    auth
        ``oauth``: client credentials at the realm of the program; ``login``: user name and password.
    auth_url
        Such as ``https://auth.convercus.io``, with ``oauth``.
    realm
        The program's, with ``oauth``; on staging it ends in ``-staging``.
    org, user_name
        With ``login``.
    interaction_id
        The registered point of interaction in whose name the bridge acts.
    id_type
        What the account ids are that Braze gives: ``ID``, ``CARDCODE``, ``APPCODE``.
    burn_points
        Whether the points of a BURNBOOKING are sent as they are or with a minus.
    turned_away
        Further statuses with which Convercus certainly turns a request away unread.
    calls
        Methods and paths.
    fields
        Other names for fields of what is sent and answered, by their usual name.
    profile, coupon
        Where a look-up finds a field, as path into the account details or the account coupon, by its name in the
        look-up's answer; ``owner.`` begins a path into the owner's membership.
    inactive_states
        States in which a coupon is not listed; case does not matter.
    """

    base_url: str = ""
    auth: Literal["oauth", "login"] = "oauth"
    auth_url: str = ""
    realm: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,100}\Z")] = ""
    client_id: str = "machine-2-machine"
    scope: str = "openid"
    org: str = ""
    user_name: str = ""
    interaction_id: HeaderText = ""
    id_type: HeaderText = "ID"
    burn_points: Literal["positive", "negative"] = "positive"
    turned_away: tuple[Annotated[int, msgspec.Meta(ge=400, le=599)], ...] = ()
    calls: Endpoints = Endpoints()
    fields: Mapping[WriteField, str] = {}
    profile: Mapping[str, str] = {}
    coupon: Mapping[str, str] = {}
    inactive_states: tuple[str, ...] = (
        *("inactive", "expired", "redeemed", "used", "deactivated", "disabled", "deleted", "archived"),
        *("blocked", "locked", "cancelled", "canceled", "paused", "draft", "not_activated"),
    )

    def __post_init__(self) -> None:
        for place in ("fields", "profile", "coupon"):
            for name, path in getattr(self, place).items():
                if not _PATH.fullmatch(path):
                    raise ValueError(f"{place}.{name}: is not the name of a field")

    @property
    def secret(self) -> str:
        """Name of the secret that logging in needs."""
        return CLIENT_SECRET if self.auth == "oauth" else PASSWORD

    def missing(self) -> list[str]:
        """List the settings that every call needs and that are not set, as field names."""
        needed = ("base_url", "auth_url", "realm") if self.auth == "oauth" else ("base_url", "org", "user_name")
        return [name for name in needed if not getattr(self, name)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one call may do at most; None: what the interface itself allows."""

    points_per_booking: Annotated[int, msgspec.Meta(ge=1)] | None = None
    members_per_batch: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ConvercusSettings(LoyaltySettings, frozen=True, kw_only=True, tag="convercus"):
    """The Convercus side of a connection."""

    platform: ClassVar[Literal["convercus"]] = "convercus"
    title: ClassVar[str] = "Convercus"
    secrets: ClassVar[tuple[str, ...]] = (CLIENT_SECRET, PASSWORD)
    # https://doc.convercus.io
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"(api|staging|auth|auth-staging)\.convercus\.io")
    member_label: ClassVar[str] = "convercus_account_id"
    rules: ConvercusRules = ConvercusRules()
    api: ConvercusApi = ConvercusApi()
    membership_optins: tuple[Name, ...] = ()
    """The opt-in channels of the program."""
    default_optins: tuple[Name, ...] = ()
    """The channels that the e-mail subscription webhook sets when its request names none."""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        for name in ("membership_optins", "default_optins"):
            trimmed = tuple(channel.strip() for channel in getattr(self, name))
            if "" in trimmed:
                raise ValueError(f"{name}.{trimmed.index('')}: is blank")
            msgspec.structs.force_setattr(self, name, trimmed)
        if foreign := sorted(set(self.default_optins) - set(self.membership_optins)):
            raise ValueError(f"default_optins: not among membership_optins: {', '.join(foreign)}")

    def missing(self, secrets: Collection[str]) -> list[str]:
        """List the default opt-ins when none is chosen."""
        return [] if self.default_optins else ["loyalty.default_optins"]

    def endpoints(self) -> Mapping[str, str]:
        """Return the addresses of the API and of the sign-in."""
        return {"api.base_url": self.api.base_url, "api.auth_url": self.api.auth_url}

    @classmethod
    def form(cls) -> tuple[Group, ...]:
        """Return the fields of the operator's form."""
        from loyalty_bridge.platforms.convercus.form import FORM

        return FORM
