"""A program is deleted, and another one gets its id: nothing of the first reaches the second one's workspace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from loyalty_bridge.errors import Conflict
from loyalty_bridge.event_queue.envelope import SourceRecord, encode
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.parking import parked_records, release, removal
from loyalty_bridge.pipeline import forwarder, identities
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import api_keys, deletion, repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import connect
from tests.support.events import event
from tests.support.parked import load_parked
from tests.support.transports import Queue

OWNER = {"membership": {"userId": "U1", "memberRole": "OWNER"}}


def of_user(user: str) -> dict[str, Any]:
    made = event("user_logged_in", userId=user)
    del made["accountId"]
    return made


class World:
    """A program with records everywhere, a neighbour whose id begins as its own, and the schedule."""

    def __init__(self, settings: DeliverySettings, braze: Braze, queue: Queue) -> None:
        self.settings, self.braze, self.queue = settings, braze, queue
        for workspace in ("old", "new", "neighbour"):
            braze.workspace(workspace)
        connect(settings, braze.url, "demo", "old")
        connect(settings, braze.url, "demo-2", "neighbour")

    def come(self, one: dict[str, Any], program: str = "demo") -> None:
        self.queue.put(json.dumps(one | {"programId": program}), f"{program}#{one.get('accountId')}")

    def deliver(self) -> None:
        for _ in range(20):
            if not self.queue.messages:
                return
            batch = self.queue.batch(10)
            self.queue.settle(batch, forwarder.forward(batch, self.settings, 30).to_retry)

    def fill(self, program: str, workspace: str) -> None:
        """Let records be held, rejected and wait, and members and aliases become known."""
        self.come(event("membership_created", accountId="OLD-1", payload=OWNER), program)
        self.come(event(accountId=[]), program)
        self.come(of_user("nobody"), program)
        self.deliver()
        self.braze.workspace(workspace).misbehave(kind="status", status=401, times=None)
        self.come(event(accountId="OLD-1"), program)
        self.deliver()
        self.braze.workspace(workspace).faults.clear()
        api_keys.create(self.settings, program, "a key")

    def stored(self, program: str) -> list[str]:
        """Name what the tables and the bucket have of a program."""
        items = aws.dynamodb().scan(TableName=self.settings.programs_table)["Items"]
        found = [item["item"]["S"] for item in items if item["program"]["S"] == program]
        for table, key in ((self.settings.members_table, "member"), (self.settings.parked_table, "program_kind")):
            names = [item[key]["S"] for item in aws.dynamodb().scan(TableName=table)["Items"]]
            found += [name for name in names if name.startswith(f"{program}#")]
        objects = aws.s3().list_objects_v2(Bucket=self.settings.parked_bucket).get("Contents", [])
        return found + [one["Key"] for one in objects if f"/{program}/" in one["Key"]]

    def rest(self) -> None:
        for _ in range(4):
            release.run_schedule(self.settings, 20, check_connection)
            self.deliver()

    def at_new(self) -> set[str]:
        return {one.object["external_id"] for one in self.braze.workspace("new").events}


@pytest.fixture
def world(stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch) -> World:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    return World(stores, braze, queue)


def test_deletion_removes_all_that_is_stored_of_a_program_and_nothing_of_another(world: World) -> None:
    world.fill("demo", "old")
    world.fill("demo-2", "neighbour")
    before = world.stored("demo"), world.stored("demo-2")

    done = removal.delete(world.settings, "demo", 20)

    assert done
    assert {"connection", "delivery_state"} <= set(before[0])
    assert len(before[0]) >= 10
    assert world.stored("demo") == ["deleted"]
    assert world.stored("demo-2") == before[1]


def test_a_program_with_the_id_of_a_deleted_one_gets_nothing_of_it(world: World) -> None:
    world.fill("demo", "old")
    removal.delete(world.settings, "demo", 20)
    connect(world.settings, world.braze.url, "demo", "new")

    world.come(event(accountId="NEW-1"))
    world.come(of_user("U1"))
    world.deliver()
    world.braze.workspace("new").misbehave(kind="status", status=401, times=1)
    world.come(event(accountId="NEW-1"))
    world.deliver()
    world.rest()

    assert world.at_new() == {"NEW-1"}
    assert len(world.braze.workspace("new").events) == 2


def as_it_is(one: dict[str, Any]) -> str:
    return json.dumps(one)


def in_an_envelope(one: dict[str, Any]) -> str:
    record = SourceRecord("demo", json.dumps(one).encode(), datetime.now(UTC), member=str(one["accountId"]))
    return encode(record, lambda _: "", 1_000_000)


def released(one: dict[str, Any]) -> str:
    place = parked_records.place_of(f"{int(time.time() * 1000) - 1000:013d}-{'a' * 12}", 0)
    return encode(
        replace(SourceRecord("demo", json.dumps(one).encode(), datetime.now(UTC)), released=place),
        lambda _: "",
        1_000_000,
    )


@pytest.mark.parametrize("form", [as_it_is, in_an_envelope, released])
def test_a_record_that_was_on_its_way_is_refused_with_the_reason(
    world: World, form: Callable[[dict[str, Any]], str]
) -> None:
    world.queue.put(form(event(accountId="OLD-1")), "demo#OLD-1")
    removal.delete(world.settings, "demo", 20)
    time.sleep(0.005)  # a queue's times are whole milliseconds
    connect(world.settings, world.braze.url, "demo", "new")
    world.come(event(accountId="NEW-1"))

    world.deliver()

    assert world.at_new() == {"NEW-1"}
    (entry,) = load_parked(world.settings, "rejected", UNKNOWN_PROGRAM)
    assert entry.field_errors[0].reason == "was that of a program which was deleted after this came"
    assert load_parked(world.settings, "rejected", "demo") == []


@pytest.mark.parametrize("fails", [True, False], ids=["is held", "is sent"])
def test_a_batch_that_was_at_work_when_its_program_was_deleted_leaks_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    load = repository.load
    if fails:
        world.braze.workspace("old").misbehave(kind="status", status=401, times=None)

    def load_and_replace(*arguments: Any) -> Any:
        found = load(*arguments)
        monkeypatch.setattr(repository, "load", load)
        removal.delete(world.settings, "demo", 20)
        time.sleep(0.005)
        connect(world.settings, world.braze.url, "demo", "new")
        return found

    monkeypatch.setattr(repository, "load", load_and_replace)
    world.come(event(accountId="OLD-1"))
    world.come(of_user("nobody"))

    world.deliver()
    world.rest()
    world.come(event(accountId="NEW-1"))
    world.rest()

    assert world.at_new() == {"NEW-1"}
    assert load_parked(world.settings, "rejected", "demo") == []


def test_an_alias_that_is_learnt_after_the_deletion_means_no_one_to_the_new_program(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = identities.learn

    def replace_and_learn(*arguments: Any) -> None:
        monkeypatch.setattr(identities, "learn", learn)
        removal.delete(world.settings, "demo", 20)
        time.sleep(0.005)
        connect(world.settings, world.braze.url, "demo", "new")
        learn(*arguments)

    monkeypatch.setattr(identities, "learn", replace_and_learn)
    world.come(event("membership_created", accountId="OLD-1", payload=OWNER))
    world.deliver()

    world.come(of_user("U1"))
    world.rest()
    first = world.at_new()
    world.come(event("membership_created", accountId="NEW-1", payload=OWNER))
    world.rest()

    assert first == set()
    assert world.at_new() == {"NEW-1"}
    assert len(world.braze.workspace("new").events) == 2  # what waited, too


def test_what_there_was_no_time_to_remove_is_removed_by_the_schedule_and_the_id_is_free_then(world: World) -> None:
    world.fill("demo", "old")

    done = removal.delete(world.settings, "demo", 0)
    at_once = repository.load(world.settings, ["demo"])
    with pytest.raises(Conflict):
        connect(world.settings, world.braze.url, "demo", "new")
    release.run_schedule(world.settings, 20, check_connection)
    connect(world.settings, world.braze.url, "demo", "new")

    assert (done, at_once) == (False, {})
    assert set(world.stored("demo")) == {"deleted", "connection"}


def test_a_deletion_goes_on_where_it_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        world.come(event(accountId=f"A{number}"))
    world.deliver()
    scan, asked = aws.dynamodb().scan, []

    def small(**request: Any) -> Any:
        if request["TableName"] == world.settings.members_table:
            asked.append(request.get("ExclusiveStartKey"))
            return scan(**request, Limit=4)
        return scan(**request)

    monkeypatch.setattr(aws.dynamodb(), "scan", small)
    clock = SimpleNamespace(monotonic=lambda: 100.0 if asked else 0.0)  # the time is over after one page
    with monkeypatch.context() as patch:
        patch.setattr("loyalty_bridge.parking.removal.time", clock)
        first = removal.delete(world.settings, "demo", 3)
    so_far = len(asked)
    ended = removal.resume(world.settings, time.monotonic() + 20)

    assert (first, ended, so_far) == (False, 1, 1)
    assert asked[so_far] is not None
    assert world.stored("demo") == ["deleted"]


def test_what_came_late_is_removed_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    removal.delete(world.settings, "demo", 20)
    aws.dynamodb().put_item(TableName=world.settings.members_table, Item={"member": {"S": "demo#alias#user:U1"}})
    too_early = removal.resume(world.settings, time.monotonic() + 20)
    now = time.time() + deletion.AGAIN_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: now)

    ended = removal.resume(world.settings, time.monotonic() + 20)
    again = removal.resume(world.settings, time.monotonic() + 20)

    assert (too_early, ended, again) == (0, 1, 0)
    assert world.stored("demo") == ["deleted"]


def test_what_came_late_is_left_where_the_id_is_in_use_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    removal.delete(world.settings, "demo", 20)
    connect(world.settings, world.braze.url, "demo", "new")
    world.come(event(accountId="NEW-1"))
    world.deliver()
    before = set(world.stored("demo"))
    now = time.time() + deletion.AGAIN_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: now)

    removal.resume(world.settings, time.monotonic() + 20)

    assert set(world.stored("demo")) == before
