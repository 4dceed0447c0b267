"""A program and its connection: the settings of its loyalty and engagement platforms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec

from loyalty_bridge.errors import Invalid, Unreadable
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.base import LoyaltyPlatform
from loyalty_bridge.platforms.braze.settings import BrazeSettings
from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
from loyalty_bridge.platforms.registry import ENGAGEMENT, LOYALTY
from loyalty_bridge.programs.delivery_state import DeliveryState

if TYPE_CHECKING:
    from loyalty_bridge.platforms.settings import EngagementSettings, LoyaltySettings
else:  # msgspec chooses the class by the platform's name
    LoyaltySettings = reduce(or_, (platform.SETTINGS for platform in LOYALTY.values()))
    EngagementSettings = reduce(or_, (platform.SETTINGS for platform in ENGAGEMENT.values()))


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of a program; its secrets are stored beside them."""

    loyalty: LoyaltySettings = ConvercusSettings()
    engagement: EngagementSettings = BrazeSettings()
    attribute_writes: Annotated[
        Literal["changed", "all"],
        msgspec.Meta(
            title="Unchanged attributes",
            description=(
                "changed: sends attributes only if they changed, because each write costs a data point. all: sends all."
            ),
            extra={"rare": True},
        ),
    ] = "changed"
    repeat_window: Annotated[
        int,
        msgspec.Meta(
            title="Repeats of actions",
            description="Seconds in which an equal action without an idempotency key gets the first answer. 0: never.",
            extra={"rare": True},
            ge=0,
            le=86400,
        ),
    ] = 120

    @property
    def only_changed(self) -> bool:
        """Whether unchanged attributes are left out.

        With `update_existing_only` they never are: no reply says which users the destination does not know and has
        left out.
        """
        return self.attribute_writes == "changed" and not self.engagement.rules.update_existing_only


@dataclass(frozen=True, slots=True)
class Secret:
    """A stored secret: encrypted, with its last four characters for recognition."""

    ciphertext: bytes
    last_four: str


@dataclass(frozen=True, slots=True)
class Program:
    """A stored program.

    Attributes
    ----------
    stored
        Its connection, or the reason why this version cannot read it.
    version
        Rises with every save; a save names the version that it replaces.
    destination_version
        Rises when the program is pointed at another workspace, or at other users of it, so that nothing counts as
        sent to them.
    since
        Time of creation (UTC), if another program had the id before: earlier records belong to that one.
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
        """The settings.

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
        """The id; if another program had it before, with the time of creation.

        Keys that contain it belong to this program, even if a late call of the deleted one writes after the deletion.
        """
        return f"{self.id}#{int(self.since.timestamp() * 1000)}" if self.since else self.id

    @property
    def unreadable(self) -> str:
        """Why this version cannot read the connection or delivery state; empty when it can."""
        return self.stored if isinstance(self.stored, str) else self.delivery_state.unreadable

    @property
    def source(self) -> LoyaltyPlatform:
        """The module that maps its records."""
        return LOYALTY[self.connection.loyalty.platform]

    def missing(self) -> list[str]:
        """Return the settings that are missing before events can be sent, as field names."""
        sides = self.connection.engagement, self.connection.loyalty
        return [field for side in sides for field in side.missing(self.secrets)]


def decode(text: str) -> Connection | str:
    """Decode stored settings; return the reason, with advice, if that fails."""
    try:
        return msgspec.json.decode(text, type=Connection)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        advice = "deploy the version that saved them, or save all settings again"
        return f"its settings cannot be read ({str(error)[:200]}): {advice}"


def merge(connection: Connection, change: Mapping[str, Any]) -> Connection:
    """Return a connection with some settings changed; objects are merged, everything else is replaced.

    Texts are stripped: copied ones often end in a line break.

    Raises
    ------
    Invalid
        A value is not allowed, or a text or name contains a control character or line break.
    """
    document = _merge(msgspec.to_builtins(connection), _strip(change, ""))
    try:
        return msgspec.convert(document, Connection, strict=False)  # a number or a flag may be written as a text
    except msgspec.ValidationError as error:
        raise _invalid(error, document) from None


def check_program_id(text: str) -> str:
    """Return the text if it is allowed as a program's id.

    Raises
    ------
    Invalid
        It is not.
    """
    if not re.fullmatch(parsing.PROGRAM_ID, text):
        raise Invalid("program", "must be at most 64 letters, digits, _ and -, and begin with a letter or digit")
    return text


def _strip(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        for name in value:
            _check_line(name, path or "connection")
        return {name: _strip(one, f"{path}.{name}".lstrip(".")) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_strip(one, f"{path}.{index}") for index, one in enumerate(value)]
    if isinstance(value, str):
        _check_line(value.strip(), path)
        return value.strip()
    return value


def _check_line(text: str, path: str) -> None:
    """Reject text that a one-line input of the page cannot hold."""
    if _NOT_IN_A_LINE.search(text):
        raise Invalid(path, "holds a control character or a line break: leave it out")


_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _merge(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Merge objects; one that names another platform replaces the settings of the previous platform."""
    nested = {
        name: _merge(before[name], value)
        for name, value in change.items()
        if isinstance(before.get(name), dict)
        and isinstance(value, Mapping)
        and value.get("platform", before[name].get("platform")) == before[name].get("platform")
    }
    return {**before, **change, **nested}


def _invalid(error: msgspec.ValidationError, document: Mapping[str, Any]) -> Invalid:
    """Convert msgspec's error, without the value that msgspec quotes for a choice."""
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
    """Return the allowed values of a setting, or of its items or keys."""
    kind: Any = msgspec.inspect.type_info(Connection)
    for name in path.split("."):
        if hasattr(kind, "types"):  # the sides
            if name == "platform":
                return [side.tag for side in kind.types]
            kind = next(side for side in kind.types if side.tag == document["platform"])
        if hasattr(kind, "fields"):
            kind, document = next(field.type for field in kind.fields if field.name == name), document[name]
            kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    choice = getattr(kind, "item_type", None) or getattr(kind, "key_type", kind)
    return cast("Iterable[str]", choice.values)
