"""``bridge key``: the keys with which campaigns call the bridge."""

from __future__ import annotations

from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.programs import keys

commands = typer.Typer(no_args_is_help=True, help="Keys with which campaigns call the bridge.")


@commands.command("create")
def create(
    program: ProgramArgument,
    name: Annotated[str, typer.Option(help="What it is for, to recognise it by.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Create a key and show it: now, and never again.

    Example: bridge key create demo --name braze-production
    """
    key, known = keys.create(stack.settings(), find(program).id, name)
    show({"key": key, **keys.row(known)}, json_output)


@commands.command("list")
def list_all(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List a program's keys by their ids, oldest first."""
    show([keys.row(known) for known in keys.list_all(stack.settings(), find(program).id)], json_output)


@commands.command("revoke")
def revoke(
    program: ProgramArgument,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `bridge key list` shows it.")],
    yes: YesOption = False,
) -> None:
    """Revoke a key: the next call with it gets a 401, which Braze does not repeat."""
    if not yes:
        typer.confirm(f"Revoke the key {key_id} of {program}?", abort=True)
    keys.revoke(stack.settings(), program, key_id)
