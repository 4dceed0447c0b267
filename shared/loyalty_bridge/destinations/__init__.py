"""`MemberUpdate` into the wire objects of the engagement platforms. Pure functions: no AWS, no HTTP.

A destination is a module with the functions of `wire.Destination`, called as its platform.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from loyalty_bridge.platforms.base import Destination


@cache
def destination(platform: str) -> Destination:
    """Choose the module that speaks a platform's language; only that one is imported."""
    return cast("Destination", import_module(f"loyalty_bridge.destinations.{platform}"))
