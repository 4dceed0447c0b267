"""Fourth step: what the destination has already, and after sending: what it has accepted.

The delivery log has an item for each event, the attribute state one for each member. A batch costs one round trip for
every hundred items read and one for every twenty-five written, several of them side by side.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Invalid
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.model import Part
from loyalty_bridge.pipeline import attribute_state, delivery_log, identities, member_leases
from loyalty_bridge.pipeline.batch import WRITE_SECONDS, InvocationBatch
from loyalty_bridge.pipeline.mapping import MappedEvent, is_owner_alias, remove_person
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.programs.secrets import decrypt

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


@dataclass(frozen=True, slots=True)
class Known:
    """What delivery log and attribute state hold of the events and members of a batch.

    Attributes
    ----------
    accepted
        The accepted parts of events, by key in the delivery log; None where they cannot be read.
    items
        Items of the members' table, by key.
    """

    accepted: Mapping[bytes, set[Part] | None]
    items: dict[str, Mapping[str, Any]]

    def accepted_parts(self, log_key: bytes) -> set[Part]:
        """Return the accepted parts of an event.

        Raises
        ------
        Invalid
            They cannot be read: the event may neither be sent, which could double it, nor be taken for sent.
        """
        parts = self.accepted.get(log_key, set())
        if parts is None:
            raise Invalid("record", delivery_log.UNREADABLE)
        return parts

    def member(self, program: Program, key: str) -> MemberBatch:
        """Return a member with its attribute state at the program's destination."""
        secret = bytes.fromhex(decrypt(program.id, program.secrets[repository.STATE_KEY].ciphertext))
        item = self.items.get(key)
        return MemberBatch(
            key,
            attribute_state.from_item(item, program.destination_version, secret)
            if item
            else attribute_state.AttributeState(secret),
        )


def look_up(settings: DeliverySettings, events: Iterable[MappedEvent], deadline: float) -> Known:
    """Read what is known of events and their members, and change nothing."""
    keys: dict[Any, tuple[str, dict[str, Any]]] = {}
    for event in events:
        log_key = event.delivery.log_key
        keys[log_key] = (settings.delivery_log_table, {"event": {"B": log_key}})
        for name in _item_keys(event):
            keys[name] = (settings.members_table, {"member": {"S": name}})
    found = dynamodb.batch_get(list(keys.values()), deadline)
    return Known(
        dict(delivery_log.from_item(item) for item in found.get(settings.delivery_log_table, ())),
        {item["member"]["S"]: item for item in found.get(settings.members_table, ())},
    )


def load(batch: InvocationBatch, events: list[MappedEvent]) -> dict[str, list[MemberBatch]]:
    """Remove the parts that destinations have already; return the members of each program with the rest.

    Raises
    ------
    Unavailable
        A store does not answer, or a secret cannot be decrypted: nothing may be sent.
    """
    events = member_leases.lease_members(batch, events)
    known = look_up(batch.settings, events, batch.deadline)
    programs: dict[str, dict[str, MemberBatch]] = {}
    in_batch: set[bytes] = set()
    for event in _learn_aliases(batch, _reject_unreadable(batch, events, known), known):
        program, delivery = event.program, event.delivery
        accepted = known.accepted_parts(delivery.log_key)
        if accepted or delivery.log_key in in_batch:
            batch.counts["duplicates"] += 1
        if delivery.log_key in in_batch:
            batch.record(delivery.record, "suppressed")
            continue
        in_batch.add(delivery.log_key)
        delivery.remove_accepted(accepted, trust_attributes=not program.connection.only_changed)
        members = programs.setdefault(program.id, {})
        if event.member_key not in members:
            members[event.member_key] = known.member(program, event.member_key)
        members[event.member_key].deliveries.append(delivery)
    return {program: list(members.values()) for program, members in programs.items()}


def _reject_unreadable(batch: InvocationBatch, events: Sequence[MappedEvent], known: Known) -> list[MappedEvent]:
    """Reject the events whose accepted parts cannot be read, each once; return the others."""
    readable: list[MappedEvent] = []
    rejected: set[bytes] = set()
    for event in events:
        delivery = event.delivery
        try:
            known.accepted_parts(delivery.log_key)
        except Invalid as error:
            if delivery.log_key in rejected:
                batch.record(delivery.record, "suppressed")
            else:
                batch.reject_whole(delivery.message, delivery.record, error, delivery.update.event_id)
            rejected.add(delivery.log_key)
        else:
            readable.append(event)
    return readable


def _item_keys(event: MappedEvent) -> list[str]:
    """Return the keys of the members' items that the event needs."""
    keys = {assertion.item for assertion in event.assertions()}
    if event.via_alias:
        generation, member = event.program.generation, event.delivery.update.member
        keys |= {identities.key(generation, event.via_alias), identities.key_of_aliases(generation, member)}
    return [event.member_key, *keys]


