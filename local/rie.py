"""A function under Lambda's runtime interface emulator: time-outs, killed processes and cold starts are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from local.stack import BUILT, MACHINE, ROOT, free_port

_LAYERS = ":".join(str(BUILT / name / "python") for name in ("SharedLayer", "AdminLayer"))
_START_SECONDS = 20


class Function:
    """One execution environment: it takes one request at a time."""

    def __init__(self, address: str, process: subprocess.Popen[bytes]) -> None:
        self._url = f"http://{address}/2015-03-31/functions/function/invocations"
        self._process = process
        self._one_at_a_time = threading.Lock()

    def invoke(self, event: Mapping[str, Any], timeout: float = 120) -> Any:
        """Invoke the function; an exception of its own comes as an object with `errorType`."""
        with self._one_at_a_time:
            reply = requests.post(self._url, data=json.dumps(event).encode(), timeout=timeout)
        return reply.json() if reply.content else None

    def kill(self) -> None:
        """End the process of the function at once, whatever it does; the next request starts another one."""
        children = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False)
        for process in children.stdout.split():
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(int(process), signal.SIGKILL)


@contextmanager
def running(
    name: str,
    environment: Mapping[str, str],
    *,
    log: Path | None = None,
    folder: Path | None = None,
) -> Iterator[Function]:
    """Start the built function `functions/<name>` (or that of a folder) with the built layer; stop it at the end."""
    if sys.platform != "linux":
        sys.exit("Lambda's runtime interface emulator runs on Linux only: use WSL, or a container with Linux")
    (emulator,) = ROOT.glob(f".tools/sam/lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{MACHINE}")
    folder = folder or ROOT / "functions" / name
    address, runtime_api = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    # The interpreter of the development environment, for awslambdaric; the code is the layer's.
    variables = (
        os.environ
        | dict(environment)
        | {
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_REGION": environment.get("AWS_DEFAULT_REGION", "us-east-1"),
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": f"{folder}:{_LAYERS}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    )
    output = log.open("ab") if log else subprocess.DEVNULL
    process = subprocess.Popen(
        [
            *(emulator, "--runtime-interface-emulator-address", address, "--runtime-api-address", runtime_api),
            *(sys.executable, "-m", "awslambdaric", "app.handler"),
        ],
        cwd=folder,
        env=variables,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait(address, process)
        yield Function(address, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if log:
            output.close()  # type: ignore[union-attr]


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    import socket

    host, port = address.split(":")
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("the runtime interface emulator did not start")
