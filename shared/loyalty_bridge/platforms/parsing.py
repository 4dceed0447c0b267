"""Tolerant reading of what loyalty platforms send: each function takes a JSON value and the path of its field.

Every function returns the one normalised form or raises `Invalid` with the path and a reason, never the value.
Libraries that are slow to import are imported where they are used, so that a cold start pays only for what it needs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from loyalty_bridge.errors import Invalid
from loyalty_bridge.member_ids import check_member_id, is_placeholder
from loyalty_bridge.platforms import times
from loyalty_bridge.platforms.limits import UNUSABLE

if TYPE_CHECKING:
    from loyalty_bridge.model import Json

PROGRAM_ID = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""The id of a program as a regular expression of Python and of JSON Schema."""

MAX_DEPTH = 32
"""Arrays and objects inside one another; everything behind it may recurse safely."""

MAX_EVENTS = 20_000
"""Events in one record: more than a queue's largest message (1 MiB) holds of real ones."""

MAX_AHEAD = timedelta(minutes=5)
"""A clock may be ahead by this much."""

_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?", re.ASCII)
_LAST_BIRTH = 4_102_444_800
"""The first second of the year 2100: what is larger as a date of birth counts thousandths."""
_LONGEST_PHONE = 64
_LONGEST_ADDRESS = 320
_NAMED_ADDRESS = re.compile(r"""(?:"[^"<>]*"|'[^'<>]*'|[^<>@"]*)\s*<([^<>\s]+)>""")
_MAY_BE_UNUSABLE = re.compile(r"\\u(0000|[dD][89a-fA-F])")
"""How such a character is written in a document that is UTF-8 and JSON."""

_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}

_GENDERS = {
    **dict.fromkeys(("m", "male", "man", "männlich", "mann"), "M"),
    **dict.fromkeys(("f", "female", "woman", "w", "weiblich", "frau"), "F"),
    **dict.fromkeys(("o", "other", "d", "divers", "diverse", "x", "nonbinary"), "O"),
    **dict.fromkeys(("n", "na", "notapplicable"), "N"),
    **dict.fromkeys(("p", "prefernottosay", "undisclosed"), "P"),
    **dict.fromkeys(("u", "unknown", "notknown", "unspecified"), None),
    # ISO/IEC 5218
    "0": None,
    "1": "M",
    "2": "F",
    "9": "N",
}

_COUNTRY_NAMES = {
    "CZECH REPUBLIC": "CZ",
    "DEUTSCHLAND": "DE",
    "GREAT BRITAIN": "GB",
    "RUSSIA": "RU",
    "SCHWEIZ": "CH",
    "SOUTH KOREA": "KR",
    "TURKEY": "TR",
    "UK": "GB",
    "UNITED KINGDOM": "GB",
    "UNITED STATES": "US",
    "VIETNAM": "VN",
    "ÖSTERREICH": "AT",
}
"""Common names that ISO 3166-1 spells otherwise."""


