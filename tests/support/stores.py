"""The stores of the template, where the environment says: in this process, or in a local AWS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import pytest
from moto import mock_aws
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID

from loyalty_bridge.activity import store as activity_store
from loyalty_bridge.infra import aws
from loyalty_bridge.settings import DeliverySettings
from tests.support.template import resources


def make_stores(secrets_key: str) -> DeliverySettings:
    """Make the tables, the bucket and the queue, empty; gives the settings that name them."""
    _make_tables()
    return _make_others(secrets_key)


def _make_tables() -> None:
    wanted = ("KeySchema", "AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes")
    for name, table in resources("AWS::DynamoDB::Table").items():
        properties: Any = {key: value for key, value in table["Properties"].items() if key in wanted}
        aws.dynamodb().create_table(TableName=name, **properties)


def _make_others(secrets_key: str) -> DeliverySettings:
    aws.s3().create_bucket(Bucket="kept")
    queue = aws.sqs().create_queue(
        QueueName="events.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )
    return DeliverySettings(
        programs_table="ProgramsTable",
        activity_table="ActivityTable",
        secrets_key=secrets_key,
        allowed_hosts="127.0.0.1",
        delivery_log_table="DeliveryLogTable",
        members_table="MembersTable",
        parked_table="ParkedTable",
        parked_bucket="kept",
        events_queue_url=queue["QueueUrl"],
    )


_tables: dict[str, Any] = {}
"""What moto has made of the template's tables: a copy takes a thirtieth of the time of making them."""


@contextmanager
def empty_stores(secrets_key: str, patch: pytest.MonkeyPatch) -> Iterator[DeliverySettings]:
    """Return the stores in this process, empty; the environment names them as a function's does."""
    dynamodb = get_backend("dynamodb")[ACCOUNT_ID]["us-east-1"]
    if not _tables:
        _make_tables()
        _tables.update(dynamodb.tables)
    dynamodb.tables = deepcopy(_tables)
    settings = _make_others(secrets_key)
    patch.setattr(activity_store, "_paused_until", 0.0)  # of the test before, whose store failed
    for name, value in environment(settings).items():
        patch.setenv(name, value)
    try:
        yield settings
    finally:
        for service in ("dynamodb", "kinesis", "s3", "sqs"):
            for account in get_backend(service).values():
                for region in account.values():
                    region.reset()


@contextmanager
def aws_in_this_process() -> Iterator[str]:
    """Run AWS in this process; gives the key of the secrets, which takes long to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws._made.cache_clear()
        with mock_aws():
            yield make_key()
        aws._made.cache_clear()


def make_key() -> str:
    """Make the key of the secrets."""
    return aws.kms().create_key()["KeyMetadata"]["KeyId"]


def environment(settings: DeliverySettings) -> dict[str, str]:
    """Return the environment of a function that uses them."""
    return {name.upper(): value for name, value in asdict(settings).items()}
