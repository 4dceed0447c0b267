from __future__ import annotations

import dataclasses
import json
import re
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.model import Event, FieldError, Json, MemberUpdate, ProfileField, Purchase
from loyalty_bridge.pipeline.packing import pack
from loyalty_bridge.platforms.base import (
    Accepted,
    Broken,
    Rejected,
    SplitRequired,
    Transient,
    Translation,
    Verdict,
    Wait,
    WireObject,
)
from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus.settings import ConvercusRules
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.platforms.moengage.settings import MoEngageRules
from loyalty_bridge.platforms.punchh import events as punchh
from loyalty_bridge.platforms.punchh.settings import PunchhRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loyalty_bridge.platforms.base import EngagementPlatform

    _: EngagementPlatform = moengage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = NOON.timestamp()
RULES = MoEngageRules()
UNSET = MoEngageRules(removal="unset")
SEND = MoEngageRules(objects="send")
RESOLVED = MoEngageRules(identity_resolution=True)
SINGLE = MoEngageRules(single_calls=True)
SECRET = "jane.doe@example.com"


def update(**changed: Any) -> MemberUpdate:
    return dataclasses.replace(MemberUpdate(event_id="e-1", member="4711", time=NOON), **changed)


def event(properties: Mapping[str, Json] | None = None, **changed: Any) -> Event:
    return dataclasses.replace(Event("tier_changed", NOON, properties or {}), **changed)


def purchase(**changed: Any) -> Purchase:
    return dataclasses.replace(Purchase("tx-1", 12.5, "EUR", NOON), **changed)


def read(item: WireObject | None) -> dict[str, Any]:
    assert item is not None
    found: dict[str, Any] = json.loads(item.body)
    return found


def attributes(rules: MoEngageRules = RULES, **changed: Any) -> dict[str, Json]:
    """Translate attributes, which must not be refused, by their one name."""
    translation = moengage.translate(update(**changed), rules)
    assert translation.field_errors == ()
    return {name: value for (name,), value in translation.attributes.items()}


def properties(given_properties: Mapping[str, Json], rules: MoEngageRules = RULES) -> dict[str, Json]:
    """Translate an event's properties, which must not be refused, and leave the id away."""
    translation = moengage.translate(update(event=event(given_properties)), rules)
    assert translation.field_errors == ()
    found: dict[str, Json] = read(translation.event)["actions"][0]["attributes"]
    return {name: value for name, value in found.items() if name != "event_id"}


def refused(translation: Translation) -> list[tuple[str, str, str]]:
    return [(refusal.part, refusal.field, refusal.reason) for refusal in translation.field_errors]


def read_body(given_properties: Mapping[str, Json]) -> bytes:
    translated = moengage.translate(update(event=event(given_properties)), RULES).event
    assert translated is not None
    return translated.body


# Identity


def test_a_member_is_found_by_its_id() -> None:
    assert moengage.translate(update(), RULES).identity == {"customer_id": "4711"}


@pytest.mark.parametrize(
    "member",
    [
        *[
            "unknown",
            "guest",
            "null",
            "0",
            "1",
            "true",
            "false",
            "user_attribute_unique_id",
            "(empty)",
            "na",
            "n/a",
            "",
        ],
        *["dummy_seller_code", "user_id", "id", "customer_id", "uid", "userid", "none", "-2", "-1", "2"],
        *["NULL", " guest ", "x", "   ", "a" * 513, "a\x00b", "a\ud800"],
    ],
)
def test_an_id_that_moengage_blocks_is_refused(member: str) -> None:
    with pytest.raises(Invalid) as refusal:
        moengage.translate(update(member=member, event=event()), RULES)

    assert refusal.value.field == "member"


@pytest.mark.parametrize(("identified_by", "member"), [("email", "jane@example.com"), ("phone", "+12015550123")])
def test_a_member_known_otherwise_is_refused_unless_the_workspace_resolves_identities(
    identified_by: str, member: str
) -> None:
    known = update(identified_by=identified_by, member=member)

    with pytest.raises(Invalid) as refusal:
        moengage.translate(known, RULES)

    assert refusal.value.field == "member"
    assert moengage.translate(known, RESOLVED).identity == {
        "user_identifiers": {"email": {"u_em": "jane@example.com"}, "phone": {"u_mb": "12015550123"}}[identified_by]
    }


def test_identifiers_are_beside_an_event_and_among_a_users_attributes() -> None:
    known = update(identified_by="email", member="j@x.com", profile={"email": "j@x.com", "city": "Ulm"}, event=event())

    translation = moengage.translate(known, RESOLVED)
    (user,) = moengage.attribute_objects(translation.identity, translation.attributes, RESOLVED)

    assert read(translation.event)["user_identifiers"] == {"u_em": "j@x.com"}
    assert "customer_id" not in read(translation.event)
    assert read(user) == {"type": "customer", "attributes": {"city": "Ulm", "u_em": "j@x.com"}}


@pytest.mark.parametrize("email", ["other@x.com", None])
def test_the_profile_does_not_change_which_user_is_found(email: str | None) -> None:
    known = update(identified_by="email", member="j@x.com", profile={"email": email})

    translation = moengage.translate(known, MoEngageRules(identity_resolution=True, removal="unset"))

    assert translation.attributes == {}
    assert refused(translation) == [("attributes", "profile.email", "would change which user is found")]


# The profile


