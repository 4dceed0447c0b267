"""Activity of each program in the last 90 days: call statistics and error history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.activity.recorder import Recorder

if TYPE_CHECKING:
    from loyalty_bridge.activity.store import (
        Counts,
        Day,
        ErrorLine,
        ErrorPage,
        FieldCount,
        errors,
        statistics,
        unknown_fields,
        write,
    )

__all__ = [
    "Counts",
    "Day",
    "ErrorLine",
    "ErrorPage",
    "FieldCount",
    "Recorder",
    "errors",
    "statistics",
    "unknown_fields",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import the store on first use: a look-up starts without it."""
    if name not in __all__:
        raise AttributeError(name)
    from loyalty_bridge.activity import store

    return getattr(store, name)
