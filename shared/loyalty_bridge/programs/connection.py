"""A program's connection: its loyalty platform side, its engagement platform side, and what is missing to stream."""

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
    """What an operator sets for a program; secrets are kept beside it."""

    loyalty: LoyaltySettings = ConvercusSettings()
    engagement: EngagementSettings = BrazeSettings()
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
        """List what has to be set before events stream, as field names; empty when complete."""
        sides = self.connection.engagement, self.connection.loyalty
        return [field for side in sides for field in side.missing(self.secrets)]


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
