"""What carries a container's connections to the local run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request

import pytest

from local import relay
from local.stack import free_port
from simulators.server import Answer, serving
from tests.support.template import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers at 127.0.0.2 by itself")


def test_what_listens_on_one_address_is_reached_by_another() -> None:
    with serving(lambda request: Answer(200, request.body[::-1])) as url:
        port = int(url.rpartition(":")[2])
        relay.serve(relay.listening("127.0.0.2", [port]), "127.0.0.1")

        with urllib.request.urlopen(f"http://127.0.0.2:{port}", b"abc", timeout=10) as reply:
            result = reply.read()

    assert result == b"cba"


def test_a_wrapped_command_reaches_the_local_run_at_the_addresses_that_it_has_elsewhere() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.2", port)) as server:
        command = f"import socket; print(socket.create_connection(('127.0.0.1', {port}), 10).recv(9).decode())"
        environment = {"LOCAL_RUN_HOST": "127.0.0.2", "LOCAL_RUN_PORTS": str(port), "PATH": os.environ["PATH"]}
        with subprocess.Popen(
            [sys.executable, ROOT / "local/relay.py", sys.executable, "-c", command],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as wrapped:
            server.settimeout(20)
            connection, _ = server.accept()
            connection.sendall(b"reached")
            connection.close()
            found, _ = wrapped.communicate(timeout=20)

    assert found.strip() == "reached"
