from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Event, FieldError, Json, MemberUpdate
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.braze.settings import BrazeRules
from loyalty_bridge.platforms.punchh import events as punchh
from loyalty_bridge.platforms.punchh.settings import PunchhRules

HAPPENED = datetime(2020, 6, 8, 5, 28, 24, tzinfo=UTC)
SECONDS = 1591594104
JUST_AFTER = HAPPENED + timedelta(seconds=50)
SECRET = "s3cr3t-v4lue"


def user(**changes: Json) -> dict[str, Any]:
    """Build the user of a payload; a change to None makes it null."""
    return {
        "user_id": 111111111,
        "external_source": "customer_id",
        "external_source_id": "C-1",
        "email": "Jane.Doe@Example.COM",
        "first_name": "Jane",
        "last_name": "Doe",
        "phone": "(201) 555-0123",
        "birthday": "1990-05-07",
        "gender": "Female",
        "preferred_locale": "en-US",
        "marketing_email_subscription": True,
        "marketing_pn_subscription": False,
        "sms_subscription": False,
        "unsubscribed": False,
        "guest_type": "Loyalty",
        "user_status": "active",
        "last_activity_at": "2020-06-08T05:27:23Z",
        "account_balance": balance(),
    } | changes


def balance(**changes: Json) -> dict[str, Any]:
    return {
        "banked_currency": None,
        "current_membership_level_name": "Silver Level",
        "last_visit": None,
        "loyalty_points": 60,
        "net_balance": 5,
        "total_debits": "0.0",
        "user_id": 111111111,
    } | changes


def event(family: str, payload: Json, **changes: Json) -> dict[str, Any]:
    """Build a delivery; a change to None takes the field away."""
    envelope: dict[str, Any] = {
        "content_id": "49776936-69e4-4ce8-b1d0-9f0065c8c31b",
        "timestamp": SECONDS,
        "business_id": 7,
        "business_uuid": "b-uuid",
        "business_slug": "slugname",
        "event_name": family,
        "event_type": "",
        "action": "create",
        "payload": payload,
    } | changes
    return {name: value for name, value in envelope.items() if value is not None}


def read(delivery: Json, rules: PunchhRules | None = None) -> MemberUpdate:
    return punchh.read(delivery, rules or PunchhRules(), member=punchh.member(delivery) or "C-9", received=JUST_AFTER)


def properties(update: MemberUpdate) -> dict[str, Json]:
    assert update.event is not None
    return dict(update.event.properties)


# What a delivery becomes


def test_a_new_guest_becomes_profile_attributes_and_an_event_with_the_users_properties() -> None:
    delivery = event(
        "users", user(joined_at="2019-10-05 12:49:52 UTC", previous_changes=["id", "email"], city="Austin")
    )

    update = read(delivery)

    assert update == MemberUpdate(
        member_label="punchh_external_id",
        event_id="49776936-69e4-4ce8-b1d0-9f0065c8c31b",
        member="C-1",
        time=HAPPENED,
        profile={
            "email": "Jane.Doe@example.com",
            "phone": "+12015550123",
            "first_name": "Jane",
            "last_name": "Doe",
            "birth_date": "1990-05-07",
            "gender": "F",
            "city": "Austin",
            "language": "en",
            "email_subscription": "subscribed",
            "push_subscription": "unsubscribed",
        },
        attributes={
            "punchh_user_id": 111111111,
            "punchh_user_status": "active",
            "punchh_guest_type": "Loyalty",
            "punchh_joined_at": "2019-10-05T12:49:52Z",
            "punchh_sms_subscription": False,
            "punchh_account_balance_current_membership_level_name": "Silver Level",
            "punchh_account_balance_loyalty_points": 60,
            "punchh_account_balance_net_balance": 5,
            "punchh_account_balance_total_debits": 0.0,
        },
        event=Event(
            "users",
            HAPPENED,
            {
                "event_id": "49776936-69e4-4ce8-b1d0-9f0065c8c31b",
                "action": "create",
                "business_id": 7,
                "business_uuid": "b-uuid",
                "business_slug": "slugname",
                "punchh_user_id": 111111111,
                "user_external_source": "customer_id",
                "user_external_source_id": "C-1",
                "user_email": "Jane.Doe@Example.COM",
                "user_first_name": "Jane",
                "user_last_name": "Doe",
                "user_phone": "(201) 555-0123",
                "user_birthday": "1990-05-07",
                "user_gender": "Female",
                "user_preferred_locale": "en-US",
                "user_marketing_email_subscription": True,
                "user_marketing_pn_subscription": False,
                "user_sms_subscription": False,
                "user_unsubscribed": False,
                "user_guest_type": "Loyalty",
                "user_user_status": "active",
                "user_last_activity_at": "2020-06-08T05:27:23Z",
                "user_joined_at": "2019-10-05 12:49:52 UTC",
                "user_previous_changes": ["id", "email"],
                "user_city": "Austin",
                "user_account_balance_current_membership_level_name": "Silver Level",
                "user_account_balance_loyalty_points": 60,
                "user_account_balance_net_balance": 5,
                "user_account_balance_total_debits": 0.0,
            },
        ),
    )


