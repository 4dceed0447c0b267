"""What a look-up shows of an account: the owner, the tier, the balance, and coupons that can be redeemed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty_bridge.platforms.convercus.settings import ConvercusApi
from loyalty_bridge.platforms.convercus.views import coupons, profile

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OWNER: dict[str, Any] = {
    "memberRole": "OWNER",
    "givenName": "Max",
    "familyName": "Mustermann",
    "emailAddress": "max@example.com",
    "createdAt": "2021-03-04T05:06:07Z",
}
ACCOUNT: dict[str, Any] = {
    "accountId": "A1",
    "accountBalance": {"points": 120, "lockedPoints": 5},
    "level": {"levelId": "L2", "name": "Gold"},
    "memberships": [{"memberRole": "MEMBER", "givenName": "Mia"}, OWNER],
}
COUPON: dict[str, Any] = {
    "accountCouponId": "ac-1",
    "couponId": "C1",
    "externalReference": "CODE-1",
    "i18nFields": {
        "de": {"title": "Gutschein", "description": "Einmal"},
        "en": {"title": "Voucher", "description": "Once"},
    },
    "stateLevel": "ACTIVE",
    "points": 10,
    "redeemCount": 0,
    "maxRedeemCount": 1,
    "validFrom": "2026-01-01T00:00:00Z",
    "validTo": "2026-02-28T23:59:59Z",
}


def shown(language: str = "en", api: ConvercusApi | None = None, **change: Any) -> dict[str, Any]:
    (one,) = coupons([COUPON | change], language, NOW, api or ConvercusApi())
    return one


def is_shown(**change: Any) -> bool:
    return bool(coupons([COUPON | change], "en", NOW, ConvercusApi()))


def test_a_profile_shows_the_owner_and_where_the_owner_stands() -> None:
    assert profile(ACCOUNT, "A1", ConvercusApi()) == {
        "member_id": "A1",
        "first_name": "Max",
        "last_name": "Mustermann",
        "email": "max@example.com",
        "tier_name": "Gold",
        "tier_id": "L2",
        "points_balance": 120,
        "enrollment_date": "2021-03-04T05:06:07Z",
    }


@pytest.mark.parametrize(
    ("memberships", "name"),
    [
        pytest.param([{"givenName": "Max"}], "Max", id="alone, without a role"),
        pytest.param([{"givenName": "Max", "memberRole": "MEMBER"}], "Max", id="alone"),
        pytest.param([{"givenName": "Max"}, {"givenName": "Mia"}], None, id="two, none the owner"),
        pytest.param([{"givenName": "Mia"}, {"givenName": "Max", "memberRole": "owner"}], "Max", id="lower case"),
        pytest.param([], None, id="nobody"),
        pytest.param(None, None, id="not told"),
    ],
)
def test_only_the_owner_is_shown(memberships: Any, name: str | None) -> None:
    assert profile(ACCOUNT | {"memberships": memberships}, "A1", ConvercusApi())["first_name"] == name


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        pytest.param({"accountBalance": {"points": 0}}, "points_balance", 0, id="no points"),
        pytest.param({"accountBalance": {"points": "12.5"}}, "points_balance", 12.5, id="points as text"),
        pytest.param({"accountBalance": {"points": "many"}}, "points_balance", None, id="no number"),
        pytest.param({"accountBalance": None}, "points_balance", None, id="no balance"),
        pytest.param({"level": {"id": 3, "name": " "}}, "tier_id", 3, id="numeric tier"),
        pytest.param({"level": {"name": " "}}, "tier_name", None, id="blank tier"),
        pytest.param({"accountId": None}, "member_id", "A1", id="no id"),
        pytest.param({"memberships": [{"createdAt": "2021-03-04"}]}, "enrollment_date", "2021-03-04", id="day"),
        pytest.param(
            {"memberships": [{"createdAt": 1614834367000}]}, "enrollment_date", "2021-03-04T05:06:07Z", id="epoch"
        ),
        pytest.param({"memberships": [{"createdAt": "long ago"}]}, "enrollment_date", None, id="no date"),
    ],
)
def test_a_field_is_shown_in_one_form_or_not_at_all(change: dict[str, Any], field: str, value: Any) -> None:
    assert profile(ACCOUNT | change, "A1", ConvercusApi())[field] == value


def test_where_a_profiles_field_is_found_is_a_setting() -> None:
    api = ConvercusApi(profile={"tier_id": "level.rank.code", "enrollment_date": "owner.joined"})
    account = ACCOUNT | {"level": {"rank": {"code": "G"}}, "memberships": [OWNER | {"joined": "2020-02-02"}]}

    found = profile(account, "A1", api)

    assert (found["tier_id"], found["enrollment_date"]) == ("G", "2020-02-02")


def test_a_coupon_shows_what_a_message_needs() -> None:
    assert shown() == {
        "coupon_id": "C1",
        "code": "CODE-1",
        "status": "ACTIVE",
        "value": 10,
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_to": "2026-02-28T23:59:59Z",
        "title": "Voucher",
        "description": "Once",
    }


@pytest.mark.parametrize(
    ("change", "visible"),
    [
        pytest.param({"validFrom": "2026-01-31T12:00:00Z"}, True, id="begins now"),
        pytest.param({"validFrom": "2026-01-31T12:00:01Z"}, False, id="begins later"),
        pytest.param({"validTo": "2026-01-31T12:00:00Z"}, False, id="ends now"),
        pytest.param({"validTo": "2026-01-31T12:00:01Z"}, True, id="ends later"),
        pytest.param({"validTo": "2026-01-31T13:00:00+02:00"}, False, id="ended in another zone"),
        pytest.param({"validTo": "2026-01-31"}, True, id="last day"),
        pytest.param({"validTo": "2026-01-30"}, False, id="day after the last"),
        pytest.param({"validTo": "9999-12-31"}, True, id="end of time"),
        pytest.param({"validTo": "9999-12-31T23:59:59-01:00"}, True, id="end of time in another zone"),
        pytest.param({"validTo": "+999999999-12-31T23:59:59.999999999Z"}, True, id="end of Java's time"),
        pytest.param({"validTo": 253402300799}, True, id="end of time as epoch"),
        pytest.param({"validTo": 9223372036854775807}, True, id="end of 64 bits"),
        pytest.param({"validFrom": "0001-01-01T00:00:00+01:00"}, True, id="begin of time in another zone"),
        pytest.param({"validFrom": "0001-01-01T00:00:00+01:00", "validTo": "9999-12-31"}, True, id="all of time"),
        pytest.param({"validTo": "0001-01-01T00:00:00"}, True, id="no end, as .NET writes it"),
        pytest.param({"validTo": "0000-00-00 00:00:00"}, True, id="no end, as MySQL writes it"),
        pytest.param({"validTo": " "}, True, id="blanks as end"),
        pytest.param({"validTo": [2026, 1, 31]}, True, id="last day as an array"),
        pytest.param({"validTo": "2026-02-01T00:00+01:00[Europe/Berlin]"}, True, id="end with a named zone"),
        pytest.param({"validFrom": None, "validTo": None}, True, id="always"),
        pytest.param({"validTo": ""}, True, id="blank end"),
        pytest.param({"validTo": "soon"}, False, id="unreadable end"),
        pytest.param({"validFrom": {"day": 1}}, False, id="unreadable begin"),
        pytest.param({"validTo": 1769860801}, True, id="epoch seconds"),
        pytest.param({"validTo": "1769860800"}, False, id="epoch seconds as text"),
        pytest.param({"redeemCount": 1}, False, id="used up"),
        pytest.param({"redeemCount": "1"}, False, id="used up, as text"),
        pytest.param({"redeemCount": 4, "maxRedeemCount": 5}, True, id="once more"),
        pytest.param({"redeemCount": None}, True, id="count not told"),
        pytest.param({"redeemCount": 9, "maxRedeemCount": None}, True, id="unlimited"),
        pytest.param({"maxRedeemCount": 0}, False, id="never"),
        pytest.param({"redeemCountGlobal": 5, "maxRedeemCountGlobal": 5}, False, id="used up by all"),
        pytest.param({"redeemCountGlobal": 5, "maxRedeemCountGlobal": 0}, True, id="unlimited for all"),
        pytest.param({"stateLevel": "EXPIRED"}, False, id="expired"),
        pytest.param({"stateLevel": "not activated"}, False, id="not activated"),
        pytest.param({"status": "inactive"}, False, id="the status comes first"),
        pytest.param({"stateLevel": "GOLD"}, True, id="a state that is unknown"),
        pytest.param({"stateLevel": None}, True, id="no state"),
    ],
)
def test_only_coupons_that_can_be_redeemed_now_are_shown(change: dict[str, Any], visible: bool) -> None:
    assert is_shown(**change) == visible


def test_the_states_that_hide_a_coupon_are_a_setting() -> None:
    api = ConvercusApi(inactive_states=("Silver Only",), coupon={"status": "tier", "value": "worth.amount"})
    rows = [COUPON | {"tier": tier, "worth": {"amount": 5}} for tier in ("silver-only", "expired")]

    (one,) = coupons(rows, "en", NOW, api)

    assert (one["status"], one["value"]) == ("expired", 5)


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("en", "Voucher"),
        ("de", "Gutschein"),
        ("DE", "Gutschein"),
        ("de-AT", "Gutschein"),
        ("de_AT", "Gutschein"),
        ("deu", "Gutschein"),
        ("de-DE-1996", "Gutschein"),
        ("fr", "Voucher"),
        ("", "Voucher"),
    ],
)
def test_texts_come_in_the_language_or_in_english(language: str, title: str) -> None:
    assert shown(language)["title"] == title


@pytest.mark.parametrize(
    ("texts", "title", "description"),
    [
        pytest.param({"fr": {"title": "Bon"}}, "Bon", None, id="neither language"),
        pytest.param({"de": {"title": "Gutschein"}, "en": {"description": "Once"}}, "Gutschein", "Once", id="in part"),
        pytest.param({"de": {"title": " "}, "en": {"title": "Voucher"}}, "Voucher", None, id="blank"),
        pytest.param({"de_CH": {"title": "Bon"}, "de": {"title": "Gutschein"}}, "Gutschein", None, id="other country"),
        pytest.param(
            {"en_GB": {"title": "V"}, "de_DE": {"title": "G"}}, "G", None, id="a country that was not asked for"
        ),
        pytest.param({"fr": {"title": "B"}, "en-US": {"title": "V"}}, "V", None, id="English of a country"),
        pytest.param({"fr": {"title": "B"}, "GER": {"title": "G"}}, "G", None, id="another code of the language"),
        pytest.param({"de_CH": {"title": " "}, "de_AT": {"title": "G"}}, "G", None, id="blank in one country"),
        pytest.param({"de": "Gutschein"}, None, None, id="no object"),
        pytest.param({}, None, None, id="nothing"),
        pytest.param(None, None, None, id="not told"),
    ],
)
def test_a_text_that_is_not_there_in_the_language_comes_in_another(
    texts: Any, title: str | None, description: str | None
) -> None:
    one = shown("de", i18nFields=texts)

    assert (one["title"], one["description"]) == (title, description)


def test_english_is_found_in_any_country_when_it_is_asked_for() -> None:
    assert shown("en", i18nFields={"de": {"title": "Gutschein"}, "en-US": {"title": "Voucher"}})["title"] == "Voucher"


@pytest.mark.parametrize(
    ("number", "points"),
    [(268.28000000000003, 268.28), (120.0, 120), ("120.00", 120), ("120", 120), (-0.0, 0), ("1,200", None)],
)
def test_numbers_are_shown_in_one_form(number: Any, points: Any) -> None:
    balance = profile(ACCOUNT | {"accountBalance": {"points": number}}, "A1", ConvercusApi())["points_balance"]
    value = shown(value=number)["value"]

    assert json.dumps(balance) == json.dumps(points)
    assert json.dumps(value) == json.dumps(number if points is None else points)


@pytest.mark.parametrize("name", ["An\x00na", "\ud83d"])
def test_a_name_that_no_message_can_show_is_blank_and_the_rest_is_shown(name: str) -> None:
    account = ACCOUNT | {"memberships": [OWNER | {"givenName": name}]}

    assert profile(account, "A1", ConvercusApi()) == profile(ACCOUNT, "A1", ConvercusApi()) | {"first_name": None}


def test_a_blank_field_does_not_hide_the_same_field_elsewhere() -> None:
    account = ACCOUNT | {
        "memberships": [OWNER | {"enrollmentDate": " ", "createdAt": None}],
        "enrollmentDate": "2020-02-02",
    }

    assert profile(account, "A1", ConvercusApi())["enrollment_date"] == "2020-02-02"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(change=st.dictionaries(st.sampled_from([*ACCOUNT, "createdAt"]), anything))
def test_whatever_an_account_holds_its_profile_has_every_field_as_a_plain_value(change: dict[str, Any]) -> None:
    found = profile(ACCOUNT | change, "A1", ConvercusApi())

    assert found.keys() == profile(ACCOUNT, "A1", ConvercusApi()).keys()
    assert all(value is None or isinstance(value, str | int | float) for value in found.values())


@settings(max_examples=60)
@given(change=st.dictionaries(st.sampled_from([*COUPON]), anything), language=st.text(max_size=5))
def test_whatever_a_coupon_holds_it_is_shown_wholly_or_not_at_all(change: dict[str, Any], language: str) -> None:
    found = coupons([COUPON | change], language, NOW, ConvercusApi())

    assert all(one.keys() == shown().keys() for one in found)
    json.dumps(found)
