"""What a call costs: each function under Lambda's runtime interface emulator, beside a bare handler in the same run.

Cold: from the first request of a new process to its answer. Warm: p50 and p99 of the requests after it. Beyond: the p50
without that of the bare handler, and without the exchanges with the loyalty platform's simulator: the same ones, made
again with requests alone, over a connection that is open for lookups and one of its own for each action. Trips: to
DynamoDB, which is `benchmarks.dynamodb`, in memory. Client: what so many calls of DynamoDB's client take by
themselves, which is most of it and goes up and down with the machine. Imports: a look-up's against those of Powertools'
Logger and Metrics, one boto3 DynamoDB client and requests.

All of it runs on one processor, which is what Lambda gives to 1,769 MB
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html): on a virtual machine, to wake a process on
another one may take as long as a call of DynamoDB's client, so the result holds for that machine only.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests

from benchmarks.forward import process
from local import rie, stack
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.programs.connection import Connection, merge
from loyalty_bridge.settings import ProgramSettings
from simulators import convercus
from simulators.convercus import Convercus
from simulators.server import Answer, Request
from tests.support.template import resources

PROGRAM = "demo"
MEMBER = "C00001"
_BASE = (
    "from aws_lambda_powertools import Logger, Metrics; Logger(); Metrics(); "
    "import boto3; boto3.client('dynamodb'); import requests"
)
_LOOK_UP = "import app; from loyalty_bridge import aws; aws.dynamodb(); import requests"

Event = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the functions are run with.

    Attributes
    ----------
    environment
        Of the functions: their stores are the stand-in.
    key
        Of the connected program.
    convercus
        Where the loyalty platform's simulator is.
    asked
        What the loyalty platform was asked so far.
    """

    environment: Mapping[str, str]
    key: str
    convercus: str
    asked: list[Request]

    def trips(self) -> int:
        """Return how often DynamoDB was asked so far."""
        counts = requests.get(f"{self.environment['AWS_ENDPOINT_URL']}/counts", timeout=10).json()
        return int(counts.get("calls", 0))


@contextmanager
def bundle() -> Iterator[Bundle]:
    """Run the stand-in and the simulator, and connect a program."""
    asked: list[Request] = []
    answer = Convercus.answer

    def noting(upstream: Convercus, request: Request) -> Answer:
        asked.append(request)
        return answer(upstream, request)

    with (
        patch.object(Convercus, "answer", noting),
        process("benchmarks.dynamodb", "0") as aws_url,
        convercus.simulate(expires_in=3600) as upstream,
    ):
        way = stack.credentials(aws_url)
        tables = {_variable(name): name for name in resources("AWS::DynamoDB::Table")}
        queues = {f"{name}_QUEUE_URL": f"{aws_url}/1/{name.lower()}" for name in ("EVENTS", "BATCHES")}
        named = {"POWERTOOLS_SERVICE_NAME": "bench", "POWERTOOLS_METRICS_NAMESPACE": "bench"}
        others = {"SECRETS_KEY": "key", "PARKED_BUCKET": "none", "ALLOWED_HOSTS": "127.0.0.1"}
        with patch.dict(os.environ, way):
            settings = ProgramSettings(programs_table="ProgramsTable", secrets_key="key", allowed_hosts="127.0.0.1")
            api = {"base_url": upstream.url, "auth_url": upstream.url, "realm": PROGRAM, "interaction_id": "bench"}
            side = {"membership_optins": ["Newsletter"], "default_optins": ["Newsletter"], "api": api}
            connection = merge(Connection(), {"loyalty": side, "engagement": {"api_endpoint": upstream.url}})
            given = {"braze_api_key": "key", "convercus_client_secret": "secret"}
            repository.save(settings, None, PROGRAM, connection, given)
            key, _ = api_keys.create(settings, PROGRAM, "bench")
        program = upstream.program(PROGRAM, client_secret="secret")
        program.account(MEMBER, points=100)
        program.coupon("WELCOME")
        yield Bundle(way | tables | queues | named | others, key, upstream.url, asked)


def _variable(table: str) -> str:
    """Name the environment variable that holds the name of a table."""
    return f"{table.removesuffix('Table')}_TABLE".upper()


