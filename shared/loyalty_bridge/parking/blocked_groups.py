"""Groups that have held records: their newer records are held behind them.

The ordering invariant: a newer record of a group never passes an older held one. Held records are parked first; then
their group is blocked: an item in the members' table names the place of the group's last held record. Only then is the
batch acknowledged. The queue or stream gives a group's records to one invocation at a time, so a later record finds the
block and is held, too. A released record carries its place and passes the block; the block ends when the record with
the last place is settled. A released record that cannot be sent is held again right after its first place, before all
records that were held later. The block also lists such places: released records behind one of them are held again, too,
until it is settled.
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
    """The held records of a group, by their places (`parked_records.place_of`).

    Attributes
    ----------
    last
        The place of the last one; empty when no record of the group is held.
    held_again
        The places of those that were released, held again and not settled since (of each parked batch the last one).
    """

    last: str = ""
    held_again: frozenset[str] = frozenset()

    def without(self, places: Iterable[str]) -> BlockedGroup:
        """Remove the places of records that are about to get others."""
        gone = frozenset(places)
        return BlockedGroup("" if self.last in gone else self.last, self.held_again - gone)

    def with_place(self, place: str, *, is_again: bool) -> BlockedGroup:
        """Add the place of a record, which `is_again` held after a release or held for the first time."""
        return BlockedGroup(max(self.last, place), self.held_again | {place} if is_again else self.held_again)

    def after(self, place: str) -> BlockedGroup:
        """Remove a place whose record is settled, and all places before it."""
        later = frozenset(other for other in self.held_again if other > place)
        return BlockedGroup("" if place >= self.last else self.last, later)


def _key(program: str, group: str) -> str:
    return dynamodb.item_key(program, "blocked", group)


def load(
    settings: DeliverySettings, groups: Iterable[tuple[str, str]], deadline: float
) -> dict[tuple[str, str], BlockedGroup]:
    """Read which of some groups, by (program, group), are blocked."""
    names = {_key(*group): group for group in groups}
    found = dynamodb.batch_get([(settings.members_table, {"member": {"S": name}}) for name in names], deadline)
    blocked = {names[item["member"]["S"]]: _from_item(item) for item in found.get(settings.members_table, ())}
    return {group: block for group, block in blocked.items() if block.last}


def _from_item(item: Mapping[str, Any]) -> BlockedGroup:
    """Read an item, without the places of records that have expired."""
    places = item.get("held_again", {}).get("SS", ())
    held_again = frozenset(place for place in places if parked_records.may_be_parked(place))
    last = item["last"]["S"]
    return BlockedGroup(last if parked_records.may_be_parked(last) else max(held_again, default=""), held_again)


def block(settings: DeliverySettings, program: str, groups: Mapping[str, BlockedGroup], deadline: float) -> None:
    """Store the blocks of a program's groups."""
    items: list[tuple[str, dict[str, Any]]] = [
        (
            settings.members_table,
            {
                "member": {"S": _key(program, group)},
                "last": {"S": block.last},
                **({"held_again": {"SS": sorted(block.held_again)}} if block.held_again else {}),
            },
        )
        for group, block in groups.items()
    ]
    dynamodb.batch_put(items, deadline)


def unblock(settings: DeliverySettings, program: str, group: str) -> None:
    """Remove the block of a group."""
    with aws.reaching("DynamoDB"):
        aws.dynamodb().delete_item(TableName=settings.members_table, Key={"member": {"S": _key(program, group)}})
