"""Take Convercus events by HTTP, for programs without a stream, and put them on the transport."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import SourceRecord, group_of, single
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.http_api.action import convercus_side
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.settings import DeliverySettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.http_api.requests import ApiRequest
    from loyalty_bridge.model import Json


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer the call."""
    return responses.answer(event, context, work)


def work(call: ApiRequest, _: LambdaContext) -> Answer:
    """Check the key, take the events apart, store each under its member."""
    told = load_settings(DeliverySettings)
    convercus_side(auth.authenticate(told, call.program, call.headers, scope="events").program)
    document = requests.parsed(call)
    events = convercus.events(document)
    if not events:
        raise Invalid("body", "holds no event")
    record = SourceRecord(call.program, b"", datetime.now(UTC))
    placed = []
    for number, event in enumerate(events):
        try:
            placed.append((single(record, event), group_of(call.program, whose(event))))
        except Invalid as refusal:
            where = f"[{number}]" if isinstance(document, list) else ""
            raise Invalid(f"{where}.{refusal.field}".strip("."), refusal.reason) from None
    publisher.publish(told, publisher.grouped(placed))
    return Answer(202, {"received": len(placed)})


def whose(event: Json) -> str:
    """Tell the member that an event is about."""
    member = convercus.member(event) or convercus.alias(event)
    if member is None:
        raise Invalid("accountId", "is missing")
    return member
