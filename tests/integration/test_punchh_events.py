"""Punchh's events, from their delivery to what MoEngage has of them, and Braze where a program is connected to it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from loyalty_bridge.parking.release import run_schedule
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings
from simulators import punchh_sender
from simulators.braze import Braze
from simulators.moengage import MoEngage
from simulators.punchh_events import CATALOGUE, Guest, event, every_event, guest
from tests.conftest import KEY
from tests.support import events as convercus
from tests.support.parked import load_parked, refused
from tests.support.webhooks import NOW, Clock, connect, delivery, forwarded, gateway, recording, status, streaming

ANN = guest(0)
AT = NOW - 3600
PROGRAMS = ("to-moengage", "to-braze")
OF_NOBODY = {"redeemables"}
"""Families that name no user."""

Events = list[tuple[str, Mapping[str, Any]]]


class Platforms:
    """Both engagement platforms, each with a workspace, and what they got."""

    def __init__(self, clock: Clock) -> None:
        self.braze, self.moengage = Braze(clock), MoEngage(clock)
        self.braze.workspace(KEY)
        self.moengage.workspace("W1", key="data-key")
        self.requests: dict[str, list[dict[str, Any]]] = {}

    def events(self) -> dict[str, Events]:
        """Return the events of each program, name and properties, after a look that all was taken as it was meant."""
        braze, moengage = self.braze.workspace(KEY), self.moengage.workspace("W1")
        assert [one for it in (braze, moengage) for one in (*it.refused, *it.silently_dropped, *it.ignored)] == []
        assert moengage.retyped == []
        return {
            "to-moengage": [(one.name, one.attributes) for one in moengage.events],
            "to-braze": [(one.object["name"], one.object["properties"]) for one in braze.events],
        }

    def attributes(self, who: Guest = ANN) -> dict[str, Mapping[str, Any]]:
        """Return the attributes that each program's platform has of somebody."""
        user = self.moengage.workspace("W1").user(customer_id=who.external_source_id)
        profile = self.braze.workspace(KEY).profile(external_id=who.external_source_id)
        assert user
        assert profile
        return {"to-moengage": user.attributes, "to-braze": {**profile.fields, **profile.custom}}


@pytest.fixture
def clock() -> Clock:
    """Return the platforms' clock."""
    return Clock()


@pytest.fixture
def platforms(stores: DeliverySettings, clock: Clock) -> Iterator[Platforms]:
    """Connect a program to each platform."""
    both = Platforms(clock)
    with recording(both.moengage) as to_moengage, recording(both.braze) as to_braze:
        both.requests = {"to-moengage": to_moengage, "to-braze": to_braze}
        engagement = {"platform": "moengage", "api_endpoint": both.moengage.url, "workspace_id": "W1"}
        connect(stores, {"platform": "punchh"}, engagement, program="to-moengage", moengage_data_key="data-key")
        connect(stores, {"platform": "punchh"}, {"api_endpoint": both.braze.url}, program="to-braze", braze_api_key=KEY)
        yield both


def deliver(settings: DeliverySettings, *bodies: Any, at: float = NOW) -> Counter[str]:
    """Deliver to both programs, and forward; count what happened."""
    for program in PROGRAMS:
        for body in bodies:
            assert status(delivery("punchh", body, program=program, at=at)) == 200
    return forwarded(settings)


def names(found: Events) -> list[str]:
    return [name for name, _ in found]


# --- Every documented event.


def test_every_documented_event_arrives_on_both_platforms_without_what_somebody_could_act_as_the_member_by(
    stores: DeliverySettings, platforms: Platforms
) -> None:
    everything = list(every_event(ANN, AT))
    secrets = ["abc123", "4000 0000 0000 4321", "reset_password_url", "email_confirmation_url", "verification_code"]
    assert all(secret in json.dumps(everything) for secret in secrets)

    with streaming(stores) as settings:
        deliver(settings, everything)

    expected = Counter(family for family, _, _ in CATALOGUE if family not in OF_NOBODY)
    types = {kind for family, kind, _ in CATALOGUE if family not in {*OF_NOBODY, "coupons"} and kind}
    ids = sorted(event["content_id"] for event in everything if event["event_name"] not in OF_NOBODY)
    for program, found in platforms.events().items():
        assert Counter(names(found)) == expected
        assert {seen["event_type"] for _, seen in found if "event_type" in seen} == types
        assert sorted(seen["event_id"] for _, seen in found) == ids
        assert [secret for secret in secrets if secret in json.dumps(platforms.requests[program])] == []
        assert sorted(refusal[0][2] for refusal in refused(stores, program).values()) == [
            "is the business's, not a member's",
        ]


