"""What cannot be a member's id, wherever it comes from: an event, an action or a lookup."""

from __future__ import annotations

import re

from loyalty_bridge.errors import Invalid

_UNRENDERED = re.compile(r"\{\{|\}\}|\{%|%\}|\$\{")
"""What a template engine leaves of a variable that it did not render."""
_OBJECT = re.compile(r"\[object \w+\]", re.IGNORECASE)
"""How JavaScript writes an object in a text."""
_NO_VALUE = frozenset({
    "undefined", "null", "nil", "none", "nan", "inf", "infinity", "n/a", "na", "empty", "not set", "blank", "true",
    "false", "unknown", "anonymous", "%!s(<nil>)", "#ref!", "#value!", "#name?", "#error!", "\\n",
    "00000000-0000-0000-0000-000000000000",
})  # fmt: skip
"""How programming languages, databases and exports write that there is no value; in lower case."""
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
_BLANK_GLYPH = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and show nothing (Unicode's Default_Ignorable_Code_Point, and a blank)."""


def check_member_id(value: str, field: str) -> None:
    """Check that a text can be the id of one member.

    A word for "no value" would put the data of many members on one profile; an invisible character would make a second
    profile of the same member.

    Raises
    ------
    Invalid
        Naming `field`.
    """
    word = value.strip().lower()
    if not word:
        raise Invalid(field, "is blank")
    if not value.isprintable() or _BLANK_GLYPH.search(value):
        raise Invalid(field, "holds an invisible character")
    if says_nothing(word):
        raise Invalid(field, "is no id: it is how a missing value is written")
    if _UNRENDERED.search(value):
        raise Invalid(field, "was not rendered by the template")


def says_nothing(text: str) -> bool:
    """Tell whether a text is the word for a missing value, in brackets or quotes too, or a list of such words."""
    word = text.strip().lower()
    parts = [_AROUND.sub("", part) for part in re.split(r"[\s,;|:_-]+", _OBJECT.sub("", word))]
    return (
        word in _NO_VALUE or _AROUND.sub("", word) in _NO_VALUE or all(not part or part in _NO_VALUE for part in parts)
    )
