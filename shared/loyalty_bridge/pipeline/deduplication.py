"""What is known before a batch is sent, and what is written down after: ledger and member state.

A batch costs one round trip for every hundred items read (an item for each event and each member) and one for every
twenty-five written, several at once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Invalid
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.model import Part
from loyalty_bridge.pipeline import attribute_state, delivery_log, identities, member_leases
from loyalty_bridge.pipeline.batch import WRITE_SECONDS, InvocationBatch
from loyalty_bridge.pipeline.intake import MappedEvent, owned, without_person
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.programs.secrets import decrypt

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings


@dataclass(frozen=True, slots=True)
class Known:
    """What ledger and member state say about the events and members of a batch."""

    accepted: Mapping[bytes, set[Part]]
    items: dict[str, Mapping[str, Any]]

    def member(self, program: Program, key: str) -> MemberBatch:
        """Make a member with what the program's destination has of it."""
        secret = bytes.fromhex(decrypt(program.id, program.secrets[repository.STATE_KEY].ciphertext))
        item = self.items.get(key)
        return MemberBatch(
            key,
            attribute_state.from_item(item, program.destination_version, secret)
            if item
            else attribute_state.AttributeState(secret),
        )


def look_up(settings: DeliverySettings, mapped: Iterable[MappedEvent], deadline: float) -> Known:
    """Read what is known, and change nothing.

    Raises
    ------
    Unavailable
        DynamoDB does not give all.
    """
    keys: dict[Any, tuple[str, dict[str, Any]]] = {}
    for one in mapped:
        keys[one.delivery.log_key] = (settings.delivery_log_table, {"event": {"B": one.delivery.log_key}})
        for name in _names(one):
            keys[name] = (settings.members_table, {"member": {"S": name}})
    found = dynamodb.batch_get(list(keys.values()), deadline)
    return Known(
        dict(delivery_log.from_item(item) for item in found.get(settings.delivery_log_table, ())),
        {item["member"]["S"]: item for item in found.get(settings.members_table, ())},
    )


def load(batch: InvocationBatch, mapped: Sequence[MappedEvent]) -> dict[str, list[MemberBatch]]:
    """Take from each event what is there already; gives the members of each program with what is left to do.

    Raises
    ------
    Unavailable
        DynamoDB does not give all, or a secret does not open: nothing may be sent then.
    """
    mapped = member_leases.only_leased(batch, mapped, _member_key, lambda one: one.delivery.message)
    known = look_up(batch.settings, mapped, batch.until)
    mapped = _learn(batch, mapped, known)
    programs: dict[str, dict[str, MemberBatch]] = {}
    seen: set[bytes] = set()
    for one in mapped:
        program, delivery = one.program, one.delivery
        before = known.accepted.get(delivery.log_key, set())
        if before or delivery.log_key in seen:
            batch.counts["duplicates"] += 1
        if delivery.log_key in seen:
            batch.note(delivery.record, "suppressed")
            continue  # twice in one batch: the first of them brings it
        seen.add(delivery.log_key)
        delivery.recall(before, trust_attributes=not program.connection.only_changed)
        members = programs.setdefault(program.id, {})
        key = _member_key(one)
        if key not in members:
            members[key] = known.member(program, key)
        members[key].deliveries.append(delivery)
    return {program: list(members.values()) for program, members in programs.items()}


def _member_key(one: MappedEvent) -> str:
    return attribute_state.key(one.program.id, one.delivery.update.member)


def _names(one: MappedEvent) -> list[str]:
    member = one.delivery.update.member
    named = {told.item for told in one.teaches()}
    if one.sent_for:
        named |= {
            identities.key(one.program.generation, one.sent_for),
            identities.key_of_aliases(one.program.generation, member),
        }
    return [_member_key(one), *named]


