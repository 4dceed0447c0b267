"""The interfaces of loyalty and engagement platforms, and the types that they share. Pure: no AWS, no HTTP calls.

A loyalty platform is a module with the names of `LoyaltyPlatform`; an engagement platform is one with the names of
`EngagementPlatform`. `platforms.registry` lists both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.model import FieldError, Json, MemberUpdate
from loyalty_bridge.platforms.settings import EngagementSettings, LoyaltySettings

if TYPE_CHECKING:
    from loyalty_bridge.platforms.field_reference import Reference

AttributePath: TypeAlias = tuple[str, ...]
"""``(name,)``, or ``(name, key)`` for one key of an object that is merged key by key."""


@dataclass(frozen=True, slots=True)
class WireObject:
    """One object of a destination's API, serialised once: the bytes are what is measured and what is sent."""

    array: str
    """The request's array it belongs to."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Translation:
    """What one `MemberUpdate` becomes, each part within the destination's limits.

    Attributes stay values until the attribute state decides which of them are sent.
    """

    identity: Mapping[str, Json]
    """How the destination finds the user, as wire fields."""
    attributes: Mapping[AttributePath, Json] = field(default_factory=dict)
    event: WireObject | None = None
    purchase: WireObject | None = None
    field_errors: tuple[FieldError, ...] = ()
    order: WireObject | None = None
    """The purchase once more, as an event of an order, for platforms that report revenue from those."""


# What a reply means for the request that it answers.


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request was taken.

    Attributes
    ----------
    rejected
        The objects (by position in the request) that were not taken, and why.
    unprocessed
        How many more objects the reply does not count as processed, though it names none of them.
    """

    rejected: Mapping[int, str] = field(default_factory=dict)
    unprocessed: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing was taken. `rejected` names the culprits (by position) where the reply does; else split and try."""

    reason: str
    rejected: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitRequired:
    """Nothing was taken, because the request holds too much: split it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing was taken; may be repeated after `seconds` (None: the reply names no time, so back off)."""

    seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Transient:
    """The destination failed; a repeat is useful. `is_unknown`: it may have taken the request all the same."""

    reason: str
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection itself is refused: no request of this program can succeed until an operator has acted."""

    reason: str
    is_foreign: bool = field(default=False, compare=False)
    """The answer is that of something before the platform, such as a firewall: it may be about one object only."""


NEVER_BEGUN = frozenset({408, 425, 429, 501, 503, 505, 511, 529})
"""Statuses by which a server or a proxy turns a request away before it acts (RFC 9110, RFC 6585, RFC 8470)."""


def failed(status: int, reason: str) -> Transient:
    """Judge a reply that no documentation explains: an error, or an answer of something before the destination.

    After a 2xx and most 5xx the destination may have acted: a proxy that waits in vain says 502 or 504.
    """
    return Transient(reason, is_unknown=200 <= status < 300 or (status >= 500 and status not in NEVER_BEGUN))


Verdict: TypeAlias = Accepted | Rejected | SplitRequired | Wait | Transient | Broken


class EngagementPlatform(Protocol):
    """The functions that an engagement platform's mapping offers. `rules` is that platform's own `Rules`."""

    SETTINGS: type[EngagementSettings]
    """The class of its side of a connection."""
    TAKES_FUTURE_TIMES: bool
    """Whether an event of a clock that is ahead of the destination's is taken."""

    def check_id(self, value: str, field: str, rules: Any) -> None:
        """Raise `Invalid`, naming `field`, when the platform does not take a value as the id of a user."""

    def translate(self, update: MemberUpdate, rules: Any) -> Translation:
        """Turn an update into wire form; raise `Invalid` when nothing of it can be sent."""

    def attribute_objects(
        self, identity: Mapping[str, Json], values: Mapping[AttributePath, Json], rules: Any
    ) -> list[WireObject]:
        """Serialise the attribute values of one member (usually one object)."""

    def weigh(self, item: WireObject, rules: Any) -> tuple[int, ...]:
        """Return how much of each limit of a request an object uses."""

    def capacity(self, rules: Any) -> tuple[int, ...]:
        """Return each limit of a request, in the order of `weigh`."""

    def body(self, objects: Sequence[WireObject]) -> bytes:
        """Assemble the request body."""

    def harmless(self) -> WireObject:
        """Make an object that the destination takes and that changes nothing: it shows whether data is taken."""

    def judge(self, reply: Reply, objects: Sequence[WireObject], now: float) -> Verdict:
        """Return what a reply means. `now` is the time of the reply in epoch seconds."""


class LoyaltyPlatform(Protocol):
    """The names that the events module of a loyalty platform offers. Functions raise `Invalid`."""

    SETTINGS: type[LoyaltySettings]
    """The class of its side of a connection."""
    UNKNOWN_EVENT: str
    """The name of events whose type is not known here; empty where such are refused."""
    LOOKUP_ALIAS_PREFIX: str
    """Beginning of the aliases by which the platform is asked for a member, and which are one member's at a time;
    empty: there are none."""
    OWNER_ALIAS_PREFIX: str
    """Beginning of the aliases that own a member: a member has one of them at a time; empty: there are none."""
    OWNER_ATTRIBUTES: frozenset[str]
    """Attributes that describe the owner, besides profile and custom attributes."""
    UNRESOLVED_ERROR: tuple[str, str]
    """Field and reason of the rejection when the `alias` of an event is not known."""
    AMBIGUOUS_ERRORS: Mapping[str, tuple[str, str]]
    """Field and reason when an alias of one member means several, by its prefix up to ``:``."""

    def complete(self, event: Json, event_name: str, received: datetime, /) -> Json:
        """Return an event of a webhook delivery with what it lacks; the same object when it lacks nothing.

        `event_name` is the last part of the URL that it was delivered to, where the URL names an event.
        """

    def reference(self) -> Reference:
        """Return the fields that its events become, for the documentation."""

    def events(self, record: Json, /) -> list[Json]:
        """Take a record apart into events."""

    def member(self, event: Json, rules: Any, /) -> str | None:
        """Return the member that an event is about; None when it names only another id of theirs."""

    def alias(self, event: Json, /) -> str | None:
        """Return that other id."""

    def aliases_of(self, event: Json, /) -> tuple[str, ...]:
        """Return the other ids by which later events may mean this event's member."""

    def ended_aliases(self, event: Json, /) -> tuple[str, ...]:
        """Return the other ids by which this event's member is meant no longer."""

    def event_id(self, event: Json, /) -> str:
        """Return the id that all deliveries of an event share."""

    def read(self, event: Mapping[str, Json], rules: Any, /, *, member: str, received: datetime) -> MemberUpdate:
        """Map an event to the changes of its member."""
