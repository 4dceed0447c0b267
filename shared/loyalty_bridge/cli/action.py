"""``bridge action``: actions of which nobody knows whether they were carried out."""

from __future__ import annotations

from typing import Annotated

import typer

from loyalty_bridge.actions import decisions, idempotency_store
from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.operations import service

commands = typer.Typer(no_args_is_help=True, help="Actions whose outcome is unknown.")
ActionArgument = Annotated[str, typer.Argument(metavar="ID", help="As `bridge action list` shows it.")]


@commands.command("list")
def list_open(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List the actions whose outcome is unknown, oldest first: look them up on the loyalty platform, then decide."""
    rows = [decisions.row(record) for record in idempotency_store.list_unknown(stack.settings(), find(program).id)]
    show(rows, json_output)


@commands.command("show")
def show_one(program: ProgramArgument, action_id: ActionArgument, json_output: JsonOption = False) -> None:
    """Show what is known of an action, and under which reference it was sent."""
    show(decisions.to_dict(decisions.find(stack.settings(), find(program).id, action_id)), json_output)


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
    """End an action whose outcome is unknown. When it did not happen, its next repeat, or its batch, carries it out.

    Example: bridge action decide demo 5f0c7a5e7a4e4c539a5b0d1c7a3b0001 --happened --result WELCOME-1A2B
    """
    record = decisions.find(stack.settings(), find(program).id, action_id)
    if not yes:
        typer.confirm(f"Decide that {record.action} {'happened' if happened else 'did not happen'}?", abort=True)
    service.decide_action(stack.context(), program, action_id, happened=happened, result=result)
