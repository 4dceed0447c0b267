from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.model import Event, FieldError, Json, MemberUpdate, ProfileField, Purchase
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
from loyalty_bridge.platforms.braze.settings import BrazeRules
from simulators import braze_values

if TYPE_CHECKING:
    from loyalty_bridge.platforms.base import EngagementPlatform

    _: EngagementPlatform = braze

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = NOON.timestamp()
RULES = BrazeRules()
ALIAS = BrazeRules(identifier_type="user_alias")
KEY = "0a1b2c3d-secret-api-key"


def update(**changed: Any) -> MemberUpdate:
    return dataclasses.replace(MemberUpdate(event_id="e-1", member="4711", time=NOON), **changed)


def event(**changed: Any) -> Event:
    return dataclasses.replace(Event("tier_changed", NOON), **changed)


def purchase(**changed: Any) -> Purchase:
    return dataclasses.replace(Purchase("tx-1", 12.5, "EUR", NOON), **changed)


def read(item: WireObject | None) -> dict[str, Any]:
    assert item is not None
    found: dict[str, Any] = json.loads(item.body)
    return found


def refused(translation: Translation) -> set[tuple[str, str]]:
    return {(refusal.part, refusal.field) for refusal in translation.field_errors}


def objects(*arrays: str) -> list[WireObject]:
    return [WireObject(array, b"{}") for array in arrays]


def reply(status: int, body: object = None, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


# Identity


@pytest.mark.parametrize(
    ("rules", "changed", "expected"),
    [
        (RULES, {}, {"external_id": "4711"}),
        (BrazeRules(update_existing_only=True), {}, {"external_id": "4711", "_update_existing_only": True}),
        (
            ALIAS,
            {"member_label": "convercus_account_id"},
            {
                "user_alias": {"alias_name": "4711", "alias_label": "convercus_account_id"},
                "_update_existing_only": False,
            },
        ),
        (
            BrazeRules(identifier_type="user_alias", alias_label="card", update_existing_only=True),
            {"member_label": "convercus_account_id"},
            {"user_alias": {"alias_name": "4711", "alias_label": "card"}, "_update_existing_only": True},
        ),
        (ALIAS, {"member": "a@example.com", "identified_by": "email"}, {"email": "a@example.com"}),
        (RULES, {"member": "+4915112345678", "identified_by": "phone"}, {"phone": "+4915112345678"}),
        (RULES, {"member": "ä" * 493}, {"external_id": "ä" * 493}),
        (
            ALIAS,
            {"member": "ä" * 118},
            {
                "user_alias": {"alias_name": "ä" * 118, "alias_label": "loyalty_member_id"},
                "_update_existing_only": False,
            },
        ),
    ],
)
def test_the_member_is_identified_the_same_way_in_every_object(
    rules: BrazeRules, changed: dict[str, Any], expected: dict[str, Json]
) -> None:
    given_update = update(**changed, custom={"a": 1}, event=event(), purchase=purchase())

    translation = braze.translate(given_update, rules)

    sent = [
        *braze.attribute_objects(translation.identity, translation.attributes, rules),
        translation.event,
        translation.purchase,
    ]
    assert translation.identity == expected
    assert all(expected.items() <= read(item).items() for item in sent)


@pytest.mark.parametrize(
    ("rules", "changed"),
    [
        (RULES, {"member": ""}),
        (RULES, {"member": "  "}),
        (RULES, {"member": "ä" * 494}),
        (RULES, {"member": "a\ud800"}),
        (ALIAS, {"member": "ä" * 119}),
        (ALIAS, {"member": " "}),
        (RULES, {"member": "nobody", "identified_by": "email"}),
        (RULES, {"member": "0151 12345678", "identified_by": "phone"}),
    ],
)
def test_a_member_without_a_usable_identifier_is_refused_without_reporting_it(
    rules: BrazeRules, changed: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as raised:
        braze.translate(update(**changed), rules)

    assert raised.value.field == "member"
    assert not changed["member"].strip() or changed["member"] not in str(raised.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_objects": 76},
        {"max_objects": 0},
        {"alias_label": ""},
        {"alias_label": "x" * 237},
        {"purchase_product_id": " "},
        {"purchase_product_id": "x" * 256},
        {"identifier_type": "braze_id"},
        {"object_limit": "none"},
    ],
)
def test_settings_beyond_the_limits_of_braze_are_not_accepted(changed: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(changed))):
        msgspec.convert(changed, BrazeRules)


# Attributes


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("email", "a@example.com", "email"),
        ("phone", "+4915112345678", "phone"),
        ("first_name", "Zoë", "first_name"),
        ("last_name", "x" * 255, "last_name"),
        ("birth_date", "1980-02-29", "dob"),
        ("gender", "P", "gender"),
        ("city", "Köln", "home_city"),
        ("country", "DE", "country"),
        ("language", "de", "language"),
        ("email_subscription", "opted_in", "email_subscribe"),
        ("push_subscription", "unsubscribed", "push_subscribe"),
    ],
)
def test_a_profile_field_gets_the_name_that_braze_has_for_it(field: str, value: str, name: str) -> None:
    written = braze.translate(update(profile={field: value}), RULES)
    removed = braze.translate(update(profile={field: None}), RULES)

    assert written.attributes == {(name,): value}
    assert removed.attributes == {(name,): None}


TAKEN_ADDRESSES = [
    "a@example.com",
    "A@Example.COM",
    "ann.lee+tag@example.com",
    "o'neil@example.com",
    "$x^y|z~@example.com",
    "a..b@example.com",
    "_a-@example.com",
    "/a#b&c@example.com",
    "ünïcode@example.com",
    "用户@example.com",
    "☃@example.com",
    "ab@gmail.com",
    "a@mail.example",
    "x1.y_z@outlook.com",
    "_a+b'c@live.de",
    "a@xn--mnchen-3ya.example",
    f"{'x' * 64}@example.com",
    "a@1.2.3.example",
    "a@example.c0m",
]
REFUSED_ADDRESSES = [
    "a@b",
    "@example.com",
    "a@",
    "a.example.com",
    ".a@example.com",
    "a.@example.com",
    'a"b@example.com',
    "a b@example.com",
    "a\u00a0b@example.com",
    "a\u3000b@example.com",
    "a(b)@example.com",
    "{a}@example.com",
    "a,b@example.com",
    "a<b@example.com",
    f"{'x' * 65}@example.com",
    "a@127.0.0.1",
    "a@[127.0.0.1]",
    "a@example.123",
    "a@-example.com",
    "a@example-.com",
    "a@exa_mple.com",
    "a@example..com",
    "a@example.com.",
    f"a@{'x' * 64}.com",
    "a@gmail.com",
    "é@googlemail.com",
    "o'neil@hotmail.com",
    "a..b@outlook.de",
    "-a@msn.com",
    "a.@live.com",
    "ünï@hotmail.co.uk",
    "a@ex\u00e4mple",
    "a@b@example.com",
]


