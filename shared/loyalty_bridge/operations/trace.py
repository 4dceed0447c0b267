"""Trace an event or a member: delivery log, attribute state, parked records, error history."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from loyalty_bridge import activity
from loyalty_bridge.event_queue.envelope import group_of
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.model import PARTS, UNKNOWN_PROGRAM
from loyalty_bridge.parking import blocked_groups, parked_records
from loyalty_bridge.parking.parked_records import Kind, ParkedRecord
from loyalty_bridge.pipeline import attribute_state, delivery_log

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

_SECONDS = 20.0


def trace(settings: DeliverySettings, program: Program, name: str) -> dict[str, Any]:
    """Collect what the stores know about the id of an event, a member, or an action (errors only)."""
    deadline = time.monotonic() + _SECONDS
    copies = [delivery_log.key_of_copies(program.id, program.destination_version, name, part) for part in PARTS]
    events = [delivery_log.key(program.id, program.destination_version, name), *copies]
    items = dynamodb.batch_get(
        [
            *((settings.delivery_log_table, {"event": {"B": event}}) for event in events),
            (settings.members_table, {"member": {"S": attribute_state.key(program.id, name)}}),
        ],
        deadline,
    )
    accepted = {part for item in items[settings.delivery_log_table] for part in delivery_log.from_item(item)[1] or ()}
    states = [
        attribute_state.from_item(item, program.destination_version, b"-") for item in items[settings.members_table]
    ]
    return {
        "accepted_parts": sorted(accepted),
        "member_attributes_last_set": {
            ".".join(path): datetime.fromtimestamp(version.time / 1000, UTC).isoformat()
            for state in states
            for path, version in sorted(state.versions.items())
        },
        "waits_behind_held_records": bool(
            blocked_groups.load(settings, [(program.id, group_of(program.id, name))], deadline)
        ),
        **{kind: _parked(settings, kind, program.id, name) for kind in get_args(Kind)},
        "errors": [line.to_dict() for line in activity.errors(settings, program.id, record=name).lines],
    }


def _parked(settings: DeliverySettings, kind: Kind, program: str, name: str) -> list[dict[str, Any]]:
    return [
        {
            "position": batch.position,
            "at": batch.at.isoformat(),
            "event_id": entry.event_id,
            "reasons": [f"{error.field}: {error.reason}" for error in entry.field_errors],
            "missing": list(entry.missing),
        }
        for owner in (program, UNKNOWN_PROGRAM)  # a record may have come before the program was connected
        for batch in parked_records.batches(settings, kind, owner)
        for entry in parked_records.records(settings, batch)
        if entry.record.program == program and _is_about(entry, name)
    ]


def _is_about(entry: ParkedRecord, name: str) -> bool:
    return name in (entry.event_id, entry.record.member) or f'"{name}"'.encode() in entry.record.body
