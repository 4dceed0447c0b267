"""Sign a member up at Punchh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.punchh import device_id, signup_member
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.http_api.action_context import signup_context
from loyalty_bridge.http_api.request_schemas import SignupMember
from loyalty_bridge.programs import credential_breaker
from loyalty_bridge.programs.connection import PUNCHH_ADMIN_KEY, PUNCHH_CLIENT_SECRET
from loyalty_bridge.settings import SignupSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.actions.idempotency import Answer
    from loyalty_bridge.http_api.requests import ApiRequest

LIMIT_SECONDS = 4.0
"""MoEngage waits for five: https://www.moengage.com/docs/user-guide/campaigns-and-channels/connectors"""


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer the call."""
    return responses.answer(event, context, work)


def work(call: ApiRequest, _: LambdaContext) -> Answer:
    """Check the key, read the call, sign up."""
    told = settings(SignupSettings)
    breakers = [credential_breaker.item_of(secret) for secret in (PUNCHH_CLIENT_SECRET, PUNCHH_ADMIN_KEY)]
    admitted = auth.authenticate(told, call.program, call.headers, breakers)
    body = requests.body(call, SignupMember)
    side = admitted.program.connection.loyalty
    who = signup_context(told, admitted, call, body, LIMIT_SECONDS)
    return signup_member(
        told,
        who,
        body.user.model_dump(mode="json", exclude_none=True),
        device_id=device_id(call.headers.get("punchh-app-device-id", ""), who.program, body.user.external_source_id),
        generation=admitted.program.generation,
        user_agent=call.headers.get("user-agent"),
        rebinds=side.platform == "punchh" and side.existing_accounts == "any",
    )
