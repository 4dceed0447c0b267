"""The activity table: statistics of each program and day, and its error history, for 90 days.

    log               line               what
    <program>#<0-3>   <day>#<endpoint>   counters; each container adds to one of four
    <program>#errors  <day>#<hash>       equal errors of a day

So a period is one range of a key, and never reaches back further than 90 days, however late DynamoDB deletes
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ttl-expired-items.html).
"""

from __future__ import annotations

import hashlib
import os
import random
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from itertools import groupby, islice
from typing import Any, Protocol

from loyalty_bridge.activity.recorder import UNKNOWN_FIELD, Direction, ErrorCount, ErrorKey, Recorder, direction
from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.infra import aws

DAYS = 90
SHARDS = 4
"""An item takes a thousand writes a second (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
bp-partition-key-design.html)."""
RECORDS = 16
"""Ids that a line of errors remembers, spread by their hash; of those that share a place, the last."""
FIELDS = 1000
"""Lines of unknown fields of a day, by their hash: a sender may make up names. Of those that share a line, the last."""
PAUSE_SECONDS = 30.0
"""After a failed write, before the next one is tried."""
_paused_until = 0.0


class ActivitySettings(Protocol):
    """Where the activity is kept."""

    @property
    def activity_table(self) -> str:
        """Name of the table; empty: nothing is kept."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted.

    Attributes
    ----------
    calls
        Calls, by outcome: ``ok``, or what went wrong.
    events
        Source events, by `EVENTS`.
    latency
        How many took at most so many milliseconds (`BUCKETS`, or infinity), and more than the bound before.
    """

    calls: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    latency: Counter[float] = field(default_factory=Counter)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.calls + other.calls, self.events + other.events, self.latency + other.latency)

    def percentile(self, share: float) -> float | None:
        """Tell within how many milliseconds this share was done (an upper bound); None when nothing was measured."""
        left = share * self.latency.total()
        for bound in sorted(self.latency):
            left -= self.latency[bound]
            if left <= 0:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class Day:
    """What a program did on one day (UTC), by endpoint."""

    day: date
    endpoints: Mapping[str, Counts]

    @property
    def total(self) -> Counts:
        """Of all endpoints."""
        return sum(self.endpoints.values(), Counts())


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """Equal errors of one day.

    Attributes
    ----------
    id
        Names the line; later lines of a list come after it.
    platform
        Which platform refused or failed, or sent what cannot be used; empty where it is not known.
    records
        Ids of some of the source events or actions that it was about, at most `RECORDS`.
    """

    id: str
    first: datetime
    last: datetime
    count: int
    direction: Direction
    platform: str
    endpoint: str
    code: str
    reason: str
    records: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """Tell it as JSON knows it."""
        return {
            "first": self.first.isoformat(timespec="seconds"),
            "last": self.last.isoformat(timespec="seconds"),
            "count": self.count,
            "direction": self.direction,
            "platform": self.platform,
            "endpoint": self.endpoint,
            "code": self.code,
            "reason": self.reason,
            "records": list(self.records),
        }


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Lines of the error history, and where to go on: empty when there are no more."""

    lines: tuple[ErrorLine, ...]
    next: str = ""


def write(settings: ActivitySettings, tally: Recorder) -> None:
    """Add what was noted to the table: one write for each program and endpoint, and one for each different error.

    What is not taken at once is lost, and counted in the metric ``activity_not_written``: statistics are worth no
    delay, so no write is repeated, and after a failure none is tried for `PAUSE_SECONDS`.
    """
    if not settings.activity_table:
        return
    updates = [*map(_counts_update, tally.counts.items()), *map(_error_update, tally.problems.items())]
    if lost := len(updates) - sum(aws.side_by_side(partial(_is_written, settings.activity_table), updates)):
        _count_lost(lost)


def _is_written(table: str, update: Mapping[str, Any]) -> bool:
    global _paused_until  # noqa: PLW0603 - the container's, like its connections
    if time.monotonic() < _paused_until:
        return False
    try:
        with aws.reaching("the activity"):
            aws.dynamodb_once().update_item(TableName=table, **update)
    except Unavailable:
        _paused_until = time.monotonic() + PAUSE_SECONDS
        return False
    return True


def statistics(settings: ActivitySettings, program: str, days: int) -> list[Day]:
    """Tell what a program did on each of the last days (UTC), oldest first, today included.

    Parameters
    ----------
    program
        Its id; `NOBODY` for what belongs to no known program.
    days
        1 to 90.

    Raises
    ------
    Unavailable
        DynamoDB does not give it.
    """
    today = datetime.now(UTC).date()
    wanted = [today - timedelta(days=back) for back in range(min(max(days, 1), DAYS))][::-1]
    logs = [f"{program}#{shard}" for shard in range(SHARDS)]
    found: dict[str, dict[str, Counts]] = {day.isoformat(): {} for day in wanted}
    for items in aws.side_by_side(lambda log: list(_query_days(settings, log, wanted[0], today)), logs):
        for item in items:
            day, _, endpoint = item["line"]["S"].partition("#")
            found[day][endpoint] = found[day].get(endpoint, Counts()) + _counts_from_item(item)
    return [Day(day, dict(sorted(found[day.isoformat()].items()))) for day in wanted]


def errors(
    settings: ActivitySettings,
    program: str,
    *,
    since: date | None = None,
    until: date | None = None,
    code: str = "",
    direction: str = "",
    endpoint: str = "",
    platform: str = "",
    record: str = "",
    limit: int = 100,
    page: str = "",
) -> ErrorPage:
    """List a program's errors, the latest first.

    Parameters
    ----------
    since, until
        First and last day (UTC), as far as 90 days back.
    code, direction, endpoint, platform
        Only those of this one; without a code, unknown fields are left out.
    record
        Only those that name this source event or action.
    page
        Where the page before ended (`ErrorPage.next`).

    Raises
    ------
    Invalid
        `page` is not of a page.
    Unavailable
        DynamoDB does not give them.
    """
    wanted = {"code": code, "direction": direction, "endpoint": endpoint, "platform": platform}
    after, last_day = _position(page), until or date.max
    if after:
        last_day = min(last_day, date.fromisoformat(after[1][:10]))
    found = (
        line
        for line in _history(settings, program, since or date.min, last_day)
        if all(getattr(line, name) == value for name, value in wanted.items() if value)
        and (code or line.code != UNKNOWN_FIELD)
        and (not record or record in line.records)
        and (after is None or _sort_key(line) > _sort_key_of(*after))
    )
    lines = tuple(islice(found, limit + 1))
    end = lines[limit - 1] if len(lines) > limit else None
    return ErrorPage(lines[:limit], f"{_milliseconds(end.last)}.{end.id}" if end else "")


@dataclass(frozen=True, slots=True)
class FieldCount:
    """A field that the mapping does not name: of which event, how often, when last, and whether it is sent."""

    event: str
    field: str
    sent: str
    count: int
    last: datetime


def unknown_fields(settings: ActivitySettings, program: str, days: int) -> list[FieldCount]:
    """List the fields of a program's events that its mapping does not name, the most frequent first.

    Raises
    ------
    Unavailable
        DynamoDB does not give them.
    """
    since = datetime.now(UTC).date() - timedelta(days=min(max(days, 1), DAYS) - 1)
    found: dict[str, FieldCount] = {}
    for line in errors(settings, program, since=since, code=UNKNOWN_FIELD, limit=FIELDS * DAYS).lines:
        event, _, rest = line.reason.partition(": ")
        name, _, sent = rest.rpartition(": ")
        known = found.get(line.reason)
        count, last = (known.count, known.last) if known else (0, line.last)
        found[line.reason] = FieldCount(event, name or rest, sent, count + line.count, max(last, line.last))
    return sorted(found.values(), key=lambda one: (-one.count, one.event, one.field))


def _history(settings: ActivitySettings, program: str, since: date, until: date) -> Iterator[ErrorLine]:
    """Read the lines in the order in which they are told, a day at a time."""
    today = datetime.now(UTC).date()
    first, last = max(since, today - timedelta(days=DAYS - 1)), min(until, today)
    if first <= last:
        items = _query_days(settings, f"{program}#errors", first, last)
        for _, of_day in groupby(map(_error_from_item, items), lambda line: line.id[:10]):
            yield from sorted(of_day, key=_sort_key)


def _sort_key(line: ErrorLine) -> tuple[int, int, str]:
    return _sort_key_of(_milliseconds(line.last), line.id)


def _sort_key_of(last: int, id_: str) -> tuple[int, int, str]:
    return -date.fromisoformat(id_[:10]).toordinal(), -last, id_


@cache
def _shard() -> int:
    """Tell which of the items this container adds to."""
    return random.randrange(SHARDS)  # noqa: S311


def _count_lost(count: int) -> None:
    """Count what was not written, on its own: the function's metrics may be those of a call under way."""
    from aws_lambda_powertools.metrics import MetricUnit, single_metric

    service = os.environ.get("POWERTOOLS_SERVICE_NAME", "loyalty-bridge")
    dimensions = {"service": service}
    with single_metric("activity_not_written", MetricUnit.Count, count, default_dimensions=dimensions):
        pass


