"""Which ordered groups have records on the held shelf, or on their way from it: what comes later waits behind them.

A mark names the shelf position of a group's last held record. It goes when the record from that position is settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from loyalty_bridge import aws
from loyalty_bridge.delivery import stores

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


def _key(program: str, group: str) -> str:
    return stores.name(program, "queue", group)


def last_held(
    settings: DeliverySettings, groups: Iterable[tuple[str, str]], deadline: float
) -> dict[tuple[str, str], str]:
    """Tell the position of the last held record of each (program, group) that has one.

    Raises
    ------
    Unavailable
        DynamoDB does not give all.
    """
    names = {_key(*group): group for group in groups}
    found = stores.read([(settings.members_table, {"member": {"S": name}}) for name in names], deadline)
    return {names[item["member"]["S"]]: item["position"]["S"] for item in found.get(settings.members_table, ())}


def mark(settings: DeliverySettings, program: str, positions: Mapping[str, str], deadline: float) -> None:
    """Note the position of each group's last held record.

    Raises
    ------
    Unavailable
        DynamoDB does not take all.
    """
    items: list[tuple[str, dict[str, Any]]] = [
        (settings.members_table, {"member": {"S": _key(program, group)}, "position": {"S": position}})
        for group, position in positions.items()
    ]
    stores.write(items, deadline)


def clear(settings: DeliverySettings, program: str, group: str) -> None:
    """Let a group pass again.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("DynamoDB"):
        aws.dynamodb().delete_item(TableName=settings.members_table, Key={"member": {"S": _key(program, group)}})
