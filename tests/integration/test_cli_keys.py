"""Keys and undecided actions, as an operator handles them on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulators.punchh import Punchh
from tests.support.http_events import ACTIONS, Answer, Api, connect_punchh

SIGNUP = {"user": {"email": "ann@example.com", "first_name": "Ann", "last_name": "Ash", "external_source_id": "c-1"}}

Bridge = Callable[..., tuple[int, str, str]]


def told(answer: tuple[int, str, str]) -> Any:
    code, out, _ = answer
    assert code == 0
    return json.loads(out)


def call(api: Api, action: str, key: str | None = None) -> Answer:
    path, body = ACTIONS[action]
    return api.post(path, body | {"dispatch_id": "d-1"}, key=key)


def leave_unknown(api: Api, action: str) -> None:
    on = {"assign": "assign_coupon", "book": "create_booking"}[action]
    api.upstream.misbehave(kind="status", on=on, status=500)
    assert call(api, action).body["error"] == "outcome_unknown"


# Keys.


def test_a_key_that_is_created_lets_in_until_it_is_revoked(api: Api, bridge: Bridge) -> None:
    made = told(bridge("key", "create", "demo", "--name", "production", "--json"))

    before = call(api, "assign", made["key"]).status
    revoked = bridge("key", "revoke", "demo", made["id"], "--yes")

    assert (before, revoked[0]) == (200, 0)
    assert call(api, "assign", made["key"]).status == 401
    assert call(api, "assign").status == 200


def test_a_key_may_be_for_lookups_only(api: Api, bridge: Bridge) -> None:
    made = told(bridge("key", "create", "demo", "--scope", "lookups", "--json"))

    assert made["scopes"] == ["lookups"]
    assert call(api, "assign", made["key"]).status == 403
    assert api.get("members/A1/profile", key=made["key"]).status == 200
    assert "lookups" in bridge("key", "list", "demo")[1]
    assert bridge("key", "create", "demo", "--scope", "all")[0] == 1


def test_a_key_is_shown_once(api: Api, bridge: Bridge) -> None:
    shown = bridge("key", "create", "demo", "--name", "production")[1]
    (key,) = [word for word in shown.split() if word.startswith("cvc_")]

    listed = bridge("key", "list", "demo", "--json")[1]

    assert call(api, "assign", key).status == 200
    assert "cvc_" not in listed
    assert {row["name"] for row in json.loads(listed)} == {"braze", "production"}
    assert "production" in bridge("key", "list", "demo")[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("key", "create", "unknown"), "there is no program unknown"),
        (("key", "list", "unknown"), "there is no program unknown"),
        (("key", "revoke", "demo", "000000000000", "--yes"), "demo has no key 000000000000"),
        (("key", "revoke", "demo", "", "--yes"), "demo has no key"),
        (("action", "list", "unknown"), "there is no program unknown"),
        (("action", "show", "demo", "0" * 32), f"demo has no action {'0' * 32}"),
        (("action", "decide", "demo", "0" * 32, "--did-not-happen", "--yes"), f"demo has no action {'0' * 32}"),
    ],
)
def test_what_is_not_there_is_one_line(api: Api, bridge: Bridge, arguments: tuple[str, ...], complaint: str) -> None:
    code, _, complained = bridge(*arguments)

    assert code == 1
    assert complained.startswith(f"bridge: {complaint}")
    assert complained.count("\n") == 1


def test_a_key_is_not_revoked_without_a_yes(api: Api, bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = told(bridge("key", "list", "demo", "--json"))
    monkeypatch.setattr("typer.confirm", _no)

    bridge("key", "revoke", "demo", key["id"])

    assert call(api, "assign").status == 200


def _no(_: str, *, abort: bool) -> None:
    raise SystemExit(int(abort))


# Actions.


@pytest.mark.parametrize(("action", "name"), [("assign", "assign_coupon"), ("book", "book_points")])
def test_an_unknown_action_is_listed_and_shown_with_what_it_was_about(
    api: Api, bridge: Bridge, action: str, name: str
) -> None:
    leave_unknown(api, action)

    (listed,) = told(bridge("action", "list", "demo", "--json"))
    shown = told(bridge("action", "show", "demo", listed["id"], "--json"))

    assert (listed["action"], shown["action"], shown["state"]) == (name, name, "unknown")
    assert "account_id=A1" in listed["about"]
    assert shown["about"]["account_id"] == "A1"
    assert shown["failure_reason"] == "Convercus failed (HTTP 500)"
    assert shown["reference"] == listed["id"]
    assert name in bridge("action", "list", "demo")[1]


@pytest.mark.parametrize(
    ("action", "answer"), [("assign", {"couponCode": "WELCOME-1"}), ("book", {"bookingId": "WELCOME-1"})]
)
def test_what_is_decided_to_have_happened_is_what_repeats_get(
    api: Api, bridge: Bridge, action: str, answer: dict[str, str]
) -> None:
    leave_unknown(api, action)
    (listed,) = told(bridge("action", "list", "demo", "--json"))

    decided = bridge("action", "decide", "demo", listed["id"], "--happened", "--result", " WELCOME-1 ", "--yes")

    assert decided[0] == 0
    assert (call(api, action).status, call(api, action).body) == (200, answer)
    assert not api.done()
    assert told(bridge("action", "list", "demo", "--json")) == []
    assert told(bridge("action", "show", "demo", listed["id"], "--json"))["answer"] == answer


@pytest.mark.parametrize("action", ["assign", "book"])
def test_what_did_not_happen_is_carried_out_by_the_next_repeat(api: Api, bridge: Bridge, action: str) -> None:
    leave_unknown(api, action)
    (listed,) = told(bridge("action", "list", "demo", "--json"))

    decided = bridge("action", "decide", "demo", listed["id"], "--did-not-happen", "--yes")

    assert decided[0] == 0
    assert call(api, action).status == 200
    assert api.done() == ["A1"]


@pytest.fixture
def unknown_signup(diner: Api, punchh: Punchh) -> Api:
    """Leave a signup of which no one knows whether it was carried out."""
    connect_punchh(diner.settings, punchh.url, secrets={"punchh_client_secret": "secret"})
    punchh.faults.add(kind="status", status=500)
    assert diner.post("members", SIGNUP).body["error"] == "outcome_unknown"
    return diner


def test_an_unknown_signup_is_listed_and_decided(unknown_signup: Api, punchh: Punchh, bridge: Bridge) -> None:
    (listed,) = told(bridge("action", "list", "diner", "--json"))
    shown = told(bridge("action", "show", "diner", listed["id"], "--json"))

    decided = bridge("action", "decide", "diner", listed["id"], "--happened", "--result", "5000000001", "--yes")

    assert (listed["action"], listed["about"]) == ("signup_member", "external_source_id=c-1")
    assert (shown["state"], shown["failure_reason"]) == ("unknown", "Punchh answered 500")
    assert "ann@example.com" not in json.dumps(shown)
    assert decided[0] == 0
    assert unknown_signup.post("members", SIGNUP).body == {"userId": "5000000001"}
    assert punchh.business.users == []


def test_a_signup_that_did_not_happen_is_carried_out_by_the_next_repeat(
    unknown_signup: Api, punchh: Punchh, bridge: Bridge
) -> None:
    (listed,) = told(bridge("action", "list", "diner", "--json"))

    bridge("action", "decide", "diner", listed["id"], "--did-not-happen", "--yes")

    assert unknown_signup.post("members", SIGNUP).body == {"userId": str(punchh.business.users[0].user_id)}


def test_a_decision_needs_the_result_that_repeats_are_answered_with(api: Api, bridge: Bridge) -> None:
    leave_unknown(api, "assign")
    (listed,) = told(bridge("action", "list", "demo", "--json"))

    code, _, complained = bridge("action", "decide", "demo", listed["id"], "--happened", "--yes")

    assert (code, "couponCode" in complained) == (1, True)
    assert len(told(bridge("action", "list", "demo", "--json"))) == 1


def test_a_decision_has_to_say_what_happened(api: Api, bridge: Bridge) -> None:
    leave_unknown(api, "assign")
    (listed,) = told(bridge("action", "list", "demo", "--json"))

    assert bridge("action", "decide", "demo", listed["id"], "--yes")[0] == 2
    assert len(told(bridge("action", "list", "demo", "--json"))) == 1


def test_what_is_known_cannot_be_decided(api: Api, bridge: Bridge) -> None:
    leave_unknown(api, "book")
    (listed,) = told(bridge("action", "list", "demo", "--json"))
    decide = ("action", "decide", "demo", listed["id"], "--happened", "--result", "B-1", "--yes")
    bridge(*decide)

    code, _, complained = bridge(*decide)

    assert code == 1
    assert "is of an action that is succeeded" in complained
