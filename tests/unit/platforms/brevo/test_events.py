from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Event, FieldError, MemberUpdate
from loyalty_bridge.platforms.brevo import events as brevo
from loyalty_bridge.platforms.brevo.settings import BrevoRules, IdentifyBy

if TYPE_CHECKING:
    from loyalty_bridge.model import Json

EXAMPLES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "fixtures" / "loyalty-webhooks").glob("*.json"))
}
RULES = BrevoRules()
MOMENT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
RECEIVED = MOMENT + timedelta(seconds=2)
ENVELOPE: dict[str, Any] = {
    "event_id": "e-1",
    "event_date": "2026-03-01T10:00:00+01:00",
    "source": "loyalty",
    "contact_id": 4711,
    "identifiers": {"ext_id": "m-1", "email_id": "Ann@Example.com", "phone_id": "4915112345678"},
    "contact_properties": {"FIRSTNAME": "Ann"},
}


def delivery(name: str, **changes: Any) -> dict[str, Any]:
    """Build a self-describing delivery of a documented example."""
    return {**ENVELOPE, "event_name": name, **EXAMPLES[name], **changes}


def without(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {field: value for field, value in event.items() if field not in fields}


def update_of(event: Json, rules: BrevoRules = RULES) -> MemberUpdate:
    return brevo.read(event, rules, member=brevo.member(event, rules), received=RECEIVED)


def refusal_of(event: Json, rules: BrevoRules = RULES) -> tuple[str, str]:
    with pytest.raises(Invalid) as refused:
        update_of(event, rules)
    return refused.value.field, refused.value.reason


TIME = "2025-06-10T07:09:01.696Z"
POINTS = "a74cxx1d-4a96-4xx3-804e-dc3xxd9axxeb"
MEDAL = "2exxx6ee-6x9f-400d-a85d-a312xx1a445b"
GOLD = "67000bb5-f193-4xxb-bx58-d08dc000c12f"
SUBSCRIPTION = "2ba00576-a5a9-400d-8b34-1e21xxd3xxd3"

COMMON = {
    "event_id": "e-1",
    "event_source": "loyalty",
    "loyalty_program_id": "27xxdd7a-af67-0020-ba65-19d60000a26e",
    "loyalty_program_name": "VIP Club",
}
CLUB = {**COMMON, "loyalty_program_name": "VIP club"}
DEFINITION = {
    "balance_definition_id": POINTS,
    "balance_definition_name": "Event",
    "balance_definition_unit": "points",
    "balance_definition_metadata_key": "value",
}
MEMBERSHIP = {"membership_card_id": "ABCDE00045SS125", "membership_created_at": TIME}
REMINDER = {"reminder_unit": "week", "reminder_value": 123}
OFFER = {
    "offer_id": "29xx7df8-3cf3-4x5c-8e74-8cd00085000e",
    "offer_name": "RewardName",
    "offer_public_description": "offerdescription",
    "offer_public_image": "imageoffer",
    "offer_public_name": "offernamepublic",
}
TIER = {"tier_id": GOLD, "tier_name": "Gold"}
TIER_GROUP = {"tier_group_id": MEDAL, "tier_group_name": "Medal"}
IN_TIER = {"loyalty_tiers": {MEDAL: "Gold"}, "loyalty_tier_ids": {MEDAL: GOLD}}
PROGRAM = COMMON["loyalty_program_id"]
SUBSCRIBED = {
    "loyalty_subscription_id": {PROGRAM: SUBSCRIPTION},
    "loyalty_subscription_created_at": {PROGRAM: TIME},
}

GOLDEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "balance_expiration_reminder": (
        {**COMMON, **DEFINITION, **MEMBERSHIP, **REMINDER, "amount": 123, "created_at": TIME, "expires_at": TIME},
        {},
    ),
    "balance_maximum_value_reached": (
        {**COMMON, **DEFINITION, "source_event_id": "test", "value": 123},
        {"loyalty_balances": {POINTS: 123}},
    ),
    "balance_minimum_value_reached": (
        {**CLUB, **DEFINITION, "source_event_id": "test", "value": 123},
        {"loyalty_balances": {POINTS: 123}},
    ),
    "balance_transaction_unauthorized": (
        {
            **COMMON,
            **DEFINITION,
            "reason": "Amount falls above maximum balance amount limit",
            "transaction_type": "credit",
            "transaction_value": 123,
        },
        {},
    ),
    "balance_value_expired": ({**COMMON, **DEFINITION, "value": 123}, {}),
    "balance_value_updated": (
        {
            **COMMON,
            **DEFINITION,
            "created": True,
            "expiration_date": TIME,
            "initial_value": 123,
            "source_event_id": "test",
            "transaction_type": "credit",
            "transaction_value": 123,
            "value": 123,
        },
        {"loyalty_balances": {POINTS: 123}},
    ),
    "membership_anniversary_reminder": ({**COMMON, **MEMBERSHIP, **REMINDER}, {}),
    "subscription_created": (
        {**COMMON, "created_at": TIME, "loyalty_subscription_id": SUBSCRIPTION},
        {**SUBSCRIBED, "loyalty_subscription_state": {PROGRAM: "active"}},
    ),
    "subscription_member_added": ({**COMMON, "member_id": 123}, {}),
    "subscription_member_removed": ({**COMMON, "member_id": 123}, {}),
    "subscription_month_anniversary": (
        {**COMMON, "subscription_created_at": TIME, "loyalty_subscription_id": SUBSCRIPTION},
        SUBSCRIBED,
    ),
    "subscription_revoked": (
        {**COMMON, "loyalty_subscription_id": SUBSCRIPTION},
        {
            "loyalty_subscription_id": {PROGRAM: SUBSCRIPTION},
            "loyalty_subscription_state": {PROGRAM: "revoked"},
            "loyalty_subscription_revoked_at": {PROGRAM: "2026-03-01T09:00:00.000Z"},
        },
    ),
    "subscription_year_anniversary": (
        {**CLUB, "subscription_created_at": TIME, "loyalty_subscription_id": SUBSCRIPTION},
        SUBSCRIBED,
    ),
    "tier_anniversary_reminder": (
        {**COMMON, **MEMBERSHIP, **REMINDER, **TIER, **TIER_GROUP, "attributed_at": TIME},
        IN_TIER,
    ),
    "tier_association_month_anniversary": ({**COMMON, **TIER, **TIER_GROUP, "created_at": TIME}, IN_TIER),
    "tier_association_updated": (
        {
            **COMMON,
            **TIER_GROUP,
            "from_tier_id": "Initial tier identifier",
            "from_tier_name": "Initial tier name",
            "source_event_id": "test",
            "to_tier_id": "Final tier identifier",
            "to_tier_name": "Final tier name",
            "upgraded": True,
        },
        {"loyalty_tiers": {MEDAL: "Final tier name"}, "loyalty_tier_ids": {MEDAL: "Final tier identifier"}},
    ),
    "tier_association_year_anniversary": ({**COMMON, **TIER, **TIER_GROUP, "created_at": TIME}, IN_TIER),
    "voucher_attribution_failed": ({**COMMON, "rejection_error": "test", "voucher_offer_id": "test"}, {}),
    "voucher_created": (
        {
            **COMMON,
            **OFFER,
            "code": "6c",
            "expires_at": TIME,
            "source_event_id": "test",
            "valid_from": TIME,
            "voucher_id": "3c000afd-fb2e-4275-9007-29178f00fd5a",
        },
        {},
    ),
    "voucher_expiration_reminder": (
        {
            **COMMON,
            **MEMBERSHIP,
            **OFFER,
            **REMINDER,
            "code": "10OFF-120006789",
            "expires_at": TIME,
            "valid_from": TIME,
            "voucher_id": "fb0000b4-38fd-4006-9xc5-f7800420617e",
        },
        {},
    ),
    "voucher_expired": ({**COMMON, **OFFER, "code": "6c", "voucher_id": "test"}, {}),
    "voucher_redeem_unauthorized": (
        {
            **COMMON,
            **OFFER,
            "code": "10OFF-120006789",
            "reason": "Amount falls above maximum balance amount limit",
        },
        {},
    ),
    "voucher_redeemed": (
        {
            **COMMON,
            **OFFER,
            "code": "10OFF-120006789",
            "voucher_id": "fb0000b4-38fd-4006-9xc5-f7800420617e",
        },
        {},
    ),
    "voucher_revoked": ({**COMMON, **OFFER, "code": "test", "source_event_id": "test", "voucher_id": "test"}, {}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_documented_event_becomes_exactly_this_update(name: str) -> None:
    properties, attributes = GOLDEN[name]

    update = update_of(delivery(name))

    assert update == MemberUpdate(
        event_id="e-1",
        member="m-1",
        time=MOMENT,
        attributes=attributes,
        event=Event(f"loyalty_{name}", MOMENT, properties),
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_names_are_within_the_limits_of_both_engagement_platforms(name: str) -> None:
    update = update_of(delivery(name))

    assert update.event
    names = [update.event.name, *update.event.properties, *update.attributes]
    assert all(re.fullmatch("[a-z][a-z_]{0,199}", each) for each in names)
    reserved = {"id", "_id", "status", "user_id", "source", "time", "event_name", "price", "quantity", "currency"}
    assert not reserved & set(names)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_event_under_event_properties_is_the_same_event(name: str) -> None:
    nested = {**ENVELOPE, "event_name": name, "event_properties": EXAMPLES[name]}

    assert update_of(nested) == update_of(delivery(name))


def test_the_top_level_wins_over_event_properties() -> None:
    event = delivery("balance_value_updated", event_properties={"value": 1, "source": "inner"})

    assert update_of(event) == update_of(delivery("balance_value_updated"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_bare_event_is_completed_from_its_url_and_its_arrival(name: str) -> None:
    bare = {**EXAMPLES[name], "identifiers": {"ext_id": "m-1"}}

    completed = brevo.complete(bare, name, RECEIVED)

    update = update_of(completed)
    described = update_of(without(delivery(name, event_date=RECEIVED.isoformat()), "source"))
    assert re.fullmatch("sha256:[0-9a-f]{64}", update.event_id)
    assert update.event
    assert described.event
    expected = Event(described.event.name, RECEIVED, {**described.event.properties, "event_id": update.event_id})
    assert update == replace(described, event_id=update.event_id, event=expected)


def test_an_event_that_reports_all_is_not_changed_by_its_envelope() -> None:
    event = delivery("voucher_created")

    assert brevo.complete(event, "voucher_redeemed", RECEIVED) == event


@pytest.mark.parametrize(
    ("event", "name", "seconds", "is_same"),
    [
        ({"member_id": 1}, "subscription_member_added", 57, True),
        ({"member_id": 1}, "subscription_member_added", 58, False),
        ({"member_id": 2}, "subscription_member_added", 0, False),
        ({"member_id": 1}, "subscription_member_removed", 0, False),
    ],
)
def test_a_bare_event_has_the_same_id_within_a_minute(
    event: dict[str, Json], name: str, seconds: int, is_same: bool
) -> None:
    first = brevo.complete({"member_id": 1}, "subscription_member_added", RECEIVED)

    second = brevo.complete(event, name, RECEIVED + timedelta(seconds=seconds))

    assert (brevo.event_id(first) == brevo.event_id(second)) is is_same


@pytest.mark.parametrize("name", ["Voucher Redeemed", "voucher-redeemed", "VOUCHER_REDEEMED", " voucher_redeemed"])
def test_an_event_name_is_known_in_other_spellings(name: str) -> None:
    assert update_of(delivery("voucher_redeemed", event_name=name)) == update_of(delivery("voucher_redeemed"))


@pytest.mark.parametrize(
    ("order", "event", "identified_by", "member"),
    [
        (RULES.identify_by, {}, "id", "m-1"),
        (RULES.identify_by, {"identifiers": {"ext_id": 77, "email_id": "a@b.example"}}, "id", "77"),
        (RULES.identify_by, {"identifiers": {"ext_id": " ", "email_id": "Ann@Shop.COM"}}, "email", "Ann@shop.com"),
        (RULES.identify_by, {"identifiers": {"phone_id": "+49 1511 2345678"}}, "phone", "+4915112345678"),
        (RULES.identify_by, {"identifiers": {"phone_id": "004915112345678"}}, "phone", "+4915112345678"),
        (RULES.identify_by, {"identifiers": {"phone_id": 4915112345678}}, "phone", "+4915112345678"),
        (RULES.identify_by, {"identifiers": {"email_id": "not an address", "phone_id": "123"}}, "id", "4711"),
        (RULES.identify_by, {"identifiers": None}, "id", "4711"),
        (RULES.identify_by, {"identifiers": "m-1"}, "id", "4711"),
        (RULES.identify_by, {"identifiers": {"contact_id": 12}, "contact_id": None}, "id", "12"),
        (("contact_id", "ext_id"), {}, "id", "4711"),
        (("phone_id", "ext_id"), {}, "phone", "+4915112345678"),
        (("loyalty_subscription_id",), {"loyalty_subscription_id": "s-1"}, "id", "s-1"),
        (("loyalty_subscription_id",), {"subscription": {"loyalty_subscription_id": "s-2"}}, "id", "s-2"),
        (("card_id", "ext_id"), {"membership": {"card_id": "c-1"}}, "id", "c-1"),
        (("card_id", "ext_id"), {"card_id": "c-2"}, "id", "c-2"),
        (("card_id",), {"event_properties": {"membership": {"card_id": "c-3"}}}, "id", "c-3"),
        (("card_id", "ext_id"), {}, "id", "m-1"),
    ],
)  # fmt: skip
def test_a_member_is_found_in_the_order_of_the_program(
    order: tuple[IdentifyBy, ...], event: dict[str, Any], identified_by: str, member: str
) -> None:
    rules = BrevoRules(identify_by=order)

    update = update_of(without(delivery("subscription_member_added"), *event) | event, rules)

    assert (update.identified_by, update.member) == (identified_by, member)


@pytest.mark.parametrize(
    ("event", "order", "refusal"),
    [
        (
            EXAMPLES["voucher_created"],
            RULES.identify_by,
            ("identifiers", "name no member by ext_id, email_id, phone_id, contact_id"),
        ),
        (
            EXAMPLES["membership_anniversary_reminder"],
            ("loyalty_subscription_id",),
            ("identifiers", "name no member by loyalty_subscription_id"),
        ),
        (
            {"identifiers": {"email_id": "not an address"}},
            ("ext_id", "email_id"),
            ("identifiers.email_id", "is not an e-mail address"),
        ),
        ({"identifiers": {"phone_id": "0151 1"}}, ("phone_id",), ("identifiers.phone_id", "is not a phone number")),
        ({"identifiers": {"ext_id": {"a": 1}}}, ("ext_id",), ("identifiers.ext_id", "is not a text")),
        (["event"], RULES.identify_by, ("record", "is not an object")),
    ],
)
def test_an_event_of_no_one_is_refused_with_the_reason(
    event: Json, order: tuple[IdentifyBy, ...], refusal: tuple[str, str]
) -> None:
    with pytest.raises(Invalid) as refused:
        brevo.member(event, BrevoRules(identify_by=order))

    assert (refused.value.field, refused.value.reason) == refusal


def test_reading_refuses_an_event_of_no_one_too() -> None:
    with pytest.raises(Invalid, match="name no member"):
        brevo.read({"event_name": "voucher_created"}, RULES, member="m-1", received=RECEIVED)


def test_no_member_goes_by_a_second_name() -> None:
    event = delivery("subscription_created")

    assert (brevo.alias(event), brevo.aliases_of(event)) == (None, ())


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("2024-01-24T17:39:57+01:00", datetime(2024, 1, 24, 16, 39, 57, tzinfo=UTC)),
        (1_706_114_397, datetime(2024, 1, 24, 16, 39, 57, tzinfo=UTC)),
        (None, RECEIVED),
        ("", RECEIVED),
        ("2026-03-01T09:05:02Z", RECEIVED + timedelta(minutes=5)),
        ("2026-03-01T09:05:03Z", RECEIVED),
        ("2999-01-01", RECEIVED),
    ],
)
def test_the_time_is_the_events_own_unless_it_is_missing_or_ahead(date: Json, time: datetime) -> None:
    update = update_of(delivery("voucher_expired", event_date=date))

    assert update.event
    assert update.time == update.event.time == time


@pytest.mark.parametrize(
    ("event", "refusal"),
    [
        (["voucher_created"], ("record", "is not an object")),
        (None, ("record", "is not an object")),
        (without(delivery("voucher_created"), "event_name"), ("event_name", "is missing")),
        (delivery("voucher_created", event_name=" "), ("event_name", "is missing")),
        (delivery("voucher_created", event_name={}), ("event_name", "is not a text")),
        (without(delivery("voucher_created"), "event_id"), ("event_id", "is missing")),
        (delivery("voucher_created", event_id=[1]), ("event_id", "is not a text")),
        (delivery("voucher_created", event_date="yesterday"), ("event_date", "is not a time")),
        (delivery("voucher_created", event_date="0001-01-01T00:00:00Z"), ("event_date", "is not a possible time")),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(event: Json, refusal: tuple[str, str]) -> None:
    assert refusal_of(event) == refusal


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_event_is_sent_without_the_fields_that_it_lacks(name: str) -> None:
    whole = update_of(delivery(name))
    assert whole.event

    update = update_of(without(delivery(name), *EXAMPLES[name]))

    assert (update.event_id, update.member, update.time) == (whole.event_id, whole.member, whole.time)
    assert update.event == replace(whole.event, properties={"event_id": "e-1", "event_source": "loyalty"})
    assert update.attributes == {}
    assert update.field_errors
    assert {(one.part, one.reason) for one in update.field_errors} == {("event", "is missing")}


def test_a_tier_without_its_id_keeps_its_name() -> None:
    update = update_of(delivery("tier_association_updated", to_tier={"name": "Gold"}))

    assert update.attributes == {"loyalty_tiers": {MEDAL: "Gold"}}
    assert update.field_errors == (FieldError("event", "to_tier.id", "is missing"),)


UNREADABLE: list[Json] = [["secret-4711"], "\x00", "secret-4711", True, 1.5, {"a": {}}]


def places(value: Any, *path: str) -> list[tuple[str, ...]]:
    """List the paths of all fields."""
    if not isinstance(value, dict):
        return [path]
    return [place for name in value for place in places(value[name], *path, name)]


def replaced(value: Any, path: tuple[str, ...], by: Json) -> Any:
    return {**value, path[0]: replaced(value[path[0]], path[1:], by)} if path else by


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_unreadable_field_costs_itself_alone(name: str) -> None:
    whole = update_of(delivery(name))
    assert whole.event
    fields = places(EXAMPLES[name])
    objects: dict[tuple[str, ...], int] = {
        (path[0],): len([it for it in fields if it[0] == path[0]]) for path in fields if len(path) > 1
    }

    for path, most in [*((path, 1) for path in fields), *objects.items()]:
        for unreadable in UNREADABLE if path not in objects else UNREADABLE[:-1]:
            update = update_of(delivery(name) | replaced(EXAMPLES[name], path, unreadable))

            assert update.event
            assert (update.event_id, update.member, update.event.name) == ("e-1", "m-1", whole.event.name)
            now = update.event.properties
            lost = [field for field, value in whole.event.properties.items() if now.get(field) != value]
            assert len(lost) <= most, path
            assert "4711" not in repr(update.field_errors)


@pytest.mark.parametrize(
    ("name", "changes", "field", "attributes"),
    [
        ("balance_value_updated", {"value": "many"}, "value", {}),
        ("balance_value_updated", {"balance_definition": "points"}, "balance_definition", {}),
        ("balance_value_updated", {"balance_definition": {"id": []}}, "balance_definition.id", {}),
        (
            "tier_association_updated",
            {"to_tier": {"id": True, "name": "Gold"}},
            "to_tier.id",
            {"loyalty_tiers": {MEDAL: "Gold"}},
        ),
        ("tier_association_updated", {"tier_group": 5}, "tier_group", {}),
        ("membership_anniversary_reminder", {"membership": {"created_at": "n/a"}}, "membership.created_at", {}),
        ("voucher_created", {"loyalty_program": "VIP"}, "loyalty_program", {}),
        ("subscription_created", {"created_at": "n/a"}, "created_at", {
            "loyalty_subscription_id": {PROGRAM: SUBSCRIPTION}, "loyalty_subscription_state": {PROGRAM: "active"},
        }),
    ],
)  # fmt: skip
def test_state_is_reported_as_far_as_it_can_be_read(
    name: str, changes: dict[str, Any], field: str, attributes: dict[str, Any]
) -> None:
    update = update_of(delivery(name, **changes))

    assert [(it.part, it.field) for it in update.field_errors] == [("event", field)]
    assert update.attributes == attributes


def test_the_state_of_a_subscription_is_that_of_its_loyalty_program() -> None:
    state: dict[str, Any] = {}

    for kind, program in (("created", "a"), ("created", "b"), ("revoked", "b")):
        event = delivery(f"subscription_{kind}", loyalty_program={"id": program, "name": "Club"})
        value: Any = update_of(event).attributes["loyalty_subscription_state"]
        state |= value

    assert state == {"a": "active", "b": "revoked"}


def test_the_subscription_of_no_loyalty_program_is_not_kept_and_noted() -> None:
    update = update_of(without(delivery("subscription_created"), "loyalty_program"))

    assert update.attributes == {}
    assert [(it.part, it.field) for it in update.field_errors] == [("attributes", "loyalty_program.id")]
    assert update.event
    assert update.event.properties["loyalty_subscription_id"] == SUBSCRIPTION


def test_who_joins_a_shared_subscription_may_be_known_by_member_id() -> None:
    event = brevo.complete(EXAMPLES["subscription_member_added"], "subscription_member_added", RECEIVED)

    update = update_of(event, BrevoRules(identify_by=("ext_id", "member_id")))

    assert (update.identified_by, update.member) == ("id", "123")


def test_numbers_in_strings_are_read_as_numbers() -> None:
    event = delivery("balance_value_updated", value="99.5", transaction={"type": "debit", "value": "23"})

    update = update_of(event)

    assert update.event
    assert update.attributes == {"loyalty_balances": {POINTS: 99.5}}
    assert (update.event.properties["value"], update.event.properties["transaction_value"]) == (99.5, 23)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if "loyalty_subscription_id" not in GOLDEN[name][1]])
def test_a_missing_loyalty_program_changes_nothing_else(name: str) -> None:
    program = {"loyalty_program_id", "loyalty_program_name"}

    update = update_of(without(delivery(name), "loyalty_program"))

    whole = update_of(delivery(name))
    assert whole.event
    expected = {field: value for field, value in whole.event.properties.items() if field not in program}
    assert update == replace(whole, event=replace(whole.event, properties=expected))


def test_one_bad_element_of_five_hundred_leaves_the_others_good() -> None:
    record: Json = [
        delivery("voucher_created", event_id=f"e-{number}" if number != 250 else None) for number in range(500)
    ]

    good, bad = [], []
    for event in brevo.events(record):
        try:
            good.append(update_of(event).event_id)
        except Invalid as refused:
            bad.append((refused.field, refused.reason))

    assert good == [f"e-{number}" for number in range(500) if number != 250]
    assert bad == [("event_id", "is missing")]


def test_a_repeated_event_has_the_same_id_each_time() -> None:
    first, second = delivery("voucher_created"), delivery("voucher_created")

    assert update_of(first).event_id == update_of(second).event_id == brevo.event_id(first) == "e-1"


def test_one_event_is_a_record_of_one() -> None:
    assert brevo.events({"member_id": 1}) == [{"member_id": 1}]


@pytest.mark.parametrize("record", ["text", 1, None, True])
def test_a_record_that_is_neither_object_nor_array_is_refused(record: Json) -> None:
    with pytest.raises(Invalid, match="record: is neither an object nor an array"):
        brevo.events(record)


def test_an_unknown_event_is_passed_through_under_one_name() -> None:
    event: dict[str, Any] = {
        **ENVELOPE,
        "event_name": "Challenge.Completed",
        "id": "c-9",
        "status": "done",
        "time": 5,
        "nothing": None,
        "blank": "",
        "challenge": {"id": "c-1", "steps": {"done": 3, "a b.c$": True}},
        "badges": ["x", "y"],
        "_": "nameless",
    }

    update = update_of(event)

    assert update == MemberUpdate(
        event_id="e-1",
        member="m-1",
        time=MOMENT,
        event=Event(
            brevo.UNKNOWN_EVENT,
            MOMENT,
            {
                "event_id": "e-1",
                "event_source": "loyalty",
                "loyalty_event_type": "Challenge.Completed",
                "loyalty_id": "c-9",
                "loyalty_status": "done",
                "loyalty_time": 5,
                "challenge_id": "c-1",
                "challenge_steps_done": 3,
                "challenge_steps_a_b_c_": True,
                "badges": ["x", "y"],
            },
        ),
    )


def test_an_unknown_event_cannot_take_the_names_of_the_bridge() -> None:
    own: dict[str, Any] = {
        "event_id": "inner",
        "loyalty_event_type": "fake",
        "event_source": "fake",
        "event": {"id": "fake"},
    }

    update = update_of({**ENVELOPE, "event_name": "new_thing", "event_properties": own})

    assert update.event
    assert update.event.properties == {
        "event_id": "e-1",
        "event_source": "loyalty",
        "loyalty_event_type": "new_thing",
    }


@pytest.mark.parametrize(
    "event",
    [
        {**ENVELOPE, "event_name": "new_thing", **{f"field_{number}": number for number in range(300)}},
        delivery(
            "balance_value_updated",
            balance_definition={"id": "d", "metadata": {f"key_{number}": number for number in range(300)}},
        ),
    ],
)
def test_properties_are_bounded_and_the_rest_is_reported(event: dict[str, Any]) -> None:
    update = update_of(event)

    assert update.event
    assert len(update.event.properties) == 100
    [refusal] = update.field_errors
    assert refusal.part == "event"
    assert refusal.field not in update.event.properties
    assert refusal.reason == "and what follows it is beyond the 100 properties that an event may have"


def test_metadata_never_displaces_the_events_own_fields() -> None:
    definition = {"id": "d", "name": "Points", "unit": "points", "metadata": {f"key_{n}": n for n in range(300)}}

    update = update_of(delivery("balance_value_updated", balance_definition=definition))

    assert update.event
    own = {name for name in GOLDEN["balance_value_updated"][0] if "metadata" not in name}
    assert own < update.event.properties.keys()


def test_metadata_as_text_is_one_property() -> None:
    event = delivery("balance_value_expired", balance_definition={"id": "d", "metadata": "summer"})

    update = update_of(event)

    assert update.event
    assert update.event.properties == {
        **COMMON,
        "value": 123,
        "balance_definition_id": "d",
        "balance_definition_metadata": "summer",
    }


def test_keys_of_state_can_stand_in_a_path() -> None:
    balance = update_of(delivery("balance_value_updated", balance_definition={"id": "my $points.v2"}))
    tier = update_of(delivery("tier_association_updated", tier_group={"id": "g" * 300}))

    assert balance.attributes == {"loyalty_balances": {"my__points_v2": 123}}
    assert tier.attributes["loyalty_tiers"] == {"g" * 100: "Final tier name"}


def test_a_subscription_without_its_date_is_reported_by_its_id_only() -> None:
    event = delivery("subscription_month_anniversary", subscription={"loyalty_subscription_id": "s-1"})

    assert update_of(event).attributes == {"loyalty_subscription_id": {PROGRAM: "s-1"}}


def test_a_tier_without_a_name_is_reported_by_its_id_only() -> None:
    update = update_of(delivery("tier_association_updated", to_tier={"id": "t-1"}))

    assert update.attributes == {"loyalty_tier_ids": {MEDAL: "t-1"}}


FORWARDING = BrevoRules(forward_contact_properties=True)


def test_contact_properties_stay_unless_the_program_forwards_them() -> None:
    event = delivery("voucher_created", contact_properties={"FIRSTNAME": "Ann", "SHOE_SIZE": 39})

    update = update_of(event)

    assert (update.profile, update.custom) == ({}, {})
    assert "Ann" not in repr(update)


def test_forwarded_contact_properties_become_profile_and_custom_attributes() -> None:
    contact = {
        "FIRSTNAME": " Ann ",
        "lastname": "Lee",
        "EMAIL": "ann@shop.com",
        "SMS": "4915112345678",
        "SHOE_SIZE": 39,
        "TAGS": ["a", "b"],
        "CITY": None,
        "NOTE": "",
    }

    update = update_of(delivery("voucher_created", contact_properties=contact), FORWARDING)

    assert update.profile == {
        "first_name": "Ann",
        "last_name": "Lee",
        "email": "ann@shop.com",
        "phone": "+4915112345678",
    }
    assert update.custom == {"SHOE_SIZE": 39, "TAGS": ["a", "b"]}
    assert update.field_errors == ()


def test_a_contact_property_that_cannot_be_used_costs_only_itself() -> None:
    contact = {"SMS": "0151 1", "EMAIL": "nowhere", "LASTNAME": "Lee", "LOYALTY_BALANCES": 1}

    update = update_of(delivery("voucher_created", contact_properties=contact), FORWARDING)

    assert (update.profile, update.custom) == ({"last_name": "Lee"}, {})
    assert update.field_errors == (
        FieldError("attributes", "contact_properties.SMS", "is not a phone number"),
        FieldError("attributes", "contact_properties.EMAIL", "is not an e-mail address"),
        FieldError("attributes", "contact_properties.LOYALTY_BALANCES", "has a name that the bridge gives itself"),
    )


@pytest.mark.parametrize("contact", [None, "Ann", ["Ann"], 1])
def test_contact_properties_that_are_no_object_are_ignored(contact: Json) -> None:
    update = update_of(delivery("voucher_created", contact_properties=contact), FORWARDING)

    assert (update.profile, update.custom) == ({}, {})


def test_taking_in_a_delivery_does_not_wait_for_the_models() -> None:
    code = (
        "import sys, datetime; from loyalty_bridge.platforms.brevo import events as brevo; "
        "event = brevo.complete({'contact_id': 12}, 'voucher_created', datetime.datetime.now(datetime.UTC)); "
        "brevo.member(event, brevo.SETTINGS().rules); assert 'pydantic' not in sys.modules"
    )

    library = str(Path(brevo.__file__).parents[3])
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": library}, timeout=30)


VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["12", "2025-06-10T07:09:01Z", "true", "a@b.example"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({field for event in EXAMPLES.values() for field in event} | ENVELOPE.keys() | {"event_properties"})
PARTS = sorted(
    {part for event in EXAMPLES.values() for value in event.values() if isinstance(value, dict) for part in value}
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=300)
ANYTHING = VALUES | st.dictionaries(st.sampled_from(PARTS), VALUES, max_size=4)


@given(
    name=st.sampled_from(sorted(EXAMPLES)),
    changes=st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4)
    | st.dictionaries(st.text(max_size=8), VALUES),
    is_whole=st.booleans(),
)
def test_any_object_is_read_or_refused(name: str, changes: dict[str, Any], is_whole: bool) -> None:
    event = (delivery(name) if is_whole else {"identifiers": {"ext_id": "m-1"}, "event_id": "e-1"}) | changes
    event["event_name"] = name

    with suppress(Invalid):
        update = update_of(event, FORWARDING)

        assert update.event
        assert update.event.name == f"loyalty_{name}"
        assert None not in update.event.properties.values()
        assert len(update.event.properties) <= 100


@given(event=st.dictionaries(st.text(max_size=8), VALUES, max_size=8), name=NAMES)
def test_any_unknown_event_is_passed_through_bounded(event: dict[str, Any], name: str) -> None:
    update = update_of({**event, **ENVELOPE, "event_name": f"new {name}"})

    assert update.event
    assert update.event.name == "loyalty_event"
    assert str(update.event.properties["loyalty_event_type"]).startswith("new")
    assert len(update.event.properties) <= 100
    assert all(re.fullmatch(r"[\w-]{1,208}", each) for each in update.event.properties)
    assert update.attributes == {}


@pytest.mark.parametrize("nothing", [None, "", "  "])
@pytest.mark.parametrize(
    ("name", "fields", "prop", "value"),
    [
        ("voucher_created", ("expires_at", "expired_at"), "expires_at", TIME),
        ("voucher_expiration_reminder", ("expired_at", "expires_at"), "expires_at", TIME),
        ("balance_expiration_reminder", ("expired_at", "expires_at"), "expires_at", TIME),
        (
            "subscription_revoked",
            ("loyalty_subscription_id", "subscription.loyalty_subscription_id"),
            "loyalty_subscription_id",
            "S-1",
        ),
        ("subscription_created", ("created_at", "subscription.created_at"), "created_at", TIME),
        ("voucher_expiration_reminder", ("membership.card_id", "membership_card_id"), "membership_card_id", "C-1"),
        ("voucher_expiration_reminder", ("membership.card_id", "card_id"), "membership_card_id", "C-1"),
        (
            "balance_value_updated",
            ("balance_definition.name", "balance_definition_name"),
            "balance_definition_name",
            "Points",
        ),
        ("voucher_attribution_failed", ("voucher_offer_id", "offer.id"), "voucher_offer_id", "O-1"),
    ],
)
@pytest.mark.parametrize("lifted", [True, False])
def test_of_two_names_of_a_field_the_one_that_has_a_value_counts(
    name: str, fields: tuple[str, str], prop: str, value: str, nothing: str | None, lifted: bool
) -> None:
    for wanted, other in (fields, fields[::-1]):
        result = without(EXAMPLES[name], *(field.partition(".")[0] for field in fields))
        if "balance_definition.name" in fields:
            result["balance_definition"] = {"id": "B-1"}
        for field, said in ((other, nothing), (wanted, value)):
            outer, _, inner = field.partition(".")
            result[outer] = {**result.get(outer, {}), inner: said} if inner else said
        event = {**ENVELOPE, "event_name": name, **(result if lifted else {"event_properties": result})}

        update = update_of(event)

        assert update.event is not None
        assert update.event.properties[prop] == value, (wanted, other)
        assert update.field_errors == ()


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_blank_envelope_does_not_hide_what_the_properties_tell(nothing: str | None) -> None:
    values = {**EXAMPLES["voucher_redeemed"], "event_name": "voucher_redeemed", "event_id": "e-9"}
    sent = {**ENVELOPE, "event_name": "", "event_id": nothing, "event_properties": values}

    event = brevo.complete(sent, "", RECEIVED)

    assert brevo.event_id(event) == "e-9"
    assert isinstance(event, dict)
    assert event["event_name"] == "voucher_redeemed"


def test_of_two_spellings_of_a_contact_s_field_the_first_that_has_a_value_counts() -> None:
    rules = BrevoRules(forward_contact_properties=True)
    contact = {"EMAIL": "", "email": "a@example.com", "Email": "b@example.com", "SMS": None, "sms": "4915112345678"}

    update = update_of(delivery("voucher_redeemed", contact_properties=contact), rules)

    assert update.profile == {"email": "a@example.com", "phone": "+4915112345678"}


def test_what_is_personal_in_an_unknown_event_is_left_out_and_reported() -> None:
    values: dict[str, Any] = {
        "points": 5,
        "email": "a@example.com",
        "customer": {"name": "Ann"},
        "rows": [{"phone": "1"}],
    }

    update = update_of({**ENVELOPE, "event_name": "points_doubled", **values})

    assert update.event is not None
    assert update.event.properties.keys() == {"event_id", "event_source", "loyalty_event_type", "points"}
    assert {one.field for one in update.unknown if one.withheld} == {"email", "customer_name", "rows"}


def test_a_time_that_is_wrapped_is_a_property_of_its_own_name() -> None:
    update = update_of(delivery("voucher_redeemed", bonus={"ends": {"$time": "2026-01-01T10:00:00Z"}}))

    assert update.event is not None
    assert update.event.properties["bonus_ends"] == "2026-01-01T10:00:00Z"
