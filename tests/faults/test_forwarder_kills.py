"""The built forwarder is killed at random moments: nothing is lost, and doubled only what was under way."""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from local import rie, stack
from local.rie import Function
from loyalty_bridge.infra import aws
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze, simulate
from tests.conftest import connect
from tests.support.events import event
from tests.support.parked import load_parked
from tests.support.stores import environment, make_key, make_stores
from tests.support.transports import Queue, Stream, Transport, body_of, left

KILLS = int(os.environ.get("BRIDGE_KILLS", "3"))
MEMBERS = ("A1", "A2", "A3")
BATCH = 10
WARM_SECONDS, COLD_SECONDS = 0.15, 1.5
"""How long a batch takes, about."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(60 + 60 * KILLS),
    pytest.mark.skipif(not (stack.ROOT / ".tools/aws/bin/ministack").exists(), reason="needs `make setup`"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DeliverySettings, Braze, Function]]:
    """Run the built forwarder with stores of its own."""
    stack.build()
    with pytest.MonkeyPatch.context() as patch, stack.local_aws() as endpoint, simulate() as braze:
        way = stack.credentials(endpoint)
        for name, value in way.items():
            patch.setenv(name, value)
        aws._made.cache_clear()
        settings = make_stores(make_key())
        variables = environment(settings) | way
        named = {"POWERTOOLS_SERVICE_NAME": "loyalty-bridge", "POWERTOOLS_METRICS_NAMESPACE": "LoyaltyBridge"}
        log = tmp_path_factory.mktemp("forwarder") / "log"
        with rie.running("forward_events", variables | named, log=log) as function:
            yield settings, braze, function
        aws._made.cache_clear()


@pytest.mark.parametrize("moving", [Queue, Stream])
def test_whenever_the_forwarder_is_killed_every_event_arrives_in_order(
    bundle: tuple[DeliverySettings, Braze, Function], moving: type[Transport]
) -> None:
    settings, braze, function = bundle
    chance = random.Random(KILLS)
    program = f"killed-{moving.__name__}".lower()
    workspace = braze.workspace(program)
    connect(settings, braze.url, program, program)
    transport: Transport = moving()
    numbers: dict[str, int] = {}
    killed_under_way: set[str] = set()
    kills = 0
    while kills < KILLS or left(transport):
        if not left(transport):
            put(transport, program, numbers)
        batch = transport.batch(BATCH)
        ids = [json.loads(message.body)["eventId"] for message in left(transport)[:BATCH]]
        answer = invoke(
            function, batch, chance.uniform(0, chance.choice([WARM_SECONDS, COLD_SECONDS])) if kills < KILLS else None
        )
        if not answer or "batchItemFailures" not in answer:
            kills += 1
            killed_under_way |= set(ids)
            continue
        transport.settle(batch, [failure["itemIdentifier"] for failure in answer["batchItemFailures"]])

    times = Counter(one.object["properties"]["event_id"] for one in workspace.events)
    assert set(times) == set(numbers)
    assert {name for name, count in times.items() if count > 1} <= killed_under_way
    for member in MEMBERS:
        there = [
            one.object["properties"]["event_id"] for one in workspace.events if one.object["external_id"] == member
        ]
        first = list(dict.fromkeys(there))
        assert [numbers[name] for name in first] == sorted(numbers[name] for name in first)
        newest = max(number for name, number in numbers.items() if name.startswith(f"{member}-"))
        profile = workspace.profile(external_id=member)
        assert profile
        assert profile.custom["convercus_balance"]["points"] == newest
    assert not load_parked(settings, "rejected", program)
    assert not load_parked(settings, "held", program)


def invoke(function: Function, batch: dict[str, Any], killed_after: float | None) -> Any:
    """Let the function handle a batch, and kill it after some seconds, if it takes that long."""
    if killed_after is None:
        return function.invoke(batch)
    killer = threading.Timer(killed_after, function.kill)
    killer.start()
    answer = function.invoke(batch)
    killer.cancel()
    killer.join()
    return answer


def put(transport: Transport, program: str, numbers: dict[str, int]) -> None:
    """Put three batches of events on the transport."""
    for _ in range(3 * BATCH):
        number = len(numbers)
        member = MEMBERS[number % len(MEMBERS)]
        name = f"{member}-{number}"
        numbers[name] = number
        values: dict[str, Any] = {"eventId": name, "programId": program, "accountId": member}
        second = f"2026-03-01T10:{number // 60 % 60:02d}:{number % 60:02d}Z"
        body = event(**values, occurredAt=second, payload={"points": number})
        transport.put(body_of(body), member)
