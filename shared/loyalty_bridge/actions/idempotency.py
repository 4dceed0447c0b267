"""The journal: which actions were begun and how they ended, so that none is carried out twice.

The platforms that call us repeat what failed, and the loyalty platform's actions are not repeatable. So an action is
written down before it is sent, and again when its end is known; each is one conditional write of one item::

                  ┌─ act: NotSent, Invalid ── the record goes; a repeat begins anew
                  ├─ act: UpstreamRejected, and refusals are not kept ── the same
                  │
    (none) ──► started ── act: an answer ────────► succeeded    a repeat gets the same answer
                  │  ├─── act: UpstreamRejected ──► refused     a repeat gets the same refusal
                  │  └─── act: OutcomeUnknown, ──► unknown      a repeat looks the effect up; it never acts
                  │       or the lease is over        │
                  │                                   ├─ found, a late answer, or an operator: succeeded
          a repeat waits                              └─ an operator: it did not happen; the record goes

What follows from it:

- A record that nobody finishes reads as unknown when its lease is over; no clean-up has to run. The lease ends with
  the invocation, but nothing rests on that: whoever takes a live owner for dead only looks and never acts.
- Where to act once more does no harm (opt-ins, a plan), a repeat does, under the same reference, instead of looking.
- A late owner may still write its end: it alone knows it. Whoever writes an end first wins, and everybody else,
  the late owner too, tells that one.
- When the journal does not take the beginning, nothing is sent. When it does not take the end within `WRITE_SECONDS`,
  the caller is told the end all the same (saying otherwise would be wrong, and would make it repeat); to later repeats
  it is unknown.
- What sending needs, such as an access token, is fetched before the beginning is written: after it, only the sending
  itself can fail.
- "Not found" proves nothing: the loyalty platform may act minutes after we have given up.

A request without a key acts each time, guarded by a record of its fingerprint: nothing is sent while an equal request
is started or unknown (for a day), and shortly after a success an equal request gets the stored answer. What is unknown
after that day makes way under an id of its own: it waits for the operator all the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar, cast

from loyalty_bridge.errors import (
    BridgeError,
    Conflict,
    InProgress,
    Invalid,
    KeyReused,
    NotConnected,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.infra import aws, dynamodb

DAY = 86400.0
KEPT_SECONDS = 7 * DAY
"""For how long an end is remembered, where nothing else is said."""
GUARD_SECONDS = DAY
"""For how long a request without a key is held back by an equal one whose outcome is unknown."""
WRITE_SECONDS = 2.0
"""How long to repeat a write that says how an action ended: only its owner knows it."""
RESERVE_SECONDS = 5.0
"""What a waiting repeat leaves of its time, so that it does not begin an action that it cannot finish."""

SHARDS = 16
"""Partitions of the index of open actions for each program: one takes about 500 actions a second."""

_logger = logging.getLogger(__name__)

T = TypeVar("T")
State = Literal["started", "succeeded", "refused", "unknown"]


class IdempotencySettings(Protocol):
    """Where the journal is."""

    @property
    def idempotency_table(self) -> str:
        """Name of the table."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller of an action is told: an HTTP status and a JSON object."""

    status: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One action in the journal; times in epoch seconds.

    Attributes
    ----------
    id
        Hash of the program, the action and the key (without one, the fingerprint); of what made way, its owner.
    about
        Ids by which an operator finds the action on the loyalty platform.
    reference
        Under which the action is sent; the loyalty platform keeps it where it can.
    owner
        The request that began it.
    state
        As read: ``unknown`` also when its lease is over.
    guards_until
        Until when no equal request acts.
    answer
        How it ended: the answer, or the refusal's status, code and reason.
    doubt
        Why its outcome is, or was, unknown; empty when its owner did not come to say.
    kept
        For how many seconds its end is remembered.
    """

    program: str
    id: str
    action: str
    keyed: bool
    fingerprint: str
    about: Mapping[str, str]
    reference: str
    owner: str
    since: float
    lease: float
    state: State = "started"
    guards_until: float = math.inf
    answer: Answer | None = None
    doubt: str = ""
    kept: float = KEPT_SECONDS


def execute(
    settings: IdempotencySettings,
    program: str,
    action: str,
    key: str | None,
    fingerprint: str,
    act: Callable[[str], Answer],
    look: Callable[[Record], Answer | None] | None,
    *,
    about: Mapping[str, str],
    deadline: float,
    repeat_window: float,
    ready: Callable[[], object] | None = None,
    keeps_refusals: bool = True,
    resumes: bool = False,
    kept: float = KEPT_SECONDS,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Carry an action out unless it was before, and tell how it ended: one round trip before it, one after.

    Parameters
    ----------
    key
        The caller's idempotency key; None: the request acts each time.
    fingerprint
        Hash of the whole request.
    act
        Carries the action out under a reference; called at most once here, and at most once for all requests with the
        key unless it raised `NotSent` (or a refusal that is not kept). Raises `NotSent`, `UpstreamRejected` or
        `OutcomeUnknown`; whatever else it raises passes, and the outcome counts as unknown.
    look
        Looks the effect up by the record's reference, or by what it is about; None when it was not found. May raise
        `Unavailable` or `UpstreamRejected`. Give None when there is nothing to find it by.
    about
        Ids by which an operator finds the action on the loyalty platform; no further data of the member.
    deadline
        When the invocation ends, in epoch seconds.
    repeat_window
        For how many seconds after a success an equal request without a key gets the stored answer; 0: not at all.
    ready
        Fetches what `act` needs, before the action is written down; raises `NotSent` when it cannot be had.
    keeps_refusals
        A repeat gets the same refusal; else it asks anew, and may be another request.
    resumes
        To act once more, under the same reference, does no harm: that is what becomes of an unknown outcome.
    kept
        For how many seconds the end is remembered, of a request with a key.

    Raises
    ------
    UpstreamRejected
        The loyalty platform refused it, now or when it was first asked.
    KeyReused
        The key came before with another fingerprint.
    InProgress
        An equal request is being carried out, and did not end before the time was up.
    NotSent
        `ready` or `act` raised it: the next repeat may act.
    OutcomeUnknown
        It may have been carried out. With a key this stays so until it is found or an operator decides.
    Unavailable
        The journal did not answer; nothing was sent. Or `act` raised it.
    """
    id_ = _hash(program, action, "request" if key is None else "key", fingerprint if key is None else key)
    owner = uuid.uuid4().hex
    pause = 0.1
    while True:
        began = now()
        mine = Record(
            program=program,
            id=id_,
            action=action,
            keyed=key is not None,
            fingerprint=fingerprint,
            about=about,
            reference=owner if key is None else id_,
            owner=owner,
            since=began,
            lease=deadline,
            guards_until=began + GUARD_SECONDS if key is None else math.inf,
            kept=kept,
        )
        seen = _begin(settings, mine, ready, now)
        if seen is None:
            return _carry_out(settings, mine, act, repeat_window, keeps_refusals, now, sleep)
        if seen.fingerprint != fingerprint:
            raise KeyReused("this idempotency key came before, with another request")
        if seen.state in {"succeeded", "refused"}:
            return _told(seen)
        if seen.state == "unknown":
            if resumes:
                return _carry_out(settings, seen, act, repeat_window, keeps_refusals, now, sleep)
            return _look_up(settings, seen, look, repeat_window, now, sleep)
        if now() + pause > deadline - RESERVE_SECONDS:
            raise _about(InProgress(f"action {id_} is being carried out", retry_after=seen.lease - now()), id_)
        sleep(pause)
        pause = min(2 * pause, 1.0)


