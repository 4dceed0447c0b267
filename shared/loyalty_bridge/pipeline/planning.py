"""Fifth step: plan a member's wire objects. Attributes are merged into one update, in which the newest value wins."""

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
    """One event on its way to its destination.

    Attributes
    ----------
    missing
        The parts that are neither accepted nor rejected yet.
    accepted
        The parts that the destination has, from this or an earlier delivery.
    is_sent
        Whether the destination has accepted a part now.
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
        """The event id of the loyalty platform, if this is a copy for one of a person's members; else empty."""
        suffix = f"/{self.record.member}"
        is_copy = self.record.member and self.update.event_id.endswith(suffix)
        return self.update.event_id.removesuffix(suffix) if is_copy else ""

    def remove_accepted(self, accepted: set[Part], *, trust_attributes: bool) -> None:
        """Remove the parts that are accepted according to the delivery log.

        With `trust_attributes` also the attributes; else the attribute state decides about each of them, so that a
        state that was lost after the delivery log was written is restored.
        """
        self.accepted_before = set(accepted)
        self.accepted |= accepted
        self.missing -= accepted if trust_attributes else accepted - {"attributes"}

    def accept(self, part: Part, *, is_sent: bool = True) -> None:
        """Note that the destination has a part, from now or from before."""
        self.missing.discard(part)
        self.is_sent |= is_sent
        if not (part == "attributes" and any(error.part == part for error in self.field_errors)):
            self.accepted.add(part)  # else it is incomplete: a redrive may bring the rejected fields

    def reject(self, part: Part, reason: str) -> None:
        """Note that the destination will never take a part."""
        self.missing.discard(part)
        error = FieldError(part, part, reason)
        if error not in self.field_errors:  # attributes may be several objects
            self.field_errors.append(error)


@dataclass(slots=True, eq=False)
class MemberBatch:
    """A member's share of a batch: its deliveries in order, and the attribute versions that they add."""

    key: str
    state: AttributeState
    deliveries: list[Delivery] = field(default_factory=list)
    learned: dict[AttributePath, AttributeVersion] = field(default_factory=dict)

    def attribute_count(self) -> int:
        """Count the attribute values in its deliveries."""
        return sum(
            len(delivery.translation.attributes) for delivery in self.deliveries if "attributes" in delivery.missing
        )


@dataclass(slots=True, eq=False)
class AttributeUpdate:
    """One merged update of a member's attributes, in one or more wire objects."""

    member: MemberBatch
    shares: list[tuple[Delivery, dict[AttributePath, Json]]]
    """The deliveries that it merges, oldest first, each with its values."""
    versions: dict[AttributePath, AttributeVersion]
    objects_left: int = 0
    is_apart: bool = False

    def attribute_count(self) -> int:
        """Count the values that it sends."""
        return len(self.versions)

    def accept(self) -> None:
        """Note that one of its objects is accepted; with the last one, the update is."""
        self.objects_left -= 1
        if self.objects_left == 0:
            self.member.learned |= self.versions
            for delivery, _ in self.shares:
                delivery.accept("attributes")


@dataclass(slots=True, eq=False)
class OutboundObject:
    """A wire object, and the part of a delivery or the attribute update that it carries."""

    object: WireObject
    part: Part
    delivery: Delivery
    update: AttributeUpdate | None = None


def attribute_objects(update: AttributeUpdate, destination: EngagementPlatform, rules: Any) -> list[OutboundObject]:
    """Make the wire objects of an attribute update."""
    values = {path: value for _, share in update.shares for path, value in share.items()}
    delivery = update.shares[-1][0]
    objects = destination.attribute_objects(delivery.translation.identity, values, rules)
    update.objects_left = len(objects)
    return [OutboundObject(one, "attributes", delivery, update) for one in objects]


def plan(
    member: MemberBatch, destination: EngagementPlatform, rules: Any, *, only_changed: bool
) -> list[OutboundObject]:
    """List a member's wire objects in the order in which they take effect; accept what need not be sent."""
    items: list[OutboundObject] = []
    is_alias = getattr(rules, "identifier_type", "") == "user_alias"
    update = _merge(member, only_changed=only_changed, is_alias=is_alias)
    if update:
        items += attribute_objects(update, destination, rules)
    for delivery in member.deliveries:
        for part, one in (
            ("event", delivery.translation.event),
            ("purchase", delivery.translation.purchase),
            ("order", delivery.translation.order),
        ):
            if one and part in delivery.missing:
                items.append(OutboundObject(one, part, delivery))
    return items


def _merge(member: MemberBatch, *, only_changed: bool, is_alias: bool) -> AttributeUpdate | None:
    deliveries = [delivery for delivery in member.deliveries if "attributes" in delivery.missing]
    newest: dict[AttributePath, AttributeVersion] = {}
    for delivery in deliveries:
        time = _milliseconds(delivery)
        for path, value in delivery.translation.attributes.items():
            if member.state.is_newest(path, time) and (path not in newest or newest[path].time <= time):
                newest[path] = member.state.version(time, value)
    versions = {
        path: version for path, version in newest.items() if not only_changed or member.state.is_changed(path, version)
    }
    if versions or (is_alias and any(delivery.missing - {"attributes"} for delivery in member.deliveries)):
        # An app's SDK may overwrite the attribute that holds the member's id. So it is sent again with all other
        # attributes, and also with every event if templates can name a member by nothing else.
        labels = {delivery.update.member_label for delivery in deliveries}
        versions |= {path: version for path, version in newest.items() if path[0] in labels}
    member.learned |= {path: version for path, version in newest.items() if path not in versions}
    shares = []
    for delivery in sorted(deliveries, key=_milliseconds):  # stable: of equal times, the later record stays later
        time = _milliseconds(delivery)
        share = {
            path: value
            for path, value in delivery.translation.attributes.items()
            if path in versions and member.state.is_newest(path, time)
        }
        if share:
            shares.append((delivery, share))
        else:
            delivery.accept("attributes", is_sent=False)
    return AttributeUpdate(member, shares, versions) if shares else None


def apart(update: AttributeUpdate) -> list[AttributeUpdate]:
    """Split an update into one for each delivery, so that a bad value costs only its own record; empty if split."""
    if update.is_apart:
        return []
    update.is_apart = True
    return [
        AttributeUpdate(
            update.member,
            [(delivery, share)],
            {path: update.member.state.version(_milliseconds(delivery), value) for path, value in share.items()},
        )
        for delivery, share in update.shares
    ]


def _milliseconds(delivery: Delivery) -> int:
    return int(delivery.update.time.timestamp() * 1000)


def parts(translation: Translation) -> Mapping[Part, bool]:
    """Return which parts a translation has."""
    return {
        "attributes": bool(translation.attributes),
        "event": translation.event is not None,
        "purchase": translation.purchase is not None,
        "order": translation.order is not None,
    }
