"""The operator's page: plain HTML, with forms that need no script. One module for each tab."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from loyalty_bridge.admin import web
from loyalty_bridge.admin.pages import (
    actions,
    activity,
    connection,
    keys,
    lookup,
    programs,
    records,
    rendering,
    session,
)
from loyalty_bridge.errors import NotFound
from loyalty_bridge.http_api.requests import ApiRequest

if TYPE_CHECKING:
    from starlette.requests import Request

    from loyalty_bridge.settings import AdminSettings

PAGES: tuple[tuple[str, str, rendering.Page], ...] = (
    *programs.PAGES,
    *connection.PAGES,
    *keys.PAGES,
    *activity.PAGES,
    *records.PAGES,
    *actions.PAGES,
    *lookup.PAGES,
)
"""Method, path and function of each page that needs a session."""


def routes(settings: AdminSettings) -> list[Route]:
    """Return the routes of the page; any other path gets a 404 page."""

    def signed_in(page: rendering.Page) -> web.Work:
        return lambda request, call: page(request, call, web.operator_context(settings, request))

    def signed_out(page: Callable[[AdminSettings, Request, ApiRequest], Response]) -> web.Work:
        return lambda request, call: page(settings, request, call)

    def unknown(*_: object) -> Response:
        raise NotFound("there is no such page")

    works = [
        *((method, path, signed_out(page)) for method, path, page in session.PAGES),
        ("GET", "/static/{word}/{name}", rendering.serve_file),
        *((method, path, signed_in(page)) for method, path, page in PAGES),
    ]
    made = [
        Route(rendering.HOME + path, web.served(work, rendering.failed), methods=[method])
        for method, path, work in works
    ]
    return [*made, Route("/{path:path}", web.served(unknown, rendering.failed), methods=["GET", "POST"])]