@pytest.mark.parametrize("address", TAKEN_ADDRESSES)
def test_an_address_that_braze_takes_is_sent(address: str) -> None:
    translation = braze.translate(update(profile={"email": address}), RULES)

    assert translation.attributes == {("email",): address}
    assert braze_values.is_email(address)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_that_braze_refuses_costs_itself_alone(address: str) -> None:
    translation = braze.translate(update(profile={"email": address, "city": "Köln"}, custom={"a": 1}), RULES)

    assert translation.attributes == {("home_city",): "Köln", ("a",): 1}
    assert refused(translation) == {("attributes", "profile.email")}
    assert not braze_values.is_email(address)


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("anna@münchen.example", "anna@xn--mnchen-3ya.example"),
        ("anna@MÜNCHEN.example", "anna@xn--mnchen-3ya.example"),
        ("änna@straße.example", "änna@xn--strae-oqa.example"),
        ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_the_domain_of_an_address_is_sent_in_punycode(address: str, sent: str) -> None:
    as_value = braze.translate(update(profile={"email": address}), RULES)
    as_member = braze.translate(
        update(member=address, identified_by="email", profile={"email": address, "city": "Köln"}), RULES
    )

    assert as_value.attributes == {("email",): sent}
    assert as_member.identity == {"email": sent}
    assert as_member.attributes == {("home_city",): "Köln"}
    assert as_member.field_errors == ()
    assert braze_values.is_email(sent)


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        ("de", "de"),
        ("nb", "nb"),
        ("no", "nb"),
        ("iw", "he"),
        ("in", "id"),
        ("fil", "fil"),
        ("gsw", "gsw"),
        ("zh", "zh"),
        ("ENU", None),
        ("enu", None),
        ("xx", None),
        ("und", None),
        ("de-DE", None),
        ("DE", None),
        ("ab", None),
        ("", None),
    ],
)
def test_a_language_that_braze_does_not_support_costs_itself_alone(code: str, sent: str | None) -> None:
    translation = braze.translate(update(profile={"language": code, "city": "Köln"}), RULES)

    assert translation.attributes.get(("language",)) == sent
    assert translation.attributes[("home_city",)] == "Köln"
    assert refused(translation) == (set() if sent else {("attributes", "profile.language")})
    assert sent is None or sent in braze_values.LANGUAGES


def test_every_profile_field_is_known() -> None:
    translation = braze.translate(update(profile=dict.fromkeys(get_args(ProfileField))), RULES)

    assert len(translation.attributes) == len(get_args(ProfileField))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", "a b@example.com"),
        ("email", f"{'x' * 250}@example.com"),
        ("phone", "015112345678"),
        ("phone", "+49 151"),
        ("first_name", "x" * 256),
        ("first_name", 7),
        ("last_name", ["x"]),
        ("birth_date", "01.02.1980"),
        ("birth_date", "1981-02-29"),
        ("birth_date", "19800201"),
        ("gender", "male"),
        ("gender", ""),
        ("city", "\udc00"),
        ("country", "Germany"),
        ("country", "de"),
        ("language", "de-DE"),
        ("email_subscription", "yes"),
        ("push_subscription", True),
    ],
)
def test_an_unusable_profile_field_is_left_out(field: str, value: Json) -> None:
    translation = braze.translate(update(profile={"city": "Köln", field: value}), RULES)

    assert refused(translation) == {("attributes", f"profile.{field}")}
    assert set(translation.attributes) == ({("home_city",)} if field != "city" else set())


@pytest.mark.parametrize(
    ("identified_by", "member", "profile", "kept", "lost"),
    [
        ("email", "a@example.com", {"email": "a@example.com", "phone": "+4915112345678"}, {("phone",)}, set()),
        ("email", "a@example.com", {"email": "b@example.com"}, set(), {"profile.email"}),
        ("email", "a@example.com", {"email": None}, set(), {"profile.email"}),
        ("phone", "+4915112345678", {"phone": "+4915112345678", "city": "Köln"}, {("home_city",)}, set()),
        ("phone", "+4915112345678", {"phone": None}, set(), {"profile.phone"}),
        ("phone", "+4915112345678", {"email": "a@example.com"}, set(), {"profile.email"}),
    ],
)
def test_what_a_user_is_found_by_is_not_changed_by_the_profile(
    identified_by: str, member: str, profile: dict[str, Json], kept: set[tuple[str, ...]], lost: set[str]
) -> None:
    given_update = update(identified_by=identified_by, member=member, profile=profile)

    translation = braze.translate(given_update, RULES)

    assert set(translation.attributes) == kept
    assert {refusal.field for refusal in translation.field_errors} == lost


RESERVED_NAMES = [
    "external_id", "user_alias", "braze_id", "alias_name", "alias_label", "email", "phone", "first_name", "last_name",
    "dob", "gender", "country", "home_city", "language", "time_zone", "current_location", "image_url",
    "email_subscribe", "push_subscribe", "subscription_groups", "email_open_tracking_disabled",
    "email_click_tracking_disabled", "marked_email_as_spam_at", "date_of_first_session", "date_of_last_session",
    "push_tokens", "push_token_import", "facebook", "twitter", "email_subscription_info", "_merge_objects",
    "_update_existing_only",
]  # fmt: skip


@pytest.mark.parametrize("name", [*RESERVED_NAMES, " dob ", "_anything", "", "  ", "$set", "x" * 256, "a\ud800"])
def test_an_attribute_may_not_have_a_name_that_braze_does_not_take(name: str) -> None:
    translation = braze.translate(update(custom={name: 1, "shoe": 42}), RULES)

    assert translation.attributes == {("shoe",): 42}
    assert refused(translation) == {("attributes", f"custom.{name[:64]}".replace("\ud800", "?"))}


@pytest.mark.parametrize("name", ["Email", "x" * 255, "größe", "a b", "a.b", "time", "inc"])
def test_any_other_name_is_an_attribute_of_its_own(name: str) -> None:
    translation = braze.translate(update(custom={name: 1}), RULES)

    assert translation.attributes == {(name,): 1}


def test_the_blanks_that_braze_cuts_from_names_are_cut() -> None:
    translation = braze.translate(update(custom={" shoe ": 42}), RULES)

    assert translation.attributes == {("shoe",): 42}


@pytest.mark.parametrize(
    ("attributes", "custom"), [({"tier": "gold"}, {"tier": 1}), ({}, {"tier": "gold", " tier": 1})]
)
def test_the_first_of_two_attributes_with_one_name_is_kept(
    attributes: dict[str, Json], custom: dict[str, Json]
) -> None:
    translation = braze.translate(update(attributes=attributes, custom=custom), RULES)

    assert translation.attributes == {("tier",): "gold"}
    assert len(translation.field_errors) == 1


LONG = "x" * 256
ROWS: list[Json] = [{"n": number} for number in range(501)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("ä" * 255, "ä" * 255),
        (0, 0),
        (-1.5, -1.5),
        (True, True),
        (None, None),
        ([], []),
        ([1, None, "a"], [1, "a"]),
        (list(range(500)), list(range(500))),
        (ROWS, ROWS),
        ({}, {}),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2}]}}),
        ({"a": None, "b": {"c": None}, "d": 1}, {"b": {}, "d": 1}),
        ({"add": [1], "note": "x"}, {"add": [1], "note": "x"}),
        ({"a": "x" * 255, "k" * 255: 1}, {"a": "x" * 255, "k" * 255: 1}),
        (["2026-01-01", "2026-01-02T10:00:00Z"], ["2026-01-01", "2026-01-02T10:00:00Z"]),
        ({"at": {"$time": "2026-01-01T10:00:00Z"}}, {"at": {"$time": "2026-01-01T10:00:00Z"}}),
        ([{"at": {"$time": "2026-01-01"}, "n": 1}], [{"at": {"$time": "2026-01-01"}, "n": 1}]),
    ],
)
def test_a_custom_value_within_the_limits_goes_as_it_is_but_for_nulls_inside(value: Json, expected: Json) -> None:
    translation = braze.translate(update(custom={"c": value}), RULES)

    assert translation.attributes == {("c",): expected}
    assert translation.field_errors == ()


