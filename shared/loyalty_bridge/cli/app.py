"""The commands. What they list or describe is a table for people, or JSON for scripts with ``--json``.

What is a document in itself (``explain``, ``trace``, ``rejected show``) is always JSON.

Exit codes: 0 done, 1 refused or not found, 2 used wrongly, 3 a store or platform did not answer.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from loyalty_bridge.cli import action, activity, key, member, parked, program, stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, content, find, printable, show
from loyalty_bridge.errors import BridgeError, Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import service
from loyalty_bridge.operations.explain import explain as explain_record
from loyalty_bridge.operations.learn import learn as learn_of
from loyalty_bridge.operations.trace import trace as trace_id

bridge = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
bridge.add_typer(program.commands, name="program")
bridge.add_typer(member.commands, name="member")
bridge.add_typer(key.commands, name="key")
bridge.add_typer(action.commands, name="action")
bridge.add_typer(parked.held, name="held")
bridge.add_typer(parked.rejected, name="rejected")
bridge.add_typer(parked.dead_letters, name="dead-letters")
bridge.command("stats")(activity.stats)
bridge.command("errors")(activity.errors)


@bridge.callback()
def options(
    local: Annotated[bool, typer.Option("--local", help="Talk to the local run instead of AWS.")] = False,
) -> None:
    """Loyalty Bridge, for its operator.

    AWS is found as by every AWS tool (AWS_PROFILE, AWS_REGION, …); BRIDGE_STACK names the stack.
    """
    if region := os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = region  # all that AWS's library for Python reads
    if local:
        stack.use_local()


@bridge.command("send-sample")
def send_sample(
    program: ProgramArgument,
    member: Annotated[str, typer.Option(help="Id of a (test) member; it gets the event loyalty_bridge_sample.")],
    json_output: JsonOption = False,
) -> None:
    """Send a sample event to the engagement platform and show what it answers.

    Example: bridge send-sample demo --member test-member
    """
    answer = service.send_sample(stack.context(), program, member)
    show(answer, json_output)
    if answer.get("verdict") != "accepted":
        raise typer.Exit(1)


@bridge.command("explain")
def explain(
    record: Annotated[str, typer.Argument(help="File with the record; - reads standard input.")],
    program: Annotated[str, typer.Option(help="The program, when the record does not name it.")] = "",
) -> None:
    """Show, without sending, what a record becomes: wire objects, what is held back and why, what is refused.

    Example: bridge explain record.json --program demo
    """
    show(explain_record(stack.settings(), content(record), program), as_json=True)


@bridge.command("learn")
def learn(
    files: Annotated[list[str], typer.Argument(help="Files with recorded events: JSON, or an event on each line.")],
    platform: Annotated[str, typer.Option(help="Where they are from: convercus, punchh or brevo.")] = "convercus",
    json_output: JsonOption = False,
) -> None:
    """Read recorded events, and show which of their fields are mapped, ignored and missing. Nothing is sent.

    Example: bridge learn events.json more-events.jsonl
    """
    found = learn_of(platform, [content(file) for file in files])
    if json_output:
        show(found, as_json=True)
        return
    for one in found:
        kinds = {"mapped": "mapped", "sent_as_it_is": "sent as it is", "ignored": "not sent", "missing": "never came"}
        typer.echo(printable(f"{one['event']}: {one['events']}"))
        show(
            [
                {"field": field, "": kind, "events, or why": one[name][field] if name != "missing" else ""}
                for name, kind in kinds.items()
                for field in one[name]
            ],
            as_json=False,
        )


@bridge.command("trace")
def trace(program: ProgramArgument, name: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Tell what happened to an event, or to a member's events.

    Example: bridge trace demo 5f0c7a5e-7a4e-4c53-9a5b-0d1c7a3b0001
    """
    show(trace_id(stack.settings(), find(program), name), as_json=True)


_SIGN_IN = "sign in to AWS again, such as with `aws sso login`"
_WHO = "set AWS_PROFILE to a profile of yours, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_RIGHTS = "your AWS identity lacks rights: docs/deploying.md has a policy for operators"
_ADVICE = {
    "NoRegionError": "set AWS_REGION or AWS_DEFAULT_REGION, or AWS_PROFILE to a profile that has a region",
    "NoCredentialsError": _WHO,
    "ProfileNotFound": _WHO,
    "InvalidClientTokenId": _WHO,
    "UnrecognizedClientException": _WHO,
    "ExpiredToken": _SIGN_IN,
    "ExpiredTokenException": _SIGN_IN,
    "SSOTokenLoadError": _SIGN_IN,
    "TokenRetrievalError": _SIGN_IN,
    "UnauthorizedSSOTokenError": _SIGN_IN,
    "AccessDenied": _RIGHTS,
    "AccessDeniedException": _RIGHTS,
}
"""What to do about what AWS answers, by its code or the name of its client's error."""


def main() -> None:
    """Run a command; what goes wrong on purpose is one line, not a traceback."""
    try:
        with aws.reaching("AWS"):
            bridge()
    except Unavailable as error:
        advice = _ADVICE.get(str(error).rpartition(": ")[2])
        _fail(f"{error}: {advice}" if advice else str(error), 3)
    except BridgeError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"bridge: {printable(message)}\n")
    sys.exit(code)
