"""The table's form of what a destination has accepted, and of a member's state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.model import PARTS, Part
from loyalty_bridge.pipeline import attribute_state, delivery_log
from loyalty_bridge.pipeline.attribute_state import AttributeState, AttributeVersion
from loyalty_bridge.platforms.base import AttributePath

SECRET = b"secret"
NAME = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), min_size=1, max_size=5)

parts = st.sets(st.sampled_from(PARTS), min_size=1)
paths = st.tuples(NAME) | st.tuples(NAME, NAME)
versions: st.SearchStrategy[dict[AttributePath, AttributeVersion]] = st.dictionaries(
    paths,
    st.builds(AttributeVersion, st.integers(0, 4_000_000_000_000), st.binary(min_size=12, max_size=12)),
    max_size=5,
)


@given(st.binary(min_size=16, max_size=16), parts)
def test_accepted_parts_are_read_as_they_were_written(event: bytes, accepted: set[Part]) -> None:
    assert delivery_log.from_item(delivery_log.to_item(event, accepted, 1_772_359_200.0)) == (event, accepted)


def test_a_delivery_log_item_expires_after_thirty_days() -> None:
    item = delivery_log.to_item(b"key", ["event"], 1_772_359_200.7)

    assert item["expires"] == {"N": str(1_772_359_200 + 30 * 86400)}


def test_an_event_is_another_one_in_another_program_and_another_epoch() -> None:
    keys = {
        delivery_log.key("demo", 1, "event"),
        delivery_log.key("demo", 2, "event"),
        delivery_log.key("other", 1, "event"),
        delivery_log.key("demo", 1, "event-2"),
    }

    assert len(keys) == 4
    assert delivery_log.key("demo", 1, "event") in keys


@given(versions)
def test_a_member_state_is_read_as_it_was_written(known: dict[AttributePath, AttributeVersion]) -> None:
    item = attribute_state.to_item("A1", 3, AttributeState(SECRET, known))

    assert attribute_state.from_item(item, 3, SECRET).versions == known


@given(versions)
def test_the_state_of_another_epoch_is_not_known(known: dict[AttributePath, AttributeVersion]) -> None:
    item = attribute_state.to_item("A1", 3, AttributeState(SECRET, known))

    assert attribute_state.from_item(item, 4, SECRET).versions == {}


def test_a_value_cannot_be_recognised_without_the_key() -> None:
    assert AttributeState(b"one").version(1, "gold") != AttributeState(b"two").version(1, "gold")


@given(st.integers(0, 9), st.integers(0, 9))
def test_a_value_is_newest_unless_a_later_one_is_known(known: int, new: int) -> None:
    one = AttributeState(SECRET)
    one.versions[("tier",)] = one.version(known, "gold")

    assert one.is_newest(("tier",), new) == (new >= known)
    assert one.is_newest(("another",), new)
