"""Receive Brevo's loyalty webhooks."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from loyalty_bridge.http_api import responses, webhooks
from loyalty_bridge.settings import DeliverySettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

NOT_STORED = 429
"""The only status after which Brevo repeats: https://developers.brevo.com/docs/retry-mechanism."""


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer 200 when every event is stored, 401 for a wrong credential, and 429 for every other failure."""
    try:
        outcome = webhooks.receive(event, "brevo", load_settings(DeliverySettings), not_stored=NOT_STORED)
    except Exception as error:  # noqa: BLE001 - a defect must not make Brevo discard the event
        # The type and the place only: the message may hold data of the delivery.
        where = " < ".join(
            f"{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
        )
        outcome = webhooks.Outcome(NOT_STORED, "", Counter(failed=1), f"{type(error).__name__} in {where}")
    return webhooks.finish(outcome, context)
