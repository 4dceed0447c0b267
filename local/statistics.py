"""Shows the statistics that the bridge recorded during the local run."""

from __future__ import annotations

from local.bundle import PROGRAMS, Deployed, say
from local.demo import logged


def statistics(bundle: Deployed) -> bool:
    """Show the statistics of the demo programs; return whether they agree with Braze.

    A write that fails is lost and counted. The statistics may then be lower.
    """
    from loyalty_bridge import activity
    from loyalty_bridge.cli.stack import settings

    say("\nstatistics of the demo programs (`bridge --local stats PROGRAM` shows all)")
    agree = True
    lost = sum(sum(entry["activity_not_written"]) for entry in logged(bundle, "activity_not_written"))
    for program in PROGRAMS:
        total = sum((day.total for day in activity.statistics(settings(), program, 2)), activity.Counts())
        sent, arrived = total.events["sent"], len(bundle.workspace(program).events)
        agrees = sent <= arrived if lost else sent == arrived
        agree &= agrees
        outcomes = ", ".join(f"{count:,} {name}" for name, count in total.events.items())
        say(f"  {program:16}events: {outcomes}; in Braze: {arrived:,}{'' if agrees else ' (MISMATCH)'}")
        say(f"  {'':16}calls and requests: {', '.join(f'{count:,} {how}' for how, count in total.calls.items())}")
        for line in activity.errors(settings(), program, limit=3).lines:
            say(f"  {'':16}{line.count} × {line.endpoint}: {line.code} ({line.reason})")
    if lost:
        say(f"  {lost:,.0f} writes of statistics were lost on a busy machine: the counts may be too low")
    return agree
