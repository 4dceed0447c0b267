"""Records of a stream into which the Kinesis Producer Library packed several."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event
from tests.support.kpl import packed
from tests.support.parked import load_parked

SENT = 1_772_359_200.0


def stream(*records: bytes) -> dict[str, Any]:
    return {
        "Records": [
            {
                "kinesis": {
                    "sequenceNumber": f"{number:056d}",
                    "partitionKey": "a",
                    "approximateArrivalTimestamp": SENT,
                    "data": base64.b64encode(data).decode(),
                },
                "eventSource": "aws:kinesis",
            }
            for number, data in enumerate(records)
        ]
    }


def told(account: str, points: int = 1, **changes: Any) -> tuple[str, bytes]:
    body = event(accountId=account, payload={"points": points}, **changes)
    return f"demo#{account}", json.dumps(body).encode()


def points_of(braze: Braze) -> list[tuple[str, int]]:
    return [(one.object["external_id"], one.object["properties"]["points"]) for one in braze.workspace(KEY).events]


def test_each_event_is_sent_in_the_order_of_its_member(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    single = told("A", 4)[1]

    outcome = forward(stream(packed(told("A", 1), told("B", 2), told("A", 3)), single), stores, 30)

    assert (outcome.to_retry, outcome.counts["accepted_event"]) == ([], 4)
    assert [points for account, points in points_of(braze) if account == "A"] == [1, 3, 4]
    assert ("B", 2) in points_of(braze)


def test_a_record_is_given_back_as_a_whole_and_nothing_of_it_is_doubled(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, engagement={"rules": {"max_objects": 2}})
    batch = stream(
        packed(told("A"), ("x", b"no JSON"), told("B"), told("B")), packed(told("C"), told("C", 2)), told("D")[1]
    )
    braze.workspace(KEY).misbehave(kind="pass")
    braze.workspace(KEY).misbehave(kind="status", status=503, times=None)

    first = forward(batch, stores, 15)
    some = len(points_of(braze))
    braze.workspace(KEY).faults.clear()
    second = forward(batch, stores, 30)

    assert first.to_retry
    assert 0 < some < 6
    assert set(first.to_retry) <= {entry["kinesis"]["sequenceNumber"] for entry in batch["Records"]}
    assert len(set(first.to_retry)) == len(first.to_retry)
    assert second.to_retry == []
    assert sorted(account for account, _ in points_of(braze)) == ["A", "B", "B", "C", "C", "D"]
    assert len(load_parked(stores, "rejected", UNKNOWN_PROGRAM)) == 1


def test_a_bad_event_is_refused_alone(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    outcome = forward(stream(packed(told("A"), ("demo#B", b"{"), told("C"))), stores, 30)

    [entry] = load_parked(stores, "rejected", UNKNOWN_PROGRAM)
    assert (outcome.to_retry, outcome.counts["rejected"]) == ([], 1)
    assert (entry.record.body, entry.group) == (b"{", "demo#B")
    assert sorted(account for account, _ in points_of(braze)) == ["A", "C"]


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"\x00", lambda data: data[:-20]])
def test_a_damaged_record_is_refused_with_the_reason_and_its_neighbours_go_on(
    stores: DeliverySettings, braze: Braze, damage: Any
) -> None:
    connect(stores, braze.url)
    bad = damage(packed(told("A"), told("B")))

    outcome = forward(stream(bad, told("C")[1]), stores, 30)

    [entry] = load_parked(stores, "rejected", UNKNOWN_PROGRAM)
    assert outcome.to_retry == []
    assert "Kinesis Producer Library" in entry.field_errors[0].reason
    assert entry.record.body == bad
    assert [account for account, _ in points_of(braze)] == ["C"]