def test_profile_fields_have_moengages_names_and_forms() -> None:
    profile = {
        "email": "jane@example.com",
        "phone": "+12015550123",
        "first_name": "Jane",
        "last_name": "Doe",
        "birth_date": "1990-05-07",
        "gender": "F",
        "city": "Austin",
        "country": "US",
        "language": "en",
        "email_subscription": "subscribed",
        "push_subscription": "opted_in",
    }

    assert profile.keys() == set(get_args(ProfileField))
    assert attributes(profile=profile) == {
        "u_em": "jane@example.com",
        "u_mb": "12015550123",
        "u_fn": "Jane",
        "u_ln": "Doe",
        "u_bd": "1990-05-07",
        "u_gd": "female",
        "city": "Austin",
        "country": "US",
        "language": "en",
        "moe_unsubscribe": False,
        "push_preference": True,
    }


@pytest.mark.parametrize(
    ("state", "unsubscribed", "wants_push"),
    [("opted_in", False, True), ("subscribed", False, True), ("unsubscribed", True, False)],
)
def test_subscriptions_are_flags(state: str, unsubscribed: bool, wants_push: bool) -> None:
    found = attributes(profile={"email_subscription": state, "push_subscription": state})

    assert found == {"moe_unsubscribe": unsubscribed, "push_preference": wants_push}


@pytest.mark.parametrize(
    ("code", "gender"),
    [("M", "male"), ("F", "female"), ("O", "other"), ("N", "not applicable"), ("P", "prefer not to say")],
)
def test_genders_are_words(code: str, gender: str) -> None:
    assert attributes(profile={"gender": code}) == {"u_gd": gender}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email_subscription", "yes"),
        ("push_subscription", True),
        ("birth_date", "07.05.1990"),
        ("first_name", 1),
        ("last_name", " "),
        ("city", "a\x00"),
        ("email", "a" * 512 + "@x.com"),
    ],
)
def test_a_profile_field_that_would_be_misread_is_refused_and_the_others_go_on(field: str, value: Json) -> None:
    translation = moengage.translate(update(profile={field: value, "country": "US"}), RULES)

    assert [(refusal.part, refusal.field) for refusal in translation.field_errors] == [
        ("attributes", f"profile.{field}")
    ]
    assert translation.attributes == {("country",): "US"}


# Attributes


def test_an_object_that_is_merged_becomes_one_attribute_per_key_whatever_the_workspace_takes() -> None:
    balance = {"convercus_balance": {"points": 5, "status": {"level": 2}}, "convercus_status_level": "Gold"}

    expected = {
        "convercus_balance_points": 5,
        "convercus_balance_status_level": 2,
        "convercus_status_level": "Gold",
    }

    assert attributes(attributes=balance) == expected == attributes(SEND, attributes=balance)


def test_a_time_that_is_wrapped_as_in_braze_is_a_time_under_its_own_name() -> None:
    at: Json = {"$time": "2026-01-01T10:00:00.5+01:00"}
    custom: dict[str, Json] = {"a": at, "b": {"c": {"$time": "2026-01-01"}}, "d": [at, at], "e": [{"f": at}]}
    time = "2026-01-01T09:00:00Z"

    flat = {"a": time, "b_c": "2026-01-01", "d": [time, time], "e_f": [time]}
    assert attributes(custom=custom) == flat
    sent = {"a": time, "b": {"c": "2026-01-01"}, "d": [time, time], "e": [{"f": time}]}
    assert attributes(SEND, custom=custom) == sent


@pytest.mark.parametrize("value", ["soon", 5, None, {}])
def test_what_is_wrapped_as_a_time_and_is_none_is_left_out_alone(value: Json) -> None:
    translation = moengage.translate(update(custom={"a": {"$time": value}, "b": 1}), RULES)

    assert translation.attributes == {("b",): 1}
    assert [(one.field, one.reason) for one in translation.field_errors] == [
        ("custom.a", "is not a time as MoEngage reads it")
    ]


def test_a_custom_object_is_flattened_or_sent() -> None:
    custom = {"car": {"make": "VW", "doors.$n": 4, "none": None, "empty": {}, "owners": [{"name": "J"}]}}

    assert attributes(custom=custom) == {"car_make": "VW", "car_doors__n": 4, "car_owners_name": ["J"]}
    assert attributes(SEND, custom=custom) == {"car": {"make": "VW", "doors__n": 4, "owners": [{"name": "J"}]}}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("shoe size", "shoe_size"),
        (" a.b ", "a_b"),
        ("größe-2", "größe-2"),
        ("a@b/c:d", "a_b_c_d"),
        ("status", "loyalty_status"),
        ("Source", "loyalty_Source"),
        ("user_id", "loyalty_user_id"),
        ("id", "loyalty_id"),
        ("_id", "loyalty__id"),
        ("UPDATE", "loyalty_UPDATE"),
        ("moe_x", "loyalty_moe_x"),
        ("MOE_GAID", "loyalty_MOE_GAID"),
        ("USER_ATTRIBUTE_USER_BDAY", "loyalty_USER_ATTRIBUTE_USER_BDAY"),
        ("moet", "moet"),
        ("n" * 200, "n" * 200),
    ],
)
def test_names_are_made_what_moengage_takes_for_users_and_events(raw: str, name: str) -> None:
    assert attributes(custom={raw: 1}) == {name: 1} == properties({raw: 1})


