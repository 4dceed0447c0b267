"""Assign a coupon to many members: the plan is stored, the caller gets an answer, and a queue executes the plan.

A batch is one head item and one item for each member. Each member's assignment is an action of its own, under a key
made of batch and member, so that it is executed once, however often the batch runs.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from loyalty_bridge.actions import idempotency_store
from loyalty_bridge.actions.convercus import ASSIGN_COUPON
from loyalty_bridge.actions.idempotency import record_id
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import ConnectionBroken, Invalid, OutcomeUnknown, Unavailable, UpstreamRejected
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.platforms.convercus.client import ACCOUNT_COUPON_ID

if TYPE_CHECKING:
    from loyalty_bridge.settings import BatchQueueSettings, PlanSettings

HEAD = "#"
"""Sort key of a batch's head item."""
DAYS = 30
"""How long a batch is stored."""
WRITE_SECONDS = 8.0
PARALLEL = 4
"""Concurrent calls to the loyalty platform for one batch."""

PAUSE_SECONDS = 30
MAX_PAUSE_SECONDS = 1200
"""Pause before a batch runs again, longer with each run."""
MAX_AGE_SECONDS = 86400.0
"""After this time from planning, members that were never tried are rejected. It ends a batch before the queue's
``maxReceiveCount`` does."""

ASSIGN_COUPON_BATCH = "assign_coupon_batch"
BATCH_ID = "batch_id"
"""Name under which an assignment's idempotency record stores its batch."""

ENDPOINT = "carry_out_batch"
"""Endpoint under which activity is recorded."""
_WORDS = {"succeeded": "ok", "rejected": "upstream_refused", "unknown": "outcome_unknown", "due": "unavailable"}

Progress = Literal["planned", "succeeded", "rejected", "unknown"]


@dataclass(frozen=True, slots=True)
class CouponBatch:
    """The head of a batch: the coupon, the number of members, and its validity as the caller wrote it."""

    program: str
    id: str
    coupon_id: str
    count: int
    valid_from: str
    valid_to: str
    fingerprint: str
    planned_at: float
    """Epoch seconds."""

    @property
    def key(self) -> str:
        """Idempotency key of the batch; a member's assignment appends its `part`."""
        return f"batch:{self.id}"

    def is_expired(self) -> bool:
        """Return whether the batch is older than `MAX_AGE_SECONDS`."""
        return time.time() - self.planned_at > MAX_AGE_SECONDS


@dataclass(frozen=True, slots=True)
class MemberOutcome:
    """The progress of one member; `result` is the coupon code, or the reason of a rejection or unknown outcome."""

    account_id: str
    state: Progress
    result: str = ""


def plan(
    settings: PlanSettings,
    program: str,
    reference: str,
    coupon_id: str,
    account_ids: Sequence[str],
    *,
    valid_from: str = "",
    valid_to: str = "",
) -> str:
    """Store a plan, request its execution, and return the batch's id.

    A repeat under the same reference continues an incomplete plan. A complete plan, which has a head, is not written
    again; requesting its execution twice is harmless.

    Raises
    ------
    Unavailable
        The plan is not stored, or its execution is not requested: repeat the call.
    """
    content = json.dumps([reference, coupon_id, list(account_ids), valid_from, valid_to])
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    id_ = fingerprint[:32]
    batch = CouponBatch(program, id_, coupon_id, len(account_ids), valid_from, valid_to, fingerprint, time.time())
    puts = [
        {"Put": {"TableName": settings.batches_table, "Item": _to_item(batch, MemberOutcome(account_id, "planned"))}}
        for account_id in account_ids
    ]
    is_new: dict[str, Any] = {
        "TableName": settings.batches_table,
        "ConditionExpression": "attribute_not_exists(#batch)",
        "ExpressionAttributeNames": {"#batch": "batch"},
    }
    check = {"ConditionCheck": is_new | {"Key": _key(program, id_, HEAD)}}
    # The head is written last: if it exists, the plan is complete, and no part of it is written again.
    *parts, last = dynamodb.chunks(puts, dynamodb.TRANSACTION_ITEMS - 1)
    deadline = time.monotonic() + WRITE_SECONDS
    if all(dynamodb.transact([*part, check], deadline) for part in parts):
        dynamodb.transact([*last, {"Put": is_new | {"Item": _head(batch)}}], deadline)
    request_run(settings, program, id_)
    return id_


