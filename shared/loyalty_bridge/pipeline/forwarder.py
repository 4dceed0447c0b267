"""One batch of the transport, from its records to their settlement.

    unseal → admit (gate) → read → recall (ledger, member state) → plan, pack, send, judge → write down → settle

What the destination has, or can never take, is done; what may succeed later is given back to the transport, or held.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loyalty_bridge.activity import Recorder, buffer
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import envelope
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline import deduplication, intake, member_leases, redelivery
from loyalty_bridge.pipeline.batch import ENDPOINT, InvocationBatch
from loyalty_bridge.pipeline.deduplication import Written
from loyalty_bridge.pipeline.engagement_client import load_secrets, open_sender
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch, parts, plan
from loyalty_bridge.pipeline.sender import NO_TIME, ProgramSender, send
from loyalty_bridge.programs import delivery_state, repository

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

WAIT_SECONDS = 15.0
"""The longest a batch goes on to begin requests to one destination: the other programs' entries are acknowledged only
after it and the last replies."""
SETTLE_SECONDS = 10.0
"""Kept back at the end of the invocation, to write down and settle."""
HOLD_AFTER_SECONDS = 180.0
"""A program whose destination has failed for this long is held."""
_PROGRAMS_AT_ONCE = 100
"""More than a batch has, as a rule: a destination that does not answer keeps no other program waiting."""
_THREADS = 800
"""Of a function's 1,024: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_THREADS_OF_A_REQUEST = 4
"""A request has a worker, and so has a part of one that is taken apart; each of them may have a watchdog."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    Attributes
    ----------
    again
        Receipts of the entries to be delivered again.
    counts
        What happened, how often.
    latencies
        Of each accepted update: seconds from the transport, and seconds from its own time, to acceptance.
    problems
        Why programs' records were not sent, by program.
    tally
        What is to be noted for the programs' activity.
    """

    again: list[str]
    counts: Counter[str]
    latencies: list[tuple[float, float]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)


def forward(event: Mapping[str, Any], settings: DeliverySettings, seconds_left: float) -> Outcome:
    """Deliver a batch.

    Parameters
    ----------
    event
        A Lambda event of SQS or Kinesis.
    seconds_left
        What the invocation has left.
    """
    batch = InvocationBatch(settings, time.monotonic() + seconds_left - SETTLE_SECONDS)
    messages = envelope.inbound_messages(event)
    batch.number(messages)
    batch.counts["received"] = len(messages)
    outcome = Outcome([], batch.counts, recorder=batch.recorder)
    programs: Mapping[str, Program] = {}
    try:
        opened = intake.decode(batch, messages)
        opened = [
            *member_leases.only_leased(
                batch, opened, lambda one: f"{one[1].program}#{one[0].group}", lambda one: one[0]
            )
        ]
        programs = repository.load(settings, {record.program for _, record in opened})
        for program in programs.values():
            buffer.register_program(program)
            if program.unreadable:
                outcome.problems[program.id] = program.unreadable
                batch.recorder.problem(program.id, ENDPOINT, "", "unreadable", program.unreadable)
        admitted = _unlock(batch, intake.admit(batch, opened, programs), programs, outcome.problems)
        members = deduplication.load(batch, intake.read(batch, admitted, programs))
    except Unavailable as error:  # nothing was sent, so nothing is lost and nothing doubled
        outcome.problems["*"] = str(error)
        batch.recorder.problem(UNKNOWN_PROGRAM, ENDPOINT, "", "unavailable", str(error))
        for message in messages:
            batch.give_back(message)
    else:
        for program_id, (sender, written) in _deliver(batch, members, programs).items():
            deliveries = [
                delivery
                for member in members[program_id]
                for delivery in member.deliveries
                if delivery not in written.again
            ]
            problem = _settle(batch, programs[program_id], sender, deliveries)
            if problem:
                outcome.problems[program_id] = problem
            outcome.latencies += _latencies(deliveries)
            _note(batch, program_id, sender, deliveries, problem)
            batch.counts["delivery_not_recorded"] += written.lost
            for delivery in written.again:
                batch.give_back(delivery.message)
        batch.let_pass(opened)
        batch.keep_held(programs)
    # What needs the most stores comes first: where one refuses, nothing was kept that would be kept again next time.
    batch.keep_waiting(programs)
    batch.keep_refused()
    batch.put_sent_on(programs)
    _end_leases(batch)
    _delay(batch)
    outcome.again = list(dict.fromkeys(message.entry for message in batch.again.values()))
    batch.counts["returned"] = len(outcome.again)
    return outcome


