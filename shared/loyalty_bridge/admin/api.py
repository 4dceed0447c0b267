"""The admin API: one table of endpoints, from which the routes and `docs/admin-openapi.json` are made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loyalty_bridge.activity import reports
from loyalty_bridge.admin import response_schemas, web
from loyalty_bridge.errors import BridgeError, Invalid, NotFound
from loyalty_bridge.http_api import openapi, requests, responses
from loyalty_bridge.http_api.requests import ApiRequest
from loyalty_bridge.operations import inputs, programs, service
from loyalty_bridge.operations.context import OperatorContext

if TYPE_CHECKING:
    from starlette.requests import Request

    from loyalty_bridge.settings import AdminSettings

VERSION = "1.0.0"
BASE = "/admin/api/v1"
PROGRAM = "/programs/{programId}"


class Endpoint(NamedTuple):
    """One endpoint. `work` gets the operator's context, the request, and the body if `takes` is set."""

    method: str
    path: str
    summary: str
    work: Callable[[OperatorContext, ApiRequest, Any], Any]
    answers: type[BaseModel]
    takes: type[BaseModel] | None = None
    query: Mapping[str, bool] = {}
    """Names of its query parameters, and whether each is required."""
    status: int = 200


def _selection(call: ApiRequest) -> inputs.RejectedSelection:
    filters = {name: call.query[name] for name in ("reason", "since", "until") if call.query.get(name)}
    return requests.checked(filters, inputs.RejectedSelection)


def _statistics(ctx: OperatorContext, call: ApiRequest, _: object) -> dict[str, Any]:
    period = requests.checked({name: call.query[name] for name in ("days",) if name in call.query}, inputs.Period)
    return reports.to_dict(call.program, service.load_statistics(ctx, call.program, period.days))


def _errors(ctx: OperatorContext, call: ApiRequest, _: object) -> dict[str, Any]:
    filters = {name: call.query[name] for name in inputs.ErrorSelection.model_fields if call.query.get(name)}
    errors = service.list_errors(ctx, call.program, requests.checked(filters, inputs.ErrorSelection))
    return {"errors": [line.to_dict() for line in errors.lines], "next": errors.next}


def _require_parameter(call: ApiRequest, name: str) -> str:
    value = call.query.get(name, "").strip()
    if not value:
        raise Invalid(name, "is missing")
    return value


def _save(ctx: OperatorContext, call: ApiRequest, body: inputs.SaveConnection) -> dict[str, Any]:
    saved = service.save_connection(
        ctx, call.program, body.connection, body.secrets, body.version, new_workspace=body.new_workspace
    )
    return programs.describe(saved)


def _explain(ctx: OperatorContext, call: ApiRequest, body: inputs.ExplainRecord) -> dict[str, Any]:
    return service.explain_record(ctx, call.program, json.dumps(body.record).encode())


def _decide(ctx: OperatorContext, call: ApiRequest, body: inputs.Decide) -> None:
    service.decide_action(ctx, call.program, call.path["action"], happened=body.happened, result=body.result)


