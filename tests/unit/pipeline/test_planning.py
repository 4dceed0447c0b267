"""What is sent of a member's attributes: the newest values, and only what changed, whatever way the updates come."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.model import Json
from loyalty_bridge.pipeline import attribute_state
from loyalty_bridge.pipeline.attribute_state import AttributeState, AttributeVersion
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch, apart, plan
from loyalty_bridge.platforms.base import AttributePath
from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.braze.settings import BrazeRules
from tests.support.deliveries import attributes, millisecond, nested, new_delivery, take

SECRET = b"secret"
RULES = BrazeRules()
TIER: AttributePath = ("tier",)
POINTS: AttributePath = ("convercus_balance", "points")
LOCKED: AttributePath = ("convercus_balance", "lockedPoints")

Update = tuple[int, dict[AttributePath, Json]]
"""When (in seconds), and its text."""

Try = Literal["lost", "crashed", "done"]
"""The request is not taken; it is taken, but what is known is not written down; it is taken and written down."""


@dataclass
class Reference:
    """The rule in its plainest form: one update after the other, a value gives way to one that is not older."""

    known: dict[AttributePath, tuple[int, Json]] = field(default_factory=dict)

    def deliver(self, updates: list[Update]) -> None:
        for second, values in updates:
            for path, value in values.items():
                if path not in self.known or self.known[path][0] <= second:
                    self.known[path] = second, value

    def values(self) -> dict[AttributePath, Json]:
        return {path: value for path, (_, value) in self.known.items()}

    def versions(self) -> dict[AttributePath, AttributeVersion]:
        made = AttributeState(SECRET)
        return {path: made.version(millisecond(second), value) for path, (second, value) in self.known.items()}


class Destination:
    """A member's updates, batch by batch, to a profile at Braze; what is known goes through the table's form."""

    def __init__(self, *, only_changed: bool) -> None:
        self.only_changed = only_changed
        self.profile: dict[str, Any] = {}
        self.item: dict[str, Any] = attribute_state.to_item("A1", 1, AttributeState(SECRET))
        self.sent: list[AttributePath] = []

    def known(self) -> AttributeState:
        return attribute_state.from_item(self.item, 1, SECRET)

    def deliver(self, updates: list[Update], outcome: Try = "done") -> list[Delivery]:
        member = MemberBatch("A1", self.known(), [new_delivery(second, values) for second, values in updates])
        items = plan(member, braze, RULES, only_changed=self.only_changed)
        self.sent = [path for item in items[:1] if item.update for path in item.update.versions]
        for item in items if outcome != "lost" else []:
            take(self.profile, item.object.body)
            assert item.update
            item.update.accept()
        if outcome != "crashed":
            member.state.versions |= member.learned
            self.item = attribute_state.to_item("A1", 1, member.state)
        return member.deliveries

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in self.profile.items() if name != "external_id"}


updates = st.tuples(st.integers(0, 4), attributes)
batches = st.lists(
    st.tuples(st.lists(updates, min_size=1, max_size=4), st.lists(st.sampled_from(["lost", "crashed"]), max_size=2)),
    max_size=6,
)


def text(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


@given(batches, st.booleans())
def test_any_order_of_updates_ends_with_the_newest_values(
    plan_of: list[tuple[list[Update], list[Try]]], only_changed: bool
) -> None:
    delivery, reference = Destination(only_changed=only_changed), Reference()

    for batch, failures in plan_of:
        tries: list[Try] = [*failures, "done"]
        for outcome in tries:
            deliveries = delivery.deliver(batch, outcome)
        reference.deliver(batch)
        assert not any(one.missing for one in deliveries)

    assert delivery.shown() == nested(reference.values())
    assert delivery.known().versions == reference.versions()


@given(st.lists(st.lists(updates, min_size=1, max_size=4), max_size=6))
def test_an_attribute_is_sent_when_it_changes_and_not_else(batches_of: list[list[Update]]) -> None:
    delivery, reference = Destination(only_changed=True), Reference()

    for batch in batches_of:
        before = {path: text(value) for path, value in reference.values().items()}
        delivery.deliver(batch)
        reference.deliver(batch)

        changed = {path for path, value in reference.values().items() if before.get(path) != text(value)}
        assert sorted(delivery.sent) == sorted(changed)


@given(st.lists(st.lists(updates, min_size=1, max_size=4), max_size=6))
def test_every_writing_that_is_not_older_is_sent_when_the_program_wants_all(batches_of: list[list[Update]]) -> None:
    delivery, reference = Destination(only_changed=False), Reference()

    for batch in batches_of:
        before = dict(reference.known)
        delivery.deliver(batch)
        reference.deliver(batch)

        answer = {path for second, values in batch for path in values if before.get(path, (0,))[0] <= second}
        assert sorted(delivery.sent) == sorted(answer)


@given(st.lists(updates, min_size=1, max_size=6), st.data())
def test_what_comes_again_changes_nothing_and_is_not_sent(batch: list[Update], data: st.DataObject) -> None:
    distinct = [(second, values) for second, (_, values) in enumerate(batch)]
    delivery = Destination(only_changed=True)
    delivery.deliver(distinct)
    before = delivery.shown(), delivery.item

    deliveries = delivery.deliver(data.draw(st.lists(st.sampled_from(distinct), min_size=1)))

    assert delivery.sent == []
    assert (delivery.shown(), delivery.item) == before
    assert not any(one.missing for one in deliveries)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("gold", "silver", id="text"),
        pytest.param(1, 2, id="number"),
        pytest.param("2026-03-01", "2026-03-02", id="date"),
        pytest.param(True, 1, id="truth to number"),
        pytest.param("1", 1, id="text to number"),
        pytest.param(["a", "b"], ["b", "a"], id="order of an array"),
        pytest.param(["a"], [], id="array becomes empty"),
        pytest.param("gold", ["gold"], id="text to array"),
        pytest.param("gold", None, id="removal"),
        pytest.param(None, "gold", id="set again after removal"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, id="object loses a key"),
    ],
)
def test_a_value_of_any_type_is_sent_when_it_changes(before: Json, after: Json) -> None:
    delivery = Destination(only_changed=True)
    delivery.deliver([(1, {TIER: before})])

    delivery.deliver([(2, {TIER: before})])
    unchanged = delivery.sent
    delivery.deliver([(3, {TIER: after})])

    assert unchanged == []
    assert delivery.sent == [TIER]
    assert delivery.profile.get("tier") == after


ACCOUNT: AttributePath = ("loyalty_member_id",)


@pytest.mark.parametrize(
    ("alias", "attributes", "event", "sent"),
    [
        pytest.param(False, {TIER: "gold"}, "", [TIER, ACCOUNT], id="with another attribute"),
        pytest.param(False, {TIER: "silver"}, "e", [], id="not with an event alone"),
        pytest.param(True, {TIER: "silver"}, "e", [ACCOUNT], id="with an event, where it names the member"),
        pytest.param(True, {TIER: "silver"}, "", [], id="not alone"),
    ],
)
def test_the_account_id_is_sent_along_since_a_device_may_have_changed_it(
    alias: bool, attributes: dict[AttributePath, Json], event: str, sent: list[AttributePath]
) -> None:
    known = AttributeState(SECRET)
    known.versions.update(
        {path: known.version(millisecond(1), value) for path, value in ((TIER, "silver"), (ACCOUNT, "A1"))}
    )
    member = MemberBatch("A1", known, [new_delivery(2, {**attributes, ACCOUNT: "A1"}, event=event)])
    rules = BrazeRules(identifier_type="user_alias" if alias else "external_id")

    items = plan(member, braze, rules, only_changed=True)

    writes = [item.update for item in items if item.update]
    assert sorted(path for update in writes for path in update.versions) == sorted(sent)


def test_the_order_of_an_objects_keys_is_no_change() -> None:
    delivery = Destination(only_changed=True)
    delivery.deliver([(1, {TIER: {"a": 1, "b": 2}})])

    delivery.deliver([(2, {TIER: {"b": 2, "a": 1}})])

    assert delivery.sent == []


def test_of_equal_times_the_later_record_wins() -> None:
    delivery = Destination(only_changed=True)

    delivery.deliver([(1, {TIER: "gold"}), (1, {TIER: "silver"})])
    within_a_batch = delivery.profile["tier"]
    delivery.deliver([(1, {TIER: "bronze"})])

    assert within_a_batch == "silver"
    assert delivery.profile["tier"] == "bronze"


def test_a_part_of_the_balance_leaves_the_others_as_they_are() -> None:
    delivery = Destination(only_changed=True)
    delivery.deliver([(1, {POINTS: 1, LOCKED: 2})])

    delivery.deliver([(2, {POINTS: 3})])
    delivery.deliver([(1, {POINTS: 9, LOCKED: 9})])

    assert delivery.profile["convercus_balance"] == {"points": 3, "lockedPoints": 9}


def test_a_value_that_changes_and_changes_back_within_a_batch_is_not_sent_but_its_time_is_known() -> None:
    delivery = Destination(only_changed=True)
    delivery.deliver([(1, {TIER: "gold"})])

    deliveries = delivery.deliver([(2, {TIER: "silver"}), (3, {TIER: "gold"})])
    delivery.deliver([(2, {TIER: "silver"})])

    assert delivery.sent == []
    assert not any(one.missing for one in deliveries)
    assert delivery.known().versions[TIER].time == millisecond(3)


def test_nothing_is_known_of_a_writing_that_was_not_taken() -> None:
    delivery = Destination(only_changed=True)

    deliveries = delivery.deliver([(1, {TIER: "gold"}), (2, {POINTS: 1})], "lost")

    assert [one.missing for one in deliveries] == [{"attributes"}, {"attributes"}]
    assert delivery.known().versions == {}


@given(st.lists(updates, min_size=1, max_size=5))
def test_a_writing_taken_apart_ends_as_the_merged_one(batch: list[Update]) -> None:
    member = MemberBatch("A1", AttributeState(SECRET), [new_delivery(second, values) for second, values in batch])
    items = plan(member, braze, RULES, only_changed=True)
    reference = Reference()
    reference.deliver(batch)
    profile: dict[str, Any] = {}

    for update in apart(items[0].update) if items and items[0].update else []:
        (share,) = update.shares
        assert share[1].keys() <= share[0].translation.attributes.keys()
        for one in braze.attribute_objects({}, share[1], RULES):
            take(profile, one.body)
            update.objects_left += 1
        for _ in range(update.objects_left):
            update.accept()

    assert profile == nested(reference.values())
    assert member.learned == reference.versions()
    assert not any(one.missing for one in member.deliveries)


def test_a_writing_is_taken_apart_once_though_several_of_its_objects_are_refused() -> None:
    member = MemberBatch(
        "A1", AttributeState(SECRET), [new_delivery(1, {TIER: "gold"}), new_delivery(2, {TIER: "silver"})]
    )
    (item,) = plan(member, braze, RULES, only_changed=True)
    assert item.update

    first, second = apart(item.update), apart(item.update)

    assert (len(first), second) == (2, [])


@pytest.mark.parametrize(
    ("accepted", "trust", "missing"),
    [
        pytest.param(set(), False, {"attributes", "event", "purchase"}, id="nothing yet"),
        pytest.param({"event"}, False, {"attributes", "purchase"}, id="a part"),
        pytest.param(
            {"attributes", "event", "purchase"}, False, {"attributes"}, id="the state knows attributes better"
        ),
        pytest.param({"attributes", "event", "purchase"}, True, set(), id="every writing is repeated, but once"),
    ],
)
def test_a_work_lacks_what_the_delivery_log_does_not_name(accepted: Any, trust: bool, missing: Any) -> None:
    one = new_delivery(1, {TIER: "gold"}, event="e", purchase="p")

    one.remove_accepted(accepted, trust_attributes=trust)

    assert one.missing == missing
    assert one.accepted == one.accepted_before == accepted


def test_attributes_that_were_refused_in_part_are_not_complete() -> None:
    one = new_delivery(1, {TIER: "gold"})
    one.reject("attributes", "some field is wrong")

    one.accept("attributes")

    assert (one.missing, one.accepted) == (set(), set())


def test_objects_are_planned_in_the_order_in_which_they_take_effect() -> None:
    deliveries = [
        new_delivery(2, {TIER: "gold"}, event="e1", purchase="p1"),
        new_delivery(1, {TIER: "silver"}, event="e2"),
    ]

    items = plan(MemberBatch("A1", AttributeState(SECRET), deliveries), braze, RULES, only_changed=True)

    assert [item.part for item in items] == ["attributes", "event", "purchase", "event"]
    assert [item.delivery for item in items[1:]] == [deliveries[0], deliveries[0], deliveries[1]]
