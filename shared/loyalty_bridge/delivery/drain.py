"""What happens by schedule: records whose person was not known come back, and held programs are probed and drained.

Drained records go through the transport again, marked with their shelf position, so that they pass the gate while new
ones still queue up behind them. Bundles leave the shelf after the transport has them: a crash between repeats them,
and the ledger sends each once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from loyalty_bridge import aws
from loyalty_bridge.activity import Tally, write
from loyalty_bridge.delivery import kept, transport
from loyalty_bridge.delivery.kept import Bundle
from loyalty_bridge.delivery.lanes import probe
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.programs import gate, store

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

RECORDS_PER_RUN = 6000
"""A hundred a second for each program: a destination that has just come back is not run over."""
NEARLY_EMPTY = 20
"""With no more bundles than this left the gate opens; they, and what is held meanwhile, still pass in order."""
ENDPOINT = "drain_held"
"""Under which the activity is noted."""
_WAITING_PER_RUN = 200


def tend(settings: DeliverySettings, seconds_left: float) -> Counter[str]:
    """Do what is due for all programs, and note it for their activity; gives what happened, how often."""
    tally = Tally()
    counts = _tend(settings, time.monotonic() + seconds_left, tally)
    write(settings, tally)
    return counts


def _tend(settings: DeliverySettings, until: float, tally: Tally) -> Counter[str]:
    counts: Counter[str] = Counter(programs=0, programs_held=0)
    try:
        _bring_back(settings, counts)
    except Unavailable:
        counts["unavailable"] += 1  # they stay where they are until the next run
    try:
        programs = list(store.every(settings))
    except Unavailable:
        counts["unavailable"] += 1
        return counts
    counts["programs"] = len(programs)
    counts["programs_held"] = sum(bool(program.unreadable) or program.gate.state != "live" for program in programs)
    due = [
        program
        for program in programs
        if program.unreadable
        or ((program.gate.state != "live" or program.gate.watch_until > time.time()) and not program.missing())
    ]
    random.shuffle(due)  # of more than are tended at once, the others have their turn in the next minutes
    for done in aws.side_by_side(partial(_tend_one, settings, until, tally), due):
        counts.update(done)
    return counts


def _tend_one(settings: DeliverySettings, until: float, tally: Tally, program: Program) -> Counter[str]:
    done: Counter[str] = Counter()
    if time.monotonic() >= until:
        return done
    try:
        _tend_program(settings, program, until, done)
    except Unavailable as error:
        done["unavailable"] += 1
        tally.problem(program.id, ENDPOINT, "", "unavailable", str(error))
    _note(tally, program, done)
    return done


def _note(tally: Tally, program: Program, done: Counter[str]) -> None:
    """Note for the activity what was done for a program."""
    tally.event(program.id, ENDPOINT, "drained", count=done["drained"])
    if program.unreadable:
        tally.problem(program.id, ENDPOINT, "", "unreadable", program.unreadable)
    if done["probed"]:
        tally.call(program.id, ENDPOINT, "broken" if done["still_failing"] else "ok")
    if done["still_failing"]:
        tally.problem(program.id, ENDPOINT, program.connection.engagement.platform, "held", program.gate.reason)


def _bring_back(settings: DeliverySettings, counts: Counter[str]) -> None:
    for bundle in kept.bundles(settings, "waiting", kept.UNKNOWN_PROGRAM, limit=_WAITING_PER_RUN):
        counts["brought_back"] += _put_back(settings, bundle)


def _tend_program(settings: DeliverySettings, program: Program, until: float, counts: Counter[str]) -> None:
    if program.unreadable:  # its records are held until it can be read, and must be looked for then
        gate.watch(settings, program.id, program.gate, time.time())
        return
    if program.gate.state == "held":
        if program.gate.not_before > time.time():
            return  # the destination has said for how long it takes nothing
        counts["probed"] += 1
        if not probe(program):
            counts["still_failing"] += 1
            return
        gate.drain(settings, program.id)
    if drain(settings, program.id, until, counts) and program.gate.state != "live":
        gate.go_live(settings, program.id, time.time())
        counts["went_live"] += 1


def drain(settings: DeliverySettings, program: str, until: float, counts: Counter[str]) -> bool:
    """Put a program's held records on the transport, in order, at a bounded rate; tells whether (nearly) all went.

    Raises
    ------
    Unavailable
        A store or the transport does not answer; what was not put stays.
    """
    left = RECORDS_PER_RUN
    while left > 0 and time.monotonic() < until:
        shelf = list(islice(kept.bundles(settings, "held", program), NEARLY_EMPTY + 1))
        for bundle in shelf:
            put = _put_back(settings, bundle)
            counts["drained"] += put
            left -= put
            if left <= 0 or time.monotonic() >= until:
                return False
        if len(shelf) <= NEARLY_EMPTY:
            return True
    return False


def _put_back(settings: DeliverySettings, bundle: Bundle) -> int:
    """Put a bundle on the transport, then take it off its shelf; gives the number of its records."""
    entries = kept.entries(settings, bundle)
    records = [
        replace(entry.record, drained=kept.place(bundle.position, number, entry.record.drained))
        if bundle.shelf == "held"
        else entry.record
        for number, entry in enumerate(entries)
    ]
    transport.put(settings, [(record, entry.group) for record, entry in zip(records, entries, strict=True)])
    kept.remove(settings, bundle)
    return len(entries)
