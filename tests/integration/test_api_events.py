"""Every event of the HTTP API in `events/` is answered as the gateway's caller would get it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.bundle import EVENTS_KEY
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys
from loyalty_bridge.settings import DeliverySettings
from simulators.convercus import Convercus
from simulators.punchh import Punchh
from tests.support.contract_check import check
from tests.support.functions import loaded
from tests.support.http_events import Api, connect, connect_punchh, context, make_known
from tests.support.template import ROOT
from tests.support.webhooks import queued

PROGRAM = "demo-queue"
BATCH = json.loads(json.loads((ROOT / "events/carry_out_batch/sqs_batch.json").read_text())["Records"][0]["body"])

# What is answered, some of what the answer says, and what is done at the loyalty platform.
ANSWERS: dict[str, tuple[int, dict[str, Any], list[str]]] = {
    "assign_coupon/assigned": (200, {}, ["assign_coupon"]),
    "assign_coupon/test_send": (200, {}, ["assign_coupon"]),
    "assign_coupon/body_base64": (200, {}, ["assign_coupon"]),
    "assign_coupon/unknown_coupon": (404, {"error": "COUPON_NOT_FOUND"}, []),
    "assign_coupon/account_not_rendered": (400, {"field": "account_id"}, []),
    "assign_coupon/body_not_json": (400, {"field": "body"}, []),
    "assign_coupon/wrong_key": (401, {"error": "unauthorized"}, []),
    "assign_coupon_batch/planned": (200, {"batchId": BATCH["batch"]}, []),
    "assign_coupon_batch/duplicate_member": (400, {"field": "account_ids"}, []),
    "assign_coupon_batch/members_501": (400, {"field": "account_ids"}, []),
    "assign_coupon_batch/progress_of_an_unknown_batch": (404, {"error": "not_found"}, []),
    "book_points/earned": (200, {}, ["create_booking"]),
    "book_points/burnt_points_as_text": (200, {}, ["create_booking"]),
    "book_points/not_enough_points": (409, {"error": "NOT_ENOUGH_POINTS"}, []),
    "book_points/points_negative": (400, {"field": "points"}, []),
    "book_points/unknown_member": (404, {"error": "ACCOUNT_NOT_FOUND"}, []),
    "subscribe_email/declined": (200, {"failed": []}, ["set_optins"]),
    "subscribe_email/allowed_by_name": (200, {"failed": []}, ["set_optins"]),
    "subscribe_email/unknown_channel": (400, {"field": "optins"}, []),
    "subscribe_email/unknown_member": (404, {"error": "ACCOUNT_NOT_FOUND"}, []),
    "member_profile/found": (200, {"member_id": "C00001", "points_balance": 100}, []),
    "member_profile/unknown_member": (200, {"error": "member_not_found"}, []),
    "member_profile/account_not_rendered": (200, {"error": "member_not_found"}, []),
    "member_profile/key_missing": (401, {"error": "unauthorized"}, []),
    "member_coupons/none": (200, {"coupons": []}, []),
    "member_coupons/unknown_member": (200, {"error": "member_not_found"}, []),
    "receive_events/one_event": (202, {"received": 1}, []),
    "receive_events/several_events": (202, {"received": 2}, []),
    "receive_events/event_of_nobody": (400, {"field": "[1].accountId"}, []),
    "receive_events/content_type_missing": (400, {"field": "Content-Type"}, []),
}
PUNCHH_ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "signup_member/signed_up": (200, {"userId": "5000000002"}),
    "signup_member/existing_member": (200, {"existing": True}),
    "signup_member/profile_incomplete": (400, {"field": "user.last_name"}),
    "signup_member/id_not_rendered": (400, {"field": "user.external_source_id"}),
    "signup_member/email_invalid": (400, {"field": "user.email"}),
    "signup_member/password_sent": (400, {"field": "user.password"}),
    "signup_member/wrong_key": (401, {"error": "unauthorized"}),
    "member_coupon_code/given": (200, {"coupon_code": "PCH-58293-00001"}),
    "member_coupon_code/unknown_member": (200, {"error": "member_not_found"}),
    "member_coupon_code/unknown_campaign": (200, {"error": "campaign_not_found"}),
    "member_coupon_code/campaign_missing": (200, {"error": "campaign_not_found"}),
    "member_coupon_code/key_missing": (401, {"error": "unauthorized"}),
}
REPLAYED = frozenset(
    {
        *ANSWERS,
        *PUNCHH_ANSWERS,
        "assign_coupon_batch/progress",
        "carry_out_batch/sqs_batch",
        "carry_out_batch/sqs_unknown_batch",
        "member_coupons/found_in_german",
    }
)


@pytest.fixture
def demo(api: Api, convercus: Convercus) -> Iterator[Api]:
    """Connect the program of the events, and let their key in."""
    upstream = convercus.program(PROGRAM, optins=("Newsletter", "Post"))
    for account in ("C00001", "C00002", "C00003"):
        upstream.account(account, points=100)
    upstream.coupon("WELCOME")
    loyalty = {"membership_optins": ("Newsletter", "Post")}
    connect(api.settings, convercus.url, PROGRAM, loyalty=loyalty)
    let_in(api, PROGRAM)
    yield Api(api.settings, EVENTS_KEY, upstream, PROGRAM)
    upstream.reset()


def let_in(api: Api, program: str) -> None:
    item = {"program": program, "item": str(api_keys.item_of(EVENTS_KEY)), "name": "events", "created": "0"}
    stored: Any = {name: {"N" if name == "created" else "S": value} for name, value in item.items()}
    aws.dynamodb().put_item(TableName=api.settings.programs_table, Item=stored)


def run(case: str) -> Any:
    """Run ``<function>/<case>``."""
    event = json.loads((ROOT / "events" / f"{case}.json").read_text())
    return loaded(case.partition("/")[0])(event, context(30.0))


def answered(case: str) -> tuple[int, dict[str, Any]]:
    result = run(case)
    body = json.loads(result["body"])
    method, path = json.loads((ROOT / "events" / f"{case}.json").read_text())["routeKey"].split(" ")
    check(method, path, result["statusCode"], body, result["headers"])
    return result["statusCode"], body


@pytest.mark.parametrize("case", ANSWERS)
def test_an_event_is_answered(demo: Api, stores: DeliverySettings, case: str) -> None:
    status, expected, done = ANSWERS[case]

    answer = answered(case)

    assert answer[0] == status
    assert answer[1] | expected == answer[1]
    assert [effect.call for effect in demo.upstream.effects] == done
    assert len(queued(stores)) == expected.get("received", 0)


@pytest.mark.parametrize("case", PUNCHH_ANSWERS)
def test_an_event_of_punchh_is_answered(api: Api, punchh: Punchh, stores: DeliverySettings, case: str) -> None:
    connect_punchh(api.settings, punchh.url, "demo-punchh")
    let_in(api, "demo-punchh")
    guest = punchh.business.sign_up(email="ann.ash@example.com", first_name="Ann", last_name="Ash")
    make_known(stores, guest.user_id, "c-0001", "demo-punchh")
    status, expected = PUNCHH_ANSWERS[case]

    answer = answered(case)

    assert answer[0] == status
    assert answer[1] | expected == answer[1]
    assert answered(case) == answer


@pytest.mark.parametrize("case", ["assign_coupon/assigned", "book_points/earned", "assign_coupon_batch/planned"])
def test_an_event_that_is_run_again_is_a_repeat(demo: Api, case: str) -> None:
    first = answered(case)
    done = list(demo.upstream.effects)

    assert answered(case) == first
    assert demo.upstream.effects == done


def test_the_batch_of_the_events_is_planned_carried_out_and_reported(demo: Api) -> None:
    answered("assign_coupon_batch/planned")

    assert answered("assign_coupon_batch/progress")[1]["planned"] == 3
    assert run("carry_out_batch/sqs_batch") == {"batchItemFailures": []}
    value = answered("assign_coupon_batch/progress")[1]
    assert (value["succeeded"], value["rejected"], value["planned"]) == (2, 1, 0)
    assert sorted(demo.done("assign_coupon")) == ["C00002", "C00003"]


def test_an_unknown_batch_is_done_with(demo: Api) -> None:
    assert run("carry_out_batch/sqs_unknown_batch") == {"batchItemFailures": []}


def test_coupons_are_reported_in_the_language_of_the_event(demo: Api) -> None:
    demo.upstream.assign_coupon("C00001", {"couponId": "WELCOME"})

    (coupon,) = answered("member_coupons/found_in_german")[1]["coupons"]

    assert coupon["title"] == "Gutschein WELCOME"
