"""Fields that may show who a person is, judged by their names; unknown fields of that kind are not sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from loyalty_bridge.model import Json
from loyalty_bridge.platforms import parsing

WITHHELD = "may show who the person is"
_PERSONS = (
    "user|member|customer|owner|guest|contact|person|buyer|recipient|payer|cashier|employee|clerk|manager|"
    "friend|referer|referrer|referee|holder"
)
_PERSONAL_WORDS = (
    "mail|mails|email|emails|phone|phones|telephone|mobile|mobiles|birth|birthday|birthdate|gender|"
    "salutation|surname|nickname|iban|bic|token|password|passwords|passwd|passcode|secret|secrets|"
    "credential|credentials|identifier|identifiers|passport|ssn|device|devices|ip"
)
_PLACE_WORDS = (
    "street|streets|address|addresses|zip|zipcode|postal|postcode|postalcode|city|latitude|longitude|lat|lon|lng"
)
_QUALIFIERS = (
    "first|last|given|family|maiden|full|middle|name|names|card|tax|id|number|no|nr|code|value|text|date|"
    "day|year|home|work|private|business|billing|shipping|delivery|mailing|primary|secondary|auth|access|"
    "refresh|bearer|push|session|line|hash|model|app|type|status|count|opt|in|out"
)
_HARMLESS_LAST = (
    "app|apps|brand|balance|bounced|campaign|category|channel|clicked|class|confirmed|count|counts|earned|"
    "enabled|expired|fee|in|kind|model|models|opened|os|out|platform|points|price|redeemed|required|sent|"
    "spent|status|subscribed|subscription|system|template|total|type|types|used|valid|verified|version"
)
"""What is described by such a word, as the last of a name, is no longer the person: ``phoneModel``, ``mobileApp``."""
_TERMS = re.compile(
    rf"\b(?:{_PERSONAL_WORDS}|(?:first|last|given|family|sur|maiden|nick|full|middle) names?"
    rf"|(?:{_PERSONS})s? names?|card (?:number|no|nr|code)|tax (?:id|number|no))\b"
)
_PLACE = re.compile(rf"\b(?:{_PLACE_WORDS}|post code)\b")
"""Where a person lives; but of a store or a partner, where it is."""
_STEMS = re.compile("e?mail(?!ing)|phone|passw|birth(da|of)|(first|last|sur|user)name")
"""What a word may hold that is written together with words that are not known here."""
_KNOWN = sorted(set("|".join((_PERSONS, _PERSONAL_WORDS, _PLACE_WORDS, _QUALIFIERS)).split("|")), key=len, reverse=True)
_HARMLESS = frozenset(_HARMLESS_LAST.split("|"))
_BUSINESS = re.compile(r"\b(store|shop|branch|partner|merchant|company|location)s?$")
_ADDRESS_OR_PHONE = re.compile(r"\S@[^\s@]{1,255}\.\w|^\s*\+[0-9][0-9 ()/-]{6,20}$")
_LONGEST = 200
_LONGEST_CACHED = 64
_LONGEST_JOINED = 40


def is_personal(name: str, parent: str = "") -> bool:
    """Return whether a field may be personal; a name too long to judge counts as personal.

    Parameters
    ----------
    parent
        The field that it is in: a ``name`` is personal in ``customer``, and a ``city`` is not in ``store``.
    """
    short = len(name) <= _LONGEST_CACHED and len(parent) <= _LONGEST_CACHED
    return _is_personal(name, parent) if short else _is_personal.__wrapped__(name[: _LONGEST + 1], parent[:_LONGEST])


@lru_cache(maxsize=4096)
def _is_personal(name: str, parent: str) -> bool:
    if len(name) > _LONGEST:
        return True
    own, around = _words(name), _words(parent)
    joined = own.replace(" ", "")
    own = _apart(joined) or own
    if own.rpartition(" ")[2] in _HARMLESS:
        return False
    if _TERMS.search(own) or (own == "name" and _TERMS.search(f"{around} {own}")):
        return True
    if own == joined and _STEMS.search(own):
        return True
    return not _BUSINESS.search(around) and _PLACE.search(own) is not None


def _words(name: str) -> str:
    """Return the words of a name, in lower case: of ``homePhone_2``, ``home phone``."""
    spaced = re.sub(r"(?<=[^\W\dA-Z_])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.sub(r"[\W\d_]+", " ", spaced).strip().lower()


def _apart(joined: str) -> str:
    """Take known words apart that are written together; empty when there are others between them."""
    if len(joined) > _LONGEST_JOINED:
        return ""
    for known in _KNOWN:
        if joined == known:
            return known
        if joined.startswith(known) and (rest := _apart(joined[len(known) :])):
            return f"{known} {rest}"
    return ""


def without_personal(value: Json, parent: str = "") -> Json:
    """Copy a value without what may be personal or says nothing, at every depth; None when nothing is left.

    Parameters
    ----------
    parent
        The name of the field.
    """
    if isinstance(value, Mapping):
        if _personal_name(value):
            return None
        kept = {
            key: inner
            for key, item in value.items()
            if not is_personal(key, parent) and (inner := without_personal(item, key)) is not None
        }
        return kept or None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [inner for item in value if (inner := without_personal(item, parent)) is not None] or None
    if parsing.is_blank(value) or (isinstance(value, str) and _ADDRESS_OR_PHONE.search(value)):
        return None
    return parsing.canonical_number(value) if isinstance(value, float) else value


def withheld_in(value: Json, path: str, parent: str | None = None) -> Iterator[str]:
    """Return the paths of what `without_personal` leaves out of an object or array because it may be personal."""
    parent = path if parent is None else parent
    if isinstance(value, Mapping):
        if name := _personal_name(value):
            yield f"{path}.{name[:_LONGEST_CACHED]}"
            return
        for key, item in value.items():
            inner = f"{path}.{key[:_LONGEST_CACHED]}"
            if is_personal(key, parent):
                yield inner
            else:
                yield from withheld_in(item, inner, key)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from withheld_in(item, f"{path}[]", parent)
    elif isinstance(value, str) and _ADDRESS_OR_PHONE.search(value):
        yield path


def _personal_name(value: Mapping[str, Json]) -> str:
    """Return the name of a personal field that is written as an object of its name and its value; else nothing."""
    name = next((value[key] for key in ("name", "key", "type") if isinstance(value.get(key), str)), None)
    return name if isinstance(name, str) and "value" in value and is_personal(name) else ""
