"""Plan the assignment of a coupon to many members, and tell how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.actions.idempotency import Answer
from loyalty_bridge.errors import NotFound
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.http_api.action_context import action_context, convercus_side, within
from loyalty_bridge.http_api.request_schemas import AssignCouponBatch
from loyalty_bridge.settings import PlanSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.http_api.requests import ApiRequest


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer either call."""
    return responses.answer(event, context, plan if event["requestContext"]["http"]["method"] == "POST" else progress)


def plan(call: ApiRequest, context: LambdaContext) -> Answer:
    """Check the key, read the call, plan."""
    told = settings(PlanSettings)
    admitted = auth.authenticate(told, call.program, call.headers)
    coupon_id, body = call.id("couponId"), requests.body(call, AssignCouponBatch)
    within(convercus_side(admitted.program).limits.members_per_batch, len(body.account_ids), "account_ids")
    parts = (coupon_id, body.braze_campaign_id, *body.account_ids)
    seconds_left = context.get_remaining_time_in_millis() / 1000
    who = action_context(told, admitted, call, coupon_batches.ASSIGN_COUPON_BATCH, body, parts, seconds_left)

    def act(reference: str) -> Answer:
        validity = {"valid_from": body.valid_from or "", "valid_to": body.valid_to or ""}
        batch_id = coupon_batches.plan(told, call.program, reference, coupon_id, body.account_ids, **validity)
        return Answer(200, {"batchId": batch_id})

    return who.perform(coupon_batches.ASSIGN_COUPON_BATCH, act, {"coupon_id": coupon_id}, resumes=True)


def progress(call: ApiRequest, _: LambdaContext) -> Answer:
    """Check the key, tell how far the batch is."""
    told = settings(PlanSettings)
    auth.authenticate(told, call.program, call.headers)
    batch = coupon_batches.find(told, call.program, call.id("batchId"))
    if batch is None or batch.coupon_id != call.id("couponId"):
        raise NotFound("there is no such batch")
    return Answer(200, coupon_batches.progress(batch, coupon_batches.lines(told, batch)))
