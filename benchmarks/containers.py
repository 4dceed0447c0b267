"""The containers of the benchmark, and the three ways in which they deliver a batch.

``naive``
    Parses, maps and translates as the forwarder does, then posts what a request holds (75 objects for Braze, 100 KB for
    MoEngage) with `requests.post` from a thread pool that has as many workers as the forwarder: no session, no merging,
    no order, no delivery log.
``off``
    The forwarder without delivery log and attribute state. It looks up, hashes and writes nothing; programs are in
    memory.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import requests

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import deduplication, engagement_client, identities, sender
from loyalty_bridge.pipeline.attribute_state import AttributeState, AttributeVersion
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.pipeline.packing import Weight
from loyalty_bridge.platforms.base import WireObject
from loyalty_bridge.platforms.braze import client as braze_api
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.moengage import client as moengage_api
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.platforms.moengage.settings import MoEngageSettings
from loyalty_bridge.platforms.registry import ENGAGEMENT
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.settings import DeliverySettings

Way = Literal["naive", "off", "on"]
Batch = dict[str, Any]
"""A Lambda event."""
Programs = Mapping[str, Program]

WORKERS = sender.WORKERS
"""Of a container, for each program."""

SETTINGS = DeliverySettings(
    programs_table="ProgramsTable",
    secrets_key="key",
    delivery_log_table="DeliveryLogTable",
    members_table="MembersTable",
    parked_table="ParkedTable",
    parked_bucket="none",
)


class Result(NamedTuple):
    """What a container measured.

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


def run(way: Way, shares: Sequence[Sequence[Batch]], programs: Programs) -> list[Result]:
    """Let each container, a process, handle its batches one after the other; the clock starts when all are warm."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(len(shares)), context.SimpleQueue()
    gc.collect()
    gc.freeze()  # a container's memory does not hold the whole stream: its collector must not walk it
    containers = [context.Process(target=_contain, args=(way, share, programs, start, results)) for share in shares]
    for container in containers:
        container.start()
    gc.unfreeze()
    for container in containers:
        container.join()
    if any(container.exitcode for container in containers):
        sys.exit("a container failed")
    return [results.get() for _ in containers]


def least(weights: Sequence[Weight], capacity: Weight) -> int:
    """Return how many requests objects of one program need at least, by what they weigh and what a request holds."""
    needed: Iterator[int] = (
        -(-sum(used) // limit) for used, limit in zip(zip(*weights, strict=True), capacity, strict=True)
    )
    return max(needed)


def _contain(way: Way, share: Sequence[Batch], programs: Programs, start: Any, results: Any) -> None:
    noted: list[int] = []
    with ExitStack() as stack:
        deliver = _prepared(way, programs, noted, stack)
        start.wait()
        began, cpu = time.monotonic(), time.process_time()
        for batch in share:
            deliver(batch)
        results.put(Result(began, time.monotonic(), time.process_time() - cpu, sum(noted)))


def _prepared(way: Way, programs: Programs, noted: list[int], stack: ExitStack) -> Callable[[Batch], None]:
    """Return what delivers a batch and notes how few requests each of its programs needs."""
    if way == "naive":
        pool = stack.enter_context(ThreadPoolExecutor(WORKERS * len(programs)))
        return lambda batch: noted.extend(_naively(batch, programs, pool))
    if way == "on":
        aws.dynamodb()
    else:
        for where, name, stand_in in (
            (repository, "load", lambda *_: programs),
            (engagement_client, "decrypt", lambda _, ciphertext: ciphertext.decode()),
            (deduplication, "decrypt", lambda _, ciphertext: ciphertext.decode()),
            (deduplication, "look_up", lambda *_: deduplication.Known({}, {})),
            (deduplication, "save", lambda *_: deduplication.Saved(0, frozenset())),
            (identities, "learn", lambda *_: None),
            (AttributeState, "version", lambda _, time, __: AttributeVersion(time, b"")),
        ):
            stack.enter_context(patch.object(where, name, stand_in))
    whole: Any = sender
    pack = whole.pack

    def counting(groups: Sequence[Sequence[Any]], weigh: Callable[[Any], Weight], capacity: Weight) -> Any:
        noted.append(least([weigh(item) for group in groups for item in group], capacity))
        return pack(groups, weigh, capacity)

    stack.enter_context(patch.object(sender, "pack", counting))
    return _forward


def _forward(batch: Batch) -> None:
    outcome = forward(batch, SETTINGS, 60)
    if outcome.to_retry or outcome.counts["rejected"] or outcome.counts["delivery_not_recorded"]:
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
        speaks = ENGAGEMENT[side.engagement.platform]
        made = speaks.translate(update, side.engagement.rules)
        objects[document["programId"]] += [
            *speaks.attribute_objects(made.identity, made.attributes, side.engagement.rules),
            *(one for one in (made.event, made.purchase) if one),
        ]
    posts = [
        pool.submit(_post, programs[program], chosen)
        for program, found in objects.items()
        for chosen in _cut(found, programs[program])
    ]
    for post in posts:
        post.result().raise_for_status()
    return [
        least(_weights(found, programs[program]), _capacity(programs[program])) for program, found in objects.items()
    ]


def _weights(objects: Sequence[WireObject], program: Program) -> list[Weight]:
    side = program.connection.engagement
    return [ENGAGEMENT[side.platform].weigh(one, side.rules) for one in objects]


def _capacity(program: Program) -> Weight:
    side = program.connection.engagement
    return ENGAGEMENT[side.platform].capacity(side.rules)


def _cut(objects: Sequence[WireObject], program: Program) -> Iterator[list[WireObject]]:
    """Cut objects where a request is full."""
    capacity = _capacity(program)
    chosen: list[WireObject] = []
    room = capacity
    for one, weight in zip(objects, _weights(objects, program), strict=True):
        if any(used > left for used, left in zip(weight, room, strict=True)):
            yield chosen
            chosen, room = [], capacity
        chosen.append(one)
        room = tuple(left - used for used, left in zip(weight, room, strict=True))
    yield chosen


def _post(program: Program, objects: Sequence[WireObject]) -> requests.Response:
    side = program.connection.engagement
    body = ENGAGEMENT[side.platform].body(objects)
    if isinstance(side, MoEngageSettings):
        request = moengage_api.data(side.api_endpoint, side.workspace_id, program.id, moengage.path(objects), body)
    else:
        request = braze_api.users_track(side.api_endpoint, program.id, body)
    return requests.post(request.url, data=request.body, headers=dict(request.headers), timeout=60)