_FILTERS = {"reason": False, "since": False, "until": False}
ENDPOINTS = (
    Endpoint(
        "get",
        "/me",
        "The person who is signed in, with the programs that this person may administer",
        lambda ctx, *_: {
            "subject": ctx.operator.subject,
            "all_programs": ctx.operator.all_programs,
            "programs": sorted(ctx.operator.programs),
        },
        response_schemas.Me,
    ),
    Endpoint(
        "get",
        "/programs",
        "The operator's programs",
        lambda ctx, *_: {"programs": [programs.row(program) for program in service.list_programs(ctx)]},
        response_schemas.Programs,
    ),
    Endpoint(
        "get",
        PROGRAM,
        "A program: its connection, missing settings, delivery state, and the last four characters of its secrets",
        lambda ctx, call, _: programs.describe(service.find_program(ctx, call.program)),
        response_schemas.Program,
    ),
    Endpoint(
        "put",
        PROGRAM,
        "Create a program, or change its connection",
        _save,
        response_schemas.Program,
        inputs.SaveConnection,
    ),
    Endpoint(
        "delete",
        PROGRAM,
        "Delete a program with its keys, parked records and member data; its records in flight are rejected",
        lambda ctx, call, _: service.delete_program(ctx, call.program),
        response_schemas.Done,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/test",
        "Check that the destination accepts the key, with a request that changes nothing",
        lambda ctx, call, _: service.test_connection(ctx, call.program),
        response_schemas.Works,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/sample",
        "Send the event loyalty_bridge_sample for a test member, and return the destination's answer",
        lambda ctx, call, body: service.send_sample(ctx, call.program, body.member),
        response_schemas.Sample,
        inputs.SendSample,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/held/release",
        "Release the held records from the next minute on, without waiting for the check of the connection",
        lambda ctx, call, _: service.release_held(ctx, call.program),
        response_schemas.Done,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/keys",
        "The keys of the program, oldest first",
        lambda ctx, call, _: {"keys": service.list_keys(ctx, call.program)},
        response_schemas.Keys,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/keys",
        "Create a key; only this answer contains it",
        lambda ctx, call, body: service.create_key(ctx, call.program, body.name, body.scopes),
        response_schemas.NewKey,
        inputs.CreateKey,
        status=201,
    ),
    Endpoint(
        "delete",
        f"{PROGRAM}/keys/{{key}}",
        "Revoke a key; the next call with it gets a 401",
        lambda ctx, call, _: service.revoke_key(ctx, call.program, call.path["key"]),
        response_schemas.Done,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/explain",
        "Preview a record without sending it",
        _explain,
        response_schemas.Explained,
        inputs.ExplainRecord,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/trace",
        "Trace an event, or the events of a member",
        lambda ctx, call, _: service.trace_id(ctx, call.program, _require_parameter(call, "id")),
        response_schemas.Traced,
        query={"id": True},
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/statistics",
        "Calls, events and latencies of the last days (default 30, at most 90), by function. "
        "Program `-`: unattributed activity",
        _statistics,
        response_schemas.Statistics,
        query={"days": False},
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/errors",
        "The error history of 90 days, latest first; equal errors of a day are one line. "
        "Program `-`: unattributed errors",
        _errors,
        response_schemas.Errors,
        query=dict.fromkeys(inputs.ErrorSelection.model_fields, False),
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/actions",
        "The actions whose outcome is unknown, oldest first",
        lambda ctx, call, _: {"actions": service.list_actions(ctx, call.program)},
        response_schemas.Actions,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/actions/{{action}}",
        "An action, with the reference under which it was sent",
        lambda ctx, call, _: service.show_action(ctx, call.program, call.path["action"]),
        response_schemas.Action,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/actions/{{action}}/decision",
        "Decide the outcome of an action; if it did not happen, its next repeat carries it out",
        _decide,
        response_schemas.Done,
        inputs.Decide,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/held",
        f"The first {service.SHOWN} batches of held records, in order",
        lambda ctx, call, _: {"held": service.list_held(ctx, call.program)},
        response_schemas.Held,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/rejected",
        f"The first {service.SHOWN} rejected records, with their reasons. Program `-`: unattributed records",
        lambda ctx, call, _: {"rejected": service.list_rejected(ctx, call.program, _selection(call).to_filter())},
        response_schemas.RejectedRecords,
        query=_FILTERS,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/rejected/record",
        "A rejected record with its body, which contains personal data; the audit records who looked",
        lambda ctx, call, _: service.show_rejected(ctx, call.program, _require_parameter(call, "event_id")),
        response_schemas.RejectedRecord,
        query={"event_id": True},
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/rejected/redrive",
        "Put rejected records back on the event queue or stream, after the cause was corrected",
        lambda ctx, call, body: asdict(service.redrive_rejected(ctx, call.program, body.to_filter())),
        response_schemas.Moved,
        inputs.RejectedSelection,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/rejected/drop",
        "Delete rejected records",
        lambda ctx, call, body: asdict(service.drop_rejected(ctx, call.program, body.to_filter())),
        response_schemas.Moved,
        inputs.RejectedSelection,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/members/resync",
        "Send all attributes with a member's next event, changed or not",
        lambda ctx, call, body: service.resync_member(ctx, call.program, body.member),
        response_schemas.Done,
        inputs.OfMember,
    ),
    Endpoint(
        "post",
        f"{PROGRAM}/members/forget",
        "Delete the data that is stored about a member",
        lambda ctx, call, body: service.forget_member(ctx, call.program, body.member),
        response_schemas.Done,
        inputs.OfMember,
    ),
    Endpoint(
        "get",
        f"{PROGRAM}/audit",
        "The changes of a program, also of a deleted one, newest first. Program `-`: changes of no single program",
        lambda ctx, call, _: {"audit": service.list_audit(ctx, call.program)},
        response_schemas.Audit,
    ),
    Endpoint(
        "get",
        "/dead-letters",
        "The dead letters: messages of the queue and batches of the stream that the forwarder failed on",
        lambda ctx, *_: service.count_dead_letters(ctx),
        response_schemas.DeadLetters,
    ),
    Endpoint(
        "post",
        "/dead-letters/redrive",
        "Put the dead letters back on the event queue or stream",
        lambda ctx, *_: asdict(service.redrive_dead_letters(ctx)),
        response_schemas.Moved,
    ),
)


