"""What MoEngage's replies mean: https://www.moengage.com/docs/api/data/data-overview."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.model import Json
from loyalty_bridge.platforms.base import (
    Accepted,
    Broken,
    Rejected,
    SplitRequired,
    Transient,
    Verdict,
    Wait,
    WireObject,
    failed,
)

_REPEATABLE = {
    "type": re.compile(r"[A-Za-z][A-Za-z _-]{0,60}"),
    "attribute": re.compile(r"[A-Za-z_][A-Za-z_.\[\]-]{0,60}"),
    "request_id": re.compile(r"[A-Za-z0-9-]{1,40}"),
}
"""Fields of an error that a reason repeats if they match; the error's sentence may hold what was sent."""

_BROKEN_STATUSES = frozenset({401, 403, 404, 405, 407, 409, 410, 415, 421})
_RATE_TYPES = frozenset({"Rate Limits Exceeded", "RateLimitError"})
_FAILED = frozenset({"fail", "failed", "failure", "error"})
_BROKEN_TYPES = frozenset({
    "BlockedClient", "Account Suspended", "Account Temporarily Suspended", "Blacklisted", "ParamsRequired",
    "Missing header value", "Authentication required",
})  # fmt: skip
"""Types of a 400 that concern the account or the way it is called, and not the objects."""


def judge(reply: Reply, objects: Sequence[WireObject], now: float) -> Verdict:
    """Return what a reply means for the objects of its request.

    An error that every request would meet (a wrong path, a redirect, a suspended account, a 415) breaks the connection,
    so that no object is rejected for it. A 2xx counts as accepted only with the status ``success``, or without a body.
    A body that is not MoEngage's comes from a proxy before it: then only a status that means the same from a proxy
    counts.

    Parameters
    ----------
    now
        Epoch seconds.
    """
    status, payload = reply.status, reply.json_object()
    error = payload.get("error") if payload else None
    error = error if isinstance(error, Mapping) else {}
    reason = _reason(reply, payload, error)
    is_ok = 200 <= status < 300
    outcome = str((payload or {}).get("status")).strip().lower()
    has_failed = payload is not None and (status in {400, 422} or (is_ok and outcome in _FAILED))
    kind = str(error.get("type"))
    verdict: Verdict = failed(status, reason)
    if status == 429 or (has_failed and kind in _RATE_TYPES):
        verdict = Wait(reply.retry_after("retry-after", "x-ratelimit-reset", now=now), reason)
    elif (status == 413 or (has_failed and kind == "PayloadTooLarge")) and len(objects) > 1:
        verdict = SplitRequired(reason)
    elif status in _BROKEN_STATUSES or 300 <= status < 400 or (has_failed and _is_about_account(error)):
        verdict = Broken(reason, is_foreign=status == 403 and payload is None)
    elif has_failed and kind == "ServerError":
        verdict = Transient(reason)
    elif status == 413 or has_failed:
        verdict = Rejected(reason, {0: reason} if len(objects) == 1 else {})
    elif is_ok and (not reply.body.strip() or outcome == "success"):
        verdict = Accepted()
    return verdict


def _reason(reply: Reply, payload: Mapping[str, Json] | None, error: Mapping[str, Json]) -> str:
    """Return the status and those fields of the reply that cannot hold personal data."""
    answer = {"request_id": (payload or {}).get("request_id"), **error}
    words = [str(reply.status)]
    for key, label in (("type", ""), ("attribute", "attribute "), ("request_id", "request ")):
        value = answer.get(key)
        if isinstance(value, str) and _REPEATABLE[key].fullmatch(value):
            words.append(label + value)
    if payload is None and reply.body.strip():
        words.append("not JSON")
    return ", ".join(words)


def _is_about_account(error: Mapping[str, Json]) -> bool:
    # Of invalid parameters only the workspace id is documented; an object's own must not stop the program.
    kind = str(error.get("type"))
    return kind in _BROKEN_TYPES or (kind == "InvalidParams" and "app_id" in str(error.get("message")))
