"""Bad input, from the queue and from the stream: refused with the field's name, and never at a neighbour's cost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from local.day import day
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked

NOBODY = "-"
"""Where records of no known program are kept."""


def nested(depth: int) -> str:
    return '{"programId":"demo","payload":' + '{"a":' * depth + "1" + "}" * depth + "}"


def without(field: str, kind: str = "balance_changed") -> dict[str, Any]:
    return {name: value for name, value in event(kind).items() if name != field}


def text(kind: str = "user_changed", **changes: Any) -> str:
    """Return the JSON text of an event, with escapes for what is not ASCII."""
    return json.dumps(event(kind, **changes))


def members(braze: Braze) -> list[str]:
    """Name the members of the events that Braze has."""
    return sorted(one.object["external_id"] for one in braze.workspace(KEY).events)


# What the record is, the record, whose it is, and the field and the reason of its refusal.
UNUSABLE: list[tuple[str, Any, str, str, str]] = [
    ("no JSON", "private words", NOBODY, "record", "is not JSON"),
    ("nothing", "", NOBODY, "record", "is not JSON"),
    ("half of an object", text()[:-1], NOBODY, "record", "is not JSON"),
    ("two objects", text() + text(), NOBODY, "record", "is not JSON"),
    ("a JSON string", '"private words"', NOBODY, "record", "is neither an object nor an array"),
    ("a JSON number", "7", NOBODY, "record", "is neither an object nor an array"),
    ("null", "null", NOBODY, "record", "is neither an object nor an array"),
    ("an empty array", "[]", NOBODY, "record", "is neither an object nor an array"),
    ("an array of numbers", "[1, 2]", NOBODY, "record", "is neither an object nor an array"),
    ("an empty object", "{}", NOBODY, "programId", ""),
    ("NaN", text().replace('"A1"', "NaN"), NOBODY, "record", "holds NaN"),
    ("Infinity", text().replace('"A1"', "-Infinity"), NOBODY, "record", "holds Infinity"),
    ("an endless number", text().replace('"A1"', "9" * 5000), NOBODY, "record", "64 bits"),
    ("a number too large", text().replace('"A1"', "1e999"), NOBODY, "record", "too large"),
    ("too deep", nested(33), NOBODY, "record", "nested deeper"),
    ("far too deep", nested(50_000), NOBODY, "record", "nested deeper"),
    ("endless brackets", "[" * 100_000, NOBODY, "record", ""),
    ("a null byte in the JSON", "\x00" + text(), NOBODY, "record", "is not JSON"),
    ("a null byte in the member", text(accountId="A\x00"), "demo", "accountId", "null byte"),
    ("half a character", text(eventId="\ud800"), "demo", "eventId", "lone surrogate"),
    ("half a character, bare", '{"programId": "demo", "accountId": "\ud800"}', NOBODY, "record", "is not UTF-8"),
    ("no program", without("programId"), NOBODY, "programId", ""),
    ("a program that is none", event(programId=None), NOBODY, "programId", ""),
    ("a program that is an object", event(programId={"id": "demo"}), NOBODY, "programId", "is not a text"),
    ("a blank program", event(programId=" "), NOBODY, "programId", "is blank"),
    ("an unknown program", event(programId="private"), NOBODY, "programId", "is not the id of a program"),
    ("an endless program", event(programId="private" * 1000), NOBODY, "programId", "is not the id of a program"),
    ("an id of no program", event(programId=NOBODY), NOBODY, "programId", "is not the id of a program"),
    ("no type", without("eventType"), "demo", "eventType", "is missing"),
    ("an unknown type", event("private_words"), "demo", "eventType", "is not a known event type"),
    ("a type that is a number", event(eventType=7.5), "demo", "eventType", "is not a text"),
    ("no member", without("accountId"), "demo", "accountId", "is missing"),
    ("a blank member", event(accountId="  "), "demo", "accountId", "is missing"),
    ("a member that is an object", event(accountId={"private": 1}), "demo", "accountId", "is not a text"),
    ("a member that is true", event(accountId=True), "demo", "accountId", "is not a text"),
    ("a member beyond the limit", event(accountId="private" * 142), "demo", "member", "longer than 987 bytes"),
    ("a day that is none", event(occurredAt="2026-02-30T10:00:00Z"), "demo", "occurredAt", "is not a time"),
    ("a time in words", event(occurredAt="private"), "demo", "occurredAt", "is not a time"),
    ("a time zone that is none", event(occurredAt="2026-02-01T10:00+99:99"), "demo", "occurredAt", "is not a time"),
    ("a time before all", event(occurredAt="0001-01-01T00:00:00+14:00"), "demo", "occurredAt", "is not a"),
    ("a time before computers", event(occurredAt="1823-01-01"), "demo", "occurredAt", "is not a possible time"),
    ("a time after all", event(occurredAt=1e300), "demo", "occurredAt", "is not a time"),
    ("an id that is an array", event(eventId=["private"]), "demo", "eventId", "is not a text"),
    ("a payload that is a text", event(payload="private"), "demo", "payload", "is not an object"),
    ("a payload that is an array", event(payload=["private"]), "demo", "payload", "is not an object"),
]


@pytest.mark.parametrize(
    ("bad", "program", "field", "reason"), [one[1:] for one in UNUSABLE], ids=[one[0] for one in UNUSABLE]
)
def test_an_unusable_record_is_refused_and_its_neighbours_are_accepted(
    stores: DeliverySettings, braze: Braze, bad: Any, program: str, field: str, reason: str
) -> None:
    connect(stores, braze.url)

    outcome = forward(streamed(event(accountId="left"), bad, event(accountId="right")), stores, 30)

    assert outcome.to_retry == []
    assert (outcome.counts["accepted_event"], outcome.counts["rejected"]) == (2, 1)
    assert members(braze) == ["left", "right"]
    [entry] = load_parked(stores, "rejected", program)
    [refusal] = entry.field_errors
    assert refusal.field == field
    assert reason in refusal.reason
    assert "private" not in f"{refusal.field} {refusal.reason} {outcome.problems}"
    sent = bad if isinstance(bad, str) else json.dumps(bad)
    assert entry.record.body == sent.encode(errors="surrogatepass")
    assert entry.missing == ("attributes", "event", "purchase", "order")


@pytest.mark.parametrize("bad", ["a\x00b", "\ud800"])
@pytest.mark.parametrize(("field", "lost"), [("givenName", "payload.givenName"), ("status", "event.properties.status")])
def test_a_text_that_no_platform_stores_costs_its_field_alone(
    stores: DeliverySettings, braze: Braze, bad: str, field: str, lost: str
) -> None:
    connect(stores, braze.url)
    sent = text(payload={"familyName": "Meyer", "city": "Ulm"} | {field: bad})

    outcome = forward(queued(sent), stores, 30)

    [entry] = load_parked(stores, "rejected", "demo")
    assert outcome.to_retry == []
    assert [(one.field, one.reason) for one in entry.field_errors] == [(lost, "holds a null byte or a lone surrogate")]
    assert braze.workspace(KEY).attributes[0].object["last_name"] == "Meyer"
    assert members(braze) == ["A1"]


@pytest.mark.parametrize("bad", ["sha\x00de", "sha\ud800de"])
@pytest.mark.parametrize(
    ("payload", "lost"),
    [
        ({"BAD": 1}, "event.properties.sha\ufffdde"),
        ({"customProperties": {"BAD": 1, "size": 5}}, "custom.sha\ufffdde"),
        ({"customProperties": [{"name": "BAD", "value": 1}]}, "payload.customProperties[0].name"),
    ],
)
def test_a_name_that_no_platform_stores_costs_its_field_alone(
    stores: DeliverySettings, braze: Braze, bad: str, payload: dict[str, Any], lost: str
) -> None:
    connect(stores, braze.url)
    sent = text(payload={"familyName": "Meyer"} | payload).replace("BAD", json.dumps(bad)[1:-1])

    outcome = forward(queued(sent), stores, 30)

    [entry] = load_parked(stores, "rejected", "demo")
    assert outcome.to_retry == []
    assert [(one.field, one.reason) for one in entry.field_errors] == [(lost, "holds a null byte or a lone surrogate")]
    assert braze.workspace(KEY).attributes[0].object["last_name"] == "Meyer"
    assert members(braze) == ["A1"]


@pytest.mark.parametrize("start", range(0, len(UNUSABLE), 5))
def test_a_queue_full_of_unusable_records_costs_no_good_one(stores: DeliverySettings, braze: Braze, start: int) -> None:
    connect(stores, braze.url)
    wrong = UNUSABLE[start : start + 5]
    good = [event(accountId=f"A{number}") for number in range(len(wrong))]
    batch = queued(*[one for pair in zip([row[1] for row in wrong], good, strict=True) for one in pair])

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"]) == ([], len(wrong))
    assert members(braze) == [f"A{number}" for number in range(len(wrong))]
    values = [
        entry.field_errors[0].field
        for program in (NOBODY, "demo")
        for entry in load_parked(stores, "rejected", program)
    ]
    assert sorted(values) == sorted(field for _, _, _, field, _ in wrong)


@pytest.mark.parametrize("unusable", ["123456789012345678901234567890", "[" * 40 + "]" * 40, "1e999", "NaN"])
def test_an_unusable_element_of_an_array_takes_no_other_with_it(
    stores: DeliverySettings, braze: Braze, unusable: str
) -> None:
    connect(stores, braze.url)
    bad = text(payload={"private": 1}).replace("1}", f"{unusable}}}")

    outcome = forward(streamed(f"[{text(accountId='left')}, {bad}, {text(accountId='right')}]"), stores, 30)

    assert (outcome.to_retry, outcome.counts["accepted_event"], outcome.counts["rejected"]) == ([], 2, 1)
    assert members(braze) == ["left", "right"]
    [entry] = load_parked(stores, "rejected")
    assert "private" in entry.record.body.decode()


def test_an_element_beside_an_unusable_one_is_of_the_program_that_the_others_name(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    plain = text(accountId="plain").replace('"programId": "demo", ', "")
    bad = text(payload={"private": 1}).replace("1}", "NaN}")

    forward(streamed(f"[{text(accountId='left')}, {bad}, {plain}]"), stores, 30)

    assert "programId" not in plain
    assert members(braze) == ["left", "plain"]


@pytest.mark.parametrize("depth", [1_100, 3_000])
def test_arrays_inside_arrays_are_refused_as_one_record(stores: DeliverySettings, braze: Braze, depth: int) -> None:
    connect(stores, braze.url)

    outcome = forward(streamed("[1," * depth + "2" + "]" * depth, event(accountId="right")), stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"], members(braze)) == ([], 1, ["right"])


def test_bytes_that_are_no_text_are_refused(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    batch = streamed(event(accountId="left"), "", event(accountId="right"))
    batch["Records"][1]["kinesis"]["data"] = base64.b64encode(b"\xff\xfe\x00\x80").decode()

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, outcome.counts["accepted_event"]) == ([], 2)
    [entry] = load_parked(stores, "rejected", NOBODY)
    assert (entry.field_errors[0].reason, entry.record.body) == ("is not UTF-8", b"\xff\xfe\x00\x80")


def sale(**changes: Any) -> dict[str, Any]:
    payload = {"transactionId": "T-1", "transactionType": "EARN", "amount": 12.5, "currencyCode": "EUR"}
    return event("account_transaction", eventId="partly", payload=payload | changes)


def profile(**fields: Any) -> dict[str, Any]:
    return event("user_changed", eventId="partly", payload=fields)


# What is wrong with one field, the event, and its errors: part, field, reason.
PARTLY_USABLE: list[tuple[str, dict[str, Any], list[tuple[str, str, str]]]] = [
    (
        "an amount in words",
        sale(amount="private"),
        [("event", "payload.amount", "is not a number"), ("purchase", "payload.amount", "is not a number")],
    ),
    (
        "an amount that is true",
        sale(amount=True),
        [("event", "payload.amount", "is not a number"), ("purchase", "payload.amount", "is not a number")],
    ),
    (
        "an amount beyond all",
        sale(amount="1e999"),
        [("event", "payload.amount", "is not a finite"), ("purchase", "payload.amount", "is not a finite")],
    ),
    ("no amount", sale(amount=None), [("purchase", "payload.amount", "is missing")]),
    ("no currency", sale(currencyCode=None), [("purchase", "payload.currencyCode", "is missing")]),
    ("an unknown currency", sale(currencyCode="PRI"), [("purchase", "payload.currencyCode", "ISO 4217")]),
    (
        "a sale on a day that is none",
        sale(transactionTime="2026-02-30"),
        [("event", "payload.transactionTime", "is not a time")],
    ),
    (
        "points in words",
        event(eventId="partly", payload={"points": "private", "lockedPoints": 3}),
        [("event", "payload.points", "is not a number"), ("attributes", "payload.points", "is not a number")],
    ),
    (
        "a birthday that is none",
        profile(birthDate="2026-02-30", givenName="Ida"),
        [("attributes", "payload.birthDate", "is not a date")],
    ),
    ("an address that is none", profile(email="private"), [("attributes", "payload.email", "is not an e-mail")]),
    ("a phone that is none", profile(phone="private"), [("attributes", "payload.phone", "is not a phone")]),
    (
        "too long a text",
        profile(customProperties={"note": "private" * 40}),
        [("attributes", "custom.note", "is longer than 255 characters")],
    ),
    (
        "a reserved name",
        profile(customProperties={"external_id": "private"}),
        [("attributes", "payload.customProperties.external_id", "has a reserved name")],
    ),
    (
        "properties beyond 100 KB",
        sale(lineItems=[{"sku": f"{number}", "text": "private" * 30} for number in range(500)]),
        [("event", "event.properties.lineItems", "larger than 102400 bytes")],
    ),
    (
        "an attribute beyond 100 KB",
        profile(customProperties={"all": {f"key{number}": "private" * 30 for number in range(500)}}),
        [("attributes", "custom.all", "is larger than 102400 bytes")],
    ),
    (
        "too many elements",
        profile(customProperties={"all": list(range(501))}),
        [("attributes", "custom.all", "has more than 500 elements")],
    ),
]


@pytest.mark.parametrize(("bad", "said"), [one[1:] for one in PARTLY_USABLE], ids=[one[0] for one in PARTLY_USABLE])
def test_a_field_that_is_unusable_is_refused_and_the_rest_of_its_record_is_accepted(
    stores: DeliverySettings, braze: Braze, bad: dict[str, Any], said: list[tuple[str, str, str]]
) -> None:
    connect(stores, braze.url)

    outcome = forward(queued(event(accountId="left"), bad, event(accountId="right")), stores, 30)

    assert outcome.to_retry == []
    assert (outcome.counts["accepted_event"], outcome.counts["rejected"]) == (3, 1)
    [entry] = load_parked(stores, "rejected")
    assert entry.event_id == "partly"
    assert [(it.part, it.field) for it in entry.field_errors] == [(part, field) for part, field, _ in said]
    assert all(reason in it.reason for it, (_, _, reason) in zip(entry.field_errors, said, strict=True))
    assert "private" not in str(entry.field_errors)
    workspace = braze.workspace(KEY)
    assert (workspace.refused, workspace.silently_dropped) == ([], [])


def test_nothing_of_the_bad_records_of_the_demos_day_arrives(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    bad = [one.record for one in day("demo", members=200, events=1800) if not one.accepted]

    forward(queued(*bad), stores, 30)

    assert len(bad) == 6
    assert braze.workspace(KEY).events == []
