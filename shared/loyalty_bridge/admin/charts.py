"""Bar charts as numbers that a template draws: where each bar, line and word of a chart is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loyalty_bridge.activity import Counts, Day
from loyalty_bridge.activity.recorder import BUCKETS, direction

WIDTH, HEIGHT = 640, 200
_LEFT, _TOP, _BOTTOM = 56, 10, 24
_LOWEST = 10.0
"""Where a logarithmic scale begins."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar; `tone` is the letter of its colour."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes
    ----------
    names
        What the bars show, each with the letter of its colour: ``b`` is for what went wrong.
    bars, ticks, marks
        What is drawn: bars, lines across (y and word), and words below (x and word).
    rows
        The same for who cannot see it: a day and its numbers.
    """

    title: str
    names: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, str], ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def of(days: Sequence[Day]) -> list[Chart]:
    """Draw what a program did: events, calls, latency, and what went wrong."""
    names = [str(day.day) for day in days]
    totals = [day.total for day in days]
    by_direction = {way: [_sum(day, way) for day in days] for way in ("to_engagement", "to_loyalty")}
    calls = by_direction["to_loyalty"]
    events = {name: [total.events[name] for total in totals] for name in ("sent", "rejected", "held")}
    return [
        stacked("Events", names, events, "abc"),
        stacked(
            "Calls",
            names,
            {
                "answered": [counts.calls["ok"] for counts in calls],
                "failed": [counts.calls.total() - counts.calls["ok"] for counts in calls],
            },
            "ab",
        ),
        side_by_side(
            "Latency, 99th percentile",
            names,
            {
                "calls": [_within(counts) for counts in calls],
                "events, from arrival to acceptance": [_within(counts) for counts in by_direction["to_engagement"]],
            },
            "ac",
        ),
        stacked(
            "Errors",
            names,
            {
                "failed calls": [counts.calls.total() - counts.calls["ok"] for counts in calls],
                "rejected events": events["rejected"],
            },
            "bc",
        ),
    ]


def _sum(day: Day, way: str) -> Counts:
    return sum((counts for name, counts in day.endpoints.items() if direction(name) == way), Counts())


def _within(counts: Counts) -> float:
    bound = counts.percentile(0.99)
    return 0 if bound is None else min(bound, BUCKETS[-1])


def stacked(title: str, days: Sequence[str], series: Mapping[str, Sequence[float]], tones: str) -> Chart:
    """Draw a bar for each day, of parts that add up."""
    top = _ceiling(max((sum(parts) for parts in zip(*series.values(), strict=True)), default=0))
    step = _step(days)
    bars = []
    for place, day in enumerate(days):
        base = 0.0
        for number, (name, values) in enumerate(series.items()):
            value = values[place]
            if value:
                y = _linear(base + value, top)
                x, height = _LEFT + place * step + step * 0.1, _linear(base, top) - y
                bars.append(Bar(x, y, step * 0.8, height, tones[number], f"{day}: {name} {value:,.0f}"))
                base += value
    ticks = tuple((_linear(top * part, top), f"{top * part:,.0f}") for part in (0, 0.5, 1))
    return _chart(title, days, series, tones, bars, ticks)


def side_by_side(title: str, days: Sequence[str], series: Mapping[str, Sequence[float]], tones: str) -> Chart:
    """Draw bars beside each other for each day, on a logarithmic scale (for milliseconds)."""
    top = 10.0 ** math.ceil(math.log10(max([_LOWEST * 10, *(value for values in series.values() for value in values)])))
    step = _step(days)
    width = step * 0.8 / len(series)
    bars = [
        Bar(
            _LEFT + place * step + step * 0.1 + number * width,
            _logarithmic(value, top),
            width,
            _logarithmic(_LOWEST, top) - _logarithmic(value, top),
            tones[number],
            f"{day}: {name} {value:,.0f} ms",
        )
        for number, (name, values) in enumerate(series.items())
        for place, (day, value) in enumerate(zip(days, values, strict=True))
        if value
    ]
    powers = range(round(math.log10(_LOWEST)), round(math.log10(top)) + 1)
    ticks = tuple((_logarithmic(10.0**power, top), _seconds(10.0**power)) for power in powers)
    return _chart(title, days, series, tones, bars, ticks)


def _chart(
    title: str,
    days: Sequence[str],
    series: Mapping[str, Sequence[float]],
    tones: str,
    bars: Sequence[Bar],
    ticks: tuple[tuple[float, str], ...],
) -> Chart:
    rows = tuple((day, tuple(f"{values[place]:,.0f}" for values in series.values())) for place, day in enumerate(days))
    chosen = sorted({0, len(days) // 2, len(days) - 1}) if len(days) > 2 else range(len(days))
    marks = tuple((_LEFT + (place + 0.5) * _step(days), days[place]) for place in chosen)
    return Chart(title, tuple(zip(series, tones, strict=True)), tuple(bars), ticks, marks, rows)


def _step(days: Sequence[str]) -> float:
    """Return each day its width; a few days do not fill the chart."""
    return min((WIDTH - _LEFT) / max(len(days), 1), 96)


def _ceiling(value: float) -> float:
    """Find the next round number with a round half: 1, 2 or 4 with noughts."""
    if value <= 2:
        return 2
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * part for part in (1, 2, 4, 10) if value <= power * part)


def _linear(value: float, top: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / top)


def _logarithmic(value: float, top: float) -> float:
    share = math.log10(max(value, _LOWEST) / _LOWEST) / math.log10(top / _LOWEST)
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.0f} s"
