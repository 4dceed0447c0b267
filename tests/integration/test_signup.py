"""Signing members up at Punchh: once each, with what Punchh wants, within the time that MoEngage waits."""

from __future__ import annotations

import hmac
import itertools
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loyalty_bridge.actions import idempotency, idempotency_store
from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import identities
from loyalty_bridge.platforms.punchh import client as platform
from loyalty_bridge.programs import credential_breaker
from loyalty_bridge.settings import DeliverySettings
from simulators.punchh import Punchh
from tests.support.http_events import PUNCHH_SECRETS, Answer, Api, connect_punchh, make_known

ANN = {
    "email": "ann.ash@example.com",
    "first_name": "Ånnabel",
    "last_name": "Ashworth",
    "external_source": "customer_id",
    "external_source_id": "c-1001",
}
CLIENT_ONLY = {"punchh_client_secret": "secret"}
MISSING = object()

DONE, UNKNOWN, NOT_SENT = (200, None), (500, "outcome_unknown"), (502, "not_sent")
BROKEN = (503, "connection_broken")


def user(number: int = 1, **change: Any) -> dict[str, Any]:
    """Make a member; `change` replaces fields or takes them away."""
    who = ANN | {"email": f"guest{number}@example.com", "external_source_id": f"c-{number:04}"}
    return {name: value for name, value in (who | change).items() if value is not MISSING}


def sign_up(diner: Api, who: Any = ANN, **headers: str) -> Answer:
    return diner.post("members", {"user": who}, **headers)


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.body.get("error")


def asked(punchh: Punchh, path: str = "") -> list[str]:
    """Return what Punchh was asked for."""
    return [f"{it.method} {it.target}" for it in punchh.requests if path in it.target]


# What is sent.


def test_a_member_is_signed_up_with_the_external_id(diner: Api, punchh: Punchh) -> None:
    answer = sign_up(diner)

    (created,) = punchh.business.users
    assert (answer.status, answer.body) == (200, {"userId": str(created.user_id)})
    assert created.fields == ANN


@pytest.mark.parametrize(
    ("flavour", "path", "algorithm"),
    [("mobile", "/api2/mobile/users", "sha256"), ("online_ordering", "/api/auth/customers.json", "sha1")],
)
def test_the_very_bytes_are_signed_for_either_api(
    diner: Api, punchh: Punchh, flavour: str, path: str, algorithm: str
) -> None:
    connect_punchh(diner.settings, punchh.url, flavour=flavour)

    assert sign_up(diner).status == 200

    (request,) = punchh.requests
    assert request.target == path
    signed = hmac.new(b"secret", f"{path}{request.body}".encode(), algorithm).hexdigest()
    assert request.headers["x-pch-digest"] == signed


def test_every_member_gets_a_random_password_that_is_kept_nowhere(diner: Api, punchh: Punchh) -> None:
    for number in (1, 2):
        assert sign_up(diner, user(number)).status == 200

    passwords = {json.loads(request.body)["user"]["password"] for request in punchh.requests}
    assert len(passwords) == 2
    assert min(map(len, passwords)) >= 32
    for table in ("IdempotencyTable", "MembersTable", "ProgramsTable"):
        stored = repr(aws.dynamodb().scan(TableName=table)["Items"])
        assert not any(password in stored for password in passwords)


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        pytest.param({"terms_and_conditions": "true"}, {"terms_and_conditions": True}, id="flag as text"),
        pytest.param({"send_compliance_sms": False}, {"send_compliance_sms": False}, id="flag"),
        pytest.param({"marketing_email_subscription": ""}, {}, id="blank flag"),
        pytest.param({"birthday": "1999-01-31T00:00:00Z"}, {"birthday": "1999-01-31"}, id="time of birth"),
        pytest.param({"birthday": " "}, {}, id="no birthday"),
        pytest.param({"zip_code": 30201}, {"zip_code": "30201"}, id="number"),
        pytest.param({"zip_code": " 30201 "}, {"zip_code": "30201"}, id="blanks around"),
        pytest.param({"city": "", "state": None}, {}, id="blank"),
        pytest.param({"external_source": MISSING}, {"external_source": "customer_id"}, id="source of the program"),
        pytest.param({"external_source": "auth0"}, {"external_source": "auth0"}, id="source of the request"),
        pytest.param(
            {"profile_field_answers": {"upf0": "blue", "upf1": ""}},
            {"profile_field_answers": {"upf0": "blue"}},
            id="answers",
        ),
        pytest.param({"email": "Guest1@EXAMPLE.com"}, {"email": "Guest1@example.com"}, id="domain"),
    ],
)
def test_fields_arrive_as_punchh_wants_them(
    diner: Api, punchh: Punchh, sent: dict[str, Any], received: dict[str, Any]
) -> None:
    answer = sign_up(diner, user(**sent))

    (created,) = punchh.business.users
    assert answer.status == 200
    left_out = sent.keys() - received.keys()
    assert created.fields == {name: it for name, it in (user() | received).items() if name not in left_out}


