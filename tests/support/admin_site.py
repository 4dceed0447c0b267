"""The operator's page behind its gateway, in this process, over a socket; and a caller of its API."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from loyalty_bridge import settings
from loyalty_bridge.infra import aws
from loyalty_bridge.operations.operators import configuration
from loyalty_bridge.settings import DeliverySettings
from simulators.server import Answer, Request, serving
from tests.support.functions import CONTEXT, loaded
from tests.support.issuer import CLIENT, Issuer


def event(request: Request) -> dict[str, Any]:
    """Make the gateway's event of a request (payload format 2.0)."""
    headers = {"x-forwarded-proto": "http", **request.headers}
    cookies = headers.pop("cookie", "")
    return {
        "version": "2.0",
        "routeKey": "ANY /admin/{proxy+}",
        "rawPath": request.path,
        "rawQueryString": request.target.partition("?")[2],
        "cookies": [one for one in cookies.split("; ") if one],
        "headers": headers,
        "requestContext": {
            "domainName": headers["host"],
            "http": {"method": request.method, "path": request.path, "sourceIp": "192.0.2.1"},
            "requestId": "JKJaXmPLvHcESHA=",
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "body": base64.b64encode(request.body).decode(),
        "isBase64Encoded": True,
    }


def _answer(request: Request) -> Answer:
    # Lambda calls it in the main thread, which has an event loop.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        response = loaded("admin")(event(request), CONTEXT)
    finally:
        loop.close()
    cookies = response.get("cookies", [])
    headers = response["headers"] | dict.fromkeys(["set-cookie"][: len(cookies)], "".join(cookies))
    body = base64.b64decode(response["body"]) if response["isBase64Encoded"] else response["body"].encode()
    return Answer(response["statusCode"], body, headers)


@dataclass
class Site:
    """The page, and who may ask for it."""

    url: str
    issuer: Issuer
    stores: DeliverySettings

    def call(
        self, method: str, path: str, body: Any = None, *, groups: tuple[str, ...] = ("loyalty-bridge",), **headers: str
    ) -> requests.Response:
        """Ask the API as an operator of some groups, by a token."""
        claims: dict[str, Any] = {"cognito:groups": list(groups)}
        token = self.issuer.token(**claims)
        sent = {
            "authorization": f"Bearer {token}",
            **({"content-type": "application/json"} if body is not None else {}),
        }
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.send(method, f"/admin/api/v1{path}", body, sent | headers)

    def send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> requests.Response:
        """Send a request as it is given."""
        data = body if body is None or isinstance(body, bytes | str) else json.dumps(body)
        return requests.request(
            method, self.url + path, data=data, headers=dict(headers), allow_redirects=False, timeout=20
        )

    def browser(self) -> requests.Session:
        """Sign somebody in, as a browser does."""
        session = requests.Session()
        session.headers["origin"] = self.url
        answer = session.get(f"{self.url}/admin", timeout=20)
        assert answer.status_code == 200, answer.text
        return session


@contextmanager
def serving_admin(stores: DeliverySettings, issuer: Issuer, patch: Any) -> Iterator[Site]:
    """Serve the page until the block ends."""
    values = {
        "IDEMPOTENCY_TABLE": "IdempotencyTable",
        "BATCHES_QUEUE_URL": aws.sqs().create_queue(QueueName="batches")["QueueUrl"],
        "AUDIT_TABLE": "AuditTable",
        "SESSIONS_TABLE": "SessionsTable",
        "SIGN_IN_ISSUER": issuer.url,
        "SIGN_IN_CLIENT": CLIENT,
        "API_URL": "https://api.example.com",
        "PUNCHH_WEBHOOK_BASE_URL": "https://punchh.example.com/hooks",
        "LOYALTY_WEBHOOK_BASE_URL": "https://loyalty.example.com/hooks",
    }
    for name, value in values.items():
        patch.setenv(name, value)
    for forget in (settings.load_settings, loaded, configuration):
        forget.cache_clear()
    with serving(_answer) as url:
        yield Site(url, issuer, stores)
    for forget in (settings.load_settings, loaded):
        forget.cache_clear()
