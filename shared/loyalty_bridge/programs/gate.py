"""The gate of a program, shared by all containers: live, or held, or draining what was held.

One item beside the connection, so that both come in one round trip and an operator's save does not collide with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from loyalty_bridge import aws

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings

State = Literal["live", "held", "draining"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What the containers know together about a program's destination; times in epoch seconds.

    Attributes
    ----------
    state
        ``live``: records are sent; ``held``: they are kept in order; ``draining``: what was held passes, the rest
        waits.
    reason, since
        Why and since when it is not live.
    failing_since
        Since when the destination has failed without a success; 0 when it has not.
    live_since
        What the transport took before this waits behind what was drained.
    touched
        Rises whenever records are held, so that going live cannot overlook them.
    """

    state: State = "live"
    reason: str = ""
    since: float = 0.0
    failing_since: float = 0.0
    live_since: float = 0.0
    touched: int = 0


def opened(item: Mapping[str, Any]) -> Gate:
    """Read an item."""
    return Gate(
        state=cast("State", item.get("state", {}).get("S", "live")),
        reason=item.get("reason", {}).get("S", ""),
        since=float(item.get("since", {}).get("N", 0)),
        failing_since=float(item.get("failing_since", {}).get("N", 0)),
        live_since=float(item.get("live_since", {}).get("N", 0)),
        touched=int(item.get("touched", {}).get("N", 0)),
    )


def hold(settings: ProgramSettings, program: str, reason: str, now: float) -> None:
    """Close the gate; called after records were held, and by whoever finds the connection broken."""
    _update(
        settings,
        program,
        "SET #state = :held, reason = :reason, since = if_not_exists(since, :now) ADD touched :one",
        {":held": {"S": "held"}, ":reason": {"S": reason}, ":now": _number(now), ":one": {"N": "1"}},
    )


def touch(settings: ProgramSettings, program: str, reason: str, now: float) -> None:
    """Tell that records were held behind a gate that is not live, or was not when they were read.

    A gate that has gone live meanwhile drains again, so that nothing later of a member overtakes them.
    """
    client = aws.dynamodb()
    try:
        _update(
            settings,
            program,
            "SET #state = :draining, reason = :reason, since = :now ADD touched :one",
            {
                ":draining": {"S": "draining"},
                ":reason": {"S": reason},
                ":now": _number(now),
                ":one": {"N": "1"},
                ":held": {"S": "held"},
            },
            "attribute_not_exists(#state) OR #state <> :held",
        )
    except client.exceptions.ConditionalCheckFailedException:
        _update(settings, program, "ADD touched :one", {":one": {"N": "1"}}, names=False)


def drain(settings: ProgramSettings, program: str) -> None:
    """Let what was held pass again, while new records wait behind it."""
    _update(settings, program, "SET #state = :draining REMOVE failing_since", {":draining": {"S": "draining"}})


def go_live(settings: ProgramSettings, program: str, seen: Gate, now: float) -> bool:
    """Open the gate, unless records were held since `seen` was read.

    Parameters
    ----------
    now
        Epoch seconds; records that the transport took before it wait behind those that were drained.
    """
    client = aws.dynamodb()
    try:
        _update(
            settings,
            program,
            "SET #state = :live, live_since = :now REMOVE reason, since, failing_since",
            {
                ":live": {"S": "live"},
                ":now": _number(now),
                ":seen": {"N": str(seen.touched)},
                ":zero": {"N": "0"},
                ":draining": {"S": "draining"},
            },
            "#state = :draining AND (touched = :seen OR (attribute_not_exists(touched) AND :seen = :zero))",
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def note_failure(settings: ProgramSettings, program: str, now: float) -> None:
    """Remember since when the destination fails."""
    _update(
        settings, program, "SET failing_since = if_not_exists(failing_since, :now)", {":now": _number(now)}, names=False
    )


def note_success(settings: ProgramSettings, program: str) -> None:
    """Forget that it failed; called only when the gate that was read says so."""
    _update(settings, program, "REMOVE failing_since", None, names=False)


def _number(value: float) -> dict[str, str]:
    return {"N": f"{value:.3f}"}


def _update(
    settings: ProgramSettings,
    program: str,
    expression: str,
    values: dict[str, Any] | None,
    condition: str = "",
    *,
    names: bool = True,
) -> None:
    request: dict[str, Any] = {
        "TableName": settings.programs_table,
        "Key": {"program": {"S": program}, "item": {"S": "gate"}},
        "UpdateExpression": expression,
    }
    if names:
        request["ExpressionAttributeNames"] = {"#state": "state"}
    if values:
        request["ExpressionAttributeValues"] = values
    if condition:
        request["ConditionExpression"] = condition
    aws.dynamodb().update_item(**request)