def test_a_check_in_becomes_exactly_this_in_moengage(stores: DeliverySettings, platforms: Platforms) -> None:
    deliver(stores, event(ANN, AT, "users"))
    platforms.requests["to-moengage"].clear()

    deliver(stores, event(ANN, AT + 60, "checkins", "gift"))

    [request] = platforms.requests["to-moengage"]
    [action] = request["body"].pop("actions")
    assert request == {"path": "/v1/event/W1", "body": {"type": "event", "customer_id": ANN.external_source_id}}
    assert action == {
        "action": "checkins",
        "current_time": "2026-01-05T09:01:00Z",
        "attributes": {
            "event_id": event(ANN, AT + 60, "checkins", "gift")["content_id"],
            "event_type": "gift",
            "action": "create",
            "business_id": 7,
            "business_uuid": "5f1c7a52-6c5e-4a63-9b0a-2a3a2d0a7f10",
            "punchh_user_id": ANN.user_id,
            "created_at": "2026-01-05T09:01:00Z",
            "updated_at": "2026-01-05T09:01:00Z",
            "punchh_status": "gift",
            "checkin_id": 26_051,
            "gifted_by_id": 12,
            "gifted_by_type": "Admin",
            "gifted_for_id": 105,
            "gifted_for_type": "Campaign",
            "gift_reason": "Sorry for the wait",
            "points_earned": 50,
            "expiring_on": "2027-01-31",
        },
    }


@pytest.mark.parametrize(("ahead", "seen"), [(-2, -2), (200, 0)])
def test_the_time_of_a_clock_that_is_ahead_is_the_arrival_where_no_future_is_taken(
    stores: DeliverySettings, platforms: Platforms, clock: Clock, ahead: int, seen: int
) -> None:
    clock.now = now = float(int(time.time()))

    deliver(stores, event(ANN, now + ahead, "users"), at=now)

    [got] = platforms.moengage.workspace("W1").events
    assert got.time == now + seen


# --- Bad input.


def test_without_a_content_id_an_event_is_known_by_what_it_reports(
    stores: DeliverySettings, platforms: Platforms
) -> None:
    one = event(ANN, AT, "users", action="update")
    later = event(ANN, AT + 1, "users", action="update")
    for seen in (one, later):
        del seen["content_id"]

    deliver(stores, one, one, later)

    for found in platforms.events().values():
        assert len({seen["event_id"] for _, seen in found}) == len(found) == 2
        assert all(seen["event_id"].startswith("sha256:") for _, seen in found)


def test_a_redemption_finds_its_guest_by_the_address_that_a_users_event_reported(
    stores: DeliverySettings, platforms: Platforms, clock: Clock
) -> None:
    clock.now = now = time.time()
    redemption = event(ANN, now - 60, "redemptions")

    waited = deliver(stores, redemption, at=now)
    deliver(stores, event(ANN, now - 120, "users"), at=now)
    run_schedule(stores, 20, check_connection)
    forwarded(stores)

    assert waited["waiting"] == len(PROGRAMS)
    for found in platforms.events().values():
        assert sorted(names(found)) == ["redemptions", "users"]


def test_a_redemption_with_an_address_that_two_guests_have_had_is_given_to_neither(
    stores: DeliverySettings, platforms: Platforms
) -> None:
    other = replace(guest(1), email=ANN.email)

    deliver(stores, event(ANN, AT, "users"), event(other, AT + 1, "users"))
    deliver(stores, event(ANN, AT + 60, "redemptions"))

    for program, found in platforms.events().items():
        assert names(found) == ["users", "users"]
        [[(_, field, reason)]] = refused(stores, program).values()
        assert (field, reason) == ("payload.user.email", "is that of several members")


def test_an_address_that_was_another_guests_before_is_ambiguous_within_one_batch_too(
    stores: DeliverySettings, platforms: Platforms
) -> None:
    other = replace(guest(1), email=ANN.email)
    deliver(stores, event(ANN, AT, "users"))

    deliver(stores, event(other, AT + 1, "users"), event(ANN, AT + 60, "redemptions"))

    for program, found in platforms.events().items():
        assert names(found) == ["users", "users"]
        assert len(refused(stores, program)) == 1


def test_events_of_a_guest_go_to_the_newest_external_id_whatever_order_they_were_reported_in(
    stores: DeliverySettings, platforms: Platforms
) -> None:
    moved = replace(ANN, external_source_id="c-new")
    deliver(stores, event(ANN, AT, "users"))
    deliver(stores, event(moved, AT + 60, "users", action="update"))
    deliver(stores, event(ANN, AT + 30, "users", action="update"))  # late

    deliver(stores, event(ANN, AT + 90, "rewards"))

    for found in platforms.events().values():
        assert names(found).count("rewards") == 1
    assert [it.object["external_id"] for it in platforms.braze.workspace(KEY).events][-1] == "c-new"
    assert platforms.requests["to-moengage"][-1]["body"]["customer_id"] == "c-new"