@pytest.mark.parametrize(
    ("value", "expected", "lost"),
    [
        pytest.param(LONG, None, {"c"}, id="long text"),
        pytest.param("a\ud800", None, {"c"}, id="half a character"),
        pytest.param(float("nan"), None, {"c"}, id="not a number"),
        pytest.param(float("-inf"), None, {"c"}, id="infinite"),
        pytest.param(list(range(501)), None, {"c"}, id="too many elements"),
        pytest.param({"rows": list(range(501)), "a": 1}, {"a": 1}, {"c.rows"}, id="too many elements inside"),
        pytest.param(["a", LONG], ["a"], {"c[1]"}, id="a bad element"),
        pytest.param([LONG], None, {"c[0]", "c"}, id="only bad elements"),
        pytest.param({"a.b": 1, "d": 1}, {"d": 1}, {"c.a.b"}, id="period in a key"),
        pytest.param({"a$b": 1, "d": 1}, {"d": 1}, {"c.a$b"}, id="dollar in a key"),
        pytest.param({"$time": "2026-01-01"}, None, {"c.$time", "c"}, id="dollar first in a key"),
        pytest.param({"a b": 1, "d": 1}, {"d": 1}, {"c.a b"}, id="space in a key"),
        pytest.param({"": 1, "d": 1}, {"d": 1}, {"c."}, id="empty key"),
        pytest.param({LONG: 1, "d": 1}, {"d": 1}, {f"c.{LONG[:64]}"}, id="long key"),
        pytest.param({"a": {"b": LONG}, "d": 1}, {"d": 1}, {"c.a.b", "c.a"}, id="long text inside"),
        pytest.param([{"a": LONG, "b": 1}], [{"b": 1}], {"c[0].a"}, id="long text in a row"),
        pytest.param({f"k{n}": "x" * 250 for n in range(410)}, None, {"c"}, id="object over 100 KB"),
        pytest.param([{"k": "ä" * 250} for _ in range(210)], None, {"c"}, id="rows over 100 KB"),
        pytest.param(["ä" * 200] * 300, None, {"c"}, id="array over 100 KB"),
        pytest.param({"inc": 5}, None, {"c"}, id="would add to a number"),
        pytest.param({"add": ["a"], "remove": ["b"]}, None, {"c"}, id="would change an array"),
        pytest.param({"add": ["a"], "a.b": 1}, None, {"c.a.b", "c"}, id="what is left would change an array"),
        pytest.param([[1, 2], [3]], None, {"c"}, id="array of arrays"),
        pytest.param([1, []], None, {"c"}, id="an array beside a number"),
        pytest.param({"a": [[1]], "d": 1}, {"d": 1}, {"c.a"}, id="array of arrays inside"),
        pytest.param({"at": {"$time": "soon"}, "d": 1}, {"d": 1}, {"c.at"}, id="no time inside"),
        pytest.param({"at": {"$time": 1}, "d": 1}, {"d": 1}, {"c.at"}, id="a number as a time inside"),
        pytest.param({"at": {"$time": "2026-01-01", "x": 1}}, {"at": {"x": 1}}, {"c.at.$time"}, id="a time and more"),
    ],
)
def test_of_a_custom_value_only_what_breaks_a_limit_is_left_out(value: Json, expected: Json, lost: set[str]) -> None:
    translation = braze.translate(update(custom={"c": value, "other": 1}), RULES)

    assert translation.attributes == ({} if expected is None else {("c",): expected}) | {("other",): 1}
    assert refused(translation) == {("attributes", f"custom.{field}") for field in lost}


def test_an_object_of_exactly_100_kb_is_sent() -> None:
    rows: list[Json] = ["x" * 250] * 404
    rows.append("x" * (102_400 - len(json.dumps({"k": rows}, separators=(",", ":"))) - 3))
    value: Json = {"k": rows}

    fitting = braze.translate(update(custom={"c": value}), RULES)
    larger = braze.translate(update(custom={"c": {"kk": rows}}), RULES)

    assert len(json.dumps(value, separators=(",", ":"))) == 102_400
    assert fitting.attributes == {("c",): value}
    assert larger.attributes == {}


def test_an_object_of_the_bridge_is_merged_key_by_key() -> None:
    attributes: dict[str, Json] = {
        "balance": {"points": 5, "locked": None, "a.b": 1, "note": LONG, "inc": 1},
        "tier": "gold",
    }

    translation = braze.translate(update(attributes=attributes), RULES)

    assert translation.attributes == {("balance", "points"): 5, ("tier",): "gold"}
    assert refused(translation) == {
        ("attributes", f"attributes.balance.{key}") for key in ("locked", "a.b", "note", "inc")
    }


def test_the_largest_keys_of_a_merged_object_are_left_out_when_it_is_over_100_kb() -> None:
    values: dict[str, Json] = {"a": ["x" * 250] * 150, "b": ["x" * 250] * 300, "c": 1}

    translation = braze.translate(update(attributes={"balance": values}), RULES)

    assert set(translation.attributes) == {("balance", "a"), ("balance", "c")}
    assert refused(translation) == {("attributes", "attributes.balance.b")}


def test_refusals_of_the_source_are_carried_on_and_no_reason_reports_a_value() -> None:
    earlier = FieldError("attributes", "payload.birthDate", "is not a date")
    given_update = update(
        field_errors=(earlier,),
        profile={"email": "private"},
        custom={"c": f"private{LONG}"},
        event=event(name="$private"),
    )

    translation = braze.translate(given_update, RULES)

    assert translation.field_errors[0] == earlier
    assert len(translation.field_errors) == 4
    assert "private" not in repr(translation.field_errors)


# Attribute objects


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({("a",): 1, ("b",): None}, [{"a": 1, "b": None}], id="null removes"),
        pytest.param({("o",): {"x": 1}, ("a",): 1}, [{"o": {"x": 1}, "a": 1}], id="whole object"),
        pytest.param(
            {("o", "x"): 1, ("a",): 1, ("o", "y"): 2, ("p", "z"): 3},
            [{"_merge_objects": True, "o": {"x": 1, "y": 2}, "p": {"z": 3}, "a": 1}],
            id="single keys are merged",
        ),
        pytest.param(
            {("o", "x"): 1, ("w",): {"x": 1}, ("a",): 1},
            [{"w": {"x": 1}}, {"_merge_objects": True, "o": {"x": 1}, "a": 1}],
            id="a whole object beside single keys is not merged",
        ),
        pytest.param(
            {("o", "x"): 1, ("o",): None},
            [{"o": None}, {"_merge_objects": True, "o": {"x": 1}}],
            id="an object that is removed and begun anew",
        ),
    ],
)
def test_attribute_values_become_objects(
    values: Mapping[tuple[str, ...], Json], expected: list[dict[str, Json]]
) -> None:
    identity: dict[str, Json] = {"external_id": "4711"}

    sent = braze.attribute_objects(identity, values, RULES)

    assert [read(item) for item in sent] == [identity | each for each in expected]
    assert {item.array for item in sent} <= {"attributes"}


