"""Assigning a coupon to many members: planned durably, answered, then carried out from a queue.

A batch is one head item and one item for each member. Each member's assignment is an action of its own in the journal,
under a key made of the batch and the member: whoever carries the batch out, and however often, assigns once.
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
from typing import Any, Literal, Protocol

from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import ConnectionBroken, Invalid, OutcomeUnknown, Unavailable, UpstreamRejected
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.platforms.convercus.client import ACCOUNT_COUPON_ID

HEAD = "#"
DAYS = 30
WRITE_SECONDS = 8.0
PARALLEL = 4
"""Calls to the loyalty platform under way at once, of one batch."""

PAUSE_SECONDS = 30
MAX_PAUSE_SECONDS = 900
"""Until what is still due of a batch is tried again: longer with each delivery, so that an outage of hours does not
end in the dead-letter queue."""

ASSIGN_COUPON_BATCH = "assign_coupon_batch"
BATCH_ID = "batch_id"
"""Under which the journal keeps the batch that an assignment belongs to."""

ENDPOINT = "carry_out_batch"
"""Under which the activity is noted."""
_WORDS = {"succeeded": "ok", "refused": "upstream_refused", "unknown": "outcome_unknown", "due": "unavailable"}

Progress = Literal["planned", "succeeded", "refused", "unknown"]


class BatchSettings(Protocol):
    """Where batches are."""

    @property
    def batches_table(self) -> str:
        """Name of the table."""


class QueueSettings(Protocol):
    """Where it is asked that batches be carried out."""

    @property
    def batches_queue_url(self) -> str:
        """URL of the queue."""


class PlanSettings(BatchSettings, QueueSettings, Protocol):
    """Where batches are planned."""


@dataclass(frozen=True, slots=True)
class CouponBatch:
    """What is to be assigned, and to how many; times as the caller wrote them."""

    program: str
    id: str
    coupon_id: str
    count: int
    valid_from: str
    valid_to: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class MemberOutcome:
    """A member of a batch: how far it is, and the coupon's code or the reason of the refusal."""

    account_id: str
    state: Progress
    told: str = ""


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
    """Store a plan, then ask for it to be carried out; gives the batch's id.

    Repeated under the same reference it goes on where it stopped: a plan that is complete, which its head tells, is
    not written again, and asking twice does no harm.

    Raises
    ------
    Unavailable
        The plan was not stored, or nobody asked to carry it out: repeat it.
    """
    content = json.dumps([reference, coupon_id, list(account_ids), valid_from, valid_to])
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    id_ = fingerprint[:32]
    batch = CouponBatch(program, id_, coupon_id, len(account_ids), valid_from, valid_to, fingerprint)
    puts = [
        {"Put": {"TableName": settings.batches_table, "Item": _closed(batch, MemberOutcome(account_id, "planned"))}}
        for account_id in account_ids
    ]
    is_new: dict[str, Any] = {
        "TableName": settings.batches_table,
        "ConditionExpression": "attribute_not_exists(#batch)",
        "ExpressionAttributeNames": {"#batch": "batch"},
    }
    check = {"ConditionCheck": is_new | {"Key": _key(program, id_, HEAD)}}
    # The head comes last: where it is, the plan is complete, and nothing of it is planned anew.
    *parts, last = dynamodb.chunks(puts, dynamodb.TRANSACTION_ITEMS - 1)
    deadline = time.monotonic() + WRITE_SECONDS
    if all(dynamodb.transact([*part, check], deadline) for part in parts):
        dynamodb.transact([*last, {"Put": is_new | {"Item": _head(batch)}}], deadline)
    ask(settings, program, id_)
    return id_


def find(settings: BatchSettings, program: str, id_: str) -> CouponBatch | None:
    """Read a batch's head; None when there is no such batch of the program.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("the batches"):
        reply = aws.dynamodb().get_item(
            TableName=settings.batches_table,
            Key=_key(program, id_, HEAD),
            ConsistentRead=True,
        )
    item = reply.get("Item")
    return CouponBatch(program=program, id=id_, **json.loads(item["head"]["S"])) if item else None


def lines(settings: BatchSettings, batch: CouponBatch) -> list[MemberOutcome]:
    """Read how far each member of a batch is.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("the batches"):
        return [_opened(item) for item in _items(settings, batch) if item["member"]["S"] != HEAD]


def progress(batch: CouponBatch, found: Sequence[MemberOutcome]) -> dict[str, Any]:
    """Tell how far a batch is: how many members are in which state, and each member's outcome."""
    counts = Counter(line.state for line in found)
    told = {"succeeded": "couponCode", "refused": "reason", "unknown": "reason"}
    return {
        "batchId": batch.id,
        "couponId": batch.coupon_id,
        "total": batch.count,
        **{state: counts[state] for state in ("planned", "succeeded", "refused", "unknown")},
        "members": [
            {"account_id": line.account_id, "state": line.state}
            | ({told[line.state]: line.told} if line.state in told else {})
            for line in sorted(found, key=lambda line: line.account_id)
        ],
    }