def _learn(batch: InvocationBatch, mapped: Sequence[MappedEvent], known: Known) -> list[MappedEvent]:
    """Remember the other ids of members, where they are not known yet; gives what still holds for its member.

    What a former owner said about an account is not about its owner; what it did while it owned it is of the account.
    """
    # What comes again taught its ids when it came first, and must not teach them once more.
    new: dict[bytes, MappedEvent] = {}
    for one in mapped:
        if one.delivery.log_key not in known.accepted:
            new.setdefault(one.delivery.log_key, one)
    taught = [told for one in new.values() for told in one.teaches()]
    identities.learn(
        batch.settings,
        [told for told in taught if identities.is_news(known.items.get(told.item, {}), told)],
        batch.until,
    )
    about: defaultdict[str, list[identities.AliasAssertion]] = defaultdict(list)
    for told in taught:
        about[told.item].append(told)
    left = []
    for one in mapped:
        name = identities.key_of_aliases(one.program.generation, one.delivery.update.member)
        owner = identities.owner(known.items.get(name, {}), about[name])
        until = _meant_until(one, known, owner) if one.sent_for else inf
        if one.delivery.update.time.timestamp() > until:
            gone = Invalid(one.program.source.UNRESOLVED_ERROR[0], "no longer means the account")
            batch.refuse_whole(one.delivery.message, one.delivery.record, gone, one.delivery.update.event_id)
            continue
        persons = {alias for alias in (*one.aliases, *one.ended_aliases) if owned(one.program, alias)}
        if until < inf or (owner and owner.alias and persons - {owner.alias}):
            without_person(one)
        left.append(one)
    return left


def _meant_until(one: MappedEvent, known: Known, owner: identities.Owner | None) -> float:
    """Tell until when the alias of a record that was sent on meant its member (epoch seconds)."""
    if owned(one.program, one.sent_for):
        return identities.owned_until(one.sent_for, owner)
    item = known.items.get(identities.key(one.program.generation, one.sent_for), {})
    return identities.meant_until(item, one.delivery.update.member)


@dataclass(frozen=True, slots=True)
class Written:
    """What could not be written down of a program's share of a batch.

    Attributes
    ----------
    lost
        How many items.
    again
        Works whose attributes have to come again, since the member state does not know them.
    """

    lost: int
    again: frozenset[Delivery]


def save(batch: InvocationBatch, program: Program, members: Iterable[MemberBatch]) -> Written:
    """Store what a destination accepted: first the member state, then the ledger.

    A state that is not stored would let an older value win. So the ledger is not told of its attributes, and they come
    again. What the ledger itself does not take was accepted nevertheless: its entries are not given back, since that
    would double them now and for certain, while the gap in the ledger doubles them only if they are delivered once
    more.
    """
    learned = {member.key: member for member in members if member.learned}
    for member in learned.values():
        member.state.marks |= member.learned
    states = [
        attribute_state.to_item(member.key, program.destination_version, member.state) for member in learned.values()
    ]
    until = time.monotonic() + WRITE_SECONDS
    lost = dynamodb.batch_put_remaining([(batch.settings.members_table, item) for item in states], until)
    forgotten = {item["member"]["S"] for _, item in lost}
    accepted: defaultdict[bytes, set[Part]] = defaultdict(set)
    for member in members:
        for delivery in member.deliveries:
            parts = delivery.accepted - (
                {"attributes"} - delivery.accepted_before if member.key in forgotten else set()
            )
            if parts != delivery.accepted_before:
                accepted[delivery.log_key] |= parts
                for part in parts if delivery.copy_of else ():
                    accepted[
                        delivery_log.key_of_copies(program.id, program.destination_version, delivery.copy_of, part)
                    ].add(part)
    items = [
        (batch.settings.delivery_log_table, delivery_log.to_item(event, done, batch.now))
        for event, done in accepted.items()
    ]
    unmarked = dynamodb.batch_put_remaining(items, max(until, time.monotonic() + WRITE_SECONDS / 3))
    without_mark = {item["event"]["B"] for _, item in unmarked}
    again = frozenset(
        delivery
        for member in members
        if member.key in forgotten
        for delivery in member.deliveries
        if "attributes" in delivery.accepted - delivery.accepted_before and not delivery.missing
        # An event that the ledger does not know would be sent twice.
        if delivery.log_key not in without_mark or delivery.accepted == {"attributes"}
    )
    return Written(len(lost) + len(unmarked), again)
