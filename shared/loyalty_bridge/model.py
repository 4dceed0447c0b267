"""The canonical, platform-free form of what happened to a member.

Sources turn source records into a `MemberUpdate`; destinations turn a `MemberUpdate` into wire objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
"""A value as JSON knows it."""

Part = Literal["attributes", "event", "purchase"]
"""What one source event can give to a destination; each is accepted, and remembered, on its own."""

ProfileField = Literal[
    "email", "phone", "first_name", "last_name", "birth_date", "gender", "city", "country", "language",
    "email_subscription", "push_subscription",
]  # fmt: skip
"""Fields every engagement platform knows under a name of its own.

Sources deliver them normalised: ``phone`` E.164, ``country`` ISO 3166-1 alpha-2, ``birth_date`` ``YYYY-MM-DD``,
``gender`` one of ``M F O N P``, subscriptions one of ``opted_in subscribed unsubscribed``. None removes the value.
"""


@dataclass(frozen=True, slots=True)
class Event:
    """Something the member did or that happened to the member."""

    name: str
    time: datetime
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Purchase:
    """Money the member spent (or, with a negative price, got back).

    ``price`` is in base units of ``currency`` (12.5 for twelve and a half euros), per piece.
    """

    product_id: str
    price: float
    currency: str
    time: datetime
    quantity: int = 1
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that cannot be used, and why; the rest of the record goes on.

    ``part`` is what misses the field; ``field`` its path; ``reason`` never contains the value.
    """

    part: Part
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the source's mapping does not name.

    ``withheld`` says why it is not sent; empty when it is sent as a property of the event, under its own name.
    ``expected``: the mapping knows such fields and never sends them, so that an operator need not look.
    """

    field: str
    withheld: str = ""
    expected: bool = False


MAX_REFUSALS = 20
"""Of one update; what is beyond is one refusal that tells how many."""


def few(refusals: Sequence[FieldError]) -> tuple[FieldError, ...]:
    """Give the first of the refusals, and how many more there are."""
    if len(refusals) <= MAX_REFUSALS:
        return tuple(refusals)
    last = refusals[MAX_REFUSALS - 1]
    more = len(refusals) - MAX_REFUSALS + 1
    return (
        *refusals[: MAX_REFUSALS - 1],
        FieldError(last.part, last.field, f"{last.reason}; and {more - 1} more fields"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberUpdate:
    """All that one source event tells about one member.

    Attributes
    ----------
    event_id
        Id of the source event; the same for every delivery of it.
    member
        The member's id in the program, or the e-mail address or phone number when `identified_by` says so.
    time
        When it happened (aware, UTC). Decides which of two values of an attribute is the newer one.
    profile
        Standard profile fields.
    attributes
        The bridge's own attributes, under their final names. An object is partial: its keys are merged one by one.
    custom
        The customer's own attributes. An object is whole: it replaces the one before.
    refusals
        Fields that the source could not use.
    unknown
        Fields that the source's mapping does not name.
    """

    event_id: str
    member: str
    time: datetime
    identified_by: Literal["id", "email", "phone"] = "id"
    profile: Mapping[ProfileField, Json] = field(default_factory=dict)
    attributes: Mapping[str, Json] = field(default_factory=dict)
    custom: Mapping[str, Json] = field(default_factory=dict)
    event: Event | None = None
    purchase: Purchase | None = None
    refusals: tuple[FieldError, ...] = ()
    unknown: tuple[UnknownField, ...] = ()
