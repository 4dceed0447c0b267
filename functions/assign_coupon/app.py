"""Assign a coupon to a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.convercus import ASSIGN_COUPON, assign_coupon
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.http_api.action_context import action_context
from loyalty_bridge.http_api.request_schemas import AssignCoupon
from loyalty_bridge.settings import ActionSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.actions.idempotency import Answer
    from loyalty_bridge.http_api.requests import ApiRequest


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer the call."""
    return responses.answer(event, context, work)


def work(call: ApiRequest, context: LambdaContext) -> Answer:
    """Check the key, read the call, assign."""
    told = settings(ActionSettings)
    admitted = auth.authenticate(told, call.program, call.headers)
    coupon_id, body = call.id("couponId"), requests.body(call, AssignCoupon)
    parts = (body.account_id, coupon_id, body.braze_campaign_id)
    seconds_left = context.get_remaining_time_in_millis() / 1000
    who = action_context(told, admitted, call, ASSIGN_COUPON, body, parts, seconds_left)
    return assign_coupon(who, coupon_id, body.account_id)
