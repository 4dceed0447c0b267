"""Plan the assignment of a coupon to many members, and return the progress of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.errors import NotFound
from loyalty_bridge.http_api import action, auth, responses
from loyalty_bridge.http_api.action import check_limit, convercus_side
from loyalty_bridge.http_api.request_schemas import AssignCouponBatch
from loyalty_bridge.settings import PlanSettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.http_api.action import ActionRequest
    from loyalty_bridge.http_api.requests import ApiRequest


def plan(request: ActionRequest[PlanSettings, AssignCouponBatch]) -> Answer:
    """Plan the assignment of the coupon of the URL to the members of the body, within the program's limit."""
    coupon_id, body, program = request.call.id("couponId"), request.body, request.access.program
    check_limit(convercus_side(program).limits.members_per_batch, len(body.account_ids), "account_ids")
    parts = (coupon_id, body.braze_campaign_id, *body.account_ids)
    context = request.context(coupon_batches.ASSIGN_COUPON_BATCH, *parts)

    def store(reference: str) -> Answer:
        validity = {"valid_from": body.valid_from or "", "valid_to": body.valid_to or ""}
        batch_id = coupon_batches.plan(request.settings, program.id, reference, coupon_id, body.account_ids, **validity)
        return Answer(200, {"batchId": batch_id})

    return context.execute(coupon_batches.ASSIGN_COUPON_BATCH, store, {"coupon_id": coupon_id}, is_repeatable=True)


def progress(call: ApiRequest, _: LambdaContext) -> Answer:
    """Return the progress of the batch of the URL."""
    read = load_settings(PlanSettings)
    auth.authenticate(read, call.program, call.headers)
    batch = coupon_batches.load(read, call.program, call.id("batchId"))
    if batch is None or batch.coupon_id != call.id("couponId"):
        raise NotFound("there is no such batch")
    return Answer(200, coupon_batches.progress(batch, coupon_batches.load_outcomes(read, batch)))


_plan = action.handler(PlanSettings, AssignCouponBatch, plan)


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer either call."""
    if event["requestContext"]["http"]["method"] == "POST":
        return _plan(event, context)
    return responses.answer(event, context, progress)
