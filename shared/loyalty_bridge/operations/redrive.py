"""Redrive rejected records and dead letters, or drop rejected ones.

Records keep their event ids. So the delivery log lets through only the parts that the destination does not have, and
the attribute state only values that are not older than those it has.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Invalid, NotFound
from loyalty_bridge.event_queue import bodies, envelope, publisher
from loyalty_bridge.event_queue.envelope import InboundMessage
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import ParkedBatch, ParkedRecord
from loyalty_bridge.pipeline import delivery_log
from loyalty_bridge.programs import repository

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings

WRITE_SECONDS = 6.0
"""How long to retry the change of the delivery log."""
MOST_REASONS = 10
"""Reasons of one record in a list."""
MOST_REASON_CHARACTERS = 300
QUEUE_WAIT_SECONDS = 1
"""A wait makes a long poll, which asks all servers of the queue; a short poll may find a full queue empty.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
"""
STREAM_FAILURES = "aws/lambda/"
"""Prefix under which Lambda stores batches of the stream that it gave up.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Select rejected records.

    Attributes
    ----------
    reason
        Text that a reason contains; empty selects all.
    since, until
        First and last time of rejection.
    """

    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def may_match(self, batch: ParkedBatch) -> bool:
        """Return whether a parked batch may contain matching records."""
        in_time = (self.since is None or batch.at >= self.since) and (self.until is None or batch.at <= self.until)
        is_partial = not 0 < len(batch.reasons) < parked_records.MOST_REASONS
        has_reason = is_partial or any(self.reason in reason for reason in batch.reasons)
        return in_time and has_reason

    def matches(self, entry: ParkedRecord) -> bool:
        """Return whether a record matches."""
        return any(self.reason in f"{error.field}: {error.reason}" for error in entry.field_errors)


@dataclass(frozen=True, slots=True)
class Moved:
    """Outcome of a redrive or drop.

    Attributes
    ----------
    records
        Number of records that were redriven or dropped.
    left
        Number of records in batches for which there was no time; some of them may not match. Repeat the call for them.
    """

    records: int
    left: int = 0


def rejected(
    settings: DeliverySettings, program: str, which: RecordFilter
) -> Iterator[tuple[ParkedBatch, list[ParkedRecord]]]:
    """List the matching rejected records, one parked batch at a time."""
    for batch in parked_records.batches(settings, "rejected", program):
        if which.may_match(batch):
            yield batch, [entry for entry in parked_records.records(settings, batch) if which.matches(entry)]


def rows(settings: DeliverySettings, program: str, which: RecordFilter) -> Iterator[dict[str, Any]]:
    """Describe the matching rejected records, one row each."""
    for batch, entries in rejected(settings, program, which):
        for entry in entries:
            yield {
                "at": batch.at.isoformat(timespec="seconds"),
                "event_id": entry.event_id,
                "reasons": _reasons(entry),
                "missing": ", ".join(entry.missing),
            }


def describe(settings: DeliverySettings, program: str, event_id: str) -> dict[str, Any]:
    """Describe a rejected record, with its body.

    Raises
    ------
    NotFound
        No rejected record has that event id.
    """
    for batch in parked_records.batches(settings, "rejected", program):
        for entry in parked_records.records(settings, batch):
            if entry.event_id == event_id:
                return {
                    "at": batch.at.isoformat(),
                    "received": entry.record.received.isoformat(),
                    "event_id": entry.event_id,
                    "rejected": [
                        {"part": one.part, "field": one.field, "reason": one.reason} for one in entry.field_errors
                    ],
                    "missing": list(entry.missing),
                    "record": entry.record.body.decode(errors="backslashreplace"),
                }
    raise NotFound(f"no rejected record of {program} has the event id {event_id}")


def _reasons(entry: ParkedRecord) -> str:
    """Return the first reasons: a record may have thousands, and a list shows many records."""
    first = [f"{one.field}: {one.reason}"[:MOST_REASON_CHARACTERS] for one in entry.field_errors[:MOST_REASONS]]
    more = len(entry.field_errors) - len(first)
    return "; ".join([*first, *([f"and {more} more"] if more else [])])


def redrive(settings: DeliverySettings, program: str, which: RecordFilter, seconds: float = math.inf) -> Moved:
    """Put rejected records back on the event queue or stream, one parked batch at a time.

    The unreadable delivery log entries of their events are deleted, so that the events are sent.

    Parameters
    ----------
    seconds
        Time after which no further parked batch is begun.

    Raises
    ------
    Unavailable
        A store does not answer. Records that were not put back stay rejected.
    """

    def put_back(entries: Sequence[ParkedRecord]) -> None:
        _delete_unreadable_log_entries(settings, program, entries)
        publisher.publish(settings, [(entry.record, entry.group) for entry in entries])

    return _remove(settings, program, which, seconds, put_back)


def _delete_unreadable_log_entries(
    settings: DeliverySettings, program_id: str, entries: Sequence[ParkedRecord]
) -> None:
    """Delete the delivery log entries that cannot be read of the events that were rejected for it."""
    concerned = [one for one in entries if any(error.reason == delivery_log.UNREADABLE for error in one.field_errors)]
    program = repository.load(settings, [program_id]).get(program_id) if concerned else None
    if program is None:
        return
    keys = {delivery_log.key(program.id, program.destination_version, one.event_id) for one in concerned}
    table, deadline = settings.delivery_log_table, time.monotonic() + WRITE_SECONDS
    items = dynamodb.batch_get([(table, {"event": {"B": key}}) for key in keys], deadline)[table]
    unreadable = [key for key, parts in map(delivery_log.from_item, items) if parts is None]
    dynamodb.write_each(
        [{"Delete": {"TableName": table, "Key": {"event": {"B": key}}}} for key in unreadable], deadline
    )


def drop(settings: DeliverySettings, program: str, which: RecordFilter, seconds: float = math.inf) -> Moved:
    """Delete rejected records, one parked batch at a time.

    Parameters
    ----------
    seconds
        Time after which no further parked batch is begun.
    """
    return _remove(settings, program, which, seconds, lambda _: None)


def _remove(
    settings: DeliverySettings,
    program: str,
    which: RecordFilter,
    seconds: float,
    act: Callable[[Sequence[ParkedRecord]], None],
) -> Moved:
    until, taken = time.monotonic() + seconds, 0
    # The index first: what is put back beside a batch comes again in a listing that goes on.
    batches = [batch for batch in parked_records.batches(settings, "rejected", program) if which.may_match(batch)]
    for number, batch in enumerate(batches):
        if time.monotonic() >= until:
            return Moved(taken, sum(one.count for one in batches[number:]))
        entries = parked_records.records(settings, batch)
        meant = [entry for entry in entries if which.matches(entry)]
        if not meant:
            continue
        act(meant)
        rest = [entry for entry in entries if not which.matches(entry)]
        if rest:
            parked_records.park(settings, "rejected", program, rest, batch.at.timestamp())
        parked_records.remove(settings, batch)
        taken += len(meant)
    return Moved(taken)


def count_dead_letters(settings: DeliverySettings) -> dict[str, int]:
    """Count the dead letters: messages of the dead-letter queue, batches that Lambda gave up."""
    counts = {"messages": 0, "batches": 0}
    with aws.reaching("the dead letters"):
        if settings.dead_letter_queue_url:
            answer = aws.sqs().get_queue_attributes(
                QueueUrl=settings.dead_letter_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
            counts["messages"] = int(answer["Attributes"]["ApproximateNumberOfMessages"])
        counts["batches"] = sum(1 for _ in _stream_dead_letters(settings))
    return counts


def redrive_dead_letters(settings: DeliverySettings, seconds: float = math.inf) -> Moved:
    """Put dead letters on the event queue or stream again; damaged batches of the stream stay.

    Parameters
    ----------
    seconds
        Time after which nothing more is begun.

    Raises
    ------
    Unavailable
        A store does not answer. Records that were not put back stay where they were.
    """
    until = time.monotonic() + seconds
    moved = 0
    with aws.reaching("the dead letters"):
        while settings.dead_letter_queue_url and time.monotonic() < until:
            messages = aws.sqs().receive_message(
                QueueUrl=settings.dead_letter_queue_url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=QUEUE_WAIT_SECONDS,
                MessageSystemAttributeNames=["All"],
            )
            batch = messages.get("Messages", [])
            if not batch:
                break
            for message in batch:  # one by one: the order within a group is the queue's
                _republish(settings, _dead_letter_message(message))
                aws.sqs().delete_message(
                    QueueUrl=settings.dead_letter_queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
            moved += len(batch)
        for key in list(_stream_dead_letters(settings)):
            if time.monotonic() >= until:
                break
            body = aws.s3().get_object(Bucket=settings.parked_bucket, Key=key)["Body"].read()
            try:
                inbound = envelope.inbound_messages(_payload(json.loads(body)))
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                continue  # damaged: it stays and is counted, for a person to look at
            for entry in inbound:
                _republish(settings, entry)
                moved += 1
            aws.s3().delete_object(Bucket=settings.parked_bucket, Key=key)
    return Moved(moved, sum(count_dead_letters(settings).values()) if time.monotonic() >= until else 0)


def _dead_letter_message(message: Mapping[str, Any]) -> InboundMessage:
    attributes = message["Attributes"]
    return InboundMessage(
        receipt=message["MessageId"],
        handle="",
        group=attributes["MessageGroupId"],
        sent=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        data=message["Body"].encode(),
    )


def _republish(settings: DeliverySettings, message: InboundMessage) -> None:
    """Publish an entry again with its first arrival time; an entry that is not a record, unchanged."""
    try:
        record = envelope.decode(message, lambda key: bodies.load(settings, key))
    except Invalid:
        publisher.publish_raw(settings, message.data, message.group)
    else:
        publisher.publish(settings, [(record, message.group)])


def _stream_dead_letters(settings: DeliverySettings) -> Iterator[str]:
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=settings.parked_bucket, Prefix=STREAM_FAILURES)
    return (one["Key"] for page in pages for one in page.get("Contents", []))


def _payload(failure: dict[str, Any]) -> dict[str, Any]:
    payload = failure["payload"]
    parsed: dict[str, Any] = json.loads(payload) if isinstance(payload, str) else payload
    return parsed
