"""Steps six and seven: pack a program's wire objects into requests, and send them until all are settled or time is up.

A part that is not settled in time stays in `Delivery.missing`, and `ProgramSender.failing` says why.

One bad object must not block its neighbours. If a request fails twice, or a firewall rejects it, while the destination
accepts a harmless object, the request is split: in halves, or by member and then by object if its outcome is unknown.
The object that is left alone and still fails is rejected. If the destination accepts nothing, nothing is split. A
request whose outcome is unknown is repeated once at most, because each repeat may double its objects; a program that
failed before does not repeat it until the destination accepts data again.
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
"""Requests of one program at once, hence its connections: as many as a stream's batch usually needs."""
ATTEMPTS = 4
"""Attempts of one request before the program counts as failing."""
UNKNOWN_ATTEMPTS = 2
"""Attempts of one request whose outcome is unknown: each may double it."""
MAX_SET_ASIDE = 3
"""Objects of a program that one invocation rejects in this way; with more, it is rather the destination that fails."""
CHECK_SECONDS = 5.0
"""How long to wait for the reply to a harmless object."""
REPLY_SECONDS = 20.0
"""Braze usually answers within a second; after this, the outcome of a request is unknown."""
NO_TIME = "no time left to send"
"""Why a request was not begun: no failure of the destination."""


@dataclass(slots=True, eq=False)
class ProgramSender:
    """Sends one program's requests during one invocation.

    Attributes
    ----------
    post
        Sends a body made from wire objects before a deadline (of `time.monotonic`).
    until
        No request begins after this (of `time.monotonic`), except repeats that look for a bad object while there is
        time for a whole reply.
    reply_until
        When waiting for replies ends (of `time.monotonic`); a request that is cut off may be doubled.
    not_before
        When the destination takes the next request (of `time.monotonic`).
    check
        Sends an object that changes nothing before a deadline (of `time.monotonic`).
    turn
        Waits until the destination's rate limit admits a request; false if that is after a deadline (of
        `time.monotonic`).
    workers
        Requests at once, and parts at once of one that is split.
    was_failing
        Whether an earlier invocation failed: then a harmless object is sent first.
    failing
        Why the program's requests fail; no other is sent in this invocation.
    broken
        Whether an operator has to act.
    splitting
        Locked while the parts of a request are sent side by side.
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
    splitting: threading.Lock = field(default_factory=threading.Lock)

    def stop(self, reason: str, *, broken: bool = False) -> None:
        """Send no further request of the program in this invocation."""
        with self.lock:
            self.failing = self.failing or reason
            self.broken = self.broken or broken

    def count(self, name: str, amount: int = 1) -> None:
        """Count something (thread-safe)."""
        with self.lock:
            self.counts[name] += amount

    def may_reject_alone(self) -> bool:
        """Count a bad object (thread-safe); return whether there are not too many."""
        with self.lock:
            if self.counts["set_aside"] >= MAX_SET_ASIDE:
                return False
            self.counts["set_aside"] += 1
            return True

    def count_reply(self, how: str) -> None:
        """Count how a request ended (thread-safe)."""
        with self.lock:
            self.replies[how] += 1


@dataclass(frozen=True, slots=True)
class _BadRequest:
    """The destination takes data, but fails on this request; with `is_unknown` it may have accepted it anyway."""

    reason: str
    is_unknown: bool


def send(sender: ProgramSender, groups: Sequence[Sequence[OutboundObject]]) -> None:
    """Send the objects of each member in order, and those of different members side by side."""
    if sender.was_failing and groups:
        _check_first(sender)
    for requests in _pack(sender, groups):
        if sender.failing:
            return  # the rest of a member's items must not overtake
        if len(requests) == 1:
            _send_one(sender, requests[0])
            continue
        _send_all(sender, requests)


def _pack(sender: ProgramSender, groups: Sequence[Sequence[OutboundObject]]) -> list[list[list[OutboundObject]]]:
    rules, destination = sender.rules, sender.destination
    return pack(groups, lambda item: destination.weigh(item.object, rules), destination.capacity(rules))


def _send_all(sender: ProgramSender, requests: Sequence[Sequence[OutboundObject]], *, suspected: bool = False) -> None:
    """Send requests with different members side by side; the parts of a split one only while no other is split."""
    if suspected and not sender.splitting.acquire(blocking=False):  # each request's own threads would be too many
        for request in requests:
            _send_one(sender, request, suspected=True)
        return
    try:
        _send_side_by_side(sender, requests, suspected=suspected)
    finally:
        if suspected:
            sender.splitting.release()


def _send_side_by_side(sender: ProgramSender, requests: Sequence[Sequence[OutboundObject]], *, suspected: bool) -> None:
    with ThreadPoolExecutor(min(WORKERS, sender.workers, len(requests))) as pool:
        for _ in pool.map(lambda request: _send_one(sender, request, suspected=suspected), requests):
            pass


def _send_one(sender: ProgramSender, request: Sequence[OutboundObject], *, suspected: bool = False) -> None:
    """Send one request and the requests that it is split into, one after the other.

    Parameters
    ----------
    suspected
        Whether it is part of a larger request on which the destination failed.
    """
    queue = deque([(list(request), suspected)])
    while queue:
        items, suspected = queue.popleft()
        verdict = _attempt(sender, items, suspected=suspected)
        if isinstance(verdict, Accepted):
            parts = _settle_objects(sender, items, verdict)
        elif isinstance(verdict, Rejected | SplitRequired):
            parts = _split(sender, items, verdict)
        elif isinstance(verdict, _BadRequest) and len(items) > 1:
            suspected = True
            parts = _by_member(items) if verdict.is_unknown else _halves(items)
            if len({part[0].delivery.update.member for part in parts}) == len(parts):
                _send_all(sender, parts, suspected=True)
                parts = []
        elif isinstance(verdict, _BadRequest) and sender.may_reject_alone():
            parts = _in_order(sender, _reject(sender, items[0], verdict.reason))
        else:
            sender.stop(verdict.reason, broken=isinstance(verdict, Broken))
            return
        queue.extendleft((part, suspected) for part in reversed(parts))


def _by_member(items: list[OutboundObject]) -> list[list[OutboundObject]]:
    """Split a request by member, or a member's by object: each object is repeated less often than with halves."""
    members = [list(mine) for _, mine in groupby(items, key=lambda item: item.delivery.update.member)]
    return members if len(members) > 1 else [[item] for item in items]


