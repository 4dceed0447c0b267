"""Send a sample event to check a connection; it changes neither the delivery log nor the attribute state."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import NotConnected, Unavailable
from loyalty_bridge.event_queue.envelope import InboundMessage, SourceRecord
from loyalty_bridge.model import Event, MemberUpdate
from loyalty_bridge.pipeline.attribute_state import AttributeState
from loyalty_bridge.pipeline.engagement_client import open_sender
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch, OutboundObject, plan
from loyalty_bridge.platforms.registry import ENGAGEMENT

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program

_SECONDS = 20.0


def send_sample(program: Program, member: str) -> dict[str, Any]:
    """Send the event ``loyalty_bridge_sample`` for a test member once, and return the destination's answer.

    Raises
    ------
    NotConnected
        The connection is incomplete.
    Invalid
        The destination does not accept such a member id.
    """
    if missing := program.missing():
        raise NotConnected(f"missing: {', '.join(missing)}")
    now = datetime.now(UTC)
    event_id = f"sample-{uuid.uuid4()}"
    update = MemberUpdate(
        event_id=event_id,
        member=member,
        time=now,
        event=Event("loyalty_bridge_sample", now, {"event_id": event_id, "program": program.id}),
    )
    side = program.connection.engagement
    speaks = ENGAGEMENT[side.platform]
    delivery = Delivery(
        InboundMessage("sample", "", "", now, b""),
        SourceRecord(program.id, b"", now),
        update,
        speaks.translate(update, side.rules),
        b"",
        {"event"},
    )
    items: list[OutboundObject] = plan(
        MemberBatch("", AttributeState(b"sample"), [delivery]), speaks, side.rules, only_changed=False
    )
    until = time.monotonic() + _SECONDS
    try:
        reply = open_sender(program, until, until).post(items, until)
    except Unavailable as error:
        return {"sent": False, "problem": str(error)}
    verdict = speaks.judge(reply, [item.object for item in items], time.time())
    return {
        "sent": True,
        "status": reply.status,
        "verdict": type(verdict).__name__.lower(),
        "reason": getattr(verdict, "reason", "") or "; ".join(getattr(verdict, "rejected", {}).values()),
        "event_id": update.event_id,
    }
