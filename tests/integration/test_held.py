"""A program whose destination does not take its records: they are kept in order, and go out in order when it does."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from loyalty_bridge.event_queue.envelope import SourceRecord, group_of
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import programs
from loyalty_bridge.parking import parked_records, release
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline import forwarder, sender
from loyalty_bridge.pipeline.batch import LIMITS, Limits
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.forwarder import Outcome
from loyalty_bridge.programs import delivery_state, repository
from loyalty_bridge.programs.delivery_state import DeliveryState
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused
from tests.support.transports import Queue

BRIEFLY = LIMITS.settle_seconds + 1
"""What leaves one second to send in."""


class World:
    """A program, its transport, and the schedule."""

    def __init__(self, settings: DeliverySettings, braze: Braze, queue: Queue) -> None:
        self.settings, self.braze, self.queue = settings, braze, queue
        self.program = connect(settings, braze.url)

    def come(self, *names: str, member: str = "A1", **changes: Any) -> None:
        """Let events be sent, named by their ids."""
        for name in names:
            one = event("user_logged_in", eventId=name, accountId=member, **changes)
            self.queue.put(json.dumps(one), group_of(one["programId"], member))

    def deliver(
        self, size: int = 10, seconds: float = 30, now: float | None = None, limits: Limits = LIMITS
    ) -> Outcome:
        """Let Lambda deliver one batch."""
        batch = self.queue.batch(size)
        outcome = forwarder.forward(batch, self.settings, seconds, now=now, limits=limits)
        self.queue.settle(batch, outcome.to_retry)
        return outcome

    def deliver_all(self) -> None:
        for _ in range(50):
            if not self.queue.messages:
                return
            self.deliver()
        raise AssertionError("the queue is never empty")

    def rest(self) -> None:
        """Deliver and tend until nothing is left to do: what is held once more takes a cycle of its own."""
        for _ in range(3):
            self.deliver_all()
            self.tend()

    def tend(self) -> Counter[str]:
        return +release.run_schedule(self.settings, 20, check_connection)

    def revoke(self, times: int | None = None) -> None:
        self.braze.workspace(KEY).misbehave(kind="status", status=401, times=times)

    def mend(self) -> None:
        self.braze.workspace(KEY).faults.clear()

    def outage(self, *names: str) -> None:
        """Let events be held one by one, while the key is wrong."""
        self.revoke()
        for name in names:
            self.come(name)
            self.deliver()
        self.mend()

    def there(self) -> list[str]:
        """Name the events that Braze has, in the order in which it got them."""
        return [one.object["properties"]["event_id"] for one in self.braze.workspace(KEY).events]

    def held(self) -> list[str]:
        return [json.loads(entry.record.body)["eventId"] for entry in load_parked(self.settings, "held")]

    def delivery_state(self) -> DeliveryState:
        return repository.load(self.settings, ["demo"])["demo"].delivery_state


@pytest.fixture
def world(stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch) -> World:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    return World(stores, braze, queue)


def test_what_was_held_arrives_in_order_when_the_key_is_right_again(world: World) -> None:
    world.revoke()
    world.come("e1", "e2")
    world.deliver()
    world.come("e3")
    world.deliver()
    assert (world.there(), world.held(), world.delivery_state().state) == ([], ["e1", "e2", "e3"], "held")

    still_broken = world.tend()
    world.mend()
    mended = world.tend()
    world.deliver_all()
    world.come("e4")
    world.deliver()

    assert still_broken == Counter(programs=1, programs_held=1, probed=1, still_failing=1)
    assert mended == Counter(programs=1, programs_held=1, probed=1, released=3, went_live=1)
    assert (world.there(), world.held()) == (["e1", "e2", "e3", "e4"], [])
    assert (world.delivery_state().state, world.delivery_state().reason, world.delivery_state().failing_since) == (
        "live",
        "",
        0,
    )


def test_a_probe_changes_nothing_at_braze(world: World) -> None:
    world.revoke(times=1)
    world.come("e1")
    world.deliver()

    world.tend()

    workspace = world.braze.workspace(KEY)
    assert (workspace.events, workspace.attributes, workspace.profiles) == ([], [], {})


def test_later_records_of_a_group_wait_behind_held_ones_though_the_delivery_state_is_live(world: World) -> None:
    world.revoke(times=1)
    world.come("e1")
    world.deliver()
    world.come("e2")  # before the release puts the first one behind it
    world.come("other", member="A2")

    world.tend()
    live_with_records_on_their_way = world.delivery_state().state
    world.deliver(size=2)
    before_the_first = world.there(), world.held()
    world.deliver_all()
    world.tend()
    world.deliver_all()

    assert live_with_records_on_their_way == "live"
    assert before_the_first == (["other"], ["e2"])
    assert (world.there(), world.held()) == (["other", "e1", "e2"], [])


def test_new_records_wait_while_the_held_ones_pass_at_a_bounded_rate(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "RECORDS_PER_RUN", 2)
    world.outage("e1", "e2", "e3")

    first = world.tend()
    world.deliver_all()
    releasing = world.delivery_state().state
    world.come("e4")
    world.deliver()
    second = world.tend()
    world.deliver_all()
    world.tend()

    assert (first["released"], first["went_live"], releasing) == (2, 0, "releasing")
    assert second["released"] == 2
    assert (world.there(), world.held(), world.delivery_state().state) == (["e1", "e2", "e3", "e4"], [], "live")


def test_records_of_other_groups_pass_while_the_held_ones_are_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "RECORDS_PER_RUN", 1)
    world.outage("e1", "e2", "e3")
    world.tend()
    world.deliver_all()

    world.come("e4")
    world.come("other", member="A2")
    world.deliver_all()

    assert world.delivery_state().state == "releasing"
    assert (world.there(), world.held()) == (["e1", "other"], ["e2", "e3", "e4"])


def test_a_released_record_that_is_held_again_keeps_its_place(world: World) -> None:
    world.outage("e1", "e2", "e3")
    world.tend()
    world.revoke()

    world.deliver_all()
    held_again = world.held(), world.delivery_state().state
    world.come("e4")
    world.deliver()
    with_a_later_one = world.held()
    world.mend()
    world.tend()
    world.deliver_all()

    assert held_again == (["e1", "e2", "e3"], "held")
    assert with_a_later_one == ["e1", "e2", "e3", "e4"]
    assert (world.there(), world.held()) == (["e1", "e2", "e3", "e4"], [])


def test_a_released_record_does_not_overtake_one_that_is_held_again(world: World) -> None:
    world.revoke()
    for name in ("e1", "e2"):
        world.come(name)
        world.deliver()
    world.mend()
    world.tend()
    world.revoke(times=1)

    world.deliver(size=1)
    world.deliver(size=1)
    not_yet = world.there()
    world.tend()
    world.deliver_all()

    assert not_yet == []
    assert (world.there(), world.held()) == (["e1", "e2"], [])


def test_a_released_record_waits_for_one_that_is_released_again_behind_it(world: World) -> None:
    world.revoke()
    for name in ("e1", "e2"):
        world.come(name)
        world.deliver()
    world.mend()
    world.tend()
    world.revoke(times=1)
    world.deliver(size=1)  # the first is held again, the second still in the queue

    world.tend()
    world.deliver(size=1)
    not_yet = world.there()
    world.rest()

    assert not_yet == []
    assert (world.there(), world.held(), world.delivery_state().state) == (["e1", "e2"], [], "live")


@pytest.mark.parametrize(("second", "change"), [("e1", {}), ("e2", {"occurredAt": "no time"})])
def test_a_new_record_waits_for_one_that_is_held_again_though_one_behind_it_needs_no_sending(
    world: World, second: str, change: dict[str, Any]
) -> None:
    delivery_state.hold(world.settings, "demo", "401", time.time())
    world.come("e1")
    world.come(second, **change)
    world.deliver()
    world.tend()
    world.revoke()
    world.deliver()  # the first is held again; the second is the same, or refused
    world.mend()
    delivery_state.start_release(world.settings, "demo")  # saved, before the schedule comes

    world.come("e3")
    world.deliver()
    not_yet = world.there()
    world.tend()
    world.deliver_all()

    assert not_yet == []
    assert (world.there(), world.held()) == (["e1", "e3"], [])


def test_what_a_stream_brings_again_is_held_once(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, "held")
    connect(stores, "http://127.0.0.1:9", "failing")
    delivery_state.hold(stores, "held", "401", time.time())
    of_failing = event("user_logged_in", programId="failing")
    of_held = [event("user_logged_in", programId="held", eventId=str(number)) for number in range(3)]

    first = forwarder.forward(streamed(of_failing, *of_held), stores, BRIEFLY)
    again = forwarder.forward(streamed(*of_held), stores, BRIEFLY)

    assert (first.counts["held"], len(first.to_retry), again.counts["held"]) == (0, 1, 3)
    assert len(load_parked(stores, "held", "held")) == 3


def test_what_is_held_again_and_again_stays_in_its_place(world: World) -> None:
    world.outage("e1", "e2")
    longest: list[int] = []

    for _ in range(4):  # as every minute, when the data is refused, but not the probe
        world.tend()
        world.revoke()
        world.deliver_all()
        world.mend()
        longest.append(max(len(bundle.position) for bundle in parked_records.batches(world.settings, "held", "demo")))
    world.come("e3")
    held = world.held()
    for _ in range(3):
        world.tend()
        world.deliver_all()

    assert held == ["e1", "e2"]
    assert longest == longest[:1] * 4  # DynamoDB takes a sort key of 1,024 bytes
    assert (world.there(), world.held(), world.delivery_state().state) == (["e1", "e2", "e3"], [], "live")


def test_what_is_held_again_twice_is_not_overtaken_by_what_was_held_again_with_it(world: World) -> None:
    world.revoke()
    world.come("e1", "e2", "e3")
    world.deliver()
    world.mend()
    world.tend()
    world.revoke()
    world.deliver()  # all are held again, together
    world.mend()
    world.tend()
    world.revoke(times=1)
    world.deliver(size=1)  # the first once more

    world.tend()
    world.deliver(size=2)
    not_yet = world.there()
    world.rest()

    assert not_yet == []
    assert (world.there(), world.held(), world.delivery_state().state) == (["e1", "e2", "e3"], [], "live")


def test_an_event_does_not_overtake_an_earlier_one_of_its_record_that_is_held_again(world: World) -> None:
    world.outage("e1")
    events = [event("user_logged_in", eventId=name, accountId="A1") for name in ("e2", "e3")]
    world.queue.put(json.dumps(events), group_of("demo", "A1"))
    world.deliver()  # held as it came
    world.tend()
    world.deliver(size=1)
    world.revoke()
    world.deliver()  # its events are held again, each alone
    world.mend()
    world.tend()
    world.revoke(times=1)
    world.deliver(size=1)  # the first of them once more

    world.tend()
    world.deliver(size=1)
    not_yet = world.there()
    world.rest()

    assert not_yet == ["e1"]
    assert (world.there(), world.held(), world.delivery_state().state) == (["e1", "e2", "e3"], [], "live")


def test_what_comes_between_two_records_of_one_bundle_waits_for_both(world: World) -> None:
    world.revoke()
    world.come("e1", "e2")
    world.deliver()
    world.mend()
    puts: list[None] = []

    def come_between() -> None:
        puts.append(None)
        if len(puts) == 2:
            world.come("e3")

    world.queue.on_call = come_between
    world.tend()
    for _ in range(10):
        if world.queue.messages:
            world.deliver(size=1)
        else:
            world.tend()

    assert (world.there(), world.held()) == (["e1", "e2", "e3"], [])


def test_a_later_record_waits_though_it_comes_in_one_batch_with_the_last_held_one(world: World) -> None:
    world.revoke(times=1)
    world.come("e1")
    world.deliver()
    world.tend()
    world.come("e2")

    world.deliver()  # the first passes, the second is held behind it
    world.come("e3")
    world.deliver()
    not_yet = world.there()
    world.tend()
    world.deliver_all()

    assert not_yet == ["e1"]
    assert (world.there(), world.held()) == (["e1", "e2", "e3"], [])


@pytest.mark.parametrize(
    "useless",
    [
        pytest.param({"eventType": "no such type"}, id="no such type"),
        pytest.param({"accountId": None}, id="nobody"),
    ],
)
def test_nothing_waits_longer_for_a_held_record_that_is_refused(world: World, useless: dict[str, Any]) -> None:
    world.revoke(times=1)
    world.come("e1")
    world.deliver()
    one = event("user_logged_in", eventId="useless", accountId="A1") | useless
    world.queue.put(json.dumps(one), group_of("demo", "A1"))
    world.deliver()
    world.tend()
    world.deliver_all()

    world.come("e2")
    world.deliver()

    assert (world.there(), list(refused(world.settings))) == (["e1", "e2"], ["useless"])


def test_nothing_waits_for_a_held_record_that_has_expired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked_records, "DAYS", -1)
    world.revoke()
    world.come("e1")
    world.deliver()
    world.mend()

    world.tend()
    world.come("e2")
    world.deliver_all()

    assert (world.there(), world.delivery_state().state) == (["e2"], "live")


def test_what_is_held_again_expires_as_late_as_what_is_held_now(stores: DeliverySettings) -> None:
    now = time.time()
    record = SourceRecord("demo", b"{}", datetime.now(UTC))
    (first,) = parked_records.park(
        stores, "held", "demo", [ParkedRecord(record)], now - (parked_records.DAYS + 1) * 86400
    )

    held_again = ParkedRecord(replace(record, released=first))
    (again,) = parked_records.park(stores, "held", "demo", [held_again], now, first_position=first.partition(".")[0])

    assert not parked_records.may_be_parked(first)
    assert parked_records.may_be_parked(again)


def limit_rate(braze: Braze, seconds: int) -> None:
    headers = {"x-ratelimit-retry-after": str(seconds)}
    braze.workspace(KEY).misbehave(kind="status", status=429, headers=headers, times=None)


def test_all_containers_wait_for_as_long_as_the_destination_asked(world: World) -> None:
    limit_rate(world.braze, 60)
    world.come("e1")
    first = world.deliver()
    asked = len(world.braze.workspace(KEY).requests)
    world.mend()

    world.come("e2", member="A2")
    second = world.deliver()

    assert (len(first.to_retry), len(second.to_retry)) == (1, 2)
    assert len(world.braze.workspace(KEY).requests) == asked
    assert world.delivery_state().not_before == pytest.approx(time.time() + 60, abs=10)


def test_what_a_stream_would_deliver_again_at_once_is_held_through_a_long_wait(world: World) -> None:
    limit_rate(world.braze, 60)

    outcome = forwarder.forward(streamed(event("user_logged_in", eventId="e1")), world.settings, 30)
    meanwhile = world.tend()

    assert (outcome.to_retry, world.held(), world.delivery_state().state) == ([], ["e1"], "held")
    assert meanwhile["probed"] == 0


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("other", ["address", "key"])
def test_another_destination_is_not_waited_for_as_the_one_before_asked(world: World, other: str, held: bool) -> None:
    limit_rate(world.braze, 60)
    if held:
        forwarder.forward(streamed(event("user_logged_in", eventId="e0", accountId="A1")), world.settings, 30)
    world.come("e1")
    world.deliver()
    world.mend()
    new_key = "another-rest-api-key"
    workspace = world.braze.workspace(KEY if other == "address" else new_key)

    if other == "address":
        address = world.braze.url.replace("127.0.0.1", "localhost")
        settings = replace(world.settings, allowed_hosts="localhost")
        programs.save(settings, "demo", {"engagement": {"api_endpoint": address}}, {})
    else:
        programs.save(world.settings, "demo", {}, {"braze_api_key": new_key})
    world.tend()
    world.deliver_all()

    there = [one.object["properties"]["event_id"] for one in workspace.events]
    assert there == (["e0", "e1"] if held else ["e1"])
    assert (world.delivery_state().state, world.delivery_state().failing_since, world.delivery_state().not_before) == (
        "live",
        0,
        0,
    )


@pytest.mark.parametrize("held", [False, True])
def test_a_save_that_leaves_the_destination_as_it_is_does_not_shorten_its_wait(world: World, held: bool) -> None:
    limit_rate(world.braze, 60)
    moving = streamed if held else queued
    forwarder.forward(moving(event("user_logged_in", eventId="e1")), world.settings, 30)
    result = world.delivery_state()
    asked = len(world.braze.workspace(KEY).requests)

    change = {"loyalty": {"default_optins": ["Newsletter"]}, "engagement": {"api_endpoint": world.braze.url}}
    programs.save(world.settings, "demo", change, {})
    world.tend()
    world.come("e2")
    world.deliver()

    assert (result.state, result.not_before > time.time()) == ("held" if held else "live", True)
    assert (world.delivery_state().state, world.delivery_state().not_before) == (result.state, result.not_before)
    assert len(world.braze.workspace(KEY).requests) == asked


def test_a_program_that_takes_all_it_is_sent_is_not_held_for_what_does_not_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "WORKERS", 1)
    delivery_state.note_failure(world.settings, "demo", time.time() - LIMITS.hold_after_seconds - 60)
    world.braze.workspace(KEY).misbehave(kind="pass")  # the harmless object that comes first after a failure
    world.braze.workspace(KEY).misbehave(kind="slow", seconds=1.2)
    for number in range(100):
        world.come(f"e{number}", member=f"A{number}")

    late = world.deliver(size=100, limits=replace(LIMITS, wait_seconds=1.0))

    assert (0 < len(late.to_retry) < 100, world.held(), world.delivery_state()) == (True, [], DeliveryState())
    world.deliver(size=100)
    assert len(world.there()) == 100


def test_a_program_that_fails_for_minutes_is_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "backoff", lambda _: 0.001)
    world.braze.workspace(KEY).misbehave(kind="status", status=503, times=None)
    world.come("e1", "e2")
    began = time.time()

    for minutes in (0, 1, 2):
        assert len(world.deliver(now=began + minutes * 60).to_retry) == 2
        assert world.delivery_state().not_before == 0  # it named no wait
    outcome = world.deliver(now=began + LIMITS.hold_after_seconds + 1)
    gate = world.delivery_state()
    world.mend()
    world.tend()
    monkeypatch.undo()
    monkeypatch.setattr(aws, "sqs", lambda: world.queue)
    world.deliver_all()

    assert (outcome.to_retry, outcome.counts["held"]) == ([], 2)
    assert (gate.state, gate.reason) == ("held", "503: Braze failed")
    assert world.there() == ["e1", "e2"]


def test_a_delivery_without_a_request_does_not_count_as_a_success(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "backoff", lambda _: 0.001)
    world.come("e1")
    world.deliver()
    world.braze.workspace(KEY).misbehave(kind="status", status=503, times=None)
    world.come("e2", member="A2")
    world.deliver()
    failing_since = world.delivery_state().failing_since

    again = queued(event("user_logged_in", eventId="e1", accountId="A1"))
    repeated = forwarder.forward(again, world.settings, 30)

    assert (repeated.to_retry, repeated.counts["duplicates"], repeated.counts["requests"]) == ([], 1, 0)
    assert world.delivery_state().failing_since == failing_since > 0


def test_of_twenty_programs_one_broken_and_one_slow_the_others_are_delivered_at_once(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    programs = [f"program-{number:02}" for number in range(20)]
    for program in programs:
        braze.workspace(program)
        connect(stores, braze.url, program, program)
    braze.workspace("program-03").misbehave(kind="status", status=401, times=None)
    braze.workspace("program-11").misbehave(kind="slow", times=None)
    events = [event("user_logged_in", programId=program, accountId=f"A{n}") for n in range(5) for program in programs]
    began = time.time()

    outcome = forwarder.forward(streamed(*events), stores, BRIEFLY + 4)
    took = time.time() - began
    arrived = {program: len(braze.workspace(program).events) for program in programs if program != "program-11"}
    latest = max(
        request.received_at
        for program in programs
        if program not in {"program-03", "program-11"}
        for request in braze.workspace(program).requests
    )
    held = len(load_parked(stores, "held", "program-03"))
    later = forwarder.forward(queued(*[one for one in events if one["programId"] != "program-11"][:10]), stores, 30)

    assert took < 10
    assert latest - began < took - 0.5  # the slow one is waited for, but no one waits for it to begin
    assert arrived == {program: 0 if program == "program-03" else 5 for program in arrived}
    assert outcome.problems.keys() == {"program-03", "program-11"}
    assert held == 1  # the stream brings the others again: they lie behind one of the slow program
    assert outcome.to_retry == [
        f"{number:056d}" for number, one in enumerate(events) if one["programId"] == "program-11"
    ]
    assert (later.to_retry, later.counts["duplicates"], later.counts["held"]) == ([], 9, 1)


def test_programs_that_answer_slowly_do_not_keep_the_others_from_being_released(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "sqs", Queue)
    slow = [f"slow-{number}" for number in range(3)]
    for program in [*slow, "good"]:
        braze.workspace(program).misbehave(kind="status", status=401, times=None)
        connect(stores, braze.url, program, program)
        forwarder.forward(queued(event("user_logged_in", programId=program)), stores, 30)
        braze.workspace(program).faults.clear()
    for program in slow:
        braze.workspace(program).misbehave(kind="slow", seconds=8, times=None)

    counts = release.run_schedule(stores, 5, check_connection)

    assert (counts["probed"], counts["went_live"]) == (4, 1)
    assert repository.load(stores, ["good"])["good"].delivery_state.state == "live"
