from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loyalty_bridge.errors import Refused
from loyalty_bridge.sources import reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from loyalty_bridge.model import Json


def refusal_of(read: Callable[[Json, str], object], value: Json) -> Refused | None:
    try:
        read(value, "path")
    except Refused as refused:
        return refused
    return None


NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def test_json_is_read_as_it_stands() -> None:
    assert reading.parse('{"a": [1, 2.5, true, null, "ü😀"]}'.encode()) == {"a": [1, 2.5, True, None, "ü😀"]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"no json",
        b"{} {}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'"\xed\xa0\x80"',
        b"NaN",
        b'{"a": -Infinity}',
        b"[1e999]",
        b"9" * 5000,
        b"9223372036854775808",
        b"[" * 33 + b"]" * 33,
        b"[" * 200_000,
        b'{"a":' * 200_000,
    ],
    ids=lambda data: data[:20],
)
def test_what_cannot_be_stored_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        reading.parse(data)

    assert caught.value.field == "record"


def test_nesting_up_to_the_limit_and_64_bit_integers_are_read() -> None:
    reading.parse(b"[" * 32 + b"]" * 32)

    assert reading.parse(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (rb'{"payload": {"emailAddress": "a\u0000b"}}', "payload.emailAddress"),
        (rb'{"payload": [{"city": "ok"}, {"city": "\ud83d"}]}', "payload[1].city"),
        (rb'{"payload": {"\udc00": 1}}', "payload"),
        (rb'{"a\u0000": 1}', "record"),
        (rb'"\u0000"', "record"),
    ],
)
def test_null_bytes_and_halves_of_characters_are_refused_with_their_path(data: bytes, field: str) -> None:
    with pytest.raises(Refused) as caught:
        reading.parse(data)

    assert caught.value.field == field


def test_a_character_written_as_two_surrogates_is_whole() -> None:
    assert reading.parse(rb'"\ud83d\ude00"') == "😀"


@given(st.binary() | st.text().map(str.encode) | st.text('[]{}:,"\\u0d8eE-+.1aN ', max_size=60).map(str.encode))
def test_parsing_arbitrary_bytes_only_ever_refuses(data: bytes) -> None:
    with suppress(Refused):
        reading.parse(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"[0-9.+: TZW-]{0,30}"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize(
    "read",
    [
        reading.number,
        reading.text,
        reading.boolean,
        reading.instant,
        reading.birth_date,
        lambda value, field: reading.phone(value, "DE", field),
        lambda value, field: reading.phone(value, None, field),
        reading.country,
        reading.gender,
        reading.email,
        reading.currency,
    ],
)
@given(value=JSON)
@example(value="\ud800")
@example(value="9" * 5000)
@example(value=10**400)
@example(value="0001-01-01T00:00:00+14:00")
@example(value="9999-12-31T23:59:59-14:00")
@example(value=-1e300)
@example(value="²")
@example(value="1_000")
def test_reading_an_arbitrary_value_only_ever_refuses_and_names_no_value(
    read: Callable[[Json, str], object], value: Json
) -> None:
    refused = refusal_of(read, value)

    assert refused is None or refused.field == "path"
    assert refused is None or not isinstance(value, str) or len(value) < 10 or value not in str(refused)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (-2.5, -2.5), ("12.50", 12.5), (" 7 ", 7), ("+3", 3), ("-1e3", -1000.0), (2**63 - 1, 2**63 - 1)],
)
def test_numbers_are_read_from_numbers_and_strings(value: Json, expected: float) -> None:
    read = reading.number(value, "amount")

    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize(
    "value",
    [None, True, "", "abc", "12,50", "1_000", "nan", "inf", "1e999", "٣", float("nan"), float("inf"), 2**63, [], {}],
)
def test_what_is_no_finite_number_is_refused(value: Json) -> None:
    with pytest.raises(Refused, match="amount"):
        reading.number(value, "amount")


@pytest.mark.parametrize(("value", "expected"), [(" a b ", "a b"), (17, "17"), (0, "0")])
def test_text_is_trimmed_and_read_from_integers(value: Json, expected: str) -> None:
    assert reading.text(value, "id") == expected


@pytest.mark.parametrize("value", [None, True, 1.5, "", " \t", [], {}, "a\x00", "\ud800"])
def test_what_is_no_text_is_refused(value: Json) -> None:
    with pytest.raises(Refused, match="id"):
        reading.text(value, "id")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("TRUE", True), (" yes ", True), ("1", True), (1, True), (False, False), ("no", False), (0, False)],
)
def test_booleans_are_read_from_words_and_digits(value: Json, *, expected: bool) -> None:
    assert reading.boolean(value, "flag") is expected


@pytest.mark.parametrize("value", [None, "", "maybe", 2, 1.0, []])
def test_what_is_no_boolean_is_refused(value: Json) -> None:
    with pytest.raises(Refused, match="flag"):
        reading.boolean(value, "flag")


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T09:00:00Z",
        "2026-03-01T10:00:00+01:00",
        "2026-03-01T10:00:00.000+0100",
        "2026-03-01T09:00:00",
        "2026-03-01 09:00:00 UTC",
        " 2026-03-01T09:00 ",
        1772355600,
        1772355600000,
        "1772355600",
        "1772355600000",
        1772355600.0,
    ],
)
def test_every_form_of_a_time_becomes_the_same_utc(value: Json) -> None:
    assert reading.instant(value, "at") == NINE
    assert reading.instant(value, "at").tzinfo is UTC


