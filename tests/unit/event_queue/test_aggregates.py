from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.event_queue.aggregates import MAGIC, unpacked
from tests.support.kpl import packed, sealed

# The example of another library for the format: https://hexdocs.pm/ex_kpl/0.1.3/ExKpl.html
EXAMPLE = (
    MAGIC + b"\x0a\x0dpartition_key\x1a\x08\x08\x00\x1a\x04data" + bytes.fromhex("d03699da5a222fa32108ad1bd955a14e")
)


def test_what_another_library_packed_is_taken_apart() -> None:
    assert unpacked(EXAMPLE) == [("partition_key", b"data")]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.binary(max_size=300)), min_size=1), st.booleans())
def test_each_record_comes_out_in_order_with_its_key(records: list[tuple[str, bytes]], tags: bool) -> None:
    assert unpacked(packed(*records, tags=tags)) == records


def test_fields_that_are_not_known_are_skipped() -> None:
    message = packed(("a", b"1"))[4:-16] + b"\x50\x96\x01" + b"\x59" + b"12345678" + b"\x5d" + b"1234"

    assert unpacked(sealed(message)) == [("a", b"1")]


@pytest.mark.parametrize(
    "data",
    [
        MAGIC,
        MAGIC + b"\x00" * 16,
        EXAMPLE[:-1] + b"\x00",
        EXAMPLE[:-1],
        EXAMPLE[4:],
        sealed(b""),
        sealed(b"\x0a\x01a"),
        sealed(b"\x1a\x05\x08\x00\x1a\x01x"),
        sealed(b"\x0a\x01a\x1a\x05\x08\x01\x1a\x01x"),
        sealed(b"\x0a\x01a\x1a\x02\x08\x00"),
        sealed(b"\x0a\x01a\x1a\x03\x1a\x01x"),
        sealed(b"\x0a\xff"),
        sealed(b"\x0a\x7fa"),
        sealed(b"\x0b"),
        sealed(b"\xff" * 50),
        sealed(b"\x0a\x01\xff\x1a\x05\x08\x00\x1a\x01x"),
        packed(*[("a", b"")] * 20_001),
    ],
    ids=lambda data: data[4:20].hex(),
)
def test_what_is_damaged_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpacked(data)


@given(st.binary(max_size=200))
def test_any_message_is_taken_apart_or_a_value_error(message: bytes) -> None:
    with suppress(ValueError):
        unpacked(sealed(message))


def test_the_largest_record_takes_bounded_time() -> None:
    began = time.process_time()

    for message in (b"\x0a\x00" * 5_000_000, b"\x1a\x04\x08\x00\x1a\x00" * 1_500_000):
        with pytest.raises(ValueError, match="holds"):
            unpacked(sealed(message))

    assert time.process_time() - began < 15


def test_an_aggregated_record_in_another_is_taken_apart_in_order() -> None:
    inner = packed(("a", b"1"), ("b", b"2"))

    assert unpacked(packed(("x", b"0"), ("copy", inner), ("y", b"3"))) == [
        ("x", b"0"), ("a", b"1"), ("b", b"2"), ("y", b"3"),
    ]  # fmt: skip
    assert unpacked(packed(("copy", inner[:-1] + b"!"), ("y", b"3"))) == [("copy", inner[:-1] + b"!"), ("y", b"3")]


def test_aggregated_records_are_taken_apart_to_a_bounded_depth() -> None:
    record = packed(("a", b"1"))
    for _ in range(50):
        record = packed(("copy", record))

    [left] = unpacked(record)

    assert left.data.startswith(MAGIC)
