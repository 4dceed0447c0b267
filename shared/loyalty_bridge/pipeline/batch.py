"""One batch of the queue or stream: the decisions about its messages, and how they are carried out.

The steps of the pipeline note what becomes of each record: `reject`, `hold`, `wait`, `republish` or `retry`. When all
requests are sent, the forwarder carries the notes out: `unblock_groups`, `park_held`, `park_waiting`, `park_rejected`,
`publish_copies`. A message that the queue or stream delivers again is left out, since it is decided again then.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from loyalty_bridge.activity import Recorder, buffer
from loyalty_bridge.activity.recorder import UNKNOWN_FIELD
from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.event_queue.publisher import Addressed
from loyalty_bridge.model import PARTS, FieldError
from loyalty_bridge.parking import blocked_groups, parked_records
from loyalty_bridge.parking.blocked_groups import BlockedGroup
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.programs import delivery_state

if TYPE_CHECKING:
    from loyalty_bridge.model import MemberUpdate
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

ENDPOINT = "forward_events"
"""The forwarder's name in statistics and error history."""

WRITE_SECONDS = 6.0
"""How long to retry storing the results of a batch."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one invocation.

    Attributes
    ----------
    wait_seconds
        How long requests to one destination are begun: the other programs' messages are acknowledged only after it
        and the last replies.
    settle_seconds
        Kept back at the end of the invocation, to store results and settle.
    hold_after_seconds
        A program whose destination has failed for this long is held.
    programs_at_once
        More than a batch has, as a rule: a destination that does not answer delays no other program.
    fetched_bytes
        Of bodies from S3: their records take twenty times as much memory.
    known_after
        How long a record waits for its person to become known: platforms send a user before they send its account.
    """

    wait_seconds: float = 15.0
    settle_seconds: float = 10.0
    hold_after_seconds: float = 180.0
    programs_at_once: int = 100
    fetched_bytes: int = 16_000_000
    known_after: timedelta = timedelta(minutes=15)


LIMITS = Limits()

Records = list[tuple[InboundMessage, SourceRecord]]
"""Records, each with the message that brought it."""


