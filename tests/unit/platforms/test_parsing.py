from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms import parsing

if TYPE_CHECKING:
    from collections.abc import Callable

    from loyalty_bridge.model import Json


def refusal_of(read: Callable[[Json, str], object], value: Json) -> Invalid | None:
    try:
        read(value, "path")
    except Invalid as refused:
        return refused
    return None


NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def test_json_is_read_as_it_stands() -> None:
    assert parsing.parse_json('{"a": [1, 2.5, true, null, "ü😀"]}'.encode()) == {"a": [1, 2.5, True, None, "ü😀"]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"no json",
        b"{} {}",
        b"\xff\xfe",
        "{}".encode("utf-16"),
        '[{"a": 1}]'.encode("utf-16"),
        "[{}]".encode("utf-16-le"),
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
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
    with pytest.raises(Invalid) as caught:
        parsing.parse_json(data)

    assert caught.value.field == "record"


@pytest.mark.parametrize("document", ['{"a": 1}', '[{"a": 1}]', ' [ {"a": 1} , 2 ] '])
def test_a_byte_order_mark_is_skipped_before_an_object_and_before_an_array(document: str) -> None:
    data = document.encode("utf-8-sig")

    assert parsing.parse_json(data) == json.loads(document)
    assert parsing.parse_each(data) == (json.loads(document), [])


@pytest.mark.parametrize("document", ['{"a": 1}', '[{"a": 1}]'])
def test_utf_16_is_refused_whatever_it_holds(document: str) -> None:
    for data in (document.encode("utf-16"), document.encode("utf-16-be")):
        with pytest.raises(Invalid, match="record: is not"):
            parsing.parse_each(data)


@pytest.mark.parametrize("bad", ['{"a": NaN}', '{"a": %s}' % ("9" * 5000), '{"a": 1e999}', "[" * 40 + "]" * 40])
@pytest.mark.parametrize("document", ["[%s,{}]", "[{}, %s]", "\ufeff\n[ {} ,\t%s ]\n", '[{"b": "[,]"}, %s]'])
def test_an_element_that_cannot_be_used_leaves_its_neighbours_and_stays_as_it_is_written(
    document: str, bad: str
) -> None:
    usable, unusable = parsing.parse_each((document % bad).encode())

    assert usable in ([{}], [{"b": "[,]"}])
    assert [body for body, _ in unusable] == [bad.encode()]


def test_a_string_that_no_platform_stores_costs_its_own_field_where_fields_are_read_one_by_one() -> None:
    data = rb'{"name": "a\u0000b", "city": "\ud83d", "id": "A1"}'

    assert parsing.parse_each(data) == (parsing.parse_json(data, any_text=True), [])
    assert parsing.parse_json(data, any_text=True) == {"name": "a\x00b", "city": "\ud83d", "id": "A1"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (r'{"a\u0000b": 1, "c": 2}', {"c": 2, "a\ufffdb": "\x00"}),
        (r'{"\ud800": {"x": 1}, "c": 2}', {"c": 2, "\ufffd": "\x00"}),
        (r'{"p": [{"\udfffx": 1, "y": null}]}', {"p": [{"y": None, "\ufffdx": "\x00"}]}),
        (r'{"a\u0000": 1, "a\ufffd": 2, "a\ud800": 3}', {"a\ufffd": 2}),
        (r'{"\ud83d\ude00": 1}', {"😀": 1}),
    ],
)
def test_a_key_that_no_platform_stores_costs_its_own_field(document: str, expected: Json) -> None:
    usable, unusable = parsing.parse_each(document.encode())

    assert (usable, unusable) == (expected, [])
    assert json.dumps(usable) == json.dumps(expected)


def test_equal_numbers_are_read_as_equal_values_at_every_depth() -> None:
    spellings = b'[{"a": [120, 120.0, 1.2e2, 0.120e3]}, 268.28000000000003, 268.28, 0.7999999999999999, -0.0]'

    read = parsing.parse_json(spellings)

    assert json.dumps(read) == '[{"a": [120, 120, 120, 120]}, 268.28, 268.28, 0.8, 0]'


