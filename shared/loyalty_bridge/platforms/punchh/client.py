"""Punchh's APIs, as far as the bridge calls them: signup, users by admin key, dynamic coupon codes.

No call is repeated here. Ten failed authentications within ten minutes block the caller's address for an hour
(https://developers.partech.com/docs/dev-portal-developer-resources/punchh-api-security-guidelines), so callers
send each secret through a circuit breaker.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from loyalty_bridge.errors import ConnectionBroken, Invalid, NotSent, OutcomeUnknown, UpstreamRejected
from loyalty_bridge.infra.http_client import Request
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.punchh.settings import PunchhApi

if TYPE_CHECKING:
    from loyalty_bridge.infra.http_client import Reply, Send

ALREADY_MEMBER = "already_a_member"
"""The code with which a signup is refused when the e-mail address has an account."""

ADMIN_USER_AGENT = "LoyaltyBridge/SystemIntegrator/0.1"

_SIGNUPS = {
    "mobile": ("/api2/mobile/users", "sha256", "LoyaltyBridge/0.1/1 (Server; Linux)"),
    "online_ordering": ("/api/auth/customers.json", "sha1", "LoyaltyBridge/LoyaltyBridge/OnlineOrder/0.1/Web"),
}
"""Flavour → path, algorithm of the digest, and a User-Agent in the form that this API wants."""

_COUPON_RESULTS = (
    *("coupon_code_expired", "coupon_code_type_error", "coupon_code_error", "usage_exceeded_by_guest"),
    *("usage_exceeded", "already_used_by_other_guest"),
)

_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
HEADER = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,60}")


@dataclass(frozen=True, slots=True)
class Guest:
    """A user of Punchh; what the business keeps from its interfaces is empty.

    Attributes
    ----------
    external_source_id
        Empty: the account has none; None: Punchh does not say.
    joined
        Epoch seconds; None: Punchh does not say.
    """

    user_id: int
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    external_source_id: str | None = None
    joined: float | None = None


def sign(path: str, body: bytes, secret: str, algorithm: str) -> str:
    """Return the ``x-pch-digest``: a keyed hash of path, query and the very bytes that are sent.

    https://developers.partech.com/docs/dev-portal-mobile/additional-topics/signature-sha256,
    https://developers.partech.com/docs/dev-portal-online-ordering/additional-topics/x-pch-digest-sha-1
    """
    return hmac.new(secret.encode(), path.encode() + body, algorithm).hexdigest()


def signup(
    send: Send,
    api: PunchhApi,
    user: Mapping[str, Any],
    *,
    secret: str,
    password: str,
    device_id: str,
    user_agent: str | None,
    deadline: float,
) -> int:
    """Sign a member up and give Punchh's user id; the access token in the answer is dropped.

    Parameters
    ----------
    user
        Punchh's fields, such as ``email``, ``first_name``, ``external_source_id``. Names missing may make Punchh slow.
    secret
        The client's; it signs the request.
    device_id
        Distinct and stable for each member: Punchh lets only a few members share one.
    user_agent
        The member's; what cannot be a header is replaced by the bridge's own.
    deadline
        Of ``time.monotonic``.

    Raises
    ------
    Invalid
        The device id cannot be a header.
    ConnectionBroken
        Wrong client or secret, or the address is blocked.
    UpstreamRejected
        Punchh says no: `ALREADY_MEMBER`, ``device_already_shared``, ``missing_required_param`` or what it names.
    NotSent, OutcomeUnknown
        No answer refused it. A repeat makes no second account: the address would be taken.
    """
    if not HEADER.fullmatch(device_id):
        raise Invalid("device_id", "is not printable, or longer than 256 characters")
    path, algorithm, own_agent = _SIGNUPS[api.flavour]
    source = {"external_source": api.external_source} if "external_source_id" in user else {}
    passwords = {"password": password, "password_confirmation": password}
    body = _dump({"client": api.client, "user": {**source, **user, **passwords}})
    agent = user_agent if user_agent and HEADER.fullmatch(user_agent) else own_agent
    headers = {
        **_JSON,
        "User-Agent": agent,
        "punchh-app-device-id": device_id,
        "x-pch-digest": sign(path, body, secret, algorithm),
    }
    reply = send(Request("POST", f"{api.base_url}{path}", headers, body), deadline)
    answer = _taken(reply, {**user, **passwords})
    return _guest(answer.get("user") if api.flavour == "mobile" else answer).user_id


def set_external_source_id(
    send: Send, api: PunchhApi, guest: Guest, external_source_id: str, *, admin_key: str, deadline: float
) -> None:
    """Return an existing user the id under which other systems know it; may be repeated.

    Punchh wants the user's present e-mail address along.

    Raises
    ------
    ConnectionBroken, UpstreamRejected, NotSent, OutcomeUnknown
        As `signup`.
    """
    user = {"external_source": api.external_source, "external_source_id": external_source_id}
    body = {"id": guest.user_id, "email": guest.email, "user": user}
    reply = send(_as_admin("PATCH", f"{api.base_url}/api2/dashboard/users", body, admin_key), deadline)
    if not 200 <= reply.status < 300:
        _taken(reply, {"email": guest.email, **user})


def user_information(
    send: Send, api: PunchhApi, *, admin_key: str, deadline: float, user_id: int | None = None, email: str | None = None
) -> Guest | None:
    """Look a user up by its id or e-mail address; None when there is none. The user's live token is dropped.

    Raises
    ------
    ConnectionBroken, UpstreamRejected, NotSent, OutcomeUnknown
        As `signup`.
    """
    who = {"user_id": user_id} if email is None else {"email": email}
    reply = send(_as_admin("GET", f"{api.base_url}/api2/dashboard/users/info", who, admin_key), deadline)
    if reply.status == 404 and reply.json_object() is not None:
        return None
    return _guest(_taken(reply, who))


def coupon_code(send: Send, api: PunchhApi, guest: Guest, *, campaign_id: str, token: str, deadline: float) -> str:
    """Let a campaign generate the user's coupon code. Whether a second call gives the same one is the campaign's.

    https://developers.partech.com/docs/dev-portal-platform-functions/additional-topics/dynamic-coupon-code-generation

    Parameters
    ----------
    token
        The campaign's Dynamic Generation Token: it addresses the campaign and signs the request.

    Raises
    ------
    UpstreamRejected
        With one of Punchh's result codes, such as ``usage_exceeded_by_guest``, where it names one.
    ConnectionBroken, NotSent, OutcomeUnknown
        As `signup`.
    """
    claims = {
        "campaign_id": campaign_id,
        "email": guest.email,
        "first_name": guest.first_name,
        "last_name": guest.last_name,
    }
    url = f"{api.base_url}/request_coupons/{quote(token, safe='')}.json?sign={_jwt(claims, token)}"
    headers = {"Accept": "application/json", "User-Agent": ADMIN_USER_AGENT}
    reply = send(Request("GET", url, headers), deadline)
    answer = reply.json_object() or {}
    code = answer.get("coupon")
    if 200 <= reply.status < 300 and isinstance(code, str) and code.strip():
        return code.strip()
    text = json.dumps(answer)
    if result := next((result for result in _COUPON_RESULTS if result in text), None):
        raise UpstreamRejected(reply.status, result, "")
    _taken(reply, claims)
    raise UpstreamRejected(reply.status, "", "the answer has no coupon")


def _as_admin(method: str, url: str, body: Mapping[str, Any], admin_key: str) -> Request:
    headers = {**_JSON, "Authorization": f"Bearer {admin_key}", "User-Agent": ADMIN_USER_AGENT}
    return Request(method, url, headers, _dump(body))


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _jwt(claims: Mapping[str, str], key: str) -> str:
    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = b".".join([encoded(_dump({"alg": "HS256", "typ": "JWT"})), encoded(_dump(claims))])
    return b".".join([signed, encoded(hmac.digest(key.encode(), signed, hashlib.sha256))]).decode()


def _guest(user: Any) -> Guest:
    if not isinstance(user, dict):
        user = {}
    user_id = user.get("user_id", user.get("id"))
    if not re.fullmatch(r"[0-9]{1,19}", str(user_id), re.ASCII):
        raise OutcomeUnknown("Punchh's answer names no user")
    texts = {name: str(user.get(name) or "") for name in ("email", "first_name", "last_name")}
    name = "external_source_id"
    external_id = str("" if user[name] is None else user[name]).strip() if name in user else None
    joined = None
    with suppress(Invalid):
        joined = parsing.parse_time(user.get("user_joined_at"), "").timestamp()
    return Guest(int(user_id), **texts, external_source_id=external_id, joined=joined)


def _taken(reply: Reply, sent: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer to a request that was taken; raise what anything else means.

    Punchh documents no form for errors: https://developers.partech.com/docs/dev-portal-mobile shows ``errors`` as a
    text, an array and an object, and ``error``. A 302 is what an admin without the permission gets.
    """
    status, said = reply.status, reply.json_object()
    if 200 <= status < 300:
        if said is None:
            raise OutcomeUnknown("Punchh's answer is not JSON")
        return said
    if status in {401, 403, 412} or 300 <= status < 400 or (status in {404, 405} and said is None):
        raise ConnectionBroken(f"Punchh answered {status}")
    if status == 429 or (status == 503 and reply.headers.get("retry-after", "").strip()):
        raise NotSent(f"Punchh answered {status}", retry_after=reply.retry_after())
    if status == 408 or status >= 500:
        raise OutcomeUnknown(f"Punchh answered {status}")
    raise UpstreamRejected(status, *_refusal(said or {}, sent))


def _refusal(said: Mapping[str, Any], sent: Mapping[str, Any]) -> tuple[str, str]:
    """Return a refusal's code and reason, the reason without what was sent: it may be personal data."""
    errors = said.get("errors", said.get("error", ""))
    fields = errors if isinstance(errors, dict) else {"": errors}
    code = next((field for field in fields if _CODE.fullmatch(field)), "")
    result = [f"{field} {text}" for field, value in fields.items() for text in _texts(value)]
    if any(re.search(r"\bemail\b.*\btaken\b", sentence, re.IGNORECASE) for sentence in result):
        code = ALREADY_MEMBER
    private = ["@", *(str(value).lower() for value in _values(sent) if len(str(value)) > 3)]
    words = []
    for name, value in fields.items():
        texts = [text for text in _texts(value) if not any(one in text.lower() for one in private)]
        words.append(": ".join([name] * bool(_CODE.fullmatch(name)) + [", ".join(texts)] * bool(texts)))
    return code, "; ".join(filter(None, words))[:300]


def _texts(value: Any) -> Iterator[str]:
    return (item for item in _values(value) if isinstance(item, str))


def _values(value: Any) -> Iterator[Any]:
    """List what is inside, at every depth."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _values(item)
    else:
        yield value
