"""Tolerant reading of what loyalty platforms send: each function takes a JSON value and the path of its field.

Every function returns the one normalised form or raises `Refused` with the path and a reason, never the value.
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

from loyalty_bridge.errors import Refused

if TYPE_CHECKING:
    from loyalty_bridge.model import Json

PROGRAM_ID = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""The id of a program, wherever it is told, as a regular expression of Python and of JSON Schema."""

MAX_DEPTH = 32
"""Arrays and objects inside one another; everything behind it may recurse safely."""

MAX_EVENTS = 20_000
"""Events in one record: more than a queue's largest message (1 MiB) holds of real ones."""

MAX_AHEAD = timedelta(minutes=5)
"""A clock may be ahead by this much."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_ABOVE = 10**11
"""As seconds this is the year 5138, as milliseconds 1973."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_EPOCH_TEXT = re.compile(r"-?[0-9]{9,16}(\.[0-9]{1,9})?", re.ASCII)
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_MAY_BE_UNUSABLE = re.compile(r"\\u(0000|[dD][89a-fA-F])")
"""How such a character is written in a document that is UTF-8 and JSON."""

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

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
    """Tell whether a value says nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def parse(data: bytes, *, unique_keys: bool = False) -> Json:
    """Read strict JSON in UTF-8 (RFC 8259) whose every value the engagement platforms can store.

    Parameters
    ----------
    data
        The body as it arrived.
    unique_keys
        Refuse an object that names a key twice, at any depth; otherwise the last value counts.

    Raises
    ------
    Refused
        A key that is named twice (the key is the field); not UTF-8, not JSON, NaN or Infinity, a number that is too
        large, nesting deeper than `MAX_DEPTH`; or a null byte or a lone surrogate in a string (its path is the field)
        or in a key (the path of its object is).
    """
    try:
        document = data.decode()
        value: Json = (_UNIQUE_DECODER if unique_keys else _DECODER).decode(document)
    except UnicodeDecodeError:
        raise Refused("record", "is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused("record", f"is not JSON (position {error.pos})") from None
    except RecursionError:
        raise Refused("record", f"is nested deeper than {MAX_DEPTH}") from None
    if _MAY_BE_UNUSABLE.search(document) or document.count("{") + document.count("[") > MAX_DEPTH:
        _check(value, "", MAX_DEPTH)
    return value


def parse_each(data: bytes) -> tuple[Json, list[tuple[bytes, Refused]]]:
    """Read as `parse` does, but judge each element of an array on its own: one must not take the others with it.

    Returns
    -------
    tuple
        The document, without the elements that cannot be used; and those, each with the reason.

    Raises
    ------
    Refused
        Nothing of it can be used.
    """
    try:
        return parse(data), []
    except Refused:
        elements = _elements(data)
        check_number(len(elements))
        usable, unusable = [], []
        for element in elements:
            try:
                usable.append(parse(element))
            except Refused as refusal:
                unusable.append((element, refusal))
        if not usable:
            raise
        return usable, unusable


def _elements(data: bytes) -> list[bytes]:
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        if isinstance(found, list):
            return [json.dumps(one).encode() for one in found]
    return []


def events(record: Json) -> list[Json]:
    """Take a parsed record apart: one event, or an array of them. An element that is no event is refused when read.

    Raises
    ------
    Refused
        The record is neither an object nor an array, or holds more than `MAX_EVENTS`.
    """
    if isinstance(record, Mapping):
        return [record]
    if isinstance(record, Sequence) and not isinstance(record, str):
        check_number(len(record))
        return list(record)
    raise Refused("record", "is neither an object nor an array")


def check_number(events: int) -> None:
    """Refuse a record of too many events, before each of them takes its time."""
    if events > MAX_EVENTS:
        raise Refused("record", f"holds more than {MAX_EVENTS} events: send fewer at a time")


def number(value: Json, field: str) -> int | float:
    """Read a finite number, also from a string such as ``"12.50"``. A boolean is not a number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        value = float(text) if re.search("[.eE]", text) else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(field, "is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(field, "is not a finite number")
    if isinstance(value, int) and not _fits(value):
        raise Refused(field, "is too large")
    return value


def text(value: Json, field: str) -> str:
    """Read a text without the blanks around it, also from an integer. Blank, boolean, array and object are refused."""
    if isinstance(value, int) and not isinstance(value, bool) and _fits(value):
        return str(value)
    if not isinstance(value, str):
        raise Refused(field, "is not a text")
    if not (trimmed := value.strip()):
        raise Refused(field, "is blank")
    if _UNUSABLE.search(trimmed):
        raise Refused(field, "holds a null byte or a lone surrogate")
    return trimmed


def boolean(value: Json, field: str) -> bool:
    """Read true or false, also from ``"true"``, ``"yes"``, ``1`` and their opposites in any case."""
    if isinstance(value, bool):
        return value
    found = _BOOLEANS.get(str(value).strip().lower()) if isinstance(value, int | str) else None
    if found is None:
        raise Refused(field, "is not a boolean")
    return found


def instant(value: Json, field: str) -> datetime:
    """Read a time as aware UTC: ISO 8601 (no zone means UTC), or epoch seconds or milliseconds by their magnitude."""
    if isinstance(value, str) and not _EPOCH_TEXT.fullmatch(value.strip()):
        try:
            # Ruby prints UTC as a word.
            found = datetime.fromisoformat(value.strip().removesuffix(" UTC"))
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise Refused(field, "is not a time") from None
    try:
        seconds = number(value, field)
        return _EPOCH + timedelta(seconds=seconds / 1000 if abs(seconds) > _MILLISECONDS_ABOVE else seconds)
    except (Refused, OverflowError):
        raise Refused(field, "is not a time") from None


def iso(value: Json, field: str) -> str:
    """Read a time as `instant` does, and write it in ISO 8601 with ``Z``."""
    return instant(value, field).isoformat().replace("+00:00", "Z")


def occurred(value: Json, field: str, received: datetime) -> datetime:
    """Read when an event happened: not before 2000; a time more than `MAX_AHEAD` after its arrival is the arrival's."""
    time = instant(value, field)
    if time.year < 2000:
        raise Refused(field, "is not a possible time")
    return received if time > received + MAX_AHEAD else time


def birth_date(value: Json, field: str, *, not_after: date = date.max) -> str:
    """Read a date of birth as ``YYYY-MM-DD``, from ISO 8601 (a time of day is dropped) or ``DD.MM.YYYY``.

    Other orders of day and month cannot be told apart and are refused, as are years before 1900 and days after
    `not_after`.
    """
    written = text(value, field)
    try:
        if re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}", written, re.ASCII):
            day, month, year = map(int, written.split("."))
            born = date(year, month, day)
        elif re.match(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}($|[T ])", written, re.ASCII):
            born = datetime.fromisoformat(written).date()
        else:
            raise Refused(field, "is not a date")
    except ValueError:
        raise Refused(field, "is not a date") from None
    if born.year < 1900 or born > not_after:
        raise Refused(field, "is not a possible date of birth")
    return born.isoformat()


