"""Assign a coupon to a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loyalty_bridge.actions.convercus import ASSIGN_COUPON, assign_coupon
from loyalty_bridge.http_api import action
from loyalty_bridge.http_api.request_schemas import AssignCoupon
from loyalty_bridge.settings import ActionSettings

if TYPE_CHECKING:
    from loyalty_bridge.actions.answer import Answer
    from loyalty_bridge.http_api.action import ActionRequest


def assign(request: ActionRequest[ActionSettings, AssignCoupon]) -> Answer:
    """Assign the coupon of the URL to the member of the body."""
    coupon_id, body = request.call.id("couponId"), request.body
    context = request.context(ASSIGN_COUPON, body.account_id, coupon_id, body.braze_campaign_id)
    return assign_coupon(context, coupon_id, body.account_id)


handler = action.handler(ActionSettings, AssignCoupon, assign)
