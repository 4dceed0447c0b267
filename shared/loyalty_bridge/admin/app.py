"""The operator's page and its API as one application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware

from loyalty_bridge.admin import api, pages, web

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from loyalty_bridge.settings import AdminSettings


def application(settings: AdminSettings) -> Starlette:
    """Make the application."""
    return Starlette(
        routes=[*api.routes(settings), *pages.routes(settings)],
        middleware=[Middleware(_Headers)],
    )


_HEADERS = [(name.encode(), value.encode()) for name, value in web.HEADERS.items()]


class _Headers:
    """Puts the headers on every answer, where it does not have its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                own = [(name, value) for name, value in _HEADERS if name not in there]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, send_with_headers)
