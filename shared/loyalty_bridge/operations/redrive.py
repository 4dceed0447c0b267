"""Records that were refused, or that crashed the forwarder, on their way again.

They keep their event ids, so the ledger lets through only what the destination does not have, and the member state only
what is not older than what it has.
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
from loyalty_bridge.infra import aws
from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import ParkedBatch, ParkedRecord

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings

MOST_REASONS = 10
"""Reasons of one record that a list shows."""
MOST_REASON_CHARACTERS = 300
QUEUE_WAIT_SECONDS = 1
"""Any wait makes it a long poll, which asks all servers of the queue: a short one may find nothing on a full queue.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
"""
STREAM_FAILURES = "aws/lambda/"
"""Where Lambda puts what it gave up of a stream.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which refused records are meant.

    Attributes
    ----------
    reason
        Part of the reason; empty means any.
    since, until
        When they were refused.
    """

    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def bundle(self, bundle: ParkedBatch) -> bool:
        """Tell whether a bundle may hold some."""
        in_time = (self.since is None or bundle.at >= self.since) and (self.until is None or bundle.at <= self.until)
        is_partial = not 0 < len(bundle.reasons) < parked_records.MOST_REASONS
        told = is_partial or any(self.reason in reason for reason in bundle.reasons)
        return in_time and told

    def entry(self, entry: ParkedRecord) -> bool:
        """Tell whether a record is one."""
        return any(self.reason in f"{refusal.field}: {refusal.reason}" for refusal in entry.field_errors)


@dataclass(frozen=True, slots=True)
class Moved:
    """Outcome of a redrive or drop.

    Attributes
    ----------
    records
        Number of records that were redriven or dropped.
    left
        Number of records in bundles for which there was no time; some of them may not match. Repeat the call for them.
    """

    records: int
    left: int = 0


def rejected(
    settings: DeliverySettings, program: str, which: RecordFilter
) -> Iterator[tuple[ParkedBatch, list[ParkedRecord]]]:
    """List the refused records that are meant, bundle by bundle.

    Raises
    ------
    Unavailable
        A store does not answer.
    """
    for bundle in parked_records.batches(settings, "rejected", program):
        if which.bundle(bundle):
            yield bundle, [entry for entry in parked_records.records(settings, bundle) if which.entry(entry)]


def rows(settings: DeliverySettings, program: str, which: RecordFilter) -> Iterator[dict[str, Any]]:
    """Describe the refused records that are meant, each in a line of a list.

    Raises
    ------
    Unavailable
        A store does not answer.
    """
    for bundle, entries in rejected(settings, program, which):
        for entry in entries:
            yield {
                "at": bundle.at.isoformat(timespec="seconds"),
                "event_id": entry.event_id,
                "reasons": _reasons(entry),
                "missing": ", ".join(entry.missing),
            }


def describe(settings: DeliverySettings, program: str, event_id: str) -> dict[str, Any]:
    """Show a refused record itself: a member's data.

    Raises
    ------
    NotFound
        There is none of that event id.
    Unavailable
        A store does not answer.
    """
    for bundle in parked_records.batches(settings, "rejected", program):
        for entry in parked_records.records(settings, bundle):
            if entry.event_id == event_id:
                return {
                    "at": bundle.at.isoformat(),
                    "received": entry.record.received.isoformat(),
                    "event_id": entry.event_id,
                    "rejected": [
                        {"part": one.part, "field": one.field, "reason": one.reason} for one in entry.field_errors
                    ],
                    "missing": list(entry.missing),
                    "record": entry.record.body.decode(errors="backslashreplace"),
                }
    raise NotFound(f"no refused record of {program} has the event id {event_id}")


def _reasons(entry: ParkedRecord) -> str:
    """Name the first reasons: a record may be refused for thousands, and a list shows many records."""
    first = [f"{one.field}: {one.reason}"[:MOST_REASON_CHARACTERS] for one in entry.field_errors[:MOST_REASONS]]
    more = len(entry.field_errors) - len(first)
    return "; ".join([*first, *([f"and {more} more"] if more else [])])


def redrive(settings: DeliverySettings, program: str, which: RecordFilter, seconds: float = math.inf) -> Moved:
    """Put refused records on the event queue or stream again, bundle by bundle.

    Parameters
    ----------
    seconds
        Begins no further bundle after this time.

    Raises
    ------
    Unavailable
        A store or the transport does not answer: what was not put on the transport is still refused.
    """
    return _remove(
        settings,
        program,
        which,
        seconds,
        lambda entries: publisher.publish(settings, [(entry.record, entry.group) for entry in entries]),
    )


def drop(settings: DeliverySettings, program: str, which: RecordFilter, seconds: float = math.inf) -> Moved:
    """Delete refused records for good, bundle by bundle.

    Parameters
    ----------
    seconds
        Begins no further bundle after this time.

    Raises
    ------
    Unavailable
        A store does not answer.
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
    # The index first: what is put back beside a bundle comes again in a listing that goes on.
    bundles = [bundle for bundle in parked_records.batches(settings, "rejected", program) if which.bundle(bundle)]
    for number, bundle in enumerate(bundles):
        if time.monotonic() >= until:
            return Moved(taken, sum(one.count for one in bundles[number:]))
        entries = parked_records.records(settings, bundle)
        meant = [entry for entry in entries if which.entry(entry)]
        if not meant:
            continue
        act(meant)
        rest = [entry for entry in entries if not which.entry(entry)]
        if rest:
            parked_records.park(settings, "rejected", program, rest, bundle.at.timestamp())
        parked_records.remove(settings, bundle)
        taken += len(meant)
    return Moved(taken)


def count_dead_letters(settings: DeliverySettings) -> dict[str, int]:
    """Count the dead letters: messages of the dead-letter queue, batches that Lambda gave up.

    Raises
    ------
    Unavailable
        A store does not answer.
    """
    counts = {"messages": 0, "batches": 0}
    with aws.reaching("the dead letters"):
        if settings.dead_letter_queue_url:
            told = aws.sqs().get_queue_attributes(
                QueueUrl=settings.dead_letter_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
            counts["messages"] = int(told["Attributes"]["ApproximateNumberOfMessages"])
        counts["batches"] = sum(1 for _ in _stream_dead_letters(settings))
    return counts


def redrive_dead_letters(settings: DeliverySettings, seconds: float = math.inf) -> Moved:
    """Put dead letters on the event queue or stream again; damaged batches of the stream stay.

    Parameters
    ----------
    seconds
        Begins nothing more after this time.

    Raises
    ------
    Unavailable
        A store or the transport does not answer; what was not put stays where it was.
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
                continue  # damaged: it stays, and is counted, so that a person can look at it
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
    """Put an entry on the event queue or stream again as what came when it came first; what is no record, as it is."""
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
    told: dict[str, Any] = json.loads(payload) if isinstance(payload, str) else payload
    return told
