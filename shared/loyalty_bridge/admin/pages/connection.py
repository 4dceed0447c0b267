"""The form for a program's connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from loyalty_bridge.admin import forms
from loyalty_bridge.admin.pages.rendering import (
    PROGRAM,
    Page,
    load_existing,
    parse_field,
    parse_form,
    redirect,
    render,
)
from loyalty_bridge.errors import Conflict, Invalid, NotFound
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.operations import service
from loyalty_bridge.operations.context import OperatorContext
from loyalty_bridge.platforms.punchh.settings import COUPON_TOKEN_PREFIX
from loyalty_bridge.programs.connection import Connection, Program

if TYPE_CHECKING:
    from starlette.requests import Request


def _show_connection(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = load_existing(ctx, call.program)
    connection = Connection() if program is None or isinstance(program.stored, str) else program.stored
    loyalty = call.query.get("loyalty", connection.loyalty.platform)
    engagement = call.query.get("engagement", connection.engagement.platform)
    if loyalty not in forms.LOYALTY or engagement not in forms.ENGAGEMENT:
        raise NotFound("there is no such platform")
    settings = msgspec.to_builtins(connection)
    for side, platform in (("loyalty", loyalty), ("engagement", engagement)):
        if settings[side]["platform"] != platform:
            settings[side] = _default_settings(side, platform)
    return _render_form(ctx, call, program, settings)


def _default_settings(side: str, platform: str) -> Any:
    connection = msgspec.convert({side: {"platform": platform}}, Connection)
    return msgspec.to_builtins(connection)[side]


def _render_form(
    ctx: OperatorContext,
    call: ApiRequest,
    program: Program | None,
    settings: Mapping[str, Any],
    error: Invalid | Conflict | None = None,
) -> Response:
    platforms = (settings["loyalty"]["platform"], settings["engagement"]["platform"])
    fields = list(forms.fields(*platforms))
    invalid = error if isinstance(error, Invalid) else None
    return render(
        "connection",
        200 if error is None else 400 if invalid else 409,
        ctx=ctx,
        name=call.program,
        program=program,
        here="connection",
        chosen=platforms,
        groups=forms.groups(*platforms),
        shown={field.path: forms.shown(settings, field) for field in fields},
        boxes={field.path: forms.boxes(settings, field) for field in fields if field.kind == "several"},
        wrong=next((field.path for field in fields if invalid and _is_at(invalid.field, field.path)), ""),
        error=invalid,
        conflict=str(error) if isinstance(error, Conflict) else "",
        note="" if error else call.query.get("done", ""),
        kept={f"secrets.{key}": secret.last_four for key, secret in (program.secrets if program else {}).items()},
        version=program.version if program else 0,
        token_name=f"secrets.{COUPON_TOKEN_PREFIX}",
    )


def _is_at(invalid_path: str, path: str) -> bool:
    return invalid_path == path or invalid_path.startswith(f"{path}.")


def _save_connection(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    loyalty, engagement, version = (parse_field(call, name) for name in ("loyalty", "engagement", "version"))
    if loyalty not in forms.LOYALTY or engagement not in forms.ENGAGEMENT or not forms.is_number(version):
        raise Invalid("form", "is not the form of this page; reload the page")
    change, secrets = forms.read(parse_form(call), loyalty, engagement)
    new_workspace = parse_field(call, "new_workspace") == "on"
    try:
        saved = service.save_connection(ctx, call.program, change, secrets, int(version), new_workspace=new_workspace)
    except (Invalid, Conflict) as error:
        return _render_form(ctx, call, load_existing(ctx, call.program), change, error)
    several = {field.path for field in forms.fields(loyalty, engagement) if field.kind == "several"}
    if several & {*saved.missing()}:
        return redirect("programs", call.program, "connection", done="unchosen")
    return redirect("programs", call.program, done="saved")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", f"{PROGRAM}/connection", _show_connection),
    ("POST", f"{PROGRAM}/connection", _save_connection),
)
