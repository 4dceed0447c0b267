"""Factories: updates on their way to Braze, and what a Braze profile becomes by attributes objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.model import Json, MemberUpdate
from loyalty_bridge.pipeline.planning import Delivery, parts
from loyalty_bridge.platforms.base import AttributePath, Translation, WireObject

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
BAD = "not-for-braze"
"""A value that the model of Braze refuses."""


def millisecond(second: int) -> int:
    """Return the time of a `new_delivery` as the member state counts it."""
    return int((START + timedelta(seconds=second)).timestamp() * 1000)


def new_delivery(
    second: int = 0,
    attributes: Mapping[AttributePath, Json] | None = None,
    *,
    member: str = "A1",
    event: str = "",
    purchase: str = "",
) -> Delivery:
    """Make an update of a member, so many seconds after the start."""
    time = START + timedelta(seconds=second)
    translation = Translation(
        identity={"external_id": member},
        attributes=attributes or {},
        event=_object("events", member, name=event) if event else None,
        purchase=_object("purchases", member, product_id=purchase) if purchase else None,
    )
    return Delivery(
        message=InboundMessage("receipt", "", member, time, b""),
        record=SourceRecord("demo", b"{}", time),
        update=MemberUpdate(event_id="event", member=member, time=time),
        translation=translation,
        log_key=b"key",
        missing={part for part, there in parts(translation).items() if there},
    )


def _object(array: str, member: str, **fields: str) -> WireObject:
    return WireObject(array, json.dumps({"external_id": member} | fields).encode())


def take(profile: dict[str, Any], body: bytes) -> None:
    """Change a profile as Braze does by an attributes object.

    https://www.braze.com/docs/api/objects_filters/user_attributes_object
    """
    fields = json.loads(body)
    merge = fields.pop("_merge_objects", False)
    for name, value in fields.items():
        if value is None:
            profile.pop(name, None)
        elif merge and isinstance(value, dict):
            profile[name] = profile.get(name, {}) | value
        else:
            profile[name] = value


def nested(values: Mapping[AttributePath, Json]) -> dict[str, Any]:
    """Return the attributes as a profile shows them."""
    shown: dict[str, Any] = {}
    for path, value in values.items():
        if len(path) > 1:
            shown.setdefault(path[0], {})[path[1]] = value
        elif value is not None:
            shown[path[0]] = value
    return shown


_scalars: st.SearchStrategy[Json] = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "gold", "1"])
_values = _scalars | st.lists(st.sampled_from(["a", "b"]), max_size=2) | st.just({"key": "value"})

attributes: st.SearchStrategy[dict[AttributePath, Json]] = st.fixed_dictionaries(
    {},
    optional={
        ("tier",): _values,
        ("tags",): _values,
        ("convercus_balance", "points"): st.integers(0, 2),
        ("convercus_balance", "lockedPoints"): st.integers(0, 2),
    },
)
"""Few names and values, so that they meet: removals, arrays, changes of type, single keys of the balance."""
