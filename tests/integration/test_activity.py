"""Statistics and error history: what is recorded is returned, for ninety days and not a day longer."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from loyalty_bridge import activity
from loyalty_bridge.activity import Recorder, store
from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.settings import DeliverySettings
from tests.support.template import resources

NOON = 1_772_366_400.0
"""2026-03-01T12:00:00Z."""


class Clock:
    """What the time is, as the library asks for it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = NOON

        class Now(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Now:
                return cls.fromtimestamp(self.now, tz)

        patch.setattr("time.time", lambda: self.now)
        patch.setattr(store, "datetime", Now)

    def move(self, **by: float) -> None:
        self.now += timedelta(**by).total_seconds()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def note(settings: DeliverySettings, reason: str = "phone: is no number", record: str = "e-1", **change: Any) -> None:
    value = {"program": "demo", "endpoint": "forward_events", "platform": "braze", "code": "rejected"} | change
    recorder = Recorder()
    recorder.problem(reason=reason, record=record, **value)
    activity.write(settings, recorder)


def test_what_several_containers_add_is_reported_together(
    stores: DeliverySettings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard in (0, 3, 3):
        monkeypatch.setattr(store, "_shard", lambda shard=shard: shard)
        recorder = Recorder()
        recorder.call("demo", "book_points", "ok", 0.2)
        recorder.call("demo", "book_points", "not_sent", 4.0)
        recorder.event("demo", "forward_events", "received", "sent", count=5)
        activity.write(stores, recorder)

    [today] = activity.statistics(stores, "demo", 1)

    assert today.day == date(2026, 3, 1)
    assert today.endpoints["book_points"].calls == {"ok": 3, "not_sent": 3}
    assert today.endpoints["book_points"].latency == {250: 3, 5000: 3}
    assert today.total.events == {"received": 15, "sent": 15}


@pytest.mark.parametrize(
    ("latency", "share", "expected"),
    [
        ({}, 0.5, None),
        ({25: 99, 10_000: 1}, 0.5, 25),
        ({25: 99, 10_000: 1}, 0.99, 25),
        ({10_000: 2, 25: 98}, 0.99, 10_000),
        ({float("inf"): 1}, 0.5, float("inf")),
    ],
)
def test_a_percentile_is_an_upper_bound(latency: dict[float, int], share: float, expected: float | None) -> None:
    assert activity.Counts(latency=Counter(latency)).percentile(share) == expected


def test_every_day_of_the_period_is_reported_and_nothing_older_than_ninety(
    stores: DeliverySettings, clock: Clock
) -> None:
    for _ in range(3):
        recorder = Recorder()
        recorder.call("demo", "book_points", "ok")
        activity.write(stores, recorder)
        clock.move(days=45)
    clock.move(days=-45)

    days = activity.statistics(stores, "demo", 4000)

    assert [day.day for day in days] == [date(2026, 3, 2) + timedelta(days=number) for number in range(90)]
    assert [(day.day, day.total.calls["ok"]) for day in days if day.endpoints] == [
        (date(2026, 4, 15), 1),
        (date(2026, 5, 30), 1),
    ]


def test_another_programs_activity_is_not_reported(stores: DeliverySettings, clock: Clock) -> None:
    recorder = Recorder()
    recorder.call("other", "book_points", "ok")
    activity.write(stores, recorder)
    note(stores, program="other")

    assert activity.statistics(stores, "demo", 1)[0].endpoints == {}
    assert activity.errors(stores, "demo").lines == ()


def test_equal_errors_of_a_day_are_one_line_with_a_count(stores: DeliverySettings, clock: Clock) -> None:
    note(stores, record="e-1")
    clock.move(hours=2)
    note(stores, record="e-2")
    clock.move(hours=12)
    note(stores, record="e-3")

    later, first = activity.errors(stores, "demo").lines

    assert (first.count, first.records) == (2, ("e-1", "e-2"))
    assert (first.first, first.last) == (
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        datetime(2026, 3, 1, 14, tzinfo=UTC),
    )
    assert (later.count, later.records) == (1, ("e-3",))
    assert (first.direction, first.platform, first.endpoint, first.code, first.reason) == (
        "to_engagement",
        "braze",
        "forward_events",
        "rejected",
        "phone: is no number",
    )


def test_a_line_remembers_a_bounded_number_of_records(stores: DeliverySettings, clock: Clock) -> None:
    for number in range(100):
        note(stores, record=f"event-{number}")

    [line] = activity.errors(stores, "demo").lines

    assert line.count == 100
    assert len(line.records) == store.RECORDS


@pytest.mark.parametrize(
    ("wanted", "reasons"),
    [
        ({}, ["c", "b", "a"]),
        ({"code": "rejected"}, ["a"]),
        ({"direction": "to_loyalty"}, ["c"]),
        ({"endpoint": "forward_events"}, ["b", "a"]),
        ({"platform": "moengage"}, ["b"]),
        ({"record": "e-9"}, ["b"]),
        ({"since": date(2026, 3, 2)}, ["c", "b"]),
        ({"until": date(2026, 3, 2)}, ["b", "a"]),
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 2)}, ["b"]),
        ({"since": date(2026, 4, 1)}, []),
        ({"code": "rejected", "platform": "moengage"}, []),
    ],
)
def test_errors_are_reported_latest_first_and_filtered(
    stores: DeliverySettings, clock: Clock, wanted: dict[str, Any], reasons: list[str]
) -> None:
    note(stores, "a")
    clock.move(days=1)
    note(stores, "b", record="e-9", platform="moengage", code="held")
    clock.move(days=1)
    note(stores, "c", endpoint="book_points", platform="convercus", code="not_sent")

    assert [line.reason for line in activity.errors(stores, "demo", **wanted).lines] == reasons


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_follow_one_another(stores: DeliverySettings, clock: Clock, limit: int) -> None:
    for number in range(7):
        note(stores, f"reason {number}")
        clock.move(hours=7)
    result, page = [], ""

    while True:
        found = activity.errors(stores, "demo", limit=limit, page=page)
        result += [line.reason for line in found.lines]
        page = found.next
        if not page:
            break

    assert result == [f"reason {number}" for number in reversed(range(7))]