def test_attributes_are_compact_utf_8() -> None:
    [item] = braze.attribute_objects({"external_id": "1"}, {("city",): "Köln", ("a",): [1, 2]}, RULES)

    assert item.body == '{"external_id":"1","city":"Köln","a":[1,2]}'.encode()


def test_attributes_beyond_a_request_are_divided() -> None:
    values: dict[tuple[str, ...], Json] = {(f"a{n}",): ["x" * 250] * 400 for n in range(50)}
    values |= {("o", f"k{n}"): "x" * 250 for n in range(100)}

    sent = braze.attribute_objects({"external_id": "1"}, values, RULES)

    together: dict[str, Any] = {}
    for item in sent:
        fields = read(item)
        fields["o"] = together.get("o", {}) | fields.get("o", {})
        together |= fields
        assert len(braze.body([item])) <= 4_000_000
        assert fields["_merge_objects"]
    assert len(sent) > 1
    assert len(together) == 1 + 1 + 1 + 50
    assert len(together["o"]) == 100


# Events


def test_an_event_has_its_name_its_time_in_utc_and_its_properties() -> None:
    at = datetime(2026, 3, 1, 14, 30, 0, 1500, tzinfo=timezone(timedelta(hours=2)))
    happened = event(time=at, properties={"tier": "gold", "since": None, "rows": [{"a.b": 1}], "ä": {"b": [None]}})

    translation = braze.translate(update(event=happened), RULES)

    assert translation.event
    assert translation.event.array == "events"
    assert read(translation.event) == {
        "external_id": "4711",
        "name": "tier_changed",
        "time": "2026-03-01T12:30:00.001+00:00",
        "properties": {"tier": "gold", "rows": [{"a.b": 1}], "ä": {"b": []}},
    }
    assert translation.field_errors == ()


@pytest.mark.parametrize("properties", [{}, {"a": None}, {"a": LONG}])
def test_an_event_without_usable_properties_has_no_such_field(properties: dict[str, Json]) -> None:
    translation = braze.translate(update(event=event(properties=properties)), RULES)

    assert "properties" not in read(translation.event)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "event.name"),
        ({"name": "  "}, "event.name"),
        ({"name": "$event"}, "event.name"),
        ({"name": LONG}, "event.name"),
        ({"name": "a\udfff"}, "event.name"),
        ({"time": NOON.replace(tzinfo=None)}, "event.time"),
        ({"time": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))}, "event.time"),
    ],
)
def test_an_event_without_what_braze_requires_is_left_out_as_a_whole(changed: dict[str, Any], field: str) -> None:
    translation = braze.translate(update(event=event(**changed), custom={"a": 1}), RULES)

    assert translation.event is None
    assert refused(translation) == {("event", field)}
    assert translation.attributes == {("a",): 1}


@pytest.mark.parametrize(
    ("name", "value", "lost"),
    [
        ("time", 1, {"time"}),
        ("event_name", 1, {"event_name"}),
        ("", 1, {""}),
        (" ", 1, {" "}),
        ("$a", 1, {"$a"}),
        (LONG, 1, {LONG[:64]}),
        ("a", LONG, {"a"}),
        ("a", float("inf"), {"a"}),
        ("a", {"b": {"$c": 1, "time": 2}, "d": LONG}, {"a.b.$c", "a.d"}),
        ("a", {"b": LONG}, {"a.b", "a"}),
        ("a", [1, LONG], {"a[1]"}),
        ("a", ["ä" * 250] * 300, {"a"}),
        ("a", ["2026-01-01", "2026-01-02"], {"a"}),
        ("a", ["x", "2026-01-01T10:00:00Z"], {"a"}),
        ("a", ["01/31/2026"], {"a"}),
        ("a", {"b": ["2026-01-01T10:00:00+02:00"], "c": 1}, {"a.b"}),
        ("a", [{"b": ["2026-01-01 10:00:00"], "c": 1}], {"a[0].b"}),
        ("a", {"$time": "2026-01-01"}, {"a.$time", "a"}),
    ],
)
def test_an_unusable_property_is_left_out_of_the_event(name: str, value: Json, lost: set[str]) -> None:
    translation = braze.translate(update(event=event(properties={"price": 2, name: value})), RULES)

    assert read(translation.event)["properties"]["price"] == 2
    assert refused(translation) == {("event", f"event.properties.{field}") for field in lost}


@pytest.mark.parametrize("value", [["2026-13-01"], ["2026-01-01x"], ["20260101"], "2026-01-01", [{"at": "2026-01-01"}]])
def test_an_array_without_times_and_a_time_without_an_array_are_properties(value: Json) -> None:
    translation = braze.translate(update(event=event(properties={"a": value})), RULES)

    assert read(translation.event)["properties"] == {"a": value}
    assert translation.field_errors == ()


def test_only_the_first_256_properties_are_sent() -> None:
    properties = {f"p{number}": number for number in range(300)}

    translation = braze.translate(update(event=event(properties=properties)), RULES)

    assert list(read(translation.event)["properties"]) == list(properties)[:256]
    assert refused(translation) == {("event", "event.properties")}