def is_blank(value: Json) -> bool:
    """Return whether a value says nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def parse_json(data: bytes, *, unique_keys: bool = False, any_text: bool = False) -> Json:
    """Read strict JSON in UTF-8 (RFC 8259) whose every value the engagement platforms can store.

    A byte order mark is skipped, numbers are in the form of `canonical_number`.

    Parameters
    ----------
    data
        The body as it arrived.
    unique_keys
        Refuse an object that names a key twice, at any depth; otherwise the last value counts.
    any_text
        Let null bytes and lone surrogates pass, where each field is read alone: `parse_text` refuses them. A key that
        holds them is written with U+FFFD, and its value becomes a null byte, so that its field alone is refused.

    Raises
    ------
    Invalid
        A key that is named twice (the key is the field); not UTF-8, not JSON, NaN or Infinity, a number that is too
        large, nesting deeper than `MAX_DEPTH`; or a null byte or a lone surrogate in a string (its path is the field)
        or in a key (the path of its object is).
    """
    try:
        document = _decoded(data)
        value: Json = (_UNIQUE_DECODER if unique_keys else _DECODER).decode(document)
    except json.JSONDecodeError as error:
        raise Invalid("record", f"is not JSON (position {error.pos})") from None
    except RecursionError:
        raise Invalid("record", f"is nested deeper than {MAX_DEPTH}") from None
    may_be_unusable = _MAY_BE_UNUSABLE.search(document)
    if may_be_unusable or document.count("{") + document.count("[") > MAX_DEPTH:
        _check(value, "", MAX_DEPTH, any_text=any_text)
    return _with_usable_keys(value) if may_be_unusable and any_text else value


def parse_each(data: bytes) -> tuple[Json, list[tuple[bytes, Invalid]]]:
    """Read as `parse` does with `any_text`, but judge each element of an array on its own.

    Returns
    -------
    tuple
        The document, without the elements that cannot be used; and those, each with the reason.

    Raises
    ------
    Invalid
        Nothing of it can be used.
    """
    try:
        return parse_json(data, any_text=True), []
    except Invalid:
        elements = _elements(data)
        check_event_count(len(elements))
        usable, unusable = [], []
        for element in elements:
            try:
                usable.append(parse_json(element, any_text=True))
            except Invalid as refusal:
                unusable.append((element, refusal))
        if not usable:
            raise
        return usable, unusable


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("record", "is not UTF-8") from None


def _elements(data: bytes) -> list[bytes]:
    """Return the elements of an array as they are written; none where it is no array, or not complete."""
    document = _decoded(data)
    elements: list[bytes] = []
    at, separator = _after_blanks(document, 0), "["
    with suppress(ValueError, RecursionError, IndexError):
        while document[at] == separator:
            begin = _after_blanks(document, at + 1)
            _, end = _SCANNER.raw_decode(document, begin)
            elements.append(document[begin:end].encode())
            at, separator = _after_blanks(document, end), ","
        if document[at] == "]" and not document[at + 1 :].strip(" \t\n\r"):
            return elements
    return []


def _after_blanks(document: str, at: int) -> int:
    found = _BLANKS.match(document, at)
    return found.end() if found else at


def split_events(record: Json) -> list[Json]:
    """Take a parsed record apart: one event, or an array of them. An element that is no event is refused when read.

    Raises
    ------
    Invalid
        The record is neither an object nor an array, or holds more than `MAX_EVENTS`.
    """
    if isinstance(record, Mapping):
        return [record]
    if isinstance(record, Sequence) and not isinstance(record, str):
        check_event_count(len(record))
        return list(record)
    raise Invalid("record", "is neither an object nor an array")


def check_event_count(events: int) -> None:
    """Refuse a record of too many events, before each of them takes its time."""
    if events > MAX_EVENTS:
        raise Invalid("record", f"holds more than {MAX_EVENTS} events: send fewer at a time")


def parse_number(value: Json, field: str) -> int | float:
    """Read a finite number in its one form, see `canonical_number`, also from a string such as ``"12.50"``.

    A boolean is not a number, nor is what may have another meaning elsewhere (``"1,234"``).
    """
    if isinstance(value, str) and len(value) < 200 and _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        value = float(text) if re.search("[.eE]", text) else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(field, "is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(field, "is not a finite number")
    if isinstance(value, int) and not _fits(value):
        raise Invalid(field, "is too large")
    return canonical_number(value)


def canonical_number(value: float) -> int | float:
    """Write equal numbers in one form: 120.0 as 120, and 268.28000000000003 as 268.28.

    A double holds 15 decimal digits; what follows is left over from calculations.
    """
    if isinstance(value, int) or not math.isfinite(value):
        return value
    if value.is_integer():
        return whole if _fits(whole := int(value)) else value
    rounded = float(f"{value:.15g}")
    return int(rounded) if rounded.is_integer() else rounded


def parse_text(value: Json, field: str) -> str:
    """Read a text without the blanks around it, also from an integer. Blank, boolean, array and object are refused."""
    if isinstance(value, int) and not isinstance(value, bool) and _fits(value):
        return str(value)
    if not isinstance(value, str):
        raise Invalid(field, "is not a text")
    if not (trimmed := value.strip()):
        raise Invalid(field, "is blank")
    if UNUSABLE.search(trimmed):
        raise Invalid(field, "holds a null byte or a lone surrogate")
    return trimmed


def parse_member_id(value: Json, field: str) -> str:
    """Read the id of a person as `parse_text` does; what cannot be one, see `check_member_id`, is refused."""
    found = parse_text(value, field)
    check_member_id(found, field)
    return found


def is_missing_id(value: Json) -> bool:
    """Return whether a value is blank, or the word for a missing one: as an event's id it would make all events one."""
    if not isinstance(value, str):
        return value is None
    return is_blank(value) or (len(value) < MAX_WORD and value.isprintable() and is_placeholder(value))


