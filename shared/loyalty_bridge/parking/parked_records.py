"""What is not delivered is kept: held until the connection works again, or refused with its reason.

One compressed S3 object for each program and invocation, indexed by one DynamoDB item. The object is written first:
what the index names is there.
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
"""Different reasons that the index tells of a bundle; of one that has more, any may be among its records."""
_MOST_ENDS_BYTES = 200_000
"""An item of DynamoDB takes 400 KB; only senders of very long group names reach this."""

Kind = Literal["held", "rejected", "waiting"]


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record that is kept.

    Attributes
    ----------
    event_id
        Id of its source event, where it could be read.
    group
        Its ordered group on the transport, to which it may return.
    field_errors
        Why, for a refused one.
    missing
        The parts that the destination does not have.
    is_damaged
        Whether it only says what is missing or damaged in its bundle.
    """

    record: SourceRecord
    event_id: str = ""
    group: str = ""
    field_errors: tuple[FieldError, ...] = ()
    missing: tuple[str, ...] = ()
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class ParkedBatch:
    """The index's line for one object of kept records.

    Attributes
    ----------
    ends
        Of records that were held more than once: the last place in each ordered group, which its later records wait
        for even if the object is lost.
    """

    program: str
    shelf: Kind
    position: str
    count: int
    reasons: Mapping[str, int]
    missing: Mapping[str, int]
    at: datetime
    ends: Mapping[str, str] = field(default_factory=dict)


def park(
    settings: DeliverySettings, shelf: Kind, program: str, entries: Sequence[ParkedRecord], now: float, before: str = ""
) -> list[str]:
    """Keep records of one program, in their order; gives their places on the shelf.

    Parameters
    ----------
    now
        Epoch seconds.
    before
        The position on the shelf that they had first, if they were there before: they come right after it, and before
        what was kept later.

    Raises
    ------
    Unavailable
        When S3 or DynamoDB does not take them.
    """
    position = f"{before}{'-' if before else ''}{int(now * 1000):013d}-{uuid.uuid4().hex[:12]}"
    firsts = _firsts(entry.record.released for entry in entries) if before else [""] * len(entries)
    written = [_written(entry, shelf) | {"first": first} for entry, first in zip(entries, firsts, strict=True)]
    lines = "\n".join(json.dumps(one, separators=(",", ":")) for one in written)
    reasons = Counter(f"{refusal.field}: {refusal.reason}"[:200] for e in entries for refusal in e.field_errors)
    missing = Counter(part for entry in entries for part in entry.missing)
    places = [place(position, number, first) for number, first in enumerate(firsts)]
    item: dict[str, Any] = {
        "shelf": {"S": f"{program}#{shelf}"},
        "position": {"S": position},
        "at": {"N": str(int(now * 1000))},
        "count": {"N": str(len(entries))},
        "reasons": {"M": {reason: {"N": str(count)} for reason, count in reasons.most_common(MOST_REASONS)}},
        "missing": {"M": {part: {"N": str(count)} for part, count in missing.items()}},
        "expires": {"N": str(int(now) + DAYS * 86400)},
    }
    ends = {entry.group: end for entry, end in zip(entries, places, strict=True)} if before else {}
    if sum(len(group.encode()) + len(end) for group, end in ends.items()) <= _MOST_ENDS_BYTES:
        item["ends"] = {"M": {group: {"S": end} for group, end in ends.items()}}
    body = gzip.compress(lines.encode(), mtime=0)
    with aws.reaching("the kept records"):
        aws.s3().put_object(Bucket=settings.parked_bucket, Key=_object(program, shelf, position), Body=body)
        aws.dynamodb().put_item(TableName=settings.parked_table, Item=item)
    return places


def place(position: str, number: int, first: str = "") -> str:
    """Name the place of a record in a bundle: an ordered group's places are in the order in which its records came.

    What is held once more stays where it was `first`, before what was behind it; the place tells when it was kept last.
    """
    return f"{first}-{position.split('-')[-2]}" if first else f"{position}.{number:06d}"


def _firsts(places: Iterable[str]) -> list[str]:
    """Name the places that records had first, by those that they had last.

    The events of one record are records of their own when they are held once more: the second one and those after it
    get places right after the first one's.
    """
    firsts: dict[str, None] = {}
    for place in places:
        position, _, number = place.rpartition(".")
        first = f"{position}.{number.partition('-')[0]}"
        while first in firsts:
            first = f"{first}:{len(firsts):06d}"
        firsts[first] = None
    return list(firsts)


def lies_there(place: str) -> bool:
    """Tell whether what was kept at a place may still be there: it has not expired since it was kept there last."""
    position, _, number = place.rpartition(".")
    kept_at = int(number.partition("-")[2] or position.split("-")[-2]) / 1000
    return kept_at > time.time() - DAYS * 86400


