"""Look-ups while AWS has bad moments: a frozen connection, a throttled call, a busy partition. The payload comes."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from loyalty_bridge.http_api import lookups
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import recent, secrets
from tests.support.http_events import LOOK_UPS, Api

AS_DEPLOYED = lookups.LIMIT_SECONDS

Weather = Callable[[int], Any]
"""What becomes of the n-th call of AWS: None lets it pass."""


@pytest.fixture
def deployed(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Return the API the times that it has when it is deployed, and a token."""
    api.get("members/A1/profile")
    monkeypatch.setattr(lookups, "LIMIT_SECONDS", AS_DEPLOYED)
    monkeypatch.setenv("STORE_REPLY_SECONDS", "0.6")
    monkeypatch.setattr(aws, "_AGAIN_SECONDS", 1.0)  # a busy machine may stall between two attempts
    aws._made.cache_clear()
    yield
    aws._made.cache_clear()


def dead(_: int) -> None:
    raise ConnectionClosedError(endpoint_url="https://aws")


def throttled(_: int) -> Any:
    class Raw:
        def stream(self, **__: Any) -> Iterator[bytes]:
            yield json.dumps({"__type": "com.amazonaws#ThrottlingException", "message": "slow down"}).encode()

    return AWSResponse("https://aws", 400, HTTPHeaders(), Raw())


def first(fault: Weather) -> Weather:
    return lambda number: fault(number) if number == 0 else None


def blow(client: Any, weather: Weather) -> None:
    numbers = itertools.count()
    client.meta.events.register_first("before-send", lambda **_: weather(next(numbers)))


def cold() -> None:
    """Let the container know nothing: neither the program nor its secrets."""
    recent.clear()
    secrets._decrypted.clear()


@pytest.mark.parametrize("path", LOOK_UPS)
@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"dynamodb": first(dead)}, id="a connection that died while it slept"),
        pytest.param({"dynamodb": first(throttled)}, id="one throttle of DynamoDB"),
        pytest.param({"kms": first(throttled)}, id="one throttle of KMS"),
        pytest.param({"kms": first(dead)}, id="a connection to KMS that died"),
        pytest.param({"dynamodb": first(dead), "kms": first(throttled)}, id="both"),
        pytest.param({"dynamodb": lambda number: throttled(number) if number % 3 else None}, id="a busy partition"),
    ],
)
def test_the_payload_comes_in_time(
    api: Api, deployed: None, faults: dict[str, Weather], is_cold: bool, path: str
) -> None:
    if is_cold:
        cold()
    for service, weather in faults.items():
        blow(getattr(aws, service)(), weather)
    took = []

    for _ in range(3):
        began = time.monotonic()
        answer = api.get(path)
        took.append(time.monotonic() - began)
        assert answer.status == 200
        assert "error" not in answer.body

    assert max(took) < AS_DEPLOYED + 0.5  # what the machine itself may take


def test_statistics_that_meet_a_dead_connection_are_written_all_the_same(
    api: Api, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loyalty_bridge.activity import store as activity

    monkeypatch.setattr(activity, "_paused_until", 0.0)
    blow(aws.dynamodb_once(), first(dead))

    api.post(
        "members/A1/bookings", {"booking_type": "EARNBOOKING", "booking_type_code": "B", "points": 5, "reason": "x"}
    )

    assert activity._paused_until == 0
