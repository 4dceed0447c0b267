"""One invocation at a time works on a member, also while a queue and a stream are both read.

A queue alone, or a stream alone, gives the records of a group to one invocation at a time, so that delivery log and
attribute state need no locks. Both together do not: then an invocation leases the groups and members of its batch with
conditional writes, and gives back what another one is working on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from loyalty_bridge.infra import dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.event_queue.envelope import InboundMessage
    from loyalty_bridge.pipeline.batch import InvocationBatch

T = TypeVar("T")

MARGIN_SECONDS = 15.0
"""A lease outlives the sending by this: for settling, and for clocks that disagree."""


def key(name: str) -> str:
    """Name the lease of a group or member in the table of the members."""
    return dynamodb.item_key(name.partition("#")[0], "lease", name)


def only_leased(
    batch: InvocationBatch, entries: Sequence[T], name_of: Callable[[T], str], arrival_of: Callable[[T], InboundMessage]
) -> Sequence[T]:
    """Pass the entries whose group or member nobody else works on; the others, and those behind them, are given back.

    Raises
    ------
    Unavailable
        DynamoDB does not answer: nothing may be sent then.
    """
    if not (batch.settings.events_queue_url and batch.settings.events_stream):
        return entries
    names = {name_of(one) for one in entries} - batch.leases
    elsewhere = _taken_by_others(batch, names)
    batch.leases |= names - elsewhere
    batch.counts["leased_elsewhere"] += len(elsewhere)
    passed = []
    for one in entries:
        if name_of(one) in elsewhere or batch.overtakes(arrival_of(one)):
            batch.give_back(arrival_of(one))
        else:
            passed.append(one)
    return passed


def _taken_by_others(batch: InvocationBatch, names: Collection[str]) -> set[str]:
    until = time.time() + max(batch.until - time.monotonic(), 0) + MARGIN_SECONDS
    by_key = {key(name): name for name in names}
    changes: list[dict[str, Any]] = [
        {
            "TableName": batch.settings.members_table,
            "Key": {"member": {"S": lease}},
            "UpdateExpression": "SET #owner = :owner, #until = :until",
            "ConditionExpression": "attribute_not_exists(#owner) OR #owner = :owner OR #until <= :now",
            "ExpressionAttributeNames": {"#owner": "owner", "#until": "until"},
            "ExpressionAttributeValues": {
                ":owner": {"S": batch.id},
                ":until": {"N": f"{until:.3f}"},
                ":now": {"N": f"{time.time():.3f}"},
            },
        }
        for lease in by_key
    ]
    turned_away = dynamodb.update_each(changes, batch.until)
    return {by_key[change["Key"]["member"]["S"]] for change in turned_away}


def give_back(batch: InvocationBatch, deadline: float) -> None:
    """End the leases of a batch.

    Raises
    ------
    Unavailable
        DynamoDB does not answer before `deadline` (of `time.monotonic`): the leases end by themselves.
    """
    dynamodb.write_each(
        [
            {
                "Delete": {
                    "TableName": batch.settings.members_table,
                    "Key": {"member": {"S": key(name)}},
                    "ConditionExpression": "#owner = :owner",
                    "ExpressionAttributeNames": {"#owner": "owner"},
                    "ExpressionAttributeValues": {":owner": {"S": batch.id}},
                }
            }
            for name in batch.leases
        ],
        deadline,
    )
