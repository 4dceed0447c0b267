"""Where the command line finds the deployed bundle: the outputs of its stack."""

from __future__ import annotations

import json
import os
import re
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from loyalty_bridge.errors import NotConnected, NotFound
from loyalty_bridge.operations.context import OperatorContext
from loyalty_bridge.operations.operators import Operator
from loyalty_bridge.settings import OperatorSettings, read

ENDPOINTS = (Path(".local/endpoints.json"), Path(__file__).parents[3] / ".local/endpoints.json")
"""Where a local run writes its addresses: that of the current folder, else that of the project this is part of."""


def use_local() -> None:
    """Talk to the local run, not to AWS.

    Raises
    ------
    NotConnected
        It does not run.
    """
    path = next(filter(Path.exists, ENDPOINTS), None)
    if path is None:
        raise NotConnected("there is no local run: start one with `make local` in the project's folder")
    told = json.loads(path.read_text())
    address = urlsplit(told["aws"])
    with socket.socket() as probe:
        if probe.connect_ex((str(address.hostname), address.port)):
            raise NotConnected(f"the local run of {path} does not answer: start one with `make local`")
    os.environ |= {
        "AWS_ENDPOINT_URL": told["aws"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": told["region"],
        "BRIDGE_STACK": told["stack"],
    }


@cache
def settings() -> OperatorSettings:
    """Tell where everything is."""
    return read(OperatorSettings, _outputs())


def context() -> OperatorContext:
    """Give the desk of whoever runs the command: AWS says who that is, and lets them do what their role may."""
    import boto3

    return OperatorContext(settings(), Operator(boto3.client("sts").get_caller_identity()["Arn"], all_programs=True))


def _outputs() -> dict[str, str]:
    """Read the outputs of the stack that ``BRIDGE_STACK`` names (default ``loyalty-bridge``).

    Raises
    ------
    NotConnected
        It was never deployed to its end.
    NotFound
        There is no such stack; AWS calls that a `ValidationError`:
        https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html.
    """
    import boto3
    from botocore.exceptions import ClientError

    name = os.environ.get("BRIDGE_STACK", "loyalty-bridge")
    try:
        stack = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise NotFound(f"there is no stack {name} in this account and region; name yours with BRIDGE_STACK") from None
    if not stack.get("Outputs"):
        raise NotConnected(f"the stack {name} has no outputs ({stack['StackStatus']}): deploy it again")
    return {_variable(output["OutputKey"]): output["OutputValue"] for output in stack["Outputs"]}


def _variable(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
