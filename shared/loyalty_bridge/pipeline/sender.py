"""Sending a program's wire objects: packed, in parallel, judged, repeated or split, until settled or time is up.

What cannot be settled in time stays missing in its work; the lane says why.

A request that fails twice, or that a firewall turns away, while the destination takes a harmless object, is halved (or,
when its outcome is unknown, taken apart at once) until what makes the destination fail is alone; that object is set
aside as refused, and its neighbours arrive. When the destination takes nothing, all
is left as it is. A request whose outcome is unknown is sent once more at most, and not at all by a program that failed
before until the destination takes data again: each repeat may double what it holds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from loyalty_bridge.errors import OutcomeUnknown, Unavailable
from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.infra.retry import backoff
from loyalty_bridge.pipeline.packing import pack
from loyalty_bridge.pipeline.planning import OutboundObject, apart, attribute_objects
from loyalty_bridge.platforms.base import (
    Accepted,
    Broken,
    EngagementPlatform,
    Rejected,
    SplitRequired,
    Transient,
    Verdict,
    Wait,
    WireObject,
)

WORKERS = 25
"""Requests of one program under way at once, hence its connections: as many as a stream's batch needs as a rule."""
ATTEMPTS = 4
"""Tries of one request before the program counts as failing."""
UNKNOWN_ATTEMPTS = 2
"""Tries of one request whose outcome is unknown: it may be doubled."""
MAX_SET_ASIDE = 3
"""Objects of a program that one invocation sets aside; with more, it is rather the destination that fails."""
CHECK_SECONDS = 5.0
"""How long to wait for the answer about a harmless object."""
REPLY_SECONDS = 20.0
"""Braze answers within a second as a rule; a request is given up, with its outcome unknown, after this."""
NO_TIME = "no time left to send"
"""Why what was not begun is left: no failure of the destination."""


@dataclass(slots=True, eq=False)
class ProgramSender:
    """One program's way to its destination during one invocation.

    Attributes
    ----------
    post
        Sends a body made from wire objects before a deadline (of `time.monotonic`).
    until
        No request is begun, and nothing is waited for between requests, beyond this (of `time.monotonic`); but for
        repeats that find an object which makes the destination fail, while a reply has its full time.
    reply_until
        No reply is waited for beyond this (of `time.monotonic`); what is cut off may be doubled.
    not_before
        When the destination lets us go on (of `time.monotonic`).
    check
        Sends an object that changes nothing before a deadline (of `time.monotonic`).
    turn
        Waits until the forwarder may begin a request, to keep to the destination's limit; false when that is after a
        deadline (of `time.monotonic`).
    workers
        Requests under way at once, and as many parts of one that is taken apart.
    was_failing
        Whether an earlier invocation failed: nothing is sent before the destination takes a harmless object.
    failing
        Why the program's requests fail, when they do; then the others are not tried in this invocation.
    broken
        Whether an operator has to act.
    taking_apart
        Held while the parts of a request are sent side by side.
    replies
        How the requests ended: ``ok``, ``outcome_unknown``, ``not_sent``, or what the reply meant.
    """

    destination: EngagementPlatform
    rules: Any
    post: Callable[[Sequence[OutboundObject], float], Reply]
    until: float
    reply_until: float
    not_before: float = 0.0
    check: Callable[[float], Reply] | None = None
    turn: Callable[[float], bool] = lambda _: True
    workers: int = WORKERS
    was_failing: bool = False
    failing: str = ""
    broken: bool = False
    sleep: Callable[[float], None] = time.sleep
    counts: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    taking_apart: threading.Lock = field(default_factory=threading.Lock)

    def stop(self, reason: str, *, broken: bool = False) -> None:
        """Let no further request of the program be tried in this invocation."""
        with self.lock:
            self.failing = self.failing or reason
            self.broken = self.broken or broken

    def count(self, name: str, amount: int = 1) -> None:
        """Count something, from any thread."""
        with self.lock:
            self.counts[name] += amount

    def may_set_aside(self) -> bool:
        """Count an object that is set aside, from any thread; false when that were too many."""
        with self.lock:
            if self.counts["set_aside"] >= MAX_SET_ASIDE:
                return False
            self.counts["set_aside"] += 1
            return True

    def ended(self, how: str) -> None:
        """Count how a request ended, from any thread."""
        with self.lock:
            self.replies[how] += 1


@dataclass(frozen=True, slots=True)
class _Culprit:
    """The destination takes data, but fails on this request; `is_unknown`: it may have taken it all the same."""

    reason: str
    is_unknown: bool


def send(sender: ProgramSender, groups: Sequence[Sequence[OutboundObject]]) -> None:
    """Send each member's items; members in parallel, one member's in order."""
    if sender.was_failing and groups:
        _check_before(sender)
    for requests in _pack(sender, groups):
        if sender.failing:
            return  # the rest of a member's items must not overtake
        if len(requests) == 1:
            _settle(sender, requests[0])
            continue
        _settle_all(sender, requests)


