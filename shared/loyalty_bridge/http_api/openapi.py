"""OpenAPI 3.1 documents, made from descriptions of operations.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from loyalty_bridge.http_api.response_schemas import Error

Schema = Mapping[str, Any]

_STRING: Schema = {"type": "string"}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}
}


class Operation(NamedTuple):
    """One operation of an API.

    Attributes
    ----------
    body
        The model of the request body, or its schema.
    answers
        The models of the answers by status.
    fails
        The statuses of the failures; all have the body `Error`.
    """

    id: str
    method: str
    path: str
    summary: str
    parameters: Sequence[Mapping[str, Any]]
    body: type[BaseModel] | Schema | None
    answers: Mapping[int, type[BaseModel]]
    fails: Iterable[int]


def parameter(place: str, name: str, schema: Schema = _STRING, *, required: bool = False) -> dict[str, Any]:
    """Describe a parameter. `place` is ``path``, ``query`` or ``header``."""
    return {"name": name, "in": place, **({"required": True} if required else {}), "schema": schema}


def path_parameters(path: str, schema: Schema = _STRING, **schemas: Schema) -> Iterator[dict[str, Any]]:
    """Describe the parameters in a path; those in `schemas` have a schema of their own."""
    for name in re.findall(r"\{(\w+)\}", path):
        yield parameter("path", name, schemas.get(name, schema), required=True)


def make_document(
    info: Mapping[str, str],
    operations: Sequence[Operation],
    meanings: Mapping[int, str],
    security_schemes: Mapping[str, Any],
    schemas: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:
    """Make a document.

    Parameters
    ----------
    meanings
        What each status means.
    security_schemes
        The ways to authenticate; each call needs one of them.
    schemas
        Schemas besides those of the models.
    """
    models: set[type[BaseModel]] = {Error, *(model for operation in operations for model in operation.answers.values())}
    models |= {operation.body for operation in operations if isinstance(operation.body, type)}
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, meanings)
    return {
        "openapi": "3.1.0",
        "info": info,
        "security": [{name: []} for name in security_schemes],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"] | dict(schemas or {}),
            "securitySchemes": security_schemes,
        },
    }


def _describe(operation: Operation, meanings: Mapping[int, str]) -> dict[str, Any]:
    answers: dict[int, type[BaseModel]] = {**operation.answers, **dict.fromkeys(operation.fails, Error)}
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": operation.parameters,
        "responses": {str(status): _response(status, model, meanings) for status, model in answers.items()},
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _response(status: int, model: type[BaseModel], meanings: Mapping[int, str]) -> dict[str, Any]:
    headers = {"headers": _RETRY_AFTER} if status in {502, 503} else {}
    return {"description": meanings[status], "content": _content(model), **headers}


def _content(body: type[BaseModel] | Schema) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{body.__name__}"} if isinstance(body, type) else body
    return {"application/json": {"schema": schema}}