def test_a_check_in_that_names_a_user_only_is_the_events_of_the_member_found_for_it() -> None:
    checkin: dict[str, Json] = {
        "user_id": 111111111,
        "business_id": 7,
        "status": "loyalty",
        "points_earned": 20,
        "receipt_amount": 20.0,
        "expired_at": None,
        "redemption_id": 0,
        "approved": True,
        "menu_items": [{"item_name": "Bowl", "item_qty": 3, "serial_number": None}],
    }
    delivery = event("checkins", checkin, event_type="loyalty")

    update = punchh.read(delivery, PunchhRules(), member="C-9", received=JUST_AFTER)

    assert update == MemberUpdate(
        member_label="punchh_external_id",
        event_id="49776936-69e4-4ce8-b1d0-9f0065c8c31b/C-9",
        member="C-9",
        time=HAPPENED,
        attributes={"punchh_user_id": 111111111},
        event=Event(
            "checkins",
            HAPPENED,
            {
                "event_id": "49776936-69e4-4ce8-b1d0-9f0065c8c31b",
                "event_type": "loyalty",
                "action": "create",
                "business_id": 7,
                "business_uuid": "b-uuid",
                "business_slug": "slugname",
                "punchh_user_id": 111111111,
                "punchh_status": "loyalty",
                "points_earned": 20,
                "receipt_amount": 20.0,
                "redemption_id": 0,
                "approved": True,
                "menu_items": [{"item_name": "Bowl", "item_qty": 3}],
            },
        ),
    )


def test_nested_objects_are_joined_to_their_names_and_reserved_names_are_prefixed() -> None:
    redemption: dict[str, Json] = {
        "id": 1,
        "source": "pos",
        "event_type": "own",
        "time": "noon",
        "redemption_code": {"status": "processed", "discount": 10, "business_id": 9, "additional": {"tag": "x"}},
        "user": {"email": "jane@example.com", "id": 3, "source": "web"},
    }

    shown = properties(read(event("redemptions", redemption, event_type="pos")))

    assert {name: value for name, value in shown.items() if name not in event("", {}) and name != "event_id"} == {
        "punchh_id": 1,
        "punchh_source": "pos",
        "punchh_event_type": "own",
        "punchh_time": "noon",
        "redemption_code_status": "processed",
        "redemption_code_discount": 10,
        "redemption_code_business_id": 9,
        "redemption_code_additional_tag": "x",
        "user_email": "jane@example.com",
        "punchh_user_id": 3,
        "user_source": "web",
    }
    assert shown["event_type"] == "pos"


MARKETING = """anniversary_campaign challenge_campaign compression_campaign coupon_campaign post_checkin_campaign
    post_payment_campaign profile_update_campaign recall_campaign referral_campaign signup_campaign
    social_cause_campaign"""
TRANSACTIONAL = """bumped_membership_level business_migration_notification card_completion checkin_retry_fail
    checkin_retry_success checkin_void update_checkin pending_checkin pos_scanner_checkin coupon_expiry_reminder
    currency_expiry_reminder confirmation_email eclub_registration feedback_reply game_reward_notification
    gift_card_auto_reload gift_card_auto_reload_disabled gift_card_auto_reload_enabled
    gift_card_auto_reload_payment_error gift_card_pre_auto_reload_reminder gift_card_gifted gift_card_purchased
    gift_card_received gift_card_redeemed gift_card_reloaded gift_card_shared gift_card_sharing_revoked
    gift_card_transferred gift_card_post_payment_error invalid_receipt invitation_accepted invitation_revoked
    login_from_new_device loyalty_transfer migration_verification payment_card_expired payment_card_expiry_reminder
    payment_refunded points_expiry points_expiry_reminder points_to_reward redeemable_unlocked redemption_applied
    reset_password_instruction reset_passcode_instruction reward_notification reward_expiry_reminder user_signup
    visit_expiry_reminder wifi_registration something_new"""