def get(settings: IdempotencySettings, program: str, id_: str, now: Callable[[], float] = time.time) -> Record | None:
    """Read a record; None when there is none any more.

    Raises
    ------
    Unavailable
        When DynamoDB does not give it.
    """
    with aws.reaching("the idempotency table"):
        reply = aws.dynamodb().get_item(
            TableName=settings.idempotency_table, Key=_key(program, id_), ConsistentRead=True
        )
    item = reply.get("Item")
    # TTL deletes days late.
    return None if item is None or _number(item, "expires", math.inf) <= now() else _opened(item, now())


def open_actions(settings: IdempotencySettings, program: str, now: Callable[[], float] = time.time) -> list[Record]:
    """List the actions whose outcome is unknown, oldest first.

    Raises
    ------
    Unavailable
        When DynamoDB does not give them.
    """
    query = aws.dynamodb().get_paginator("query")

    def read(shard: int) -> list[Record]:
        pages = query.paginate(
            TableName=settings.idempotency_table,
            IndexName="open",
            KeyConditionExpression="#open = :shard",
            ExpressionAttributeNames={"#open": "open"},
            ExpressionAttributeValues={":shard": {"S": f"{program}#{shard}"}},
        )
        with aws.reaching("the idempotency table"):
            return [_opened(item, now()) for page in pages for item in page["Items"]]

    records = [record for shard in aws.side_by_side(read, range(SHARDS)) for record in shard]
    return sorted((record for record in records if record.state == "unknown"), key=lambda record: record.since)


