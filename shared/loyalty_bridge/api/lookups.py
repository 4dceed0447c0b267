"""Look-ups while a message is rendered: always 200, with the payload or with ``error``; only a wrong key is 401.

Braze waits two seconds for the answer, our cold start inside
(https://www.braze.com/docs/user_guide/personalization_and_dynamic_content/connected_content/making_an_api_call).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.journal import Answer
from loyalty_bridge.api import access, responses
from loyalty_bridge.api.clients import client, kept_transport
from loyalty_bridge.api.responses import Response, failed, response
from loyalty_bridge.errors import BridgeError, Refused, Unauthorized, UpstreamRefused
from loyalty_bridge.settings import ProgramSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.api.requests import Call
    from loyalty_bridge.platforms.convercus import Client

LIMIT_SECONDS = 1.5
"""From the gateway's request time; what is left of the two seconds is the way back."""
_ANSWER_SECONDS = 0.05
_GATEWAY_SECONDS = 30.0
"""An HTTP API gives up after these: an event that is older is a stored one, which is run by hand
(https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html)."""

Look = Callable[["Client", "Call", float], Mapping[str, Any]]
"""Reads from the loyalty platform before a deadline (of `time.monotonic`)."""


def answer(event: Mapping[str, Any], context: LambdaContext, look: Look) -> Response:
    """Answer a look-up within its limit."""

    def work(call: Call, _: LambdaContext) -> Answer:
        age = time.time() - call.arrived
        deadline = time.monotonic() + LIMIT_SECONDS - _ANSWER_SECONDS - (age if 0 < age < _GATEWAY_SECONDS else 0)
        told = settings(ProgramSettings)
        admitted = access.admit(told, call.program, call.headers)
        return Answer(200, look(client(told, admitted, kept_transport()), call, deadline))

    return responses.answer(event, context, work, _told)


def _told(error: BridgeError) -> Response:
    if isinstance(error, Unauthorized):
        return failed(error)
    unknown = isinstance(error, Refused) or (isinstance(error, UpstreamRefused) and error.status == 404)
    return response(200, {"error": "member_not_found" if unknown else "internal_error"})
