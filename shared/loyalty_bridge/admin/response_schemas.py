"""What the admin API answers, as models from which the OpenAPI file is made; no request needs them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from loyalty_bridge.http_api.response_schemas import Error

__all__ = ["Error"]

State = Literal["unreadable", "incomplete", "streaming", "held", "releasing"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Done(_Answer):
    """It is done."""

    done: Literal[True]


class Moved(_Answer):
    """Number of records that were redriven or deleted; `left` counts those for which there was no time: call again."""

    records: int
    left: int


class Me(_Answer):
    """Who is signed in."""

    subject: str
    all_programs: bool
    programs: list[str]


class ProgramRow(_Answer):
    """A program in a list."""

    program: str
    platforms: str
    state: State
    missing: str


class Programs(_Answer):
    """The operator's programs."""

    programs: list[ProgramRow]


class Program(_Answer):
    """A program, with the last four characters of its secrets. Send `version` back to save it.

    If this version of the bridge cannot read the settings, `state` is ``unreadable``, `held_because` says why, and
    the settings are absent.
    """

    program: str
    version: int
    state: State
    missing: list[str]
    held_because: str
    loyalty: dict[str, Any]
    engagement: dict[str, Any]
    attribute_writes: Literal["changed", "all"] | None = None
    repeat_window: int | None = None
    secrets: dict[str, str]


class Works(_Answer):
    """Whether the destination takes the key."""

    works: bool


class Sample(_Answer):
    """What the destination answered to the sample event; `problem` when it could not be asked."""

    sent: bool
    problem: str = ""
    status: int = 0
    verdict: str = ""
    reason: str = ""
    event_id: str = ""


class Key(_Answer):
    """A key by its id."""

    id: str
    name: str
    created: str
    scopes: list[str]


class Keys(_Answer):
    """A program's keys."""

    keys: list[Key]


class NewKey(Key):
    """A new key."""

    key: str


class Explained(_Answer):
    """What a record would become."""

    program: str
    not_connected_because_missing: list[str]
    delivery_state: str
    events: list[dict[str, Any]]


class Traced(_Answer):
    """What is known of an id."""

    accepted_parts: list[str]
    member_attributes_last_set: dict[str, str]
    waits_behind_held_records: bool
    held: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    waiting: list[dict[str, Any]]
    errors: list[ErrorOfADay]


class Numbers(_Answer):
    """What was counted: calls by outcome, events by what became of them, and upper bounds of latencies."""

    calls: dict[str, int]
    events: dict[str, int]
    latency: dict[str, float | None]


class DayOfStatistics(_Answer):
    """What a program did on one day (UTC), by function."""

    day: str
    endpoints: dict[str, Numbers]


class Statistics(_Answer):
    """What a program did."""

    program: str
    endpoints: dict[str, Numbers]
    days: list[DayOfStatistics]


class ErrorOfADay(_Answer):
    """Equal errors of one day."""

    first: str
    last: str
    count: int
    direction: Literal["to_engagement", "to_loyalty"]
    platform: str
    endpoint: str
    code: str
    reason: str
    records: list[str]


class Errors(_Answer):
    """A page of the error history; `next` asks for the page after it and is empty on the last one."""

    errors: list[ErrorOfADay]
    next: str


class ActionRow(_Answer):
    """An action whose outcome is unknown."""

    id: str
    action: str
    since: str
    about: str
    failure_reason: str


class Actions(_Answer):
    """The actions whose outcome is unknown."""

    actions: list[ActionRow]


class Action(_Answer):
    """What is known of an action."""

    id: str
    action: str
    state: Literal["started", "succeeded", "rejected", "unknown"]
    since: str
    about: dict[str, str]
    reference: str
    failure_reason: str
    status: int | None = None
    answer: dict[str, Any] = {}


class HeldRow(_Answer):
    """Records that were held together."""

    position: str
    at: str
    records: int


class Held(_Answer):
    """What is held."""

    held: list[HeldRow]


class RejectedRow(_Answer):
    """A rejected record."""

    at: str
    event_id: str
    reasons: str
    missing: str


class RejectedRecords(_Answer):
    """Rejected records."""

    rejected: list[RejectedRow]


class RejectedRecord(_Answer):
    """The rejected record itself."""

    at: str
    received: str
    event_id: str
    rejected: list[dict[str, str]]
    missing: list[str]
    record: str


class AuditLine(_Answer):
    """A change; `outcome` is `done`, `not done (…)`, or `begun` when its end is not known."""

    at: str
    who: str
    what: str
    about: str
    outcome: str


class Audit(_Answer):
    """What was changed."""

    audit: list[AuditLine]


class DeadLetters(_Answer):
    """What crashed the forwarder."""

    messages: int
    batches: int
