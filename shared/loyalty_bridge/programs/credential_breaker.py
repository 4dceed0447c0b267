"""The circuit breaker of a secret: one that was rejected a few times in a row is not sent for a while.

Punchh blocks an address for an hour after ten failed authentications within ten minutes
(https://developers.partech.com/docs/dev-portal-developer-resources/punchh-api-security-guidelines), and a campaign
calls hundreds of times at once. So only a few calls try a secret that has not worked yet; the others wait for their
result::

    untried ── any answer but a refusal ──► works         calls pass, and cost nothing more
       ▲  └─── LIMIT refusals ──► stopped ── PAUSE_SECONDS, or the connection is saved ──► one call tries again
       └────── a refusal, or the connection is saved

No answer, and one that says nothing of the secret (408, 429, 5xx), let the next call try. What is on its way at the
moment when a secret that worked is refused is not held back. The platform counts refusals whatever the connection is:
after `MOST` of them, saving lets no call try before the pause is over.

One item for each secret beside the connection, so that all come in one round trip. A change is written on condition
that the item is as it was read. Refusals are counted without that condition once the first is written down: hundreds of
calls may be refused at the same moment, and each of them has a caller who waits.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import ConnectionBroken, NotSent, Unavailable
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.infra.dynamodb import number
from loyalty_bridge.infra.retry import attempts

if TYPE_CHECKING:
    from loyalty_bridge.infra.http_client import Reply, Request, Send
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import ProgramSettings

LIMIT = 3
MAX_REFUSALS = 8
"""Refusals within the pause: two fewer than the platform takes."""
PAUSE_SECONDS = 600.0
"""The platform forgets rejections after this time."""
TRY_SECONDS = 10.0
"""A call without a result by then has died."""
REFUSALS = frozenset({401, 403, 412})
_SAYS_NOTHING = frozenset({408, 429})

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Breaker:
    """State of a secret, shared by all containers.

    Attributes
    ----------
    version
        Of the connection that the rest is about.
    works
        It was not refused since it last worked; then the following are 0.
    tries
        Calls that try it, or were refused, since then.
    refusals
        How many of these were refused.
    until
        When the tries, or the pause, are over (epoch seconds).
    recent
        How many refusals, each within the pause after the one before, whatever the connection was.
    refused_at
        When the last of these was (epoch seconds).
    revision
        Rises with every change.
    """

    version: int = 0
    works: bool = False
    tries: int = 0
    refusals: int = 0
    until: float = 0.0
    recent: int = 0
    refused_at: float = 0.0
    revision: int = 0

    def renewed(self, version: int, now: float) -> Breaker:
        """Return the state for a changed connection: only the recent rejections are kept."""
        fresh = Breaker(version, recent=self._lately(now), refused_at=self.refused_at, revision=self.revision)
        if fresh.recent >= MAX_REFUSALS:
            return replace(fresh, tries=LIMIT, refusals=LIMIT, until=self.refused_at + PAUSE_SECONDS)
        return replace(fresh, tries=LIMIT, refusals=LIMIT - 1) if fresh.recent else fresh

    def _lately(self, now: float) -> int:
        return self.recent if now < self.refused_at + PAUSE_SECONDS else 0

    def tried(self, now: float) -> Breaker:
        """Return the state with one more call that tries, unless it need not or has to wait."""
        if self.works or (self.tries >= LIMIT and now < self.until):
            return self
        if self.tries < LIMIT:
            return replace(self, tries=self.tries + 1, until=now + TRY_SECONDS)
        return replace(self, refusals=LIMIT - 1, until=now + TRY_SECONDS)

    def refused(self, now: float) -> Breaker:
        """Return the state after a rejection."""
        counted = replace(self, recent=self._lately(now) + 1, refused_at=now)
        if self.stopped(now):
            return counted
        refusals = min(self.refusals + 1, LIMIT)
        tries = max(self.tries, refusals)
        return replace(counted, works=False, tries=tries, refusals=refusals, until=now + PAUSE_SECONDS)

    def worked(self, _: float) -> Breaker:
        """Return the state after a success."""
        return self if self.works else replace(self, works=True, tries=0, refusals=0, until=0.0)

    def given_back(self, _: float) -> Breaker:
        """Return the state after a try without a result."""
        return replace(self, tries=max(self.tries - 1, 0))

    def stopped(self, now: float) -> bool:
        """Return whether requests are stopped."""
        return self.refusals >= LIMIT and now < self.until


def item_of(secret: str) -> str:
    """Return the sort key of a secret's item."""
    return f"breaker#{secret}"


def from_item(item: Mapping[str, Any]) -> Breaker:
    """Decode an item, also an empty one."""
    refusals = min(int(number(item, "refusals")), LIMIT)
    return Breaker(
        version=int(number(item, "version")),
        works=item.get("works") is True,
        tries=max(int(number(item, "tries")), refusals),
        refusals=refusals,
        until=number(item, "until"),
        recent=int(number(item, "recent")),
        refused_at=number(item, "refused_at"),
        revision=int(number(item, "revision")),
    )


