"""What an operator sees of an action whose outcome is unknown, and with what it may be ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from loyalty_bridge.actions import convercus, coupon_batches, idempotency, punchh
from loyalty_bridge.actions.coupon_batches import QueueSettings
from loyalty_bridge.actions.idempotency import Answer, IdempotencySettings, Record
from loyalty_bridge.errors import Invalid, NotFound

RESULTS = {
    convercus.ASSIGN_COUPON: "couponCode",
    convercus.BOOK_POINTS: "bookingId",
    coupon_batches.ASSIGN_COUPON_BATCH: "batchId",
    punchh.SIGNUP_MEMBER: "userId",
}
"""What a success of an action answers, where it answers something."""
BATCH_PAUSE_SECONDS = 10
"""After which a batch is gone on with: by then the decision about one of its members is written."""


class DecisionSettings(IdempotencySettings, QueueSettings, Protocol):
    """Where a decision is written, and who has to learn of it."""


def find(settings: IdempotencySettings, program: str, action_id: str) -> Record:
    """Read an action.

    Raises
    ------
    NotFound
        The program has none of that id, or none any more.
    Unavailable
        The journal does not answer.
    """
    found = idempotency.get(settings, program, action_id)
    if found is None:
        raise NotFound(f"{program} has no action {action_id}")
    return found


def row(record: Record) -> dict[str, Any]:
    """Describe an action in a line of a list."""
    return {
        "id": record.id,
        "action": record.action,
        "since": _time(record.since),
        "about": ", ".join(f"{name}={value}" for name, value in record.about.items()),
        "doubt": record.doubt,
    }


def described(record: Record) -> dict[str, Any]:
    """Tell what is known of an action, and under which reference it was sent."""
    told = {
        "id": record.id,
        "action": record.action,
        "state": record.state,
        "since": _time(record.since),
        "about": dict(record.about),
        "reference": record.reference,
        "doubt": record.doubt,
    }
    return told | ({"status": record.answer.status, "answer": dict(record.answer.body)} if record.answer else {})


def answer(record: Record, result: str, *, happened: bool) -> Answer | None:
    """Make what repeats of an action are answered with; None when it did not happen, and a repeat may act.

    Parameters
    ----------
    result
        Of what happened: the coupon's code, the booking's or the batch's id, or the signed-up user's.

    Raises
    ------
    Invalid
        It is needed and not told, or the action's outcome is known.
    """
    if record.state != "unknown":
        raise Invalid("id", f"is of an action that is {record.state}")
    if not happened:
        return None
    name = RESULTS.get(record.action)
    if name and not result.strip():
        raise Invalid("result", f"is needed: the {name} that repeats are answered with")
    return Answer(200, {name: result.strip()} if name else {})


def decide(settings: DecisionSettings, record: Record, ended: Answer | None) -> None:
    """End an action as `answer` told, and go on with the batch that it belongs to: nobody repeats a member of one.

    Raises
    ------
    Conflict
        Its outcome is not, or no longer, unknown.
    Unavailable
        The decision is not written.
    """
    if batch_id := record.about.get(coupon_batches.BATCH_ID):
        # First, and in vain if the decision fails: the other way round a crash would leave the member as it is.
        coupon_batches.ask(settings, record.program, batch_id, after_seconds=BATCH_PAUSE_SECONDS)
    idempotency.decide(settings, record.program, record.id, ended)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