@pytest.mark.parametrize("page", ["x", "1", "1.2026", "1.2026-13-01#a", "#"])
def test_what_is_no_page_is_refused(stores: DeliverySettings, page: str) -> None:
    with pytest.raises(Invalid, match="page"):
        activity.errors(stores, "demo", page=page)


def test_errors_older_than_ninety_days_are_not_reported(stores: DeliverySettings, clock: Clock) -> None:
    note(stores)
    clock.move(days=89)
    before = activity.errors(stores, "demo", since=date(2020, 1, 1)).lines
    clock.move(days=1)

    assert len(before) == 1
    assert activity.errors(stores, "demo", since=date(2020, 1, 1)).lines == ()


def test_dynamodb_deletes_what_is_past_its_ninetieth_day(stores: DeliverySettings, clock: Clock) -> None:
    recorder = Recorder()
    recorder.call("demo", "book_points", "ok")
    recorder.problem("demo", "book_points", "convercus", "not_sent", "no connection")
    activity.write(stores, recorder)

    items = aws.dynamodb().scan(TableName=stores.activity_table)["Items"]

    attribute = resources("AWS::DynamoDB::Table")["ActivityTable"]["Properties"]["TimeToLiveSpecification"]
    assert attribute == {"AttributeName": "expires", "Enabled": True}
    assert {datetime.fromtimestamp(int(item["expires"]["N"]), UTC) for item in items} == {
        datetime(2026, 5, 30, tzinfo=UTC)
    }


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem"),
        ReadTimeoutError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_failed_write_is_tried_once_counted_and_not_felt(
    stores: DeliverySettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    tried = []

    def fail(**request: Any) -> None:
        tried.append(request)
        raise failure

    monkeypatch.setattr(aws.dynamodb_once(), "update_item", fail)

    for _ in range(3):
        note(stores)

    [*lost] = [json.loads(line)["activity_not_written"] for line in capsys.readouterr().out.splitlines()]
    assert len(tried) == 1
    assert lost == [[1.0]] * 3


def test_writing_begins_again_after_a_pause(stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    note(replace(stores, activity_table="NoSuchTable"))
    note(stores)
    monkeypatch.setattr(store, "_paused_until", time.monotonic())

    note(stores)

    assert [line.count for line in activity.errors(stores, "demo").lines] == [1]


def test_without_a_table_nothing_is_written(stores: DeliverySettings, capsys: pytest.CaptureFixture[str]) -> None:
    note(replace(stores, activity_table=""))

    assert capsys.readouterr().out == ""


def test_a_table_that_does_not_answer_is_reported_to_who_reads(stores: DeliverySettings) -> None:
    elsewhere = replace(stores, activity_table="NoSuchTable")

    with pytest.raises(Unavailable):
        activity.statistics(elsewhere, "demo", 1)
    with pytest.raises(Unavailable):
        activity.errors(elsewhere, "demo")
