"""Look-ups while a message is rendered: always 200, with the payload or with ``error``; only a wrong key is 401.

Braze waits two seconds for the answer, our cold start inside
(https://www.braze.com/docs/user_guide/personalization_and_dynamic_content/connected_content/making_an_api_call).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loyalty_bridge.api import access, requests
from loyalty_bridge.api.callers import client
from loyalty_bridge.api.responses import Response, count, failed, logger, response
from loyalty_bridge.errors import BridgeError, Refused, Unauthorized, UpstreamRefused
from loyalty_bridge.settings import ProgramSettings, settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.api.requests import Call
    from loyalty_bridge.platforms.convercus import Client

LIMIT_SECONDS = 1.5
"""From the gateway's request time; what is left of the two seconds is the way back."""
_ANSWER_SECONDS = 0.05

Look = Callable[["Client", "Call", float], Mapping[str, Any]]
"""Reads from the loyalty platform before a deadline (of `time.monotonic`)."""


def answer(event: Mapping[str, Any], context: LambdaContext, look: Look) -> Response:
    """Answer a look-up within its limit."""
    call = requests.read(event)
    deadline = time.monotonic() + min(LIMIT_SECONDS - (time.time() - call.arrived), LIMIT_SECONDS) - _ANSWER_SECONDS
    told = settings(ProgramSettings)
    try:
        admitted = access.admit(told, call.program, call.headers)
        done = response(200, look(client(told, admitted), call, deadline))
    except Unauthorized as error:
        done = failed(error)
    except BridgeError as error:
        word = "member_not_found" if _is_unknown(error) else "internal_error"
        logger.warning("look-up failed", extra={"program": call.program, "error": word, "why": str(error)})
        done = response(200, {"error": word})
    count(context.function_name, done["statusCode"])
    return done


def _is_unknown(error: BridgeError) -> bool:
    return isinstance(error, Refused) or (isinstance(error, UpstreamRefused) and error.status == 404)
