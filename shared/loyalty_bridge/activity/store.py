"""The activity table: daily statistics and error history of each program, for 90 days.

    log               line               content
    <program>#<0-3>   <day>#<endpoint>   counters; each container adds to one of four
    <program>#errors  <day>#<hash>       equal errors of a day

So a period is one range of a key. A query never reaches back further than 90 days, however late DynamoDB deletes
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
from typing import Any

from loyalty_bridge.activity.recorder import UNKNOWN_FIELD, Direction, ErrorCount, ErrorKey, Recorder, direction
from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.settings import ActivitySettings

DAYS = 90
SHARDS = 4
"""An item takes a thousand writes a second (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
bp-partition-key-design.html)."""
RECORDS = 16
"""Ids that an error line stores, in slots by their hash; the last id of a slot replaces the one before."""
FIELDS = 1000
"""Lines of unknown fields a day, by hash, because senders may invent names; a line names its last field."""
PAUSE_SECONDS = 30.0
"""Pause after a failed write."""
_paused_until = 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters of an endpoint.

    Attributes
    ----------
    calls
        Calls, by outcome: ``ok``, or the error.
    events
        Source events, by `EVENTS`.
    latency
        Histogram: upper bound in milliseconds (`BUCKETS`, or infinity) to count.
    """

    calls: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    latency: Counter[float] = field(default_factory=Counter)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.calls + other.calls, self.events + other.events, self.latency + other.latency)

    def percentile(self, share: float) -> float | None:
        """Return the milliseconds within which this share ended (an upper bound); None if nothing was measured."""
        left = share * self.latency.total()
        for bound in sorted(self.latency):
            left -= self.latency[bound]
            if left <= 0:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class Day:
    """Statistics of one day (UTC), by endpoint."""

    day: date
    endpoints: Mapping[str, Counts]

    @property
    def total(self) -> Counts:
        """The sum over all endpoints."""
        return sum(self.endpoints.values(), Counts())


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """Equal errors of one day.

    Attributes
    ----------
    id
        Sort key of the line.
    platform
        The platform that rejected, failed or sent unusable data; empty if unknown.
    records
        Ids of some of its source events or actions, at most `RECORDS`.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON values."""
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
    """Lines of the error history, and the token of the next page (empty after the last)."""

    lines: tuple[ErrorLine, ...]
    next: str = ""


def write(settings: ActivitySettings, recorder: Recorder) -> None:
    """Add the recorded activity to the table: one write for each program and endpoint, one for each different error.

    Statistics are worth no delay: no write is repeated, and after a failure there is none for `PAUSE_SECONDS`. The
    metric ``activity_not_written`` counts the lost ones.
    """
    if not settings.activity_table:
        return
    updates = [*map(_counts_update, recorder.counts.items()), *map(_error_update, recorder.problems.items())]
    if lost := len(updates) - sum(aws.run_in_parallel(partial(_is_written, settings.activity_table), updates)):
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
    """Return the statistics of a program for the last days (UTC), oldest first, today included.

    Parameters
    ----------
    program
        Its id; `UNKNOWN_PROGRAM` for activity that belongs to no known program.
    days
        1 to 90.
    """
    today = datetime.now(UTC).date()
    wanted = [today - timedelta(days=back) for back in range(min(max(days, 1), DAYS))][::-1]
    logs = [f"{program}#{shard}" for shard in range(SHARDS)]
    found: dict[str, dict[str, Counts]] = {day.isoformat(): {} for day in wanted}
    for items in aws.run_in_parallel(lambda log: list(_query_days(settings, log, wanted[0], today)), logs):
        for item in items:
            day, _, endpoint = item["line"].partition("#")
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
        Only errors with these values. Without a code, unknown fields are left out.
    record
        Only errors that name this source event or action.
    page
        `ErrorPage.next` of the previous page.

    Raises
    ------
    Invalid
        `page` is not such a token.
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
    """Yield the lines, latest first, reading a day at a time."""
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
    """Choose which of the items this container adds to."""
    return random.randrange(SHARDS)  # noqa: S311


