"""Receive Punchh's webhooks, and answer the GET with which Punchh activates a webhook and checks its health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.http_api import responses, webhooks
from loyalty_bridge.settings import DeliverySettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer 200 when every event is stored, 401 for a wrong credential, 503 when an event cannot be stored.

    Punchh repeats a 5xx for almost four hours, a 429 for four minutes, and a 401 not at all:
    https://developers.partech.com/docs/dev-portal-webhooks-manager/webhook-delivery-error-handling-and-retry-logic.
    """
    if event["httpMethod"] == "GET":
        return health(event, context)
    return webhooks.finish(webhooks.receive(event, "punchh", load_settings(DeliverySettings), not_stored=503), context)


def health(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer the GET; a defect must not deactivate the webhook."""
    try:
        healthy = webhooks.health(event, "punchh", load_settings(DeliverySettings))
    except Exception as error:  # noqa: BLE001
        responses.logger.error("webhook health check failed", extra={"reason": type(error).__name__})
        return responses.response(200, {})
    return webhooks.finish(healthy, context) if healthy.problem else responses.response(200, {})
