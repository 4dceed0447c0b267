"""Pages for actions without a known outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from loyalty_bridge.admin.pages.rendering import PROGRAM, Page, parse_field, redirect, render
from loyalty_bridge.errors import Invalid
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.operations import inputs, service
from loyalty_bridge.operations.context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request


def _list_actions(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    actions = service.list_actions(ctx, program.id)
    return render("actions", ctx=ctx, program=program, here="actions", actions=actions, note=call.query.get("done", ""))


def _show_action(_: Request, call: ApiRequest, ctx: OperatorContext, error: Invalid | None = None) -> Response:
    program = service.find_program(ctx, call.program)
    action = service.show_action(ctx, program.id, call.path["action"])
    return render("action", 400 if error else 200, ctx=ctx, program=program, here="actions", action=action, error=error)


def _decide_action(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    fields = {name: parse_field(call, name) for name in ("happened", "result")}
    try:
        body = requests.checked(fields, inputs.Decide)
        service.decide_action(ctx, call.program, call.path["action"], happened=body.happened, result=body.result)
    except Invalid as error:
        return _show_action(request, call, ctx, error)
    return redirect("programs", call.program, "actions", done="decided")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", f"{PROGRAM}/actions", _list_actions),
    ("GET", f"{PROGRAM}/actions/{{action}}", _show_action),
    ("POST", f"{PROGRAM}/actions/{{action}}", _decide_action),
)
