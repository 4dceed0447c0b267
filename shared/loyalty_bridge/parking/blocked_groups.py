"""Which ordered groups have records on the held shelf, or on their way from it: what comes later waits behind them.

A mark names the place of a group's last held record. It goes when the record from that place is settled. Records that
are held once more have places of their own in it: what was released together with them, but lies behind them, must not
overtake them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.parking import parked_records

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


@dataclass(frozen=True, slots=True)
class BlockedGroup:
    """The held records of an ordered group.

    Attributes
    ----------
    last
        The place of the last one.
    again
        The places of those that were held more than once, and have not passed since (of each bundle the last).
    """

    last: str = ""
    again: frozenset[str] = frozenset()

    def left_by(self, places: Iterable[str]) -> BlockedGroup:
        """Take out places that no record has any more."""
        gone = frozenset(places)
        return BlockedGroup("" if self.last in gone else self.last, self.again - gone)

    def joined_at(self, place: str, *, again: bool) -> BlockedGroup:
        """Add a place."""
        return BlockedGroup(max(self.last, place), self.again | {place} if again else self.again)

    def passed(self, place: str) -> BlockedGroup:
        """Take out what has passed with the record from a place; nothing is left when it was the last."""
        return BlockedGroup(
            "" if place >= self.last else self.last, frozenset(one for one in self.again if one > place)
        )


def _key(program: str, group: str) -> str:
    return dynamodb.item_key(program, "queue", group)


def load(
    settings: DeliverySettings, groups: Iterable[tuple[str, str]], deadline: float
) -> dict[tuple[str, str], BlockedGroup]:
    """Tell the line of each (program, group) that has held records.

    Raises
    ------
    Unavailable
        DynamoDB does not give all.
    """
    names = {_key(*group): group for group in groups}
    found = dynamodb.batch_get([(settings.members_table, {"member": {"S": name}}) for name in names], deadline)
    lines = {names[item["member"]["S"]]: _opened(item) for item in found.get(settings.members_table, ())}
    return {group: line for group, line in lines.items() if line.last}


def _opened(item: Mapping[str, Any]) -> BlockedGroup:
    """Read a mark; for records that have expired on the shelf nobody waits."""
    again = frozenset(place for place in item.get("again", {}).get("SS", ()) if parked_records.lies_there(place))
    last = item["position"]["S"]
    return BlockedGroup(last if parked_records.lies_there(last) else max(again, default=""), again)


def block(settings: DeliverySettings, program: str, lines: Mapping[str, BlockedGroup], deadline: float) -> None:
    """Note the line of each group.

    Raises
    ------
    Unavailable
        DynamoDB does not take all.
    """
    items: list[tuple[str, dict[str, Any]]] = [
        (
            settings.members_table,
            {
                "member": {"S": _key(program, group)},
                "position": {"S": line.last},
                **({"again": {"SS": sorted(line.again)}} if line.again else {}),
            },
        )
        for group, line in lines.items()
    ]
    dynamodb.batch_put(items, deadline)


def unblock(settings: DeliverySettings, program: str, group: str) -> None:
    """Let a group pass again.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("DynamoDB"):
        aws.dynamodb().delete_item(TableName=settings.members_table, Key={"member": {"S": _key(program, group)}})
