"""Receive Convercus events by HTTP, for programs without a stream, and publish them."""

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
    """Authenticate the call, and publish each event in the group of its member."""
    read = load_settings(DeliverySettings)
    convercus_side(auth.authenticate(read, call.program, call.headers, scope="events").program)
    document = requests.parsed(call)
    events = convercus.events(document)
    if not events:
        raise Invalid("body", "holds no event")
    record = SourceRecord(call.program, b"", datetime.now(UTC))
    grouped = []
    for number, event in enumerate(events):
        try:
            grouped.append((single(record, event), group_of(call.program, member_of(event))))
        except Invalid as error:
            where = f"[{number}]" if isinstance(document, list) else ""
            raise Invalid(f"{where}.{error.field}".strip("."), error.reason) from None
    publisher.publish(read, publisher.grouped(grouped))
    return Answer(202, {"received": len(grouped)})


def member_of(event: Json) -> str:
    """Return the member of an event."""
    member = convercus.member(event) or convercus.alias(event)
    if member is None:
        raise Invalid("accountId", "is missing")
    return member
