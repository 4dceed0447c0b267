"""What functions note while they work: counters and errors, gathered without any I/O until they are written.

No personal data: an error names the field and the reason, a source event or an action by its id, and never a member.
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
"""Upper bounds of the latency histogram (ms); what is slower is in a last bucket without a bound."""
EVENTS = ("received", "sent", "suppressed", "rejected", "held", "released", "not_connected")
"""How source events are counted."""
UNKNOWN_FIELD = "unknown_field"
"""The code under which fields of events are counted that a mapping does not name; they are no errors."""
MAX_ERRORS = 25
"""Different errors of a program that one writing tells; what is beyond is one line."""

_EVENT_ENDPOINTS = {"forward_events", "release_held", "receive_events", "punchh_webhook", "loyalty_webhook"}
_DEPLOYED = re.compile(r"-([A-Z][A-Za-z0-9]*)-[A-Za-z0-9]+$")
_PERSONAL = re.compile(r"\S*@\S*|\+?\d[\d /()-]{6,}\d|cvc_\S+")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class ErrorKey:
    """What errors have in common that are one line of a day."""

    program: str
    day: str
    endpoint: str
    platform: str
    code: str
    reason: str


@dataclass(slots=True)
class ErrorCount:
    """How often and when (epoch seconds) a problem was seen, and on which records."""

    count: int
    first: float
    last: float
    records: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Recorder:
    """What was noted and is not written yet; threads may note at once.

    Attributes
    ----------
    counts
        By program, day (``2026-03-01``) and endpoint.
    since
        When the first of it was noted (of `time.monotonic`).
    """

    counts: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)
    problems: dict[ErrorKey, ErrorCount] = field(default_factory=dict)
    since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, program: str, endpoint: str, numbers: Mapping[str, int]) -> None:
        """Add to counters of an endpoint."""
        key = (program, _utc_day(time.time()), endpoint)
        told = {name: number for name, number in numbers.items() if number}
        if told:
            with self._lock:
                self.since = self.since or time.monotonic()
                self.counts.setdefault(key, Counter()).update(told)

    def event(self, program: str, endpoint: str, *outcomes: str, count: int = 1) -> None:
        """Count source events, by `EVENTS`."""
        self.count(program, endpoint, {f"events.{outcome}": count for outcome in outcomes})

    def call(self, program: str, endpoint: str, outcome: str, seconds: float | None = None, count: int = 1) -> None:
        """Count calls by outcome, with the latency of one."""
        self.count(program, endpoint, {f"calls.{outcome}": count})
        if seconds is not None:
            self.latency(program, endpoint, seconds)

    def latency(self, program: str, endpoint: str, seconds: float) -> None:
        """Count one into the histogram."""
        at = bisect_left(BUCKETS, seconds * 1000)
        self.count(program, endpoint, {f"ms.{BUCKETS[at] if at < len(BUCKETS) else 'more'}": 1})

    def problem(
        self, program: str, endpoint: str, platform: str, code: str, reason: str, record: str = "", count: int = 1
    ) -> None:
        """Note an error.

        Parameters
        ----------
        reason
            Without personal data.
        record
            Id of the source event or the action that it is about. An id that may be more than an id is left out.
        """
        now = time.time()
        # Which record it is about must not make equal errors different.
        why = redact(reason.replace(f" {record}", "") if record else reason)
        key = ErrorKey(program, _utc_day(now), endpoint, platform, code[:64], why[:300])
        with self._lock:
            self.since = self.since or time.monotonic()
            if key not in self.problems and self._number_of_kind(program, code) >= MAX_ERRORS:
                is_field = code == UNKNOWN_FIELD
                code, why = (code, "further fields") if is_field else ("more", "further errors at the same time")
                key = ErrorKey(program, _utc_day(now), endpoint, platform, code, why)
            seen = self.problems.setdefault(key, ErrorCount(0, now, now))
            seen.count += count
            seen.last = now
            if _PLAIN_ID.fullmatch(record):
                seen.records.add(record)

    def _number_of_kind(self, program: str, code: str) -> int:
        is_field = code == UNKNOWN_FIELD
        return sum(one.program == program and (one.code == UNKNOWN_FIELD) == is_field for one in self.problems)

    def take(self) -> Recorder:
        """Give what was noted and begin anew."""
        with self._lock:
            taken = Recorder(self.counts, self.problems, self.since)
            self.counts, self.problems, self.since = {}, {}, 0.0
        return taken

    def size(self) -> int:
        """Tell how many items it takes to write it."""
        return len(self.counts) + len(self.problems)


def redact(text: str) -> str:
    """Take out what looks like an e-mail address, a phone number or a key: names of fields may hold anything."""
    return _PERSONAL.sub("…", text)


def endpoint(function: str) -> str:
    """Tell a function by the name of its folder: CloudFormation calls it ``<stack>-<LogicalId>-<random>``."""
    deployed = _DEPLOYED.search(function)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", deployed[1]).lower() if deployed else function.replace("-", "_")


def direction(endpoint: str) -> Direction:
    """Tell which way an endpoint leads: events to the engagement platform, or calls to the loyalty platform."""
    return "to_engagement" if endpoint in _EVENT_ENDPOINTS else "to_loyalty"


def _utc_day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()