def exactly(size: int) -> dict[str, Json]:
    """Properties of so many bytes."""
    rows: list[Json] = ["x" * 100] * (size // 103 - 1)
    rest = size - len(json.dumps({"k": [*rows, ""], "a": 1}, separators=(",", ":")))
    return {"k": [*rows, "x" * rest], "a": 1}


@pytest.mark.parametrize(("part", "size"), [("event", 102_400), ("purchase", 51_200)])
def test_of_properties_over_the_size_that_is_taken_only_the_largest_are_left_out(part: str, size: int) -> None:
    def sent(properties: dict[str, Json]) -> tuple[dict[str, Json], set[str]]:
        given_update = update(event=event(properties=properties), purchase=purchase(properties=properties))
        translation = braze.translate(given_update, RULES)
        item = translation.event if part == "event" else translation.purchase
        return read(item)["properties"], {each.field for each in translation.field_errors if each.part == part}

    fitting = exactly(size)

    assert len(json.dumps(fitting, separators=(",", ":"))) == size
    assert sent(fitting) == (fitting, set())
    assert sent(fitting | {"a": 11}) == ({"a": 11}, {f"{part}.properties.k"})
    assert sent(fitting | {"larger": ["x" * 250] * (size // 250)}) == (fitting, {f"{part}.properties.larger"})


# Purchases


@pytest.mark.parametrize("changed", [{}, {"price": -3}, {"price": 0, "quantity": 100}, {"product_id": "x" * 255}])
def test_a_purchase_has_all_fields_that_braze_requires(changed: dict[str, Any]) -> None:
    bought = purchase(**changed, properties={"store": "1", "tags": ["a", None], "none": None})

    translation = braze.translate(update(purchase=bought), RULES)

    assert translation.purchase
    assert translation.purchase.array == "purchases"
    assert read(translation.purchase) == {
        "external_id": "4711",
        "product_id": bought.product_id,
        "currency": "EUR",
        "price": bought.price,
        "quantity": bought.quantity,
        "time": "2026-03-01T12:00:00.000+00:00",
        "properties": {"store": "1", "tags": ["a"]},
    }
    assert translation.field_errors == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("product_id", ""),
        ("product_id", " "),
        ("product_id", LONG),
        ("price", float("nan")),
        ("price", float("inf")),
        ("price", True),
        ("price", "12.50"),
        ("currency", ""),
        ("currency", "eur"),
        ("currency", "EURO"),
        ("currency", "978"),
        ("quantity", 0),
        ("quantity", 101),
        ("quantity", 1.0),
        ("quantity", True),
        ("time", NOON.replace(tzinfo=None)),
    ],
)
def test_a_purchase_without_what_braze_requires_is_left_out_as_a_whole(field: str, value: object) -> None:
    translation = braze.translate(update(purchase=purchase(**{field: value}), event=event()), RULES)

    assert translation.purchase is None
    assert refused(translation) == {("purchase", f"purchase.{field}")}
    assert translation.event


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 1) for name in ("time", "product_id", "quantity", "event_name", "price", "currency")),
        ("", 1),
        ("$a", 1),
        (LONG[:64] * 4, 1),
        ("a", LONG),
        ("a", {"b": 1}),
        ("a", {}),
        ("a", [{"b": 1}]),
        ("a", [[1]]),
        ("a", ["2026-01-01"]),
        ("a", ["x" * 250] * 210),
    ],
)
def test_an_unusable_property_is_left_out_of_the_purchase(name: str, value: Json) -> None:
    translation = braze.translate(update(purchase=purchase(properties={name: value, "store": "1"})), RULES)

    assert read(translation.purchase)["properties"] == {"store": "1"}
    assert refused(translation) == {("purchase", f"purchase.properties.{name[:64]}")}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, {"transaction_id": "tx-1"}),
        ({"store": "1"}, {"store": "1", "transaction_id": "tx-1"}),
        ({"booking": "tx-1"}, {"booking": "tx-1"}),
        ({"transaction_id": "other"}, {"transaction_id": "other"}),
    ],
)
def test_a_constant_product_keeps_the_transaction_among_the_properties(
    properties: dict[str, Json], expected: dict[str, Json]
) -> None:
    rules = BrazeRules(purchase_product_id="Loyalty purchase")

    translation = braze.translate(update(purchase=purchase(properties=properties)), rules)

    assert read(translation.purchase)["product_id"] == "Loyalty purchase"
    assert read(translation.purchase)["properties"] == expected


# Requests


@pytest.mark.parametrize(
    ("rules", "capacity", "weights"),
    [
        (RULES, (75,), [(1,), (1,), (1,)]),
        (BrazeRules(max_objects=50), (50,), [(1,), (1,), (1,)]),
        (BrazeRules(object_limit="per_array"), (75, 75, 75), [(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
    ],
)
def test_a_request_is_limited_by_objects_and_bytes(
    rules: BrazeRules, capacity: tuple[int, ...], weights: list[tuple[int, ...]]
) -> None:
    sent = objects("attributes", "events", "purchases")

    assert braze.capacity(rules)[:-1] == capacity
    assert [braze.weigh(item, rules)[:-1] for item in sent] == weights


@pytest.mark.parametrize("arrays", [["events"], ["attributes", "events", "purchases"]])
def test_a_request_that_is_full_by_weight_is_at_most_4_mb(arrays: list[str]) -> None:
    *_, room = braze.capacity(RULES)
    rest = room - sum(braze.weigh(item, RULES)[-1] for item in objects(*arrays[1:]))
    large = WireObject(arrays[0], b"x" * (rest - braze.weigh(WireObject(arrays[0], b""), RULES)[-1]))

    sent = braze.body([large, *objects(*arrays[1:])])

    assert 3_900_000 < len(sent) <= 4_000_000


def test_the_body_joins_the_objects_of_each_array_in_their_order() -> None:
    sent = [
        WireObject("events", '{"n":"ä"}'.encode()),
        WireObject("attributes", b'{"n":2}'),
        WireObject("events", b'{"n":3}'),
    ]

    assert braze.body(sent) == '{"attributes":[{"n":2}],"events":[{"n":"ä"},{"n":3}]}'.encode()
    assert json.loads(braze.body([])) == {}


# Replies

NONE_VALID = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
SENT = objects("events", "attributes", "events", "purchases")
MAYBE = "may be refused, Braze does not name the object: "


def error(array: object = "events", index: object = 0, kind: object = "bad") -> dict[str, object]:
    return {"input_array": array, "index": index, "type": kind}


@pytest.mark.parametrize(
    ("given_reply", "expected"),
    [
        pytest.param(reply(201, {"message": "success", "events_processed": 2}), {}, id="success"),
        pytest.param(reply(202, {"message": "queued"}), {}, id="queued"),
        pytest.param(reply(200, b""), {}, id="empty"),
        pytest.param(reply(204, b" \n"), {}, id="blank"),
        pytest.param(reply(200, {"message": " Success "}), {}, id="success in another spelling"),
        pytest.param(reply(201, {"message": "success", "errors": []}), {}, id="no errors"),
        pytest.param(reply(201, {"message": "success", "errors": None}), {}, id="null errors"),
        pytest.param(
            reply(201, {"message": "success", "errors": [error("events", 1), error("attributes", 0, "worse")]}),
            {2: "bad", 1: "worse"},
            id="errors are counted inside their array",
        ),
        pytest.param(
            reply(201, {"message": "success", "errors": [error(), error(kind="again")]}),
            {0: "bad"},
            id="the first error counts",
        ),
        pytest.param(
            reply(201, {"message": "success", "errors": error("purchases")}), {3: "bad"}, id="one error without a list"
        ),
        pytest.param(
            reply(201, {"message": "success", "errors": [error(kind=None), error("purchases", 0, " \x01")]}),
            dict.fromkeys((0, 3), "Braze does not say why"),
            id="an error without a type",
        ),
        pytest.param(
            reply(
                201,
                {
                    "message": "success",
                    "errors": [error(kind="'x' of\n a@example.com,  +4915112345678\ud800 " + "y" * 300)],
                },
            ),
            {0: ("'x' of … … " + "y" * 300)[:200]},
            id="a sentence is one short line without addresses and numbers",
        ),
    ],
)
def test_an_accepted_request_reports_the_objects_that_were_not(given_reply: Reply, expected: dict[int, str]) -> None:
    assert braze.judge(given_reply, SENT, NOW) == Accepted(expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"errors": ["something"]}, {0, 1, 2, 3}, id="a text may mean any object"),
        pytest.param({"errors": "something"}, {0, 1, 2, 3}, id="a text without a list"),
        pytest.param({"errors": [7, [], None]}, {0, 1, 2, 3}, id="neither text nor object"),
        pytest.param({"errors": [error("events", 2)]}, {0, 2}, id="beyond its array"),
        pytest.param({"errors": [error("events", -1)]}, {0, 2}, id="before its array"),
        pytest.param({"errors": [error("events", True)]}, {0, 2}, id="no number"),
        pytest.param({"errors": [error("events", None)]}, {0, 2}, id="only the array"),
        pytest.param({"errors": [error("users", 0)]}, {0, 1, 2, 3}, id="an array that was not sent"),
        pytest.param({"errors": [error([], 0)]}, {0, 1, 2, 3}, id="no array"),
        pytest.param({"errors": ["x"], "events_processed": 2}, {1, 3}, id="an array processed entirely"),
        pytest.param({"errors": ["x"], "events_processed": 1}, {0, 1, 2, 3}, id="an array processed in part"),
        pytest.param({"errors": ["x"], "events_processed": "2"}, {0, 1, 2, 3}, id="a count that is none"),
        pytest.param(
            {"errors": ["x"], "events_processed": 2, "attributes_processed": 1, "purchases_processed": 1},
            set(),
            id="everything processed",
        ),
    ],
)
def test_an_error_that_names_no_object_is_given_to_all_that_it_may_mean(
    said: dict[str, object], expected: set[int]
) -> None:
    verdict = braze.judge(reply(201, {"message": "success"} | said), SENT, NOW)

    assert isinstance(verdict, Accepted)
    assert set(verdict.rejected) == expected
    assert all(reason.startswith(MAYBE) for reason in verdict.rejected.values())