MAX_WORD = 200


def parse_boolean(value: Json, field: str) -> bool:
    """Read true or false, also from ``"true"``, ``"yes"``, ``1`` and their opposites in any case."""
    if isinstance(value, bool):
        return value
    found = _BOOLEANS.get(str(value).strip().lower()) if isinstance(value, int | str) else None
    if found is None:
        raise Invalid(field, "is not a boolean")
    return found


def parse_time(value: Json, field: str) -> datetime:
    """Read a time as aware UTC.

    Without a zone it is UTC; what lies beyond the calendar becomes its first or last moment.
    Read are ISO 8601 and what is near it (``2026-03-01 10:00:00 UTC``, ``20260301T090000,5z``, ``2026/03/01``,
    ``2026-03-01T10:00+01:00[Europe/Berlin]``, ``2026-03-01+01:00``), ``01.03.2026``, ``25/12/2026`` where day and month
    can be distinguished, times with English months (RFC 5322, ``Mar 1, 2026, 10:00:00 AM``, ``Sun Mar 01 10:00:00 CET
    2026``), arrays (``[2026, 3, 1, 10, 0]``), the fields of Java's local times, and seconds, milliseconds, microseconds
    or nanoseconds since 1970, by their magnitude. A year of two digits may be of two centuries, and is refused.
    """
    wall, zone, _ = _written(value, field, "time")
    try:
        return wall.replace(tzinfo=zone or UTC).astimezone(UTC)
    except OverflowError:
        return times.FIRST if wall.year < 5000 else times.LAST


def _written(value: Json, field: str, noun: str, last_second: int = times.LAST_SECOND) -> times.Written:
    try:
        return times.parse_written(value, last_second)
    except times.Ambiguous as error:
        raise Invalid(field, f"is not a {noun} that can be read: {error}") from None
    except ValueError:
        raise Invalid(field, f"is not a {noun}") from None


def is_day(value: Json) -> bool:
    """Return whether a value is a day, without a time of day."""
    try:
        return times.parse_written(value).form == "day"
    except ValueError:
        return False


def parse_iso_time(value: Json, field: str) -> str:
    """Read a time as `parse_time` does, and write it in ISO 8601 with ``Z``."""
    return parse_time(value, field).isoformat().replace("+00:00", "Z")


def parse_event_time(value: Json, field: str, received: datetime) -> datetime:
    """Read when an event happened: not before 2000; a time more than `MAX_AHEAD` after its arrival is the arrival's."""
    time = parse_time(value, field)
    if time.year < 2000:
        raise Invalid(field, "is not a possible time")
    return received if time > received + MAX_AHEAD else time


def parse_birth_date(value: Json, field: str, *, not_after: date = date.max) -> str:
    """Read a date of birth as ``YYYY-MM-DD``, from everything that `parse_time` reads: the day as it is written.

    An epoch is midnight somewhere: the nearest day counts. Orders of day and month that cannot be distinguished are
    refused, as are years before 1900 and days after `not_after`.
    """
    wall, _, form = _written(value, field, "date", _LAST_BIRTH)
    born = (wall + timedelta(hours=12) if form == "epoch" and wall.year < 9999 else wall).date()
    if born.year < 1900 or born > not_after:
        raise Invalid(field, "is not a possible date of birth")
    return born.isoformat()