def _end_leases(batch: InvocationBatch) -> None:
    try:
        member_leases.give_back(batch, time.monotonic() + 1)
    except Unavailable:
        batch.counts["leases_not_released"] += len(batch.leases)  # they end by themselves


def _unlock(
    batch: InvocationBatch, admitted: intake.Opened, programs: Mapping[str, Program], problems: dict[str, str]
) -> intake.Opened:
    """Pass the records of programs whose secrets open; the others' are left, and the other programs go on.

    Side by side: a key service that does not answer takes many seconds for each program.
    """

    def why_not(program_id: str) -> str:
        if time.monotonic() >= batch.until:
            return NO_TIME
        try:
            load_secrets(programs[program_id])
        except Unavailable as error:
            return str(error)
        return ""

    concerned = list(dict.fromkeys(record.program for _, record in admitted))
    if not concerned:
        return admitted
    with ThreadPoolExecutor(min(_PROGRAMS_AT_ONCE, len(concerned))) as pool:
        problems_of = dict(zip(concerned, pool.map(why_not, concerned), strict=True))
    for program_id, why in problems_of.items():
        if why:
            problems[program_id] = why
            batch.recorder.problem(program_id, ENDPOINT, "", "unavailable", why)
            left = [(message, record) for message, record in admitted if record.program == program_id]
            admitted = [(message, record) for message, record in admitted if record.program != program_id]
            if why == NO_TIME:
                for message, _ in left:
                    batch.give_back(message)
            else:
                _leave(batch, programs[program_id], left, why, broken=False)
    return admitted