def _attempt(sender: ProgramSender, items: Sequence[OutboundObject], *, suspected: bool) -> Verdict | _BadRequest:
    """Send a request until the destination decides, the request proves to be bad, or time is up."""
    verdict: Verdict = Transient(NO_TIME)
    failures = unknowns = 0
    for attempt in range(ATTEMPTS):
        if sender.failing:
            return Broken(sender.failing) if sender.broken else Transient(sender.failing)
        until = max(sender.until, sender.reply_until - REPLY_SECONDS) if attempt or suspected else sender.until
        if (delay := _wait_to_begin(sender, until)) is not None:
            return verdict if attempt else delay
        verdict = _post(sender, items)
        if isinstance(verdict, Wait):
            _back_off(sender, max(verdict.seconds or 0.0, backoff(attempt)))  # "0", or a time that is past, is none
        elif isinstance(verdict, Transient):
            failures, unknowns = failures + 1, unknowns + verdict.is_unknown
            _back_off(sender, backoff(attempt))
            is_last = unknowns == UNKNOWN_ATTEMPTS or failures == ATTEMPTS
            is_cut_short = verdict.is_unknown and time.monotonic() >= (until if suspected else sender.until)
            is_suspect = is_last or is_cut_short or (len(items) > 1 and (suspected or failures == 2))
            if (len(items) > 1 or is_last or suspected) and is_suspect and _takes_data(sender):
                doubt = " (it may have been taken)" if verdict.is_unknown else ""
                return _BadRequest(f"{verdict.reason}; other data is taken{doubt}", verdict.is_unknown)
            if is_last:
                return verdict
        else:
            if isinstance(verdict, Broken) and verdict.is_foreign and _takes_data(sender):
                return _BadRequest(f"{verdict.reason}; other data is taken", is_unknown=False)
            break
    return verdict


def _wait_to_begin(sender: ProgramSender, until: float) -> Verdict | None:
    """Wait until a request may begin; return why it may not, if that would be too late."""
    pause = sender.not_before - time.monotonic()
    if pause > 0:
        if sender.not_before >= until:
            return Wait(pause, "the destination asks to wait")
        sender.sleep(pause)
    if time.monotonic() >= until or not sender.turn(until):
        return Transient(NO_TIME)
    return None