@pytest.mark.parametrize(
    ("to", "id_", "status"),
    [
        pytest.param("braze", "7", 200, id="Braze takes one character"),
        pytest.param("braze", "guest", 200, id="Braze takes a word that MoEngage blocks"),
        pytest.param("braze", "undefined", 400, id="Braze, no id"),
        pytest.param("moengage", "7", 400, id="MoEngage blocks one character"),
        pytest.param("moengage", "guest", 400, id="MoEngage blocks the word"),
        pytest.param("moengage", "moe-7", 200, id="MoEngage"),
    ],
)
def test_an_external_id_is_one_that_the_programs_destination_takes(
    diner: Api, punchh: Punchh, to: str, id_: str, status: int
) -> None:
    diner.change(engagement={"platform": to})

    answer = sign_up(diner, user(external_source_id=id_))

    assert answer.status == status
    assert answer.body.get("field") == (None if status == 200 else "user.external_source_id")
    assert len(punchh.requests) == (status == 200)


@pytest.mark.parametrize(("identifier_type", "status"), [("external_id", 200), ("user_alias", 400)])
def test_an_external_id_may_be_as_long_as_brazes_identifier(diner: Api, identifier_type: str, status: int) -> None:
    diner.change(engagement={"platform": "braze", "rules": {"identifier_type": identifier_type}})

    answer = sign_up(diner, user(external_source_id="ä" * 150))

    assert answer.status == status
    assert answer.body.get("field") == (None if status == 200 else "user.external_source_id")


def test_names_of_answers_that_differ_in_blanks_only_are_refused(diner: Api, punchh: Punchh) -> None:
    answer = sign_up(diner, user(profile_field_answers={"upf0": "blue", "upf0 ": "red"}))

    assert (answer.status, answer.body["field"]) == (400, "user.profile_field_answers")
    assert punchh.requests == []


def test_a_device_and_a_user_agent_are_passed_on(diner: Api, punchh: Punchh) -> None:
    headers = {"punchh_app_device_id": "38400000-8cf0-11bd-b23e-10b96e40000d", "user_agent": "Diner/2.1/7 (iOS; 18)"}

    assert sign_up(diner, **headers).status == 200

    (request,) = punchh.requests
    assert request.headers["punchh-app-device-id"] == headers["punchh_app_device_id"]
    assert request.headers["user-agent"] == headers["user_agent"]


@pytest.mark.parametrize(
    "device", [None, "", " ", "None", "null", "{{UserAttribute['GAID']}}", "00000000-0000-0000-0000-000000000000"]
)
def test_who_reports_no_device_gets_one_that_is_stable_and_shared_with_no_one(
    diner: Api, punchh: Punchh, device: str | None
) -> None:
    headers = {} if device is None else {"punchh_app_device_id": device}

    answers = [sign_up(diner, user(number), **headers) for number in range(1, 6)]

    devices = [created.device_id for created in punchh.business.users]
    assert {answer.status for answer in answers} == {200}
    assert len({*devices} - {device}) == 5
    punchh.business.reset()
    forget_journal()
    sign_up(diner, user(1), **headers)
    assert punchh.business.users[0].device_id == devices[0]


