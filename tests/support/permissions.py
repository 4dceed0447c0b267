"""What the functions do with AWS while they run in this process, beside what template.yaml lets their roles do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache, wraps
from typing import Any

from loyalty_bridge.infra import aws
from tests.support.template import resources, statements, template

Handler = Callable[[Mapping[str, Any], Any], Any]
Permission = tuple[str, str]
"""An action, and the name of the resource in the template, perhaps with a path below it."""

_QUEUES = {"events.fifo": "EventsQueue", "batches": "BatchesQueue", "dead-letters.fifo": "DeadLetterQueue"}
_running: Counter[str] = Counter()
_denied: set[tuple[str, str, str]] = set()


def watched(folder: str, handler: Handler) -> Handler:
    """Let a function's calls be checked while it runs."""
    [name] = [
        name
        for name, one in resources("AWS::Serverless::Function").items()
        if one["Properties"]["CodeUri"] == f"functions/{folder}"
    ]

    @wraps(handler)
    def run(event: Mapping[str, Any], context: Any) -> Any:
        _running[name] += 1
        try:
            return handler(event, context)
        finally:
            _running[name] -= 1

    return run


def denied() -> set[tuple[str, str, str]]:
    """Return what AWS would have denied since it was last asked: the function, the action, the resource."""
    calls = set(_denied)
    _denied.clear()
    return calls


def needed(service: str, operation: str, parameters: Mapping[str, Any]) -> Iterator[Permission]:
    """Return which permissions a call needs; a transaction needs those of its parts.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    """
    if "TransactItems" in parameters:
        for part in parameters["TransactItems"]:
            [(kind, one)] = part.items()
            yield f"dynamodb:{kind}Item", one["TableName"]
        return
    action = f"{service}:{operation.removesuffix('Batch')}".replace("ListObjectsV2", "ListBucket")
    match service:
        case "dynamodb" if "RequestItems" in parameters:
            yield from ((action, table) for table in parameters["RequestItems"])
        case "dynamodb":
            yield (
                action,
                parameters["TableName"] + (f"/index/{parameters['IndexName']}" if "IndexName" in parameters else ""),
            )
        case "s3":
            yield action, "ParkedBucket" + (f"/{parameters['Key']}" if "Key" in parameters else "")
        case "sqs":
            yield action, _QUEUES.get(parameters["QueueUrl"].rpartition("/")[2], "")
        case _:
            yield action, {"kms": "SecretsKey", "kinesis": "EventsStream"}[service]


@cache
def allowed() -> dict[str, set[Permission]]:
    """Return what each function may do; a resource may end in ``*``."""
    allowed: dict[str, set[Permission]] = {name: set() for name in resources("AWS::Serverless::Function")}
    for name, statement in statements():
        named = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for one in named:
            [text] = one.values()
            resource = text.removeprefix("${").replace(".Arn}", "").removesuffix(".Arn")
            allowed[name] |= {(action, resource) for action in statement["Action"]}
    return allowed


def _check(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    running = [name for name, count in _running.items() if count]
    if not running:
        return  # a test prepares or looks
    for action, resource in needed(model.service_model.service_name, model.name, params):
        may = {name for name in running for it, on in allowed()[name] if it == action and fnmatchcase(resource, on)}
        if not may and resource.partition("/")[0] in template()["Resources"]:
            _denied.add((" or ".join(running), action, resource))


aws._session().register("provide-client-params", _check)
