"""A queue and a stream are both read: a member's records of both are still worked on one after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import deduplication, member_leases
from loyalty_bridge.pipeline.forwarder import Outcome, forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.transports import Queue

OLD = event(eventId="old", occurredAt="2026-03-01T10:00:10Z", payload={"points": 100})
NEW = event(eventId="new", occurredAt="2026-03-01T10:00:30Z", payload={"points": 500})
OTHER = event(eventId="other", accountId="A2")


@pytest.fixture
def both(stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch) -> DeliverySettings:
    """Return settings of a deployment that reads both."""
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    return replace(stores, events_stream="events")


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once after an invocation has read what is known and before it sends."""
    real = deduplication.look_up
    begun: list[bool] = []

    def look_up(*args: Any) -> deduplication.Known:
        known = real(*args)
        if not begun:
            begun.append(True)
            act()
        return known

    monkeypatch.setattr(deduplication, "look_up", look_up)


def received(braze: Braze) -> Counter[str]:
    return Counter(one.object["properties"]["event_id"] for one in braze.workspace(KEY).events)


def points(braze: Braze) -> Any:
    profile = braze.workspace(KEY).profile(external_id="A1")
    assert profile
    return profile.custom["convercus_balance"]["points"]


def grouped(batch: dict[str, Any], group: str) -> dict[str, Any]:
    """Let the entries of a queue be of another group than those of the stream."""
    for entry in batch["Records"]:
        entry["attributes"]["MessageGroupId"] = group
    return batch


@pytest.mark.parametrize("group", ["A1", "of-another-name"])
def test_an_event_that_comes_by_both_arrives_once_and_the_newest_value_stays(
    both: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    connect(both, braze.url)
    by_stream: list[Outcome] = []
    between(monkeypatch, lambda: by_stream.append(forward(streamed(OTHER, NEW, OLD), both, 30)))

    by_queue = forward(grouped(queued(OLD), group), both, 30)
    again = forward(streamed(OTHER, NEW, OLD), both, 30)

    assert (by_queue.to_retry, again.to_retry) == ([], [])
    assert len(by_stream[0].to_retry) == 2
    assert received(braze) == {"old": 1, "new": 1, "other": 1}
    assert points(braze) == 500


def test_leases_end_with_their_invocation_and_leave_nothing_behind(both: DeliverySettings, braze: Braze) -> None:
    connect(both, braze.url)

    outcome = forward(queued(OLD, NEW, OTHER), both, 30)

    items = aws.dynamodb().scan(TableName=both.members_table)["Items"]
    assert outcome.to_retry == []
    assert not [item for item in items if "#lease#" in item["member"]["S"]]


def test_the_lease_of_an_invocation_that_was_killed_ends_by_itself(
    both: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    connect(both, braze.url)
    between(monkeypatch, kill)
    with pytest.raises(Killed):
        forward(queued(OLD), both, 30)

    at_once = forward(streamed(NEW), both, 30)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60)
    later = forward(streamed(NEW), both, 30)

    assert (len(at_once.to_retry), later.to_retry) == (1, [])
    assert received(braze) == {"new": 1}


@pytest.mark.parametrize("transport", ["queue", "stream"])
def test_one_transport_alone_needs_no_leases(
    both: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    connect(both, braze.url)
    alone = replace(both, events_stream="") if transport == "queue" else replace(both, events_queue_url="")

    def unexpected(*_: Any) -> Any:
        raise AssertionError("leased")

    monkeypatch.setattr(member_leases, "_taken_by_others", unexpected)

    assert forward(queued(OLD) if transport == "queue" else streamed(OLD), alone, 30).to_retry == []
