"""Book points on a member account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.convercus import BOOK_POINTS, book_points
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.http_api.action_context import action_context, convercus_side, within
from loyalty_bridge.http_api.request_schemas import BookPoints
from loyalty_bridge.settings import ActionSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.actions.idempotency import Answer
    from loyalty_bridge.http_api.requests import ApiRequest


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer the call."""
    return responses.answer(event, context, work)


def work(call: ApiRequest, context: LambdaContext) -> Answer:
    """Check the key, read the call, book."""
    told = settings(ActionSettings)
    admitted = auth.authenticate(told, call.program, call.headers)
    account_id, body = call.id("accountId"), requests.body(call, BookPoints)
    within(convercus_side(admitted.program).limits.points_per_booking, body.points, "points")
    parts = (account_id, body.booking_type, body.booking_type_code, body.braze_campaign_id)
    seconds_left = context.get_remaining_time_in_millis() / 1000
    who = action_context(told, admitted, call, BOOK_POINTS, body, parts, seconds_left)
    return book_points(
        who,
        account_id,
        booking_type=body.booking_type,
        booking_type_code=body.booking_type_code,
        points=body.points,
        reason=body.reason,
    )
