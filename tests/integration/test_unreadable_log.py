"""An event whose delivery log entry cannot be read is rejected alone, and sent again only when an operator decides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from loyalty_bridge.infra import aws
from loyalty_bridge.operations import redrive
from loyalty_bridge.operations.explain import explain
from loyalty_bridge.operations.redrive import Moved, RecordFilter
from loyalty_bridge.operations.trace import trace
from loyalty_bridge.pipeline import attribute_state, delivery_log
from loyalty_bridge.pipeline.attribute_state import AttributeState
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import refused
from tests.support.transports import Queue

DAMAGED_PARTS: dict[str, dict[str, Any]] = {
    "no parts": {},
    "parts in a text": {"parts": {"S": "event"}},
    "parts in a list": {"parts": {"L": [{"S": "event"}]}},
    "parts in an object": {"parts": {"M": {"SS": {"S": "event"}}}},
    "parts that are numbers": {"parts": {"NS": ["1"]}},
    "parts that are bytes": {"parts": {"B": b"event"}},
    "a set of bytes": {"parts": {"BS": [b"event"]}},
    "a number": {"parts": {"N": "1"}},
    "a null": {"parts": {"NULL": True}},
    "a truth value": {"parts": {"BOOL": True}},
    "a part that no version had": {"parts": {"SS": ["evnt"]}},
    "a part of the next version": {"parts": {"SS": ["event", "survey"]}},
}
DAMAGED_VERSIONS: dict[str, Callable[[bytes], bytes]] = {
    "a time beyond the calendar": lambda data: b"\x7f" + data[1:],
    "a time before the calendar": lambda data: b"\x80" + data[1:],
    "cut within a name": lambda data: data[:-1],
    "cut within a version": lambda data: data + data[:9],
    "a name that is longer than the item": lambda data: data[:20] + b"\x7f" + data[21:],
}
REASON = ("event", "record", "its delivery log entry cannot be read")

Batch = Callable[..., dict[str, Any]]


def damage_log(settings: DeliverySettings, program: Program, event_id: str, damage: dict[str, Any]) -> None:
    """Replace what the delivery log says of an event."""
    item = {
        "event": {"B": delivery_log.key(program.id, program.destination_version, event_id)},
        "expires": {"N": "4000000000"},
        **damage,
    }
    aws.dynamodb().put_item(TableName=settings.delivery_log_table, Item=item)


def logins(*ids: str, account: str = "A1") -> list[dict[str, Any]]:
    return [event("user_logged_in", eventId=id_, accountId=account) for id_ in ids]


def arrived(braze: Braze) -> Counter[str]:
    return Counter(one.object["properties"]["event_id"] for one in braze.workspace(KEY).events)


@pytest.fixture
def program(stores: DeliverySettings, braze: Braze) -> Program:
    return connect(stores, braze.url)


@pytest.mark.parametrize("batch_of", [queued, streamed])
@pytest.mark.parametrize("damage", DAMAGED_PARTS.values(), ids=DAMAGED_PARTS)
def test_an_event_with_an_unreadable_log_entry_is_rejected_and_its_neighbours_arrive_in_order(
    stores: DeliverySettings, braze: Braze, program: Program, damage: dict[str, Any], batch_of: Batch
) -> None:
    forward(batch_of(*logins("sent")), stores, 30)
    damage_log(stores, program, "sent", damage)
    damage_log(stores, program, "unsent", damage)

    batch = batch_of(*logins("e1", "sent", "e2", "unsent", "e3"), *logins("e4", account="A2"))
    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == []
    assert arrived(braze) == dict.fromkeys(["sent", "e1", "e2", "e3", "e4"], 1)
    assert [id_ for id_ in arrived(braze) if id_ != "e4"] == ["sent", "e1", "e2", "e3"]
    assert refused(stores) == {"sent": [REASON], "unsent": [REASON]}


@pytest.mark.parametrize("batch_of", [queued, streamed])
def test_an_event_with_an_unreadable_log_entry_that_comes_twice_is_parked_once(
    stores: DeliverySettings, program: Program, batch_of: Batch
) -> None:
    damage_log(stores, program, "e1", DAMAGED_PARTS["no parts"])

    outcome = forward(batch_of(*logins("e1", "e1")), stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"]) == ([], 1)


def test_a_redriven_event_with_an_unreadable_log_entry_arrives_once(
    stores: DeliverySettings, braze: Braze, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    damage_log(stores, program, "e1", DAMAGED_PARTS["no parts"])
    forward(queued(*logins("e1")), stores, 30)

    moved = redrive.redrive(stores, program.id, RecordFilter())
    forward(queue.batch(10), stores, 30)
    forward(queued(*logins("e1")), stores, 30)

    assert moved == Moved(1)
    assert arrived(braze) == {"e1": 1}
    assert refused(stores) == {}


def test_trace_and_preview_show_an_event_with_an_unreadable_log_entry(
    stores: DeliverySettings, program: Program
) -> None:
    damage_log(stores, program, "e1", DAMAGED_PARTS["no parts"])
    forward(queued(*logins("e1")), stores, 30)

    traced = trace(stores, program, "e1")
    (shown,) = explain(stores, json.dumps(logins("e1")[0]).encode())["events"]

    assert (traced["accepted_parts"], [one["event_id"] for one in traced["rejected"]]) == ([], ["e1"])
    assert shown["rejected"] == [{"part": "record", "field": REASON[1], "reason": REASON[2]}]


@pytest.mark.parametrize("batch_of", [queued, streamed])
@pytest.mark.parametrize("damage", DAMAGED_VERSIONS.values(), ids=DAMAGED_VERSIONS)
def test_an_attribute_state_that_cannot_be_read_counts_as_empty(
    stores: DeliverySettings, braze: Braze, program: Program, damage: Callable[[bytes], bytes], batch_of: Batch
) -> None:
    forward(batch_of(event("balance_changed", eventId="e1")), stores, 30)
    key = {"member": {"S": attribute_state.key(program.id, "A1")}}
    item: Any = aws.dynamodb().get_item(TableName=stores.members_table, Key=key)["Item"]
    item["versions"] = {"B": damage(item["versions"]["B"])}
    aws.dynamodb().put_item(TableName=stores.members_table, Item=item)
    later = event("balance_changed", eventId="e2", occurredAt="2026-03-02T10:00:00Z", payload={"points": 7})

    read = attribute_state.from_item(item, program.destination_version, b"-")
    traced = trace(stores, program, "A1")
    outcome = forward(batch_of(later, *logins("e3", account="A2")), stores, 30)

    profile = braze.workspace(KEY).profile(external_id="A1")
    assert (read, traced["member_attributes_last_set"], outcome.to_retry) == (AttributeState(b"-"), {}, [])
    assert arrived(braze) == {"e1": 1, "e2": 1, "e3": 1}
    assert profile
    assert profile.custom["convercus_balance"]["points"] == 7
