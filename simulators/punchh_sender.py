"""What delivers Punchh's webhooks: the four ways to sign in, the retries, the circuit breaker, and some disorder.

Run it with ``python -m simulators.punchh_sender URL --auth basic --name USER --secret PASSWORD`` or use `deliver`.
The rules are those of, below https://developers.partech.com/docs/dev-portal-webhooks-manager/, ``configuration`` and
``webhook-delivery-error-handling-and-retry-logic``.
"""

from __future__ import annotations

import base64
import heapq
import hmac
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import requests

Auth = Literal["basic", "bearer", "hmac-sha1", "hmac-sha256"]

SUCCESS = (200, 202)
TIMEOUT = 408
"""Stands for no answer at all, too."""
SOON = (15.0, 45.0, 180.0)
LATER = (60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
PINGS = (300.0, 600.0, *itertools.repeat(7200.0, 6))
"""Seconds before each attempt to revive a suspended webhook."""


@dataclass(slots=True)
class Delivery:
    """What became of one event: the status of every attempt, and the end.

    ``inactive``: the webhook did not pass its activation; ``suspended``: it failed too often.
    """

    content_id: str
    event_name: str
    event_type: str
    statuses: list[int]
    outcome: Literal["delivered", "lost", "suspended", "inactive"] = "lost"


def sign_in(url: str, body: bytes, *, auth: Auth, secret: str, name: str) -> dict[str, str]:
    """Return the headers by which Punchh shows who it is; scheme words are in lower case, as it prints them."""
    if auth == "basic":
        return {"authorization": f"basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"}
    if auth == "bearer":
        return {"authorization": f"bearer {secret}"}
    address = urlsplit(url)
    target = address.path + (f"?{address.query}" if address.query else "")
    digest = hmac.new(secret.encode(), target.encode() + body, auth.removeprefix("hmac-")).hexdigest()
    return {"authorization": f"hmac {digest}", "x-pch-key": name}


def deliver(
    url: str,
    events: Iterable[Mapping[str, Any]],
    *,
    secret: str,
    auth: Auth = "basic",
    name: str = "",
    activate: bool = True,
    duplicate: float = 0.0,
    reorder: int = 0,
    delay: float = 0.0,
    seed: int = 0,
    patience: float = math.inf,
    breaker: int = 1000,
    timeout: float = 15.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Delivery]:
    """Deliver events, each in a request of its own and return what became of each delivery.

    A retry waits while the others go on, so that order is lost, as it is with Punchh.

    Parameters
    ----------
    name
        User name, or the client name that goes with a signature.
    activate
        Whether the URL must answer a ``GET`` first; nothing is delivered otherwise.
    duplicate
        Share of events that are delivered twice.
    reorder
        By how many places an event may be off, at most.
    delay
        Longest time, in seconds, that an event may wait for its first attempt.
    patience
        Longest wait before a retry, in seconds; an event that would wait longer is lost.
    breaker
        How many lost events suspend the webhook.
    timeout
        Seconds for the answer.
    """
    order = disordered(list(events), duplicate, reorder, random.Random(seed))
    deliveries = [
        Delivery(event.get("content_id", ""), event["event_name"], event["event_type"], []) for event in order
    ]
    bodies = [json.dumps(event).encode() for event in order]
    with requests.Session() as session:
        session.trust_env = False  # a netrc file would replace the authorization

        def call(method: str, body: bytes) -> int:
            headers = {"content-type": "application/json", **sign_in(url, body, auth=auth, secret=secret, name=name)}
            return _status(session, method, url, body, headers, timeout)

        if activate and call("GET", b"") != 200:
            return [replace(delivery, outcome="inactive") for delivery in deliveries]
        wait = random.Random(seed)
        start = clock()
        queue = [(start + wait.uniform(0, delay), number) for number in range(len(order))]
        heapq.heapify(queue)
        lost = 0
        while queue:
            due, number = heapq.heappop(queue)
            sleep(max(due - clock(), 0.0))
            status = call("POST", bodies[number])
            retries = _retries(status)[len(deliveries[number].statuses) :]
            deliveries[number].statuses.append(status)
            if status in SUCCESS:
                deliveries[number].outcome = "delivered"
            elif retries and retries[0] <= patience:
                heapq.heappush(queue, (clock() + retries[0], number))
            else:
                lost += 1
            if lost > breaker:
                if not _revived(lambda: call("GET", b""), sleep):
                    break
                lost = 0
    for _, number in queue:
        deliveries[number].outcome = "suspended"
    return deliveries


def _status(
    session: requests.Session, method: str, url: str, body: bytes, headers: Mapping[str, str], timeout: float
) -> int:
    try:
        answer = session.request(method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
    except requests.RequestException:
        return TIMEOUT
    return answer.status_code


def disordered(
    events: list[Mapping[str, Any]], duplicate: float, reorder: int, chance: random.Random
) -> list[Mapping[str, Any]]:
    """Repeat a share of the events, and move each by so many places at most."""
    again = [(chance.uniform(position, len(events)), event) for position, event in enumerate(events)]
    twice = [one for one in again if chance.random() < duplicate]
    places = [(position + chance.uniform(0, reorder), event) for position, event in enumerate(events)]
    return [event for _, event in sorted([*places, *twice], key=lambda placed: placed[0])]


def _retries(status: int) -> tuple[float, ...]:
    """Return the waits before the retries that a status leads to; a redirect is never retried."""
    if status in (TIMEOUT, 429):
        return SOON
    return LATER if status >= 500 else ()


def _revived(ping: Callable[[], int], sleep: Callable[[float], None]) -> bool:
    """Wait for a suspended webhook to answer a ping."""
    for seconds in PINGS:
        sleep(seconds)
        if ping() == 200:
            return True
    return False
