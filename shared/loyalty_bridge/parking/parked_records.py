"""Records outside queue and stream: held, rejected or waiting.

The parked records of one kind, program and invocation are a parked batch: one compressed S3 object, indexed by one
DynamoDB item. The object is written first, so that every index item has one.

A parked batch has a `position`, ``<epoch ms>-<random>``, and each record in it a place, ``<position>.<number>``. Both
sort as text: positions by the time of parking, and the places of a group in the order in which its records came.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from loyalty_bridge.event_queue.envelope import SourceRecord, instant_of, milliseconds_of
from loyalty_bridge.infra import aws
from loyalty_bridge.model import FieldError

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings

DAYS = 30
MOST_REASONS = 50
"""Different reasons that the index item of a parked batch names."""
_MOST_PLACES_BYTES = 200_000
"""Of `last_places` in an index item, which may have 400 KB; only very long group names reach this."""

Kind = Literal["held", "rejected", "waiting"]


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record in a parked batch.

    Attributes
    ----------
    event_id
        Id of its source event, if it could be read.
    group
        Its group on the queue or stream.
    field_errors
        Why it was rejected.
    missing
        The parts that the destination does not have.
    is_damaged
        Whether it stands for a record that is missing or cannot be read; its error says which.
    """

    record: SourceRecord
    event_id: str = ""
    group: str = ""
    field_errors: tuple[FieldError, ...] = ()
    missing: tuple[str, ...] = ()
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class ParkedBatch:
    """The index item of a parked batch.

    Attributes
    ----------
    at
        When it was parked (UTC).
    last_places
        For records that were held more than once: the last place of each group. Later records of the group wait for
        it, even if the S3 object is lost.
    """

    program: str
    kind: Kind
    position: str
    count: int
    reasons: Mapping[str, int]
    missing: Mapping[str, int]
    at: datetime
    last_places: Mapping[str, str] = field(default_factory=dict)


def park(
    settings: DeliverySettings,
    kind: Kind,
    program: str,
    entries: Sequence[ParkedRecord],
    now: float,
    first_position: str = "",
) -> list[str]:
    """Park records of one program, in their order; return their places.

    Parameters
    ----------
    now
        Epoch seconds.
    first_position
        The position at which they were held the first time, if they were held before. Their new position sorts right
        after it, and before all records that were held later.
    """
    position = f"{first_position}{'-' if first_position else ''}{int(now * 1000):013d}-{uuid.uuid4().hex[:12]}"
    first_places = _first_places(entry.record.released for entry in entries) if first_position else [""] * len(entries)
    lines = [
        _to_line(entry, kind) | {"first_place": first_place}
        for entry, first_place in zip(entries, first_places, strict=True)
    ]
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    places = [place_of(position, number, first_place) for number, first_place in enumerate(first_places)]
    last_places = {entry.group: place for entry, place in zip(entries, places, strict=True)} if first_position else {}
    with aws.reaching("the parked records"):
        aws.s3().put_object(
            Bucket=settings.parked_bucket,
            Key=_object(program, kind, position),
            Body=gzip.compress(text.encode(), mtime=0),
        )
        item = _to_item(kind, program, position, entries, now, last_places)
        aws.dynamodb().put_item(TableName=settings.parked_table, Item=item)
    return places


def _to_item(
    kind: Kind,
    program: str,
    position: str,
    entries: Sequence[ParkedRecord],
    now: float,
    last_places: Mapping[str, str],
) -> dict[str, Any]:
    reasons = Counter(f"{error.field}: {error.reason}"[:200] for entry in entries for error in entry.field_errors)
    missing = Counter(part for entry in entries for part in entry.missing)
    item: dict[str, Any] = {
        "program_kind": {"S": f"{program}#{kind}"},
        "position": {"S": position},
        "at": {"N": str(int(now * 1000))},
        "count": {"N": str(len(entries))},
        "reasons": {"M": {reason: {"N": str(count)} for reason, count in reasons.most_common(MOST_REASONS)}},
        "missing": {"M": {part: {"N": str(count)} for part, count in missing.items()}},
        "expires": {"N": str(int(now) + DAYS * 86400)},
    }
    if sum(len(group.encode()) + len(place) for group, place in last_places.items()) <= _MOST_PLACES_BYTES:
        item["last_places"] = {"M": {group: {"S": place} for group, place in last_places.items()}}
    return item


def place_of(position: str, number: int, first_place: str = "") -> str:
    """Return the place of a record in a parked batch.

    A record that is held again keeps its first place, followed by the time at which it was parked last: so it stays
    before the records that came after it.
    """
    return f"{first_place}-{position.split('-')[-2]}" if first_place else f"{position}.{number:06d}"


def _first_places(places: Iterable[str]) -> list[str]:
    """Return the places at which records were held the first time, from those at which they were held last.

    When a record with several events is held again, each event is a record of its own: the second one and those after
    it get places right after the first one's.
    """
    first_places: dict[str, None] = {}
    for place in places:
        position, _, number = place.rpartition(".")
        first_place = f"{position}.{number.partition('-')[0]}"
        while first_place in first_places:
            first_place = f"{first_place}:{len(first_places):06d}"
        first_places[first_place] = None
    return list(first_places)


def may_be_parked(place: str) -> bool:
    """Return whether the record of a place may still be parked: it has not expired since it was parked last."""
    position, _, number = place.rpartition(".")
    parked_at = int(number.partition("-")[2] or position.split("-")[-2]) / 1000
    return parked_at > time.time() - DAYS * 86400


