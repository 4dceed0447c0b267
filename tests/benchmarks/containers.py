"""The containers of the benchmark, and the three ways in which they deliver a batch.

``naive``
    Parses, maps and translates as the forwarder does, then posts 75 objects at a time with `requests.post` from a
    thread pool that has as many workers as the forwarder: no session, no merging, no order, no ledger.
``off``
    The forwarder without ledger and member state: nothing is looked up, hashed or written. Programs are in memory.
``on``
    The forwarder as it is deployed.
"""

from __future__ import annotations

import base64
import gc
import json
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import requests

from loyalty_bridge import aws
from loyalty_bridge.delivery import aliases, lanes, memory, send
from loyalty_bridge.delivery.forward import forward
from loyalty_bridge.delivery.state import Mark, MemberState
from loyalty_bridge.destinations import braze
from loyalty_bridge.programs import store
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.settings import DeliverySettings
from loyalty_bridge.sources import convercus

Way = Literal["naive", "off", "on"]
Batch = dict[str, Any]
"""A Lambda event."""
Programs = Mapping[str, Program]

WORKERS = send.WORKERS
"""Of a container, for each program."""

SETTINGS = DeliverySettings(
    programs_table="ProgramsTable",
    secrets_key="key",
    ledger_table="LedgerTable",
    members_table="MembersTable",
    kept_table="KeptTable",
    kept_bucket="none",
)


class Told(NamedTuple):
    """What a container tells at its end.

    Attributes
    ----------
    began, ended
        Of `time.monotonic`.
    cpu
        Seconds of its processor time.
    least_requests
        How many requests the objects of its batches need at least.
    """

    began: float
    ended: float
    cpu: float
    least_requests: int


def run(way: Way, shares: Sequence[Sequence[Batch]], programs: Programs) -> list[Told]:
    """Let each container, a process, handle its batches one after the other; the clock starts when all are warm."""
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(len(shares)), context.SimpleQueue()
    gc.collect()
    gc.freeze()  # a container's memory does not hold the whole stream: its collector must not walk it
    containers = [context.Process(target=_contain, args=(way, share, programs, start, told)) for share in shares]
    for container in containers:
        container.start()
    gc.unfreeze()
    for container in containers:
        container.join()
    if any(container.exitcode for container in containers):
        sys.exit("a container failed")
    return [told.get() for _ in containers]


def least(objects: int) -> int:
    """Tell how many requests so many objects of one program need at least."""
    return -(-objects // braze.MAX_OBJECTS)


def _contain(way: Way, share: Sequence[Batch], programs: Programs, start: Any, told: Any) -> None:
    noted: list[int] = []
    with ExitStack() as stack:
        deliver = _prepared(way, programs, noted, stack)
        start.wait()
        began, cpu = time.monotonic(), time.process_time()
        for batch in share:
            deliver(batch)
        told.put(Told(began, time.monotonic(), time.process_time() - cpu, sum(noted)))


def _prepared(way: Way, programs: Programs, noted: list[int], stack: ExitStack) -> Callable[[Batch], None]:
    """Give what delivers a batch and notes how few requests each of its programs needs."""
    if way == "naive":
        pool = stack.enter_context(ThreadPoolExecutor(WORKERS * len(programs)))
        return lambda batch: noted.extend(_naively(batch, programs, pool))
    if way == "on":
        aws.dynamodb()
    else:
        for where, name, stand_in in (
            (store, "load", lambda *_: programs),
            (lanes, "decrypt", lambda _, ciphertext: ciphertext.decode()),
            (memory, "decrypt", lambda _, ciphertext: ciphertext.decode()),
            (memory, "look_up", lambda *_: memory.Known({}, {})),
            (memory, "write_down", lambda *_: None),
            (aliases, "learn", lambda *_: None),
            (MemberState, "mark", lambda _, time, __: Mark(time, b"")),
        ):
            stack.enter_context(patch.object(where, name, stand_in))
    whole: Any = send
    pack = whole.pack

    def counting(groups: Sequence[Sequence[Any]], *rules: Any) -> Any:
        noted.append(least(sum(map(len, groups))))
        return pack(groups, *rules)

    stack.enter_context(patch.object(send, "pack", counting))
    return _forward


def _forward(batch: Batch) -> None:
    outcome = forward(batch, SETTINGS, 60)
    if outcome.again or outcome.counts["refused"] or outcome.counts["not_written_down"]:
        sys.exit(f"not everything was sent: {outcome.counts} {outcome.problems}")


def _naively(batch: Batch, programs: Programs, pool: ThreadPoolExecutor) -> list[int]:
    """Deliver a batch as one would without much thought."""
    objects: defaultdict[str, list[Any]] = defaultdict(list)
    for record in batch["Records"]:
        document = json.loads(base64.b64decode(record["kinesis"]["data"]))
        received = datetime.fromtimestamp(record["kinesis"]["approximateArrivalTimestamp"], UTC)
        side: Any = programs[document["programId"]].connection
        event: Any = convercus.events(document)[0]
        member = convercus.member(event) or ""
        update = convercus.read(event, side.loyalty.rules, member=member, received=received)
        made = braze.translate(update, side.engagement.rules)
        objects[document["programId"]] += [
            *braze.attribute_objects(made.identity, made.attributes, side.engagement.rules),
            *(one for one in (made.event, made.purchase) if one),
        ]
    posts = [
        pool.submit(_post, programs[program], braze.body(chosen[start : start + braze.MAX_OBJECTS]))
        for program, chosen in objects.items()
        for start in range(0, len(chosen), braze.MAX_OBJECTS)
    ]
    for post in posts:
        post.result().raise_for_status()
    return [least(len(chosen)) for chosen in objects.values()]


def _post(program: Program, body: bytes) -> requests.Response:
    headers = {"Authorization": f"Bearer {program.id}", "Content-Type": "application/json"}
    endpoint = program.connection.engagement.api_endpoint
    return requests.post(f"{endpoint}/users/track", data=body, headers=headers, timeout=60)
