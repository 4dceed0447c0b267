"""Last step: decide what becomes of each delivery of a program, from what its destination has accepted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline import redelivery
from loyalty_bridge.pipeline.batch import ENDPOINT, InvocationBatch, Records
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch, parts
from loyalty_bridge.pipeline.sender import NO_TIME, ProgramSender
from loyalty_bridge.programs import delivery_state

if TYPE_CHECKING:
    from loyalty_bridge.pipeline.deduplication import Saved
    from loyalty_bridge.programs.connection import Program


@dataclass(frozen=True, slots=True)
class Failure:
    """Why records could not be sent.

    Attributes
    ----------
    is_broken
        Whether an operator has to act.
    wait
        Seconds for which the destination takes nothing.
    """

    reason: str
    is_broken: bool = False
    wait: float = 0.0


def settle(
    batch: InvocationBatch,
    program: Program,
    sender: ProgramSender | Unavailable,
    saved: Saved,
    members: list[MemberBatch],
) -> None:
    """Decide what becomes of a program's deliveries, and record it for the activity.

    Parameters
    ----------
    sender
        The program's sender after all requests, or why it could not be opened.
    """
    deliveries = [delivery for member in members for delivery in member.deliveries if delivery not in saved.to_retry]
    problem = _decide(batch, program, sender, deliveries)
    if problem:
        batch.problems[program.id] = problem
    batch.latencies += _latencies(deliveries)
    _record(batch, program.id, sender, deliveries, problem)
    batch.counts["delivery_not_recorded"] += saved.lost
    for delivery in saved.to_retry:
        batch.retry(delivery.message)


def _decide(
    batch: InvocationBatch, program: Program, sender: ProgramSender | Unavailable, deliveries: list[Delivery]
) -> str:
    """Reject, hold or retry deliveries; return why some were not sent, if any."""
    if isinstance(sender, ProgramSender):
        batch.counts += sender.counts
        failure = Failure(sender.failing, sender.broken, sender.not_before - time.monotonic())
    else:
        failure = Failure(str(sender))
    unsent = [(delivery.message, delivery.record) for delivery in deliveries if delivery.missing]
    try:
        for delivery in deliveries:
            if not delivery.missing:
                _reject_remainder(batch, delivery)
        if unsent:
            hold_or_retry(batch, program, unsent, failure)
        has_sent = isinstance(sender, ProgramSender) and sender.counts["requests"]
        if has_sent and (not unsent or failure.reason == NO_TIME) and program.delivery_state.failing_since:
            delivery_state.note_success(batch.settings, program.id)
    except Unavailable as error:
        for delivery in deliveries:
            batch.retry(delivery.message)
        return f"{failure.reason}; {error}"
    return failure.reason


def _reject_remainder(batch: InvocationBatch, delivery: Delivery) -> None:
    """Reject what the destination can never take of a delivery; the rest of it is accepted."""
    if delivery.field_errors:
        present = parts(delivery.translation)
        lacking = [part for part, is_present in present.items() if is_present and part not in delivery.accepted]
        untranslated = [error.part for error in delivery.field_errors if not present[error.part]]
        entry = ParkedRecord(
            delivery.record,
            delivery.update.event_id,
            delivery.message.group,
            tuple(delivery.field_errors),
            tuple(dict.fromkeys([*lacking, *untranslated])),
        )
        batch.reject(delivery.message, entry, is_whole=not (delivery.is_sent or delivery.accepted_before))


def hold_or_retry(batch: InvocationBatch, program: Program, unsent: Records, failure: Failure) -> None:
    """Hold records that could not be sent if the failure will last; else have them delivered again."""
    if failure.reason == NO_TIME:
        for message, _ in unsent:
            batch.retry(message)
        return
    state, limits = program.delivery_state, batch.limits
    failing_seconds = batch.now - state.failing_since if state.failing_since else 0.0
    # A shorter wait is over within an invocation: only the sender needs to know it.
    is_long = failure.wait > limits.wait_seconds
    not_before = time.time() + failure.wait if is_long else 0.0
    if not failure.is_broken and (not state.failing_since or not_before > state.not_before + 1):
        delivery_state.note_failure(batch.settings, program.id, batch.now, not_before)
    # A stream delivers again at once, and gives up on what it has delivered often.
    would_be_given_up = is_long and not all(message.handle for message, _ in unsent)
    if failure.is_broken or would_be_given_up or failing_seconds > limits.hold_after_seconds:
        batch.hold(program.id, unsent, failure.reason)
        return
    for message, _ in unsent:
        batch.retry(message)
        batch.retry_after[message.receipt] = failure.wait


def _record(
    batch: InvocationBatch,
    program: str,
    sender: ProgramSender | Unavailable,
    deliveries: list[Delivery],
    problem: str,
) -> None:
    """Record the outcome of a program's deliveries for its activity."""
    recorder, platform = batch.recorder, buffer.program_labels(program).engagement
    for delivery in deliveries:
        if delivery.missing:
            recorder.problem(program, ENDPOINT, platform, "not_sent", problem, delivery.update.event_id)
        elif delivery.is_sent:
            batch.record(delivery.record, "sent")
        elif delivery.accepted_before or not delivery.field_errors:
            batch.record(delivery.record, "suppressed")
    for since_arrival, _ in _latencies(deliveries):
        recorder.latency(program, ENDPOINT, since_arrival)
    if isinstance(sender, ProgramSender):
        recorder.count(program, ENDPOINT, {f"calls.{how}": count for how, count in sender.replies.items()})
        if unknown := sender.replies["outcome_unknown"]:
            reason = "a request got no answer that shows whether it was taken: its objects may be sent twice"
            recorder.problem(program, ENDPOINT, platform, "outcome_unknown", reason, count=unknown)
        if missing := sender.counts["not_processed"]:
            reason = "fewer objects were processed than sent, none is named: check for blocked names and users"
            recorder.problem(program, ENDPOINT, platform, "not_processed", reason, count=missing)


def _latencies(deliveries: list[Delivery]) -> list[tuple[float, float]]:
    now = time.time()
    return [
        (now - delivery.message.sent.timestamp(), now - delivery.update.time.timestamp())
        for delivery in deliveries
        if delivery.accepted != delivery.accepted_before
    ]


def delay_retries(batch: InvocationBatch) -> None:
    """Set when the queue delivers messages again; for a stream, wait before the invocation ends.

    A message whose delay cannot be set comes back after the queue's visibility time-out.
    """
    if first := batch.first_to_retry_of_stream():
        redelivery.of_stream(first.entry, batch.began, batch.deadline + batch.limits.settle_seconds / 2)
    messages = [message for message in batch.to_retry.values() if message.handle]
    if not messages:
        return
    try:
        with aws.reaching("the queue"):
            aws.sqs().change_message_visibility_batch(
                QueueUrl=batch.settings.events_queue_url,
                Entries=[
                    {
                        "Id": str(number),
                        "ReceiptHandle": message.handle,
                        "VisibilityTimeout": redelivery.of_queue(
                            message.receives, batch.retry_after.get(message.receipt, 0.0)
                        ),
                    }
                    for number, message in enumerate(messages)
                ],
            )
    except Unavailable:
        batch.counts["delay_not_set"] += len(messages)
