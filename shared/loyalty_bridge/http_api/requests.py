"""Read calls from API Gateway's HTTP API (payload format 2.0).

Each function has one or two routes, so there is no router: its import would cost more time at each cold start than it
saves.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from loyalty_bridge.errors import Invalid, PayloadTooLarge
from loyalty_bridge.member_ids import check_member_id

if TYPE_CHECKING:
    from pydantic import BaseModel

    from loyalty_bridge.model import Json

    M = TypeVar("M", bound=BaseModel)

_GATEWAY_SECONDS = 30.0
"""Time-out of an HTTP API. An older event is a stored one that somebody runs by hand
(https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html)."""
MAX_BODY = 256 * 1024
MAX_ID = 200
ID_PATTERN = r"^[^\s./\\%?#{}][^/\\%?#{}\x00-\x1f\x7f]*$"
"""Ids become parts of paths, which gateways decode, some twice; so an id holds no character that separates there."""
EXTERNAL_ID_PATTERN = r"^[^\s{\x00-\x1f\x7f]([^{\x00-\x1f\x7f]|\{[^{%\x00-\x1f\x7f])*$"
"""Pattern of ids that are not part of a path."""
_UNRENDERED = re.compile(r"\{\{|\{%")
_TEST_DISPATCH = "dispatch_id_for_unsent_campaign"
"""What Braze renders for a dispatch id in a test (https://www.braze.com/docs/help/help_articles/api/dispatch_id)."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An API call. Its repr shows neither headers nor body, which hold keys and members' data.

    Attributes
    ----------
    headers
        Names in lower case.
    arrived
        When the gateway received it (epoch seconds).
    """

    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    arrived: float

    @property
    def program(self) -> str:
        """The program id of the URL."""
        return self.path.get("programId", "")

    def seconds_left(self, limit: float) -> float:
        """Return how much is left of the seconds that the caller waits, counted from the gateway's receipt."""
        age = time.time() - self.arrived
        return limit - age if 0 < age < _GATEWAY_SECONDS else limit

    def id(self, name: str) -> str:
        """Return an id of the URL.

        Raises
        ------
        Invalid
            The id is blank, was not rendered, or is malformed.
        """
        try:
            return identifier(self.path.get(name, ""))
        except ValueError as error:
            raise Invalid(name, str(error)) from None


def rendered(value: str) -> str:
    """Return a text without surrounding blanks; raise ValueError if a template did not render it, or it is blank."""
    if _UNRENDERED.search(value):
        raise ValueError("was not rendered by the template")
    if not value.strip():
        raise ValueError("is blank")
    return value.strip()


def external_id(value: str) -> str:
    """Return an id that is not part of a path, without surrounding blanks; raise ValueError if it is malformed."""
    id_ = rendered(value)
    if len(id_) > MAX_ID:
        raise ValueError(f"has more than {MAX_ID} characters")
    try:
        check_member_id(id_, "")
    except Invalid as refusal:
        raise ValueError(refusal.reason) from None
    return id_


def identifier(value: str) -> str:
    """Return an id without surrounding blanks; raise ValueError if it is malformed or could mean another path."""
    id_ = external_id(value)
    if not re.fullmatch(ID_PATTERN, id_):
        raise ValueError("is not an id")
    return id_


def read(event: Mapping[str, Any]) -> ApiRequest:
    """Read the gateway's event."""
    body = event.get("body") or ""
    try:
        data = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(errors="surrogatepass")
    except ValueError:
        data = b""
    http = event["requestContext"]["http"]
    return ApiRequest(
        method=http["method"],
        path=event.get("pathParameters") or {},
        query=event.get("queryStringParameters") or {},
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        body=data,
        arrived=event["requestContext"]["timeEpoch"] / 1000,
    )


def parsed(call: ApiRequest) -> Json:
    """Parse a JSON body.

    Raises
    ------
    PayloadTooLarge
        The body is too large.
    Invalid
        The body is not JSON or names a key twice, or the ``Content-Type`` is another one.
    """
    from loyalty_bridge.platforms.parsing import parse_json

    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Invalid("Content-Type", "is not application/json")
    if len(call.body) > MAX_BODY:
        raise PayloadTooLarge("body", f"is larger than {MAX_BODY // 1024} KB")
    try:
        # A parser keeps the last of two equal keys: a text that was not escaped could replace any other field.
        return parse_json(call.body, unique_keys=True)
    except Invalid as error:
        unquoted = str(error).replace("record:", "body:", 1)
        field = "body" if error.field == "record" else error.field
        raise Invalid(field, error.reason, unquoted=unquoted) from None


def body(call: ApiRequest, model: type[M]) -> M:
    """Return the body as a model.

    Raises
    ------
    Invalid
        A field is wrong, or as `parsed`.
    """
    return checked(parsed(call), model)


def checked(document: Any, model: type[M]) -> M:
    """Return a document as a model.

    Raises
    ------
    Invalid
        A field is wrong; the error names it.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:64]}" for part in first["loc"])
        complaint = _complaint(first["type"], first["msg"])
        unquoted = "body: has a field that is not known" if first["type"] == "extra_forbidden" else ""
        raise Invalid(path.lstrip(".") or "body", complaint, unquoted=unquoted) from None


def _complaint(kind: str, message: str) -> str:
    known = {"missing": "is missing", "extra_forbidden": "is not a known field", "model_type": "is not an object"}
    return known.get(kind, re.sub(r"^(Value error, |\w+ (?=should ))", "", message))


def fingerprint(call: ApiRequest, action: str, document: Mapping[str, Any]) -> str:
    """Return the hash by which equal requests are recognised."""
    text = json.dumps([action, dict(call.path), document], sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def idempotency_key(call: ApiRequest, given: str | None, dispatch: str | None, *parts: str | None) -> str | None:
    """Return the caller's idempotency key: the header, else the body's, else the dispatch with `parts`.

    All members of a send share a dispatch, so it is a key only together with `parts`. Blanks and Braze's placeholder in
    tests are not keys.

    Raises
    ------
    Invalid
        The header is not printable ASCII, longer than 255 characters, or not rendered.
    """
    header = call.headers.get("idempotency-key", "").strip()
    if not re.fullmatch(r"[ -~]{0,255}", header):
        raise Invalid("Idempotency-Key", "has other than printable ASCII characters, or more than 255")
    if _UNRENDERED.search(header):
        raise Invalid("Idempotency-Key", "was not rendered by the template")
    for own in (header, (given or "").strip()):
        if own and _TEST_DISPATCH not in own:
            return f"key:{own}"
    sent = (dispatch or "").strip()
    return json.dumps(["dispatch", sent, *parts]) if sent and _TEST_DISPATCH not in sent else None
