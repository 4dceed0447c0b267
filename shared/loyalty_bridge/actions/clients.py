"""The client of a program's loyalty platform, for calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from loyalty_bridge.infra.http_client import Send, open_transport
from loyalty_bridge.platforms.convercus.client import connect
from loyalty_bridge.platforms.punchh import client as punchh

if TYPE_CHECKING:
    from loyalty_bridge.http_api.auth import Access
    from loyalty_bridge.platforms.convercus.client import Client
    from loyalty_bridge.settings import ProgramSettings

CONNECTIONS = 8


@lru_cache(maxsize=1)
def shared_client() -> Send:
    """Keep the connections to the loyalty platform alive between look-ups."""
    return open_transport(CONNECTIONS)


def client(settings: ProgramSettings, access: Access, send: Send | None = None) -> Client:
    """Make the client of a program's loyalty platform; raises `NotConnected` where it is not set up.

    An action opens connections of its own: of one that died while the container was frozen, nobody could tell whether
    the action arrived.
    """
    return connect(settings, access.program, access.token, send or open_transport(CONNECTIONS))


def punchh_client(
    settings: ProgramSettings, access: Access, *, needs: Sequence[str], uses: Sequence[str] = ()
) -> punchh.Client:
    """Make the client of a program's Punchh with the secrets of these names; raises as `punchh.connect`.

    It opens connections of its own, for the same reason.
    """
    send = open_transport(CONNECTIONS)
    return punchh.connect(settings, access.program, access.beside, send, needs=needs, uses=uses)
