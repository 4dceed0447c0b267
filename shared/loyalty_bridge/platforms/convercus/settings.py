"""Settings of Convercus: how its events are mapped, and how its API is called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import LoyaltySettings, Name, Secrets

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
    """What a program decides about its Convercus events."""

    default_currency: Annotated[
        str | None,
        msgspec.Meta(
            title="Default currency",
            description=(
                "Three ISO 4217 letters, for transactions without a currency. If empty, their purchase is rejected. "
                "Example: EUR"
            ),
        ),
    ] = None
    default_country: Annotated[
        str | None,
        msgspec.Meta(
            title="Default country",
            description="Two ISO 3166-1 letters, for phone numbers without a country code. Example: DE",
        ),
    ] = None
    opt_in_without_record: Annotated[
        Literal["subscribed", "untouched"],
        msgspec.Meta(
            title="Opt-in list without e-mail",
            description=(
                "What a list without an e-mail opt-in means for email_subscribe: subscribed, or no change (untouched)."
            ),
            extra={"rare": True},
        ),
    ] = "subscribed"
    email_optins: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            title="E-mail opt-in types",
            description="Opt-in types that mean e-mail. Case and punctuation do not matter.",
            extra={"rare": True},
        ),
    ] = (
        "email",
        "email consent",
        "email marketing",
        "email newsletter",
        "email optin",
        "newsletter",
        "newsletter email",
    )
    excluded_fields: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            title="Excluded fields",
            description=(
                "Event fields that are not sent, among those that the mapping does not name. Case and punctuation do "
                "not matter."
            ),
            extra={"rare": True},
        ),
    ] = ()


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
    """How a program's Convercus is reached."""

    base_url: Annotated[
        str,
        msgspec.Meta(
            title="API", description="Example: https://api.convercus.io. If empty, there are no actions and no lookups."
        ),
    ] = ""
    auth: Annotated[
        Literal["oauth", "login"],
        msgspec.Meta(
            title="Login", description="oauth: client credentials of the realm. login: user name and password."
        ),
    ] = "oauth"
    auth_url: Annotated[
        str, msgspec.Meta(title="Login host", description="With oauth. Example: https://auth.convercus.io")
    ] = ""
    realm: Annotated[
        str,
        msgspec.Meta(
            title="Realm",
            description="With oauth: the program's realm. On staging it ends in -staging.",
            pattern=r"^[A-Za-z0-9_-]{0,100}\Z",
        ),
    ] = ""
    client_id: Annotated[str, msgspec.Meta(description="With oauth: the client id.")] = "machine-2-machine"
    scope: Annotated[str, msgspec.Meta(description="With oauth: the scope.")] = "openid"
    org: Annotated[str, msgspec.Meta(title="Organisation", description="With login.")] = ""
    user_name: Annotated[str, msgspec.Meta(title="User name", description="With login.")] = ""
    interaction_id: Annotated[
        HeaderText,
        msgspec.Meta(
            title="Point of interaction", description="The registered point of interaction for which the bridge acts."
        ),
    ] = ""
    id_type: Annotated[
        HeaderText, msgspec.Meta(description="Type of the account ids that campaigns send: ID, CARDCODE or APPCODE.")
    ] = "ID"
    burn_points: Annotated[
        Literal["positive", "negative"],
        msgspec.Meta(
            description="Whether the points of a BURNBOOKING are sent as they are, or with a minus (negative)."
        ),
    ] = "positive"
    turned_away: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=400, le=599)], ...],
        msgspec.Meta(
            description="Further statuses with which Convercus has certainly done nothing; the call is then repeated."
        ),
    ] = ()
    calls: Annotated[Endpoints, msgspec.Meta(description="Methods and paths of the calls.")] = Endpoints()
    fields: Annotated[
        Mapping[WriteField, str],
        msgspec.Meta(description="Other names for fields of what is sent and received, by their usual name."),
    ] = {}
    profile: Annotated[
        Mapping[str, str],
        msgspec.Meta(description="Paths into the account details, by the name of the lookup's field."),
    ] = {}
    coupon: Annotated[
        Mapping[str, str], msgspec.Meta(description="Paths into the account coupon, by the name of the lookup's field.")
    ] = {}
    inactive_states: Annotated[
        tuple[str, ...],
        msgspec.Meta(description="States in which a coupon is not listed. Case does not matter."),
    ] = (
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

    points_per_booking: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(title="Points per booking", description="Maximum. If empty: 100,000,000."),
    ] = None
    members_per_batch: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(title="Members per batch", description="Maximum. If empty: 500."),
    ] = None


class ConvercusSettings(LoyaltySettings, frozen=True, kw_only=True, tag="convercus"):
    """The Convercus side of a connection."""

    platform: ClassVar[Literal["convercus"]] = "convercus"
    title: ClassVar[str] = "Convercus"
    secrets: ClassVar[Secrets] = {
        CLIENT_SECRET: msgspec.Meta(
            title="Client secret", description="With oauth: secret of the client.", extra={"group": "api"}
        ),
        PASSWORD: msgspec.Meta(title="Password", description="With login.", extra={"group": "api"}),
    }
    # https://doc.convercus.io
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"(api|staging|auth|auth-staging)\.convercus\.io")
    member_label: ClassVar[str] = "convercus_account_id"
    rules: ConvercusRules = ConvercusRules()
    api: ConvercusApi = ConvercusApi()
    membership_optins: Annotated[
        tuple[Name, ...],
        msgspec.Meta(title="Opt-in channels", description="All channels of the program, spelled as in Convercus."),
    ] = ()
    default_optins: Annotated[
        tuple[Name, ...],
        msgspec.Meta(
            title="Default opt-ins",
            description="Channels that an opt-in action sets if it names none. At least one.",
            extra={"choices_from": "loyalty.membership_optins"},
        ),
    ] = ()
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