def test_an_error_that_names_its_object_is_reported_beside_one_that_does_not() -> None:
    said = {"errors": [error("events", 0), "x"], "events_processed": 1, "attributes_processed": 1}

    verdict = braze.judge(reply(201, {"message": "success"} | said), SENT, NOW)

    assert verdict == Accepted({0: "bad", 3: "x"})


def test_of_five_attributes_objects_the_three_that_are_named_were_refused() -> None:
    named = [error("attributes", index, "Invalid email") for index in (0, 2, 4)]
    values = {"message": "success", "attributes_processed": 2, "errors": named}

    verdict = braze.judge(reply(201, values), attributes(*({"external_id": f"A{at}"} for at in range(5))), NOW)

    assert verdict == Accepted(dict.fromkeys((0, 2, 4), "Invalid email"))


CODES = [
    "BAD_DEVICE_ID", "BAD_EMAIL_SUBSCRIPTION_STATE", "BAD_LOCATION_UPDATE", "BAD_PUSH_SUBSCRIPTION_STATE",
    "BAD_PUSH_TOKEN_APP_ID", "BAD_PUSH_TOKEN_IMPORT", "BAD_PUSH_TOKEN_STRING", "BAD_PUSH_TOKEN_VALUE",
    "BAD_SUBSCRIPTION_GROUP_ARRAY", "BAD_SUBSCRIPTION_GROUP_HASH", "BAD_SUBSCRIPTION_GROUP_ID",
    "BAD_SUBSCRIPTION_GROUP_STATE", "BLACKLISTED_EXTERNAL_USER_ID", "EMAIL_BAD_FORMAT", "EXTERNAL_USER_ID_TOO_LARGE",
    "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO",
]  # fmt: skip


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [201, 400])
def test_a_code_of_braze_is_the_reason_for_its_object(code: str, status: int) -> None:
    message = "success" if status == 201 else NONE_VALID
    verdict = braze.judge(reply(status, {"message": message, "errors": [error(kind=code)]}), SENT, NOW)

    assert isinstance(verdict, Accepted | Rejected)
    assert verdict.rejected == {0: code}


TRACKING = [
    "invalid_group_id", "request_status_active_group_limit_exceeded", "request_status_group_full",
    "request_status_not_tracked",
]  # fmt: skip


@pytest.mark.parametrize("kind", TRACKING)
@pytest.mark.parametrize("form", ["object", "text"])
def test_an_error_about_following_the_request_blames_no_object(kind: str, form: str) -> None:
    values = {"message": "success", "errors": [{"type": kind} if form == "object" else kind, error("events", 1)]}

    assert braze.judge(reply(201, values), SENT, NOW) == Accepted({2: "bad"})


def attributes(*identities: Mapping[str, Json]) -> list[WireObject]:
    return [WireObject("attributes", json.dumps({**each, "tier": "gold"}).encode()) for each in identities]


A1: dict[str, Json] = {"external_id": "A1"}


@pytest.mark.parametrize(
    ("sent", "processed", "unprocessed"),
    [
        pytest.param(attributes(A1, A1), 1, 0, id="two objects of one member"),
        pytest.param(attributes(A1, A1 | {"email": "a@example.com"}), 1, 0, id="an address is no other member"),
        pytest.param(attributes(A1, A1), 2, 0, id="counted as objects"),
        pytest.param(attributes(A1, A1, {"external_id": "A2"}), 1, 1, id="a member is missing"),
        pytest.param(attributes({"email": "a@example.com"}, {"email": "b@example.com"}), 1, 1, id="by address"),
        pytest.param(
            attributes(*[{"user_alias": {"alias_name": name, "alias_label": "card"}} for name in "aab"]),
            2,
            0,
            id="by alias",
        ),
    ],
)
def test_of_attributes_braze_counts_the_members(sent: list[WireObject], processed: int, unprocessed: int) -> None:
    values = {"message": "success", "attributes_processed": processed}
    doubt = values | {"errors": ["something"]}

    assert braze.judge(reply(201, values), sent, NOW) == Accepted({}, unprocessed)
    assert bool(braze.judge(reply(201, doubt), sent, NOW).rejected) == bool(unprocessed)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("counts", "unprocessed"),
    [
        ({}, 0),
        ({"events_processed": 2, "attributes_processed": 1, "purchases_processed": 1}, 0),
        ({"events_processed": 1}, 1),
        ({"events_processed": 0, "purchases_processed": 0}, 3),
        ({"events_processed": -4}, 2),
        ({"events_processed": 9}, 0),
        ({"events_processed": True}, 0),
        ({"events_processed": "0"}, 0),
        ({"events_processed": 1, "errors": [error("events", 1)]}, 0),
        ({"events_processed": 0, "errors": [error("events", 1)]}, 1),
    ],
)
def test_objects_that_braze_does_not_count_as_processed_are_reported(counts: dict[str, Json], unprocessed: int) -> None:
    verdict = braze.judge(reply(201, {"message": "success"} | counts), SENT, NOW)

    assert isinstance(verdict, Accepted)
    assert verdict.unprocessed == unprocessed


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("message", [NONE_VALID, "Bad syntax", "", "not a success", "error"])
def test_a_2xx_with_another_message_has_taken_nothing(status: int, message: str) -> None:
    named = braze.judge(reply(status, {"message": message, "errors": [error("events", 1)]}), SENT, NOW)
    unnamed = braze.judge(reply(status, {"message": message}), SENT, NOW)

    assert isinstance(named, Rejected)
    assert named.rejected == {2: "bad"}
    assert unnamed == Rejected(f"{status}: {message or 'the request is refused'}")


@pytest.mark.parametrize(
    "body", [{}, [], ["ok"], "success", 1, {"message": None}, {"message": 1}, {"events_processed": 2}]
)
def test_a_2xx_that_is_no_answer_of_braze_leaves_the_outcome_unknown(body: object) -> None:
    verdict = braze.judge(reply(201, body), SENT, NOW)

    assert isinstance(verdict, Transient)
    assert verdict.is_unknown