@pytest.mark.parametrize("printed", [" transactional_notifications", "_notifications", "Transactional_Notifications "])
def test_a_family_is_known_however_it_is_printed(stores: DeliverySettings, platforms: Platforms, printed: str) -> None:
    source = event(ANN, AT, "transactional_notifications", "points_to_reward")

    deliver(stores, source | {"event_name": printed})

    for found in platforms.events().values():
        assert names(found) == ["transactional_notifications"]


def test_an_unknown_family_passes_under_a_general_name(stores: DeliverySettings, platforms: Platforms) -> None:
    deliver(stores, event(ANN, AT, "users"))

    counts = deliver(stores, event(ANN, AT + 1, "rewards") | {"event_name": "wallets", "event_type": "topped_up"})

    assert counts["unknown_events"] == 2
    for found in platforms.events().values():
        name, seen = found[-1]
        assert (name, seen["punchh_event_name"], seen["event_type"]) == ("punchh_event", "wallets", "topped_up")


def test_balances_that_are_texts_become_numbers(stores: DeliverySettings, platforms: Platforms) -> None:
    source = event(ANN, AT, "users")
    source["payload"]["account_balance"] |= {"loyalty_points": "120", "banked_currency": "10.50", "total_debits": None}

    deliver(stores, source)

    for attributes in platforms.attributes().values():
        assert attributes["punchh_account_balance_loyalty_points"] == 120
        assert attributes["punchh_account_balance_banked_currency"] == 10.5
        assert "punchh_account_balance_total_debits" not in attributes
    for found in platforms.events().values():
        assert found[0][1]["user_account_balance_loyalty_points"] == 120


@pytest.mark.parametrize("user", [None, {}, "private", []])
def test_an_event_of_a_null_user_is_refused(stores: DeliverySettings, platforms: Platforms, user: Any) -> None:
    source = event(ANN, AT, "rewards")
    source["payload"] |= {"user": user}

    deliver(stores, source)

    for program in PROGRAMS:
        assert refused(stores, program) == {source["content_id"]: [("event", "payload", "names no user")]}


def test_a_user_of_nulls_keeps_what_is_not_reported(stores: DeliverySettings, platforms: Platforms) -> None:
    nulls = event(ANN, AT + 1, "users", action="update")
    nulls["payload"] |= {"account_balance": None, "marketing_email_subscription": None, "user_relations": None}

    deliver(stores, event(ANN, AT, "users"), nulls)

    for program, attributes in platforms.attributes().items():
        assert attributes["punchh_account_balance_loyalty_points"] == ANN.user_id % 500
        subscription = {"to-moengage": ("moe_unsubscribe", False), "to-braze": ("email_subscribe", "subscribed")}
        name, value = subscription[program]
        assert attributes[name] == value
        assert len(platforms.events()[program]) == 2


def test_ids_of_64_bits_stay_as_they_are_and_apart(stores: DeliverySettings, platforms: Platforms) -> None:
    large = 2**53
    twins = [Guest(large + n, f"t{n}@example.com", "T", "Win", f"twin-{n}") for n in range(2)]

    deliver(stores, [event(twin, AT, "users") for twin in twins])
    deliver(stores, [event(twin, AT + 1, "checkins", "loyalty") for twin in twins])

    for program, found in platforms.events().items():
        assert {seen["punchh_user_id"] for name, seen in found if name == "checkins"} == {large, large + 1}
        assert f'"punchh_user_id": {large + 1}' in json.dumps(platforms.requests[program])
    for number, twin in enumerate(twins):
        assert {seen["punchh_user_id"] for seen in platforms.attributes(twin).values()} == {large + number}


def test_a_body_of_six_megabytes_arrives_without_what_is_too_long(
    stores: DeliverySettings, platforms: Platforms
) -> None:
    large = event(ANN, AT, "users")
    large["payload"]["essay"] = "ä" * 3_000_000

    deliver(stores, large)

    for program, found in platforms.events().items():
        [(name, value)] = found
        assert (name, value["user_first_name"]) == ("users", ANN.first_name)
        assert len(str(value.get("user_essay", ""))) <= 512
        assert max(len(json.dumps(request)) for request in platforms.requests[program]) < 100_000
        assert platforms.attributes()[program]["punchh_zip_code"] == "62701"


# --- Once, in order, and not too early.


