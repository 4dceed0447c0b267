"""Members under another id: records that name only the person are sent on to each account of theirs.

Each of them then travels under its member, so that one invocation at a time works on a member.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

from loyalty_bridge.delivery import stores

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


def key(program: str, alias: str) -> str:
    """Name an alias in the table of the members."""
    return stores.name(program, "alias", alias)


def opened(item: Mapping[str, Any]) -> set[str]:
    """Read an item: the members that are known by the alias."""
    return set(item.get("members", {}).get("SS", ()))


def members(settings: DeliverySettings, program: str, alias: str, deadline: float) -> set[str]:
    """Tell the members that are known by an alias.

    Raises
    ------
    Unavailable
        The map cannot be read.
    """
    name = {"member": {"S": key(program, alias)}}
    found = stores.read([(settings.members_table, name)], deadline)[settings.members_table]
    return opened(found[0]) if found else set()


def learn(settings: DeliverySettings, taught: Mapping[str, Set[str]], deadline: float) -> None:
    """Remember that members are known by aliases, too (several invocations may teach one alias at once).

    Parameters
    ----------
    taught
        Members by the alias's `key`.

    Raises
    ------
    Unavailable
        DynamoDB does not take it.
    """
    stores.update(
        [
            {
                "TableName": settings.members_table,
                "Key": {"member": {"S": name}},
                "UpdateExpression": "ADD members :members",
                "ExpressionAttributeValues": {":members": {"SS": sorted(members)}},
            }
            for name, members in taught.items()
        ],
        deadline,
    )
