"""The functions' handlers, as Lambda loads them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.support import permissions
from tests.support.template import ROOT

CONTEXT = SimpleNamespace(
    get_remaining_time_in_millis=lambda: 30_000,
    function_name="test",
    memory_limit_in_mb=128,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:test",
    aws_request_id="00000000-0000-0000-0000-000000000000",
)


def handler(name: str) -> Callable[[Mapping[str, Any], Any], Any]:
    """Load a function's handler in a new module."""
    path = ROOT / "functions" / name / "app.py"
    spec = importlib.util.spec_from_file_location(f"function_{name}", path)
    assert spec
    assert spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    taken: Callable[[Mapping[str, Any], Any], Any] = module.handler
    return permissions.watched(name, taken)


loaded = cache(handler)
"""The same, loaded once."""
