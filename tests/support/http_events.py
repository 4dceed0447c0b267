"""The functions behind their HTTP API, in this process: events as the gateway gives them, answers as the contract says.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (format 2.0)
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from loyalty_bridge.pipeline import identities
from loyalty_bridge.pipeline.identities import AliasAssertion
from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Connection, Program, merge
from loyalty_bridge.settings import MemberSettings, PlanSettings, ProgramSettings
from simulators.convercus_program import Program as Upstream
from tests.support.contract_check import check
from tests.support.functions import loaded
from tests.support.template import resources

BASE = "/v1/programs/{programId}"


BOOKING = {"booking_type": "EARNBOOKING", "booking_type_code": "BDAY", "points": 50, "reason": "Birthday"}
EVENT = {"eventId": "e-1", "eventType": "balance_changed", "accountId": "A1", "payload": {"points": 7}}
ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "assign": ("campaigns/C1/assign", {"account_id": "A1", "braze_campaign_id": "5f0c7a5e"}),
    "batch": ("campaigns/C1/assign/batch", {"account_ids": ["A1"]}),
    "book": ("members/A1/bookings", BOOKING),
    "subscribe": ("subscriptions/email", {"account_id": "A1", "status": "allowed"}),
}
"""A good call of each action: path and body."""
LOOK_UPS = ("members/A1/profile", "members/A1/coupons")


class Route(NamedTuple):
    """One route of the gateway, and the function that it calls."""

    method: str
    path: str
    function: str


class Answer(NamedTuple):
    """What a caller gets; `body` is parsed."""

    status: int
    body: Any
    headers: Mapping[str, str]


@cache
def routes() -> tuple[Route, ...]:
    """List the routes of the template."""
    return tuple(
        Route(
            route["Properties"]["Method"], route["Properties"]["Path"], function["Properties"]["CodeUri"].split("/")[1]
        )
        for function in resources("AWS::Serverless::Function").values()
        for route in function["Properties"].get("Events", {}).values()
        if route["Type"] == "HttpApi"
    )


def routed(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Find the route of a request and its parameters.

    The gateway decodes a path before it looks for the route, and what it found there once more.
    """
    for route in routes():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path)
        if route.method == method and (match := re.fullmatch(pattern, unquote(path))):
            return route, {name: unquote(value) for name, value in match.groupdict().items()}
    return None


def event(
    route: Route,
    parameters: Mapping[str, str],
    *,
    headers: Mapping[str, str],
    query: str = "",
    body: bytes | None = None,
    at: float | None = None,
) -> dict[str, Any]:
    """Make the event of a request that came in at `at` (epoch seconds)."""
    came = time.time() if at is None else at
    path = re.sub(r"\{(\w+)\}", lambda place: parameters.get(place[1], ""), route.path)
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{route.method} {route.path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "accept": "*/*",
            "host": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
            "user-agent": "Braze Sender 3f2a9c",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **{name.lower(): value for name, value in headers.items()},
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": route.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "Braze Sender 3f2a9c",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{route.method} {route.path}",
            "stage": "$default",
            "time": datetime.fromtimestamp(came, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(came * 1000),
        },
        "isBase64Encoded": False,
    }
    if query:
        pairs: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            pairs[name] = f"{pairs[name]},{value}" if name in pairs else value
        made["queryStringParameters"] = pairs
    if parameters:
        made["pathParameters"] = dict(parameters)
    if body is not None:
        try:
            made["body"] = body.decode()
        except UnicodeDecodeError:
            made |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return made


def connect(settings: PlanSettings, url: str, program: str = "demo", realm: str = "", **change: Any) -> Program:
    """Connect a program to a Convercus; `change` is merged into its connection."""
    loyalty = {
        "api": {"base_url": url, "auth_url": url, "realm": realm or program, "interaction_id": "BRAZE"},
        "membership_optins": ("Newsletter", "SMS"),
        "default_optins": ("Newsletter",),
    }
    connection = merge(merge(Connection(), {"loyalty": loyalty}), change)
    before = repository.load(settings, [program]).get(program)
    return repository.save(settings, before, program, connection, {"convercus_client_secret": "simulated-secret"})