def forget_journal() -> None:
    for item in aws.dynamodb().scan(TableName="IdempotencyTable")["Items"]:
        aws.dynamodb().delete_item(TableName="IdempotencyTable", Key={"id": item["id"]})


# What is refused before anything is sent.

TOO_LONG = "x" * 256
WRONG: dict[str, dict[str, Any]] = {
    "no email": {"email": MISSING},
    "null email": {"email": None},
    "blank email": {"email": " "},
    "unrendered email": {"email": "{{UserAttribute['Email (Standard)']}}"},
    "no address": {"email": "ann at example.com"},
    "address without host": {"email": "ann@"},
    "two addresses": {"email": "ann@example.com, bob@example.com"},
    "long email": {"email": f"{'x' * 250}@example.com"},
    "email as number": {"email": 5},
    "no id": {"external_source_id": MISSING},
    "null id": {"external_source_id": None},
    "blank id": {"external_source_id": " "},
    "unrendered id": {"external_source_id": "{{UserAttribute['ID']}}"},
    "half rendered id": {"external_source_id": "c-{% if x %}"},
    "rendered None": {"external_source_id": "None"},
    "id of two lines": {"external_source_id": "c-1\nc-2"},
    "id with a null byte": {"external_source_id": "c-\0"},
    "long id": {"external_source_id": "c" * 201},
    "id as array": {"external_source_id": ["c-1"]},
    "id as object": {"external_source_id": {"id": "c-1"}},
    "id as boolean": {"external_source_id": True},
    "password": {"password": "Ann+xyz123"},
    "password confirmation": {"password_confirmation": "Ann+xyz123"},
    "token": {"authentication_token": "t"},
    "no first name": {"first_name": MISSING},
    "blank last name": {"last_name": " "},
    "unrendered name": {"first_name": "{{UserAttribute['First Name']}}"},
    "long name": {"first_name": TOO_LONG},
    "name as array": {"first_name": ["Ann"]},
    "birthday in another order": {"birthday": "02/01/1999"},
    "no day": {"birthday": "1999-02-30"},
    "birthday as number": {"birthday": 19990131},
    "flag that is none": {"terms_and_conditions": "maybe"},
    "flag as array": {"send_compliance_sms": []},
    "answers as text": {"profile_field_answers": "blue"},
}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({}, "user", id="no user"),
        pytest.param({"user": None}, "user", id="null"),
        pytest.param({"user": [ANN]}, "user", id="array"),
        pytest.param({"user": "ann"}, "user", id="text"),
        pytest.param(ANN, "user", id="fields beside"),
        pytest.param({"user": ANN, "client": "CLIENT"}, "client", id="client"),
        *(
            pytest.param({"user": user(**change)}, f"user.{next(iter(change))}", id=name)
            for name, change in WRONG.items()
        ),
        pytest.param(
            {"user": user(profile_field_answers={"upf0": TOO_LONG})}, "user.profile_field_answers.upf0", id="answer"
        ),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_by_field(diner: Api, punchh: Punchh, body: Any, field: str) -> None:
    answer = diner.post("members", body)

    assert (answer.status, answer.body["error"], answer.body["field"]) == (400, "invalid_request", field)
    assert answer.body["message"].startswith(field)
    assert punchh.requests == []
    assert aws.dynamodb().scan(TableName="IdempotencyTable")["Count"] == 0


def test_a_device_id_that_cannot_be_a_header_is_refused(diner: Api, punchh: Punchh) -> None:
    answer = sign_up(diner, punchh_app_device_id="d" * 257)

    assert (answer.status, answer.body["field"]) == (400, "punchh-app-device-id")
    assert punchh.requests == []
    assert sign_up(diner).status == 200


@pytest.mark.parametrize(
    ("loyalty", "absent"),
    [
        ({"platform": "convercus"}, "loyalty.api.base_url"),
        ({"api": {"base_url": ""}}, "loyalty.api.base_url"),
        ({"api": {"client": ""}}, "loyalty.api.client"),
    ],
)
def test_a_program_that_is_not_set_up_says_so(diner: Api, punchh: Punchh, loyalty: dict[str, Any], absent: str) -> None:
    diner.change(loyalty=loyalty)

    answer = sign_up(diner)

    assert told(answer) == (409, "not_connected")
    assert absent in answer.body["message"]
    assert punchh.requests == []


