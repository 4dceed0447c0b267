"""``bridge key``: API keys with which campaigns call the bridge."""

from __future__ import annotations

from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, show
from loyalty_bridge.operations import service
from loyalty_bridge.programs.api_keys import SCOPES

commands = typer.Typer(no_args_is_help=True, help="API keys with which campaigns call the bridge.")


@commands.command("create")
def create(
    program: ProgramArgument,
    name: Annotated[str, typer.Option(help="A name to recognise the key by.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="lookups, actions or events. Repeat the option for several; default: all.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Create a key. It is shown only once.

    A key for lookups in messages needs one scope: bridge key create demo --scope lookups

    Example: bridge key create demo --name braze-production
    """
    show(service.create_key(stack.context(), program, name, scope or SCOPES), json_output)


@commands.command("list")
def list_all(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """List the keys of a program, oldest first."""
    show(service.list_keys(stack.context(), program), json_output)


@commands.command("revoke")
def revoke(
    program: ProgramArgument,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id from `bridge key list`.")],
    yes: YesOption = False,
) -> None:
    """Revoke a key. Calls with it get a 401 at once, and Braze does not repeat a 401."""
    if not yes:
        typer.confirm(f"Revoke the key {key_id} of {program}?", abort=True)
    service.revoke_key(stack.context(), program, key_id)
