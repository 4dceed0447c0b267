"""What the forwarder kept."""

from __future__ import annotations

from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import Kind, ParkedRecord
from loyalty_bridge.settings import DeliverySettings


def load_parked(settings: DeliverySettings, kind: Kind, program: str = "demo") -> list[ParkedRecord]:
    """Return what is kept of a program, in order."""
    return [
        entry
        for bundle in parked_records.batches(settings, kind, program)
        for entry in parked_records.records(settings, bundle)
    ]


def refused(settings: DeliverySettings, program: str = "demo") -> dict[str, list[tuple[str, str, str]]]:
    """Return why events were refused, by their id: part, field and reason of each refusal."""
    return {
        entry.event_id: [(it.part, it.field, it.reason) for it in entry.field_errors]
        for entry in load_parked(settings, "rejected", program)
    }