@dataclass(slots=True)
class GuardedClient:
    """A `Send` for requests that contain a secret; it obeys the secret's breaker.

    Attributes
    ----------
    secret
        Its name.
    latest
        The breaker as it was read with the program.
    clock
        Returns the time in epoch seconds.
    """

    settings: ProgramSettings
    program: Program
    secret: str
    latest: Breaker
    send: Send
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _waits: bool = False
    _tries: bool = False

    def admit(self, deadline: float) -> None:
        """Admit the next request, so that only sending it can fail afterwards.

        Raises
        ------
        ConnectionBroken
            The secret was rejected too often.
        NotSent
            It is not known in time whether the secret works.
        """
        if self._waits:
            return
        try:
            self._tries = self._admitted(deadline)
        except NotSent:
            raise
        except Unavailable as error:
            raise NotSent(str(error)) from error
        self._waits = True

    def release(self, deadline: float) -> None:
        """Let another call try instead, if the admitted request is not sent."""
        if self._waits and self._tries:
            self._note(Breaker.given_back, deadline)
        self._waits = False

    def __call__(self, request: Request, deadline: float) -> Reply:
        """Send, before a deadline (of `time.monotonic`).

        Raises
        ------
        ConnectionBroken
            The secret was rejected too often.
        NotSent, OutcomeUnknown
            As `Send`; or it is not known in time whether the secret works.
        """
        self.admit(deadline)
        tries, self._waits = self._tries, False
        try:
            reply = self.send(request, deadline)
        except Unavailable:
            if tries:
                self._note(Breaker.given_back, deadline)
            raise
        if reply.status in REFUSALS:
            self._note(Breaker.refused, deadline)
        elif reply.status < 500 and reply.status not in _SAYS_NOTHING:
            self._note(Breaker.worked, deadline)
        elif tries:
            self._note(Breaker.given_back, deadline)
        return reply

    def _admitted(self, deadline: float) -> bool:
        """Wait until a call may pass; return whether it is one that tries the secret."""
        for attempt in attempts(deadline, sleep=self.sleep):
            if attempt:
                self.latest = _read(self.settings, self.program.id, self.secret)
            if self._change(Breaker.tried, deadline):
                return True
            now = self.clock()
            if self.latest.works:
                return False
            if self.latest.stopped(now):
                raise ConnectionBroken(
                    f"{self.secret} was refused {LIMIT} times in a row", retry_after=self.latest.until - now
                )
        raise NotSent(f"another call is trying {self.secret}", retry_after=1)

    def _note(self, to: Callable[[Breaker, float], Breaker], deadline: float) -> None:
        try:
            if to is not Breaker.refused or not _count_refusal(self.settings, self.program, self.secret, self.clock()):
                self._change(to, deadline)
        except Unavailable as error:  # what was answered counts all the same
            _logger.warning("what became of a try of %s could not be written down: %s", self.secret, error)

    def _change(self, to: Callable[[Breaker, float], Breaker], deadline: float) -> bool:
        """Change the breaker, in at least one attempt; return whether there was something to change."""
        while True:
            seen, version = self.latest, self.program.version
            known = seen if seen.version == version else seen.renewed(version, self.clock())
            wanted = to(known, self.clock())
            if wanted == known:
                self.latest = known
                return False
            wanted = replace(wanted, revision=seen.revision + 1)
            stored = _write(self.settings, self.program.id, self.secret, seen, wanted)
            self.latest = wanted if stored is None else stored
            if stored is None:
                return True
            if to is Breaker.refused and _count_refusal(self.settings, self.program, self.secret, self.clock()):
                return True
            if time.monotonic() >= deadline:
                raise NotSent(f"{self.secret} is being tried by many calls at once", retry_after=1)


def _read(settings: ProgramSettings, program: str, secret: str) -> Breaker:
    return from_item(dynamodb.get(settings.programs_table, _key(program, secret)) or {})


def _count_refusal(settings: ProgramSettings, program: Program, secret: str, now: float) -> bool:
    """Count a rejection beside other writers; return whether this connection had one within the pause."""
    unmet = dynamodb.update(
        settings.programs_table,
        _key(program.id, secret),
        "SET #works = :false, #until = :until, #refused_at = :now ADD #refusals :one, #recent :one, #revision :one",
        {
            ":false": False,
            ":one": 1,
            ":until": now + PAUSE_SECONDS,
            ":now": now,
            ":before": now - PAUSE_SECONDS,
            ":version": program.version,
        },
        "#version = :version AND #refused_at > :before",
    )
    return unmet is None


def _write(settings: ProgramSettings, program: str, secret: str, before: Breaker, wanted: Breaker) -> Breaker | None:
    """Write a breaker unless it was changed since it was read; then give what is stored."""
    values = asdict(wanted) | {"writer": uuid.uuid4().hex}
    stored = dynamodb.update(
        settings.programs_table,
        _key(program, secret),
        "SET " + ", ".join(f"#{name} = :{name}" for name in values),
        {f":{name}": value for name, value in values.items()} | {":seen": before.revision or None},
        "#revision = :seen" if before.revision else "attribute_not_exists(#revision)",
    )
    # The stored item may be our own: the client repeats a write whose reply was lost.
    return None if stored is None or stored.get("writer") == values["writer"] else from_item(stored)


def _key(program: str, secret: str) -> dict[str, Any]:
    return {"program": program, "item": item_of(secret)}
