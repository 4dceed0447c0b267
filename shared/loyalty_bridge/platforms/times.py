"""The spellings of a time: what is written, before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from loyalty_bridge.model import Json

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
LAST_SECOND = 253_402_300_799
"""The last second of the year 9999: what is larger counts thousandths, and so on."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 100
_EPOCH_TEXT = re.compile(r"[+-]?[0-9]{9,19}(\.[0-9]{1,9})?|[0-9]\.[0-9]{1,20}[eE]\+?[0-9]{1,2}", re.ASCII)
_COMPACT = re.compile(r"(19|20|21)[0-9]{2}(0[1-9]|1[0-2])([0-2][0-9]|3[01])([0-9]{6})?", re.ASCII)
"""``yyyyMMdd`` and ``yyyyMMddHHmmss``, which are no likely epoch in any unit."""
_DOTNET = re.compile(r"/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)/", re.ASCII)
_SPELLING = re.compile(
    r"""
    (?: (?P<year>[+-]?\d{4,10}) (?P<mark>[-/.]) (?P<month>\d\d?) (?P=mark) (?P<day>\d\d?)
      | (?P<year2>\d{4}) (?P<month2>\d\d) (?P<day2>\d\d)
      | (?P<day3>\d\d?) \. (?P<month3>\d\d?) \. (?P<year3>\d{4})
      | (?:[A-Z][a-z]{2,8},?[ ])? (?P<day4>\d\d?) \.? [ -] (?P<name4>[A-Za-z]{3,9}) [ -] (?P<year4>\d{4})
      | (?:[A-Z][a-z]{2,8},?[ ])? (?P<name5>[A-Za-z]{3,9}) [ ] (?P<day5>\d\d?) ,? [ ] (?P<year5>\d{4})
      | (?P<day6>\d\d?) / (?P<month6>\d\d?) / (?P<year6>\d{4})
    )
    (?: (?:[Tt]|,?[ ]{1,2}|(?<=^\d{8}))
        (?P<hour>\d\d?) (?: :?(?P<minute>\d\d) (?: :?(?P<second>\d\d) (?: [.,:](?P<fraction>\d{1,20}) )? )? )?
        (?:[ ]?(?P<half>[AaPp])[Mm])?
        [ ]{0,2}
        (?: (?:[Zz]|UTC|GMT)? (?P<sign>[+-]) (?P<hours>\d\d?) (?: :?(?P<minutes>\d\d) (?: :?\d\d )? )?
            (?: [ ] (?:[A-Z]{2,5}|\([^()]*\)) )?
          | (?:[Zz]|UTC|GMT)
          | (?P<abbreviation>[A-Z]{3,4})
        )?
        (?: \[ (?P<zone>[A-Za-z][A-Za-z0-9_/+-]*) \] | [ ]? (?P<zone2>[A-Z][a-z]+/[A-Za-z0-9_/+-]+) )?
      | (?: [Zz] | (?P<sign2>[+-]) (?P<hours2>\d\d) : (?P<minutes2>\d\d) )?
        (?: \[ (?P<zone3>[A-Za-z][A-Za-z0-9_/+-]*) \] )?
    )
    """,
    re.ASCII | re.VERBOSE,
)
_YEAR_OF_TWO_DIGITS = re.compile(r"\d\d?([-./ ])(?:\d\d?|[A-Za-z]{3,9})\1\d\d(?:[T ,].*)?", re.ASCII)
_JAVA_FIELDS = (
    ("year",), ("monthValue", "monthOfYear", "month"), ("dayOfMonth", "day"), ("hour", "hourOfDay"),
    ("minute", "minuteOfHour"), ("second", "secondOfMinute"), ("nano", "nanos"),
)  # fmt: skip
"""What the parts of a local time are called when java.time, Joda-Time or Protobuf's dates are written as they are."""
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    "december",
)
_YEAR_LAST = re.compile(
    r"(?:[A-Z][a-z]{2,8} )?([A-Z][a-z]{2,8}) {1,2}(\d\d?) ([\d:.]{5,18}(?: [A-Z0-9:+-]{1,9})?) (\d{4})", re.ASCII
)
"""As Java's ``Date`` and C's ``ctime`` write: ``Sun Mar 01 10:00:00 CET 2026``."""
_ZONES = "EST:-5 EDT:-4 CST:-6 CDT:-5 MST:-7 MDT:-6 PST:-8 PDT:-7 WET:0 WEST:1 CET:1 CEST:2 MEZ:1 MESZ:2 EET:2 EEST:3"
_HOURS_OF_ZONES = {name: int(hours) for name, hours in (pair.split(":") for pair in _ZONES.split())}
"""https://www.rfc-editor.org/rfc/rfc5322#section-4.3, and Europe's, which mean one zone each."""


