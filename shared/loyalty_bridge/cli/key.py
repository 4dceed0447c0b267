"""``bridge key``: the keys with which campaigns call the bridge."""

from __future__ import annotations

from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, show
from loyalty_bridge.operations import service
from loyalty_bridge.programs.api_keys import SCOPES

commands = typer.Typer(no_args_is_help=True, help="Keys with which campaigns call the bridge.")


@commands.command("create")
def create(
    program: ProgramArgument,
    name: Annotated[str, typer.Option(help="What it is for, to recognise it by.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it is for: lookups, actions or events. May be repeated; else all.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Create a key and show it: now, and never again.

    A key that stands in messages needs no more than: bridge key create demo --scope lookups

    Example: bridge key create demo --name braze-production
    """
    show(service.create_key(stack.context(), program, name, scope or SCOPES), json_output)


@commands.command("list")
def list_all(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List a program's keys by their ids, oldest first."""
    show(service.list_keys(stack.context(), program), json_output)


@commands.command("revoke")
def revoke(
    program: ProgramArgument,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `bridge key list` shows it.")],
    yes: YesOption = False,
) -> None:
    """Revoke a key: the next call with it gets a 401, which Braze does not repeat."""
    if not yes:
        typer.confirm(f"Revoke the key {key_id} of {program}?", abort=True)
    service.revoke_key(stack.context(), program, key_id)
