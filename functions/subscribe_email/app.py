"""Set the e-mail opt-ins of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.convercus import SUBSCRIBE_EMAIL, channels, subscribe_email
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.http_api.action_context import action_context, convercus_side
from loyalty_bridge.http_api.request_schemas import SubscribeEmail
from loyalty_bridge.settings import ActionSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.actions.idempotency import Answer
    from loyalty_bridge.http_api.requests import ApiRequest


def handler(event: dict[str, Any], context: LambdaContext) -> responses.Response:
    """Answer the call."""
    return responses.answer(event, context, work)


def work(call: ApiRequest, context: LambdaContext) -> Answer:
    """Check the key, read the call, set the opt-ins."""
    told = settings(ActionSettings)
    admitted = auth.authenticate(told, call.program, call.headers)
    body, side = requests.body(call, SubscribeEmail), convercus_side(admitted.program)
    chosen = channels(body.optins, side.default_optins, side.membership_optins)
    parts = (body.account_id, body.status, *chosen)
    seconds_left = context.get_remaining_time_in_millis() / 1000
    who = action_context(told, admitted, call, SUBSCRIBE_EMAIL, body, parts, seconds_left)
    return subscribe_email(who, body.account_id, chosen, allowed=body.status == "allowed")