@dataclass(slots=True, eq=False)
class InvocationBatch:
    """The messages of one invocation.

    Attributes
    ----------
    deadline
        When sending ends and settling begins (of `time.monotonic`).
    now
        When the invocation began (epoch seconds).
    began
        The same (of `time.monotonic`).
    to_retry
        The messages that the queue or stream delivers again, by receipt.
    retry_after
        Seconds that the destination asks to wait before a message is delivered again, by receipt.
    blocked
        The blocks of the batch's groups, by (program, group).
    problems
        Why records were not sent, by program.
    latencies
        Of each accepted event: seconds from the queue or stream, and seconds from its own time, to acceptance.
    id
        The owner of the batch's leases.
    leases
        The groups and members that the batch has leased.
    """

    settings: DeliverySettings
    deadline: float
    limits: Limits = LIMITS
    now: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    to_retry: dict[str, InboundMessage] = field(default_factory=dict)
    retry_after: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    blocked: dict[tuple[str, str], BlockedGroup] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)
    problems: dict[str, str] = field(default_factory=dict)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    leases: set[str] = field(default_factory=set)
    _to_hold: dict[str, Records] = field(default_factory=dict)
    _hold_reasons: dict[str, str] = field(default_factory=dict)
    _held_receipts: set[str] = field(default_factory=set)
    _to_wait: Records = field(default_factory=list)
    _copies: list[tuple[InboundMessage, Addressed]] = field(default_factory=list)
    _order: dict[str, int] = field(default_factory=dict)
    _first_in_entry: dict[str, int] = field(default_factory=dict)
    _retried_from: dict[str, int] = field(default_factory=dict)
    _rejected: defaultdict[str, list[tuple[InboundMessage, ParkedRecord, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def read_deadline(self) -> float:
        """When reading has to end: half of the time is left for what was read."""
        return self.began + (self.deadline - self.began) / 2

    def is_late(self, message: InboundMessage, first: InboundMessage) -> bool:
        """Return whether there is no time left for a message; the entry of the first is always read."""
        return message.entry != first.entry and time.monotonic() >= self.read_deadline

    def remember_order(self, messages: Sequence[InboundMessage]) -> None:
        """Remember the order in which the messages came."""
        self._order = {message.receipt: number for number, message in enumerate(messages)}
        for number, message in enumerate(messages):
            self._first_in_entry.setdefault(message.entry, number)

    def retry(self, message: InboundMessage) -> None:
        """Have a message delivered again; later messages of its group must not overtake it."""
        self.to_retry[message.receipt] = message
        number = self._order[message.receipt]
        self._retried_from[message.group] = min(number, self._retried_from.get(message.group, number))

    def first_to_retry_of_stream(self) -> InboundMessage | None:
        """Return the first message to which a stream goes back, if any."""
        of_stream = [message for message in self.to_retry.values() if not message.handle]
        return min(of_stream, key=lambda message: self._order[message.receipt], default=None)

    def overtakes(self, message: InboundMessage) -> bool:
        """Return whether an earlier message of the group is delivered again."""
        number = self._order[message.receipt]
        return self._retried_from.get(message.group, number) < number

    def _is_retried(self, message: InboundMessage) -> bool:
        """Return whether a message is delivered again: a stream repeats all from the first message to retry on."""
        if message.handle:
            return message.receipt in self.to_retry
        numbers = [self._first_in_entry[retried.entry] for retried in self.to_retry.values()]
        return bool(numbers) and min(numbers) <= self._order[message.receipt]

    def record(self, record: SourceRecord, outcome: str, program: str = "") -> None:
        """Count the outcome of an event; a released one was counted as received when it came first."""
        received = () if record.released else ("received",)
        self.recorder.event(program or record.program, ENDPOINT, *received, outcome)

    def record_unknown_fields(self, program: Program, update: MemberUpdate) -> None:
        """Count the fields of an event that its mapping does not name, by the event's type."""
        platform, event_type = program.connection.loyalty.platform, update.event.name if update.event else ""
        for unknown in update.unknown:
            if unknown.expected:
                continue
            reason = f"{event_type}: {unknown.field}: {unknown.withheld or 'is sent'}"
            self.recorder.problem(program.id, ENDPOINT, platform, UNKNOWN_FIELD, reason)

    def reject(self, message: InboundMessage, entry: ParkedRecord, *, is_whole: bool = True, program: str = "") -> None:
        """Note a record that can never be delivered as it is.

        Parameters
        ----------
        is_whole
            Whether nothing of it was delivered.
        program
            The program under which it is parked, if that is not its own.
        """
        self._rejected[program or entry.record.program].append((message, entry, is_whole))

    def reject_whole(
        self, message: InboundMessage, record: SourceRecord, error: Invalid, event_id: str = "", *, program: str = ""
    ) -> None:
        """Note a record that cannot be used at all, with the reason."""
        errors = (FieldError("event", error.field, error.reason),)
        self.reject(message, ParkedRecord(record, event_id, message.group, errors, PARTS), program=program)

    def park_rejected(self) -> None:
        """Park the rejected records."""
        for program, noted in self._rejected.items():
            final = [(message, entry, is_whole) for message, entry, is_whole in noted if not self._is_retried(message)]
            with self._retrying_on_failure([message for message, _, _ in final]):
                if final:
                    parked_records.park(self.settings, "rejected", program, [entry for _, entry, _ in final], self.now)
                    self.counts["rejected"] += len(final)
                for _, entry, is_whole in final:
                    self._record_rejected(program, entry, is_whole)

    @contextmanager
    def _retrying_on_failure(self, messages: Sequence[InboundMessage]) -> Iterator[None]:
        """Retry messages if a store does not take their records."""
        try:
            yield
        except Unavailable:
            self.counts["park_failed"] += len(messages)
            for message in messages:
                self.retry(message)

    def _record_rejected(self, program: str, entry: ParkedRecord, is_whole: bool) -> None:
        if is_whole:
            self.record(entry.record, "rejected", program)
        labels = buffer.program_labels(program)
        for error in entry.field_errors[: parked_records.MOST_REASONS]:
            # The destination's own reason may quote a value, so the error history names only the part.
            is_theirs = error.field == error.part
            platform = labels.engagement if is_theirs else labels.loyalty
            reason = f"{error.field}: {'rejected by the destination' if is_theirs else error.reason}"
            self.recorder.problem(labels.program, ENDPOINT, platform, "rejected", reason, entry.event_id)

    def wait(self, message: InboundMessage, record: SourceRecord) -> None:
        """Note a record whose person is not known yet; the schedule publishes it again."""
        self._to_wait.append((message, record))

    def park_waiting(self, programs: Mapping[str, Program]) -> None:
        """Park the waiting records; first extend the time in which the schedule looks for them."""
        by_program: defaultdict[str, Records] = defaultdict(list)
        for message, record in self._to_wait:
            if not self._is_retried(message):
                by_program[record.program].append((message, record))
        for program_id, final in by_program.items():
            with self._retrying_on_failure([message for message, _ in final]):
                delivery_state.extend_waiting(self.settings, program_id, programs[program_id].delivery_state, self.now)
                entries = [ParkedRecord(record, group=message.group) for message, record in final]
                parked_records.park(self.settings, "waiting", program_id, entries, self.now)
                self.counts["waiting"] += len(entries)

    def republish(self, message: InboundMessage, record: SourceRecord, group: str, event_id: str) -> None:
        """Note a copy of a record, for a member whom the record itself does not name."""
        # The id is the same on each delivery of the message, so that the queue drops a copy that it already has.
        parts = json.dumps([message.receipt, event_id, record.member])
        id_ = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
        self._copies.append((message, Addressed(record, group, id_)))

    def publish_copies(self, programs: Mapping[str, Program]) -> None:
        """Publish the copies; if the queue or stream does not take them, park their records as waiting.

        Comes last: before, the copies would pile up while a store does not take other records of the batch. And a
        message that is retried here would park its other records once more.
        """
        final = [(message, copy) for message, copy in self._copies if not self._is_retried(message)]
        receipts = {message.receipt for message, _ in final}
        if not final:
            return
        try:
            publisher.publish(self.settings, [copy for _, copy in final])
            self.counts["republished"] += len(receipts)
        except Unavailable:
            self.counts["not_republished"] += len(receipts)
            events = {(message.receipt, copy.record.body): (message, copy.record) for message, copy in final}
            self._to_wait = [(message, replace(record, member="")) for message, record in events.values()]
            self.park_waiting(programs)

    def hold(self, program: str, records: Records, problem: str = "") -> None:
        """Note records of a program to hold.

        Parameters
        ----------
        problem
            Why the program's later records are held, too; empty if only these are, behind others of their group.
        """
        self._to_hold.setdefault(program, []).extend(records)
        self._held_receipts |= {message.receipt for message, _ in records}
        if problem:
            self._hold_reasons[program] = problem

    def park_held(self, programs: Mapping[str, Program]) -> None:
        """Park the records to hold, block their groups, and hold the programs that cannot send."""
        for program_id, noted in self._to_hold.items():
            final = [(message, record) for message, record in noted if not self._is_retried(message)]
            with self._retrying_on_failure([message for message, _ in final]):
                if final:
                    self._park_held(programs[program_id], final)
                if program_id in self._hold_reasons:
                    delivery_state.hold(self.settings, program_id, self._hold_reasons[program_id], self.now)

    def _park_held(self, program: Program, records: Records) -> None:
        """Park a program's records and block their groups.

        The order keeps a group's order (`parking.blocked_groups`): first the schedule is made to look for the records,
        then they are parked, then their groups are blocked, and only then may their messages be acknowledged.
        """
        by_first_position: defaultdict[str, Records] = defaultdict(list)
        # New records, which have no place yet, come last.
        for message, record in sorted(records, key=lambda pair: pair[1].released or "~"):
            by_first_position[record.released.rpartition(".")[0]].append((message, record))
        old_places = [record.released for _, record in records if record.released]
        blocks = {
            message.group: self.blocked.get((program.id, message.group), BlockedGroup()).without(old_places)
            for message, _ in records
        }
        # Sorts behind the group's other held records, even if a container whose clock is ahead has parked those.
        ahead = [(int(block.last[:13]) + 1.5) / 1000 for block in blocks.values() if block.last]
        now = max([self.now, *ahead])
        delivery_state.extend_watch(self.settings, program.id, program.delivery_state, self.now)
        for first_position, batch in by_first_position.items():
            entries = [ParkedRecord(record, group=message.group) for message, record in batch]
            places = parked_records.park(self.settings, "held", program.id, entries, now, first_position)
            last_places = {entry.group: place for entry, place in zip(entries, places, strict=True)}
            blocks |= {
                group: blocks[group].with_place(place, is_again=bool(first_position))
                for group, place in last_places.items()
            }
        blocked_groups.block(self.settings, program.id, blocks, time.monotonic() + WRITE_SECONDS)
        self.counts["held"] += len(records)
        for _, record in records:
            self.record(record, "held")

    def unblock_groups(self, records: Records) -> None:
        """Shorten or remove the blocks of released records that are settled.

        Comes before `park_held`, which adds the places of records that are held again.
        """
        for message, record in records:
            if record.released and message.receipt not in self.to_retry and message.receipt not in self._held_receipts:
                try:
                    self._unblock(record, message.group)
                except Unavailable:
                    self.retry(message)

    def _unblock(self, record: SourceRecord, group: str) -> None:
        before = self.blocked.get((record.program, group), BlockedGroup())
        after = before.after(record.released)
        if after == before:
            return
        if after.last:
            blocked_groups.block(self.settings, record.program, {group: after}, time.monotonic() + WRITE_SECONDS)
        else:
            blocked_groups.unblock(self.settings, record.program, group)
        self.blocked[record.program, group] = after
