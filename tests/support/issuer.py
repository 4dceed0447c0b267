"""An OpenID Connect issuer that signs in the configured person without asking and makes tokens good and bad."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from simulators.server import Answer, Request, json_answer, serving

CLIENT = "page"


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """Return a key pair; another name, another pair."""
    return rsa.generate_private_key(65537, 2048)


def public_key(name: str, **changes: Any) -> dict[str, Any]:
    """Return the public part of a key pair as a JWK without a name; None leaves a field away."""
    jwk: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key(name).public_key(), as_dict=True)
    jwk |= {"use": "sig", "alg": "RS256", **changes}
    return {field: value for field, value in jwk.items() if value is not None}


@dataclass
class Issuer:
    """A running issuer.

    Attributes
    ----------
    person
        Claims of the next sign-in.
    metadata
        What its configuration says besides.
    secret
        Of the client; empty: it has none.
    keys
        How it answers to a request for its keys, when not with its own one.
    """

    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "person-1", "cognito:groups": ["loyalty-bridge"]})
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    secret: str = ""
    keys: Answer | None = None

    def token(
        self, *, signed_with: str = "own", algorithm: str = "RS256", kid: str | None = "own", **changes: Any
    ) -> str:
        """Make a good ID token; `changes` spoil it, None leaves a claim away."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 3600, "token_use": "id", **self.person}
        payload = {name: value for name, value in (claims | changes).items() if value is not None}
        signer: Any = {"none": None, "HS256": b"not a key pair" * 4}.get(algorithm, key(signed_with))
        return jwt.encode(payload, signer, algorithm, headers={"kid": kid} if kid else {})

    def access_token(self, **changes: Any) -> str:
        """Make a good access token, as Cognito does: without an audience."""
        return self.token(**{"aud": None, "client_id": CLIENT, "token_use": "access", **changes})

    def answer(self, request: Request) -> Answer:
        """Answer as an issuer does."""
        match request.path:
            case "/.well-known/openid-configuration":
                ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
                ends["end_session_endpoint"] = "logout"
                endpoints = {name: f"{self.url}/{path}" for name, path in ends.items()}
                return json_answer(200, {"issuer": self.url, **endpoints, **self.metadata})
            case "/keys":
                if "python" in request.headers.get("user-agent", "python").lower():
                    return Answer(403)  # as firewalls do
                return self.keys or json_answer(200, {"keys": [public_key("own") | {"kid": "own"}]})
            case "/authorize":
                code = secrets.token_urlsafe()
                self.codes[code] = dict(request.query)
                back = urlencode({"code": code, "state": request.query["state"]})
                return Answer(302, headers={"location": f"{request.query['redirect_uri']}?{back}"})
            case "/token":
                return self._exchange(
                    {name: one for name, (one,) in parse_qs(request.body.decode()).items()},
                    request.headers.get("authorization", ""),
                )
            case "/logout":
                return Answer(302, headers={"location": request.query["logout_uri"]})
        return Answer(404)

    def _exchange(self, form: dict[str, str], authorization: str) -> Answer:
        if error := self._client_error(form, authorization):
            return json_answer(401, {"error": error, "error_description": f"private words, {self.secret}"})
        begun = self.codes.pop(form.get("code", ""), {})
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        same = begun.get("client_id") == CLIENT and form.get("redirect_uri") == begun.get("redirect_uri")
        if not same or proof.decode() != begun.get("code_challenge"):
            return json_answer(400, {"error": "invalid_grant"})
        return json_answer(200, {"id_token": self.token(nonce=begun["nonce"]), "access_token": self.access_token()})

    def _client_error(self, form: dict[str, str], authorization: str) -> str:
        """Check who asks for a token: https://www.rfc-editor.org/rfc/rfc6749#section-2.3."""
        methods = self.metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        shown = [form.get("client_id"), form.get("client_secret")]
        if authorization:
            if form.keys() & {"client_id", "client_secret"} or "client_secret_basic" not in methods:
                return "invalid_client"
            kind, _, encoded = authorization.partition(" ")
            shown = [unquote_plus(part) for part in base64.b64decode(encoded).decode().split(":")]
            return "" if (kind, shown) == ("Basic", [CLIENT, self.secret]) else "invalid_client"
        if self.secret and "client_secret_post" not in methods:
            return "invalid_client"
        return "" if shown == [CLIENT, self.secret or None] else "invalid_client"


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer until the block ends."""
    issuer = Issuer()
    with serving(issuer.answer) as issuer.url:
        yield issuer
