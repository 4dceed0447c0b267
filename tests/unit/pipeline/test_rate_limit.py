from __future__ import annotations

import threading
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.pipeline.rate_limit import RateLimit


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def begun(most: int, seconds: float, pauses: list[float]) -> list[float]:
    """Take turns after pauses; return when each began."""
    clock = Clock()
    turns = RateLimit(most, seconds, clock, clock.sleep)
    found = []
    for pause in pauses:
        clock.now += pause
        assert turns.take(float("inf"))
        found.append(clock.now)
    return found


@given(st.integers(1, 5), st.lists(st.floats(0, 2), max_size=40))
def test_no_more_turns_are_taken_than_the_limit_allows_in_any_window(most: int, pauses: list[float]) -> None:
    times = begun(most, 3.0, pauses)

    for position, time in enumerate(times):
        assert position - bisect_left(times, time - 3.0 + 1e-6) < most


def test_turns_within_the_limit_are_not_waited_for() -> None:
    assert begun(3, 3.0, [0.0] * 3 + [3.0] * 2) == [1000.0, 1000.0, 1000.0, 1003.0, 1006.0]


@pytest.mark.parametrize(("until", "is_taken"), [(1003.0, False), (1003.1, True), (999.0, False)])
def test_a_turn_after_the_deadline_is_not_taken_and_not_waited_for(until: float, is_taken: bool) -> None:
    clock = Clock()
    turns = RateLimit(1, 3.0, clock, clock.sleep)
    turns.take(1001.0)

    assert turns.take(until) == is_taken
    assert clock.now == (1003.0 if is_taken else 1000.0)


def test_threads_share_the_turns() -> None:
    slept: list[float] = []
    turns = RateLimit(10, 3.0, lambda: 1000.0, slept.append)
    threads = [threading.Thread(target=turns.take, args=(2000.0,)) for _ in range(40)]

    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert sorted(slept) == [3.0] * 10 + [6.0] * 10 + [9.0] * 10