@pytest.mark.parametrize("raw", ["u_em", "email", "name", "uid", "campaign_name", "addValueToArrayField", "platforms"])
def test_names_of_moengages_own_user_attributes_are_prefixed_for_users_only(raw: str) -> None:
    assert attributes(custom={raw: "x"}) == {f"loyalty_{raw}": "x"}
    assert properties({raw: "x"}) == {raw: "x"}


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"custom": {" ": 1}}, "custom. ", "has no name"),
        ({"custom": {"n" * 201: 1}}, f"custom.{'n' * 64}", "has a name of more than 200 characters"),
        ({"custom": {"moe_" + "n" * 190: 1}}, f"custom.moe_{'n' * 60}", "has a name of more than 200 characters"),
        ({"custom": {"a.b": 1, "a_b": 2}}, "custom.a_b", "has the name of another field"),
        ({"attributes": {"a": {"b": 1}}, "custom": {"a_b": 2}}, "custom.a_b", "has the name of another field"),
        ({"profile": {"city": "Ulm"}, "custom": {"city": "Bonn"}}, "custom.city", "has the name of another field"),
        ({"custom": {"x": float("nan")}}, "custom.x", "is not a finite number"),
        ({"custom": {"x": 2**63}}, "custom.x", "is beyond 64 bits"),
        ({"custom": {"x": "a\ud800"}}, "custom.x", "holds a null byte or a lone surrogate"),
        ({"custom": {"x": "https://x.com/" + "a" * 500}}, "custom.x", "is a link of more than 512 characters"),
        ({"custom": {"x": [0] * 51}}, "custom.x", "has more than 50 elements"),
        ({"custom": {"x": [{"a": 1}, 2]}}, "custom.x", "holds both objects and other values"),
        ({"custom": {"x": ["ü" * 512] * 50}}, "custom.x", "is larger than 25000 bytes"),
        ({"custom": {"x": {"y": {"z": float("inf")}}}}, "custom.x.y.z", "is not a finite number"),
        ({"custom": {"x": [{"y": 2**64}]}}, "custom.x[].y", "is beyond 64 bits"),
    ],
)
def test_what_breaks_a_limit_is_refused_by_its_field_and_the_rest_goes_on(
    changed: dict[str, Any], field: str, reason: str
) -> None:
    given_custom = {**changed.get("custom", {}), "rest": 1}

    translation = moengage.translate(update(**{**changed, "custom": given_custom}), RULES)

    assert refused(translation) == [("attributes", field, reason)]
    assert translation.attributes[("rest",)] == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({f"k{n}": n for n in range(101)}, "has more than 100 keys"),
        ({"k": {f"k{n}": n for n in range(100)}}, "has more than 100 keys"),
        ([{"k": 1}] * 101, "has more than 100 objects"),
        ({f"k{n}": "x" * 500 for n in range(60)}, "is larger than 25000 bytes"),
        ({"n" * 201: 1}, "has a name of more than 200 characters"),
        ({"a.b": 1, "a$b": 2}, "has the name of another field"),
    ],
)
def test_an_object_beyond_the_limits_of_objects_is_refused(value: Json, reason: str) -> None:
    translation = moengage.translate(update(custom={"x": value}, event=event({"x": value})), SEND)

    assert {(refusal.part, refusal.reason) for refusal in translation.field_errors} == {
        ("attributes", reason),
        ("event", reason),
    }
    assert translation.attributes == {}


@pytest.mark.parametrize("value", [[{"k": 1}] * 100, {f"k{n}": n for n in range(100)}])
def test_an_object_at_the_limits_of_objects_is_sent(value: Json) -> None:
    assert attributes(SEND, custom={"x": value}) == {"x": value}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("x" * 513, "x" * 512),
        ("", ""),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (True, True),
        (12.5, 12.5),
        ([1, 2], [1, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, "a", True, None], ["1", "a", "true"]),
        ([True, False], ["true", "false"]),
        ([["a"], ["b", ["c"]]], ["a", "b", "c"]),
        (["x" * 600], ["x" * 512]),
        (["x"] * 50, ["x"] * 50),
        ("2020-07-23T07:01:11-07:00", "2020-07-23T14:01:11Z"),
        ("2020-07-23T07:01:11.123Z", "2020-07-23T07:01:11Z"),
        ("2021-07-17 02:13:00 -0700", "2021-07-17T09:13:00Z"),
        ("2021-07-17 02:13:00 UTC", "2021-07-17T02:13:00Z"),
        ("2021-07-17T02:13", "2021-07-17T02:13:00Z"),
        ("2021-07-17", "2021-07-17"),
        ("2021-15-17T02:13:00Z", "2021-15-17T02:13:00Z"),
        ("0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00+05:00"),
        ("at 2021-07-17T02:13:00Z", "at 2021-07-17T02:13:00Z"),
        (["2021-07-17T02:13:00+00:00"], ["2021-07-17T02:13:00Z"]),
    ],
)
def test_values_are_made_what_moengage_takes_for_users_and_events(value: Json, sent: Json) -> None:
    assert attributes(custom={"x": value}) == {"x": sent}
    assert properties({"x": value}) == {"x": sent}
    assert json.dumps(attributes(custom={"x": value})["x"]) == json.dumps(sent)


def test_an_array_of_objects_becomes_an_array_per_key() -> None:
    items: list[Json] = [{"name": "Bowl", "qty": 1, "tags": ["a", "b"]}, {"name": "Tea", "qty": 2.5, "size": {"ml": 5}}]

    assert properties({"items": items}) == {
        "items_name": ["Bowl", "Tea"],
        "items_qty": [1.0, 2.5],
        "items_tags": ["a", "b"],
        "items_size_ml": [5],
    }
    assert properties({"items": items}, SEND) == {"items": items}


# Removing values