@pytest.mark.parametrize("value", [None, True, "", "soon", "2026-13-01", "2026-02-30T00:00:00Z", 10**18, [], "12:00"])
def test_what_is_no_time_is_refused(value: Json) -> None:
    with pytest.raises(Refused, match="at: is not a time"):
        reading.instant(value, "at")


@pytest.mark.parametrize(
    "value", ["1990-05-07", "19900507", "1990-05-07T00:00:00", "1990-05-07T23:30:00-05:00", "7.5.1990", "07.05.1990"]
)
def test_every_form_of_a_birth_date_becomes_the_day_as_written(value: Json) -> None:
    assert reading.birth_date(value, "dob") == "1990-05-07"


@pytest.mark.parametrize(
    "value",
    [None, "", "05/07/1990", "1990", "1990-02-30", "31.02.1990", "0001-01-01", "1899-12-31", "2026-03-02", 641865600],
)
def test_impossible_or_ambiguous_birth_dates_are_refused(value: Json) -> None:
    with pytest.raises(Refused, match="dob"):
        reading.birth_date(value, "dob", not_after=date(2026, 3, 1))


@pytest.mark.parametrize(
    ("value", "region", "expected"),
    [
        ("+49 30 23125-123", None, "+493023125123"),
        ("0170 1234567", "DE", "+491701234567"),
        ("0170 1234567", "de", "+491701234567"),
        ("00491701234567", "DE", "+491701234567"),
        ("0664 1234567", "AT", "+436641234567"),
        ("(202) 555-0123", "US", "+12025550123"),
        (2025550123, "US", "+12025550123"),
        ("+12025550123", "DE", "+12025550123"),
    ],
)
def test_phone_numbers_become_e164(value: Json, region: str | None, expected: str) -> None:
    assert reading.phone(value, region, "phone") == expected


@pytest.mark.parametrize(
    ("value", "region"), [("0170 1234567", None), ("123", "DE"), ("call me", "DE"), ("+999123456", "DE"), (True, "DE")]
)
def test_what_cannot_be_dialled_is_refused(value: Json, region: str | None) -> None:
    with pytest.raises(Refused, match="phone"):
        reading.phone(value, region, "phone")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("de", "DE"),
        ("DEU", "DE"),
        ("276", "DE"),
        (276, "DE"),
        ("germany", "DE"),
        ("Österreich", "AT"),
        ("UK", "GB"),
        ("United Kingdom", "GB"),
        ("United States", "US"),
        ("USA", "US"),
    ],
)
def test_countries_become_alpha_2(value: Json, expected: str) -> None:
    assert reading.country(value, "country") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, "M") for value in ("M", "male", " MALE ", "Männlich", 1, "1")],
        *[(value, "F") for value in ("f", "Female", "w", 2)],
        *[(value, "O") for value in ("other", "divers", "non-binary", "X")],
        *[(value, "N") for value in ("N", "not_applicable", "N/A", 9)],
        *[(value, "P") for value in ("P", "prefer not to say")],
        *[(value, None) for value in ("unknown", "UNSPECIFIED", 0)],
    ],
)
def test_gender_words_and_iso_5218_become_one_letter(value: Json, expected: str | None) -> None:
    assert reading.gender(value, "gender") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Jane.Doe@Example.COM", "Jane.Doe@example.com"),
        (" a+b@example.com ", "a+b@example.com"),
        ("jörg@exämple.de", "jörg@exämple.de"),
    ],
)
def test_email_addresses_are_normalised(value: Json, expected: str) -> None:
    assert reading.email(value, "email") == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *[(reading.country, value) for value in (None, "", "Atlantis", "ZZ", "000", True)],
        *[(reading.gender, value) for value in (None, "", "5", "yes", True)],
        *[(reading.email, value) for value in (None, "", "jane", "jane@", "@example.com", "a b@example.com", 5)],
        *[(reading.currency, value) for value in (None, "", "EURO", "XYZ", "€", True)],
    ],
)
def test_what_is_not_known_is_refused_and_never_guessed(read: Callable[[Json, str], object], value: Json) -> None:
    with pytest.raises(Refused, match="field"):
        read(value, "field")


@pytest.mark.parametrize("value", ["EUR", " eur "])
def test_currencies_become_iso_4217_letters(value: Json) -> None:
    assert reading.currency(value, "currency") == "EUR"


def test_the_slow_libraries_are_not_imported_before_they_are_needed() -> None:
    code = (
        "import sys; import loyalty_bridge.sources.convercus; slow = {'phonenumbers', 'email_validator', 'iso4217',"
        "'iso3166', 'boto3', 'requests', 'pydantic'}; print(sorted(slow & set(sys.modules)))"
    )

    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "shared"}
    )

    assert shown.stdout.strip() == "[]"
