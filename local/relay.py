#!/usr/bin/env python3
"""Carries connections to ports of one address on to the same ports of another.

It stands on both sides of a container of ``sam local invoke``. On this machine it listens where containers reach it,
for what listens on 127.0.0.1 only. In the container it listens on 127.0.0.1, so that every address of the local run is
good there: a wrapper of the runtime (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html) and a part
of the layer, with the standard library only.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress


def listening(address: str, ports: Iterable[int]) -> list[socket.socket]:
    """Listen on ports of one address; raises OSError when that is none of this machine's, or a port is taken."""
    return [socket.create_server((address, port)) for port in ports]


def serve(sockets: Iterable[socket.socket], target: str) -> None:
    """Carry every connection to the same port of another address, in threads, until the process ends."""
    for one in sockets:
        threading.Thread(target=_accept, args=(one, (target, one.getsockname()[1])), daemon=True).start()


def _accept(listener: socket.socket, target: tuple[str, int]) -> None:
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(target, timeout=5)
        except OSError:
            client.close()
            continue
        server.settimeout(None)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def main() -> None:
    """Relay to `LOCAL_RUN_HOST` in a process of its own, and become the command that is named."""
    sockets = listening("127.0.0.1", map(int, os.environ["LOCAL_RUN_PORTS"].split(",")))
    command = os.getpid()
    if not os.fork():
        serve(sockets, os.environ["LOCAL_RUN_HOST"])
        while os.getppid() == command:
            time.sleep(1)
        return
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
