"""What the page and its API share: sign-in, origin check, error handling and headers."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from loyalty_bridge.admin import sign_in
from loyalty_bridge.errors import BridgeError, Forbidden, PayloadTooLarge, Unauthorized
from loyalty_bridge.http_api import responses
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.operations import operators
from loyalty_bridge.operations.context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request

    from loyalty_bridge.settings import AdminSettings

SESSION = "session"
ATTEMPT = "sign-in"
MOST_BYTES = 4_000_000
"""Size of a response: Mangum encodes it in base64, and Lambda returns at most 6 MB.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

Endpoint = Callable[["Request"], Awaitable[Response]]
Work = Callable[["Request", ApiRequest], Response]


def origin(request: Request) -> str:
    """Return the scheme and host of the request."""
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def cookie_name(request: Request, name: str) -> str:
    """Return the full name of a cookie; with its prefix, no other host, path or unencrypted page can set it.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix
    """
    return f"__Host-{name}" if request.url.scheme == "https" else name


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> Response:
    """Set a cookie that no script can read. It is ``Lax``, because the sign-in returns from another site."""
    response.set_cookie(
        cookie_name(request, name),
        value,
        max_age=seconds,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def operator_context(settings: AdminSettings, request: Request, *, bearer: bool = False) -> OperatorContext:
    """Identify the operator by the session cookie or, for scripts, by a token of the issuer.

    Raises
    ------
    Unauthorized
        There is no valid session or token.
    Forbidden
        The change does not come from this page.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if bearer and scheme.lower() == "bearer":
        claims = operators.verified_claims(settings, token.strip())
        return OperatorContext(settings, operators.operator_of(settings, claims))
    check_origin(request)
    key = request.cookies.get(cookie_name(request, SESSION), "")
    if not key:
        raise Unauthorized("not signed in")
    return OperatorContext(settings, sign_in.session(settings, key))


def check_origin(request: Request) -> None:
    """Accept changes from this page only; a browser sends the session cookie with requests of other sites, too.

    https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html

    Raises
    ------
    Forbidden
        The request comes from another site, or its origin is unknown.
    """
    if request.method in {"GET", "HEAD"}:
        return
    given_origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if given_origin != origin(request) if given_origin is not None else site != "same-origin":
        raise Forbidden("the request does not come from this page")


def served(work: Work, on_error: Callable[[Request, BridgeError], Response]) -> Endpoint:
    """Return an endpoint that calls `work`, and `on_error` for errors."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        call = ApiRequest(
            method=request.method,
            path=dict(request.path_params),
            query=dict(request.query_params),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            arrived=time.time(),
        )
        return await run_in_threadpool(_answer, work, on_error, request, call)

    return endpoint


def _answer(
    work: Work, on_error: Callable[[Request, BridgeError], Response], request: Request, call: ApiRequest
) -> Response:
    try:
        response = work(request, call)
    except BridgeError as error:
        if not isinstance(error, Unauthorized):
            responses.logger.warning(
                "call failed", extra={"program": call.program[:64], "reason": type(error).__name__}
            )
        return on_error(request, error)
    except Exception as defect:  # noqa: BLE001 - an operator gets the documented shape even for our own defects
        # The places, but not the text of the error, which may contain personal data.
        places = "".join(traceback.format_tb(defect.__traceback__))
        responses.logger.error("defect", extra={"reason": type(defect).__name__, "traceback": places})
        responses.metrics.add_metric("defects", "Count", 1)
        responses.metrics.flush_metrics()  # the alarm is for all functions together: no dimension may join it
        return on_error(request, BridgeError("an error in the bridge"))
    if len(response.body) > MOST_BYTES:
        return on_error(
            request, PayloadTooLarge("answer", "is too large to show; select less, or use the command line `bridge`")
        )
    return response


HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Headers of every response: the page loads only its own style sheet, and no script runs."""
