"""Identify an operator and the operator's programs by a token of the issuer, which PyJWT verifies.

PyJWT is small, widely used and maintained, and checks what OpenID Connect requires: signature, algorithm, issuer,
audience and times. https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from loyalty_bridge import USER_AGENT, clocks
from loyalty_bridge.errors import NotSent, OutcomeUnknown, Unauthorized, Unavailable

if TYPE_CHECKING:
    from jwt import PyJWK

    from loyalty_bridge.infra.http_client import Request, Send
    from loyalty_bridge.settings import AdminSettings

ALGORITHMS = ("RS256", "PS256", "ES256")
"""Algorithms with a key pair. With a shared secret, a reader of the public keys could sign tokens."""
LEEWAY_SECONDS = 30
KEYS_SECONDS = 3600.0
"""How long the issuer's keys are cached."""
KEYS_AGAIN_SECONDS = 10.0
"""Shortest time between two reads of the keys, when a token names an unknown one."""
_SECONDS = 6.0
CLIENT_AUTHENTICATION = "client_authentication"
"""Name in the configuration: ``client_secret_basic`` or ``client_secret_post``
(https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication)."""
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who is signed in.

    Attributes
    ----------
    subject
        The issuer's id of the person, which the audit shows.
    name
        The name that the page shows.
    programs
        Ids of the programs that the person may administer, unless `all_programs`.
    """

    subject: str
    name: str = ""
    all_programs: bool = False
    programs: frozenset[str] = frozenset()

    def may(self, program: str) -> bool:
        """Return whether the person may administer a program."""
        return self.all_programs or program in self.programs


@cache
def configuration(settings: AdminSettings) -> Mapping[str, str]:
    """Read the issuer's endpoints, once per container.

    https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig

    Raises
    ------
    Unavailable
        The issuer does not answer, or its configuration is not valid.
    """
    from loyalty_bridge.infra.http_client import Request

    issuer = settings.sign_in_issuer
    url = settings.sign_in_configuration or f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    status, payload = call_issuer(Request("GET", _safe(url), {"accept": "application/json"}))
    if status != 200 or payload.get("issuer") != issuer:
        raise Unavailable("the issuer's configuration is not one of this issuer")
    if any(not isinstance(payload.get(name), str) for name in _NEEDED):
        raise Unavailable("the issuer's configuration is not complete")
    addresses = {
        name: _safe(text)
        for name, text in payload.items()
        if isinstance(text, str) and name.endswith(("_endpoint", "_uri"))
    }
    return addresses | {CLIENT_AUTHENTICATION: _client_authentication(payload)}


def _client_authentication(document: Mapping[str, Any]) -> str:
    """Choose how the client sends its secret: in a header, unless the issuer accepts only the form."""
    methods = document.get("token_endpoint_auth_methods_supported")
    posts = isinstance(methods, list) and "client_secret_post" in methods and "client_secret_basic" not in methods
    return "client_secret_post" if posts else "client_secret_basic"


@cache
def _transport() -> Send:
    from loyalty_bridge.infra.http_client import open_client

    return open_client(2)


def call_issuer(request: Request) -> tuple[int, Mapping[str, Any]]:
    """Send a request to the issuer, and return the status and the JSON object of the answer.

    Raises
    ------
    Unavailable
        The issuer does not answer, or the answer is not a JSON object.
    """
    named = replace(request, headers={**request.headers, "user-agent": USER_AGENT})
    try:
        reply = _transport()(named, time.monotonic() + _SECONDS)
    except (NotSent, OutcomeUnknown) as error:  # both mean the same for a read
        raise Unavailable(f"the issuer: {error}") from None
    try:
        payload = json.loads(reply.body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise Unavailable("the issuer does not answer as it should")
    return reply.status, payload


def _safe(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Unavailable("an address of the issuer is not a URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}):
        raise Unavailable("an address of the issuer does not begin with https://")
    return url


def _signing_key(url: str, token: str) -> PyJWK:
    """Find the key that signed a token; in a set with one key, the token need not name it.

    https://openid.net/specs/openid-connect-core-1_0.html#Signing
    """
    import jwt

    header = jwt.get_unverified_header(token)
    if header.get("alg") not in ALGORITHMS:
        raise jwt.InvalidAlgorithmError
    for seconds in (KEYS_SECONDS, KEYS_AGAIN_SECONDS):
        keys = _key_set(url, seconds)
        named = [key for key in keys if key.get("kid") == header.get("kid")]
        if not named and len(keys) == 1 and not ("kid" in header and "kid" in keys[0]):
            named = keys
        if len(named) == 1:
            return _usable(named[0], header["alg"])
    raise jwt.InvalidTokenError


def _usable(key: Mapping[str, Any], algorithm: str) -> PyJWK:
    import jwt

    try:
        return jwt.PyJWK(dict(key), key.get("alg") or algorithm)
    except (jwt.PyJWKError, jwt.InvalidKeyError, TypeError, ValueError):
        raise Unavailable("the issuer's keys cannot be read") from None


_key_sets: dict[str, tuple[clocks.Moment, list[Mapping[str, Any]]]] = {}


def _key_set(url: str, seconds: float) -> list[Mapping[str, Any]]:
    """Read the issuer's signing keys, unless they were read within `seconds`."""
    from loyalty_bridge.infra.http_client import Request

    if url in _key_sets and not clocks.is_past(_key_sets[url][0], seconds):
        return _key_sets[url][1]
    status, payload = call_issuer(Request("GET", url, {"accept": "application/json"}))
    listed = payload.get("keys")
    keys: list[Mapping[str, Any]] = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict) and key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC")
    ]
    if status != 200 or not keys:
        raise Unavailable("the issuer's keys cannot be read")
    _key_sets[url] = clocks.moment(), keys
    return keys