def test_a_removed_text_of_the_profile_becomes_blank_and_other_values_stay() -> None:
    gone = update(
        profile=dict.fromkeys(get_args(ProfileField)), attributes={"points": None}, custom={"x": None, "y": []}
    )

    translation = moengage.translate(gone, RULES)
    (user,) = moengage.attribute_objects(translation.identity, translation.attributes, RULES)

    assert translation.field_errors == ()
    assert read(user) == {
        "type": "customer",
        "customer_id": "4711",
        "attributes": dict.fromkeys(["u_em", "u_mb", "u_fn", "u_ln", "u_gd", "city", "country", "language"], ""),
    }


def test_a_removed_value_is_unset_where_the_workspace_can() -> None:
    gone = update(profile={"phone": None, "email_subscription": None, "city": "Ulm"}, custom={"x": None, "y": []})

    translation = moengage.translate(gone, UNSET)
    (user,) = moengage.attribute_objects(translation.identity, translation.attributes, UNSET)

    assert read(user) == {
        "type": "customer",
        "customer_id": "4711",
        "attributes": {"city": "Ulm"},
        "unset_attributes": [
            {"type": "equals", "attr": "u_mb", "case_sensitive": True},
            {"type": "equals", "attr": "x", "case_sensitive": True},
            {"type": "equals", "attr": "y", "case_sensitive": True},
        ],
    }


# Wire objects


def test_attributes_become_one_user() -> None:
    values: dict[tuple[str, ...], Json] = {("u_fn",): "Jane", ("balance", "points"): 5}

    (user,) = moengage.attribute_objects({"customer_id": "4711"}, values, MoEngageRules(update_existing_only=True))

    assert user.array == "customer"
    assert read(user) == {
        "type": "customer",
        "customer_id": "4711",
        "update_existing_only": True,
        "attributes": {"u_fn": "Jane", "balance_points": 5},
    }


def test_no_values_are_no_object() -> None:
    assert moengage.attribute_objects({"customer_id": "4711"}, {}, RULES) == []


def test_attributes_beyond_a_request_become_several_users() -> None:
    values: dict[tuple[str, ...], Json] = {(f"a{n}",): ["ü" * 120] * 50 for n in range(30)}

    users = moengage.attribute_objects({"customer_id": "4711"}, values, RULES)

    sent: dict[str, Json] = {}
    for user in users:
        assert len(user.body) <= 99_965
        assert read(user)["customer_id"] == "4711"
        sent |= read(user)["attributes"]
    assert len(users) > 1
    assert sent == {name: value for (name,), value in values.items()}


def test_an_event_carries_its_id_and_its_time() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=2))).replace(microsecond=900_000)
    source = event({"level": "Gold", "none": None, "empty": [], "until": NOON.isoformat()}, time=east)

    translation = moengage.translate(update(event=source), RULES)

    assert translation.event is not None
    assert translation.event.array == "event"
    assert translation.event.body.startswith(b'{"type":"event","customer_id":"4711",')
    assert read(translation.event) == {
        "type": "event",
        "customer_id": "4711",
        "actions": [
            {
                "action": "tier_changed",
                "current_time": "2026-03-01T12:00:00Z",
                "attributes": {"event_id": "e-1", "level": "Gold", "until": "2026-03-01T12:00:00Z"},
            }
        ],
    }
    assert translation.field_errors == ()


def test_the_sources_own_event_id_wins() -> None:
    translation = moengage.translate(update(event_id="e-1/4711", event=event({"event_id": "e-1"})), RULES)

    assert read(translation.event)["actions"][0]["attributes"] == {"event_id": "e-1"}


@pytest.mark.parametrize(
    ("name", "action"),
    [("a.b c", "a_b_c"), ("moe_click", "loyalty_moe_click"), ("n" * 200, "n" * 200), ("größe!", "größe_")],
)
def test_an_events_name_is_made_what_moengage_takes(name: str, action: str) -> None:
    assert read(moengage.translate(update(event=event(name=name)), RULES).event)["actions"][0]["action"] == action


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"time": NOON.replace(tzinfo=None)}, "time"),
        ({"time": datetime.max.replace(tzinfo=timezone(-timedelta(hours=2)))}, "time"),
    ],
)
def test_an_event_without_a_usable_name_or_time_is_refused_and_the_attributes_go_on(
    changed: dict[str, Any], field: str
) -> None:
    translation = moengage.translate(update(event=event(**changed), custom={"x": 1}), RULES)

    assert translation.event is None
    assert [(refusal.part, refusal.field) for refusal in translation.field_errors] == [("event", f"event.{field}")]
    assert translation.attributes == {("x",): 1}


def test_of_too_many_properties_the_first_are_sent_and_the_others_reported() -> None:
    translation = moengage.translate(update(event=event({f"p{n}": n for n in range(102)})), RULES)

    sent = read(translation.event)["actions"][0]["attributes"]
    assert list(sent) == ["event_id", *(f"p{n}" for n in range(99))]
    assert refused(translation) == [
        ("event", f"event.properties.p{n}", "comes after 100 others") for n in (99, 100, 101)
    ]


def test_of_too_large_an_event_the_largest_properties_are_left_out_and_reported() -> None:
    large: dict[str, Json] = {f"large{n}": ["x" * 450] * 50 for n in range(5)}
    source = event({"small": 1, **large, "larger": ["x" * 460] * 50})

    translation = moengage.translate(update(event=source), RULES)

    assert translation.event is not None
    assert len(translation.event.body) <= 99_965
    assert list(read(translation.event)["actions"][0]["attributes"]) == ["event_id", "small", *list(large)[1:]]
    assert refused(translation) == [
        ("event", f"event.properties.{name}", "makes the event larger than 100000 bytes")
        for name in ("larger", "large0")
    ]


