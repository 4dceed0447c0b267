"""Return a member's code of a Punchh coupon campaign while a message is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.http_api import coupon_code, lookups

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.http_api.responses import Response


def handler(event: dict[str, Any], context: LambdaContext) -> Response:
    """Answer the lookup."""
    return lookups.within(lookups.MOENGAGE_SECONDS, event, context, coupon_code.look, coupon_code.error_response)
