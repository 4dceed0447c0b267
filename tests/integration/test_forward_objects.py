"""Single objects of a request that Braze refuses: the right record is refused for it, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import delivery_state
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused
from tests.support.rejecting_braze import BAD, picky_braze

EVENT_REFUSED = ("event", "event", "an object of 'events' is refused")
ATTRIBUTES_REFUSED = ("attributes", "attributes", "an object of 'attributes' is refused")
PURCHASE_REFUSED = ("purchase", "purchase", "an object of 'purchases' is refused")


@pytest.fixture
def picky() -> Iterator[Braze]:
    """Return a simulated Braze that refuses every object with `BAD` in it."""
    with picky_braze(KEY) as running:
        yield running


def balance(event_id: str, *, member: str = "A1", reason: str = "bonus", points: int = 7) -> dict[str, Any]:
    """Make an event whose `reason` is a property of the event and no attribute."""
    return event("balance_changed", eventId=event_id, accountId=member, payload={"points": points, "reason": reason})


def change(event_id: str, *, member: str = "A1", at: int = 0, **custom: Any) -> dict[str, Any]:
    """Make an event whose `custom` properties are attributes and no properties of the event."""
    return event(
        "user_changed",
        eventId=event_id,
        accountId=member,
        occurredAt=f"2026-03-01T10:00:{at:02}Z",
        payload={"customProperties": [{"name": name, "value": value} for name, value in custom.items()]},
    )


def sale(event_id: str, *, reason: str = "basket", member: str = "A1") -> dict[str, Any]:
    payload = {"transactionType": "EARN", "transactionId": "T-1", "amount": 5, "currencyCode": "EUR", "reason": reason}
    return event("account_transaction", eventId=event_id, accountId=member, payload=payload)


def accepted(braze: Braze) -> list[str]:
    """Return the ids of the events that Braze has, in the order in which it got them."""
    return [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events]


def custom(braze: Braze, member: str = "A1") -> dict[str, Any]:
    profile = braze.workspace(KEY).profile(external_id=member)
    assert profile
    return {name: value for name, value in profile.custom.items() if not name.startswith("convercus_")}


def test_one_bad_object_is_refused_and_the_others_of_its_batch_are_accepted(
    stores: DeliverySettings, picky: Braze
) -> None:
    connect(stores, picky.url)
    batch = queued(balance("good-1"), balance("bad", reason=BAD), balance("good-2", member="A2"))

    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == []
    assert (outcome.counts["accepted_event"], outcome.counts["rejected"], outcome.counts["requests"]) == (2, 1, 1)
    assert sorted(accepted(picky)) == ["good-1", "good-2"]
    assert refused(stores) == {"bad": [EVENT_REFUSED]}
    assert [entry.missing for entry in load_parked(stores, "rejected")] == [("event",)]


@pytest.mark.parametrize("position", range(4))
def test_an_error_is_found_at_its_record_when_others_before_it_were_left_out(
    stores: DeliverySettings, picky: Braze, position: int
) -> None:
    connect(stores, picky.url)
    forward(queued(balance("seen")), stores, 30)
    batch = [
        balance("seen"),  # repeated
        event("no_such_type", eventId="odd-type"),  # refused before it is sent
        balance("same-1"),  # its attributes are those that Braze has
        balance("same-2", member="A2", points=8),
        balance("same-3", member="A3", points=9),
    ]
    batch.insert(position + 1, balance("bad", member="A9", reason=BAD))

    outcome = forward(streamed(*batch), stores, 30)

    assert outcome.to_retry == []
    assert sorted(accepted(picky)) == ["same-1", "same-2", "same-3", "seen"]
    assert refused(stores) == {
        "odd-type": [("event", "eventType", "is not a known event type")],
        "bad": [EVENT_REFUSED],
    }
    assert picky.workspace(KEY).profile(external_id="A9")


def test_an_index_counts_within_its_own_array(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    batch = [
        sale("sale-bad", reason=BAD),  # first of the purchases, and an event
        change("attributes-bad", member="A2", note=BAD),
        sale("sale-good", member="A3"),
        balance("event-bad", member="A4", reason=BAD),
    ]

    outcome = forward(streamed(*batch), stores, 30)

    assert outcome.to_retry == []
    assert refused(stores) == {
        "sale-bad": [EVENT_REFUSED, PURCHASE_REFUSED],
        "attributes-bad": [ATTRIBUTES_REFUSED],
        "event-bad": [EVENT_REFUSED],
    }
    assert [entry.missing for entry in load_parked(stores, "rejected")] == [
        ("event", "purchase"),
        ("attributes",),
        ("event",),
    ]
    assert sorted(accepted(picky)) == ["attributes-bad", "sale-good"]
    assert [one.object["external_id"] for one in picky.workspace(KEY).purchases] == ["A3"]


def test_a_bad_record_among_merged_attributes_is_refused_alone(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    batch = queued(
        change("first", at=1, colour="red", size=3),
        change("bad", at=2, note=BAD, size=4),
        change("last", at=3, town="Ulm"),
    )

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"], outcome.counts["accepted_event"]) == ([], 1, 3)
    assert refused(stores) == {"bad": [ATTRIBUTES_REFUSED]}
    assert custom(picky) == {"colour": "red", "size": 3, "town": "Ulm"}
    assert accepted(picky) == ["first", "bad", "last"]


def test_attributes_that_were_taken_apart_still_end_with_the_newest_value(
    stores: DeliverySettings, picky: Braze
) -> None:
    connect(stores, picky.url)
    batch = queued(
        change("newest", at=9, colour="green"),  # arrives first, happened last
        change("older", at=1, colour="red", size=1),
        change("bad", at=5, note=BAD),
        change("newer", at=7, size=2),
    )

    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == []
    assert refused(stores) == {"bad": [ATTRIBUTES_REFUSED]}
    assert custom(picky) == {"colour": "green", "size": 2}


def test_the_value_that_stood_before_a_refused_one_is_known_as_the_last_that_was_sent(
    stores: DeliverySettings, picky: Braze
) -> None:
    connect(stores, picky.url)
    forward(queued(change("good", at=1, note="fine"), change("bad", at=2, note=BAD)), stores, 30)

    same = forward(queued(change("same", at=3, note="fine")), stores, 30)
    other = forward(queued(change("other", at=4, note="better")), stores, 30)

    assert (same.counts["accepted_attributes"], other.counts["accepted_attributes"]) == (0, 1)
    assert custom(picky) == {"note": "better"}


def test_an_older_value_is_accepted_although_nothing_of_it_is_sent(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    batch = queued(change("bad", at=1, note=BAD), change("good", at=2, note="fine"))

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, refused(stores), custom(picky)) == ([], {}, {"note": "fine"})


def test_attributes_in_two_objects_are_refused_once_for_their_record(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    both = change("bad", note=BAD, address={"street": BAD})  # an object that is replaced, and keys that are merged
    both["payload"]["account"] = {"accountBalance": {"points": 1}}
    batch = queued(both, balance("good"))

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, accepted(picky)) == ([], ["bad", "good"])
    assert refused(stores) == {"bad": [ATTRIBUTES_REFUSED]}
    assert outcome.counts["accepted_attributes"] == 1
    assert [entry.missing for entry in load_parked(stores, "rejected")] == [("attributes",)]


def test_a_400_about_every_object_is_never_counted_as_sent(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    batch = queued(*[balance(f"bad-{number}", member=f"{BAD}-{number}") for number in range(3)])

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"], outcome.latencies) == ([], 3, [])
    assert outcome.counts["requests"] == 1
    assert not any(name.startswith("accepted") for name in outcome.counts)
    assert refused(stores) == {f"bad-{number}": [ATTRIBUTES_REFUSED, EVENT_REFUSED] for number in range(3)}


def test_what_a_400_does_not_name_is_sent_again_without_the_culprits(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    errors = [{"type": "is refused", "input_array": "events", "index": 1}]
    braze.workspace(KEY).misbehave(kind="status", status=400, body={"message": "No", "errors": errors})

    outcome = forward(streamed(balance("first"), balance("second"), balance("third")), stores, 30)

    assert (outcome.to_retry, outcome.counts["requests"]) == ([], 2)
    assert accepted(braze) == ["first", "third"]
    assert refused(stores) == {"second": [("event", "event", "is refused")]}


def test_an_array_of_events_is_refused_element_by_element(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    batch = queued([balance("one"), balance("two", reason=BAD), balance("three")])

    outcome = forward(batch, stores, 30)

    assert (outcome.to_retry, accepted(picky)) == ([], ["one", "three"])
    [entry] = load_parked(stores, "rejected")
    assert (entry.event_id, b"three" in entry.record.body) == ("two", False)


def test_an_array_that_comes_back_for_one_of_its_events_is_refused_for_another_only_once(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    batch = queued([event("no_such_type", eventId="odd-type"), balance("good")])
    braze.workspace(KEY).misbehave(kind="status", status=429, headers={"retry-after": "60"})

    failed = forward(batch, stores, 30)
    refused_then = refused(stores)
    delivery_state.note_success(stores, "demo")  # the wait is over
    forward(batch, stores, 30)

    assert (failed.to_retry, refused_then) == (["message-0"], {})
    assert (accepted(braze), len(load_parked(stores, "rejected"))) == (["good"], 1)


def test_many_bad_objects_among_many_good_ones(stores: DeliverySettings, picky: Braze) -> None:
    connect(stores, picky.url)
    batch = [
        balance(f"{number:03}", member=f"A{number % 40}", reason=BAD if number % 7 == 3 else "bonus")
        for number in range(200)
    ]

    outcome = forward(streamed(*batch), stores, 60)

    bad = {f"{number:03}" for number in range(200) if number % 7 == 3}
    assert outcome.to_retry == []
    assert refused(stores) == {one: [EVENT_REFUSED] for one in bad}
    assert sorted(accepted(picky)) == sorted({f"{number:03}" for number in range(200)} - bad)
