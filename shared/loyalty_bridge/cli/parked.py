"""``bridge held``, ``bridge rejected`` and ``bridge dead-letters``: what was not delivered."""

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

held = typer.Typer(no_args_is_help=True, help="Records of programs whose destination fails.")
rejected = typer.Typer(no_args_is_help=True, help="Records that can never be accepted as they are.")
dead_letters = typer.Typer(no_args_is_help=True, help="Records that the forwarder failed on.")

ReasonOption = Annotated[str, typer.Option(help="Only those whose reason contains this.")]
SinceOption = Annotated[datetime | None, typer.Option(help="Only those rejected at or after this (UTC).")]
UntilOption = Annotated[datetime | None, typer.Option(help="Only those rejected at or before this (UTC).")]
ShelfArgument = Annotated[
    str, typer.Argument(metavar="PROGRAM", help="Id of the program; - for records of no known program.")
]


@held.command("list")
def list_held(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List what is held, in order."""
    show(
        [parked_records.row(bundle) for bundle in parked_records.batches(stack.settings(), "held", find(program).id)],
        json_output,
    )


@held.command("release")
def release(program: ProgramArgument) -> None:
    """Release held records from the next minute on, without waiting for the check of the connection."""
    service.release_held(stack.context(), program)


@rejected.command("list")
def list_refused(
    program: ShelfArgument,
    reason: ReasonOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    json_output: JsonOption = False,
) -> None:
    """List rejected records with their reasons and the parts that the destination does not have.

    Example: bridge rejected list demo --reason phone --since 2026-03-01
    """
    shelf = service.require_scope(stack.context(), program)
    show(list(redrive.rows(stack.settings(), shelf, _which(reason, since, until))), json_output)


@rejected.command("show")
def show_refused(program: ShelfArgument, event_id: Annotated[str, typer.Argument(metavar="EVENT_ID")]) -> None:
    """Show a rejected record itself. It is a member's data: mind where it goes."""
    show(service.show_rejected(stack.context(), program, event_id), as_json=True)


@rejected.command("redrive")
def redrive_refused(
    program: ShelfArgument, reason: ReasonOption = "", since: SinceOption = None, until: UntilOption = None
) -> None:
    """Put rejected records on the event queue or stream again, after the cause was corrected."""
    moved = service.redrive_rejected(stack.context(), program, _which(reason, since, until), math.inf)
    typer.echo(f"{moved.records} records are on their way again")


@rejected.command("drop")
def drop(
    program: ShelfArgument,
    reason: ReasonOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
) -> None:
    """Forget rejected records for good."""
    if not yes:
        typer.confirm("Forget these records for good?", abort=True)
    moved = service.drop_rejected(stack.context(), program, _which(reason, since, until), math.inf)
    typer.echo(f"{moved.records} records are forgotten")


@dead_letters.command("list")
def count_dead_letters(json_output: JsonOption = False) -> None:
    """Count the dead letters: messages of the queue, batches of the stream."""
    show(redrive.count_dead_letters(stack.settings()), json_output)


@dead_letters.command("redrive")
def redrive_dead_letters() -> None:
    """Put the dead letters back on the event queue or stream."""
    typer.echo(f"{service.redrive_dead_letters(stack.context(), math.inf).records} records are on their way again")


def _which(reason: str, since: datetime | None, until: datetime | None) -> RecordFilter:
    return RecordFilter(
        reason, since.replace(tzinfo=UTC) if since else None, until.replace(tzinfo=UTC) if until else None
    )
