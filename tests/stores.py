"""The stores of the template, where the environment says: in this process, or in a local AWS."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loyalty_bridge import aws
from loyalty_bridge.settings import DeliverySettings
from tests.template import resources


def make_stores(secrets_key: str) -> DeliverySettings:
    """Make the tables, the bucket and the queue, empty; gives the settings that name them."""
    wanted = ("KeySchema", "AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes")
    for name, table in resources("AWS::DynamoDB::Table").items():
        properties: Any = {key: value for key, value in table["Properties"].items() if key in wanted}
        aws.dynamodb().create_table(TableName=name, **properties)
    aws.s3().create_bucket(Bucket="kept")
    queue = aws.sqs().create_queue(
        QueueName="events.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )
    return DeliverySettings(
        programs_table="ProgramsTable",
        activity_table="ActivityTable",
        secrets_key=secrets_key,
        allowed_hosts="127.0.0.1",
        ledger_table="LedgerTable",
        members_table="MembersTable",
        kept_table="KeptTable",
        kept_bucket="kept",
        events_queue_url=queue["QueueUrl"],
    )


def make_key() -> str:
    """Make the key of the secrets."""
    return aws.kms().create_key()["KeyMetadata"]["KeyId"]


def environment(settings: DeliverySettings) -> dict[str, str]:
    """Give the environment of a function that uses them."""
    return {name.upper(): value for name, value in asdict(settings).items()}
