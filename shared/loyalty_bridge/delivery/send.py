"""Sending a program's wire objects: packed, in parallel, judged, repeated or split, until settled or time is up.

What cannot be settled in time stays missing in its work; the lane says why.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from loyalty_bridge.delivery.plan import Item, apart, attribute_items
from loyalty_bridge.destinations.packing import pack
from loyalty_bridge.destinations.wire import (
    Accepted,
    Broken,
    Destination,
    Rejected,
    Reply,
    TooLarge,
    Transient,
    Verdict,
    Wait,
)
from loyalty_bridge.errors import OutcomeUnknown, Unavailable
from loyalty_bridge.platforms.http import backoff

WORKERS = 25
"""Requests of one program under way at once, hence its connections: as many as a stream's batch needs as a rule."""
ATTEMPTS = 4
"""Tries of one request before the program counts as failing."""
REPLY_SECONDS = 20.0
"""Braze answers within a second as a rule; a request is given up, with its outcome unknown, after this."""
NO_TIME = "no time left to send"
"""Why what was not begun is left: no failure of the destination."""


@dataclass(slots=True, eq=False)
class Lane:
    """One program's way to its destination during one invocation.

    Attributes
    ----------
    post
        Sends a body made from wire objects before a deadline (of `time.monotonic`).
    until
        No request is begun, and nothing is waited for between requests, beyond this (of `time.monotonic`).
    reply_until
        No reply is waited for beyond this (of `time.monotonic`); what is cut off may be doubled.
    not_before
        When the destination lets us go on (of `time.monotonic`).
    failing
        Why the program's requests fail, when they do; then the others are not tried in this invocation.
    broken
        Whether an operator has to act.
    replies
        How the requests ended: ``ok``, ``outcome_unknown``, ``not_sent``, or what the reply meant.
    """

    destination: Destination
    rules: Any
    post: Callable[[Sequence[Item], float], Reply]
    until: float
    reply_until: float
    not_before: float = 0.0
    failing: str = ""
    broken: bool = False
    sleep: Callable[[float], None] = time.sleep
    counts: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self, reason: str, *, broken: bool = False) -> None:
        """Let no further request of the program be tried in this invocation."""
        with self.lock:
            self.failing = self.failing or reason
            self.broken = self.broken or broken

    def count(self, name: str, amount: int = 1) -> None:
        """Count something, from any thread."""
        with self.lock:
            self.counts[name] += amount

    def ended(self, how: str) -> None:
        """Count how a request ended, from any thread."""
        with self.lock:
            self.replies[how] += 1


def send(lane: Lane, groups: Sequence[Sequence[Item]]) -> None:
    """Send each member's items; members in parallel, one member's in order."""
    for requests in _pack(lane, groups):
        if lane.failing:
            return  # the rest of a member's items must not overtake
        if len(requests) == 1:
            _settle(lane, requests[0])
            continue
        with ThreadPoolExecutor(min(WORKERS, len(requests))) as pool:
            for _ in pool.map(lambda request: _settle(lane, request), requests):
                pass


def _pack(lane: Lane, groups: Sequence[Sequence[Item]]) -> list[list[list[Item]]]:
    rules, destination = lane.rules, lane.destination
    return pack(groups, lambda item: destination.weigh(item.object, rules), destination.capacity(rules))


def _settle(lane: Lane, request: Sequence[Item]) -> None:
    """Send one request, and what it splits into, one after the other."""
    queue = deque([list(request)])
    while queue:
        items = queue.popleft()
        verdict = _attempt(lane, items)
        if isinstance(verdict, Accepted):
            queue.extendleft(reversed(_settle_each(lane, items, verdict.rejected)))
        elif isinstance(verdict, Rejected | TooLarge):
            queue.extendleft(reversed(_split(lane, items, verdict)))
        else:
            lane.stop(verdict.reason, broken=isinstance(verdict, Broken))
            return


def _attempt(lane: Lane, items: Sequence[Item]) -> Verdict:
    """Send until the destination decides or time is up."""
    verdict: Verdict = Transient(NO_TIME)
    for attempt in range(ATTEMPTS):
        if lane.failing:
            return Broken(lane.failing) if lane.broken else Transient(lane.failing)
        pause = lane.not_before - time.monotonic()
        if pause > 0:
            if lane.not_before >= lane.until:
                return verdict if attempt else Wait(pause, "the destination lets us wait")
            lane.sleep(pause)
        if time.monotonic() >= lane.until:
            return verdict
        verdict = _exchange(lane, items)
        if isinstance(verdict, Wait):
            _postpone(lane, max(verdict.seconds or 0.0, backoff(attempt)))  # "0", or a time that is past, is none
        elif isinstance(verdict, Transient):
            _postpone(lane, backoff(attempt))
        else:
            return verdict
    return verdict


def _exchange(lane: Lane, items: Sequence[Item]) -> Verdict:
    deadline = min(lane.reply_until, time.monotonic() + REPLY_SECONDS)
    lane.count("requests")
    try:
        reply = lane.post(items, deadline)
    except OutcomeUnknown as error:
        lane.count("outcome_unknown")
        lane.ended("outcome_unknown")
        return Transient(str(error))
    except Unavailable as error:
        lane.ended("not_sent")
        return Transient(str(error))
    verdict = lane.destination.judge(reply, [item.object for item in items], time.time())
    lane.ended(_WORDS[type(verdict)])
    return verdict


_WORDS: dict[type[Verdict], str] = {
    Accepted: "ok",
    Rejected: "rejected",
    TooLarge: "too_large",
    Wait: "wait",
    Transient: "failed",
    Broken: "broken",
}


def _postpone(lane: Lane, seconds: float) -> None:
    with lane.lock:
        lane.not_before = max(lane.not_before, time.monotonic() + seconds)


def _settle_each(lane: Lane, items: Sequence[Item], rejected: Any) -> list[list[Item]]:
    """Settle the items of a request that was taken; give the requests for what has to be sent in another form."""
    again: list[Item] = []
    for position, item in enumerate(items):
        if position in rejected:
            again += _reject(lane, item, rejected[position])
        else:
            _accept(lane, item)
    return _in_order(lane, again)


def _in_order(lane: Lane, items: list[Item]) -> list[list[Item]]:
    """Cut items into requests to be sent one after the other: what was taken apart may be more than one takes."""
    return [request for wave in _pack(lane, [items]) for request in wave] if items else []


def _accept(lane: Lane, item: Item) -> None:
    lane.count(f"accepted_{item.part}")
    if item.write:
        item.write.accept()
    else:
        item.work.accept(item.part)


def _reject(lane: Lane, item: Item, reason: str) -> list[Item]:
    """Refuse an item; one that several records share is sent again for each of them alone."""
    if item.write and len(item.write.shares) > 1:
        return [one for write in apart(item.write) for one in attribute_items(write, lane.destination, lane.rules)]
    item.work.refuse(item.part, reason)
    return []


def _split(lane: Lane, items: list[Item], verdict: Rejected | TooLarge) -> list[list[Item]]:
    """Cut a request that was refused as a whole, until the culprit is alone."""
    culprits = verdict.rejected if isinstance(verdict, Rejected) else {}
    if culprits:
        rest = [item for position, item in enumerate(items) if position not in culprits]
        alone = [one for position in sorted(culprits) for one in _reject(lane, items[position], culprits[position])]
        return [*_in_order(lane, alone), *([rest] if rest else [])]
    if len(items) == 1:
        return _in_order(lane, _reject(lane, items[0], verdict.reason))
    middle = len(items) // 2
    return [items[:middle], items[middle:]]