def phone(value: Json, region: str | None, field: str) -> str:
    """Read a phone number as E.164. `region` (alpha-2) is where a number without ``+`` is dialled from.

    The number must be valid for libphonenumber, which is what Braze checks with:
    https://www.braze.com/docs/user_guide/channels/sms_mms_and_rcs/message_setup/user_phone_numbers
    """
    import phonenumbers

    try:
        found = phonenumbers.parse(text(value, field), region and region.upper())
    except phonenumbers.NumberParseException:
        raise Refused(field, "is not a phone number") from None
    if not phonenumbers.is_valid_number(found):
        raise Refused(field, "is not a valid phone number")
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def country(value: Json, field: str) -> str:
    """Read a country as ISO 3166-1 alpha-2, from alpha-2, alpha-3, numeric code or English name."""
    from iso3166 import countries

    name = text(value, field).upper()
    found = countries.get(name, None)
    if found is None and name not in _COUNTRY_NAMES:
        raise Refused(field, "is not a country")
    return found.alpha2 if found else _COUNTRY_NAMES[name]


def gender(value: Json, field: str) -> str | None:
    """Read a gender as ``M``, ``F``, ``O`` (other), ``N`` (not applicable), ``P`` (not said), or None (unknown).

    Understands English and German words in any case, and the numbers of ISO/IEC 5218.
    """
    word = re.sub(r"[\W_]", "", text(value, field).lower())
    if word not in _GENDERS:
        raise Refused(field, "is not a known gender")
    return _GENDERS[word]


def email(value: Json, field: str) -> str:
    """Read an e-mail address; its domain in lower case. Whether it can be delivered to is not asked."""
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(text(value, field), check_deliverability=False, globally_deliverable=False).normalized
    except EmailNotValidError:
        raise Refused(field, "is not an e-mail address") from None


def currency(value: Json, field: str) -> str:
    """Read a currency as its ISO 4217 letters."""
    from iso4217 import Currency

    try:
        return str(Currency(text(value, field).upper()).value)
    except ValueError:
        raise Refused(field, "is not a currency of ISO 4217") from None


def _fits(value: int) -> bool:
    """Tell whether an integer survives the JSON readers of other platforms (64 bits)."""
    return -(2**63) <= value < 2**63


def _integer(literal: str) -> int:
    # Python refuses to convert thousands of digits, with an error that is not one of JSON.
    if len(literal) > 20 or not _fits(value := int(literal)):
        raise Refused("record", "holds an integer beyond 64 bits")
    return value


def _decimal(literal: str) -> float:
    if not math.isfinite(value := float(literal)):
        raise Refused("record", "holds a number that is too large")
    return value


def _refuse_constant(literal: str) -> NoReturn:
    raise Refused("record", f"holds {literal.lstrip('-')}, which is not JSON")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            shown = "record" if not key or _UNUSABLE.search(key) else key[:64]
            raise Refused(shown, "names a key twice" if shown == "record" else "is named twice", unquoted=_TWICE)
        found[key] = value
    return found


_TWICE = "record: names a key twice"
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_decimal, parse_constant=_refuse_constant)
_UNIQUE_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_decimal, parse_constant=_refuse_constant, object_pairs_hook=_unique
)


def _check(value: Json, path: str, depth: int) -> None:
    """Refuse what JSON allows and the platforms do not: deep nesting, null bytes, halves of characters."""
    if isinstance(value, str):
        if _UNUSABLE.search(value):
            raise Refused(path or "record", "holds a null byte or a lone surrogate")
    elif isinstance(value, Mapping | Sequence) and depth == 0:
        raise Refused("record", f"is nested deeper than {MAX_DEPTH}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _UNUSABLE.search(key):
                raise Refused(path or "record", "holds a null byte or a lone surrogate in a key")
            _check(item, f"{path}.{key[:64]}" if path else key[:64], depth - 1)
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth - 1)
