"""Streams a day of events through the deployed bundle and shows the results."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from local.bundle import PROGRAMS, REVENUE, Deployed, say
from local.day import Planned, day
from loyalty_bridge.model import UNKNOWN_PROGRAM

_QUIET_SECONDS = 60.0


def stream_day(bundle: Deployed, members: int, events: int) -> bool:
    """Stream a day and show what arrived; return whether everything did."""
    sent: dict[str, float] = {}
    plans = {program: list(day(program, members=members, events=events)) for program in PROGRAMS}
    complete = True
    # The members join first; the other events start when all have joined.
    for title, part in (("members join", slice(None, 3 * members)), ("a day of events", slice(3 * members, None))):
        for program, plan in plans.items():
            chosen = plan[part]
            say(f"\n{title}: sending {len(chosen):,} events of {members} members for {program} ({PROGRAMS[program]}) …")
            _stream(bundle, program, chosen, sent)
        complete = _watch(bundle, {program: plan[: part.stop] for program, plan in plans.items()})
        if not complete:
            break
    for program, plan in plans.items():
        _summary(bundle, program, plan, sent)
    agrees = [_show_revenue(bundle, program, plan) for program, plan in plans.items()]
    _totals(bundle)
    return complete and all(agrees)


def _stream(bundle: Deployed, program: str, plan: list[Planned], sent: dict[str, float]) -> None:
    from loyalty_bridge.event_queue.envelope import group_of

    for start in range(0, len(plan), 200):
        part = plan[start : start + 200]
        now = time.time()
        sent.update({one.record["eventId"]: now for one in part if isinstance(one.record, dict)})
        bundle.put(
            program,
            [
                (one.record if isinstance(one.record, str) else json.dumps(one.record), group_of(program, one.member))
                for one in part
            ],
        )


def _watch(bundle: Deployed, plans: dict[str, list[Planned]]) -> bool:
    """Wait until all events have arrived and show progress; return false when none arrived for a minute."""
    expected = sum(one.accepted for plan in plans.values() for one in plan)
    refusals = sum(not one.accepted for plan in plans.values() for one in plan)
    before, since, shown = -1, time.monotonic(), 0.0
    while True:
        arrived = sum(len(bundle.workspace(program).events) for program in plans)
        refused = sum(_refused().values())
        if arrived != before:
            before, since = arrived, time.monotonic()
        done = arrived >= expected and refused >= refusals
        if done or time.monotonic() - shown > 5:
            say(f"  {arrived:6,} of {expected:,} events accepted, {refused} of {refusals} invalid records rejected")
            shown = time.monotonic()
        if done:
            return arrived == expected and refused == refusals
        if time.monotonic() - since > _QUIET_SECONDS:
            say("  no event arrived for a minute; giving up")
            return False
        threading.Event().wait(0.25)


def _refused() -> Counter[str]:
    from loyalty_bridge.cli.stack import settings
    from loyalty_bridge.parking import parked_records

    reasons: Counter[str] = Counter()
    for program in (*PROGRAMS, UNKNOWN_PROGRAM):
        for line in parked_records.batches(settings(), "rejected", program):
            reasons.update(line.reasons)
    return reasons


def _summary(bundle: Deployed, program: str, plan: list[Planned], sent: dict[str, float]) -> None:
    workspace = bundle.workspace(program)
    arrived = Counter(event.object["name"] for event in workspace.events)
    say(f"\n{program} ({PROGRAMS[program]})")
    say(f"  {'event type':32}{'sent':>8}{'accepted':>10}")
    for kind, count in sorted(Counter(one.type for one in plan if one.accepted).items()):
        say(f"  {kind:32}{count:8,}{arrived[f'convercus_{kind}']:10,}")
    say(f"  {'purchases':32}{sum(one.purchase for one in plan):8,}{len(workspace.purchases):10,}")
    if workspace.orders:
        say(f"  {'orders and refunds':32}{sum(one.purchase for one in plan):8,}{len(workspace.orders):10,}")
    objects = sum(request.objects for request in workspace.requests)
    say(
        f"  {len(workspace.requests):,} requests with {objects:,} objects "
        f"(minimum at 75 objects per request: {-(-objects // 75):,}); "
        f"objects rejected by Braze: {len(workspace.refused)}, silently dropped: {len(workspace.silently_dropped)}"
    )
    waits = sorted(event.received_at - sent[event.object["properties"]["event_id"]] for event in workspace.events)
    if len(waits) > 1:
        say(
            f"  from arrival to acceptance: p50 {statistics.median(waits):.2f} s, "
            f"p99 {waits[int(len(waits) * 0.99)]:.2f} s"
        )
    profile = next(iter(workspace.profiles.values()), None)
    if profile:
        say(f"  profile of member {profile.external_id} in Braze:")
        for name, value in {**profile.fields, **profile.custom}.items():
            say(f"    {name:24}{json.dumps(value, ensure_ascii=False)}")


def _show_revenue(bundle: Deployed, program: str, plan: list[Planned]) -> bool:
    """Compare the loyalty platform's revenue with every figure of the workspace; false when they differ by a cent."""
    records = [one.record["payload"] for one in plan if one.purchase and isinstance(one.record, dict)]
    expected = round(sum((-1 if it.get("reversal") else 1) * float(it["amount"]) for it in records), 2)
    revenue = bundle.workspace(program).revenue()
    figures = {
        "purchases": {"purchases": revenue["purchases"]},
        "ecommerce": {"orders": revenue["orders"], "their products": revenue["products"]},
    }
    shown = figures["purchases"] | figures["ecommerce"] if REVENUE[program] == "both" else figures[REVENUE[program]]
    by_name = ", ".join(f"{amount:,.2f} by {name}" for name, amount in shown.items())
    say(f"revenue of {program} ({REVENUE[program]}): {expected:,.2f} at the loyalty platform; in Braze {by_name}")
    return set(shown.values()) == {expected}


def _totals(bundle: Deployed) -> None:
    """Show the rejected records, and the counts in the functions' logs."""
    say("\nrejected records, by reason")
    for reason, count in sorted(_refused().items()):
        say(f"  {count:4} × {reason}")
    counts = _counts(bundle)
    received, sent = counts["attributes_received"], counts["attributes_sent"]
    if received:
        say(
            f"attribute values in the events: {received:,}; sent to Braze: {sent:,}; "
            f"not sent because unchanged or outdated: {1 - sent / received:.0%}"
        )


def _counts(bundle: Deployed) -> Counter[str]:
    """Add up what the forwarder logged."""
    counts: Counter[str] = Counter()
    for entry in logged(bundle, "batch forwarded"):
        if entry.get("message") == "batch forwarded":
            counts.update({name: value for name, value in entry.items() if isinstance(value, int)})
    return counts


def logged(bundle: Deployed, word: str) -> Iterator[dict[str, Any]]:
    """Yield the forwarder's log entries and metrics that contain a word."""
    import boto3

    pages = (
        boto3.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=bundle.outputs["ForwardEventsLogs"], filterPattern=f'"{word}"')
    )
    for page in pages:
        for line in page["events"]:
            if f'"{word}"' in line["message"]:
                yield json.loads(line["message"])
