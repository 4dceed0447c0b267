"""What is answered when the loyalty platform misbehaves, what a repeat gets then, and that nothing is done twice."""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

import pytest

from loyalty_bridge.actions import idempotency, idempotency_store
from loyalty_bridge.actions.answer import Answer as Ended
from loyalty_bridge.platforms.convercus import client as convercus
from loyalty_bridge.settings import load_settings
from tests.support.http_events import ACTIONS, Answer, Api

CALLS = {"assign": "assign_coupon", "book": "create_booking"}
each_action = pytest.mark.parametrize("action", CALLS)

UNKNOWN, NOT_SENT, DONE = (500, "outcome_unknown"), (502, "not_sent"), (200, None)
BROKEN = (503, "connection_broken")


class Case(NamedTuple):
    """A fault, what the first call and its repeat are answered, and how often the action is done in the end."""

    fault: dict[str, Any]
    first: tuple[int, str | None]
    repeat: tuple[int, str | None]
    done: int


# A booking is looked up by its reference; a coupon without an answer of Convercus cannot be, so it stays unknown.
_LOOKED_UP = {"assign": UNKNOWN, "book": DONE}

CASES = {
    "500 before acting": Case({"kind": "status", "status": 500}, UNKNOWN, UNKNOWN, 0),
    "a page of a proxy": Case({"kind": "status", "status": 502, "html": True}, UNKNOWN, UNKNOWN, 0),
    "503 without a time": Case({"kind": "status", "status": 503}, UNKNOWN, UNKNOWN, 0),
    "500 after acting": Case({"kind": "status", "status": 500, "when": "after"}, UNKNOWN, DONE, 1),
    "reset before acting": Case({"kind": "reset"}, UNKNOWN, UNKNOWN, 0),
    "reset after acting": Case({"kind": "reset", "when": "after"}, UNKNOWN, DONE, 1),
    "half an answer": Case({"kind": "close"}, UNKNOWN, DONE, 1),
    "silence": Case({"kind": "timeout_after_acting", "seconds": 0.1}, UNKNOWN, DONE, 1),
    "slower than the deadline": Case({"kind": "slow", "seconds": 30}, UNKNOWN, DONE, 1),
    "byte by byte": Case({"kind": "drip", "interval": 0.2}, UNKNOWN, DONE, 1),
    "headers byte by byte": Case({"kind": "drip_headers", "interval": 0.2}, UNKNOWN, DONE, 1),
    "slow, but in time": Case({"kind": "slow", "seconds": 0.2}, DONE, DONE, 1),
    "503 with a time": Case({"kind": "status", "status": 503, "headers": {"retry-after": "60"}}, NOT_SENT, DONE, 1),
    "429": Case({"kind": "status", "status": 429, "headers": {"retry-after": "60"}}, NOT_SENT, DONE, 1),
    "an expired token": Case({"kind": "expired_token"}, DONE, DONE, 1),
}


def call(api: Api, action: str, seconds: float = 10.0, **change: Any) -> Answer:
    path, body = ACTIONS[action]
    api.seconds = seconds
    return api.post(path, body | change)


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.body.get("error")


