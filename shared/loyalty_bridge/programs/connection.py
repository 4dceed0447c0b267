"""A program's connection: its loyalty platform side, its engagement platform side, and what is missing to stream."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec

from loyalty_bridge.errors import Invalid, Unreadable
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.base import LoyaltyPlatform
from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.brevo import events as brevo
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus.client import Api
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.platforms.punchh import events as punchh
from loyalty_bridge.platforms.punchh.client import Api as PunchhApi
from loyalty_bridge.platforms.registry import LOYALTY
from loyalty_bridge.programs.delivery_state import DeliveryState

Name = Annotated[str, msgspec.Meta(max_length=100)]


# msgspec takes a tenth of pydantic's time to import, and microseconds to read a stored connection: look-ups need both.
class _Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="platform"):
    pass


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one call may do at most; None: what the interface itself allows."""

    points_per_booking: Annotated[int, msgspec.Meta(ge=1)] | None = None
    members_per_batch: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ConvercusSide(_Side, frozen=True, kw_only=True, tag="convercus"):
    """How the program's records are read, and how Convercus is reached for actions and look-ups."""

    platform: ClassVar[Literal["convercus"]] = "convercus"
    rules: convercus.Rules = convercus.Rules()
    api: Api = Api()
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


class PunchhSide(_Side, frozen=True, kw_only=True, tag="punchh"):
    """How the program's webhooks show that they are Punchh's and are read, and how Punchh is reached."""

    platform: ClassVar[Literal["punchh"]] = "punchh"
    rules: punchh.Rules = punchh.Rules()
    api: PunchhApi = PunchhApi()
    existing_accounts: Literal["without_id", "any"] = "without_id"
    """Which accounts that are there already a signup of their e-mail address may give its external id: those that have
    none, or any. An address proves nothing unless it is verified."""
    coupon_code_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    """For how long a member is given the same code of a campaign; None: for as long as the program lives."""
    webhook_auth: Literal["basic", "bearer", "hmac"] = "basic"
    """As chosen in Punchh's Webhooks Manager; ``hmac`` is SHA-1 or SHA-256."""


class BrevoSide(_Side, frozen=True, kw_only=True, tag="brevo"):
    """How the program's loyalty webhooks show that they are Brevo's, and how they are read."""

    platform: ClassVar[Literal["brevo"]] = "brevo"
    rules: brevo.Rules = brevo.Rules()
    webhook_auth: Literal["basic", "bearer", "header"] = "basic"
    webhook_header: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,100}\Z")] = "X-Webhook-Key"
    """The header of one's own that carries the credential, for ``header``."""


class BrazeSide(_Side, frozen=True, kw_only=True, tag="braze"):
    """Where the program's updates go, and under which of Braze's rules."""

    platform: ClassVar[Literal["braze"]] = "braze"
    api_endpoint: str = ""
    rules: braze.Rules = braze.Rules()


class MoEngageSide(_Side, frozen=True, kw_only=True, tag="moengage"):
    """Where the program's updates go, and under which of MoEngage's rules."""

    platform: ClassVar[Literal["moengage"]] = "moengage"
    api_endpoint: str = ""
    workspace_id: str = ""
    rules: moengage.Rules = moengage.Rules()


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator sets for a program; secrets are kept beside it."""

    loyalty: ConvercusSide | PunchhSide | BrevoSide = ConvercusSide()
    engagement: BrazeSide | MoEngageSide = BrazeSide()
    attribute_writes: Literal["changed", "all"] = "changed"
    """Whether an attribute whose value did not change is sent again (each write costs a Braze data point)."""
    repeat_window: Annotated[int, msgspec.Meta(ge=0, le=86400)] = 120
    """For how many seconds after an action an equal request without an idempotency key gets the same answer."""

    @property
    def only_changed(self) -> bool:
        """Whether an attribute is left out when the value that was sent last is the same.

        No answer tells whom a destination has left out because it does not know them, so that nothing which was sent
        with `update_existing_only` counts as there.
        """
        return self.attribute_writes == "changed" and not self.engagement.rules.update_existing_only


WEBHOOK_CREDENTIALS = ("webhook_credential", "webhook_credential_next")
"""Either is valid, so that one can be exchanged for the other without losing a delivery. Basic: ``user:password``."""

MIN_CREDENTIAL = 16

PUNCHH_CLIENT_SECRET = "punchh_client_secret"  # noqa: S105 - a name
PUNCHH_ADMIN_KEY = "punchh_admin_key"
PUNCHH_COUPON_TOKEN = "punchh_coupon_token_"  # noqa: S105 - the beginning of a name
"""The Dynamic Generation Token of a campaign; the campaign's id follows."""

