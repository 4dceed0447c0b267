"""Carries journalled actions out in processes of their own, which may kill themselves at any step.

Reads one line after the other: a JSON list of what the processes are to do, all of them at once. Answers each with a
line: the list of how they ended. The processes are forks of this one, which spares them its start.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import sys
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.actions.idempotency import Operation, execute
from loyalty_bridge.actions.idempotency_store import Record
from loyalty_bridge.errors import BridgeError
from loyalty_bridge.infra import aws
from tests.support.idempotency_table import SETTINGS

STEPS = ("before begin", "after begin", "before acting", "request sent", "after acting", "before end", "after end")
"""Where a process can be killed."""


def carry_out(upstream: str, job: dict[str, Any]) -> dict[str, Any]:
    """Carry an action out; gives how it ended."""
    host = urlsplit(upstream).netloc

    def reach(step: str) -> None:
        if step == job.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)

    def act(reference: str) -> Answer:
        reach("before acting")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("POST", f"/{reference}")
        reach("request sent")
        body = json.load(connection.getresponse())
        connection.close()
        reach("after acting")
        return Answer(200, body)

    def look(seen: Record) -> Answer | None:
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", f"/{seen.reference}")
        response = connection.getresponse()
        body = json.load(response)
        connection.close()
        return Answer(200, body) if response.status == 200 else None

    # The first request of a process that acts writes the beginning, the second the end.
    writes = itertools.chain(["begin", "end"], itertools.repeat(""))
    write = ""

    def before(**_: Any) -> None:
        nonlocal write
        write = next(writes)
        reach(f"before {write}")

    def after(**_: Any) -> None:
        reach(f"after {write}")

    aws.dynamodb().meta.events.register("before-call.dynamodb", before)
    aws.dynamodb().meta.events.register("after-call.dynamodb", after)

    def now() -> float:
        return time.time() + float(job.get("later", 0))

    try:
        operation = Operation(
            program="demo",
            action="book",
            key=job["key"],
            fingerprint="the same request",
            about={},
            send=act,
            reconcile=look if job.get("looks") else None,
            deadline=now() + float(job.get("seconds", 6)),
            repeat_window=120,
        )
        answer = execute(SETTINGS, operation, now=now)
    except BridgeError as error:
        return {"error": type(error).__name__}
    return {"answer": dict(answer.body)}


def fork(upstream: str, job: dict[str, Any]) -> tuple[int, int]:
    """Start a process; return its id and the pipe with its outcome."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(carry_out(upstream, job)).encode())
        os._exit(0)
    os.close(writing)
    return child, reading


def ended(child: int, reading: int) -> dict[str, Any]:
    """Wait for a process."""
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else json.loads(said or '{"error": "defect"}')


def main(upstream: str) -> None:
    """Work until standard input ends."""
    aws.dynamodb()  # made here, and not yet connected, each fork has it
    for line in sys.stdin:
        children = [*map(partial(fork, upstream), json.loads(line))]
        print(json.dumps([ended(*child) for child in children]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
