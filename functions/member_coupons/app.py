"""Return a member's redeemable coupons while a message is rendered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.http_api import lookups
from loyalty_bridge.platforms.convercus.views import FALLBACK_LANGUAGE, coupons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.http_api.requests import ApiRequest
    from loyalty_bridge.http_api.responses import Response
    from loyalty_bridge.platforms.convercus.client import Client


def handler(event: dict[str, Any], context: LambdaContext) -> Response:
    """Answer the lookup."""
    return lookups.answer(event, context, look)


def look(client: Client, call: ApiRequest, deadline: float) -> Mapping[str, Any]:
    """Return the account's coupons that can be redeemed now."""
    rows = client.account_coupons(call.id("accountId"), deadline=deadline)
    language = call.query.get("lang", "").strip() or FALLBACK_LANGUAGE
    return {"coupons": coupons(rows, language, datetime.now(UTC), client.api)}
