"""What a container read of a program within the last seconds, so that lookups do not read it each time.

A partition of DynamoDB gives 3,000 strongly consistent reads a second, and all of a program is in one:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
So a lookup reads its caller's key alone, and the rest once in `KEPT_SECONDS`. An operator's save counts within that
time; the key counts at once. What decides about order, such as the forwarder's view of a gate, does not come from here.
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
"""Programs of which something is kept."""

_lock = threading.Lock()
_kept: dict[tuple[str, str], tuple[clocks.Moment, Program, Mapping[str, Mapping[str, Any]]]] = {}
"""Oldest first, by table and program."""


def get(table: str, program: str) -> tuple[Program, Mapping[str, Mapping[str, Any]]] | None:
    """Give a program as it was read lately, and items of its partition by their sort keys."""
    kept = _kept.get((table, program))
    return None if kept is None or clocks.is_past(kept[0], KEPT_SECONDS) else kept[1:]


def keep(table: str, program: Program, items: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what was just read; the oldest makes room."""
    with _lock:
        _kept.pop((table, program.id), None)
        while len(_kept) >= MAX_PROGRAMS:
            del _kept[next(iter(_kept))]
        _kept[table, program.id] = (clocks.moment(), program, items)


def forget(table: str, program: str) -> None:
    """Read a program again when it is next needed: it has changed."""
    with _lock:
        _kept.pop((table, program), None)


def clear() -> None:
    """Read every program again."""
    with _lock:
        _kept.clear()
