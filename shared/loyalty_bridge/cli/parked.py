"""``bridge held``, ``bridge rejected`` and ``bridge crashed``: what was not delivered."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.operations import redrive
from loyalty_bridge.operations import service as desk
from loyalty_bridge.operations.redrive import Which
from loyalty_bridge.parking import parked_records

held = typer.Typer(no_args_is_help=True, help="Records of programs whose destination fails.")
rejected = typer.Typer(no_args_is_help=True, help="Records that can never be accepted as they are.")
crashed = typer.Typer(no_args_is_help=True, help="What crashed the forwarder.")

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


@held.command("drain")
def drain(program: ProgramArgument) -> None:
    """Let held records pass from the next minute on, without waiting for the probe."""
    desk.resume(stack.desk(), program)


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
    shelf = desk.shelf(stack.desk(), program)
    show(list(redrive.rows(stack.settings(), shelf, _which(reason, since, until))), json_output)


@rejected.command("show")
def show_refused(program: ShelfArgument, event_id: Annotated[str, typer.Argument(metavar="EVENT_ID")]) -> None:
    """Show a rejected record itself. It is a member's data: mind where it goes."""
    show(desk.show_refused(stack.desk(), program, event_id), as_json=True)


@rejected.command("redrive")
def redrive_refused(
    program: ShelfArgument, reason: ReasonOption = "", since: SinceOption = None, until: UntilOption = None
) -> None:
    """Put rejected records on the event queue or stream again, after the cause was corrected."""
    moved = desk.redrive_refused(stack.desk(), program, _which(reason, since, until), math.inf)
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
    moved = desk.drop_refused(stack.desk(), program, _which(reason, since, until), math.inf)
    typer.echo(f"{moved.records} records are forgotten")


@crashed.command("list")
def list_crashed(json_output: JsonOption = False) -> None:
    """Count what crashed the forwarder: messages of the queue, batches of the stream."""
    show(redrive.crashed(stack.settings()), json_output)


@crashed.command("redrive")
def redrive_crashed() -> None:
    """Put what crashed the forwarder on the transport again."""
    typer.echo(f"{desk.redrive_crashed(stack.desk(), math.inf).records} records are on their way again")


def _which(reason: str, since: datetime | None, until: datetime | None) -> Which:
    return Which(reason, since.replace(tzinfo=UTC) if since else None, until.replace(tzinfo=UTC) if until else None)
