"""Forgetting a member on purpose: what was sent (so that all is sent again), or all that is remembered of the member.

What is kept elsewhere stays: held and refused records, the journal's actions, the lines of batches.
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
    """Forget which attribute values a member has at the destination: the next event sends all that it tells.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("DynamoDB"):
        aws.dynamodb().delete_item(
            TableName=settings.members_table, Key={"member": {"S": attribute_state.key(program, member)}}
        )


def forget(settings: DeliverySettings, program: str, member: str) -> int:
    """Remove a member's state, owner, coupon codes, place in line and the aliases it is known by; gives their number.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
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
    """Take a member out of an alias, and remove the alias where it means nobody else."""
    client = aws.dynamodb()
    only: Any = {"TableName": settings.members_table, "Key": {"member": {"S": name}}}
    told: Any = {":member": {"SS": [member]}}
    others = client.exceptions.ConditionalCheckFailedException
    try:
        client.delete_item(**only, ConditionExpression="members = :member", ExpressionAttributeValues=told)
    except others:
        client.update_item(**only, UpdateExpression="DELETE members :member", ExpressionAttributeValues=told)


def _leases(program: str, member: str) -> tuple[str, str]:
    return member_leases.key(attribute_state.key(program, member)), member_leases.key(
        f"{program}#{group_of(program, member)}"
    )
