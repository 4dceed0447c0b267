"""Execute each action at most once: the state machine of idempotency records.

The platforms that call the bridge repeat failed calls, and the loyalty platforms' actions are not idempotent. So an
action is recorded before it is sent, and again when its end is known; each is one conditional write of one item::

                  ┌─ NotSent, Invalid ── the record is removed; a repeat is sent
                  ├─ UpstreamRejected, and rejections are not stored ── the same
                  │
    (none) ──► started ── an answer ────────► succeeded    a repeat gets the stored answer
                  │  ├─── UpstreamRejected ─► rejected     a repeat gets the stored rejection
                  │  └─── OutcomeUnknown, ──► unknown      a repeat looks for the effect; it never sends
                  │       or lease expired       │
                  │                              ├─ found, a late answer, or an operator: succeeded
          a repeat waits                         └─ an operator: it did not happen; the record is removed

Consequences:

- A record that its owner does not finish reads as unknown when its lease expires; no clean-up job is needed. The lease
  ends with the invocation. Safety does not depend on that: a request that mistakes a live owner for dead only looks for
  the effect.
- A repeatable action (opt-ins, the plan of a batch) is sent again under the same reference instead.
- A late owner may still store its end, since only the owner knows it. The first end that is stored wins, and every
  request returns it, the late owner's too.
- If the start cannot be stored, nothing is sent. If the end cannot be stored within `WRITE_SECONDS`, the caller still
  gets the true answer (a false one would make it repeat); for later repeats the outcome is unknown.
- `Operation.prepare` fetches what the call needs, such as an access token, before the start is stored. After it only
  the call itself can fail.
- "Not found" proves nothing: the loyalty platform may act minutes after the bridge has given up.

A request without a key acts each time, with two guards on a record of its fingerprint: nothing is sent while an equal
request is started or unknown (for a day), and an equal request shortly after a success gets the stored answer. After
that day a record that is still unknown moves to an id of its own and waits for the operator.
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
from typing import TYPE_CHECKING, TypeVar

from loyalty_bridge.actions import idempotency_store
from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.actions.idempotency_store import DAY, RETENTION_SECONDS, WRITE_SECONDS, Record, State
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

if TYPE_CHECKING:
    from loyalty_bridge.settings import ActionSettings

BLOCK_SECONDS = DAY
"""How long an unknown outcome blocks equal requests without a key."""
RESERVE_SECONDS = 5.0
"""A waiting repeat stops this long before its deadline: an action begun later could not be finished."""

_logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An action as a request asks for it.

    Attributes
    ----------
    key
        The caller's idempotency key; None: each request acts.
    fingerprint
        Hash of the whole request.
    about
        Ids by which an operator finds the action on the loyalty platform; no other data of the member.
    send
        Sends the action under a reference. It is called at most once per execution, and at most once for all requests
        with the key unless it raised `NotSent` (or a rejection that is not stored). It raises `NotSent`,
        `UpstreamRejected` or `OutcomeUnknown`; any other error is passed on, and the outcome counts as unknown.
    reconcile
        Looks for the effect by the record's reference or ids; returns None if it is not found. May raise `Unavailable`
        or `UpstreamRejected`. None: the effect cannot be found.
    prepare
        Fetches what `send` needs before the start is stored; raises `NotSent` if that fails.
    deadline
        When the invocation ends, in epoch seconds.
    repeat_window
        Seconds after a success in which an equal request without a key gets the stored answer; 0: never.
    stores_rejections
        A repeat gets the stored rejection; otherwise it is sent, and may be another request.
    is_repeatable
        Sending again under the same reference is harmless: an unknown outcome is resolved by sending again.
    retention_seconds
        How long the end of a request with a key is remembered.
    """

    program: str
    action: str
    key: str | None
    fingerprint: str
    about: Mapping[str, str]
    send: Callable[[str], Answer]
    reconcile: Callable[[Record], Answer | None] | None = None
    prepare: Callable[[], object] | None = None
    deadline: float
    repeat_window: float
    stores_rejections: bool = True
    is_repeatable: bool = False
    retention_seconds: float = RETENTION_SECONDS


