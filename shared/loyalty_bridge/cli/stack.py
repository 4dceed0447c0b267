"""Find the deployed bundle: the outputs of its stack, or the local run."""

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
from loyalty_bridge.settings import OperatorSettings, parse_settings

ENDPOINTS = (Path(".local/endpoints.json"), Path(__file__).parents[3] / ".local/endpoints.json")
"""Files in which a local run writes its addresses: in the current folder, or in this project."""


def use_local() -> None:
    """Use the local run instead of AWS.

    Raises
    ------
    NotConnected
        No local run answers.
    """
    path = next(filter(Path.exists, ENDPOINTS), None)
    if path is None:
        raise NotConnected("there is no local run: start one with `make local` in the project's folder")
    endpoints = json.loads(path.read_text())
    address = urlsplit(endpoints["aws"])
    with socket.socket() as probe:
        if probe.connect_ex((str(address.hostname), address.port)):
            raise NotConnected(f"the local run of {path} does not answer: start one with `make local`")
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoints["aws"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": endpoints["region"],
        "BRIDGE_STACK": endpoints["stack"],
    }


@cache
def settings() -> OperatorSettings:
    """Read the names of tables, buckets and queues from the stack."""
    return parse_settings(OperatorSettings, _outputs())


def context() -> OperatorContext:
    """Return the context of the AWS identity that runs the command; its IAM policy limits what it can do."""
    import boto3

    return OperatorContext(settings(), Operator(boto3.client("sts").get_caller_identity()["Arn"], all_programs=True))


def _outputs() -> dict[str, str]:
    """Read the outputs of the stack that ``BRIDGE_STACK`` names (default ``loyalty-bridge``).

    Raises
    ------
    NotConnected
        The deployment of the stack did not finish.
    NotFound
        There is no such stack; AWS reports that as a `ValidationError`:
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
        raise NotFound(
            f"there is no stack {name} in this account and region: name yours with --stack or BRIDGE_STACK"
        ) from None
    if not stack.get("Outputs"):
        raise NotConnected(f"the stack {name} has no outputs ({stack['StackStatus']}): deploy it again")
    return {_variable(output["OutputKey"]): output["OutputValue"] for output in stack["Outputs"]}


def _variable(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