@pytest.mark.parametrize(
    ("status", "is_unknown"),
    [
        *((status, True) for status in (500, 502, 504, 520, 522, 524, 599)),
        *((status, False) for status in (408, 418, 425, 501, 503, 529)),
    ],
)
@pytest.mark.parametrize("body", [{"message": "no"}, b"<html></html>", b""])
def test_after_an_error_of_a_server_that_may_have_acted_the_outcome_is_unknown(
    status: int, is_unknown: bool, body: object
) -> None:
    verdict = braze.judge(reply(status, body), SENT, NOW)

    assert isinstance(verdict, Transient)
    assert verdict.is_unknown == is_unknown


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (["Invalid event name"], "Invalid event name"),
        ("Invalid event name", "Invalid event name"),
        ([{"type": "Invalid event name"}], "Invalid event name"),
        ([None, "Invalid event name", "another"], "Invalid event name"),
        (["Key: anna@example.com"], "Key: …"),
    ],
)
def test_a_text_of_braze_is_the_reason(errors: object, reason: str) -> None:
    whole = braze.judge(reply(400, {"message": "Bad Request", "errors": errors}), SENT, NOW)
    alone = braze.judge(reply(201, {"message": "success", "errors": errors}), SENT[:1], NOW)

    assert whole == Rejected(f"400: {reason}")
    assert alone == Accepted({0: reason})


def test_what_shows_that_braze_takes_data_changes_nothing() -> None:
    assert read(braze.harmless()) == {
        "external_id": "loyalty-bridge-check",
        "_update_existing_only": True,
        "language": "en",
    }


HTML = b"<html><body>nginx</body></html>"


@pytest.mark.parametrize(
    ("given_reply", "expected"),
    [
        (reply(400, {"message": NONE_VALID, "errors": [error("purchases"), error("events", 1)]}), {3: "bad", 2: "bad"}),
        (reply(400, {"message": "Bad Request"}), {}),
        (reply(400, {"message": "Bad Request", "errors": ["bad syntax", error("events", 9)]}), {}),
        (reply(400, "Bad Request"), {}),
        (reply(422, {"errors": [error()]}), {0: "bad"}),
    ],
)
def test_a_refused_request_names_the_culprits_that_the_reply_names(
    given_reply: Reply, expected: dict[int, str]
) -> None:
    verdict = braze.judge(given_reply, SENT, NOW)

    assert isinstance(verdict, Rejected)
    assert verdict.rejected == expected
    assert verdict.reason.startswith(str(given_reply.status))


@pytest.mark.parametrize(
    ("given_reply", "kind"),
    [
        (reply(400, {"message": "Max Input Length Exceeded"}), SplitRequired),
        (reply(400, {"message": "Bad Request", "errors": ["Max Input Length Exceeded"]}), SplitRequired),
        (reply(413, {"message": "Request Entity Too Large"}), SplitRequired),
        (reply(413, HTML), SplitRequired),
        *((reply(status, {"message": "no"}), Broken) for status in (301, 302, 307, 308, 401, 403, 404, 405, 407, 415)),
        *((reply(status, HTML), Broken) for status in (301, 302, 401, 403, 404)),
        (reply(429, {"message": "rate limit"}), Wait),
        (reply(429, HTML), Wait),
        *((reply(status, {"message": "no"}), Transient) for status in (408, 425, 500, 502, 503, 504, 529, 599)),
        *((reply(status, HTML), Transient) for status in (200, 201, 400, 408, 422, 500, 502, 503, 504)),
        (reply(400, b""), Transient),
        (reply(503, b""), Transient),
        (reply(201, b'{"message": "succ'), Transient),
        (reply(200, b"\xff\xfe\xff"), Transient),
        (reply(200, b"[" * 100_000), Transient),
        (reply(418, {"message": "unheard of"}), Transient),
        (reply(100, {}), Transient),
    ],
)
def test_every_other_reply_is_judged_by_its_status(given_reply: Reply, kind: type[Verdict]) -> None:
    verdict = braze.judge(given_reply, SENT, NOW)

    assert isinstance(verdict, kind)
    assert not isinstance(verdict, Accepted)
    assert verdict.reason.startswith(str(given_reply.status))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x_ratelimit_retry_after": "7"}, 7),
        ({"x_ratelimit_retry_after": " 7 "}, 7),
        ({"x_ratelimit_retry_after": "0"}, 0),
        ({"x_ratelimit_retry_after": "0.5"}, 0.5),
        ({"x_ratelimit_retry_after": "7", "retry_after": "8", "x_ratelimit_reset": "9"}, 7),
        ({"retry_after": "8", "x_ratelimit_reset": "9"}, 8),
        ({"retry_after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30),
        ({"retry_after": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30),
        ({"retry_after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        ({"x_ratelimit_reset": "9"}, 9),
        ({"x_ratelimit_reset": str(int(NOW) + 40)}, 40),
        ({"x_ratelimit_reset": str(int(NOW) - 40)}, 0),
        ({"x_ratelimit_reset": str(int(NOW) * 1000)}, 3600),
        ({"retry_after": "86400"}, 3600),
        ({"x_ratelimit_retry_after": "soon", "retry_after": "-5", "x_ratelimit_reset": "9"}, 9),
        *(
            ({"retry_after": garbage}, None)
            for garbage in ("", "soon", "-1", "nan", "inf", "1e9", "٣", "9" * 400, "Sun, 99 Foo 2026 12:00:30 GMT")
        ),
    ],
)
def test_a_rate_limit_reports_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    verdict = braze.judge(reply(429, {}, **headers), SENT, NOW)

    assert isinstance(verdict, Wait)
    assert verdict.seconds == seconds


@pytest.mark.parametrize("status", [200, 201, 301, 400, 401, 403, 404, 413, 415, 422, 429, 500, 503])
@pytest.mark.parametrize("text", [f"Invalid API key: {KEY}", f"<p>{KEY}</p>"])
def test_no_reason_repeats_the_key_of_a_reply(status: int, text: str) -> None:
    bodies = [text.encode(), json.dumps({"message": text, "errors": [text]}).encode()]

    verdicts = [braze.judge(Reply(status, {"retry-after": text}, body), SENT, NOW) for body in bodies]

    assert KEY not in repr(verdicts)


# Whatever comes


odd = st.sampled_from(
    ["", " ", "$a", "a.b", "a b", "time", "event_name", "price", "currency", "email", " dob", "_x", "add", "inc", LONG]
)
texts = st.text(st.characters(), max_size=8) | odd | st.integers(250, 260).map(lambda size: "ä" * size)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4) | st.just([1] * 501),
    max_leaves=8,
)
fields = st.dictionaries(texts, values, max_size=5)
times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=13)), None]))
members = texts | st.sampled_from(["a@example.com", "+4915112345678"])
profile_values = values | st.sampled_from(
    ["a@example.com", "+4915112345678", "M", "DE", "de", "opted_in", "1980-01-01"]
)
updates = st.builds(
    MemberUpdate,
    event_id=st.just("e"),
    member=members,
    time=st.just(NOON),
    identified_by=st.sampled_from(["id", "email", "phone"]),
    profile=st.dictionaries(st.sampled_from(get_args(ProfileField)), profile_values, max_size=4),
    attributes=fields,
    custom=fields,
    event=st.none() | st.builds(Event, texts, times, fields),
    purchase=st.none()
    | st.builds(Purchase, texts, st.floats(), st.sampled_from(["EUR", "x", ""]), times, st.integers(-1, 102), fields),
)
rulesets = st.builds(
    BrazeRules,
    identifier_type=st.sampled_from(["external_id", "user_alias"]),
    update_existing_only=st.booleans(),
    purchase_product_id=st.sampled_from([None, "Loyalty purchase"]),
)


