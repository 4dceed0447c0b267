"""Programs in DynamoDB: one partition per program, its connection one item, its gate another."""

from __future__ import annotations

import secrets as randomness
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from loyalty_bridge.errors import Conflict, NotFound, Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import deletion, delivery_state, recent
from loyalty_bridge.programs.connection import Connection, Program, Secret, decode
from loyalty_bridge.programs.secrets import encrypt

if TYPE_CHECKING:
    from loyalty_bridge.programs.deletion import Deletion
    from loyalty_bridge.settings import ProgramSettings

STATE_KEY = "state_key"
"""The secret, made by the bridge itself, that keys the hashes in the member state."""


def load(settings: ProgramSettings, programs: Iterable[str]) -> dict[str, Program]:
    """Read programs with their gates, fifty in a round trip; unknown ones are absent from the answer.

    Raises
    ------
    Unavailable
        When DynamoDB does not give all of them.
    """
    keys = [_key(program, item) for program in sorted(set(programs)) for item in ("connection", "gate")]
    parts = (keys[start : start + 100] for start in range(0, len(keys), 100))
    found = [item for part in parts for item in _read(settings, part)]
    return {program.id: program for program in _gated(found)}


def find(settings: ProgramSettings, program: str) -> Program:
    """Read a program.

    Raises
    ------
    NotFound
        There is none of that id.
    Unavailable
        When DynamoDB does not give it.
    """
    found = load(settings, [program]).get(program)
    if found is None:
        raise NotFound(f"there is no program {program}")
    return found


def load_with(
    settings: ProgramSettings, program: str, *others: str
) -> tuple[Program | None, dict[str, Mapping[str, Any]]]:
    """Read a program with its gate and other items of its partition, by their sort keys, in one round trip.

    Raises
    ------
    Unavailable
        When DynamoDB does not give all of them.
    """
    found = _read(settings, [_key(program, item) for item in ("connection", "gate", *others)])
    return next(iter(_gated(found)), None), {item["item"]["S"]: item for item in found}


def recall(
    settings: ProgramSettings, program: str, current: Sequence[str], lasting: Sequence[str]
) -> tuple[Program | None, dict[str, Mapping[str, Any]]]:
    """Read a program as `load_with` does, but not what this container read within the last seconds.

    Parameters
    ----------
    current
        Sort keys of what is read each time.
    lasting
        Sort keys of what may be `recent.KEPT_SECONDS` old, like the program itself.

    Raises
    ------
    Unavailable
        When DynamoDB does not give all of them.
    """
    known = recent.get(settings.programs_table, program)
    if known and known[1].keys() >= set(lasting):
        found = {item["item"]["S"]: item for item in _read(settings, [_key(program, item) for item in current])}
        return known[0], {name: item for name, item in known[1].items() if item} | found
    read, found = load_with(settings, program, *current, *lasting)
    if read:
        recent.keep(settings.programs_table, read, {name: found.get(name, {}) for name in lasting})
    return read, found


def _read(settings: ProgramSettings, keys: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Read at most a hundred items; what a busy partition leaves out is asked for again at once, a few times."""
    found: list[Mapping[str, Any]] = []
    request: Any = {settings.programs_table: {"Keys": keys, "ConsistentRead": True}}
    for attempt in range(1, 5):
        with aws.reaching("the programs"):
            reply = aws.dynamodb().batch_get_item(RequestItems=request)
        found += reply["Responses"].get(settings.programs_table, [])
        request = reply.get("UnprocessedKeys")
        if not request:
            return found
        time.sleep(aws.pause(attempt))
    raise Unavailable("the programs: throttled")


def every(settings: ProgramSettings) -> Iterator[Program]:
    """Read all programs with their gates, in no order (it scans the table).

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
            FilterExpression="#item IN (:connection, :gate)",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":connection": {"S": "connection"}, ":gate": {"S": "gate"}},
            ConsistentRead=True,
        )
    )
    with aws.reaching("the programs"):
        found = [item for page in pages for item in page["Items"]]
    return iter(_gated(found))


