"""Pages for records that were not delivered: held and rejected records, and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import Response

from loyalty_bridge.admin.pages.rendering import (
    PROGRAM,
    Page,
    load_scope,
    parse_field,
    redirect,
    render,
    require_choice,
)
from loyalty_bridge.http_api import requests
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.operations import inputs, service
from loyalty_bridge.operations.context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request

_FILTERS = ("reason", "since", "until")


def _parse_selection(filters: Mapping[str, str]) -> inputs.RejectedSelection:
    return requests.checked({name: text for name, text in filters.items() if text}, inputs.RejectedSelection)


def _list_records(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = load_scope(ctx, call.program)
    filters = {name: call.query.get(name, "") for name in _FILTERS}
    return render(
        "records",
        ctx=ctx,
        program=program,
        here="records",
        held=[] if program.id == UNKNOWN_PROGRAM else service.list_held(ctx, program.id),
        rejected=service.list_rejected(ctx, program.id, _parse_selection(filters).to_filter()),
        chosen=filters,
        limit=service.SHOWN,
        note=call.query.get("done", ""),
    )


def _show_record(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = load_scope(ctx, call.program)
    record = service.show_rejected(ctx, program.id, call.query.get("event_id", ""))
    return render("record", ctx=ctx, program=program, here="records", rejected=record)


def _confirm_records(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    require_choice(call.path["what"], "redrive", "drop")
    program = load_scope(ctx, call.program)
    filters = {name: call.query.get(name, "") for name in _FILTERS}
    selected = service.list_rejected(ctx, program.id, _parse_selection(filters).to_filter())
    return render(
        "confirm_records",
        ctx=ctx,
        program=program,
        here="records",
        what=call.path["what"],
        count=len(selected),
        limit=service.SHOWN,
        chosen=filters,
    )


def _move_records(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    require_choice(call.path["what"], "redrive", "drop")
    selection = _parse_selection({name: parse_field(call, name) for name in _FILTERS}).to_filter()
    if call.path["what"] == "redrive":
        done, moved = "redriven", service.redrive_rejected(ctx, call.program, selection)
    else:
        done, moved = "dropped", service.drop_rejected(ctx, call.program, selection)
    return redirect("programs", call.program, "records", done=f"{done}_in_part" if moved.left else done)


def _count_dead_letters(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    return render("dead_letters", ctx=ctx, counts=service.count_dead_letters(ctx), note=call.query.get("done", ""))


def _redrive_dead_letters(_: Request, __: ApiRequest, ctx: OperatorContext) -> Response:
    moved = service.redrive_dead_letters(ctx)
    return redirect("dead-letters", done="redriven_in_part" if moved.left else "redriven")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", f"{PROGRAM}/records", _list_records),
    ("GET", f"{PROGRAM}/record", _show_record),
    ("GET", f"{PROGRAM}/records/{{what}}", _confirm_records),
    ("POST", f"{PROGRAM}/records/{{what}}", _move_records),
    ("GET", "/dead-letters", _count_dead_letters),
    ("POST", "/dead-letters/redrive", _redrive_dead_letters),
)
