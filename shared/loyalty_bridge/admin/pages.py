"""The operator's page: plain HTML, with forms that need no script."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from loyalty_bridge.activity import reports
from loyalty_bridge.admin import charts, forms, sign_in, web
from loyalty_bridge.errors import BridgeError, Conflict, Invalid, NotFound, Unauthorized
from loyalty_bridge.http_api import requests, responses
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.operations import inputs, programs, service
from loyalty_bridge.operations.context import OperatorContext
from loyalty_bridge.operations.setup_guide import setup_guide
from loyalty_bridge.platforms.punchh.settings import COUPON_TOKEN_PREFIX
from loyalty_bridge.programs.connection import Connection, Program, check_program_id

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

    from loyalty_bridge.settings import AdminSettings

Page = Callable[["Request", ApiRequest, OperatorContext], Response]

HOME = "/admin"
MOST_SHOWN = 200_000
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


_KINDS = {"style.css": "text/css", "icon.svg": "image/svg+xml"}


@cache
def _file(name: str) -> tuple[bytes, str]:
    """Return a static file, and its path, which changes with its content."""
    text = files("loyalty_bridge.admin").joinpath(f"static/{name}").read_bytes()
    return text, f"{HOME}/static/{hashlib.sha256(text).hexdigest()[:12]}/{name}"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("loyalty_bridge.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "file": lambda name: _file(name)[1],
        "notes": NOTES,
        "loyalty": forms.LOYALTY,
        "engagement": forms.ENGAGEMENT,
        "label": forms.label,
        "path": lambda *parts: "/".join([HOME, *(quote(part, safe="") for part in parts)]),
        "ctx": None,
        "program": None,
        "note": "",
        "here": "",
        "link": "",
        "onward": False,
    }
    made.filters["pretty"] = lambda value: cut(json.dumps(value, indent=2, ensure_ascii=False))
    made.filters["cut"] = cut
    made.filters["moment"] = lambda text: text[:19].replace("T", " ")
    return made


def cut(text: str) -> str:
    """Shorten a text for the page: Lambda returns at most 6 MB, and a character takes up to six bytes."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}\n… cut after {MOST_SHOWN:,} characters"


def render(template: str, status: int = 200, **context: Any) -> Response:
    """Render a template as a response."""
    return HTMLResponse(_templates().get_template(f"{template}.html").render(**context), status)


def _to(*parts: str, **query: str) -> Response:
    """Redirect to a page, so that a reload does not repeat the operation."""
    place = "/".join([HOME, *(quote(part, safe="") for part in parts)])
    return RedirectResponse(f"{place}?{urlencode(query)}" if query else place, 303)


def failed(request: Request, error: BridgeError) -> Response:
    """Return the page for an error; without a session, redirect to the sign-in."""
    if isinstance(error, Unauthorized):
        if request.method == "GET":
            return RedirectResponse(f"{HOME}/sign-in?{urlencode({'next': request.url.path})}", 303)
        text = "Your session has ended, and nothing was changed. Sign in and try again."
        return render("message", 401, title="You are not signed in", text=text, link=f"{HOME}/sign-in")
    return _message(error)


def _message(error: BridgeError) -> Response:
    told = responses.failed(error)
    return render("message", told["statusCode"], title="This did not work", text=json.loads(told["body"])["message"])


def form(call: ApiRequest) -> forms.Form:
    """Parse the form in a request."""
    if len(call.body) > requests.MAX_BODY:
        raise Invalid("form", f"is larger than {requests.MAX_BODY // 1024} KB")
    return parse_qs(call.body.decode(errors="replace"), keep_blank_values=True)


def typed(call: ApiRequest, name: str) -> str:
    """Return a field of the form in a request, without blanks around it."""
    return "".join(form(call).get(name, ())[:1]).strip()


def _known(what: str, *known: str) -> None:
    if what not in known:
        raise NotFound("there is no such page")


# Signing in and out.


def _sign_in(settings: AdminSettings, request: Request, call: ApiRequest) -> Response:
    back_to = call.query.get("next", HOME)
    # Only a path of this page: anything else could lead to another site.
    inside = back_to == HOME or (back_to.startswith(f"{HOME}/") and "\\" not in back_to and back_to.isprintable())
    url, attempt = sign_in.begin(settings, web.origin(request), back_to if inside else HOME)
    return web.set_cookie(request, RedirectResponse(url, 303), web.ATTEMPT, attempt, sign_in.ATTEMPT_SECONDS)


