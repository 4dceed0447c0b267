"""The simulated sender delivers as Brevo documents it: five attempts after a 429, and an end at any other failure."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from simulators import brevo
from simulators.server import Answer, Request, serving
from tests.support.webhooks import NOW, Clock

ANN = brevo.contact(1)
EVENTS = list(brevo.every_event(ANN, NOW))


class Receiver:
    """Somebody who answers deliveries; `statuses` come first, then 200. A status of 0 is no answer."""

    def __init__(self, *statuses: int) -> None:
        self.url = ""
        self.clock = Clock()
        self.requests: list[tuple[float, Request]] = []
        self._statuses = list(statuses)

    def answer(self, request: Request) -> Answer:
        self.requests.append((self.clock.now - NOW, request))
        status = self._statuses.pop(0) if self._statuses else 200
        return Answer(status or 200, delivery="whole" if status else "reset")

    def bodies(self) -> list[Any]:
        return [json.loads(request.body) for _, request in self.requests]

    def deliver(self, events: list[dict[str, Any]], **options: Any) -> list[brevo.Delivery]:
        settings = {"secret": "user:pass", "clock": self.clock, "sleep": self.clock.sleep, **options}
        return brevo.deliver(f"{self.url}/hook", events, **settings)


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    receiver = Receiver(*statuses)
    with serving(receiver.answer) as receiver.url:
        yield receiver


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_2xx_is_a_delivery(status: int) -> None:
    with receiving(status) as receiver:
        deliveries = receiver.deliver(EVENTS[:1])

    assert [(one.statuses, one.outcome) for one in deliveries] == [([status], "delivered")]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 413, 422, 500, 502, 503, 504])
def test_any_other_status_discards_the_event_at_once(status: int) -> None:
    with receiving(status) as receiver:
        deliveries = receiver.deliver(EVENTS[:2])

    assert [(one.statuses, one.outcome) for one in deliveries] == [([status], "discarded"), ([200], "delivered")]


def test_a_429_is_tried_again_four_times_at_growing_intervals() -> None:
    with receiving(*[429] * 9) as receiver:
        deliveries = receiver.deliver(EVENTS[:1])

    assert [(one.statuses, one.outcome) for one in deliveries] == [([429] * 5, "discarded")]
    assert [at for at, _ in receiver.requests] == [0, 600, 4200, 11_400, 40_200]


def test_who_does_not_answer_gets_nothing_for_ten_minutes() -> None:
    with receiving(200, 0) as receiver:
        deliveries = receiver.deliver(EVENTS[:3])

    assert [one.statuses for one in deliveries] == [[200], [0, 200], [200]]
    assert [at for at, _ in receiver.requests] == [0, 0, 600, 600]


def test_patience_ends_a_retry() -> None:
    with receiving(429, 429) as receiver:
        deliveries = receiver.deliver(EVENTS[:1], patience=600)

    assert [(one.statuses, one.outcome) for one in deliveries] == [([429, 429], "discarded")]


def test_the_others_go_on_while_one_waits() -> None:
    with receiving(429) as receiver:
        receiver.deliver(EVENTS[:3])

    ids = [body["event_id"] for body in receiver.bodies()]
    assert ids == [EVENTS[number]["event_id"] for number in (0, 1, 2, 0)]


@pytest.mark.parametrize(
    ("credential", "name", "value"),
    [
        ({"auth": "basic"}, "authorization", f"Basic {base64.b64encode(b'user:pass').decode()}"),
        ({"auth": "bearer"}, "authorization", "Bearer user:pass"),
        ({"auth": "header", "header": "X-My-Key"}, "x-my-key", "user:pass"),
    ],
)
def test_it_signs_in_as_configured(credential: dict[str, str], name: str, value: str) -> None:
    with receiving() as receiver:
        receiver.deliver(EVENTS[:1], **credential)

    [(_, request)] = receiver.requests
    assert (request.method, request.headers[name]) == ("POST", value)


def test_every_event_has_the_common_fields_and_those_of_its_example() -> None:
    with receiving() as receiver:
        receiver.deliver(EVENTS)

    assert receiver.bodies() == EVENTS
    assert len({event["event_id"] for event in EVENTS}) == 24
    for event in EVENTS:
        assert event.items() >= brevo.EXAMPLES[event["event_name"]].items()
        assert event["identifiers"] == {"ext_id": ANN.ext_id, "email_id": ANN.email, "phone_id": ANN.phone}


def test_a_bare_event_goes_to_the_url_of_its_name() -> None:
    with receiving() as receiver:
        receiver.deliver(EVENTS, bare=True)

    assert [request.path for _, request in receiver.requests] == [f"/hook/{name}" for name in brevo.EXAMPLES]
    assert receiver.bodies() == [dict(fields) for fields in brevo.EXAMPLES.values()]


@pytest.mark.parametrize(("array", "sizes"), [(1, [1] * 24), (10, [10, 10, 4]), (10_000, [24])])
def test_events_may_come_in_arrays(array: int, sizes: list[int]) -> None:
    with receiving() as receiver:
        deliveries = receiver.deliver(EVENTS, array=array)

    assert [len(body) for body in receiver.bodies()] == sizes
    assert [event for body in receiver.bodies() for event in body] == EVENTS
    assert [len(one.event_ids) for one in deliveries] == sizes


def test_an_array_holds_five_hundred_at_most() -> None:
    with receiving() as receiver:
        receiver.deliver(EVENTS * 21, array=1000)

    assert [len(body) for body in receiver.bodies()] == [500, 4]


def order(**options: Any) -> list[str]:
    with receiving() as receiver:
        receiver.deliver(EVENTS, **options)
    return [body["event_id"] for body in receiver.bodies()]


def test_events_come_twice_or_out_of_order_when_configured() -> None:
    ids = [event["event_id"] for event in EVENTS]

    twice, disordered = order(duplicate=1.0), order(reorder=5)

    assert Counter(twice) == Counter(ids * 2)
    assert disordered != ids
    assert sorted(disordered) == sorted(ids)
    assert max(abs(disordered.index(one) - ids.index(one)) for one in ids) <= 5
    assert order(reorder=5, seed=1) != disordered == order(reorder=5)


def test_members_are_the_same_each_time_and_apart() -> None:
    assert brevo.contact(1) == brevo.contact(1)
    assert len({(one.contact_id, one.ext_id, one.email, one.phone) for one in map(brevo.contact, range(100))}) == 100


def test_in_the_local_run_it_delivers_on_demand() -> None:
    with receiving() as receiver, brevo.simulate() as sender:
        sender.target = {"url": f"{receiver.url}/hook", "secret": "user:pass"}
        order = {"names": ["voucher_created", "voucher_expired"], "members": 2}

        payload = requests.post(f"{sender.url}/_simulator/deliveries", json=order, timeout=30).json()

    assert payload == {"outcomes": {"delivered": 4}, "discarded": []}
    assert Counter(body["event_name"] for body in receiver.bodies()) == {"voucher_created": 2, "voucher_expired": 2}


def test_in_the_local_run_it_waits_for_no_retry() -> None:
    with receiving(429) as receiver, brevo.simulate() as sender:
        order = {"url": f"{receiver.url}/hook", "secret": "user:pass", "names": ["voucher_created"]}

        payload = requests.post(f"{sender.url}/_simulator/deliveries", json=order, timeout=30).json()

    assert payload["outcomes"] == {"discarded": 1}


@pytest.mark.parametrize(
    ("order", "said"),
    [("{", "JSONDecodeError"), ("{}", "'url'"), ('{"url": "http://127.0.0.1:9", "secret": "s", "nmaes": []}', "nmaes")],
)
def test_an_order_that_cannot_be_carried_out_says_why(order: str, said: str) -> None:
    with brevo.simulate() as sender:
        reply = requests.post(f"{sender.url}/_simulator/deliveries", data=order, timeout=30)

    assert reply.status_code == 400
    assert said in reply.json()["message"]
