"""Forward a batch of the event queue or stream to the engagement platforms of its programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge import activity
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.settings import DeliverySettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Deliver the batch and return which entries the queue or stream delivers again."""
    settings = load_settings(DeliverySettings)
    outcome = forward(event, settings, context.get_remaining_time_in_millis() / 1000)
    for name, count in outcome.counts.items():
        metrics.add_metric(name, MetricUnit.Count, count)
    for since_arrival, since_event in outcome.latencies[:100]:  # a metric takes at most a hundred values at once
        metrics.add_metric("accepted_after_arrival", MetricUnit.Seconds, since_arrival)
        metrics.add_metric("accepted_after_event", MetricUnit.Seconds, since_event)
    for program, problem in outcome.problems.items():
        logger.warning("not sent", extra={"program": program, "problem": problem})
    activity.write(settings, outcome.recorder)
    logger.info("batch forwarded", extra=dict(outcome.counts))
    return {"batchItemFailures": [{"itemIdentifier": receipt} for receipt in outcome.to_retry]}
