"""Statistics as JSON values, for the command line, the operator's page and its API."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loyalty_bridge.activity.store import Counts, Day


def totals(days: Sequence[Day]) -> dict[str, Counts]:
    """Return the sums over days, by endpoint."""
    sums: dict[str, Counts] = {}
    for day in days:
        for name, counts in day.endpoints.items():
            sums[name] = sums.get(name, Counts()) + counts
    return dict(sorted(sums.items()))


def numbers(counts: Counts) -> dict[str, Any]:
    """Return counters and latency percentiles; a percentile beyond the last bucket is None."""
    percentiles = {"p50_ms": counts.percentile(0.5), "p99_ms": counts.percentile(0.99)}
    # JSON has no infinity.
    bounds = {
        name: bound if bound is not None and math.isfinite(bound) else None for name, bound in percentiles.items()
    }
    return {"calls": dict(counts.calls), "events": dict(counts.events), "latency": bounds}


def to_dict(program: str, days: Sequence[Day]) -> dict[str, Any]:
    """Return a program's statistics: of the whole period, and of each day."""
    return {
        "program": program,
        "endpoints": {name: numbers(counts) for name, counts in totals(days).items()},
        "days": [
            {"day": str(day.day), "endpoints": {name: numbers(counts) for name, counts in day.endpoints.items()}}
            for day in days
        ],
    }