def _pack(sender: ProgramSender, groups: Sequence[Sequence[OutboundObject]]) -> list[list[list[OutboundObject]]]:
    rules, destination = sender.rules, sender.destination
    return pack(groups, lambda item: destination.weigh(item.object, rules), destination.capacity(rules))


def _settle_all(
    sender: ProgramSender, requests: Sequence[Sequence[OutboundObject]], *, suspected: bool = False
) -> None:
    """Send requests that no member shares, side by side; the parts of one request only while no other's are."""
    if suspected and not sender.taking_apart.acquire(blocking=False):  # each request's own threads would be too many
        for request in requests:
            _settle(sender, request, suspected=True)
        return
    try:
        _settle_side_by_side(sender, requests, suspected=suspected)
    finally:
        if suspected:
            sender.taking_apart.release()


def _settle_side_by_side(
    sender: ProgramSender, requests: Sequence[Sequence[OutboundObject]], *, suspected: bool
) -> None:
    with ThreadPoolExecutor(min(WORKERS, sender.workers, len(requests))) as pool:
        for _ in pool.map(lambda request: _settle(sender, request, suspected=suspected), requests):
            pass


def _settle(sender: ProgramSender, request: Sequence[OutboundObject], *, suspected: bool = False) -> None:
    """Send one request, and what it splits into, one after the other.

    Parameters
    ----------
    suspected
        It was part of a larger request on which the destination failed.
    """
    queue = deque([(list(request), suspected)])
    while queue:
        items, suspected = queue.popleft()
        verdict = _attempt(sender, items, suspected=suspected)
        if isinstance(verdict, Accepted):
            parts = _settle_each(sender, items, verdict)
        elif isinstance(verdict, Rejected | SplitRequired):
            parts = _split(sender, items, verdict)
        elif isinstance(verdict, _Culprit) and len(items) > 1:
            suspected = True
            parts = _singled_out(items) if verdict.is_unknown else _halves(items)
            if len({part[0].delivery.update.member for part in parts}) == len(parts):
                _settle_all(sender, parts, suspected=True)
                parts = []
        elif isinstance(verdict, _Culprit) and sender.may_set_aside():
            parts = _in_order(sender, _reject(sender, items[0], verdict.reason))
        else:
            sender.stop(verdict.reason, broken=isinstance(verdict, Broken))
            return
        queue.extendleft((part, suspected) for part in reversed(parts))


def _singled_out(items: list[OutboundObject]) -> list[list[OutboundObject]]:
    """Take a request apart by member, or a member's by object: with fewer repeats of each object than halving has."""
    members = [list(mine) for _, mine in groupby(items, key=lambda item: item.delivery.update.member)]
    return members if len(members) > 1 else [[item] for item in items]


def _attempt(sender: ProgramSender, items: Sequence[OutboundObject], *, suspected: bool) -> Verdict | _Culprit:
    """Send until the destination decides, the request proves to be what makes it fail, or time is up."""
    verdict: Verdict = Transient(NO_TIME)
    failures = unknowns = 0
    for attempt in range(ATTEMPTS):
        if sender.failing:
            return Broken(sender.failing) if sender.broken else Transient(sender.failing)
        until = max(sender.until, sender.reply_until - REPLY_SECONDS) if attempt or suspected else sender.until
        if (delay := _wait_to_begin(sender, until)) is not None:
            return verdict if attempt else delay
        verdict = _exchange(sender, items)
        if isinstance(verdict, Wait):
            _postpone(sender, max(verdict.seconds or 0.0, backoff(attempt)))  # "0", or a time that is past, is none
        elif isinstance(verdict, Transient):
            failures, unknowns = failures + 1, unknowns + verdict.is_unknown
            _postpone(sender, backoff(attempt))
            is_last = unknowns == UNKNOWN_ATTEMPTS or failures == ATTEMPTS
            is_cut_short = verdict.is_unknown and time.monotonic() >= (until if suspected else sender.until)
            is_suspect = is_last or is_cut_short or (len(items) > 1 and (suspected or failures == 2))
            if (len(items) > 1 or is_last or suspected) and is_suspect and _takes_data(sender):
                doubt = " (it may have been taken)" if verdict.is_unknown else ""
                return _Culprit(f"{verdict.reason}; other data is taken{doubt}", verdict.is_unknown)
            if is_last:
                return verdict
        else:
            if isinstance(verdict, Broken) and verdict.is_foreign and _takes_data(sender):
                return _Culprit(f"{verdict.reason}; other data is taken", is_unknown=False)
            break
    return verdict


def _wait_to_begin(sender: ProgramSender, until: float) -> Verdict | None:
    """Wait until a request may begin; when that would be too late, tell why."""
    pause = sender.not_before - time.monotonic()
    if pause > 0:
        if sender.not_before >= until:
            return Wait(pause, "the destination lets us wait")
        sender.sleep(pause)
    if time.monotonic() >= until or not sender.turn(until):
        return Transient(NO_TIME)
    return None


