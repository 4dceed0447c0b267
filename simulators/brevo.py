"""A simulated sender of Brevo's loyalty webhooks: authentication, retries and their end, arrays, some disorder.

`deliver` sends events. It follows the pages ``retry-mechanism``, ``how-to-use-webhooks``, ``batch-webhooks`` and
``loyalty-webhooks`` below https://developers.brevo.com/docs/. In the local run `simulate` serves these routes, in JSON:

=======================================  =======================================================================
``GET  /_simulator/``                    the URL it delivers to, and the names of the events
``POST /_simulator/deliveries``          deliver every event (or those in ``names``) for a number of ``members`` (1) to
                                         ``url`` with ``secret`` and further parameters of `deliver`; the defaults
                                         are the demo program's. Returns the outcome of the deliveries
=======================================  =======================================================================
"""

from __future__ import annotations

import base64
import heapq
import json
import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import requests

from simulators.punchh_sender import disordered
from simulators.server import Answer, Request, json_answer, serving

Auth = Literal["basic", "bearer", "header"]

RETRIES = (600.0, 3600.0, 7200.0, 28800.0)
"""Seconds before each."""
PAUSE = 600.0
"""For how many seconds nothing is delivered to a receiver that did not answer."""
MAX_ARRAY = 500

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "tests/fixtures/loyalty-webhooks").glob("*.json"))
}
"""The own fields of each of the 24 events, by name: the documentation's examples."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody whom the events are about."""

    contact_id: int
    ext_id: str
    email: str
    phone: str
    first_name: str


def contact(number: int) -> Contact:
    """Make somebody up; the same for the same number."""
    first = ("Ann", "Bo", "Cy", "Dee", "Eli")[number % 5]
    return Contact(
        1000 + number, f"cust-{number:05}", f"{first.lower()}.{number}@example.com", f"4915112{number:06}", first
    )


def event(about: Contact, at: float, name: str, **changes: Any) -> dict[str, Any]:
    """Make an event, with the fields that all events have today; `at` in epoch seconds."""
    return {
        "event_name": name,
        "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{about.contact_id} {name} {at}")),
        "event_date": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "source": "loyalty",
        "contact_id": about.contact_id,
        "identifiers": {"email_id": about.email, "ext_id": about.ext_id, "phone_id": about.phone},
        "contact_properties": {"FIRSTNAME": about.first_name},
        **EXAMPLES[name],
        **changes,
    }


def every_event(about: Contact, at: float) -> Iterator[dict[str, Any]]:
    """Make one event of each kind, a second apart; `at` in epoch seconds."""
    for position, name in enumerate(EXAMPLES):
        yield event(about, at + position, name)


@dataclass(slots=True)
class Delivery:
    """What became of one request: the events in it, the status of every attempt (0: no answer), and the end."""

    event_ids: list[str]
    statuses: list[int]
    outcome: Literal["delivered", "discarded"] = "discarded"


def sign_in(*, auth: Auth, secret: str, header: str) -> dict[str, str]:
    """Return the header by which Brevo shows who it is."""
    if auth == "basic":
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"} if auth == "bearer" else {header: secret}


def deliver(
    url: str,
    events: Iterable[Mapping[str, Any]],
    *,
    secret: str,
    auth: Auth = "basic",
    header: str = "X-Webhook-Key",
    array: int = 0,
    bare: bool = False,
    duplicate: float = 0.0,
    reorder: int = 0,
    seed: int = 0,
    patience: float = math.inf,
    timeout: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Delivery]:
    """Deliver events and return what became of each request.

    A 2xx ends it well. A 429, or no answer, is tried again up to four times while the others go on; any other status
    discards what the request holds.

    Parameters
    ----------
    secret
        For Basic ``user:password``.
    array
        How many events a request holds, as an array; 0 sends single objects.
    bare
        Send the event's own fields only, each event to a URL that ends in its name.
    duplicate
        Share of events that are delivered twice.
    reorder
        By how many places an event may be off, at most.
    patience
        Longest wait before a retry, in seconds; what would wait longer is discarded.
    timeout
        Seconds for the answer.
    """
    order = disordered(list(events), duplicate, reorder, random.Random(seed))
    size = min(array, MAX_ARRAY) or 1
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    deliveries = [Delivery([str(one.get("event_id", "")) for one in group], []) for group in groups]
    headers = {"Content-Type": "application/json", **sign_in(auth=auth, secret=secret, header=header)}
    queue = [(clock(), number) for number in range(len(groups))]
    open_again = -math.inf
    with requests.Session() as session:
        session.trust_env = False  # a netrc file would replace the authorization
        while queue:
            due, number = heapq.heappop(queue)
            sleep(max(due - clock(), open_again - clock(), 0.0))
            target, body = _request(url, groups[number], is_array=bool(array), bare=bare)
            status = _status(session, target, body, headers, timeout)
            retries = RETRIES[len(deliveries[number].statuses) :]
            deliveries[number].statuses.append(status)
            if 200 <= status < 300:
                deliveries[number].outcome = "delivered"
            elif status in {0, 429} and retries and retries[0] <= patience:
                heapq.heappush(queue, (clock() + retries[0], number))
            if status == 0:
                open_again = clock() + PAUSE
    return deliveries


def _status(session: requests.Session, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    try:
        return session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False).status_code
    except requests.RequestException:
        return 0


def _request(url: str, group: list[Mapping[str, Any]], *, is_array: bool, bare: bool) -> tuple[str, bytes]:
    if bare:
        name = group[0]["event_name"]
        return f"{url}/{name}", json.dumps({field: group[0][field] for field in EXAMPLES[name]}).encode()
    return url, json.dumps(group if is_array else group[0]).encode()


def delivered(url: str, *, members: int = 1, names: Iterable[str] = tuple(EXAMPLES), **how: Any) -> dict[str, Any]:
    """Deliver events for some members and return what became of them; `how` are the parameters of `deliver`."""
    at = time.time() - 3600
    events = [
        event(contact(number), at + position, name) for number in range(members) for position, name in enumerate(names)
    ]
    deliveries = deliver(url, events, **how)
    discarded = [asdict(delivery) for delivery in deliveries if delivery.outcome == "discarded"]
    return {"outcomes": Counter(one.outcome for one in deliveries), "discarded": discarded}


class Brevo:
    """A sender that waits for orders, and the address it is served at; `target` is what they need not name."""

    def __init__(self) -> None:
        self.url = ""
        self.target: dict[str, Any] = {}

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        match request.method, request.path:
            case "GET", "/_simulator/":
                return json_answer(200, {"url": self.target.get("url"), "names": list(EXAMPLES)})
            case "POST", "/_simulator/deliveries":
                try:
                    order = self.target | {"patience": 0.0} | (json.loads(request.body) if request.body else {})
                    return json_answer(200, delivered(order.pop("url"), **order))
                except (KeyError, TypeError, ValueError) as error:
                    return json_answer(400, {"message": f"{type(error).__name__}: {error}"})
        return json_answer(404, {"message": "Not Found"})


@contextmanager
def simulate(port: int = 0) -> Iterator[Brevo]:
    """Run a sender until the block ends."""
    brevo = Brevo()
    with serving(brevo.answer, port) as brevo.url:
        yield brevo
