"""Book points on a member account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loyalty_bridge.actions.convercus import BOOK_POINTS, book_points
from loyalty_bridge.http_api import action
from loyalty_bridge.http_api.action import check_limit, convercus_side
from loyalty_bridge.http_api.request_schemas import BookPoints
from loyalty_bridge.settings import ActionSettings

if TYPE_CHECKING:
    from loyalty_bridge.actions.answer import Answer
    from loyalty_bridge.http_api.action import ActionRequest


def book(request: ActionRequest[ActionSettings, BookPoints]) -> Answer:
    """Book the points of the body on the account of the URL, within the program's limit."""
    account_id, body = request.call.id("accountId"), request.body
    check_limit(convercus_side(request.access.program).limits.points_per_booking, body.points, "points")
    parts = (account_id, body.booking_type, body.booking_type_code, body.braze_campaign_id)
    return book_points(
        request.context(BOOK_POINTS, *parts),
        account_id,
        booking_type=body.booking_type,
        booking_type_code=body.booking_type_code,
        points=body.points,
        reason=body.reason,
    )


handler = action.handler(ActionSettings, BookPoints, book)
