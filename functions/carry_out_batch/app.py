"""Assign the coupons of a planned batch; what does not fit into the invocation is gone on with in the next."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import BridgeError, ConnectionBroken
from loyalty_bridge.http_api.action_context import carrier
from loyalty_bridge.settings import PlanSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_SECONDS = 20.0
"""No assignment begins in the last seconds: it would outlive the invocation."""

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Carry out one batch; it comes back until nothing of it is due."""
    (message,) = event["Records"]
    asked = json.loads(message["body"])
    left = context.get_remaining_time_in_millis() / 1000
    told, again = settings(PlanSettings), True
    try:
        batch = coupon_batches.find(told, asked["program"], asked["batch"])
        if batch is None:
            logger.warning("no such batch", extra=asked)
            counts = {"batches_unknown": 1}
            again = False
        else:
            assign = carrier(told, batch, left)
            counts = dict(coupon_batches.carry_out(told, batch, assign, time.monotonic() + left - RESERVE_SECONDS))
            again = "due" in counts
    except BridgeError as error:
        logger.warning("batch is not carried out", extra={**asked, "why": str(error)})
        buffer.tally.problem(asked["program"], coupon_batches.ENDPOINT, "", "unavailable", str(error))
        counts = {"unavailable": 1}
    if again:
        coupon_batches.come_back(told, message["receiptHandle"], int(message["attributes"]["ApproximateReceiveCount"]))
    buffer.write_now()
    for name, count in (counts or {"nothing_due": 1}).items():
        watched = name if name == ConnectionBroken.word else f"batch_{name}"  # every function's, under one name
        metrics.add_metric(watched, MetricUnit.Count, count)
    return {"batchItemFailures": [{"itemIdentifier": message["messageId"]}] if again else []}
