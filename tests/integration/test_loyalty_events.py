"""The 24 loyalty events, from their delivery to the exact objects that Braze and MoEngage get."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from loyalty_bridge.settings import DeliverySettings
from simulators import brevo
from simulators.braze import Braze
from simulators.braze_workspace import Workspace as BrazeWorkspace
from simulators.moengage import MoEngage
from simulators.moengage_workspace import Workspace as MoEngageWorkspace
from tests.conftest import KEY
from tests.support.parked import refused
from tests.support.template import ROOT
from tests.support.webhooks import (
    CREDENTIAL,
    NOW,
    Clock,
    answered,
    connect,
    delivery,
    forwarded,
    gateway,
    recording,
    status,
    streaming,
)

GOLDEN = ROOT / "tests/golden/loyalty-webhooks"
ANN = brevo.contact(1)
AT = NOW - 60
BALANCE = brevo.EXAMPLES["balance_value_updated"]["balance_definition"]["id"]

Wire = dict[str, list[dict[str, Any]]]


@pytest.fixture
def braze() -> Braze:
    """Return a simulated Braze whose clock stands still."""
    braze = Braze(lambda: NOW)
    braze.workspace(KEY)
    return braze


@pytest.fixture
def moengage() -> MoEngage:
    """Return a simulated MoEngage whose clock stands still."""
    moengage = MoEngage(lambda: NOW)
    moengage.workspace("W1", key="data-key")
    return moengage


@pytest.fixture
def wire(stores: DeliverySettings, braze: Braze, moengage: MoEngage) -> Iterator[Wire]:
    """Connect the program `to-braze` and the program `to-moengage`; give the requests that each platform gets."""
    with recording(braze) as first, recording(moengage) as second:
        join(stores, braze, moengage)
        yield {"braze": first, "moengage": second}


def join(stores: DeliverySettings, braze: Braze, moengage: MoEngage, **rules: Any) -> None:
    loyalty = {"platform": "brevo", "rules": rules}
    connect(stores, loyalty, {"api_endpoint": braze.url}, program="to-braze", braze_api_key=KEY)
    engagement = {"platform": "moengage", "api_endpoint": moengage.url, "workspace_id": "W1"}
    connect(stores, loyalty, engagement, program="to-moengage", moengage_data_key="data-key")


def deliver(settings: DeliverySettings, *bodies: Any, event_name: str = "", forward_now: bool = True) -> Counter[str]:
    """Deliver to both programs, and forward; count what happened."""
    for program in ("to-braze", "to-moengage"):
        for body in bodies:
            assert status(delivery("loyalty", body, program=program, event_name=event_name)) == 200
    return forwarded(settings) if forward_now else Counter()


def clean(braze: Braze, moengage: MoEngage) -> tuple[BrazeWorkspace, MoEngageWorkspace]:
    """Return the workspaces, after a look that they took everything as it was meant."""
    workspaces = braze.workspace(KEY), moengage.workspace("W1")
    assert [one for it in workspaces for one in (*it.refused, *it.silently_dropped, *it.ignored)] == []
    assert workspaces[1].retyped == []
    return workspaces


def properties(braze: Braze, moengage: MoEngage) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of both platforms: name and properties."""
    to_braze, to_moengage = clean(braze, moengage)
    return [
        *((one.object["name"], dict(one.object["properties"])) for one in to_braze.events),
        *((one.name, dict(one.attributes)) for one in to_moengage.events),
    ]


