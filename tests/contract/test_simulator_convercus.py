"""The simulated Convercus answers as the public samples do, repeats what it is sent twice, and misbehaves on demand."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from simulators.convercus import Convercus, simulate
from simulators.convercus_program import Event, Program

NOW = 1_700_000_000.0
ROOT = Path(__file__).parents[2]
BOOKING = {"bookingType": "EARNBOOKING", "bookingTypeCode": "BDAY", "points": 50, "reason": "r", "referenceId": "key-1"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=NOW)


@pytest.fixture(scope="module")
def feed() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def convercus(clock: SimpleNamespace, feed: list[Event]) -> Iterator[Convercus]:
    with simulate(clock=lambda: clock.now, on_event=feed.append) as running:
        yield running


@pytest.fixture
def program(convercus: Convercus) -> Program:
    program = convercus.program(f"P{next(_numbers)}")
    program.account("A1", points=100)
    program.coupon("C1")
    return program


def log_in(convercus: Convercus, program: Program, **change: Any) -> requests.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": "machine-2-machine",
        "client_secret": "simulated-secret",
        "scope": "openid",
    }
    url = f"{convercus.url}/realms/{program.id}/protocol/openid-connect/token"
    return requests.post(url, form | change, timeout=5)


def call(convercus: Convercus, program: Program, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Make a call with a token that is good and a point of interaction."""
    known = {"Authorization": "Bearer " + program.grant(60, "Bearer "), "interaction-id": "SHOP-1"}
    known |= {name.replace("_", "-"): value for name, value in headers.items()}
    options: dict[str, Any] = {"json": body} if body is not None else {}
    return requests.request(method, convercus.url + path, headers=known, timeout=5, **options)


def control(convercus: Convercus, method: str, path: str, body: Any = None) -> Any:
    reply = requests.request(method, f"{convercus.url}/_simulator/{path}", json=body, timeout=5)
    assert reply.status_code == 200, reply.text
    return reply.json()


def done(program: Program) -> list[tuple[str, str]]:
    return [(effect.call, effect.account) for effect in program.effects]


# Logging in.


def test_a_realm_grants_a_token_to_who_knows_its_secret(convercus: Convercus, program: Program) -> None:
    grant = log_in(convercus, program)

    assert grant.status_code == 200
    assert (grant.json()["token_type"], grant.json()["expires_in"]) == ("Bearer", 300)
    assert program.logins == 1


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": "bridge"}, 401, "unauthorized_client"),
        ({"client_secret": "wrong"}, 401, "unauthorized_client"),
        ({"scope": "email"}, 400, "invalid_scope"),
    ],
)
def test_a_realm_grants_nothing_to_a_form_that_is_wrong(
    convercus: Convercus, program: Program, change: dict[str, str], status: int, error: str
) -> None:
    reply = log_in(convercus, program, **change)

    assert (reply.status_code, reply.json()["error"], program.logins) == (status, error, 0)


def test_a_realm_wants_a_form(convercus: Convercus, program: Program) -> None:
    reply = requests.post(f"{convercus.url}/realms/{program.id}/protocol/openid-connect/token", json={}, timeout=5)

    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


def test_an_unknown_realm_is_not_found(convercus: Convercus, program: Program) -> None:
    reply = requests.post(f"{convercus.url}/realms/unknown/protocol/openid-connect/token", timeout=5)

    assert reply.status_code == 404


def older_login(convercus: Convercus, program: Program, **change: Any) -> requests.Response:
    body = {"org": program.id, "userName": "bridge", "password": "simulated-password"} | change
    return requests.post(f"{convercus.url}/auth/login", json=body, timeout=5)


def test_the_older_login_gives_a_token_as_plain_text_to_send_without_a_scheme(
    convercus: Convercus, program: Program
) -> None:
    token = older_login(convercus, program).text

    plain = call(convercus, program, "GET", "/accounts/A1", Authorization=token)
    with_scheme = call(convercus, program, "GET", "/accounts/A1", Authorization=f"Bearer {token}")

    assert (plain.status_code, with_scheme.status_code) == (200, 401)


