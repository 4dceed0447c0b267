"""A bundle of kept records that is missing or damaged: it is set aside with its reason, and all others go on."""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue.envelope import SourceRecord
from loyalty_bridge.infra import aws
from loyalty_bridge.model import FieldError
from loyalty_bridge.operations import redrive
from loyalty_bridge.operations.redrive import RecordFilter
from loyalty_bridge.parking import parked_records, release
from loyalty_bridge.parking.parked_records import Kind, ParkedBatch, ParkedRecord
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import delivery_state, repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import connect
from tests.support.events import event
from tests.support.parked import load_parked, refused
from tests.support.transports import Queue

LINES = 3


def of_another_version(body: bytes) -> bytes:
    """Rename what each line calls its body."""
    return gzip.compress(gzip.decompress(body).replace(b'"body"', b'"payload"'))


def second_line(text: bytes) -> Callable[[bytes], bytes]:
    """Replace the second of the lines."""

    def change(body: bytes) -> bytes:
        first, _, *rest = gzip.decompress(body).split(b"\n")
        return gzip.compress(b"\n".join([first, text, *rest]))

    return change


DAMAGES: dict[str, tuple[Callable[[bytes], bytes | None], int]] = {
    "missing": (lambda _: None, 0),
    "empty": (lambda _: b"", 0),
    "no gzip": (lambda _: b"hello", 0),
    "cut off": (lambda body: body[: len(body) // 2], 0),
    "another version": (of_another_version, 0),
    "a line that is no JSON": (second_line(b"{"), LINES - 1),
    "a line that is no object": (second_line(b"[]"), LINES - 1),
    "a line with a body that is no base64": (second_line(b'{"program":"p0","body":"?"}'), LINES - 1),
    "a line nested without an end": (second_line(b"[" * 100_000), LINES - 1),
    "fewer lines": (lambda body: gzip.compress(gzip.decompress(body).split(b"\n")[0]), 1),
}
"""What is done to an object of three records, and how many of them can still be read."""


def damage(settings: DeliverySettings, bundle: ParkedBatch, change: Callable[[bytes], bytes | None]) -> None:
    where: Any = {
        "Bucket": settings.parked_bucket,
        "Key": f"{bundle.kind}/{bundle.program}/{bundle.position}.jsonl.gz",
    }
    changed = change(aws.s3().get_object(**where)["Body"].read())
    if changed is None:
        aws.s3().delete_object(**where)
    else:
        aws.s3().put_object(Body=changed, **where)


class World:
    """Programs with two parked batches of a kind each, of three members and of one."""

    def __init__(self, settings: DeliverySettings, braze: Braze, kind: Kind, queue: Queue) -> None:
        self.settings, self.braze, self.kind, self.queue = settings, braze, kind, queue
        self.programs = ["p0", "p1", "p2"]
        for program in self.programs:
            braze.workspace(program)
            connect(settings, braze.url, program, program)
            found = repository.load(settings, [program])[program]
            if kind == "held":
                delivery_state.hold(settings, program, "it was down", time.time())
            else:
                delivery_state.extend_waiting(settings, program, found.delivery_state, time.time())
            self.keep(program, "A1", "A2", "A3")
            self.keep(program, "A4")

    def keep(self, program: str, *members: str) -> None:
        entries = [
            ParkedRecord(
                SourceRecord(
                    program,
                    json.dumps(event("user_logged_in", eventId=member, programId=program, accountId=member)).encode(),
                    datetime.now(UTC),
                ),
                group=f"{program}#{member}",
            )
            for member in members
        ]
        parked_records.park(self.settings, self.kind, program, entries, time.time() - 60)
        time.sleep(0.002)  # the next one has a later place

    def first(self) -> ParkedBatch:
        return next(parked_records.batches(self.settings, self.kind, "p0"))

    def tend_and_deliver(self) -> Counter[str]:
        done = release.run_schedule(self.settings, 20, check_connection)
        while self.queue.messages:
            batch = self.queue.batch(10)
            self.queue.settle(batch, forwarder.forward(batch, self.settings, 30).to_retry)
        return done

    def there(self, program: str) -> set[str]:
        return {one.object["external_id"] for one in self.braze.workspace(program).events}


@pytest.fixture(params=["held", "waiting"])
def world(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> World:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    return World(stores, braze, request.param, queue)


@pytest.mark.parametrize(("change", "readable"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_set_aside_and_everything_else_is_sent(
    world: World, change: Callable[[bytes], bytes | None], readable: int
) -> None:
    damage(world.settings, world.first(), change)

    done = world.tend_and_deliver()

    assert (done["damaged"] > 0, done["unavailable"]) == (True, 0)
    assert world.there("p1") == world.there("p2") == {"A1", "A2", "A3", "A4"}
    assert "A4" in world.there("p0")
    assert len(world.there("p0")) == readable + 1
    assert load_parked(world.settings, world.kind, "p0") == []
    reasons = {field for field_errors in refused(world.settings, "p0").values() for _, field, _ in field_errors}
    assert reasons == {f"{world.kind} batch"}


def test_a_line_of_the_index_that_cannot_be_read_hides_no_record(world: World) -> None:
    bundle = world.first()
    key: Any = {"program_kind": {"S": f"p0#{world.kind}"}, "position": {"S": bundle.position}}
    item = key | {"expires": {"N": str(int(time.time()) + 1000)}, "count": {"S": "three"}}
    aws.dynamodb().put_item(TableName=world.settings.parked_table, Item=item)

    world.tend_and_deliver()

    assert world.there("p0") == {"A1", "A2", "A3", "A4"}


def test_an_object_that_cannot_be_fetched_now_delays_its_own_program_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = aws.stored_object

    def stored(bucket: str, key: str) -> bytes | None:
        if "/p0/" in key:
            raise Unavailable("S3: SlowDown")
        return whole(bucket, key)

    with monkeypatch.context() as patch:
        patch.setattr(aws, "stored_object", stored)
        during = world.tend_and_deliver()
    before = world.there("p0")
    world.tend_and_deliver()

    assert during["unavailable"] == 1
    assert world.there("p1") == world.there("p2") == {"A1", "A2", "A3", "A4"}
    assert (before, world.there("p0")) == (set(), {"A1", "A2", "A3", "A4"})


def test_a_damaged_bundle_of_refused_records_can_be_listed_redriven_and_dropped(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    why = (FieldError("event", "record", "is odd"),)
    entries = [
        ParkedRecord(SourceRecord("demo", b"{}", datetime.now(UTC)), f"e{n}", f"g{n}", why) for n in range(LINES)
    ]
    parked_records.park(stores, "rejected", "demo", entries, time.time())
    damage(stores, next(parked_records.batches(stores, "rejected", "demo")), second_line(b"{"))

    listed = [row["event_id"] for row in redrive.rows(stores, "demo", RecordFilter())]
    shown = redrive.describe(stores, "demo", "e2")["event_id"]
    moved = redrive.redrive(stores, "demo", RecordFilter())

    assert (listed[0], listed[2], listed[1].partition(":")[0]) == ("e0", "e2", "parked")
    assert (shown, moved.records) == ("e2", LINES)


def test_records_wait_no_longer_for_one_that_was_held_again_and_lost(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url, "demo", "key")
    braze.workspace("key").misbehave(kind="status", status=401, times=None)

    def come(name: str) -> None:
        queue.put(json.dumps(event("user_logged_in", eventId=name)), "demo#A1")

    def deliver() -> None:
        while queue.messages:
            batch = queue.batch(10)
            queue.settle(batch, forwarder.forward(batch, stores, 30).to_retry)

    come("lost")
    deliver()
    delivery_state.start_release(stores, "demo")
    release.run_schedule(stores, 20, check_connection)
    deliver()  # held once more
    come("later")
    deliver()
    damage(stores, next(parked_records.batches(stores, "held", "demo")), lambda _: None)
    braze.workspace("key").faults.clear()

    for _ in range(4):
        release.run_schedule(stores, 20, check_connection)
        deliver()

    assert [one.object["properties"]["event_id"] for one in braze.workspace("key").events] == ["later"]
    assert load_parked(stores, "held") == []
