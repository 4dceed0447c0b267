"""Members under another id: records that name only the person are sent on to each account of theirs.

Each of them then travels under its member, so that one invocation at a time works on a member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loyalty_bridge import aws
from loyalty_bridge.delivery import stores, transport
from loyalty_bridge.delivery.records import SourceRecord
from loyalty_bridge.errors import Refused

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


def key(program: str, alias: str) -> str:
    """Name an alias in the table of the members."""
    return f"{program}#alias#{alias}"


def opened(item: Mapping[str, Any]) -> set[str]:
    """Read an item: the members that are known by the alias."""
    return set(item.get("members", {}).get("SS", ()))


def learn(settings: DeliverySettings, program: str, alias: str, member: str) -> None:
    """Remember that a member is known by an alias, too (several invocations may teach one alias at once).

    Raises
    ------
    Unavailable
        DynamoDB does not take it.
    """
    with aws.reaching("DynamoDB"):
        aws.dynamodb().update_item(
            TableName=settings.members_table,
            Key={"member": {"S": key(program, alias)}},
            UpdateExpression="ADD members :member",
            ExpressionAttributeValues={":member": {"SS": [member]}},
        )


def send_on(settings: DeliverySettings, record: SourceRecord, alias: str | None, deadline: float) -> None:
    """Put a record on the transport again, once for each member that the alias means.

    Raises
    ------
    Refused
        The record names neither a member nor a person that is known.
    Unavailable
        The map cannot be read, or the transport does not take it.
    """
    if alias is None:
        raise Refused("accountId", "is missing")
    name = key(record.program, alias)
    found = stores.read([(settings.members_table, {"member": {"S": name}})], deadline)[settings.members_table]
    members = sorted(opened(found[0])) if found else []
    if not members:
        raise Refused("userId", "belongs to no account that is known")
    transport.put(settings, [(replace(record, member=member), member) for member in members])
