"""Fields that may tell who a person is, by their names: what a mapping does not name is not sent when it may."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from loyalty_bridge.model import Json
from loyalty_bridge.sources import reading

WITHHELD = "may tell who the person is"
_PERSONAL = re.compile(
    "mail|phone|mobile|birth|gender|salutation|(first|last|given|family|sur|maiden|nick|full)name"
    "|(user|member|customer|owner|guest|contact|person|buyer|recipient|payer|cashier|employee|clerk|manager|friend"
    "|refer(r?er|ee)|holder)s?name"
    "|iban|bic$|token|passw|secret|credential|card(number|no|code)|identifier"
    "|passport|ssn|tax(id|number)|device|ipaddr|^ip$"
)
_PLACE = re.compile("street|address|zip|postal|postcode|(?<!capa)(?<!velo)city|latitude|longitude|^lat$|^lon$|^lng$")
"""Where a person lives; but of a store or a partner, where it is."""
_BUSINESS = re.compile("(store|shop|branch|partner|merchant|company|location)s?$")
_ADDRESS_OR_PHONE = re.compile(r"\S@[^\s@]{1,255}\.\w|^\s*\+[0-9][0-9 ()/-]{6,20}$")
_LONGEST = 200
_LONGEST_CACHED = 64


def is_personal(name: str, parent: str = "") -> bool:
    """Tell whether a field may be personal; a name that is too long to tell may.

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
    own, around = (re.sub(r"[\W_]+", "", one).lower() for one in (name, parent))
    if _PERSONAL.search(own) or (own == "name" and _PERSONAL.search(around + own)):
        return True
    return not _BUSINESS.search(around) and _PLACE.search(own) is not None


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
    if reading.is_blank(value) or (isinstance(value, str) and _ADDRESS_OR_PHONE.search(value)):
        return None
    return reading.plain(value) if isinstance(value, float) else value


def withheld_in(value: Json, path: str, parent: str | None = None) -> Iterator[str]:
    """Give the paths of what `without_personal` leaves out of an object or array because it may be personal."""
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
    """Give the name of a personal field that is written as an object of its name and its value; else nothing."""
    name = next((value[key] for key in ("name", "key", "type") if isinstance(value.get(key), str)), None)
    return name if isinstance(name, str) and "value" in value and is_personal(name) else ""
