"""Where the bridge puts records where there are a queue and a stream."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import SourceRecord
from loyalty_bridge.infra import aws
from loyalty_bridge.settings import DeliverySettings


def in_queue(settings: DeliverySettings) -> int:
    result = aws.sqs().get_queue_attributes(
        QueueUrl=settings.events_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(result["Attributes"]["ApproximateNumberOfMessages"])


def in_stream(name: str) -> int:
    client = aws.kinesis()
    shards = client.list_shards(StreamName=name)["Shards"]
    iterators = [
        client.get_shard_iterator(StreamName=name, ShardId=one["ShardId"], ShardIteratorType="TRIM_HORIZON")
        for one in shards
    ]
    return sum(len(client.get_records(ShardIterator=one["ShardIterator"])["Records"]) for one in iterators)


@pytest.mark.parametrize(
    ("publish_to", "has_stream", "queued", "streamed"),
    [("queue", True, 1, 0), ("stream", True, 0, 1), ("queue", False, 1, 0)],
)
def test_records_enter_where_the_settings_say(
    stores: DeliverySettings, publish_to: str, has_stream: bool, queued: int, streamed: int
) -> None:
    aws.kinesis().create_stream(StreamName="events", ShardCount=1)
    settings = replace(stores, publish_to=publish_to, events_stream="events" if has_stream else "")

    publisher.publish_raw(settings, b"{}", "ABC#A1")

    assert (in_queue(settings), in_stream("events")) == (queued, streamed)


def test_without_a_queue_records_enter_by_the_stream(stores: DeliverySettings) -> None:
    aws.kinesis().create_stream(StreamName="events", ShardCount=1)

    publisher.publish_raw(replace(stores, events_queue_url="", events_stream="events"), b"{}", "ABC#A1")

    assert in_stream("events") == 1


def asked_to_take(groups: list[str], busy_for: int, monkeypatch: pytest.MonkeyPatch, stream: bool) -> list[str]:
    """Return the queue or stream a group that it does not take so often; gives the groups that it was asked to take."""
    asked: list[str] = []

    def is_taken(group: str) -> bool:
        asked.append(group)
        return group != groups[1] or asked.count(group) > busy_for

    def send_message_batch(*, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"Failed": [{"Id": e["Id"], "Code": "Busy"} for e in Entries if not is_taken(e["MessageGroupId"])]}

    def put_records(*, Records: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        values = [{} if is_taken(one["PartitionKey"]) else {"ErrorCode": "Busy"} for one in Records]
        return {"FailedRecordCount": sum(bool(one) for one in values), "Records": values}

    monkeypatch.setattr(publisher, "sleep", lambda _: None)
    if stream:
        monkeypatch.setattr(aws.kinesis(), "put_records", put_records)
    else:
        monkeypatch.setattr(aws.sqs(), "send_message_batch", send_message_batch)
    return asked


@pytest.mark.parametrize("stream", [False, True])
def test_what_alone_was_not_taken_is_put_again_without_its_neighbours(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    settings = replace(stores, publish_to="stream" if stream else "queue", events_stream="events")
    groups = ["ABC#A1", "ABC#A2", "ABC#A3"]
    asked = asked_to_take(groups, 2, monkeypatch, stream)

    publisher.publish(settings, [(SourceRecord("ABC", b"{}", datetime.now(UTC)), group) for group in groups])

    assert asked == [*groups, groups[1], groups[1]]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_never_taken_is_given_up(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    settings = replace(stores, publish_to="stream" if stream else "queue", events_stream="events")
    groups = ["ABC#A1", "ABC#A2"]
    asked = asked_to_take(groups, 99, monkeypatch, stream)

    with pytest.raises(Unavailable):
        publisher.publish(settings, [(SourceRecord("ABC", b"{}", datetime.now(UTC)), group) for group in groups])

    assert asked.count(groups[0]) == 1
