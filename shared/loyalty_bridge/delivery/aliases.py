"""Members under another id: records that name only the person are sent on to each account of theirs.

Each of them then travels under its member, so that one invocation at a time works on a member. The other way round, a
member's aliases tell under which id its loyalty platform knows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

from loyalty_bridge.delivery import stores

if TYPE_CHECKING:
    from loyalty_bridge.settings import MemberSettings


def key(program: str, alias: str) -> str:
    """Name an alias in the table of the members."""
    return stores.name(program, "alias", alias)


def key_of_aliases(program: str, member: str) -> str:
    """Name what a member is known by, in the same table."""
    return stores.name(program, "aliases", member)


def both_ways(program: str, alias: str, member: str) -> dict[str, set[str]]:
    """Tell what `learn` has to be taught so that the member's aliases can be looked up, too."""
    return {key_of_aliases(program, member): {alias}, key(program, alias): {member}}


def opened(item: Mapping[str, Any]) -> set[str]:
    """Read an item: the members that are known by the alias, or the aliases of the member."""
    return set(item.get("members", {}).get("SS", ()))


def members(settings: MemberSettings, program: str, alias: str, deadline: float) -> set[str]:
    """Tell the members that are known by an alias.

    Raises
    ------
    Unavailable
        The map cannot be read.
    """
    name = {"member": {"S": key(program, alias)}}
    found = stores.read([(settings.members_table, name)], deadline)[settings.members_table]
    return opened(found[0]) if found else set()


def learn(settings: MemberSettings, taught: Mapping[str, Set[str]], deadline: float) -> None:
    """Remember that members are known by aliases, too (several invocations may teach one alias at once).

    Parameters
    ----------
    taught
        Members by the alias's `key`, and aliases by the member's `key_of_aliases`.

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
