"""Second step: admit the records of programs that can send; hold, reject or count the others."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.parking import blocked_groups
from loyalty_bridge.pipeline import settling
from loyalty_bridge.pipeline.batch import ENDPOINT, InvocationBatch, Records
from loyalty_bridge.pipeline.engagement_client import load_secrets
from loyalty_bridge.pipeline.sender import NO_TIME
from loyalty_bridge.programs import repository

if TYPE_CHECKING:
    from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
    from loyalty_bridge.programs.connection import Program


def load_programs(batch: InvocationBatch, ids: Iterable[str]) -> Mapping[str, Program]:
    """Load the programs of a batch; note those that this version cannot read."""
    programs = repository.load(batch.settings, set(ids))
    for program in programs.values():
        buffer.register_program(program)
        if program.unreadable:
            batch.problems[program.id] = program.unreadable
            batch.recorder.problem(program.id, ENDPOINT, "", "unreadable", program.unreadable)
    return programs


def admit(batch: InvocationBatch, records: Records, programs: Mapping[str, Program]) -> Records:
    """Return the records of connected, live programs; hold those of held programs and blocked groups.

    Records of incomplete connections are dropped and counted, those of unknown programs are rejected.
    """
    batch.blocked = _load_blocks(batch, records, programs)
    admitted: Records = []
    held: defaultdict[str, Records] = defaultdict(list)
    admitted_places: defaultdict[str, set[str]] = defaultdict(set)
    for message, record in records:
        program = programs.get(record.program)
        if program is None:
            error = Invalid("programId", "is not the id of a program")
            batch.reject_whole(message, record, error, program=UNKNOWN_PROGRAM)
        elif program.since and record.received < program.since:
            error = Invalid("programId", "was that of a program which was deleted after this came")
            batch.reject_whole(message, record, error, program=UNKNOWN_PROGRAM)
        elif program.unreadable:
            held[record.program].append((message, record))
        elif program.missing():
            batch.counts["not_connected"] += 1
            batch.record(record, "not_connected")
        elif _is_held(batch, program, message, record, admitted_places[message.group]):
            held[record.program].append((message, record))
        else:
            admitted.append((message, record))
            admitted_places[message.group].add(record.released)
    for program_id, behind in held.items():
        batch.hold(program_id, behind)
    return admitted


def _load_blocks(
    batch: InvocationBatch, records: Records, programs: Mapping[str, Program]
) -> dict[tuple[str, str], blocked_groups.BlockedGroup]:
    watched = {
        program.id
        for program in programs.values()
        if program.unreadable
        or program.delivery_state.state != "live"
        or program.delivery_state.watch_until > batch.now
    }
    groups = {(record.program, message.group) for message, record in records if record.program in watched}
    return blocked_groups.load(batch.settings, groups, batch.deadline) if groups else {}


def _is_held(
    batch: InvocationBatch, program: Program, message: InboundMessage, record: SourceRecord, admitted_places: set[str]
) -> bool:
    """Return whether a record is held: a new one behind held ones, or a released one behind one that was held again.

    `admitted_places` are the places of the released records of its group that are admitted before it.
    """
    if program.delivery_state.state == "held":
        return True
    block = batch.blocked.get((program.id, message.group))
    if not record.released:
        return block is not None
    return block is not None and any(place < record.released for place in block.held_again - admitted_places)


def open_secrets(batch: InvocationBatch, records: Records, programs: Mapping[str, Program]) -> Records:
    """Return the records of programs whose secrets can be decrypted; hold or retry the others.

    The programs are tried side by side: a key service that does not answer takes many seconds for each.
    """

    def reason_against(program_id: str) -> str:
        if time.monotonic() >= batch.deadline:
            return NO_TIME
        try:
            load_secrets(programs[program_id])
        except Unavailable as error:
            return str(error)
        return ""

    concerned = list(dict.fromkeys(record.program for _, record in records))
    if not concerned:
        return records
    with ThreadPoolExecutor(min(batch.limits.programs_at_once, len(concerned))) as pool:
        reasons = dict(zip(concerned, pool.map(reason_against, concerned), strict=True))
    for program_id, reason in reasons.items():
        if reason:
            batch.problems[program_id] = reason
            batch.recorder.problem(program_id, ENDPOINT, "", "unavailable", reason)
            unsent = [(message, record) for message, record in records if record.program == program_id]
            settling.hold_or_retry(batch, programs[program_id], unsent, settling.Failure(reason))
    return [(message, record) for message, record in records if not reasons[record.program]]
