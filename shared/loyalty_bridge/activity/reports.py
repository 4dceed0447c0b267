"""Statistics as JSON knows them: the same on the command line, on the operator's page and in its API."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loyalty_bridge.activity.store import Counts, Day


def totals(days: Sequence[Day]) -> dict[str, Counts]:
    """Add up what was counted, by endpoint."""
    found: dict[str, Counts] = {}
    for day in days:
        for name, counts in day.endpoints.items():
            found[name] = found.get(name, Counts()) + counts
    return dict(sorted(found.items()))


def numbers(counts: Counts) -> dict[str, Any]:
    """Tell what was counted; latencies as upper bounds, none beyond the last bucket."""
    percentiles = {"p50_ms": counts.percentile(0.5), "p99_ms": counts.percentile(0.99)}
    # Beyond the last bucket there is no bound, for which JSON has no number.
    bounds = {
        name: bound if bound is not None and math.isfinite(bound) else None for name, bound in percentiles.items()
    }
    return {"calls": dict(counts.calls), "events": dict(counts.events), "latency": bounds}


def to_dict(program: str, days: Sequence[Day]) -> dict[str, Any]:
    """Tell a program's statistics: of the whole time, and of each day."""
    return {
        "program": program,
        "endpoints": {name: numbers(counts) for name, counts in totals(days).items()},
        "days": [
            {"day": str(day.day), "endpoints": {name: numbers(counts) for name, counts in day.endpoints.items()}}
            for day in days
        ],
    }