def test_nesting_up_to_the_limit_and_64_bit_integers_are_read() -> None:
    parsing.parse_json(b"[" * 32 + b"]" * 32)

    assert parsing.parse_json(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]


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
    with pytest.raises(Invalid) as caught:
        parsing.parse_json(data)

    assert caught.value.field == field


def test_a_character_written_as_two_surrogates_is_whole() -> None:
    assert parsing.parse_json(rb'"\ud83d\ude00"') == "😀"


@given(st.binary() | st.text().map(str.encode) | st.text('[]{}:,"\\u0d8eE-+.1aN ', max_size=60).map(str.encode))
def test_parsing_arbitrary_bytes_only_ever_refuses(data: bytes) -> None:
    with suppress(Invalid):
        parsing.parse_json(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"[0-9.+: TZW-]{0,30}"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize(
    "read",
    [
        parsing.parse_number,
        parsing.parse_text,
        parsing.parse_boolean,
        parsing.parse_time,
        parsing.parse_birth_date,
        lambda value, field: parsing.parse_phone(value, "DE", field),
        lambda value, field: parsing.parse_phone(value, None, field),
        parsing.parse_country,
        parsing.parse_gender,
        parsing.parse_email,
        parsing.parse_currency,
        parsing.parse_language,
        parsing.parse_calling_region,
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
    [
        (5, 5),
        (-2.5, -2.5),
        ("12.50", 12.5),
        ("2.49875", 2.49875),
        (" 7 ", 7),
        ("+3", 3),
        (".5", 0.5),
        ("5.", 5),
        ("-1e3", -1000),
        ("2.5E-1", 0.25),
        (120.0, 120),
        ("120.00", 120),
        (-0.0, 0),
        ("-0", 0),
        ("-0.0", 0),
        (268.28000000000003, 268.28),
        ("268.28000000000003", 268.28),
        (0.1 + 0.7, 0.8),
        (4.35 * 100, 435),
        (2 / 3, 0.666666666666667),
        (1e300, 1e300),
        (2.0**53, 2**53),
        ("0000000000000000000000000000000000000012", 12),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_numbers_are_read_from_numbers_and_strings_in_one_form(value: Json, expected: float) -> None:
    read = parsing.parse_number(value, "amount")

    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, [], {}, "", " ", ".", "+", "-", "e5", "1e", "abc", "12,50", "1,234", "1.234,50", "1 234"),
        *(
            "1'234",
            "1_000",
            "0x10",
            "5 EUR",
            "1/2",
            "nan",
            "NaN",
            "inf",
            "-Infinity",
            "1e999",
            "1.2.3",
            "--1",
            "٣",
            "½",
        ),
        *(float("nan"), float("inf"), 2**63, -(2**63) - 1, "9" * 19, "9" * 41, "9" * 100_000, "0." + "1" * 100_000),
    ],
)
def test_what_is_no_finite_number_or_may_mean_two_is_refused(value: Json) -> None:
    with pytest.raises(Invalid, match="amount"):
        parsing.parse_number(value, "amount")


@pytest.mark.parametrize(("value", "expected"), [(" a b ", "a b"), (17, "17"), (0, "0")])
def test_text_is_trimmed_and_read_from_integers(value: Json, expected: str) -> None:
    assert parsing.parse_text(value, "id") == expected


@pytest.mark.parametrize("value", [None, True, 1.5, "", " \t", [], {}, "a\x00", "\ud800"])
def test_what_is_no_text_is_refused(value: Json) -> None:
    with pytest.raises(Invalid, match="id"):
        parsing.parse_text(value, "id")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, True) for value in (True, "TRUE", " yes ", "Y", "t", "on", "1", 1)],
        *[(value, False) for value in (False, "False", "no", "N", "f", "OFF", "0", 0)],
    ],
)
def test_booleans_are_read_from_words_and_digits(value: Json, *, expected: bool) -> None:
    assert parsing.parse_boolean(value, "flag") is expected


