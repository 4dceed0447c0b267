"""Pages that trace an event or a member, preview a record, and change the data about a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from loyalty_bridge.admin.pages.rendering import PROGRAM, Page, parse_field, redirect, render, require_choice
from loyalty_bridge.errors import Invalid
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.operations import inputs, service
from loyalty_bridge.operations.context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request


def _trace(_: Request, call: ApiRequest, ctx: OperatorContext, **results: Any) -> Response:
    program = service.find_program(ctx, call.program)
    name = call.query.get("id", "").strip()
    context = {"name": name, "traced": service.trace_id(ctx, program.id, name) if name else None}
    context |= {"record": "", "explained": None, "error": None} | results
    status = 400 if context["error"] else 200
    return render("lookup", status, ctx=ctx, program=program, here="lookup", note=call.query.get("done", ""), **context)


def _explain_record(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    record = parse_field(call, "record")
    try:
        explained = service.explain_record(ctx, call.program, record.encode())
    except Invalid as error:
        return _trace(request, call, ctx, record=record, error=error)
    return _trace(request, call, ctx, record=record, explained=explained)


def _change_member(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    require_choice(call.path["what"], "resync", "forget")
    member = requests.checked({"member": parse_field(call, "member")}, inputs.OfMember).member
    if call.path["what"] == "resync":
        service.resync_member(ctx, call.program, member)
        return redirect("programs", call.program, "lookup", done="resynced")
    service.forget_member(ctx, call.program, member)
    return redirect("programs", call.program, "lookup", done="forgotten")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", f"{PROGRAM}/lookup", _trace),
    ("POST", f"{PROGRAM}/lookup", _explain_record),
    ("POST", f"{PROGRAM}/members/{{what}}", _change_member),
)
