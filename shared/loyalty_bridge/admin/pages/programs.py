"""Pages for the list of programs, and a program's overview, setup and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from loyalty_bridge.admin.pages.rendering import PROGRAM, Page, parse_field, redirect, render
from loyalty_bridge.errors import NotFound
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import programs, service
from loyalty_bridge.operations.context import OperatorContext
from loyalty_bridge.operations.setup_guide import setup_guide
from loyalty_bridge.programs.connection import check_program_id

if TYPE_CHECKING:
    from starlette.requests import Request


def _list_programs(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    listed = service.list_programs(ctx)
    counts = aws.run_in_parallel(lambda program: service.count_open(ctx, program), listed)
    cards = [(program, programs.state_of(program), count) for program, count in zip(listed, counts, strict=True)]
    return render("programs", ctx=ctx, cards=cards, note=call.query.get("done", ""))


def _create_program(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    name = check_program_id(call.query.get("program", "").strip())
    if not ctx.operator.may(name):
        raise NotFound(f"you have no access to a program {name}")
    return redirect("programs", name, "connection")


def _show_program(_: Request, call: ApiRequest, ctx: OperatorContext, **results: Any) -> Response:
    program = service.find_program(ctx, call.program)
    return render(
        "program",
        ctx=ctx,
        program=program,
        here="overview",
        state=programs.state_of(program),
        waits=service.count_open(ctx, program),
        note=call.query.get("done", ""),
        **({"tested": None, "sample": None, "member": "", "problem": ""} | results),
    )


def _test_connection(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    return _show_program(request, call, ctx, tested=service.test_connection(ctx, call.program)["works"])


def _send_sample(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    member = parse_field(call, "member")
    if not member:
        return _show_program(request, call, ctx, problem="Enter the id of a test member.")
    return _show_program(request, call, ctx, sample=service.send_sample(ctx, call.program, member), member=member)


def _release_held(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    service.release_held(ctx, call.program)
    return redirect("programs", call.program, done="released")


def _show_setup(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    guide = list(setup_guide(ctx.settings, program))
    return render("setup", ctx=ctx, program=program, here="setup", guide=guide)


def _confirm_delete(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    return render("delete", ctx=ctx, program=service.find_program(ctx, call.program), wrong=False)


def _delete_program(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    if parse_field(call, "confirm") != program.id:
        return render("delete", 400, ctx=ctx, program=program, wrong=True)
    service.delete_program(ctx, program.id)
    return redirect(done="deleted")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "", _list_programs),
    ("GET", "/new", _create_program),
    ("GET", PROGRAM, _show_program),
    ("POST", f"{PROGRAM}/test", _test_connection),
    ("POST", f"{PROGRAM}/sample", _send_sample),
    ("POST", f"{PROGRAM}/held/release", _release_held),
    ("GET", f"{PROGRAM}/setup", _show_setup),
    ("GET", f"{PROGRAM}/delete", _confirm_delete),
    ("POST", f"{PROGRAM}/delete", _delete_program),
)