def test_an_event_may_fill_a_bulk_import_to_the_last_byte() -> None:
    large: dict[str, Json] = {f"p{n}": ["x" * 480] * 50 for n in range(4)}
    room = 100_000 - len(moengage.body([WireObject("event", b""), WireObject("event", b"")])) + 1
    empty = len(read_body(large))
    count, rest = divmod(room - empty, 200)
    texts: dict[str, Json] = {f"t{n:02}": "x" * (200 - len(',"t00":""')) for n in range(count)}

    full = moengage.translate(update(event=event({**large, **texts, "t00": "x" * (191 + rest)})), RULES)
    over = moengage.translate(update(event=event({**large, **texts, "t00": "x" * (192 + rest)})), RULES)

    assert full.event is not None
    assert (len(full.event.body), full.field_errors) == (room, ())
    assert len(over.field_errors) == 1


def test_an_event_id_that_is_no_text_is_replaced_by_the_updates() -> None:
    translation = moengage.translate(update(event=event({"event_id": {"a": 1}})), RULES)

    assert read(translation.event)["actions"][0]["attributes"] == {"event_id": "e-1"}
    assert refused(translation) == [("event", "event.properties.event_id", "is not a text")]


def test_a_purchase_becomes_an_event_with_a_fixed_name() -> None:
    bought = purchase(properties={"store": "Ulm", "status": "done", "price": "12.50 EUR", "event_id": "e-0"})

    translation = moengage.translate(update(purchase=bought), RULES)

    assert translation.event is None
    assert read(translation.purchase) == {
        "type": "event",
        "customer_id": "4711",
        "actions": [
            {
                "action": "loyalty_purchase",
                "current_time": "2026-03-01T12:00:00Z",
                "attributes": {
                    "event_id": "e-0",
                    "product_id": "tx-1",
                    "price": 12.5,
                    "quantity": 1,
                    "currency": "EUR",
                    "store": "Ulm",
                    "loyalty_status": "done",
                    "loyalty_price": "12.50 EUR",
                },
            }
        ],
    }


def test_a_reversal_has_a_negative_price() -> None:
    translation = moengage.translate(update(purchase=purchase(price=-12.5)), RULES)

    assert read(translation.purchase)["actions"][0]["attributes"]["price"] == -12.5


def test_a_refusal_of_a_purchase_is_reported_as_one() -> None:
    translation = moengage.translate(update(purchase=purchase(properties={"x": [0] * 51})), RULES)

    assert refused(translation) == [("purchase", "purchase.properties.x", "has more than 50 elements")]
    assert translation.purchase is not None


def test_refusals_of_the_source_come_first() -> None:
    earlier = FieldError("attributes", "payload.phone", "is not a phone number")

    translation = moengage.translate(update(field_errors=(earlier,), custom={"x": 2**64}), RULES)

    assert translation.field_errors == (earlier, FieldError("attributes", "custom.x", "is beyond 64 bits"))


@pytest.mark.parametrize("module", [moengage, braze])
def test_long_names_are_refused_and_not_remembered(module: Any) -> None:
    names = [f"{number}{'x' * 100_000}" for number in range(20)]
    values: dict[str, Json] = {name: {name: [1], "rows": [{name: 1}]} for name in names}

    tracemalloc.start()
    translation = module.translate(update(custom=values, event=Event("e", NOON, values)), module.SETTINGS().rules)
    field_errors = len(translation.field_errors)
    del translation
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert field_errors >= 40
    assert kept < 500_000


# Requests


def test_a_single_object_is_posted_to_its_own_endpoint_and_several_as_a_bulk_import() -> None:
    user, happened = WireObject("customer", b'{"a":1}'), WireObject("event", b'{"b":2}')

    assert (moengage.path([user]), moengage.body([user])) == ("customer", b'{"a":1}')
    assert (moengage.path([happened]), moengage.body([happened])) == ("event", b'{"b":2}')
    assert moengage.path([user, happened]) == "transition"
    assert moengage.body([user, happened]) == b'{"type":"transition","elements":[{"a":1},{"b":2}]}'


@pytest.mark.parametrize("size", [100, 333, 9_996, 33_321, 33_322, 49_982, 50_000, 99_965])
def test_packed_requests_are_full_and_at_most_100_000_bytes(size: int) -> None:
    items = [WireObject("event", b"x" * size) for _ in range(250)]

    (requests,) = pack([[item] for item in items], lambda one: moengage.weigh(one, RULES), moengage.capacity(RULES))

    bodies = [moengage.body(request) for request in requests]
    assert max(map(len, bodies)) <= 100_000
    assert all(len(one) + size + 1 > 100_000 for one in bodies[:-1])


def test_single_calls_hold_one_object_each() -> None:
    items = [WireObject("event", b"x" * size) for size in (10, 99_965)]

    (requests,) = pack([[item] for item in items], lambda one: moengage.weigh(one, SINGLE), moengage.capacity(SINGLE))

    assert sorted(len(request) for request in requests) == [1, 1]


# Replies


