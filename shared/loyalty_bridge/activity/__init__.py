"""What the bridge did for each program in the last 90 days: call statistics and error history."""

from __future__ import annotations

from loyalty_bridge.activity.store import Counts, Day, ErrorLine, ErrorPage, errors, statistics, write
from loyalty_bridge.activity.tally import NOBODY, Tally

__all__ = ["NOBODY", "Counts", "Day", "ErrorLine", "ErrorPage", "Tally", "errors", "statistics", "write"]
