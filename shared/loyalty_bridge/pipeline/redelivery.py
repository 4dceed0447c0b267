"""How long until a message is delivered again: longer each time, so that an outage loses nothing.

A queue counts deliveries and moves an entry to the dead letters after fifty. A stream delivers again at once, as often
as its records' age allows: it would call the function thousands of times in vain.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 7200
"""Seconds until a queue delivers an entry again: fifty deliveries last for three days."""
LONGEST_OF_STREAM = 20.0
"""Seconds from the beginning of an invocation until its batch is returned to a stream."""

sleep: Callable[[float], None] = time.sleep
"""How an invocation waits; a test may wait for nothing."""

_returned: dict[str, int] = {}
_REMEMBERED = 64


def of_queue(receives: int, wait: float) -> int:
    """Return the seconds until the queue delivers a message again.

    Parameters
    ----------
    receives
        How often the queue has delivered it.
    wait
        Seconds that the destination asks to wait.
    """
    return max(min(1 << min(receives, 30), LONGEST), min(round(wait), LONGEST))


def of_stream(first: str, began: float, until: float) -> None:
    """Wait before a batch is returned to a stream: the longer, the more often this container returned it.

    The wait counts from the invocation's beginning: one that took as long returns at once.

    Parameters
    ----------
    first
        The first entry that is returned.
    began, until
        When the invocation began, and when the wait has to end at the latest (of `time.monotonic`).
    """
    times = _returned.pop(first, 0)
    if len(_returned) >= _REMEMBERED:
        del _returned[next(iter(_returned))]
    _returned[first] = times + 1
    end = min(began + min(2.0 ** min(times, 30), LONGEST_OF_STREAM), until)
    if (seconds := end - time.monotonic()) > 0:
        sleep(seconds)
