"""The forwarder, from a batch to what Braze then holds."""

from __future__ import annotations

import time

from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import merge
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed


def test_an_event_becomes_attributes_and_an_event(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert outcome.to_retry == []
    workspace = braze.workspace(KEY)
    assert [one.object["name"] for one in workspace.events] == ["convercus_balance_changed"]
    profile = workspace.profile(external_id="A1")
    assert profile
    assert profile.custom["convercus_balance"] == {"points": 120, "lockedPoints": 0, "statusPoints": 300}


def test_users_that_are_found_in_another_way_get_what_the_others_had(stores: DeliverySettings, braze: Braze) -> None:
    before = connect(stores, braze.url)
    forward(queued(event("balance_changed")), stores, 30)
    by_alias = merge(before.connection, {"engagement": {"rules": {"identifier_type": "user_alias"}}})
    repository.save(stores, before, "demo", by_alias, {})

    forward(queued(event("balance_changed")), stores, 30)

    by_id = braze.workspace(KEY).profile(external_id="A1")
    other = braze.workspace(KEY).profile(user_alias={"alias_name": "A1", "alias_label": "convercus_account_id"})
    assert by_id
    assert other
    assert other.custom == by_id.custom


def test_a_user_that_braze_did_not_know_gets_all_attributes_when_it_does(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url, engagement={"rules": {"update_existing_only": True}})
    forward(queued(event("balance_changed")), stores, 30)
    left_out = braze.workspace(KEY).profile(external_id="A1")
    braze.workspace(KEY).track({"attributes": [{"external_id": "A1", "app": "opened"}]}, time.time())

    forward(queued(event("balance_changed")), stores, 30)

    assert left_out is None
    profile = braze.workspace(KEY).profile(external_id="A1")
    assert profile
    assert profile.custom["convercus_account_id"] == "A1"
    assert profile.custom["convercus_balance"] == {"points": 120, "lockedPoints": 0, "statusPoints": 300}


def test_a_second_delivery_of_an_event_sends_nothing(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    batch = streamed(event("balance_changed"), event("user_logged_in"))
    forward(batch, stores, 30)

    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == []
    assert outcome.counts["duplicates"] == 2
    assert len(braze.workspace(KEY).events) == 2
    assert len(braze.workspace(KEY).requests) == 1
