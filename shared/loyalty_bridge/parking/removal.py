"""Remove the stored data of a deleted program, in limited time; the schedule continues where it ended.

Removed are its parked records and all items of its members. Delivery log, idempotency records and
activity stay and expire: they are not read for a program with another destination version, hold no personal data, and
keep an action from being carried out twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, get_args

from loyalty_bridge.infra import aws
from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import Kind
from loyalty_bridge.programs import deletion, repository

if TYPE_CHECKING:
    from loyalty_bridge.programs.deletion import Deletion
    from loyalty_bridge.settings import DeliverySettings


def delete(settings: DeliverySettings, program: str, seconds: float) -> bool:
    """Delete a program, and what is stored of it as far as the time allows; return whether all is removed."""
    return _remove(settings, repository.delete(settings, program), time.monotonic() + seconds)


def resume(settings: DeliverySettings, until: float) -> int:
    """Resume the deletions that are due, until a deadline (of `time.monotonic`); return how many were completed."""
    ended = 0
    for one in deletion.load_due(settings):
        if not one.is_under_way:
            if repository.load(settings, [one.program]):
                deletion.save_progress(settings, one, None)  # the id is in use again
                continue
            deletion.block_id(settings, one)
        ended += _remove(settings, one, until)
    return ended


def _remove(settings: DeliverySettings, one: Deletion, until: float) -> bool:
    deletion.clear_partition(settings, one.program)
    for kind in get_args(Kind):
        for batch in parked_records.batches(settings, kind, one.program):
            if time.monotonic() >= until:
                return False
            parked_records.remove(settings, batch)
    left_at = _remove_members(settings, one, until)
    deletion.save_progress(settings, one, left_at)
    return left_at is None


def _remove_members(settings: DeliverySettings, one: Deletion, until: float) -> str | None:
    """Remove a program's items in the members' table, which has to be read as a whole.

    Returns
    -------
    str or None
        Where to go on; None when the whole table was read.
    """
    client, cursor = aws.dynamodb(), one.cursor
    while time.monotonic() < until:
        request: dict[str, Any] = {"ExclusiveStartKey": {"member": {"S": cursor}}} if cursor else {}
        with aws.reaching("DynamoDB"):
            page = client.scan(
                TableName=settings.members_table,
                FilterExpression="begins_with(#member, :prefix)",
                ProjectionExpression="#member",
                ExpressionAttributeNames={"#member": "member"},
                ExpressionAttributeValues={":prefix": {"S": f"{one.program}#"}},
                **request,
            )
            aws.run_in_parallel(
                lambda key: client.delete_item(TableName=settings.members_table, Key=key), page["Items"]
            )
        if "LastEvaluatedKey" not in page:
            return None
        cursor = page["LastEvaluatedKey"]["member"]["S"]
    return cursor