def test_a_program_without_a_client_secret_says_so(diner: Api, punchh: Punchh) -> None:
    connect_punchh(diner.settings, punchh.url, secrets={"punchh_admin_key": "admin-key"})

    answer = sign_up(diner)

    assert told(answer) == (409, "not_connected")
    assert "secrets.punchh_client_secret" in answer.body["message"]


# Members who are there already.


@pytest.mark.parametrize("tells", [True, False], ids=["Punchh tells the id", "Punchh does not tell it"])
def test_an_account_that_has_an_external_id_is_never_given_to_another(
    stores: DeliverySettings, diner: Api, punchh: Punchh, tells: bool
) -> None:
    punchh.business.configure(returns_external_ids=tells)
    victim = punchh.business.sign_up(**user(1))
    make_known(stores, victim.user_id, "c-0001")

    answers = [sign_up(diner, user(1, external_source_id="c-thief")) for _ in range(2)]

    assert [(it.status, it.body) for it in answers] == [(200, {"existing": True})] * 2
    assert victim.source == ("customer_id", "c-0001")
    code = diner.get("members/c-thief/coupon-code", campaign="58293")
    assert code.body == {"error": "member_not_found"}


@pytest.mark.parametrize(
    ("tells", "body", "source"),
    [
        pytest.param(True, {"userId": "5000000001", "existing": True}, ("customer_id", "c-0001"), id="it has none"),
        pytest.param(False, {"existing": True}, (None, None), id="Punchh does not tell whether it has one"),
    ],
)
def test_an_account_without_an_external_id_gets_it_when_punchh_says_that_it_has_none(
    diner: Api, punchh: Punchh, tells: bool, body: dict[str, Any], source: Any
) -> None:
    punchh.business.configure(returns_external_ids=tells)
    there = punchh.business.sign_up(email=user(1)["email"], first_name="Ann", last_name="Ash")

    answer = sign_up(diner, user(1))

    assert (answer.status, answer.body, there.source) == (200, body, source)


@pytest.mark.parametrize("existing_accounts", ["without_id", "any"])
def test_an_account_of_another_address_than_the_one_asked_for_is_left_alone(
    diner: Api, punchh: Punchh, monkeypatch: pytest.MonkeyPatch, existing_accounts: str
) -> None:
    diner.change(loyalty={"existing_accounts": existing_accounts})
    sign_up(diner, user(1))
    other = platform.Guest(5_000_000_001, email="somebody.else@example.com", external_source_id="")
    monkeypatch.setattr(platform, "user_information", lambda *_, **__: other)

    answer = sign_up(diner, user(1, external_source_id="c-new"))

    assert (answer.status, answer.body) == (200, {"existing": True})
    assert not [it for it in punchh.requests if it.method == "PATCH"]


def test_an_account_with_this_external_id_is_reported_without_a_change(diner: Api, punchh: Punchh) -> None:
    punchh.business.configure(returns_external_ids=True)
    there = punchh.business.sign_up(**user(1))

    answer = sign_up(diner, user(1))

    assert answer.body == {"userId": str(there.user_id), "existing": True}
    assert "PATCH" not in [request.method for request in punchh.requests]


@pytest.mark.parametrize("status", [500, 503])
def test_a_lost_answer_does_not_give_an_older_account_away(diner: Api, punchh: Punchh, status: int) -> None:
    victim = punchh.business.sign_up(**user(1))
    punchh.faults.add(kind="status", status=status, when="after")

    answer = sign_up(diner, user(1, external_source_id="c-thief"))

    assert (answer.status, answer.body) == (200, {"existing": True})
    assert victim.source == ("customer_id", "c-0001")


def test_an_existing_member_is_reported_and_gets_the_external_id(diner: Api, punchh: Punchh) -> None:
    diner.change(loyalty={"existing_accounts": "any"})
    sign_up(diner, user(1))
    punchh.requests.clear()

    answer = sign_up(diner, user(1, external_source_id="c-new"))

    (created,) = punchh.business.users
    assert (answer.status, answer.body) == (200, {"userId": str(created.user_id), "existing": True})
    assert created.source == ("customer_id", "c-new")
    assert len(asked(punchh)) == 3


