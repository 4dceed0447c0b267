"""The routes of the HTTP API as one table, from which `docs/openapi.json` is made."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from loyalty_bridge.http_api import openapi, request_schemas, requests, response_schemas
from loyalty_bridge.platforms import parsing

VERSION = "1.0.0"
BASE = "/v1/programs/{programId}"


class Route(NamedTuple):
    """One route: its body, its answers by status, and the statuses of its failures."""

    function: str
    method: Literal["get", "post"]
    path: str
    summary: str
    takes: type[BaseModel] | dict[str, Any] | None
    answers: dict[int, type[BaseModel]]
    fails: tuple[int, ...]
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


_MEMBER_ID = {"type": ["string", "integer"], "minimum": -(2**63), "maximum": 2**63 - 1, "pattern": r"\S"}
_EVENT = {
    "description": "A loyalty event of Convercus, as in docs/schemas/convercus; at least its member is required.",
    "type": "object",
    "properties": {
        "accountId": {"type": ["string", "integer", "null"]},
        "userId": {"type": ["string", "integer", "null"]},
        "payload": {"type": ["object", "null"]},
    },
    "anyOf": [{"required": [name], "properties": {name: _MEMBER_ID}} for name in ("accountId", "userId")],
}
_EVENT_REF = {"$ref": "#/components/schemas/Event"}
_EVENTS = {"anyOf": [_EVENT_REF, {"type": "array", "items": _EVENT_REF, "minItems": 1}]}
_ACTION = (400, 401, 403, 404, 409, 413, 422, 500, 502, 503)
ROUTES = (
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
        _EVENTS,
        {202: response_schemas.Received},
        (400, 401, 403, 409, 413, 500, 503),
    ),
)

_MEANINGS = {
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
_ID = {"type": "string", "maxLength": requests.MAX_ID, "pattern": requests.ID_PATTERN}
_PROGRAM = {"type": "string", "pattern": f"^{parsing.PROGRAM_ID}$"}
_KEY = {"type": "string", "maxLength": 255, "pattern": r"^[ -z|}~]*$"}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return openapi.make_document(
        {
            "title": "Loyalty Bridge",
            "version": VERSION,
            "description": "Actions of campaigns on a loyalty platform, and lookups of messages.",
        },
        [_describe(route) for route in ROUTES],
        _MEANINGS,
        {
            "key": {"type": "apiKey", "in": "header", "name": "X-Convercus-Key"},
            "bridge_key": {"type": "apiKey", "in": "header", "name": "X-Bridge-Key"},
        },
        {"Event": _EVENT},
    )


def _describe(route: Route) -> openapi.Operation:
    path = BASE + route.path
    parameters = [
        *openapi.path_parameters(path, _ID, programId=_PROGRAM),
        *(openapi.parameter("query", name) for name in route.query),
        *(openapi.parameter("header", name) for name in route.headers),
    ]
    if isinstance(route.takes, type) and "idempotency_key" in route.takes.model_fields:
        parameters.append(openapi.parameter("header", "Idempotency-Key", _KEY))
    return openapi.Operation(
        f"{route.method}_{route.function}",
        route.method,
        path,
        route.summary,
        parameters,
        route.takes,
        route.answers,
        route.fails,
    )
