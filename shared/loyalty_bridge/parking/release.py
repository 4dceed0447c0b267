"""The scheduled release: requeue waiting records, probe held programs, and put their held records back in order.

A released record goes through the queue or stream again, with its place among the held records: so it passes the block
of its group, while newer records are still held behind it. A parked batch is removed after the queue or stream has its
records: a crash in between publishes them twice, and the delivery log sends each once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from loyalty_bridge.activity import Recorder, write
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import SourceRecord
from loyalty_bridge.infra import aws
from loyalty_bridge.parking import parked_records, removal
from loyalty_bridge.parking.parked_records import ParkedBatch
from loyalty_bridge.programs import delivery_state, repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

RECORDS_PER_RUN = 6000
"""A hundred a second for each program: a destination that has just recovered is not overloaded."""
NEARLY_EMPTY = 20
"""With at most this many parked batches left the program goes live; blocked groups keep the rest in order."""
ENDPOINT = "release_held"
"""The function's name in statistics and error history."""
_TURN = 10
"""Waiting batches that are requeued for one program before the next program has its turn."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the schedule.

    Attributes
    ----------
    deadline
        When the run has to end (of `time.monotonic`).
    check_connection
        Whether a program's connection works.
    """

    settings: DeliverySettings
    deadline: float
    check_connection: Callable[[Program], bool]
    recorder: Recorder = field(default_factory=Recorder)


def run_schedule(
    settings: DeliverySettings, seconds_left: float, check_connection: Callable[[Program], bool]
) -> Counter[str]:
    """Requeue waiting records, probe held programs and release what they hold; return what happened, how often.

    Parameters
    ----------
    check_connection
        Whether a program's connection works, by a request that changes nothing at its destination.
    """
    run = _Run(settings, time.monotonic() + seconds_left, check_connection)
    counts = _run_all(run)
    write(settings, run.recorder)
    return counts


def _run_all(run: _Run) -> Counter[str]:
    counts: Counter[str] = Counter(programs=0, programs_held=0)
    try:
        counts["deleted"] = removal.resume(run.settings, (3 * time.monotonic() + run.deadline) / 4)
    except Unavailable:
        counts["unavailable"] += 1  # the next run goes on
    try:
        programs = list(repository.load_all(run.settings))
    except Unavailable:
        counts["unavailable"] += 1
        return counts
    counts["programs"] = len(programs)
    counts.update(_requeue_waiting(run, programs))
    counts["programs_held"] = sum(
        bool(program.unreadable) or program.delivery_state.state != "live" for program in programs
    )
    due = [program for program in programs if _is_due(program)]
    random.shuffle(due)  # if time runs out before the last, the next run begins with others
    for done in aws.run_in_parallel(partial(_run_program, run), due):
        counts.update(done)
    return counts


def _is_due(program: Program) -> bool:
    state = program.delivery_state
    may_hold = state.state != "live" or state.watch_until > time.time()
    return bool(program.unreadable) or (may_hold and not program.missing())


def _run_program(run: _Run, program: Program) -> Counter[str]:
    done: Counter[str] = Counter()
    if time.monotonic() >= run.deadline:
        return done
    try:
        _probe_and_release(run, program, done)
    except Unavailable as error:
        done["unavailable"] += 1
        run.recorder.problem(program.id, ENDPOINT, "", "unavailable", str(error))
    _record(run.recorder, program, done)
    return done


def _record(recorder: Recorder, program: Program, done: Counter[str]) -> None:
    """Record the outcome of one program for its activity."""
    recorder.event(program.id, ENDPOINT, "released", count=done["released"])
    if program.unreadable:
        recorder.problem(program.id, ENDPOINT, "", "unreadable", program.unreadable)
    if done["probed"]:
        recorder.call(program.id, ENDPOINT, "broken" if done["still_failing"] else "ok")
    if done["still_failing"]:
        recorder.problem(
            program.id, ENDPOINT, program.connection.engagement.platform, "held", program.delivery_state.reason
        )


