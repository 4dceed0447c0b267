"""Who an operator is, and of which programs: told by a token of the issuer, checked by PyJWT.

PyJWT is small, widely used and kept up, and checks what OpenID Connect asks for: signature, algorithm, issuer,
audience and times. https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from loyalty_bridge.errors import NotSent, OutcomeUnknown, Unauthorized, Unavailable

if TYPE_CHECKING:
    from jwt import PyJWKClient

    from loyalty_bridge.platforms.http import Request, Send
    from loyalty_bridge.settings import AdminSettings

ALGORITHMS = ("RS256", "PS256", "ES256")
"""Signatures with a key pair: with any other, who can read the issuer's public keys could sign."""
LEEWAY_SECONDS = 30
_SECONDS = 6.0
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who is signed in.

    Attributes
    ----------
    subject
        The issuer's id of the person; what the audit names.
    name
        What the page greets the person by.
    programs
        Ids of the programs that the person operates, besides when it is `all_programs`.
    """

    subject: str
    name: str = ""
    all_programs: bool = False
    programs: frozenset[str] = frozenset()

    def may(self, program: str) -> bool:
        """Tell whether the person operates a program."""
        return self.all_programs or program in self.programs


@cache
def configuration(settings: AdminSettings) -> Mapping[str, str]:
    """Read where the issuer's endpoints are, once for a container; a slash at the issuer's end is not doubled.

    https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig

    Raises
    ------
    Unavailable
        It does not answer as it should.
    """
    from loyalty_bridge.platforms.http import Request

    issuer = settings.sign_in_issuer
    url = settings.sign_in_configuration or f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    status, told = ask(Request("GET", _safe(url), {"accept": "application/json"}))
    if status != 200 or told.get("issuer") != issuer:
        raise Unavailable("the issuer's configuration is not one of this issuer")
    if any(not isinstance(told.get(name), str) for name in _NEEDED):
        raise Unavailable("the issuer's configuration is not complete")
    return {
        name: _safe(text)
        for name, text in told.items()
        if isinstance(text, str) and name.endswith(("_endpoint", "_uri"))
    }


@cache
def _transport() -> Send:
    from loyalty_bridge.platforms.http import open_transport

    return open_transport(2)


def ask(request: Request) -> tuple[int, Mapping[str, Any]]:
    """Send a request to the issuer; gives the status and the JSON object that it answers.

    Raises
    ------
    Unavailable
        It does not answer, or with something else.
    """
    try:
        reply = _transport()(request, time.monotonic() + _SECONDS)
    except (NotSent, OutcomeUnknown) as error:  # words of actions: here nothing was to be done
        raise Unavailable(f"the issuer: {error}") from None
    try:
        told = json.loads(reply.body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Unavailable("the issuer does not answer as it should")
    return reply.status, told


def _safe(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}):
        raise Unavailable("an address of the issuer does not begin with https://")
    return url


@cache
def _keys(url: str) -> PyJWKClient:
    from jwt import PyJWKClient

    return PyJWKClient(url, lifespan=3600, timeout=_SECONDS)


def claims(settings: AdminSettings, token: str, *, nonce: str | None = None) -> Mapping[str, Any]:
    """Check a token of the issuer for this client; gives its claims.

    Parameters
    ----------
    token
        An ID token, or an access token that names this client.
    nonce
        What the sign-in was begun with; only an ID token with it is taken then.

    Raises
    ------
    Unauthorized
        It is none, or not valid; why is told to nobody.
    Unavailable
        The issuer's keys cannot be read.
    """
    import jwt

    keys = _keys(configuration(settings)["jwks_uri"])
    try:
        # Cognito's access tokens have no audience: they name the client in a claim of its own.
        # https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
        is_access = _unverified(token).get("token_use") == "access"
        told = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=ALGORITHMS,
            issuer=settings.sign_in_issuer,
            audience=None if is_access else settings.sign_in_client,
            options={"require": ["exp", "iat", "iss", "sub"], "verify_aud": not is_access},
            leeway=LEEWAY_SECONDS,
        )
    except (jwt.PyJWKClientConnectionError, OSError):  # urllib lets a connection that is reset pass as it is
        raise Unavailable("the issuer's keys") from None
    except jwt.PyJWTError:
        raise Unauthorized("the token is not valid") from None
    client = told.get("client_id") if is_access else told.get("azp", settings.sign_in_client)
    use = told.get("token_use", "id")
    signs_in = nonce is None or (not is_access and told.get("nonce") == nonce)
    if client != settings.sign_in_client or use not in ("id", "access") or not signs_in:
        raise Unauthorized("the token is not valid")
    return cast("Mapping[str, Any]", told)


def _unverified(token: str) -> Mapping[str, Any]:
    import jwt

    told: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return told


def operator(settings: AdminSettings, claims: Mapping[str, Any]) -> Operator:
    """Tell who somebody is by the groups in the claims: of no group, the operator of no program."""
    told = claims.get(settings.sign_in_groups)
    listed = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    groups = {one for one in listed if isinstance(one, str)}
    prefix = f"{settings.operators_group}:"
    name = next((claims[key] for key in ("email", "preferred_username", "cognito:username") if key in claims), "")
    return Operator(
        subject=str(claims["sub"]),
        name=str(name),
        all_programs=settings.operators_group in groups,
        programs=frozenset(one.removeprefix(prefix) for one in groups if one.startswith(prefix) and one != prefix),
    )
