"""Revenue as purchases, as orders, or as both: once, whatever is delivered again, and equal to the cent."""

from __future__ import annotations

from typing import Any

import pytest

from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import recent, repository
from loyalty_bridge.programs.connection import merge
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued
from tests.support.parked import load_parked

SALES: list[dict[str, Any]] = [
    {"transactionId": "T1", "transactionType": "EARNTRANSACTION", "amount": "19.99", "currencyCode": "EUR"},
    {"transactionId": "T2", "transactionType": "EARNTRANSACTION", "amount": 0.1, "currencyCode": "EUR"},
    {"transactionId": "T3", "transactionType": "EARNTRANSACTION", "amount": 0.2, "currencyCode": "EUR"},
    {
        "transactionId": "T4",
        "transactionType": "EARNTRANSACTION",
        "amount": "19.99",
        "currencyCode": "EUR",
        "reversal": True,
        "linkedTransaction": "T1",
    },
]
RECORDS = [event("account_transaction", payload=sale, eventId=f"e{number}") for number, sale in enumerate(SALES)]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("purchases", {"purchases": 0.3, "orders": 0, "products": 0, "count": 0}),
        ("ecommerce", {"purchases": 0, "orders": 0.3, "products": 0.3, "count": 3}),
        ("both", {"purchases": 0.3, "orders": 0.3, "products": 0.3, "count": 3}),
    ],
)
def test_each_figure_is_right_after_redelivery(
    stores: DeliverySettings, braze: Braze, setting: str, expected: dict[str, float]
) -> None:
    connect(stores, braze.url, engagement={"rules": {"revenue": setting}})

    for _ in range(2):
        for record in RECORDS:
            assert forward(queued(record), stores, 30).to_retry == []

    assert braze.workspace(KEY).revenue() == expected
    assert braze.workspace(KEY).refused == []


def test_a_refund_of_no_order_is_rejected_and_its_purchase_and_event_arrive(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url, engagement={"rules": {"revenue": "both"}})
    refund = SALES[0] | {"transactionId": "T9", "reversal": True}

    outcome = forward(queued(event("account_transaction", payload=refund, eventId="e9")), stores, 30)

    workspace = braze.workspace(KEY)
    assert outcome.to_retry == []
    assert (len(workspace.purchases), len(workspace.events), len(workspace.orders)) == (1, 1, 0)
    [rejected] = load_parked(stores, "rejected")
    assert [(error.part, error.field) for error in rejected.field_errors] == [("order", "purchase.order_id")]


def test_orders_follow_when_a_program_begins_to_send_them(stores: DeliverySettings, braze: Braze) -> None:
    program = connect(stores, braze.url)
    forward(queued(RECORDS[0]), stores, 30)
    connection = merge(program.connection, {"engagement": {"rules": {"revenue": "both"}}})
    repository.save(stores, program, program.id, connection, {})
    recent.clear()

    forward(queued(RECORDS[0]), stores, 30)

    workspace = braze.workspace(KEY)
    assert (len(workspace.purchases), len(workspace.events), len(workspace.orders)) == (1, 1, 1)
