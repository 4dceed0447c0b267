"""Members under another id: records that name only the person are sent on to each account of theirs.

Each of them then travels under its member, so that one invocation at a time works on a member. The other way round, a
member's aliases tell under which id its loyalty platform knows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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


Name = tuple[str, str]
"""Program and alias."""


@dataclass(frozen=True, slots=True)
class Taught:
    """That a member is known by an alias.

    Attributes
    ----------
    at
        When it was told (UTC), for an alias that is one member's at a time: who was told last has it. None: all who
        were told have it.
    """

    program: str
    alias: str
    member: str
    at: datetime | None = None


def opened(item: Mapping[str, Any]) -> set[str]:
    """Read an item: the members that are known by the alias, or the aliases of the member."""
    return set(item.get("members", {}).get("SS", ()))


def members(
    settings: MemberSettings, names: Iterable[Name], deadline: float, taught: Iterable[Taught] = ()
) -> dict[Name, set[str]]:
    """Tell the members that are known by each of several aliases, in one round trip.

    Parameters
    ----------
    taught
        What was told just now, and may not be stored yet.

    Raises
    ------
    Unavailable
        The map cannot be read.
    """
    keys = {name: key(*name) for name in names}
    asked = [(settings.members_table, {"member": {"S": one}}) for one in sorted(set(keys.values()))]
    items = {item["member"]["S"]: item for item in stores.read(asked, deadline).get(settings.members_table, ())}
    told: defaultdict[Name, list[Taught]] = defaultdict(list)
    for one in taught:
        told[one.program, one.alias].append(one)
    return {name: _members(items.get(stored, {}), told[name]) for name, stored in keys.items()}


def _members(item: Mapping[str, Any], told: Sequence[Taught]) -> set[str]:
    latest = max((one for one in told if one.at), key=_when, default=None)
    if latest:
        return {latest.member} if is_news(item, latest) else opened(item)
    return opened(item) | {one.member for one in told}


def is_news(item: Mapping[str, Any], taught: Taught) -> bool:
    """Tell whether the item of an alias does not say it yet, nor anything that was told later."""
    if taught.at is None:
        return taught.member not in opened(item)
    return opened(item) != {taught.member} and float(item.get("told_at", {}).get("N", 0)) <= _when(taught)


def _when(taught: Taught) -> float:
    return taught.at.timestamp() if taught.at else 0.0


def learn(settings: MemberSettings, taught: Iterable[Taught], deadline: float) -> None:
    """Remember that members are known by aliases, too (several invocations may teach one alias at once).

    Of an alias that is one member's, the member's aliases can be looked up, too.

    Raises
    ------
    Unavailable
        DynamoDB does not take it.
    """
    several: defaultdict[str, set[str]] = defaultdict(set)
    latest: dict[str, Taught] = {}
    for one in sorted(taught, key=_when):
        name = key(one.program, one.alias)
        if one.at is None:
            several[name].add(one.member)
        else:
            several[key_of_aliases(one.program, one.member)].add(one.alias)
            latest[name] = one
    stores.update(
        [
            _update(settings, name, "ADD members :members", {":members": {"SS": sorted(members)}})
            for name, members in several.items()
        ]
        + [
            _update(
                settings,
                name,
                "SET members = :members, told_at = :at",
                {":members": {"SS": [one.member]}, ":at": {"N": f"{_when(one):.3f}"}},
            )
            for name, one in latest.items()
        ],
        deadline,
    )


def _update(settings: MemberSettings, name: str, expression: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "TableName": settings.members_table,
        "Key": {"member": {"S": name}},
        "UpdateExpression": expression,
        "ExpressionAttributeValues": values,
    }
