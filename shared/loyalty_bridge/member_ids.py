"""What cannot be a member's id, wherever it comes from: an event, an action or a lookup."""

from __future__ import annotations

import re

from loyalty_bridge.errors import Refused

_UNRENDERED = re.compile(r"\{\{|\}\}|\{%|%\}|\$\{")
"""What a template engine leaves of a variable that it did not render."""
_OBJECT = re.compile(r"\[object [a-z]+\]", re.IGNORECASE)
"""How JavaScript writes an object in a text."""
_NO_VALUE = frozenset({
    "undefined", "null", "(null)", "<null>", "nil", "(nil)", "<nil>", "%!s(<nil>)", "none", "(none)", "<none>", "nan",
    "-nan", "inf", "-inf", "infinity", "-infinity", "n/a", "#n/a", "na", "(empty)", "empty", "(not set)", "(blank)",
    "true", "false", "{}", "[]", "()", '""', "''", "unknown", "anonymous",
})  # fmt: skip
"""How programming languages, databases and exports write that there is no value; in lower case."""
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
    Refused
        Naming `field`.
    """
    word = value.strip().lower()
    if not word:
        raise Refused(field, "is blank")
    if not value.isprintable() or _BLANK_GLYPH.search(value):
        raise Refused(field, "holds an invisible character")
    if word in _NO_VALUE or _OBJECT.fullmatch(word):
        raise Refused(field, "is no id: it is how a missing value is written")
    if _UNRENDERED.search(value):
        raise Refused(field, "was not rendered by the template")