DOCUMENTED = [
    *[("users", ""), ("checkins", "loyalty"), ("checkins", "gift"), ("redemptions", ""), ("rewards", "")],
    *[("coupons", ""), ("user_coupon_redemptions", "")],
    *[("marketing_notifications", kind) for kind in MARKETING.split()],
    *[("transactional_notifications", kind) for kind in TRANSACTIONAL.split()],
]


@pytest.mark.parametrize(("family", "kind"), DOCUMENTED)
def test_every_family_and_type_becomes_an_event_of_the_familys_name(family: str, kind: str) -> None:
    payload: Json = user() if family == "users" else {"campaign_id": 18, "user": user()}

    update = read(event(family, payload, event_type=kind))

    assert update.event is not None
    assert (update.event.name, update.event.properties.get("event_type")) == (family, kind or None)
    assert (update.event.properties.get("campaign_id"), update.member) == (None if family == "users" else 18, "C-1")
    assert update.attributes["punchh_account_balance_loyalty_points"] == 60
    assert not update.field_errors


@pytest.mark.parametrize(
    ("given_name", "name", "expected"),
    [
        (" transactional_notifications", "transactional_notifications", None),
        ("_notifications", "transactional_notifications", None),
        ("Rewards ", "rewards", None),
        ("games", "punchh_event", "games"),
    ],
)
def test_the_name_of_an_event_is_one_of_a_fixed_set(given_name: str, name: str, expected: str | None) -> None:
    update = read(event(given_name, {"level": 3, "user": user()}))

    assert update.event is not None
    assert (update.event.name, properties(update).get("punchh_event_name")) == (name, expected)
    assert properties(update)["level"] == 3


@pytest.mark.parametrize("kind", ["user_signup", "confirmation_email", "reset_password_instruction"])
def test_a_notification_whose_payload_is_the_user_reports_the_user(kind: str) -> None:
    update = read(event("transactional_notifications", user(), event_type=kind))

    assert update.profile["first_name"] == "Jane"
    assert properties(update)["user_first_name"] == "Jane"
    assert "first_name" not in properties(update)


def test_business_fields_come_from_the_payload_where_the_envelope_has_none() -> None:
    delivery = event("users", user(business_uuid="u"), business_id="7", business_uuid=None, business_slug="  ")

    shown = properties(read(delivery))

    assert (shown["business_id"], shown["business_uuid"], shown.get("business_slug")) == (7, "u", None)
    assert "user_business_uuid" not in shown


# Whom it is about


@pytest.mark.parametrize(
    ("payload", "member", "alias", "aliases_of"),
    [
        ({"user": user(email=None)}, "C-1", None, "user:111111111"),
        ({"user": user(external_source_id=4711, email=" ")}, "4711", None, "user:111111111"),
        ({"user": user(external_source_id=" ")}, None, "user:111111111", None),
        ({"user": user(external_source_id=None, user_id="42", account_balance=None)}, None, "user:42", None),
        ({"user": user(external_source_id=None, user_id=None)}, None, "user:111111111", None),
        ({"user": user(user_id=None, email=None, account_balance=None)}, "C-1", None, None),
        ({"user": None, "user_id": 9223372036854775807}, None, "user:9223372036854775807", None),
        ({"user": {"first_name": "Jane"}, "external_source_id": "C-2", "user_id": 5}, "C-2", None, "user:5"),
        ({"user_id": 5}, None, "user:5", None),
        ({"user": user(external_source_id=None, user_id=[1])}, None, "user:111111111", None),
    ],
)
def test_the_member_is_the_external_id_and_else_the_user(
    payload: Json, member: str | None, alias: str | None, aliases_of: str | None
) -> None:
    delivery = event("rewards", payload)

    found = (punchh.member(delivery), punchh.alias(delivery), punchh.aliases_of(delivery))

    assert found == (member, alias, (aliases_of,) if aliases_of else ())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(event("users", user(email=" Jane@Example.com")), id="the user's own"),
        pytest.param(event("rewards", {"user": user(email="jane@example.com")}), id="a reward"),
        pytest.param(event("coupons", {"code": "X", "user": user(email="jane@example.com")}), id="a coupon"),
        pytest.param(
            event("transactional_notifications", {"coupon_code": "X", "user": user(email="jane@example.com")}),
            id="a notification",
        ),
        pytest.param(event("checkins", {}, user=user(email="jane@example.com")), id="beside the payload"),
    ],
)
def test_an_event_with_id_and_address_teaches_the_address_that_a_redemption_has(body: Json) -> None:
    redemption = event("redemptions", {"user": {"email": "jane@example.com", "first_name": "Jane"}})

    alias = punchh.alias(redemption)

    assert punchh.aliases_of(body) == ("user:111111111", alias)
    assert alias
    assert "jane" not in alias.lower()