@pytest.mark.parametrize("value", [None, "", "maybe", 2, 1.0, []])
def test_what_is_no_boolean_is_refused(value: Json) -> None:
    with pytest.raises(Invalid, match="flag"):
        parsing.parse_boolean(value, "flag")


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T09:00:00Z",
        "2026-03-01t09:00:00z",
        "2026-03-01T10:00:00+01:00",
        "2026-03-01T10:00:00+01",
        "2026-03-01T10:00:00 +01:00",
        "2026-03-01T10:00:00+01:00:00",
        "2026-03-01T10:00:00.000+0100",
        "2026-03-01T10:00:00.000000000+01:00",
        "2026-03-01T10:00:00,000+01:00",
        "2026-03-01T10:00:00:000+01:00",
        "2026-03-01T10:00:00+01:00[Europe/Berlin]",
        "2026-03-01T10:00+01:00[Europe/Berlin]",
        "2026-03-01T10:00:00[Europe/Berlin]",
        "2026-03-01 10:00:00 Europe/Berlin",
        "2026-03-01T09:00:00Z[UTC]",
        "2026-03-01T04:00:00-05:00[America/New_York]",
        "2026-03-01T09:00:00",
        "2026-03-01T09",
        "2026-03-01 09:00:00 UTC",
        "2026-03-01 09:00:00 GMT",
        "2026-03-01 10:00:00 +0100",
        "2026-03-01 10:00:00 +0100 CET",
        "2026-03-01 9:00",
        " 2026-03-01T09:00 ",
        "2026/03/01 09:00:00",
        "2026-3-1 09:00",
        "01.03.2026 09:00",
        "1.3.2026, 09:00:00",
        "20260301T090000Z",
        "20260301T100000+0100",
        "20260301090000",
        20260301090000,
        "Sun, 01 Mar 2026 09:00:00 GMT",
        "Sun, 1 Mar 2026 10:00:00 +0100",
        "Sun Mar 01 2026 10:00:00 GMT+0100 (Central European Standard Time)",
        "01-Mar-2026 09:00:00",
        "Mar 1, 2026 09:00",
        "/Date(1772355600000)/",
        "/Date(1772355600000+0100)/",
        [2026, 3, 1, 9, 0],
        [2026, 3, 1, 9, 0, 0],
        [2026, 3, 1, 9, 0, 0, 0],
        {"$date": "2026-03-01T09:00:00Z"},
        {"seconds": 1772355600, "nanos": 0},
        {"epochSecond": 1772355600, "nano": 0},
        1772355600,
        1772355600000,
        1772355600000000,
        1772355600000000000,
        "1772355600",
        "1772355600000",
        "1772355600000000",
        "1772355600000000000",
        "1772355600.000000000",
        "1.7723556E9",
        1772355600.0,
    ],
    ids=str,
)
def test_every_form_of_a_time_becomes_the_same_utc(value: Json) -> None:
    assert parsing.parse_time(value, "at") == NINE
    assert parsing.parse_time(value, "at").tzinfo is UTC
    assert parsing.is_day(value) is False


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T09:00:00.123456789Z", NINE.replace(microsecond=123456)),
        ("2026-03-01T09:00:00,5Z", NINE.replace(microsecond=500_000)),
        ([2026, 3, 1, 9, 0, 0, 123456789], NINE.replace(microsecond=123456)),
        (1772355600.25, NINE.replace(microsecond=250_000)),
        (1772355600123, NINE.replace(microsecond=123_000)),
        (1772355600123456, NINE.replace(microsecond=123456)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-86400, datetime(1969, 12, 31, tzinfo=UTC)),
        ("2026-02-28T24:00:00Z", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2026-07-01T12:00:00[Europe/Berlin]", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-03-01T09:00:00+05:45", datetime(2026, 3, 1, 3, 15, tzinfo=UTC)),
    ],
    ids=str,
)
def test_fractions_ends_of_days_and_zones_are_read_exactly(value: Json, expected: datetime) -> None:
    assert parsing.parse_time(value, "at") == expected