PUNCHH_SECRETS = {
    "punchh_client_secret": "secret",
    "punchh_admin_key": "admin-key",
    "punchh_coupon_token_58293": "token-of-58293",
}


def connect_punchh(
    settings: ProgramSettings, url: str, program: str = "diner", secrets: Mapping[str, str] = PUNCHH_SECRETS, **api: Any
) -> Program:
    """Connect a program to a Punchh with these secrets and no others; `api` is merged into how it is reached."""
    loyalty = {"platform": "punchh", "api": {"base_url": url, "client": "client", **api}}
    before = repository.load(settings, [program]).get(program)
    before = before and replace(before, secrets={})
    return repository.save(settings, before, program, merge(Connection(), {"loyalty": loyalty}), secrets)


def make_known(settings: MemberSettings, user_id: int, member: str, program: str = "diner") -> None:
    """Let the bridge know a member by Punchh's user id."""
    taught = AliasAssertion(program, f"user:{user_id}", member, datetime.now(UTC), "member")
    identities.learn(settings, [taught], time.monotonic() + 5)


def context(seconds: float = 10.0, function: str = "test") -> Any:
    """Make the context of an invocation that ends in so many seconds."""
    return SimpleNamespace(
        get_remaining_time_in_millis=lambda: int(seconds * 1000),
        function_name=function,
        memory_limit_in_mb=128,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:test",
        aws_request_id="00000000-0000-0000-0000-000000000000",
    )


@dataclass
class Api:
    """The API as a caller with a key sees it; every answer is checked against docs/openapi.json.

    Attributes
    ----------
    upstream
        The program at the loyalty platform.
    seconds
        What an invocation has.
    """

    settings: PlanSettings
    key: str
    upstream: Upstream
    program: str = "demo"
    seconds: float = 10.0

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        at: float | None = None,
    ) -> Answer:
        """Answer a request to any path."""
        found = routed(method, path)
        if found is None:
            return Answer(404, {"message": "Not Found"}, {})
        route, parameters = found
        return self.call(route, event(route, parameters, headers=headers or {}, query=query, body=body, at=at))

    def call(self, route: Route, made: Mapping[str, Any]) -> Answer:
        """Let the function of a route answer an event."""
        response = loaded(route.function)(made, context(self.seconds, route.function))
        answer = Answer(response["statusCode"], json.loads(response["body"]), response["headers"])
        check(route.method, route.path, answer.status, answer.body, answer.headers)
        return answer

    def post(self, path: str, body: Any, *, key: str | None = None, **headers: str) -> Answer:
        """Post to a path of the program: JSON, or bytes as they are."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json", **{name.replace("_", "-"): it for name, it in headers.items()}}
        return self.send("POST", self._path(path), sent, self._headers(key) | given)

    def get(self, path: str, *, key: str | None = None, at: float | None = None, **query: str) -> Answer:
        """Get a path of the program."""
        return self.send("GET", self._path(path), headers=self._headers(key), query=urlencode(query), at=at)

    def _path(self, path: str) -> str:
        return f"{BASE.format(programId=self.program)}/{path}"

    def _headers(self, key: str | None) -> dict[str, str]:
        return {"x-convercus-key": self.key if key is None else key}

    def change(self, **change: Any) -> None:
        """Change the program's connection."""
        before = repository.load(self.settings, [self.program])[self.program]
        repository.save(self.settings, before, self.program, merge(before.connection, change), {})

    def upstream_url(self) -> str:
        """Return where the program's loyalty platform is."""
        side = repository.load(self.settings, [self.program])[self.program].connection.loyalty
        assert isinstance(side, ConvercusSettings)
        return side.api.base_url

    def done(self, call: str = "") -> list[str]:
        """Return on which accounts something was done upstream."""
        return [effect.account for effect in list(self.upstream.effects) if effect.call == call or not call]