@pytest.mark.parametrize("case", CASES)
@each_action
def test_a_fault_is_answered_as_what_is_known_and_its_repeat_does_nothing_twice(
    api: Api, action: str, case: str
) -> None:
    fault, first, repeat, done = CASES[case]
    if repeat == DONE and first == UNKNOWN:
        repeat = _LOOKED_UP[action]
    call(api, "subscribe")  # so that there is a token that can expire
    api.upstream.effects.clear()
    api.upstream.misbehave(on=CALLS[action], **fault)

    began = time.monotonic()
    answers = [call(api, action, 5.0, dispatch_id="d-1"), call(api, action, dispatch_id="d-1")]

    assert time.monotonic() - began < 8
    assert [told(answer) for answer in answers] == [first, repeat]
    assert len(api.done()) == done
    if first == NOT_SENT:
        assert answers[0].headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    "fault", [{"status": 404, "body": {"code": "COUPON_NOT_FOUND"}}, {"status": 500, "times": None}], ids=["404", "500"]
)
def test_a_code_that_could_not_be_read_is_read_by_the_repeat(
    api: Api, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(convercus, "CODE_SECONDS", 0.3)
    api.upstream.misbehave(kind="status", on="coupon_code", **fault)

    first = told(call(api, "assign", dispatch_id="d-1"))
    (waiting,) = idempotency_store.list_unknown(api.settings, "demo")
    api.upstream.forget_faults()
    repeat = call(api, "assign", dispatch_id="d-1")

    (account_coupon,) = api.upstream.codes
    assert first == UNKNOWN
    assert waiting.about["account_coupon_id"] == account_coupon
    assert (told(repeat), repeat.body["couponCode"]) == (DONE, api.upstream.codes[account_coupon])
    assert api.done() == ["A1"]


@each_action
def test_what_acts_minutes_later_is_done_once(api: Api, action: str) -> None:
    api.upstream.misbehave(kind="late", on=CALLS[action])

    before = [told(call(api, action, dispatch_id="d-1")) for _ in range(2)]
    api.upstream.release()
    after = [told(call(api, action, dispatch_id="d-1")) for _ in range(2)]

    assert before == [UNKNOWN, UNKNOWN]
    assert after == [_LOOKED_UP[action]] * 2
    assert api.done() == ["A1"]


@each_action
def test_what_an_operator_decides_is_what_repeats_get(api: Api, action: str) -> None:
    api.upstream.misbehave(kind="status", on=CALLS[action], status=500)
    call(api, action, dispatch_id="d-1")
    (open_action,) = idempotency_store.list_unknown(api.settings, "demo")

    decided = {"assign": {"couponCode": "X"}, "book": {"bookingId": "X"}}[action]
    idempotency.decide(api.settings, "demo", open_action.id, Ended(200, decided))

    assert call(api, action, dispatch_id="d-1").body == decided
    assert not api.done()


@each_action
def test_a_repeat_acts_when_an_operator_says_that_nothing_happened(api: Api, action: str) -> None:
    api.upstream.misbehave(kind="status", on=CALLS[action], status=500)
    call(api, action, dispatch_id="d-1")
    (open_action,) = idempotency_store.list_unknown(api.settings, "demo")

    idempotency.decide(api.settings, "demo", open_action.id, None)

    assert told(call(api, action, dispatch_id="d-1")) == DONE
    assert api.done() == ["A1"]


@pytest.mark.parametrize("window", [0, 120])
@each_action
def test_without_a_key_nothing_is_sent_while_an_equal_request_is_unknown(api: Api, action: str, window: int) -> None:
    api.change(repeat_window=window)
    api.upstream.misbehave(kind="status", on=CALLS[action], status=500, when="after")

    answers = [told(call(api, action)) for _ in range(2)]

    assert answers == [UNKNOWN, _LOOKED_UP[action]]
    assert api.done() == ["A1"]


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"kind": "status", "status": 500}, NOT_SENT),
        ({"kind": "status", "status": 401, "body": {"error": "invalid_client"}}, BROKEN),
        ({"kind": "reset"}, NOT_SENT),
        ({"kind": "drip", "interval": 0.2}, NOT_SENT),
    ],
)
@pytest.mark.parametrize("action", [*CALLS, "subscribe"])
def test_without_a_login_nothing_is_sent(api: Api, action: str, fault: dict[str, Any], answer: tuple[int, str]) -> None:
    api.upstream.misbehave(on="token", times=None, **fault)

    first = told(call(api, action, 3.0, dispatch_id="d-1"))
    api.upstream.forget_faults()

    assert first == answer
    assert not api.done()
    assert told(call(api, action, dispatch_id="d-1")) == DONE
    assert api.done() == ["A1"]


@pytest.mark.parametrize("action", [*CALLS, "subscribe"])
def test_a_platform_that_cannot_be_reached_has_done_nothing(api: Api, action: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    call(api, "subscribe")
    here = api.upstream_url()
    api.change(loyalty={"api": {"base_url": f"http://127.0.0.1:{port}", "auth_url": here}})

    first = told(call(api, action, 3.0, dispatch_id="d-1"))

    api.change(loyalty={"api": {"base_url": here}})
    assert first == NOT_SENT
    assert told(call(api, action, dispatch_id="d-1")) == DONE


@pytest.mark.parametrize("fields", [{"dispatch_id": "d-1"}, {}])
@pytest.mark.parametrize("on", ["memberships", "set_optins"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_opt_ins_are_set_by_the_repeat_whatever_became_of_the_first(
    api: Api, on: str, when: str, fields: dict[str, Any]
) -> None:
    # Until the deadline, since a read is repeated.
    api.upstream.misbehave(kind="status", on=on, status=500, when=when, times=None)
    first = told(call(api, "subscribe", 2.5, **fields))
    api.upstream.forget_faults()

    assert first == (NOT_SENT if on == "memberships" else (503, "unavailable"))
    assert told(call(api, "subscribe", **fields)) == DONE
    assert api.upstream.accounts["A1"]["memberships"][0]["optins"] == [{"type": "Newsletter", "flag": True}]


@pytest.mark.parametrize("action", ["assign", "book", "subscribe"])
def test_a_refusal_is_final_and_reports_no_more_than_its_code(api: Api, action: str) -> None:
    on = CALLS.get(action, "set_optins")
    said = {"code": "NO_RIGHT", "message": "max@example.com may not", "error": [{"code": "TOO_LATE", "message": "A1"}]}
    api.upstream.misbehave(kind="status", on=on, status=400, body=said)

    answer = call(api, action, dispatch_id="d-1")

    assert told(answer) == (422, "NO_RIGHT")
    assert "TOO_LATE" in answer.body["message"]
    assert "example.com" not in answer.body["message"]


@each_action
def test_a_store_that_fails_before_the_action_lets_nothing_be_sent(
    api: Api, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDEMPOTENCY_TABLE", "NoSuchTable")
    load_settings.cache_clear()

    assert told(call(api, action, dispatch_id="d-1")) == (503, "unavailable")
    assert not api.done()


@pytest.mark.parametrize("action", ["assign", "book", "batch", "subscribe"])
def test_a_key_that_cannot_be_checked_is_not_a_wrong_one(
    api: Api, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROGRAMS_TABLE", "NoSuchTable")
    load_settings.cache_clear()

    assert told(call(api, action)) == (503, "unavailable")


@pytest.mark.parametrize("action", ["assign", "book", "batch", "subscribe"])
def test_a_defect_is_answered_as_documented(api: Api, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDEMPOTENCY_TABLE")
    load_settings.cache_clear()

    assert told(call(api, action)) == (500, "internal_error")
