"""What an operator can do: the same for the page, for its API, and for the command line.

Everything asks first whether the operator may: another operator's program does not exist. Every change leaves its line
in the audit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

from loyalty_bridge import activity
from loyalty_bridge.actions import decisions, idempotency
from loyalty_bridge.errors import Invalid, NotConnected, NotFound
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.operations import explain, members, redrive, sample_event, trace
from loyalty_bridge.operations import programs as administer
from loyalty_bridge.operations.audit import audited, lines
from loyalty_bridge.parking import parked_records, removal
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import api_keys, deletion, repository
from loyalty_bridge.programs.connection import Program, program_id

if TYPE_CHECKING:
    from loyalty_bridge.activity import Day, ErrorLine, ErrorPage, FieldCount
    from loyalty_bridge.operations.inputs import WhichErrors
    from loyalty_bridge.operations.operators import Operator
    from loyalty_bridge.operations.redrive import Moved, Which
    from loyalty_bridge.settings import OperatorSettings

SHOWN = 200
"""Most rows of a list; redrive and drop act on all records that `Which` selects."""
SHOWN_BYTES = 1_000_000
"""Most bytes of a list, as JSON: Lambda answers 6 MB, and a page writes a character in up to five bytes.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
REDRIVE_SECONDS = 15.0
"""A page or API call begins no further bundle after this time: the gateway waits for 30 seconds."""


DELETE_SECONDS = 15.0
"""Of the 29 that an answer may take."""


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """An operator at work."""

    settings: OperatorSettings
    operator: Operator


def _known(desk: OperatorContext, program: str) -> str:
    """Check that a program may be seen, before it is known whether it is there."""
    try:
        name = program_id(program)
    except Invalid:
        name = ""
    if not name or not desk.operator.may(name):
        raise NotFound(f"there is no program {program[:64]}")
    return name


def _everything(desk: OperatorContext) -> None:
    if not desk.operator.all_programs:
        raise NotFound("there is no such thing")


def shelf(desk: OperatorContext, program: str) -> str:
    """Check whose records, statistics or errors are meant; those of unknown programs are for an operator of all.

    Raises
    ------
    NotFound
        There is no such program for this operator.
    """
    if program == UNKNOWN_PROGRAM:
        _everything(desk)
        return program
    return find(desk, program).id


# Programs and their connections.


def programs(desk: OperatorContext) -> list[Program]:
    """List the operator's programs."""
    if desk.operator.all_programs:
        return sorted(repository.every(desk.settings), key=lambda program: program.id)
    found = repository.load(desk.settings, desk.operator.programs) if desk.operator.programs else {}
    return sorted(found.values(), key=lambda program: program.id)


def waiting(desk: OperatorContext, program: Program) -> dict[str, int]:
    """Count what waits for somebody or something: held and refused records, actions without a known outcome."""
    return {
        "held": sum(bundle.count for bundle in parked_records.batches(desk.settings, "held", program.id)),
        "rejected": sum(bundle.count for bundle in parked_records.batches(desk.settings, "rejected", program.id)),
        "unknown": len(idempotency.open_actions(desk.settings, program.id)),
    }


def find(desk: OperatorContext, program: str) -> Program:
    """Read a program.

    Raises
    ------
    NotFound
        There is none, for this operator.
    """
    return repository.find(desk.settings, _known(desk, program))


def save(
    desk: OperatorContext,
    program: str,
    change: Mapping[str, Any],
    secrets: Any,
    seen: int | None,
    *,
    new_workspace: bool = False,
) -> Program:
    """Create a program (`seen` is 0), or change what is told and leave the rest (`seen` None: whatever it is).

    Raises
    ------
    Invalid
        Naming the field that is wrong.
    Conflict
        Somebody else saved it since it was seen.
    """
    given = secrets if isinstance(secrets, Mapping) else ()
    names = sorted([*_paths(change), *(f"secrets.{name}" for name in given)])
    with audited(desk.settings, desk.operator, "save_connection", _known(desk, program_id(program)), ", ".join(names)):
        return administer.put(desk.settings, program, change, secrets, seen=seen, new_workspace=new_workspace)


