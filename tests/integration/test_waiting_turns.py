"""Records that wait for their person: each program has its own, and an import of one delays no other."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import SourceRecord
from loyalty_bridge.infra import aws
from loyalty_bridge.parking import parked_records, release
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import delivery_state, repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import connect
from tests.support.events import event, queued
from tests.support.parked import load_parked
from tests.support.transports import Queue


def of_user(program: str, user: str = "U1") -> dict[str, Any]:
    made = event("user_logged_in", userId=user, programId=program)
    del made["accountId"]
    return made


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: made)
    return made


def wait(settings: DeliverySettings, program: str, bundles: int) -> None:
    """Let records of a program wait, each in a bundle of its own."""
    delivery_state.extend_waiting(
        settings, program, repository.load(settings, [program])[program].delivery_state, time.time()
    )
    for number in range(bundles):
        record = SourceRecord(program, json.dumps(of_user(program)).encode(), datetime.now(UTC))
        parked_records.park(
            settings, "waiting", program, [ParkedRecord(record, group=f"{program}#U1")], time.time() - 1000 + number
        )


def test_records_of_several_programs_in_a_batch_wait_each_with_its_own(
    stores: DeliverySettings, braze: Braze, queue: Queue
) -> None:
    for program in ("one", "two"):
        connect(stores, braze.url, program)

    outcome = forward(queued(of_user("one"), of_user("two"), of_user("two")), stores, 30)

    assert (outcome.to_retry, outcome.counts["waiting"]) == ([], 3)
    assert [len(load_parked(stores, "waiting", program)) for program in ("one", "two")] == [1, 2]


def test_every_program_has_its_turn_within_the_time_however_much_waits_of_one(
    stores: DeliverySettings, braze: Braze, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = ["import", "one", "two", "three"]
    for program in programs:
        connect(stores, braze.url, program)
        wait(stores, program, 60 if program == "import" else 1)
    monkeypatch.setattr(release, "_TURN", 2)
    put: list[str] = []
    whole = publisher.publish

    def noted(settings: DeliverySettings, records: Any) -> None:
        put.extend(record.program for record, _ in records)
        whole(settings, records)

    monkeypatch.setattr(publisher, "publish", noted)
    monkeypatch.setattr(
        release, "time", SimpleNamespace(time=time.time, monotonic=lambda: 100.0 if len(put) > 8 else 0.0)
    )

    counts = release.run_schedule(stores, 40, check_connection)

    assert set(put) == set(programs)
    assert counts["brought_back"] == len(put) < 20
    assert len(load_parked(stores, "waiting", "import")) >= 45


def test_what_comes_back_without_its_person_has_its_next_turn_in_the_next_run(
    stores: DeliverySettings, braze: Braze, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, braze.url, "one")
    wait(stores, "one", 3)
    later = datetime.now(UTC) + timedelta(seconds=60)
    record = SourceRecord("one", json.dumps(of_user("one")).encode(), datetime.now(UTC))
    parked_records.park(stores, "waiting", "one", [ParkedRecord(record, group="one#U1")], later.timestamp())

    counts = release.run_schedule(stores, 20, check_connection)

    assert counts["brought_back"] == 3
    assert len(load_parked(stores, "waiting", "one")) == 1


def test_records_are_looked_for_as_long_as_some_may_wait(stores: DeliverySettings, braze: Braze, queue: Queue) -> None:
    connect(stores, braze.url, "demo")
    forward(queued(of_user("demo")), stores, 30)

    first = release.run_schedule(stores, 20, check_connection)["brought_back"]
    batch = queue.batch(10)
    forward(batch, stores, 30)
    second = release.run_schedule(stores, 20, check_connection)["brought_back"]

    assert (first, second) == (1, 1)
