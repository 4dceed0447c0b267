"""Who may call: one answer to every wrong key, one round trip for a right one, nothing done before it is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from loyalty_bridge.errors import Invalid, NotFound
from loyalty_bridge.programs import api_keys
from tests.conftest import asked_of_aws
from tests.support.http_events import ACTIONS, EVENT, LOOK_UPS, Answer, Api, connect

CALLS: dict[str, tuple[str, str, Any]] = {
    **{name: ("POST", path, body) for name, (path, body) in ACTIONS.items()},
    **{path.rpartition("/")[2]: ("GET", path, None) for path in LOOK_UPS},
    "events": ("POST", "events", EVENT),
    "progress": ("GET", "campaigns/C1/assign/batch/b1", None),
}
each_call = pytest.mark.parametrize("call", CALLS)


def called(api: Api, call: str, key: str | None = None) -> Answer:
    method, path, body = CALLS[call]
    return api.get(path, key=key) if method == "GET" else api.post(path, body, key=key)


@pytest.fixture
def round_trips(api: Api) -> Iterator[list[str]]:
    """Record the names of the AWS calls that the API makes."""
    with asked_of_aws() as asked:
        yield asked


def wrong_keys(api: Api) -> dict[str, str]:
    connect(api.settings, "http://127.0.0.1:9", program="other")
    revoked, known = api_keys.create(api.settings, "demo", "revoked")
    api_keys.revoke(api.settings, "demo", known.id)
    return {
        "missing": "",
        "blank": "  ",
        "malformed": "cvc_short",
        "no prefix": api.key.removeprefix("cvc_"),
        "with more": f"{api.key}A",
        "not ASCII": "cvc_" + "ä" * 43,
        "in another case": api.key.upper(),
        "unknown": "cvc_" + "A" * 43,
        "revoked": revoked,
        "another program's": api_keys.create(api.settings, "other", "braze")[0],
    }


@each_call
def test_every_wrong_key_gets_the_same_answer_and_nothing_is_done(api: Api, call: str) -> None:
    answers = [called(api, call, key) for key in wrong_keys(api).values()]

    assert {answer.status for answer in answers} == {401}
    assert {json.dumps(answer) for answer in answers} == {json.dumps(answers[0])}
    assert not api.upstream.requests


@pytest.mark.parametrize("scope", api_keys.SCOPES)
@each_call
def test_a_key_is_for_the_calls_of_its_scope_only(api: Api, call: str, scope: str) -> None:
    needed = {"events": "events", "profile": "lookups", "coupons": "lookups"}.get(call, "actions")
    key, known = api_keys.create(api.settings, "demo", "narrow", [scope])

    answer = called(api, call, key)

    assert known.scopes == (scope,)
    if scope == needed:
        assert answer.status in {200, 202, 404}
    else:
        assert (answer.status, answer.body["error"]) == (403, "out_of_scope")
        assert not api.upstream.requests


def test_a_key_is_for_all_calls_unless_it_says_so(api: Api) -> None:
    (known,) = api_keys.list_all(api.settings, "demo")

    assert known.scopes == ("lookups", "actions", "events")


@pytest.mark.parametrize("scopes", [[], ["everything"], ["lookups", "LOOKUPS"]])
def test_a_key_of_no_scope_is_not_made(api: Api, scopes: list[str]) -> None:
    with pytest.raises(Invalid, match=r"^scopes: "):
        api_keys.create(api.settings, "demo", "none", scopes)


@pytest.mark.parametrize("part", [slice(0, 11), slice(0, 1), slice(0, 0)])
def test_a_key_is_revoked_by_its_whole_id_only(api: Api, part: slice) -> None:
    (known,) = api_keys.list_all(api.settings, "demo")

    for id_ in (known.id[part], f"{known.id}0", known.id.upper() + " "):
        with pytest.raises(NotFound):
            api_keys.revoke(api.settings, "demo", id_)

    assert api_keys.list_all(api.settings, "demo") == [known]


@pytest.mark.parametrize("program", ["unknown", "..", "de mo", "x" * 3000, "demo#key"])
def test_a_program_that_does_not_exist_looks_like_a_wrong_key(api: Api, program: str) -> None:
    wrong = called(api, "assign", "cvc_" + "A" * 43)
    api.program = program

    assert called(api, "assign") == wrong


@each_call
def test_a_wrong_key_learns_nothing_about_the_request(api: Api, call: str) -> None:
    method, path, _ = CALLS[call]
    key = "cvc_" + "A" * 43
    bad = path.replace("A1", "{{a}}").replace("C1", "..")

    answer = api.get(bad, key=key) if method == "GET" else api.post(bad, b"{", key=key, content_type="text/plain")

    assert answer.status == 401


@each_call
def test_a_key_is_revoked_at_once(api: Api, call: str) -> None:
    assert called(api, call).status != 401

    api_keys.revoke(api.settings, "demo", api_keys.list_all(api.settings, "demo")[0].id)

    assert called(api, call).status == 401


def test_a_program_may_have_several_keys(api: Api) -> None:
    second, _ = api_keys.create(api.settings, "demo", "second")

    assert called(api, "assign").status == called(api, "assign", second).status == 200


@pytest.mark.parametrize("call", ["profile", "coupons"])
def test_a_warm_look_up_asks_aws_once(api: Api, round_trips: list[str], call: str) -> None:
    for _ in range(2):
        called(api, call)
    round_trips.clear()

    assert "error" not in called(api, call).body
    assert round_trips == ["BatchGetItem"]


def test_a_warm_action_asks_for_its_key_once_and_writes_down_its_beginning_and_its_end(
    api: Api, round_trips: list[str]
) -> None:
    for _ in range(2):
        called(api, "profile")
    round_trips.clear()

    assert called(api, "book").status == 200
    assert round_trips == ["BatchGetItem", "PutItem", "PutItem"]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("missing", []),
        ("malformed", []),
        ("no prefix", []),
        ("with more", []),
        ("not ASCII", []),
        ("unknown", ["BatchGetItem"]),
        ("revoked", ["BatchGetItem"]),
        ("another program's", ["BatchGetItem"]),
    ],
)
def test_a_wrong_key_costs_one_round_trip_at_most(
    api: Api, round_trips: list[str], kind: str, asked: list[str]
) -> None:
    wrong = wrong_keys(api)[kind]
    round_trips.clear()

    called(api, "assign", wrong)

    assert round_trips == asked


def test_neither_the_key_nor_the_person_is_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    reason = "Happy birthday, Max Mustermann"

    api.post("members/A1/bookings", ACTIONS["book"][1] | {"reason": reason})
    api.post("members/A1/bookings", ACTIONS["book"][1] | {"reason": reason, "points": reason})
    api.post("members/A404/bookings", ACTIONS["book"][1] | {"reason": reason})
    called(api, "profile")
    called(api, "assign", "cvc_" + "A" * 43)

    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "ACCOUNT_NOT_FOUND" in logged
    for secret in (api.key, "cvc_", "Mustermann", "example.com", "simulated-secret"):
        assert secret not in logged


# What one call may do.


@pytest.mark.parametrize(
    ("call", "limits", "body", "field"),
    [
        ("book", {"points_per_booking": 100}, {"points": 100}, ""),
        ("book", {"points_per_booking": 100}, {"points": "100.5"}, "points"),
        ("book", {"points_per_booking": 100}, {"points": 101, "booking_type": "BURNBOOKING"}, "points"),
        ("book", {"members_per_batch": 1}, {"points": 101}, ""),
        ("batch", {"members_per_batch": 1}, {"account_ids": ["A1"]}, ""),
        ("batch", {"members_per_batch": 1}, {"account_ids": ["A1", "A2"]}, "account_ids"),
    ],
)
def test_a_limit_of_the_program_is_kept(
    api: Api, call: str, limits: dict[str, int], body: dict[str, Any], field: str
) -> None:
    api.change(loyalty={"limits": limits})
    path, usual = ACTIONS[call]

    answer = api.post(path, usual | body)

    assert (answer.status, answer.body.get("field", "")) == (400 if field else 200, field)
    assert not field or not api.upstream.requests
