"""Reading a call."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from loyalty_bridge.errors import Invalid, PayloadTooLarge
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.request_schemas import AssignCoupon, BookPoints
from tests.support.api_requests import event

SECRET = "somebody@example.com"
BOOKING = {"booking_type": "EARNBOOKING", "booking_type_code": "BIR", "points": 50, "reason": "birthday"}


def booked(**changed: Any) -> BookPoints:
    """Read a booking, with some fields changed; a field that is ... is left out."""
    body = {name: value for name, value in (BOOKING | changed).items() if value is not ...}
    return requests.body(requests.read(event(body)), BookPoints)


def refusal(body: Any = None, model: type[BaseModel] = BookPoints, **changed: Any) -> Invalid:
    """Return why a call is refused."""
    with pytest.raises(Invalid) as refused:
        requests.body(requests.read(event(body, **changed)), model)
    return refused.value


# --- The envelope


def test_a_call_reports_what_the_gateway_reports() -> None:
    call = requests.read(event({"a": 1}, queryStringParameters={"lang": "de"}, headers={"X-Bridge-Key": "k"}))

    assert (call.method, call.program, call.id("couponId")) == ("POST", "demo", "C1")
    assert (call.query, call.headers) == ({"lang": "de"}, {"x-bridge-key": "k"})
    assert call.arrived == 1_767_607_200.123


def test_a_call_without_the_optional_parts_is_read() -> None:
    given = event()
    for name in ("headers", "pathParameters", "body", "isBase64Encoded"):
        del given[name]

    call = requests.read(given)

    assert (call.program, call.body, call.query) == ("", b"", {})


def test_a_call_shows_neither_headers_nor_body_of_itself() -> None:
    call = requests.read(event({"email": SECRET}, headers={"x-convercus-key": "cvc_secret"}))

    assert SECRET not in repr(call)
    assert "cvc_secret" not in repr(call)


# --- Ids in the path


@pytest.mark.parametrize("value", ["A1", "0", "a-b_c~d:e@f", "é", "x" * 200])
def test_an_id_is_given_as_it_is(value: str) -> None:
    assert requests.read(event(pathParameters={"couponId": value})).id("couponId") == value


def test_blanks_around_an_id_are_not_part_of_it() -> None:
    assert requests.read(event(pathParameters={"couponId": " C1\t"})).id("couponId") == "C1"


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "\t\n", "\u00a0"),
        *("{{custom_attribute.${convercus_account_id}}}", "{{x}}", "{% if x %}"),
        *(".", "..", "../C2", "a/b", "a\\b", "a%2Fb", "%2e%2e", "a?b", "a#b", "a\nb", "a\x00b", "x" * 201),
    ],
)
def test_what_cannot_be_an_id_is_refused_by_name(value: str) -> None:
    call = requests.read(event(pathParameters={"couponId": value}))

    with pytest.raises(Invalid) as refused:
        call.id("couponId")

    assert refused.value.field == "couponId"
    assert not value.strip() or value.strip(".") == "" or value not in refused.value.reason


def test_an_id_that_is_missing_is_refused_by_name() -> None:
    with pytest.raises(Invalid) as refused:
        requests.read(event(pathParameters={})).id("couponId")

    assert refused.value.field == "couponId"


# --- The body


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON ;a=b"])
def test_a_json_body_is_read(kind: str) -> None:
    call = requests.read(event({"account_id": "A1"}, headers={"content-type": kind}))

    assert requests.body(call, AssignCoupon).account_id == "A1"


def test_a_body_may_come_in_base64() -> None:
    encoded = base64.b64encode(json.dumps({"account_id": "Ä1"}).encode()).decode()

    call = requests.read(event(encoded, isBase64Encoded=True))

    assert requests.body(call, AssignCoupon).account_id == "Ä1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/jsonp"},
        {"content-type": "text/plain, application/json"},
    ],
)
def test_another_content_type_is_refused(headers: dict[str, str]) -> None:
    assert refusal(BOOKING, headers=headers).field == "Content-Type"


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (None, {}),
        ("", {}),
        (" ", {}),
        ("{", {}),
        ("[" * 100_000, {}),
        ("NaN", {}),
        ('"text"', {}),
        ("[]", {}),
        ("null", {}),
        ("not base64!", {"isBase64Encoded": True}),
        ("é", {"isBase64Encoded": True}),
        ("/w==", {"isBase64Encoded": True}),
        ("\ud800", {}),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: Any, changed: dict[str, Any]) -> None:
    assert refusal(body, **changed).field == "body"


@pytest.mark.parametrize("in_base64", [True, False])
def test_a_body_of_more_than_256_kb_is_too_large(in_base64: bool) -> None:
    def call(size: int) -> requests.ApiRequest:
        text = '"' + "é" * ((size - 2) // 2) + '"'
        body = base64.b64encode(text.encode()).decode() if in_base64 else text
        return requests.read(event(body, isBase64Encoded=in_base64))

    with pytest.raises(PayloadTooLarge):
        requests.parsed(call(256 * 1024 + 2))

    assert requests.parsed(call(256 * 1024))


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_no_body_does_worse_than_being_refused(data: bytes) -> None:
    call = requests.read(event(base64.b64encode(data).decode(), isBase64Encoded=True))

    with pytest.raises(Invalid):
        requests.body(call, AssignCoupon)


# --- Fields


@pytest.mark.parametrize(
    ("given", "read"), [(50, 50), ("50", 50), (" 50 ", 50), ("50.0", 50), (0.5, 0.5), ("0050", 50), (10**8, 10**8)]
)
def test_points_may_come_as_text(given: Any, read: float) -> None:
    assert booked(points=given).points == read


@pytest.mark.parametrize(
    "given",
    [0, -5, "0", "-5", "1e9", 1e9, "abc", "", " ", None, True, [50], {}, "٥٠", "5 0", "+50", "{{points}}", "NaN", ...],
)
def test_what_are_no_points_is_refused(given: Any) -> None:
    with pytest.raises(Invalid) as refused:
        booked(points=given)

    assert refused.value.field == "points"


@given(st.floats(min_value=0.0001, max_value=10**8) | st.integers(1, 10**8))
@example(2.49875)
@example(33.333333333333336)
@example(1e-05)
@example(1e2)
def test_points_in_a_text_are_those_without_quotes(points: float) -> None:
    assert booked(points=json.dumps(points)) == booked(points=points)


@pytest.mark.parametrize("field", ["reason", "booking_type_code", "dispatch_id", "idempotency_key"])
def test_a_text_that_is_too_long_is_refused_by_its_number_of_characters(field: str) -> None:
    with pytest.raises(Invalid, match=f"^{field}: has more than 255 characters$"):
        booked(**{field: "ä" * 256})

    assert getattr(booked(**{field: f" {'ä' * 255} "}), field) == "ä" * 255


@pytest.mark.parametrize("given", ["", "  ", None, "{{x}}", ..., [], {}, True])
@pytest.mark.parametrize("field", ["booking_type", "booking_type_code", "reason"])
def test_a_field_that_is_blank_missing_or_not_rendered_is_refused_by_name(field: str, given: Any) -> None:
    with pytest.raises(Invalid) as refused:
        booked(**{field: given})

    assert refused.value.field == field


@pytest.mark.parametrize("given", ["", " ", None, "{{custom_attribute.${convercus_account_id}}}", "..", "a/b", "a%2Fb"])
def test_what_cannot_be_an_account_is_refused_by_name(given: Any) -> None:
    assert refusal({"account_id": given}, AssignCoupon).field == "account_id"


def test_an_id_may_come_as_a_number() -> None:
    call = requests.read(event({"account_id": 4711}))

    assert requests.body(call, AssignCoupon).account_id == "4711"


def test_an_unknown_field_is_refused_by_name() -> None:
    assert refusal(BOOKING | {"pionts": 5}).field == "pionts"


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

        number: int
        nested: list[AssignCoupon]

    for body in ({"number": SECRET, "nested": []}, {"number": 1, "nested": [{"account_id": {"a": SECRET}}]}):
        refused = refusal(body, Strict)

        assert refused.field == "number" or refused.field.startswith("nested")
        assert SECRET not in str(refused)


# --- Repeats


def keyed(header: str | None = None, given: str | None = None, dispatch: str | None = None, *parts: str) -> str | None:
    headers = {} if header is None else {"idempotency-key": header}
    return requests.idempotency_key(requests.read(event(headers=headers)), given, dispatch, *parts)


def test_the_header_comes_before_the_body_and_the_body_before_the_dispatch() -> None:
    by_header, by_body, by_dispatch = keyed("H", "B", "D"), keyed(None, "B", "D"), keyed(None, None, "D")

    assert by_header == keyed("H")
    assert by_body == keyed(None, "B") == keyed("B")
    assert len({by_header, by_body, by_dispatch}) == 3


def test_a_dispatch_counts_with_what_it_acts_on() -> None:
    keys = {keyed(None, None, "D", *parts) for parts in [("A1", "C1"), ("A2", "C1"), ("A1", "C2"), ("A1C1",), ()]}

    assert None not in keys
    assert len(keys) == 5
    assert keyed(None, None, "D", "A1") != keyed('["dispatch", "D", "A1"]')


@pytest.mark.parametrize("blank", [None, "", " ", "\t"])
def test_blanks_are_no_key(blank: str | None) -> None:
    assert keyed(blank, blank, blank, "A1") is None
    assert keyed(blank, blank, "D", "A1") == keyed(None, None, "D", "A1")


@pytest.mark.parametrize("test", ["dispatch_id_for_unsent_campaign", " dispatch_id_for_unsent_campaign-A1 "])
def test_what_a_test_send_renders_is_no_key(test: str) -> None:
    assert keyed(test, test, test, "A1") is None
    assert keyed(test, test, "D", "A1") == keyed(None, None, "D", "A1")


@pytest.mark.parametrize("header", ["{{campaign.${dispatch_id}}}", "é", "a\nb", "x" * 256])
def test_a_header_that_cannot_be_a_key_is_refused_by_name(header: str) -> None:
    with pytest.raises(Invalid) as refused:
        keyed(header)

    assert refused.value.field == "Idempotency-Key"


@pytest.mark.parametrize("field", ["dispatch_id", "idempotency_key"])
def test_a_key_in_the_body_that_was_not_rendered_is_refused_by_name(field: str) -> None:
    assert refusal(BOOKING | {field: "{{campaign.${dispatch_id}}}"}).field == field


def test_equal_requests_have_one_fingerprint_whatever_the_order_of_their_fields() -> None:
    call = requests.read(event())
    fingerprint = requests.fingerprint(call, "book", {"a": 1, "b": "x"})

    assert fingerprint == requests.fingerprint(call, "book", {"b": "x", "a": 1})
    assert fingerprint != requests.fingerprint(call, "assign", {"a": 1, "b": "x"})
    assert fingerprint != requests.fingerprint(call, "book", {"a": 2, "b": "x"})
    other = requests.read(event(pathParameters={"programId": "demo", "couponId": "C2"}))
    assert fingerprint != requests.fingerprint(other, "book", {"a": 1, "b": "x"})