@pytest.mark.parametrize(
    ("value", "year"),
    [
        ("0001-01-01T00:00:00+01:00", 1),
        ("0001-01-01", 1),
        ("0000-00-00 00:00:00", 1),
        ("-999999999-01-01", 1),
        ("9999-12-31T23:59:59-14:00", 9999),
        ("9999-12-31T24:00:00Z", 9999),
        ("+999999999-12-31T23:59:59.999999999Z", 9999),
        (253402300799, 9999),
        (253402300799999, 9999),
        (2**63 - 1, 2262),
        (-(2**63), 1677),
    ],
    ids=str,
)
def test_what_lies_beyond_the_calendar_becomes_its_first_or_last_moment(value: Json, year: int) -> None:
    assert parsing.parse_time(value, "at").year == year


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01",
        "20260301",
        20260301,
        "01.03.2026",
        "2026/03/01",
        [2026, 3, 1],
        "2026-03-01Z",
        "2026-03-01+00:00",
        "2026-03-01[UTC]",
        "2026-03-01Z[UTC]",
        {"year": 2026, "month": 3, "day": 1},
    ],
)
def test_a_day_begins_with_its_first_moment_and_is_known_as_a_day(value: Json) -> None:
    assert parsing.parse_time(value, "at") == datetime(2026, 3, 1, tzinfo=UTC)
    assert parsing.is_day(value) is True


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, [], {}, "", " ", "soon", "n/a", "12:00", "2026", "2026-03", "03/01/2026", "1/3/26", "01.03.26"),
        *("2026-13-01", "2026-02-30T00:00:00Z", "2026-03-01T25:00", "2026-03-01T24:01", "2026-03-01T09:60"),
        *("2026-03-01T09:00:61Z", "2026-03-01T09:00+25:00", "2026-03-01T09:00[Mars/Base]", "2026-03-01T09:00[../etc]"),
        *("2026-03-01T09:00 PM", "Sun Foo 01 2026", "tomorrow", "P1D", "1772355600 UTC", float("nan"), float("inf")),
        *(10**30, -1e300, 10**400),
        *([2026, 3], [2026, 13, 1], [2026, 3, 1, 9, 0, 0, -1], [2026, 3, True], ["2026", 3, 1], [10**400, 1, 1]),
        *({"a": 1, "b": 2}, {"$date": None}, "9" * 5000, "2026-03-01T09:00:00." + "0" * 5000, "²026-03-01"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_time_or_may_be_two_is_refused(value: Json) -> None:
    with pytest.raises(Invalid, match="at: is not a time"):
        parsing.parse_time(value, "at")


@pytest.mark.parametrize(
    "value",
    [
        *("1990-05-07", "19900507", 19900507, "1990/05/07", "1990-5-7", "7.5.1990", "07.05.1990", [1990, 5, 7]),
        *("1990-05-07T00:00:00", "1990-05-07T23:30:00-05:00", "1990-05-07 00:00:00 UTC", "1990-05-07T00:00:00.000Z"),
        *("1990-05-07T00:00+02:00[Europe/Berlin]", "Mon, 07 May 1990 00:00:00 GMT", "07-May-1990", "May 7, 1990"),
        *([1990, 5, 7, 0, 0], "07.05.1990 00:00", "/Date(642038400000)/", {"$date": "1990-05-07"}),
        *("1990-05-07Z", "1990-05-07+01:00", "1990-05-07-11:00", "1990-05-07[Europe/Berlin]", "07.05.1990+02:00"),
        *("1990-05-07+02:00[Europe/Berlin]", "1990/05/07z", "19900507Z", [1990, 5, 7, 23, 59, 59, 999_999_999]),
        {
            "year": 1990,
            "month": "MAY",
            "monthValue": 5,
            "dayOfMonth": 7,
            "hour": 23,
            "minute": 30,
            "second": 0,
            "nano": 0,
        },
        {"year": 1990, "month": "MAY", "dayOfMonth": 7, "dayOfWeek": "MONDAY", "leapYear": False, "chronology": {}},
        {"date": {"year": 1990, "month": 5, "day": 7}, "time": {"hour": 23, "minute": 0, "second": 0, "nano": 0}},
        {"year": 1990, "monthOfYear": 5, "dayOfMonth": 7},
        *(642038400, 642038400000, "642038400000", 642031200, 642031200000, 642063600000),
    ],
    ids=str,
)
def test_every_form_of_a_birth_date_becomes_the_day_as_written(value: Json) -> None:
    assert parsing.parse_birth_date(value, "dob") == "1990-05-07"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-999993600, "1938-04-25"), (-999993600000, "1938-04-25"), (99964800000, "1973-03-03"), (0, "1970-01-01")],
)
def test_epochs_of_births_are_read_for_every_age(value: Json, expected: str) -> None:
    assert parsing.parse_birth_date(value, "dob", not_after=date(2026, 3, 1)) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "05/07/1990", "1990", 1990, "1990-02-30", "31.02.1990", "0001-01-01", "1899-12-31", "2026-03-02"),
        *(
            {"year": 1990},
            {"year": 1990, "month": 13, "day": 1},
            {"year": "1990", "month": 5, "day": 7},
            "1990-05-07[X/Y]",
        ),
        *("1990-05-07+25:00", "1990-05-07+01", {"year": 1990, "month": "Foo", "day": 7}, {"year": None}),
        *("0000-00-00", "07.05.90", "9999-12-31", True, [1990, 5], "--05-07", "unknown"),
    ],
)
def test_impossible_or_ambiguous_birth_dates_are_refused(value: Json) -> None:
    with pytest.raises(Invalid, match="dob"):
        parsing.parse_birth_date(value, "dob", not_after=date(2026, 3, 1))