def _signed_in(settings: AdminSettings, request: Request, call: ApiRequest) -> Response:
    attempt = request.cookies.get(web.cookie_name(request, web.ATTEMPT), "")
    try:
        operator, back_to = sign_in.finish(settings, web.origin(request), call.query, attempt)
    except Unauthorized as error:
        return render("message", 401, title="You are not signed in", text=f"{error}.", link=f"{HOME}/sign-in")
    if former := request.cookies.get(web.cookie_name(request, web.SESSION), ""):
        sign_in.close_session(settings, former)
    key = sign_in.open_session(settings, operator)
    return web.set_cookie(request, RedirectResponse(back_to, 303), web.SESSION, key, sign_in.SESSION_SECONDS)


def _sign_out(settings: AdminSettings, request: Request, _: ApiRequest) -> Response:
    web.check_origin(request)
    key = request.cookies.get(web.cookie_name(request, web.SESSION), "")
    if key:
        sign_in.close_session(settings, key)
    # Not a redirect: forms may lead to this page only, but the issuer has its own session to end.
    url = sign_in.sign_out_url(settings, web.origin(request))
    answer = render("message", title="Signing out", text="Your session has ended.", link=url, onward=True)
    answer.headers["refresh"] = f"0; url={url}"
    return web.set_cookie(request, answer, web.SESSION, "", 0)


def _signed_out(*_: object) -> Response:
    return render("message", title="You are signed out", text="Your session has ended.", link=f"{HOME}/sign-in")


def _static(request: Request, call: ApiRequest) -> Response:
    name = call.path["name"]
    if name not in _KINDS or request.url.path != _file(name)[1]:
        raise NotFound("there is no such page")
    kept = "public, max-age=31536000, immutable"
    return Response(_file(name)[0], headers={"content-type": _KINDS[name], "cache-control": kept})


# Programs and their connections.