def _deliver(
    batch: InvocationBatch, members: Mapping[str, list[MemberBatch]], programs: Mapping[str, Program]
) -> dict[str, tuple[ProgramSender | Unavailable, Written]]:
    """Send each program's items, the programs side by side, and write down at once what was accepted.

    Those that failed before begin last.
    A program that takes long does not delay the marks of the others: an invocation that is ended by force doubles only
    what was under way.
    """

    at_once = max(1, min(_PROGRAMS_AT_ONCE, len(members)))
    workers = max(1, _THREADS // at_once // _THREADS_OF_A_REQUEST)

    def run(program_id: str) -> tuple[ProgramSender | Unavailable, Written]:
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
    """Send one program's items."""
    now = time.monotonic()
    # Of what is left, half at least is for the replies: a request that is cut off may be doubled.
    until = min(now + WAIT_SECONDS, (now + batch.until) / 2)
    try:
        sender = open_sender(program, until, batch.until, int(batch.settings.forwarder_concurrency))
    except Unavailable as error:
        return error
    sender.workers = workers
    only_changed = program.connection.only_changed
    sender.count("attributes_received", sum(one.told() for one in members))
    groups = [plan(one, sender.destination, sender.rules, only_changed=only_changed) for one in members]
    sender.count("attributes_sent", sum(group[0].write.values() for group in groups if group and group[0].write))
    send(sender, [group for group in groups if group])
    return sender


def _settle(
    batch: InvocationBatch, program: Program, sender: ProgramSender | Unavailable, deliveries: list[Delivery]
) -> str:
    """Settle one program's works; tells why some were not sent."""
    problem, broken = (str(sender), False) if isinstance(sender, Unavailable) else (sender.failing, sender.broken)
    if isinstance(sender, ProgramSender):
        batch.counts += sender.counts
    left = [(delivery.message, delivery.record) for delivery in deliveries if delivery.missing]
    wait = sender.not_before - time.monotonic() if isinstance(sender, ProgramSender) else 0.0
    try:
        for delivery in deliveries:
            if not delivery.missing:
                _finish(batch, delivery)
        if left and problem == NO_TIME:
            for message, _ in left:
                batch.give_back(message)
        elif left:
            _leave(batch, program, left, problem, broken=broken, wait=wait)
        takes_all = isinstance(sender, ProgramSender) and sender.counts["requests"] and (not left or problem == NO_TIME)
        if takes_all and program.delivery_state.failing_since:
            delivery_state.note_success(batch.settings, program.id)
    except Unavailable as error:
        problem = f"{problem}; {error}"
        for delivery in deliveries:
            batch.give_back(delivery.message)
    return problem


def _finish(batch: InvocationBatch, delivery: Delivery) -> None:
    """Settle a work of which nothing is missing: what was refused is kept."""
    if delivery.field_errors:
        there = [part for part, present in parts(delivery.translation).items() if present]
        lacking = tuple(dict.fromkeys([*(p for p in there if p not in delivery.accepted), *_never_there(delivery)]))
        field_errors = tuple(delivery.field_errors)
        entry = ParkedRecord(delivery.record, delivery.update.event_id, delivery.message.group, field_errors, lacking)
        batch.refuse(delivery.message, entry, is_whole=not (delivery.is_sent or delivery.accepted_before))


def _leave(
    batch: InvocationBatch,
    program: Program,
    left: list[tuple[InboundMessage, SourceRecord]],
    problem: str,
    *,
    broken: bool,
    wait: float = 0.0,
) -> None:
    """Hold what could not be sent, if that will last; else give it back to the transport.

    Parameters
    ----------
    wait
        Seconds for which the program's destination lets us wait.
    """
    failing_for = batch.now - program.delivery_state.failing_since if program.delivery_state.failing_since else 0.0
    # A shorter wait is over within an invocation: it is worth no write, and is the lane's own.
    is_long = wait > WAIT_SECONDS
    not_before = time.time() + wait if is_long else 0.0
    if not broken and (not program.delivery_state.failing_since or not_before > program.delivery_state.not_before + 1):
        delivery_state.note_failure(batch.settings, program.id, batch.now, not_before)
    # A stream delivers again at once, and gives up what it has delivered often.
    too_often = is_long and not all(message.handle for message, _ in left)
    if broken or too_often or failing_for > HOLD_AFTER_SECONDS:
        batch.hold(program.id, left, problem)
        return
    for message, _ in left:
        batch.give_back(message)
        batch.waits[message.receipt] = wait


def _never_there(delivery: Delivery) -> list[str]:
    """Name the parts that could not even be translated."""
    there = parts(delivery.translation)
    return [refusal.part for refusal in delivery.field_errors if not there[refusal.part]]


def _note(
    batch: InvocationBatch, program: str, sender: ProgramSender | Unavailable, deliveries: list[Delivery], problem: str
) -> None:
    """Note for the activity what became of a program's works."""
    recorder, platform = batch.recorder, buffer.program_labels(program).engagement
    for delivery in deliveries:
        if delivery.missing:
            recorder.problem(program, ENDPOINT, platform, "not_sent", problem, delivery.update.event_id)
        elif delivery.is_sent:
            batch.note(delivery.record, "sent")
        elif delivery.accepted_before or not delivery.field_errors:
            batch.note(delivery.record, "suppressed")
    for since_arrival, _ in _latencies(deliveries):
        recorder.latency(program, ENDPOINT, since_arrival)
    if isinstance(sender, ProgramSender):
        recorder.count(program, ENDPOINT, {f"calls.{how}": count for how, count in sender.replies.items()})
        if lost := sender.replies["outcome_unknown"]:
            why = "it is not known whether a request was taken: what it held may be sent twice"
            recorder.problem(program, ENDPOINT, platform, "outcome_unknown", why, count=lost)
        if missing := sender.counts["not_processed"]:
            why = (
                "fewer objects were processed than sent, and none is named: blocked names or users are among the causes"
            )
            recorder.problem(program, ENDPOINT, platform, "not_processed", why, count=missing)


def _latencies(deliveries: list[Delivery]) -> list[tuple[float, float]]:
    now = time.time()
    return [
        (now - delivery.message.sent.timestamp(), now - delivery.update.time.timestamp())
        for delivery in deliveries
        if delivery.accepted != delivery.accepted_before
    ]


def _delay(batch: InvocationBatch) -> None:
    """Tell the queue when to deliver again; left alone it would wait for the whole visibility time-out.

    A stream cannot be told: the invocation itself waits.
    """
    if first := batch.first_of_stream():
        redelivery.of_stream(first.entry, batch.began, batch.until + SETTLE_SECONDS / 2)
    handles = [message for message in batch.again.values() if message.handle]
    if not handles:
        return
    try:
        with aws.reaching("the queue"):
            aws.sqs().change_message_visibility_batch(
                QueueUrl=batch.settings.events_queue_url,
                Entries=[
                    {
                        "Id": str(number),
                        "ReceiptHandle": message.handle,
                        "VisibilityTimeout": redelivery.of_queue(
                            message.receives, batch.waits.get(message.receipt, 0.0)
                        ),
                    }
                    for number, message in enumerate(handles)
                ],
            )
    except Unavailable:
        batch.counts["delay_not_set"] += len(handles)  # they come back after the visibility time-out
