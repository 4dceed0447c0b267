"""Where the bridge puts records where there are a queue and a stream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loyalty_bridge import aws
from loyalty_bridge.delivery import transport
from loyalty_bridge.settings import DeliverySettings


def in_queue(settings: DeliverySettings) -> int:
    told = aws.sqs().get_queue_attributes(
        QueueUrl=settings.events_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(told["Attributes"]["ApproximateNumberOfMessages"])


def in_stream(name: str) -> int:
    client = aws.kinesis()
    shards = client.list_shards(StreamName=name)["Shards"]
    iterators = [
        client.get_shard_iterator(StreamName=name, ShardId=one["ShardId"], ShardIteratorType="TRIM_HORIZON")
        for one in shards
    ]
    return sum(len(client.get_records(ShardIterator=one["ShardIterator"])["Records"]) for one in iterators)


@pytest.mark.parametrize(
    ("entrance", "has_stream", "queued", "streamed"),
    [("queue", True, 1, 0), ("stream", True, 0, 1), ("queue", False, 1, 0)],
)
def test_records_enter_by_the_entrance(
    stores: DeliverySettings, entrance: str, has_stream: bool, queued: int, streamed: int
) -> None:
    aws.kinesis().create_stream(StreamName="events", ShardCount=1)
    settings = replace(stores, entrance=entrance, events_stream="events" if has_stream else "")

    transport.put_raw(settings, b"{}", "ABC#A1")

    assert (in_queue(settings), in_stream("events")) == (queued, streamed)


def test_without_a_queue_records_enter_by_the_stream(stores: DeliverySettings) -> None:
    aws.kinesis().create_stream(StreamName="events", ShardCount=1)

    transport.put_raw(replace(stores, events_queue_url="", events_stream="events"), b"{}", "ABC#A1")

    assert in_stream("events") == 1
