"""Pages for signing in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from loyalty_bridge.admin import sign_in, web
from loyalty_bridge.admin.pages.rendering import HOME, render
from loyalty_bridge.errors import Unauthorized
from loyalty_bridge.http_api.requests import ApiRequest

if TYPE_CHECKING:
    from starlette.requests import Request

    from loyalty_bridge.settings import AdminSettings


def _start_sign_in(settings: AdminSettings, request: Request, call: ApiRequest) -> Response:
    back_to = call.query.get("next", HOME)
    # Only a path of this page: anything else could lead to another site.
    inside = back_to == HOME or (back_to.startswith(f"{HOME}/") and "\\" not in back_to and back_to.isprintable())
    url, attempt = sign_in.begin(settings, web.origin(request), back_to if inside else HOME)
    return web.set_cookie(request, RedirectResponse(url, 303), web.ATTEMPT, attempt, sign_in.ATTEMPT_SECONDS)


def _finish_sign_in(settings: AdminSettings, request: Request, call: ApiRequest) -> Response:
    attempt = request.cookies.get(web.cookie_name(request, web.ATTEMPT), "")
    try:
        operator, back_to = sign_in.finish(settings, web.origin(request), call.query, attempt)
    except Unauthorized as error:
        return render("message", 401, title="You are not signed in", text=f"{error}.", link=f"{HOME}/sign-in")
    if former := request.cookies.get(web.cookie_name(request, web.SESSION), ""):
        sign_in.close_session(settings, former)
    key = sign_in.open_session(settings, operator)
    return web.set_cookie(request, RedirectResponse(back_to, 303), web.SESSION, key, sign_in.SESSION_SECONDS)


def _sign_out(settings: AdminSettings, request: Request, _: ApiRequest) -> Response:
    web.check_origin(request)
    key = request.cookies.get(web.cookie_name(request, web.SESSION), "")
    if key:
        sign_in.close_session(settings, key)
    # Not a redirect: forms may lead to this page only, but the issuer has its own session to end.
    url = sign_in.sign_out_url(settings, web.origin(request))
    response = render("message", title="Signing out", text="Your session has ended.", link=url, onward=True)
    response.headers["refresh"] = f"0; url={url}"
    return web.set_cookie(request, response, web.SESSION, "", 0)


def _show_signed_out(*_: object) -> Response:
    return render("message", title="You are signed out", text="Your session has ended.", link=f"{HOME}/sign-in")


PAGES: tuple[tuple[str, str, Callable[[AdminSettings, Request, ApiRequest], Response]], ...] = (
    ("GET", "/sign-in", _start_sign_in),
    ("GET", "/signed-in", _finish_sign_in),
    ("POST", "/sign-out", _sign_out),
    ("GET", "/signed-out", _show_signed_out),
)
