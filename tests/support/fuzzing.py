"""Requests made up from an API's own description."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.strategies import SearchStrategy

FUZZ = settings(
    max_examples=int(os.environ.get("BRIDGE_FUZZ", "20")),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def cases(description: Mapping[str, Any], url: str, method: str, path: str, mode: str) -> SearchStrategy[Any]:
    """Make up calls of one operation of an API that is served at a URL: ``positive`` ones keep to its description.

    What is taken and what is not has tests of its own: reading is more tolerant than the description, but for ids of
    invisible characters, which a pattern does not show.
    """
    operation = _schema(json.dumps(description), url)[path][method.upper()]
    made: SearchStrategy[Any] = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    return made


@cache
def _schema(description: str, url: str) -> Any:
    taken = {check: {"enabled": False} for check in ("positive_data_acceptance", "negative_data_rejection")}
    config = schemathesis.Config.from_dict({"base-url": url, "checks": taken})
    return schemathesis.openapi.from_dict(json.loads(description), config=config)