def test_the_older_login_refuses_a_wrong_password(convercus: Convercus, program: Program) -> None:
    assert older_login(convercus, program, password="wrong").status_code == 401


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic eDp5"])
def test_without_a_token_nothing_is_returned(convercus: Convercus, program: Program, authorization: str) -> None:
    reply = call(convercus, program, "GET", "/accounts/A1", Authorization=authorization)

    assert reply.status_code == 401


def test_a_token_is_good_until_it_expires(
    convercus: Convercus, program: Program, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.configure(expires_in=10)
    token = "Bearer " + log_in(convercus, program).json()["access_token"]
    statuses = []
    for second in (9.9, 10):
        monkeypatch.setattr(clock, "now", NOW + second)
        statuses.append(call(convercus, program, "GET", "/accounts/A1", Authorization=token).status_code)

    assert statuses == [200, 401]


def test_a_token_of_one_program_shows_nothing_of_another(convercus: Convercus, program: Program) -> None:
    other = convercus.program(f"P{next(_numbers)}")

    assert call(convercus, other, "GET", "/accounts/A1").status_code == 404


# Calls.


def test_a_coupon_is_assigned_as_often_as_it_is_asked_for_and_each_has_its_code(
    convercus: Convercus, program: Program
) -> None:
    path = "/v2/accounts/A1/accountcoupons"

    ids = [call(convercus, program, "POST", path, {"couponId": "C1"}).json()["accountCouponId"] for _ in range(2)]
    codes = [call(convercus, program, "GET", f"/v2/accountcoupons/{it}/code").json()["code"] for it in ids]

    listed = call(convercus, program, "GET", path).json()
    assert len(set(codes)) == 2
    assert [it["externalReference"] for it in listed] == codes
    assert done(program) == [("assign_coupon", "A1")] * 2


def test_an_account_coupon_has_the_fields_of_the_public_sample(convercus: Convercus, program: Program) -> None:
    call(convercus, program, "POST", "/v2/accounts/A1/accountcoupons", {"couponId": "C1", "validTo": "2030-01-01"})

    (coupon,) = call(convercus, program, "GET", "/accounts/A1/accountcoupons").json()

    assert coupon["validTo"] == "2030-01-01"
    assert {
        *("accountCouponId", "accountId", "couponId", "externalReference", "i18nFields", "images", "validFrom"),
        *("redeemCount", "maxRedeemCount", "stateLevel", "usageType", "points", "customProperties"),
    } <= coupon.keys()


def test_a_booking_changes_the_balance_each_time_whatever_its_reference(convercus: Convercus, program: Program) -> None:
    replies = [call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING) for _ in range(2)]

    listed = call(convercus, program, "GET", "/accounts/A1/bookings").json()
    assert [it.status_code for it in replies] == [201, 201]
    assert replies[0].headers["location"] == f"/accounts/A1/bookings/{listed[0]['bookingId']}"
    assert [it["referenceId"] for it in listed] == ["key-1", "key-1"]
    assert call(convercus, program, "GET", "/accounts/A1/balance").json()["points"] == 200
    assert done(program) == [("create_booking", "A1")] * 2


@pytest.mark.parametrize("points", [30, -30])
def test_a_burn_booking_takes_points_whatever_their_sign(convercus: Convercus, program: Program, points: int) -> None:
    burn = BOOKING | {"bookingType": "BURNBOOKING", "points": points}

    call(convercus, program, "POST", "/accounts/A1/bookings", burn)

    assert program.accounts["A1"]["accountBalance"]["points"] == 70


def test_opt_ins_that_are_named_change_and_the_others_stay(convercus: Convercus, program: Program) -> None:
    path = "/accounts/A1/memberships/U-A1/optins"
    call(convercus, program, "PATCH", path, [{"type": "Email", "flag": True}, {"type": "SMS", "flag": True}])

    call(convercus, program, "PATCH", path, [{"type": "SMS", "flag": False}])

    (membership,) = call(convercus, program, "GET", "/accounts/A1/memberships").json()
    assert membership["optins"] == [{"type": "Email", "flag": True}, {"type": "SMS", "flag": False}]