def reply(status: int, body: object = None, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


def failed(kind: str, **more: str) -> dict[str, Json]:
    error = {"message": f"{SECRET} is wrong", "type": kind, "request_id": "ZbPXtKFL", **more}
    return {"status": "fail", "error": error}


PAGE = b"<html><body>jane.doe@example.com Bad Gateway</body></html>"
TAKEN = {"status": "success", "message": "Your request has been accepted and will be processed soon."}
APP_ID = failed("InvalidParams", message="Given app_id is invalid.")
TOO_LARGE = failed("PayloadTooLarge")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (reply(200, TAKEN), Accepted()),
        (reply(200, {**TAKEN, "request_id": "kXwpDESb"}), Accepted()),
        (reply(202, b""), Accepted()),
        (reply(200, {"status": "success"}), Accepted()),
        (reply(200, []), Transient("200", is_unknown=True)),
        (reply(200, {}), Transient("200", is_unknown=True)),
        (reply(200, {"message": "ok"}), Transient("200", is_unknown=True)),
        (reply(200, PAGE), Transient("200, not JSON", is_unknown=True)),
        (reply(200, failed("ServerError")), Transient("200, ServerError, request ZbPXtKFL")),
        (reply(200, failed("RateLimitError")), Wait(None, "200, RateLimitError, request ZbPXtKFL")),
        (reply(200, TOO_LARGE), SplitRequired("200, PayloadTooLarge, request ZbPXtKFL")),
        (reply(200, failed("AttributeError")), Rejected("200, AttributeError, request ZbPXtKFL")),
        (reply(200, failed("Blacklisted")), Broken("200, Blacklisted, request ZbPXtKFL")),
        (
            reply(400, failed("MissingAttributeError", attribute="customer_id")),
            Rejected("400, MissingAttributeError, attribute customer_id, request ZbPXtKFL"),
        ),
        (reply(400, failed("Malformed JSON")), Rejected("400, Malformed JSON, request ZbPXtKFL")),
        (reply(400, failed("ArrayFieldError")), Rejected("400, ArrayFieldError, request ZbPXtKFL")),
        (reply(400, failed("InvalidParams")), Rejected("400, InvalidParams, request ZbPXtKFL")),
        (reply(400, {"status": "fail", "error": "no"}), Rejected("400")),
        (reply(400, []), Rejected("400")),
        (reply(422, failed("TypeError")), Rejected("422, TypeError, request ZbPXtKFL")),
        (reply(400, PAGE), Transient("400, not JSON")),
        (reply(400, APP_ID), Broken("400, InvalidParams, request ZbPXtKFL")),
        (reply(400, failed("Blacklisted")), Broken("400, Blacklisted, request ZbPXtKFL")),
        (reply(400, failed("ParamsRequired")), Broken("400, ParamsRequired, request ZbPXtKFL")),
        (reply(400, failed("Missing header value")), Broken("400, Missing header value, request ZbPXtKFL")),
        (reply(401, failed("Authentication required")), Broken("401, Authentication required, request ZbPXtKFL")),
        (reply(400, failed("Authentication required")), Broken("400, Authentication required, request ZbPXtKFL")),
        (reply(401, b""), Broken("401")),
        (reply(403, failed("BlockedClient")), Broken("403, BlockedClient, request ZbPXtKFL")),
        (reply(403, failed("Account Suspended")), Broken("403, Account Suspended, request ZbPXtKFL")),
        (
            reply(403, failed("Account Temporarily Suspended")),
            Broken("403, Account Temporarily Suspended, request ZbPXtKFL"),
        ),
        (reply(403, {"error": "IP Validation Required"}), Broken("403")),
        (reply(403, PAGE), Broken("403, not JSON")),
        (reply(301, b"", location="https://elsewhere"), Broken("301")),
        (reply(404, PAGE), Broken("404, not JSON")),
        (reply(405, b""), Broken("405")),
        (reply(409, failed("Authentication Mismatch")), Broken("409, Authentication Mismatch, request ZbPXtKFL")),
        (reply(415, failed("MediaTypeError")), Broken("415, MediaTypeError, request ZbPXtKFL")),
        (reply(413, TOO_LARGE), SplitRequired("413, PayloadTooLarge, request ZbPXtKFL")),
        (reply(413, PAGE), SplitRequired("413, not JSON")),
        (reply(408, b""), Transient("408")),
        (reply(418, {}), Transient("418")),
        (reply(500, failed("ServerError")), Transient("500, ServerError, request ZbPXtKFL", is_unknown=True)),
        (reply(502, PAGE), Transient("502, not JSON", is_unknown=True)),
        (reply(503, b""), Transient("503")),
        (reply(504, b"\xff{"), Transient("504, not JSON", is_unknown=True)),
        (reply(500, b"[" * 100_000), Transient("500, not JSON", is_unknown=True)),
        (reply(429, failed("RateLimitError")), Wait(None, "429, RateLimitError, request ZbPXtKFL")),
        (reply(429, {"status": 429, "title": "Too many", "description": SECRET}), Wait(None, "429")),
    ],
)
def test_every_reply_is_judged_without_repeating_what_was_sent(answer: Reply, verdict: Verdict) -> None:
    several = [WireObject("event", b"{}")] * 2

    found = moengage.judge(answer, several, NOW)

    assert found == verdict
    assert SECRET not in repr(found)