def test_an_existing_member_gets_the_id_of_the_system_that_the_request_names(diner: Api, punchh: Punchh) -> None:
    diner.change(loyalty={"existing_accounts": "any"})
    sign_up(diner, user(1))

    assert sign_up(diner, user(1, external_source="auth0", external_source_id="a-1")).status == 200
    assert punchh.business.users[0].source == ("auth0", "a-1")


def test_an_existing_member_gets_the_external_id_though_the_business_keeps_addresses_to_itself(
    diner: Api, punchh: Punchh
) -> None:
    diner.change(loyalty={"existing_accounts": "any"})
    user_id = sign_up(diner, user(1)).body["userId"]
    punchh.faults.add(kind="pass")
    punchh.faults.add(kind="status", status=200, body={"id": int(user_id), "user_id": int(user_id)})

    assert sign_up(diner, user(1, external_source_id="c-new")).body == {"userId": user_id, "existing": True}
    assert punchh.business.users[0].source == ("customer_id", "c-new")


def test_an_existing_member_is_reported_without_an_admin_key_too(diner: Api, punchh: Punchh) -> None:
    sign_up(diner, user(1))
    connect_punchh(diner.settings, punchh.url, secrets=CLIENT_ONLY)

    answer = sign_up(diner, user(1, external_source_id="c-new"))

    assert (answer.status, answer.body) == (200, {"existing": True})
    assert punchh.business.users[0].source == ("customer_id", "c-0001")


def test_an_external_id_that_another_account_has_is_refused(diner: Api, punchh: Punchh) -> None:
    diner.change(loyalty={"existing_accounts": "any"})
    sign_up(diner, user(1))
    sign_up(diner, user(2))
    forget_journal()

    answer = sign_up(diner, user(1, external_source_id="c-0002"))

    assert answer.status == 422
    assert answer.body["error"] == "external_source_id"
    assert punchh.business.users[0].source == ("customer_id", "c-0001")


@pytest.mark.parametrize("kind", ["reset", "close"])
@pytest.mark.parametrize("skip", [1, 2], ids=["look-up", "update"])
def test_what_fails_for_an_existing_member_is_done_by_the_repeat(
    diner: Api, punchh: Punchh, kind: str, skip: int
) -> None:
    diner.change(loyalty={"existing_accounts": "any"})
    sign_up(diner, user(1))
    for _ in range(skip):
        punchh.faults.add(kind="pass")
    punchh.faults.add(kind=kind)
    again = user(1, external_source_id="c-new")

    answers = [sign_up(diner, again), sign_up(diner, again)]

    assert [told(answer) for answer in answers] == [NOT_SENT, DONE]
    assert answers[1].body["existing"] is True
    assert punchh.business.users[0].source == ("customer_id", "c-new")


# Repeats, refusals, faults.


def test_a_repeat_gets_the_first_answer(diner: Api, punchh: Punchh) -> None:
    first, second = sign_up(diner), sign_up(diner, idempotency_key="another")

    assert first.status == 200
    assert second == first
    assert len(asked(punchh)) == 1


def test_an_external_id_belongs_to_one_body(diner: Api, punchh: Punchh) -> None:
    sign_up(diner)

    answer = sign_up(diner, ANN | {"first_name": "Bob"})

    assert told(answer) == (422, "key_reused")
    assert "external_source_id" in answer.body["message"]
    assert len(asked(punchh)) == 1


def test_a_refused_signup_may_be_corrected_or_repeated(diner: Api, punchh: Punchh) -> None:
    for _ in range(2):
        punchh.faults.add(kind="status", status=422, body={"errors": {"zip_code": ["is invalid"]}})

    answers = [sign_up(diner, ANN | {"zip_code": code}) for code in ("3020", "3020", "30201", "30201")]

    assert [told(answer) for answer in answers] == [(422, "zip_code")] * 2 + [DONE] * 2
    assert len(asked(punchh)) == 3
    assert [it.fields["zip_code"] for it in punchh.business.users] == ["30201"]


