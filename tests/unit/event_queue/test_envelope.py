"""Records as the transport carries them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord, decode, encode, group_of, inbound_messages
from loyalty_bridge.parking import parked_records
from loyalty_bridge.platforms import parsing
from tests.support.events import event, queued, streamed

SENT = datetime(2026, 3, 1, 10, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)

programs = st.from_regex(parsing.PROGRAM_ID, fullmatch=True)
milliseconds = st.integers(0, 1_772_359_200_000).map(
    lambda number: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)
)
records = st.builds(
    SourceRecord,
    program=programs,
    body=st.binary(),
    received=milliseconds,
    member=st.just("") | TEXT.map(str.strip),
    released=st.just("")
    | st.integers(0, 99).map(lambda number: parked_records.place_of("1772359100000-0123456789ab", number)),
)


def arrived(data: str | bytes) -> InboundMessage:
    return InboundMessage("receipt", "handle", "group", SENT, data if isinstance(data, bytes) else data.encode())


def no_fetch(key: str) -> bytes:
    raise AssertionError(key)


@given(records, st.integers(0, 30))
def test_a_sealed_record_opens_as_it_was(record: SourceRecord, limit: int) -> None:
    stored: dict[str, bytes] = {}

    def store(body: bytes) -> str:
        stored["bodies/1"] = body
        return "bodies/1"

    sealed = encode(record, store, limit)
    opened = decode(arrived(sealed), stored.__getitem__)

    assert opened == record
    assert bool(stored) == (len(record.body) > limit)
    assert sealed.isascii()  # a queue takes fewer characters than that, and never more


@given(programs, st.text(st.characters()))
def test_a_group_is_valid_for_a_queue_and_a_stream_whatever_the_ids_hold(program: str, member: str) -> None:
    group = group_of(program, member)

    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html (MessageGroupId)
    assert re.fullmatch(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}", group)
    assert group == group_of(program, member)


def test_groups_of_different_members_and_programs_differ() -> None:
    members = ("A1", "A2", "a1", "", "ida@example.org", "Ida", "A" * 200, "A" * 201, "\ud800", "\ud801")
    groups = {group_of(program, member) for program in ("p", "q") for member in members}

    assert len(groups) == 2 * len(members)
    assert not any("example" in group for group in groups)


@pytest.mark.parametrize("make", [queued, streamed])
def test_an_entry_reports_its_group_its_time_and_its_bytes(make: Any) -> None:
    source = event(accountId="A7")

    [message] = inbound_messages(make(source))

    assert (message.group, message.sent, json.loads(message.data)) == ("A7", SENT, source)
    assert bool(message.handle) == (make is queued)


def test_an_entry_of_a_queue_without_groups_is_a_group_of_its_own() -> None:
    batch = queued(event(), event())
    for entry in batch["Records"]:
        del entry["attributes"]["MessageGroupId"]

    first, second = inbound_messages(batch)

    assert first.group != second.group


def test_a_record_as_it_is_names_its_program_and_came_when_it_was_sent() -> None:
    data = json.dumps(event(programId=" demo ")).encode()

    opened = decode(arrived(data), no_fetch)

    assert opened == SourceRecord("demo", data, SENT)


@pytest.mark.parametrize(
    "document",
    [
        {"program_id": "demo"},
        [{"programId": "demo"}],
        [7, {"programId": "demo"}],
        [{}, {"programId": None}, {"programId": "demo"}],
        {"loyalty_bridge": 2, "programId": "demo"},
    ],
)
def test_a_program_is_found_where_the_record_names_it(document: Any) -> None:
    assert decode(arrived(json.dumps(document)), no_fetch).program == "demo"


ENVELOPE = {"loyalty_bridge": 1, "program": "demo", "received": 1_772_359_200_000, "body": "e30="}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"body": None}, "record"),
        ({"body": "e30"}, "record"),
        ({"body": "ü"}, "record"),
        ({"received": None}, "record"),
        ({"received": "now"}, "record"),
        ({"received": "nan"}, "record"),
        ({"received": 1e20}, "record"),
        ({"received": -1e300}, "record"),
        ({"received": {}}, "record"),
        ({"program": None}, "program"),
        ({"program": 7.5}, "program"),
        ({"program": "no program"}, "program"),
        ({"program": "p" * 65}, "program"),
        ({"program": "_p"}, "program"),
        ({"member": ["A1"]}, "member"),
        ({"member": " "}, "member"),
        ({"member": "\x00"}, "member"),
        ({"waiting_since": "soon"}, "record"),
        ({"waiting_since": None, "stored": None, "body": None}, "record"),
        ({"released": "x"}, "released"),
        ({"released": 7}, "released"),
        ({"released": ["1772359200000-0123456789ab.000000"]}, "released"),
        ({"released": "1772359200000-0123456789ab"}, "released"),
        ({"released": "177235920000x-0123456789ab.000000"}, "released"),
        ({"released": "9999999999999-0123456789ab.000000"}, "released"),
        ({"released": f"{'-'.join(['1772359200000-0123456789ab'] * 11)}.000000"}, "released"),
        ({"released": f"1772359200000-0123456789ab.000000{':000001' * 21}"}, "released"),
        ({"released": "1772359200000-0123456789ab.000000-9999999999999"}, "released"),
    ],
)
def test_an_envelope_that_is_not_whole_is_refused(change: dict[str, Any], field: str) -> None:
    document = {name: value for name, value in (ENVELOPE | change).items() if value is not None}

    with pytest.raises(Invalid) as refused:
        decode(arrived(json.dumps(document)), no_fetch)

    assert refused.value.field == field


@pytest.mark.parametrize("name", ["received", "waiting_since"])
def test_what_an_envelope_says_to_come_later_than_it_came_is_taken_for_that(name: str) -> None:
    document = ENVELOPE | {name: 32_503_680_000_000}

    opened = decode(arrived(json.dumps(document)), no_fetch)

    assert getattr(opened, name) == SENT


def test_the_places_that_records_get_are_taken_however_often_they_are_held() -> None:
    position = "1772359100000-0123456789ab"
    first = parked_records.place_of(position, 7)
    again = parked_records.place_of(f"{position}-1772359150000-ba9876543210", 0, first)
    second_of_record = parked_records.place_of(f"{position}-1772359150000-ba9876543210", 1, f"{first}:000001")

    for place in (first, again, second_of_record):
        assert decode(arrived(json.dumps(ENVELOPE | {"released": place})), no_fetch).released == place


def test_neither_an_entry_nor_a_record_shows_a_members_data() -> None:
    message = arrived(b'{"programId": "demo", "email": "ida@example.org"}')

    shown = f"{message!r} {decode(message, no_fetch)!r}"

    assert "ida" not in shown


@pytest.mark.parametrize("nothing", [None, "", " "])
@pytest.mark.parametrize("name", ["programId", "program_id", "ProgramID", "PROGRAM-ID", "programid"])
def test_a_record_may_spell_the_field_of_its_program_as_any_other(name: str, nothing: str | None) -> None:
    blank = "program_id" if name != "program_id" else "programId"

    for document in ({name: "ABC"}, {blank: nothing, name: "ABC"}, [{"eventId": "1"}, {name: "ABC"}]):
        assert decode(arrived(json.dumps(document)), no_fetch).program == "ABC"
