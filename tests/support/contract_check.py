"""Whether an answer is one that docs/openapi.json documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.support.template import ROOT

OPENAPI = ROOT / "docs" / "openapi.json"
_URI = "urn:openapi"


@cache
def document() -> dict[str, Any]:
    """Read docs/openapi.json."""
    read: dict[str, Any] = json.loads(OPENAPI.read_text())
    return read


@cache
def validator(*path: str) -> Draft202012Validator:
    """Make the validator of a schema inside the document."""
    pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)
    registry: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(document()))
    return Draft202012Validator({"$ref": f"{_URI}#/{pointer}"}, registry=registry)


def check(method: str, path: str, status: int, body: Any, headers: Mapping[str, str]) -> None:
    """Fail unless the answer is documented: its status, its body, and the header that a 502 or 503 needs."""
    operation = ("paths", path, method.lower(), "responses")
    documented = document()["paths"][path][method.lower()]["responses"]
    assert str(status) in documented, f"{method} {path} answers {status}: {body}"
    validator(*operation, str(status), "content", "application/json", "schema").validate(body)
    assert headers["Content-Type"] == "application/json"
    assert ("Retry-After" in headers) == ("Retry-After" in documented[str(status)].get("headers", {}))
