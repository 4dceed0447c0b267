"""A forwarder's share of a destination's rate limit, so that all forwarders together keep to it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class RateLimit:
    """At most so many turns in any so many seconds, for all threads of a process.

    Parameters
    ----------
    most
        Turns within `seconds`.
    clock, sleep
        As those of `time`.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds, self._clock, self._sleep = seconds, clock, sleep
        self._taken: deque[float] = deque(maxlen=most)
        self._lock = threading.Lock()

    def take(self, until: float) -> bool:
        """Wait for a turn; false, at once, when it would come after `until` (of the clock)."""
        with self._lock:
            now = self._clock()
            is_full = len(self._taken) == self._taken.maxlen
            begin = max(now, self._taken[0] + self._seconds) if is_full else now
            if begin >= until:
                return False
            self._taken.append(begin)
        if begin > now:
            self._sleep(begin - now)
        return True
