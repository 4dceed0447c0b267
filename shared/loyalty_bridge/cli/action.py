"""``bridge action``: actions of which nobody knows whether they were carried out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from loyalty_bridge.actions import batches, convercus, journal, punchh
from loyalty_bridge.actions.journal import Answer, Record
from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.errors import NotFound, Refused

commands = typer.Typer(no_args_is_help=True, help="Actions whose outcome is unknown.")
ActionArgument = Annotated[str, typer.Argument(metavar="ID", help="As `bridge action list` shows it.")]

_RESULTS = {
    convercus.ASSIGN_COUPON: "couponCode",
    convercus.BOOK_POINTS: "bookingId",
    batches.ASSIGN_COUPON_BATCH: "batchId",
    punchh.SIGNUP_MEMBER: "userId",
}
"""What a success of an action answers, where it answers something."""


@commands.command("list")
def list_open(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List the actions whose outcome is unknown, oldest first: look them up on the loyalty platform, then decide."""
    rows = [
        {
            "id": record.id,
            "action": record.action,
            "since": _time(record.since),
            "about": ", ".join(f"{name}={value}" for name, value in record.about.items()),
            "doubt": record.doubt,
        }
        for record in journal.open_actions(stack.action_settings(), find(program).id)
    ]
    show(rows, json_output)


@commands.command("show")
def show_one(program: ProgramArgument, action_id: ActionArgument, json_output: JsonOption = False) -> None:
    """Show what is known of an action, and under which reference it was sent."""
    record = _read(program, action_id)
    told = {
        "id": record.id,
        "action": record.action,
        "state": record.state,
        "since": _time(record.since),
        "about": dict(record.about),
        "reference": record.reference,
        "doubt": record.doubt,
    }
    ended = {"status": record.answer.status, "answer": dict(record.answer.body)} if record.answer else {}
    show(told | ended, json_output)


@commands.command("decide")
def decide(
    program: ProgramArgument,
    action_id: ActionArgument,
    happened: Annotated[
        bool, typer.Option("--happened/--did-not-happen", help="What the loyalty platform shows.", show_default=False)
    ],
    result: Annotated[
        str, typer.Option(help="Of what happened: the coupon's code, the booking's id, or the user's.")
    ] = "",
    yes: YesOption = False,
) -> None:
    """End an action whose outcome is unknown. When it did not happen, its next repeat carries it out.

    Example: bridge action decide demo 5f0c7a5e7a4e4c539a5b0d1c7a3b0001 --happened --result WELCOME-1A2B
    """
    record = _read(program, action_id)
    if record.state != "unknown":
        raise Refused("ID", f"is of an action that is {record.state}")
    answer = _answer(record, result) if happened else None
    if not yes:
        typer.confirm(f"Decide that {record.action} {'happened' if happened else 'did not happen'}?", abort=True)
    journal.decide(stack.action_settings(), record.program, record.id, answer)


def _answer(record: Record, result: str) -> Answer:
    name = _RESULTS.get(record.action)
    if name and not result.strip():
        raise Refused("--result", f"is needed: the {name} that repeats are answered with")
    return Answer(200, {name: result.strip()} if name else {})


def _read(program: str, action_id: str) -> Record:
    found = journal.get(stack.action_settings(), find(program).id, action_id)
    if found is None:
        raise NotFound(f"{program} has no action {action_id}")
    return found


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