@pytest.mark.parametrize(
    ("value", "region", "expected"),
    [
        ("+49 30 23125-123", None, "+493023125123"),
        ("0170 1234567", "DE", "+491701234567"),
        ("0170 1234567", "de", "+491701234567"),
        ("00491701234567", "DE", "+491701234567"),
        ("00491701234567", "US", "+491701234567"),
        ("0049 (0)170 1234567", None, "+491701234567"),
        ("+49 (0)170 1234567", None, "+491701234567"),
        ("tel:+49-170-1234567", None, "+491701234567"),
        ("٠١٧٠١٢٣٤٥٦٧", "DE", "+491701234567"),
        (491701234567, "DE", "+491701234567"),
        ("491701234567", "DE", "+491701234567"),
        ("49 170 1234567", "DE", "+491701234567"),
        ("49-170/1234567", "DE", "+491701234567"),
        (1701234567, "DE", "+491701234567"),
        ("1701234567", "DE", "+491701234567"),
        (16012345678, "DE", "+4916012345678"),
        (3023125123, "DE", "+493023125123"),
        ("0491 2345678", "DE", "+494912345678"),
        (436641234567, "AT", "+436641234567"),
        (41791234567, "CH", "+41791234567"),
        ("791234567", "CH", "+41791234567"),
        (393912345678, "IT", "+393912345678"),
        ("3912345678", "IT", "+393912345678"),
        (447911123456, "GB", "+447911123456"),
        (919123456789, "IN", "+919123456789"),
        (9123456789, "IN", "+919123456789"),
        (79161234567, "RU", "+79161234567"),
        ("89161234567", "RU", "+79161234567"),
        (12025550123, "US", "+12025550123"),
        ("0664 1234567", "AT", "+436641234567"),
        ("(202) 555-0123", "US", "+12025550123"),
        (2025550123, "US", "+12025550123"),
        ("+12025550123", "DE", "+12025550123"),
    ],
)
def test_phone_numbers_become_e164(value: Json, region: str | None, expected: str) -> None:
    assert parsing.parse_phone(value, region, "phone") == expected


