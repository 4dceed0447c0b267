"""Open a program's sender: the destination's adapter, the program's options and key, and its own connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra.http_client import Request, Send, open_client
from loyalty_bridge.pipeline.rate_limit import RateLimit
from loyalty_bridge.pipeline.sender import WORKERS, ProgramSender
from loyalty_bridge.platforms.base import Broken, Transient, Wait
from loyalty_bridge.platforms.braze import client as braze_api
from loyalty_bridge.platforms.moengage import client as moengage_api
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.platforms.moengage.settings import MoEngageSettings
from loyalty_bridge.platforms.registry import ENGAGEMENT
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.programs.repository import STATE_KEY
from loyalty_bridge.programs.secrets import decrypt

if TYPE_CHECKING:
    from loyalty_bridge.infra.http_client import Reply
    from loyalty_bridge.pipeline.planning import OutboundObject
    from loyalty_bridge.platforms.base import WireObject

LIMIT_REQUESTS, LIMIT_SECONDS = 3000, 3.0
"""What Braze takes from all of a customer's programs together: https://www.braze.com/docs/api/api_limits"""
_PROBE_SECONDS = 10.0


@lru_cache(maxsize=128)
def _transport(_program: str) -> Send:
    """Keep the connections of each program apart: a slow destination must not take the others' places."""
    return open_client(WORKERS)


def load_secrets(program: Program) -> None:
    """Decrypt what a program's delivery needs, so that it is cached."""
    for name in (STATE_KEY, *program.connection.engagement.secrets):
        decrypt(program.id, program.secrets[name].ciphertext)


def share(forwarders: int) -> int:
    """Return the rate limit of one of so many forwarders: its share of the destination's limit."""
    return max(1, LIMIT_REQUESTS // forwarders)


@cache
def _turns(forwarders: int) -> RateLimit:
    return RateLimit(share(forwarders), LIMIT_SECONDS)


def open_sender(program: Program, until: float, reply_until: float, forwarders: int = 1) -> ProgramSender:
    """Open a program's way to its destination, for requests and their replies until deadlines (of `time.monotonic`).

    Parameters
    ----------
    forwarders
        How many may be at work at once; each takes its share of the destination's limit.
    """
    side, send = program.connection.engagement, _transport(program.id)
    request, speaks = _writer(program), ENGAGEMENT[side.platform]

    def post(items: Sequence[OutboundObject], deadline: float) -> Reply:
        return send(request([item.object for item in items]), deadline)

    return ProgramSender(
        speaks,
        side.rules,
        post,
        until,
        reply_until,
        not_before=time.monotonic() + max(program.delivery_state.not_before - time.time(), 0),
        check=lambda deadline: send(request([speaks.harmless()]), deadline),
        turn=_turns(forwarders).take,
        was_failing=program.delivery_state.failing_since > 0,
    )


def check_connection(program: Program) -> bool:
    """Return whether a program's connection works, by a request that changes nothing."""
    request = _writer(program)([])
    try:
        reply = _transport(program.id)(request, time.monotonic() + _PROBE_SECONDS)
    except Unavailable:
        return False
    verdict = ENGAGEMENT[program.connection.engagement.platform].judge(reply, [], time.time())
    return not isinstance(verdict, Broken | Wait | Transient)


def _writer(program: Program) -> Callable[[Sequence[WireObject]], Request]:
    """Make what turns wire objects into a request; without objects it asks whether the key is right."""
    side = program.connection.engagement
    (secret,) = side.secrets
    key = decrypt(program.id, program.secrets[secret].ciphertext)
    if isinstance(side, MoEngageSettings):
        return lambda objects: (
            moengage_api.data(side.api_endpoint, side.workspace_id, key, moengage.path(objects), moengage.body(objects))
            if objects
            else moengage_api.check_connection(side.api_endpoint, side.workspace_id, key)
        )
    speaks = ENGAGEMENT[side.platform]
    return lambda objects: braze_api.users_track(side.api_endpoint, key, speaks.body(objects))