def told_of_ann(braze: Braze, moengage: MoEngage) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes that both platforms have of the member."""
    profile = braze.workspace(KEY).profile(external_id=ANN.ext_id)
    user = moengage.workspace("W1").user(customer_id=ANN.ext_id)
    assert profile
    assert user
    return profile.custom, user.attributes


@pytest.mark.parametrize("name", brevo.EXAMPLES)
def test_an_event_becomes_exactly_these_wire_objects(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage, name: str
) -> None:
    deliver(stores, brevo.event(ANN, AT, name))

    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert wire == {"braze": [golden["braze"]], "moengage": [golden["moengage"]]}
    clean(braze, moengage)


def test_there_are_wire_objects_of_the_24_events_and_of_no_other() -> None:
    assert len(brevo.EXAMPLES) == 24
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(brevo.EXAMPLES)


@pytest.mark.parametrize("name", ["balance_value_updated", "subscription_created", "voucher_created"])
def test_fields_under_event_properties_are_those_at_the_top(stores: DeliverySettings, wire: Wire, name: str) -> None:
    source = brevo.event(ANN, AT, name)
    own = {field: source.pop(field) for field in brevo.EXAMPLES[name]}

    deliver(stores, source | {"event_properties": own})

    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert wire == {"braze": [golden["braze"]], "moengage": [golden["moengage"]]}


# --- Replies in other forms.


def test_a_bare_event_is_of_whom_its_own_fields_name(
    stores: DeliverySettings, braze: Braze, moengage: MoEngage
) -> None:
    with recording(braze), recording(moengage):
        join(stores, braze, moengage, identify_by=("ext_id", "loyalty_subscription_id", "card_id"))
        for name, fields in brevo.EXAMPLES.items():
            deliver(stores, dict(fields), event_name=name, forward_now=False)
        forwarded(stores)

    to_braze, to_moengage = clean(braze, moengage)
    named = {
        name
        for name, fields in brevo.EXAMPLES.items()
        if {"membership", "loyalty_subscription_id", "subscription"} & fields.keys()
    }
    assert len(named) == 8
    assert {event.object["name"] for event in to_braze.events} == {f"loyalty_{name}" for name in named}
    assert {event.name for event in to_moengage.events} == {f"loyalty_{name}" for name in named}
    reasons = list(refused(stores, "to-braze").values())
    assert len(reasons) == 24 - len(named)
    assert reasons[0] == [("event", "identifiers", "name no member by ext_id, loyalty_subscription_id, card_id")]


def test_a_member_known_by_an_address_only_goes_where_users_are_found_by_it(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage
) -> None:
    deliver(stores, brevo.event(ANN, AT, "voucher_created", identifiers={"email_id": "Ann@Example.com"}))

    assert [event.object["email"] for event in braze.workspace(KEY).events] == ["Ann@example.com"]
    assert list(refused(stores, "to-braze")) == []
    [[refusal]] = refused(stores, "to-moengage").values()
    assert refusal == ("event", "member", "is known by email only, and users are found by their id")


def test_an_unknown_event_passes_under_a_general_name(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage
) -> None:
    gifted = brevo.event(ANN, AT, "voucher_created", event_name="voucher_gifted", status="new", gift={"to": "Bo"})
    counts = deliver(stores, gifted)

    assert counts["unknown_events"] == 2
    for name, properties_seen in properties(braze, moengage):
        assert name == "loyalty_event"
        assert properties_seen["loyalty_event_type"] == "voucher_gifted"
        assert (properties_seen["loyalty_status"], properties_seen["gift_to"], properties_seen["code"]) == (
            "new",
            "Bo",
            "6c",
        )
    assert len(properties(braze, moengage)) == 2


def test_numbers_may_be_texts(stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage) -> None:
    transaction = {"type": "debit", "value": "-2.5"}
    deliver(stores, brevo.event(ANN, AT, "balance_value_updated", value="120", transaction=transaction))

    assert [
        (properties_seen["value"], properties_seen["transaction_value"])
        for _, properties_seen in properties(braze, moengage)
    ] == [(120, -2.5)] * 2
    in_braze, in_moengage = told_of_ann(braze, moengage)
    assert (in_braze["loyalty_balances"], in_moengage[f"loyalty_balances_{BALANCE}"]) == ({BALANCE: 120}, 120)


def test_metadata_may_be_a_text(stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage) -> None:
    definition = brevo.EXAMPLES["balance_value_updated"]["balance_definition"] | {"metadata": "summer"}
    deliver(stores, brevo.event(ANN, AT, "balance_value_updated", balance_definition=definition))

    assert [properties_seen["balance_definition_metadata"] for _, properties_seen in properties(braze, moengage)] == [
        "summer"
    ] * 2


@pytest.mark.parametrize("expiry", ["expires_at", "expired_at"])
@pytest.mark.parametrize("name", ["voucher_created", "voucher_expiration_reminder"])
def test_a_voucher_expires_under_one_name(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage, name: str, expiry: str
) -> None:
    changes = {"expires_at": None, "expired_at": None, expiry: "2026-12-31T00:00:00Z"}
    deliver(stores, brevo.event(ANN, AT, name, **changes))

    for _, properties_seen in properties(braze, moengage):
        assert properties_seen["expires_at"].startswith("2026-12-31T00:00:00")
        assert "expired_at" not in properties_seen


def test_an_event_may_lack_its_loyalty_program(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage
) -> None:
    event = brevo.event(ANN, AT, "voucher_created")
    del event["loyalty_program"]

    deliver(stores, event)

    assert [(name, properties_seen["code"]) for name, properties_seen in properties(braze, moengage)] == [
        ("loyalty_voucher_created", "6c")
    ] * 2


# --- What does not fit.


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("subscription_created", {"event_date": "private"}, "event_date"),
        ("voucher_created", {"event_name": " "}, "event_name"),
        ("voucher_created", {"event_name": ["private"]}, "event_name"),
        ("voucher_created", {"event_id": {"private": 1}}, "event_id"),
        ("voucher_created", {"identifiers": {}, "contact_id": None}, "identifiers"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_with_the_fields_name(
    stores: DeliverySettings, wire: Wire, name: str, changes: dict[str, Any], field: str
) -> None:
    deliver(stores, brevo.event(ANN, AT, name, **changes))

    assert wire == {"braze": [], "moengage": []}
    for program in ("to-braze", "to-moengage"):
        [[(_, wrong, reason)]] = refused(stores, program).values()
        assert wrong == field
        assert "private" not in reason


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("voucher_created", {"loyalty_program": "private"}, "loyalty_program"),
        ("voucher_created", {"id": None}, "id"),
        ("voucher_expiration_reminder", {"reminder": {}}, "reminder.value"),
        ("balance_value_updated", {"balance_definition": {"name": "Points"}}, "balance_definition.id"),
        ("balance_value_updated", {"value": "private"}, "value"),
        ("balance_value_updated", {"balance_definition": {"id": {}}}, "balance_definition.id"),
        ("membership_anniversary_reminder", {"membership": {"created_at": "n/a"}}, "membership.created_at"),
        ("tier_association_updated", {"upgraded": "private"}, "upgraded"),
        ("subscription_created", {"created_at": "private"}, "created_at"),
    ],
)
def test_a_field_that_is_missing_or_cannot_be_read_is_left_out_and_noted(
    stores: DeliverySettings, wire: Wire, name: str, changes: dict[str, Any], field: str
) -> None:
    deliver(stores, brevo.event(ANN, AT, name, **changes))

    assert {platform: len(requests) for platform, requests in wire.items()} == {"braze": 1, "moengage": 1}
    assert "private" not in repr(wire)
    for program in ("to-braze", "to-moengage"):
        [[(_, wrong, reason)]] = refused(stores, program).values()
        assert wrong == field
        assert "private" not in reason


def test_of_five_hundred_in_an_array_one_that_lacks_a_field_is_sent_without_it(
    stores: DeliverySettings, wire: Wire, braze: Braze
) -> None:
    events = [brevo.event(brevo.contact(number), AT, "balance_value_updated") for number in range(500)]
    del events[250]["value"]

    with streaming(stores) as settings:
        answer = answered(delivery("loyalty", events, program="to-braze"))
        counts = forwarded(settings)

    assert json.loads(answer["body"]) == {"accepted": 500, "rejected": 0}
    assert (counts["accepted_event"], counts["rejected"]) == (500, 1)
    assert len(braze.workspace(KEY).events) == 500
    assert refused(stores, "to-braze") == {events[250]["event_id"]: [("event", "value", "is missing")]}


# --- Once, and the newest.


def test_an_event_id_that_comes_again_is_one_event(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage
) -> None:
    event = brevo.event(ANN, AT, "balance_value_updated")

    deliver(stores, event, [event, event])
    deliver(stores, event)

    assert [len(requests) for requests in wire.values()] == [1, 1]
    assert len(properties(braze, moengage)) == 2


def test_a_bare_delivery_that_is_repeated_within_its_minute_is_one_event(
    stores: DeliverySettings, braze: Braze, moengage: MoEngage
) -> None:
    with recording(braze), recording(moengage):
        join(stores, braze, moengage, identify_by=("loyalty_subscription_id",))
        for _ in range(2):
            deliver(stores, dict(brevo.EXAMPLES["subscription_created"]), event_name="subscription_created")

    assert len(properties(braze, moengage)) == 2


def test_the_newest_balance_stays_whatever_order_deliveries_come_in(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage
) -> None:
    old, new = (brevo.event(ANN, AT + second, "balance_value_updated", value=second) for second in (1, 2))

    deliver(stores, new)
    deliver(stores, old)

    assert len(properties(braze, moengage)) == 4
    in_braze, in_moengage = told_of_ann(braze, moengage)
    assert (in_braze["loyalty_balances"], in_moengage[f"loyalty_balances_{BALANCE}"]) == ({BALANCE: 2}, 2)


def test_balances_of_two_definitions_stand_beside_each_other(
    stores: DeliverySettings, wire: Wire, braze: Braze, moengage: MoEngage
) -> None:
    other = brevo.EXAMPLES["balance_value_updated"]["balance_definition"] | {"id": "other"}
    deliver(
        stores,
        brevo.event(ANN, AT, "balance_value_updated", value=1),
        brevo.event(ANN, AT + 1, "balance_value_updated", value=2, balance_definition=other),
    )

    in_braze, in_moengage = told_of_ann(braze, moengage)
    assert in_braze["loyalty_balances"] == {BALANCE: 1, "other": 2}
    assert (in_moengage[f"loyalty_balances_{BALANCE}"], in_moengage["loyalty_balances_other"]) == (1, 2)


@pytest.mark.parametrize("array", [0, 5])
def test_an_outage_disorder_and_duplicates_lose_and_double_nothing(
    stores: DeliverySettings,
    wire: Wire,
    braze: Braze,
    moengage: MoEngage,
    monkeypatch: pytest.MonkeyPatch,
    array: int,
) -> None:
    clock = Clock()
    events = list(brevo.every_event(ANN, AT - 3600))
    monkeypatch.setenv("EVENTS_QUEUE_URL", "http://127.0.0.1:9/gone.fifo")
    clock.events[NOW + 4000] = lambda: monkeypatch.setenv("EVENTS_QUEUE_URL", stores.events_queue_url)

    with gateway(clock) as url:
        deliveries = brevo.deliver(
            f"{url}/v1/programs/to-braze/webhooks/loyalty",
            events,
            secret=CREDENTIAL,
            array=array,
            duplicate=0.3,
            reorder=5,
            clock=clock,
            sleep=clock.sleep,
        )
    forwarded(stores)

    assert {tuple(one.statuses) for one in deliveries} == {(429, 429, 200)}
    names = sorted(event.object["name"] for event in braze.workspace(KEY).events)
    assert names == sorted(f"loyalty_{name}" for name in brevo.EXAMPLES)
    clean(braze, moengage)