def check_values(value: object, *, in_attribute: bool) -> None:
    if isinstance(value, str):
        assert len(value) <= 255
    elif isinstance(value, list):
        assert not in_attribute or len(value) <= 500
        for item in value:
            assert item is not None
            check_values(item, in_attribute=in_attribute)
    elif isinstance(value, dict):
        if in_attribute and value.keys() == {"$time"}:
            return
        for key, item in value.items():
            assert key.strip()
            assert len(key) <= 255
            assert not key.startswith("$")
            assert not in_attribute or not re.search(r"[.$ ]", key)
            assert item is not None
            check_values(item, in_attribute=in_attribute)


def check_profile(fields: Mapping[str, Any]) -> None:
    patterns = {
        "email": r"[^@ ]+@[^@ ]+\.[^@ ]+",
        "phone": r"\+\d+",
        "dob": r"\d{4}-\d\d-\d\d",
        "gender": "[MFONP]",
        "country": "[A-Z]{2}",
        "language": "[a-z]+",
        "email_subscribe": "opted_in|subscribed|unsubscribed",
        "push_subscribe": "opted_in|subscribed|unsubscribed",
    }
    for name in RESERVED_NAMES:
        value = fields.get(name)
        if name in patterns and value is not None:
            assert re.fullmatch(patterns[name], value)


def check_attributes(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        assert name == name.strip()
        assert 1 <= len(name) <= 255
        assert not name.startswith("$")
        check_values(value, in_attribute=True)
        assert not (isinstance(value, dict) and value and value.keys() <= {"inc", "add", "remove"})
    check_profile(fields)
    own = {"first_name", "last_name", "home_city", "email", "phone", "dob", "gender", "country", "language",
           "email_subscribe", "push_subscribe", "_merge_objects"}  # fmt: skip
    assert not fields.keys() & (set(RESERVED_NAMES) - own)


def check_identity(fields: dict[str, Any]) -> None:
    """Take the identifier out of the fields."""
    flag = fields.pop("_update_existing_only", None)
    if alias := fields.pop("user_alias", None):
        assert isinstance(flag, bool)
        assert all(0 < len(part.encode()) <= 236 for part in alias.values())
        assert "external_id" not in fields
    elif "external_id" in fields:
        assert 0 < len(fields.pop("external_id").encode()) <= 987
    else:
        assert fields.keys() & {"email", "phone"}


def check_event(fields: Mapping[str, Any], reserved: set[str], most: int) -> None:
    assert datetime.fromisoformat(fields["time"]).tzinfo
    properties = fields.get("properties", {"none": 0})
    assert properties
    assert not properties.keys() & reserved
    assert len(properties) <= 256
    assert len(json.dumps(properties, ensure_ascii=False, separators=(",", ":")).encode()) <= most
    check_values(properties, in_attribute=False)


def check_purchase(fields: Mapping[str, Any]) -> None:
    assert 1 <= len(fields["product_id"]) <= 255
    assert re.fullmatch("[A-Z]{3}", fields["currency"])
    assert isinstance(fields["price"], int | float)
    assert isinstance(fields["quantity"], int)
    assert 1 <= fields["quantity"] <= 100
    for value in fields.get("properties", {}).values():
        flat = value if isinstance(value, list) else [value]
        assert not any(isinstance(item, dict | list) for item in flat)


@given(updates, rulesets)
def test_whatever_comes_the_wire_objects_keep_to_every_limit(arbitrary: MemberUpdate, rules: BrazeRules) -> None:
    try:
        translation = braze.translate(arbitrary, rules)
    except Invalid:
        return

    sent = braze.attribute_objects(translation.identity, translation.attributes, rules)
    sent += [item for item in (translation.event, translation.purchase) if item]
    request = json.loads(braze.body(sent), parse_constant=pytest.fail)
    for fields in (each for array in request.values() for each in array):
        check_identity(fields)
    for fields in request.get("attributes", []):
        check_attributes(fields)
    for fields in request.get("events", []):
        assert 1 <= len(fields["name"]) <= 255
        assert not fields["name"].startswith("$")
        check_event(fields, {"time", "event_name"}, 100 * 1024)
    for fields in request.get("purchases", []):
        check_purchase(fields)
        check_event(fields, {"time", "product_id", "quantity", "event_name", "price", "currency"}, 50 * 1024)
    json.dumps([dataclasses.asdict(refusal) for refusal in translation.field_errors], ensure_ascii=False).encode()


@given(updates, rulesets)
def test_whatever_is_not_sent_is_refused_by_name(arbitrary: MemberUpdate, rules: BrazeRules) -> None:
    try:
        translation = braze.translate(arbitrary, rules)
    except Invalid:
        return

    values = {(refusal.part, refusal.field) for refusal in translation.field_errors}
    names = {path[0] for path in translation.attributes}
    for name in arbitrary.custom:
        shown = re.sub("[\x00\ud800-\udfff]", "?", name[:64])
        assert name.strip() in names or ("attributes", f"custom.{shown}") in values
    event_is_refused = bool(values & {("event", "event.name"), ("event", "event.time")})
    assert (translation.event is None) == (arbitrary.event is None or event_is_refused)


json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
errors = st.fixed_dictionaries(
    {},
    optional={
        "input_array": st.sampled_from(["attributes", "events", "purchases", "users"]) | json_values,
        "index": st.integers(-2, 5) | json_values,
        "type": st.text(max_size=300) | json_values,
    },
)
said = st.fixed_dictionaries(
    {},
    optional={
        "message": st.text() | json_values,
        "errors": st.lists(errors | json_values, max_size=5) | json_values,
        "events_processed": st.integers(0, 3) | json_values,
    },
)
headers = st.dictionaries(
    st.sampled_from(["x-ratelimit-retry-after", "retry-after", "x-ratelimit-reset"]),
    st.text(max_size=12) | st.integers().map(str) | st.datetimes().map(lambda at: f"{at:%a, %d %b %Y %H:%M:%S} GMT"),
)
replies = st.builds(
    Reply,
    st.sampled_from([200, 201, 202, 400, 422, 429]) | st.integers(0, 999),
    headers,
    st.binary(max_size=20) | (said | json_values).map(lambda value: json.dumps(value).encode()),
)
sendings = st.lists(st.sampled_from(["attributes", "events", "purchases"]), max_size=5).map(lambda of: objects(*of))


@given(replies, sendings, st.floats(0, 4e9))
def test_whatever_the_reply_is_it_has_a_verdict_about_objects_that_were_sent(
    given_reply: Reply, sent: Sequence[WireObject], now: float
) -> None:
    verdict = braze.judge(given_reply, sent, now)

    if isinstance(verdict, Accepted | Rejected):
        assert verdict.rejected.keys() <= set(range(len(sent)))
        assert all(reason and len(reason) <= 300 and reason.isprintable() for reason in verdict.rejected.values())
    if isinstance(verdict, Wait) and verdict.seconds is not None:
        assert 0 <= verdict.seconds <= 3600
    repr(verdict).encode()


@pytest.mark.parametrize("index", [1, "1", 1.0])
@pytest.mark.parametrize("key", ["type", "message", "error"])
def test_an_error_names_its_object_and_reason_however_they_are_written(index: object, key: str) -> None:
    sent = objects("attributes", "events", "events")
    said = {
        "message": "success",
        "events_processed": 1,
        "errors": [{key: "x", "input_array": "events", "index": index}],
    }

    assert braze.judge(reply(201, said), sent, NOW) == Accepted({2: "x"})
