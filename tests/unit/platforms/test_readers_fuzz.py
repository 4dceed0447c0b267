"""Each reader on hostile input, for some seconds: it reads or refuses, in bounded time and memory.

`make fuzz` runs it for longer: `make fuzz FUZZ_SECONDS=600`.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue.aggregates import unpacked
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.convercus.settings import ConvercusApi
from loyalty_bridge.platforms.convercus.views import coupons, profile
from loyalty_bridge.platforms.registry import LOYALTY
from tests.support.kpl import sealed

SECONDS = float(os.environ.get("BRIDGE_FUZZ_SECONDS", "0.5"))
MOST_SECONDS = 2.0
"""Processor time of one value, which is at most a megabyte."""
MOST_MEMORY = 300_000
"""Kilobytes by which the process may grow."""
NOW = datetime(2026, 3, 1, tzinfo=UTC)

SEEDS = [
    "2026-03-01T10:00:00.123456789+01:00[Europe/Berlin]", "/Date(1772355600000+0100)/", "20260301100000", "24:00",
    "Sun, 01 Mar 2026 09:00:00 GMT", "0000-00-00", "+999999999-12-31", "01.03.2026", "1e308", "-0.0", "9" * 400,
    "268.28000000000003", "1,234.5", "NaN", "Infinity", "0x1p3", "1_000", "+49 (0)170 1234567", "0049", "tel:+49",
    "anna@xn--mnchen-3ya.example", "a@b@c", '"a b"@example.com', "a@[127.0.0.1]", "deu", "zh-Hans_CN.UTF-8", "ENU",
    "BGN", "978", "€", "\ufeff", "\x00", "\ud800", "\u202e", "²", "٣", "ß", "İ", "🏳️‍🌈", "[" * 50, "{" * 50, "\\u0000",
]  # fmt: skip
TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(SEEDS),
    st.lists(st.sampled_from(SEEDS) | st.text(max_size=3), max_size=4).map("".join),
    st.text("0123456789+-.:,TZ []eE/()", max_size=40),
    st.tuples(st.sampled_from([*SEEDS, "1", "a", " ", "(", "a@", ".", "+"]), st.integers(1, 20_000)).map(
        lambda one: (one[0] * one[1])[:100_000]
    ),
)
NUMBER = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, 253402300800, 1e308, 5e-324])
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
DATA = (
    st.binary(max_size=200)
    | TEXT.map(lambda text: text.encode(errors="surrogatepass"))
    | VALUE.map(lambda value: json.dumps(value).encode())
)
EVENTS = {
    "convercus": (
        ["eventId", "eventType", "occurredAt", "accountId", "userId", "payload", "memberships", "optins", "level"],
        ["user_changed", "account_transaction", "coupon_assigned", "balance_changed", "membership_optins_changed"],
    ),
    "punchh": (["event_name", "content_id", "payload", "user", "user_id", "external_source_id"], ["users", "coupons"]),
    "brevo": (["event_name", "event_id", "identifiers", "tier", "subscription"], ["voucher_created", "tier_x"]),
}


def event_of(platform: str) -> st.SearchStrategy[Any]:
    names, kinds = EVENTS[platform]
    known = [*names, "emailAddress", "email_address", "phoneNumber", "birthDate", "customProperties", "amount", "phone"]
    fields = st.dictionaries(st.sampled_from(known) | TEXT, st.sampled_from(kinds) | VALUE, max_size=8)
    return st.tuples(fields, fields, st.sampled_from(kinds)).map(
        lambda one: {"payload": one[1], **one[0], "eventType": one[2], "event_name": one[2]}
    )


def read_event(platform: str) -> Callable[[Any], object]:
    reads: Any = LOYALTY[platform]

    def read(value: Any) -> object:
        [opened] = reads.events(value)
        reads.member(opened, reads.SETTINGS().rules)
        return reads.read(opened, reads.SETTINGS().rules, member="M", received=NOW)

    return read


def field(reader: Callable[..., object]) -> tuple[Callable[[Any], object], st.SearchStrategy[Any]]:
    return (lambda value: reader(value, "field")), VALUE


READERS: dict[str, tuple[Callable[[Any], object], st.SearchStrategy[Any]]] = {
    "document": (parsing.parse_json, DATA),
    "documents": (parsing.parse_each, DATA),
    "aggregated record": (lambda data: unpacked(sealed(data)), DATA),
    "number": field(parsing.parse_number),
    "text": field(parsing.parse_text),
    "boolean": field(parsing.parse_boolean),
    "time": field(parsing.parse_time),
    "birth date": field(parsing.parse_birth_date),
    "phone of a country": field(lambda value, name: parsing.parse_phone(value, "DE", name)),
    "phone": field(lambda value, name: parsing.parse_phone(value, None, name)),
    "calling region": field(parsing.parse_calling_region),
    "country": field(parsing.parse_country),
    "gender": field(parsing.parse_gender),
    "e-mail address": field(parsing.parse_email),
    "currency": field(parsing.parse_currency),
    "language": field(parsing.parse_language),
    **{f"{platform} event": (read_event(platform), event_of(platform)) for platform in EVENTS},
    "profile": (lambda value: profile(value, "A", ConvercusApi()), st.dictionaries(TEXT, VALUE, max_size=6)),
    "coupon": (
        lambda value: coupons([value], "de", NOW, ConvercusApi()),
        st.dictionaries(st.sampled_from(["validFrom", "validTo", "i18nFields", "value", "code"]), VALUE, max_size=5),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_hostile_input_is_read_or_refused_at_a_bounded_cost(name: str) -> None:
    reader, values = READERS[name]
    until = time.monotonic() + SECONDS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=50, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(values)
    def check(value: Any) -> None:
        began = time.process_time()
        with suppress(Invalid, *([ValueError] if name == "aggregated record" else [])):
            reader(value)
        assert time.process_time() - began < MOST_SECONDS

    for number in itertools.count():
        seed(number)(check)()
        if time.monotonic() >= until:
            break

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
