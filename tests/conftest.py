"""What many tests need: AWS in this process, made from the template, and a connected program."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from moto.core.botocore_stubber import BotocoreStubber

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import redelivery
from loyalty_bridge.programs import recent, repository
from loyalty_bridge.programs.connection import Connection, Program, merge
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze, simulate
from tests.support.quick_moto import quicken
from tests.support.stores import aws_in_this_process, empty_stores

KEY = "braze-rest-api-key-1234"

# Read when a module that counts or logs is imported, which is before any fixture runs.
os.environ |= {"POWERTOOLS_SERVICE_NAME": "loyalty-bridge", "POWERTOOLS_METRICS_NAMESPACE": "LoyaltyBridge"}

# Loaded before any test module: a test's own settings take from these what they do not say. A machine that stalls fails
# no test, and a test that failed once fails again.
hypothesis.register_profile(
    "tests",
    deadline=None,
    database=None,
    derandomize=not int(os.environ.get("BRIDGE_EXAMPLES", "0")),
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: workers take file after file, and none is to begin with a long one last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a test away from real accounts and what others read, and let a stream's batch come again at once."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(redelivery, "sleep", lambda _: None)
    recent.clear()


@pytest.fixture(autouse=True, scope="session")
def _moto() -> Iterator[None]:
    """Let moto be quick, and answer one request at a time: it checks a condition in one step and writes in another."""
    lock, whole = threading.RLock(), BotocoreStubber.process_request

    def locked(self: BotocoreStubber, request: Any) -> Any:
        with lock:
            return whole(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "process_request", locked)
        quicken(patch)
        yield


@pytest.fixture(scope="module")
def secrets_key() -> Iterator[str]:
    """Run AWS in this process for the tests of a file."""
    with aws_in_this_process() as key:
        yield key


@pytest.fixture
def stores(secrets_key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliverySettings]:
    """Return the stores and the queue of the template, empty; the environment names them as a function's does."""
    with empty_stores(secrets_key, monkeypatch) as settings:
        yield settings


@pytest.fixture
def braze() -> Iterator[Braze]:
    """Return a simulated Braze with one workspace."""
    with simulate(keys=[KEY]) as running:
        yield running


def connect(settings: DeliverySettings, endpoint: str, program: str = "demo", key: str = KEY, **change: Any) -> Program:
    """Connect a program to a Braze workspace; `change` is merged into its connection."""
    connection = merge(
        Connection(),
        {
            "loyalty": {"membership_optins": ("Newsletter",), "default_optins": ("Newsletter",)},
            "engagement": {"api_endpoint": endpoint},
        },
    )
    return repository.save(settings, None, program, merge(connection, change), {"braze_api_key": key})


@contextmanager
def asked_of_aws() -> Iterator[list[str]]:
    """Record the names of the DynamoDB, KMS and SQS calls inside the block."""
    asked: list[str] = []

    def note(model: Any, **_: Any) -> None:
        asked.append(model.name)

    clients = (aws.dynamodb(), aws.kms(), aws.sqs())
    for client in clients:
        client.meta.events.register("before-call", note)
    yield asked
    for client in clients:
        client.meta.events.unregister("before-call", note)
