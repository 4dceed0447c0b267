"""What many tests need: AWS in this process, made from the template, and a connected program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.sandbox.braze import Braze, sandbox
from loyalty_bridge import aws
from loyalty_bridge.programs import store
from loyalty_bridge.programs.connection import Connection, Program, merged
from loyalty_bridge.settings import DeliverySettings
from tests.template import resources

KEY = "braze-rest-api-key-1234"

# Read when a module that counts or logs is imported, which is before any fixture runs.
os.environ |= {"POWERTOOLS_SERVICE_NAME": "loyalty-bridge", "POWERTOOLS_METRICS_NAMESPACE": "LoyaltyBridge"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from a real account."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliverySettings]:
    """Give the stores and the queue of the template, empty; the environment names them as a function's does."""
    aws._made.cache_clear()
    with mock_aws():
        outputs: dict[str, str] = {}
        for name, table in resources("AWS::DynamoDB::Table").items():
            wanted = ("KeySchema", "AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes")
            properties: Any = {key: value for key, value in table["Properties"].items() if key in wanted}
            boto3.client("dynamodb").create_table(TableName=name, **properties)
            outputs[name] = name
        boto3.client("s3").create_bucket(Bucket="kept")
        queue = boto3.client("sqs").create_queue(
            QueueName="events.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        )
        settings = DeliverySettings(
            programs_table=outputs["ProgramsTable"],
            secrets_key=boto3.client("kms").create_key()["KeyMetadata"]["KeyId"],
            allowed_hosts="127.0.0.1",
            ledger_table=outputs["LedgerTable"],
            members_table=outputs["MembersTable"],
            kept_table=outputs["KeptTable"],
            kept_bucket="kept",
            events_queue_url=queue["QueueUrl"],
        )
        for name, value in settings.model_dump().items():
            monkeypatch.setenv(name.upper(), value)
        yield settings
    aws._made.cache_clear()


@pytest.fixture
def braze() -> Iterator[Braze]:
    """Give a sandbox Braze with one workspace."""
    with sandbox(keys=[KEY]) as running:
        yield running


def connect(settings: DeliverySettings, endpoint: str, program: str = "demo", key: str = KEY, **change: Any) -> Program:
    """Connect a program to a Braze workspace; `change` is merged into its connection."""
    connection = merged(
        Connection(),
        {
            "loyalty": {"membership_optins": ("Newsletter",), "default_optins": ("Newsletter",)},
            "engagement": {"api_endpoint": endpoint},
        },
    )
    return store.save(settings, None, program, merged(connection, change), {"braze_api_key": key})
