"""What an operator can do: the same for the page, for its API, and for the command line.

Everything asks first whether the operator may: another operator's program does not exist. Every change leaves its line
in the audit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

from loyalty_bridge import activity
from loyalty_bridge.actions import decisions, idempotency_store
from loyalty_bridge.errors import Invalid, NotConnected, NotFound
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.operations import explain, members, programs, redrive, sample_event, trace
from loyalty_bridge.operations.audit import audited, list_lines
from loyalty_bridge.parking import parked_records, removal
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import api_keys, deletion, repository
from loyalty_bridge.programs.connection import Program, program_id

if TYPE_CHECKING:
    from loyalty_bridge.activity import Day, ErrorLine, ErrorPage, FieldCount
    from loyalty_bridge.operations.context import OperatorContext
    from loyalty_bridge.operations.inputs import ErrorSelection
    from loyalty_bridge.operations.redrive import Moved, RecordFilter

SHOWN = 200
"""Most rows of a list; redrive and drop act on all records that `RecordFilter` selects."""
SHOWN_BYTES = 1_000_000
"""Most bytes of a list, as JSON: Lambda answers 6 MB, and a page writes a character in up to five bytes.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
REDRIVE_SECONDS = 15.0
"""A page or API call begins no further bundle after this time: the gateway waits for 30 seconds."""


DELETE_SECONDS = 15.0
"""Of the 29 that an answer may take."""


def require_access(ctx: OperatorContext, program: str) -> str:
    """Check that a program may be seen, before it is known whether it is there."""
    try:
        name = program_id(program)
    except Invalid:
        name = ""
    if not name or not ctx.operator.may(name):
        raise NotFound(f"there is no program {program[:64]}")
    return name


def require_all_programs(ctx: OperatorContext) -> None:
    if not ctx.operator.all_programs:
        raise NotFound("there is no such thing")


def require_scope(ctx: OperatorContext, program: str) -> str:
    """Check whose records, statistics or errors are meant; those of unknown programs are for an operator of all.

    Raises
    ------
    NotFound
        There is no such program for this operator.
    """
    if program == UNKNOWN_PROGRAM:
        require_all_programs(ctx)
        return program
    return find_program(ctx, program).id


# Programs and their connections.


def list_programs(ctx: OperatorContext) -> list[Program]:
    """List the operator's programs."""
    if ctx.operator.all_programs:
        return sorted(repository.every(ctx.settings), key=lambda program: program.id)
    found = repository.load(ctx.settings, ctx.operator.programs) if ctx.operator.programs else {}
    return sorted(found.values(), key=lambda program: program.id)


def count_open(ctx: OperatorContext, program: Program) -> dict[str, int]:
    """Count what waits for somebody or something: held and refused records, actions without a known outcome."""
    return {
        "held": sum(bundle.count for bundle in parked_records.batches(ctx.settings, "held", program.id)),
        "rejected": sum(bundle.count for bundle in parked_records.batches(ctx.settings, "rejected", program.id)),
        "unknown": len(idempotency_store.list_unknown(ctx.settings, program.id)),
    }


def find_program(ctx: OperatorContext, program: str) -> Program:
    """Read a program.

    Raises
    ------
    NotFound
        There is none, for this operator.
    """
    return repository.find(ctx.settings, require_access(ctx, program))