@pytest.mark.parametrize(
    ("value", "region"),
    [
        ("0170 1234567", None),
        (491701234567, None),
        (436641234567, "DE"),  # of Leer in Germany, or an Austrian mobile number
        ("123", "DE"),
        ("call me", "DE"),
        ("+999123456", "DE"),
        ("4.91701234567E11", "DE"),
        (491701234567.5, "DE"),
        ("1" * 5000, "DE"),
        (True, "DE"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_dialled_is_refused(value: Json, region: str | None) -> None:
    with pytest.raises(Invalid, match="phone"):
        parsing.parse_phone(value, region, "phone")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("+49", "DE"), ("0049", "DE"), (49, "DE"), ("+1", "US"), ("DE", "DE"), ("deu", "DE"), (276, "DE")],
)
def test_where_a_number_is_dialled_from_is_read_from_countries_and_calling_codes(value: Json, expected: str) -> None:
    assert parsing.parse_calling_region(value, "country") == expected


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
    assert parsing.parse_country(value, "country") == expected


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
    assert parsing.parse_gender(value, "gender") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Jane.Doe@Example.COM", "Jane.Doe@example.com"),
        (" a+b@example.com ", "a+b@example.com"),
        ("jörg@exämple.de", "jörg@exämple.de"),
        ("anna@xn--mnchen-3ya.example", "anna@xn--mnchen-3ya.example"),
        ("Anna@XN--MNCHEN-3YA.Example", "Anna@xn--mnchen-3ya.example"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("a@firma.local", "a@firma.local"),
        ("a@example.test", "a@example.test"),
        ("1@1.de", "1@1.de"),
        ("Anna <a@x.de>", "a@x.de"),
        ("<a@X.de>", "a@x.de"),
        ('"Ash, Ann" <ann@example.com>', "ann@example.com"),
        ('"ann@example.com" <ann@example.com>', "ann@example.com"),
        ("'ann@example.com' <ann@example.com>", "ann@example.com"),
        ("Ash, Ann<ann@example.com>", "ann@example.com"),
        ("Åsa O'Neil <asa@example.com>", "asa@example.com"),
        ("Ken <ken..1@docomo.ne.jp>", "ken..1@docomo.ne.jp"),
    ],
)
def test_email_addresses_are_normalised(value: Json, expected: str) -> None:
    assert parsing.parse_email(value, "email") == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *[(parsing.parse_country, value) for value in (None, "", "Atlantis", "ZZ", "000", True)],
        *[(parsing.parse_gender, value) for value in (None, "", "5", "yes", True)],
        *[(parsing.parse_email, value) for value in (None, "", "jane", "jane@", "@example.com", "a b@example.com", 5)],
        *[
            (parsing.parse_email, value)
            for value in ("a@b@example.com", "a.@example.com", ".a..b@example.com", "a@xn--")
        ],
        *[
            (parsing.parse_email, value)
            for value in ("a@example.com, b@example.com", "a@-.com", "<>", "Anna <>", "<Anna> a@x.de")
        ],
        *[
            (parsing.parse_email, value)
            for value in ("a@x.de, Ben <b@x.de>", "a@x.de <b@x.de>", "A <a@x.de>, B <b@x.de>")
        ],
        *[(parsing.parse_email, value) for value in ("Anna <a@x.de", "Anna a@x.de>", "<<a@x.de>>", "Anna <a @x.de>")],
        *[(parsing.parse_email, value) for value in ("a" * 100_000 + "@example.com", "a@" + "b." * 50_000 + "com")],
        *[
            (parsing.parse_language, value)
            for value in (None, "", "e", "english", "x-klingon", "und", "C", "12", "äö", True)
        ],
        *[(parsing.parse_currency, value) for value in (None, "", "EURO", "XYZ", "€", True)],
    ],
)
def test_what_is_not_known_is_refused_and_never_guessed(read: Callable[[Json, str], object], value: Json) -> None:
    with pytest.raises(Invalid, match="field"):
        read(value, "field")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, "EUR") for value in ("EUR", " eur ", "Eur", 978, "978")],
        *[(value, "AUD") for value in (36, "036")],
        *[(value, value) for value in ("BGN", "HRK", "LTL", "LVL", "EEK", "ZWL", "SLL", "MRO", "STD", "VEF", "BYR")],
        *[(value, value) for value in ("BTC", "GGP", "IMP", "JEP", "ZMK", "MTL", "CUC", "ANG", "XCG", "SLE", "VED")],
        *[("bgn", "BGN"), (975, "BGN"), (191, "HRK")],
    ],
)
def test_currencies_become_iso_4217_letters(value: Json, expected: str) -> None:
    assert parsing.parse_currency(value, "currency") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, "en") for value in ("en", "EN", " en ", "en-US", "en_us", "en-Latn-US", "eng", "ENU", "en_GB.UTF-8")],
        *[(value, "de") for value in ("de", "de-DE", "de_AT@euro", "deu", "ger", "DEU", "de-DE,de;q=0.9,en;q=0.8")],
        *[(value, "zh") for value in ("zh-Hans", "zh_Hant_TW", "zho", "chi", "CHS")],
        *[(value, "nb") for value in ("no", "nb", "nor", "nob", "no_NO", "NO")],
        *[("nn", "nn"), ("iw", "he"), ("in", "id"), ("in_ID", "id"), ("ji", "yi"), ("heb", "he"), ("mo", "mo")],
        *[
            ("fil", "fil"),
            ("tl", "tl"),
            ("tgl", "tl"),
            ("gsw", "gsw"),
            ("haw-US", "haw"),
            ("PTB", "pt"),
            ("ESN", "es"),
            ("FRA", "fr"),
        ],
    ],
)
def test_languages_become_the_letters_that_they_have_today(value: Json, expected: str) -> None:
    assert parsing.parse_language(value, "language") == expected


