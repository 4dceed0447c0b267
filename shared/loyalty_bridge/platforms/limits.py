"""What the limits of engagement platforms have in common."""

from __future__ import annotations

import re
from functools import lru_cache

UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that no engagement platform stores: null bytes and lone surrogates."""


def printable_name(name: str) -> str:
    """Return the beginning of a name as it can stand in the path of an error."""
    return _printable(name[:64])


@lru_cache(maxsize=4096)
def _printable(text: str) -> str:
    return UNUSABLE.sub("?", text)
