"""A store or destination that fails at once: what is given back comes again after a pause, and nothing is given up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import redelivery, sender
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed

NO_TIME_AT_ALL: dict[str, Callable[[], dict[str, str]]] = {
    "0": lambda: {"retry-after": "0"},
    "a date that is past": lambda: {"retry-after": format_datetime(datetime.now(UTC) - timedelta(minutes=5))},
    "a reset that is past": lambda: {"x-ratelimit-reset": f"{time.time() - 2:.0f}"},
    "nothing": dict,
}


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(redelivery, "sleep", waits.append)
    monkeypatch.setattr(redelivery, "_returned", {})
    return waits


@pytest.fixture
def stream(stores: DeliverySettings) -> DeliverySettings:
    return replace(stores, events_queue_url="", events_stream="events")


def fail(monkeypatch: pytest.MonkeyPatch, client: Any, operation: str) -> None:
    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "x"}}, operation)

    monkeypatch.setattr(client, operation, refuse)


@pytest.mark.parametrize("headers", NO_TIME_AT_ALL.values(), ids=NO_TIME_AT_ALL)
def test_a_rate_limit_that_reports_no_time_to_wait_is_waited_for_nevertheless(
    stores: DeliverySettings, braze: Braze, headers: Callable[[], dict[str, str]]
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=429, headers=headers(), times=3)
    began = time.monotonic()

    outcome = forward(queued(event()), stores, 30)

    assert (outcome.to_retry, outcome.counts["requests"]) == ([], 4)
    assert time.monotonic() - began >= 0.25 + 0.5 + 1.0


@pytest.mark.parametrize(
    ("service", "operation"), [("dynamodb", "batch_get_item"), ("kms", "decrypt")], ids=["DynamoDB", "KMS"]
)
def test_a_stream_waits_longer_each_time_a_store_refuses(
    stream: DeliverySettings,
    braze: Braze,
    paused: list[float],
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    operation: str,
) -> None:
    connect(stream, braze.url)
    batch = streamed(event())

    with monkeypatch.context() as patch:
        fail(patch, getattr(aws, service)(), operation)
        failed = [forward(batch, stream, 50).to_retry for _ in range(4)]
    mended = forward(batch, stream, 50).to_retry

    assert all(failed)
    assert [round(wait) for wait in paused] == [1, 2, 4, 8]
    assert mended == []


def test_a_destination_that_fails_at_once_is_held_long_before_a_stream_gives_up(
    stream: DeliverySettings, braze: Braze, paused: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stream, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=503, times=None)
    batch, began = streamed(event()), time.time()
    monkeypatch.setattr(sender, "ATTEMPTS", 1)

    for _ in range(30):
        if not forward(batch, stream, 50).to_retry:
            break
        _fail_since(stream, began - sum(paused))

    assert repository.load(stream, ["demo"])["demo"].delivery_state.state == "held"
    assert len(paused) < 20
    assert sum(paused) < 300


def test_what_there_was_no_time_for_is_given_back_without_a_pause(
    stream: DeliverySettings, braze: Braze, paused: list[float]
) -> None:
    connect(stream, braze.url)

    outcome = forward(streamed(event()), stream, 0.5)

    assert outcome.to_retry
    assert paused == []


def _fail_since(settings: DeliverySettings, then: float) -> None:
    """Let as much time pass for the program as was not slept."""
    aws.dynamodb().update_item(
        TableName=settings.programs_table,
        Key={"program": {"S": "demo"}, "item": {"S": "delivery_state"}},
        UpdateExpression="SET failing_since = :then",
        ExpressionAttributeValues={":then": {"N": f"{then:.3f}"}},
    )