def _paths(change: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in change.items():
        found += _paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found


def delete(desk: OperatorContext, program: str) -> None:
    """Delete a program with its keys, records and members; what takes longer, the schedule ends."""
    name = _known(desk, program)
    if not deletion.is_under_way(desk.settings, name):
        find(desk, name)
    with audited(desk.settings, desk.operator, "delete_program", name):
        removal.delete(desk.settings, name, DELETE_SECONDS)


def resume(desk: OperatorContext, program: str) -> None:
    """Let held records pass from the next minute on.

    Raises
    ------
    NotConnected
        The program is not held.
    """
    found = find(desk, program)
    with audited(desk.settings, desk.operator, "resume", found.id):
        administer.resume(desk.settings, found)


def test_connection(desk: OperatorContext, program: str) -> dict[str, Any]:
    """Ask the destination whether it takes the key, by a request that changes nothing."""
    found = find(desk, program)
    if missing := found.missing():
        raise NotConnected(f"missing: {', '.join(missing)}")
    return {"works": check_connection(found)}


def send_sample(desk: OperatorContext, program: str, member: str) -> dict[str, Any]:
    """Send the sample event for a (test) member; gives what the destination answers."""
    found = find(desk, program)
    with audited(desk.settings, desk.operator, "send_sample", found.id):
        return sample_event.send_sample(found, member)


# Keys.


def list_keys(desk: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List a program's keys, oldest first."""
    return [api_keys.row(key) for key in api_keys.list_all(desk.settings, find(desk, program).id)]


def create_key(
    desk: OperatorContext, program: str, name: str, scopes: Collection[str] = api_keys.SCOPES
) -> dict[str, Any]:
    """Make a key; it is in this answer and never again."""
    found = find(desk, program)
    with audited(desk.settings, desk.operator, "create_key", found.id):
        key, known = api_keys.create(desk.settings, found.id, name, scopes)
    return {"key": key, **api_keys.row(known)}


def revoke_key(desk: OperatorContext, program: str, key: str) -> None:
    """Revoke a key: the next call with it is refused."""
    found = find(desk, program)
    with audited(desk.settings, desk.operator, "revoke_key", found.id, key):
        api_keys.revoke(desk.settings, found.id, key)


# What happened.


def explain_record(desk: OperatorContext, program: str, record: bytes) -> dict[str, Any]:
    """Tell what a record would become, without sending it."""
    return explain.explain(desk.settings, record, find(desk, program).id)


def trace_id(desk: OperatorContext, program: str, name: str) -> dict[str, Any]:
    """Tell what happened to an event, or to a member's events."""
    return trace.trace(desk.settings, find(desk, program), name)


def statistics(desk: OperatorContext, program: str, days: int) -> list[Day]:
    """Tell what a program did on each of the last days (UTC)."""
    return activity.statistics(desk.settings, shelf(desk, program), days)


def unknown_fields(desk: OperatorContext, program: str, days: int) -> list[FieldCount]:
    """List the fields of a program's events that its mapping does not name."""
    return activity.unknown_fields(desk.settings, shelf(desk, program), days)


def errors(desk: OperatorContext, program: str, which: WhichErrors, limit: int = 100) -> ErrorPage:
    """List a program's errors, the latest first."""
    return activity.errors(desk.settings, shelf(desk, program), limit=limit, **dict(which))


def error(desk: OperatorContext, program: str, line: str) -> ErrorLine:
    """Show equal errors of one day.

    Raises
    ------
    NotFound
        There are none of that id.
    """
    try:
        day = date.fromisoformat(line[:10])
    except ValueError:
        raise NotFound("there is no such error") from None
    of_day = activity.errors(desk.settings, shelf(desk, program), since=day, until=day, limit=1000).lines
    found = next((one for one in of_day if one.id == line), None)
    if found is None:
        raise NotFound("there is no such error")
    return found


def list_actions(desk: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List the actions whose outcome is unknown, oldest first."""
    return fitting(decisions.row(record) for record in idempotency.open_actions(desk.settings, find(desk, program).id))


def show_action(desk: OperatorContext, program: str, action: str) -> dict[str, Any]:
    """Tell what is known of an action."""
    return decisions.described(decisions.find(desk.settings, find(desk, program).id, action))


def decide(desk: OperatorContext, program: str, action: str, *, happened: bool, result: str) -> None:
    """End an action whose outcome is unknown; when it did not happen, its next repeat, or its batch, carries it out.

    Raises
    ------
    Invalid
        It happened, and what repeats are to be answered with is not told.
    Conflict
        Its outcome is known meanwhile.
    """
    record = decisions.find(desk.settings, find(desk, program).id, action)
    ended = decisions.answer(record, result, happened=happened)
    what = "decide_happened" if happened else "decide_did_not_happen"
    with audited(desk.settings, desk.operator, what, program, action):
        decisions.decide(desk.settings, record, ended)


def list_held(desk: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List what is held, in order."""
    return [
        parked_records.row(bundle)
        for bundle in parked_records.batches(desk.settings, "held", find(desk, program).id, limit=SHOWN)
    ]


def list_refused(desk: OperatorContext, program: str, which: Which) -> list[dict[str, Any]]:
    """List refused records with their reasons."""
    return fitting(redrive.rows(desk.settings, shelf(desk, program), which))


def fitting(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take the first rows, as many as an answer holds."""
    taken: list[dict[str, Any]] = []
    size = 0
    for row in islice(rows, SHOWN):
        size += len(json.dumps(row))
        if taken and size > SHOWN_BYTES:
            break
        taken.append(row)
    return taken


def show_refused(desk: OperatorContext, program: str, event_id: str) -> dict[str, Any]:
    """Show a refused record itself: a member's data, so that the audit names who looked."""
    with audited(desk.settings, desk.operator, "show_refused", shelf(desk, program), event_id):
        return redrive.described(desk.settings, program, event_id)


def redrive_refused(desk: OperatorContext, program: str, which: Which, seconds: float = REDRIVE_SECONDS) -> Moved:
    """Put refused records on the event queue or stream again, as many bundles as there is time for."""
    with audited(desk.settings, desk.operator, "redrive_refused", shelf(desk, program), _about(which)):
        return redrive.redrive(desk.settings, program, which, seconds)


def drop_refused(desk: OperatorContext, program: str, which: Which, seconds: float = REDRIVE_SECONDS) -> Moved:
    """Delete refused records for good, as many bundles as there is time for."""
    with audited(desk.settings, desk.operator, "drop_refused", shelf(desk, program), _about(which)):
        return redrive.drop(desk.settings, program, which, seconds)


def _about(which: Which) -> str:
    return f"since {which.since}, until {which.until}" + (f", reason {which.reason}" if which.reason else "")


def crashed(desk: OperatorContext) -> dict[str, int]:
    """Count what crashed the forwarder."""
    _everything(desk)
    return redrive.crashed(desk.settings)


def redrive_crashed(desk: OperatorContext, seconds: float = REDRIVE_SECONDS) -> Moved:
    """Put records that crashed the forwarder on the event queue or stream again."""
    _everything(desk)
    with audited(desk.settings, desk.operator, "redrive_crashed"):
        return redrive.redrive_crashed(desk.settings, seconds)


# Members, and the audit.


def resync_member(desk: OperatorContext, program: str, member: str) -> None:
    """Let the next event of a member send all attributes that it tells."""
    with audited(desk.settings, desk.operator, "resync_member", find(desk, program).id):
        members.resync(desk.settings, program, member)


def forget_member(desk: OperatorContext, program: str, member: str) -> None:
    """Remove what is remembered of a member."""
    with audited(desk.settings, desk.operator, "forget_member", find(desk, program).id):
        members.forget(desk.settings, program, member)


def audit(desk: OperatorContext, program: str) -> list[dict[str, str]]:
    """List what was changed of a program, newest first; what was changed of all is for an operator of all.

    Raises
    ------
    NotFound
        There is no such program for this operator, and there was none.
    """
    if program == UNKNOWN_PROGRAM:
        _everything(desk)
        return lines(desk.settings, program)
    found = lines(desk.settings, _known(desk, program))
    if not found:
        find(desk, program)  # a deleted program has its lines still
    return found
