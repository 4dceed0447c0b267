"""Pages for a program's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from loyalty_bridge.admin.pages.rendering import PROGRAM, Page, parse_field, parse_form, redirect, render
from loyalty_bridge.errors import NotFound
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.operations import inputs, service
from loyalty_bridge.operations.context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request


def _list_keys(
    _: Request, call: ApiRequest, ctx: OperatorContext, created: Mapping[str, Any] | None = None
) -> Response:
    program = service.find_program(ctx, call.program)
    keys = service.list_keys(ctx, program.id)
    context = {"keys": keys, "created": created, "note": call.query.get("done", "")}
    return render("keys", 201 if created else 200, ctx=ctx, program=program, here="keys", **context)


def _create_key(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    fields: dict[str, Any] = {"name": parse_field(call, "name")}
    # The form always sends a blank scope, so that choosing none does not mean all.
    if scopes := parse_form(call).get("scopes"):
        fields["scopes"] = [scope for scope in scopes if scope]
    body = requests.checked(fields, inputs.CreateKey)
    return _list_keys(request, call, ctx, service.create_key(ctx, call.program, body.name, body.scopes))


def _confirm_revoke(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    key = next((key for key in service.list_keys(ctx, program.id) if key["id"] == call.path["key"]), None)
    if key is None:
        raise NotFound(f"{program.id} has no such key")
    return render("revoke", ctx=ctx, program=program, here="keys", key=key)


def _revoke_key(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    service.revoke_key(ctx, call.program, call.path["key"])
    return redirect("programs", call.program, "keys", done="revoked")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", f"{PROGRAM}/keys", _list_keys),
    ("POST", f"{PROGRAM}/keys", _create_key),
    ("GET", f"{PROGRAM}/keys/{{key}}/revoke", _confirm_revoke),
    ("POST", f"{PROGRAM}/keys/{{key}}/revoke", _revoke_key),
)
