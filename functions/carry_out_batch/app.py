"""Execute a planned coupon batch; a batch that does not fit into one invocation continues in the next."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.actions.batch_assignment import assigner
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import BridgeError, ConnectionBroken
from loyalty_bridge.settings import PlanSettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_SECONDS = 20.0
"""No assignment starts in the last seconds, since it could outlive the invocation."""

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run one batch; its message is received again until every member has an outcome."""
    (message,) = event["Records"]
    request = json.loads(message["body"])
    left = context.get_remaining_time_in_millis() / 1000
    read, again = load_settings(PlanSettings), True
    try:
        batch = coupon_batches.load(read, request["program"], request["batch"])
        if batch is None:
            logger.warning("batch not found", extra=request)
            counts, again = {"batches_unknown": 1}, False
        elif batch.is_expired() and not (ended := coupon_batches.reject_untried(read, batch))["due"]:
            counts, again = dict(ended), False
        else:
            assign = assigner(read, batch, left)
            counts = dict(coupon_batches.carry_out(read, batch, assign, time.monotonic() + left - RESERVE_SECONDS))
            again = "due" in counts
    except BridgeError as error:
        logger.warning("batch run failed", extra={**request, "reason": str(error)})
        buffer.recorder.problem(request["program"], coupon_batches.ENDPOINT, "", "unavailable", str(error))
        counts = {"unavailable": 1}
    if again:
        coupon_batches.retry_later(
            read, message["receiptHandle"], int(message["attributes"]["ApproximateReceiveCount"])
        )
    buffer.flush()
    for name, count in (counts or {"nothing_due": 1}).items():
        metric = name if name == ConnectionBroken.word else f"batch_{name}"  # one metric for all functions
        metrics.add_metric(metric, MetricUnit.Count, count)
    return {"batchItemFailures": [{"itemIdentifier": message["messageId"]}] if again else []}
