"""Requests to MoEngage's Data API go to the right workspace, and a MoEngage that checks them takes them."""

from __future__ import annotations

import base64
import json
import time

import pytest

from loyalty_bridge.infra.http_client import open_client
from loyalty_bridge.platforms.moengage.client import check_connection, data
from simulators.moengage import simulate

ENDPOINT = "https://api-03.moengage.com"


@pytest.mark.parametrize("path", ["customer", "event", "transition"])
def test_a_data_call_is_signed_in_for_its_workspace(path: str) -> None:
    request = data(ENDPOINT, "WORK/SPACE", "kéy", path, b"{}")

    credentials = base64.b64encode("WORK/SPACE:kéy".encode()).decode()
    assert (request.method, request.url) == ("POST", f"{ENDPOINT}/v1/{path}/WORK%2FSPACE")
    assert request.headers["Authorization"] == f"Basic {credentials}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == b"{}"


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [(ENDPOINT, "03"), ("https://api-101.moengage.com", "101"), ("http://127.0.0.1:8000", "01")],
)
def test_a_test_of_the_connection_reports_the_data_center(endpoint: str, region: str) -> None:
    request = check_connection(endpoint, "WS", "key")

    assert (request.method, request.url) == ("POST", f"{endpoint}/v1/integrations/authentication")
    assert request.headers["MOE-APPKEY"] == "WS"
    payload = json.loads(request.body)
    assert payload == {"app_id": "WS", "app_secret": "key", "source": payload["source"], "region": region}


def test_the_key_is_not_shown() -> None:
    requests = [data(ENDPOINT, "WS", "t0p-secret", "event", b"member"), check_connection(ENDPOINT, "WS", "t0p-secret")]

    assert all("t0p-secret" not in repr(request) and "member" not in repr(request) for request in requests)


def test_a_moengage_that_checks_takes_all_calls() -> None:
    user = b'{"type":"customer","customer_id":"m-1","attributes":{}}'
    event = b'{"type":"event","customer_id":"m-1","actions":[{"action":"a","attributes":{}}]}'
    bulk = b'{"type":"transition","elements":[' + event + b"]}"
    calls = {"customer": user, "event": event, "transition": bulk}

    with simulate(workspaces={"WS": "key"}) as moengage:
        send, deadline = open_client(1), time.monotonic() + 5
        requests = [data(moengage.url, "WS", "key", path, body) for path, body in calls.items()]
        statuses = [send(request, deadline).status for request in requests]
        tested = [send(check_connection(moengage.url, "WS", key), deadline).status for key in ("key", "wrong")]

    assert statuses == [200] * 3
    assert tested == [200, 401]
    assert len(moengage.workspace("WS").events) == 2