def _count_lost(count: int) -> None:
    """Count lost writes in a metric of their own: the function's metrics may belong to a call in progress."""
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
        raise Invalid("page", "is not a page token; take `next` of the previous page") from None


def _query_days(settings: ActivitySettings, log: str, first: date, last: date) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a period, the last one first."""
    return dynamodb.query(
        settings.activity_table,
        "#log = :log AND #line BETWEEN :first AND :last",
        {":log": log, ":first": f"{first}#", ":last": f"{last}#~"},
        ScanIndexForward=False,
    )


def _counts_update(entry: tuple[tuple[str, str, str], Mapping[str, int]]) -> dict[str, Any]:
    """Return the update that adds to counters."""
    (program, day, endpoint), counts = entry
    adds = dict(enumerate(counts.items()))
    return {
        "Key": dynamodb.to_item({"log": f"{program}#{_shard()}", "line": f"{day}#{endpoint}"}),
        "UpdateExpression": f"SET expires = :expires ADD {', '.join(f'#{n} :{n}' for n in adds)}",
        "ExpressionAttributeNames": {f"#{n}": name for n, (name, _) in adds.items()},
        "ExpressionAttributeValues": dynamodb.to_item(
            {
                ":expires": _expires(day),
                **{f":{n}": count for n, (_, count) in adds.items()},
            }
        ),
    }


def _error_update(entry: tuple[ErrorKey, ErrorCount]) -> dict[str, Any]:
    """Return the update that adds to an error line."""
    key, errors = entry
    texts = {name: getattr(key, name) for name in ("endpoint", "platform", "code", "reason")}
    joined = "\x1f".join(texts.values()).encode(errors="replace")
    is_field = key.code == UNKNOWN_FIELD
    digest = f"field{zlib.crc32(joined) % FIELDS}" if is_field else hashlib.blake2b(joined, digest_size=12).hexdigest()
    slots = {f"r{zlib.crc32(record.encode()) % RECORDS}": record for record in errors.records}
    values = {name: text.encode(errors="replace").decode() for name, text in {**texts, **slots}.items()}
    return {
        "Key": dynamodb.to_item({"log": f"{key.program}#errors", "line": f"{key.day}#{digest}"}),
        "UpdateExpression": "SET expires = :expires, #first = if_not_exists(#first, :first), #last = :last, "
        f"{', '.join(f'#{name} = :{name}' for name in values)} ADD #count :count",
        "ExpressionAttributeNames": {f"#{name}": name for name in ("first", "last", "count", *values)},
        "ExpressionAttributeValues": dynamodb.to_item(
            {
                ":expires": _expires(key.day),
                ":count": errors.count,
                ":first": int(errors.first * 1000),
                ":last": int(errors.last * 1000),
                **{f":{name}": value for name, value in values.items()},
            }
        ),
    }


def _counts_from_item(item: Mapping[str, Any]) -> Counts:
    counts = Counts()
    for name, value in item.items():
        kind, _, rest = name.partition(".")
        if kind == "calls":
            counts.calls[rest] = value
        elif kind == "events":
            counts.events[rest] = value
        elif kind == "ms":
            counts.latency[float("inf") if rest == "more" else int(rest)] = value
    return counts


def _error_from_item(item: Mapping[str, Any]) -> ErrorLine:
    texts = {name: item[name] for name in ("endpoint", "platform", "code", "reason")}
    return ErrorLine(
        id=item["line"],
        first=datetime.fromtimestamp(item["first"] / 1000, UTC),
        last=datetime.fromtimestamp(item["last"] / 1000, UTC),
        count=item["count"],
        direction=direction(texts["endpoint"]),
        records=tuple(sorted(item[slot] for slot in map("r{}".format, range(RECORDS)) if slot in item)),
        **texts,
    )


def _expires(day: str) -> int:
    """Return the time at which a day's lines may be deleted."""
    end = datetime.combine(date.fromisoformat(day) + timedelta(days=DAYS), datetime.min.time(), UTC)
    return int(end.timestamp())


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
