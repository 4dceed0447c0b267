"""Purchases in currencies that ISO 4217 has withdrawn and Braze takes."""

from __future__ import annotations

import pytest

from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued


@pytest.mark.parametrize("currency", ["BGN", "bgn", 975, "HRK", "ZWL"])
def test_a_purchase_in_a_withdrawn_currency_is_sent(
    stores: DeliverySettings, braze: Braze, currency: str | int
) -> None:
    connect(stores, braze.url)
    sale = {"transactionId": "T1", "transactionType": "EARNTRANSACTION", "amount": 10, "currencyCode": currency}

    outcome = forward(queued(event("account_transaction", payload=sale)), stores, 30)

    [purchase] = braze.workspace(KEY).purchases
    assert (outcome.to_retry, outcome.counts["rejected"]) == ([], 0)
    assert purchase.object["currency"] == {"bgn": "BGN", 975: "BGN"}.get(currency, currency)
