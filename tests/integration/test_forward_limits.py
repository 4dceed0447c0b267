"""Records that are large or strange enough to hurt others: bodies in S3, envelopes, arrays, limits of the stores."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from loyalty_bridge.errors import Conflict
from loyalty_bridge.event_queue import bodies
from loyalty_bridge.event_queue.envelope import SourceRecord, encode
from loyalty_bridge.event_queue.publisher import INLINE_BYTES
from loyalty_bridge.infra import aws
from loyalty_bridge.parking import parked_records
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import delivery_state
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused

RECEIVED = datetime(2026, 3, 1, 9, tzinfo=UTC)

in_both_transports = pytest.mark.parametrize("transport", [queued, streamed])
Transport = Callable[..., dict[str, Any]]


def enveloped(settings: DeliverySettings, body: bytes, program: str = "demo", member: str = "") -> str:
    """Put a body into an envelope as the bridge does, in S3 if it is large."""
    record = SourceRecord(program, body, RECEIVED, member)
    return encode(record, lambda large: bodies.save(settings, large), INLINE_BYTES)


def members(braze: Braze) -> list[str]:
    return sorted(one.object["external_id"] for one in braze.workspace(KEY).events)


@in_both_transports
def test_a_body_too_large_for_the_transport_travels_by_way_of_s3(
    stores: DeliverySettings, braze: Braze, transport: Transport
) -> None:
    connect(stores, braze.url)
    elements = [event(accountId=f"A{number}", payload={"points": 1, "reason": "r" * 200}) for number in range(450)]
    pointer = enveloped(stores, json.dumps(elements).encode())

    outcome = forward(transport(event(accountId="left"), pointer, event(accountId="right")), stores, 30)

    assert len(pointer) < 1000
    assert (outcome.to_retry, outcome.counts["accepted_event"], outcome.counts["rejected"]) == ([], 452, 0)


@in_both_transports
def test_properties_beyond_the_limit_in_a_stored_body_are_refused_by_name(
    stores: DeliverySettings, braze: Braze, transport: Transport
) -> None:
    connect(stores, braze.url)
    items = [{"sku": f"{number}", "text": "t" * 250} for number in range(800)]
    payload = {"transactionType": "EARN", "transactionId": "T", "amount": 1, "currencyCode": "EUR", "lineItems": items}
    large = event("account_transaction", eventId="large", payload=payload)
    pointer = enveloped(stores, json.dumps(large).encode())

    outcome = forward(transport(event(accountId="left"), pointer, event(accountId="right")), stores, 30)

    assert (outcome.to_retry, members(braze)) == ([], ["A1", "left", "right"])
    assert [(part, field) for part, field, _ in refused(stores)["large"]] == [("event", "event.properties.lineItems")]
    assert len(braze.workspace(KEY).purchases) == 1


@in_both_transports
def test_a_stored_body_that_s3_does_not_give_now_is_given_back_alone(
    stores: DeliverySettings, braze: Braze, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_down(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": "x"}}, "GetObject")

    connect(stores, braze.url)
    pointer = enveloped(stores, b" " * (INLINE_BYTES + 1))
    monkeypatch.setattr(aws.s3(), "get_object", slow_down)

    outcome = forward(transport(event(accountId="left"), pointer, event(accountId="right")), stores, 30)

    assert (len(outcome.to_retry), members(braze)) == (1, ["left", "right"])
    assert not load_parked(stores, "rejected", "-")


@in_both_transports
@pytest.mark.parametrize(
    "stored",
    ["bodies/00000000000000000000000000000000", "bodies/x", "held/demo/x.jsonl.gz", "bodies/../held/x", "x" * 9000, 7],
)
def test_a_pointer_to_no_stored_body_is_refused(
    stores: DeliverySettings, braze: Braze, transport: Transport, stored: Any
) -> None:
    connect(stores, braze.url)
    pointer = json.dumps({"loyalty_bridge": 1, "program": "demo", "received": 1_772_359_200_000, "stored": stored})

    outcome = forward(transport(event(accountId="left"), pointer, event(accountId="right")), stores, 30)

    assert (outcome.to_retry, members(braze)) == ([], ["left", "right"])
    [entry] = load_parked(stores, "rejected", "-")
    assert [it.field for it in entry.field_errors] == ["stored"]


ANYTHING = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
)
FORGED = st.fixed_dictionaries(
    {"loyalty_bridge": st.just(1), "program": st.sampled_from(["demo", "other", "-"])},
    optional={
        "received": ANYTHING | st.just(1_772_359_200_000),
        "body": ANYTHING | st.just(base64.b64encode(json.dumps(event(accountId="A9")).encode()).decode()),
        "stored": ANYTHING,
        "member": ANYTHING,
        "released": ANYTHING
        | st.from_regex(r"[0-9]{13}-[0-9a-f]{12}(-[0-9]{13}-[0-9a-f]{12})?\.[0-9]{6}(-[0-9]{13})?", fullmatch=True),
        "waiting_since": ANYTHING | st.integers(-(10**13), 10**13),
    },
)


@pytest.mark.parametrize("is_held", [False, True])
@hypothesis.settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(document=FORGED)
def test_no_forged_envelope_hurts_its_neighbours(
    stores: DeliverySettings, braze: Braze, document: Any, is_held: bool
) -> None:
    for program in ("demo", "good"):
        with suppress(Conflict):
            connect(stores, braze.url, program)
    if is_held:
        delivery_state.hold(stores, "demo", "is held", 1_772_359_200.0)
    neighbour = event(programId="good", accountId="neighbour")

    outcome = forward(queued(json.dumps(document), neighbour), stores, 30)

    assert outcome.to_retry == []
    assert neighbour["eventId"] in [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events]


UNUSABLE_BODIES = [
    pytest.param(b"private words", "record", id="no JSON"),
    pytest.param(b"\xff\xfe", "record", id="no text"),
    pytest.param(b'"private"', "record", id="a JSON string"),
    pytest.param(b"7", "record", id="a JSON number"),
    pytest.param(b'{"eventType": "user_logged_in", "accountId": "\\u0000"}', "accountId", id="a null byte"),
    pytest.param(b'{"eventType": "user_logged_in", "accountId": "\\ud800"}', "accountId", id="half a character"),
    pytest.param(b"[" * 50_000, "record", id="endless brackets"),
    pytest.param(b"[]", "record", id="an empty array"),
]


@in_both_transports
@pytest.mark.parametrize(("body", "field"), UNUSABLE_BODIES)
def test_an_unusable_body_of_an_envelope_is_refused_for_its_program(
    stores: DeliverySettings, braze: Braze, transport: Transport, body: bytes, field: str
) -> None:
    connect(stores, braze.url)
    batch = transport(event(accountId="left"), enveloped(stores, body), event(accountId="right"))

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, members(braze)) == ([], ["left", "right"])
    [entry] = load_parked(stores, "rejected")
    assert ([it.field for it in entry.field_errors], entry.record.body) == ([field], body)
    assert (entry.record.received, "private" in str(entry.field_errors)) == (RECEIVED, False)


def test_an_envelope_reports_the_member_of_a_record_that_does_not(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    body = {name: value for name, value in event("user_logged_in", userId="U1").items() if name != "accountId"}

    outcome = forward(queued(enveloped(stores, json.dumps(body).encode(), member="A7")), stores, 30)

    assert (outcome.to_retry, members(braze)) == ([], ["A7"])


@in_both_transports
@pytest.mark.parametrize(
    ("element", "field"),
    [
        pytest.param({"eventType": "no_such_type", "accountId": "A1"}, "eventType", id="unknown type"),
        pytest.param({"eventType": "user_logged_in"}, "accountId", id="no member"),
        pytest.param({}, "accountId", id="empty object"),
        pytest.param("words", "record", id="text"),
        pytest.param(7, "record", id="number"),
        pytest.param(None, "record", id="null"),
        pytest.param([event()], "record", id="array"),
        pytest.param(event(programId="another"), "programId", id="of another program"),
    ],
)
def test_one_bad_element_of_an_array_is_refused_alone_wherever_it_is(
    stores: DeliverySettings, braze: Braze, transport: Transport, element: Any, field: str
) -> None:
    connect(stores, braze.url)
    good = iter([event(accountId=f"A{number}") for number in range(6)])
    first, second, last = (
        [element, next(good), next(good)],
        [next(good), element, next(good)],
        [next(good), next(good), element],
    )

    outcome = forward(transport(first, second, last), stores, 30)

    assert outcome.to_retry == []
    assert members(braze) == [f"A{number}" for number in range(6)]
    entries = load_parked(stores, "rejected")
    assert [json.loads(entry.record.body) for entry in entries] == [element] * 3
    assert [[it.field for it in entry.field_errors] for entry in entries] == [[field]] * 3


def test_a_hundred_records_that_are_unusable_cost_one_bundle_for_each_program(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    batch = [event("no_such_type") if number % 2 else "no JSON" for number in range(100)]

    outcome = forward(streamed(*batch, event(accountId="last")), stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"], members(braze)) == ([], 100, ["last"])
    [known], [unknown] = (list(parked_records.batches(stores, "rejected", program)) for program in ("demo", "-"))
    assert (known.count, known.reasons) == (50, {"eventType: is not a known event type": 50})
    assert (unknown.count, unknown.reasons) == (50, {"record: is not JSON (position 0)": 50})


def test_an_endless_user_id_costs_its_neighbours_nothing(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    bad = event("user_changed", payload={"userId": "u" * 5000, "memberRole": "OWNER"})

    outcome = forward(queued(event(accountId="left"), bad, event(accountId="right")), stores, 30)

    assert outcome.to_retry == []
    assert {"left", "right"} <= set(members(braze))


def test_a_member_with_too_many_attributes_does_not_make_its_neighbours_forgotten(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    many = {f"{'n' * 200}{number}": number for number in range(2000)}
    batch = queued(
        event(accountId="left"),
        event("user_changed", accountId="large", payload={"customProperties": many}),
        event(accountId="right"),
    )

    forward(batch, stores, 30)
    forward(batch, stores, 30)

    assert [one for one in members(braze) if one != "large"] == ["left", "right"]
