"""Calls as API Gateway's HTTP API gives them, one thing varied at a time."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

CONTEXT: Any = SimpleNamespace(function_name="assign-coupon", get_remaining_time_in_millis=lambda: 20_000)


def event(body: Any = None, **changed: Any) -> dict[str, Any]:
    """Make the event of a POST; a body that is not text is sent as JSON."""
    return {
        "version": "2.0",
        "routeKey": "POST /v1/programs/{programId}/campaigns/{couponId}/assign",
        "rawPath": "/v1/programs/demo/campaigns/C1/assign",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "pathParameters": {"programId": "demo", "couponId": "C1"},
        "requestContext": {
            "http": {"method": "POST", "path": "/v1/programs/demo/campaigns/C1/assign"},
            "timeEpoch": 1_767_607_200_123,
        },
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
        **changed,
    }