def load(settings: PlanSettings, program: str, id_: str) -> CouponBatch | None:
    """Load the head of a batch; None when the program has no such batch."""
    with aws.reaching("the batches"):
        reply = aws.dynamodb().get_item(
            TableName=settings.batches_table,
            Key=_key(program, id_, HEAD),
            ConsistentRead=True,
        )
    item = reply.get("Item")
    return CouponBatch(program=program, id=id_, **json.loads(item["head"]["S"])) if item else None


def load_outcomes(settings: PlanSettings, batch: CouponBatch) -> list[MemberOutcome]:
    """Load the progress of each member of a batch."""
    with aws.reaching("the batches"):
        return [_from_item(item) for item in _items(settings, batch) if item["member"]["S"] != HEAD]


def progress(batch: CouponBatch, outcomes: Sequence[MemberOutcome]) -> dict[str, Any]:
    """Return a batch's progress for its caller: the number of members in each state, and each member's outcome."""
    counts = Counter(outcome.state for outcome in outcomes)
    names = {"succeeded": "couponCode", "rejected": "reason", "unknown": "reason"}
    return {
        "batchId": batch.id,
        "couponId": batch.coupon_id,
        "total": batch.count,
        **{state: counts[state] for state in ("planned", "succeeded", "rejected", "unknown")},
        "members": [
            {"account_id": outcome.account_id, "state": outcome.state}
            | ({names[outcome.state]: outcome.result} if outcome.state in names else {})
            for outcome in sorted(outcomes, key=lambda outcome: outcome.account_id)
        ],
    }


def carry_out(
    settings: PlanSettings, batch: CouponBatch, assign: Callable[[CouponBatch, str], str], until: float
) -> Counter[str]:
    """Assign the coupon to the members that have no outcome yet, several at once, and count the outcomes.

    Each new outcome is recorded in the program's activity once. A connection that is broken for one member is broken
    for all: the other members are not tried, and the counts hold `ConnectionBroken.word`.

    Parameters
    ----------
    assign
        Assigns the coupon to one member and returns the code; raises `UpstreamRejected`, `OutcomeUnknown` or
        `Unavailable`.
    until
        When to start no further assignment (of `time.monotonic`).

    Returns
    -------
    Counter
        By state; ``due`` counts the members for which the batch has to run again.
    """
    broken = threading.Event()

    def process(before: MemberOutcome) -> str:
        """Return the member's new state, ``due``, or nothing if its state is unchanged."""
        if time.monotonic() >= until or broken.is_set():
            return "due"
        try:
            outcome, problem = _attempt(batch, before, assign)
        except Unavailable as error:
            buffer.record_error(batch.program, ENDPOINT, error)
            if isinstance(error, ConnectionBroken):
                broken.set()
            return "due"
        if outcome != before:
            _store_outcome(settings, batch, outcome)
            if problem:
                buffer.record_error(batch.program, ENDPOINT, problem)
        # A batch member has no other repeat: a code that could not be read is read when the batch runs again.
        if isinstance(problem, OutcomeUnknown) and ACCOUNT_COUPON_ID in problem.about:
            return "due"
        return outcome.state if outcome != before else ""

    # An operator may have decided an unknown outcome since; finding out may take time, so untried members go first.
    outcomes = load_outcomes(settings, batch)
    due = [outcome for state in ("planned", "unknown") for outcome in outcomes if outcome.state == state]
    with ThreadPoolExecutor(PARALLEL) as pool:
        counts = Counter(filter(None, pool.map(process, due)))
    for state, word in _WORDS.items():
        buffer.recorder.call(batch.program, ENDPOINT, word, count=counts[state])
    if broken.is_set():
        counts[ConnectionBroken.word] = 1
    return counts


def part(account_id: str) -> str:
    """Return what distinguishes a member's assignment in the batch's idempotency key."""
    return f"/{account_id}"


def reject_untried(settings: PlanSettings, batch: CouponBatch) -> Counter[str]:
    """Reject the members of an expired batch that were never tried, and count them.

    A member with an idempotency record was tried: `carry_out` finds out how that ended.

    Returns
    -------
    Counter
        ``rejected``, and ``due``: the members without an end for which `carry_out` has to run.
    """
    reason = "was not tried within a day, because the loyalty platform took no calls; plan a new batch for the member"
    counts = Counter[str]()
    for outcome in load_outcomes(settings, batch):
        if outcome.state not in {"planned", "unknown"}:
            continue
        id_ = record_id(batch.program, ASSIGN_COUPON, batch.key + part(outcome.account_id))
        if outcome.state == "unknown" or idempotency_store.load(settings, batch.program, id_):
            counts["due"] += 1
        elif _store_outcome(settings, batch, replace(outcome, state="rejected", result=reason), before="planned"):
            counts["rejected"] += 1
            buffer.record_error(batch.program, ENDPOINT, Invalid("account_id", reason))
    buffer.recorder.call(batch.program, ENDPOINT, _WORDS["rejected"], count=counts["rejected"])
    return counts


