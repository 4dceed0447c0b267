"""The HTTP API as one table, and its OpenAPI document (`docs/openapi.json`)."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from loyalty_bridge.http_api import request_schemas, requests, response_schemas
from loyalty_bridge.platforms import parsing

VERSION = "1.0.0"
BASE = "/v1/programs/{programId}"


class Route(NamedTuple):
    """One route: its body, its answers by status, and the statuses of its failures."""

    function: str
    method: Literal["get", "post"]
    path: str
    summary: str
    takes: type[BaseModel] | Literal["events"] | None
    answers: dict[int, type[BaseModel]]
    fails: tuple[int, ...]
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


_ACTION = (400, 401, 403, 404, 409, 413, 422, 500, 502, 503)
CALLS = (
    Route(
        "assign_coupon",
        "post",
        "/campaigns/{couponId}/assign",
        "Assign a coupon to a member",
        request_schemas.AssignCoupon,
        {200: response_schemas.CouponCode},
        _ACTION,
    ),
    Route(
        "assign_coupon_batch",
        "post",
        "/campaigns/{couponId}/assign/batch",
        "Plan the assignment of a coupon to up to 500 members",
        request_schemas.AssignCouponBatch,
        {200: response_schemas.BatchId},
        _ACTION,
    ),
    Route(
        "assign_coupon_batch",
        "get",
        "/campaigns/{couponId}/assign/batch/{batchId}",
        "Show how far a batch is, with each member's outcome",
        None,
        {200: response_schemas.BatchProgress},
        (400, 401, 403, 404, 500, 503),
    ),
    Route(
        "book_points",
        "post",
        "/members/{accountId}/bookings",
        "Book points on a member account",
        request_schemas.BookPoints,
        {200: response_schemas.BookingId},
        _ACTION,
    ),
    Route(
        "subscribe_email",
        "post",
        "/subscriptions/email",
        "Set the e-mail opt-ins of a member",
        request_schemas.SubscribeEmail,
        {200: response_schemas.Subscribed, 207: response_schemas.Subscribed},
        _ACTION,
    ),
    Route(
        "signup_member",
        "post",
        "/members",
        "Sign a member up at Punchh; a member with an account is reported as `existing`",
        request_schemas.SignupMember,
        {200: response_schemas.Signup},
        _ACTION,
        headers=("User-Agent", "punchh-app-device-id"),
    ),
    Route(
        "member_profile",
        "get",
        "/members/{accountId}/profile",
        "A member's profile, while a message is rendered",
        None,
        {200: response_schemas.Profile},
        (401, 403),
    ),
    Route(
        "member_coupons",
        "get",
        "/members/{accountId}/coupons",
        "A member's redeemable coupons, while a message is rendered",
        None,
        {200: response_schemas.Coupons},
        (401, 403),
        ("lang",),
    ),
    Route(
        "member_coupon_code",
        "get",
        "/members/{accountId}/coupon-code",
        "A member's code of a Punchh coupon campaign, while a message is rendered; `-` is the member of the query",
        None,
        {200: response_schemas.GivenCode},
        (401, 403),
        ("campaign", "member"),
    ),
    Route(
        "receive_events",
        "post",
        "/events",
        "Take Convercus events, one object or an array, and store them durably",
        "events",
        {202: response_schemas.Received},
        (400, 401, 403, 409, 413, 500, 503),
    ),
)

_MEANS = {
    200: "Done",
    202: "Stored durably",
    207: "Some memberships were updated and others were not",
    400: "The request is not as documented; `field` names what is wrong",
    401: "The key is missing, unknown, revoked, or another program's",
    403: "The key has another scope",
    404: "The loyalty platform does not know the member or the coupon; or there is no such batch",
    409: "It contradicts the loyalty platform's data; or `not_connected`: the program is not set up for it",
    413: "More than 256 KB",
    422: "The idempotency key was used before, for another request; or the loyalty platform rejects the action",
    500: "`outcome_unknown`: it is not known whether the action was carried out; it is not sent again; "
    "or `internal_error`: a defect of the bridge",
    502: "The loyalty platform could not be reached; nothing was done",
    503: "Nothing was done, or an equal request is in progress (`in_progress`), or opt-ins may be set, which a "
    "repeat sets once more; try again after `Retry-After`. "
    "`connection_broken`: the loyalty platform rejects the program's secrets",
}


RETRY_AFTER = {"Retry-After": {"description": "Seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}}
_ID = {"type": "string", "maxLength": requests.MAX_ID, "pattern": requests.ID_PATTERN}
_PROGRAM = {"type": "string", "pattern": f"^{parsing.PROGRAM_ID}$"}
_KEY = {"type": "string", "maxLength": 255, "pattern": r"^[ -z|}~]*$"}
_WHO = {"type": ["string", "integer"], "minimum": -(2**63), "maximum": 2**63 - 1, "pattern": r"\S"}
_EVENT = {
    "description": "A loyalty event of Convercus, as in docs/schemas/convercus; at least its member is required.",
    "type": "object",
    "properties": {
        "accountId": {"type": ["string", "integer", "null"]},
        "userId": {"type": ["string", "integer", "null"]},
        "payload": {"type": ["object", "null"]},
    },
    "anyOf": [{"required": [name], "properties": {name: _WHO}} for name in ("accountId", "userId")],
}


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    used: set[type[BaseModel]] = {response_schemas.Error}
    for call in CALLS:
        used |= {*call.answers.values()} | ({call.takes} if isinstance(call.takes, type) else set())
    models = sorted(used, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(BASE + call.path, {})[call.method] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loyalty Bridge",
            "version": VERSION,
            "description": "Actions of campaigns on a loyalty platform, and lookups of messages.",
        },
        "security": [{"key": []}, {"bridge_key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"] | {"Event": _EVENT},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Convercus-Key"},
                "bridge_key": {"type": "apiKey", "in": "header", "name": "X-Bridge-Key"},
            },
        },
    }


def _operation(call: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PROGRAM if name == "programId" else _ID}
        for name in re.findall(r"\{(\w+)\}", BASE + call.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in call.query]
    parameters += [{"name": name, "in": "header", "schema": {"type": "string"}} for name in call.headers]
    if isinstance(call.takes, type) and "idempotency_key" in call.takes.model_fields:
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": _KEY})
    operation: dict[str, Any] = {
        "operationId": f"{call.method}_{call.function}",
        "summary": call.summary,
        "parameters": parameters,
        "responses": {
            **{str(status): _response(status, model) for status, model in call.answers.items()},
            **{str(status): _response(status, response_schemas.Error) for status in call.fails},
        },
    }
    if call.takes == "events":
        event = {"$ref": "#/components/schemas/Event"}
        operation["requestBody"] = _content({"anyOf": [event, {"type": "array", "items": event, "minItems": 1}]})
    elif call.takes:
        operation["requestBody"] = _content({"$ref": f"#/components/schemas/{call.takes.__name__}"})
    return operation


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _response(status: int, model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    reply: dict[str, Any] = {"description": _MEANS[status], "content": {"application/json": {"schema": schema}}}
    return reply | ({"headers": RETRY_AFTER} if status in {502, 503} else {})
