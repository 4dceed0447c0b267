"""Delete the data of a member: the attribute state, so that all attributes are sent again, or everything.

Held and rejected records, idempotency records and the members of batches stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions import coupon_codes
from loyalty_bridge.event_queue.envelope import group_of
from loyalty_bridge.infra import aws
from loyalty_bridge.parking import blocked_groups
from loyalty_bridge.pipeline import attribute_state, identities, member_leases
from loyalty_bridge.programs import repository

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


def resync(settings: DeliverySettings, program: str, member: str) -> None:
    """Delete a member's attribute state, so that the next event sends all its attributes."""
    with aws.reaching("DynamoDB"):
        aws.dynamodb().delete_item(
            TableName=settings.members_table, Key={"member": {"S": attribute_state.key(program, member)}}
        )


def forget(settings: DeliverySettings, program: str, member: str) -> int:
    """Delete a member's attribute state, coupon codes, block, leases and aliases; return the number of aliases."""
    found = repository.load(settings, [program]).get(program)
    generation = found.generation if found else program
    resync(settings, program, member)
    blocked_groups.unblock(settings, program, group_of(program, member))
    client, removed = aws.dynamodb(), 0
    named = (identities.key_of_aliases(generation, member), coupon_codes.key(generation, member))
    for name in (*named, *_leases(program, member)):
        with aws.reaching("DynamoDB"):
            client.delete_item(TableName=settings.members_table, Key={"member": {"S": name}})
    with aws.reaching("DynamoDB"):
        pages = client.get_paginator("scan").paginate(
            TableName=settings.members_table,
            FilterExpression="begins_with(#member, :prefix) AND contains(members, :member)",
            ExpressionAttributeNames={"#member": "member"},
            ExpressionAttributeValues={":prefix": {"S": identities.key(generation, "")}, ":member": {"S": member}},
        )
        for page in pages:
            for item in page["Items"]:
                _forget_alias(settings, item["member"]["S"], member)
                removed += 1
    return removed


def _forget_alias(settings: DeliverySettings, name: str, member: str) -> None:
    """Remove a member from an alias, and delete an alias without members."""
    client = aws.dynamodb()
    only: Any = {"TableName": settings.members_table, "Key": {"member": {"S": name}}}
    values: Any = {":member": {"SS": [member]}}
    others = client.exceptions.ConditionalCheckFailedException
    try:
        client.delete_item(**only, ConditionExpression="members = :member", ExpressionAttributeValues=values)
    except others:
        client.update_item(**only, UpdateExpression="DELETE members :member", ExpressionAttributeValues=values)


def _leases(program: str, member: str) -> tuple[str, str]:
    return member_leases.key(attribute_state.key(program, member)), member_leases.key(
        f"{program}#{group_of(program, member)}"
    )
