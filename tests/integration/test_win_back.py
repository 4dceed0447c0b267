"""A lapsed member gets a coupon through a webhook of Braze, and the code in a message: https://www.braze.com/docs/partners/
data_and_analytics/loyalty/convercus (use cases)."""

from __future__ import annotations

from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import queued
from tests.support.http_events import Api


def test_the_code_of_a_coupon_that_a_campaign_assigns_comes_back_with_the_event(
    stores: DeliverySettings, api: Api, braze: Braze
) -> None:
    connect(stores, braze.url, program="shop")

    answer = api.post("campaigns/C1/assign", {"account_id": "A1", "dispatch_id": "d-1"})
    [value] = api.upstream.events
    forward(queued(value | {"programId": "shop"}), stores, 30)

    [event] = braze.workspace(KEY).events
    assert (event.object["external_id"], event.object["name"]) == ("A1", "convercus_coupon_assigned")
    assert event.object["properties"]["couponId"] == "C1"
    assert event.object["properties"]["couponCode"] == answer.body["couponCode"]
