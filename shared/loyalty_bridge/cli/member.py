"""``bridge member``: the data that the bridge stores about a member."""

from __future__ import annotations

from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import ProgramArgument, YesOption
from loyalty_bridge.operations import service

commands = typer.Typer(no_args_is_help=True, help="The data that the bridge stores about a member.")
MemberArgument = Annotated[str, typer.Argument(metavar="MEMBER", help="Id of the member in the program.")]


@commands.command("resync")
def resync(program: ProgramArgument, member: MemberArgument) -> None:
    """Send all attributes with the member's next event, changed or not."""
    service.resync_member(stack.context(), program, member)


@commands.command("forget")
def forget(program: ProgramArgument, member: MemberArgument, yes: YesOption = False) -> None:
    """Delete a member's attribute state, coupon codes and aliases.

    Held and rejected records, actions and batches stay.
    """
    if not yes:
        typer.confirm(f"Forget {member}?", abort=True)
    service.forget_member(stack.context(), program, member)