def verified_claims(settings: AdminSettings, token: str, *, nonce: str | None = None) -> Mapping[str, Any]:
    """Verify a token that the issuer made for this client, and return its claims.

    Parameters
    ----------
    token
        An ID token, or an access token that names this client.
    nonce
        The nonce of the sign-in. If given, only an ID token with it is valid.

    Raises
    ------
    Unauthorized
        The token is not valid. The reason is not shown.
    Unavailable
        The issuer's keys cannot be read.
    """
    import jwt

    try:
        key = _signing_key(configuration(settings)["jwks_uri"], token)
        # Cognito's access tokens have no audience: they name the client in a claim of its own.
        # https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
        is_access = _unverified(token).get("token_use") == "access"
        payload = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            issuer=settings.sign_in_issuer,
            audience=None if is_access else settings.sign_in_client,
            options={"require": ["exp", "iat", "iss", "sub"], "verify_aud": not is_access},
            leeway=LEEWAY_SECONDS,
        )
    except jwt.PyJWTError:
        raise Unauthorized("the token is not valid") from None
    client = payload.get("client_id") if is_access else payload.get("azp", settings.sign_in_client)
    use = payload.get("token_use", "id")
    signs_in = nonce is None or (not is_access and payload.get("nonce") == nonce)
    if client != settings.sign_in_client or use not in ("id", "access") or not signs_in:
        raise Unauthorized("the token is not valid")
    return cast("Mapping[str, Any]", payload)


def _unverified(token: str) -> Mapping[str, Any]:
    import jwt

    result: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return result


def operator_of(settings: AdminSettings, claims: Mapping[str, Any]) -> Operator:
    """Return the operator whom the claims describe; the groups decide the programs."""
    answer = claims.get(settings.sign_in_groups)
    listed = [answer] if isinstance(answer, str) else answer if isinstance(answer, list) else []
    groups = {one for one in listed if isinstance(one, str)}
    prefix = f"{settings.operators_group}:"
    name = next((claims[key] for key in ("email", "preferred_username", "cognito:username") if key in claims), "")
    return Operator(
        subject=str(claims["sub"]),
        name=str(name),
        all_programs=settings.operators_group in groups,
        programs=frozenset(one.removeprefix(prefix) for one in groups if one.startswith(prefix) and one != prefix),
    )
