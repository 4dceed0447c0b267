"""Authenticate the sender of a webhook delivery: basic, bearer, signature or header.

Punchh: https://developers.partech.com/docs/dev-portal-webhooks-manager/configuration. Brevo:
https://developers.brevo.com/docs/how-to-use-webhooks. No scheme covers a time; a repeated delivery is recognised by its
content.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Scheme = Literal["basic", "bearer", "hmac-sha1", "hmac-sha256", "header"]

_SIGNATURE = re.compile(r"(?:hmac\s+)?(?:sha-?(?:1|256)\s+)?(?P<digest>\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that a webhook may show.

    Attributes
    ----------
    secret
        Password, token, key of the signature, or value of the header.
    name
        User name of ``basic``, name of the ``header``.
    """

    scheme: Scheme
    secret: str = field(repr=False)
    name: str = ""


def is_authentic(credentials: Sequence[Credential], headers: Mapping[str, str], target: str, body: bytes) -> bool:
    """Return whether a delivery shows one of the credentials. Two are valid during an exchange.

    Punchh does not document the format of its signature, nor whether it covers the query: hexadecimal and base64 are
    accepted, with or without the scheme's name, over the path with or without the query.

    Parameters
    ----------
    headers
        Names in lower case.
    target
        Path and query as received, not decoded.
    body
        The body as received.
    """
    # Check all credentials, so that the time it takes does not show which one is nearly right.
    return sum(_shows(credential, headers, target, body) for credential in credentials if credential.secret) > 0


def _shows(credential: Credential, headers: Mapping[str, str], target: str, body: bytes) -> bool:
    if credential.scheme == "header":
        value = headers.get(credential.name.lower(), "").strip()
        return hmac.compare_digest(_bytes(value), _bytes(credential.secret))
    shown = headers.get("authorization", "").strip()
    scheme, _, rest = shown.partition(" ")
    if credential.scheme == "basic":
        expected = base64.b64encode(_bytes(f"{credential.name}:{credential.secret}"))
        return scheme.lower() == "basic" and hmac.compare_digest(_bytes(rest.strip()), expected)
    if credential.scheme == "bearer":
        return scheme.lower() == "bearer" and hmac.compare_digest(_bytes(rest.strip()), _bytes(credential.secret))
    signature = _SIGNATURE.fullmatch(shown)
    if not signature:
        return False
    matches = 0
    for uri in {target, target.partition("?")[0]}:
        digest = hmac.digest(_bytes(credential.secret), _bytes(uri) + body, credential.scheme.removeprefix("hmac-"))
        matches += hmac.compare_digest(_bytes(signature["digest"].lower()), digest.hex().encode())
        matches += hmac.compare_digest(_bytes(signature["digest"]), base64.b64encode(digest))
    return matches > 0


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
