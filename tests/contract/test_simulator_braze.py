"""The simulated Braze refuses, drops and keeps what Braze documents that it does, and misbehaves on demand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from simulators.braze import Braze, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulators.braze_workspace import Workspace

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
ROOT = Path(__file__).parents[2]
UUID = "3b0f1e0a-94a4-4f0d-9a53-3f6c5f0a2b11"


@pytest.fixture(scope="module")
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=NOW)


@pytest.fixture(scope="module")
def braze(clock: SimpleNamespace) -> Iterator[Braze]:
    with simulate(clock=lambda: clock.now) as running:
        yield running


@pytest.fixture
def workspace(braze: Braze, request: pytest.FixtureRequest) -> Workspace:
    return braze.workspace(request.node.nodeid)


def attributes(**fields: Any) -> dict[str, Any]:
    return {"external_id": "m-1"} | fields


def event(**fields: Any) -> dict[str, Any]:
    return {"external_id": "m-1", "name": "tier_changed", "time": "2023-11-01T10:00:00Z"} | fields


def purchase(**fields: Any) -> dict[str, Any]:
    basket = {"product_id": "EARN", "currency": "EUR", "price": 12.5, "time": "2023-11-01T10:00:00Z"}
    return {"external_id": "m-1"} | basket | fields


def without(item: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != field}


def alias(name: str, label: str = "account") -> dict[str, str]:
    return {"alias_name": name, "alias_label": label}


def headers(workspace: Workspace) -> dict[str, str]:
    return {"Authorization": f"Bearer {workspace.key}", "Content-Type": "application/json"}


def post(braze: Braze, workspace: Workspace, body: Any, timeout: float = 5, **options: Any) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    options = {"headers": headers(workspace)} | options
    return requests.post(f"{braze.url}/users/track", data, timeout=timeout, **options)


def connected(braze: Braze) -> socket.socket:
    host, port = braze.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def head(workspace: Workspace, length: int) -> bytes:
    fields = {"Content-Length": str(length)} | headers(workspace)
    lines = ["POST /users/track HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def stored(workspace: Workspace) -> list[dict[str, Any]]:
    return [dict(it.object) for it in (*workspace.attributes, *workspace.events, *workspace.purchases)]


def fields_of(workspace: Workspace, **identifier: Any) -> dict[str, Any]:
    profile = workspace.profile(**identifier)
    assert profile
    return profile.fields | profile.custom


# Rule, array, an object that keeps it, one that breaks it, and what the error says.
RULES: list[tuple[str, str, Any, Any, str]] = [
    ("an object", "attributes", attributes(), "m-1", "must be an object"),
    ("one primary identifier", "events", event(), event(braze_id="b"), "You must specify only one of"),
    ("an identifier", "events", event(), without(event(), "external_id"), "is required"),
    ("external_id is text", "events", event(external_id="7"), event(external_id=7), "'external_id'"),
    ("external_id in bytes", "events", event(external_id="ü" * 493), event(external_id="ü" * 494), "987 bytes"),
    (
        "alias in bytes",
        "attributes",
        {"user_alias": alias("ü" * 118), "_update_existing_only": False},
        {"user_alias": alias("ü" * 119), "_update_existing_only": False},
        "'alias_name'",
    ),
    (
        "alias has a label",
        "attributes",
        {"user_alias": alias("a"), "_update_existing_only": False},
        {"user_alias": alias("a", ""), "_update_existing_only": False},
        "'alias_label'",
    ),
    (
        "alias is an object",
        "attributes",
        {"user_alias": alias("a"), "_update_existing_only": False},
        {"user_alias": "a"},
        "'user_alias'",
    ),
    ("braze_id is text", "attributes", {"braze_id": "b"}, {"braze_id": None}, "'braze_id'"),
    ("flags are booleans", "events", event(_update_existing_only=False), event(_update_existing_only="no"), "boolean"),
    (
        "email finds",
        "events",
        without(event(email="a@b.co"), "external_id"),
        without(event(email="a@b"), "external_id"),
        "'email'",
    ),
    (
        "phone finds",
        "events",
        without(event(phone="+491711234567"), "external_id"),
        without(event(phone="0171"), "external_id"),
        "'phone'",
    ),
    ("email", "attributes", attributes(email="ann.lee@example.com"), attributes(email="ann.lee@"), "'email'"),
    ("email_subscribe", "attributes", attributes(email_subscribe="opted_in"), attributes(email_subscribe="yes"), "op"),
    ("push_subscribe", "attributes", attributes(push_subscribe="subscribed"), attributes(push_subscribe=True), "opted"),
    ("phone", "attributes", attributes(phone="(504) 327-7269"), attributes(phone="123"), "'phone'"),
    ("first_name", "attributes", attributes(first_name="Ann"), attributes(first_name=1), "'first_name'"),
    ("last_name", "attributes", attributes(last_name=""), attributes(last_name=["Lee"]), "'last_name'"),
    ("home_city", "attributes", attributes(home_city="Bonn"), attributes(home_city={}), "'home_city'"),
    ("dob", "attributes", attributes(dob="1980-02-29"), attributes(dob="1981-02-29"), "'dob'"),
    ("dob without time", "attributes", attributes(dob=None), attributes(dob="1981-02-28T00:00:00Z"), "'dob'"),
    ("gender", "attributes", attributes(gender="P"), attributes(gender="female"), "'gender'"),
    ("language", "attributes", attributes(language="de"), attributes(language="german"), "'language'"),
    ("image_url", "attributes", attributes(image_url="u" * 1024), attributes(image_url="u" * 1025), "'image_url'"),
    (
        "current_location",
        "attributes",
        attributes(current_location={"longitude": 7.1, "latitude": 50.7}),
        attributes(current_location={"longitude": 7.1}),
        "'current_location'",
    ),
    (
        "date_of_first_session",
        "attributes",
        attributes(date_of_first_session="2023-01-02"),
        attributes(date_of_first_session="yesterday"),
        "'date_of_first_session'",
    ),
    (
        "subscription group",
        "attributes",
        attributes(subscription_groups=[{"subscription_group_id": UUID, "subscription_state": "subscribed"}]),
        attributes(subscription_groups=[{"subscription_group_id": "g", "subscription_state": "subscribed"}]),
        "'subscription_group_id'",
    ),
    (
        "subscription group's state",
        "attributes",
        attributes(subscription_groups=[{"subscription_group_id": UUID, "subscription_state": "unsubscribed"}]),
        attributes(subscription_groups=[{"subscription_group_id": UUID, "subscription_state": "opted_in"}]),
        "'subscription_state'",
    ),
    ("subscription groups", "attributes", attributes(subscription_groups=[]), attributes(subscription_groups={}), "ar"),
    (
        "push token",
        "attributes",
        attributes(push_tokens=[{"app_id": "a", "token": "t", "device_id": "12345678"}]),
        attributes(push_tokens=[{"app_id": "a", "token": "t", "device_id": "1234567"}]),
        "'device_id'",
    ),
    (
        "push token import",
        "attributes",
        {"push_token_import": True, "push_tokens": [{"app_id": "a", "token": "t"}]},
        attributes(push_token_import=True, push_tokens=[{"app_id": "a", "token": "t"}]),
        "Token imports",
    ),
    ("tracking", "attributes", attributes(email_open_tracking_disabled=True), attributes(twitter=1), "'twitter'"),
    ("subscription info", "attributes", attributes(), attributes(email_subscription_info={}), "_info'"),
    ("custom text", "attributes", attributes(note="ü" * 255), attributes(note="n" * 256), "'note'"),
    ("custom array", "attributes", attributes(tags=["a", 1, True]), attributes(tags=["a", None]), "'tags'"),
    ("custom array's text", "attributes", attributes(tags=["t" * 255]), attributes(tags=["t" * 256]), "'tags'"),
    ("added text", "attributes", attributes(tags={"add": ["a"]}), attributes(tags={"add": [[]]}), "'tags'"),
    ("event name", "events", event(name="n" * 255), event(name="n" * 256), "'name'"),
    ("event name present", "events", event(), without(event(), "name"), "'name'"),
    ("event time", "events", event(time="2013-07-16T19:20:30+01:00"), event(time=1373998830), "'time'"),
    ("event time's form", "events", event(time="2013-07-16T19:20:30:123Z"), event(time="16.07.2013"), "'time'"),
    ("event time exists", "events", event(time="2024-02-29"), event(time="2023-02-29"), "'time'"),
    ("event app", "events", event(app_id="a"), event(app_id=1), "'app_id'"),
    ("event properties", "events", event(properties={"a": 1}), event(properties=[1]), "Invalid 'properties' field"),
    ("reserved property", "events", event(properties={"name": "n"}), event(properties={"time": 1}), "Invalid 'prop"),
    ("reserved event name", "events", event(properties={}), event(properties={"event_name": 1}), "Invalid 'prop"),
    ("property text", "events", event(properties={"a": "x" * 255}), event(properties={"a": "x" * 256}), "Invalid"),
    (
        "property text inside",
        "events",
        event(properties={"a": [{"b": "x" * 255}]}),
        event(properties={"a": [{"b": "x" * 256}]}),
        "Invalid 'properties' field",
    ),
    ("product", "purchases", purchase(product_id="p" * 255), purchase(product_id="p" * 256), "'product_id'"),
    ("product present", "purchases", purchase(), without(purchase(), "product_id"), "'product_id'"),
    ("currency", "purchases", purchase(currency="JPY"), purchase(currency="EURO"), "'currency' must be an ISO 4217"),
    ("currency in capitals", "purchases", purchase(), purchase(currency="eur"), "'currency'"),
    ("price", "purchases", purchase(price=-12.5), purchase(price="12.5"), "'price'"),
    ("price present", "purchases", purchase(price=0), without(purchase(), "price"), "'price'"),
    ("quantity", "purchases", purchase(quantity=100), purchase(quantity=101), "'quantity'"),
    ("quantity above zero", "purchases", purchase(quantity=1), purchase(quantity=0), "'quantity'"),
    ("quantity is whole", "purchases", purchase(quantity=2), purchase(quantity=1.5), "'quantity'"),
    ("purchase time", "purchases", purchase(time="2023-11-01 10:00:00"), without(purchase(), "time"), "'time'"),
    ("purchase property", "purchases", purchase(properties={"store": 1}), purchase(properties={"price": 1}), "Invalid"),
    (
        "purchase properties' size",
        "purchases",
        purchase(properties={"codes": ["x" * 250] * 200}),
        purchase(properties={"codes": ["x" * 250] * 205}),
        "Invalid 'properties' field",
    ),
]


@pytest.mark.parametrize(("array", "item"), [pytest.param(it[1], it[2], id=it[0]) for it in RULES])
def test_an_object_that_keeps_the_rule_is_processed(braze: Braze, workspace: Workspace, array: str, item: Any) -> None:
    reply = post(braze, workspace, {array: [item]})

    assert (reply.status_code, reply.json()) == (201, {"message": "success", f"{array}_processed": 1})
    assert workspace.silently_dropped == []


@pytest.mark.parametrize(("array", "item", "sentence"), [pytest.param(it[1], it[3], it[4], id=it[0]) for it in RULES])
def test_an_object_that_breaks_the_rule_is_refused_and_the_others_are_processed(
    braze: Braze, workspace: Workspace, array: str, item: Any, sentence: str
) -> None:
    body: dict[str, list[Any]] = {"attributes": [attributes(external_id="good")]}
    body.setdefault(array, []).append(item)

    reply = post(braze, workspace, body)

    (error,) = reply.json()["errors"]
    assert reply.status_code == 201
    assert reply.json()["message"] == "success"
    assert (error["input_array"], error["index"]) == (array, len(body[array]) - 1)
    assert sentence in error["type"]
    assert reply.json()[f"{array}_processed"] == len(body[array]) - 1
    assert stored(workspace) == [attributes(external_id="good")]


# Rule, array, an object that keeps it, one that breaks it, and the field that Braze leaves out without an error.
SILENT: list[tuple[str, str, Any, Any, str]] = [
    ("country", "attributes", attributes(country="DE"), attributes(country="Atlantis"), "country"),
    ("time_zone", "attributes", attributes(time_zone="Europe/Berlin"), attributes(time_zone="Mars/Base"), "time_zone"),
    ("name without $", "attributes", attributes(a=1), attributes(**{"$a": 1}), "$a"),
    ("name's length", "attributes", attributes(**{"n" * 255: 1}), attributes(**{"n" * 256: 1}), "n" * 256),
    ("a name", "attributes", attributes(**{" a ": 1}), attributes(**{" ": 1}), " "),
    ("no null inside", "attributes", attributes(o={"a": 1}, p=None), attributes(o={"a": {"b": None}}), "o"),
    ("no null in a list", "attributes", attributes(o=[{"a": 1}]), attributes(o=[{"a": None}]), "o"),
    ("key without space", "attributes", attributes(o={"a_b": 1}), attributes(o={"a b": 1}), "o"),
    ("key without dot", "attributes", attributes(o={"a": {"b": 1}}), attributes(o={"a.b": 1}), "o"),
    ("key without $", "attributes", attributes(o={"a": 1}), attributes(o={"$a": 1}), "o"),
    ("key's length", "attributes", attributes(o={"k" * 255: 1}), attributes(o={"k" * 256: 1}), "o"),
    ("text inside", "attributes", attributes(o={"a": "x" * 255}), attributes(o={"a": "x" * 256}), "o"),
    ("$time", "attributes", attributes(o={"a": {"$time": "2023-01-02"}}), attributes(o={"a": {"$time": "soon"}}), "o"),
    ("$add", "attributes", attributes(o={"$add": [{"a": 1}]}), attributes(o={"$add": [{"a": None}]}), "o"),
    ("$add an object", "attributes", attributes(o={"$add": [{}]}), attributes(o={"$add": [1]}), "o"),
    ("$add objects", "attributes", attributes(o={"$add": []}), attributes(o={"$add": {"a": 1}}), "o"),
    (
        "object's size",
        "attributes",
        attributes(o={f"k{i}": "x" * 240 for i in range(400)}),
        attributes(o={f"k{i}": "x" * 240 for i in range(420)}),
        "o",
    ),
    ("array's length", "attributes", attributes(t=[*range(500)]), attributes(t=[*range(501)]), "t"),
    ("event without $", "events", event(name="a$"), event(name="$a"), "name"),
    ("property without $", "events", event(properties={"a$": 1}), event(properties={"$a": 1}), "properties.$a"),
    ("property's name", "events", event(properties={"a": 1}), event(properties={"": 1}), "properties."),
    ("property's value", "events", event(properties={"a": ""}), event(properties={"a": None}), "properties.a"),
    (
        "no date in an array",
        "events",
        event(properties={"a": "2023-01-02", "b": ["x"]}),
        event(properties={"b": ["2023-01-02"]}),
        "properties.b",
    ),
    (
        "number of properties",
        "events",
        event(properties={f"p{i}": i for i in range(256)}),
        event(properties={f"p{i}": i for i in range(257)}),
        "properties.p256",
    ),
    ("product's property", "purchases", purchase(properties={"a": 1}), purchase(properties={"$a": 1}), "properties.$a"),
]


@pytest.mark.parametrize(("array", "item"), [pytest.param(it[1], it[2], id=it[0]) for it in SILENT])
def test_nothing_is_left_out_of_an_object_that_keeps_the_silent_rule(
    braze: Braze, workspace: Workspace, array: str, item: Any
) -> None:
    reply = post(braze, workspace, {array: [item]})

    assert (reply.status_code, reply.json()) == (201, {"message": "success", f"{array}_processed": 1})
    assert workspace.silently_dropped == []


@pytest.mark.parametrize(("array", "item", "field"), [pytest.param(it[1], it[3], it[4], id=it[0]) for it in SILENT])
def test_what_breaks_the_silent_rule_is_left_out_with_a_success_and_noted_here(
    braze: Braze, workspace: Workspace, array: str, item: Any, field: str
) -> None:
    reply = post(braze, workspace, {array: [item]})

    (note,) = workspace.silently_dropped
    assert (reply.status_code, reply.json()) == (201, {"message": "success", f"{array}_processed": 1})
    assert (note.input_array, note.position, note.field) == (array, 0, field)
    assert note.reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("gold", 3, id="text, number"),
        pytest.param(3, "3", id="number, text"),
        pytest.param(3, True, id="number, boolean"),
        pytest.param("2023-01-02", "gold", id="date, text"),
        pytest.param({"a": 1}, [{"a": 1}], id="object, array of objects"),
        pytest.param(["a"], [{"a": 1}], id="array, array of objects"),
        pytest.param("gold", [], id="text, empty array"),
        pytest.param("gold", {"inc": 1}, id="text, increment"),
    ],
)
def test_a_later_value_of_another_type_is_ignored(braze: Braze, workspace: Workspace, first: Any, second: Any) -> None:
    post(braze, workspace, {"attributes": [attributes(level=first), attributes(external_id="m-2", level=second)]})

    assert [note.field for note in workspace.silently_dropped] == ["level"]
    assert fields_of(workspace, external_id="m-2") == {}


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        pytest.param(3, 3.5, 3.5, id="number"),
        pytest.param("gold", "2023-01-02", "2023-01-02", id="text that looks like a date"),
        pytest.param(3, {"inc": -1}, 2, id="increment"),
        pytest.param(["a", "b"], {"add": ["a", "c"], "remove": ["b"]}, ["a", "c"], id="add and remove"),
        pytest.param(["a"], ["b", "b"], ["b"], id="array of unique values"),
        pytest.param({"a": 1}, {"b": 2}, {"b": 2}, id="object is replaced"),
        pytest.param([{"i": 1}, {"i": 2}], [], [], id="array of objects emptied"),
        pytest.param(
            [{"i": 1, "a": 1}, {"i": 2, "a": 1}],
            {
                "$add": [{"i": 3}],
                "$remove": [{"$identifier_key": "i", "$identifier_value": 1}],
                "$update": [{"$identifier_key": "i", "$identifier_value": 2, "$new_object": {"i": 2}}],
            },
            [{"i": 2}, {"i": 3}],
            id="array of objects edited",
        ),
    ],
)
def test_a_later_value_updates_the_attribute(
    braze: Braze, workspace: Workspace, first: Any, second: Any, result: Any
) -> None:
    post(braze, workspace, {"attributes": [attributes(level=first), attributes(level=second)]})

    assert fields_of(workspace, external_id="m-1") == {"level": result}
    assert workspace.silently_dropped == []


def test_merging_goes_deep_and_keeps_what_was_received(braze: Braze, workspace: Workspace) -> None:
    whole = attributes(balance={"points": 10, "locked": {"points": 1, "until": 2}})
    partial = attributes(balance={"locked": {"points": 3}}, _merge_objects=True)

    post(braze, workspace, {"attributes": [whole, partial]})

    balance = {"points": 10, "locked": {"points": 3, "until": 2}}
    assert fields_of(workspace, external_id="m-1") == {"balance": balance}
    assert stored(workspace) == [whole, partial]


def test_a_merge_that_grows_an_object_beyond_100_kb_is_left_out(braze: Braze, workspace: Workspace) -> None:
    half = {f"a{i}": "x" * 240 for i in range(300)}
    post(braze, workspace, {"attributes": [attributes(big=half)]})

    post(
        braze,
        workspace,
        {"attributes": [attributes(big={f"b{i}": "x" * 240 for i in range(300)}, _merge_objects=True)]},
    )

    assert [note.field for note in workspace.silently_dropped] == ["big"]
    assert fields_of(workspace, external_id="m-1") == {"big": half}


def test_one_bad_nested_value_costs_every_nested_update_of_that_attribute(braze: Braze, workspace: Workspace) -> None:
    objects = [attributes(balance={"points": 1}, tier="gold"), attributes(external_id="m-2", balance={"points": None})]

    post(braze, workspace, {"attributes": objects})

    assert [(note.position, note.field) for note in workspace.silently_dropped] == [(0, "balance"), (1, "balance")]
    assert fields_of(workspace, external_id="m-1") == {"tier": "gold"}


def test_null_removes_a_value(braze: Braze, workspace: Workspace) -> None:
    post(braze, workspace, {"attributes": [attributes(email="a@b.co", tier="gold", first_name="Ann")]})

    post(braze, workspace, {"attributes": [attributes(email=None, tier=None)]})

    assert fields_of(workspace, external_id="m-1") == {"first_name": "Ann"}
    assert workspace.profile(email="a@b.co") is None


def test_fields_are_kept_as_braze_reads_them(braze: Braze, workspace: Workspace) -> None:
    post(
        braze, workspace, {"attributes": [attributes(phone="(504) 327-7269", country="Germany", **{" tier ": "gold"})]}
    )

    assert fields_of(workspace, external_id="m-1") == {"phone": "+15043277269", "country": "DE", "tier": "gold"}


def test_an_unknown_country_empties_the_field(braze: Braze, workspace: Workspace) -> None:
    post(braze, workspace, {"attributes": [attributes(country="DE"), attributes(country="Atlantis")]})

    assert fields_of(workspace, external_id="m-1") == {}


def test_a_consent_reaches_every_user_with_the_address(braze: Braze, workspace: Workspace) -> None:
    post(braze, workspace, {"attributes": [attributes(external_id=it, email="A@b.co") for it in ("m-1", "m-2")]})

    post(braze, workspace, {"attributes": [attributes(email_subscribe="unsubscribed")]})

    assert fields_of(workspace, external_id="m-2")["email_subscribe"] == "unsubscribed"


@pytest.mark.parametrize("array", ["attributes", "events", "purchases"])
@pytest.mark.parametrize(
    ("user", "created"),
    [
        pytest.param({"external_id": "m-1"}, True, id="external id"),
        pytest.param({"external_id": "m-1", "_update_existing_only": False}, True, id="external id, explicitly"),
        pytest.param({"external_id": "m-1", "_update_existing_only": True}, False, id="external id, update only"),
        pytest.param({"user_alias": alias("a"), "_update_existing_only": False}, True, id="alias, explicitly"),
        pytest.param({"user_alias": alias("a")}, False, id="alias"),
        pytest.param({"user_alias": alias("a"), "_update_existing_only": True}, False, id="alias, update only"),
        pytest.param({"braze_id": "0a"}, False, id="braze id"),
        pytest.param({"email": "a@b.co"}, True, id="email"),
        pytest.param({"email": "a@b.co", "_update_existing_only": True}, False, id="email, update only"),
        pytest.param({"phone": "+491711234567"}, True, id="phone"),
    ],
)
def test_an_unknown_user_is_created_or_the_object_is_ignored(
    braze: Braze, workspace: Workspace, array: str, user: dict[str, Any], created: bool
) -> None:
    item = without({"attributes": attributes, "events": event, "purchases": purchase}[array](), "external_id") | user

    reply = post(braze, workspace, {array: [item]})

    assert (reply.status_code, reply.json()) == (201, {"message": "success", f"{array}_processed": 1})
    assert stored(workspace) == [item] * created
    assert len(workspace.ignored) == (not created)
    assert (workspace.profile(**without(user, "_update_existing_only")) is not None) == created


def test_attributes_come_first_so_that_events_find_the_alias_they_create(braze: Braze, workspace: Workspace) -> None:
    known = {"user_alias": alias("a"), "_update_existing_only": False}

    post(braze, workspace, {"events": [without(event(user_alias=alias("a")), "external_id")], "attributes": [known]})

    assert workspace.ignored == []
    assert workspace.events[0].braze_id == workspace.attributes[0].braze_id


def test_an_email_means_the_user_with_an_external_id_who_was_updated_last(
    braze: Braze, workspace: Workspace, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, user in enumerate([{"external_id": "old"}, {"external_id": "new"}]):
        monkeypatch.setattr(clock, "now", NOW + seconds)
        post(braze, workspace, {"attributes": [user | {"email": "a@b.co"}]})
    monkeypatch.setattr(clock, "now", NOW + 9)
    only = {"user_alias": alias("a"), "_update_existing_only": False, "email": "a@b.co"}
    post(braze, workspace, {"attributes": [only]})

    post(braze, workspace, {"attributes": [{"email": "a@b.co", "tier": "gold"}]})

    assert fields_of(workspace, external_id="new")["tier"] == "gold"


def test_objects_are_kept_with_the_time_they_came_and_a_future_time_becomes_now(
    braze: Braze, workspace: Workspace
) -> None:
    past, future = event(time="2023-11-14T22:13:19.5"), event(time="2023-11-15T00:00:00+00:00")

    post(braze, workspace, {"events": [past, future]})

    assert [(it.received_at, it.time, it.object) for it in workspace.events] == [
        (NOW, NOW - 0.5, past),
        (NOW, NOW, future),
    ]


def test_when_no_object_is_good_the_request_is_refused_with_the_errors(braze: Braze, workspace: Workspace) -> None:
    reply = post(braze, workspace, {"events": [event(name="")], "purchases": [purchase(currency="EURO")]})

    assert reply.status_code == 400
    assert (
        reply.json()["message"] == "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
    )
    assert [(it["input_array"], it["index"]) for it in reply.json()["errors"]] == [("events", 0), ("purchases", 0)]


def test_counts_are_returned_for_the_arrays_that_were_sent(braze: Braze, workspace: Workspace) -> None:
    reply = post(braze, workspace, {"attributes": [attributes()] * 2, "purchases": [purchase()], "events": []})

    counts = {"attributes_processed": 2, "events_processed": 0, "purchases_processed": 1}
    assert reply.json() == {"message": "success"} | counts


@pytest.mark.parametrize(
    ("limit", "counts", "status"),
    [
        ("combined", (25, 25, 25), 201),
        ("combined", (26, 25, 25), 400),
        ("combined", (75, 0, 0), 201),
        ("combined", (0, 76, 0), 400),
        ("per_array", (75, 75, 75), 201),
        ("per_array", (75, 75, 76), 400),
    ],
)
def test_a_request_holds_75_objects(
    braze: Braze, workspace: Workspace, limit: str, counts: tuple[int, int, int], status: int
) -> None:
    workspace.configure(object_limit=limit)
    one = {"attributes": attributes(), "events": event(), "purchases": purchase()}

    reply = post(braze, workspace, {array: [one[array]] * count for array, count in zip(one, counts, strict=True)})

    assert reply.status_code == status
    assert len(stored(workspace)) == sum(counts) * (status == 201)
    assert (reply.json()["message"] == "Max Input Length Exceeded") == (status == 400)
    assert [request.objects for request in workspace.requests] == [sum(counts)]


@pytest.mark.parametrize(("array", "item"), [("events", event()), ("purchases", purchase())])
def test_properties_above_100_kb_cost_the_whole_request(
    braze: Braze, workspace: Workspace, array: str, item: dict[str, Any]
) -> None:
    reply = post(braze, workspace, {array: [item, item | {"properties": {"codes": ["x" * 250] * 410}}]})

    assert reply.status_code == 400
    assert stored(workspace) == []


EVENT = json.dumps({"events": [event()]}).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(EVENT, 201, id="JSON"),
        pytest.param(EVENT[:-1], 400, id="half of it"),
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"{}", 400, id="no array"),
        pytest.param(b"[]", 400, id="no object"),
        pytest.param(b'{"events": {}}', 400, id="an array that is none"),
        pytest.param(b'{"events": []}', 400, id="no objects"),
        pytest.param(EVENT.replace(b"m-1", "mü".encode()), 201, id="UTF-8"),
        pytest.param(EVENT.replace(b"m-1", "mü".encode("latin-1")), 400, id="Latin-1"),
        pytest.param(EVENT.decode().encode("utf-16"), 400, id="UTF-16"),
        pytest.param(EVENT.replace(b"m-1", rb"\ud83d\ude00"), 201, id="a surrogate pair"),
        pytest.param(EVENT.replace(b"m-1", rb"\ud83d"), 400, id="half a surrogate pair"),
        pytest.param(EVENT.replace(b'"m-1"', b"NaN"), 400, id="NaN"),
        pytest.param(b"[" * 100_000, 400, id="deep"),
        pytest.param(EVENT.ljust(4 * 1024 * 1024), 201, id="4 MB"),
        pytest.param(EVENT.ljust(4 * 1024 * 1024 + 1), 413, id="above 4 MB"),
    ],
)
def test_a_body_is_utf_8_json_of_at_most_4_mb(braze: Braze, workspace: Workspace, body: bytes, status: int) -> None:
    reply = post(braze, workspace, body)

    assert reply.status_code == status
    assert len(stored(workspace)) == (status == 201)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 201), ("application/json; charset=utf-8", 201), ("text/plain", 415), (None, 415)],
)
def test_a_body_is_declared_as_json(braze: Braze, workspace: Workspace, content_type: str | None, status: int) -> None:
    reply = post(braze, workspace, EVENT, headers=headers(workspace) | {"Content-Type": content_type})

    assert reply.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/users/track", 201),
        ("POST", "/users/track/", 403),
        ("POST", "/user/track", 404),
        ("GET", "/users/track", 404),
    ],
)
def test_only_the_exact_path_is_served(braze: Braze, workspace: Workspace, method: str, path: str, status: int) -> None:
    reply = requests.request(method, braze.url + path, data=EVENT, headers=headers(workspace), timeout=5)

    assert reply.status_code == status
    assert reply.json()["message"]


@pytest.mark.parametrize("authorization", ["Bearer unknown", "Basic {key}", "{key}", 'Bearer "{key}"', "Bearer ", None])
def test_a_wrong_key_is_unauthorized(braze: Braze, workspace: Workspace, authorization: str | None) -> None:
    header = authorization.format(key=workspace.key) if authorization else None

    reply = post(braze, workspace, EVENT, headers=headers(workspace) | {"Authorization": header})

    assert reply.status_code == 401
    assert stored(workspace) == []


def test_the_reply_to_an_unknown_key_repeats_it(braze: Braze, workspace: Workspace) -> None:
    reply = post(braze, workspace, EVENT, headers=headers(workspace) | {"Authorization": "Bearer s3cret"})

    assert reply.json() == {"message": "Invalid API key: s3cret"}


def test_each_key_has_a_workspace_of_its_own(braze: Braze, workspace: Workspace) -> None:
    other = braze.workspace(f"{workspace.key}, another")

    post(braze, other, EVENT)

    assert (len(other.events), len(workspace.events)) == (1, 0)


@pytest.mark.parametrize(
    ("form", "granted", "refused"),
    [
        ("x-ratelimit-retry-after", {"limit": "2", "remaining": "0", "reset": "5"}, {"x-ratelimit-retry-after": "5"}),
        ("retry-after", {"limit": "2", "remaining": "0", "reset": "1700000006"}, {"retry-after": "5"}),
        (
            "x-ratelimit-reset-epoch",
            {"limit": "2", "remaining": "0", "reset": "1700000006"},
            {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000006"},
        ),
        (
            "x-ratelimit-reset-seconds",
            {"limit": "2", "remaining": "0", "reset": "5"},
            {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "5"},
        ),
        ("none", {"limit": "2", "remaining": "0", "reset": "1700000006"}, {}),
    ],
)
def test_the_rate_limit_holds_for_its_window_and_names_the_wait(
    braze: Braze,
    workspace: Workspace,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    granted: dict[str, str],
    refused: dict[str, str],
) -> None:
    workspace.configure(rate_limit=2, rate_window=6.0, rate_header=form)
    replies = []
    for seconds in (0, 1, 1.5, 6):
        monkeypatch.setattr(clock, "now", NOW + seconds)
        replies.append(post(braze, workspace, EVENT))

    values = [{k: v for k, v in it.headers.items() if k.startswith(("x-rate", "retry"))} for it in replies]
    assert [reply.status_code for reply in replies] == [201, 201, 429, 201]
    assert values[1] == {f"x-ratelimit-{name}": value for name, value in granted.items()}
    assert values[2] == refused
    assert values[3]["x-ratelimit-remaining"] == "1"


# Faults


@pytest.mark.parametrize(
    ("fault", "expected", "acted"),
    [
        ({"kind": "status", "status": 502}, (502, "application/json", "Bad Gateway"), 0),
        ({"kind": "status", "status": 529}, (529, "application/json", "Unknown"), 0),
        ({"kind": "status", "status": 502, "html": True}, (502, "text/html", "<title>502 Bad Gateway</title>"), 0),
        ({"kind": "status", "status": 504, "when": "after"}, (504, "application/json", "Gateway Timeout"), 1),
        ({"kind": "status", "status": 400, "body": {"message": "Why"}}, (400, "application/json", "Why"), 0),
        ({"kind": "accepted_202"}, (202, "application/json", "queued"), 1),
        ({"kind": "slow", "seconds": 0.01}, (201, "application/json", "success"), 1),
        ({"kind": "drip", "interval": 0}, (201, "application/json", "success"), 1),
        ({"kind": "drip_headers", "interval": 0}, (201, "application/json", "success"), 1),
        ({"kind": "pass"}, (201, "application/json", "success"), 1),
    ],
)
def test_a_fault_answers_as_configured(
    braze: Braze, workspace: Workspace, fault: dict[str, Any], expected: tuple[int, str, str], acted: int
) -> None:
    workspace.misbehave(**fault)

    reply = post(braze, workspace, EVENT)

    status, content_type, text = expected
    assert (reply.status_code, reply.headers["content-type"]) == (status, content_type)
    assert text in reply.text
    assert len(workspace.events) == acted


@pytest.mark.parametrize(
    ("fault", "error", "acted"),
    [
        ({"kind": "slow"}, requests.ReadTimeout, 1),
        ({"kind": "timeout_after_acting"}, requests.ReadTimeout, 1),
        ({"kind": "drip_headers", "interval": 30}, requests.ReadTimeout, 1),
        ({"kind": "reset"}, requests.ConnectionError, 0),
        ({"kind": "reset", "when": "after"}, requests.ConnectionError, 1),
        ({"kind": "close"}, requests.exceptions.ChunkedEncodingError, 1),
    ],
)
def test_a_fault_fails_the_client(
    braze: Braze, workspace: Workspace, fault: dict[str, Any], error: type[Exception], acted: int
) -> None:
    workspace.misbehave(**fault)

    with pytest.raises(error):
        post(braze, workspace, EVENT, timeout=1.0 if error is requests.ReadTimeout else 5)

    assert len(workspace.events) == acted
    assert post(braze, workspace, EVENT).status_code == 201


def test_a_dripped_body_follows_complete_headers(braze: Braze, workspace: Workspace) -> None:
    workspace.misbehave(kind="drip", interval=30)

    with post(braze, workspace, EVENT, timeout=1.0, stream=True) as reply:
        assert reply.status_code == 201
        with pytest.raises(requests.ConnectionError):
            _ = reply.content


def test_a_reset_is_no_orderly_end(braze: Braze, workspace: Workspace) -> None:
    workspace.misbehave(kind="reset")

    with connected(braze) as connection:
        connection.sendall(head(workspace, len(EVENT)) + EVENT)

        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_half_a_request_is_none(braze: Braze, workspace: Workspace) -> None:
    with connected(braze) as connection:
        connection.sendall(head(workspace, len(EVENT) + 1) + EVENT)
        connection.shutdown(socket.SHUT_WR)

        assert connection.recv(1) == b""

    assert workspace.requests == []


def test_faults_strike_in_turn_and_as_often_as_configured(braze: Braze, workspace: Workspace) -> None:
    workspace.misbehave(kind="pass")
    workspace.misbehave(kind="status", status=503, times=2, headers={"retry-after": "1"})
    workspace.misbehave(kind="status", status=500, times=None)

    replies = [post(braze, workspace, EVENT) for _ in range(5)]

    assert [reply.status_code for reply in replies] == [201, 503, 503, 500, 500]
    assert replies[1].headers["retry-after"] == "1"
    assert [request.fault for request in workspace.requests] == ["pass", *["status"] * 4]


def test_connections_are_kept_alive_and_counted(braze: Braze, workspace: Workspace) -> None:
    with requests.Session() as session:
        for _ in range(3):
            session.post(f"{braze.url}/users/track", EVENT, headers=headers(workspace), timeout=5)
    post(braze, workspace, EVENT)

    assert workspace.summary()["connections"] == 2


def test_hanging_up_ends_the_connection_unannounced(braze: Braze, workspace: Workspace) -> None:
    workspace.misbehave(kind="hang_up")

    with connected(braze) as connection, connection.makefile("rb") as reply:
        connection.sendall(head(workspace, len(EVENT)) + EVENT)
        everything = reply.read()

    assert everything.endswith(b'{"message": "success", "events_processed": 1}')
    assert b"connection:" not in everything.lower()


def test_parallel_requests_lose_nothing(braze: Braze, workspace: Workspace) -> None:
    def send(number: int) -> int:
        user = {"external_id": f"m-{number % 10}"}
        body = {"attributes": [user | {"visits": {"inc": 1}}], "events": [event(properties={"number": number}) | user]}
        return post(braze, workspace, body).status_code

    with ThreadPoolExecutor(25) as pool:
        statuses = list(pool.map(send, range(100)))

    assert statuses == [201] * 100
    assert sorted(it.object["properties"]["number"] for it in workspace.events) == [*range(100)]
    assert [fields_of(workspace, external_id=f"m-{it}")["visits"] for it in range(10)] == [10] * 10
    assert len(workspace.requests) == 100


def test_a_workspace_that_does_not_validate_only_counts(braze: Braze, workspace: Workspace) -> None:
    workspace.configure(validate=False)

    reply = post(braze, workspace, {"events": [{"name": "no user"}] * 80, "purchases": [purchase()]})

    assert reply.json() == {"message": "success", "events_processed": 80, "purchases_processed": 1}
    assert workspace.summary()["processed"] == {"events": 80, "purchases": 1}
    assert stored(workspace) == []


def test_latency_delays_each_answer(braze: Braze, workspace: Workspace) -> None:
    workspace.configure(latency=30.0)

    with pytest.raises(requests.ReadTimeout):
        post(braze, workspace, EVENT, timeout=1.0)

    assert len(workspace.events) == 1


# Control


def control(braze: Braze, method: str, path: str, **options: Any) -> Any:
    reply = requests.request(method, f"{braze.url}/_simulator/{path}", timeout=5, **options)
    return reply.json() if reply.ok else reply.status_code


def test_a_workspace_is_created_over_http_and_keeps_its_settings(braze: Braze, workspace: Workspace) -> None:
    first = control(braze, "PUT", "workspaces/a%20key", json={"object_limit": "per_array"})
    second = control(braze, "PUT", "workspaces/a%20key", json={"rate_limit": 9})

    assert (first["object_limit"], first["rate_limit"]) == ("per_array", None)
    assert (second["object_limit"], second["rate_limit"]) == ("per_array", 9)
    assert post(braze, braze.workspace("a key"), EVENT).status_code == 201


def test_faults_are_queued_and_cleared_over_http(braze: Braze) -> None:
    workspace = braze.workspace("faults")
    control(braze, "POST", "workspaces/faults/faults", json=[{"kind": "status", "status": 500}, {"kind": "slow"}])

    status = post(braze, workspace, EVENT).status_code
    pending = control(braze, "GET", "workspaces/faults")["faults"]
    cleared = control(braze, "DELETE", "workspaces/faults/faults")["faults"]

    assert (status, [fault["kind"] for fault in pending], cleared) == (500, ["slow"], [])


def test_what_was_received_is_returned_over_http(braze: Braze) -> None:
    workspace = braze.workspace("seen")
    user = {"user_alias": alias("a"), "_update_existing_only": False}
    objects = {
        "attributes": [user | {"email": "a@b.co", "tier": "gold", "$x": 1}, {"braze_id": "unknown"}],
        "events": [event(), event(name="left"), event(name="")],
        "purchases": [purchase()],
    }
    post(braze, workspace, objects)

    values = {name: control(braze, "GET", f"workspaces/seen/{name}") for name in ("purchases", "refused", "requests")}
    left = control(braze, "GET", "workspaces/seen/events?name=left")
    found = [
        control(braze, "GET", f"workspaces/seen/profiles?{query}")
        for query in ("alias_label=account&alias_name=a", "email=a%40b.co", "external_id=m-1", "external_id=m-2")
    ]
    summary = control(braze, "GET", "")["workspaces"]["seen"]

    assert [(it["received_at"], it["object"]) for it in values["purchases"]] == [(NOW, purchase())]
    assert [(it["input_array"], it["position"]) for it in values["refused"]] == [("events", 2)]
    assert [(it["status"], it["objects"], it["fault"]) for it in values["requests"]] == [(201, 6, None)]
    assert [it["object"]["name"] for it in left] == ["left"]
    assert (found[0]["fields"], found[0]["custom"]) == ({"email": "a@b.co"}, {"tier": "gold"})
    assert found[1] == found[0]
    assert (found[2]["external_id"], found[3]) == ("m-1", 404)
    assert len(control(braze, "GET", "workspaces/seen/profiles")) == 2
    assert summary == {
        "processed": {"attributes": 2, "events": 2, "purchases": 1},
        "profiles": 2,
        "events": {"tier_changed": 1, "left": 1},
        "purchases": 1,
        "orders": {},
        "refused": 1,
        "silently_dropped": 1,
        "ignored": 1,
        "requests": {"201": 1},
        "connections": 1,
    }


def test_a_reset_forgets_what_was_received_and_keeps_the_settings(braze: Braze) -> None:
    workspace = braze.workspace("forgetful", object_limit="per_array")
    workspace.misbehave(kind="pass", times=None)
    post(braze, workspace, {"attributes": [attributes(tier="gold")]})

    state = control(braze, "POST", "workspaces/forgetful/reset")

    assert (state["profiles"], state["requests"], state["faults"]) == (0, {}, [])
    assert state["settings"]["object_limit"] == "per_array"
    assert workspace.profile(external_id="m-1") is None


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "workspaces/k", {"object_limit": "none"}, 400),
        ("PUT", "workspaces/k", {"object_limits": "combined"}, 400),
        ("POST", "workspaces/misled/faults", {"kind": "statsu"}, 400),
        ("POST", "workspaces/misled/faults", {"kind": "status", "often": 3}, 400),
        ("GET", "workspaces/unknown", None, 404),
        ("GET", "workspaces/misled/nothing", None, 404),
        ("GET", "nothing", None, 404),
    ],
)
def test_a_misspelt_control_request_is_refused(braze: Braze, method: str, path: str, body: Any, status: int) -> None:
    braze.workspace("misled")

    assert control(braze, method, path, json=body) == status


def test_a_stopped_simulator_drops_its_connections() -> None:
    with requests.Session() as session, simulate(keys=["k"]) as braze:
        session.get(f"{braze.url}/_simulator/", timeout=5).raise_for_status()
        waiting = connected(braze)
        waiting.sendall(b"GET /_simulator/ HTTP/1.1\r\n\r\n")
        waiting.recv(65536)

    with waiting:
        assert waiting.recv(1) == b""


def test_it_knows_nothing_of_the_bridge() -> None:
    code = "import sys, simulators.braze; print([name for name in sys.modules if 'loyalty_bridge' in name])"

    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert completed.stdout == "[]\n"
