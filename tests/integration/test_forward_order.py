"""One member's objects stay in order and together, and nothing of a group overtakes what was given back before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import bodies
from loyalty_bridge.event_queue.envelope import SourceRecord, encode
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked

BRIEFLY = LIMITS.settle_seconds + 1
"""What leaves one second to send in."""

in_both_transports = pytest.mark.parametrize("transport", [queued, streamed])
Transport = Callable[..., dict[str, Any]]


def note(number: int, member: str = "A1", **changes: Any) -> dict[str, Any]:
    """Make the event of a member with a number; its attributes say the number too."""
    properties = {"customProperties": {"last": number}}
    return event("user_changed", eventId=f"{number:03}", accountId=member, payload=properties, **changes)


def order(braze: Braze, member: str = "A1") -> list[int]:
    """Return the numbers of a member's events in the order in which Braze got them."""
    events = braze.workspace(KEY).events
    return [int(one.object["properties"]["event_id"]) for one in events if one.object["external_id"] == member]


def grouped(batch: dict[str, Any], group: str) -> dict[str, Any]:
    """Put all entries of a batch into one ordered group."""
    for entry in batch["Records"]:
        if "kinesis" in entry:
            entry["kinesis"]["partitionKey"] = group
        else:
            entry["attributes"]["MessageGroupId"] = group
    return batch


def receipts(batch: dict[str, Any]) -> list[str]:
    return [one["kinesis"]["sequenceNumber"] if "kinesis" in one else one["messageId"] for one in batch["Records"]]


@in_both_transports
def test_the_objects_of_a_member_keep_their_order_and_share_a_request(
    stores: DeliverySettings, braze: Braze, transport: Transport
) -> None:
    connect(stores, braze.url)
    batch = transport(*[note(number, member=f"A{number % 30}") for number in range(120)])

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, outcome.counts["requests"]) == ([], 2)  # 30 merged attributes and 120 events
    workspace = braze.workspace(KEY)
    requests: defaultdict[str, set[float]] = defaultdict(set)
    for one in (*workspace.attributes, *workspace.events):
        requests[one.object["external_id"]].add(one.received_at)
    assert {len(times) for times in requests.values()} == {1}
    assert all(order(braze, f"A{member}") == list(range(member, 120, 30)) for member in range(30))


def test_more_objects_than_a_request_holds_go_in_consecutive_requests_in_order(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    batch = streamed(*[note(number) for number in range(200)], *[note(900 + number, "A2") for number in range(5)])

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, outcome.counts["requests"]) == ([], 3)
    assert order(braze) == list(range(200))
    assert [one.object["last"] for one in braze.workspace(KEY).attributes if one.object["external_id"] == "A1"] == [199]
    assert len({one.received_at for one in braze.workspace(KEY).events if one.object["external_id"] == "A2"}) == 1


def test_of_a_member_only_what_was_not_accepted_is_given_back(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    batch = streamed(*[note(number) for number in range(100)])
    braze.workspace(KEY).misbehave(kind="pass")
    braze.workspace(KEY).misbehave(kind="status", status=503, times=None)

    outcome = forward(batch, stores, LIMITS.settle_seconds + 4)
    braze.workspace(KEY).faults.clear()
    again = forward({"Records": batch["Records"][74:]}, stores, 30)

    assert outcome.to_retry == receipts(batch)[74:]
    assert (again.to_retry, order(braze)) == ([], list(range(100)))


def test_a_request_that_is_split_keeps_the_order(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=413, times=3)

    outcome = forward(streamed(*[note(number) for number in range(60)]), stores, 30)

    assert (outcome.to_retry, order(braze)) == ([], list(range(60)))
    assert braze.workspace(KEY).requests[3].status == 201


def test_a_request_that_is_tried_again_is_not_overtaken_by_the_next_of_its_member(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=502, html=True)

    outcome = forward(streamed(*[note(number) for number in range(100)]), stores, 30)

    assert (outcome.to_retry, order(braze)) == ([], list(range(100)))


@pytest.fixture
def unreachable(stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an entry whose stored body cannot be fetched now."""

    def get_body(*_: object) -> bytes:
        raise Unavailable("the kept records: SlowDown")

    monkeypatch.setattr(bodies, "load", get_body)
    record = SourceRecord("demo", b"{}", datetime.now(UTC))
    return encode(record, lambda body: bodies.save(stores, body), 0)


@in_both_transports
def test_what_comes_after_an_entry_that_is_given_back_comes_back_with_it(
    stores: DeliverySettings, braze: Braze, transport: Transport, unreachable: str
) -> None:
    connect(stores, braze.url)
    batch = grouped(transport(unreachable, note(1), "no JSON", note(2)), "group")

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, order(braze)) == (receipts(batch), [])
    assert not load_parked(stores, "rejected", "-")


@in_both_transports
def test_what_comes_before_an_entry_that_is_given_back_goes_on(
    stores: DeliverySettings, braze: Braze, transport: Transport, unreachable: str
) -> None:
    connect(stores, braze.url)
    batch = grouped(transport(note(1), unreachable, note(2)), "group")

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, order(braze)) == (receipts(batch)[1:], [1])


@in_both_transports
def test_other_groups_go_on(stores: DeliverySettings, braze: Braze, transport: Transport, unreachable: str) -> None:
    connect(stores, braze.url)
    batch = transport(unreachable, note(1), note(2, "A2"), note(3))

    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == receipts(batch)[:1]
    assert (order(braze), order(braze, "A2")) == ([1, 3], [2])


def test_a_record_that_cannot_be_put_on_the_transport_for_its_accounts_waits_and_its_neighbours_do_not(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(queued(event("user_changed", eventId="0", payload={"userId": "U1", "memberRole": "OWNER"})), stores, 30)
    person = {name: value for name, value in event("user_logged_in", userId="U1").items() if name != "accountId"}
    no_queue = replace(stores, events_queue_url=f"{stores.events_queue_url}.gone")

    outcome = forward(grouped(queued(note(1), person, note(2)), "group"), no_queue, 30)

    assert (outcome.to_retry, outcome.counts["waiting"], outcome.counts["republished"]) == ([], 1, 0)
    assert order(braze) == [0, 1, 2]


def test_all_of_a_failing_member_come_back_in_order(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=503, times=None)
    batch = queued(note(1), note(2, "A2"), note(3), note(4, "A2"))

    outcome = forward(batch, stores, BRIEFLY)
    braze.workspace(KEY).faults.clear()
    again = forward(batch, stores, 30)

    assert sorted(outcome.to_retry) == receipts(batch)
    assert (again.to_retry, order(braze), order(braze, "A2")) == ([], [1, 3], [2, 4])


def test_a_record_refused_behind_one_that_is_given_back_is_kept_once_on_a_stream(
    stores: DeliverySettings, braze: Braze
) -> None:
    # A stream delivers everything again from the first entry that is given back:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    connect(stores, braze.url)
    batch = streamed(note(1), event("no_such_type", accountId="A2"))
    braze.workspace(KEY).misbehave(kind="status", status=503, times=None)

    failed = forward(batch, stores, BRIEFLY)
    braze.workspace(KEY).faults.clear()
    forward({"Records": batch["Records"][receipts(batch).index(min(failed.to_retry)) :]}, stores, 30)

    assert order(braze) == [1]
    assert len(load_parked(stores, "rejected")) == 1