def batches(
    settings: DeliverySettings, shelf: Kind, program: str, *, limit: int | None = None
) -> Iterator[ParkedBatch]:
    """List what is kept of a program, in order; what has expired is gone, though DynamoDB deletes it days late.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ttl-expired-items.html

    Raises
    ------
    Unavailable
        When DynamoDB does not answer, while they are listed.
    """
    pages = (
        aws.dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=settings.parked_table,
            KeyConditionExpression="shelf = :shelf",
            FilterExpression="expires > :now",
            ExpressionAttributeValues={":shelf": {"S": f"{program}#{shelf}"}, ":now": {"N": str(int(time.time()))}},
            ConsistentRead=True,
            PaginationConfig={"MaxItems": limit} if limit else {},
        )
    )
    with aws.reaching("the kept records"):
        for page in pages:
            for item in page["Items"]:
                yield _indexed(program, shelf, item)


def row(bundle: ParkedBatch) -> dict[str, Any]:
    """Describe a bundle in a line of a list."""
    return {"position": bundle.position, "at": bundle.at.isoformat(timespec="seconds"), "records": bundle.count}


def records(settings: DeliverySettings, bundle: ParkedBatch) -> list[ParkedRecord]:
    """Read the records of a bundle; for what is missing or damaged, there is an entry that says so.

    Raises
    ------
    Unavailable
        When S3 does not answer.
    """
    body = aws.stored_object(settings.parked_bucket, _object(bundle.program, bundle.shelf, bundle.position))
    if body is None:
        return [_damaged(bundle, b"", f"the object with its {bundle.count} records is missing")]
    text = _unzipped(body)
    lines = text.split(b"\n") if text else []
    found = [_read_line(bundle, line) for line in lines]
    if absent := max(bundle.count - len(lines), 0):
        found.append(_damaged(bundle, b"" if lines else body, f"{absent} of its {bundle.count} records are missing"))
    return found


def remove(settings: DeliverySettings, bundle: ParkedBatch) -> None:
    """Take a bundle off its shelf: first the index's line, then the object (which otherwise expires).

    Raises
    ------
    Unavailable
        A store does not answer.
    """
    key = {"shelf": {"S": f"{bundle.program}#{bundle.shelf}"}, "position": {"S": bundle.position}}
    name = _object(bundle.program, bundle.shelf, bundle.position)
    with aws.reaching("the kept records"):
        aws.dynamodb().delete_item(TableName=settings.parked_table, Key=key)
        aws.s3().delete_object(Bucket=settings.parked_bucket, Key=name)


def _unzipped(body: bytes) -> bytes:
    """Decompress as much as can be: what follows damage is lost."""
    stream, text = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    with suppress(zlib.error):
        for start in range(0, len(body), 4096):
            text += stream.decompress(body[start : start + 4096])
    return bytes(text)


def _object(program: str, shelf: Kind, position: str) -> str:
    return f"{shelf}/{program}/{position}.jsonl.gz"


def _indexed(program: str, shelf: Kind, item: Mapping[str, Any]) -> ParkedBatch:
    position = item["position"]["S"]
    try:
        return ParkedBatch(
            program=program,
            shelf=shelf,
            position=position,
            count=int(item["count"]["N"]),
            reasons={reason: int(count["N"]) for reason, count in item["reasons"]["M"].items()},
            missing={part: int(count["N"]) for part, count in item["missing"]["M"].items()},
            at=datetime.fromtimestamp(int(item["at"]["N"]) / 1000, UTC),
            ends={group: end["S"] for group, end in item.get("ends", {"M": {}})["M"].items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):  # the object may be whole nevertheless
        return ParkedBatch(program, shelf, position, 0, {}, {}, datetime.fromtimestamp(0, UTC))


def _written(entry: ParkedRecord, shelf: Kind) -> dict[str, Any]:
    sought = entry.record.sought if shelf == "waiting" else None  # while it lies elsewhere, nobody could become known
    return {
        "program": entry.record.program,
        "received": milliseconds_of(entry.record.received),
        "sought": sought and milliseconds_of(sought),
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


def _read_line(bundle: ParkedBatch, line: bytes) -> ParkedRecord:
    try:
        return _read(json.loads(line))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return _damaged(bundle, line, "this record of it cannot be read")


def _damaged(bundle: ParkedBatch, data: bytes, why: str) -> ParkedRecord:
    return ParkedRecord(
        SourceRecord(bundle.program, data, bundle.at),
        event_id=f"bundle:{bundle.position}",
        group=f"{bundle.program}#bundle",
        field_errors=(FieldError("event", f"{bundle.shelf} bundle", why),),
        is_damaged=True,
    )


def _read(line: Mapping[str, Any]) -> ParkedRecord:
    record = SourceRecord(
        program=line["program"],
        body=base64.b64decode(line["body"]),
        received=instant_of(line["received"]),
        member=line["member"],
        sought=instant_of(line["sought"]) if line.get("sought") else None,
        released=line.get("first", ""),
    )
    return ParkedRecord(
        record,
        event_id=line["event_id"],
        group=line["group"],
        field_errors=tuple(FieldError(*refusal) for refusal in line["field_errors"]),
        missing=tuple(line["missing"]),
    )