def test_a_deleted_guest_teaches_no_address() -> None:
    source = event("users", user(email="jane@example.com"), action="delete")

    assert punchh.aliases_of(source) == ("user:111111111",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"user": {"external_source_id": "x"}, "payload": {"points": 5}}, "x", id="id only"),
        pytest.param({"user": user(), "payload": {"user_id": 5, "points": 5}}, "C-1", id="whole user"),
        pytest.param(
            {"user": {"external_source_id": "other"}, "payload": {"points": 5, "user": user()}}, "C-1", id="both"
        ),
        pytest.param(
            {"user": {"external_source_id": "x"}, "payload": {"points": 5, "user": {"user_id": 5}}}, "x", id="halves"
        ),
    ],
)
def test_the_user_may_stand_beside_the_payload(body: dict[str, Json], expected: str) -> None:
    update = read({"event_name": "checkins", "timestamp": SECONDS, **body})

    assert update.member == expected
    assert properties(update)["points"] == 5


def test_a_users_event_may_have_its_user_beside_the_payload() -> None:
    update = read(event("users", {"first_name": "Jane", "external_source_id": None}, user=user(first_name="Other")))

    assert update.member == "C-1"
    assert (update.profile["first_name"], update.profile["email"]) == ("Jane", "Jane.Doe@example.com")
    assert update.attributes["punchh_user_id"] == 111111111


@pytest.mark.parametrize(
    ("family", "payload", "reason"),
    [
        ("redeemables", {"redeemable_id": 107, "name": "Free Burger"}, "is the business's, not a member's"),
        ("rewards", {"reward_id": 1, "user": None}, "names no user"),
        ("redemptions", {"user": {"email": " ", "first_name": "Jane"}}, "names no user"),
    ],
)
def test_what_names_no_one_is_refused_since_nothing_is_worth_waiting_for(
    family: str, payload: Json, reason: str
) -> None:
    delivery = event(family, payload)

    with pytest.raises(Invalid) as refused:
        punchh.alias(delivery)

    assert (punchh.member(delivery), punchh.aliases_of(delivery)) == (None, ())
    assert (refused.value.field, refused.value.reason) == ("payload", reason)


