"""Who may deliver Punchh's webhooks.

A webhook has one of four ways to show that it is Punchh's:
https://developers.partech.com/docs/dev-portal-webhooks-manager/configuration. None covers a time; what is delivered
again is recognised by its content id.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Scheme = Literal["basic", "bearer", "hmac-sha1", "hmac-sha256"]

_SIGNATURE = re.compile(r"(?:hmac\s+)?(?:sha-?(?:1|256)\s+)?(?P<digest>\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credential:
    """What Punchh's administrator was given for a webhook.

    Attributes
    ----------
    secret
        Password, token or key of the signature.
    name
        User name, of ``basic``.
    """

    scheme: Scheme
    secret: str = field(repr=False)
    name: str = ""


def is_punchh(credentials: Sequence[Credential], headers: Mapping[str, str], target: str, body: bytes) -> bool:
    """Tell whether a delivery shows one of the credentials (two are valid while one is exchanged for the other).

    It is not documented how a signature is written down, nor whether it covers the query: hexadecimal and base64 are
    taken, with or without the word before it, over the path with the query or without.

    Parameters
    ----------
    headers
        Names in lower case.
    target
        Path and query as they came, not decoded.
    body
        The bytes as they came.
    """
    shown = headers.get("authorization", "").strip()
    # All of them, so that the time it takes does not tell which one was nearly right.
    return sum(_shows(credential, shown, target, body) for credential in credentials if credential.secret) > 0


def _shows(credential: Credential, shown: str, target: str, body: bytes) -> bool:
    scheme, _, rest = shown.partition(" ")
    if credential.scheme == "basic":
        expected = base64.b64encode(_bytes(f"{credential.name}:{credential.secret}"))
        return scheme.lower() == "basic" and hmac.compare_digest(_bytes(rest.strip()), expected)
    if credential.scheme == "bearer":
        return scheme.lower() == "bearer" and hmac.compare_digest(_bytes(rest.strip()), _bytes(credential.secret))
    found = _SIGNATURE.fullmatch(shown)
    if not found:
        return False
    matches = 0
    for uri in {target, target.partition("?")[0]}:
        digest = hmac.digest(_bytes(credential.secret), _bytes(uri) + body, credential.scheme.removeprefix("hmac-"))
        matches += hmac.compare_digest(_bytes(found["digest"].lower()), digest.hex().encode())
        matches += hmac.compare_digest(_bytes(found["digest"]), base64.b64encode(digest))
    return matches > 0


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
