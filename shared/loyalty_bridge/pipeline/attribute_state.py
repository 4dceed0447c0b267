"""The member state: when each attribute was last set, and a keyed hash of the value that was sent.

It answers two questions before an attribute is sent: is there a newer value already, and would it change anything.
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
"""DynamoDB's items end at 400 KB. What is forgotten is sent again, and no longer guarded against older values."""
_DIGEST_BYTES = 12
_MARK = struct.Struct(f">q{_DIGEST_BYTES}sI")
"""A mark in the table, one behind the other: time, hash, length of the name; then the name.

As a map of DynamoDB's it would be three times as large, and take ten times as long to encode and decode.
"""


@dataclass(frozen=True, slots=True)
class AttributeVersion:
    """An attribute's last value: its time (epoch milliseconds) and its keyed hash."""

    time: int
    digest: bytes


@dataclass(slots=True)
class AttributeState:
    """What is known of a member at the destination.

    Attributes
    ----------
    key
        Secret key of the hashes: without it, values cannot be guessed from the table.
    """

    key: bytes
    marks: dict[AttributePath, AttributeVersion] = field(default_factory=dict)

    def mark(self, time: int, value: Json) -> AttributeVersion:
        """Make the mark of a value."""
        text = repr(value) if isinstance(value, int | float | None) else _ENCODER.encode(value)
        return AttributeVersion(
            time, hashlib.blake2b(text.encode(errors="surrogatepass"), key=self.key, digest_size=_DIGEST_BYTES).digest()
        )

    def newest(self, path: AttributePath, time: int) -> bool:
        """Tell whether nothing newer is known; of two values of one time the later record's wins."""
        known = self.marks.get(path)
        return known is None or known.time <= time

    def changes(self, path: AttributePath, mark: AttributeVersion) -> bool:
        """Tell whether the value differs from the one that was sent."""
        known = self.marks.get(path)
        return known is None or known.digest != mark.digest


def key(program: str, member: str) -> str:
    """Name a member in the table."""
    return dynamodb.item_key(program, "member", member)


def from_item(item: Mapping[str, Any], destination_version: int, secret: bytes) -> AttributeState:
    """Read an item; one of another destination version, or one that cannot be read, is empty."""
    try:
        return _opened(item, destination_version, secret)
    except (AttributeError, KeyError, TypeError, ValueError, struct.error):
        return AttributeState(secret)


def _opened(item: Mapping[str, Any], destination_version: int, secret: bytes) -> AttributeState:
    state = AttributeState(secret)
    if int(item["destination_version"]["N"]) != destination_version:
        return state
    data, at = item["marks"]["B"], 0
    while at < len(data):
        time, digest, length = _MARK.unpack_from(data, at)
        at += _MARK.size + length
        name = data[at - length : at].decode(errors="surrogatepass")
        state.marks[tuple(name.split(_SEPARATOR))] = AttributeVersion(time, digest)
    return state


def to_item(member: str, destination_version: int, state: AttributeState) -> dict[str, Any]:
    """Write an item, with the newest marks where there are more than an item holds."""
    marks: list[bytes] = []
    room = MAX_BYTES
    for path, mark in sorted(state.marks.items(), key=lambda known: -known[1].time):
        name = _SEPARATOR.join(path).encode(errors="surrogatepass")
        marks.append(_MARK.pack(mark.time, mark.digest, len(name)) + name)
        room -= len(marks[-1])
        if room < 0:
            del marks[-1]
            break
    return {
        "member": {"S": member},
        "destination_version": {"N": str(destination_version)},
        "marks": {"B": b"".join(marks)},
    }
