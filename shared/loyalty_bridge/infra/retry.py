"""Pauses between attempts: they grow, vary at random, and never pass a deadline."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator


def backoff(attempt: int, *, first: float = 0.5, longest: float = float("inf")) -> float:
    """Return the seconds to wait after attempt 0, 1, 2, …: `first` × 2ⁿ, at most `longest`, with jitter.

    The jitter (half to all of the pause) keeps containers that failed together from repeating together.
    """
    return min(first * 2.0 ** min(attempt, 60), longest) * random.uniform(0.5, 1.0)  # noqa: S311


def wait(
    seconds: float,
    deadline: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Sleep and return True; return False at once when the pause would not end before the deadline."""
    if clock() + seconds >= deadline:
        return False
    sleep(seconds)
    return True


def attempts(
    deadline: float,
    *,
    first: float = 0.1,
    longest: float = 0.5,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """Yield 0, 1, 2, … with a pause before each but the first, until the next pause would pass the deadline.

    Parameters
    ----------
    deadline
        By `clock`, which is `time.monotonic` unless given.
    first, longest
        Seconds: the first pause and the limit of its growth, as in `backoff`.
    """
    for attempt in itertools.count():
        yield attempt
        if not wait(backoff(attempt, first=first, longest=longest), deadline, clock=clock, sleep=sleep):
            return
