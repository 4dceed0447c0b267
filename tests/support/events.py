"""Factories: Convercus events, and the Lambda events that carry records."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

_numbers = itertools.count(1)


def event(kind: str = "balance_changed", **changes: Any) -> dict[str, Any]:
    """Make a Convercus event; each has its own id unless one is given."""
    made: dict[str, Any] = {
        "eventId": f"event-{next(_numbers)}",
        "eventType": kind,
        "programId": "demo",
        "occurredAt": "2026-03-01T10:00:00Z",
        "accountId": "A1",
        "payload": {"points": 120, "lockedPoints": 0, "statusPoints": 300} if kind == "balance_changed" else {},
    }
    return made | changes


def queued(*bodies: Any, sent: int = 1_772_359_200_000) -> dict[str, Any]:
    """Make an SQS batch; the group is the account of the event. `sent` in epoch milliseconds."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"handle-{number}",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(sent),
                    "MessageGroupId": _group(body, number),
                },
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def streamed(*bodies: Any, sent: float = 1_772_359_200.0) -> dict[str, Any]:
    """Make a Kinesis batch."""
    return {
        "Records": [
            {
                "kinesis": {
                    "sequenceNumber": f"{number:056d}",
                    "partitionKey": _group(body, number),
                    "approximateArrivalTimestamp": sent,
                    "data": base64.b64encode(
                        body.encode(errors="surrogatepass") if isinstance(body, str) else json.dumps(body).encode()
                    ).decode(),
                },
                "eventSource": "aws:kinesis",
            }
            for number, body in enumerate(bodies)
        ]
    }


def _group(body: Any, number: int) -> str:
    return str(body.get("accountId")) if isinstance(body, dict) else f"group-{number}"
