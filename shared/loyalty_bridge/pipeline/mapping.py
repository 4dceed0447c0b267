"""Third step: map each event of each record to the destination's wire objects.

A record that names only a person is republished for each member that this person is, or waits for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Literal

from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.event_queue import envelope
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord, group_of
from loyalty_bridge.model import first_errors
from loyalty_bridge.pipeline import attribute_state, delivery_log, identities
from loyalty_bridge.pipeline.batch import InvocationBatch, Records
from loyalty_bridge.pipeline.identities import AliasAssertion
from loyalty_bridge.pipeline.planning import Delivery, parts
from loyalty_bridge.platforms.registry import ENGAGEMENT

if TYPE_CHECKING:
    from loyalty_bridge.model import Json, MemberUpdate
    from loyalty_bridge.programs.connection import Program

MOST_ALONE = 100
"""Events of one record that are rejected one by one; the rest is rejected as one array."""


@dataclass(slots=True, eq=False)
class MappedEvent:
    """An event of one member, and by which other ids the member is known, or no longer.

    Attributes
    ----------
    via_alias
        The alias for which the record was republished to this member; empty for a record that names its member.
    """

    program: Program
    delivery: Delivery
    aliases: tuple[str, ...]
    ended_aliases: tuple[str, ...] = ()
    via_alias: str = ""

    @property
    def member_key(self) -> str:
        """The key of its member's attribute state."""
        return attribute_state.key(self.program.id, self.delivery.update.member)

    def assertions(self) -> list[AliasAssertion]:
        """Return under which aliases the event says that its member is known, or no longer."""
        update = self.delivery.update
        return [
            AliasAssertion(self.program.generation, alias, update.member, update.time, self._unique(alias), ended)
            for ended, aliases in ((False, self.aliases), (True, self.ended_aliases))
            for alias in aliases
            if not ended or self._unique(alias) == "owner"
        ]

    def _unique(self, alias: str) -> Literal["member", "owner", ""]:
        source = self.program.source
        if source.LOOKUP_ALIAS_PREFIX and alias.startswith(source.LOOKUP_ALIAS_PREFIX):
            return "member"
        return "owner" if is_owner_alias(self.program, alias) else ""


def is_owner_alias(program: Program, alias: str) -> bool:
    """Return whether an alias means a member only while it owns the member's account."""
    return bool(program.source.OWNER_ALIAS_PREFIX) and alias.startswith(program.source.OWNER_ALIAS_PREFIX)


@dataclass(frozen=True, slots=True)
class UnresolvedRecord:
    """A record that names only a person, and by which alias."""

    program: Program
    message: InboundMessage
    record: SourceRecord
    event: Json
    alias: str

    @property
    def name(self) -> identities.Name:
        """The alias among those of all programs."""
        return self.program.generation, self.alias


def map_records(batch: InvocationBatch, records: Records, programs: Mapping[str, Program]) -> list[MappedEvent]:
    """Map each event of each record; an event that cannot be mapped is rejected, and the others go on."""
    mapped: list[MappedEvent] = []
    unresolved: list[UnresolvedRecord] = []
    for message, record in records:
        if batch.overtakes(message) or batch.is_late(message, records[0][0]):
            batch.retry(message)
            continue
        program = programs[record.program]
        events, unusable = envelope.split(record, program.source)
        rejected = [(single, error, "") for single, error in unusable]
        for single, event in events:
            try:
                result = _map_one(batch, message, single, event, program)
            except Invalid as error:
                rejected.append((single, error, _event_id(program, event)))
                continue
            if isinstance(result, MappedEvent):
                mapped.append(result)
            else:
                unresolved.append(result)
        _reject(batch, message, rejected)
    if not unresolved:
        return mapped
    _republish(batch, unresolved, [assertion for event in mapped for assertion in event.assertions()])
    for mapped_event in mapped:
        if batch.overtakes(mapped_event.delivery.message):
            batch.retry(mapped_event.delivery.message)
    return [mapped_event for mapped_event in mapped if not batch.overtakes(mapped_event.delivery.message)]


def _map_one(
    batch: InvocationBatch, message: InboundMessage, record: SourceRecord, event: Json, program: Program
) -> MappedEvent | UnresolvedRecord:
    _check_program(event, record.program)
    source = program.source
    member = record.member or source.member(event, program.connection.loyalty.rules)
    if member is None:
        return UnresolvedRecord(program, message, record, event, person(program, event))
    delivery = map_event(message, record, event, program, member)
    batch.record_unknown_fields(program, delivery.update)
    if delivery.update.event and delivery.update.event.name == source.UNKNOWN_EVENT:
        batch.counts["unknown_events"] += 1
    # A republished record names its member only because its alias was resolved.
    via_alias = source.alias(event) or "" if record.member else ""
    return MappedEvent(program, delivery, source.aliases_of(event), source.ended_aliases(event), via_alias)


