"""Deletion of a program: it is unknown at once, its stored data is removed step by step, then its id is free.

One item stays in its partition, with the time of deletion and the destination version. So a later program of the same
id takes neither its records nor its entries in the delivery log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Conflict
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.infra.dynamodb import number, text

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings

AGAIN_SECONDS = 900.0
"""After this time every function that ran at the deletion has ended: the limit is 15 minutes."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """State of a deletion.

    Attributes
    ----------
    at
        Time of the deletion (epoch seconds).
    destination_version
        Destination version of the deleted program.
    is_under_way
        Whether the id is still blocked.
    due
        Time at which the removal has to go on (epoch seconds); 0 when it is complete.
    cursor
        Key in the members' table after which it goes on; empty at the start.
    """

    program: str
    at: float
    destination_version: int
    is_under_way: bool
    due: float
    cursor: str = ""


def find(settings: ProgramSettings, program: str) -> Deletion | None:
    """Return the last deletion of an id that a new program wants to use; None if there was none.

    Raises
    ------
    Conflict
        It is still running.
    """
    deletion = _find(settings, program)
    if deletion and deletion.is_under_way:
        raise Conflict(f"{program} is being deleted: try again in some minutes, or choose another id")
    return deletion


def is_under_way(settings: ProgramSettings, program: str) -> bool:
    """Return whether the data of a deleted program is still being removed."""
    deletion = _find(settings, program)
    return deletion is not None and deletion.is_under_way


def _find(settings: ProgramSettings, program: str) -> Deletion | None:
    item = dynamodb.get(settings.programs_table, _key(program))
    return None if item is None else _from_item(item)


def begin(settings: ProgramSettings, program: str) -> Deletion:
    """Make a program unknown: delete its connection first, then the other items of its partition."""
    table, now = settings.programs_table, time.time()
    connection = _key(program) | {"item": "connection"}
    before = _find(settings, program)
    destination_version = int(
        number(
            dynamodb.get(table, connection) or {}, "destination_version", before.destination_version if before else now
        )
    )
    trace = {"at": now, "destination_version": destination_version, "due": 1, "under_way": True}
    dynamodb.put(table, _key(program) | trace)
    dynamodb.delete(table, connection)
    clear_partition(settings, program)
    return Deletion(program, now, destination_version, is_under_way=True, due=1.0)


def clear_partition(settings: ProgramSettings, program: str) -> None:
    """Delete all items of a program in the programs' table, except the deletion itself."""
    keys = dynamodb.query(
        settings.programs_table,
        "program = :program",
        {":program": program},
        ProjectionExpression="program, #item",
        ConsistentRead=True,
    )
    for key in [*keys]:
        if key != _key(program):
            dynamodb.delete(settings.programs_table, key)


def load_due(settings: ProgramSettings) -> Iterator[Deletion]:
    """Return the deletions that have to go on now."""
    values = {":deleted": "deleted", ":now": time.time()}
    items = [*dynamodb.scan(settings.programs_table, "#item = :deleted AND due <= :now", values)]
    return map(_from_item, items)


def block_id(settings: ProgramSettings, deletion: Deletion) -> None:
    """Block the id while late data is removed."""
    _update(settings, deletion.program, "SET under_way = :yes", {":yes": True})


def save_progress(settings: ProgramSettings, deletion: Deletion, cursor: str | None) -> None:
    """Store the progress of a deletion; when it is complete, free the id and schedule one more search for late data.

    Parameters
    ----------
    cursor
        Key in the members' table after which it goes on; None when it is complete.
    """
    if cursor is not None:
        _update(settings, deletion.program, "SET cursor_at = :cursor", {":cursor": cursor})
    elif (again := deletion.at + AGAIN_SECONDS) > time.time():
        _update(settings, deletion.program, "SET due = :due REMOVE under_way, cursor_at", {":due": again})
    else:
        _update(settings, deletion.program, "REMOVE under_way, cursor_at, due", {})


def _update(settings: ProgramSettings, program: str, change: str, values: Mapping[str, Any]) -> None:
    dynamodb.update(settings.programs_table, _key(program), change, values)


def _key(program: str) -> dict[str, Any]:
    return {"program": program, "item": "deleted"}


def _from_item(item: Mapping[str, Any]) -> Deletion:
    """Decode an item that any version may have written: an unreadable one must not delay the others."""
    return Deletion(
        program=item["program"],
        at=number(item, "at"),
        destination_version=int(number(item, "destination_version", time.time())),
        is_under_way="under_way" in item,
        due=number(item, "due"),
        cursor=text(item, "cursor_at"),
    )
