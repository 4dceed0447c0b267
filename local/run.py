"""The local run: the bundle in a local AWS beside sandbox platforms; ``demo`` streams a day, ``stay`` keeps running."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from local import stack
from local.day import Planned, day
from local.sandbox.braze import Braze, sandbox

PROGRAMS = {"demo-queue": "sqs", "demo-stream": "kinesis"}
_QUIET_SECONDS = 60.0


def say(text: str = "") -> None:
    """Show a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Deployed:
    """The running bundle."""

    outputs: dict[str, str]
    braze: Braze
    endpoints: dict[str, Any] = field(default_factory=dict)


@contextmanager
def deployed(transport: str = "both") -> Iterator[Deployed]:
    """Start the local AWS and the sandbox, deploy, connect the demo programs; stop everything at the end."""
    began = time.monotonic()
    say("building the bundle …")
    stack.build()
    with stack.local_aws() as endpoint, sandbox() as braze:
        os.environ |= stack.credentials(endpoint)
        say(f"deploying template.yaml into the local AWS at {endpoint} …")
        outputs = stack.deploy(endpoint, Transport=transport, AllowedHosts="127.0.0.1", ForwarderConcurrency="4")
        told = {
            "aws": endpoint,
            "region": stack.REGION,
            "stack": stack.STACK,
            "queue": outputs.get("EventsQueueUrl"),
            "stream": outputs.get("EventsStream"),
            "tables": {name: outputs[name] for name in outputs if name.endswith("Table")},
            "bucket": outputs["KeptBucket"],
            "braze": braze.url,
            "programs": list(PROGRAMS),
        }
        stack.write_endpoints(told)
        for program in PROGRAMS:
            _connect(program, braze)
        say(f"ready after {time.monotonic() - began:.0f} s")
        try:
            yield Deployed(outputs, braze, told)
        finally:
            stack.ENDPOINTS.unlink(missing_ok=True)


def _connect(program: str, braze: Braze) -> None:
    """Connect a program to a workspace of its own, as an operator does."""
    from loyalty_bridge.cli import stack as bridge_stack
    from loyalty_bridge.programs import store
    from loyalty_bridge.programs.connection import Connection, merged

    key = f"demo-key-of-{program}"
    braze.workspace(key)
    bridge_stack.use_local()
    settings = bridge_stack.settings()
    channels = ("Newsletter", "Post")
    connection = merged(
        Connection(),
        {
            "loyalty": {
                "membership_optins": channels,
                "default_optins": channels[:1],
                "rules": {"default_currency": "EUR"},
            },
            "engagement": {"api_endpoint": braze.url},
        },
    )
    store.save(settings, None, program, connection, {"braze_api_key": key})


def demo(members: int, events: int) -> int:
    """Stream a day through both transports and tell what arrived; 0 when everything did."""
    with deployed() as bundle:
        return 0 if stream_day(bundle, members, events) else 1


def stream_day(bundle: Deployed, members: int, events: int) -> bool:
    """Stream a day and tell what arrived; true when everything did."""
    sent: dict[str, float] = {}
    plans = {program: list(day(program, members=members, events=events)) for program in PROGRAMS}
    complete = True
    # The members join first; their day begins when they are there.
    for title, part in (("joining", slice(None, 3 * members)), ("the day", slice(3 * members, None))):
        for program, plan in plans.items():
            chosen = plan[part]
            say(f"\n{title}: sending {len(chosen):,} events of {members} members to {program} ({PROGRAMS[program]}) …")
            _stream(bundle, program, chosen, sent)
        complete = _watch(bundle, {program: plan[: part.stop] for program, plan in plans.items()})
        if not complete:
            break
    for program, plan in plans.items():
        _summary(bundle, program, plan, sent)
    _totals(bundle)
    return complete


def _stream(bundle: Deployed, program: str, plan: list[Planned], sent: dict[str, float]) -> None:
    import boto3

    from loyalty_bridge.delivery.records import group_of

    transport = PROGRAMS[program]
    sqs, kinesis = boto3.client("sqs"), boto3.client("kinesis")
    size = 10 if transport == "sqs" else 200
    for start in range(0, len(plan), size):
        part = plan[start : start + size]
        bodies = [one.record if isinstance(one.record, str) else json.dumps(one.record) for one in part]
        groups = [group_of(program, one.member) for one in part]
        now = time.time()
        sent.update({one.record["eventId"]: now for one in part if isinstance(one.record, dict)})
        if transport == "sqs":
            sqs.send_message_batch(
                QueueUrl=bundle.outputs["EventsQueueUrl"],
                Entries=[
                    {"Id": str(n), "MessageBody": body, "MessageGroupId": group}
                    for n, (body, group) in enumerate(zip(bodies, groups, strict=True))
                ],
            )
        else:
            kinesis.put_records(
                StreamName=bundle.outputs["EventsStream"],
                Records=[
                    {"Data": body.encode(), "PartitionKey": group} for body, group in zip(bodies, groups, strict=True)
                ],
            )