def test_a_refusal_is_reported_with_punchhs_reason_and_without_what_was_sent(diner: Api, punchh: Punchh) -> None:
    shared = {"punchh_app_device_id": "one-device"}
    for number in range(1, 4):
        sign_up(diner, user(number), **shared)

    answer = sign_up(diner, user(4), **shared)

    assert told(answer) == (422, "device_already_shared")
    assert "maximum number of guests" in answer.body["message"]
    assert "guest4" not in json.dumps(answer.body)


AFTER = {"when": "after"}


@pytest.mark.parametrize(
    ("fault", "first", "repeat", "secrets"),
    [
        pytest.param({"kind": "status", "status": 500}, UNKNOWN, UNKNOWN, PUNCHH_SECRETS, id="500 before"),
        pytest.param({"kind": "status", "status": 500, **AFTER}, DONE, DONE, PUNCHH_SECRETS, id="500 after"),
        pytest.param({"kind": "reset", **AFTER}, DONE, DONE, PUNCHH_SECRETS, id="reset after"),
        pytest.param({"kind": "close"}, DONE, DONE, PUNCHH_SECRETS, id="half an answer"),
        pytest.param({"kind": "reset"}, UNKNOWN, UNKNOWN, PUNCHH_SECRETS, id="reset before"),
        pytest.param({"kind": "status", "status": 500, **AFTER}, UNKNOWN, UNKNOWN, CLIENT_ONLY, id="nobody to ask"),
        pytest.param({"kind": "status", "status": 429}, NOT_SENT, DONE, PUNCHH_SECRETS, id="429"),
    ],
)
def test_a_fault_is_reported_as_what_is_known_and_no_one_is_signed_up_twice(
    diner: Api, punchh: Punchh, fault: dict[str, Any], first: Any, repeat: Any, secrets: Any
) -> None:
    connect_punchh(diner.settings, punchh.url, secrets=secrets)
    punchh.faults.add(**fault)

    answers = [sign_up(diner), sign_up(diner)]

    assert [told(answer) for answer in answers] == [first, repeat]
    assert len(asked(punchh, "/api2/mobile/users")) == 1 + (first == NOT_SENT)


NOT_CARRIED_OUT: dict[str, Any] = {"kind": "status", "status": 429}
FAULTS = st.sampled_from(
    [
        {"kind": "pass"},
        NOT_CARRIED_OUT,
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 500, **AFTER},
        {"kind": "reset"},
        {"kind": "reset", **AFTER},
        {"kind": "close"},
    ]
)
_numbers = itertools.count(1000)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(faults=st.lists(FAULTS, max_size=6), repeats=st.integers(1, 4))
def test_no_sequence_of_faults_signs_a_member_up_twice(
    diner: Api, punchh: Punchh, faults: list[dict[str, Any]], repeats: int
) -> None:
    who = user(next(_numbers))
    punchh.requests.clear()
    for fault in faults:
        punchh.faults.add(**fault)

    answers = [sign_up(diner, who) for _ in range(repeats)]
    punchh.faults.clear()
    answers.append(sign_up(diner, who))

    created = [it for it in punchh.business.users if it.fields["email"] == who["email"]]
    tries = [it.status for it in punchh.requests if it.target == "/api2/mobile/users"]
    done = [answer.body for answer in answers if answer.status == 200]
    assert {told(answer) for answer in answers} <= {DONE, NOT_SENT, UNKNOWN}
    assert len([status for status in tries if status != NOT_CARRIED_OUT["status"]]) <= 1
    assert done == [{"userId": str(it.user_id)} for it in created] * len(done)
    assert told(answers[-1]) == (DONE if created else UNKNOWN)
    assert all(it.source == ("customer_id", who["external_source_id"]) for it in created)


