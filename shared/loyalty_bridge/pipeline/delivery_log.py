"""The delivery log: which parts of which source event a destination has accepted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from loyalty_bridge.model import PARTS, Part

DAYS = 30
UNREADABLE = "its delivery log entry cannot be read"
"""Why an event is rejected whose accepted parts are unknown."""


def key(program: str, destination_version: int, event_id: str) -> bytes:
    """Return the key of an event: a hash, so that the delivery log holds nothing that can be read."""
    return hashlib.blake2b(f"{program}#{destination_version}#{event_id}".encode(), digest_size=16).digest()


def key_of_copies(program: str, destination_version: int, event_id: str, part: Part) -> bytes:
    """Return the key of a part of an event that was republished for several members, whose copies have their own ids.

    Only traces ask for it. It is an item for each part, since the copies come at different times, and an item replaces
    what is there. No program has a slash in its id, so that it is the name of no other event.
    """
    return key(f"{program}/{part}", destination_version, event_id)


def from_item(item: Mapping[str, Any]) -> tuple[bytes, set[Part] | None]:
    """Return the event of an item and its accepted parts; None for the parts if this version cannot read them."""
    stored = item.get("parts")
    parts = set(stored.get("SS", ())) if isinstance(stored, Mapping) else set()
    return item["event"]["B"], cast("set[Part]", parts) if parts and parts <= set(PARTS) else None


def to_item(event: bytes, parts: Iterable[Part], now: float) -> dict[str, Any]:
    """Make an item; `now` in epoch seconds."""
    return {
        "event": {"B": event},
        "parts": {"SS": sorted(parts)},
        "expires": {"N": str(int(now) + DAYS * 86400)},
    }