def _attempt(
    batch: CouponBatch, before: MemberOutcome, assign: Callable[[CouponBatch, str], str]
) -> tuple[MemberOutcome, UpstreamRejected | Invalid | OutcomeUnknown | None]:
    """Assign the coupon to one member; return its outcome and the error, if any."""
    try:
        return replace(before, state="succeeded", result=assign(batch, before.account_id)), None
    except UpstreamRejected as rejection:
        return replace(before, state="rejected", result=f"{rejection.code} {rejection.reason}".strip()), rejection
    except Invalid as error:
        return replace(before, state="rejected", result=error.reason), error
    except OutcomeUnknown as error:
        return replace(before, state="unknown", result=str(error)), error


def request_run(settings: BatchQueueSettings, program: str, id_: str, *, after_seconds: int = 0) -> None:
    """Request that a batch is executed or continued; requesting it twice is harmless.

    Raises
    ------
    Unavailable
        The queue does not accept the request.
    """
    with aws.reaching("the queue of batches"):
        aws.sqs().send_message(
            QueueUrl=settings.batches_queue_url,
            MessageBody=json.dumps({"program": program, "batch": id_}),
            DelaySeconds=after_seconds,
        )


def retry_later(settings: BatchQueueSettings, handle: str, receives: int) -> None:
    """Set the pause after which a batch's message is received again; by default the queue's visibility time-out."""
    pause = min(PAUSE_SECONDS * receives, MAX_PAUSE_SECONDS)
    with suppress(Unavailable), aws.reaching("the queue of batches"):
        aws.sqs().change_message_visibility(
            QueueUrl=settings.batches_queue_url, ReceiptHandle=handle, VisibilityTimeout=pause
        )


def _store_outcome(
    settings: PlanSettings, batch: CouponBatch, outcome: MemberOutcome, *, before: Progress | None = None
) -> bool:
    """Store a member's outcome; with `before`, only if the member is in that state. Return whether it was stored."""
    condition = {"ConditionExpression": "#state = :before"} if before else {}
    values = {":state": {"S": outcome.state}, ":result": {"S": outcome.result}}
    update: dict[str, Any] = {
        "TableName": settings.batches_table,
        "Key": _key(batch.program, batch.id, outcome.account_id),
        "UpdateExpression": "SET #state = :state, #result = :result",
        "ExpressionAttributeNames": {"#state": "state", "#result": "result"},
        "ExpressionAttributeValues": values | ({":before": {"S": before}} if before else {}),
    }
    client = aws.dynamodb()
    try:
        with aws.reaching("the batches", but=client.exceptions.ConditionalCheckFailedException):
            client.update_item(**update | condition)
    except client.exceptions.ConditionalCheckFailedException:
        return False  # another run has stored an outcome
    return True


def _items(settings: PlanSettings, batch: CouponBatch) -> Iterator[Mapping[str, Any]]:
    pages = (
        aws.dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=settings.batches_table,
            KeyConditionExpression="#batch = :batch",
            ExpressionAttributeNames={"#batch": "batch"},
            ExpressionAttributeValues={":batch": {"S": f"{batch.program}#{batch.id}"}},
            ConsistentRead=True,
        )
    )
    return (item for page in pages for item in page["Items"])


def _key(program: str, id_: str, member: str) -> dict[str, Any]:
    return {"batch": {"S": f"{program}#{id_}"}, "member": {"S": member}}


def _head(batch: CouponBatch) -> dict[str, Any]:
    head = {
        "coupon_id": batch.coupon_id,
        "count": batch.count,
        "valid_from": batch.valid_from,
        "valid_to": batch.valid_to,
        "fingerprint": batch.fingerprint,
        "planned_at": batch.planned_at,
    }
    return _item(batch, HEAD, {"head": {"S": json.dumps(head)}})


def _to_item(batch: CouponBatch, outcome: MemberOutcome) -> dict[str, Any]:
    return _item(batch, outcome.account_id, {"state": {"S": outcome.state}, "result": {"S": outcome.result}})


def _item(batch: CouponBatch, member: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_key(batch.program, batch.id, member),
        "expires": {"N": str(int(time.time()) + DAYS * 86400)},
        **attributes,
    }


def _from_item(item: Mapping[str, Any]) -> MemberOutcome:
    return MemberOutcome(item["member"]["S"], item["state"]["S"], item["result"]["S"])
