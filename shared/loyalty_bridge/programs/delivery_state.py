"""The gate of a program, shared by all containers: live, or held, or releasing what was held.

One item beside the connection, so that both come in one round trip and an operator's save does not collide with it.
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
"""For how long after records were held each ordered group is asked whether some of it is still on its way."""


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """What the containers know together about a program's destination; times in epoch seconds.

    Attributes
    ----------
    state
        ``live``: records are sent; ``held``: they are kept in order; ``releasing``: what was held passes, and in its
        ordered groups the rest waits behind it.
    reason, since
        Why and since when it is not live.
    failing_since
        Since when the destination has failed without a success; 0 when it has not.
    not_before
        Until when the destination lets all containers wait.
    watch_until
        Until when records may still be on the held shelf, or on their way from it, though the gate is live.
    waiting_until
        Until when records may wait for their person to become known.
    unreadable
        Why this version cannot read the item; then nothing else of it is known, and nothing may be sent.
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
    """Read an item, which another version may have written."""
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
    """Close the gate: the destination has failed for too long, or an operator has to act."""
    _update(
        settings,
        program,
        "SET #state = :held, reason = :reason, since = if_not_exists(since, :now), watch_until = :until",
        {":held": "held", ":reason": reason, ":now": now, ":until": now + WATCH_SECONDS},
    )


def extend_watch(settings: ProgramSettings, program: str, seen: DeliveryState, now: float) -> None:
    """Note that records were held behind others; written twice a day at most."""
    if seen.watch_until < now + WATCH_SECONDS / 2:
        _update(settings, program, "SET watch_until = :until", {":until": now + WATCH_SECONDS})


def extend_waiting(settings: ProgramSettings, program: str, seen: DeliveryState, now: float) -> None:
    """Note that records wait for their person; written twice a day at most."""
    if seen.waiting_until < now + WATCH_SECONDS / 2:
        _update(settings, program, "SET waiting_until = :until", {":until": now + WATCH_SECONDS})


def start_release(settings: ProgramSettings, program: str) -> None:
    """Let what was held pass again; new records of its ordered groups wait behind it."""
    expression = "SET #state = :releasing REMOVE failing_since, not_before"
    _update(settings, program, expression, {":releasing": "releasing"})


def replace(settings: ProgramSettings, program: str, now: float) -> None:
    """Write the gate anew because an operator says so: what is there cannot be read."""
    until = now + WATCH_SECONDS
    state = {"state": "releasing", "watch_until": until, "waiting_until": until}
    dynamodb.put(settings.programs_table, _key(program) | state)


def activate(settings: ProgramSettings, program: str, now: float) -> None:
    """Open the gate, unless it was closed again meanwhile; what was held is still on its way."""
    # If the condition fails, the program is held again: the next probe decides.
    _update(
        settings,
        program,
        "SET #state = :live, watch_until = :until REMOVE reason, since, failing_since, not_before",
        {":live": "live", ":releasing": "releasing", ":until": now + WATCH_SECONDS},
        "#state = :releasing",
    )


def note_failure(settings: ProgramSettings, program: str, now: float, not_before: float = 0.0) -> None:
    """Remember since when the destination fails, and until when it lets us wait."""
    expression, values = "SET failing_since = if_not_exists(failing_since, :now)", {":now": now}
    if not_before:
        expression, values = f"{expression}, not_before = :not_before", values | {":not_before": not_before}
    _update(settings, program, expression, values)


def note_success(settings: ProgramSettings, program: str) -> None:
    """Forget that it failed, or that another destination did; called only when the gate that was read says so."""
    _update(settings, program, "REMOVE failing_since, not_before")


def _key(program: str) -> dict[str, Any]:
    return {"program": program, "item": "gate"}


def _update(
    settings: ProgramSettings,
    program: str,
    expression: str,
    values: Mapping[str, Any] | None = None,
    condition: str = "",
) -> None:
    dynamodb.update(settings.programs_table, _key(program), expression, values, condition)
