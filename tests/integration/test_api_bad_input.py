"""Input that is wrong: a 4xx that names the field, and nothing is sent to the loyalty platform or stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from loyalty_bridge.infra import aws
from tests.support.http_events import ACTIONS, EVENT, Answer, Api, event, routed

BODIES: dict[str, tuple[str, Any]] = {**ACTIONS, "events": ("events", EVENT)}
each_call = pytest.mark.parametrize("call", BODIES)
each_action = pytest.mark.parametrize("action", ACTIONS)

MISSING = object()
NO_ID = {
    "missing": MISSING,
    "null": None,
    "empty": "",
    "blank": " \t ",
    "not rendered": "{{custom_attribute.${convercus_account_id}}}",
    "not rendered, with text": "A{% if x %}1",
    "half rendered": "${convercus_account_id}",
    "a dot": ".",
    "dots": "..",
    "a path": "../../accounts/A1",
    "a slash": "A1/bookings",
    "a backslash": "A1\\..",
    "an escape": "A1%2Fbookings",
    "an escape of an escape": "%252e%252e",
    "a query": "A1?x=1",
    "a fragment": "A1#x",
    "a line": "A1\r\nX-Other: 1",
    "a null byte": "A1\x00",
    "invisible": "A1\u200b",
    "a byte order mark": "\ufeffA1",
    "a blank glyph": "A1\u2800",
    "undefined": "undefined",
    "a null in a text": "null",
    "Python's None": " None ",
    "NaN": "NaN",
    "an object of JavaScript": "[object Object]",
    "too long": "A" * 201,
    "true": True,
    "a decimal": 1.5,
    "a list": ["A1"],
    "an object": {"id": "A1"},
}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_stored(shared_api: Api) -> Iterator[None]:
    """Check at the end that all this input left nothing behind."""
    yield
    for table in ("IdempotencyTable", "BatchesTable"):
        assert aws.dynamodb().scan(TableName=table)["Count"] == 0
    for queue in aws.sqs().list_queues()["QueueUrls"]:
        assert "Messages" not in aws.sqs().receive_message(QueueUrl=queue)


@pytest.fixture
def api(shared_api: Api) -> Api:
    """Return the API; these tests share it, since nothing comes of them."""
    return shared_api


def refused(api: Api, answer: Answer, field: str, status: int = 400, error: str = "invalid_request") -> None:
    """Check that a call was refused because of a field, and that nothing was sent."""
    assert (answer.status, answer.body["error"], answer.body["field"]) == (status, error, field)
    assert answer.body["message"].startswith(field)
    assert not api.upstream.requests


def changed(body: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {name: value for name, value in (body | change).items() if value is not MISSING}


# The request as a whole.


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json,text/html"],
)
@each_call
def test_another_content_type_is_refused(api: Api, call: str, kind: str | None) -> None:
    path, body = BODIES[call]
    headers = {"x-convercus-key": api.key} | ({} if kind is None else {"content-type": kind})

    answer = api.send("POST", f"/v1/programs/demo/{path}", json.dumps(body).encode(), headers)

    refused(api, answer, "Content-Type")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"account_id": "A1",}', id="comma"),
        pytest.param(b"{'account_id': 'A1'}", id="single quotes"),
        pytest.param(b'{"points": NaN}', id="NaN"),
        pytest.param(b'{"points": Infinity}', id="infinity"),
        pytest.param(b'{"points": 1e999}', id="beyond floats"),
        pytest.param(b'{"points": ' + b"9" * 30 + b"}", id="beyond 64 bits"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"\xff\xfe{", id="not UTF-8"),
        pytest.param(b'{"account_id": "\xe4"}', id="Latin-1"),
        pytest.param(b"account_id=A1", id="form"),
        pytest.param(b"{{body}}", id="not rendered"),
    ],
)
@each_call
def test_a_body_that_is_not_json_is_refused(api: Api, call: str, body: bytes) -> None:
    refused(api, api.post(BODIES[call][0], body), "body")


@pytest.mark.parametrize("body", [b"[]", b"[{}]", b"null", b"true", b"5", b'"text"'])
@each_action
def test_a_body_that_is_no_object_is_refused(api: Api, action: str, body: bytes) -> None:
    refused(api, api.post(ACTIONS[action][0], body), "body")


def test_a_body_in_broken_base64_is_refused(api: Api) -> None:
    found = routed("POST", "/v1/programs/demo/campaigns/C1/assign")
    assert found
    headers = {"x-convercus-key": api.key, "content-type": "application/json"}
    made = event(*found, headers=headers) | {"body": "!", "isBase64Encoded": True}

    refused(api, api.call(found[0], made), "body")


@each_call
def test_more_than_256_kb_is_too_large(api: Api, call: str) -> None:
    path, body = BODIES[call]
    padding = 256 * 1024 - len(json.dumps(body))

    refused(api, api.post(path, json.dumps(body).encode() + b" " * (padding + 1)), "body", 413, "too_large")


def named_twice(body: dict[str, Any], key: str, written: str, value: str = '"A2"') -> bytes:
    """Write a body that names a key once more, at its end."""
    return f'{json.dumps(body)[:-1]}, "{written}": {value}}}'.encode()


@each_call
def test_a_key_that_is_named_twice_is_refused_by_its_name(api: Api, call: str) -> None:
    path, body = BODIES[call]

    for key in body:
        for written in (key, "".join(f"\\u{ord(letter):04x}" for letter in key)):
            refused(api, api.post(path, named_twice(body, key, written)), key)


@pytest.mark.parametrize(
    ("call", "body", "field"),
    [
        pytest.param("assign", b'{"account_id": "A1", "account_id": "A1"}', "account_id", id="with the same value"),
        pytest.param(
            "assign", b'{"dispatch_id": null, "account_id": "A1", "dispatch_id": "d"}', "dispatch_id", id="null"
        ),
        pytest.param("batch", b'{"account_ids": ["A1"], "account_ids": ["A2"]}', "account_ids", id="list"),
        pytest.param("batch", b'{"account_ids": [{"id": "A1", "id": "A2"}]}', "id", id="in a list"),
        pytest.param("book", b'{"points": {"a": {"b": 1, "b": 2}}}', "b", id="deep"),
        pytest.param("book", b'{"x": {"points": 1, "points": 2}, "points": 1}', "points", id="in an object"),
        pytest.param("book", b'{"": 1, "": 2}', "body", id="no name"),
        pytest.param("book", b'{"\\ud800": 1, "\\ud800": 2}', "body", id="no character"),
        pytest.param("events", b'[{"accountId": "A1", "accountId": "A2"}]', "accountId", id="event"),
        pytest.param("events", b'{"accountId": "A1", "payload": {"points": 1, "points": 2}}', "points", id="payload"),
    ],
)
def test_a_key_that_is_named_twice_is_refused_at_any_depth(api: Api, call: str, body: bytes, field: str) -> None:
    refused(api, api.post(BODIES[call][0], body), field)


# Fields.


@each_action
def test_an_unknown_field_is_refused(api: Api, action: str) -> None:
    path, body = ACTIONS[action]

    refused(api, api.post(path, body | {"colour": "blue"}), "colour")


@pytest.mark.parametrize("value", NO_ID.values(), ids=NO_ID)
@pytest.mark.parametrize("action", ["assign", "subscribe"])
def test_an_account_that_is_no_id_is_refused(api: Api, action: str, value: Any) -> None:
    path, body = ACTIONS[action]

    refused(api, api.post(path, changed(body, account_id=value)), "account_id")


@pytest.mark.parametrize(
    "value", [it for it in NO_ID.values() if it is not MISSING], ids=[it for it in NO_ID if it != "missing"]
)
def test_a_member_of_a_batch_that_is_no_id_is_refused_by_its_place(api: Api, value: Any) -> None:
    refused(api, api.post(ACTIONS["batch"][0], {"account_ids": ["A1", value]}), "account_ids[1]")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(MISSING, id="missing"),
        pytest.param(None, id="null"),
        pytest.param([], id="none"),
        pytest.param("A1", id="no list"),
        pytest.param("A1,A2", id="text"),
        pytest.param({"A1": 1}, id="object"),
        pytest.param(["A1", "A2", "A1"], id="twice"),
        pytest.param(["A1", " A1 "], id="twice but for blanks"),
        pytest.param(["4711", 4711], id="twice but for quotes"),
        pytest.param([f"A{number}" for number in range(501)], id="501"),
    ],
)
def test_a_list_of_members_that_is_none_is_refused(api: Api, value: Any) -> None:
    refused(api, api.post(ACTIONS["batch"][0], changed({}, account_ids=value)), "account_ids")


NO_TIME = ["soon", "{{now}}", "2026-13-01T00:00:00Z", 5, True, [], "2030-05-31", "20300531", " 2030-05-31 UTC"]


@pytest.mark.parametrize("value", NO_TIME)
@pytest.mark.parametrize("field", ["valid_from", "valid_to"])
def test_a_time_that_is_none_is_refused(api: Api, field: str, value: Any) -> None:
    path, body = ACTIONS["batch"]

    refused(api, api.post(path, body | {field: value}), field)


@pytest.mark.parametrize("valid_to", ["2030-05-01T11:59:59Z", "2030-05-01T12:00:00Z", "2030-05-01T13:30:00+02:00"])
def test_a_validity_that_ends_before_it_begins_is_refused(api: Api, valid_to: str) -> None:
    path, body = ACTIONS["batch"]

    answer = api.post(path, body | {"valid_from": "2030-05-01T12:00:00Z", "valid_to": valid_to})

    refused(api, answer, "valid_to")


@pytest.mark.parametrize(
    "value",
    [
        *(MISSING, None, "", " ", 0, -5, "0", "-5", "0.0", 1e9, "1e9", "1e999", 1e300, "abc", "5 0", "5,0", "1.000,5"),
        *("+5", "0x10", "٥", "½", "∞", "NaN", "{{event_properties.${points}}}", True, False, [50], {"points": 50}),
        *("99999999999", 100_000_000.5, "9" * 5000, "5.", ".5"),
    ],
)
def test_points_that_are_none_are_refused(api: Api, value: Any) -> None:
    path, body = ACTIONS["book"]

    refused(api, api.post(path, changed(body, points=value)), "points")


@pytest.mark.parametrize("value", [MISSING, None, "", "EARN", "earnbooking", "{{type}}", 1, ["EARNBOOKING"]])
def test_a_booking_type_that_is_none_is_refused(api: Api, value: Any) -> None:
    path, body = ACTIONS["book"]

    refused(api, api.post(path, changed(body, booking_type=value)), "booking_type")


@pytest.mark.parametrize("value", [MISSING, None, "", " ", "{{x}}", "x" * 256, [], 1.5, True])
@pytest.mark.parametrize("field", ["booking_type_code", "reason"])
def test_a_text_that_is_none_is_refused(api: Api, field: str, value: Any) -> None:
    path, body = ACTIONS["book"]

    refused(api, api.post(path, changed(body, **{field: value})), field)


@pytest.mark.parametrize("value", [MISSING, None, "", "Allowed", "opted_in", "{{x}}", True, 1])
def test_a_status_that_is_none_is_refused(api: Api, value: Any) -> None:
    path, body = ACTIONS["subscribe"]

    refused(api, api.post(path, changed(body, status=value)), "status")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("Newsletter", "optins"),
        ({"Newsletter": True}, "optins"),
        (["Newsletter"] * 101, "optins"),
        ([""], "optins[0]"),
        (["Newsletter", None], "optins[1]"),
        (["Newsletter", "{{x}}"], "optins[1]"),
        (["newsletter"], "optins"),
    ],
)
def test_channels_that_are_none_are_refused(api: Api, value: Any, field: str) -> None:
    path, body = ACTIONS["subscribe"]

    refused(api, api.post(path, body | {"optins": value}), field)


@pytest.mark.parametrize("value", [None, "", " ", "{{campaign.${api_id}}}", [], True])
@pytest.mark.parametrize("action", ["assign", "batch", "book"])
def test_a_campaign_that_is_named_but_not_reported_is_refused(api: Api, action: str, value: Any) -> None:
    path, body = ACTIONS[action]

    refused(api, api.post(path, body | {"braze_campaign_id": value}), "braze_campaign_id")


@pytest.mark.parametrize("value", ["{{campaign.${dispatch_id}}}", "x" * 256, ["d-1"], True, 1.5])
@pytest.mark.parametrize("field", ["dispatch_id", "idempotency_key"])
@each_action
def test_what_would_be_everybodys_key_is_refused(api: Api, action: str, field: str, value: Any) -> None:
    path, body = ACTIONS[action]

    refused(api, api.post(path, body | {field: value}), field)


@pytest.mark.parametrize("value", ["{{key}}", "x" * 256, "schlüssel", "a\tb"])
@each_action
def test_a_header_that_is_no_key_is_refused(api: Api, action: str, value: str) -> None:
    path, body = ACTIONS[action]

    refused(api, api.post(path, body, idempotency_key=value), "Idempotency-Key")


# Ids in the path.


@pytest.mark.parametrize(
    "value",
    [it for it in NO_ID.values() if isinstance(it, str)],
    ids=[name for name, it in NO_ID.items() if isinstance(it, str)],
)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/programs/{programId}/campaigns/{couponId}/assign", "couponId"),
        ("/v1/programs/{programId}/campaigns/{couponId}/assign/batch", "couponId"),
        ("/v1/programs/{programId}/members/{accountId}/bookings", "accountId"),
    ],
)
def test_an_id_in_the_path_that_is_none_is_refused(api: Api, path: str, name: str, value: str) -> None:
    action = {"assign": "assign", "batch": "batch", "bookings": "book"}[path.rpartition("/")[2]]
    found = routed("POST", path.format(programId="demo", couponId="x", accountId="x"))
    assert found
    headers = {"x-convercus-key": api.key, "content-type": "application/json"}
    made = event(
        found[0], {"programId": "demo", name: value}, headers=headers, body=json.dumps(ACTIONS[action][1]).encode()
    )

    refused(api, api.call(found[0], made), name)


@pytest.mark.parametrize(
    "path", ["members//bookings", "members/A1%2Fx/bookings", "members/../bookings/x", "campaigns//assign"]
)
def test_a_path_that_has_no_route_is_answered_by_the_gateway(api: Api, path: str) -> None:
    assert api.post(path, ACTIONS["book"][1]).status == 404
    assert not api.upstream.requests


def test_an_escape_that_the_gateway_leaves_in_the_path_is_refused(api: Api) -> None:
    refused(api, api.post("members/A1%25252Fx/bookings", ACTIONS["book"][1]), "accountId")
    refused(api, api.post("members/A1%252Fx/bookings", ACTIONS["book"][1]), "accountId")


def test_a_field_name_that_is_too_long_is_not_repeated_whole(api: Api) -> None:
    path, body = ACTIONS["assign"]

    answer = api.post(path, body | {"x" * 10_000: 1})

    refused(api, answer, "x" * 64)
