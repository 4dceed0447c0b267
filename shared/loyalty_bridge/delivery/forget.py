"""Forgetting a member on purpose: what was sent (so that all is sent again), or all that is remembered of the member.

What is kept elsewhere stays: held and refused records, the journal's actions, the lines of batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loyalty_bridge import aws
from loyalty_bridge.actions import coupon_codes
from loyalty_bridge.delivery import aliases, state

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
        aws.dynamodb().delete_item(TableName=settings.members_table, Key={"member": {"S": state.key(program, member)}})


def forget(settings: DeliverySettings, program: str, member: str) -> int:
    """Remove a member's state, its coupon codes and the aliases it is known by; gives the number of aliases.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    resync(settings, program, member)
    for name in (aliases.key_of_aliases(program, member), coupon_codes.key(program, member)):
        with aws.reaching("DynamoDB"):
            aws.dynamodb().delete_item(TableName=settings.members_table, Key={"member": {"S": name}})
    prefix = f"{program}#alias#"
    client, removed = aws.dynamodb(), 0
    with aws.reaching("DynamoDB"):
        pages = client.get_paginator("scan").paginate(
            TableName=settings.members_table,
            FilterExpression="begins_with(#member, :prefix) AND contains(members, :member)",
            ExpressionAttributeNames={"#member": "member"},
            ExpressionAttributeValues={":prefix": {"S": prefix}, ":member": {"S": member}},
        )
        for page in pages:
            for item in page["Items"]:
                client.update_item(
                    TableName=settings.members_table,
                    Key={"member": item["member"]},
                    UpdateExpression="DELETE members :member",
                    ExpressionAttributeValues={":member": {"SS": [member]}},
                )
                removed += 1
    return removed