def decide(
    settings: IdempotencySettings, program: str, id_: str, answer: Answer | None, now: Callable[[], float] = time.time
) -> None:
    """Let an operator, who has looked on the loyalty platform, end an action whose outcome is unknown.

    Parameters
    ----------
    answer
        It happened: what repeats are told. None: it did not, and will not any more; a repeat may act.

    Raises
    ------
    Conflict
        Its outcome is not, or no longer, unknown.
    Unavailable
        When DynamoDB does not take it.
    """
    seen = get(settings, program, id_, now)
    if seen is None or seen.state != "unknown":
        raise Conflict(f"the outcome of action {id_} is not, or no longer, unknown")
    if answer is None:
        decided = _free(settings, seen)
    else:
        stored = _put(settings, _ended(seen, "succeeded", answer, 0, now()), _IS_OPEN, now())
        # What is stored may be this very decision: the client repeats a write whose reply was lost.
        decided = stored is None or (stored.owner, stored.state, stored.answer) == (seen.owner, "succeeded", answer)
    if not decided:
        raise Conflict(f"the outcome of action {id_} is not, or no longer, unknown")


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _begin(
    settings: IdempotencySettings, mine: Record, ready: Callable[[], object] | None, now: Callable[[], float]
) -> Record | None:
    """Get ready and write the beginning; give the record that stands in the way."""
    try:
        if ready:
            ready()
    except NotSent:
        if seen := get(settings, mine.program, mine.id, now):
            return seen  # to tell how a finished action ended, nothing has to be ready
        raise
    began = mine.since
    try:
        while (stored := _put(settings, mine, _IS_FREE, began)) and not stored.answer and stored.guards_until <= began:
            _set_aside(settings, stored, began)
    except Unavailable:
        # It may have been written, and would hold up the repeats of what was never sent.
        with suppress(Unavailable):
            _free(settings, mine)
        raise
    # What stands in the way may be our own: the client repeats a write whose answer got lost.
    return None if stored is None or stored.owner == mine.owner else stored


