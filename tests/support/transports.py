"""A queue and a stream in memory: what boto3's clients do to them, and what Lambda does with them around a batch."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

MILLISECONDS = 1000


@dataclass(frozen=True)
class Message:
    """An entry of a transport."""

    number: int
    group: str
    body: str
    sent: float


@dataclass
class Queue:
    """A FIFO queue: a message that is given back stays in front of the later ones of its group.

    Attributes
    ----------
    on_call
        Called before each call of boto3's, with the records to put.
    delays
        Seconds of the visibility time-outs that were set.
    """

    on_call: Callable[[], None] = lambda: None
    messages: list[Message] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def put(self, body: str, group: str) -> None:
        self.messages.append(Message(next(self._numbers), group, body, time.time()))

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.on_call()
        for entry in Entries:
            self.put(entry["MessageBody"], entry["MessageGroupId"])
        return {}

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
        self.delays += [entry["VisibilityTimeout"] for entry in Entries]
        return {}

    def batch(self, size: int) -> dict[str, Any]:
        """Receive up to `size` messages, in order."""
        return {
            "Records": [
                {
                    "messageId": f"{message.number}",
                    "receiptHandle": f"handle-{message.number}",
                    "body": message.body,
                    "attributes": {
                        "ApproximateReceiveCount": "1",
                        "SentTimestamp": f"{int(message.sent * MILLISECONDS)}",
                        "MessageGroupId": message.group,
                    },
                    "eventSource": "aws:sqs",
                }
                for message in self.messages[:size]
            ]
        }

    def settle(self, event: dict[str, Any], again: Collection[str]) -> None:
        """Delete what was received, except what the test delivers again."""
        done = {record["messageId"] for record in event["Records"]} - set(again)
        self.messages = [message for message in self.messages if str(message.number) not in done]


@dataclass
class Stream:
    """A shard of a stream: when an entry is delivered again, all later ones are delivered again with it."""

    on_call: Callable[[], None] = lambda: None
    messages: list[Message] = field(default_factory=list)
    checkpoint: int = 0

    def put(self, body: str, group: str) -> None:
        self.messages.append(Message(len(self.messages), group, body, time.time()))

    def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self.on_call()
        for record in Records:
            self.put(record["Data"].decode(), record["PartitionKey"])
        return {}

    def batch(self, size: int) -> dict[str, Any]:
        """Read up to `size` entries from the checkpoint."""
        return {
            "Records": [
                {
                    "kinesis": {
                        "sequenceNumber": f"{message.number:056d}",
                        "partitionKey": message.group,
                        "approximateArrivalTimestamp": message.sent,
                        "data": base64.b64encode(message.body.encode()).decode(),
                    },
                    "eventSource": "aws:kinesis",
                }
                for message in self.messages[self.checkpoint : self.checkpoint + size]
            ]
        }

    def settle(self, event: dict[str, Any], again: Collection[str]) -> None:
        """Go on behind what was read, or at the first entry to deliver again.

        https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
        """
        self.checkpoint = min(map(int, again), default=self.checkpoint + len(event["Records"]))


Transport: TypeAlias = Queue | Stream


def left(transport: Transport) -> list[Message]:
    """Return what is not delivered yet."""
    return transport.messages if isinstance(transport, Queue) else transport.messages[transport.checkpoint :]


def body_of(event: Any) -> str:
    """Write an event as a loyalty platform puts it there."""
    return event if isinstance(event, str) else json.dumps(event)
