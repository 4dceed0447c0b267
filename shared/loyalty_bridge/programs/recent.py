"""Cache of programs that this container has read in the last seconds, so that lookups need not read them each time.

A partition of DynamoDB gives 3,000 strongly consistent reads a second, and all of a program is in one:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
So a lookup reads only its caller's key each time, and the rest once in `KEPT_SECONDS`. An operator's save takes effect
within that time, a revoked key at once. Decisions about order, such as the forwarder's, never use this cache.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loyalty_bridge import clocks

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program

KEPT_SECONDS = 5.0
MAX_PROGRAMS = 64
"""Limit of cached programs."""

_lock = threading.Lock()
_kept: dict[tuple[str, str], tuple[clocks.Moment, Program, Mapping[str, Mapping[str, Any]]]] = {}
"""Oldest first, by table and program."""


def get(table: str, program: str) -> tuple[Program, Mapping[str, Mapping[str, Any]]] | None:
    """Return a cached program, and items of its partition by their sort keys; None if there is none."""
    kept = _kept.get((table, program))
    return None if kept is None or clocks.is_past(kept[0], KEPT_SECONDS) else kept[1:]


def keep(table: str, program: Program, items: Mapping[str, Mapping[str, Any]]) -> None:
    """Cache a program; the oldest one makes room."""
    with _lock:
        _kept.pop((table, program.id), None)
        while len(_kept) >= MAX_PROGRAMS:
            del _kept[next(iter(_kept))]
        _kept[table, program.id] = (clocks.moment(), program, items)


def forget(table: str, program: str) -> None:
    """Remove a program that has changed."""
    with _lock:
        _kept.pop((table, program), None)


def clear() -> None:
    """Remove all programs."""
    with _lock:
        _kept.clear()