class Ambiguous(ValueError):
    """It may be one of several times."""


class Written(NamedTuple):
    """A time as it is written: what a clock on the wall shows (its `tzinfo` means nothing), and the zone if given."""

    wall: datetime
    zone: tzinfo | None = None
    form: Literal["day", "time", "epoch"] = "time"


def parse_written(value: Json, last_second: int = LAST_SECOND) -> Written:
    """Read a time as it is written, see `parsing.parse_time`.

    Parameters
    ----------
    last_second
        The largest number that counts seconds since 1970.

    Raises
    ------
    ValueError
        It is not a time. `Ambiguous` says what would make it one.
    """
    if isinstance(value, str):
        return _text(value.strip(), last_second)
    if isinstance(value, bool) or value is None:
        raise ValueError("is not a time")
    if isinstance(value, int | float):
        return _text(str(value), last_second) if _COMPACT.fullmatch(str(value)) else _since_1970(value, last_second)
    return _object(value, last_second) if isinstance(value, Mapping) else _array(value)


def _text(value: str, last_second: int) -> Written:
    if len(value) > _LONGEST:
        raise ValueError("is not a time")
    if _EPOCH_TEXT.fullmatch(value) and not _COMPACT.fullmatch(value):
        return _since_1970(float(value) if re.search("[.eE]", value) else int(value), last_second)
    if found := _DOTNET.fullmatch(value):
        return _since_1970(int(found[1]) / 1000, LAST_SECOND)
    value = _YEAR_LAST.sub(r"\1 \2 \4 \3", value.replace("\u202f", " ").replace("\xa0", " "))
    if _YEAR_OF_TWO_DIGITS.fullmatch(value):
        raise Ambiguous("write the year with four digits")
    if not (found := _SPELLING.fullmatch(value)):
        raise ValueError("is not a time")
    said = {name.rstrip("23456"): part for name, part in found.groupdict().items() if part is not None}
    if found["month6"]:
        said |= _day_and_month(found["day6"], found["month6"])
    month = int(said["month"]) if "month" in said else _month(said["name"])
    if "half" in said:
        if "T" in value.upper() and found["year"]:
            raise ValueError("is half of each of two forms")
        said["hour"] = _of_24_hours(int(said["hour"]), said["half"])
    hour, minute, second = (int(said.get(name, 0)) for name in ("hour", "minute", "second"))
    microsecond = int(said.get("fraction", "")[:6].ljust(6, "0"))
    wall = _wall(int(said["year"]), month, int(said["day"]), hour, minute, second, microsecond)
    return Written(wall, _zone(said), "time" if "hour" in said else "day")


def _month(name: str) -> int:
    known = (number for number, month in enumerate(_MONTHS, 1) if name.lower() in {month, month[:3], month[:4]})
    if not (found := next(known, 0)):
        raise ValueError("is not a time")
    return found


def _day_and_month(one: str, other: str) -> dict[str, str]:
    """Return day and month apart where only one of two numbers can be the month."""
    if int(one) <= 12 and int(other) <= 12 and int(one) != int(other):
        raise Ambiguous("write year, month and day in this order")
    return {"day": one, "month": other} if int(other) <= 12 else {"day": other, "month": one}


def _of_24_hours(hour: int, half: str) -> str:
    if not 1 <= hour <= 12:
        raise ValueError("is not a time")
    return str(hour % 12 + (12 if half in "pP" else 0))


