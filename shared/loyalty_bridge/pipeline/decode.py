"""First step: decode the messages of a batch into source records."""

from __future__ import annotations

from loyalty_bridge.errors import Invalid, Unavailable
from loyalty_bridge.event_queue import bodies, envelope
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.pipeline.batch import InvocationBatch, Records


def decode(batch: InvocationBatch, messages: list[InboundMessage]) -> Records:
    """Decode messages; reject what is no record, and retry what cannot be read now."""
    records: Records = []
    fetched = 0

    def fetch(key: str) -> bytes:
        nonlocal fetched
        if fetched >= batch.limits.fetched_bytes:
            raise Unavailable("the batch has more stored bodies than one invocation reads")
        body = bodies.load(batch.settings, key)
        fetched += len(body)
        return body

    for message in messages:
        if batch.overtakes(message) or batch.is_late(message, messages[0]):
            batch.retry(message)
            continue
        try:
            records.append((message, envelope.decode(message, fetch)))
        except Invalid as error:
            batch.reject_whole(message, SourceRecord(UNKNOWN_PROGRAM, message.data, message.sent), error)
        except Unavailable:
            batch.retry(message)
    return records