@pytest.mark.parametrize("path", ["/v3/accountdetails/A1", "/accountdetails/A1"])
def test_account_details_have_the_fields_of_the_public_sample(
    convercus: Convercus, program: Program, path: str
) -> None:
    details = call(convercus, program, "GET", path).json()

    assert {"accountId", "status", "accountBalance", "level", "identifiers", "memberships", "accountCoupons"} == set(
        details
    )


def test_an_account_is_found_by_its_card_too(convercus: Convercus, program: Program) -> None:
    found = call(convercus, program, "GET", "/v3/accountdetails/CARD-A1", id_type="CARDCODE")
    mistaken = call(convercus, program, "GET", "/v3/accountdetails/CARD-A1")

    assert (found.json()["accountId"], mistaken.status_code) == ("A1", 404)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v3/accountdetails/A9", None, 404, "ACCOUNT_NOT_FOUND"),
    ("GET", "/nowhere", None, 404, "NOT_FOUND"),
    ("DELETE", "/accounts/A1", None, 404, "NOT_FOUND"),
    ("GET", "/v2/accountcoupons/7/code", None, 404, "COUPON_NOT_FOUND"),
    ("POST", "/v2/accounts/A1/accountcoupons", {"couponId": "C9"}, 404, "COUPON_NOT_FOUND"),
    ("POST", "/v2/accounts/A1/accountcoupons", {"couponId": "C2"}, 409, "COUPON_NOT_ACTIVATED"),
    ("POST", "/v2/accounts/A2/accountcoupons", {"couponId": "C1"}, 409, "ACCOUNT_LOCKED"),
    ("POST", "/v2/accounts/A1/accountcoupons", {}, 400, "MISSING_FIELD"),
    ("POST", "/v2/accounts/A1/accountcoupons", {"couponId": ""}, 400, "INVALID_FIELD"),
    ("POST", "/v2/accounts/A1/accountcoupons", {"couponId": "C1", "dispatch": 1}, 400, "UNKNOWN_FIELD"),
    ("POST", "/v2/accounts/A1/accountcoupons", [], 400, "INVALID_BODY"),
    ("POST", "/accounts/A1/bookings", BOOKING | {"bookingType": "GIFT"}, 400, "INVALID_BOOKING_TYPE"),
    ("POST", "/accounts/A1/bookings", BOOKING | {"points": 0}, 400, "INVALID_POINTS"),
    ("POST", "/accounts/A1/bookings", BOOKING | {"points": "50"}, 400, "INVALID_POINTS"),
    (
        "POST",
        "/accounts/A1/bookings",
        BOOKING | {"bookingType": "BURNBOOKING", "points": 101},
        409,
        "NOT_ENOUGH_POINTS",
    ),
    ("POST", "/accounts/A2/bookings", BOOKING, 409, "ACCOUNT_LOCKED"),
    ("PATCH", "/accounts/A1/memberships/U9/optins", [{"type": "SMS", "flag": True}], 404, "MEMBERSHIP_NOT_FOUND"),
    ("PATCH", "/accounts/A1/memberships/U-A1/optins", [{"type": "Fax", "flag": True}], 400, "UNKNOWN_OPTIN"),
    ("PATCH", "/accounts/A1/memberships/U-A1/optins", [{"type": "SMS", "flag": "yes"}], 400, "UNKNOWN_OPTIN"),
    ("PATCH", "/accounts/A1/memberships/U-A1/optins", {}, 400, "INVALID_BODY"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSED)
def test_what_is_wrong_is_refused_with_a_code_and_nothing_is_done(
    convercus: Convercus, program: Program, method: str, path: str, body: Any, status: int, code: str
) -> None:
    program.coupon("C2", status="INACTIVE")
    program.account("A2", status="LOCKED")

    reply = call(convercus, program, method, path, body)

    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.json()["message"]
    assert program.effects == []


