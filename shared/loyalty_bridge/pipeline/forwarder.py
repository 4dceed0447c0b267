"""The pipeline: one batch of the queue or stream, from its messages to their settlement.

    decode → admit → map → deduplicate → plan → pack → send → settle

A record that the destination has accepted, or that is parked, is done. A record that may be sent later is delivered
again by the queue or stream, or held.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loyalty_bridge.activity import Recorder
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import envelope
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.pipeline import deduplication, member_leases, settling
from loyalty_bridge.pipeline.admission import admit, load_programs, open_secrets
from loyalty_bridge.pipeline.batch import ENDPOINT, LIMITS, InvocationBatch, Limits
from loyalty_bridge.pipeline.decode import decode
from loyalty_bridge.pipeline.deduplication import Saved
from loyalty_bridge.pipeline.engagement_client import open_sender
from loyalty_bridge.pipeline.mapping import map_records
from loyalty_bridge.pipeline.planning import MemberBatch, plan
from loyalty_bridge.pipeline.sender import ProgramSender, send

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

_THREADS = 800
"""Of a function's 1,024: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_THREADS_OF_A_REQUEST = 4
"""A request has a worker, and so has a part of one that is split; each of them may have a watchdog."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    Attributes
    ----------
    to_retry
        Receipts of the entries that the queue or stream delivers again.
    counts
        What happened, how often.
    latencies
        Of each accepted event: seconds from the queue or stream, and seconds from its own time, to acceptance.
    problems
        Why records were not sent, by program.
    recorder
        The activity of the programs, to store after the batch.
    """

    to_retry: list[str]
    counts: Counter[str]
    latencies: list[tuple[float, float]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)


def forward(
    event: Mapping[str, Any],
    settings: DeliverySettings,
    seconds_left: float,
    *,
    limits: Limits | None = None,
    now: float | None = None,
) -> Outcome:
    """Deliver a batch.

    Parameters
    ----------
    event
        A Lambda event of SQS or Kinesis.
    seconds_left
        The time that the invocation has left.
    now
        Epoch seconds, if another time than the present one.
    """
    limits = limits or LIMITS
    batch = InvocationBatch(
        settings, time.monotonic() + seconds_left - limits.settle_seconds, limits, now=now or time.time()
    )
    messages = envelope.inbound_messages(event)
    batch.remember_order(messages)
    batch.counts["received"] = len(messages)
    programs: Mapping[str, Program] = {}
    try:
        records = member_leases.lease_groups(batch, decode(batch, messages))
        programs = load_programs(batch, {record.program for _, record in records})
        admitted = open_secrets(batch, admit(batch, records, programs), programs)
        members = deduplication.load(batch, map_records(batch, admitted, programs))
    except Unavailable as error:  # nothing was sent, so nothing is lost and nothing doubled
        batch.problems["*"] = str(error)
        batch.recorder.problem(UNKNOWN_PROGRAM, ENDPOINT, "", "unavailable", str(error))
        for message in messages:
            batch.retry(message)
    else:
        for program_id, (sender, saved) in _send_all(batch, members, programs).items():
            settling.settle(batch, programs[program_id], sender, saved, members[program_id])
        batch.unblock_groups(records)
        batch.park_held(programs)
    # The steps from `unblock_groups` on keep this order. Each retries its messages if a store fails, and the later
    # ones skip messages that are retried. The step that needs the most stores comes first, and the publisher, whose
    # failure parks instead of retrying, last: so a retry does not park records twice.
    batch.park_waiting(programs)
    batch.park_rejected()
    batch.publish_copies(programs)
    member_leases.end(batch, time.monotonic() + 1)
    settling.delay_retries(batch)
    to_retry = list(dict.fromkeys(message.entry for message in batch.to_retry.values()))
    batch.counts["returned"] = len(to_retry)
    return Outcome(to_retry, batch.counts, batch.latencies, batch.problems, batch.recorder)


def _send_all(
    batch: InvocationBatch, members: Mapping[str, list[MemberBatch]], programs: Mapping[str, Program]
) -> dict[str, tuple[ProgramSender | Unavailable, Saved]]:
    """Send each program's deliveries, the programs side by side, and save at once what was accepted.

    Programs that failed before come last. A slow program does not delay the delivery log of the others: an invocation
    that is killed doubles only what was under way.
    """
    at_once = max(1, min(batch.limits.programs_at_once, len(members)))
    workers = max(1, _THREADS // at_once // _THREADS_OF_A_REQUEST)

    def run(program_id: str) -> tuple[ProgramSender | Unavailable, Saved]:
        sender = _send(batch, programs[program_id], members[program_id], workers)
        return sender, deduplication.save(batch, programs[program_id], members[program_id])

    if len(members) <= 1:
        return {program_id: run(program_id) for program_id in members}
    in_turn = sorted(members, key=lambda program_id: programs[program_id].delivery_state.failing_since > 0)
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(in_turn, pool.map(run, in_turn), strict=True))


def _send(
    batch: InvocationBatch, program: Program, members: list[MemberBatch], workers: int
) -> ProgramSender | Unavailable:
    """Plan, pack and send one program's deliveries; return its sender, or why it could not be opened."""
    now = time.monotonic()
    # At least half of the time left is for the replies: a request that is cut off may be doubled.
    until = min(now + batch.limits.wait_seconds, (now + batch.deadline) / 2)
    try:
        sender = open_sender(program, until, batch.deadline, int(batch.settings.forwarder_concurrency))
    except Unavailable as error:
        return error
    sender.workers = workers
    only_changed = program.connection.only_changed
    sender.count("attributes_received", sum(member.attribute_count() for member in members))
    groups = [plan(member, sender.destination, sender.rules, only_changed=only_changed) for member in members]
    updates = [group[0].update for group in groups if group]
    sender.count("attributes_sent", sum(update.attribute_count() for update in updates if update))
    send(sender, [group for group in groups if group])
    return sender
