"""Fields that may tell who a person is, by their names: what a mapping does not name is not sent when it may."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from loyalty_bridge.model import Json
from loyalty_bridge.sources import reading

WITHHELD = "may tell who the person is"
_PERSONAL = re.compile(
    "mail|phone|mobile|birth|gender|salutation|(first|last|given|family|sur|maiden|nick|full|user|member|customer|owner)name"
    "|street|address|zip|postal|postcode|city|iban|bic$|token|passw|secret|credential|card(number|no|code)|identifier"
    "|passport|ssn|tax(id|number)|device|ipaddr|^ip$|latitude|longitude|^lat$|^lon$|^lng$"
)
_LONGEST = 200


def is_personal(name: str) -> bool:
    """Tell whether a field of a name may be personal; a name that is too long to tell may."""
    return len(name) > _LONGEST or _PERSONAL.search(re.sub(r"[\W_]+", "", name).lower()) is not None


def without_personal(value: Json) -> Json:
    """Copy a value without what may be personal or says nothing, at every depth; None when nothing is left."""
    if isinstance(value, Mapping):
        kept = {
            key: inner
            for key, item in value.items()
            if not is_personal(key) and (inner := without_personal(item)) is not None
        }
        return kept or None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [inner for item in value if (inner := without_personal(item)) is not None] or None
    if reading.is_blank(value) or (isinstance(value, str) and "@" in value):
        return None
    return reading.plain(value) if isinstance(value, float) else value