@pytest.mark.parametrize(
    ("delivery", "field"),
    [
        ("text", "record"),
        (event("users", user(), event_name=" "), "event_name"),
        (event("users", user(), event_name={"a": 1}), "event_name"),
        (event("users", "user"), "payload"),
        (event("users", None), "payload"),
        (event("users", user(external_source_id={"a": 1})), "payload.external_source_id"),
        (event("users", user(), content_id=["x"]), "content_id"),
        (event("users", user(), timestamp="yesterday"), "timestamp"),
        (event("users", user(), timestamp=0), "timestamp"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_field(delivery: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        punchh.read(delivery, PunchhRules(), member="C-1", received=JUST_AFTER)

    assert refused.value.field == field


@pytest.mark.parametrize(("record", "count"), [({}, 1), ([{}, "no event"], 2)])
def test_a_delivery_is_one_event_or_an_array_of_them(record: Json, count: int) -> None:
    assert len(punchh.events(record)) == count


@pytest.mark.parametrize("record", ["text", 1, None])
def test_a_delivery_that_is_neither_object_nor_array_is_refused(record: Json) -> None:
    with pytest.raises(Invalid, match="record"):
        punchh.events(record)


# When, and which


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        (SECONDS, HAPPENED),
        (SECONDS * 1000 + 930, HAPPENED + timedelta(milliseconds=930)),
        (str(SECONDS), HAPPENED),
        ("2020-06-08T05:28:24Z", HAPPENED),
        (None, JUST_AFTER),
        ("", JUST_AFTER),
        (SECONDS + 50 + 299, JUST_AFTER + timedelta(seconds=299)),
        (SECONDS + 50 + 301, JUST_AFTER),
    ],
)
def test_the_time_is_the_messages_in_seconds_or_milliseconds_and_never_far_ahead(
    timestamp: Json, time: datetime
) -> None:
    update = read(event("users", user(), timestamp=timestamp))

    assert update.event is not None
    assert (update.time, update.event.time) == (time, time)


def test_an_event_without_content_id_is_known_by_its_content() -> None:
    first = event("users", user(), content_id=None)

    again, later, other = (
        event("users", user(), content_id=" ", business_slug="renamed"),
        event("users", user(), content_id=None, timestamp=SECONDS + 1),
        event("users", user(first_name="Joan"), content_id=None),
    )

    assert punchh.event_id(first) == punchh.event_id(again)
    assert len({punchh.event_id(one) for one in (first, later, other)}) == 3
    assert properties(read(first))["event_id"] == punchh.event_id(first) == read(first).event_id


@pytest.mark.parametrize("delivery", ["text", None, [1]])
def test_what_is_no_event_has_no_id(delivery: Json) -> None:
    with pytest.raises(Invalid, match="record"):
        punchh.event_id(delivery)


# The user's fields


@pytest.mark.parametrize(
    ("changes", "email", "push"),
    [
        ({}, "subscribed", "unsubscribed"),
        ({"marketing_email_subscription": False, "marketing_pn_subscription": "true"}, "unsubscribed", "subscribed"),
        ({"unsubscribed": True}, "unsubscribed", "unsubscribed"),
        ({"unsubscribed": "perhaps"}, None, "unsubscribed"),
        ({"unsubscribed": None}, "subscribed", "unsubscribed"),
        ({"marketing_email_subscription": None, "marketing_pn_subscription": ""}, None, None),
        ({"marketing_email_subscription": "perhaps", "marketing_pn_subscription": 7}, None, None),
    ],
)
def test_subscriptions_follow_the_flags_and_nothing_unreadable_becomes_consent(
    changes: dict[str, Json], email: str | None, push: str | None
) -> None:
    profile = read(event("users", user(**changes))).profile

    assert (profile.get("email_subscription"), profile.get("push_subscription")) == (email, push)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"phone": "+49 170 1234567"}, "phone", "+491701234567"),
        ({"phone": 2015550123}, "phone", "+12015550123"),
        ({"phone": None}, "phone", None),
        ({"email": ""}, "email", None),
        ({"gender": "DECLINED"}, "gender", "P"),
        ({"gender": "male"}, "gender", "M"),
        ({"preferred_locale": "es_MX"}, "language", "es"),
        ({"preferred_locale": ""}, "language", None),
        ({"birthday": "2020-06-09"}, "birth_date", "2020-06-09"),
        ({"last_name": " Doe "}, "last_name", "Doe"),
    ],
)
def test_profile_fields_are_normalised_and_null_or_blank_removes_them(
    changes: dict[str, Json], field: str, value: Json
) -> None:
    update = read(event("users", user(**changes)))

    assert update.profile[field] == value  # type: ignore[index]
    assert not update.field_errors


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phone": "11 11"}, "payload.phone"),
        ({"email": f"{SECRET} at example"}, "payload.email"),
        ({"gender": SECRET}, "payload.gender"),
        ({"birthday": "2020-06-10"}, "payload.birthday"),
        ({"preferred_locale": "1"}, "payload.preferred_locale"),
        ({"anniversary": SECRET}, "payload.anniversary"),
        ({"account_balance": balance(net_balance=SECRET)}, "payload.account_balance.net_balance"),
    ],
)
def test_an_unusable_field_is_reported_without_its_value_and_the_rest_goes_on(
    changes: dict[str, Json], field: str
) -> None:
    update = read(event("users", user(**changes)))

    assert [(refusal.part, refusal.field) for refusal in update.field_errors] == [("attributes", field)]
    assert SECRET not in repr(update.field_errors)
    assert update.profile["first_name"] == "Jane"
    assert update.attributes["punchh_user_status"] == "active"