def _requeue_waiting(run: _Run, programs: Sequence[Program]) -> Counter[str]:
    """Publish the waiting records again, the programs in turns, until half of the time is over."""
    began = datetime.now(UTC)
    deadline = (time.monotonic() + run.deadline) / 2
    counts: Counter[str] = Counter()

    def turn(waiting: Iterator[ParkedBatch]) -> Counter[str]:
        done: Counter[str] = Counter()
        try:
            for batch in islice(waiting, _TURN):
                if time.monotonic() >= deadline:
                    break
                done["batches"] += 1
                published = _requeue(run, batch)
                done["brought_back"] += published["records"]
                done["damaged"] += published["damaged"]
        except Unavailable:
            done["unavailable"] += 1  # the rest stays parked until the next run
        return done

    # A record that is parked again in this run gets a later time, and is left to the next run.
    waiting = [
        takewhile(lambda batch: batch.at <= began, parked_records.batches(run.settings, "waiting", program.id))
        for program in programs
        if program.delivery_state.waiting_until > time.time()
    ]
    random.shuffle(waiting)
    while waiting and time.monotonic() < deadline:
        turns = aws.run_in_parallel(turn, waiting)
        waiting = [one for one, done in zip(waiting, turns, strict=True) if done.pop("batches", 0) == _TURN]
        for done in turns:
            counts.update(done)
    return counts


def _probe_and_release(run: _Run, program: Program, counts: Counter[str]) -> None:
    state = program.delivery_state
    if program.unreadable:  # its records stay held until this version can read it, and a later run must find them
        delivery_state.extend_watch(run.settings, program.id, state, time.time())
        return
    if state.state == "held":
        if state.not_before > time.time():
            return  # the destination has named a time before which it takes nothing
        counts["probed"] += 1
        if not run.check_connection(program):
            counts["still_failing"] += 1
            return
        delivery_state.start_release(run.settings, program.id)
    if _release(run, program.id, counts) and state.state != "live":
        delivery_state.activate(run.settings, program.id, time.time())
        counts["went_live"] += 1


def _release(run: _Run, program: str, counts: Counter[str]) -> bool:
    """Publish a program's held records, in order, at a bounded rate; return whether (nearly) all are published."""
    left = RECORDS_PER_RUN
    while left > 0 and time.monotonic() < run.deadline:
        held = list(islice(parked_records.batches(run.settings, "held", program), NEARLY_EMPTY + 1))
        for batch in held:
            published = _requeue(run, batch)
            counts["released"] += published["records"]
            counts["damaged"] += published["damaged"]
            left -= published["records"]
            if left <= 0 or time.monotonic() >= run.deadline:
                return False
        if len(held) <= NEARLY_EMPTY:
            return True
    return False


def _requeue(run: _Run, batch: ParkedBatch) -> Counter[str]:
    """Publish the records of a parked batch, then remove it; return how many were published, and how many are damaged.

    A damaged or missing record is parked as rejected, so that it blocks nothing and an operator sees it.
    """
    entries = parked_records.records(run.settings, batch)
    damaged = [entry for entry in entries if entry.is_damaged]
    records = [
        (
            replace(entry.record, released=parked_records.place_of(batch.position, number, entry.record.released))
            if batch.kind == "held"
            else entry.record,
            entry.group,
        )
        for number, entry in enumerate(entries)
        if not entry.is_damaged
    ]
    publisher.publish(run.settings, records)
    if damaged:
        parked_records.park(run.settings, "rejected", batch.program, damaged, time.time())
        published = {record.released for record, _ in records}
        # Later records of their groups wait for these places: an empty record settles each of them.
        publisher.publish(
            run.settings,
            [
                (SourceRecord(batch.program, b"", batch.at, released=end), group)
                for group, end in batch.last_places.items()
                if end not in published
            ],
        )
        for entry in damaged:
            reason = f"{entry.field_errors[0].field}: {entry.field_errors[0].reason}"
            run.recorder.problem(batch.program, ENDPOINT, "", "rejected", reason, entry.event_id)
    parked_records.remove(run.settings, batch)
    return Counter(records=len(records), damaged=len(damaged))
