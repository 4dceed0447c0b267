"""Records that are made to cost time and memory: each is bounded, and harms neither its neighbours nor its batch."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue import bodies
from loyalty_bridge.event_queue.envelope import SourceRecord, encode
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM, FieldError
from loyalty_bridge.parking import parked_records
from loyalty_bridge.pipeline import forwarder, mapping
from loyalty_bridge.pipeline.batch import LIMITS, InvocationBatch
from loyalty_bridge.platforms import parsing
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued
from tests.support.parked import load_parked
from tests.support.transports import Queue

MIB = 1 << 20
BUSY = 20.0
"""Seconds that a busy machine is given for what takes one or two."""
OURS = '{"programId":"demo"}'


def filled(element: str) -> str:
    """Return an array of the queue's largest size whose first element names the program."""
    return f"[{OURS}{f',{element}' * ((MIB - len(OURS) - 2) // (len(element) + 1))}]"


HOSTILE: dict[str, Callable[[], str]] = {
    "empty objects": lambda: filled("{}"),
    "nulls": lambda: filled("null"),
    "numbers": lambda: filled("1"),
    "arrays": lambda: filled("[]"),
    "null bytes": lambda: filled('"\\u0000"'),
    "an object of many keys": lambda: json.dumps(event(payload={f"k{n}": n for n in range(60_000)})),
    "custom properties without an end": lambda: json.dumps(
        event("membership_changed", payload={"membership": {"customProperties": {f"$k{n}": [] for n in range(50_000)}}})
    ),
    "an integer of 5,000 digits": lambda: f'{{"programId":"demo","accountId":{"9" * 5000}}}',
    "an integer of a million digits": lambda: f'{{"programId":"demo","accountId":{"9" * 1_000_000}}}',
    "arrays in arrays": lambda: "[" * 500_000 + "]" * 500_000,
    "arrays without an end": lambda: "[" * MIB,
    "objects in objects": lambda: '{"a":' * 150_000 + "1" + "}" * 150_000,
    "nesting in an event": lambda: json.dumps(event()).replace("120", "[" * 2000 + "]" * 2000),
    "a text of a megabyte": lambda: json.dumps(event(eventId="e" * 1_000_000)),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_record_is_done_with_in_time_and_its_neighbours_are_sent(
    stores: DeliverySettings, braze: Braze, body: Callable[[], str]
) -> None:
    connect(stores, braze.url)
    batch = queued(event(eventId="before"), body(), event(eventId="after"))
    began = time.monotonic()

    outcome = forwarder.forward(batch, stores, 60)

    assert time.monotonic() - began < BUSY
    assert outcome.to_retry == []
    sent = {one.object["properties"].get("event_id") for one in braze.workspace(KEY).events}
    assert {"before", "after"} <= sent
    entries = [*load_parked(stores, "rejected"), *load_parked(stores, "rejected", UNKNOWN_PROGRAM)]
    assert len(entries) <= mapping.MOST_ALONE + 1


def test_events_that_cannot_be_used_are_kept_few_alone_and_the_rest_together(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    bad = [{"eventId": f"e{number}", "accountId": []} for number in range(1000)]

    outcome = forwarder.forward(queued([event(), *bad]), stores, 60)

    entries = load_parked(stores, "rejected")
    assert (outcome.to_retry, outcome.counts["accepted_event"]) == ([], 1)
    assert len(entries) == mapping.MOST_ALONE + 1
    assert len(json.loads(entries[-1].record.body)) == 1000 - mapping.MOST_ALONE
    there = [one for entry in entries[:-1] for one in [json.loads(entry.record.body)]]
    assert there + json.loads(entries[-1].record.body) == bad


@pytest.mark.parametrize("more", [0, 1])
def test_an_array_has_as_many_events_as_a_message_holds_of_real_ones(more: int) -> None:
    events: list[Any] = [{}] * (parsing.MAX_EVENTS + more)

    if more:
        with pytest.raises(Invalid, match="holds more than"):
            parsing.split_events(events)
    else:
        assert parsing.split_events(events) == events


def test_what_there_is_no_time_to_read_comes_again_until_all_is_sent_in_order(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, braze.url)
    monkeypatch.setattr(InvocationBatch, "read_deadline", 0.0)
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    for name in ("e1", "e2", "e3"):
        queue.put(json.dumps(event(eventId=name)), "demo#A1")
    deliveries = 0

    while queue.messages and deliveries < 10:
        batch = queue.batch(10)
        queue.settle(batch, forwarder.forward(batch, stores, 30).to_retry)
        deliveries += 1

    assert [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events] == ["e1", "e2", "e3"]
    assert deliveries == 3


def test_stored_bodies_are_read_as_far_as_memory_allows_and_the_rest_comes_again(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, braze.url)
    records = [
        SourceRecord("demo", json.dumps(event(eventId=f"e{n}", accountId=f"A{n}")).encode(), datetime.now(UTC))
        for n in range(3)
    ]
    batch = queued(*[encode(one, lambda body: bodies.save(stores, body), 0) for one in records])

    outcome = forwarder.forward(batch, stores, 30, limits=replace(LIMITS, fetched_bytes=1))

    assert outcome.to_retry == ["message-1", "message-2"]
    assert [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events] == ["e0"]


@pytest.mark.parametrize(
    "stored",
    [
        f"bodies/{uuid.uuid5(uuid.NAMESPACE_OID, 'no body').hex}",
        "bodies/",
        "bodies/../held/demo/x.jsonl.gz",
        "held/demo/x.jsonl.gz",
        "s3://another-bucket/x",
        "x" * 100_000,
        ["bodies/x"],
        {"key": "bodies/x"},
        7,
        True,
    ],
    ids=lambda stored: str(stored)[:30],
)
def test_an_envelope_whose_body_is_not_there_is_refused_with_the_reason(
    stores: DeliverySettings, braze: Braze, stored: Any
) -> None:
    connect(stores, braze.url)
    envelope = {"loyalty_bridge": 1, "program": "demo", "received": 1_772_359_200_000, "stored": stored}

    outcome = forwarder.forward(queued(envelope, event()), stores, 30)

    assert (outcome.to_retry, outcome.counts["accepted_event"]) == ([], 1)
    (entry,) = load_parked(stores, "rejected", UNKNOWN_PROGRAM)
    assert [(one.field, one.reason) for one in entry.field_errors] == [("stored", "does not name a stored body")]


def test_of_a_record_with_very_many_refusals_few_are_kept_and_the_others_counted(stores: DeliverySettings) -> None:
    why = tuple(FieldError("attributes", f"field-{number}{'x' * 10_000}", "is odd" * 1000) for number in range(1000))
    record = SourceRecord("demo", b"{}", datetime.now(UTC))

    parked_records.park(stores, "rejected", "demo", [parked_records.ParkedRecord(record, "e1", "g", why)], time.time())

    (entry,) = load_parked(stores, "rejected")
    assert len(entry.field_errors) == parked_records.MOST_REASONS + 1
    assert entry.field_errors[-1].reason == f"{1000 - parked_records.MOST_REASONS} more of its fields cannot be used"
    assert max(len(one.field) + len(one.reason) for one in entry.field_errors) <= 1000
