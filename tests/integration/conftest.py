"""The stores of the integration tests: empty for each test, but with AWS's clients and the key made once for a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws
from moto.backends import get_backend

from loyalty_bridge import aws
from loyalty_bridge.settings import DeliverySettings
from tests.template import resources


@pytest.fixture(scope="module")
def secrets_key() -> Iterator[str]:
    """Run AWS in this process, and make what takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws._made.cache_clear()
        with mock_aws():
            yield aws.kms().create_key()["KeyMetadata"]["KeyId"]
        aws._made.cache_clear()


@pytest.fixture
def stores(secrets_key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliverySettings]:
    """Give the stores and the queue of the template, empty; the environment names them as a function's does."""
    dynamodb, s3, sqs = aws.dynamodb(), aws.s3(), aws.sqs()
    tables = resources("AWS::DynamoDB::Table")
    for name, table in tables.items():
        wanted = ("KeySchema", "AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes")
        properties: Any = {key: value for key, value in table["Properties"].items() if key in wanted}
        dynamodb.create_table(TableName=name, **properties)
    s3.create_bucket(Bucket="kept")
    queue = sqs.create_queue(
        QueueName="events.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    settings = DeliverySettings(
        programs_table="ProgramsTable",
        secrets_key=secrets_key,
        allowed_hosts="127.0.0.1",
        ledger_table="LedgerTable",
        members_table="MembersTable",
        kept_table="KeptTable",
        kept_bucket="kept",
        events_queue_url=queue,
    )
    for name, value in settings.model_dump().items():
        monkeypatch.setenv(name.upper(), value)

    yield settings
    for service in ("dynamodb", "s3", "sqs"):
        for account in get_backend(service).values():
            for region in account.values():
                region.reset()
