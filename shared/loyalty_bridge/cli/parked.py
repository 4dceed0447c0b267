"""``bridge held``, ``bridge rejected`` and ``bridge dead-letters``: records that were not delivered."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.operations import redrive, service
from loyalty_bridge.operations.redrive import RecordFilter
from loyalty_bridge.parking import parked_records

held = typer.Typer(no_args_is_help=True, help="Records that wait until the connection of their program works again.")
rejected = typer.Typer(no_args_is_help=True, help="Records that the destination can never accept as they are.")
dead_letters = typer.Typer(no_args_is_help=True, help="Records that the forwarder failed on.")

ReasonOption = Annotated[str, typer.Option(help="Only records whose reason contains this text.")]
SinceOption = Annotated[datetime | None, typer.Option(help="Only records rejected at or after this time (UTC).")]
UntilOption = Annotated[datetime | None, typer.Option(help="Only records rejected at or before this time (UTC).")]
ScopeArgument = Annotated[str, typer.Argument(metavar="PROGRAM", help="Program id, or - for unattributed records.")]


@held.command("list")
def list_held(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List the held records, in order."""
    show(
        [parked_records.row(bundle) for bundle in parked_records.batches(stack.settings(), "held", find(program).id)],
        json_output,
    )


@held.command("release")
def release(program: ProgramArgument) -> None:
    """Release held records from the next minute on, without waiting for the check of the connection."""
    service.release_held(stack.context(), program)


@rejected.command("list")
def list_rejected(
    program: ScopeArgument,
    reason: ReasonOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    json_output: JsonOption = False,
) -> None:
    """List rejected records with their reasons and missing parts.

    Example: bridge rejected list demo --reason phone --since 2026-03-01
    """
    scope = service.require_scope(stack.context(), program)
    show(list(redrive.rows(stack.settings(), scope, _filter(reason, since, until))), json_output)


@rejected.command("show")
def show_rejected(program: ScopeArgument, event_id: Annotated[str, typer.Argument(metavar="EVENT_ID")]) -> None:
    """Show a rejected record. It contains personal data, and the audit records that you looked."""
    show(service.show_rejected(stack.context(), program, event_id), as_json=True)


@rejected.command("redrive")
def redrive_rejected(
    program: ScopeArgument, reason: ReasonOption = "", since: SinceOption = None, until: UntilOption = None
) -> None:
    """Put rejected records back on the event queue or stream, after you corrected the cause."""
    moved = service.redrive_rejected(stack.context(), program, _filter(reason, since, until), math.inf)
    typer.echo(f"{moved.records} records were put back")


@rejected.command("drop")
def drop(
    program: ScopeArgument,
    reason: ReasonOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
) -> None:
    """Delete rejected records. This cannot be undone."""
    if not yes:
        typer.confirm("Delete these records? This cannot be undone.", abort=True)
    moved = service.drop_rejected(stack.context(), program, _filter(reason, since, until), math.inf)
    typer.echo(f"{moved.records} records were deleted")


@dead_letters.command("list")
def count_dead_letters(json_output: JsonOption = False) -> None:
    """Count the dead letters: messages of the queue, batches of the stream."""
    show(redrive.count_dead_letters(stack.settings()), json_output)


@dead_letters.command("redrive")
def redrive_dead_letters() -> None:
    """Put the dead letters back on the event queue or stream."""
    typer.echo(f"{service.redrive_dead_letters(stack.context(), math.inf).records} records were put back")


def _filter(reason: str, since: datetime | None, until: datetime | None) -> RecordFilter:
    return RecordFilter(
        reason, since.replace(tzinfo=UTC) if since else None, until.replace(tzinfo=UTC) if until else None
    )