def _programs(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    found = service.list_programs(ctx)
    counts = aws.run_in_parallel(lambda program: service.count_open(ctx, program), found)
    cards = [(program, programs.state_of(program), count) for program, count in zip(found, counts, strict=True)]
    return render("programs", ctx=ctx, cards=cards, note=call.query.get("done", ""))


def _new(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    name = check_program_id(call.query.get("program", "").strip())
    if not ctx.operator.may(name):
        raise NotFound(f"you have no access to a program {name}")
    return _to("programs", name, "connection")


def _overview(_: Request, call: ApiRequest, ctx: OperatorContext, **more: Any) -> Response:
    program = service.find_program(ctx, call.program)
    return render(
        "program",
        ctx=ctx,
        program=program,
        here="overview",
        state=programs.state_of(program),
        waits=service.count_open(ctx, program),
        note=call.query.get("done", ""),
        **({"tested": None, "sample": None, "member": "", "problem": ""} | more),
    )


def _test(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    return _overview(request, call, ctx, tested=service.test_connection(ctx, call.program)["works"])


def _sample(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    member = typed(call, "member")
    if not member:
        return _overview(request, call, ctx, problem="Enter the id of a test member.")
    return _overview(request, call, ctx, sample=service.send_sample(ctx, call.program, member), member=member)


def _release_held(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    service.release_held(ctx, call.program)
    return _to("programs", call.program, done="released")


def _connection(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = _existing(ctx, call.program)
    side = Connection() if program is None or isinstance(program.stored, str) else program.stored
    loyalty = call.query.get("loyalty", side.loyalty.platform)
    engagement = call.query.get("engagement", side.engagement.platform)
    if loyalty not in forms.LOYALTY or engagement not in forms.ENGAGEMENT:
        raise NotFound("there is no such platform")
    settings = msgspec.to_builtins(side)
    for name, platform in (("loyalty", loyalty), ("engagement", engagement)):
        if settings[name]["platform"] != platform:
            settings[name] = _defaults(name, platform)
    return _connection_form(ctx, call.program, program, loyalty, engagement, settings, note=call.query.get("done", ""))


def _defaults(side: str, platform: str) -> Any:
    fresh = msgspec.convert({side: {"platform": platform}}, Connection)
    return msgspec.to_builtins(fresh)[side]


def _existing(ctx: OperatorContext, program: str) -> Program | None:
    """Load a program, or return None for a new program that the operator may create."""
    try:
        return service.find_program(ctx, program)
    except NotFound:
        if not ctx.operator.may(check_program_id(program)):
            raise
        return None


def _connection_form(
    ctx: OperatorContext,
    name: str,
    program: Program | None,
    loyalty: str,
    engagement: str,
    settings: Mapping[str, Any],
    error: Invalid | None = None,
    conflict: str = "",
    note: str = "",
) -> Response:
    fields = list(forms.fields(loyalty, engagement))
    field = next((one.path for one in fields if error and _is_at(error.field, one.path)), "")
    return render(
        "connection",
        409 if conflict else 400 if error else 200,
        ctx=ctx,
        name=name,
        program=program,
        here="connection",
        chosen=(loyalty, engagement),
        groups=forms.groups(loyalty, engagement),
        shown={one.path: forms.shown(settings, one) for one in fields},
        boxes={one.path: forms.boxes(settings, one) for one in fields if one.kind == "several"},
        wrong=field,
        error=error,
        conflict=conflict,
        note=note,
        kept={f"secrets.{key}": secret.last_four for key, secret in (program.secrets if program else {}).items()},
        version=program.version if program else 0,
        token_name=f"secrets.{COUPON_TOKEN_PREFIX}",
    )


def _is_at(told: str, path: str) -> bool:
    return told == path or told.startswith(f"{path}.")


def _save(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    sent = form(call)
    loyalty, engagement, seen = (typed(call, name) for name in ("loyalty", "engagement", "version"))
    if loyalty not in forms.LOYALTY or engagement not in forms.ENGAGEMENT or not forms.is_number(seen):
        raise Invalid("form", "is not the form of this page; reload the page")
    change, secrets = forms.read(sent, loyalty, engagement)
    new_workspace = typed(call, "new_workspace") == "on"
    try:
        saved = service.save_connection(ctx, call.program, change, secrets, int(seen), new_workspace=new_workspace)
    except Invalid as error:
        program = _existing(ctx, call.program)
        return _connection_form(ctx, call.program, program, loyalty, engagement, change, error)
    except Conflict as error:
        program = _existing(ctx, call.program)
        return _connection_form(ctx, call.program, program, loyalty, engagement, change, conflict=str(error))
    unchosen = {one.path for one in forms.fields(loyalty, engagement) if one.kind == "several"} & {*saved.missing()}
    if unchosen:
        return _to("programs", call.program, "connection", done="unchosen")
    return _to("programs", call.program, done="saved")


def _confirm_delete(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    return render("delete", ctx=ctx, program=service.find_program(ctx, call.program), wrong=False)


def _delete(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    if typed(call, "confirm") != program.id:
        return render("delete", 400, ctx=ctx, program=program, wrong=True)
    service.delete_program(ctx, program.id)
    return _to(done="deleted")


# Keys.


def _keys(_: Request, call: ApiRequest, ctx: OperatorContext, created: Mapping[str, Any] | None = None) -> Response:
    program = service.find_program(ctx, call.program)
    keys = service.list_keys(ctx, program.id)
    context = {"keys": keys, "created": created, "note": call.query.get("done", "")}
    return render("keys", 201 if created else 200, ctx=ctx, program=program, here="keys", **context)


def _create_key(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    told: dict[str, Any] = {"name": typed(call, "name")}
    if chosen := form(call).get("scopes"):  # the form always sends a blank one, so that choosing none does not mean all
        told["scopes"] = [scope for scope in chosen if scope]
    body = requests.checked(told, inputs.CreateKey)
    return _keys(request, call, ctx, service.create_key(ctx, call.program, body.name, body.scopes))


def _confirm_revoke(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    key = next((one for one in service.list_keys(ctx, program.id) if one["id"] == call.path["key"]), None)
    if key is None:
        raise NotFound(f"{program.id} has no such key")
    return render("revoke", ctx=ctx, program=program, here="keys", key=key)


def _revoke(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    service.revoke_key(ctx, call.program, call.path["key"])
    return _to("programs", call.program, "keys", done="revoked")


# Records that were not delivered.


def _selection(told: Mapping[str, str]) -> inputs.RejectedSelection:
    return requests.checked(
        {name: told[name] for name in ("reason", "since", "until") if told.get(name)}, inputs.RejectedSelection
    )


def _in_scope(ctx: OperatorContext, program: str) -> Program:
    """Load a program, or an empty one for unattributed records, activity and errors."""
    is_unattributed = service.require_scope(ctx, program) == UNKNOWN_PROGRAM
    return Program(UNKNOWN_PROGRAM, Connection()) if is_unattributed else service.find_program(ctx, program)


def _records(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = _in_scope(ctx, call.program)
    chosen = {name: call.query.get(name, "") for name in ("reason", "since", "until")}
    return render(
        "records",
        ctx=ctx,
        program=program,
        here="records",
        held=[] if program.id == UNKNOWN_PROGRAM else service.list_held(ctx, program.id),
        rejected=service.list_rejected(ctx, program.id, _selection(chosen).to_filter()),
        chosen=chosen,
        limit=service.SHOWN,
        note=call.query.get("done", ""),
    )


def _record(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = _in_scope(ctx, call.program)
    record = service.show_rejected(ctx, program.id, call.query.get("event_id", ""))
    return render("record", ctx=ctx, program=program, here="records", rejected=record)


def _confirm_records(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    _known(call.path["what"], "redrive", "drop")
    program = _in_scope(ctx, call.program)
    chosen = {name: call.query.get(name, "") for name in ("reason", "since", "until")}
    meant = service.list_rejected(ctx, program.id, _selection(chosen).to_filter())
    return render(
        "confirm_records",
        ctx=ctx,
        program=program,
        here="records",
        what=call.path["what"],
        count=len(meant),
        limit=service.SHOWN,
        chosen=chosen,
    )


def _act_on_records(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    _known(call.path["what"], "redrive", "drop")
    which = _selection({name: typed(call, name) for name in ("reason", "since", "until")}).to_filter()
    if call.path["what"] == "redrive":
        done, moved = "redriven", service.redrive_rejected(ctx, call.program, which)
    else:
        done, moved = "dropped", service.drop_rejected(ctx, call.program, which)
    return _to("programs", call.program, "records", done=f"{done}_in_part" if moved.left else done)


# Actions without a known outcome.


def _actions(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    found = service.list_actions(ctx, program.id)
    return render("actions", ctx=ctx, program=program, here="actions", actions=found, note=call.query.get("done", ""))


def _action(_: Request, call: ApiRequest, ctx: OperatorContext, error: Invalid | None = None) -> Response:
    program = service.find_program(ctx, call.program)
    action = service.show_action(ctx, program.id, call.path["action"])
    return render("action", 400 if error else 200, ctx=ctx, program=program, here="actions", action=action, error=error)


def _decide(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    told = {"happened": typed(call, "happened"), "result": typed(call, "result")}
    try:
        body = requests.checked(told, inputs.Decide)
        service.decide_action(ctx, call.program, call.path["action"], happened=body.happened, result=body.result)
    except Invalid as error:
        return _action(request, call, ctx, error)
    return _to("programs", call.program, "actions", done="decided")


# Looking things up.


def _lookup(_: Request, call: ApiRequest, ctx: OperatorContext, **more: Any) -> Response:
    program = service.find_program(ctx, call.program)
    name = call.query.get("id", "").strip()
    context = {"name": name, "traced": service.trace_id(ctx, program.id, name) if name else None}
    context |= {"record": "", "explained": None, "error": None} | more
    status = 400 if context["error"] else 200
    return render("lookup", status, ctx=ctx, program=program, here="lookup", note=call.query.get("done", ""), **context)


def _explain(request: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    record = typed(call, "record")
    try:
        explained = service.explain_record(ctx, call.program, record.encode())
    except Invalid as error:
        return _lookup(request, call, ctx, record=record, error=error)
    return _lookup(request, call, ctx, record=record, explained=explained)


def _member(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    _known(call.path["what"], "resync", "forget")
    member = requests.checked({"member": typed(call, "member")}, inputs.OfMember).member
    if call.path["what"] == "resync":
        service.resync_member(ctx, call.program, member)
        return _to("programs", call.program, "lookup", done="resynced")
    service.forget_member(ctx, call.program, member)
    return _to("programs", call.program, "lookup", done="forgotten")


# What was done.

PERIODS = (1, 7, 30, 90)
MAX_FIELDS = 100
"""Unmapped fields on one page."""


def _activity(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = _in_scope(ctx, call.program)
    days = requests.checked({"days": call.query.get("days", "7")}, inputs.Period).days
    told = service.load_statistics(ctx, program.id, days)
    return render(
        "activity",
        ctx=ctx,
        program=program,
        here="activity",
        days=days,
        periods=PERIODS,
        charts=charts.of(told),
        endpoints={name: reports.numbers(counts) for name, counts in reports.totals(told).items()},
        unknown_fields=service.list_unknown_fields(ctx, program.id, days)[:MAX_FIELDS],
    )


def _errors(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = _in_scope(ctx, call.program)
    chosen = {name: call.query.get(name, "") for name in ("code", "endpoint", "direction", "since", "until")}
    told = {name: text for name, text in {**chosen, "page": call.query.get("page", "")}.items() if text}
    found = service.list_errors(ctx, program.id, requests.checked(told, inputs.ErrorSelection))
    return render("errors", ctx=ctx, program=program, here="errors", chosen=chosen, found=found)


def _error(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = _in_scope(ctx, call.program)
    line = service.find_error(ctx, program.id, call.query.get("line", ""))
    return render("error", ctx=ctx, program=program, here="errors", line=line)


def _setup(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    program = service.find_program(ctx, call.program)
    guide = list(setup_guide(ctx.settings, program))
    return render("setup", ctx=ctx, program=program, here="setup", guide=guide)


def _audit(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    found = service.list_audit(ctx, call.program)
    program = None if call.program == UNKNOWN_PROGRAM else _existing(ctx, call.program)
    # A deleted program has only its audit.
    return render("audit", ctx=ctx, program=program or Program(call.program, Connection()), here="audit", lines=found)


def _dead_letters(_: Request, call: ApiRequest, ctx: OperatorContext) -> Response:
    return render("dead_letters", ctx=ctx, counts=service.count_dead_letters(ctx), note=call.query.get("done", ""))


def _redrive_dead_letters(_: Request, __: ApiRequest, ctx: OperatorContext) -> Response:
    moved = service.redrive_dead_letters(ctx)
    return _to("dead-letters", done="redriven_in_part" if moved.left else "redriven")


ONE = "/programs/{programId}"
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "", _programs),
    ("GET", "/new", _new),
    ("GET", "/dead-letters", _dead_letters),
    ("POST", "/dead-letters/redrive", _redrive_dead_letters),
    ("GET", ONE, _overview),
    ("POST", f"{ONE}/test", _test),
    ("POST", f"{ONE}/sample", _sample),
    ("POST", f"{ONE}/held/release", _release_held),
    ("GET", f"{ONE}/connection", _connection),
    ("POST", f"{ONE}/connection", _save),
    ("GET", f"{ONE}/delete", _confirm_delete),
    ("POST", f"{ONE}/delete", _delete),
    ("GET", f"{ONE}/keys", _keys),
    ("POST", f"{ONE}/keys", _create_key),
    ("GET", f"{ONE}/keys/{{key}}/revoke", _confirm_revoke),
    ("POST", f"{ONE}/keys/{{key}}/revoke", _revoke),
    ("GET", f"{ONE}/records", _records),
    ("GET", f"{ONE}/record", _record),
    ("GET", f"{ONE}/records/{{what}}", _confirm_records),
    ("POST", f"{ONE}/records/{{what}}", _act_on_records),
    ("GET", f"{ONE}/actions", _actions),
    ("GET", f"{ONE}/actions/{{action}}", _action),
    ("POST", f"{ONE}/actions/{{action}}", _decide),
    ("GET", f"{ONE}/lookup", _lookup),
    ("POST", f"{ONE}/lookup", _explain),
    ("POST", f"{ONE}/members/{{what}}", _member),
    ("GET", f"{ONE}/activity", _activity),
    ("GET", f"{ONE}/errors", _errors),
    ("GET", f"{ONE}/error", _error),
    ("GET", f"{ONE}/setup", _setup),
    ("GET", f"{ONE}/audit", _audit),
)


def routes(settings: AdminSettings) -> list[Route]:
    """Return the routes of the page; any other path gets a 404 page."""

    def signed(page: Page) -> web.Work:
        return lambda request, call: page(request, call, web.operator_context(settings, request))

    def unknown(*_: object) -> Response:
        raise NotFound("there is no such page")

    def of(work: Callable[[AdminSettings, Request, ApiRequest], Response]) -> web.Work:
        return lambda request, call: work(settings, request, call)

    open_to_all: tuple[tuple[str, str, web.Work], ...] = (
        ("GET", "/sign-in", of(_sign_in)),
        ("GET", "/signed-in", of(_signed_in)),
        ("POST", "/sign-out", of(_sign_out)),
        ("GET", "/signed-out", _signed_out),
        ("GET", "/static/{word}/{name}", _static),
    )
    works = [*open_to_all, *((method, path, signed(page)) for method, path, page in PAGES)]
    made = [Route(HOME + path, web.served(work, failed), methods=[method]) for method, path, work in works]
    return [*made, Route("/{path:path}", web.served(unknown, failed), methods=["GET", "POST"])]
