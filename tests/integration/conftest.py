"""The programs, the API, the command line and the page of the integration tests."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from loyalty_bridge import settings
from loyalty_bridge.activity import recorder
from loyalty_bridge.activity import store as activity_store
from loyalty_bridge.cli import activity as activity_command
from loyalty_bridge.cli import main, stack
from loyalty_bridge.http_api import lookups
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys
from loyalty_bridge.settings import DeliverySettings, PlanSettings
from simulators import punchh as punchh_simulator
from simulators.convercus import Convercus, simulate
from simulators.punchh import Punchh
from simulators.punchh_business import Campaign
from tests.conftest import connect as connect_to_braze
from tests.support import permissions
from tests.support.admin_site import Site, serving_admin
from tests.support.http_events import Api, connect, connect_punchh
from tests.support.issuer import Issuer, issuing
from tests.support.stores import empty_stores

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _permitted() -> Iterator[None]:
    """Hold every function to what the template lets its role do."""
    yield
    assert permissions.denied() == set()


@pytest.fixture
def midday(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be noon for the activity, so that all that a test does is of one day."""
    noon = 1_772_366_400.0  # 2026-03-01T12:00:00Z

    class Noon(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Noon:
            return cls.fromtimestamp(noon, tz)

    monkeypatch.setattr(recorder, "time", SimpleNamespace(time=lambda: noon, monotonic=time.monotonic))
    for module in (activity_store, activity_command):
        monkeypatch.setattr(module, "datetime", Noon)


@pytest.fixture(scope="session")
def convercus() -> Iterator[Convercus]:
    """Return a simulated Convercus."""
    with simulate() as running:
        yield running


@pytest.fixture
def api(stores: DeliverySettings, convercus: Convercus, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Return the API with a connected program that has an account A1 and a coupon C1, and a key for it."""
    with _api(convercus, monkeypatch) as running:
        yield running


@pytest.fixture(scope="module")
def shared_api(secrets_key: str, convercus: Convercus) -> Iterator[Api]:
    """Return an API for the tests of a file that leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch, empty_stores(secrets_key, patch), _api(convercus, patch) as running:
        yield running


@contextmanager
def _api(convercus: Convercus, patch: pytest.MonkeyPatch) -> Iterator[Api]:
    queue = aws.sqs().create_queue(QueueName="batches")["QueueUrl"]
    for name, value in {"IDEMPOTENCY_TABLE": "IdempotencyTable", "BATCHES_TABLE": "BatchesTable"}.items():
        patch.setenv(name, value)
    patch.setenv("BATCHES_QUEUE_URL", queue)
    for limit in ("LIMIT_SECONDS", "MOENGAGE_SECONDS"):
        patch.setattr(lookups, limit, 20.0)  # a busy machine may stall; the tests about time have their own
    settings.load_settings.cache_clear()
    result = settings.load_settings(PlanSettings)
    upstream = convercus.program(f"R{next(_numbers)}")
    upstream.account("A1", points=100)
    upstream.coupon("C1")
    connect(result, convercus.url, realm=upstream.id)
    yield Api(result, api_keys.create(result, "demo", "braze")[0], upstream)
    settings.load_settings.cache_clear()


@pytest.fixture
def punchh() -> Iterator[Punchh]:
    """Return a simulated Punchh whose coupon campaign makes a new code each time it is asked."""
    with punchh_simulator.simulate() as running:
        running.business.campaigns["token-of-58293"] = Campaign(campaign_id="58293", repeat="new")
        yield running


@pytest.fixture
def diner(api: Api, punchh: Punchh) -> Api:
    """Return the API with a program that is connected to Punchh."""
    connect_punchh(api.settings, punchh.url)
    return Api(api.settings, api_keys.create(api.settings, "diner", "moengage")[0], api.upstream, "diner")


@pytest.fixture
def bridge(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Return ``bridge ARGUMENTS``, which answers exit code, output and errors; the stack is deployed."""
    others = {
        "idempotency_table": "IdempotencyTable",
        "audit_table": "AuditTable",
        "batches_queue_url": aws.sqs().create_queue(QueueName="batches")["QueueUrl"],
        "api_url": "https://api.example.com",
    }
    outputs = {
        "".join(part.capitalize() for part in name.split("_")): {"Value": value}
        for name, value in {**asdict(stores), **others}.items()
        if value
    }
    template = {"Resources": {"Nothing": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
    boto3.client("cloudformation").create_stack(StackName="loyalty-bridge", TemplateBody=json.dumps(template))
    stack.settings.cache_clear()

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bridge", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    yield call
    boto3.client("cloudformation").delete_stack(StackName="loyalty-bridge")
    stack.settings.cache_clear()


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """Return an issuer that signs operators in."""
    with issuing() as running:
        yield running


@pytest.fixture
def site(stores: DeliverySettings, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Return the operator's page, without a program."""
    issuer.person = {"sub": "person-1", "email": "ops@example.com", "cognito:groups": ["loyalty-bridge"]}
    with serving_admin(stores, issuer, monkeypatch) as running:
        yield running


@pytest.fixture(scope="module")
def shared_site(secrets_key: str, issuer: Issuer) -> Iterator[Site]:
    """Return the operator's page with a program, for the tests of a file that ask whatever comes."""
    with (
        pytest.MonkeyPatch.context() as patch,
        empty_stores(secrets_key, patch) as stores,
        serving_admin(stores, issuer, patch) as running,
    ):
        connect_to_braze(stores, "http://127.0.0.1:9")
        yield running
