"""Runs a local AWS and deploys the bundle into it with `sam deploy`; needs neither an account nor Docker."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

from local import built, relay

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".local"
BUILT = HOME / "build"
"""The bundle, built for this machine; `make build` builds for AWS in another folder."""
CONTAINER = HOME / "container"
"""The bundle, built for Linux, for containers that reach the local run."""
ENDPOINTS = HOME / "endpoints.json"
ENV_VARS = HOME / "env-vars.json"
"""The variables of every deployed function, as `sam local invoke --env-vars` reads them."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
REGION = "us-east-1"
STACK = "loyalty-bridge-local"
_START_SECONDS = 30


def free_port() -> int:
    """Find a port of the loopback address that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def alone() -> Iterator[None]:
    """Lock the folder for one local run until the block ends, and remove the remains of an earlier one."""
    HOME.mkdir(exist_ok=True)
    with (HOME / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("a local run is under way in this folder: stop it with Ctrl-C where `make local` runs")
        ENDPOINTS.unlink(missing_ok=True)
        yield


@contextmanager
def local_aws() -> Iterator[str]:
    """Run a local AWS until the block ends; yield its endpoint."""
    HOME.mkdir(exist_ok=True)
    # It unpacks every function that it starts, and leaves them behind.
    temporary = mkdtemp(prefix="aws-", dir=HOME)
    try:
        with _local_aws(temporary) as url:
            yield url
    finally:
        # Forty thousand files: they go while nothing waits for it.
        subprocess.run(["/bin/sh", "-c", 'rm -rf "$0" >/dev/null 2>&1 &', temporary], check=False)


@contextmanager
def _local_aws(temporary: str) -> Iterator[str]:
    port = free_port()
    environment = os.environ | {
        "TMPDIR": temporary,
        "STATE_DIR": temporary,
        "LAMBDA_WARM_TTL_SECONDS": "86400",
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
            [_tool("aws/bin/ministack")],
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
            # The functions run as its children: the whole group ends, and nothing of it is kept.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_running() -> bool:
    """Return whether a local run of this folder answers."""
    if not ENDPOINTS.exists():
        return False
    address = urlsplit(json.loads(ENDPOINTS.read_text())["aws"])
    with socket.socket() as probe:
        return probe.connect_ex((str(address.hostname), address.port)) == 0


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
    """Return the environment variables with which AWS tools reach the local AWS."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _tool(path: str) -> Path:
    tool = ROOT / ".tools" / path
    if not tool.exists():
        sys.exit(f"{tool.relative_to(ROOT)} does not exist: run `make setup` first")
    return tool


def sam(*arguments: str, environment: dict[str, str]) -> None:
    """Run the SAM CLI in the project; show its output only when it fails."""
    variables = (
        os.environ | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"} | environment
    )
    done = subprocess.run(
        [_tool("sam/bin/sam"), *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}\n`sam {arguments[0]}` failed: its last lines above say why")


def build(folder: Path = BUILT, *, linux: bool = False) -> None:
    """Build the bundle for this interpreter's version, on this machine or on Linux, unless it is built already."""
    target = {"BRIDGE_PYTHON": PYTHON, "BRIDGE_ARCH": MACHINE, "AWS_DEFAULT_REGION": REGION}
    if not linux and platform.libc_ver()[0] != "glibc":
        target["BRIDGE_PLATFORM"] = "native"  # the local AWS runs the functions as processes of this machine
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, inputs = folder / "inputs", _digest(target)
        if stamp.exists() and stamp.read_text() == inputs:
            return
        sam("build", "--build-dir", str(folder), environment=target)
        template = folder / "template.yaml"
        built.write(template, built.for_target(built.read(template), PYTHON, MACHINE))
        stamp.write_text(inputs)


def _digest(target: dict[str, str]) -> str:
    """List the files that a build depends on."""
    digest = hashlib.sha256(json.dumps(target).encode())
    for path in sorted((ROOT / "template.yaml", *(ROOT / "shared").rglob("*"))):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def build_for_containers() -> None:
    """Build the bundle for `sam local invoke`: for Linux, with addresses that containers can reach."""
    build(CONTAINER, linux=True)
    template = CONTAINER / "template.yaml"
    built.write(template, built.for_containers(built.read(template)))
    shutil.copy(ROOT / "local/relay.py", CONTAINER / "SharedLayer")


def deploy(endpoint: str, **parameters: str) -> dict[str, str]:
    """Deploy the built bundle into the local AWS; return the stack's outputs."""
    template = BUILT / "local.yaml"
    built.write(template, built.for_local_aws(built.read(BUILT / "template.yaml"), endpoint))
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    sam(
        *("deploy", "--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local"),
        *("--template-file", str(template), "--stack-name", STACK),
        *("--parameter-overrides", *overrides),
        environment=credentials(endpoint),
    )
    import boto3

    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def write_endpoints(endpoints: dict[str, Any]) -> None:
    """Write the addresses for other processes."""
    ENDPOINTS.write_text(json.dumps(endpoints, indent=2) + "\n")


def environments() -> dict[str, dict[str, str]]:
    """Read the variables of every deployed function, by its name in the template."""
    import boto3

    resources = boto3.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    functions = boto3.client("lambda")
    return {
        one["LogicalResourceId"]: functions.get_function_configuration(FunctionName=one["PhysicalResourceId"])[
            "Environment"
        ]["Variables"]
        for one in resources
        if one["ResourceType"] == "AWS::Lambda::Function"
    }


def write_env_vars(addresses: list[str], containers: str) -> None:
    """Write the file for `sam local invoke --env-vars`; with `containers`, with addresses that containers can reach.

    Parameters
    ----------
    addresses
        URLs of what functions talk to: the local AWS first, then the simulators.
    """
    way = {"AWS_ENDPOINT_URL": addresses[0]}
    if containers:
        ports = [int(address.rpartition(":")[2]) for address in addresses]
        if is_address(containers):  # what a name means, Docker knows
            relay.serve(relay.listening(containers, ports), "127.0.0.1")
        way |= {
            "AWS_LAMBDA_EXEC_WRAPPER": "/opt/relay.py",
            "LOCAL_RUN_HOST": containers,
            "LOCAL_RUN_PORTS": ",".join(map(str, ports)),
        }
    functions = {name: variables | way for name, variables in environments().items()}
    ENV_VARS.write_text(json.dumps(functions, indent=2) + "\n")
