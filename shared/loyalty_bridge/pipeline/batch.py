"""One batch of the transport under way, and how its entries end: done, kept, or given back."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loyalty_bridge.activity import Recorder, buffer
from loyalty_bridge.activity.recorder import UNKNOWN_FIELD
from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.event_queue.publisher import Addressed
from loyalty_bridge.model import FieldError
from loyalty_bridge.parking import blocked_groups, parked_records
from loyalty_bridge.parking.blocked_groups import BlockedGroup
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.programs import delivery_state

if TYPE_CHECKING:
    from loyalty_bridge.model import MemberUpdate
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

PARTS = ("attributes", "event", "purchase")

ENDPOINT = "forward_events"
"""Under which the activity of the forwarder is noted."""

WRITE_SECONDS = 6.0
"""How long to insist on writing down what happened."""


@dataclass(slots=True, eq=False)
class InvocationBatch:
    """A batch under way.

    Attributes
    ----------
    until
        When to stop sending and start writing down (of `time.monotonic`).
    again
        The entries that are given back, by receipt.
    waits
        Seconds for which the destination of an entry that is given back lets us wait, by receipt.
    lines
        The held records of each (program, group) that has some.
    tally
        What is to be noted for the programs' activity.
    id
        What the batch is called as the owner of leases.
    leases
        The groups and members that it has leased.
    """

    settings: DeliverySettings
    until: float
    now: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    again: dict[str, InboundMessage] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lines: dict[tuple[str, str], BlockedGroup] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    leases: set[str] = field(default_factory=set)
    _behind: dict[str, list[tuple[InboundMessage, SourceRecord]]] = field(default_factory=dict)
    _broken: dict[str, str] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)
    _waiting: list[tuple[InboundMessage, SourceRecord]] = field(default_factory=list)
    _sent_on: list[tuple[InboundMessage, Addressed]] = field(default_factory=list)
    _order: dict[str, int] = field(default_factory=dict)
    _first_of_entry: dict[str, int] = field(default_factory=dict)
    _blocked: dict[str, int] = field(default_factory=dict)
    _refused: defaultdict[str, list[tuple[InboundMessage, ParkedRecord, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def read_until(self) -> float:
        """When to stop reading: half of the time is for what was read."""
        return self.began + (self.until - self.began) / 2

    def number(self, messages: Sequence[InboundMessage]) -> None:
        """Take note of the order in which the entries came."""
        self._order = {message.receipt: place for place, message in enumerate(messages)}
        for place, message in enumerate(messages):
            self._first_of_entry.setdefault(message.entry, place)

    def give_back(self, message: InboundMessage) -> None:
        """Let the transport deliver an entry again; what comes later in its group must not overtake it."""
        self.again[message.receipt] = message
        place = self._order[message.receipt]
        self._blocked[message.group] = min(place, self._blocked.get(message.group, place))

    def first_of_stream(self) -> InboundMessage | None:
        """Give the first entry to which a stream goes back."""
        of_stream = [message for message in self.again.values() if not message.handle]
        return min(of_stream, key=lambda message: self._order[message.receipt], default=None)

    def overtakes(self, message: InboundMessage) -> bool:
        """Tell whether an earlier entry of the group is given back."""
        place = self._order[message.receipt]
        return self._blocked.get(message.group, place) < place

    def _comes_again(self, message: InboundMessage) -> bool:
        """Tell whether the transport delivers an entry again: a stream goes back to the first one it is given back."""
        if message.handle:
            return message.receipt in self.again
        places = [self._first_of_entry[given.entry] for given in self.again.values()]
        return bool(places) and min(places) <= self._order[message.receipt]

    def note(self, record: SourceRecord, outcome: str, program: str = "") -> None:
        """Note for the activity what became of an event; one that was held before was received then."""
        self.recorder.event(program or record.program, ENDPOINT, *(() if record.released else ("received",)), outcome)

    def note_unknown(self, program: Program, update: MemberUpdate) -> None:
        """Count the fields of an event that its mapping does not name, by the event's type."""
        platform, kind = program.connection.loyalty.platform, update.event.name if update.event else ""
        for one in update.unknown:
            if one.expected:
                continue
            reason = f"{kind}: {one.field}: {one.withheld or 'is sent'}"
            self.recorder.problem(program.id, ENDPOINT, platform, UNKNOWN_FIELD, reason)

    def refuse(self, message: InboundMessage, entry: ParkedRecord, *, is_whole: bool = True, shelf: str = "") -> None:
        """Note a record that can never be delivered as it is, as a whole or in part.

        Parameters
        ----------
        shelf
            The program on whose shelf it is kept, where that is not its own.
        """
        self._refused[shelf or entry.record.program].append((message, entry, is_whole))

    def refuse_whole(
        self, message: InboundMessage, record: SourceRecord, refusal: Invalid, event_id: str = "", *, shelf: str = ""
    ) -> None:
        """Note a record of which nothing can be used."""
        reasons = (FieldError("event", refusal.field, refusal.reason),)
        self.refuse(message, ParkedRecord(record, event_id, message.group, reasons, PARTS), shelf=shelf)

    def keep_refused(self) -> None:
        """Store what was refused, but not of entries that come again: those are judged again."""
        for program, noted in self._refused.items():
            final = [one for one in noted if not self._comes_again(one[0])]
            with self._keeping([message for message, _, _ in final]):
                if final:
                    parked_records.park(self.settings, "rejected", program, [entry for _, entry, _ in final], self.now)
                    self.counts["rejected"] += len(final)
                for _, entry, is_whole in final:
                    self._note_refused(program, entry, is_whole)

    @contextmanager
    def _keeping(self, messages: Sequence[InboundMessage]) -> Iterator[None]:
        """Give entries back when what is to be kept of them cannot be."""
        try:
            yield
        except Unavailable:
            self.counts["park_failed"] += len(messages)
            for message in messages:
                self.give_back(message)

    def _note_refused(self, program: str, entry: ParkedRecord, is_whole: bool) -> None:
        if is_whole:
            self.note(entry.record, "rejected", program)
        known = buffer.program_labels(program)
        for one in entry.field_errors[: parked_records.MOST_REASONS]:
            # What the destination refuses is named by its part alone, and said in words that may quote a value.
            is_theirs = one.field == one.part
            platform = known.engagement if is_theirs else known.loyalty
            reason = f"{one.field}: {'refused by the destination' if is_theirs else one.reason}"
            self.recorder.problem(known.program, ENDPOINT, platform, "rejected", reason, entry.event_id)

    def wait(self, message: InboundMessage, record: SourceRecord) -> None:
        """Note a record whose person is not known yet; it comes back by schedule."""
        self._waiting.append((message, record))

    def keep_waiting(self, programs: Mapping[str, Program]) -> None:
        """Store the records that wait for their person to become known; the schedule is asked to look for them."""
        by_program: defaultdict[str, list[tuple[InboundMessage, SourceRecord]]] = defaultdict(list)
        for message, record in self._waiting:
            if not self._comes_again(message):
                by_program[record.program].append((message, record))
        for program_id, final in by_program.items():
            with self._keeping([message for message, _ in final]):
                delivery_state.wait(self.settings, program_id, programs[program_id].delivery_state, self.now)
                entries = [ParkedRecord(record, group=message.group) for message, record in final]
                parked_records.park(self.settings, "waiting", program_id, entries, self.now)
                self.counts["waiting"] += len(entries)

    def send_on(self, message: InboundMessage, record: SourceRecord, group: str, event_id: str) -> None:
        """Note a record that is to be put on the transport for a member whom it does not name."""
        # The same each time the entry is delivered, so that the queue recognises a copy that is there already.
        parts = json.dumps([message.receipt, event_id, record.member])
        id_ = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
        self._sent_on.append((message, Addressed(record, group, id_)))

    def put_sent_on(self, programs: Mapping[str, Program]) -> None:
        """Put what is to be sent on, but not of entries that come again; what the transport does not take waits.

        This comes after all that is kept: put before, the copies would pile up while a store refuses to keep something
        else of the batch. Given back for the transport, an entry would let what was kept be kept once more.
        """
        final = [(message, addressed) for message, addressed in self._sent_on if not self._comes_again(message)]
        messages = {message.receipt: message for message, _ in final}
        if not final:
            return
        try:
            publisher.publish(self.settings, [addressed for _, addressed in final])
            self.counts["republished"] += len(messages)
        except Unavailable:
            self.counts["not_republished"] += len(messages)
            events = {(message.receipt, one.record.body): (message, one.record) for message, one in final}
            self._waiting = [(message, replace(copy, member="")) for message, copy in events.values()]
            self.keep_waiting(programs)

    def hold(self, program: str, behind: list[tuple[InboundMessage, SourceRecord]], problem: str = "") -> None:
        """Note records of a program that are to be held.

        Parameters
        ----------
        problem
            Why whatever comes next is to be held, too; empty when these only wait behind others.
        """
        self._behind.setdefault(program, []).extend(behind)
        self._held |= {message.receipt for message, _ in behind}
        if problem:
            self._broken[program] = problem

    def keep_held(self, programs: Mapping[str, Program]) -> None:
        """Keep what is to be held, but not of entries that come again; where that fails, give them back."""
        for program_id, noted in self._behind.items():
            final = [one for one in noted if not self._comes_again(one[0])]
            with self._keeping([message for message, _ in final]):
                if final:
                    self._keep_held(programs[program_id], final)
                if program_id in self._broken:
                    delivery_state.hold(self.settings, program_id, self._broken[program_id], self.now)

    def _keep_held(self, program: Program, behind: list[tuple[InboundMessage, SourceRecord]]) -> None:
        """Keep a program's records in order until its connection works.

        Their groups are marked after they are on the shelf, and before they are acknowledged: whatever comes later in
        a group finds the mark and waits behind them. The schedule is told to look for them before all that.
        """
        by_position: defaultdict[str, list[tuple[InboundMessage, SourceRecord]]] = defaultdict(list)
        for message, record in sorted(behind, key=lambda one: one[1].released or "~"):  # the new ones last
            by_position[record.released.rpartition(".")[0]].append((message, record))
        left = [record.released for _, record in behind if record.released]
        lines = {
            message.group: self.lines.get((program.id, message.group), BlockedGroup()).left_by(left)
            for message, _ in behind
        }
        # Behind what is held of their groups, though it was held by a container whose clock is ahead.
        now = max([self.now, *((int(line.last[:13]) + 1.5) / 1000 for line in lines.values() if line.last)])
        delivery_state.extend_watch(self.settings, program.id, program.delivery_state, self.now)
        for position, records in by_position.items():
            entries = [ParkedRecord(record, group=message.group) for message, record in records]
            places = parked_records.park(self.settings, "held", program.id, entries, now, position)
            ends = {entry.group: place for entry, place in zip(entries, places, strict=True)}
            lines |= {group: lines[group].joined_at(end, again=bool(position)) for group, end in ends.items()}
        blocked_groups.block(self.settings, program.id, lines, time.monotonic() + WRITE_SECONDS)
        self.counts["held"] += len(behind)
        for _, record in behind:
            self.note(record, "held")

    def let_pass(self, opened: list[tuple[InboundMessage, SourceRecord]]) -> None:
        """Let what waits behind released records pass, when they are settled; those to be held once more come after."""
        for message, record in opened:
            if record.released and message.receipt not in self.again and message.receipt not in self._held:
                try:
                    self._let_pass(record, message.group)
                except Unavailable:
                    self.give_back(message)

    def _let_pass(self, record: SourceRecord, group: str) -> None:
        before = self.lines.get((record.program, group), BlockedGroup())
        after = before.passed(record.released)
        if after == before:
            return
        if after.last:
            blocked_groups.block(self.settings, record.program, {group: after}, time.monotonic() + WRITE_SECONDS)
        else:
            blocked_groups.unblock(self.settings, record.program, group)
        self.lines[record.program, group] = after
