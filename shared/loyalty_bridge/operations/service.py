"""The use cases of operators, which page, API and command line share.

Each checks the operator's access first: a program of another operator is reported as missing. Each change is written to
the audit.
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
from loyalty_bridge.programs.connection import Program, check_program_id

if TYPE_CHECKING:
    from loyalty_bridge.activity import Day, ErrorLine, ErrorPage, FieldCount
    from loyalty_bridge.operations.context import OperatorContext
    from loyalty_bridge.operations.inputs import ErrorSelection
    from loyalty_bridge.operations.redrive import Moved, RecordFilter

SHOWN = 200
"""Rows of a list. Redrive and drop act on all records that `RecordFilter` selects."""
SHOWN_BYTES = 1_000_000
"""Bytes of a list, as JSON: Lambda returns at most 6 MB, and a page writes a character in up to five bytes.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
REDRIVE_SECONDS = 15.0
"""Time after which a page or API call begins no further parked batch; the gateway waits for 30 seconds."""
DELETE_SECONDS = 15.0
"""Time that a deletion takes before it answers; the schedule continues it."""


def require_access(ctx: OperatorContext, program: str) -> str:
    """Return the program's id if the operator may see it, whether or not the program exists."""
    try:
        name = check_program_id(program)
    except Invalid:
        name = ""
    if not name or not ctx.operator.may(name):
        raise NotFound(f"there is no program {program[:64]}")
    return name


def require_all_programs(ctx: OperatorContext) -> None:
    if not ctx.operator.all_programs:
        raise NotFound("there is no such thing")


def require_scope(ctx: OperatorContext, program: str) -> str:
    """Return the id of a program, or `UNKNOWN_PROGRAM` for an operator of all programs.

    Raises
    ------
    NotFound
        The program does not exist, or belongs to another operator.
    """
    if program == UNKNOWN_PROGRAM:
        require_all_programs(ctx)
        return program
    return find_program(ctx, program).id


# Programs and their connections.


def list_programs(ctx: OperatorContext) -> list[Program]:
    """List the operator's programs."""
    if ctx.operator.all_programs:
        return sorted(repository.load_all(ctx.settings), key=lambda program: program.id)
    found = repository.load(ctx.settings, ctx.operator.programs) if ctx.operator.programs else {}
    return sorted(found.values(), key=lambda program: program.id)


def count_open(ctx: OperatorContext, program: Program) -> dict[str, int]:
    """Count held records, rejected records, and actions whose outcome is unknown."""
    return {
        "held": sum(bundle.count for bundle in parked_records.batches(ctx.settings, "held", program.id)),
        "rejected": sum(bundle.count for bundle in parked_records.batches(ctx.settings, "rejected", program.id)),
        "unknown": len(idempotency_store.list_unknown(ctx.settings, program.id)),
    }


def find_program(ctx: OperatorContext, program: str) -> Program:
    """Load a program.

    Raises
    ------
    NotFound
        The program does not exist, or belongs to another operator.
    """
    return repository.find(ctx.settings, require_access(ctx, program))


def save_connection(
    ctx: OperatorContext,
    program: str,
    change: Mapping[str, Any],
    secrets: Any,
    version: int | None,
    *,
    new_workspace: bool = False,
) -> Program:
    """Create a program, or change the settings that are given.

    Parameters
    ----------
    version
        The version that the operator has read; 0 for a new program; None to skip the check.

    Raises
    ------
    Invalid
        A field is invalid.
    Conflict
        The program was saved by someone else since then.
    """
    given = secrets if isinstance(secrets, Mapping) else ()
    names = sorted([*_changed_paths(change), *(f"secrets.{name}" for name in given)])
    with audited(ctx, "save_connection", require_access(ctx, check_program_id(program)), ", ".join(names)):
        return programs.save(ctx.settings, program, change, secrets, version=version, new_workspace=new_workspace)


