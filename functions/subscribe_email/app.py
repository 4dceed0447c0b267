"""Set the e-mail opt-ins of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loyalty_bridge.actions.convercus import SUBSCRIBE_EMAIL, resolve_channels, subscribe_email
from loyalty_bridge.http_api import action
from loyalty_bridge.http_api.action import convercus_side
from loyalty_bridge.http_api.request_schemas import SubscribeEmail
from loyalty_bridge.settings import ActionSettings

if TYPE_CHECKING:
    from loyalty_bridge.actions.answer import Answer
    from loyalty_bridge.http_api.action import ActionRequest


def subscribe(request: ActionRequest[ActionSettings, SubscribeEmail]) -> Answer:
    """Set the opt-ins of the body, or the program's default ones."""
    body, side = request.body, convercus_side(request.access.program)
    channels = resolve_channels(body.optins, side.default_optins, side.membership_optins)
    context = request.context(SUBSCRIBE_EMAIL, body.account_id, body.status, *channels)
    return subscribe_email(context, body.account_id, channels, allowed=body.status == "allowed")


handler = action.handler(ActionSettings, SubscribeEmail, subscribe)
