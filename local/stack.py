"""A local AWS, and the bundle deployed into it: the same template, the same `sam deploy`, no account and no Docker."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".local"
ENDPOINTS = HOME / "endpoints.json"
REGION = "us-east-1"
STACK = "loyalty-bridge-local"
_START_SECONDS = 30


def free_port() -> int:
    """Find a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def local_aws() -> Iterator[str]:
    """Run a local AWS until the block ends; gives its endpoint."""
    port = free_port()
    HOME.mkdir(exist_ok=True)
    environment = os.environ | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": "123456789012",
        "MINISTACK_REGION": REGION,
        "LAMBDA_EXECUTOR": "local",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "USE_SSL": "0",
    }
    with (HOME / "aws.log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / ".tools/aws/bin/ministack"],
            env=environment,
            cwd=HOME,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_listening(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            # The functions run as its children: the whole group ends.
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"the local AWS did not start: see {HOME / 'aws.log'}")


def credentials(endpoint: str) -> dict[str, str]:
    """Give the environment in which AWS tools talk to the local AWS."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def sam(*arguments: str, environment: dict[str, str]) -> None:
    """Run the SAM CLI in the project; what it prints is shown when it fails."""
    told = os.environ | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"} | environment
    done = subprocess.run(
        [ROOT / ".tools/sam/bin/sam", *arguments], cwd=ROOT, env=told, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"sam {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")


def build() -> None:
    """Build the bundle for this machine and this interpreter: the local AWS runs functions with it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    sam("build", environment={"BRIDGE_PYTHON": version, "BRIDGE_ARCH": _machine(), "AWS_DEFAULT_REGION": REGION})


def deploy(endpoint: str, **parameters: str) -> dict[str, str]:
    """Deploy the built bundle into the local AWS; gives the stack's outputs."""
    told = {
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Architecture": "arm64" if _machine() == "aarch64" else "x86_64",
    } | parameters
    overrides = [f"{name}={value}" for name, value in told.items()]
    sam(
        *("deploy", "--config-env", "local", "--stack-name", STACK, "--parameter-overrides", *overrides),
        environment=credentials(endpoint),
    )
    import boto3

    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def _machine() -> str:
    return "aarch64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"


def write_endpoints(told: dict[str, Any]) -> None:
    """Tell other processes where everything is."""
    ENDPOINTS.write_text(json.dumps(told, indent=2) + "\n")
