"""Answer lookups while a message is rendered: 200 with the payload or an ``error``; only a wrong key gets 401.

Braze waits two seconds for the answer, including a cold start
(https://www.braze.com/docs/user_guide/personalization_and_dynamic_content/connected_content/making_an_api_call),
and MoEngage five (https://help.moengage.com/hc/en-us/articles/115003622346-Content-APIs).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.actions.clients import convercus_client, shared_client
from loyalty_bridge.errors import BridgeError, Invalid, OutOfScope, Unauthorized, UpstreamRejected
from loyalty_bridge.http_api import auth, responses
from loyalty_bridge.http_api.responses import Response, failed, response
from loyalty_bridge.settings import ProgramSettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.http_api.requests import ApiRequest
    from loyalty_bridge.platforms.convercus.client import Client

LIMIT_SECONDS = 1.5
"""Limit from the gateway's request time; the rest of the two seconds is for the way back."""
MOENGAGE_SECONDS = 4.0
_ANSWER_SECONDS = 0.05

Look = Callable[["Client", "ApiRequest", float], Mapping[str, Any]]
"""Reads from the loyalty platform within a deadline (of `time.monotonic`)."""


def answer(event: Mapping[str, Any], context: LambdaContext, look: Look) -> Response:
    """Answer a lookup on Convercus."""

    def read(call: ApiRequest, deadline: float) -> Mapping[str, Any]:
        read_settings = load_settings(ProgramSettings)
        access = auth.authenticate(read_settings, call.program, call.headers, scope="lookups")
        return look(convercus_client(read_settings, access.program, access.token, shared_client()), call, deadline)

    return within(LIMIT_SECONDS, event, context, read)


def within(
    limit: float,
    event: Mapping[str, Any],
    context: LambdaContext,
    read: Callable[[ApiRequest, float], Mapping[str, Any]],
    respond: Callable[[BridgeError], Response] | None = None,
) -> Response:
    """Answer a lookup within `limit` seconds of the gateway's receipt."""

    def work(call: ApiRequest, _: LambdaContext) -> Answer:
        return Answer(200, read(call, time.monotonic() + call.seconds_left(limit) - _ANSWER_SECONDS))

    return responses.answer(event, context, work, respond or error_response, writes_beside=True)


def error_response(error: BridgeError) -> Response:
    """Return the response to an error of a lookup."""
    if isinstance(error, Unauthorized | OutOfScope):
        return failed(error)
    unknown = isinstance(error, Invalid) or (isinstance(error, UpstreamRejected) and error.status == 404)
    return response(200, {"error": "member_not_found" if unknown else "internal_error"})
