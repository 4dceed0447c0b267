"""Every minute: probe held programs, release their records, and publish waiting records that are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge.parking.release import run_schedule
from loyalty_bridge.parking.single_run import alone
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.settings import DeliverySettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_SECONDS = 15.0

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
def handler(_event: dict[str, Any], context: LambdaContext) -> None:
    """Run the schedule for all programs, unless another invocation does."""
    settings, left = load_settings(DeliverySettings), context.get_remaining_time_in_millis() / 1000
    counts = alone(
        settings, "release_held", left, lambda: run_schedule(settings, left - RESERVE_SECONDS, check_connection)
    )
    for name, count in counts.items():
        metrics.add_metric(name, MetricUnit.Count, count)
    logger.info("release run finished", extra=dict(counts))
