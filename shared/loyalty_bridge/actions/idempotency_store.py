"""Store idempotency records in DynamoDB: one item per action, written under a condition."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.infra import aws, dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.settings import ActionSettings

DAY = 86400.0
RETENTION_SECONDS = 7 * DAY
"""How long a finished action is remembered by default."""
WRITE_SECONDS = 2.0
"""How long to repeat a write that fails."""

SHARDS = 16
"""Partitions of each program in the index of open actions: one partition takes about 500 actions per second."""

State = Literal["started", "succeeded", "rejected", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of one action; times in epoch seconds.

    Attributes
    ----------
    id
        Hash of the program, the action, and the key or, without a key, the fingerprint. A record that was set aside
        has its owner as id.
    about
        Ids by which an operator finds the action on the loyalty platform.
    reference
        Reference under which the action is sent; the loyalty platform keeps it where it can.
    owner
        Id of the request that began the action.
    state
        State at the time of reading: ``started`` with an expired lease reads as ``unknown``.
    since
        When the action began.
    lease_expires_at
        When the owner's invocation ends.
    blocked_until
        Until when an equal request is not sent.
    answer
        The stored answer; for a rejection its status, code and reason.
    failure_reason
        Why the outcome is, or was, unknown; empty when the owner died before it could store a reason.
    retention_seconds
        How long the finished action is remembered.
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
    lease_expires_at: float
    state: State = "started"
    blocked_until: float = math.inf
    answer: Answer | None = None
    failure_reason: str = ""
    retention_seconds: float = RETENTION_SECONDS


_NAMES = {"#id": "id", "#owner": "owner", "#open": "open"}
IS_OPEN = "#owner = :owner AND attribute_exists(#open)"
"""Condition: the stored record has the same owner and no end."""
IS_OPEN_OR_ABSENT = f"attribute_not_exists(#id) OR ({IS_OPEN})"
"""Condition: no record is stored, or `IS_OPEN` holds."""
IS_FREE = "attribute_not_exists(#id) OR blocked_until <= :now AND attribute_not_exists(#open)"
"""Condition: no record is stored, or one that has ended and blocks no longer."""


def load(settings: ActionSettings, program: str, id_: str, now: Callable[[], float] = time.time) -> Record | None:
    """Load a record; None when there is none, or it has expired."""
    with aws.reaching("the idempotency table"):
        reply = aws.dynamodb().get_item(
            TableName=settings.idempotency_table, Key=_key(program, id_), ConsistentRead=True
        )
    item = reply.get("Item")
    # TTL deletes days late.
    return None if item is None or _number(item, "expires", math.inf) <= now() else _from_item(item, now())


def list_unknown(settings: ActionSettings, program: str, now: Callable[[], float] = time.time) -> list[Record]:
    """List the actions whose outcome is unknown, oldest first."""
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
            return [_from_item(item, now()) for page in pages for item in page["Items"]]

    records = [record for shard in aws.run_in_parallel(read, range(SHARDS)) for record in shard]
    return sorted((record for record in records if record.state == "unknown"), key=lambda record: record.since)


def put(settings: ActionSettings, record: Record, condition: str, now: float) -> Record | None:
    """Store a record under a condition; return the stored record when the condition fails, otherwise None."""
    values: dict[str, Any] = {":owner": {"S": record.owner}, ":now": {"N": f"{now:.3f}"}}
    client = aws.dynamodb()
    request: dict[str, Any] = {
        "TableName": settings.idempotency_table,
        "Item": _to_item(record, now),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {name: attribute for name, attribute in _NAMES.items() if name in condition},
        "ExpressionAttributeValues": {name: value for name, value in values.items() if name in condition},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    try:
        with aws.reaching("the idempotency table", but=client.exceptions.ConditionalCheckFailedException):
            client.put_item(**request)
    except client.exceptions.ConditionalCheckFailedException as failed:
        return _from_item(cast("Mapping[str, Any]", failed.response)["Item"], now)
    return None


def remove(settings: ActionSettings, record: Record) -> bool:
    """Remove a record that has no end, so that a repeat may act.

    Returns
    -------
    bool
        False when the record has ended or belongs to another owner. A record that is already gone counts as removed:
        the reply to an earlier attempt may have been lost.
    """
    client = aws.dynamodb()
    try:
        with aws.reaching("the idempotency table", but=client.exceptions.ConditionalCheckFailedException):
            client.delete_item(**_removal(settings, record), ReturnValuesOnConditionCheckFailure="ALL_OLD")
    except client.exceptions.ConditionalCheckFailedException as failed:
        return "Item" not in failed.response
    return True


def set_aside(settings: ActionSettings, record: Record, now: float) -> None:
    """Move a record to an id of its own, unless it has ended or another request has moved it."""
    moved = {"TableName": settings.idempotency_table, "Item": _to_item(replace(record, id=record.owner), now)}
    dynamodb.transact([{"Put": moved}, {"Delete": _removal(settings, record)}], time.monotonic() + WRITE_SECONDS)


def _removal(settings: ActionSettings, record: Record) -> dict[str, Any]:
    return {
        "TableName": settings.idempotency_table,
        "Key": _key(record.program, record.id),
        "ConditionExpression": IS_OPEN,
        "ExpressionAttributeNames": {"#owner": "owner", "#open": "open"},
        "ExpressionAttributeValues": {":owner": {"S": record.owner}},
    }


def _key(program: str, id_: str) -> dict[str, Any]:
    return {"id": {"S": f"{program}#{id_}"}}


def _to_item(record: Record, now: float) -> dict[str, Any]:
    item: dict[str, Any] = {
        **_key(record.program, record.id),
        "action": {"S": record.action},
        "keyed": {"BOOL": record.keyed},
        "fingerprint": {"S": record.fingerprint},
        "about": {"M": {name: {"S": id_} for name, id_ in record.about.items()}},
        "reference": {"S": record.reference},
        "owner": {"S": record.owner},
        "since": {"N": f"{record.since:.3f}"},
        "lease_expires_at": {"N": f"{record.lease_expires_at:.3f}"},
        "state": {"S": record.state},
        "failure_reason": {"S": record.failure_reason},
        "retention_seconds": {"N": str(record.retention_seconds)},
    }
    if record.blocked_until < math.inf:
        item["blocked_until"] = {"N": f"{record.blocked_until:.3f}"}
    if record.answer is None:
        shard = int(record.id[:8], 16) % SHARDS
        item["open"] = {"S": f"{record.program}#{shard}"}  # only an action without an end is in the index
    else:
        item["answer"] = {"S": json.dumps([record.answer.status, record.answer.body])}
        item["expires"] = {"N": str(int(now + record.retention_seconds))}
    return item


def _from_item(item: Mapping[str, Any], now: float) -> Record:
    program, id_ = item["id"]["S"].split("#")
    state = cast("State", item["state"]["S"])
    lease_expires_at = _number(item, "lease_expires_at", 0)
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
        lease_expires_at=lease_expires_at,
        state="unknown" if state == "started" and lease_expires_at <= now else state,
        blocked_until=_number(item, "blocked_until", math.inf),
        answer=Answer(*json.loads(item["answer"]["S"])) if "answer" in item else None,
        failure_reason=item["failure_reason"]["S"],
        retention_seconds=_number(item, "retention_seconds", RETENTION_SECONDS),
    )


def _number(item: Mapping[str, Any], name: str, absent: float) -> float:
    return float(item[name]["N"]) if name in item else absent
