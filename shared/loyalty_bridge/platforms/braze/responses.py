"""What Braze's replies mean: https://www.braze.com/docs/api/errors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.json import encode

from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.model import Json
from loyalty_bridge.platforms.base import Accepted, Broken, Rejected, SplitRequired, Verdict, Wait, WireObject, failed

_TAKEN = frozenset({"success", "queued"})
_NO_REASON = "Braze does not say why"
_ABOUT_TRACKING = re.compile("invalid_group_id|request_status_.*")
"""Errors about following the request by its ``group_id``: the data is processed.

https://www.braze.com/docs/api/endpoints/user_data/get_users_track_status
"""
_BROKEN = {
    401: "the API key is not accepted here (wrong key, workspace, instance or permission)",
    403: "access is denied (permission of the API key, its allowed addresses, or the account's plan)",
    404: "the endpoint has no such path",
    405: "the endpoint does not take this method",
    407: "a proxy wants to be authenticated to",
    415: "the content type is not accepted",
}
"""What is the same for every request, so that nothing is refused for it."""
_IDENTIFIERS = ("external_id", "user_alias", "email", "phone")
"""In the order in which Braze looks for a user by them."""
_PERSONAL = re.compile(
    r"(?<=key: )\S+|(?=[\w-]*[0-9])(?=[\w-]*[a-z])[\w-]{20,}|\S+@\S+|\+?\d{6,}", re.ASCII | re.IGNORECASE
)
"""A key, an address, a phone number: what a sentence of Braze's may repeat."""


def judge(reply: Reply, objects: Sequence[WireObject], now: float) -> Verdict:
    """Return what a reply means.

    Reasons hold the status and Braze's sentence without what may be a member's or the key; nothing else of a body. A
    2xx counts as accepted only with the message ``success`` or ``queued``, or without a body: with another message
    Braze has taken nothing. An error that names no object applies to every object
    that may be the one: those of its array, or all, but for arrays that were processed entirely by their count.

    A body that is not Braze's comes from something before it: only a status that means the same from there is
    believed. A status that is in no documentation is taken as transient.

    Parameters
    ----------
    now
        Epoch seconds.
    """
    status, said = reply.status, reply.json_object()
    message = said.get("message") if said else None
    is_ok = 200 <= status < 300
    if is_ok and (not reply.body.strip() or (isinstance(message, str) and message.strip().lower() in _TAKEN)):
        return _accepted(said or {}, objects)
    is_refusal = (is_ok and isinstance(message, str)) or (status in {400, 422} and said is not None)
    if status == 429:
        wait = reply.retry_after("x-ratelimit-retry-after", "retry-after", "x-ratelimit-reset", now=now)
        return Wait(wait, "429: over the rate limit")
    if status == 413 or (is_refusal and b"max input length exceeded" in reply.body.lower()):
        return SplitRequired(f"{status}: too much in one request")
    if 300 <= status < 400 or status in _BROKEN:
        why = _BROKEN.get(status, "redirects, so it is not a REST endpoint of Braze")
        return Broken(f"{status}: {why}", is_foreign=status == 403 and said is None)
    if is_refusal:
        blamed, unplaced = _blame(said or {}, objects)
        sentences = [reason for _, reason in unplaced if reason != _NO_REASON]
        reason = sentences[0] if sentences else _sentence(message if is_ok else None, "the request is refused")
        return Rejected(f"{status}: {reason}", blamed)
    return failed(status, f"{status}: no answer of Braze's" if said is None or is_ok else f"{status}: Braze failed")


def _blame(
    said: Mapping[str, Json], objects: Sequence[WireObject]
) -> tuple[dict[int, str], list[tuple[str | None, str]]]:
    """Return the objects (by position) that errors name, and the errors that name an array at most."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for position, item in enumerate(objects):
        places[item.array].append(position)
    blamed: dict[int, str] = {}
    unplaced: list[tuple[str | None, str]] = []
    errors = said.get("errors") or []
    for error in errors if isinstance(errors, list) else [errors]:
        entry: Mapping[str, Json] = error if isinstance(error, dict) else {"type": error}
        array, index = entry.get("input_array"), _whole_number(entry.get("index"))
        kind = next((text for key in ("type", "message", "error") if isinstance(text := entry.get(key), str)), None)
        if isinstance(kind, str) and _ABOUT_TRACKING.fullmatch(kind.strip()):
            continue
        array = array if isinstance(array, str) and array in places else None
        if array and index is not None and 0 <= index < len(places[array]):
            blamed.setdefault(places[array][index], _sentence(kind, _NO_REASON))
        else:
            unplaced.append((array, _sentence(kind, _NO_REASON)))
    return blamed, unplaced


def _whole_number(value: Json) -> int | None:
    """Read a place, also where it is written as a text or as 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value, re.ASCII):
        return int(value)
    return value if type(value) is int else None


def _accepted(said: Mapping[str, Json], objects: Sequence[WireObject]) -> Accepted:
    """Return the objects that errors name, and those that they may mean; and how many are missing without an error."""
    blamed, unplaced = _blame(said, objects)
    rest = [(position, item) for position, item in enumerate(objects) if position not in blamed]
    doubtful: set[str] = set()
    missing = 0
    for array in {item.array for _, item in rest}:
        wanted, processed = (
            _countable([item for _, item in rest if item.array == array]),
            said.get(f"{array}_processed"),
        )
        if type(processed) is not int:
            doubtful.add(array)
        elif processed < wanted:
            doubtful.add(array)
            missing += wanted - max(processed, 0)
    for named, reason in sorted(unplaced, key=lambda one: one[1] == _NO_REASON):
        candidates = [at for at, item in rest if item.array in doubtful and named in {None, item.array}]
        doubt = "may be refused, Braze does not name the object: " if len(candidates) > 1 else ""
        for position in candidates:
            blamed.setdefault(position, doubt + reason)
    return Accepted(blamed, 0 if unplaced else missing)


def _countable(items: Sequence[WireObject]) -> int:
    """Return what Braze counts of an array's objects when it has processed all: of attributes it counts the members.

    https://www.braze.com/docs/api/endpoints/user_data/post_user_track
    """
    if items[0].array != "attributes" or len(items) < 2:
        return len(items)
    found = [msgspec.json.decode(item.body) for item in items]
    return len({encode(next((one[name] for name in _IDENTIFIERS if name in one), None)) for one in found})


def _sentence(said: Json, otherwise: str) -> str:
    text = said if isinstance(said, str) else ""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return _PERSONAL.sub("…", " ".join(words))[:200] or otherwise
