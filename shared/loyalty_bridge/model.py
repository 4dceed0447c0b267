"""The canonical, platform-free form of a change to a member.

Loyalty platforms map source records to a `MemberUpdate`; engagement platforms map a `MemberUpdate` to wire objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from datetime import datetime

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
"""A JSON value."""

UNKNOWN_PROGRAM = "-"
"""Program id of everything that belongs to no known program; no program can have it."""

Part = Literal["attributes", "event", "purchase", "order"]
"""Parts of a source event for a destination; each is accepted and recorded separately."""
PARTS: tuple[Part, ...] = get_args(Part)

ProfileField = Literal[
    "email", "phone", "first_name", "last_name", "birth_date", "gender", "city", "country", "language",
    "email_subscription", "push_subscription",
]  # fmt: skip
"""Standard fields; each engagement platform has its own names for them.

Loyalty platforms normalise them: ``phone`` E.164, ``country`` ISO 3166-1 alpha-2, ``birth_date`` ``YYYY-MM-DD``,
``gender`` one of ``M F O N P``, subscriptions one of ``opted_in subscribed unsubscribed``. None removes the value.
"""


@dataclass(frozen=True, slots=True)
class Event:
    """An event in the member's history."""

    name: str
    time: datetime
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LineItem:
    """One product of a purchase. ``price`` is per piece, in base units of the purchase's currency, not negative."""

    product_id: str
    name: str
    quantity: int
    price: float


@dataclass(frozen=True, slots=True)
class Purchase:
    """Money the member spent or, with a negative price, got back.

    ``price`` is per piece, in base units of ``currency`` (12.5 for EUR 12.50). ``order_id`` names the transaction or,
    when money went back, the one that is taken back; empty where the loyalty platform does not say. ``items`` are the
    products, where it lists them.
    """

    product_id: str
    price: float
    currency: str
    time: datetime
    quantity: int = 1
    properties: Mapping[str, Json] = field(default_factory=dict)
    order_id: str = ""
    is_refund: bool = False
    items: tuple[LineItem, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldError:
    """An invalid field, and why; the rest of its record is processed.

    ``part`` lacks the field; ``field`` is its path; ``reason`` never contains the value.
    """

    part: Part
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the platform's mapping does not name.

    ``withheld`` is why it is not sent; empty when it is sent as a property of the event, under its own name.
    ``expected``: the mapping never sends such fields on purpose, so an operator can ignore it.
    """

    field: str
    withheld: str = ""
    expected: bool = False


MAX_FIELD_ERRORS = 20
"""Limit of one update; the last one then counts those left out."""


def first_errors(field_errors: Sequence[FieldError]) -> tuple[FieldError, ...]:
    """Return at most `MAX_FIELD_ERRORS` errors; the last one counts those left out."""
    if len(field_errors) <= MAX_FIELD_ERRORS:
        return tuple(field_errors)
    last = field_errors[MAX_FIELD_ERRORS - 1]
    more = len(field_errors) - MAX_FIELD_ERRORS + 1
    return (
        *field_errors[: MAX_FIELD_ERRORS - 1],
        FieldError(last.part, last.field, f"{last.reason}; and {more - 1} more fields"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberUpdate:
    """All changes to one member that one source event contains.

    Attributes
    ----------
    event_id
        Id of the source event; the same for every delivery of it.
    member
        The member's id in the program, or the e-mail address or phone number when `identified_by` says so.
    time
        Time of the event (aware, UTC). Decides which of two values of an attribute is newer.
    profile
        Standard profile fields.
    attributes
        The bridge's own attributes, under their final names. An object is partial: its keys are merged one by one.
    custom
        The customer's own attributes. An object is complete: it replaces the previous one.
    field_errors
        Fields that the platform's mapping could not use.
    unknown
        Fields that the mapping does not name.
    member_label
        What the loyalty platform calls its member ids; `attributes` may hold the id under this name.
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
    field_errors: tuple[FieldError, ...] = ()
    unknown: tuple[UnknownField, ...] = ()
    member_label: str = "loyalty_member_id"