def test_a_body_that_is_not_json_or_not_said_to_be_is_refused(convercus: Convercus, program: Program) -> None:
    headers = {"Authorization": "Bearer " + program.grant(60, "Bearer "), "interaction-id": "SHOP-1"}
    url = f"{convercus.url}/accounts/A1/bookings"

    unsaid = requests.post(url, json.dumps(BOOKING), headers=headers, timeout=5)
    broken = requests.post(url, "{", headers=headers | {"Content-Type": "application/json"}, timeout=5)

    assert (unsaid.status_code, broken.status_code, program.effects) == (415, 400, [])


@pytest.mark.parametrize(("interaction", "status"), [("", 400), ("SHOP-2", 403), ("SHOP-1", 200)])
def test_the_point_of_interaction_must_be_registered(
    convercus: Convercus, program: Program, interaction: str, status: int
) -> None:
    program.configure(interaction_ids=("SHOP-1",))

    assert call(convercus, program, "GET", "/accounts/A1", interaction_id=interaction).status_code == status


# Events.


def test_what_is_done_comes_back_as_events(convercus: Convercus, program: Program, feed: list[Event]) -> None:
    feed.clear()

    call(convercus, program, "POST", "/v2/accounts/A1/accountcoupons", {"couponId": "C1"})
    call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING)
    call(convercus, program, "PATCH", "/accounts/A1/memberships/U-A1/optins", [{"type": "SMS", "flag": True}])

    assert [event["eventType"] for event in feed] == ["coupon_assigned", "balance_changed", "membership_optins_changed"]
    assert all((it["programId"], it["accountId"], it["userId"]) == (program.id, "A1", "U-A1") for it in feed)
    assert all(it["occurredAt"] == "2023-11-14T22:13:20.000Z" for it in feed)
    assert len({it["eventId"] for it in feed}) == 3
    assert feed[0]["payload"]["couponId"] == "C1"
    assert feed[0]["payload"]["code"] in program.codes.values()
    assert (feed[1]["payload"]["points"], feed[1]["payload"]["referenceId"]) == (150, "key-1")
    assert control(convercus, "GET", f"programs/{program.id}/events") == feed


def test_an_event_keeps_what_was_so_when_it_happened(convercus: Convercus, program: Program) -> None:
    for _ in range(2):
        call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING)

    assert [event["payload"]["points"] for event in program.events] == [150, 200]


# Faults.


@pytest.mark.parametrize(
    ("fault", "acts"),
    [
        ({"kind": "status", "status": 500}, 0),
        ({"kind": "status", "status": 500, "when": "after"}, 1),
        ({"kind": "status", "status": 502, "html": True}, 0),
        ({"kind": "late"}, 0),
    ],
)
def test_a_failure_comes_before_or_after_acting(
    convercus: Convercus, program: Program, fault: dict[str, Any], acts: int
) -> None:
    control(convercus, "POST", f"programs/{program.id}/faults", fault)

    statuses = [call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING).status_code for _ in range(2)]

    assert statuses == [fault.get("status", 500), 201]
    assert len(program.effects) == acts + 1


@pytest.mark.parametrize(("when", "acts"), [("before", 0), ("after", 1)])
def test_a_connection_is_reset_before_or_after_acting(
    convercus: Convercus, program: Program, when: str, acts: int
) -> None:
    program.misbehave(kind="reset", when=when)

    with pytest.raises(requests.ConnectionError):
        call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING)

    assert len(program.effects) == acts


@pytest.mark.parametrize("fault", [{"kind": "slow", "seconds": 0.2}, {"kind": "drip", "interval": 0.002}])
def test_a_slow_answer_comes_whole(convercus: Convercus, program: Program, fault: dict[str, Any]) -> None:
    program.misbehave(**fault)
    began = time.monotonic()

    reply = call(convercus, program, "GET", "/v3/accountdetails/A1")

    assert (reply.json()["accountId"], reply.status_code) == ("A1", 200)
    assert time.monotonic() - began >= 0.2


