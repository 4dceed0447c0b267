"""``bridge action``: actions whose outcome is unknown."""

from __future__ import annotations

from typing import Annotated

import typer

from loyalty_bridge.actions import decisions, idempotency_store
from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.operations import service

commands = typer.Typer(no_args_is_help=True, help="Actions whose outcome is unknown.")
ActionArgument = Annotated[str, typer.Argument(metavar="ID", help="Id from `bridge action list`.")]


@commands.command("list")
def list_open(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List the actions whose outcome is unknown, oldest first. Look them up on the loyalty platform, then decide."""
    rows = [decisions.row(record) for record in idempotency_store.list_unknown(stack.settings(), find(program).id)]
    show(rows, json_output)


@commands.command("show")
def show_one(program: ProgramArgument, action_id: ActionArgument, json_output: JsonOption = False) -> None:
    """Show an action, with the reference under which it was sent."""
    show(decisions.to_dict(decisions.find(stack.settings(), find(program).id, action_id)), json_output)


@commands.command("decide")
def decide(
    program: ProgramArgument,
    action_id: ActionArgument,
    happened: Annotated[
        bool,
        typer.Option(
            "--happened/--did-not-happen", help="Whether the loyalty platform shows its effect.", show_default=False
        ),
    ],
    result: Annotated[str, typer.Option(help="Its result, if it happened: coupon code, booking id or user id.")] = "",
    yes: YesOption = False,
) -> None:
    """Decide the outcome of an action. If it did not happen, its next repeat or its batch carries it out.

    Example: bridge action decide demo 5f0c7a5e7a4e4c539a5b0d1c7a3b0001 --happened --result WELCOME-1A2B
    """
    record = decisions.find(stack.settings(), find(program).id, action_id)
    if not yes:
        typer.confirm(f"Decide that {record.action} {'happened' if happened else 'did not happen'}?", abort=True)
    service.decide_action(stack.context(), program, action_id, happened=happened, result=result)