def _post(sender: ProgramSender, items: Sequence[OutboundObject]) -> Verdict:
    deadline = min(sender.reply_until, time.monotonic() + REPLY_SECONDS)
    sender.count("requests")
    verdict = _judge(sender, [item.object for item in items], lambda: sender.post(items, deadline))
    if isinstance(verdict, Accepted) and verdict.unprocessed:
        sender.count("not_processed", verdict.unprocessed)
    if isinstance(verdict, Transient) and verdict.is_unknown:
        sender.count("outcome_unknown")
        sender.count_reply("outcome_unknown")
    elif isinstance(verdict, _NotSent):
        sender.count_reply("not_sent")
    else:
        sender.count_reply(_WORDS[type(verdict)])
    return verdict


class _NotSent(Transient):
    """A request that certainly did not arrive."""


def _judge(sender: ProgramSender, objects: Sequence[WireObject], exchange: Callable[[], Reply]) -> Verdict:
    try:
        reply = exchange()
    except OutcomeUnknown as error:
        return Transient(str(error), is_unknown=True)
    except Unavailable as error:
        return _NotSent(str(error))
    if rest := reply.rate_limit_pause(time.time()):
        _back_off(sender, rest)
    return sender.destination.judge(reply, objects, time.time())


def _takes_data(sender: ProgramSender) -> bool:
    """Return whether the destination takes data, by sending an object that changes nothing."""
    return not isinstance(_check(sender), Transient | Wait | Broken)


def _check_first(sender: ProgramSender) -> None:
    """Stop a program that failed before, if its destination still takes nothing."""
    verdict = _wait_to_begin(sender, sender.until) or _check(sender)
    if isinstance(verdict, Wait):
        _back_off(sender, verdict.seconds if verdict.seconds is not None else backoff(0))
    if isinstance(verdict, Transient | Wait | Broken):
        sender.stop(verdict.reason, broken=isinstance(verdict, Broken))


def _check(sender: ProgramSender) -> Verdict:
    check, deadline = sender.check, min(sender.reply_until, time.monotonic() + CHECK_SECONDS)
    if check is None or not sender.turn(deadline):
        return Transient(NO_TIME)
    sender.count("checks")
    return _judge(sender, [sender.destination.harmless()], lambda: check(deadline))


_WORDS: dict[type[Verdict], str] = {
    Accepted: "ok",
    Rejected: "rejected",
    SplitRequired: "too_large",
    Wait: "wait",
    Transient: "failed",
    Broken: "broken",
}


def _back_off(sender: ProgramSender, seconds: float) -> None:
    with sender.lock:
        sender.not_before = max(sender.not_before, time.monotonic() + seconds)


def _settle_objects(
    sender: ProgramSender, items: Sequence[OutboundObject], verdict: Accepted
) -> list[list[OutboundObject]]:
    """Settle the objects of an accepted request; return requests for those that are sent in another form."""
    again: list[OutboundObject] = []
    for position, item in enumerate(items):
        if position in verdict.rejected:
            again += _reject(sender, item, verdict.rejected[position])
        else:
            _accept(sender, item)
    return _in_order(sender, again)


def _in_order(sender: ProgramSender, items: list[OutboundObject]) -> list[list[OutboundObject]]:
    """Pack objects into requests, one after the other: the objects of a split update may need several."""
    return [request for wave in _pack(sender, [items]) for request in wave] if items else []


def _accept(sender: ProgramSender, item: OutboundObject) -> None:
    sender.count(f"accepted_{item.part}")
    if item.update:
        item.update.accept()
    else:
        item.delivery.accept(item.part)


def _reject(sender: ProgramSender, item: OutboundObject, reason: str) -> list[OutboundObject]:
    """Reject an object; return the objects of its update, split by record, if several records share it."""
    if item.update and len(item.update.shares) > 1:
        return [
            one for update in apart(item.update) for one in attribute_objects(update, sender.destination, sender.rules)
        ]
    item.delivery.reject(item.part, reason)
    return []


def _split(
    sender: ProgramSender, items: list[OutboundObject], verdict: Rejected | SplitRequired
) -> list[list[OutboundObject]]:
    """Split a request that was rejected as a whole, so that the bad object ends up alone."""
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