def parse_phone(value: Json, region: str | None, field: str) -> str:
    """Read a phone number as E.164. `region` (alpha-2) is where a number without ``+`` or ``00`` is dialled from.

    Digits that begin with the calling code of their region, and are a number with ``+`` before them, are that number:
    senders leave out the ``+``. The number must be valid for libphonenumber, which is what Braze checks with:
    https://www.braze.com/docs/user_guide/channels/sms_mms_and_rcs/message_setup/user_phone_numbers

    Raises
    ------
    Invalid
        It is not a phone number, or may be two: one of its region and a mobile one of another country.
    """
    import phonenumbers

    written = parse_text(value, field)
    if len(written) > _LONGEST_PHONE or re.fullmatch(r"[0-9.,]+[eE]\+?[0-9]+", written):
        raise Invalid(field, "is not a phone number")

    def valid(digits: str, where: str | None) -> phonenumbers.PhoneNumber | None:
        try:
            found = phonenumbers.parse(digits, where)
        except phonenumbers.NumberParseException:
            return None
        return found if phonenumbers.is_valid_number(found) else None

    bare = re.sub(r"[\s()./-]", "", written)
    region = region and region.upper()
    national = None if bare.startswith("00") and valid(f"+{bare[2:]}", None) else valid(written, region)
    abroad = valid("+" + bare.lstrip("+").removeprefix("00"), None) if bare.isdecimal() else None
    if abroad and bare.startswith("00"):
        found = abroad
    elif national and abroad and national != abroad:
        is_own = abroad.country_code == phonenumbers.country_code_for_region(region or "ZZ")
        is_mobile = phonenumbers.number_type(abroad) == phonenumbers.PhoneNumberType.MOBILE
        if not is_own and is_mobile and phonenumbers.number_type(national) == phonenumbers.PhoneNumberType.FIXED_LINE:
            raise Invalid(field, "may be a number with or without the code of a country: write it with +")
        found = abroad if is_own else national
    elif national:
        found = national
    elif abroad and abroad.country_code == phonenumbers.country_code_for_region(region or "ZZ"):
        found = abroad
    else:
        raise Invalid(field, "is not a phone number")
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def parse_calling_region(value: Json, field: str) -> str:
    """Read where a phone number is dialled from, from a country or a calling code (``+49``, ``0049``, 49)."""
    import phonenumbers

    code = re.fullmatch(r"(?:\+|00)?([1-9][0-9]{0,2})", parse_text(value, field))
    region = phonenumbers.region_code_for_country_code(int(code[1])) if code else "ZZ"
    return parse_country(value, field) if region in {"ZZ", "001"} else region


def parse_country(value: Json, field: str) -> str:
    """Read a country as ISO 3166-1 alpha-2, from alpha-2, alpha-3, numeric code or English name."""
    from iso3166 import countries

    name = parse_text(value, field).upper()
    found = countries.get(name, None)
    if found is None and name not in _COUNTRY_NAMES:
        raise Invalid(field, "is not a country")
    return found.alpha2 if found else _COUNTRY_NAMES[name]


def parse_gender(value: Json, field: str) -> str | None:
    """Read a gender as ``M``, ``F``, ``O`` (other), ``N`` (not applicable), ``P`` (not said), or None (unknown).

    Understands English and German words in any case, and the numbers of ISO/IEC 5218.
    """
    word = re.sub(r"[\W_]", "", parse_text(value, field).lower())
    if word not in _GENDERS:
        raise Invalid(field, "is not a known gender")
    return _GENDERS[word]


def parse_email(value: Json, field: str) -> str:
    """Read an e-mail address; its domain in lower case, in the alphabet in which it is written.

    Of ``Ann <ann@example.com>`` (RFC 5322, section 3.4) the address is read. Whether it can be delivered to is not
    asked.
    """
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

    # No mail is delivered there, but engagement platforms take the addresses.
    SPECIAL_USE_DOMAIN_NAMES.clear()
    written = parse_text(value, field)
    if len(written) > _LONGEST_ADDRESS:
        raise Invalid(field, "is not an e-mail address")
    if named := _NAMED_ADDRESS.fullmatch(written):
        written = named[1]
    # Two dots together are no form of RFC 5322, but of addresses that Japanese providers have given out.
    local, _, host = written.rpartition("@")
    dotted = local.isascii() and ".." in local
    checked = f"{re.sub(r'[.]{2,}', '.', local)}@{host}" if dotted else written
    try:
        found = validate_email(checked, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError):
        raise Invalid(field, "is not an e-mail address") from None
    return f"{local if dotted else found.local_part}@{found.ascii_domain if host.isascii() else found.domain}"


