"""A simulated Braze that refuses what a test marks, as Braze refuses single objects of a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from simulators.braze import Braze
from simulators.braze_rules import NOTHING_VALID
from simulators.server import Answer, Request, json_answer, serving

BAD = "not-for-braze"
"""An object that holds this text is refused."""


@contextmanager
def picky_braze(*keys: str) -> Iterator[Braze]:
    """Run a simulator behind a check of every object; it gets the good ones, and its reply the errors of the others."""
    braze = Braze()
    for key in keys:
        braze.workspace(key)

    def answer(request: Request) -> Answer:
        arrays = json.loads(request.body)
        good = {array: [item for item in items if BAD not in json.dumps(item)] for array, items in arrays.items()}
        errors = [
            {"type": f"an object of '{array}' is refused", "input_array": array, "index": index}
            for array, items in arrays.items()
            for index, item in enumerate(items)
            if BAD in json.dumps(item)
        ]
        if not any(good.values()):
            return json_answer(400, {"message": NOTHING_VALID, "errors": errors})
        reply = braze.answer(replace(request, body=json.dumps(good).encode()))
        said = json.loads(reply.body) | ({"errors": errors} if errors else {})
        return json_answer(reply.status, said)

    with serving(answer) as braze.url:
        yield braze
