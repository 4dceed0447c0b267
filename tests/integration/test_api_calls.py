"""Every call of the API as its caller sees it when all is well, and what it does on the loyalty platform."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from loyalty_bridge.http_api.routes import BASE, ROUTES
from loyalty_bridge.programs import api_keys
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, asked_of_aws, connect
from tests.support.http_events import ACTIONS, BOOKING, EVENT, Api, event, routed, routes
from tests.support.webhooks import forwarded


def test_each_documented_call_has_its_route_and_no_other_method_has_one() -> None:
    documented = {(call.method.upper(), BASE + call.path, call.function) for call in ROUTES}

    assert set(routes()) == documented


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_another_method_is_answered_by_the_gateway(api: Api, method: str) -> None:
    headers = {"x-convercus-key": api.key, "content-type": "application/json"}

    answer = api.send(method, "/v1/programs/demo/campaigns/C1/assign", b'{"account_id": "A1"}', headers)

    assert (answer.status, answer.body) == (404, {"message": "Not Found"})
    assert not api.upstream.requests


# Assign a coupon.


def test_an_assigned_coupon_is_answered_with_its_code(api: Api) -> None:
    answer = api.post("campaigns/C1/assign", {"account_id": "A1", "braze_campaign_id": "5f0c7a5e"})

    (assigned,) = api.upstream.list_account_coupons("A1")[1]
    assert (answer.status, answer.body) == (200, {"couponCode": assigned["externalReference"]})
    assert api.done() == ["A1"]


def test_the_key_may_come_in_either_header(api: Api) -> None:
    answer = api.send(
        "POST",
        "/v1/programs/demo/campaigns/C1/assign",
        b'{"account_id": "A1"}',
        {"X-Bridge-Key": api.key, "Content-Type": "application/json; charset=utf-8"},
    )

    assert answer.status == 200


def test_a_body_in_base64_is_read(api: Api) -> None:
    found = routed("POST", "/v1/programs/demo/campaigns/C1/assign")
    assert found
    headers = {"x-convercus-key": api.key, "content-type": "application/json"}
    sent = base64.b64encode(b'{"account_id": "A1"}').decode()

    assert api.call(found[0], event(*found, headers=headers) | {"body": sent, "isBase64Encoded": True}).status == 200


@pytest.mark.parametrize("action", ACTIONS)
def test_256_kb_are_taken(api: Api, action: str) -> None:
    path, body = ACTIONS[action]

    assert api.post(path, json.dumps(body).encode().ljust(256 * 1024)).status == 200


@pytest.mark.parametrize("account", [" A1 ", "A1\n"])
def test_blanks_around_an_id_are_not_part_of_it(api: Api, account: str) -> None:
    assert api.post("campaigns/ C1/assign", {"account_id": account}).status == 200
    assert api.done() == ["A1"]


def test_a_number_may_be_an_id(api: Api) -> None:
    api.upstream.account("4711")

    assert api.post("campaigns/C1/assign", {"account_id": 4711}).status == 200


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("campaigns/C404/assign", 404, "COUPON_NOT_FOUND"),
        ("campaigns/OLD/assign", 409, "COUPON_NOT_ACTIVATED"),
    ],
)
def test_what_the_platform_refuses_is_refused_with_its_reason(api: Api, path: str, status: int, error: str) -> None:
    api.upstream.coupon("OLD", status="INACTIVE")

    answer = api.post(path, {"account_id": "A1"})

    assert (answer.status, answer.body["error"]) == (status, error)
    assert answer.body["message"]
    assert not api.done()


# Book points.


def booking(**change: Any) -> dict[str, Any]:
    return BOOKING | change


@pytest.mark.parametrize(
    ("points", "sent"), [(50, 50), ("50", 50), (" 50 ", 50), (50.0, 50), ("12.5", 12.5), (0.25, 0.25)]
)
def test_points_are_booked_as_the_number_that_they_are(api: Api, points: Any, sent: float) -> None:
    answer = api.post("members/A1/bookings", booking(points=points))

    (booked,) = api.upstream.bookings["A1"]
    assert (answer.status, answer.body) == (200, {"bookingId": booked["bookingId"]})
    assert json.dumps(booked["points"]) == json.dumps(sent)
    assert (booked["bookingType"], booked["bookingTypeCode"], booked["reason"]) == ("EARNBOOKING", "BDAY", "Birthday")
    assert api.upstream.accounts["A1"]["accountBalance"]["points"] == 100 + sent


def test_burnt_points_are_taken(api: Api) -> None:
    assert api.post("members/A1/bookings", booking(booking_type="BURNBOOKING")).status == 200
    assert api.upstream.accounts["A1"]["accountBalance"]["points"] == 50


@pytest.mark.parametrize(
    ("path", "change", "status", "error"),
    [
        ("members/A1/bookings", {"booking_type": "BURNBOOKING", "points": 101}, 409, "NOT_ENOUGH_POINTS"),
        ("members/A404/bookings", {}, 404, "ACCOUNT_NOT_FOUND"),
    ],
)
def test_a_booking_that_is_refused_reports_why(
    api: Api, path: str, change: dict[str, Any], status: int, error: str
) -> None:
    answer = api.post(path, booking(**change))

    assert (answer.status, answer.body["error"]) == (status, error)
    assert "A404" not in answer.body["message"]
    assert not api.done()


# E-mail opt-ins.


def members_of(api: Api, *users: str) -> None:
    """Let an account have a membership for each of these users."""
    owner = api.upstream.accounts["A1"]["memberships"][0]
    memberships = [{**owner, "userId": user, "optins": []} for user in users]
    memberships[1:] = [{**one, "memberRole": "MEMBER"} for one in memberships[1:]]
    api.upstream.account("A1", memberships=memberships)


def optins(api: Api) -> dict[str, dict[str, bool]]:
    return {
        one["userId"]: {optin["type"]: optin["flag"] for optin in one["optins"]}
        for one in api.upstream.accounts["A1"]["memberships"]
    }


@pytest.mark.parametrize(
    ("asked", "channels"),
    [
        ({}, ["Newsletter"]),
        ({"optins": None}, ["Newsletter"]),
        ({"optins": []}, ["Newsletter"]),
        ({"optins": ["SMS"]}, ["SMS"]),
        ({"optins": ["SMS", "Newsletter", "SMS"]}, ["Newsletter", "SMS"]),
    ],
)
@pytest.mark.parametrize(("status", "flag"), [("allowed", True), ("declined", False)])
def test_the_channels_of_the_request_or_else_the_default_ones_are_set_on_all_memberships(
    api: Api, asked: dict[str, Any], channels: list[str], status: str, flag: bool
) -> None:
    members_of(api, "U1", "U2")

    answer = api.post("subscriptions/email", {"account_id": "A1", "status": status, **asked})

    assert answer.status == 200
    assert answer.body == {"succeeded": [{"membership_id": "U1"}, {"membership_id": "U2"}], "failed": []}
    assert optins(api) == {user: dict.fromkeys(channels, flag) for user in ("U1", "U2")}


def test_channels_that_the_program_does_not_have_are_named(api: Api) -> None:
    answer = api.post(
        "subscriptions/email", {"account_id": "A1", "status": "allowed", "optins": ["Fax", "SMS", "Telegram"]}
    )

    assert (answer.status, answer.body["field"]) == (400, "optins")
    assert "Fax, Telegram" in answer.body["message"]
    assert not api.upstream.requests


def test_a_program_without_default_channels_refuses_a_request_that_names_none(api: Api) -> None:
    api.change(loyalty={"default_optins": ()})

    answer = api.post("subscriptions/email", {"account_id": "A1", "status": "allowed"})

    assert (answer.status, answer.body["field"]) == (400, "optins")
    assert not api.upstream.requests


@pytest.mark.parametrize("header", [{}, {"idempotency_key": "k1"}])
def test_a_repeat_after_a_partial_success_touches_only_what_failed(api: Api, header: dict[str, str]) -> None:
    members_of(api, "U1", "U2", "U3")
    api.upstream.misbehave(kind="pass", on="set_optins")
    api.upstream.misbehave(kind="status", on="set_optins", status=409)
    body = {"account_id": "A1", "status": "declined"}

    first = api.post("subscriptions/email", body, **header)
    second = api.post("subscriptions/email", body, **header)

    values = [{"membership_id": user} for user in ("U1", "U2", "U3")]
    assert first.status == 207
    assert first.body["succeeded"] == [values[0], values[2]]
    assert [(one["membership_id"], bool(one["reason"])) for one in first.body["failed"]] == [("U2", True)]
    assert (second.status, second.body) == (200, {"succeeded": values, "failed": []})
    assert [one.id for one in api.upstream.effects] == ["U1", "U3", "U2"]


def test_a_key_that_comes_with_another_request_reports_which_memberships_it_changed(api: Api) -> None:
    members_of(api, "U1", "U2")
    api.upstream.misbehave(kind="status", on="set_optins", status=409)
    body = {"account_id": "A1", "idempotency_key": "k1"}
    api.post("subscriptions/email", body | {"status": "allowed"})  # U1 is refused, U2 is set

    other = api.post("subscriptions/email", body | {"status": "declined"})
    third = api.post("subscriptions/email", body | {"status": "allowed"})

    assert (other.status, other.body["succeeded"]) == (207, [{"membership_id": "U1"}])
    assert optins(api) == {"U1": {"Newsletter": False}, "U2": {"Newsletter": True}}
    assert (third.status, third.body["succeeded"]) == (207, [{"membership_id": "U2"}])


def test_a_key_that_comes_with_another_request_for_each_membership_changes_nothing(api: Api) -> None:
    members_of(api, "U1", "U2")
    body = {"account_id": "A1", "idempotency_key": "k1"}
    api.post("subscriptions/email", body | {"status": "allowed"})

    other = api.post("subscriptions/email", body | {"status": "declined"})

    assert (other.status, other.body["error"]) == (422, "key_reused")
    assert optins(api) == {"U1": {"Newsletter": True}, "U2": {"Newsletter": True}}


def test_what_a_member_decided_in_between_is_not_turned_back_by_a_repeat(api: Api) -> None:
    body = {"account_id": "A1", "status": "allowed", "dispatch_id": "d1"}
    api.post("subscriptions/email", body)
    user = api.upstream.accounts["A1"]["memberships"][0]["userId"]
    api.upstream.set_optins("A1", user, [{"type": "Newsletter", "flag": False}])

    assert api.post("subscriptions/email", body).status == 200
    assert optins(api) == {user: {"Newsletter": False}}


def test_opt_ins_of_which_one_may_be_set_are_not_reported_to_be_certainly_unset(api: Api) -> None:
    members_of(api, "U1", "U2")
    api.upstream.misbehave(kind="status", on="set_optins", status=429, headers={"retry-after": "60"})
    api.upstream.misbehave(kind="status", on="set_optins", status=500, when="after")

    answer = api.post("subscriptions/email", {"account_id": "A1", "status": "allowed"})

    assert (answer.status, answer.body["error"]) == (503, "unavailable")
    assert optins(api) == {"U1": {}, "U2": {"Newsletter": True}}


def test_opt_ins_that_no_membership_takes_are_refused_with_the_platforms_reason(api: Api) -> None:
    api.upstream.misbehave(kind="status", on="set_optins", status=403, body={"code": "NO_RIGHT", "message": "no"})

    answer = api.post("subscriptions/email", {"account_id": "A1", "status": "allowed"})

    assert (answer.status, answer.body["error"]) == (422, "NO_RIGHT")


def test_an_unknown_member_has_no_opt_ins(api: Api) -> None:
    answer = api.post("subscriptions/email", {"account_id": "A404", "status": "allowed"})

    assert (answer.status, answer.body["error"]) == (404, "ACCOUNT_NOT_FOUND")


# Events.


def told(**change: Any) -> dict[str, Any]:
    return EVENT | change


def test_events_are_stored_durably_and_then_forwarded(api: Api, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, program="streaming")
    api.program, api.key = "streaming", api_keys.create(api.settings, "streaming", "stream")[0]

    answer = api.post("events", [told(), told(eventId="e-2", eventType="user_logged_in", payload={})])

    assert (answer.status, answer.body) == (202, {"received": 2})
    assert not braze.workspace(KEY).events
    forwarded(stores)
    assert {one.object["name"] for one in braze.workspace(KEY).events} == {
        "convercus_balance_changed",
        "convercus_user_logged_in",
    }


def test_very_many_events_of_one_member_take_few_round_trips_and_arrive_in_order(
    api: Api, stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url, program="streaming")
    api.program, api.key = "streaming", api_keys.create(api.settings, "streaming", "stream")[0]
    ids = [f"e-{number}" for number in range(2_500)]

    with asked_of_aws() as asked:
        answer = api.post(
            "events", [{"eventType": "userLoggedIn", "accountId": "A1", "eventId": event_id} for event_id in ids]
        )

    assert (answer.status, answer.body) == (202, {"received": 2_500})
    assert asked.count("SendMessageBatch") <= 25
    forwarded(stores)
    assert [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events] == ids


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ("text", "record"),
        (5, "record"),
        ([told(), 5], "[1].record"),
        (told(accountId=None), "accountId"),
        ([told(), told(accountId=" ")], "[1].accountId"),
        (told(accountId={"id": "A1"}), "accountId"),
    ],
)
def test_events_that_name_no_one_are_refused_whole(api: Api, stores: DeliverySettings, body: Any, field: str) -> None:
    answer = api.post("events", body)

    assert (answer.status, answer.body["field"]) == (400, field)
    assert not forwarded(stores)


def test_a_program_that_is_not_set_up_for_the_platform_says_so(api: Api) -> None:
    api.change(loyalty={"api": {"realm": ""}})

    answers = [api.post(*action) for action in ACTIONS.values()]

    assert {(one.status, one.body["error"]) for one in answers} == {(409, "not_connected")}
    assert "loyalty.api.realm" in answers[0].body["message"]
    assert api.get("members/A1/profile").body == {"error": "internal_error"}


def test_a_program_of_another_platform_takes_no_events(api: Api) -> None:
    api.change(loyalty={"platform": "punchh"})

    answer = api.post("events", told())

    assert (answer.status, answer.body["error"]) == (409, "not_connected")
