"""Programs in DynamoDB: one partition per program, its connection one item, its delivery state another."""

from __future__ import annotations

import secrets as randomness
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import index
from typing import TYPE_CHECKING, Any

import msgspec

from loyalty_bridge.errors import Conflict, NotFound
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.programs import deletion, delivery_state, recent
from loyalty_bridge.programs.connection import Connection, Program, Secret, decode
from loyalty_bridge.programs.secrets import encrypt

if TYPE_CHECKING:
    from loyalty_bridge.programs.deletion import Deletion
    from loyalty_bridge.settings import ProgramSettings

STATE_KEY = "state_key"
"""Name of the secret, made by the bridge, that keys the hashes of the attribute state."""
_READ_SECONDS = 1.0
"""A look-up has 1.5 seconds altogether."""


def load(settings: ProgramSettings, programs: Iterable[str]) -> dict[str, Program]:
    """Read programs with their delivery states, fifty in a round trip; unknown ones are absent from the answer."""
    keys = [_key(program, item) for program in sorted(set(programs)) for item in ("connection", "delivery_state")]
    return {program.id: program for program in _programs(_read(settings, keys))}


def find(settings: ProgramSettings, program: str) -> Program:
    """Read a program.

    Raises
    ------
    NotFound
        There is none of that id.
    """
    found = load(settings, [program]).get(program)
    if found is None:
        raise NotFound(f"there is no program {program}")
    return found


def load_with_items(
    settings: ProgramSettings, program: str, *others: str
) -> tuple[Program | None, dict[str, Mapping[str, Any]]]:
    """Read a program with its delivery state and other items, named by their sort keys, in one round trip."""
    found = _read(settings, [_key(program, item) for item in ("connection", "delivery_state", *others)])
    return next(iter(_programs(found)), None), {item["item"]: item for item in found}


def load_recent(
    settings: ProgramSettings, program: str, current: Sequence[str], lasting: Sequence[str]
) -> tuple[Program | None, dict[str, Mapping[str, Any]]]:
    """Read a program as `load_with_items` does, but use what this container has read in the last seconds.

    Parameters
    ----------
    current
        Sort keys of what is read each time.
    lasting
        Sort keys of what may be `recent.KEPT_SECONDS` old, like the program itself.
    """
    known = recent.get(settings.programs_table, program)
    if known and known[1].keys() >= set(lasting):
        found = {item["item"]: item for item in _read(settings, [_key(program, item) for item in current])}
        return known[0], {name: item for name, item in known[1].items() if item} | found
    read, found = load_with_items(settings, program, *current, *lasting)
    if read:
        recent.keep(settings.programs_table, read, {name: found.get(name, {}) for name in lasting})
    return read, found


def _read(settings: ProgramSettings, keys: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Read items of the programs' table; repeat for `_READ_SECONDS` what a busy partition leaves out."""
    wanted = [(settings.programs_table, dynamodb.to_item(key)) for key in keys]
    found = dynamodb.batch_get(wanted, time.monotonic() + _READ_SECONDS, first=0.02)
    return [dynamodb.from_item(item) for items in found.values() for item in items]


def load_all(settings: ProgramSettings) -> Iterator[Program]:
    """Read all programs with their delivery states, in no order (it scans the table)."""
    values = {":connection": "connection", ":state": "delivery_state"}
    items = dynamodb.scan(settings.programs_table, "#item IN (:connection, :state)", values)
    return iter(_programs([*items]))


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
    encrypted = dict(before.secrets) if before else {}
    if STATE_KEY not in encrypted:
        new_secrets = {**new_secrets, STATE_KEY: randomness.token_hex(32)}
    for name, secret in new_secrets.items():
        last_four = secret[-4:] if len(secret) >= 12 else ""
        encrypted[name] = Secret(encrypt(settings.secrets_key, program, secret), last_four)
    moved = before is not None and (isinstance(before.stored, str) or _moved(before.stored, connection))
    deleted = None if before else deletion.find(settings, program)
    # A new program of the same id must not find the delivery log of the deleted one.
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
        since=before.since if before else _to_milliseconds(time.time()) if deleted else None,
        secrets=encrypted,
    )
    item = _to_item(saved)
    try:
        stored = dynamodb.put(
            settings.programs_table,
            item,
            "version = :seen" if before else "attribute_not_exists(program)",
            {":seen": before.version} if before else None,
        )
    finally:
        recent.forget(settings.programs_table, program)
    # The stored item may be our own: the client repeats a write whose reply was lost.
    if stored not in (None, item):
        raise Conflict(conflict_message(program))
    return saved


def conflict_message(program: str) -> str:
    """Return the text of the error for a save over a change that the operator has not seen."""
    return f"{program} has changed since you read it; read it again, then save"


def delete(settings: ProgramSettings, program: str) -> Deletion:
    """Make a program unknown at once; what the delivery stores of it is removed after that, and its id is free then."""
    begun = deletion.begin(settings, program)
    recent.forget(settings.programs_table, program)
    return begun


def _moved(before: Connection, after: Connection) -> bool:
    """Return whether what was sent so far went to other users than what will be sent, or not to all of them."""
    left_out = before.engagement.rules.update_existing_only and not after.engagement.rules.update_existing_only
    users = [it.engagement.users(it.loyalty.member_label) for it in (before, after)]
    return bool(before.engagement.api_endpoint) and (left_out or users[0] != users[1])


def _programs(items: Sequence[Mapping[str, Any]]) -> list[Program]:
    """Join the programs' connections with their delivery states."""
    states = {item["program"]: delivery_state.from_item(item) for item in items if item["item"] == "delivery_state"}
    connected = [_from_item(item) for item in items if item["item"] == "connection"]
    return [
        replace(program, delivery_state=states.get(program.id, delivery_state.DeliveryState())) for program in connected
    ]


def _key(program: str, item: str) -> dict[str, Any]:
    return {"program": program, "item": item}


def _to_item(program: Program) -> dict[str, Any]:
    item = _key(program.id, "connection") | {
        "version": program.version,
        "destination_version": program.destination_version,
        "settings": msgspec.json.encode(program.connection).decode(),
        "secrets": {
            name: {"ciphertext": secret.ciphertext, "last_four": secret.last_four}
            for name, secret in program.secrets.items()
        },
    }
    return item | {"since": int(program.since.timestamp() * 1000)} if program.since else item


def _from_item(item: Mapping[str, Any]) -> Program:
    """Decode an item that any version may have written; an unreadable one makes its own program unreadable only."""
    try:
        secrets = {name: Secret(value["ciphertext"], value["last_four"]) for name, value in item["secrets"].items()}
        return Program(
            id=item["program"],
            stored=decode(item["settings"]) if STATE_KEY in secrets else "the key of its hashes is missing",
            version=index(item["version"]),
            destination_version=index(item["destination_version"]),
            since=_to_milliseconds(int(item["since"]) / 1000) if "since" in item else None,
            secrets=secrets,
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"its item cannot be read ({type(error).__name__}): restore the table, or delete the program"
        return Program(item["program"], reason)


def _to_milliseconds(seconds: float) -> datetime:
    """Return a time of whole milliseconds: the table stores no finer ones."""
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)
