"""``bridge stats`` and ``bridge errors``: tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from loyalty_bridge import activity
from loyalty_bridge.activity import Recorder
from loyalty_bridge.settings import DeliverySettings
from tests.conftest import connect

Bridge = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def noted(stores: DeliverySettings, midday: None) -> None:
    connect(stores, "http://127.0.0.1:9")
    tally = Recorder()
    tally.event("demo", "forward_events", "received", count=7)
    tally.event("demo", "forward_events", "sent", count=5)
    tally.latency("demo", "forward_events", 99_999)
    for seconds in (0.1, 0.1, 4):
        tally.call("demo", "book_points", "ok", seconds)
    tally.call("demo", "book_points", "not_sent")
    for record in ("e-1", "e-2", "e-3"):
        tally.problem("demo", "forward_events", "braze", "rejected", "phone: is no number", record)
    tally.problem("demo", "book_points", "convercus", "not_sent", "no connection", "a-1")
    activity.write(stores, tally)


def test_statistics_are_reported_by_function_and_day(bridge: Bridge) -> None:
    code, out, _ = bridge("stats", "demo", "--days", "2", "--json")

    payload = json.loads(out)
    assert code == 0
    assert payload["endpoints"]["book_points"] == {
        "calls": {"ok": 3, "not_sent": 1},
        "events": {},
        "latency": {"p50_ms": 100, "p99_ms": 5000},
    }
    assert payload["endpoints"]["forward_events"]["latency"] == {"p50_ms": None, "p99_ms": None}
    assert [set(day["endpoints"]) for day in payload["days"]] == [set(), {"book_points", "forward_events"}]


def test_statistics_are_shown_in_tables(bridge: Bridge) -> None:
    _, out, _ = bridge("stats", "demo")

    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["day", "received", "sent", "calls", "failed"]
    assert lines[1][1:] == ["7", "5", "4", "1"]
    assert lines[3] == ["book_points", "4", "ok", "3,", "not_sent", "1", "≤", "100", "≤", "5,000"]
    assert lines[4] == ["forward_events", "0", ">", "3,600,000", ">", "3,600,000"]


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ([], {"rejected", "not_sent"}),
        (["--code", "rejected"], {"rejected"}),
        (["--direction", "to_loyalty"], {"not_sent"}),
        (["--endpoint", "book_points"], {"not_sent"}),
        (["--platform", "braze", "--days", "1"], {"rejected"}),
    ],
)
def test_errors_are_listed_by_what_is_wanted(bridge: Bridge, options: list[str], codes: set[str]) -> None:
    code, out, _ = bridge("errors", "demo", "--json", *options)

    assert code == 0
    assert {line["code"] for line in json.loads(out)["errors"]} == codes


def test_errors_are_shown_a_page_at_a_time(bridge: Bridge) -> None:
    _, first, _ = bridge("errors", "demo", "--limit", "1")
    page = first.split()[-1]
    _, second, _ = bridge("errors", "demo", "--limit", "1", "--page", page)

    assert "More errors: --page" in first
    assert "More errors" not in second
    assert ("not_sent" in first, "not_sent" in second) in {(True, False), (False, True)}


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(("stats", "demo", "--days", "91"), 2), (("errors", "demo", "--page", "x"), 1), (("errors", "-"), 0)],
)
def test_the_exit_code_says_how_it_went(bridge: Bridge, arguments: tuple[str, ...], exit_code: int) -> None:
    assert bridge(*arguments)[0] == exit_code


@pytest.mark.parametrize(("name", "code"), [("e-2", "rejected"), ("a-1", "not_sent")])
def test_trace_reports_the_errors_of_an_event_or_an_action(bridge: Bridge, name: str, code: str) -> None:
    [line] = json.loads(bridge("trace", "demo", name)[1])["errors"]

    assert (line["code"], name in line["records"]) == (code, True)
