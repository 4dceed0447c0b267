"""Pauses between attempts."""

from __future__ import annotations

import pytest

from loyalty_bridge.infra import retry


class Clock:
    """A clock that moves only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_pauses_double_up_to_their_limit_and_end_before_the_deadline() -> None:
    clock = Clock()

    numbers = list(retry.attempts(103.0, first=0.1, longest=0.5, clock=clock, sleep=clock.sleep))

    assert numbers == list(range(len(clock.pauses) + 1))
    assert clock.now < 103.0
    assert clock.now + 0.5 >= 103.0, "it gave up while a pause would have fitted"
    for attempt, pause in enumerate(clock.pauses):
        full = min(0.1 * 2**attempt, 0.5)
        assert full / 2 <= pause <= full


@pytest.mark.parametrize("left", [0.0, -5.0])
def test_there_is_one_attempt_even_when_the_time_is_up(left: float) -> None:
    clock = Clock()

    numbers = list(retry.attempts(clock.now + left, clock=clock, sleep=clock.sleep))

    assert (numbers, clock.pauses) == ([0], [])


@pytest.mark.parametrize(("seconds", "expected"), [(0.9, True), (1.0, False), (60.0, False)])
def test_a_pause_that_reaches_the_deadline_is_not_slept(seconds: float, expected: bool) -> None:
    clock = Clock()

    waited = retry.wait(seconds, 101.0, clock=clock, sleep=clock.sleep)

    assert waited is expected
    assert clock.pauses == ([seconds] if expected else [])


@pytest.mark.parametrize("attempt", range(6))
def test_a_pause_doubles_and_is_never_the_same_for_all(attempt: int) -> None:
    pauses = {retry.backoff(attempt) for _ in range(50)}

    assert min(pauses) >= 0.25 * 2**attempt
    assert max(pauses) <= 0.5 * 2**attempt
    assert len(pauses) > 1


def test_a_late_attempt_does_not_overflow() -> None:
    assert retry.backoff(5000, longest=2.0) <= 2.0
