"""Measure the forwarder, and the naive way beside it, against an engagement platform on the loopback address.

Kinesis batches of 1,000 records (`benchmarks.traffic`) are made before the clock starts. They are handled by as
many containers as Lambda would run for one shard, which is the template's parallelization factor
(in the three ways that `benchmarks.containers` describes). The platform, Braze or MoEngage, is its
simulator in a process of its own, over TLS, as it is reached, or without (``--plain``); it counts objects and replies
after 0, 50 or 100 ms.
DynamoDB is `benchmarks.dynamodb` in a separate process, which replies after 5 ms. Delivery log and attribute state are
empty at the start of each run, so every member is new and every value is written: the highest cost.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import requests

from benchmarks import containers
from benchmarks.containers import SETTINGS, Batch, Programs, Way
from benchmarks.traffic import batches
from loyalty_bridge.platforms.braze.settings import BrazeSettings
from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
from loyalty_bridge.platforms.moengage.settings import MoEngageSettings
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Connection, Program
from tests.support import tls

WAYS: tuple[Way, ...] = get_args(Way)
STORE_SECONDS = "0.005"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, or of several the median of each number.

    Attributes
    ----------
    platform
        The engagement platform.
    reply_ms
        What it waits before it replies.
    cpu_us
        Processor time of the containers, in microseconds per event.
    least_requests
        How many requests the objects need at least: of each batch and program, by their number and by their bytes.
    workers
        Threads that may send, over all containers and programs.
    round_trips
        To DynamoDB, per batch.
    read_units, write_units
        Of DynamoDB, per million events.
    """

    platform: str
    way: Way
    programs: int
    reply_ms: int
    events_per_second: float
    cpu_us: float
    objects: int
    requests: int
    least_requests: int
    connections: int
    workers: int
    round_trips: float
    read_units: float
    write_units: float


def measure(way: Way, shares: Sequence[Sequence[Batch]], programs: Programs, reply_ms: int, aws_url: str) -> Measured:
    """Let each container handle its share of the batches, and ask the two servers what they have seen."""
    for program in programs.values():
        _simulator(program, "PUT", json={"latency": reply_ms / 1000, **_key_of(program)})
        _simulator(program, "POST", "/reset")
    requests.delete(f"{aws_url}/counts", timeout=10).raise_for_status()

    results = containers.run(way, shares, programs)

    seen = [_simulator(program, "GET") for program in programs.values()]
    counts = requests.get(f"{aws_url}/counts", timeout=10).json()
    events = sum(len(batch["Records"]) for share in shares for batch in share)
    return Measured(
        platform=next(iter(programs.values())).connection.engagement.platform,
        way=way,
        programs=len(programs),
        reply_ms=reply_ms,
        events_per_second=events / (max(one.ended for one in results) - min(one.began for one in results)),
        cpu_us=sum(one.cpu for one in results) / events * 1e6,
        objects=sum(sum(one["processed"].values()) for one in seen),
        requests=sum(sum(one["requests"].values()) for one in seen),
        least_requests=sum(one.least_requests for one in results),
        connections=sum(one["connections"] for one in seen),
        workers=len(shares) * len(programs) * containers.WORKERS,
        round_trips=counts.get("calls", 0) / sum(map(len, shares)),
        read_units=counts.get("read_units", 0) / events * 1e6,
        write_units=counts.get("write_units", 0) / events * 1e6,
    )


def median(runs: Sequence[Measured]) -> Measured:
    """Return the median of each number."""
    rows = [asdict(run) for run in runs]
    numbers = {
        name: statistics.median(one[name] for one in rows) for name in rows[0] if name not in {"way", "platform"}
    }
    return Measured(**(rows[0] | numbers))


def _simulator(program: Program, method: str, path: str = "", **options: Any) -> Any:
    """Call the simulator's routes for a program's workspace, whose key is the program's id."""
    url = f"{program.connection.engagement.api_endpoint}/_simulator/workspaces/{program.id}{path}"
    reply = requests.request(method, url, timeout=60, **options)
    reply.raise_for_status()
    return reply.json()


def _key_of(program: Program) -> dict[str, str]:
    """Return MoEngage's setting for the workspace's key; Braze's workspaces are named by their keys."""
    return {"key": program.id} if program.connection.engagement.platform == "moengage" else {}


@contextmanager
def process(*arguments: str) -> Iterator[str]:
    """Run a server; gives its URL."""
    with subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


