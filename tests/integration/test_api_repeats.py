"""What a repeat gets: the stored answer where the request is known again, and nothing is done twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from loyalty_bridge.programs import api_keys
from tests.support.http_events import ACTIONS, BOOKING, Answer, Api, connect

ONCE = {name: ACTIONS[name] for name in ("assign", "book")}
each_action = pytest.mark.parametrize("action", ONCE)


def call(api: Api, action: str, headers: dict[str, str] | None = None, **change: Any) -> Answer:
    path, body = ACTIONS[action]
    return api.post(path, body | change, **(headers or {}))


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        pytest.param({"Idempotency-Key": "k-1"}, {}, id="header"),
        pytest.param({"idempotency_key": " k-1 "}, {"idempotency_key": "another"}, id="header before body"),
        pytest.param({}, {"idempotency_key": "k-1"}, id="body"),
        pytest.param({"Idempotency-Key": " "}, {"idempotency_key": "k-1"}, id="blank header"),
        pytest.param({}, {"dispatch_id": "d-1"}, id="dispatch"),
        pytest.param({}, {"dispatch_id": "d-1", "idempotency_key": ""}, id="blank key"),
    ],
)
@each_action
def test_a_repeat_gets_the_stored_answer(
    api: Api, action: str, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    api.change(repeat_window=0)

    first, *repeats = (call(api, action, headers, **fields) for _ in range(3))

    assert first.status == 200
    assert [(it.status, it.body) for it in repeats] == [(200, first.body)] * 2
    assert api.done() == ["A1"]


@each_action
def test_a_refusal_is_repeated_too(api: Api, action: str) -> None:
    api.upstream.account("A1", status="LOCKED")
    first = call(api, action, idempotency_key="k-1")
    api.upstream.account("A1", status="ACTIVE")

    repeat = call(api, action, idempotency_key="k-1")

    assert (first.status, first.body["error"]) == (409, "ACCOUNT_LOCKED")
    assert (repeat.status, repeat.body) == (first.status, first.body)
    assert not api.done()


@pytest.mark.parametrize("action", ["assign", "book", "batch", "subscribe"])
def test_a_key_belongs_to_one_body(api: Api, action: str) -> None:
    others: dict[str, dict[str, Any]] = {
        "assign": {"account_id": "A2"},
        "book": {"points": 51},
        "batch": {"account_ids": ["A2"]},
        "subscribe": {"status": "declined"},
    }
    first = call(api, action, idempotency_key="k-1")

    repeat = call(api, action, idempotency_key="k-1", **others[action])

    assert first.status == 200
    assert (repeat.status, repeat.body["error"]) == (422, "key_reused")
    assert len(api.done()) <= 1


@pytest.mark.parametrize("action", ["assign", "book", "batch", "subscribe"])
def test_a_key_of_the_callers_own_counts_whatever_the_dispatch(api: Api, action: str) -> None:
    first = call(api, action, idempotency_key="k-1", dispatch_id="d-1")

    repeat = call(api, action, idempotency_key="k-1", dispatch_id="d-2")

    assert (first.status, repeat) == (200, first)
    assert len(api.done()) <= 1


def test_a_number_and_its_text_are_the_same_request(api: Api) -> None:
    first = call(api, "book", idempotency_key="k-1", points=50)

    assert call(api, "book", idempotency_key="k-1", points="50.0").body == first.body


@each_action
def test_a_key_belongs_to_one_action_of_one_program(api: Api, action: str) -> None:
    api.upstream.account("A2")
    connect(api.settings, api.upstream_url(), program="other", realm=api.upstream.id)
    other = Api(api.settings, api_keys.create(api.settings, "other", "braze")[0], api.upstream, "other")

    answers = [
        call(api, action, idempotency_key="k-1"),
        call(api, "subscribe", idempotency_key="k-1"),
        call(other, action, idempotency_key="k-1"),
    ]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len(api.upstream.effects) == 3


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("campaigns/C1/assign", {"account_id": "A2"}),
        ("campaigns/C2/assign", {}),
        ("campaigns/C1/assign", {"braze_campaign_id": "another"}),
    ],
)
def test_a_dispatch_counts_together_with_member_coupon_and_campaign(
    api: Api, path: str, change: dict[str, Any]
) -> None:
    api.upstream.account("A2")
    api.upstream.coupon("C2")
    body = ACTIONS["assign"][1] | {"dispatch_id": "d-1"}

    answers = [api.post("campaigns/C1/assign", body), api.post(path, body | change)]

    assert [answer.status for answer in answers] == [200, 200]
    assert len(api.done("assign_coupon")) == 2


@pytest.mark.parametrize(
    ("path", "change"), [("members/A2/bookings", {}), ("members/A1/bookings", {"booking_type_code": "XMAS"})]
)
def test_a_dispatch_counts_together_with_member_and_kind_of_booking(
    api: Api, path: str, change: dict[str, Any]
) -> None:
    api.upstream.account("A2")
    body = BOOKING | {"dispatch_id": "d-1"}

    answers = [api.post("members/A1/bookings", body), api.post(path, body | change)]

    assert [answer.status for answer in answers] == [200, 200]
    assert len(api.done("create_booking")) == 2


UNKEYED = [
    pytest.param({}, id="none"),
    pytest.param({"dispatch_id": None}, id="null"),
    pytest.param({"dispatch_id": " ", "idempotency_key": ""}, id="blank"),
    pytest.param({"dispatch_id": "dispatch_id_for_unsent_campaign"}, id="test send"),
]


@pytest.mark.parametrize("fields", UNKEYED)
@each_action
def test_without_a_key_each_request_acts(api: Api, action: str, fields: dict[str, Any]) -> None:
    api.change(repeat_window=0)

    answers = [call(api, action, **fields) for _ in range(2)]

    assert answers[0].body != answers[1].body
    assert api.done() == ["A1", "A1"]


@pytest.mark.parametrize("fields", UNKEYED)
@pytest.mark.parametrize("action", [*ONCE, "batch"])
def test_without_a_key_an_equal_request_soon_after_gets_the_stored_answer(
    api: Api, action: str, fields: dict[str, Any]
) -> None:
    first, second = (call(api, action, **fields) for _ in range(2))

    assert (first.status, second) == (200, first)
    assert len(api.done()) <= 1


def test_without_a_key_another_request_acts(api: Api) -> None:
    call(api, "book", points=50)
    call(api, "book", points=51)

    assert [booked["points"] for booked in api.upstream.bookings["A1"]] == [50, 51]


@each_action
def test_a_repeat_that_cannot_wait_for_the_first_learns_when_to_come_back(api: Api, action: str) -> None:
    api.upstream.misbehave(kind="slow", on="api", seconds=5.0)
    first = threading.Thread(target=call, args=(api, action), kwargs={"idempotency_key": "k-1"})
    first.start()
    while not any(item.call in {"assign_coupon", "create_booking"} for item in list(api.upstream.effects)):
        first.join(0.01)
    impatient = Api(api.settings, api.key, api.upstream, seconds=4.0)

    answer = call(impatient, action, idempotency_key="k-1")

    first.join()
    assert (answer.status, answer.body["error"]) == (503, "in_progress")
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert call(api, action, idempotency_key="k-1").status == 200
    assert api.done() == ["A1"]
