"""From the entries of a batch to works: opened, admitted by their program's gate, mapped."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Literal

from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.event_queue import bodies, envelope
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord, group_of
from loyalty_bridge.model import UNKNOWN_PROGRAM, first_errors
from loyalty_bridge.parking import blocked_groups
from loyalty_bridge.pipeline import delivery_log, identities
from loyalty_bridge.pipeline.batch import InvocationBatch
from loyalty_bridge.pipeline.identities import AliasAssertion
from loyalty_bridge.pipeline.planning import Delivery, parts
from loyalty_bridge.platforms.registry import ENGAGEMENT

if TYPE_CHECKING:
    from loyalty_bridge.model import Json, MemberUpdate
    from loyalty_bridge.programs.connection import Program

Opened = list[tuple[InboundMessage, SourceRecord]]

FETCHED_BYTES = 16_000_000
"""Of stored bodies, read in one invocation: what comes of them takes twenty times as much memory."""
MOST_ALONE = 100
"""Events of one record that are refused each on its own."""
KNOWN_AFTER = timedelta(minutes=15)
"""How long a record waits for its person to become known: platforms tell of a user before they tell of its account."""


@dataclass(slots=True, eq=False)
class MappedEvent:
    """One update, of which program, and by which other ids its member is known, or no longer.

    Attributes
    ----------
    sent_for
        The alias that a record named which was sent on to this member; empty for one that names the member itself.
    """

    program: Program
    delivery: Delivery
    aliases: tuple[str, ...]
    ended_aliases: tuple[str, ...] = ()
    sent_for: str = ""

    def teaches(self) -> list[AliasAssertion]:
        """Tell under which ids its member is known, or no longer."""
        return [
            AliasAssertion(
                self.program.generation,
                alias,
                self.delivery.update.member,
                self.delivery.update.time,
                self._one(alias),
                ended,
            )
            for ended, named in ((False, self.aliases), (True, self.ended_aliases))
            for alias in named
            if not ended or self._one(alias) == "owner"
        ]

    def _one(self, alias: str) -> Literal["member", "owner", ""]:
        source = self.program.source
        if source.LOOKUP_ALIAS_PREFIX and alias.startswith(source.LOOKUP_ALIAS_PREFIX):
            return "member"
        return "owner" if owned(self.program, alias) else ""


def owned(program: Program, alias: str) -> bool:
    """Tell whether an alias means a member only while it owns it."""
    return bool(program.source.OWNER_ALIAS_PREFIX) and alias.startswith(program.source.OWNER_ALIAS_PREFIX)


@dataclass(frozen=True, slots=True)
class UnresolvedRecord:
    """A record that names only the person, and by which alias."""

    program: Program
    message: InboundMessage
    record: SourceRecord
    event: Json
    alias: str

    @property
    def name(self) -> identities.Name:
        """The alias among those of all programs."""
        return self.program.generation, self.alias


def decode(batch: InvocationBatch, messages: list[InboundMessage]) -> Opened:
    """Open the entries; what is no record is refused, what cannot be fetched (or not now) is given back."""
    opened: Opened = []
    fetched = 0

    def fetch(key: str) -> bytes:
        nonlocal fetched
        if fetched >= FETCHED_BYTES:
            raise Unavailable("more stored bodies than are read at once")
        body = bodies.load(batch.settings, key)
        fetched += len(body)
        return body

    for message in messages:
        if batch.overtakes(message) or _is_late(batch, message, messages[0]):
            batch.give_back(message)
            continue
        try:
            opened.append((message, envelope.decode(message, fetch)))
        except Invalid as refusal:
            batch.refuse_whole(message, SourceRecord(UNKNOWN_PROGRAM, message.data, message.sent), refusal)
        except Unavailable:
            batch.give_back(message)
    return opened


def _is_late(batch: InvocationBatch, message: InboundMessage, first: InboundMessage) -> bool:
    """Tell whether an entry has to come again for want of time; the first never has, and comes wholly."""
    return message.entry != first.entry and time.monotonic() >= batch.read_until


def admit(batch: InvocationBatch, opened: Opened, programs: Mapping[str, Program]) -> Opened:
    """Pass the records whose program is connected and live; those of the others are kept in order, or counted.

    Raises
    ------
    Unavailable
        It cannot be told which groups have held records.
    """
    watched = {
        program.id
        for program in programs.values()
        if program.unreadable
        or program.delivery_state.state != "live"
        or program.delivery_state.watch_until > batch.now
    }
    groups = {(record.program, message.group) for message, record in opened if record.program in watched}
    if groups:
        batch.lines = blocked_groups.load(batch.settings, groups, batch.until)
    admitted: Opened = []
    waiting: defaultdict[str, Opened] = defaultdict(list)
    passing: defaultdict[str, set[str]] = defaultdict(set)
    for message, record in opened:
        program = programs.get(record.program)
        if program is None:
            unknown = Invalid("programId", "is not the id of a program")
            batch.refuse_whole(message, record, unknown, shelf=UNKNOWN_PROGRAM)
        elif program.since and record.received < program.since:
            before = Invalid("programId", "was that of a program which was deleted after this came")
            batch.refuse_whole(message, record, before, shelf=UNKNOWN_PROGRAM)
        elif program.unreadable:
            waiting[record.program].append((message, record))
        elif program.missing():
            batch.counts["not_connected"] += 1
            batch.note(record, "not_connected")
        elif _waits(batch, program, message, record, passing[message.group]):
            waiting[record.program].append((message, record))
        else:
            admitted.append((message, record))
            passing[message.group].add(record.released)
    for program_id, behind in waiting.items():
        batch.hold(program_id, behind)
    return admitted


def _waits(
    batch: InvocationBatch, program: Program, message: InboundMessage, record: SourceRecord, passing: set[str]
) -> bool:
    """Tell whether a record waits: a new one behind held ones of its group, a released one behind those held again.

    `passing` are the places of the released records of its group that pass before it.
    """
    line = batch.lines.get((program.id, message.group))
    if not record.released:
        return program.delivery_state.state == "held" or line is not None
    earlier = line is not None and any(place < record.released for place in line.again - passing)
    return program.delivery_state.state == "held" or earlier


def read(batch: InvocationBatch, admitted: Opened, programs: Mapping[str, Program]) -> list[MappedEvent]:
    """Map each event of each record; what cannot be mapped is refused, and its neighbours go on."""
    mapped: list[MappedEvent] = []
    sought: list[UnresolvedRecord] = []
    for message, record in admitted:
        if batch.overtakes(message) or _is_late(batch, message, admitted[0][0]):
            batch.give_back(message)
            continue
        program = programs[record.program]
        told, unusable = envelope.split(record, program.source)
        refused = [(own, refusal, "") for own, refusal in unusable]
        for own, event in told:
            try:
                one = _read_one(batch, message, own, event, program)
            except Invalid as refusal:
                refused.append((own, refusal, _event_id(program, event)))
                continue
            if isinstance(one, MappedEvent):
                mapped.append(one)
            else:
                sought.append(one)
        _refuse(batch, message, refused)
    if not sought:
        return mapped
    _send_on(batch, sought, [told for one in mapped for told in one.teaches()])
    for one in mapped:
        if batch.overtakes(one.delivery.message):
            batch.give_back(one.delivery.message)
    return [one for one in mapped if not batch.overtakes(one.delivery.message)]


def _read_one(
    batch: InvocationBatch, message: InboundMessage, record: SourceRecord, event: Json, program: Program
) -> MappedEvent | UnresolvedRecord:
    _check_program(event, record.program)
    member = record.member or program.source.member(event, program.connection.loyalty.rules)
    if member is None:
        return UnresolvedRecord(program, message, record, event, person(program, event))
    delivery = translate(message, record, event, program, member)
    batch.note_unknown(program, delivery.update)
    if delivery.update.event and delivery.update.event.name == program.source.UNKNOWN_EVENT:
        batch.counts["unknown_events"] += 1
    # Of a record that was sent on, the member is not its own statement.
    sent_for = program.source.alias(event) or "" if record.member else ""
    return MappedEvent(
        program, delivery, program.source.aliases_of(event), program.source.ended_aliases(event), sent_for
    )


def _refuse(
    batch: InvocationBatch, message: InboundMessage, refused: Sequence[tuple[SourceRecord, Invalid, str]]
) -> None:
    """Refuse events of one record: each on its own, but what goes beyond `MOST_ALONE` together, as an array."""
    for record, refusal, event_id in refused[:MOST_ALONE]:
        batch.refuse_whole(message, record, refusal, event_id)
    if rest := refused[MOST_ALONE:]:
        first, why, _ = rest[0]
        together = replace(first, body=b"[%b]" % b",".join(record.body for record, _, _ in rest), document=None)
        reason = f"is one of {len(rest)} more that cannot be used; of the first, {why.field} {why.reason}"
        batch.refuse_whole(message, together, Invalid("record", reason))


def person(program: Program, event: Json) -> str:
    """Tell the alias by which an event without a member names its person.

    Raises
    ------
    Invalid
        It names nobody.
    """
    alias = program.source.alias(event)
    if alias is None:
        raise Invalid("accountId", "is missing")
    return alias


def _check_program(event: Json, program: str) -> None:
    named = envelope.program_of(event) if isinstance(event, Mapping) else None
    if isinstance(named, str | int) and str(named).strip() not in {"", program}:
        raise Invalid("programId", "is another one than that of the record")


def _send_on(batch: InvocationBatch, sought: Sequence[UnresolvedRecord], taught: Sequence[AliasAssertion]) -> None:
    """Note the records that name only the person, for each member the person is: they are put when all is settled."""
    try:
        known = identities.members(
            batch.settings,
            [one.name for one in sought],
            batch.until,
            taught,
            owned={one.name for one in sought if owned(one.program, one.alias)},
        )
    except Unavailable:
        for one in sought:
            batch.give_back(one.message)
        return
    for one in sought:
        program = one.program
        event_id = _event_id(program, one.event)
        try:
            for member in _members(batch, one, known[one.name]):
                copy = replace(one.record, member=member, released="")
                batch.send_on(one.message, copy, group_of(program.id, member), event_id)
        except Invalid as refusal:
            batch.refuse_whole(one.message, one.record, refusal, event_id)


def _members(batch: InvocationBatch, sought: UnresolvedRecord, members: Mapping[str, float] | None) -> list[str]:
    """Give the members that a record is for; none while it waits for its person to become known.

    Raises
    ------
    Invalid
        It may be one of several, is shared by too many, or has waited for long enough; its time is impossible.
    """
    program = sought.program

    def meant(member: str, until: float) -> bool:
        if until in {0, inf}:
            return until == inf
        delivery = translate(sought.message, sought.record, sought.event, program, member)
        return delivery.update.time.timestamp() <= until

    ambiguous = program.source.AMBIGUOUS_ERRORS.get(sought.alias.partition(":")[0])
    if ambiguous and (members is None or len(members) > 1):
        raise Invalid(*ambiguous)
    if members is None:
        reason = f"is shared by more than {identities.MOST_MEMBERS} members, and identifies none of them"
        raise Invalid(program.source.UNRESOLVED_ERROR[0], reason)
    if not (found := sorted(member for member, until in members.items() if meant(member, until))):
        # Since it was looked for first; what was held has the same time after it.
        now = datetime.fromtimestamp(batch.now, UTC)
        since = sought.record.sought or now
        if now - since >= KNOWN_AFTER:
            raise Invalid(*program.source.UNRESOLVED_ERROR)
        batch.wait(sought.message, replace(sought.record, sought=since))
    return found


def without_person(one: MappedEvent) -> None:
    """Take out of an update what it says about its person, who no longer owns the account."""
    update = one.delivery.update
    attributes = {name: it for name, it in update.attributes.items() if name not in one.program.source.OWNER_ATTRIBUTES}
    update = replace(update, profile={}, custom={}, attributes=attributes)
    side = one.program.connection.engagement
    one.delivery.update, one.delivery.translation = update, ENGAGEMENT[side.platform].translate(update, side.rules)
    if not one.delivery.translation.attributes:
        one.delivery.missing.discard("attributes")


def translate(message: InboundMessage, record: SourceRecord, event: Json, program: Program, member: str) -> Delivery:
    """Map one event of one member.

    Raises
    ------
    Invalid
        Nothing of it can be used.
    """
    if not isinstance(event, Mapping):
        raise Invalid("record", "is not an object")
    side = program.connection
    update = program.source.read(event, side.loyalty.rules, member=member, received=record.received)
    speaks = ENGAGEMENT[side.engagement.platform]
    if not speaks.TAKES_FUTURE_TIMES:
        update = _arrived(update, record.received)
    translation = speaks.translate(update, side.engagement.rules)
    return Delivery(
        message=message,
        record=record,
        update=update,
        translation=translation,
        log_key=delivery_log.key(program.id, program.destination_version, update.event_id),
        missing={part for part, there in parts(translation).items() if there},
        field_errors=list(first_errors(translation.field_errors)),
    )


def _arrived(update: MemberUpdate, received: datetime) -> MemberUpdate:
    """Let nothing have happened after it arrived; the update's own time, which orders values, stays."""
    event, purchase = update.event, update.purchase
    if event and event.time > received:
        update = replace(update, event=replace(event, time=received))
    if purchase and purchase.time > received:
        update = replace(update, purchase=replace(purchase, time=received))
    return update


def _event_id(program: Program, event: Json) -> str:
    try:
        return program.source.event_id(event)
    except Invalid:
        return ""
