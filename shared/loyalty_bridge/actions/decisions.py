"""Show an operator the actions whose outcome is unknown, and end them by the operator's decision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions import convercus, coupon_batches, idempotency, idempotency_store, punchh
from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.errors import Invalid, NotFound

if TYPE_CHECKING:
    from loyalty_bridge.actions.idempotency_store import Record
    from loyalty_bridge.settings import ActionSettings, BatchQueueSettings

RESULTS = {
    convercus.ASSIGN_COUPON: "couponCode",
    convercus.BOOK_POINTS: "bookingId",
    coupon_batches.ASSIGN_COUPON_BATCH: "batchId",
    punchh.SIGNUP_MEMBER: "userId",
}
"""Name of the result in each action's answer; an action without a result is absent."""
BATCH_PAUSE_SECONDS = 10
"""Delay before a batch continues: by then the decision about its member is stored."""


def find(settings: ActionSettings, program: str, action_id: str) -> Record:
    """Load an action.

    Raises
    ------
    NotFound
        The program has no action with this id, or it has expired.
    """
    record = idempotency_store.load(settings, program, action_id)
    if record is None:
        raise NotFound(f"{program} has no action {action_id}; list its actions to see their ids")
    return record


def row(record: Record) -> dict[str, Any]:
    """Return an action as a row of a list."""
    return {
        "id": record.id,
        "action": record.action,
        "since": _time(record.since),
        "about": ", ".join(f"{name}={value}" for name, value in record.about.items()),
        "failure_reason": record.failure_reason,
    }


def to_dict(record: Record) -> dict[str, Any]:
    """Return an action with its reference and answer."""
    shown = {
        "id": record.id,
        "action": record.action,
        "state": record.state,
        "since": _time(record.since),
        "about": dict(record.about),
        "reference": record.reference,
        "failure_reason": record.failure_reason,
    }
    return shown | ({"status": record.answer.status, "answer": dict(record.answer.body)} if record.answer else {})


def answer(record: Record, result: str, *, happened: bool) -> Answer | None:
    """Return the answer for repeats of an action; None if it did not happen, so that a repeat may act.

    Parameters
    ----------
    result
        The coupon code, or the id of the booking, batch or user.

    Raises
    ------
    Invalid
        The result is required and missing, or the action's outcome is already known.
    """
    if record.state != "unknown":
        raise Invalid("id", f"is of an action that is {record.state}; only an unknown outcome can be decided")
    if not happened:
        return None
    name = RESULTS.get(record.action)
    if name and not result.strip():
        raise Invalid("result", f"is required: the {name} that repeats get as answer")
    return Answer(200, {name: result.strip()} if name else {})


def decide(settings: BatchQueueSettings, record: Record, ended: Answer | None) -> None:
    """End an action with `ended`, and continue the batch that it belongs to, since a batch member has no other repeat.

    Raises
    ------
    Conflict
        The outcome is not, or no longer, unknown.
    """
    if batch_id := record.about.get(coupon_batches.BATCH_ID):
        # Before the decision: a crash in between then costs one run in vain, and never leaves the member unfinished.
        coupon_batches.request_run(settings, record.program, batch_id, after_seconds=BATCH_PAUSE_SECONDS)
    idempotency.decide(settings, record.program, record.id, ended)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
