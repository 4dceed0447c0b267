"""Validation of members' ids, of events, actions and lookups alike."""

from __future__ import annotations

import re

from loyalty_bridge.errors import Invalid

_UNRENDERED = re.compile(r"\{\{|\}\}|\{%|%\}|\$\{")
"""Parts of variables that a template engine did not render."""
_OBJECT = re.compile(r"\[object \w+\]", re.IGNORECASE)
"""An object that JavaScript converted to text."""
_NO_VALUE = frozenset({
    "undefined", "null", "nil", "none", "nan", "inf", "infinity", "n/a", "na", "empty", "not set", "blank", "true",
    "false", "unknown", "anonymous", "%!s(<nil>)", "#ref!", "#value!", "#name?", "#error!", "\\n",
    "00000000-0000-0000-0000-000000000000",
})  # fmt: skip
"""Words of programming languages, databases and exports for a missing value, in lower case."""
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
_BLANK_GLYPH = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that are printable but invisible (Unicode's Default_Ignorable_Code_Point, and a blank)."""


def check_member_id(value: str, field: str) -> None:
    """Check that a text can be the id of one member.

    A word for "no value" would merge many members into one profile; an invisible character would make a second profile
    of the same member.

    Raises
    ------
    Invalid
        It cannot; `field` is the path of the text.
    """
    word = value.strip().lower()
    if not word:
        raise Invalid(field, "is blank")
    if not value.isprintable() or _BLANK_GLYPH.search(value):
        raise Invalid(field, "holds an invisible character")
    if is_placeholder(word):
        raise Invalid(field, "is no id: it is how a missing value is written")
    if _UNRENDERED.search(value):
        raise Invalid(field, "was not rendered by the template")


def is_placeholder(text: str) -> bool:
    """Return whether a text is a word for a missing value, also in brackets or quotes, or a list of such words."""
    word = text.strip().lower()
    parts = [_AROUND.sub("", part) for part in re.split(r"[\s,;|:_-]+", _OBJECT.sub("", word))]
    return (
        word in _NO_VALUE or _AROUND.sub("", word) in _NO_VALUE or all(not part or part in _NO_VALUE for part in parts)
    )