def _carry_out(
    settings: IdempotencySettings,
    mine: Record,
    act: Callable[[str], Answer],
    repeat_window: float,
    keeps_refusals: bool,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> Answer:
    try:
        answer = act(mine.reference)
    except (NotSent, UpstreamRejected, Invalid, NotConnected) as refusal:
        refusal.record = mine.id
        if not isinstance(refusal, UpstreamRejected) or not keeps_refusals:
            with suppress(Unavailable):  # it will read as unknown: too cautious, but safe
                _insist(lambda: _free(settings, mine), now, sleep)
            raise
        said = Answer(refusal.status, {"code": refusal.code, "reason": refusal.reason})
        ended = _ended(mine, "refused", said, 0, now())
    except OutcomeUnknown as error:
        ended = replace(mine, state="unknown", doubt=str(error), about={**mine.about, **error.about})
    except Unavailable as error:  # its owner gives up: a repeat need not wait until the lease is over
        _finished(settings, replace(mine, state="unknown", doubt=str(error)), now, sleep)
        raise
    else:
        ended = _ended(mine, "succeeded", answer, repeat_window, now())
    return _told(_finished(settings, ended, now, sleep))


def _look_up(
    settings: IdempotencySettings,
    seen: Record,
    look: Callable[[Record], Answer | None] | None,
    repeat_window: float,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> Answer:
    found = None
    with suppress(Unavailable, UpstreamRejected):  # a look-up that fails tells nothing
        found = look(seen) if look else None
    if found is None:
        return _told(seen)
    return _told(_finished(settings, _ended(seen, "succeeded", found, repeat_window, now()), now, sleep))


def _told(record: Record) -> Answer:
    """Tell how an action ended."""
    if record.answer is None:
        doubt = f"the outcome of action {record.id} is not known" + (f": {record.doubt}" if record.doubt else "")
        raise _about(OutcomeUnknown(doubt, record.about), record.id)
    if record.state == "refused":
        raise _about(UpstreamRejected(record.answer.status, **record.answer.body), record.id)
    return record.answer


def _about(error: BridgeError, id_: str) -> BridgeError:
    """Let an error name its action."""
    error.record = id_
    return error


def _ended(record: Record, state: State, answer: Answer, repeat_window: float, now: float) -> Record:
    kept = record.kept if record.keyed else repeat_window
    # A guard of no length must not depend on how exactly two clocks agree.
    return replace(record, state=state, answer=answer, guards_until=now + kept if kept else 0)


def _finished(
    settings: IdempotencySettings, record: Record, now: Callable[[], float], sleep: Callable[[float], None]
) -> Record:
    """Write an end, unless there is one already; give the one that holds."""
    condition = f"attribute_not_exists(#id) OR ({_IS_OPEN})"
    try:
        stored = _insist(lambda: _put(settings, record, condition, now()), now, sleep)
    except Unavailable as error:
        _logger.warning("that action %s is %s could not be written down: %s", record.id, record.state, error)
        return record
    # The record of another owner is another action; ours had to make way for it.
    return stored if stored and stored.owner == record.owner and stored.answer else record


def _insist(write: Callable[[], T], now: Callable[[], float], sleep: Callable[[float], None]) -> T:
    """Repeat a write that fails, for `WRITE_SECONDS`."""
    until, pause = now() + WRITE_SECONDS, 0.1
    while True:
        try:
            return write()
        except Unavailable:
            if now() + pause > until:
                raise
        sleep(pause)
        pause *= 2


_NAMES = {"#id": "id", "#owner": "owner", "#open": "open"}
_IS_OPEN = "#owner = :owner AND attribute_exists(#open)"
_IS_FREE = "attribute_not_exists(#id) OR guards_until <= :now AND attribute_not_exists(#open)"


def _put(settings: IdempotencySettings, record: Record, condition: str, now: float) -> Record | None:
    """Write a record under a condition; give the one that is there when the condition does not hold."""
    values = {":owner": {"S": record.owner}, ":now": {"N": f"{now:.3f}"}}
    client = aws.dynamodb()
    request: dict[str, Any] = {
        "TableName": settings.idempotency_table,
        "Item": _closed(record, now),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {name: it for name, it in _NAMES.items() if name in condition},
        "ExpressionAttributeValues": {name: it for name, it in values.items() if name in condition},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    try:
        with aws.reaching("the journal", but=client.exceptions.ConditionalCheckFailedException):
            client.put_item(**request)
    except client.exceptions.ConditionalCheckFailedException as failed:
        return _opened(cast("Mapping[str, Any]", failed.response)["Item"], now)
    return None


def _free(settings: IdempotencySettings, record: Record) -> bool:
    """Take a record away so that a repeat may act, unless it has ended or belongs to another owner.

    A record that is gone already counts as taken away: the reply to our own write may have been lost.
    """
    client = aws.dynamodb()
    try:
        with aws.reaching("the journal", but=client.exceptions.ConditionalCheckFailedException):
            client.delete_item(**_removal(settings, record), ReturnValuesOnConditionCheckFailure="ALL_OLD")
    except client.exceptions.ConditionalCheckFailedException as failed:
        return "Item" not in failed.response
    return True


def _set_aside(settings: IdempotencySettings, record: Record, now: float) -> None:
    """Move a record to an id of its own, unless it has ended meanwhile or somebody else has moved it."""
    moved = {"TableName": settings.idempotency_table, "Item": _closed(replace(record, id=record.owner), now)}
    dynamodb.transact([{"Put": moved}, {"Delete": _removal(settings, record)}], time.monotonic() + WRITE_SECONDS)


def _removal(settings: IdempotencySettings, record: Record) -> dict[str, Any]:
    return {
        "TableName": settings.idempotency_table,
        "Key": _key(record.program, record.id),
        "ConditionExpression": _IS_OPEN,
        "ExpressionAttributeNames": {"#owner": "owner", "#open": "open"},
        "ExpressionAttributeValues": {":owner": {"S": record.owner}},
    }


def _key(program: str, id_: str) -> dict[str, Any]:
    return {"id": {"S": f"{program}#{id_}"}}


def _closed(record: Record, now: float) -> dict[str, Any]:
    item: dict[str, Any] = {
        **_key(record.program, record.id),
        "action": {"S": record.action},
        "keyed": {"BOOL": record.keyed},
        "fingerprint": {"S": record.fingerprint},
        "about": {"M": {name: {"S": id_} for name, id_ in record.about.items()}},
        "reference": {"S": record.reference},
        "owner": {"S": record.owner},
        "since": {"N": f"{record.since:.3f}"},
        "lease": {"N": f"{record.lease:.3f}"},
        "state": {"S": record.state},
        "doubt": {"S": record.doubt},
        "kept": {"N": str(record.kept)},
    }
    if record.guards_until < math.inf:
        item["guards_until"] = {"N": f"{record.guards_until:.3f}"}
    if record.answer is None:
        shard = int(record.id[:8], 16) % SHARDS
        item["open"] = {"S": f"{record.program}#{shard}"}  # in the index of open actions as long as it has no end
    else:
        item["answer"] = {"S": json.dumps([record.answer.status, record.answer.body])}
        item["expires"] = {"N": str(int(now + record.kept))}
    return item


def _opened(item: Mapping[str, Any], now: float) -> Record:
    program, id_ = item["id"]["S"].split("#")
    state = cast("State", item["state"]["S"])
    lease = _number(item, "lease", 0)
    return Record(
        program=program,
        id=id_,
        action=item["action"]["S"],
        keyed=item["keyed"]["BOOL"],
        fingerprint=item["fingerprint"]["S"],
        about={name: value["S"] for name, value in item["about"]["M"].items()},
        reference=item["reference"]["S"],
        owner=item["owner"]["S"],
        since=_number(item, "since", 0),
        lease=lease,
        state="unknown" if state == "started" and lease <= now else state,
        guards_until=_number(item, "guards_until", math.inf),
        answer=Answer(*json.loads(item["answer"]["S"])) if "answer" in item else None,
        doubt=item["doubt"]["S"],
        kept=_number(item, "kept", KEPT_SECONDS),
    )


def _number(item: Mapping[str, Any], name: str, absent: float) -> float:
    return float(item[name]["N"]) if name in item else absent
