"""How Braze reads single values: times, addresses, countries, zones."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from iso3166 import countries
from iso4217 import Currency

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def size(value: Any) -> int:
    """Return how many bytes a value has as compact JSON."""
    return len(_COMPACT.encode(value).encode())


_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:$|[T ])")
_OTHER_DATES = re.compile(r"\d\d/\d\d/\d{4}|[A-Z][a-z]{2} (?:\d\d|[A-Z][a-z]{2}) \d{1,2} \d\d:\d\d:\d\d\.?\s?\S+ \d{4}")


_COLON_MILLISECONDS = re.compile(r"(?<=:\d\d:\d\d):(?=\d{3})")


def read_time(value: Any) -> datetime | None:
    """Read ISO 8601 or ``yyyy-MM-ddTHH:mm:ss:SSSZ`` (event_object); no zone means UTC; None when it is neither."""
    if not isinstance(value, str) or not _DATE.match(value):
        return None
    try:
        time = datetime.fromisoformat(_COLON_MILLISECONDS.sub(".", value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def is_date(value: Any) -> bool:
    """Return whether Braze takes a string for a date (data_types); a year above 3000 stays a string."""
    time = read_time(value)
    return time.year <= 3000 if time else isinstance(value, str) and bool(_OTHER_DATES.fullmatch(value))


def phone(value: Any) -> str | None:
    """Normalise a phone number: E.164, or ten digits of the US (sms/user_phone_numbers); None when it is neither."""
    digits = re.sub(r"[^0-9+]", "", value) if isinstance(value, str) else ""
    if len(digits) == 10 and "+" not in digits:
        digits = f"+1{digits}"
    return digits if re.fullmatch(r"\+[1-9][0-9]{6,14}", digits) else None


def country(value: Any) -> str | None:
    """Map a country to its alpha-2 code as far as it is known (user_attributes_object)."""
    found = countries.get(value, None) if isinstance(value, str) else None
    return found.alpha2 if found else None


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_ASCII_LOCAL = frozenset("-^+$'&#/%*=`|~!?_.")
_HOST = re.compile(
    r"[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?(?:\.[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?)+", re.ASCII | re.IGNORECASE
)


def is_email(value: Any) -> bool:
    """Return whether Braze takes an e-mail address (channels/email/email_setup/email_validation)."""
    local, at, host = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    if not at or not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit() or not 1 <= len(local) <= 64:
        return False
    if any(name in host.lower() for name in ("msn", "hotmail", "outlook", "live")):
        return bool(re.fullmatch(r"\w[\-\w]*(?:\.[\-\w]+)*", local.partition("+")[0], re.ASCII))
    if host.lower() in {"gmail.com", "googlemail.com"} and len(local) < 2:
        return False
    return "." not in {local[0], local[-1]} and all(map(_is_local, local))


def _is_local(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _ASCII_LOCAL
    return unicodedata.category(character)[0] in "LMNPS"


_LANGUAGES = """
af agq ak am ar as asa ay az bas be bem bez bg bm bn bo br brx bs ca cgg chr cs cy da dav de dje dua dyo dz ebu ee el
en eo es et eu ewo fa ff fi fil fo fr ga gd gl gn gsw gu guz gv ha haw he hi hr hu hy id ig ii is it iu ja jmc jv ka
kab kam kde kea khq ki kk kl kln km kn ko kok ks ksb ksf ku kw ky la lb lg ln lo lt lu luo luy lv mas mer mfe mg mgh
mk ml mn mo mr ms mt mua my naq nb nd ne nl nn nus nyn om or pa pl ps pt qu rm rn ro rof ru rw rwk sa saq sbp sd se
seh ses shi si sk sl sn so sq sr su sv sw swc ta te teo tg th ti tk tl to tr tt twq tzm ug uk ur uz vai vi vun xh xog
yav yi yo zh zu
"""
LANGUAGES = frozenset(_LANGUAGES.split())
"""The codes that Braze knows (data/user_data_collection/language_codes)."""


def is_zone(value: Any) -> bool:
    try:
        return bool(is_text(value) and ZoneInfo(value))
    except (KeyError, OSError, ValueError):  # unknown, a folder of zones, outside of them
        return False


def is_location(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(value.get(axis)) for axis in ("longitude", "latitude"))


def is_birthday(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)) and read_time(value) is not None


# The list of the SDKs has withdrawn currencies, too: https://github.com/braze-inc/braze-web-sdk (logPurchase).
_ONLY_BRAZE = "ANG BGN BTC BYR CUC EEK GGP HRK IMP JEP LTL LVL MRO MTL NAD SLL STD VEF ZMK ZWL"
CURRENCIES = frozenset(currency.code for currency in Currency) | frozenset(_ONLY_BRAZE.split())
