"""What the pages share: templates and static files, redirects, error pages, and the input of a form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response

from loyalty_bridge.admin import forms
from loyalty_bridge.errors import BridgeError, Invalid, NotFound, Unauthorized
from loyalty_bridge.http_api import requests, responses
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.operations import service
from loyalty_bridge.operations.context import OperatorContext
from loyalty_bridge.programs.connection import Connection, Program, check_program_id

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

Page = Callable[["Request", ApiRequest, OperatorContext], Response]

HOME = "/admin"
PROGRAM = "/programs/{programId}"
"""The path of a program, below `HOME`."""
MAX_SHOWN = 200_000
"""Characters of a record or a preview that a page shows."""
NOTES = {
    "saved": "The connection is saved.",
    "unchosen": "The connection is saved. Choose its default opt-ins to start streaming.",
    "deleted": "The program is deleted. Its remaining records and member data are removed within minutes.",
    "released": "The held records are released from the next minute on.",
    "revoked": "The key is revoked. Calls with it get a 401.",
    "decided": "The decision is saved.",
    "resynced": "All attributes are sent with the member's next event.",
    "forgotten": "The data about the member is deleted.",
    "redriven": "The records are back on the event queue or stream.",
    "redriven_in_part": "Not all records were put back in time. Redrive again for the rest.",
    "dropped_in_part": "Not all records were deleted in time. Delete again for the rest.",
    "dropped": "The records are deleted.",
}
"""Messages after an operation, by the word in the query of the page."""

_CONTENT_TYPES = {"style.css": "text/css", "icon.svg": "image/svg+xml"}


@cache
def _load_file(name: str) -> tuple[bytes, str]:
    """Return a static file, and its path, which changes with its content."""
    content = files("loyalty_bridge.admin").joinpath(f"static/{name}").read_bytes()
    return content, f"{HOME}/static/{hashlib.sha256(content).hexdigest()[:12]}/{name}"


def serve_file(request: Request, call: ApiRequest) -> Response:
    """Return a static file, which browsers may store for a year."""
    name = call.path["name"]
    if name not in _CONTENT_TYPES or request.url.path != _load_file(name)[1]:
        raise NotFound("there is no such page")
    cache_control = "public, max-age=31536000, immutable"
    headers = {"content-type": _CONTENT_TYPES[name], "cache-control": cache_control}
    return Response(_load_file(name)[0], headers=headers)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("loyalty_bridge.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "file": lambda name: _load_file(name)[1],
        "notes": NOTES,
        "loyalty": forms.LOYALTY,
        "engagement": forms.ENGAGEMENT,
        "label": forms.label,
        "path": _path,
        "ctx": None,
        "program": None,
        "note": "",
        "here": "",
        "link": "",
        "onward": False,
    }
    environment.filters["pretty"] = lambda value: cut(json.dumps(value, indent=2, ensure_ascii=False))
    environment.filters["cut"] = cut
    environment.filters["moment"] = lambda text: text[:19].replace("T", " ")
    return environment


def _path(*parts: str) -> str:
    return "/".join([HOME, *(quote(part, safe="") for part in parts)])


def cut(text: str) -> str:
    """Shorten a text for the page: Lambda returns at most 6 MB, and a character takes up to six bytes."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}\n… cut after {MAX_SHOWN:,} characters"


def render(template: str, status: int = 200, **context: Any) -> Response:
    """Render a template as a response."""
    return HTMLResponse(_templates().get_template(f"{template}.html").render(**context), status)


def redirect(*parts: str, **query: str) -> Response:
    """Redirect to a page, so that a reload does not repeat the operation."""
    path = _path(*parts)
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)


def failed(request: Request, error: BridgeError) -> Response:
    """Return the page for an error; without a session, redirect to the sign-in."""
    if isinstance(error, Unauthorized):
        if request.method == "GET":
            return RedirectResponse(f"{HOME}/sign-in?{urlencode({'next': request.url.path})}", 303)
        text = "Your session has ended, and nothing was changed. Sign in and try again."
        return render("message", 401, title="You are not signed in", text=text, link=f"{HOME}/sign-in")
    response = responses.failed(error)
    message = json.loads(response["body"])["message"]
    return render("message", response["statusCode"], title="This did not work", text=message)


def parse_form(call: ApiRequest) -> forms.Form:
    """Parse the form in a request."""
    if len(call.body) > requests.MAX_BODY:
        raise Invalid("form", f"is larger than {requests.MAX_BODY // 1024} KB")
    return parse_qs(call.body.decode(errors="replace"), keep_blank_values=True)


def parse_field(call: ApiRequest, name: str) -> str:
    """Return a field of the form in a request, without blanks around it."""
    return "".join(parse_form(call).get(name, ())[:1]).strip()


def require_choice(choice: str, *choices: str) -> None:
    """Accept a choice in a path if it is one of `choices`.

    Raises
    ------
    NotFound
        It is another one.
    """
    if choice not in choices:
        raise NotFound("there is no such page")


def load_existing(ctx: OperatorContext, program: str) -> Program | None:
    """Load a program, or return None for a new program that the operator may create."""
    try:
        return service.find_program(ctx, program)
    except NotFound:
        if not ctx.operator.may(check_program_id(program)):
            raise
        return None


def load_scope(ctx: OperatorContext, program: str) -> Program:
    """Load a program, or return an empty one for unattributed records, activity and errors."""
    is_unattributed = service.require_scope(ctx, program) == UNKNOWN_PROGRAM
    return Program(UNKNOWN_PROGRAM, Connection()) if is_unattributed else service.find_program(ctx, program)