def test_silence_is_answered_in_time_and_the_member_found_later(diner: Api, punchh: Punchh) -> None:
    punchh.faults.add(kind="slow", seconds=30.0)
    began = time.monotonic()

    # One of the 4 seconds went by before the function was called.
    answer = diner_post(diner, at=time.time() - 1.0)

    assert time.monotonic() - began < 7  # a busy machine may stall; the fault lasts thirty seconds
    assert told(answer) == UNKNOWN
    assert sign_up(diner).body == {"userId": str(punchh.business.users[0].user_id)}
    assert len(asked(punchh, "/api2/mobile/users")) == 1


def diner_post(diner: Api, at: float) -> Answer:
    headers = {"x-bridge-key": diner.key, "content-type": "application/json"}
    return diner.send("POST", "/v1/programs/diner/members", json.dumps({"user": ANN}).encode(), headers, at=at)


def test_what_an_operator_decides_is_what_repeats_get(diner: Api, punchh: Punchh) -> None:
    connect_punchh(diner.settings, punchh.url, secrets=CLIENT_ONLY)
    punchh.faults.add(kind="status", status=500)
    sign_up(diner)
    (open_action,) = idempotency_store.list_unknown(diner.settings, "diner")

    idempotency.decide(diner.settings, "diner", open_action.id, None)

    assert dict(open_action.about) == {"external_source_id": ANN["external_source_id"]}
    assert told(sign_up(diner)) == DONE
    assert len(punchh.business.users) == 1


def test_a_member_is_known_by_punchhs_id_from_the_signup_on(diner: Api, punchh: Punchh, stores: Any) -> None:
    user_id = sign_up(diner).body["userId"]

    name = ("diner", f"user:{user_id}")
    assert identities.members(stores, [name], time.monotonic() + 5) == {name: {ANN["external_source_id"]: math.inf}}


def test_a_member_who_cannot_be_remembered_is_signed_up_all_the_same(
    diner: Api, punchh: Punchh, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loyalty_bridge import settings

    monkeypatch.setenv("MEMBERS_TABLE", "NoSuchTable")
    settings.load_settings.cache_clear()

    assert told(sign_up(diner)) == DONE
    assert len(punchh.business.users) == 1


# The breaker.


def test_a_wrong_client_secret_is_not_sent_often_enough_to_block_the_address(diner: Api, punchh: Punchh) -> None:
    connect_punchh(diner.settings, punchh.url, secrets={"punchh_client_secret": "wrong"})

    answers = [sign_up(diner, user(number)) for number in range(15)]

    assert {told(answer) for answer in answers} == {BROKEN}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 300 for answer in answers)
    assert len(asked(punchh)) == credential_breaker.LIMIT
    assert punchh.business.blocked_until == 0


def test_a_wrong_admin_key_is_stopped_though_signups_work(diner: Api, punchh: Punchh) -> None:
    connect_punchh(diner.settings, punchh.url, secrets=CLIENT_ONLY)
    for number in range(6):
        sign_up(diner, user(number))
    connect_punchh(diner.settings, punchh.url, secrets=CLIENT_ONLY | {"punchh_admin_key": "wrong"})

    answers = [sign_up(diner, user(number, external_source_id=f"new-{number}")) for number in range(6)]

    assert {told(answer) for answer in answers} == {BROKEN}
    assert len(asked(punchh, "/api2/dashboard")) == credential_breaker.LIMIT
    assert told(sign_up(diner, user(99))) == DONE


def test_saving_the_connection_lets_calls_pass_again(diner: Api, punchh: Punchh) -> None:
    connect_punchh(diner.settings, punchh.url, secrets={"punchh_client_secret": "wrong"})
    for number in range(4):
        sign_up(diner, user(number))

    connect_punchh(diner.settings, punchh.url, secrets=CLIENT_ONLY)

    assert told(sign_up(diner, user(1))) == DONE


def test_a_success_begins_the_count_again(diner: Api, punchh: Punchh) -> None:
    sign_up(diner, user(0))
    for number in range(1, 8):
        wrong = {"kind": "status", "status": 412, "body": {"errors": {"invalid_signature": ["no"]}}}
        for _ in range(credential_breaker.LIMIT - 1):
            punchh.faults.add(**wrong)
            assert told(sign_up(diner, user(number))) == BROKEN

        assert told(sign_up(diner, user(number))) == DONE


