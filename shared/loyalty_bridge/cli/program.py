"""``bridge program``: programs and their connections."""

from __future__ import annotations

import json
from textwrap import indent
from typing import Annotated

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, content, find, printable, show
from loyalty_bridge.errors import Invalid
from loyalty_bridge.operations import programs, service
from loyalty_bridge.operations.setup_guide import setup_guide
from loyalty_bridge.platforms import parsing
from loyalty_bridge.programs import repository

commands = typer.Typer(no_args_is_help=True, help="Programs and their connections.")


@commands.command("put")
def put(
    program: ProgramArgument,
    file: Annotated[str, typer.Argument(help="JSON file with the settings to change, or - for standard input.")],
    new_workspace: Annotated[
        bool, typer.Option(help="The key belongs to another workspace: send everything again.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Create a program, or change the settings that the file names. A held program is then released.

    A Retry-After of the engagement platform still applies, unless the file names another address or key.

    Example: bridge program put demo connection.json
    """
    try:
        change = parsing.parse_json(content(file), unique_keys=True)
    except Invalid as error:
        raise Invalid(file if error.field == "record" else error.field, error.reason) from None
    if not isinstance(change, dict):
        raise Invalid(file, "is not a JSON object")
    secrets = change.pop("secrets", {})
    saved = service.save_connection(stack.context(), program, change, secrets, None, new_workspace=new_workspace)
    show(programs.describe(saved), json_output)


@commands.command("show")
def show_one(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """Show a program: settings, missing settings, delivery state, and the last four characters of its secrets."""
    show(programs.describe(find(program)), json_output)


@commands.command("list")
def list_all(json_output: JsonOption = False) -> None:
    """List the programs."""
    found = sorted(repository.load_all(stack.settings()), key=lambda program: program.id)
    show([programs.row(program) for program in found], json_output)


@commands.command("delete")
def delete(program: ProgramArgument, yes: YesOption = False) -> None:
    """Delete a program with its keys, parked records and member data.

    Records that are still on the queue or stream are rejected.
    """
    find(program)
    if not yes:
        typer.confirm(f"Delete the program {program}?", abort=True)
    service.delete_program(stack.context(), program)


@commands.command("test")
def try_connection(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """Check that the engagement platform accepts the key, with a request that changes nothing."""
    answer = service.test_connection(stack.context(), program)
    show(answer, json_output)
    if not answer["works"]:
        raise typer.Exit(1)


@commands.command("setup")
def setup(program: ProgramArgument) -> None:
    """Show the setup guide: what to paste into the platforms, with the program's URLs."""
    for one in setup_guide(stack.settings(), find(program)):
        typer.echo(printable(f"{one.title}: {one.where}\n"))
        for label, text in one.texts:
            typer.echo(printable(f"{label}\n{indent(text, '    ')}\n"))


@commands.command("settings")
def settings(
    platform: Annotated[str, typer.Argument(metavar="[PLATFORM]", help="Only this platform, such as braze.")] = "",
    json_output: JsonOption = False,
) -> None:
    """List the settings of a connection: path, default and meaning.

    Example: bridge program settings convercus
    """
    from loyalty_bridge.programs import setting_reference

    show(
        [
            {"setting": each.path, "default": _text(each.default), "meaning": each.meaning}
            for each in setting_reference.list_settings(platform)
        ],
        json_output,
    )


def _text(default: object) -> str:
    if isinstance(default, list | tuple):
        return ", ".join(map(str, default))
    return "" if default in ("", None) or isinstance(default, dict) else json.dumps(default).strip('"')


@commands.command("audit")
def audit(
    program: Annotated[
        str, typer.Argument(metavar="PROGRAM", help="Program id, or - for changes of no single program.")
    ],
    json_output: JsonOption = False,
) -> None:
    """List the changes of a program and who made them, newest first."""
    show(service.list_audit(stack.context(), program), json_output)