def save_connection(
    ctx: OperatorContext,
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
    names = sorted([*_changed_paths(change), *(f"secrets.{name}" for name in given)])
    with audited(ctx, "save_connection", require_access(ctx, program_id(program)), ", ".join(names)):
        return programs.save(ctx.settings, program, change, secrets, seen=seen, new_workspace=new_workspace)


def _changed_paths(change: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in change.items():
        found += _changed_paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found


def delete_program(ctx: OperatorContext, program: str) -> None:
    """Delete a program with its keys, records and members; what takes longer, the schedule ends."""
    name = require_access(ctx, program)
    if not deletion.is_under_way(ctx.settings, name):
        find_program(ctx, name)
    with audited(ctx, "delete_program", name):
        removal.delete(ctx.settings, name, DELETE_SECONDS)


def release_held(ctx: OperatorContext, program: str) -> None:
    """Release held records from the next minute on.

    Raises
    ------
    NotConnected
        The program is not held.
    """
    found = find_program(ctx, program)
    with audited(ctx, "release_held", found.id):
        programs.release(ctx.settings, found)


def test_connection(ctx: OperatorContext, program: str) -> dict[str, Any]:
    """Ask the destination whether it takes the key, by a request that changes nothing."""
    found = find_program(ctx, program)
    if missing := found.missing():
        raise NotConnected(f"missing: {', '.join(missing)}")
    return {"works": check_connection(found)}


def send_sample(ctx: OperatorContext, program: str, member: str) -> dict[str, Any]:
    """Send the sample event for a (test) member; gives what the destination answers."""
    found = find_program(ctx, program)
    with audited(ctx, "send_sample", found.id):
        return sample_event.send_sample(found, member)


# Keys.


def list_keys(ctx: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List a program's keys, oldest first."""
    return [api_keys.row(key) for key in api_keys.list_all(ctx.settings, find_program(ctx, program).id)]


def create_key(
    ctx: OperatorContext, program: str, name: str, scopes: Collection[str] = api_keys.SCOPES
) -> dict[str, Any]:
    """Make a key; it is in this answer and never again."""
    found = find_program(ctx, program)
    with audited(ctx, "create_key", found.id):
        key, known = api_keys.create(ctx.settings, found.id, name, scopes)
    return {"key": key, **api_keys.row(known)}


def revoke_key(ctx: OperatorContext, program: str, key: str) -> None:
    """Revoke a key: the next call with it is refused."""
    found = find_program(ctx, program)
    with audited(ctx, "revoke_key", found.id, key):
        api_keys.revoke(ctx.settings, found.id, key)


# What happened.


def explain_record(ctx: OperatorContext, program: str, record: bytes) -> dict[str, Any]:
    """Tell what a record would become, without sending it."""
    return explain.explain(ctx.settings, record, find_program(ctx, program).id)


def trace_id(ctx: OperatorContext, program: str, name: str) -> dict[str, Any]:
    """Tell what happened to an event, or to a member's events."""
    return trace.trace(ctx.settings, find_program(ctx, program), name)


def load_statistics(ctx: OperatorContext, program: str, days: int) -> list[Day]:
    """Tell what a program did on each of the last days (UTC)."""
    return activity.statistics(ctx.settings, require_scope(ctx, program), days)


def list_unknown_fields(ctx: OperatorContext, program: str, days: int) -> list[FieldCount]:
    """List the fields of a program's events that its mapping does not name."""
    return activity.unknown_fields(ctx.settings, require_scope(ctx, program), days)


def list_errors(ctx: OperatorContext, program: str, which: ErrorSelection, limit: int = 100) -> ErrorPage:
    """List a program's errors, the latest first."""
    return activity.errors(ctx.settings, require_scope(ctx, program), limit=limit, **dict(which))


def find_error(ctx: OperatorContext, program: str, line: str) -> ErrorLine:
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
    of_day = activity.errors(ctx.settings, require_scope(ctx, program), since=day, until=day, limit=1000).lines
    found = next((one for one in of_day if one.id == line), None)
    if found is None:
        raise NotFound("there is no such error")
    return found


def list_actions(ctx: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List the actions whose outcome is unknown, oldest first."""
    return fit_rows(
        decisions.row(record) for record in idempotency_store.list_unknown(ctx.settings, find_program(ctx, program).id)
    )


def show_action(ctx: OperatorContext, program: str, action: str) -> dict[str, Any]:
    """Tell what is known of an action."""
    return decisions.to_dict(decisions.find(ctx.settings, find_program(ctx, program).id, action))


def decide_action(ctx: OperatorContext, program: str, action: str, *, happened: bool, result: str) -> None:
    """End an action whose outcome is unknown; when it did not happen, its next repeat, or its batch, carries it out.

    Raises
    ------
    Invalid
        It happened, and what repeats are to be answered with is not told.
    Conflict
        Its outcome is known meanwhile.
    """
    record = decisions.find(ctx.settings, find_program(ctx, program).id, action)
    ended = decisions.answer(record, result, happened=happened)
    what = "decide_happened" if happened else "decide_did_not_happen"
    with audited(ctx, what, program, action):
        decisions.decide(ctx.settings, record, ended)


def list_held(ctx: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List what is held, in order."""
    return [
        parked_records.row(bundle)
        for bundle in parked_records.batches(ctx.settings, "held", find_program(ctx, program).id, limit=SHOWN)
    ]


def list_rejected(ctx: OperatorContext, program: str, which: RecordFilter) -> list[dict[str, Any]]:
    """List refused records with their reasons."""
    return fit_rows(redrive.rows(ctx.settings, require_scope(ctx, program), which))


def fit_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take the first rows, as many as an answer holds."""
    taken: list[dict[str, Any]] = []
    size = 0
    for row in islice(rows, SHOWN):
        size += len(json.dumps(row))
        if taken and size > SHOWN_BYTES:
            break
        taken.append(row)
    return taken


def show_rejected(ctx: OperatorContext, program: str, event_id: str) -> dict[str, Any]:
    """Show a refused record itself: a member's data, so that the audit names who looked."""
    with audited(ctx, "show_rejected", require_scope(ctx, program), event_id):
        return redrive.describe(ctx.settings, program, event_id)


def redrive_rejected(
    ctx: OperatorContext, program: str, which: RecordFilter, seconds: float = REDRIVE_SECONDS
) -> Moved:
    """Put refused records on the event queue or stream again, as many bundles as there is time for."""
    with audited(ctx, "redrive_rejected", require_scope(ctx, program), _selection_text(which)):
        return redrive.redrive(ctx.settings, program, which, seconds)


def drop_rejected(ctx: OperatorContext, program: str, which: RecordFilter, seconds: float = REDRIVE_SECONDS) -> Moved:
    """Delete refused records for good, as many bundles as there is time for."""
    with audited(ctx, "drop_rejected", require_scope(ctx, program), _selection_text(which)):
        return redrive.drop(ctx.settings, program, which, seconds)


def _selection_text(which: RecordFilter) -> str:
    return f"since {which.since}, until {which.until}" + (f", reason {which.reason}" if which.reason else "")


def count_dead_letters(ctx: OperatorContext) -> dict[str, int]:
    """Count the dead letters."""
    require_all_programs(ctx)
    return redrive.count_dead_letters(ctx.settings)


def redrive_dead_letters(ctx: OperatorContext, seconds: float = REDRIVE_SECONDS) -> Moved:
    """Put the dead letters back on the event queue or stream."""
    require_all_programs(ctx)
    with audited(ctx, "redrive_dead_letters"):
        return redrive.redrive_dead_letters(ctx.settings, seconds)


# Members, and the audit.


def resync_member(ctx: OperatorContext, program: str, member: str) -> None:
    """Let the next event of a member send all attributes that it tells."""
    with audited(ctx, "resync_member", find_program(ctx, program).id):
        members.resync(ctx.settings, program, member)


def forget_member(ctx: OperatorContext, program: str, member: str) -> None:
    """Remove what is remembered of a member."""
    with audited(ctx, "forget_member", find_program(ctx, program).id):
        members.forget(ctx.settings, program, member)


def list_audit(ctx: OperatorContext, program: str) -> list[dict[str, str]]:
    """List what was changed of a program, newest first; what was changed of all is for an operator of all.

    Raises
    ------
    NotFound
        There is no such program for this operator, and there was none.
    """
    if program == UNKNOWN_PROGRAM:
        require_all_programs(ctx)
        return list_lines(ctx.settings, program)
    found = list_lines(ctx.settings, require_access(ctx, program))
    if not found:
        find_program(ctx, program)  # a deleted program has its lines still
    return found
