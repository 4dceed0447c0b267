"""How long it takes until an entry that was given back comes again: longer each time, so that an outage loses nothing.

A queue counts deliveries and moves an entry to the dead letters after fifty. A stream delivers again at once, as often
as its records' age allows: it would call the function thousands of times in vain.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 7200
"""Seconds until a queue delivers an entry again: fifty deliveries last for three days."""
LONGEST_OF_STREAM = 20.0
"""Seconds from the beginning of an invocation until its batch is given back to a stream."""

sleep: Callable[[float], None] = time.sleep
"""How an invocation waits; a test may wait for nothing."""

_given_back: dict[str, int] = {}
_REMEMBERED = 64


def of_queue(receives: int, told: float) -> int:
    """Give the seconds until the queue delivers an entry again.

    Parameters
    ----------
    receives
        How often the queue has delivered it.
    told
        Seconds for which the destination lets us wait.
    """
    return max(min(1 << min(receives, 30), LONGEST), min(round(told), LONGEST))


def of_stream(first: str, began: float, until: float) -> None:
    """Wait before a batch is given back to a stream: the longer, the more often this container gave it back.

    The wait counts from the invocation's beginning: one that worked for as long gives back at once.

    Parameters
    ----------
    first
        The first entry that is given back.
    began, until
        When the invocation began, and when the wait has to end at the latest (of `time.monotonic`).
    """
    times = _given_back.pop(first, 0)
    if len(_given_back) >= _REMEMBERED:
        del _given_back[next(iter(_given_back))]
    _given_back[first] = times + 1
    end = min(began + min(2.0 ** min(times, 30), LONGEST_OF_STREAM), until)
    if (seconds := end - time.monotonic()) > 0:
        sleep(seconds)