def routes(settings: AdminSettings) -> list[Route]:
    """Return the routes of the API; any other path below it gets a 404 in the documented shape."""
    made = [
        Route(BASE + endpoint.path, web.served(_work(settings, endpoint), failed), methods=[endpoint.method.upper()])
        for endpoint in ENDPOINTS
    ]

    def unknown(*_: object) -> Response:
        raise NotFound("there is no such endpoint")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [*made, Route("/admin/api/{path:path}", web.served(unknown, failed), methods=methods)]


def _work(settings: AdminSettings, endpoint: Endpoint) -> web.Work:
    def work(request: Request, call: ApiRequest) -> Response:
        ctx = web.operator_context(settings, request, bearer=True)
        body = requests.body(call, endpoint.takes) if endpoint.takes else None
        result = endpoint.work(ctx, call, body)
        return JSONResponse({"done": True} if result is None else result, endpoint.status)

    return work


def failed(_: Request, error: BridgeError) -> Response:
    """Return the response to an error."""
    response = responses.failed(error)
    return Response(response["body"], response["statusCode"], response["headers"])


_MEANINGS = {
    200: "Done",
    201: "Created",
    400: "The request is not as documented; `field` names the invalid field",
    401: "Not signed in: the token or session is missing, invalid or expired",
    403: "The change may come from another site, in the operator's name",
    404: "It does not exist, or belongs to another operator",
    409: "`conflict`: someone else changed it first; or `not_connected`: the program is not in the state for it",
    413: "More than 256 KB",
    500: "`internal_error`: a defect of the bridge",
    503: "A store or platform does not answer; repeat after `Retry-After`",
}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return openapi.make_document(
        {
            "title": "Loyalty Bridge for its operators",
            "version": VERSION,
            "description": "The functions of the operator's page and of the command line `bridge`, for scripts.",
        },
        [_describe(endpoint) for endpoint in ENDPOINTS],
        _MEANINGS,
        {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "session": {"type": "apiKey", "in": "cookie", "name": f"__Host-{web.SESSION}"},
        },
    )


def _describe(endpoint: Endpoint) -> openapi.Operation:
    query = (openapi.parameter("query", name, required=required) for name, required in endpoint.query.items())
    return openapi.Operation(
        re.sub(r"\W+", "_", f"{endpoint.method}{endpoint.path}").rstrip("_"),
        endpoint.method,
        BASE + endpoint.path,
        endpoint.summary,
        [*openapi.path_parameters(endpoint.path), *query],
        endpoint.takes,
        {endpoint.status: endpoint.answers},
        _failures(endpoint),
    )


def _failures(endpoint: Endpoint) -> Iterable[int]:
    changes = endpoint.method != "get"
    yield from (400,) if endpoint.takes or endpoint.query else ()
    yield 401
    yield from (403,) if changes else ()
    yield from (404,) if "{" in endpoint.path or "dead-letters" in endpoint.path else ()
    yield from (409,) if changes else ()
    yield from (413,) if endpoint.takes else ()
    yield from (500, 503)
