"""The attribute state of a member: when each attribute was last set, and a keyed hash of the value that was sent.

It shows, before an attribute is sent, whether the destination has a newer value and whether the value is a change.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loyalty_bridge.infra import dynamodb
from loyalty_bridge.model import Json
from loyalty_bridge.platforms.base import AttributePath

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_SEPARATOR = "\x1f"  # no platform takes it in a name

MAX_BYTES = 380_000
"""DynamoDB takes items up to 400 KB. The oldest versions beyond that are dropped: their attributes are sent again, and
older values are not recognised."""
_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999. A damaged time beyond it would keep every newer value away."""
_DIGEST_BYTES = 12
_VERSION = struct.Struct(f">q{_DIGEST_BYTES}sI")
"""A version in the item: time, hash, length of the name; then the name. The versions follow each other.

A DynamoDB map would be three times as large, and take ten times as long to encode and decode.
"""


@dataclass(frozen=True, slots=True)
class AttributeVersion:
    """An attribute's last value: its time (epoch milliseconds) and its keyed hash."""

    time: int
    digest: bytes


@dataclass(slots=True)
class AttributeState:
    """The versions of a member's attributes at the destination.

    Attributes
    ----------
    key
        Secret key of the hashes: without it, values cannot be guessed from the table.
    """

    key: bytes
    versions: dict[AttributePath, AttributeVersion] = field(default_factory=dict)

    def version(self, time: int, value: Json) -> AttributeVersion:
        """Return the version of a value."""
        text = repr(value) if isinstance(value, int | float | None) else _ENCODER.encode(value)
        return AttributeVersion(
            time, hashlib.blake2b(text.encode(errors="surrogatepass"), key=self.key, digest_size=_DIGEST_BYTES).digest()
        )

    def is_newest(self, path: AttributePath, time: int) -> bool:
        """Return whether no newer value is known; of two values of one time, the later record's wins."""
        known = self.versions.get(path)
        return known is None or known.time <= time

    def is_changed(self, path: AttributePath, version: AttributeVersion) -> bool:
        """Return whether the value differs from the one that was sent."""
        known = self.versions.get(path)
        return known is None or known.digest != version.digest


def key(program: str, member: str) -> str:
    """Return the key of a member's attribute state in the members' table."""
    return dynamodb.item_key(program, "member", member)


def from_item(item: Mapping[str, Any], destination_version: int, secret: bytes) -> AttributeState:
    """Read an item; return an empty state for one of another destination version, or one that cannot be read."""
    try:
        return _from_item(item, destination_version, secret)
    except (AttributeError, KeyError, TypeError, ValueError, struct.error):
        return AttributeState(secret)


def _from_item(item: Mapping[str, Any], destination_version: int, secret: bytes) -> AttributeState:
    state = AttributeState(secret)
    if int(item["destination_version"]["N"]) != destination_version:
        return state
    data, at = item["versions"]["B"], 0
    while at < len(data):
        time, digest, length = _VERSION.unpack_from(data, at)
        at += _VERSION.size + length
        if at > len(data) or abs(time) > _LATEST:
            raise ValueError("a version is damaged")
        name = data[at - length : at].decode(errors="surrogatepass")
        state.versions[tuple(name.split(_SEPARATOR))] = AttributeVersion(time, digest)
    return state


def to_item(member: str, destination_version: int, state: AttributeState) -> dict[str, Any]:
    """Make an item, with the newest versions if there are more than it can hold."""
    versions: list[bytes] = []
    room = MAX_BYTES
    for path, version in sorted(state.versions.items(), key=lambda known: -known[1].time):
        name = _SEPARATOR.join(path).encode(errors="surrogatepass")
        versions.append(_VERSION.pack(version.time, version.digest, len(name)) + name)
        room -= len(versions[-1])
        if room < 0:
            del versions[-1]
            break
    return {
        "member": {"S": member},
        "destination_version": {"N": str(destination_version)},
        "versions": {"B": b"".join(versions)},
    }
