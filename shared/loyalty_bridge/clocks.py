"""Elapsed time, in a function that is frozen between its invocations."""

from __future__ import annotations

import time
from typing import TypeAlias

Moment: TypeAlias = tuple[float, float]


def moment() -> Moment:
    """Return the time by both clocks: the monotonic one may stop while a function is frozen, the other may be set.

    https://man7.org/linux/man-pages/man2/clock_gettime.2.html (it does not count time that the system is suspended)
    """
    return time.monotonic(), time.time()


def is_past(since: Moment, seconds: float) -> bool:
    """Return whether more than so many seconds have passed since a moment, by either clock."""
    return any(abs(now - then) > seconds for now, then in zip(moment(), since, strict=True))