@pytest.mark.parametrize("answer", [reply(400, failed("AttributeError")), reply(413, TOO_LARGE), reply(413, PAGE)])
def test_of_a_single_call_the_object_is_the_culprit(answer: Reply) -> None:
    verdict = moengage.judge(answer, [WireObject("event", b"{}")], NOW)

    assert isinstance(verdict, Rejected)
    assert verdict.rejected == {0: verdict.reason}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x_ratelimit_reset": "30"}, 30.0),
        ({"x_ratelimit_reset": str(int(NOW) + 42)}, 42.0),
        ({"x_ratelimit_reset": str(int(NOW) - 1)}, 0.0),
        ({"x_ratelimit_reset": " 0.5 "}, 0.5),
        ({"retry_after": "7", "x_ratelimit_reset": "30"}, 7.0),
        ({"retry_after": "Sun, 01 Mar 2026 12:01:00 GMT", "x_ratelimit_reset": "30"}, 60.0),
        ({"retry_after": "9" * 400, "x_ratelimit_reset": "30"}, 30.0),
        ({"x_ratelimit_reset": "999999"}, 3600.0),
        ({"x_ratelimit_reset": "soon"}, None),
        ({"x_ratelimit_reset": "-3"}, None),
        ({"x_ratelimit_reset": "nan"}, None),
        ({"x_ratelimit_remaining": "0"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_reported_in_seconds_or_as_an_epoch(headers: dict[str, str], seconds: float | None) -> None:
    verdict = moengage.judge(reply(429, failed("RateLimitError"), **headers), [], NOW)

    assert isinstance(verdict, Wait)
    assert verdict.seconds == seconds


@pytest.mark.parametrize("key", ["type", "attribute", "request_id"])
@pytest.mark.parametrize("value", [SECRET, "+12015550123", "x" * 1000, 12015550123, {"a": SECRET}, "a\nb: c"])
def test_what_does_not_look_like_a_part_of_an_error_is_not_repeated(key: str, value: Any) -> None:
    verdict = moengage.judge(reply(400, {"error": {key: value}}), [], NOW)

    assert verdict == Rejected("400")


# Any source, by configuration alone


def test_a_convercus_transaction_goes_to_moengage() -> None:
    transaction: dict[str, Json] = {
        "eventId": "E-1",
        "eventType": "account_transaction",
        "occurredAt": "2026-03-01T12:00:00Z",
        "accountId": "4711",
        "payload": {
            "transactionId": "T-1",
            "transactionType": "EARNTRANSACTION",
            "amount": 12.5,
            "currencyCode": "EUR",
            "status": "BOOKED",
            "lineItems": [{"sku": "a", "price": 5}, {"sku": "b", "price": 7.5}],
        },
    }
    result = convercus.read(transaction, ConvercusRules(), member="4711", received=NOON)

    translation = moengage.translate(result, RULES)

    assert translation.field_errors == ()
    assert read(translation.event)["actions"] == [
        {
            "action": "convercus_account_transaction",
            "current_time": "2026-03-01T12:00:00Z",
            "attributes": {
                "event_id": "E-1",
                "transactionId": "T-1",
                "transactionType": "EARNTRANSACTION",
                "amount": 12.5,
                "currencyCode": "EUR",
                "loyalty_status": "BOOKED",
                "lineItems_sku": ["a", "b"],
                "lineItems_price": [5.0, 7.5],
            },
        }
    ]
    assert read(translation.purchase)["actions"][0]["action"] == "loyalty_purchase"
    assert translation.attributes[("convercus_account_id",)] == "4711"


def test_a_punchh_reward_goes_to_moengage() -> None:
    reward: dict[str, Json] = {
        "content_id": "c-1",
        "timestamp": 1772366400,
        "business_id": 7,
        "business_uuid": "b-uuid",
        "event_name": "rewards",
        "event_type": "",
        "action": "create",
        "payload": {
            "name": "Free Burger",
            "status": "unredeemed",
            "becomes_available_at": "2026-03-01T05:00:00-07:00",
            "user": {
                "user_id": 111111111,
                "external_source_id": "C-1",
                "first_name": "Jane",
                "phone": None,
                "account_balance": {"net_balance": 5, "total_debits": "1.5"},
            },
        },
    }
    result = punchh.read(reward, PunchhRules(), member="C-1", received=NOON)

    translation = moengage.translate(result, RULES)
    (user,) = moengage.attribute_objects(translation.identity, translation.attributes, RULES)

    assert translation.field_errors == ()
    assert json.loads(moengage.body([user, translation.event or user])) == {
        "type": "transition",
        "elements": [
            {
                "type": "customer",
                "customer_id": "C-1",
                "attributes": {
                    "u_fn": "Jane",
                    "u_mb": "",
                    "punchh_user_id": 111111111,
                    "punchh_account_balance_net_balance": 5,
                    "punchh_account_balance_total_debits": 1.5,
                },
            },
            {
                "type": "event",
                "customer_id": "C-1",
                "actions": [
                    {
                        "action": "rewards",
                        "current_time": "2026-03-01T12:00:00Z",
                        "attributes": {
                            "event_id": "c-1",
                            "action": "create",
                            "business_id": 7,
                            "business_uuid": "b-uuid",
                            "punchh_user_id": 111111111,
                            "name": "Free Burger",
                            "punchh_status": "unredeemed",
                            "becomes_available_at": "2026-03-01T12:00:00Z",
                            "user_external_source_id": "C-1",
                            "user_first_name": "Jane",
                            "user_account_balance_net_balance": 5,
                            "user_account_balance_total_debits": 1.5,
                        },
                    }
                ],
            },
        ],
    }


# Any update at all: whatever is sent obeys the documented limits


def check_name(name: str) -> None:
    assert 0 < len(name) <= 200
    assert not set(name) & set("$.%#<>+!`&*|{}?\"=/:\\@' \t\n\x00")
    assert not name.lower().startswith(("moe_", "user_attribute_"))
    assert name.lower() not in {"id", "_id", "status", "user_id", "source", "install", "update"}


def check_value(value: Any, *, objects: bool) -> None:
    if isinstance(value, dict):
        assert objects
        assert value
        assert len(json.dumps(value, ensure_ascii=False).encode()) <= 27_000  # with blanks after separators
        for name, item in value.items():
            assert not set(name) & set("$.%#")
            check_value(item, objects=True)
    elif isinstance(value, list):
        assert value
        assert len(value) <= (100 if isinstance(value[0], dict) else 50)
        kinds = {"number" if isinstance(item, int | float) else type(item).__name__ for item in value}
        assert len(kinds) == 1
        assert kinds <= {"number", "str", "dict"}
        assert not any(isinstance(item, bool) for item in value)
        for item in value:
            check_value(item, objects=objects)
    elif isinstance(value, str):
        assert len(value) <= 512
        value.encode()
        if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
    else:
        assert isinstance(value, bool | int | float)
        assert isinstance(value, float) or -(2**63) <= value < 2**63


def check_element(element: dict[str, Any], rules: MoEngageRules) -> None:
    objects = rules.objects == "send"
    assert len(element["customer_id"]) > 1
    if element["type"] == "event":
        assert element.keys() == {"type", "customer_id", "actions"}
        (action,) = element["actions"]
        assert action.keys() == {"action", "attributes", "current_time"}
        check_name(action["action"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", action["current_time"])
        assert 0 < len(action["attributes"]) <= 100
        assert "event_id" in action["attributes"]
        fields = action["attributes"]
    else:
        assert element["type"] == "customer"
        assert element.keys() <= {"type", "customer_id", "attributes", "unset_attributes"}
        fields = element["attributes"]
        gone = [rule["attr"] for rule in element.get("unset_attributes", [])]
        assert not set(gone) & fields.keys()
        assert not gone or rules.removal == "unset"
        for flag in ("moe_unsubscribe", "push_preference"):
            assert isinstance(fields.pop(flag, True), bool)
            assert flag not in gone
    for name, value in fields.items():
        check_name(name)
        check_value(value, objects=objects)


_TEXTS = (
    st.text(max_size=10)
    | st.sampled_from(["x" * 600, "https://x.com/" + "x" * 600, "\ud800", "\x00", "2026-03-01T12:00:00+02:00"])
    | st.sampled_from(["2026-03-01 12:00:00.5", "2026-03-01T12:00:00Z", "opted_in", "unsubscribed", "M"])
)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | _TEXTS
_NAMES = (
    st.text(max_size=5)
    | st.sampled_from(["status", "moe_x", "USER_ATTRIBUTE_X", "a.b", "a b", "event_id", "id", "u_em", "n" * 210])
    | st.sampled_from(["moe_unsubscribe", "loyalty_status", "", ".", "price", "\ud800"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.sampled_from([1, True, "a"]).map(lambda item: [item] * 60)
        | st.dictionaries(_NAMES, inner, max_size=4)
    ),
    max_leaves=12,
)
_FIELDS = st.dictionaries(_NAMES, _VALUES, max_size=6)
_TIMES = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-9))))
_UPDATES = st.builds(
    MemberUpdate,
    event_id=st.text(min_size=1, max_size=40),
    member=st.sampled_from(["4711", "guest", "\ud800\ud800", "jane@example.com"]),
    time=st.just(NOON),
    profile=st.dictionaries(st.sampled_from(get_args(ProfileField)), _SCALARS, max_size=5),
    attributes=_FIELDS,
    custom=_FIELDS,
    event=st.none() | st.builds(Event, _NAMES, _TIMES, _FIELDS),
    purchase=st.none() | st.builds(Purchase, _TEXTS, st.floats(), _TEXTS, _TIMES, st.integers(), _FIELDS),
)


@given(_UPDATES, st.sampled_from([RULES, UNSET, SEND]))
def test_whatever_is_sent_obeys_the_limits_and_what_is_not_is_reported(
    update: MemberUpdate, rules: MoEngageRules
) -> None:
    try:
        translation = moengage.translate(update, rules)
    except Invalid:
        assert update.member in {"guest", "\ud800\ud800"}
        return

    users = moengage.attribute_objects(translation.identity, translation.attributes, rules)
    items = [*users, *(one for one in (translation.event, translation.purchase) if one)]
    for item in items:
        assert len(item.body) <= 99_965
        check_element(json.loads(item.body), rules)
    assert bool(users) == bool(translation.attributes)
    for part, given_part, sent in (
        ("event", update.event, translation.event),
        ("purchase", update.purchase, translation.purchase),
    ):
        assert given_part is None or sent or any(refusal.part == part for refusal in translation.field_errors)
    for refusal in translation.field_errors:
        assert len(refusal.field) < 700


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (reply(200, {"status": "Success"}), Accepted()),
        (reply(202, {"status": "SUCCESS"}), Accepted()),
        (reply(200, {"status": "failure"}), Rejected("200")),
        (reply(200, {"status": "Error"}), Rejected("200")),
        (reply(400, failed("BlockedClient")), Broken("400, BlockedClient, request ZbPXtKFL")),
        (reply(400, failed("Account Suspended")), Broken("400, Account Suspended, request ZbPXtKFL")),
    ],
)
def test_an_outcome_counts_in_any_case_and_a_suspended_account_loses_nothing(answer: Reply, verdict: Verdict) -> None:
    assert moengage.judge(answer, [WireObject("event", b"{}")] * 2, NOW) == verdict