def test_the_slow_libraries_are_not_imported_before_they_are_needed() -> None:
    code = (
        "import sys; import loyalty_bridge.platforms.convercus.events; slow = {'phonenumbers', 'iso4217',"
        "'email_validator', 'iso3166', 'boto3', 'requests', 'pydantic'}; print(sorted(slow & set(sys.modules)))"
    )

    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "shared"}
    )

    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Sun Mar 01 10:00:00 CET 2026", "2026-03-01T09:00:00Z"),
        ("Wed Jul 01 10:00:00 CEST 2026", "2026-07-01T08:00:00Z"),
        ("Sun Mar 01 10:00:00 GMT 2026", "2026-03-01T10:00:00Z"),
        ("Sun Mar  1 10:00:00 2026", "2026-03-01T10:00:00Z"),
        ("Mar 1, 2026, 10:00:00 AM", "2026-03-01T10:00:00Z"),
        ("Mar 1, 2026 12:30:00 AM", "2026-03-01T00:30:00Z"),
        ("Mar 1, 2026, 12:00:00 PM", "2026-03-01T12:00:00Z"),
        ("Mar 1, 2026, 9:05:00\u202fPM", "2026-03-01T21:05:00Z"),
        ("March 1, 2026", "2026-03-01T00:00:00Z"),
        ("1 September 2026 08:00", "2026-09-01T08:00:00Z"),
        ("01-MAR-2026", "2026-03-01T00:00:00Z"),
        ("25/12/2026", "2026-12-25T00:00:00Z"),
        ("12/25/2026 10:00 PM", "2026-12-25T22:00:00Z"),
        ("03/03/2026", "2026-03-03T00:00:00Z"),
        ("2026-03-01 10:00:00 PST", "2026-03-01T18:00:00Z"),
        ({"$date": {"$numberLong": "1772355600000"}}, "2026-03-01T09:00:00Z"),
        ({"seconds": "1772355600", "nanos": 0}, "2026-03-01T09:00:00Z"),
    ],
)
def test_times_are_read_as_java_javascript_and_databases_write_them(written: Json, expected: str) -> None:
    assert parsing.parse_iso_time(written, "occurredAt") == expected


