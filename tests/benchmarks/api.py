"""What a call costs: each function under Lambda's runtime interface emulator, beside a bare handler in the same run.

Cold: from the first request of a new process to its answer. Warm: p50 and p99 of the requests after it; what the call
to the loyalty platform takes is measured beside it and shown. Imports: a look-up's against those of Powertools' Logger
and Metrics, one boto3 DynamoDB client and requests. DynamoDB is the local AWS's, in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from local import rie, stack
from local.bundle import PROGRAMS, Deployed, deployed, say
from local.invoke import function_environment

PROGRAM = next(iter(PROGRAMS))
MEMBER = "C00001"
_BASE = (
    "from aws_lambda_powertools import Logger, Metrics; Logger(); Metrics(); "
    "import boto3; boto3.client('dynamodb'); import requests"
)
_LOOK_UP = "import app; from loyalty_bridge import aws; aws.dynamodb(); import requests"

Event = Callable[[], dict[str, Any]]


def event(bundle: Deployed, method: str, path: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Event:
    """Give what makes a call as the gateway gives it; each has an idempotency key of its own."""

    def make() -> dict[str, Any]:
        headers = {"x-convercus-key": bundle.keys[PROGRAM], "content-type": "application/json"}
        return {
            "version": "2.0",
            "headers": headers | {"idempotency-key": uuid.uuid4().hex},
            "pathParameters": {"programId": PROGRAM, **path},
            "requestContext": {"http": {"method": method}, "timeEpoch": int(time.time() * 1000)},
            "body": json.dumps(body) if body else None,
            "isBase64Encoded": False,
        }

    return make


def calls(bundle: Deployed) -> dict[str, Event]:
    """Give a good call of each function."""
    booking = {"booking_type": "EARNBOOKING", "booking_type_code": "B", "points": 1, "reason": "bench"}
    happened = {"eventType": "user_logged_in", "accountId": MEMBER, "payload": {}}
    return {
        "member_profile": event(bundle, "GET", {"accountId": MEMBER}),
        "member_coupons": event(bundle, "GET", {"accountId": MEMBER}),
        "assign_coupon": event(bundle, "POST", {"couponId": "WELCOME"}, {"account_id": MEMBER}),
        "assign_coupon_batch": event(bundle, "POST", {"couponId": "WELCOME"}, {"account_ids": [MEMBER]}),
        "book_points": event(bundle, "POST", {"accountId": MEMBER}, booking),
        "subscribe_email": event(bundle, "POST", {}, {"account_id": MEMBER, "status": "allowed"}),
        "receive_events": event(bundle, "POST", {}, happened),
    }


def measure(
    name: str, environment: Mapping[str, str], make: Event, count: int, folder: Path | None = None
) -> list[float]:
    """Give the milliseconds of each request: the first is the cold one."""
    with rie.running(name, environment, folder=folder) as function:
        took = []
        for _ in range(count + 1):
            began = time.perf_counter()
            answer = function.invoke(make())
            took.append((time.perf_counter() - began) * 1000)
            if answer.get("statusCode", 200) >= 400 or "errorType" in answer:
                sys.exit(f"{name} answers {answer}")
    return took


def imports(rounds: int) -> dict[str, float]:
    """Give the median seconds of a process that imports what it needs, by what it is."""
    environment = os.environ | {
        "PYTHONPATH": str(stack.ROOT / ".aws-sam/build/SharedLayer/python"),
        "POWERTOOLS_SERVICE_NAME": "bench",
        "POWERTOOLS_METRICS_NAMESPACE": "bench",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    took: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, code in {"base": _BASE, "member_profile": _LOOK_UP, "member_coupons": _LOOK_UP}.items():
            folder = stack.ROOT / "functions" / name
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", code], check=True, env=environment, cwd=folder if folder.exists() else stack.ROOT
            )
            took.setdefault(name, []).append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def upstream(bundle: Deployed, count: int) -> float:
    """Give the median milliseconds of one exchange with the sandbox Convercus, as a look-up makes one."""
    took = []
    with requests.Session() as session:
        for _ in range(count):
            began = time.perf_counter()
            session.get(f"{bundle.convercus.url}/v3/accountdetails/{MEMBER}", timeout=10)
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.api", description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="warm requests of each function")
    count = parser.parse_args().requests
    with deployed() as bundle, tempfile.TemporaryDirectory() as bare:
        Path(bare, "app.py").write_text("def handler(event, context):\n    return {'statusCode': 200}\n")
        program = bundle.convercus.program(PROGRAM, expires_in=3600)
        program.account(MEMBER, points=100)
        program.coupon("WELCOME")
        took = {"bare handler": measure("bare", stack.credentials("http://127.0.0.1:9"), dict, count, Path(bare))}
        for name, make in calls(bundle).items():
            took[name] = measure(name, function_environment(name), make, count)
        exchange = upstream(bundle, count)
    say(f"\n{'':22}{'cold ms':>10}{'warm p50':>10}{'p99':>8}{'beyond bare p50':>18}")
    bare_p50 = statistics.median(took["bare handler"][1:])
    for name, (cold, *warm) in took.items():
        p50, p99 = statistics.median(warm), sorted(warm)[int(len(warm) * 0.99)]
        say(f"{name:22}{cold:10.0f}{p50:10.1f}{p99:8.1f}{p50 - bare_p50:18.1f}")
    say(f"one exchange with the loyalty platform's sandbox: {exchange:.1f} ms")
    seconds = imports(9)
    for name in ("member_profile", "member_coupons"):
        say(f"imports of {name}: {seconds[name] / seconds['base']:.2f} of the base's {seconds['base'] * 1000:.0f} ms")


if __name__ == "__main__":
    main()