def _zone(said: Mapping[str, str]) -> tzinfo | None:
    if "abbreviation" in said:
        if said["abbreviation"] not in _HOURS_OF_ZONES:
            raise ValueError("is in an unknown zone")
        return timezone(timedelta(hours=_HOURS_OF_ZONES[said["abbreviation"]]))
    if "sign" in said:
        offset = timedelta(hours=int(said["hours"]), minutes=int(said.get("minutes", 0)))
        return timezone(-offset if said["sign"] == "-" else offset)
    if "zone" not in said:
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(said["zone"])
    except (KeyError, OSError):
        raise ValueError("is in an unknown zone") from None


def _array(parts: Sequence[Json]) -> Written:
    """Read the array that Jackson makes of Java's local times: year, month, day, …, second, nanoseconds."""
    numbers = [part for part in parts[:8] if isinstance(part, int) and not isinstance(part, bool)]
    if not 3 <= len(numbers) == len(parts) <= 7 or not all(abs(part) < 10**9 for part in numbers):
        raise ValueError("is not a time")
    year, month, day, *clock = numbers
    hour, minute, second, nanoseconds = (*clock, 0, 0, 0, 0)[:4]
    return Written(_wall(year, month, day, hour, minute, second, nanoseconds // 1000), None, "time" if clock else "day")


def _object(value: Mapping[str, Json], last_second: int) -> Written:
    """Read a time that is wrapped (``{"$date": …}``), or Java's and Protobuf's: two numbers, or the parts of a day."""
    # Gson writes a LocalDateTime as a date and a time.
    date, time = value.get("date"), value.get("time")
    parts = {**date, **time} if isinstance(date, Mapping) and isinstance(time, Mapping) else value
    if "year" in parts:
        return _parts(parts)
    inner = value.get("$date", value.get("$time"))
    if isinstance(inner, Mapping):
        inner = inner.get("$numberLong")
    if isinstance(inner, str | int | float):
        return parse_written(inner, last_second)
    seconds = value.get("seconds", value.get("epochSecond"))
    if isinstance(seconds, str) and re.fullmatch("-?[0-9]{1,12}", seconds, re.ASCII):
        seconds = int(seconds)
    if len(value) != 2 or isinstance(seconds, bool) or not isinstance(seconds, int):
        raise ValueError("is not a time")
    return _since_1970(seconds, LAST_SECOND)


def _parts(value: Mapping[str, Json]) -> Written:
    found = [next((value[name] for name in names if name in value), None) for names in _JAVA_FIELDS]
    if isinstance(month := found[1], str):
        found[1] = _month(month)
    count = next((place for place, part in enumerate(found) if part is None), len(found))
    wall, _, form = _array(found[:count])
    offset = value.get("offset")
    seconds = offset.get("totalSeconds") if isinstance(offset, Mapping) else None
    zone = timezone(timedelta(seconds=seconds)) if isinstance(seconds, int) and abs(seconds) < 86_400 else None
    return Written(wall, zone, form)


def _wall(year: int, month: int, day: int, hour: int, minute: int, second: int, microsecond: int) -> datetime:
    if not 1 <= year <= 9999:
        return FIRST if year < 1 else LAST
    if second > 60 or (hour == 24 and (minute or second or microsecond)):
        raise ValueError("is not a time")
    # The end of a day, and a leap second, are the beginning of what comes next.
    more = timedelta(days=hour == 24, seconds=second == 60)
    at = datetime(year, month, day, 0 if hour == 24 else hour, minute, min(second, 59), microsecond, UTC)
    return at + more if LAST - at > more else LAST


def _since_1970(count: float, last_second: int) -> Written:
    if not abs(count) <= 2**63 or 1000 <= count <= 9999:  # no clock counts as far; a year alone
        raise ValueError("is not a time")
    scale = next((scale for scale in (1, 10**3, 10**6) if abs(count) < (last_second + 1) * scale), 10**9)
    microseconds = count * 10**6 // scale if isinstance(count, int) else round(count * (10**6 / scale))
    try:
        return Written(_EPOCH + timedelta(microseconds=microseconds), form="epoch")
    except OverflowError:
        return Written(FIRST if count < 0 else LAST, form="epoch")
