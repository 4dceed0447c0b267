"""A deleted program: it is unknown at once; what is stored of it is removed step by step, then its id is free.

One item stays in its partition: when it was deleted, and with which destination version. A program that is made under
the same id later takes neither its records nor its place in the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Conflict
from loyalty_bridge.infra import aws

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings

AGAIN_SECONDS = 900.0
"""After so long, what was at work when the program was deleted has ended: a function runs for 15 minutes at most."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is known of a deleted program.

    Attributes
    ----------
    at
        When it was deleted (epoch seconds).
    destination_version
        Its destination version.
    is_under_way
        Whether its id is still taken.
    due
        When removing has to go on (epoch seconds); 0 when all is done.
    cursor
        Where it goes on in the members' table; empty at its beginning.
    """

    program: str
    at: float
    destination_version: int
    is_under_way: bool
    due: float
    cursor: str = ""


def find(settings: ProgramSettings, program: str) -> Deletion | None:
    """Read what is known of the last deletion of an id that is to be used; None where there was none.

    Raises
    ------
    Conflict
        It is still under way.
    Unavailable
        DynamoDB does not answer.
    """
    deletion = _find(settings, program)
    if deletion and deletion.is_under_way:
        raise Conflict(f"{program} is being deleted: try again in some minutes, or take another id")
    return deletion


def is_under_way(settings: ProgramSettings, program: str) -> bool:
    """Tell whether what is stored of a deleted program is still being removed.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    deletion = _find(settings, program)
    return deletion is not None and deletion.is_under_way


def _find(settings: ProgramSettings, program: str) -> Deletion | None:
    with aws.reaching("the programs"):
        found = aws.dynamodb().get_item(TableName=settings.programs_table, Key=_key(program), ConsistentRead=True)
    return _opened(found["Item"]) if "Item" in found else None


def begin(settings: ProgramSettings, program: str) -> Deletion:
    """Make a program unknown: its connection goes first, then its keys, its gate and whatever else is in its partition.

    Raises
    ------
    Unavailable
        DynamoDB does not delete all of it; if it took the beginning, the schedule goes on.
    """
    client, now = aws.dynamodb(), time.time()
    connection = _key(program) | {"item": {"S": "connection"}}
    before = _find(settings, program)
    with aws.reaching("the programs"):
        found = client.get_item(TableName=settings.programs_table, Key=connection, ConsistentRead=True)
        destination_version = (
            found.get("Item", {})
            .get("destination_version", {})
            .get("N", str(before.destination_version if before else int(now)))
        )
        client.put_item(
            TableName=settings.programs_table,
            Item=_key(program)
            | {
                "at": {"N": f"{now:.3f}"},
                "destination_version": {"N": destination_version},
                "due": {"N": "1"},
                "under_way": {"BOOL": True},
            },
        )
        client.delete_item(TableName=settings.programs_table, Key=connection)
    clear_partition(settings, program)
    return Deletion(program, now, int(destination_version), is_under_way=True, due=1.0)


def clear_partition(settings: ProgramSettings, program: str) -> None:
    """Delete all items of a deleted program in the programs' table, except the one that says that it was deleted.

    Raises
    ------
    Unavailable
        DynamoDB does not delete all of it.
    """
    client = aws.dynamodb()
    pages = client.get_paginator("query").paginate(
        TableName=settings.programs_table,
        KeyConditionExpression="program = :program",
        ExpressionAttributeValues={":program": {"S": program}},
        ProjectionExpression="program, #item",
        ExpressionAttributeNames={"#item": "item"},
        ConsistentRead=True,
    )
    with aws.reaching("the programs"):
        for key in [key for page in pages for key in page["Items"]]:
            if key != _key(program):
                client.delete_item(TableName=settings.programs_table, Key=key)


def due(settings: ProgramSettings) -> Iterator[Deletion]:
    """List the deletions that have to go on now.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    pages = (
        aws.dynamodb()
        .get_paginator("scan")
        .paginate(
            TableName=settings.programs_table,
            FilterExpression="#item = :deleted AND due <= :now",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":deleted": {"S": "deleted"}, ":now": {"N": f"{time.time():.3f}"}},
            ConsistentRead=True,
        )
    )
    with aws.reaching("the programs"):
        found = [item for page in pages for item in page["Items"]]
    return map(_opened, found)


def take_again(settings: ProgramSettings, deletion: Deletion) -> None:
    """Keep the id from being used while what came late is removed."""
    _update(settings, deletion.program, "SET under_way = :yes", {":yes": {"BOOL": True}})


def note(settings: ProgramSettings, deletion: Deletion, cursor: str | None) -> None:
    """Note how far a deletion is; when it is done, the id is free, and once more is looked for what came late.

    Parameters
    ----------
    cursor
        Where it has to go on in the members' table; None when it is done.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    if cursor is not None:
        _update(settings, deletion.program, "SET cursor_at = :cursor", {":cursor": {"S": cursor}})
    elif (again := deletion.at + AGAIN_SECONDS) > time.time():
        values = {":due": {"N": f"{again:.3f}"}}
        _update(settings, deletion.program, "SET due = :due REMOVE under_way, cursor_at", values)
    else:
        _update(settings, deletion.program, "REMOVE under_way, cursor_at, due", {})


def _update(settings: ProgramSettings, program: str, change: str, values: Mapping[str, Any]) -> None:
    request: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
    with aws.reaching("the programs"):
        aws.dynamodb().update_item(
            TableName=settings.programs_table, Key=_key(program), UpdateExpression=change, **request
        )


def _key(program: str) -> dict[str, Any]:
    return {"program": {"S": program}, "item": {"S": "deleted"}}


def _opened(item: Mapping[str, Any]) -> Deletion:
    """Read an item, which another version may have written: what is wrong with one holds up no other."""
    return Deletion(
        program=item["program"]["S"],
        at=_number(item, "at", 0.0),
        destination_version=int(_number(item, "destination_version", time.time())),
        is_under_way="under_way" in item,
        due=_number(item, "due", 0.0),
        cursor=item.get("cursor_at", {}).get("S", ""),
    )


def _number(item: Mapping[str, Any], name: str, otherwise: float) -> float:
    return float(item.get(name, {}).get("N", otherwise))
