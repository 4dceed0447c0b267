"""How a program reaches its destination: its module, its rules, its key, its own kept-alive connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from loyalty_bridge.delivery.send import WORKERS, Lane
from loyalty_bridge.destinations import braze
from loyalty_bridge.destinations.wire import Destination, Reply
from loyalty_bridge.platforms import braze as braze_api
from loyalty_bridge.platforms.http import Send, open_transport
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.programs.secrets import decrypt

if TYPE_CHECKING:
    from loyalty_bridge.delivery.plan import Item


_DESTINATIONS = {"braze": cast("Destination", braze)}


def destination(program: Program) -> Destination:
    """Choose the module that speaks the program's engagement platform."""
    return _DESTINATIONS[program.connection.engagement.platform]


@lru_cache(maxsize=64)
def _transport(_program: str) -> Send:
    """Keep the connections of each program apart: a slow destination must not take the others' places."""
    return open_transport(WORKERS)


def open_lane(program: Program, until: float) -> Lane:
    """Open a program's way to its destination until a deadline (of `time.monotonic`).

    Raises
    ------
    Unavailable
        When the program's secret cannot be decrypted.
    """
    side, send, speaks = program.connection.engagement, _transport(program.id), destination(program)
    key = decrypt(program.id, program.secrets["braze_api_key"].ciphertext)

    def post(items: Sequence[Item], deadline: float) -> Reply:
        body = speaks.body([item.object for item in items])
        return send(braze_api.users_track(side.api_endpoint, key, body), deadline)

    return Lane(destination=speaks, rules=side.rules, post=cast("Callable[..., Reply]", post), until=until)
