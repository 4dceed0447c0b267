"""Source records as the queue or stream carries them.

A loyalty platform's record may lie on the queue or the stream as it is (Convercus: JSON that names its `programId`), or
in an envelope, which is what the bridge itself puts there:

    {"loyalty_bridge": 1, "program": …, "received": <epoch ms>, "body": <base64> | "stored": <S3 key>,
     "member": …, "released": …, "waiting_since": <epoch ms>}

The body is base64, because a queue takes fewer characters than platforms send. Every producer of the queue or stream
can write an envelope, so each of its fields is checked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue import aggregates
from loyalty_bridge.model import Json
from loyalty_bridge.platforms import parsing

if TYPE_CHECKING:
    from loyalty_bridge.platforms.base import LoyaltyPlatform

_MARK = "loyalty_bridge"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PROGRAM_ID = re.compile(f"{parsing.PROGRAM_ID}|-")  # -: of no known program, refused and put back as it was
_PLACE = re.compile(r"\d{13}-[0-9a-f]{12}(-\d{13}-[0-9a-f]{12}){0,9}\.\d{6,9}(:\d{6,9}){0,20}(-\d{13})?", re.ASCII)
"""Bounded, since it becomes part of the name of an object and of a key, which have at most 1,024 bytes."""
_PLACE_AHEAD = timedelta(days=1)
"""A container whose clock was ahead has held the record there; it must come back all the same."""
_TIMES_OF_PLACE = re.compile(r"(?:^|-)(\d{13})(?=-|$)", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,60}")


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One entry of a batch, not yet opened.

    Attributes
    ----------
    receipt
        Names it in the batch.
    handle
        What SQS takes to change its visibility; empty on Kinesis.
    group
        Entries of one group are in order.
    sent
        When the queue or stream took it (UTC).
    receives
        How often the queue has delivered it, this time included.
    part
        Its number in an aggregated record of a stream, which is settled as a whole; 0: it came alone.
    data
        The entry itself. Not shown: it is a member's data.
    """

    receipt: str
    handle: str
    group: str
    sent: datetime
    data: bytes = field(repr=False)
    receives: int = 1
    part: int = 0

    @property
    def entry(self) -> str:
        """The receipt of the whole queue or stream entry in which it came."""
        return self.receipt.partition("/")[0] if self.part else self.receipt


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What a loyalty platform sent.

    Attributes
    ----------
    received
        When the bridge, the queue or the stream got it first (UTC).
    member
        The member it is for, if the record itself does not name one.
    released
        Its place among the held records (`parked_records.place_of`), if it was held and released; else empty.
    waiting_since
        Since when it waits for the member of its person (UTC); None if it never did.
    document
        The parsed body, if all of it can be used.
    """

    program: str
    body: bytes = field(repr=False)
    received: datetime
    member: str = ""
    released: str = ""
    waiting_since: datetime | None = None
    document: Json = field(default=None, repr=False, compare=False)


RecordEvent = tuple[SourceRecord, Json]
"""An event, and the record of it alone."""


def inbound_messages(event: Mapping[str, Any]) -> list[InboundMessage]:
    """Read a Lambda event of SQS or Kinesis; what producers packed into one record of a stream is taken apart."""
    return [
        message
        for entry in event["Records"]
        for message in (_from_stream(entry) if "kinesis" in entry else [_from_queue(entry)])
    ]


def _from_queue(entry: Mapping[str, Any]) -> InboundMessage:
    attributes = entry["attributes"]
    return InboundMessage(
        receipt=entry["messageId"],
        handle=entry["receiptHandle"],
        group=attributes.get("MessageGroupId", entry["messageId"]),
        sent=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        data=entry["body"].encode(errors="surrogatepass"),
        receives=int(attributes["ApproximateReceiveCount"]),
    )


def _from_stream(entry: Mapping[str, Any]) -> list[InboundMessage]:
    whole = InboundMessage(
        receipt=entry["kinesis"]["sequenceNumber"],
        handle="",
        group=entry["kinesis"]["partitionKey"],
        sent=datetime.fromtimestamp(entry["kinesis"]["approximateArrivalTimestamp"], UTC),
        data=base64.b64decode(entry["kinesis"]["data"]),
    )
    if not whole.data.startswith(aggregates.MAGIC):
        return [whole]
    try:
        packed = aggregates.unpacked(whole.data)
    except ValueError:
        return [whole]  # refused when it is opened
    return [
        replace(whole, receipt=f"{whole.receipt}/{part}", group=one.partition_key, data=one.data, part=part)
        for part, one in enumerate(packed, 1)
    ]


def decode(message: InboundMessage, fetch: Callable[[str], bytes]) -> SourceRecord:
    """Open an entry.

    Parameters
    ----------
    fetch
        Reads a stored body by its key.

    Raises
    ------
    Invalid
        It is not JSON, names no program, or is an envelope or an aggregated record that cannot be opened.
    """
    if message.data.startswith(aggregates.MAGIC):
        raise Invalid("record", "is packed as the Kinesis Producer Library does, but damaged")
    document, unusable = parsing.parse_each(message.data)
    if not (isinstance(document, Mapping) and document.get(_MARK) == 1):
        return SourceRecord(_program(document), message.data, message.sent, document=None if unusable else document)
    program = _program_id(document.get("program"), "program")
    member = parsing.parse_text(document["member"], "member") if "member" in document else ""
    released = parsing.parse_text(document["released"], "released") if "released" in document else ""
    if released and not _is_place(released, message.sent):
        raise Invalid("released", "is not the place of a held record")
    stored = document.get("stored")
    try:
        # Any producer can write an envelope: nothing was received after the queue or stream took it.
        received = min(instant_of(document["received"]), message.sent)
        waiting_since = (
            min(instant_of(document["waiting_since"]), message.sent) if "waiting_since" in document else None
        )
        body = fetch(str(stored)) if stored else base64.b64decode(str(document["body"]), validate=True)
    except (KeyError, ValueError, OverflowError):
        raise Invalid("record", "is not a complete envelope") from None
    return SourceRecord(program, body, received, member, released, waiting_since)


def _is_place(text: str, sent: datetime) -> bool:
    """Return whether a text may be the place of a record (`parked_records.place_of`) that was parked before `sent`."""
    ahead = milliseconds_of(sent + _PLACE_AHEAD)
    return bool(_PLACE.fullmatch(text)) and all(int(time) <= ahead for time in _TIMES_OF_PLACE.findall(text))


def split(
    record: SourceRecord, source: LoyaltyPlatform
) -> tuple[list[RecordEvent], list[tuple[SourceRecord, Invalid]]]:
    """Take a record apart: its events, each with a record of its own, and what cannot be used, with the reason."""
    try:
        document, unusable = parsing.parse_each(record.body) if record.document is None else (record.document, [])
        events = source.events(document)
    except Invalid as refusal:
        return [], [(record, refusal)]
    if not events:
        return [], [(record, Invalid("record", "holds no event"))]
    refused = [(replace(record, body=body), refusal) for body, refusal in unusable]
    if len(events) == 1 and not refused:
        return [(record, events[0])], []
    return [(single(record, event), event) for event in events], refused


def single(record: SourceRecord, event: Json) -> SourceRecord:
    """Make a record of one event of a record that holds several."""
    # Half a character has no UTF-8, but is written as JSON escapes it.
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="backslashreplace")
    return replace(record, body=body, document=None)


def instant_of(milliseconds: Json) -> datetime:
    """Read a time as `milliseconds_of` writes it; ValueError or OverflowError when it is none."""
    return _EPOCH + float(str(milliseconds)) * _MILLISECOND


def milliseconds_of(time: datetime) -> int:
    """Write a time in milliseconds since the epoch."""
    return (time - _EPOCH) // _MILLISECOND


def _program(document: Json) -> str:
    objects = [one for one in (document if isinstance(document, list) else [document]) if isinstance(one, Mapping)]
    if not objects:
        raise Invalid("record", "is neither an object nor an array of objects")
    named = [name for one in objects if (name := program_of(one)) is not None]
    # The program of most elements is the program of the array; an element of another one is rejected alone.
    usable = Counter(name for name in named if isinstance(name, str | int)).most_common(1)
    return _program_id(usable[0][0] if usable else next(iter(named), None), "programId")


def program_of(event: Mapping[str, Json]) -> Json:
    """Return the program that an event names in a field of any case and punctuation; else None."""
    names = (name for name in event if len(name) < 20 and re.sub(r"[\W_]+", "", name).lower() == "programid")
    named = [event[name] for name in names]
    return next((one for one in named if not parsing.is_blank(one)), next(iter(named), None))


def _program_id(value: Json, field: str) -> str:
    # Checked before it is looked up: a key beyond DynamoDB's limits would fail the whole batch, again and again.
    program = parsing.parse_text(value, field)
    if not _PROGRAM_ID.fullmatch(program):
        raise Invalid(field, "is not the id of a program")
    return program


def encode(record: SourceRecord, store: Callable[[bytes], str], limit: int) -> str:
    """Encode a record as an envelope.

    Parameters
    ----------
    store
        Stores a body that is too large for the queue or stream, and returns its key.
    limit
        The most bytes of body that travel inside the envelope.
    """
    document: dict[str, Json] = {
        _MARK: 1,
        "program": record.program,
        "received": milliseconds_of(record.received),
    }
    if len(record.body) > limit:
        document["stored"] = store(record.body)
    else:
        document["body"] = base64.b64encode(record.body).decode()
    if record.member:
        document["member"] = record.member
    if record.released:
        document["released"] = record.released
    if record.waiting_since:
        document["waiting_since"] = milliseconds_of(record.waiting_since)
    return json.dumps(document, separators=(",", ":"))


def group_of(program: str, member: str) -> str:
    """Name the ordered group of a member, as senders are asked to: ``program#member``.

    An id that a queue would not take, or that may be an e-mail address, is replaced by a hash.
    """
    if _PLAIN.fullmatch(member):
        return f"{program}#{member}"
    name = f"{program}#{member}".encode(errors="surrogatepass")
    return hashlib.blake2b(name, digest_size=16).hexdigest()
