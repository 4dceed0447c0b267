"""Publish records to the event queue or stream, the ordered way to the pipeline."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import bodies
from loyalty_bridge.event_queue.envelope import SourceRecord, encode
from loyalty_bridge.infra import aws
from loyalty_bridge.infra.retry import backoff

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings

INLINE_BYTES = 150_000
"""The most that travels in an envelope (200 KB as base64); ten of the largest exceed SQS's 1 MiB and go in turns."""

MOST_TOGETHER = 100
"""Events of one member that travel in one record: what fails of them comes again with all."""

_ATTEMPTS = 3
"""Tries of an entry that was not taken while its neighbours were: one shard, or a moment, may be too busy."""

sleep: Callable[[float], None] = time.sleep
"""How long to wait between them; a test may wait for nothing."""


class Addressed(NamedTuple):
    """A record, its ordered group, and an id by which a queue recognises a copy for five minutes (empty: never)."""

    record: SourceRecord
    group: str
    id: str = ""


class _Sealed(NamedTuple):
    group: str
    body: bytes
    id: str


def _new_id() -> str:
    return uuid.uuid4().hex


def publish(settings: DeliverySettings, records: Iterable[Addressed | tuple[SourceRecord, str]]) -> None:
    """Publish records, each with its group, in order; return when they are stored durably."""
    sealed = [
        # Not the body's hash: what is put again on purpose within five minutes must not vanish.
        _Sealed(
            group,
            encode(record, lambda body: bodies.save(settings, body), INLINE_BYTES).encode(),
            id_ or _new_id(),
        )
        for record, group, id_ in (Addressed(*one) for one in records)
    ]
    _put(settings, sealed)


def grouped(records: Iterable[tuple[SourceRecord, str]]) -> list[tuple[SourceRecord, str]]:
    """Put the events of each group together, in order, in records that hold arrays: a record costs a round trip.

    Parameters
    ----------
    records
        Records of one event each that came together, with their groups.
    """
    groups: dict[str, list[list[SourceRecord]]] = {}
    for record, group in records:
        parts = groups.setdefault(group, [[]])
        size = sum(len(one.body) + 1 for one in parts[-1]) + len(record.body)
        if parts[-1] and (size >= INLINE_BYTES or len(parts[-1]) == MOST_TOGETHER):
            parts.append([])
        parts[-1].append(record)
    return [(_array(part), group) for group, parts in groups.items() for part in parts]


def _array(records: Sequence[SourceRecord]) -> SourceRecord:
    if len(records) == 1:
        return records[0]
    return replace(records[0], body=b"[%b]" % b",".join(one.body for one in records), document=None)


def publish_raw(settings: DeliverySettings, data: bytes, group: str) -> None:
    """Publish an entry exactly as it was on the queue or stream before."""
    _put(settings, [_Sealed(group, data, _new_id())])


def _put(settings: DeliverySettings, sealed: Sequence[_Sealed]) -> None:
    for turn in _turns(sealed):
        if settings.events_queue_url and settings.publish_to != "stream":
            _put_turn(turn, partial(_to_queue, settings.events_queue_url), most=10, most_bytes=1_000_000)
        else:
            _put_turn(turn, partial(_to_stream, settings.events_stream), most=500, most_bytes=4_000_000)


def _put_turn(
    turn: Sequence[_Sealed],
    put_some: Callable[[Sequence[_Sealed]], tuple[Sequence[_Sealed], str]],
    *,
    most: int,
    most_bytes: int,
) -> None:
    """Put entries of different groups; those that were not taken are put again, and not their neighbours."""
    for chunk in _chunks(turn, most=most, most_bytes=most_bytes):
        left: Sequence[_Sealed] = chunk
        for attempt in range(_ATTEMPTS):
            if attempt:
                sleep(backoff(attempt, first=0.1))
            left, why = put_some(left)
            if not left:
                break
        else:
            raise Unavailable(why)


def _turns(sealed: Sequence[_Sealed]) -> list[list[_Sealed]]:
    """Divide entries so that no turn holds two of a group: a later one of a request may be taken and an earlier not.

    https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
    """
    turns: list[list[_Sealed]] = []
    seen: Counter[str] = Counter()
    for entry in sealed:
        if seen[entry.group] == len(turns):
            turns.append([])
        turns[seen[entry.group]].append(entry)
        seen[entry.group] += 1
    return turns


def _to_queue(queue: str, sealed: Sequence[_Sealed]) -> tuple[Sequence[_Sealed], str]:
    """Put entries on the queue; return those that it has not taken, and why."""
    entries: list[Any] = [
        {
            "Id": str(number),
            "MessageBody": one.body.decode(errors="replace"),  # what is no text is no record
            "MessageGroupId": one.group,
            "MessageDeduplicationId": one.id,
        }
        for number, one in enumerate(sealed)
    ]
    with aws.reaching("the queue"):
        reply = aws.sqs().send_message_batch(QueueUrl=queue, Entries=entries)
    failed = reply.get("Failed", [])
    return [sealed[int(one["Id"])] for one in failed], f"the queue: {failed[0]['Code']}" if failed else ""


def _to_stream(stream: str, sealed: Sequence[_Sealed]) -> tuple[Sequence[_Sealed], str]:
    """Put entries on the stream; return those that it has not taken, and why."""
    entries: list[Any] = [{"Data": one.body, "PartitionKey": one.group} for one in sealed]
    with aws.reaching("the stream"):
        reply = aws.kinesis().put_records(StreamName=stream, Records=entries)
    if not reply.get("FailedRecordCount"):
        return [], ""
    left = [entry for entry, result in zip(sealed, reply["Records"], strict=True) if result.get("ErrorCode")]
    return left, "the stream: did not take all records"


def _chunks(sealed: Sequence[_Sealed], *, most: int, most_bytes: int) -> list[list[_Sealed]]:
    chunks: list[list[_Sealed]] = []
    size = most_bytes
    for entry in sealed:
        if size + len(entry.body) > most_bytes or len(chunks[-1]) == most:
            chunks.append([])
            size = 0
        chunks[-1].append(entry)
        size += len(entry.body)
    return chunks
