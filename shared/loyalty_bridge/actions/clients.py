"""Wire a program's settings, secrets, access token and credential breakers to the client of its loyalty platform."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import NotConnected
from loyalty_bridge.infra.http_client import Send, open_client
from loyalty_bridge.platforms.convercus import client as convercus
from loyalty_bridge.platforms.convercus.settings import ConvercusApi, ConvercusSettings
from loyalty_bridge.platforms.punchh.settings import PunchhApi, PunchhSettings
from loyalty_bridge.programs import credential_breaker
from loyalty_bridge.programs.access_token import SharedToken
from loyalty_bridge.programs.secrets import decrypt

if TYPE_CHECKING:
    from loyalty_bridge.programs.access_token import Token
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import ProgramSettings

CONNECTIONS = 8
"""HTTP connections of one client."""


@dataclass(frozen=True, slots=True)
class PunchhCredential:
    """A decrypted secret, and the HTTP client that sends it through its breaker."""

    value: str = field(repr=False)
    send: credential_breaker.GuardedClient


@dataclass(frozen=True, slots=True)
class PunchhClient:
    """A program's API settings for Punchh, and its credentials by the secrets' names."""

    api: PunchhApi
    credentials: Mapping[str, PunchhCredential]


@lru_cache(maxsize=1)
def shared_client() -> Send:
    """Return the container's HTTP client, whose connections stay open between lookups."""
    return open_client(CONNECTIONS)


def convercus_client(
    settings: ProgramSettings, program: Program, token: Token | None, send: Send | None = None
) -> convercus.Client:
    """Make the client of a program's Convercus.

    Parameters
    ----------
    token
        The shared access token as it was read with the program; None: the client reads it when needed.
    send
        The HTTP client. By default a new one: an action must not use a connection that died while the container was
        frozen, because then its outcome would be unknown.

    Raises
    ------
    NotConnected
        A setting or secret is missing; the message names it.
    """
    side = program.connection.loyalty
    api = side.api if isinstance(side, ConvercusSettings) else ConvercusApi()
    absent = [f"loyalty.api.{name}" for name in api.missing()]
    absent += [f"secrets.{api.secret}"] * (api.secret not in program.secrets)
    if absent:
        raise NotConnected(f"{program.id} cannot reach Convercus; not set: {', '.join(absent)}")
    ciphertext = program.secrets[api.secret].ciphertext
    send = send or open_client(CONNECTIONS)

    def log_in(deadline: float) -> tuple[str, float]:
        return convercus.login(api, decrypt(program.id, ciphertext), send, deadline)

    account = (api.base_url, api.auth, api.auth_url, api.realm, api.client_id, api.scope, api.org, api.user_name)
    purpose = hashlib.sha256(repr(account).encode() + ciphertext).hexdigest()[:32]
    return convercus.Client(api, send, SharedToken(settings, program.id, purpose, log_in, token))


def punchh_client(
    settings: ProgramSettings,
    program: Program,
    breakers: Mapping[str, Mapping[str, Any]],
    *,
    needs: Sequence[str],
    uses: Sequence[str] = (),
) -> PunchhClient:
    """Make the client of a program's Punchh, on new connections for the same reason as `convercus_client`.

    Parameters
    ----------
    breakers
        The items of the secrets' breakers by sort key, as they were read with the program.
    needs, uses
        Names of the required and of the optional secrets.

    Raises
    ------
    NotConnected
        A setting or required secret is missing; the message names it.
    Unavailable
        KMS does not decrypt a secret.
    """
    side = program.connection.loyalty
    api = side.api if isinstance(side, PunchhSettings) else PunchhApi()
    absent = [f"loyalty.api.{name}" for name in ("base_url", "client") if not getattr(api, name)]
    absent += [f"secrets.{name}" for name in needs if name not in program.secrets]
    if absent:
        raise NotConnected(f"{program.id} cannot reach Punchh; not set: {', '.join(absent)}")
    send, credentials = open_client(CONNECTIONS), {}
    for name in {*needs, *uses} & program.secrets.keys():
        breaker = credential_breaker.from_item(breakers.get(credential_breaker.item_of(name), {}))
        guarded = credential_breaker.GuardedClient(settings, program, name, breaker, send)
        credentials[name] = PunchhCredential(decrypt(program.id, program.secrets[name].ciphertext), guarded)
    return PunchhClient(api, credentials)