def _position(page: str) -> tuple[int, str] | None:
    last, _, id_ = page.partition(".")
    try:
        return (int(last), f"{date.fromisoformat(id_[:10])}{id_[10:]}") if page else None
    except ValueError:
        raise Invalid("page", "is not where a page ended") from None


def _query_days(settings: ActivitySettings, log: str, first: date, last: date) -> Iterator[Mapping[str, Any]]:
    """Read the lines of a period, the last one first."""
    pages = (
        aws.dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=settings.activity_table,
            KeyConditionExpression="#log = :log AND #line BETWEEN :first AND :last",
            ExpressionAttributeNames={"#log": "log", "#line": "line"},
            ExpressionAttributeValues={
                ":log": {"S": log},
                ":first": {"S": f"{first}#"},
                ":last": {"S": f"{last}#~"},
            },
            ScanIndexForward=False,
        )
    )
    with aws.reaching("the activity"):
        for page in pages:
            yield from page["Items"]


def _counts_update(counted: tuple[tuple[str, str, str], Mapping[str, int]]) -> dict[str, Any]:
    """Make the update that adds to counters."""
    (program, day, endpoint), counts = counted
    adds = dict(enumerate(counts.items()))
    return {
        "Key": {"log": {"S": f"{program}#{_shard()}"}, "line": {"S": f"{day}#{endpoint}"}},
        "UpdateExpression": f"SET expires = :expires ADD {', '.join(f'#{n} :{n}' for n in adds)}",
        "ExpressionAttributeNames": {f"#{n}": name for n, (name, _) in adds.items()},
        "ExpressionAttributeValues": {
            ":expires": _expires(day),
            **{f":{n}": {"N": str(count)} for n, (_, count) in adds.items()},
        },
    }


