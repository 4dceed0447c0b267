"""The answer to an action's caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and a JSON object."""

    status: int
    body: Mapping[str, Any]