def parse_currency(value: Json, field: str) -> str:
    """Read a currency as its ISO 4217 letters, from letters or number; also one that is no longer in circulation.

    Sources: https://www.six-group.com/en/products-services/financial-information/data-standards.html (lists one and
    three), and the list of Braze's SDKs, which names more than both.
    """
    from iso4217 import Currency

    from loyalty_bridge.platforms import codes

    code = parse_text(value, field).upper()
    if re.fullmatch("[0-9]{1,3}", code):
        code = codes.FORMER_CURRENCY_NUMBERS.get(int(code)) or next(
            (str(it.value) for it in Currency if it.number == int(code)), ""
        )
    if code not in codes.FORMER_CURRENCIES and code not in Currency.__members__:
        raise Invalid(field, "is not a currency of ISO 4217")
    return code


def parse_language(value: Json, field: str) -> str:
    """Read a language as its ISO 639-1 letters (of ISO 639-3 where there are none), from a code or a locale.

    Read are ``de``, ``en-US``, ``zh_Hans_CN``, ``pt_BR.UTF-8``, three letters (``deu``, ``ger``), those of Windows
    (``ENU``), and codes that others have replaced (``iw``). Source: https://www.loc.gov/standards/iso639-2/php/code_list.php
    """
    from loyalty_bridge.platforms import codes

    found = re.match(r"([a-z]{2,3})(?:[-_.@,;]|$)", parse_text(value, field).lower())
    code = found[1] if found else "und"
    code = codes.LANGUAGES.get(code, code)
    if code in {"und", "mul", "mis", "zxx", "xx"}:
        raise Invalid(field, "is not a language")
    return code


def _fits(value: int) -> bool:
    """Return whether an integer survives the JSON readers of other platforms (64 bits)."""
    return -(2**63) <= value < 2**63


def _integer(literal: str) -> int:
    # Python refuses to convert thousands of digits, with an error that is not one of JSON.
    if len(literal) > 20 or not _fits(value := int(literal)):
        raise Invalid("record", "holds an integer beyond 64 bits")
    return value


def _decimal(literal: str) -> int | float:
    if not math.isfinite(value := float(literal)):
        raise Invalid("record", "holds a number that is too large")
    return canonical_number(value)


def _refuse_constant(literal: str) -> NoReturn:
    raise Invalid("record", f"holds {literal.lstrip('-')}, which is not JSON")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            shown = "record" if not key or UNUSABLE.search(key) else key[:64]
            raise Invalid(shown, "names a key twice" if shown == "record" else "is named twice", unquoted=_TWICE)
        found[key] = value
    return found


_TWICE = "record: names a key twice"
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_decimal, parse_constant=_refuse_constant)
_UNIQUE_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_decimal, parse_constant=_refuse_constant, object_pairs_hook=_unique
)
_SCANNER = json.JSONDecoder(parse_int=len, parse_float=len)
_BLANKS = re.compile(r"[ \t\n\r]*")


def _check(value: Json, path: str, depth: int, *, any_text: bool) -> None:
    """Refuse what JSON allows and the platforms do not: deep nesting, null bytes, halves of characters."""
    if isinstance(value, str):
        if not any_text and UNUSABLE.search(value):
            raise Invalid(path or "record", "holds a null byte or a lone surrogate")
    elif isinstance(value, Mapping | Sequence) and depth == 0:
        raise Invalid("record", f"is nested deeper than {MAX_DEPTH}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not any_text and UNUSABLE.search(key):
                raise Invalid(path or "record", "holds a null byte or a lone surrogate in a key")
            _check(item, f"{path}.{key[:64]}" if path else key[:64], depth - 1, any_text=any_text)
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth - 1, any_text=any_text)


def _with_usable_keys(value: Json) -> Json:
    """Copy a value, see `parse`. Keys that were replaced come last: of two spellings of a field the first counts."""
    if isinstance(value, Mapping):
        usable = {key: _with_usable_keys(item) for key, item in value.items() if not UNUSABLE.search(key)}
        replaced = (UNUSABLE.sub("\ufffd", key) for key in value if UNUSABLE.search(key))
        return usable | {key: "\x00" for key in replaced if key not in usable}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_with_usable_keys(item) for item in value]
    return value
