"""The API at a URL of the loopback address: a gateway that calls the functions in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulators.server import Answer, Request, json_answer, serving
from tests.support.functions import loaded
from tests.support.http_events import context, event, routed


def answer(request: Request) -> Answer:
    """Answer a request as the gateway does."""
    found = routed(request.method, request.path)
    if found is None:
        return json_answer(404, {"message": "Not Found"})
    route, parameters = found
    query = request.target.partition("?")[2]
    made = event(route, parameters, headers=request.headers, query=query, body=request.body or None)
    response = loaded(route.function)(made, context())
    return Answer(response["statusCode"], response["body"].encode(), response["headers"])


@contextmanager
def gateway() -> Iterator[str]:
    """Serve the API until the block ends; gives its URL."""
    with serving(answer) as url:
        yield url