def _error_update(noted: tuple[ErrorKey, ErrorCount]) -> dict[str, Any]:
    """Make the update that adds to a line of errors."""
    problem, seen = noted
    told = {name: getattr(problem, name) for name in ("endpoint", "platform", "code", "reason")}
    text = "\x1f".join(told.values()).encode(errors="replace")
    is_field = problem.code == UNKNOWN_FIELD
    digest = f"field{zlib.crc32(text) % FIELDS}" if is_field else hashlib.blake2b(text, digest_size=12).hexdigest()
    slots = {f"r{zlib.crc32(record.encode()) % RECORDS}": record for record in seen.records}
    values: dict[str, Any] = {**told, **slots}
    numbers = {":first": seen.first, ":last": seen.last}
    return {
        "Key": {"log": {"S": f"{problem.program}#errors"}, "line": {"S": f"{problem.day}#{digest}"}},
        "UpdateExpression": "SET expires = :expires, #first = if_not_exists(#first, :first), #last = :last, "
        f"{', '.join(f'#{name} = :{name}' for name in values)} ADD #count :count",
        "ExpressionAttributeNames": {f"#{name}": name for name in ("first", "last", "count", *values)},
        "ExpressionAttributeValues": {
            ":expires": _expires(problem.day),
            ":count": {"N": str(seen.count)},
            **{name: {"N": str(int(at * 1000))} for name, at in numbers.items()},
            **{f":{name}": {"S": value.encode(errors="replace").decode()} for name, value in values.items()},
        },
    }


def _counts_from_item(item: Mapping[str, Any]) -> Counts:
    counts = Counts()
    for name, value in item.items():
        kind, _, what = name.partition(".")
        if kind == "calls":
            counts.calls[what] = int(value["N"])
        elif kind == "events":
            counts.events[what] = int(value["N"])
        elif kind == "ms":
            counts.latency[float("inf") if what == "more" else int(what)] = int(value["N"])
    return counts


def _error_from_item(item: Mapping[str, Any]) -> ErrorLine:
    told = {name: item[name]["S"] for name in ("endpoint", "platform", "code", "reason")}
    return ErrorLine(
        id=item["line"]["S"],
        first=datetime.fromtimestamp(int(item["first"]["N"]) / 1000, UTC),
        last=datetime.fromtimestamp(int(item["last"]["N"]) / 1000, UTC),
        count=int(item["count"]["N"]),
        direction=direction(told["endpoint"]),
        records=tuple(sorted(item[slot]["S"] for slot in map("r{}".format, range(RECORDS)) if slot in item)),
        **told,
    )


def _expires(day: str) -> dict[str, str]:
    """Tell when a day is past its ninetieth."""
    end = datetime.combine(date.fromisoformat(day) + timedelta(days=DAYS), datetime.min.time(), UTC)
    return {"N": str(int(end.timestamp()))}


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
