"""The operator's page and its API."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from mangum import Mangum

from loyalty_bridge.admin.app import application
from loyalty_bridge.http_api import responses
from loyalty_bridge.settings import AdminSettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _adapter() -> Mangum:
    return Mangum(application(load_settings(AdminSettings)), lifespan="off")


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request of the gateway."""
    response: dict[str, Any] = _adapter()(event, context)  # type: ignore[arg-type]  # the same, by other names
    responses.count(context.function_name, response["statusCode"])
    return response