def test_what_was_postponed_is_done_on_release(convercus: Convercus, program: Program) -> None:
    program.misbehave(kind="late", times=2)
    for _ in range(2):
        call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING)
    before = list(program.effects)

    state = control(convercus, "POST", f"programs/{program.id}/release")

    assert (before, state["effects"], state["late"]) == ([], {"create_booking": 2}, 0)
    assert program.accounts["A1"]["accountBalance"]["points"] == 200


def test_a_fault_of_one_call_leaves_the_others(convercus: Convercus, program: Program) -> None:
    program.misbehave(kind="status", status=500, on="create_booking")
    program.misbehave(kind="status", status=500, on="token")

    others = [call(convercus, program, "GET", f"/accounts/A1{what}").status_code for what in ("", "/bookings")]

    assert others == [200, 200]
    assert call(convercus, program, "POST", "/accounts/A1/bookings", BOOKING).status_code == 500
    assert log_in(convercus, program).status_code == 500


def test_tokens_expire_on_demand(convercus: Convercus, program: Program) -> None:
    token = "Bearer " + log_in(convercus, program).json()["access_token"]

    control(convercus, "POST", f"programs/{program.id}/faults", [{"kind": "expired_token"}])

    assert call(convercus, program, "GET", "/accounts/A1", Authorization=token).status_code == 401


@pytest.mark.parametrize("fault", [{"kind": "slwo"}, {"kind": "slow", "on": "bookngs"}, {"kind": "slow", "second": 1}])
def test_a_misspelt_fault_is_not_taken(convercus: Convercus, program: Program, fault: dict[str, Any]) -> None:
    reply = requests.post(f"{convercus.url}/_simulator/programs/{program.id}/faults", json=fault, timeout=5)

    assert reply.status_code == 400


# Control.


def test_a_program_is_set_up_and_asked_over_http(convercus: Convercus) -> None:
    id_ = f"P{next(_numbers)}"
    control(convercus, "PUT", f"programs/{id_}", {"expires_in": 7})
    control(convercus, "PUT", f"programs/{id_}/accounts/A%2F1", {"points": 7, "status": "ACTIVE"})
    control(convercus, "PUT", f"programs/{id_}/coupons/C1", {"maxRedeemCount": 3})
    program = convercus.program(id_)

    call(convercus, program, "POST", "/v2/accounts/A%2F1/accountcoupons", {"couponId": "C1"})

    (effect,) = control(convercus, "GET", f"programs/{id_}/effects?account=A%2F1")
    assert (effect["call"], effect["of"]) == ("assign_coupon", "C1")
    assert control(convercus, "GET", f"programs/{id_}/effects?account=A2") == []
    assert control(convercus, "GET", f"programs/{id_}/accounts/A%2F1")["accountBalance"]["points"] == 7
    assert control(convercus, "GET", f"programs/{id_}")["effects"] == {"assign_coupon": 1}
    assert control(convercus, "GET", "")["programs"][id_]["accounts"] == 1


def test_a_request_is_noted_without_its_token(convercus: Convercus, program: Program) -> None:
    call(convercus, program, "GET", "/accounts/A1")

    (request,) = control(convercus, "GET", f"programs/{program.id}/requests")

    assert (request["call"], request["path"], request["status"]) == ("account", "/accounts/A1", 200)
    assert "authorization" not in request["headers"]


def test_a_reset_forgets_faults_and_data(convercus: Convercus, program: Program) -> None:
    program.misbehave(kind="status", times=None)

    state = control(convercus, "POST", f"programs/{program.id}/reset")

    assert (state["accounts"], state["effects"], state["pending"]) == (0, {}, {"late": {}, "faults": {}})


def test_faults_can_be_cleared(convercus: Convercus, program: Program) -> None:
    program.misbehave(kind="status", times=None)

    control(convercus, "DELETE", f"programs/{program.id}/faults")

    assert call(convercus, program, "GET", "/accounts/A1").status_code == 200
