"""Leases that keep a member to one invocation at a time while a queue and a stream are both read.

A queue alone, or a stream alone, gives the records of a group to one invocation at a time, so that delivery log and
attribute state need no locks. Both together do not: then an invocation leases the groups and members of its batch with
conditional writes, and retries the records of groups and members that another invocation has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.event_queue.envelope import InboundMessage
    from loyalty_bridge.pipeline.batch import InvocationBatch, Records
    from loyalty_bridge.pipeline.mapping import MappedEvent

T = TypeVar("T")

MARGIN_SECONDS = 15.0
"""A lease outlasts the sending by this: for settling, and for clocks that differ."""


def key(name: str) -> str:
    """Return the key of a group's or member's lease in the members' table."""
    return dynamodb.item_key(name.partition("#")[0], "lease", name)


def lease_groups(batch: InvocationBatch, records: Records) -> Records:
    """Lease the groups of records; retry the records whose group another invocation has, and those behind them."""
    return _lease(batch, records, lambda pair: f"{pair[1].program}#{pair[0].group}", lambda pair: pair[0])


def lease_members(batch: InvocationBatch, events: list[MappedEvent]) -> list[MappedEvent]:
    """Lease the members of events; retry the events whose member another invocation has, and those behind them."""
    return _lease(batch, events, lambda event: event.member_key, lambda event: event.delivery.message)


def _lease(
    batch: InvocationBatch, items: list[T], name_of: Callable[[T], str], message_of: Callable[[T], InboundMessage]
) -> list[T]:
    if not (batch.settings.events_queue_url and batch.settings.events_stream):
        return items
    names = {name_of(item) for item in items} - batch.leases
    elsewhere = _taken_by_others(batch, names)
    batch.leases |= names - elsewhere
    batch.counts["leased_elsewhere"] += len(elsewhere)
    leased = []
    for item in items:
        if name_of(item) in elsewhere or batch.overtakes(message_of(item)):
            batch.retry(message_of(item))
        else:
            leased.append(item)
    return leased


def _taken_by_others(batch: InvocationBatch, names: Collection[str]) -> set[str]:
    until = time.time() + max(batch.deadline - time.monotonic(), 0) + MARGIN_SECONDS
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
    turned_away = dynamodb.update_each(changes, batch.deadline)
    return {by_key[change["Key"]["member"]["S"]] for change in turned_away}


def end(batch: InvocationBatch, deadline: float) -> None:
    """End the leases of a batch before a deadline (of `time.monotonic`); without that, they expire."""
    deletions = [
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
    ]
    try:
        dynamodb.write_each(deletions, deadline)
    except Unavailable:
        batch.counts["leases_not_released"] += len(batch.leases)
