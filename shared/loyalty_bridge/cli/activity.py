"""``bridge stats`` and ``bridge errors``: the activity of a program in the last 90 days."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from loyalty_bridge import activity
from loyalty_bridge.activity import Counts, ErrorLine, reports
from loyalty_bridge.activity.recorder import EVENTS
from loyalty_bridge.activity.store import DAYS
from loyalty_bridge.cli import stack
from loyalty_bridge.cli.show import JsonOption, show
from loyalty_bridge.operations import service

ActivityArgument = Annotated[str, typer.Argument(metavar="PROGRAM", help="Program id, or - for unattributed records.")]
DaysOption = Annotated[int, typer.Option(min=1, max=DAYS, help="Number of days (UTC), including today.")]


def stats(program: ActivityArgument, days: DaysOption = 30, json_output: JsonOption = False) -> None:
    """Show call counts, latencies and event outcomes per day.

    Example: bridge stats demo --days 7
    """
    result = service.load_statistics(stack.context(), program, days)
    if json_output:
        show(reports.to_dict(program, result), as_json=True)
        return
    totals = reports.totals(result)
    seen = [name for name in EVENTS if any(counts.events[name] for counts in totals.values())]
    show([_day(str(day.day), day.total, seen) for day in result if day.endpoints], as_json=False)
    if totals:
        show([_calls(name, counts) for name, counts in totals.items()], as_json=False)


def errors(
    program: ActivityArgument,
    days: DaysOption = 30,
    code: Annotated[str, typer.Option(help="Only errors with this code, such as rejected or outcome_unknown.")] = "",
    direction: Annotated[str, typer.Option(help="to_engagement (events) or to_loyalty (calls).")] = "",
    endpoint: Annotated[str, typer.Option(help="Only errors of this function.")] = "",
    platform: Annotated[str, typer.Option(help="Only errors of this platform.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of lines.")] = 100,
    page: Annotated[str, typer.Option(help="Continue a list; its last line shows the value.")] = "",
    json_output: JsonOption = False,
) -> None:
    """List errors, latest first. Equal errors of a day are one line.

    Example: bridge errors demo --code rejected --days 7
    """
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    found = activity.errors(
        stack.settings(),
        service.require_scope(stack.context(), program),
        since=since,
        code=code,
        direction=direction,
        endpoint=endpoint,
        platform=platform,
        limit=limit,
        page=page,
    )
    if json_output:
        show({"errors": [line.to_dict() for line in found.lines], "next": found.next}, as_json=True)
        return
    show([_row(line) for line in found.lines], as_json=False)
    if found.next:
        typer.echo(f"More errors: --page {found.next}")


def _row(line: ErrorLine) -> dict[str, Any]:
    result = line.to_dict()
    some = f"{', '.join(line.records[:2])}{', …' if len(line.records) > 2 else ''}"
    return {name: result[name] for name in ("last", "count", "endpoint", "platform", "code", "reason")} | {
        "records": some
    }


def _day(day: str, counts: Counts, events: list[str]) -> dict[str, Any]:
    calls = {"calls": counts.calls.total(), "failed": counts.calls.total() - counts.calls["ok"]}
    return {"day": day, **{name: counts.events[name] for name in events}, **calls}


def _calls(name: str, counts: Counts) -> dict[str, Any]:
    outcomes = ", ".join(f"{outcome} {count}" for outcome, count in counts.calls.most_common())
    return {
        "function": name,
        "calls": counts.calls.total(),
        "outcomes": outcomes,
        "p50 ms": _bound(counts.percentile(0.5)),
        "p99 ms": _bound(counts.percentile(0.99)),
    }


def _bound(bound: float | None) -> str:
    if bound is None:
        return ""
    return f"≤ {bound:,.0f}" if math.isfinite(bound) else "> 3,600,000"
