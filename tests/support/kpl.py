"""Kinesis records as the Kinesis Producer Library packs several into one, written independently of what reads them."""

from __future__ import annotations

import hashlib

MAGIC = bytes.fromhex("f3899ac2")


def packed(*records: tuple[str, bytes], tags: bool = False) -> bytes:
    """Pack pairs of partition key and data."""
    keys = list(dict.fromkeys(key for key, _ in records))
    message = b"".join(_field(1, key.encode()) for key in keys)
    message += _field(2, b"170141183460469231731687303715884105728")
    for key, data in records:
        record = _number(1, keys.index(key)) + _number(2, 0) + _field(3, data)
        message += _field(3, record + (_field(4, _field(1, b"name") + _field(2, b"value")) if tags else b""))
    return sealed(message)


def sealed(message: bytes) -> bytes:
    """Put the magic number and the checksum around a message."""
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([value])
