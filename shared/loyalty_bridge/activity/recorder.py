"""Counters and errors, collected in memory without I/O until they are written.

No personal data: an error names field and reason, and a source event or an action by its id, but never a member.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Direction = Literal["to_engagement", "to_loyalty"]

BUCKETS = (25, 50, 100, 250, 500, 1_000, 1_500, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000)
"""Upper bounds of the latency histogram (ms); a last bucket without a bound follows."""
EVENTS = ("received", "sent", "suppressed", "rejected", "held", "released", "not_connected")
"""Outcomes of source events."""
UNKNOWN_FIELD = "unknown_field"
"""Code of event fields that a mapping does not name; they are counted, but are no errors."""
MAX_ERRORS = 25
"""Limit of different errors of a program in one write; one line counts the rest."""

_EVENT_ENDPOINTS = {"forward_events", "release_held", "receive_events"}
_DEPLOYED = re.compile(r"-([A-Z][A-Za-z0-9]*)-[A-Za-z0-9]+$")
_PERSONAL = re.compile(r"\S*@\S*|\+?\d[\d /()-]{6,}\d|cvc_\S+")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class ErrorKey:
    """Fields that errors of one line have in common."""

    program: str
    day: str
    endpoint: str
    platform: str
    code: str
    reason: str


@dataclass(slots=True)
class ErrorCount:
    """How often and when (epoch seconds) an error occurred, and on which records."""

    count: int
    first: float
    last: float
    records: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Recorder:
    """Activity that is not written yet; threads may record at the same time.

    Attributes
    ----------
    counts
        By program, day (``2026-03-01``) and endpoint.
    since
        Time of the first entry (of `time.monotonic`).
    """

    counts: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)
    problems: dict[ErrorKey, ErrorCount] = field(default_factory=dict)
    since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, program: str, endpoint: str, numbers: Mapping[str, int]) -> None:
        """Add to counters of an endpoint."""
        key = (program, _utc_day(time.time()), endpoint)
        nonzero = {name: number for name, number in numbers.items() if number}
        if nonzero:
            with self._lock:
                self.since = self.since or time.monotonic()
                self.counts.setdefault(key, Counter()).update(nonzero)

    def event(self, program: str, endpoint: str, *outcomes: str, count: int = 1) -> None:
        """Count source events by outcome (`EVENTS`)."""
        self.count(program, endpoint, {f"events.{outcome}": count for outcome in outcomes})

    def call(self, program: str, endpoint: str, outcome: str, seconds: float | None = None, count: int = 1) -> None:
        """Count calls by outcome, with the latency in seconds of one."""
        self.count(program, endpoint, {f"calls.{outcome}": count})
        if seconds is not None:
            self.latency(program, endpoint, seconds)

    def latency(self, program: str, endpoint: str, seconds: float) -> None:
        """Add one latency to the histogram."""
        at = bisect_left(BUCKETS, seconds * 1000)
        self.count(program, endpoint, {f"ms.{BUCKETS[at] if at < len(BUCKETS) else 'more'}": 1})

    def problem(
        self, program: str, endpoint: str, platform: str, code: str, reason: str, record: str = "", count: int = 1
    ) -> None:
        """Record an error.

        Parameters
        ----------
        reason
            Without personal data.
        record
            Id of its source event or action. An id that may hold personal data is left out.
        """
        now = time.time()
        # The record's id must not make equal errors different.
        short = redact(reason.replace(f" {record}", "") if record else reason)
        key = ErrorKey(program, _utc_day(now), endpoint, platform, code[:64], short[:300])
        with self._lock:
            self.since = self.since or time.monotonic()
            if key not in self.problems and self._number_of_kind(program, code) >= MAX_ERRORS:
                is_field = code == UNKNOWN_FIELD
                code, short = (code, "further fields") if is_field else ("more", "further errors at the same time")
                key = ErrorKey(program, _utc_day(now), endpoint, platform, code, short)
            seen = self.problems.setdefault(key, ErrorCount(0, now, now))
            seen.count += count
            seen.last = now
            if _PLAIN_ID.fullmatch(record):
                seen.records.add(record)

    def _number_of_kind(self, program: str, code: str) -> int:
        is_field = code == UNKNOWN_FIELD
        return sum(one.program == program and (one.code == UNKNOWN_FIELD) == is_field for one in self.problems)

    def take(self) -> Recorder:
        """Return the recorded activity, and start empty."""
        with self._lock:
            taken = Recorder(self.counts, self.problems, self.since)
            self.counts, self.problems, self.since = {}, {}, 0.0
        return taken

    def size(self) -> int:
        """Return how many writes the recorded activity takes."""
        return len(self.counts) + len(self.problems)


def redact(text: str) -> str:
    """Remove text like e-mail addresses, phone numbers and keys: field names may hold anything."""
    return _PERSONAL.sub("…", text)


def endpoint(function: str) -> str:
    """Return the folder name of a function; CloudFormation names it ``<stack>-<LogicalId>-<random>``."""
    deployed = _DEPLOYED.search(function)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", deployed[1]).lower() if deployed else function.replace("-", "_")


def direction(endpoint: str) -> Direction:
    """Return the direction of an endpoint: events to the engagement platform, or calls to the loyalty platform."""
    return "to_engagement" if endpoint in _EVENT_ENDPOINTS or endpoint.endswith("_webhook") else "to_loyalty"


def _utc_day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()
