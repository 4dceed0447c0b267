"""Answer calls; all errors have one shape.

{"error": "<word>", "message": "<for people>", "field": "<name of the wrong field>"}
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge.activity import buffer
from loyalty_bridge.activity.recorder import endpoint, redact
from loyalty_bridge.errors import (
    BridgeError,
    Conflict,
    ConnectionBroken,
    Forbidden,
    InProgress,
    Invalid,
    KeyReused,
    NotConnected,
    NotFound,
    NotSent,
    OutcomeUnknown,
    OutOfScope,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.requests import ApiRequest

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.actions.answer import Answer

logger = Logger()
metrics = Metrics()

RETRY_SECONDS = 5

Response = dict[str, Any]

# From the special to the general. A 5xx invites a repeat, so it is used only where a repeat is useful and harmless.
_STATUS: tuple[tuple[type[BridgeError], int], ...] = (
    (PayloadTooLarge, 413),
    (Invalid, 400),
    (Unauthorized, 401),
    (OutOfScope, 403),
    (Forbidden, 403),
    (KeyReused, 422),
    (NotFound, 404),
    (Conflict, 409),
    (NotConnected, 409),
    (InProgress, 503),
    (ConnectionBroken, 503),
    (NotSent, 502),
    (OutcomeUnknown, 500),
    (Unavailable, 503),
    (BridgeError, 500),
)
_UPSTREAM = {404: 404, 409: 409}


def response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a response for the gateway."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})},
        "body": json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    }


def failed(error: BridgeError) -> Response:
    """Return the response to an error."""
    if isinstance(error, UpstreamRejected):
        code = error.code or "upstream_refused"
        return response(_UPSTREAM.get(error.status, 422), {"error": code, "message": error.reason})
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    body: dict[str, Any] = {"error": error.word, "message": _message(error)}
    if isinstance(error, Invalid):
        body["field"] = error.field
    headers = {}
    if status in {502, 503}:
        wait = getattr(error, "retry_after", None) or RETRY_SECONDS
        headers["Retry-After"] = str(math.ceil(min(max(wait, 1), 300)))
    return response(status, body, headers)


def _message(error: BridgeError) -> str:
    return f"{error.field} {error.reason}" if isinstance(error, Invalid) else str(error)


def answer(
    event: Mapping[str, Any],
    context: LambdaContext,
    work: Callable[[ApiRequest, LambdaContext], Answer],
    respond: Callable[[BridgeError], Response] = failed,
    *,
    writes_beside: bool = False,
) -> Response:
    """Answer a call with the result of `work`, count it, and record it in the program's activity.

    Parameters
    ----------
    respond
        Makes the response to an error.
    writes_beside
        Activity is written beside the work of a later call, so that this call does not wait for it.
    """
    started = time.monotonic()
    if writes_beside:
        buffer.flush_in_background()
    call = requests.read(event)
    error: BridgeError | None = None
    try:
        result = work(call, context)
        reply = response(result.status, result.body)
    except BridgeError as failure:
        error = failure
        reply = respond(error)
        _log(logger.warning, "call failed", call, reply, redact(str(error)))
    except Exception as defect:  # noqa: BLE001 - the caller gets the documented shape even for a defect of ours
        error = _Defect(type(defect).__name__)
        reply = respond(_Defect("an internal error of the bridge; see its log"))
        # The place only: the error's text may hold data of the request.
        places = traceback.format_tb(defect.__traceback__)
        _log(logger.error, "defect", call, reply, type(defect).__name__, traceback="".join(places))
    count(context.function_name, reply["statusCode"], error)
    _note(endpoint(context.function_name), call.program, error, time.monotonic() - started)
    # A caller without a key must not cause a write for each call.
    if not writes_beside and (not isinstance(error, Unauthorized) or buffer.is_due()):
        buffer.flush()
    return reply


class _Defect(BridgeError):
    """An unexpected error."""


def _log(log: Callable[..., None], message: str, call: ApiRequest, reply: Response, reason: str, **more: str) -> None:
    log(
        message,
        extra={"program": redact(call.program[:64]), "status": reply["statusCode"], "reason": reason, **more},
        stacklevel=2,
    )


_ALARMING = (
    (_Defect, "defects"),
    (Unauthorized, "calls_unauthorized"),
    (OutcomeUnknown, "calls_outcome_unknown"),
    (ConnectionBroken, "connection_broken"),
)


def count(function: str, status: int, error: BridgeError | None = None) -> None:
    """Count a call by its status class, and errors that raise an alarm under one metric for all functions."""
    for kind, name in _ALARMING:
        if isinstance(error, kind):
            metrics.add_metric(name, MetricUnit.Count, 1)
            metrics.flush_metrics()
    metrics.add_dimension(name="function", value=function)
    metrics.add_metric(f"calls_{status // 100}xx", MetricUnit.Count, 1)
    metrics.flush_metrics()


def _note(endpoint: str, called: str, error: BridgeError | None, seconds: float) -> None:
    """Record a call in the activity of its program."""
    if error:
        buffer.record_error(called, endpoint, error)
    buffer.recorder.call(buffer.program_labels(called).program, endpoint, error.word if error else "ok", seconds)
