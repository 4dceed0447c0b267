"""Look-ups while a message is rendered: the data, or why there is none, always in time and always with status 200."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from loyalty_bridge.http_api import lookups
from loyalty_bridge.settings import load_settings
from tests.support.http_events import LOOK_UPS, Api

each_look_up = pytest.mark.parametrize("path", LOOK_UPS)

NOT_FOUND, FAILED = {"error": "member_not_found"}, {"error": "internal_error"}
LIMIT = 1.5
EARLY = 0.3
LATE = 4.0
"""Seconds that a busy machine may stall: what is not ended in time takes ten."""
AS_DEPLOYED = lookups.LIMIT_SECONDS


@pytest.fixture
def deployed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the API the limit that it has when it is deployed."""
    monkeypatch.setattr(lookups, "LIMIT_SECONDS", AS_DEPLOYED)


def coupon(api: Api, id_: str, **change: Any) -> None:
    """Return the member a coupon; `change` is of the assigned one."""
    api.upstream.coupon(id_)
    api.upstream.assign_coupon("A1", {"couponId": id_})[1].update(change)


def titles(api: Api, **query: Any) -> list[str]:
    return [one["title"] for one in api.get("members/A1/coupons", **query).body["coupons"]]


def test_a_profile_reports_who_the_member_is_and_where_the_member_stands(api: Api) -> None:
    answer = api.get("members/A1/profile")

    owner = api.upstream.accounts["A1"]["memberships"][0]
    assert answer.body == {
        "member_id": "A1",
        "first_name": "Max",
        "last_name": "Mustermann",
        "email": owner["emailAddress"],
        "tier_name": "Gold",
        "tier_id": "L2",
        "points_balance": 100,
        "enrollment_date": "2021-03-04T05:06:07Z",
    }


def test_coupons_report_what_can_be_redeemed(api: Api) -> None:
    coupon(api, "C1", points=5)

    (found,) = api.get("members/A1/coupons").body["coupons"]

    assert found.pop("code").startswith("C1-")
    assert found == {
        "coupon_id": "C1",
        "title": "Coupon C1",
        "description": "Once per member",
        "status": "ACTIVE",
        "value": 5,
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_to": "2099-12-31T23:59:59Z",
    }


def test_a_member_without_coupons_has_an_empty_list(api: Api) -> None:
    assert api.get("members/A1/coupons").body == {"coupons": []}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"validTo": "2020-12-31T23:59:59Z"}, id="expired"),
        pytest.param({"validTo": "2020-12-31"}, id="expired by day"),
        pytest.param({"validFrom": "2099-01-01T00:00:00Z"}, id="not yet"),
        pytest.param({"redeemCount": 1}, id="used"),
        pytest.param({"redeemCount": 3, "maxRedeemCount": 3}, id="used up"),
        pytest.param({"stateLevel": "INACTIVE"}, id="inactive"),
        pytest.param({"stateLevel": "Redeemed"}, id="redeemed"),
        pytest.param({"validTo": "soon"}, id="unreadable"),
    ],
)
def test_a_coupon_that_cannot_be_redeemed_is_not_shown(api: Api, change: dict[str, Any]) -> None:
    coupon(api, "C1")
    coupon(api, "C2", **change)

    assert titles(api) == ["Coupon C1"]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ({}, "Coupon C1"),
        ({"lang": "en"}, "Coupon C1"),
        ({"lang": "de"}, "Gutschein C1"),
        ({"lang": "DE"}, "Gutschein C1"),
        ({"lang": "de-AT"}, "Gutschein C1"),
        ({"lang": "de_CH"}, "Gutschein C1"),
        ({"lang": "fr"}, "Coupon C1"),
        ({"lang": ""}, "Coupon C1"),
        ({"lang": " de "}, "Gutschein C1"),
        ({"lang": "{{${language}}}"}, "Coupon C1"),
        ({"language": "de"}, "Coupon C1"),
    ],
)
def test_texts_come_in_the_language_or_else_in_english(api: Api, query: dict[str, str], title: str) -> None:
    coupon(api, "C1")

    assert titles(api, **query) == [title]


@each_look_up
def test_an_unknown_member_is_reported_as_such(api: Api, path: str) -> None:
    assert api.get(path.replace("A1", "A404")).body == NOT_FOUND


