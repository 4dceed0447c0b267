"""Fields of events that the mapping does not name: sent or withheld, shown by `explain`, counted for the operator."""

from __future__ import annotations

import json

from loyalty_bridge import activity
from loyalty_bridge.activity.recorder import MAX_ERRORS, UNKNOWN_FIELD, Recorder
from loyalty_bridge.activity.store import FIELDS
from loyalty_bridge.operations.explain import explain
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued

SALE = event(
    "account_transaction",
    payload={
        "transactionId": "T1", "transactionType": "EARNTRANSACTION", "amount": 10, "currencyCode": "EUR",
        "tenderItems": [{"type": "CASH"}], "customerEmail": "a@example.com",
    },
)  # fmt: skip


def test_explain_shows_what_is_sent_as_it_is_and_what_is_not_sent_and_why(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)

    [value] = explain(stores, json.dumps(SALE).encode())["events"]

    assert value["sent_as_it_is"] == ["tenderItems"]
    assert value["not_sent"]["customerEmail"] == "may show who the person is"
    assert "a@example.com" not in json.dumps(value)


def test_each_program_counts_them_by_type_of_event(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    again = SALE | {"eventId": "again"}

    for outcome in (forward(queued(SALE, again), stores, 30), forward(queued(event("coupon_assigned")), stores, 30)):
        activity.write(stores, outcome.recorder)

    found = activity.unknown_fields(stores, "demo", 7)
    assert [(one.event, one.field, one.sent, one.count) for one in found] == [
        ("convercus_account_transaction", "customerEmail", "may show who the person is", 2),
        ("convercus_account_transaction", "tenderItems", "is sent", 2),
    ]
    assert activity.unknown_fields(stores, "other", 7) == []
    assert activity.errors(stores, "demo").lines == ()
    [sent] = [one for one in braze.workspace(KEY).events if one.object["properties"]["event_id"] == "again"]
    assert sent.object["properties"]["tenderItems"] == [{"type": "CASH"}]


def test_made_up_names_take_a_bounded_room_and_hide_no_error(stores: DeliverySettings) -> None:
    for batch in range(3):
        tally = Recorder()
        for number in range(500):
            tally.problem("demo", "forward_events", "convercus", UNKNOWN_FIELD, f"kind: f{batch}-{number}: is sent")
        tally.problem("demo", "forward_events", "convercus", "rejected", "amount: is not a number")
        assert tally.size() <= 2 * MAX_ERRORS
        activity.write(stores, tally)

    assert 0 < len(activity.unknown_fields(stores, "demo", 1)) <= FIELDS
    assert [line.count for line in activity.errors(stores, "demo").lines] == [3]