SECRETS = {
    "braze": ("braze_api_key",),
    "moengage": ("moengage_data_key",),
    "convercus": ("convercus_client_secret", "convercus_password"),
    "punchh": (*WEBHOOK_CREDENTIALS, PUNCHH_CLIENT_SECRET, PUNCHH_ADMIN_KEY),
    "brevo": WEBHOOK_CREDENTIALS,
}
"""The secrets of each platform. Streaming needs those of the engagement platform, and one webhook credential of a
loyalty platform that has them. Punchh's coupon tokens are further ones, see `is_coupon_token`."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as it is stored: closed, and its last four characters to recognise it by."""

    ciphertext: bytes
    last_four: str


@dataclass(frozen=True, slots=True)
class Program:
    """A program as it is stored.

    Attributes
    ----------
    stored
        Its connection, or why this version cannot read it.
    version
        Rises with every save; who saves tells which version was seen.
    destination_version
        Rises when the program is pointed at another workspace, or at other users of it: what was sent before says
        nothing about them.
    since
        When it was made (UTC), if another program had its id before: what came before then is not this one's.
    """

    id: str
    stored: Connection | str
    version: int = 0
    destination_version: int = 1
    since: datetime | None = None
    secrets: dict[str, Secret] = field(default_factory=dict)
    delivery_state: DeliveryState = field(default_factory=DeliveryState)

    @property
    def connection(self) -> Connection:
        """Its settings.

        Raises
        ------
        Unreadable
            Another version of the bridge saved them, or they are damaged.
        """
        if isinstance(self.stored, str):
            raise Unreadable(f"the program {self.id}: {self.stored}")
        return self.stored

    @property
    def generation(self) -> str:
        """Its id; where another program had the id before, with the time since when it is this one.

        What is stored under it belongs to this program, though a call that served the other one wrote after it was
        deleted.
        """
        return f"{self.id}#{int(self.since.timestamp() * 1000)}" if self.since else self.id

    @property
    def unreadable(self) -> str:
        """Why this version can neither send its records nor tell that they may not be sent; empty as a rule."""
        return self.stored if isinstance(self.stored, str) else self.delivery_state.unreadable

    @property
    def source(self) -> LoyaltyPlatform:
        """The module that reads its records."""
        return LOYALTY[self.connection.loyalty.platform]

    def missing(self) -> list[str]:
        """Tell what has to be set before events stream, as field names; empty when complete."""
        side = self.connection
        absent = [] if side.engagement.api_endpoint else ["engagement.api_endpoint"]
        if isinstance(side.engagement, MoEngageSide) and not side.engagement.workspace_id:
            absent.append("engagement.workspace_id")
        absent += [f"secrets.{name}" for name in SECRETS[side.engagement.platform] if name not in self.secrets]
        if isinstance(side.loyalty, ConvercusSide) and not side.loyalty.default_optins:
            absent.append("loyalty.default_optins")
        if isinstance(side.loyalty, PunchhSide | BrevoSide) and self.secrets.keys().isdisjoint(WEBHOOK_CREDENTIALS):
            absent.append(f"secrets.{WEBHOOK_CREDENTIALS[0]}")
        return absent


def decode(text: str) -> Connection | str:
    """Read stored settings; where that fails, say why and what to do."""
    try:
        return msgspec.json.decode(text, type=Connection)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return f"its settings cannot be read ({str(error)[:200]}): deploy the version that saved them, or save all anew"


def merged(connection: Connection, change: Mapping[str, Any]) -> Connection:
    """Give a connection with some settings changed; objects are merged, everything else replaced.

    Blanks around a text are not part of it: what is copied often ends in a line break.

    Raises
    ------
    Invalid
        Naming the field that is wrong; a text, or a name, that holds a control character or a line break is.
    """
    document = _merged(msgspec.to_builtins(connection), _trimmed(change, ""))
    try:
        return msgspec.convert(document, Connection, strict=False)  # a number or a flag may be written as a text
    except msgspec.ValidationError as error:
        raise _refused(error, document) from None


