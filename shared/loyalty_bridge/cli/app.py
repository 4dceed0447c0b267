"""The commands. Each answers in a table for people, or with ``--json`` for scripts.

Exit codes: 0 done, 1 refused or not found, 2 used wrongly, 3 a store or platform did not answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from loyalty_bridge import aws
from loyalty_bridge.cli import stack
from loyalty_bridge.delivery.explain import explain as explain_record
from loyalty_bridge.delivery.sample import send_sample as send_sample_event
from loyalty_bridge.errors import BridgeError, NotConnected, Refused, Unavailable
from loyalty_bridge.programs import hosts, store
from loyalty_bridge.programs.connection import Connection, Program, ProgramId, merged

bridge = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
program_commands = typer.Typer(no_args_is_help=True, help="Programs and their connections.")
bridge.add_typer(program_commands, name="program")

_ProgramArgument = Annotated[str, typer.Argument(metavar="PROGRAM", help="Id of the loyalty program.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@bridge.callback()
def options(
    local: Annotated[bool, typer.Option("--local", help="Talk to the local run instead of AWS.")] = False,
) -> None:
    """Loyalty Bridge, for its operator.

    AWS is found as by every AWS tool (AWS_PROFILE, AWS_REGION, …); BRIDGE_STACK names the stack.
    """
    if local:
        stack.use_local()


@program_commands.command("put")
def put(
    program: _ProgramArgument,
    file: Annotated[str, typer.Argument(help="JSON with what is to be set; - reads standard input.")],
    new_workspace: Annotated[
        bool, typer.Option(help="Forget what was sent so far: the key belongs to another workspace.")
    ] = False,
    json_output: _JsonOption = False,
) -> None:
    """Create a program, or change what the file names and leave the rest.

    Example: bridge program put demo - <<< '{"engagement": {"api_endpoint": "https://rest.iad-01.braze.com"},
    "secrets": {"braze_api_key": "…"}, "loyalty": {"membership_optins": ["Newsletter"], "default_optins": ["Newsletter"]}}'
    """
    settings = stack.settings()
    TypeAdapter(ProgramId).validate_python(program)
    change = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    if not isinstance(change, dict):
        raise Refused("file", "is not a JSON object")
    secrets = change.pop("secrets", {})
    before = store.load(settings, [program]).get(program)
    connection = merged(before.connection if before else Connection(), change)
    if connection.engagement.api_endpoint:
        connection = merged(
            connection,
            {
                "engagement": {
                    "api_endpoint": hosts.endpoint(
                        connection.engagement.api_endpoint, connection.engagement.platform, settings.allowed_hosts
                    )
                }
            },
        )
    saved = store.save(settings, before, program, connection, secrets, new_workspace=new_workspace)
    _show(_described(saved), json_output)


@program_commands.command("show")
def show(program: _ProgramArgument, json_output: _JsonOption = False) -> None:
    """Show a program's connection, what is missing, and its gate. Secrets are shown by their last four characters."""
    _show(_described(_program(program)), json_output)


@program_commands.command("list")
def list_all(json_output: _JsonOption = False) -> None:
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
    _show_rows(rows, json_output)


@program_commands.command("delete")
def delete(
    program: _ProgramArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a program with its keys. Its records that are still on their way are refused."""
    _program(program)
    if not yes:
        typer.confirm(f"Delete the program {program}?", abort=True)
    store.delete(stack.settings(), program)


@bridge.command("send-sample")
def send_sample(
    program: _ProgramArgument,
    member: Annotated[str, typer.Option(help="Id of a test member; its balance becomes 0.")],
    json_output: _JsonOption = False,
) -> None:
    """Send a sample event to the engagement platform and show what it answers."""
    answer = send_sample_event(_program(program), member)
    _show(answer, json_output)
    if answer.get("verdict") != "accepted":
        raise typer.Exit(1)


@bridge.command("explain")
def explain(
    record: Annotated[str, typer.Argument(help="File with the record; - reads standard input.")],
    program: Annotated[str, typer.Option(help="The program, when the record does not name it.")] = "",
) -> None:
    """Show, without sending, what a record becomes: wire objects, what is held back and why, what is refused."""
    data = sys.stdin.buffer.read() if record == "-" else Path(record).read_bytes()
    sys.stdout.write(json.dumps(explain_record(stack.settings(), data, program), indent=2, ensure_ascii=False) + "\n")


def _program(program: str) -> Program:
    found = store.load(stack.settings(), [program]).get(program)
    if found is None:
        raise NotConnected(f"there is no program {program}")
    return found


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


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return
    table = Table(show_header=False, box=None)
    for name, value in _flat(answer):
        table.add_row(name, value)
    Console().print(table)


def _flat(answer: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in answer.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def _show_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        return
    table = Table(box=None)
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def main() -> None:
    """Run a command; what goes wrong on purpose is one line, not a traceback."""
    try:
        with aws.reaching("AWS"):
            bridge()
    except Unavailable as error:
        _fail(str(error), 3)
    except (ValidationError, json.JSONDecodeError) as error:
        _fail(_first_line(error), 1)
    except BridgeError as error:
        _fail(str(error), 1)


def _first_line(error: ValidationError | json.JSONDecodeError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error}"
    first = error.errors(include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"bridge: {message}\n")
    sys.exit(code)
