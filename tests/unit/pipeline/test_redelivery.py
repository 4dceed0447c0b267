"""How soon what was given back comes again."""

from __future__ import annotations

import time
from itertools import accumulate

import pytest

from loyalty_bridge.pipeline import redelivery
from tests.support.template import resources

DAY = 86400


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(redelivery, "sleep", waits.append)
    monkeypatch.setattr(redelivery, "_returned", {})
    return waits


def test_the_deliveries_that_the_queue_allows_last_for_three_days() -> None:
    (allowed,) = {
        one["Properties"]["RedrivePolicy"]["maxReceiveCount"]
        for name, one in resources("AWS::SQS::Queue").items()
        if name == "EventsQueue"
    }

    pauses_until_then = [redelivery.of_queue(receives, 0) for receives in range(1, allowed)]

    assert sum(pauses_until_then) >= 3 * DAY
    assert pauses_until_then[:3] == [2, 4, 8]


def test_an_entry_comes_again_at_most_as_long_after_an_outage_as_it_lasted() -> None:
    waited = list(accumulate(redelivery.of_queue(receives, 0) for receives in range(1, 50)))

    assert all(redelivery.of_queue(number + 2, 0) <= so_far + 2 for number, so_far in enumerate(waited))


@pytest.mark.parametrize(("wait", "seconds"), [(0, 8), (60.4, 60), (3600, 3600), (1e30, 7200)])
def test_a_wait_that_the_destination_reports_is_kept_within_what_a_queue_takes(wait: float, seconds: int) -> None:
    assert redelivery.of_queue(3, wait) == seconds


def test_a_stream_waits_longer_each_time_for_the_same_entry(slept: list[float]) -> None:
    for _ in range(7):
        redelivery.of_stream("first", time.monotonic(), time.monotonic() + 50)

    assert slept == pytest.approx([1, 2, 4, 8, 16, 20, 20], abs=0.5)


def test_a_stream_that_goes_on_waits_for_each_entry_from_the_beginning(slept: list[float]) -> None:
    for entry in ("one", "two", "three"):
        redelivery.of_stream(entry, time.monotonic(), time.monotonic() + 50)

    assert slept == pytest.approx([1, 1, 1], abs=0.5)


@pytest.mark.parametrize(
    ("worked", "left", "waits"), [(0, 50, [1.0]), (0.75, 50, [0.25]), (15, 50, []), (0, 0.5, [0.5]), (0, -3, [])]
)
def test_an_invocation_waits_only_for_what_it_did_not_work_and_within_its_time(
    slept: list[float], worked: float, left: float, waits: list[float]
) -> None:
    redelivery.of_stream("first", time.monotonic() - worked, time.monotonic() + left)

    assert slept == pytest.approx(waits, abs=0.2)


def test_what_is_remembered_is_bounded(slept: list[float]) -> None:
    for number in range(1000):
        redelivery.of_stream(str(number), time.monotonic(), time.monotonic() + 50)

    assert len(redelivery._returned) <= 64
    assert len(slept) == 1000