def is_coupon_token(name: str) -> bool:
    """Tell whether a secret of that name is the token of a Punchh campaign."""
    return re.fullmatch(f"{PUNCHH_COUPON_TOKEN}[A-Za-z0-9_-]{{1,64}}", name) is not None


def is_in_header(name: str, connection: Connection) -> bool:
    """Tell whether a secret stands in a header as it is."""
    side = connection.loyalty
    is_credential = isinstance(side, PunchhSide | BrevoSide) and side.webhook_auth in {"bearer", "header"}
    return name in {"braze_api_key", PUNCHH_ADMIN_KEY} or (is_credential and name in WEBHOOK_CREDENTIALS)


def check_credentials(connection: Connection, secrets: Mapping[str, str]) -> None:
    """Check webhook credentials that are to be set: one that no delivery could show, or that is easily guessed.

    Raises
    ------
    Invalid
        One is too short, or is not ``user:password`` although the webhook is to use Basic.
    """
    side = connection.loyalty
    for name in WEBHOOK_CREDENTIALS:
        if not isinstance(side, PunchhSide | BrevoSide) or name not in secrets:
            continue
        user, colon, password = secrets[name].partition(":")
        if side.webhook_auth == "basic" and not (user.strip() and colon and password.strip()):
            raise Invalid(f"secrets.{name}", "is not user:password")
        if len(secrets[name]) < MIN_CREDENTIAL:
            raise Invalid(f"secrets.{name}", f"has fewer than {MIN_CREDENTIAL} characters, so that it may be guessed")


def program_id(text: str) -> str:
    """Check an id for a program.

    Raises
    ------
    Invalid
        It is none.
    """
    if not re.fullmatch(parsing.PROGRAM_ID, text):
        raise Invalid("program", "is not letters, digits, _ and -, beginning with one of the first two, 64 at most")
    return text


def _trimmed(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        for name in value:
            _check_line(name, path or "connection")
        return {name: _trimmed(one, f"{path}.{name}".lstrip(".")) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_trimmed(one, f"{path}.{index}") for index, one in enumerate(value)]
    if isinstance(value, str):
        _check_line(value.strip(), path)
        return value.strip()
    return value


def _check_line(text: str, path: str) -> None:
    """Refuse what cannot be edited as a line of the page."""
    if _NOT_IN_A_LINE.search(text):
        raise Invalid(path, "holds a control character or a line break: leave it out")


_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Merge objects; one that names another platform replaces the side: the settings before were the other one's."""
    nested = {
        name: _merged(before[name], value)
        for name, value in change.items()
        if isinstance(before.get(name), dict)
        and isinstance(value, Mapping)
        and value.get("platform", before[name].get("platform")) == before[name].get("platform")
    }
    return {**before, **change, **nested}


def _refused(error: msgspec.ValidationError, document: Mapping[str, Any]) -> Invalid:
    """Say which field is wrong, and why without its value, which msgspec tells of a choice."""
    reason, *place = re.split(r" - at (?:`key` in )?`\$\.?([^`]*)`$", str(error))
    path = "".join(place).replace("[...]", "").replace("[", ".").replace("]", "")
    if isinstance(error.__cause__, ValueError):  # raised by a struct of ours, beginning with the field
        name, _, reason = reason.partition(": ")
        path = f"{path}.{name}"
    elif unknown := re.fullmatch("Object contains unknown field `(.*)`", reason, re.DOTALL):
        path, reason = f"{path}.{unknown[1]}", "is not a known field"
    elif reason.startswith("Invalid "):
        reason = f"is not one of {', '.join(_choices(document, path))}"
    else:
        reason = reason.replace("`", "").replace("Expected", "should be", 1)
    return Invalid(path.lstrip("."), reason)


def _choices(document: Any, path: str) -> Iterable[str]:
    """List what a setting can be, or an item or a key of it."""
    kind: Any = msgspec.inspect.type_info(Connection)
    for name in path.split("."):
        if hasattr(kind, "types"):  # the sides
            if name == "platform":
                return [side.tag for side in kind.types]
            kind = next(side for side in kind.types if side.tag == document["platform"])
        if hasattr(kind, "fields"):
            kind, document = next(field.type for field in kind.fields if field.name == name), document[name]
    choice = getattr(kind, "item_type", None) or getattr(kind, "key_type", kind)
    return cast("Iterable[str]", choice.values)
