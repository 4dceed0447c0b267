"""What happens by schedule: records whose person was not known come back, and held programs are probed and released.

Drained records go through the transport again, marked with their shelf position, so that they pass the gate while new
ones still queue up behind them. Bundles leave the shelf after the transport has them: a crash between repeats them,
and the ledger sends each once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import delivery_state, repository

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

RECORDS_PER_RUN = 6000
"""A hundred a second for each program: a destination that has just come back is not run over."""
NEARLY_EMPTY = 20
"""With no more bundles than this left the gate opens; they, and what is held meanwhile, still pass in order."""
ENDPOINT = "release_held"
"""Under which the activity is noted."""
_TURN = 10
"""Bundles of waiting records that one program brings back before the next has its turn."""


def run_schedule(settings: DeliverySettings, seconds_left: float) -> Counter[str]:
    """Do what is due for all programs, and note it for their activity; gives what happened, how often."""
    tally = Recorder()
    counts = _tend(settings, time.monotonic() + seconds_left, tally)
    write(settings, tally)
    return counts


def _tend(settings: DeliverySettings, until: float, tally: Recorder) -> Counter[str]:
    counts: Counter[str] = Counter(programs=0, programs_held=0)
    try:
        counts["deleted"] = removal.go_on(settings, (3 * time.monotonic() + until) / 4)
    except Unavailable:
        counts["unavailable"] += 1  # the next run goes on
    try:
        programs = list(repository.every(settings))
    except Unavailable:
        counts["unavailable"] += 1
        return counts
    counts["programs"] = len(programs)
    _bring_back(settings, programs, (time.monotonic() + until) / 2, counts, tally)
    counts["programs_held"] = sum(
        bool(program.unreadable) or program.delivery_state.state != "live" for program in programs
    )
    due = [
        program
        for program in programs
        if program.unreadable
        or (
            (program.delivery_state.state != "live" or program.delivery_state.watch_until > time.time())
            and not program.missing()
        )
    ]
    random.shuffle(due)  # of more than are tended at once, the others have their turn in the next minutes
    for done in aws.side_by_side(partial(_tend_one, settings, until, tally), due):
        counts.update(done)
    return counts


def _tend_one(settings: DeliverySettings, until: float, tally: Recorder, program: Program) -> Counter[str]:
    done: Counter[str] = Counter()
    if time.monotonic() >= until:
        return done
    try:
        _tend_program(settings, program, until, done, tally)
    except Unavailable as error:
        done["unavailable"] += 1
        tally.problem(program.id, ENDPOINT, "", "unavailable", str(error))
    _note(tally, program, done)
    return done


def _note(tally: Recorder, program: Program, done: Counter[str]) -> None:
    """Note for the activity what was done for a program."""
    tally.event(program.id, ENDPOINT, "released", count=done["released"])
    if program.unreadable:
        tally.problem(program.id, ENDPOINT, "", "unreadable", program.unreadable)
    if done["probed"]:
        tally.call(program.id, ENDPOINT, "broken" if done["still_failing"] else "ok")
    if done["still_failing"]:
        tally.problem(
            program.id, ENDPOINT, program.connection.engagement.platform, "held", program.delivery_state.reason
        )


def _bring_back(
    settings: DeliverySettings, programs: Sequence[Program], until: float, counts: Counter[str], tally: Recorder
) -> None:
    """Put the records that wait for their person on the transport again, the programs in turns, until a deadline."""
    began = datetime.now(UTC)

    def turn(waiting: Iterator[ParkedBatch]) -> Counter[str]:
        done: Counter[str] = Counter()
        try:
            for bundle in islice(waiting, _TURN):
                if time.monotonic() >= until:
                    break
                done["bundles"] += 1
                put = _put_back(settings, bundle, tally)
                done["brought_back"] += put["records"]
                done["damaged"] += put["damaged"]
        except Unavailable:
            done["unavailable"] += 1  # what was not put stays where it is until the next run
        return done

    # What comes back without its person has a later place, and its turn in the next run.
    waiting = [
        takewhile(lambda bundle: bundle.at <= began, parked_records.batches(settings, "waiting", program.id))
        for program in programs
        if program.delivery_state.waiting_until > time.time()
    ]
    random.shuffle(waiting)
    while waiting and time.monotonic() < until:
        turns = aws.side_by_side(turn, waiting)
        waiting = [one for one, done in zip(waiting, turns, strict=True) if done.pop("bundles", 0) == _TURN]
        for done in turns:
            counts.update(done)


def _tend_program(
    settings: DeliverySettings, program: Program, until: float, counts: Counter[str], tally: Recorder
) -> None:
    if program.unreadable:  # its records are held until it can be read, and must be looked for then
        delivery_state.extend_watch(settings, program.id, program.delivery_state, time.time())
        return
    if program.delivery_state.state == "held":
        if program.delivery_state.not_before > time.time():
            return  # the destination has said for how long it takes nothing
        counts["probed"] += 1
        if not check_connection(program):
            counts["still_failing"] += 1
            return
        delivery_state.start_release(settings, program.id)
    if release(settings, program.id, until, counts, tally) and program.delivery_state.state != "live":
        delivery_state.activate(settings, program.id, time.time())
        counts["went_live"] += 1


def release(settings: DeliverySettings, program: str, until: float, counts: Counter[str], tally: Recorder) -> bool:
    """Put a program's held records on the transport, in order, at a bounded rate; tells whether (nearly) all went.

    Raises
    ------
    Unavailable
        A store or the transport does not answer; what was not put stays.
    """
    left = RECORDS_PER_RUN
    while left > 0 and time.monotonic() < until:
        shelf = list(islice(parked_records.batches(settings, "held", program), NEARLY_EMPTY + 1))
        for bundle in shelf:
            put = _put_back(settings, bundle, tally)
            counts["released"] += put["records"]
            counts["damaged"] += put["damaged"]
            left -= put["records"]
            if left <= 0 or time.monotonic() >= until:
                return False
        if len(shelf) <= NEARLY_EMPTY:
            return True
    return False


def _put_back(settings: DeliverySettings, bundle: ParkedBatch, tally: Recorder) -> Counter[str]:
    """Put a bundle on the transport, then take it off its shelf; gives how many of its records were put, and lost.

    What is missing or damaged goes to the refused records, so that it blocks nothing and an operator sees it.
    """
    entries = parked_records.records(settings, bundle)
    damaged = [entry for entry in entries if entry.is_damaged]
    records = [
        (
            replace(entry.record, released=parked_records.place(bundle.position, number, entry.record.released))
            if bundle.shelf == "held"
            else entry.record,
            entry.group,
        )
        for number, entry in enumerate(entries)
        if not entry.is_damaged
    ]
    publisher.publish(settings, records)
    if damaged:
        parked_records.park(settings, "rejected", bundle.program, damaged, time.time())
        there = {record.released for record, _ in records}
        # Later records of their groups wait for these places: an empty record settles each of them.
        publisher.publish(
            settings,
            [
                (SourceRecord(bundle.program, b"", bundle.at, released=end), group)
                for group, end in bundle.ends.items()
                if end not in there
            ],
        )
        for entry in damaged:
            reason = f"{entry.field_errors[0].field}: {entry.field_errors[0].reason}"
            tally.problem(bundle.program, ENDPOINT, "", "rejected", reason, entry.event_id)
    parked_records.remove(settings, bundle)
    return Counter(records=len(records), damaged=len(damaged))
