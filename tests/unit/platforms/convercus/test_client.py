"""The Convercus client against the simulator: what is repeated, what is not, and what is said when it ends badly."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from loyalty_bridge.errors import (
    BridgeError,
    ConnectionBroken,
    Invalid,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.infra.http_client import Reply, Request, open_client
from loyalty_bridge.platforms.convercus import client as convercus_client
from loyalty_bridge.platforms.convercus.client import Client, Membership, login
from loyalty_bridge.platforms.convercus.settings import ConvercusApi, Endpoints
from simulators.convercus import Convercus, simulate
from simulators.convercus_program import Program

SECRET = "simulated-secret"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def convercus() -> Iterator[Convercus]:
    with simulate() as running:
        yield running


@pytest.fixture
def program(convercus: Convercus) -> Program:
    """Give a program with one account and one coupon."""
    program = convercus.program(f"P{next(_numbers)}")
    program.account("A1", points=100)
    program.coupon("C1")
    return program


def api_of(convercus: Convercus, program: Program, **change: Any) -> ConvercusApi:
    values = {"base_url": convercus.url, "auth_url": convercus.url, "realm": program.id, "interaction_id": "SHOP-1"}
    return ConvercusApi(**(values | change))


def client_of(convercus: Convercus, program: Program, secret: str = SECRET, **change: Any) -> Client:
    """Make a client that logs in for itself, and pauses for no time."""
    api, send = api_of(convercus, program, **change), open_client(4)
    kept: list[str] = []

    def token(deadline: float, refused: str) -> str:
        if not kept or kept[-1] == refused:
            kept.append(login(api, secret, send, deadline, sleep=lambda _: None)[0])
        return kept[-1]

    return Client(api, send, token, sleep=lambda _: None)


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def book(client: Client, account: str = "A1", deadline: float | None = None, **change: Any) -> str:
    booking: dict[str, Any] = {
        "booking_type": "EARNBOOKING",
        "booking_type_code": "BDAY",
        "points": 50,
        "reason": "birthday",
        "reference": "key-1",
    }
    return client.create_booking(account, **(booking | change), deadline=deadline or soon())


def assign(client: Client, deadline: float | None = None) -> str:
    return client.assign_coupon("A1", "C1", deadline=deadline or soon())


def calls(program: Program, name: str) -> int:
    return sum(request.call == name for request in program.requests)


def answering(*replies: Reply) -> tuple[Client, list[Request]]:
    """Make a client whose transport gives prepared replies, and the list of what it sent."""
    sent: list[Request] = []
    left = iter(replies)

    def send(request: Request, _: float) -> Reply:
        sent.append(request)
        return next(left)

    api = ConvercusApi(base_url="https://api.convercus.io", interaction_id="SHOP-1")
    return Client(api, send, lambda *_: "token-1", sleep=lambda _: None), sent


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


# What the calls do.


def test_an_assigned_coupon_gives_its_code(convercus: Convercus, program: Program) -> None:
    code = client_of(convercus, program).assign_coupon(
        "A1", "C1", valid_from="2026-01-01T00:00:00Z", valid_to="2026-02-01T00:00:00Z", deadline=soon()
    )

    (coupon,) = program.list_account_coupons("A1")[1]
    assert coupon["externalReference"] == code
    assert (coupon["validFrom"], coupon["validTo"]) == ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert [(effect.call, effect.of) for effect in program.effects] == [("assign_coupon", "C1")]


def test_a_coupon_keeps_its_own_validity_when_none_is_reported(convercus: Convercus, program: Program) -> None:
    assign(client_of(convercus, program))

    (coupon,) = program.list_account_coupons("A1")[1]
    assert coupon["validTo"] == program.coupons["C1"]["validTo"]


@pytest.mark.parametrize(
    ("assigned", "answer", "code"),
    [
        pytest.param({"code": "NOW"}, None, "NOW", id="told at once"),
        pytest.param({"accountCouponId": "7"}, {"code": "ABC-1"}, "ABC-1", id="object"),
        pytest.param({"accountCouponId": 7}, "ABC-1", "ABC-1", id="JSON text"),
        pytest.param({"accountCouponId": "7"}, b" ABC-1\n", "ABC-1", id="plain text"),
        pytest.param({"accountCouponId": "7"}, 4711, "4711", id="number"),
        pytest.param({"accountCouponId": "7", "externalReference": "EXT"}, b"<html>", "EXT", id="a page, reference"),
        pytest.param({"accountCouponId": "7", "externalReference": "EXT"}, {}, "EXT", id="nothing, reference"),
        pytest.param({"externalReference": "EXT"}, None, "EXT", id="no id, reference"),
    ],
)
def test_a_code_is_read_in_whatever_form_it_comes(assigned: Any, answer: Any, code: str) -> None:
    client, _ = answering(reply(201, assigned), reply(200, answer))

    assert assign(client) == code


@pytest.mark.parametrize("body", [None, b" ", {}], ids=["no body", "blank", "an empty object"])
def test_an_assigned_coupon_that_is_only_located_is_asked_for_its_code(body: Any) -> None:
    client, sent = answering(
        reply(201, body, location="https://api.convercus.io/v2/accountcoupons/ac-7/"), reply(200, {"code": "ABC-1"})
    )

    assert assign(client) == "ABC-1"
    assert sent[1].url == "https://api.convercus.io/v2/accountcoupons/ac-7/code"


def test_an_assigned_coupon_of_which_nothing_is_reported_is_not_reported_as_refused() -> None:
    client, sent = answering(reply(201))

    with pytest.raises(OutcomeUnknown, match="code could not be read"):
        assign(client)
    assert len(sent) == 1


@pytest.mark.parametrize("told", [reply(404, {"code": "COUPON_NOT_FOUND"}), reply(200, b"<html>"), reply(401)])
def test_an_assigned_coupon_whose_code_cannot_be_read_is_not_reported_as_refused(told: Reply) -> None:
    client, _ = answering(reply(201, {"accountCouponId": "ac-7"}), told, told)

    with pytest.raises(OutcomeUnknown, match="is assigned") as unknown:
        assign(client)
    assert unknown.value.about == {"account_coupon_id": "ac-7"}


def test_a_code_is_not_asked_for_longer_than_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convercus_client, "CODE_SECONDS", 0.3)
    assigned = {"accountCouponId": "ac-7", "externalReference": "ABC-1"}
    client, _ = answering(reply(201, assigned), *[reply(500)] * 100_000)
    client = replace(client, sleep=time.sleep)

    began = time.monotonic()
    code = assign(client, soon(20))

    assert code == "ABC-1"
    assert time.monotonic() - began < 4


def test_a_booking_is_found_by_its_reference(convercus: Convercus, program: Program) -> None:
    client = client_of(convercus, program)

    booking = book(client, reference="key-1")

    assert client.find_booking("A1", "key-1", deadline=soon()) == booking
    assert client.find_booking("A1", "key-2", deadline=soon()) is None
    assert program.accounts["A1"]["accountBalance"]["points"] == 150


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_points_are_burnt_with_the_sign_of_the_program(convercus: Convercus, program: Program, sign: str) -> None:
    book(client_of(convercus, program, burn_points=sign), booking_type="BURNBOOKING", points=30)

    assert program.bookings["A1"][0]["points"] == {"positive": 30, "negative": -30}[sign]
    assert program.accounts["A1"]["accountBalance"]["points"] == 70


@pytest.mark.parametrize(
    ("answer", "booking"),
    [
        pytest.param(reply(201, {"bookingId": "b-1"}), "b-1", id="body"),
        pytest.param(reply(201, None, location="/accounts/A1/bookings/b-2"), "b-2", id="location"),
        pytest.param(reply(201, {}, location="https://api.convercus.io/bookings/b-3/"), "b-3", id="both"),
    ],
)
def test_a_bookings_id_comes_from_the_body_or_the_location(answer: Reply, booking: str) -> None:
    client, _ = answering(answer)

    assert book(client) == booking


@pytest.mark.parametrize("answer", [reply(201, {}), reply(200), reply(200, b"<html>"), reply(200, [])])
def test_a_booking_that_is_answered_without_an_id_is_of_unknown_outcome(answer: Reply) -> None:
    client, sent = answering(answer)

    with pytest.raises(OutcomeUnknown):
        book(client)
    assert len(sent) == 1


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([{"bookingId": "b-1", "referenceId": "key-1"}], id="list"),
        pytest.param({"content": [{"bookingId": "b-1", "referenceId": "key-1"}], "totalPages": 1}, id="page"),
        pytest.param(
            {"sort": [], "content": [{"bookingId": "b-1", "referenceId": "key-1"}]}, id="page and an empty list"
        ),
        pytest.param([None, {"referenceId": "key-1"}, {"bookingId": "b-1", "referenceId": "key-1"}], id="odd ones"),
    ],
)
def test_bookings_are_read_from_a_list_or_a_page(listed: Any) -> None:
    client, _ = answering(reply(200, listed))

    assert client.find_booking("A1", "key-1", deadline=soon()) == "b-1"


@pytest.mark.parametrize("listed", [[], {"content": [], "sort": []}])
def test_no_bookings_are_none(listed: Any) -> None:
    client, _ = answering(reply(200, listed))

    assert client.find_booking("A1", "key-1", deadline=soon()) is None


@pytest.mark.parametrize("listed", [{}, {"content": 1}, {"content": [{}], "more": [{}]}, "text"])
def test_what_holds_no_list_is_not_taken_for_an_empty_one(listed: Any) -> None:
    client, _ = answering(reply(200, listed))

    with pytest.raises(OutcomeUnknown):
        client.find_booking("A1", "key-1", deadline=soon(0.1))


def test_memberships_report_opt_ins_in_either_form() -> None:
    rows = [
        {"userId": "u1", "memberRole": "OWNER", "optins": [{"type": "Email", "flag": True}, {"type": "SMS"}]},
        {"userId": 2, "allowedOptins": ["Post"], "declinedOptIns": ["Email"]},
    ]
    client, _ = answering(reply(200, rows))

    assert client.memberships("A1", deadline=soon()) == [
        Membership("u1", "OWNER", {"Email": True, "SMS": False}),
        Membership("2", "", {"Email": False, "Post": True}),
    ]


def test_a_membership_without_its_user_is_not_passed_over() -> None:
    client, _ = answering(*[reply(200, [{"memberRole": "OWNER"}])])

    with pytest.raises(Unavailable):
        client.memberships("A1", deadline=soon())


def test_opt_ins_of_one_membership_are_set_and_the_others_stay(convercus: Convercus, program: Program) -> None:
    owner = program.accounts["A1"]["memberships"][0]
    owner["optins"] = [{"type": "Email", "flag": True}, {"type": "Post", "flag": True}]
    client = client_of(convercus, program)

    client.set_optins("A1", owner["userId"], {"Email": False, "SMS": True}, deadline=soon())

    (membership,) = client.memberships("A1", deadline=soon())
    assert membership.optins == {"Email": False, "Post": True, "SMS": True}


def test_an_account_and_its_coupons_are_read(convercus: Convercus, program: Program) -> None:
    client = client_of(convercus, program)
    code = assign(client)

    details = client.account_details("A1", deadline=soon())
    (coupon,) = client.account_coupons("A1", deadline=soon())

    assert details["accountId"] == "A1"
    assert (coupon["couponId"], coupon["externalReference"]) == ("C1", code)


def test_every_call_names_the_point_of_interaction_and_what_the_account_id_is(
    convercus: Convercus, program: Program
) -> None:
    client_of(convercus, program, id_type="CARDCODE").account_details("CARD-A1", deadline=soon())

    request = program.requests[-1]
    assert (request.headers["interaction-id"], request.headers["id-type"]) == ("SHOP-1", "CARDCODE")
    assert request.status == 200


# Ids in paths.


@pytest.mark.parametrize("id_", ["a/b", "a b", "ü?x=1#y", "%2e%2e%2f", "..a", "a.b", "{account_id}", "😀"])
def test_any_id_reaches_its_account(convercus: Convercus, program: Program, id_: str) -> None:
    program.account(id_)

    book(client_of(convercus, program), id_)

    assert [effect.account for effect in program.effects] == [id_]


@pytest.mark.parametrize("id_", ["", "  ", ".", "..", "a\nb", "a\x00", "a" * 201])
def test_an_id_that_no_path_can_hold_is_refused_by_name_and_nothing_is_sent(id_: str) -> None:
    client, sent = answering()

    with pytest.raises(Invalid) as refused:
        book(client, id_)

    assert (refused.value.field, sent) == ("account_id", [])


# Faults and repeats.

WRITES: list[tuple[str, Callable[[Client, float], object]]] = [
    ("assign_coupon", assign),
    ("create_booking", lambda client, deadline: book(client, deadline=deadline)),
    ("set_optins", lambda client, deadline: client.set_optins("A1", "U-A1", {"Email": True}, deadline=deadline)),
]
READS: list[tuple[str, Callable[[Client, float], object]]] = [
    ("bookings", lambda client, deadline: client.find_booking("A1", "key-1", deadline=deadline)),
    ("memberships", lambda client, deadline: client.memberships("A1", deadline=deadline)),
    ("account_details", lambda client, deadline: client.account_details("A1", deadline=deadline)),
    ("account_coupons", lambda client, deadline: client.account_coupons("A1", deadline=deadline)),
]


@pytest.mark.parametrize(("call", "write"), WRITES, ids=[name for name, _ in WRITES])
@pytest.mark.parametrize(
    ("fault", "done"),
    [
        pytest.param({"kind": "status", "status": 500, "when": "before"}, 0, id="500 before acting"),
        pytest.param({"kind": "status", "status": 500, "when": "after"}, 1, id="500 after acting"),
        pytest.param({"kind": "status", "status": 502, "when": "after", "html": True}, 1, id="502 page after acting"),
        pytest.param({"kind": "status", "status": 503, "when": "after"}, 1, id="503 after acting"),
        pytest.param({"kind": "status", "status": 504, "when": "before", "html": True}, 0, id="504 page"),
        pytest.param({"kind": "status", "status": 408, "when": "after"}, 1, id="408 after acting"),
        pytest.param({"kind": "status", "status": 303, "when": "after"}, 1, id="redirect after acting"),
        pytest.param({"kind": "reset", "when": "before"}, 0, id="reset before acting"),
        pytest.param({"kind": "reset", "when": "after"}, 1, id="reset after acting"),
        pytest.param({"kind": "close"}, 1, id="half an answer"),
        pytest.param({"kind": "late"}, 0, id="acting later"),
    ],
)
def test_a_write_that_may_have_been_carried_out_is_sent_once(
    convercus: Convercus,
    program: Program,
    call: str,
    write: Callable[[Client, float], object],
    fault: dict[str, Any],
    done: int,
) -> None:
    client = client_of(convercus, program)
    client.token(soon(), "")
    program.misbehave(**fault, on=call)

    with pytest.raises(OutcomeUnknown):
        write(client, soon())

    assert (calls(program, call), len(program.effects)) == (1, done)


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        pytest.param({"kind": "slow", "seconds": 9}, 1, id="slow"),
        pytest.param({"kind": "drip", "interval": 0.2}, 1, id="slow drip"),
        pytest.param({"kind": "late", "seconds": 9}, 0, id="acting later, silent"),
    ],
)
def test_a_write_that_is_not_answered_in_time_is_sent_once(
    convercus: Convercus, program: Program, fault: dict[str, Any], done: int
) -> None:
    client = client_of(convercus, program)
    client.token(soon(), "")
    program.misbehave(**fault, on="create_booking")

    with pytest.raises(OutcomeUnknown):
        book(client, deadline=soon(1))

    assert (calls(program, "create_booking"), len(program.effects)) == (1, done)


def test_what_acts_later_acts_after_the_client_has_given_up(convercus: Convercus, program: Program) -> None:
    client = client_of(convercus, program)
    program.misbehave(kind="late")
    with suppress(OutcomeUnknown):
        book(client, reference="key-9")
    before = client.find_booking("A1", "key-9", deadline=soon())

    program.release()

    assert before is None
    assert client.find_booking("A1", "key-9", deadline=soon()) == program.bookings["A1"][0]["bookingId"]


@pytest.mark.parametrize(("call", "write"), WRITES, ids=[name for name, _ in WRITES])
@pytest.mark.parametrize(
    ("fault", "change"),
    [
        pytest.param({"status": 429}, {}, id="429"),
        pytest.param({"status": 429, "headers": {"retry-after": "0"}}, {}, id="429 and a time"),
        pytest.param({"status": 503, "headers": {"Retry-After": "0"}}, {}, id="503 and a time"),
        pytest.param({"status": 503}, {"turned_away": (503,)}, id="503 where the operator trusts it"),
    ],
)
def test_a_write_that_was_turned_away_is_repeated(
    convercus: Convercus,
    program: Program,
    call: str,
    write: Callable[[Client, float], object],
    fault: dict[str, Any],
    change: dict[str, Any],
) -> None:
    program.misbehave(kind="status", times=2, on=call, **fault)

    write(client_of(convercus, program, **change), soon())

    assert (calls(program, call), len(program.effects)) == (3, 1)


def test_a_wait_that_does_not_fit_is_reported_to_the_caller(convercus: Convercus, program: Program) -> None:
    program.misbehave(kind="status", status=429, headers={"retry-after": "60"}, times=None)

    with pytest.raises(NotSent) as not_sent:
        book(client_of(convercus, program))

    assert not_sent.value.retry_after == 60
    assert (calls(program, "create_booking"), program.effects) == (1, [])


def test_where_no_one_listens_nothing_was_sent() -> None:
    api = ConvercusApi(base_url="http://127.0.0.1:1", interaction_id="SHOP-1")

    with pytest.raises(NotSent):
        book(Client(api, open_client(1), lambda *_: "token"), deadline=soon(0.2))


@pytest.mark.parametrize(("call", "read"), READS, ids=[name for name, _ in READS])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "status", "status": 500}, id="500"),
        pytest.param({"kind": "status", "status": 502, "html": True}, id="502 page"),
        pytest.param({"kind": "status", "status": 503}, id="503"),
        pytest.param({"kind": "status", "status": 429, "headers": {"retry-after": "0"}}, id="429"),
        pytest.param({"kind": "reset"}, id="reset"),
        pytest.param({"kind": "close"}, id="half an answer"),
    ],
)
def test_a_read_is_repeated_while_there_is_time(
    convercus: Convercus, program: Program, call: str, read: Callable[[Client, float], object], fault: dict[str, Any]
) -> None:
    program.misbehave(**fault, times=2, on=call)

    read(client_of(convercus, program), soon(30))

    assert calls(program, call) == 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "slow", "seconds": 9}, id="slow"),
        pytest.param({"kind": "drip", "interval": 0.05}, id="slow drip"),
        pytest.param({"kind": "drip_headers", "interval": 0.05}, id="slow drip of headers"),
        pytest.param({"kind": "status", "status": 500, "times": None}, id="500 for ever"),
    ],
)
def test_a_read_ends_at_its_deadline(convercus: Convercus, program: Program, fault: dict[str, Any]) -> None:
    client = client_of(convercus, program)
    client.token(soon(), "")
    program.misbehave(**fault)
    began = time.monotonic()

    with pytest.raises(Unavailable):
        client.account_details("A1", deadline=began + 0.4)

    assert time.monotonic() - began < 3.0  # a busy machine may stall; the faults last nine seconds


def test_a_null_byte_in_a_name_does_not_cost_the_rest_of_an_account() -> None:
    client, _ = answering(reply(200, rb'{"accountId": "A1", "memberships": [{"givenName": "An\u0000na"}]}'))

    assert client.account_details("A1", deadline=soon())["accountId"] == "A1"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1", b"NaN", b'"text"', b"7", b"\xff"])
def test_an_answer_that_is_not_what_was_asked_for_is_a_failure_of_convercus(body: bytes) -> None:
    client, _ = answering(reply(200, body), reply(200, body))

    with pytest.raises(OutcomeUnknown):
        client.account_details("A1", deadline=soon())
    with pytest.raises(OutcomeUnknown):
        client.account_coupons("A1", deadline=soon())


# Refusals.


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        pytest.param({"account_id": "A9"}, 404, "ACCOUNT_NOT_FOUND", id="unknown account"),
        pytest.param({"coupon_id": "C9"}, 404, "COUPON_NOT_FOUND", id="unknown coupon"),
        pytest.param({"coupon_id": "C2"}, 409, "COUPON_NOT_ACTIVATED", id="inactive coupon"),
        pytest.param({"account_id": "A2"}, 409, "ACCOUNT_LOCKED", id="locked account"),
    ],
)
def test_a_refusal_carries_convercus_status_and_code_and_not_its_words(
    convercus: Convercus, program: Program, change: dict[str, str], status: int, code: str
) -> None:
    program.coupon("C2", status="INACTIVE")
    program.account("A2", status="LOCKED")
    wanted = {"account_id": "A1", "coupon_id": "C1"} | change

    with pytest.raises(UpstreamRejected) as refused:
        client_of(convercus, program).assign_coupon(wanted["account_id"], wanted["coupon_id"], deadline=soon())

    assert (refused.value.status, refused.value.code) == (status, code)
    assert not any(id_ in f"{refused.value} {refused.value.reason}" for id_ in change.values())
    assert calls(program, "assign_coupon") == 1


@pytest.mark.parametrize(
    ("body", "code", "kept"),
    [
        pytest.param({"code": "ACCOUNT_LOCKED", "message": "max@example.com"}, "ACCOUNT_LOCKED", "", id="code"),
        pytest.param(
            {"code": "X", "message": "m", "error": [{"code": "NOT_YET_REDEEMABLE", "field": "max@example.com"}]},
            "X",
            "NOT_YET_REDEEMABLE",
            id="details",
        ),
        pytest.param({"message": "max@example.com", "error": ["max@example.com"]}, "", "", id="words only"),
        pytest.param({"code": "max@example.com"}, "", "", id="code that is none"),
        pytest.param({"code": 4711, "error": "max@example.com"}, "", "", id="numbers and text"),
        pytest.param(b"<html>max@example.com</html>", "", "", id="page"),
        pytest.param([], "", "", id="list"),
        pytest.param(b"", "", "", id="nothing"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_only_codes_are_kept_of_an_error(status: int, body: Any, code: str, kept: str) -> None:
    client, _ = answering(reply(status, body))

    with pytest.raises(UpstreamRejected) as refused:
        assign(client)

    assert (refused.value.status, refused.value.code) == (status, code)
    assert kept in refused.value.reason
    assert "max" not in f"{refused.value!r} {refused.value.reason}"


# Logging in.


def test_an_expired_token_is_replaced_once_and_the_write_is_done_once(convercus: Convercus, program: Program) -> None:
    client = client_of(convercus, program)
    book(client)
    program.misbehave(kind="expired_token")

    book(client)

    assert (program.logins, len(program.effects)) == (2, 2)


def test_a_new_token_that_is_refused_ends_it_without_reporting_the_token(
    convercus: Convercus, program: Program
) -> None:
    client = client_of(
        convercus, program, auth="login", org=program.id, user_name="bridge", secret="simulated-password"
    )
    wrong = Client(api_of(convercus, program), client.send, client.token)

    with pytest.raises(ConnectionBroken) as not_sent:
        book(wrong)

    assert client.token(soon(), "") not in str(not_sent.value)
    assert (program.logins, program.effects) == (2, [])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="client credentials"),
        pytest.param(
            {"auth": "login", "org": "PROGRAM", "user_name": "bridge", "secret": "simulated-password"}, id="older login"
        ),
    ],
)
def test_either_login_works(convercus: Convercus, program: Program, change: dict[str, Any]) -> None:
    change = {name: program.id if value == "PROGRAM" else value for name, value in change.items()}

    assert book(client_of(convercus, program, **change))


def test_a_token_is_asked_for_as_keycloak_wants_it_and_lives_as_long_as_it_says() -> None:
    sent: list[Request] = []

    def send(request: Request, _: float) -> Reply:
        sent.append(request)
        return reply(200, {"access_token": "abc", "expires_in": 300})

    api = ConvercusApi(base_url="https://api.convercus.io", auth_url="https://auth.convercus.io", realm="ABC-staging")
    granted = login(api, "s&cret", send, soon())

    assert granted == ("abc", 300.0)
    assert sent[0].url == "https://auth.convercus.io/realms/ABC-staging/protocol/openid-connect/token"
    assert sent[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(sent[0].body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["machine-2-machine"],
        "client_secret": ["s&cret"],
        "scope": ["openid"],
    }


def test_the_older_login_gives_a_token_for_a_day() -> None:
    def send(request: Request, _: float) -> Reply:
        assert json.loads(request.body) == {"org": "ABC", "userName": "bridge", "password": "pass"}
        return reply(200, b'"ey.jwt"\n')

    api = ConvercusApi(base_url="https://api.convercus.io", auth="login", org="ABC", user_name="bridge")

    assert login(api, "pass", send, soon()) == ("ey.jwt", 86400)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "status", "status": 500, "times": None}, id="500 for ever"),
        pytest.param({"kind": "slow", "seconds": 9}, id="slow"),
        pytest.param({"kind": "status", "status": 200, "body": {"token": "other"}}, id="no token"),
        pytest.param({"kind": "status", "status": 200, "body": {"access_token": "a\r\nX: b"}}, id="impossible token"),
        pytest.param({"kind": "status", "status": 200, "body": [1]}, id="list"),
        pytest.param({"kind": "status", "status": 200, "html": True}, id="page"),
        pytest.param(
            {"kind": "status", "status": 429, "headers": {"retry-after": "9"}, "times": None}, id="turned away"
        ),
    ],
)
def test_without_a_token_nothing_is_sent(convercus: Convercus, program: Program, fault: dict[str, Any]) -> None:
    program.misbehave(**fault, on="token")

    with pytest.raises(NotSent) as not_sent:
        book(client_of(convercus, program), deadline=soon(0.5))

    assert not isinstance(not_sent.value, ConnectionBroken)
    assert calls(program, "create_booking") == 0
    assert SECRET not in str(not_sent.value)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_secret_is_tried_once_and_reported_as_what_it_is(
    convercus: Convercus, program: Program, status: int
) -> None:
    program.misbehave(kind="status", status=status, body={"error": "invalid_client"}, on="token")

    with pytest.raises(ConnectionBroken, match="credentials"):
        book(client_of(convercus, program))

    assert (calls(program, "token"), calls(program, "create_booking")) == (1, 0)


def test_a_failing_login_is_repeated(convercus: Convercus, program: Program) -> None:
    program.misbehave(kind="status", status=502, html=True, times=2, on="token")

    book(client_of(convercus, program))

    assert (program.logins, len(program.effects)) == (1, 1)


# Settings.


def test_paths_and_names_of_fields_are_settings(convercus: Convercus) -> None:
    sent: list[Request] = []

    def send(request: Request, _: float) -> Reply:
        sent.append(request)
        return reply(200, [{"id": "b-7", "extRef": "key-1"}] if request.method == "GET" else {"id": "b-7"})

    api = ConvercusApi(
        base_url="https://api.convercus.io",
        fields={"referenceId": "extRef", "bookingId": "id", "points": "amount"},
        calls=Endpoints(create_booking="PUT /v9/bookings/{account_id}", bookings="GET /v9/{account_id}/b?size=500"),
    )
    client = Client(api, send, lambda *_: "token")

    assert book(client) == "b-7"
    assert client.find_booking("A1", "key-1", deadline=soon()) == "b-7"
    assert [(it.method, it.url) for it in sent] == [
        ("PUT", "https://api.convercus.io/v9/bookings/A1"),
        ("GET", "https://api.convercus.io/v9/A1/b?size=500"),
    ]
    assert json.loads(sent[0].body) == {
        "bookingType": "EARNBOOKING",
        "bookingTypeCode": "BDAY",
        "amount": 50,
        "reason": "birthday",
        "extRef": "key-1",
    }


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("create_booking", "/accounts/{account_id}/bookings"),
        ("create_booking", "POST accounts/{account_id}"),
        ("create_booking", "POST //evil.example/{account_id}"),
        ("create_booking", "POST /accounts/../{account_id}"),
        ("create_booking", "POST /accounts/bookings"),
        ("create_booking", "POST /accounts/{account_id}/{user_id}"),
        ("create_booking", "POST /accounts/{account_id}#x"),
        ("create_booking", "POST /accounts/{account_id.__class__}"),
        ("create_booking", "GET /accounts/{account_id}/bookings"),
        ("bookings", "POST /accounts/{account_id}/bookings"),
    ],
)
def test_a_call_that_cannot_work_is_not_taken(name: str, call: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        Endpoints(**{name: call})


@pytest.mark.parametrize(
    "change",
    [{"interaction_id": "a\r\nX: b"}, {"fields": {"unknown": "x"}}, {"fields": {"code": "a b"}}, {"reelm": "x"}],
)
def test_a_setting_that_cannot_work_is_not_taken(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(change, ConvercusApi)


def test_no_error_reports_a_secret_a_token_or_an_id(convercus: Convercus, program: Program) -> None:
    client = client_of(convercus, program)
    token = client.token(soon(), "")
    values = []
    for fault in ({"kind": "status", "status": 500, "body": {"message": token}}, {"kind": "reset"}, {"kind": "close"}):
        program.misbehave(**fault)
        with pytest.raises(BridgeError) as error:
            book(client)
        values.append(f"{error.value!r} {client!r}")

    assert not any(word in text for text in values for word in (token, SECRET, "A1"))