def event(key: str, method: str, path: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Event:
    """Return what makes a call as the gateway gives it; each has an idempotency key of its own."""

    def make() -> dict[str, Any]:
        headers = {"x-convercus-key": key, "content-type": "application/json"}
        return {
            "version": "2.0",
            "headers": headers | {"idempotency-key": uuid.uuid4().hex},
            "pathParameters": {"programId": PROGRAM, **path},
            "requestContext": {"http": {"method": method}, "timeEpoch": int(time.time() * 1000)},
            "body": json.dumps(body) if body else None,
            "isBase64Encoded": False,
        }

    return make


def calls(key: str) -> dict[str, Event]:
    """Return a good call of each function."""
    booking = {"booking_type": "EARNBOOKING", "booking_type_code": "B", "points": 1, "reason": "bench"}
    happened = {"eventType": "user_logged_in", "accountId": MEMBER, "payload": {}}
    return {
        "member_profile": event(key, "GET", {"accountId": MEMBER}),
        "member_coupons": event(key, "GET", {"accountId": MEMBER}),
        "assign_coupon": event(key, "POST", {"couponId": "WELCOME"}, {"account_id": MEMBER}),
        "assign_coupon_batch": event(key, "POST", {"couponId": "WELCOME"}, {"account_ids": [MEMBER]}),
        "book_points": event(key, "POST", {"accountId": MEMBER}, booking),
        "subscribe_email": event(key, "POST", {}, {"account_id": MEMBER, "status": "allowed"}),
        "receive_events": event(key, "POST", {}, happened),
    }


def measure(
    name: str, environment: Mapping[str, str], make: Event, count: int, folder: Path | None = None
) -> list[float]:
    """Return the milliseconds of each request: the first is the cold one."""
    with rie.running(name, environment, folder=folder) as function:
        took = []
        for _ in range(count + 1):
            began = time.perf_counter()
            answer = function.invoke(make())
            took.append((time.perf_counter() - began) * 1000)
            # A look-up that starts too slowly says so; from then on there is no excuse.
            failed = answer.get("statusCode", 200) >= 400 or (len(took) > 1 and '"error"' in answer.get("body", ""))
            if failed or "errorType" in answer:
                sys.exit(f"{name} answers {answer}")
    return took


def imports(rounds: int) -> dict[str, float]:
    """Return the median seconds of a process that imports what it needs, by what it is."""
    environment = os.environ | {
        "PYTHONPATH": str(stack.BUILT / "SharedLayer/python"),
        "POWERTOOLS_SERVICE_NAME": "bench",
        "POWERTOOLS_METRICS_NAMESPACE": "bench",
        "AWS_DEFAULT_REGION": stack.REGION,
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


def exchanges(url: str, asked: Sequence[Request], count: int, *, kept: bool) -> float:
    """Return the median milliseconds of exchanges with the simulator, made again with requests alone.

    Parameters
    ----------
    kept
        Over a connection that stays open.
    """
    took = []
    session = requests.Session()
    for _ in range(count if asked else 0):
        began = time.perf_counter()
        if not kept:
            session = requests.Session()
        for one in asked:
            headers = {name: text for name, text in one.headers.items() if name not in {"host", "content-length"}}
            session.request(one.method, url + one.target, headers=headers, data=one.body, timeout=10).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
        if not kept:
            session.close()
    return statistics.median(took) if took else 0.0


def client_call(count: int) -> float:
    """Return the median milliseconds of a call of DynamoDB's client by itself."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        aws.dynamodb().get_item(TableName="IdempotencyTable", Key={"id": {"S": "none"}}, ConsistentRead=True)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="warm requests of each function")
    count = parser.parse_args().requests
    stack.build()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with bundle() as running, tempfile.TemporaryDirectory() as bare:
        Path(bare, "app.py").write_text("def handler(event, context):\n    return {'statusCode': 200}\n")
        bare_p50 = statistics.median(measure("bare", running.environment, dict, count, Path(bare))[1:])
        _say(f"bare handler: p50 {bare_p50:.1f} ms; a call of DynamoDB's client by itself: {client_call(count):.1f} ms")
        _say(f"{'':22}{'cold ms':>10}{'warm p50':>10}{'p99':>8}{'upstream':>10}{'beyond':>8}{'trips':>7}{'client':>8}")
        for name, make in calls(running.key).items():
            trips, before = running.trips(), len(running.asked)
            cold, *warm = measure(name, running.environment, make, count)
            p50, p99 = statistics.median(warm), sorted(warm)[int(len(warm) * 0.99)]
            each = (running.trips() - trips) / len(warm)
            last = running.asked[len(running.asked) - round((len(running.asked) - before) / len(warm)) :]
            upstream = exchanges(running.convercus, last, count, kept=name.startswith("member_"))
            beyond, client = p50 - bare_p50 - upstream, each * client_call(count)
            _say(f"{name:22}{cold:10.0f}{p50:10.1f}{p99:8.1f}{upstream:10.1f}{beyond:8.1f}{each:7.1f}{client:8.1f}")
    seconds = imports(9)
    for name in ("member_profile", "member_coupons"):
        _say(f"imports of {name}: {seconds[name] / seconds['base']:.2f} of the base's {seconds['base'] * 1000:.0f} ms")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
