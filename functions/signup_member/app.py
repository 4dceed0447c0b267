"""Sign a member up at Punchh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loyalty_bridge.actions.punchh import device_id, signup_member
from loyalty_bridge.http_api import action
from loyalty_bridge.http_api.action import signup_context
from loyalty_bridge.http_api.request_schemas import SignupMember
from loyalty_bridge.platforms.punchh.settings import ADMIN_KEY, CLIENT_SECRET, PunchhSettings
from loyalty_bridge.programs import credential_breaker
from loyalty_bridge.settings import SignupSettings

if TYPE_CHECKING:
    from loyalty_bridge.actions.answer import Answer
    from loyalty_bridge.http_api.action import ActionRequest

LIMIT_SECONDS = 4.0
"""MoEngage waits for five: https://www.moengage.com/docs/user-guide/campaigns-and-channels/connectors"""
BREAKERS = tuple(credential_breaker.item_of(secret) for secret in (CLIENT_SECRET, ADMIN_KEY))


def sign_up(request: ActionRequest[SignupSettings, SignupMember]) -> Answer:
    """Sign the user of the body up."""
    program, headers, user = request.access.program, request.call.headers, request.body.user
    side = program.connection.loyalty
    return signup_member(
        request.settings,
        signup_context(request, LIMIT_SECONDS),
        user.model_dump(mode="json", exclude_none=True),
        device_id=device_id(headers.get("punchh-app-device-id", ""), program.id, user.external_source_id),
        generation=program.generation,
        user_agent=headers.get("user-agent"),
        rebinds=isinstance(side, PunchhSettings) and side.existing_accounts == "any",
    )


handler = action.handler(SignupSettings, SignupMember, sign_up, BREAKERS)