@pytest.mark.parametrize(
    "written",
    [
        "03/01/2026",
        "13/13/2026",
        "Mar 1, 2026, 13:00:00 PM",
        "1 Marz 2026",
        "Sun Mar 01 10:00:00 XYZ 2026",
        "0 Mar 2026",
    ],
)
def test_a_time_that_may_be_two_is_refused(written: str) -> None:
    with pytest.raises(Invalid, match="is not a time"):
        parsing.parse_iso_time(written, "occurredAt")


@pytest.mark.parametrize("written", ["25/12/1990", "12/25/1990", "December 25, 1990", "25-DEC-1990", "25 Dec 1990"])
def test_a_birth_date_is_read_in_the_spellings_of_times(written: str) -> None:
    assert parsing.parse_birth_date(written, "birthDate") == "1990-12-25"


@pytest.mark.parametrize("address", ["a..b@docomo.ne.jp", "a...b.c@example.com"])
def test_an_address_of_a_japanese_provider_may_have_two_dots_together(address: str) -> None:
    assert parsing.parse_email(address, "emailAddress") == address


@pytest.mark.parametrize(
    "address", ["..a@example.com", "a..@example.com", "a..b@", "..@example.com", "ä..b@example.com"]
)
def test_dots_at_an_end_are_refused(address: str) -> None:
    with pytest.raises(Invalid, match="is not an e-mail address"):
        parsing.parse_email(address, "emailAddress")


@pytest.mark.parametrize(
    ("number", "region"), [("4901701234567", "DE"), ("4407911123456", "GB"), (4901701234567, "DE")]
)
def test_a_number_with_the_code_of_its_region_and_a_zero_is_read(number: Json, region: str) -> None:
    assert parsing.parse_phone(number, region, "phone") in {"+491701234567", "+447911123456"}


@pytest.mark.parametrize("written", ["25.12.90", "12/25/90", "90-12-25", "25-Dec-90", "25 Dec 90", "1/3/26 10:00"])
def test_a_year_of_two_digits_is_refused_with_what_to_write(written: str) -> None:
    for read in (parsing.parse_time, parsing.parse_birth_date):
        with pytest.raises(Invalid, match=r"at: is not a .* that can be read: write the year with four digits"):
            read(written, "at")


@pytest.mark.parametrize("written", ["03/01/2026", "3/1/2026 10:00"])
def test_a_day_and_a_month_that_may_be_each_other_are_refused_with_what_to_write(written: str) -> None:
    for read in (parsing.parse_time, parsing.parse_birth_date):
        with pytest.raises(Invalid, match=r"at: is not a .* that can be read: write year, month and day in this order"):
            read(written, "at")


def test_a_day_with_a_zone_begins_there() -> None:
    assert parsing.parse_time("2026-03-01+01:00", "at") == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert parsing.is_day("2026-03-01[Europe/Berlin]")


@pytest.mark.parametrize("offset", [None, {"id": "Z", "totalSeconds": 0}, {"id": "+01:00", "totalSeconds": 3600}])
def test_the_parts_of_a_java_time_are_read_with_its_offset(offset: Json) -> None:
    written: Json = {
        "year": 2026,
        "monthValue": 3,
        "dayOfMonth": 1,
        "hour": 10,
        "minute": 5,
        "nano": 0,
        "offset": offset,
    }
    hour = 9 if isinstance(offset, dict) and offset["totalSeconds"] else 10

    assert parsing.parse_time(written, "at") == datetime(2026, 3, 1, hour, 5, tzinfo=UTC)
