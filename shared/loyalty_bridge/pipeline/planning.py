"""What is to be sent: the missing parts of each update, each member's attributes merged, newest value first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.model import FieldError, Json, MemberUpdate, Part
from loyalty_bridge.pipeline.attribute_state import AttributeState, AttributeVersion
from loyalty_bridge.platforms.base import AttributePath, EngagementPlatform, Translation, WireObject


@dataclass(slots=True, eq=False)
class Delivery:
    """One update on its way.

    Attributes
    ----------
    missing
        The parts that are neither accepted nor refused yet; the work is done when there is none.
    accepted
        The parts that the destination has, from this or an earlier delivery.
    is_sent
        Whether the destination has taken something of it now.
    """

    message: InboundMessage
    record: SourceRecord
    update: MemberUpdate
    translation: Translation
    log_key: bytes
    missing: set[Part]
    accepted: set[Part] = field(default_factory=set)
    accepted_before: set[Part] = field(default_factory=set)
    field_errors: list[FieldError] = field(default_factory=list)
    is_sent: bool = False

    @property
    def copy_of(self) -> str:
        """The id that the loyalty platform gave the event, if it was sent on to its person's members; else empty."""
        suffix = f"/{self.record.member}"
        is_copy = self.record.member and self.update.event_id.endswith(suffix)
        return self.update.event_id.removesuffix(suffix) if is_copy else ""

    def recall(self, accepted: set[Part], *, trust_attributes: bool) -> None:
        """Take in what the ledger says.

        Unless every writing is to be repeated anyway, attributes are left to the member state: it knows better, and
        repairs itself if it was lost after the ledger was written.
        """
        self.accepted_before = set(accepted)
        self.accepted |= accepted
        self.missing -= accepted if trust_attributes else accepted - {"attributes"}

    def accept(self, part: Part, *, is_sent: bool = True) -> None:
        """Settle a part: the destination has it, from now or from before."""
        self.missing.discard(part)
        self.is_sent |= is_sent
        if not (part == "attributes" and any(refusal.part == part for refusal in self.field_errors)):
            self.accepted.add(part)  # else it is not complete: a redrive may bring the fields that were refused

    def refuse(self, part: Part, reason: str) -> None:
        """Settle a part: the destination will never take it."""
        self.missing.discard(part)
        refusal = FieldError(part, part, reason)
        if refusal not in self.field_errors:  # attributes may be several objects
            self.field_errors.append(refusal)


@dataclass(slots=True, eq=False)
class MemberBatch:
    """A member's share of a batch: its works in order, and what becomes known of it."""

    key: str
    state: AttributeState
    deliveries: list[Delivery] = field(default_factory=list)
    learned: dict[AttributePath, AttributeVersion] = field(default_factory=dict)

    def told(self) -> int:
        """Count the attribute values that its works tell."""
        return sum(
            len(delivery.translation.attributes) for delivery in self.deliveries if "attributes" in delivery.missing
        )


@dataclass(slots=True, eq=False)
class AttributeUpdate:
    """One merged writing of a member's attributes, in one or more wire objects."""

    member: MemberBatch
    shares: list[tuple[Delivery, dict[AttributePath, Json]]]
    """Whose values it holds, oldest first."""
    marks: dict[AttributePath, AttributeVersion]
    objects_left: int = 0
    is_apart: bool = False

    def values(self) -> int:
        """Count the values that it sends."""
        return len(self.marks)

    def accept(self) -> None:
        """One of its objects was accepted; with the last one, all is."""
        self.objects_left -= 1
        if self.objects_left == 0:
            self.member.learned |= self.marks
            for delivery, _ in self.shares:
                delivery.accept("attributes")


@dataclass(slots=True, eq=False)
class OutboundObject:
    """A wire object and what its acceptance settles: an attribute write, or one part of one work."""

    object: WireObject
    part: Part
    delivery: Delivery
    write: AttributeUpdate | None = None


def attribute_objects(write: AttributeUpdate, destination: EngagementPlatform, rules: Any) -> list[OutboundObject]:
    """Make the wire objects of a write."""
    values = {path: value for _, share in write.shares for path, value in share.items()}
    delivery = write.shares[-1][0]
    objects = destination.attribute_objects(delivery.translation.identity, values, rules)
    write.objects_left = len(objects)
    return [OutboundObject(one, "attributes", delivery, write) for one in objects]


def plan(
    member: MemberBatch, destination: EngagementPlatform, rules: Any, *, only_changed: bool
) -> list[OutboundObject]:
    """List a member's wire objects in the order in which they take effect, and settle what need not be sent."""
    items: list[OutboundObject] = []
    is_alias = getattr(rules, "identifier_type", "") == "user_alias"
    write = _merge(member, only_changed=only_changed, is_alias=is_alias)
    if write:
        items += attribute_objects(write, destination, rules)
    for delivery in member.deliveries:
        for part, one in (("event", delivery.translation.event), ("purchase", delivery.translation.purchase)):
            if one and part in delivery.missing:
                items.append(OutboundObject(one, part, delivery))
    return items


def _merge(member: MemberBatch, *, only_changed: bool, is_alias: bool) -> AttributeUpdate | None:
    deliveries = [delivery for delivery in member.deliveries if "attributes" in delivery.missing]
    newest: dict[AttributePath, AttributeVersion] = {}
    for delivery in deliveries:
        time = _milliseconds(delivery)
        for path, value in delivery.translation.attributes.items():
            if member.state.newest(path, time) and (path not in newest or newest[path].time <= time):
                newest[path] = member.state.mark(time, value)
    marks = {path: mark for path, mark in newest.items() if not only_changed or member.state.changes(path, mark)}
    if marks or (is_alias and any(delivery.missing - {"attributes"} for delivery in member.deliveries)):
        # An app's SDK may write the attribute that holds the member's id for its own user. So it is sent again with
        # all other attributes, and with every event where templates have nothing else to name a member by.
        labels = {delivery.update.member_label for delivery in deliveries}
        marks |= {path: mark for path, mark in newest.items() if path[0] in labels}
    member.learned |= {path: mark for path, mark in newest.items() if path not in marks}
    shares = []
    for delivery in sorted(deliveries, key=_milliseconds):  # stable: of equal times, the later record stays later
        time = _milliseconds(delivery)
        share = {
            path: value
            for path, value in delivery.translation.attributes.items()
            if path in marks and member.state.newest(path, time)
        }
        if share:
            shares.append((delivery, share))
        else:
            delivery.accept("attributes", is_sent=False)
    return AttributeUpdate(member, shares, marks) if shares else None


def apart(write: AttributeUpdate) -> list[AttributeUpdate]:
    """Undo the merging, so that one bad value is alone with its own record; nothing when that was done already."""
    if write.is_apart:
        return []
    write.is_apart = True
    return [
        AttributeUpdate(
            write.member,
            [(delivery, share)],
            {path: write.member.state.mark(_milliseconds(delivery), value) for path, value in share.items()},
        )
        for delivery, share in write.shares
    ]


def _milliseconds(delivery: Delivery) -> int:
    return int(delivery.update.time.timestamp() * 1000)


def parts(translation: Translation) -> Mapping[Part, bool]:
    """Tell which parts a translation has."""
    return {
        "attributes": bool(translation.attributes),
        "event": translation.event is not None,
        "purchase": translation.purchase is not None,
    }