@pytest.mark.parametrize(
    "unreadable",
    [{"a": 1}, [1], True, 1.5, "\x00", SECRET * 100],
    ids=["object", "array", "flag", "number", "null", "long"],
)
def test_each_unreadable_field_costs_itself_alone(unreadable: Json) -> None:
    good = read(event("users", user()))
    places: list[tuple[str, Any]] = [
        *((name, lambda name=name: event("users", user(**{name: unreadable}))) for name in user() if name not in ID),
        *(
            (name, lambda name=name: event("users", user(account_balance=balance(**{name: unreadable}))))
            for name in balance()
        ),
        *((name, lambda name=name: event("users", user(), **{name: unreadable})) for name in ENVELOPE),
    ]

    for name, delivery in places:
        update = read(delivery())

        lost = {it for it in good.attributes if it not in update.attributes}
        assert (update.member, update.time) == (good.member, good.time), name
        assert len(lost) <= (len(balance()) if name == "account_balance" else 1), name
        assert len(update.field_errors) <= 2, name


ID = {"external_source_id"}
ENVELOPE = ("event_type", "action", "business_id", "business_uuid", "business_slug")


def test_long_names_of_fields_are_not_kept() -> None:
    tracemalloc.start()
    try:
        for number in range(40):
            read(event("rewards", {f"{number}{'k' * 250_000}": 1, "user": user()}))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 2_000_000


def test_fields_that_are_not_sent_are_left_alone() -> None:
    update = read(event("users", {"external_source_id": "C-1", "user_id": 1, "first_name": "Jane"}, action="update"))

    assert update.profile == {"first_name": "Jane"}
    assert update.attributes == {"punchh_user_id": 1}


def test_a_phone_number_without_country_is_refused_where_the_program_names_none() -> None:
    update = read(event("users", user()), PunchhRules(default_country=None))

    assert update.field_errors == (FieldError("attributes", "payload.phone", "is not a phone number"),)


@pytest.mark.parametrize(
    ("written", "found"), [("100.0", 100.0), ("12", 12), (7, 7), (2.5, 2.5), (None, None), ("", None)]
)
def test_balances_are_numbers_however_they_are_written(written: Json, found: Json) -> None:
    update = read(event("users", user(account_balance=balance(total_debits=written))))

    assert update.attributes.get("punchh_account_balance_total_debits") == found
    assert properties(update).get("user_account_balance_total_debits") == found
    assert not update.field_errors


def test_a_balance_field_that_is_not_known_is_on_the_event_only() -> None:
    update = read(event("users", user(account_balance=balance(stars=3))))

    assert properties(update)["user_account_balance_stars"] == 3
    assert "punchh_account_balance_stars" not in update.attributes


def test_null_or_blank_removes_an_attribute_but_not_a_balance() -> None:
    account = user(anniversary=None, referral_code=" ", account_balance=balance(loyalty_points=None))

    attributes = read(event("users", account)).attributes

    assert {name for name, value in attributes.items() if value is None} == {
        "punchh_anniversary",
        "punchh_referral_code",
    }
    assert "punchh_account_balance_loyalty_points" not in attributes


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("write", [int, str])
def test_ids_of_64_bits_keep_every_digit_and_one_type(number: int, write: Any) -> None:
    body = json.dumps(event("checkins", {"user_id": write(number), "reward_id": number})).encode()

    update = read(parsing.parse_json(body))

    assert properties(update)["punchh_user_id"] == number == update.attributes["punchh_user_id"]
    assert properties(update)["reward_id"] == number


@pytest.mark.parametrize("identifier", ["0042", "9" * 30, "p-1"])
def test_an_id_that_is_no_number_stays_a_text(identifier: str) -> None:
    assert read(event("checkins", {"user_id": identifier})).attributes == {"punchh_user_id": identifier}


@pytest.mark.parametrize(
    ("action", "status"), [("delete", "active"), ("update", "deleted"), ("Delete", None), ("update", "anonymized")]
)
def test_of_a_deleted_guest_nothing_but_that_is_reported(action: str, status: str | None) -> None:
    update = read(event("users", user(user_status=status), action=action))

    assert (update.profile, update.attributes) == ({}, {"punchh_user_status": "deleted"})
    assert properties(update) == {
        "event_id": update.event_id,
        "action": action,
        "business_id": 7,
        "business_uuid": "b-uuid",
        "business_slug": "slugname",
        "punchh_user_id": 111111111,
    }


# Credentials