def _reject(
    batch: InvocationBatch, message: InboundMessage, rejected: Sequence[tuple[SourceRecord, Invalid, str]]
) -> None:
    """Reject events of one record: each on its own, but those beyond `MOST_ALONE` together, as an array."""
    for record, error, event_id in rejected[:MOST_ALONE]:
        batch.reject_whole(message, record, error, event_id)
    if rest := rejected[MOST_ALONE:]:
        first, error, _ = rest[0]
        together = replace(first, body=b"[%b]" % b",".join(record.body for record, _, _ in rest), document=None)
        reason = f"is one of {len(rest)} more that cannot be used; the first: {error.field} {error.reason}"
        batch.reject_whole(message, together, Invalid("record", reason))


def person(program: Program, event: Json) -> str:
    """Return the alias by which an event without a member names its person.

    Raises
    ------
    Invalid
        The event has no such alias.
    """
    alias = program.source.alias(event)
    if alias is None:
        raise Invalid("accountId", "is missing")
    return alias


def _check_program(event: Json, program: str) -> None:
    named = envelope.program_of(event) if isinstance(event, Mapping) else None
    if isinstance(named, str | int) and str(named).strip() not in {"", program}:
        raise Invalid("programId", "is another one than that of the record")


def _republish(
    batch: InvocationBatch, unresolved: Sequence[UnresolvedRecord], assertions: Sequence[AliasAssertion]
) -> None:
    """Note a copy of each record for each member that its person is; they are published when all is settled."""
    try:
        resolved = identities.members(
            batch.settings,
            [record.name for record in unresolved],
            batch.deadline,
            assertions,
            owned={record.name for record in unresolved if is_owner_alias(record.program, record.alias)},
        )
    except Unavailable:
        for record in unresolved:
            batch.retry(record.message)
        return
    for record in unresolved:
        event_id = _event_id(record.program, record.event)
        try:
            for member in _members_of(batch, record, resolved[record.name]):
                copy = replace(record.record, member=member, released="")
                batch.republish(record.message, copy, group_of(record.program.id, member), event_id)
        except Invalid as error:
            batch.reject_whole(record.message, record.record, error, event_id)


def _members_of(batch: InvocationBatch, unresolved: UnresolvedRecord, members: Mapping[str, float] | None) -> list[str]:
    """Return the members for which a record is; none while it waits for its person to become known.

    Raises
    ------
    Invalid
        The person is ambiguous, is shared by too many members, or did not become known in time.
    """
    program = unresolved.program

    def is_meant(member: str, until: float) -> bool:
        if until in {0, inf}:
            return until == inf
        delivery = map_event(unresolved.message, unresolved.record, unresolved.event, program, member)
        return delivery.update.time.timestamp() <= until

    ambiguous = program.source.AMBIGUOUS_ERRORS.get(unresolved.alias.partition(":")[0])
    if ambiguous and (members is None or len(members) > 1):
        raise Invalid(*ambiguous)
    if members is None:
        reason = f"is shared by more than {identities.MOST_MEMBERS} members, and identifies none of them"
        raise Invalid(program.source.UNRESOLVED_ERROR[0], reason)
    meant = sorted(member for member, until in members.items() if is_meant(member, until))
    if not meant:
        now = datetime.fromtimestamp(batch.now, UTC)
        waiting_since = unresolved.record.waiting_since or now
        if now - waiting_since >= batch.limits.known_after:
            raise Invalid(*program.source.UNRESOLVED_ERROR)
        batch.wait(unresolved.message, replace(unresolved.record, waiting_since=waiting_since))
    return meant


def remove_person(event: MappedEvent) -> None:
    """Remove from an event what it says about its person, who no longer owns the account."""
    delivery, source = event.delivery, event.program.source
    attributes = {
        name: value for name, value in delivery.update.attributes.items() if name not in source.OWNER_ATTRIBUTES
    }
    delivery.update = replace(delivery.update, profile={}, custom={}, attributes=attributes)
    engagement = event.program.connection.engagement
    delivery.translation = ENGAGEMENT[engagement.platform].translate(delivery.update, engagement.rules)
    if not delivery.translation.attributes:
        delivery.missing.discard("attributes")


def map_event(message: InboundMessage, record: SourceRecord, event: Json, program: Program, member: str) -> Delivery:
    """Map one event of one member.

    Raises
    ------
    Invalid
        Nothing of the event can be used.
    """
    if not isinstance(event, Mapping):
        raise Invalid("record", "is not an object")
    loyalty, engagement = program.connection.loyalty, program.connection.engagement
    update = program.source.read(event, loyalty.rules, member=member, received=record.received)
    adapter = ENGAGEMENT[engagement.platform]
    if not adapter.TAKES_FUTURE_TIMES:
        update = _not_after(update, record.received)
    translation = adapter.translate(update, engagement.rules)
    return Delivery(
        message=message,
        record=record,
        update=update,
        translation=translation,
        log_key=delivery_log.key(program.id, program.destination_version, update.event_id),
        missing={part for part, is_present in parts(translation).items() if is_present},
        field_errors=list(first_errors(translation.field_errors)),
    )


def _not_after(update: MemberUpdate, received: datetime) -> MemberUpdate:
    """Limit the times of event and purchase to the arrival; the update's own time, which orders values, stays."""
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