def _watch(bundle: Deployed, plans: dict[str, list[Planned]]) -> bool:
    """Wait until all events have arrived, showing progress; false when nothing more comes."""
    expected = sum(one.accepted for plan in plans.values() for one in plan)
    refusals = sum(not one.accepted for plan in plans.values() for one in plan)
    before, since, shown = -1, time.monotonic(), 0.0
    while True:
        arrived = sum(len(_workspace(bundle, program).events) for program in plans)
        refused = sum(_refused().values())
        if arrived != before:
            before, since = arrived, time.monotonic()
        done = arrived >= expected and refused >= refusals
        if done or time.monotonic() - shown > 5:
            say(f"  {arrived:6,} of {expected:,} events accepted, {refused} of {refusals} bad records refused")
            shown = time.monotonic()
        if done:
            return arrived == expected and refused == refusals
        if time.monotonic() - since > _QUIET_SECONDS:
            say("  nothing more arrives")
            return False
        threading.Event().wait(0.25)


def _workspace(bundle: Deployed, program: str) -> Any:
    return bundle.braze.workspace(f"demo-key-of-{program}")


def _refused() -> Counter[str]:
    from loyalty_bridge.cli.stack import settings
    from loyalty_bridge.delivery import kept

    reasons: Counter[str] = Counter()
    for program in (*PROGRAMS, kept.UNKNOWN_PROGRAM):
        for line in kept.bundles(settings(), "refused", program):
            reasons.update(line.reasons)
    return reasons


def _summary(bundle: Deployed, program: str, plan: list[Planned], sent: dict[str, float]) -> None:
    workspace = _workspace(bundle, program)
    arrived = Counter(event.object["name"] for event in workspace.events)
    say(f"\n{program} ({PROGRAMS[program]})")
    say(f"  {'event type':32}{'sent':>8}{'accepted':>10}")
    for kind, count in sorted(Counter(one.type for one in plan if one.accepted).items()):
        say(f"  {kind:32}{count:8,}{arrived[f'convercus_{kind}']:10,}")
    say(f"  {'purchases':32}{sum(one.purchase for one in plan):8,}{len(workspace.purchases):10,}")
    objects = sum(request.objects for request in workspace.requests)
    say(
        f"  {len(workspace.requests):,} requests with {objects:,} objects "
        f"(at 75 each, all in one batch: {-(-objects // 75):,}); "
        f"rejected objects: {len(workspace.refused)}, silently dropped: {len(workspace.silently_dropped)}"
    )
    waits = sorted(event.received_at - sent[event.object["properties"]["event_id"]] for event in workspace.events)
    if len(waits) > 1:
        say(
            f"  from arrival to acceptance: p50 {statistics.median(waits):.2f} s, "
            f"p99 {waits[int(len(waits) * 0.99)]:.2f} s"
        )
    profile = next(iter(workspace.profiles.values()), None)
    if profile:
        say(f"  member {profile.external_id} in Braze now:")
        for name, value in {**profile.fields, **profile.custom}.items():
            say(f"    {name:24}{json.dumps(value, ensure_ascii=False)}")


def _totals(bundle: Deployed) -> None:
    """Tell what was refused, and what the functions say of themselves in their logs."""
    say("\nrefused records")
    for reason, count in sorted(_refused().items()):
        say(f"  {count:4} × {reason}")
    counts = _counts(bundle)
    told, sent = counts["attributes_told"], counts["attributes_sent"]
    if told:
        say(
            f"attribute values told by the events: {told:,}; sent: {sent:,}; "
            f"saved, since unchanged or older: {1 - sent / told:.0%}"
        )


def _counts(bundle: Deployed) -> Counter[str]:
    """Add up what the forwarder logged."""
    import boto3

    counts: Counter[str] = Counter()
    pages = (
        boto3.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=bundle.outputs["ForwardEventsLogs"], filterPattern='"forwarded"')
    )
    for page in pages:
        for line in page["events"]:
            if '"message":"forwarded"' in line["message"]:
                told = json.loads(line["message"])
                counts.update({name: value for name, value in told.items() if isinstance(value, int)})
    return counts


def stay() -> int:
    """Keep the bundle running until it is interrupted."""
    with deployed() as bundle:
        say(json.dumps(bundle.endpoints, indent=2))
        say(f"also in {stack.ENDPOINTS.relative_to(stack.ROOT)}; Ctrl-C stops everything")
        done = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: done.set())
        done.wait()
    return 0


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m local.run", description=__doc__)
    parser.add_argument("what", choices=("demo", "stay"))
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--events", type=int, default=1200, help="events of each program, beside those of joining")
    told = parser.parse_args()
    try:
        code = demo(told.members, told.events) if told.what == "demo" else stay()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