def batches(settings: DeliverySettings, kind: Kind, program: str, *, limit: int | None = None) -> Iterator[ParkedBatch]:
    """List a program's parked batches of one kind, in order, without expired ones (DynamoDB deletes those days late).

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ttl-expired-items.html
    """
    pages = (
        aws.dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=settings.parked_table,
            KeyConditionExpression="program_kind = :program_kind",
            FilterExpression="expires > :now",
            ExpressionAttributeValues={
                ":program_kind": {"S": f"{program}#{kind}"},
                ":now": {"N": str(int(time.time()))},
            },
            ConsistentRead=True,
            PaginationConfig={"MaxItems": limit} if limit else {},
        )
    )
    with aws.reaching("the parked records"):
        for page in pages:
            for item in page["Items"]:
                yield _from_item(program, kind, item)


def row(batch: ParkedBatch) -> dict[str, Any]:
    """Return a parked batch as a row of a list."""
    return {"position": batch.position, "at": batch.at.isoformat(timespec="seconds"), "records": batch.count}


def records(settings: DeliverySettings, batch: ParkedBatch) -> list[ParkedRecord]:
    """Read the records of a parked batch; a damaged entry stands for each that is missing or cannot be read."""
    body = aws.stored_object(settings.parked_bucket, _object(batch.program, batch.kind, batch.position))
    if body is None:
        return [_damaged(batch, b"", f"the object with its {batch.count} records is missing")]
    text = _unzipped(body)
    lines = text.split(b"\n") if text else []
    found = [_read_line(batch, line) for line in lines]
    if absent := max(batch.count - len(lines), 0):
        found.append(_damaged(batch, b"" if lines else body, f"{absent} of its {batch.count} records are missing"))
    return found


def remove(settings: DeliverySettings, batch: ParkedBatch) -> None:
    """Remove a parked batch: first its index item, then its S3 object (which expires if that fails)."""
    key = {"program_kind": {"S": f"{batch.program}#{batch.kind}"}, "position": {"S": batch.position}}
    name = _object(batch.program, batch.kind, batch.position)
    with aws.reaching("the parked records"):
        aws.dynamodb().delete_item(TableName=settings.parked_table, Key=key)
        aws.s3().delete_object(Bucket=settings.parked_bucket, Key=name)


def _unzipped(body: bytes) -> bytes:
    """Decompress a text up to the first damage; the rest is lost."""
    stream, text = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    with suppress(zlib.error):
        for start in range(0, len(body), 4096):
            text += stream.decompress(body[start : start + 4096])
    return bytes(text)


def _object(program: str, kind: Kind, position: str) -> str:
    return f"{kind}/{program}/{position}.jsonl.gz"


def _from_item(program: str, kind: Kind, item: Mapping[str, Any]) -> ParkedBatch:
    position = item["position"]["S"]
    try:
        return ParkedBatch(
            program=program,
            kind=kind,
            position=position,
            count=int(item["count"]["N"]),
            reasons={reason: int(count["N"]) for reason, count in item["reasons"]["M"].items()},
            missing={part: int(count["N"]) for part, count in item["missing"]["M"].items()},
            at=datetime.fromtimestamp(int(item["at"]["N"]) / 1000, UTC),
            last_places={group: place["S"] for group, place in item.get("last_places", {"M": {}})["M"].items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):  # the S3 object may still be whole
        return ParkedBatch(program, kind, position, 0, {}, {}, datetime.fromtimestamp(0, UTC))


def _to_line(entry: ParkedRecord, kind: Kind) -> dict[str, Any]:
    # The wait for its person does not go on while it is held or rejected.
    waiting_since = entry.record.waiting_since if kind == "waiting" else None
    return {
        "program": entry.record.program,
        "received": milliseconds_of(entry.record.received),
        "waiting_since": waiting_since and milliseconds_of(waiting_since),
        "body": base64.b64encode(entry.record.body).decode(),
        "member": entry.record.member,
        "event_id": entry.event_id,
        "group": entry.group,
        "field_errors": [[one.part, one.field[:200], one.reason[:500]] for one in _first_errors(entry.field_errors)],
        "missing": list(entry.missing),
    }


def _first_errors(field_errors: Sequence[FieldError]) -> Sequence[FieldError]:
    """Return as many errors of a record as a person reads; the last one counts the others."""
    if len(field_errors) <= MOST_REASONS:
        return field_errors
    more = FieldError(
        field_errors[0].part, "record", f"{len(field_errors) - MOST_REASONS} more of its fields cannot be used"
    )
    return [*field_errors[:MOST_REASONS], more]


def _read_line(batch: ParkedBatch, line: bytes) -> ParkedRecord:
    try:
        return _from_line(json.loads(line))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return _damaged(batch, line, "a record in it cannot be read")


def _damaged(batch: ParkedBatch, data: bytes, why: str) -> ParkedRecord:
    return ParkedRecord(
        SourceRecord(batch.program, data, batch.at),
        event_id=f"parked:{batch.position}",
        group=f"{batch.program}#parked",
        field_errors=(FieldError("event", f"{batch.kind} batch", why),),
        is_damaged=True,
    )


def _from_line(line: Mapping[str, Any]) -> ParkedRecord:
    record = SourceRecord(
        program=line["program"],
        body=base64.b64decode(line["body"]),
        received=instant_of(line["received"]),
        member=line["member"],
        waiting_since=instant_of(line["waiting_since"]) if line.get("waiting_since") else None,
        released=line.get("first_place", ""),
    )
    return ParkedRecord(
        record,
        event_id=line["event_id"],
        group=line["group"],
        field_errors=tuple(FieldError(*refusal) for refusal in line["field_errors"]),
        missing=tuple(line["missing"]),
    )
