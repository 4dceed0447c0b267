"""Deliveries of webhooks as a REST API's proxy integration gives them, and what they put on the queue forwarded."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from loyalty_bridge import settings as environment
from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Connection, Program, merge
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from simulators.moengage import MoEngage
from simulators.server import Answer, Request, serving
from tests.support.functions import CONTEXT, handler

CREDENTIAL = "bridge:webhook-password"
BASIC = {"Authorization": f"Basic {base64.b64encode(CREDENTIAL.encode()).decode()}"}
NOW = 1_767_607_200.0
"""2026-01-05T10:00:00Z, in epoch seconds: the default time of a delivery."""
HOST = "hooks.example.com"


def connect(
    settings: DeliverySettings,
    loyalty: Mapping[str, Any],
    engagement: Mapping[str, Any],
    *,
    program: str = "demo",
    **secrets: str,
) -> Program:
    """Connect a program to both its platforms; its webhook credential is `CREDENTIAL` by default."""
    connection = merge(Connection(), {"loyalty": loyalty, "engagement": engagement})
    return repository.save(settings, None, program, connection, {"webhook_credential": CREDENTIAL, **secrets})


def delivery(
    platform: str,
    body: Any,
    *,
    program: str = "demo",
    event_name: str = "",
    headers: Mapping[str, str] = BASIC,
    method: str = "POST",
    binary: bool = False,
    slash: str = "",
    at: float = NOW,
) -> dict[str, Any]:
    """Make the event of one request; a body that is neither text nor bytes is sent as JSON."""
    sent = body if isinstance(body, str | bytes) else json.dumps(body)
    raw = sent.encode() if isinstance(sent, str) else sent
    tail = f"/{event_name}" if event_name else ""
    path = f"/v1/programs/{program}/webhooks/{platform}{tail}{slash}"
    resource = f"/v1/programs/{{programId}}/webhooks/{platform}{'/{eventName}' if event_name else ''}"
    all_headers = {"Content-Type": "application/json", "Host": HOST, **headers}
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": all_headers,
        "multiValueHeaders": {name: [value] for name, value in all_headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"programId": program} | ({"eventName": event_name} if event_name else {}),
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": f"/hooks{path}",
            "protocol": "HTTP/1.1",
            "stage": "hooks",
            "requestTimeEpoch": int(at * 1000),
            "requestId": "00000000-0000-0000-0000-000000000001",
            "identity": {"sourceIp": "192.0.2.1"},
        },
        "body": base64.b64encode(raw).decode() if binary else raw.decode() or None,
        "isBase64Encoded": binary,
    }


@contextmanager
def recording(platform: Braze | MoEngage) -> Iterator[list[dict[str, Any]]]:
    """Serve a simulator until the block ends; give the path and the body of each request that it gets."""
    requests: list[dict[str, Any]] = []

    def answer(request: Request) -> Answer:
        requests.append({"path": request.path, "body": json.loads(request.body)})
        return platform.answer(request)

    with serving(answer) as platform.url:
        yield requests


def answered(event: Mapping[str, Any]) -> dict[str, Any]:
    """Call the function that a delivery is for, in the environment as it is now."""
    environment.load_settings.cache_clear()
    function = f"{event['resource'].split('/webhooks/')[1].split('/')[0]}_webhook"
    context = SimpleNamespace(**vars(CONTEXT) | {"function_name": function})
    answer: dict[str, Any] = handler(function)(event, context)
    return answer


def status(event: Mapping[str, Any]) -> int:
    """Call the function that a delivery is for; return its status."""
    return int(answered(event)["statusCode"])


@contextmanager
def gateway(clock: Callable[[], float]) -> Iterator[str]:
    """Serve the webhooks by HTTP, as the gateway does, until the block ends; gives its URL."""

    def answer(request: Request) -> Answer:
        program, platform, *event_name = request.path.removeprefix("/v1/programs/").replace("webhooks/", "").split("/")
        event = delivery(
            "punchh" if platform == "punchh" else "loyalty",
            request.body,
            program=program,
            event_name="".join(event_name),
            headers=request.headers,
            method=request.method,
            at=clock(),
        )
        response = answered(event)
        return Answer(response["statusCode"], response["body"].encode(), response["headers"])

    with serving(answer) as url:
        yield url


class Clock:
    """A clock that moves when somebody waits.

    Attributes
    ----------
    events
        What happens at a time (epoch seconds).
    """

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.events: dict[float, Callable[[], None]] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at in sorted(at for at in self.events if at <= self.now):
            self.events.pop(at)()


def queued(settings: DeliverySettings) -> list[dict[str, Any]]:
    """Take what lies on the queue, as Lambda takes it."""
    found: list[dict[str, Any]] = []
    while (
        messages := aws.sqs()
        .receive_message(
            QueueUrl=settings.events_queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        .get("Messages")
    ):
        for message in messages:
            found.append(
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": message["Attributes"],
                    "eventSource": "aws:sqs",
                }
            )
            aws.sqs().delete_message(QueueUrl=settings.events_queue_url, ReceiptHandle=message["ReceiptHandle"])
    return found


@contextmanager
def streaming(settings: DeliverySettings) -> Iterator[DeliverySettings]:
    """Return a transport that is a stream, to the functions too."""
    with_stream = replace(settings, events_queue_url="", events_stream="events")
    aws.kinesis().create_stream(StreamName=with_stream.events_stream, ShardCount=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTS_QUEUE_URL", "")
        patch.setenv("EVENTS_STREAM", with_stream.events_stream)
        yield with_stream
    aws.kinesis().delete_stream(StreamName=with_stream.events_stream)


def streamed(settings: DeliverySettings) -> list[dict[str, Any]]:
    """Read what lies on the stream, as Lambda reads it."""
    client = aws.kinesis()
    [shard] = client.list_shards(StreamName=settings.events_stream)["Shards"]
    iterator = client.get_shard_iterator(
        StreamName=settings.events_stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [
        {
            "kinesis": {
                "sequenceNumber": record["SequenceNumber"],
                "partitionKey": record["PartitionKey"],
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                "data": base64.b64encode(record["Data"]).decode(),
            },
            "eventSource": "aws:kinesis",
        }
        for record in client.get_records(ShardIterator=iterator)["Records"]
    ]


def forwarded(settings: DeliverySettings) -> Counter[str]:
    """Forward what lies on the transport, until nothing comes after it; count what happened."""
    counts: Counter[str] = Counter()
    size = 10 if settings.events_queue_url else 1000
    seen = 0
    while records := queued(settings) if settings.events_queue_url else streamed(settings)[seen:]:
        seen += len(records)
        for start in range(0, len(records), size):
            batch = records[start : start + size]
            while batch:  # what is more than one invocation reads comes again
                outcome = forward({"Records": batch}, settings, 30)
                left = [one for one in batch if _receipt(one) in outcome.to_retry]
                assert len(left) < len(batch), outcome.problems
                counts += outcome.counts
                batch = left
    return counts


def _receipt(record: Mapping[str, Any]) -> str:
    return str(record["messageId"] if "messageId" in record else record["kinesis"]["sequenceNumber"])