@contextmanager
def _servers(platform: str, *, plain: bool) -> Iterator[tuple[str, str]]:
    """Run the platform and AWS; gives their URLs. This process and its children trust them."""
    with ExitStack() as stack:
        aws_url = stack.enter_context(process("benchmarks.dynamodb", STORE_SECONDS))
        environment = {
            "AWS_ENDPOINT_URL": aws_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if plain:
            platform_url = stack.enter_context(process("benchmarks.platforms", platform))
        else:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            certificate = tls.certificate(home)
            authorities = str(tls.authorities(home, certificate))
            environment["REQUESTS_CA_BUNDLE"] = authorities  # for `requests.post`
            stack.enter_context(patch("certifi.where", lambda: authorities))  # for the forwarder
            platform_url = stack.enter_context(process("benchmarks.platforms", platform, str(certificate)))
        stack.enter_context(patch.dict(os.environ, environment))
        yield platform_url, aws_url


def _connect(program: str, platform: str, url: str) -> Program:
    engagement: BrazeSettings | MoEngageSettings = BrazeSettings(api_endpoint=url)
    if platform == "moengage":
        engagement = MoEngageSettings(api_endpoint=url, workspace_id=program)
    side = ConvercusSettings(membership_optins=("Newsletter",), default_optins=("Newsletter",))
    (secret,) = engagement.secrets
    return repository.save(SETTINGS, None, program, Connection(loyalty=side, engagement=engagement), {secret: program})


def bench(arguments: argparse.Namespace) -> Iterator[list[Measured]]:
    """Measure all ways for every combination of the arguments, repeatedly, and yield the medians."""
    with _servers(arguments.platform, plain=arguments.plain) as (platform_url, aws_url):
        for count in arguments.programs:
            shares = batches(arguments.events, programs=count, containers=arguments.containers)
            # In another process: the containers must not inherit a connection to AWS.
            with multiprocessing.get_context("fork").Pool(1) as pool:
                ids = [f"program-{number}" for number in range(count)]
                connected = pool.starmap(_connect, [(id_, arguments.platform, platform_url) for id_ in ids])
            programs = {program.id: program for program in connected}
            for reply_ms in arguments.reply_ms:
                runs = [
                    measure(way, shares, programs, reply_ms, aws_url) for _ in range(arguments.repeat) for way in WAYS
                ]
                yield [median([run for run in runs if run.way == way]) for way in WAYS]


_COLUMNS = (
    "reply programs way    events/s  ratio  cpu/event  requests  least  over  connections  trips/batch   RCU/M   WCU/M"
)


def rows(naive: Measured, off: Measured, on: Measured) -> Iterator[str]:
    """Yield lines of the table. The ratio of events/s is to the naive way, of processor time to `off`."""
    for one in (naive, off, on):
        ratio = one.events_per_second / naive.events_per_second
        over = 100 * (one.requests / one.least_requests - 1)
        yield (
            f"{one.reply_ms:3d}ms {one.programs:8d} {one.way:6}{one.events_per_second:9.0f} {ratio:5.2f}x"
            f"{one.cpu_us:8.0f}us {one.requests:9d} {one.least_requests:6d} {over:4.1f}%"
            f"{one.connections:7d}/{one.workers:<6d}{one.round_trips:9.1f}"
            f"{one.read_units / 1e6:9.2f}M{one.write_units / 1e6:6.2f}M"
        )


def goals(measured: Sequence[Sequence[Measured]]) -> Iterator[tuple[str, bool]]:
    """Yield each goal with what was measured, and whether it is met."""
    for naive, off, on in measured:
        case = f"{off.reply_ms} ms, {off.programs} program(s)"
        over = max(one.requests / one.least_requests for one in (off, on)) - 1
        yield f"{case}: {100 * over:.2f} % more requests than the least possible (at most 1 %)", over <= 0.01
        yield f"{case}: {off.connections} connections for {off.workers} workers", off.connections <= off.workers
        speed = off.events_per_second / naive.events_per_second
        least_speed = 3 if off.reply_ms >= 100 else 1
        yield f"{case}: {speed:.2f} x the naive way's events/s (at least {least_speed})", speed >= least_speed
        cpu = on.cpu_us / off.cpu_us
        yield f"{case}: {cpu:.2f} x the processor time with delivery log and attribute state (at most 2)", cpu <= 2


def main() -> None:
    """Measure, print, write down."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forward", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each combination, of which the median counts")
    parser.add_argument("--containers", type=int, default=2)
    parser.add_argument("--reply-ms", type=int, nargs="+", default=[0, 50, 100])
    parser.add_argument("--programs", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--platform", choices=["braze", "moengage"], default="braze")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--quick", action="store_true", help="few events and no waiting: to see that it works")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.events, arguments.reply_ms = 3000, [0]

    load = os.getloadavg()[0]
    print(_COLUMNS)
    measured = []
    for runs in bench(arguments):
        measured.append(runs)
        print(*rows(*runs), sep="\n", flush=True)
    print(f"\n{arguments.events} events, load before {load:.1f}, after {os.getloadavg()[0]:.1f}\n")
    for goal, is_met in goals(measured):
        print("met   " if is_met else "MISSED", goal)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for runs in measured for one in runs], indent=2) + "\n")


if __name__ == "__main__":
    main()