def _exchange(sender: ProgramSender, items: Sequence[OutboundObject]) -> Verdict:
    deadline = min(sender.reply_until, time.monotonic() + REPLY_SECONDS)
    sender.count("requests")
    verdict = _judged(sender, [item.object for item in items], lambda: sender.post(items, deadline))
    if isinstance(verdict, Accepted) and verdict.unprocessed:
        sender.count("not_processed", verdict.unprocessed)
    if isinstance(verdict, Transient) and verdict.is_unknown:
        sender.count("outcome_unknown")
        sender.ended("outcome_unknown")
    elif isinstance(verdict, _NotSent):
        sender.ended("not_sent")
    else:
        sender.ended(_WORDS[type(verdict)])
    return verdict


class _NotSent(Transient):
    """A request that certainly did not arrive."""


def _judged(sender: ProgramSender, objects: Sequence[WireObject], exchange: Callable[[], Reply]) -> Verdict:
    try:
        reply = exchange()
    except OutcomeUnknown as error:
        return Transient(str(error), is_unknown=True)
    except Unavailable as error:
        return _NotSent(str(error))
    if rest := reply.rate_limit_pause(time.time()):
        _postpone(sender, rest)
    return sender.destination.judge(reply, objects, time.time())


def _takes_data(sender: ProgramSender) -> bool:
    """Ask whether the destination takes data, with an object that changes nothing."""
    return not isinstance(_checked(sender), Transient | Wait | Broken)


def _check_before(sender: ProgramSender) -> None:
    """Stop a program that failed before if its destination still takes nothing."""
    verdict = _wait_to_begin(sender, sender.until) or _checked(sender)
    if isinstance(verdict, Wait):
        _postpone(sender, verdict.seconds if verdict.seconds is not None else backoff(0))
    if isinstance(verdict, Transient | Wait | Broken):
        sender.stop(verdict.reason, broken=isinstance(verdict, Broken))


def _checked(sender: ProgramSender) -> Verdict:
    check, deadline = sender.check, min(sender.reply_until, time.monotonic() + CHECK_SECONDS)
    if check is None or not sender.turn(deadline):
        return Transient(NO_TIME)
    sender.count("checks")
    return _judged(sender, [sender.destination.harmless()], lambda: check(deadline))


_WORDS: dict[type[Verdict], str] = {
    Accepted: "ok",
    Rejected: "rejected",
    SplitRequired: "too_large",
    Wait: "wait",
    Transient: "failed",
    Broken: "broken",
}


def _postpone(sender: ProgramSender, seconds: float) -> None:
    with sender.lock:
        sender.not_before = max(sender.not_before, time.monotonic() + seconds)


def _settle_each(
    sender: ProgramSender, items: Sequence[OutboundObject], verdict: Accepted
) -> list[list[OutboundObject]]:
    """Settle the items of a request that was taken; give the requests for what has to be sent in another form."""
    again: list[OutboundObject] = []
    for position, item in enumerate(items):
        if position in verdict.rejected:
            again += _reject(sender, item, verdict.rejected[position])
        else:
            _accept(sender, item)
    return _in_order(sender, again)


def _in_order(sender: ProgramSender, items: list[OutboundObject]) -> list[list[OutboundObject]]:
    """Cut items into requests to be sent one after the other: what was taken apart may be more than one takes."""
    return [request for wave in _pack(sender, [items]) for request in wave] if items else []


def _accept(sender: ProgramSender, item: OutboundObject) -> None:
    sender.count(f"accepted_{item.part}")
    if item.update:
        item.update.accept()
    else:
        item.delivery.accept(item.part)


def _reject(sender: ProgramSender, item: OutboundObject, reason: str) -> list[OutboundObject]:
    """Refuse an item; one that several records share is sent again for each of them alone."""
    if item.update and len(item.update.shares) > 1:
        return [
            one for update in apart(item.update) for one in attribute_objects(update, sender.destination, sender.rules)
        ]
    item.delivery.reject(item.part, reason)
    return []


def _split(
    sender: ProgramSender, items: list[OutboundObject], verdict: Rejected | SplitRequired
) -> list[list[OutboundObject]]:
    """Cut a request that was refused as a whole, until the culprit is alone."""
    culprits = verdict.rejected if isinstance(verdict, Rejected) else {}
    if culprits:
        rest = [item for position, item in enumerate(items) if position not in culprits]
        alone = [one for position in sorted(culprits) for one in _reject(sender, items[position], culprits[position])]
        return [*_in_order(sender, alone), *([rest] if rest else [])]
    if len(items) == 1:
        return _in_order(sender, _reject(sender, items[0], verdict.reason))
    return _halves(items)


def _halves(items: list[OutboundObject]) -> list[list[OutboundObject]]:
    middle = len(items) // 2
    return [items[:middle], items[middle:]]
