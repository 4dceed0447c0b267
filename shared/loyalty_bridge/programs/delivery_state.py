"""The delivery state of a program, shared by all containers: live, held, or releasing held records.

It is an item beside the connection: one round trip reads both, and an operator's save does not conflict with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from loyalty_bridge.infra import dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings

State = Literal["live", "held", "releasing"]

_TIMES = ("since", "failing_since", "not_before", "watch_until", "waiting_until")

WATCH_SECONDS = 86400.0
"""Time after the last hold in which forwarders look for blocked groups."""


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """State of a program's destination; times in epoch seconds.

    Attributes
    ----------
    state
        ``live``: records are sent; ``held``: they are parked in order; ``releasing``: parked records are published
        again, and newer ones of their groups are parked behind them.
    reason, since
        Why, and since when, it is not live.
    failing_since
        Time since which the destination has failed without a success; 0 after a success.
    not_before
        Time before which the destination accepts no request.
    watch_until
        Time until which groups may be blocked by held or released records, even if the program is live.
    waiting_until
        Time until which records may wait for an unknown member.
    unreadable
        Why this version cannot read the item; nothing may be sent then.
    """

    state: State = "live"
    reason: str = ""
    since: float = 0.0
    failing_since: float = 0.0
    not_before: float = 0.0
    watch_until: float = 0.0
    waiting_until: float = 0.0
    unreadable: str = ""


def from_item(item: Mapping[str, Any]) -> DeliveryState:
    """Decode an item that any version may have written."""
    try:
        state = item.get("state", "live")
        times = {name: float(item.get(name, 0)) for name in _TIMES}
        reason = item.get("reason", "")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return DeliveryState(unreadable=f"its delivery state cannot be read ({type(error).__name__})")
    if state not in get_args(State):
        return DeliveryState(unreadable=f"this version does not know its delivery state {str(state)[:40]!r}")
    return DeliveryState(state=cast("State", state), reason=reason, unreadable="", **times)


def hold(settings: ProgramSettings, program: str, reason: str, now: float) -> None:
    """Hold a program: its destination has failed for too long, or an operator has to act."""
    _update(
        settings,
        program,
        "SET #state = :held, reason = :reason, since = if_not_exists(since, :now), watch_until = :until",
        {":held": "held", ":reason": reason, ":now": now, ":until": now + WATCH_SECONDS},
    )


def extend_watch(settings: ProgramSettings, program: str, seen: DeliveryState, now: float) -> None:
    """Extend `watch_until`, at most twice a day, because records are held behind others."""
    if seen.watch_until < now + WATCH_SECONDS / 2:
        _update(settings, program, "SET watch_until = :until", {":until": now + WATCH_SECONDS})


def extend_waiting(settings: ProgramSettings, program: str, seen: DeliveryState, now: float) -> None:
    """Extend `waiting_until`, at most twice a day, because records wait for their member."""
    if seen.waiting_until < now + WATCH_SECONDS / 2:
        _update(settings, program, "SET waiting_until = :until", {":until": now + WATCH_SECONDS})


def start_release(settings: ProgramSettings, program: str) -> None:
    """Start the release of held records."""
    expression = "SET #state = :releasing REMOVE failing_since, not_before"
    _update(settings, program, expression, {":releasing": "releasing"})


def replace(settings: ProgramSettings, program: str, now: float) -> None:
    """Replace an unreadable delivery state, on an operator's request."""
    until = now + WATCH_SECONDS
    state = {"state": "releasing", "watch_until": until, "waiting_until": until}
    dynamodb.put(settings.programs_table, _key(program) | state)


def activate(settings: ProgramSettings, program: str, now: float) -> None:
    """Set a program live, unless it has been held again; released records may still be in the queue."""
    # If the condition fails, the program is held again: the next probe decides.
    _update(
        settings,
        program,
        "SET #state = :live, watch_until = :until REMOVE reason, since, failing_since, not_before",
        {":live": "live", ":releasing": "releasing", ":until": now + WATCH_SECONDS},
        "#state = :releasing",
    )


def note_failure(settings: ProgramSettings, program: str, now: float, not_before: float = 0.0) -> None:
    """Store since when the destination fails, and before when it accepts no request."""
    expression, values = "SET failing_since = if_not_exists(failing_since, :now)", {":now": now}
    if not_before:
        expression, values = f"{expression}, not_before = :not_before", values | {":not_before": not_before}
    _update(settings, program, expression, values)


def note_success(settings: ProgramSettings, program: str) -> None:
    """Remove stored failures; called only if the delivery state has some."""
    _update(settings, program, "REMOVE failing_since, not_before")


def _key(program: str) -> dict[str, Any]:
    return {"program": program, "item": "delivery_state"}


def _update(
    settings: ProgramSettings,
    program: str,
    expression: str,
    values: Mapping[str, Any] | None = None,
    condition: str = "",
) -> None:
    dynamodb.update(settings.programs_table, _key(program), expression, values, condition)