@pytest.mark.parametrize("account", ["%7B%7Bid%7D%7D", "%20", "..%252F..", "A1%252Fx", "A%C2%A01", "A" * 201])
@each_look_up
def test_what_is_no_id_is_a_member_that_is_not_found(api: Api, path: str, account: str) -> None:
    assert api.get(path.replace("A1", account)).body == NOT_FOUND
    assert not api.upstream.requests


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "a page of a proxy": {"kind": "status", "status": 502, "html": True},
    "429": {"kind": "status", "status": 429, "headers": {"retry-after": "60"}},
    "403": {"kind": "status", "status": 403, "body": {"code": "NO_RIGHT", "message": "no"}},
    "a redirect": {"kind": "status", "status": 302, "headers": {"location": "http://127.0.0.1:9/"}},
    "no JSON": {"kind": "status", "status": 200, "html": True},
    "another shape": {"kind": "status", "status": 200, "body": "text"},
    "reset": {"kind": "reset"},
    "half an answer": {"kind": "close"},
    "silence": {"kind": "timeout_after_acting", "seconds": 10},
    "slow": {"kind": "slow", "seconds": 10},
    "byte by byte": {"kind": "drip", "interval": 0.1},
    "headers byte by byte": {"kind": "drip_headers", "interval": 0.1},
}


@pytest.mark.parametrize("on", ["api", "token"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", LOOK_UPS[:1])
@pytest.mark.usefixtures("deployed")
def test_whatever_the_platform_does_the_answer_comes_in_time(api: Api, path: str, fault: str, on: str) -> None:
    api.upstream.misbehave(on=on, times=None, **FAULTS[fault])
    at = time.time() - 0.9  # on its way, and a cold start

    answer = api.get(path, at=at)

    assert time.time() - at < LIMIT + LATE
    assert answer.body == FAILED


@each_look_up
@pytest.mark.usefixtures("deployed")
def test_all_of_the_limit_is_used_and_no_more(api: Api, path: str) -> None:
    api.upstream.misbehave(kind="slow", seconds=10)
    at = time.time()

    answer = api.get(path, at=at)

    assert LIMIT - EARLY < time.time() - at < LIMIT + LATE
    assert answer.body == FAILED


@each_look_up
@pytest.mark.usefixtures("deployed")
def test_a_gateway_whose_clock_is_ahead_does_not_give_more_time(api: Api, path: str) -> None:
    api.upstream.misbehave(kind="slow", seconds=10)
    began = time.time()

    assert api.get(path, at=began + 60).body == FAILED
    assert time.time() - began < LIMIT + LATE


@each_look_up
def test_a_stored_event_that_is_run_by_hand_is_answered(api: Api, path: str) -> None:
    assert "error" not in api.get(path, at=1_772_359_200).body


@each_look_up
@pytest.mark.usefixtures("deployed")
def test_a_request_that_is_too_late_asks_no_one(api: Api, path: str) -> None:
    assert api.get(path, at=time.time() - 5).body == FAILED
    assert not [one for one in api.upstream.requests if one.call != "token"]


@pytest.mark.parametrize("fault", ["500", "reset", "half an answer", "a page of a proxy"])
@each_look_up
def test_a_short_failure_is_not_seen(api: Api, path: str, fault: str) -> None:
    api.get(path)
    api.upstream.misbehave(on="api", **FAULTS[fault])

    assert "error" not in api.get(path).body


@each_look_up
def test_an_expired_token_is_renewed_on_the_way(api: Api, path: str) -> None:
    api.get(path)
    api.upstream.misbehave(kind="expired_token")

    assert "error" not in api.get(path).body
    assert api.upstream.logins == 2


@each_look_up
def test_a_refused_secret_raises_the_alarms_metric(api: Api, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    api.upstream.configure(client_secret="another")

    answer = api.get(path)

    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"connection_broken":' in line]
    assert answer.body == FAILED
    assert [(it["_aws"]["CloudWatchMetrics"][0]["Dimensions"], it["connection_broken"]) for it in metrics] == [
        ([["service"]], [1.0])
    ]


@each_look_up
def test_a_store_that_fails_is_an_internal_error(api: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGRAMS_TABLE", "NoSuchTable")
    load_settings.cache_clear()

    assert api.get(path).body == FAILED


@each_look_up
def test_a_defect_is_an_internal_error(api: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROGRAMS_TABLE")
    load_settings.cache_clear()

    assert api.get(path).body == FAILED


@each_look_up
def test_a_look_up_is_not_kept_by_anybody_on_the_way_and_does_nothing(api: Api, path: str) -> None:
    assert api.get(path).headers["Cache-Control"] == "no-store"
    assert not api.done()