CREDENTIALS: list[Any] = [
    *[{name: SECRET} for name in ("reset_password_url", "reset_password_link", "email_confirmation_url", "passcode")],
    *[{name: SECRET} for name in ("authentication_token", "accessToken", "reset-password-url", "otp", "gift_card_pin")],
    *[
        {name: SECRET}
        for name in ("gift_card_number", "redemption_code_pass", "apple_loyalty_pass_url", "client_secret")
    ],
    *[{name: SECRET} for name in ("migration_verification_link", "verification_code", "password_confirmation")],
    {"reset_password": {"url": SECRET}},
    {"card": {"number": SECRET}},
    {"gift": {"cards": [{"number": SECRET}]}},
    {"giftCard": {"data": {"securityCode": SECRET}}},
    {"security": {"code": SECRET}},
    {"access_token": {"value": [SECRET]}},
    {"link": f"https://x.punchh.com/customers/password/edit?code={SECRET}"},
    {"link": f"https://x.punchh.com/p?reset_password_token={SECRET}"},
    {"text": f"Hello, click https://x.punchh.com/confirmation/{SECRET} now"},
    {"link": f"https://x.punchh.com/reset-password/{SECRET}"},
    {"link": f"https://x.punchh.com/#/verify/{SECRET}"},
    {"link": f"https://jane:{SECRET}@x.punchh.com/"},
    {"blob": f"eyJhbGciOi.{SECRET}.sig"},
    {"list": ["fine", f"https://x.punchh.com/?key={SECRET}"]},
    {"items": [{"name": "fine", "token": SECRET}]},
]


@pytest.mark.parametrize("credential", CREDENTIALS, ids=str)
@pytest.mark.parametrize("place", ["payload", "user", "balance", "nested"])
def test_live_credentials_never_leave(credential: dict[str, Json], place: str) -> None:
    payloads: dict[str, dict[str, Json]] = {
        "payload": {**credential, "user": user()},
        "user": {"user": user(**credential)},
        "balance": {"user": user(account_balance=balance(**credential))},
        "nested": {"deep": {"deeper": [{"deepest": credential}]}, "user": user()},
    }

    update = read(event("transactional_notifications", payloads[place], event_type="new"))

    assert SECRET not in repr(update)
    assert properties(update)["user_first_name"] == "Jane"


def test_a_number_or_code_of_something_else_leaves() -> None:
    shown = properties(read(event("checkins", {"store": {"number": "42"}, "coupon": {"code": "A1"}, "user": user()})))

    assert (shown["store_number"], shown["coupon_code"]) == ("42", "A1")


@pytest.mark.parametrize(
    "value", ["https://cdn.punchh.com/secret-sauce.png", "reset your points", "https://x.com/?size=2&author=me"]
)
def test_what_only_looks_like_a_credential_stays(value: str) -> None:
    assert properties(read(event("rewards", {"reward_image_url": value, "user": user()})))["reward_image_url"] == value


# Anything at all

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["true", "1.5", "2020-01-01", "2020-01-01T10:00:00Z", "en-US", "https://x.com/a?b=c"])
)
_KNOWN = [
    "user",
    "user_id",
    "external_source_id",
    "account_balance",
    "status",
    "email",
    "phone",
    "birthday",
    "gender",
    "unsubscribed",
]
_NAMES = st.sampled_from([*_KNOWN, "preferred_locale", *punchh.ATTRIBUTES, *punchh.BALANCES]) | st.text(max_size=8)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5), max_leaves=15
)
_PAYLOADS = st.dictionaries(_NAMES, _JSON, max_size=8)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "event_name": st.sampled_from(sorted(punchh.FAMILIES)) | _SCALARS,
            "event_type": _SCALARS,
            "action": st.sampled_from(["create", "delete"]) | _SCALARS,
            "timestamp": st.integers(0, 2 * 10**12) | _SCALARS,
            "content_id": _SCALARS,
            "business_id": _SCALARS,
            "payload": _PAYLOADS | _SCALARS,
        },
    )
    | _JSON
)
def test_reading_refuses_or_gives_an_update_and_never_fails(delivery: Json) -> None:
    try:
        update = punchh.read(delivery, PunchhRules(), member="C-1", received=JUST_AFTER)
    except Invalid:
        return

    assert update.event is not None
    assert update.event.name in punchh.FAMILIES | {punchh.UNKNOWN_EVENT}
    assert None not in update.event.properties.values()
    assert update.time <= JUST_AFTER + parsing.MAX_AHEAD
    json.dumps([dict(update.event.properties), dict(update.attributes), dict(update.profile)], allow_nan=False)