@dataclass(frozen=True, slots=True)
class _Execution:
    """One request's execution of an operation, with its table and clock."""

    settings: ActionSettings
    operation: Operation
    now: Callable[[], float]
    sleep: Callable[[float], None]


def execute(
    settings: ActionSettings,
    operation: Operation,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Execute an operation unless it was executed before, and return its answer.

    It costs one round trip to DynamoDB before the operation and one after it.

    Raises
    ------
    UpstreamRejected
        The loyalty platform rejected the action, in this request or an earlier one.
    KeyReused
        The key was used before with another fingerprint.
    InProgress
        An equal request is being executed, and did not end in time.
    NotSent
        `Operation.prepare` or `Operation.send` raised it: the next repeat may act.
    OutcomeUnknown
        The action may have been carried out. With a key this stays so until the effect is found or an operator decides.
    Unavailable
        DynamoDB does not answer, and nothing was sent; or `Operation.send` raised it.
    """
    execution, owner, pause = _Execution(settings, operation, now, sleep), uuid.uuid4().hex, 0.1
    while True:
        record = _new_record(operation, owner, now())
        existing = _start(execution, record)
        if existing is None:
            return _send(execution, record)
        if existing.fingerprint != operation.fingerprint:
            raise KeyReused("this idempotency key was used before, for another request; use a new key")
        if existing.state in {"succeeded", "rejected"}:
            return _answer(existing)
        if existing.state == "unknown":
            return (_send if operation.is_repeatable else _reconcile)(execution, existing)
        if now() + pause > operation.deadline - RESERVE_SECONDS:
            retry_after = existing.lease_expires_at - now()
            raise _with_record(InProgress(f"action {record.id} is in progress", retry_after=retry_after), record.id)
        sleep(pause)
        pause = min(2 * pause, 1.0)


def decide(
    settings: ActionSettings, program: str, id_: str, answer: Answer | None, now: Callable[[], float] = time.time
) -> None:
    """End an action whose outcome is unknown, as an operator found it on the loyalty platform.

    Parameters
    ----------
    answer
        The action happened: the answer for repeats. None: it did not and will not happen; a repeat may act.

    Raises
    ------
    Conflict
        The outcome is not, or no longer, unknown.
    """
    record = idempotency_store.load(settings, program, id_, now)
    if record is None or record.state != "unknown":
        raise Conflict(f"the outcome of action {id_} is not, or no longer, unknown")
    if answer is None:
        is_decided = idempotency_store.remove(settings, record)
    else:
        ended = _ended(record, "succeeded", answer, 0, now())
        stored = idempotency_store.put(settings, ended, idempotency_store.IS_OPEN, now())
        # The stored record may be this very decision: the client repeats a write whose reply was lost.
        is_decided = stored is None or (stored.owner, stored.state, stored.answer) == (
            record.owner,
            "succeeded",
            answer,
        )
    if not is_decided:
        raise Conflict(f"the outcome of action {id_} is not, or no longer, unknown")


def record_id(program: str, action: str, key: str | None, fingerprint: str = "") -> str:
    """Return the id of an action's record; without a key, the fingerprint identifies the request."""
    parts = ("request", fingerprint) if key is None else ("key", key)
    return hashlib.sha256(json.dumps([program, action, *parts]).encode()).hexdigest()[:32]


def _new_record(operation: Operation, owner: str, now: float) -> Record:
    key = operation.key
    id_ = record_id(operation.program, operation.action, key, operation.fingerprint)
    return Record(
        program=operation.program,
        id=id_,
        action=operation.action,
        keyed=key is not None,
        fingerprint=operation.fingerprint,
        about=operation.about,
        reference=owner if key is None else id_,
        owner=owner,
        since=now,
        lease_expires_at=operation.deadline,
        blocked_until=now + BLOCK_SECONDS if key is None else math.inf,
        retention_seconds=operation.retention_seconds,
    )


def _start(execution: _Execution, record: Record) -> Record | None:
    """Prepare and store the start; return the existing record that prevents it, if any."""
    settings, operation = execution.settings, execution.operation
    try:
        if operation.prepare:
            operation.prepare()
    except NotSent:
        # The stored end of an action can be returned without any preparation.
        if existing := idempotency_store.load(settings, record.program, record.id, execution.now):
            return existing
        raise
    began = record.since
    try:
        while (
            (stored := idempotency_store.put(settings, record, idempotency_store.IS_FREE, began))
            and not stored.answer
            and stored.blocked_until <= began
        ):
            idempotency_store.set_aside(settings, stored, began)
    except Unavailable:
        # It may have been stored, and would hold up the repeats of a request that was never sent.
        with suppress(Unavailable):
            idempotency_store.remove(settings, record)
        raise
    # The existing record may be this request's own: the client repeats a write whose reply was lost.
    return None if stored is None or stored.owner == record.owner else stored


def _send(execution: _Execution, record: Record) -> Answer:
    operation = execution.operation
    try:
        answer = operation.send(record.reference)
    except (NotSent, UpstreamRejected, Invalid, NotConnected) as error:
        error.record = record.id
        if not isinstance(error, UpstreamRejected) or not operation.stores_rejections:
            with suppress(Unavailable):  # it will read as unknown: too cautious, but safe
                _insist(execution, lambda: idempotency_store.remove(execution.settings, record))
            raise
        rejection = Answer(error.status, {"code": error.code, "reason": error.reason})
        ended = _ended(record, "rejected", rejection, 0, execution.now())
    except OutcomeUnknown as error:
        ended = replace(record, state="unknown", failure_reason=str(error), about={**record.about, **error.about})
    except Unavailable as error:  # its owner gives up: a repeat need not wait for the lease to expire
        _store_end(execution, replace(record, state="unknown", failure_reason=str(error)))
        raise
    else:
        ended = _ended(record, "succeeded", answer, operation.repeat_window, execution.now())
    return _answer(_store_end(execution, ended))


def _reconcile(execution: _Execution, record: Record) -> Answer:
    operation, answer = execution.operation, None
    with suppress(Unavailable, UpstreamRejected):  # a search that fails proves nothing
        answer = operation.reconcile(record) if operation.reconcile else None
    if answer is None:
        return _answer(record)
    return _answer(_store_end(execution, _ended(record, "succeeded", answer, operation.repeat_window, execution.now())))


def _answer(record: Record) -> Answer:
    """Return the stored answer, or raise the stored rejection or `OutcomeUnknown`."""
    if record.answer is None:
        reason = f": {record.failure_reason}" if record.failure_reason else ""
        raise _with_record(
            OutcomeUnknown(f"the outcome of action {record.id} is not known{reason}", record.about), record.id
        )
    if record.state == "rejected":
        raise _with_record(UpstreamRejected(record.answer.status, **record.answer.body), record.id)
    return record.answer


def _with_record(error: BridgeError, id_: str) -> BridgeError:
    error.record = id_
    return error


def _ended(record: Record, state: State, answer: Answer, repeat_window: float, now: float) -> Record:
    seconds = record.retention_seconds if record.keyed else repeat_window
    # A block of no length must not depend on how exactly two clocks agree.
    return replace(record, state=state, answer=answer, blocked_until=now + seconds if seconds else 0)


def _store_end(execution: _Execution, record: Record) -> Record:
    """Store an end unless one is stored already; return the one that counts."""

    def write() -> Record | None:
        return idempotency_store.put(execution.settings, record, idempotency_store.IS_OPEN_OR_ABSENT, execution.now())

    try:
        stored = _insist(execution, write)
    except Unavailable as error:
        _logger.warning("end of action %s (%s) not stored: %s", record.id, record.state, error)
        return record
    # A record of another owner is another action, for which this one was set aside.
    return stored if stored and stored.owner == record.owner and stored.answer else record


def _insist(execution: _Execution, write: Callable[[], T]) -> T:
    """Repeat a write that fails, for `WRITE_SECONDS`: only this request knows how the action ended."""
    until, pause = execution.now() + WRITE_SECONDS, 0.1
    while True:
        try:
            return write()
        except Unavailable:
            if execution.now() + pause > until:
                raise
        execution.sleep(pause)
        pause *= 2
