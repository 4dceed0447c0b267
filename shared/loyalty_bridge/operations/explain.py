"""Preview a record: show what it becomes at the destination, without sending it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue import bodies, envelope
from loyalty_bridge.event_queue.envelope import InboundMessage
from loyalty_bridge.model import Json
from loyalty_bridge.pipeline import attribute_state, deduplication, mapping
from loyalty_bridge.pipeline.mapping import MappedEvent
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch, plan
from loyalty_bridge.platforms.registry import ENGAGEMENT
from loyalty_bridge.programs import repository

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

_SECONDS = 20.0
_EVENT: Mapping[str, Any] = {
    "event_id": "",
    "member": "",
    "time": "",
    "sent_on_to_the_accounts_of": "",
    "accepted_before": [],
    "wire": [],
    "not_sent": {},
    "sent_as_it_is": [],
    "rejected": [],
    "bytes": 0,
}
"""All keys of an explained event: each event has them all, whatever its outcome."""


def explain(settings: DeliverySettings, data: bytes, program_id: str = "") -> dict[str, Any]:
    """Preview a record as if it arrived now: its wire objects, what is left out and why, and what is rejected.

    Parameters
    ----------
    data
        The record as it is on the queue or stream, or as the loyalty platform sent it.
    program_id
        The program, if the record does not name it.

    Raises
    ------
    Invalid
        The record cannot be used.
    """
    message = InboundMessage("explain", "", "", datetime.now(UTC), data)
    if program_id:
        record = envelope.SourceRecord(program_id, data, message.sent)
    else:
        record = envelope.decode(message, lambda key: bodies.load(settings, key))
    program = repository.load(settings, [record.program]).get(record.program)
    if program is None:
        raise Invalid("programId", "is not the id of a program")
    result, unusable = envelope.split(record, program.source)
    if not result:
        raise unusable[0][1]
    return {
        "program": program.id,
        "not_connected_because_missing": program.missing(),
        "delivery_state": program.delivery_state.unreadable or program.delivery_state.state,
        "events": [_event(settings, message, record, event, program) for _, event in result]
        + [_rejected(error) for _, error in unusable],
    }


def _event(
    settings: DeliverySettings, message: InboundMessage, record: envelope.SourceRecord, event: Json, program: Program
) -> dict[str, Any]:
    try:
        member_id = record.member or program.source.member(event, program.connection.loyalty.rules)
        if member_id is None:
            return {**_EVENT, "sent_on_to_the_accounts_of": mapping.person(program, event)}
        delivery = mapping.map_event(message, record, event, program, member_id)
    except Invalid as error:
        return _rejected(error)
    known = deduplication.look_up(settings, [MappedEvent(program, delivery, ())], time.monotonic() + _SECONDS)
    try:
        accepted = known.accepted_parts(delivery.log_key)
    except Invalid as error:
        return _rejected(error)
    delivery.remove_accepted(accepted, trust_attributes=not program.connection.only_changed)
    member = known.member(program, attribute_state.key(program.id, member_id))
    member.deliveries.append(delivery)
    return _explained(program, delivery, member)


def _rejected(error: Invalid) -> dict[str, Any]:
    return {**_EVENT, "rejected": [{"part": "record", "field": error.field, "reason": error.reason}]}


def _explained(program: Program, delivery: Delivery, member: MemberBatch) -> dict[str, Any]:
    before = dict(member.state.versions)
    accepted_before = sorted(delivery.accepted)
    side = program.connection
    speaks = ENGAGEMENT[side.engagement.platform]
    items = plan(member, speaks, side.engagement.rules, only_changed=side.only_changed)
    time_of_event = int(delivery.update.time.timestamp() * 1000)
    sent = {path for item in items if item.update for _, share in item.update.shares for path in share}
    held_back: Mapping[str, str] = {
        ".".join(path): "the destination has a newer value"
        if path in before and before[path].time > time_of_event
        else "unchanged"
        for path in delivery.translation.attributes
        if path not in sent
    }
    return {
        **_EVENT,
        "event_id": delivery.update.event_id,
        "member": delivery.update.member,
        "time": delivery.update.time.isoformat(),
        "accepted_before": accepted_before,
        "wire": [{"array": item.object.array, "object": json.loads(item.object.body)} for item in items],
        "not_sent": {**held_back, **{one.field: one.withheld for one in delivery.update.unknown if one.withheld}},
        "sent_as_it_is": [one.field for one in delivery.update.unknown if not one.withheld],
        "rejected": [
            {"part": error.part, "field": error.field, "reason": error.reason} for error in delivery.field_errors
        ],
        "bytes": sum(len(item.object.body) for item in items),
    }