def _changed_paths(change: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in change.items():
        found += _changed_paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found


def delete_program(ctx: OperatorContext, program: str) -> None:
    """Delete a program with its keys, parked records and member data; the schedule continues a long deletion."""
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
    """Check that the destination accepts the key, with a request that changes nothing."""
    found = find_program(ctx, program)
    if missing := found.missing():
        raise NotConnected(f"missing: {', '.join(missing)}")
    return {"works": check_connection(found)}


def send_sample(ctx: OperatorContext, program: str, member: str) -> dict[str, Any]:
    """Send the sample event for a test member, and return the destination's answer."""
    found = find_program(ctx, program)
    with audited(ctx, "send_sample", found.id):
        return sample_event.send_sample(found, member)


# Keys.


def list_keys(ctx: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List a program's keys, oldest first."""
    return [api_keys.to_dict(key) for key in api_keys.list_all(ctx.settings, find_program(ctx, program).id)]


def create_key(
    ctx: OperatorContext, program: str, name: str, scopes: Collection[str] = api_keys.SCOPES
) -> dict[str, Any]:
    """Create a key. Only this answer contains it."""
    found = find_program(ctx, program)
    with audited(ctx, "create_key", found.id):
        key, known = api_keys.create(ctx.settings, found.id, name, scopes)
    return {"key": key, **api_keys.to_dict(known)}


def revoke_key(ctx: OperatorContext, program: str, key: str) -> None:
    """Revoke a key. The next call with it gets a 401."""
    found = find_program(ctx, program)
    with audited(ctx, "revoke_key", found.id, key):
        api_keys.revoke(ctx.settings, found.id, key)


# What happened.


def explain_record(ctx: OperatorContext, program: str, record: bytes) -> dict[str, Any]:
    """Preview a record without sending it."""
    return explain.explain(ctx.settings, record, find_program(ctx, program).id)


def trace_id(ctx: OperatorContext, program: str, name: str) -> dict[str, Any]:
    """Trace an event, or the events of a member."""
    return trace.trace(ctx.settings, find_program(ctx, program), name)


def load_statistics(ctx: OperatorContext, program: str, days: int) -> list[Day]:
    """Load the counters of the last days (UTC)."""
    return activity.statistics(ctx.settings, require_scope(ctx, program), days)


def list_unknown_fields(ctx: OperatorContext, program: str, days: int) -> list[FieldCount]:
    """List the fields of events that the mapping does not name."""
    return activity.unknown_fields(ctx.settings, require_scope(ctx, program), days)


def list_errors(ctx: OperatorContext, program: str, which: ErrorSelection, limit: int = 100) -> ErrorPage:
    """List errors, latest first."""
    return activity.errors(ctx.settings, require_scope(ctx, program), limit=limit, **dict(which))


def find_error(ctx: OperatorContext, program: str, line: str) -> ErrorLine:
    """Return one line of the error history: equal errors of one day.

    Raises
    ------
    NotFound
        There is no line with that id.
    """
    try:
        day = date.fromisoformat(line[:10])
    except ValueError:
        raise NotFound("there is no such error") from None
    of_day = activity.errors(ctx.settings, require_scope(ctx, program), since=day, until=day, limit=1000).lines
    error = next((error for error in of_day if error.id == line), None)
    if error is None:
        raise NotFound("there is no such error")
    return error


def list_actions(ctx: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List the actions whose outcome is unknown, oldest first."""
    return fit_rows(
        decisions.row(record) for record in idempotency_store.list_unknown(ctx.settings, find_program(ctx, program).id)
    )


def show_action(ctx: OperatorContext, program: str, action: str) -> dict[str, Any]:
    """Describe an action."""
    return decisions.to_dict(decisions.find(ctx.settings, find_program(ctx, program).id, action))


def decide_action(ctx: OperatorContext, program: str, action: str, *, happened: bool, result: str) -> None:
    """Decide the outcome of an action. If it did not happen, its next repeat or its batch carries it out.

    Raises
    ------
    Invalid
        The action happened, and `result` is missing.
    Conflict
        The outcome is known by now.
    """
    record = decisions.find(ctx.settings, find_program(ctx, program).id, action)
    ended = decisions.answer(record, result, happened=happened)
    what = "decide_happened" if happened else "decide_did_not_happen"
    with audited(ctx, what, program, action):
        decisions.decide(ctx.settings, record, ended)


def list_held(ctx: OperatorContext, program: str) -> list[dict[str, Any]]:
    """List the held records, in order."""
    return [
        parked_records.row(bundle)
        for bundle in parked_records.batches(ctx.settings, "held", find_program(ctx, program).id, limit=SHOWN)
    ]


def list_rejected(ctx: OperatorContext, program: str, which: RecordFilter) -> list[dict[str, Any]]:
    """List rejected records with their reasons."""
    return fit_rows(redrive.rows(ctx.settings, require_scope(ctx, program), which))


def fit_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first rows, as many as fit into an answer."""
    fitting: list[dict[str, Any]] = []
    size = 0
    for row in islice(rows, SHOWN):
        size += len(json.dumps(row))
        if fitting and size > SHOWN_BYTES:
            break
        fitting.append(row)
    return fitting


def show_rejected(ctx: OperatorContext, program: str, event_id: str) -> dict[str, Any]:
    """Return a rejected record. It contains personal data, so the audit records who looked."""
    with audited(ctx, "show_rejected", require_scope(ctx, program), event_id):
        return redrive.describe(ctx.settings, program, event_id)


def redrive_rejected(
    ctx: OperatorContext, program: str, which: RecordFilter, seconds: float = REDRIVE_SECONDS
) -> Moved:
    """Put rejected records back on the event queue or stream, as many as `seconds` allow."""
    with audited(ctx, "redrive_rejected", require_scope(ctx, program), _selection_text(which)):
        return redrive.redrive(ctx.settings, program, which, seconds)


def drop_rejected(ctx: OperatorContext, program: str, which: RecordFilter, seconds: float = REDRIVE_SECONDS) -> Moved:
    """Delete rejected records, as many as `seconds` allow."""
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
    """Send all attributes with a member's next event, changed or not."""
    with audited(ctx, "resync_member", find_program(ctx, program).id):
        members.resync(ctx.settings, program, member)


def forget_member(ctx: OperatorContext, program: str, member: str) -> None:
    """Delete the data that is stored about a member."""
    with audited(ctx, "forget_member", find_program(ctx, program).id):
        members.forget(ctx.settings, program, member)


def list_audit(ctx: OperatorContext, program: str) -> list[dict[str, str]]:
    """List the changes of a program, also of a deleted one, newest first.

    Raises
    ------
    NotFound
        The program does not exist and never did, or belongs to another operator.
    """
    if program == UNKNOWN_PROGRAM:
        require_all_programs(ctx)
        return list_lines(ctx.settings, program)
    found = list_lines(ctx.settings, require_access(ctx, program))
    if not found:
        find_program(ctx, program)  # a deleted program has its lines still
    return found
