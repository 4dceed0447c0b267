"""The command ``bridge``: its options, the commands that stand alone, and what it says about errors.

Lists and descriptions are tables, or JSON with ``--json``. Documents (``explain``, ``trace``, ``rejected show``) are
always JSON. Exit codes: 0 done; 1 invalid or not found; 2 wrong usage; 3 AWS or a platform does not answer.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from loyalty_bridge.cli import action, activity, key, member, parked, program, stack
from loyalty_bridge.cli.show import JsonOption, ProgramArgument, content, find, printable, show
from loyalty_bridge.errors import BridgeError, NotFound, Unavailable
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
    region: Annotated[str, typer.Option(help="AWS region of the stack; otherwise AWS_REGION.")] = "",
    stack_name: Annotated[
        str, typer.Option("--stack", help="Name of the stack; otherwise BRIDGE_STACK, or loyalty-bridge.")
    ] = "",
    local: Annotated[bool, typer.Option("--local", help="Use the local run instead of AWS.")] = False,
) -> None:
    """Operate Loyalty Bridge: programs, keys, records, actions and activity.

    AWS credentials come from the usual places, such as AWS_PROFILE.
    """
    if region or (region := os.environ.get("AWS_REGION", "")):
        os.environ["AWS_DEFAULT_REGION"] = region  # boto3 reads this variable only
    if stack_name:
        os.environ["BRIDGE_STACK"] = stack_name
    if local:
        stack.use_local()


@bridge.command("send-sample")
def send_sample(
    program: ProgramArgument,
    member: Annotated[str, typer.Option(help="Id of a test member, who gets the event loyalty_bridge_sample.")],
    json_output: JsonOption = False,
) -> None:
    """Send a sample event to the engagement platform and show its answer.

    Example: bridge send-sample demo --member test-member
    """
    answer = service.send_sample(stack.context(), program, member)
    show(answer, json_output)
    if answer.get("verdict") != "accepted":
        raise typer.Exit(1)


@bridge.command("explain")
def explain(
    record: Annotated[str, typer.Argument(help="File with the record, or - for standard input.")],
    program: Annotated[str, typer.Option(help="Id of the program, if the record does not name it.")] = "",
) -> None:
    """Preview a record without sending it: the objects it becomes, what is left out, and what is rejected.

    Example: bridge explain record.json --program demo
    """
    data = content(record)
    show(explain_record(stack.settings(), data, program), as_json=True)


@bridge.command("learn")
def learn(
    files: Annotated[
        list[str], typer.Argument(help="Files with recorded events: one JSON document, or one event per line.")
    ],
    platform: Annotated[
        str, typer.Option(help="Loyalty platform that sent them: convercus, punchh or brevo.")
    ] = "convercus",
    json_output: JsonOption = False,
) -> None:
    """Show which fields of recorded events are mapped, sent as they are, left out or missing. Nothing is sent.

    Example: bridge learn events.json more-events.jsonl
    """
    types = learn_of(platform, [content(file) for file in files])
    if json_output:
        show(types, as_json=True)
        return
    for one in types:
        kinds = {"mapped": "mapped", "sent_as_it_is": "sent as it is", "ignored": "not sent", "missing": "missing"}
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
def trace(
    program: ProgramArgument, name: Annotated[str, typer.Argument(metavar="ID", help="Id of an event or a member.")]
) -> None:
    """Show what happened to an event, or to a member's events.

    Example: bridge trace demo 5f0c7a5e-7a4e-4c53-9a5b-0d1c7a3b0001
    """
    show(trace_id(stack.settings(), find(program), name), as_json=True)


_NO_CREDENTIALS = "set AWS_PROFILE to a profile of yours, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_SIGN_IN_AGAIN = "your AWS session has expired: sign in again, for example with `aws sso login`"
_NO_RIGHTS = "your AWS identity lacks permissions: docs/deploying.md has a policy for operators"
_ADVICE = {
    "NoRegionError": "no AWS region is set: pass --region, set AWS_REGION, or use a profile with a region",
    "InvalidRegionError": "the AWS region is not valid: check --region or AWS_REGION",
    "EndpointConnectionError": "AWS does not answer: check the region (--region or AWS_REGION) and your network",
    "ConnectTimeoutError": "AWS does not answer: check the region (--region or AWS_REGION) and your network",
    "NoCredentialsError": f"no AWS credentials: {_NO_CREDENTIALS}",
    "PartialCredentialsError": f"the AWS credentials are incomplete: {_NO_CREDENTIALS}",
    "ProfileNotFound": f"there is no such AWS profile: {_NO_CREDENTIALS}",
    "InvalidClientTokenId": f"AWS does not accept the credentials: {_NO_CREDENTIALS}",
    "UnrecognizedClientException": f"AWS does not accept the credentials: {_NO_CREDENTIALS}",
    "SignatureDoesNotMatch": f"AWS does not accept the credentials: {_NO_CREDENTIALS}",
    "ExpiredToken": _SIGN_IN_AGAIN,
    "ExpiredTokenException": _SIGN_IN_AGAIN,
    "SSOTokenLoadError": _SIGN_IN_AGAIN,
    "TokenRetrievalError": _SIGN_IN_AGAIN,
    "UnauthorizedSSOTokenError": _SIGN_IN_AGAIN,
    "AccessDenied": _NO_RIGHTS,
    "AccessDeniedException": _NO_RIGHTS,
}
"""What to do next, by the code of AWS' answer or the name of the client's error."""


def main() -> None:
    """Run a command, and write an expected error as one line."""
    try:
        with aws.reaching("AWS"):
            bridge()
    except Unavailable as error:
        advice = _ADVICE.get(str(error).rpartition(": ")[2], "try again later")
        _fail(f"{advice} ({error})", 3)
    except NotFound as error:
        hint = "; `bridge program list` lists the programs" if str(error).startswith("there is no program") else ""
        _fail(f"{error}{hint}", 1)
    except BridgeError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"bridge: {printable(message)}\n")
    sys.exit(code)