def save(
    settings: ProgramSettings,
    before: Program | None,
    program: str,
    connection: Connection,
    new_secrets: Mapping[str, str],
    *,
    new_workspace: bool = False,
) -> Program:
    """Store a program's connection.

    Parameters
    ----------
    before
        The program as it was read before the change; None when it is new.
    new_secrets
        Secrets to set, in the clear; the others stay as they were.
    new_workspace
        Forget what was sent so far, although endpoint and workspace id stay the same. Another of them always does, and
        so does another way to name Braze's users, or that unknown ones are no longer left out.

    Raises
    ------
    Conflict
        When `before` is no longer what is stored, or what is stored of a deleted program of this id is being removed.
    Unavailable
        When KMS or DynamoDB does not do it.
    """
    closed = dict(before.secrets) if before else {}
    if STATE_KEY not in closed:
        new_secrets = {**new_secrets, STATE_KEY: randomness.token_hex(32)}
    for name, secret in new_secrets.items():
        closed[name] = Secret(encrypt(settings.secrets_key, program, secret), secret[-4:] if len(secret) >= 12 else "")
    moved = before is not None and (isinstance(before.stored, str) or _moved(before.stored, connection))
    deleted = None if before else deletion.find(settings, program)
    # A program that is made anew must not meet what the ledger knows of the one before.
    destination_version = (
        before.destination_version
        if before
        else max(int(time.time()), deleted.destination_version + 1 if deleted else 0)
    )
    saved = Program(
        id=program,
        stored=connection,
        version=before.version + 1 if before else 1,
        destination_version=destination_version + 1 if moved or new_workspace else destination_version,
        since=before.since if before else _milliseconds(time.time()) if deleted else None,
        secrets=closed,
    )
    condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(program)"}
    if before:
        condition = {
            "ConditionExpression": "version = :seen",
            "ExpressionAttributeValues": {":seen": {"N": str(before.version)}},
        }
    item = _closed(saved)
    client = aws.dynamodb()
    changed = client.exceptions.ConditionalCheckFailedException
    try:
        with aws.reaching("the programs", but=changed):
            client.put_item(
                TableName=settings.programs_table,
                Item=item,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **condition,
            )
    except changed as failed:
        # What is stored may be what we have written: the client repeats a write whose reply was lost.
        if cast("Mapping[str, Any]", failed.response).get("Item") != item:
            raise Conflict(conflict_message(program)) from None
    finally:
        recent.forget(settings.programs_table, program)
    return saved


def conflict_message(program: str) -> str:
    """Return the text of the error for a save over a change that the operator has not seen."""
    return f"{program} has changed since you read it; read it again, then save"


def delete(settings: ProgramSettings, program: str) -> Deletion:
    """Make a program unknown at once; what the delivery stores of it is removed after that, and its id is free then.

    Raises
    ------
    Unavailable
        DynamoDB does not delete all of it in this table; if it took the beginning, the schedule goes on.
    """
    begun = deletion.begin(settings, program)
    recent.forget(settings.programs_table, program)
    return begun


def _moved(before: Connection, after: Connection) -> bool:
    """Tell whether what was sent so far went to other users than what will be sent, or not to all of them."""
    left_out = before.engagement.rules.update_existing_only and not after.engagement.rules.update_existing_only
    users = [it.engagement.users(it.loyalty.member_label) for it in (before, after)]
    return bool(before.engagement.api_endpoint) and (left_out or users[0] != users[1])


def _gated(items: Sequence[Mapping[str, Any]]) -> list[Program]:
    """Put the programs' connections and gates together."""
    gates = {item["program"]["S"]: delivery_state.from_item(item) for item in items if item["item"]["S"] == "gate"}
    connected = [_opened(item) for item in items if item["item"]["S"] == "connection"]
    return [
        replace(program, delivery_state=gates.get(program.id, delivery_state.DeliveryState())) for program in connected
    ]


def _key(program: str, item: str) -> dict[str, Any]:
    return {"program": {"S": program}, "item": {"S": item}}


def _closed(program: Program) -> dict[str, Any]:
    return {
        **_key(program.id, "connection"),
        "version": {"N": str(program.version)},
        "destination_version": {"N": str(program.destination_version)},
        **({"since": {"N": str(int(program.since.timestamp() * 1000))}} if program.since else {}),
        "settings": {"S": msgspec.json.encode(program.connection).decode()},
        "secrets": {
            "M": {
                name: {"M": {"ciphertext": {"B": secret.ciphertext}, "last_four": {"S": secret.last_four}}}
                for name, secret in program.secrets.items()
            }
        },
    }


def _opened(item: Mapping[str, Any]) -> Program:
    """Read an item, which another version may have written: what is wrong with one program concerns no other."""
    try:
        secrets = {
            name: Secret(value["M"]["ciphertext"]["B"], value["M"]["last_four"]["S"])
            for name, value in item["secrets"]["M"].items()
        }
        return Program(
            id=item["program"]["S"],
            stored=decode(item["settings"]["S"]) if STATE_KEY in secrets else "the key of its hashes is missing",
            version=int(item["version"]["N"]),
            destination_version=int(item["destination_version"]["N"]),
            since=_milliseconds(int(item["since"]["N"]) / 1000) if "since" in item else None,
            secrets=secrets,
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"its item cannot be read ({type(error).__name__}): restore the table, or delete the program"
        return Program(item["program"]["S"], why)


def _milliseconds(time: float) -> datetime:
    return datetime.fromtimestamp(int(time * 1000) / 1000, UTC)