def test_a_delivery_that_comes_again_is_one_event(stores: DeliverySettings, platforms: Platforms) -> None:
    source = event(ANN, AT, "users")

    deliver(stores, source, source)
    deliver(stores, [source, source])

    for found in platforms.events().values():
        assert names(found) == ["users"]


def test_an_update_of_a_user_may_come_before_its_creation(stores: DeliverySettings, platforms: Platforms) -> None:
    created = event(ANN, AT, "users", action="create")
    updated = event(ANN, AT + 60, "users", action="update")
    created["payload"] |= {"zip_code": "00001", "city": None}
    updated["payload"] |= {"zip_code": "00002", "city": "Springfield"}

    deliver(stores, updated)
    deliver(stores, created)

    for attributes in platforms.attributes().values():
        assert attributes["punchh_zip_code"] == "00002"
        assert "Springfield" in (attributes.get("city"), attributes.get("home_city"))
    for found in platforms.events().values():
        assert [seen["action"] for _, seen in found] == ["update", "create"]


def test_an_event_of_a_user_id_waits_until_somebody_reports_whose_it_is(
    stores: DeliverySettings, platforms: Platforms, clock: Clock
) -> None:
    clock.now = now = time.time()
    checkin = event(ANN, now - 30, "checkins", "loyalty")

    early = deliver(stores, checkin, at=now)
    result = deliver(stores, event(ANN, now - 60, "users"), at=now)
    brought_back = run_schedule(stores, 30, check_connection)
    forwarded(stores)

    assert (early["waiting"], result["accepted_event"], brought_back["brought_back"]) == (2, 2, 2)
    for found in platforms.events().values():
        assert names(found) == ["users", "checkins"]
    assert load_parked(stores, "waiting", "diner") == []


def test_an_event_of_a_user_whom_no_event_names_is_refused_after_a_while(
    stores: DeliverySettings, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkin = event(ANN, AT, "checkins", "loyalty")
    monkeypatch.setattr(forwarder, "LIMITS", replace(LIMITS, known_after=timedelta(0)))

    deliver(stores, checkin)

    for program in PROGRAMS:
        reasons = refused(stores, program)[checkin["content_id"]]
        assert reasons == [("event", "payload", "names a user whose external id is not known")]
    assert platforms.events() == {program: [] for program in PROGRAMS}


def test_an_outage_disorder_and_duplicates_lose_and_double_nothing(
    stores: DeliverySettings, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = Clock()
    people = [guest(number) for number in range(4)]
    events = [event(who, AT + n, "users", action=("create", "update")[n]) for who in people for n in range(2)]
    monkeypatch.setenv("EVENTS_QUEUE_URL", "http://127.0.0.1:9/gone.fifo")
    webhook.events[NOW + 200] = lambda: monkeypatch.setenv("EVENTS_QUEUE_URL", stores.events_queue_url)

    with gateway(webhook) as url:
        deliveries = punchh_sender.deliver(
            f"{url}/v1/programs/to-moengage/webhooks/punchh",
            events,
            name="bridge",
            secret="webhook-password",
            duplicate=0.5,
            reorder=3,
            clock=webhook,
            sleep=webhook.sleep,
        )
    forwarded(stores)

    assert len(deliveries) > len(events)
    assert {one.outcome for one in deliveries} == {"delivered"}
    assert {status for one in deliveries for status in one.statuses} == {200, 503}
    found = platforms.events()["to-moengage"]
    assert sorted(seen["event_id"] for _, seen in found) == sorted(event["content_id"] for event in events)


# --- By configuration alone.


def test_a_program_of_convercus_feeds_moengage(stores: DeliverySettings, platforms: Platforms) -> None:
    engagement = {"platform": "moengage", "api_endpoint": platforms.moengage.url, "workspace_id": "W1"}
    loyalty = {"membership_optins": ("Newsletter",), "default_optins": ("Newsletter",)}
    connect(stores, loyalty, engagement, program="demo", moengage_data_key="data-key")
    sale = {"transactionId": "T-1", "transactionType": "EARN", "amount": 12.5, "currencyCode": "EUR", "points": 12}

    outcome = forward(
        convercus.queued(
            convercus.event("balance_changed", occurredAt="2026-01-05T09:00:00Z"),
            convercus.event("account_transaction", occurredAt="2026-01-05T09:01:00Z", payload=sale),
        ),
        stores,
        30,
    )

    assert (outcome.to_retry, outcome.counts["rejected"]) == ([], 0)
    assert sorted(names(platforms.events()["to-moengage"])) == [
        "convercus_account_transaction",
        "convercus_balance_changed",
        "loyalty_purchase",
    ]
    user = platforms.moengage.workspace("W1").user(customer_id="A1")
    assert user
    assert user.attributes["convercus_balance_points"] == 120
