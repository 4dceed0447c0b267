"""Kinesis records into which the Kinesis Producer Library packed several, taken apart.

The format is a magic number, a Protobuf message, and the MD5 of the message:
https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from loyalty_bridge.platforms.parsing import MAX_EVENTS

MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES = 16
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_PARTITION_KEYS, _RECORDS = 1, 3
_KEY_INDEX, _DATA = 1, 3


class Packed(NamedTuple):
    """One of the records, and the partition key it was put with."""

    partition_key: str
    data: bytes


MAX_DEPTH = 3
"""Aggregated records inside one another: a producer that copies a stream packs what was packed before."""


def unpacked(data: bytes, depth: int = MAX_DEPTH) -> list[Packed]:
    """Take an aggregated record apart, in the order in which its records were put; aggregated ones in it, too.

    One inside that is damaged comes out as it is.

    Raises
    ------
    ValueError
        Its checksum or its form is wrong, or it holds no record, or more than `MAX_EVENTS`.
    """
    message, digest = data[len(MAGIC) : -_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not data.startswith(MAGIC) or hashlib.md5(message, usedforsecurity=False).digest() != digest:
        raise ValueError("has a wrong checksum")
    keys: list[str] = []
    records: list[tuple[int, bytes]] = []
    for number, value in _fields(message):
        if number == _PARTITION_KEYS and isinstance(value, bytes):
            keys.append(value.decode())
        elif number == _RECORDS and isinstance(value, bytes):
            fields = dict(_fields(value))
            index, body = fields.get(_KEY_INDEX), fields.get(_DATA)
            if not isinstance(index, int) or not isinstance(body, bytes):
                raise ValueError("holds a record without partition key or data")
            records.append((index, body))
            if len(records) > MAX_EVENTS:
                raise ValueError(f"holds more than {MAX_EVENTS} records")
    if not records or max(index for index, _ in records) >= len(keys):
        raise ValueError("holds no record, or one with a partition key that it does not hold")
    found = [one for index, body in records for one in _inside(Packed(keys[index], body), depth - 1)]
    if len(found) > MAX_EVENTS:
        raise ValueError(f"holds more than {MAX_EVENTS} records")
    return found


def _inside(one: Packed, depth: int) -> list[Packed]:
    if depth and one.data.startswith(MAGIC):
        with suppress(ValueError):
            return unpacked(one.data, depth)
    return [one]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read the fields of a Protobuf message: https://protobuf.dev/programming-guides/encoding."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind, value = tag & 7, b""
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in {_FIXED_64, _FIXED_32}:
            size = 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError("has a field of an unknown type")
        value, at = message[at : at + size], at + size
        if at > len(message):
            raise ValueError("ends within a field")
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("holds a number without an end")