def test_a_refusal_raises_the_alarms_metric(diner: Api, punchh: Punchh, capsys: pytest.CaptureFixture[str]) -> None:
    connect_punchh(diner.settings, punchh.url, secrets={"punchh_client_secret": "wrong"})

    sign_up(diner)

    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"connection_broken":' in line]
    (told_metric,) = [it for it in metrics if "connection_broken" in it]
    assert told_metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert told_metric["connection_broken"] == [1.0]


class Down:
    """DynamoDB that answers nothing between the beginning of an action and its sending, or before it began."""

    def __init__(self, client: Any, is_down: Callable[[bool], bool]) -> None:
        self._client, self._is_down, self._has_begun = client, is_down, False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if not name.endswith("_item"):
            return real

        def call(**request: Any) -> Any:
            if self._is_down(self._has_begun):
                raise ClientError({"Error": {"Code": "InternalServerError", "Message": "x"}}, name)
            self._has_begun |= request.get("TableName") == "IdempotencyTable" and name == "put_item"
            return real(**request)

        return call


@pytest.mark.parametrize("secret_works", [False, True])
def test_nothing_but_sending_can_fail_when_a_signup_has_begun(
    diner: Api, punchh: Punchh, monkeypatch: pytest.MonkeyPatch, secret_works: bool
) -> None:
    if secret_works:
        sign_up(diner, user(9))
    before = len(punchh.requests)
    down = Down(aws.dynamodb(), lambda has_begun: has_begun and len(punchh.requests) == before)
    monkeypatch.setattr(aws, "dynamodb", lambda: down)

    assert told(sign_up(diner)) == DONE


def test_a_breaker_that_cannot_be_asked_lets_nothing_begin_and_a_repeat_signs_up(
    diner: Api, punchh: Punchh, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failed = ClientError({"Error": {"Code": "InternalServerError", "Message": "x"}}, "UpdateItem")
        patch.setattr(aws.dynamodb(), "update_item", lambda **_: (_ for _ in ()).throw(failed))
        patch.setattr(aws.dynamodb(), "delete_item", lambda **_: (_ for _ in ()).throw(failed))
        assert told(sign_up(diner)) == NOT_SENT
    assert punchh.requests == []
    assert idempotency_store.list_unknown(diner.settings, "diner") == []

    assert told(sign_up(diner)) == DONE


def test_a_signup_that_is_answered_from_memory_lets_others_try_the_secret(diner: Api, punchh: Punchh) -> None:
    assert told(sign_up(diner)) == DONE
    connect_punchh(diner.settings, punchh.url)  # nothing is known of the secret now

    for _ in range(credential_breaker.LIMIT + 1):
        assert told(sign_up(diner)) == DONE

    assert told(sign_up(diner, user(2))) == DONE
    assert len(asked(punchh, "users")) == 2


# Attributes of members.


def test_nothing_of_a_member_is_logged(
    diner: Api, punchh: Punchh, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    who = ANN | {"phone": "5551234567", "birthday": "1999-01-31"}
    punchh.faults.add(kind="status", status=422, body={"errors": {"email": [f"{ANN['email']} is not Ashworth's"]}})
    sign_up(diner, who)
    punchh.faults.add(kind="status", status=500, body={"error": who})
    sign_up(diner, who | {"external_source_id": "c-2"})
    sign_up(diner, who | {"external_source_id": "c-3", "email": "ann.ash@"})
    sign_up(diner, who | {"external_source_id": "c-4", "password": "Ashworth+xyz123"})
    sign_up(diner, who | {"external_source_id": "c-5"})
    sign_up(diner, who | {"external_source_id": "c-6"})

    streams = capsys.readouterr()
    said = streams.out + streams.err + repr([vars(record) for record in caplog.records])
    sent = [json.loads(request.body)["user"] for request in punchh.requests if '"password"' in request.body]
    assert "call failed" in said
    assert len(sent) >= 4
    for value in (
        *("ann.ash", "nnabel", "Ashworth", "5551234567", "1999-01-31", "admin-key", diner.key),
        *(it["password"] for it in sent),
    ):
        assert value not in said, value