@given(_PAYLOADS)
def test_finding_the_member_refuses_or_finds_and_never_fails(payload: dict[str, Json]) -> None:
    delivery = event("rewards", payload)
    try:
        found = punchh.member(delivery)
        other = punchh.aliases_of(delivery) if found else punchh.alias(delivery)
    except Invalid:
        return

    assert found is not None or other is not None


@given(_PAYLOADS, st.sampled_from(CREDENTIALS), st.integers(0, 3))
def test_a_credential_at_any_depth_of_any_payload_stays(
    payload: dict[str, Json], credential: dict[str, Json], depth: int
) -> None:
    hidden: Json = credential
    for _ in range(depth):
        hidden = {"inner": [hidden]}

    try:
        update = read(event("rewards", {**payload, "extra": hidden}))
    except Invalid:
        return

    assert SECRET not in repr(update)


def test_a_large_delivery_is_read_in_linear_time() -> None:
    items: list[Json] = [{"item_name": f"https://x.com/?{'a?' * 20}b=c", "item_qty": n} for n in range(20_000)]
    body = json.dumps(event("checkins", {"user_id": 1, "note": "://?" * 500_000, "menu_items": items})).encode()

    update = read(parsing.parse_json(body))

    assert len(properties(update)["menu_items"]) == 20_000  # type: ignore[arg-type]


# Into Braze, by configuration alone


def test_a_reward_goes_to_braze() -> None:
    reward: dict[str, Json] = {"reward_id": 6973, "status": "unredeemed", "store_numbers": [], "user": user(phone=None)}
    update = read(event("rewards", reward, event_type=None))

    translation = braze.translate(update, BrazeRules())

    assert translation.field_errors == ()
    assert translation.identity == {"external_id": "C-1"}
    assert translation.attributes[("punchh_account_balance_net_balance",)] == 5
    assert translation.attributes[("email_subscribe",)] == "subscribed"
    assert translation.event is not None
    assert json.loads(translation.event.body) == {
        "external_id": "C-1",
        "name": "rewards",
        "time": "2020-06-08T05:28:24.000+00:00",
        "properties": properties(update),
    }
    assert {"reward_id": 6973, "punchh_status": "unredeemed"}.items() <= properties(update).items()


@pytest.mark.parametrize("nothing", [None, "", " "])
@pytest.mark.parametrize("family", ["checkins", "users"])
def test_what_one_of_two_users_leaves_blank_the_other_reports(family: str, nothing: Json) -> None:
    blank = user(email=nothing, first_name=nothing, phone=nothing, external_source_id=nothing)
    source = user(first_name="Ann")

    for inside, beside in ((blank, source), (source, blank)):
        sent = event(family, inside if family == "users" else {"user": inside}, user=beside)
        update = punchh.read(sent, PunchhRules(), member="C-1", received=JUST_AFTER)

        assert punchh.member(sent) == "C-1"
        assert update.profile["email"] == "Jane.Doe@example.com"
        assert (update.profile["first_name"], update.profile["phone"]) == ("Ann", "+12015550123")


def test_fields_that_are_never_sent_are_reported_with_the_reason() -> None:
    source = user(authentication_token=SECRET, wallet={"card": {"number": "4111", "brand": "V"}}, passes=[{"pin": "1"}])

    update = punchh.read(event("checkins", {"user": source}), PunchhRules(), member="C-1", received=JUST_AFTER)

    assert [(one.field, one.withheld) for one in update.unknown] == [
        ("user_authentication_token", "may let somebody act as the member"),
        ("user_wallet_card_number", "may let somebody act as the member"),
        ("user_passes_pin", "may let somebody act as the member"),
    ]


def test_of_a_deleted_guest_it_is_reported_that_nothing_else_is_sent() -> None:
    update = punchh.read(event("users", user(user_status="deleted")), PunchhRules(), member="C-1", received=JUST_AFTER)

    assert [(one.field, one.withheld) for one in update.unknown] == [("user", "is not sent of a deleted guest")]


def test_a_time_that_is_wrapped_is_a_property_of_its_own_name() -> None:
    shown = properties(read(event("rewards", {"user": user(), "offer": {"ends": {"$time": "2026-01-01T10:00:00Z"}}})))

    assert shown["offer_ends"] == "2026-01-01T10:00:00Z"
