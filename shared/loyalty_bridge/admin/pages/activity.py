"""Pages for a program's statistics, error history and audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from loyalty_bridge.activity import reports
from loyalty_bridge.admin import charts
from loyalty_bridge.admin.pages.rendering import PROGRAM, Page, load_existing, load_scope, render
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.operations import inputs, service
from loyalty_bridge.operations.context import OperatorContext
from loyalty_bridge.programs.connection import Connection, Program

if TYPE_CHECKING:
    from starlette.requests import Request

PERIODS = (1, 7, 30, 90)
"""Days that a reader can choose."""
MAX_FIELDS = 100
"""Unmapped fields on one page."""


def _show_activity(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = load_scope(ctx, call.program)
    period = requests.checked({"days": call.query.get("days", "7")}, inputs.Period).days
    days = service.load_statistics(ctx, program.id, period)
    return render(
        "activity",
        ctx=ctx,
        program=program,
        here="activity",
        days=period,
        periods=PERIODS,
        charts=charts.of(days),
        endpoints={name: reports.numbers(counts) for name, counts in reports.totals(days).items()},
        unknown_fields=service.list_unknown_fields(ctx, program.id, period)[:MAX_FIELDS],
    )


def _list_errors(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = load_scope(ctx, call.program)
    filters = {name: call.query.get(name, "") for name in ("code", "endpoint", "direction", "since", "until")}
    query = {name: text for name, text in {**filters, "page": call.query.get("page", "")}.items() if text}
    errors = service.list_errors(ctx, program.id, requests.checked(query, inputs.ErrorSelection))
    return render("errors", ctx=ctx, program=program, here="errors", chosen=filters, found=errors)


def _show_error(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = load_scope(ctx, call.program)
    line = service.find_error(ctx, program.id, call.query.get("line", ""))
    return render("error", ctx=ctx, program=program, here="errors", line=line)


def _list_audit(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    lines = service.list_audit(ctx, call.program)
    program = None if call.program == UNKNOWN_PROGRAM else load_existing(ctx, call.program)
    # A deleted program has only its audit.
    return render("audit", ctx=ctx, program=program or Program(call.program, Connection()), here="audit", lines=lines)


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", f"{PROGRAM}/activity", _show_activity),
    ("GET", f"{PROGRAM}/errors", _list_errors),
    ("GET", f"{PROGRAM}/error", _show_error),
    ("GET", f"{PROGRAM}/audit", _list_audit),
)