def carry_out(
    settings: BatchSettings, batch: CouponBatch, assign: Callable[[CouponBatch, str], str], until: float
) -> Counter[str]:
    """Assign to the members that are still due, several at once; what is due after that has to be done again later.

    How each ended is noted for the program's activity, once: one that is still unknown is no news. A connection that
    is broken for one member is for all: the others are not tried, and the counts tell of it.

    Parameters
    ----------
    assign
        Assigns to one member and gives the code; raises `UpstreamRejected`, `OutcomeUnknown` or `Unavailable`.
    until
        When to begin no further assignment (of `time.monotonic`).

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    broken = threading.Event()

    def one(before: MemberOutcome) -> str:
        """Give the member's state where it is new, or that it is still due."""
        if time.monotonic() >= until or broken.is_set():
            return "due"
        try:
            line, problem = _tried(batch, before, assign)
        except Unavailable as error:
            buffer.problem(batch.program, ENDPOINT, error)
            if isinstance(error, ConnectionBroken):
                broken.set()
            return "due"
        if line != before:
            _note(settings, batch, line)
            if problem:
                buffer.problem(batch.program, ENDPOINT, problem)
        # Nobody repeats a member of a batch: a code that could not be read is read when the batch comes back.
        if isinstance(problem, OutcomeUnknown) and ACCOUNT_COUPON_ID in problem.about:
            return "due"
        return line.state if line != before else ""

    # Of an unknown one the journal knows whether an operator has decided it since. To learn that may take its time:
    # those that have not been tried come first.
    found = lines(settings, batch)
    due = [line for state in ("planned", "unknown") for line in found if line.state == state]
    with ThreadPoolExecutor(PARALLEL) as pool:
        counts = Counter(filter(None, pool.map(one, due)))
    for state, word in _WORDS.items():
        buffer.tally.call(batch.program, ENDPOINT, word, count=counts[state])
    if broken.is_set():
        counts[ConnectionBroken.word] = 1
    return counts


def _tried(
    batch: CouponBatch, before: MemberOutcome, assign: Callable[[CouponBatch, str], str]
) -> tuple[MemberOutcome, UpstreamRejected | Invalid | OutcomeUnknown | None]:
    """Assign to one member; gives how it ended, and what stood in the way."""
    try:
        return replace(before, state="succeeded", told=assign(batch, before.account_id)), None
    except UpstreamRejected as refusal:
        return replace(before, state="refused", told=f"{refusal.code} {refusal.reason}".strip()), refusal
    except Invalid as refusal:
        return replace(before, state="refused", told=refusal.reason), refusal
    except OutcomeUnknown as error:
        return replace(before, state="unknown", told=str(error)), error


def ask(settings: QueueSettings, program: str, id_: str, *, after_seconds: int = 0) -> None:
    """Ask for a batch to be carried out, or gone on with; asking twice does no harm.

    Raises
    ------
    Unavailable
        The queue does not take it.
    """
    with aws.reaching("the queue of batches"):
        aws.sqs().send_message(
            QueueUrl=settings.batches_queue_url,
            MessageBody=json.dumps({"program": program, "batch": id_}),
            DelaySeconds=after_seconds,
        )


def come_back(settings: QueueSettings, handle: str, receives: int) -> None:
    """Let a message that asks for a batch come back soon; else it does after the queue's visibility time-out."""
    pause = min(PAUSE_SECONDS * receives, MAX_PAUSE_SECONDS)
    with suppress(Unavailable), aws.reaching("the queue of batches"):
        aws.sqs().change_message_visibility(
            QueueUrl=settings.batches_queue_url, ReceiptHandle=handle, VisibilityTimeout=pause
        )


def _note(settings: BatchSettings, batch: CouponBatch, line: MemberOutcome) -> None:
    with aws.reaching("the batches"):
        aws.dynamodb().update_item(
            TableName=settings.batches_table,
            Key=_key(batch.program, batch.id, line.account_id),
            UpdateExpression="SET #state = :state, told = :told",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": line.state}, ":told": {"S": line.told}},
        )


def _items(settings: BatchSettings, batch: CouponBatch) -> Iterator[Mapping[str, Any]]:
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
    told = {
        "coupon_id": batch.coupon_id,
        "count": batch.count,
        "valid_from": batch.valid_from,
        "valid_to": batch.valid_to,
        "fingerprint": batch.fingerprint,
    }
    return _item(batch, HEAD, {"head": {"S": json.dumps(told)}})


def _closed(batch: CouponBatch, line: MemberOutcome) -> dict[str, Any]:
    return _item(batch, line.account_id, {"state": {"S": line.state}, "told": {"S": line.told}})


def _item(batch: CouponBatch, member: str, told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_key(batch.program, batch.id, member),
        "expires": {"N": str(int(time.time()) + DAYS * 86400)},
        **told,
    }


def _opened(item: Mapping[str, Any]) -> MemberOutcome:
    return MemberOutcome(item["member"]["S"], item["state"]["S"], item["told"]["S"])
