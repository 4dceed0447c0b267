"""``bridge program``: programs and their connections."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, YesOption, find, show
from loyalty_bridge.errors import Refused
from loyalty_bridge.programs import gate, hosts, store
from loyalty_bridge.programs.connection import (
    PUNCHH_COUPON_TOKEN,
    SECRETS,
    Connection,
    Program,
    check_credentials,
    is_secret,
    merged,
    program_id,
)

commands = typer.Typer(no_args_is_help=True, help="Programs and their connections.")


@commands.command("put")
def put(
    program: ProgramArgument,
    file: Annotated[str, typer.Argument(help="JSON with what is to be set; - reads standard input.")],
    new_workspace: Annotated[
        bool, typer.Option(help="Forget what was sent so far: the key belongs to another workspace.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Create a program, or change what the file names and leave the rest; a held program is then drained.

    Example: bridge program put demo connection.json
    """
    settings = stack.settings()
    program_id(program)
    change = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    if not isinstance(change, dict):
        raise Refused("file", "is not a JSON object")
    secrets = _secrets(change.pop("secrets", {}))
    before = store.load(settings, [program]).get(program)
    connection = merged(before.connection if before else Connection(), change)
    check_credentials(connection, secrets)
    connection = hosts.checked(connection, settings.allowed_hosts)
    saved = store.save(settings, before, program, connection, secrets, new_workspace=new_workspace)
    if before and before.gate.state == "held":
        gate.drain(settings, program)
    show(_described(saved), json_output)


def _secrets(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise Refused("secrets", "is not an object")
    known = {name for names in SECRETS.values() for name in names} | {f"{PUNCHH_COUPON_TOKEN}<campaign id>"}
    for name, secret in given.items():
        if not is_secret(name):
            raise Refused(f"secrets.{name}", f"is not one of {', '.join(sorted(known))}")
        if not isinstance(secret, str) or not secret.strip():
            raise Refused(f"secrets.{name}", "is not a text")
    return given


@commands.command("show")
def show_one(program: ProgramArgument, json_output: JsonOption = False) -> None:
    """Show a program's connection, what is missing, and its gate; of secrets, the last four characters."""
    show(_described(find(program)), json_output)


@commands.command("list")
def list_all(json_output: JsonOption = False) -> None:
    """List the programs."""
    rows = [
        {
            "program": program.id,
            "platforms": f"{program.connection.loyalty.platform} → {program.connection.engagement.platform}",
            "state": _state(program),
            "missing": ", ".join(program.missing()),
        }
        for program in sorted(store.every(stack.settings()), key=lambda program: program.id)
    ]
    show(rows, json_output)


@commands.command("delete")
def delete(program: ProgramArgument, yes: YesOption = False) -> None:
    """Delete a program with its keys. Its records that are still on their way are refused."""
    find(program)
    if not yes:
        typer.confirm(f"Delete the program {program}?", abort=True)
    store.delete(stack.settings(), program)


def _state(program: Program) -> str:
    if program.missing():
        return "incomplete"
    return "streaming" if program.gate.state == "live" else program.gate.state


def _described(program: Program) -> dict[str, Any]:
    return {
        "program": program.id,
        "version": program.version,
        "state": _state(program),
        "missing": program.missing(),
        "gate_reason": program.gate.reason,
        **program.connection.model_dump(mode="json"),
        "secrets": {
            name: f"…{secret.last_four}" for name, secret in program.secrets.items() if name != store.STATE_KEY
        },
    }