def _learn_aliases(batch: InvocationBatch, events: Sequence[MappedEvent], known: Known) -> list[MappedEvent]:
    """Store the members' aliases that are not known yet; return the events that are still their member's.

    What a former owner's record says about the person is not about the account's owner now. But what happened to the
    account while that person owned it stays the account's.
    """
    # An event that comes again has asserted its aliases already, and must not do so once more.
    new: dict[bytes, MappedEvent] = {}
    for event in events:
        if event.delivery.log_key not in known.accepted:
            new.setdefault(event.delivery.log_key, event)
    assertions = [assertion for event in new.values() for assertion in event.assertions()]
    news = [assertion for assertion in assertions if identities.is_news(known.items.get(assertion.item, {}), assertion)]
    identities.learn(batch.settings, news, batch.deadline)
    by_item: defaultdict[str, list[identities.AliasAssertion]] = defaultdict(list)
    for assertion in assertions:
        by_item[assertion.item].append(assertion)
    valid = []
    for event in events:
        program, update = event.program, event.delivery.update
        key = identities.key_of_aliases(program.generation, update.member)
        owner = identities.owner(known.items.get(key, {}), by_item[key])
        until = _meant_until(event, known, owner) if event.via_alias else inf
        if update.time.timestamp() > until:
            error = Invalid(program.source.UNRESOLVED_ERROR[0], "no longer means the account")
            batch.reject_whole(event.delivery.message, event.delivery.record, error, update.event_id)
            continue
        persons = {alias for alias in (*event.aliases, *event.ended_aliases) if is_owner_alias(program, alias)}
        if until < inf or (owner and owner.alias and persons - {owner.alias}):
            remove_person(event)
        valid.append(event)
    return valid


def _meant_until(event: MappedEvent, known: Known, owner: identities.Owner | None) -> float:
    """Return until when the alias of a republished record meant its member (epoch seconds)."""
    if is_owner_alias(event.program, event.via_alias):
        return identities.owned_until(event.via_alias, owner)
    item = known.items.get(identities.key(event.program.generation, event.via_alias), {})
    return identities.meant_until(item, event.delivery.update.member)


@dataclass(frozen=True, slots=True)
class Saved:
    """What could not be saved of a program's share of a batch.

    Attributes
    ----------
    lost
        How many items.
    to_retry
        Deliveries whose attributes have to be sent again, since the attribute state lacks them.
    """

    lost: int
    to_retry: frozenset[Delivery]


def save(batch: InvocationBatch, program: Program, members: Iterable[MemberBatch]) -> Saved:
    """Save what a destination accepted: first the attribute state, then the delivery log.

    Without its attribute state, an older value would win. So the delivery log leaves out the attributes of a member
    whose state is not saved, and they are sent again. An event that the delivery log itself does not take is not
    retried, because it was accepted: a retry would double it for certain, and the gap only if it is delivered again.
    """
    members = list(members)
    changed = {member.key: member for member in members if member.learned}
    for member in changed.values():
        member.state.versions |= member.learned
    states = [
        attribute_state.to_item(member.key, program.destination_version, member.state) for member in changed.values()
    ]
    deadline = time.monotonic() + WRITE_SECONDS
    unsaved = dynamodb.batch_put_remaining([(batch.settings.members_table, item) for item in states], deadline)
    without_state = {item["member"]["S"] for _, item in unsaved}
    items = [
        (batch.settings.delivery_log_table, delivery_log.to_item(key, parts, batch.now))
        for key, parts in _accepted(program, members, without_state).items()
    ]
    unlogged = dynamodb.batch_put_remaining(items, max(deadline, time.monotonic() + WRITE_SECONDS / 3))
    without_log = {item["event"]["B"] for _, item in unlogged}
    to_retry = frozenset(
        delivery
        for member in members
        if member.key in without_state
        for delivery in member.deliveries
        if "attributes" in delivery.accepted - delivery.accepted_before and not delivery.missing
        # An event that the delivery log lacks would be sent twice.
        if delivery.log_key not in without_log or delivery.accepted == {"attributes"}
    )
    return Saved(len(unsaved) + len(unlogged), to_retry)


def _accepted(
    program: Program, members: Iterable[MemberBatch], without_state: Collection[str]
) -> dict[bytes, set[Part]]:
    """Return the newly accepted parts of events, by key in the delivery log."""
    accepted: defaultdict[bytes, set[Part]] = defaultdict(set)
    for member in members:
        for delivery in member.deliveries:
            unsaved = {"attributes"} - delivery.accepted_before if member.key in without_state else set()
            parts = delivery.accepted - unsaved
            if parts == delivery.accepted_before:
                continue
            accepted[delivery.log_key] |= parts
            for part in parts if delivery.copy_of else ():
                key = delivery_log.key_of_copies(program.id, program.destination_version, delivery.copy_of, part)
                accepted[key].add(part)
    return accepted
