"""Credentials in Punchh's events: fields and links by which somebody could act as the member.

They are reset and confirmation links, passwords, passcodes, tokens, card numbers and security codes, and wallet passes.
They are left out of the properties, at any depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

from loyalty_bridge.model import Json
from loyalty_bridge.platforms import parsing

CREDENTIAL = "may let somebody act as the member"
"""The reason that is given for a field that is not sent."""
MAX_WITHHELD = 50
"""How many names of fields are listed as not sent."""

_CREDENTIAL = re.compile(
    r"passw|passcode|pwd|token|secret|credential|authenticat|signature|api_?key|session_(?:id|key)|cvv"
    r"|(?:^|_)(?:otp|jwt)(?:_|$)|(?:^|_)pin(?:$|_(?:code|number))"
    r"|(?:confirm(?:ation)?|verif(?:y|ication)|reset|magic|log_?in|unlock|activation)_?(?:url|link|code|key)"
    r"|cards?_number|security_code|(?:^|_)pass(?:_url)?$"
)
"""Part of a credential's name, in lower case: ``<object>_<field>``, or the parameter of a link."""
_LONGEST_CACHED = 200
_CREDENTIAL_PARAMETERS = frozenset({"auth", "code", "confirm", "confirmation", "key", "reset", "sig", "verify"})
_CREDENTIAL_PATH = re.compile(
    r"/(?:passwords?|passcode|confirm(?:ation)?s?|verif(?:y|ication)|reset[\w-]{0,40}|unlock|magic[\w-]{0,40})(?:[/?#]|$)"
    r"|://[^\s/@:]*:[^\s/@]+@",
    re.IGNORECASE,
)
_JSON_WEB_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


def flatten_fields(prefix: str, fields: Mapping[str, Json], parent: str = "") -> Iterator[tuple[str, Json]]:
    """Yield names and values of fields: names of nested objects are joined by ``_``; no blanks, no credentials."""
    for name, value in fields.items():
        if _is_sendable(parent, name, value):
            if isinstance(value, Mapping) and value.keys() == {"$time"}:  # a time, as Braze has it inside objects
                yield f"{prefix}{name}", value["$time"]
            elif isinstance(value, Mapping):
                yield from flatten_fields(f"{prefix}{name}_", value, name)
            elif (kept := _tidy(name, value)) not in ([], {}):
                yield f"{prefix}{name}", kept


def list_credentials(prefix: str, fields: Mapping[str, Json]) -> list[str]:
    """Return the names of the fields that `flatten_fields` leaves out because they may be credentials."""
    return list(dict.fromkeys(islice(_credentials_in(prefix, fields, ""), MAX_WITHHELD)))


def _credentials_in(prefix: str, value: Json, parent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not _is_sendable(parent, name, item) and not parsing.is_blank(item):
                yield f"{prefix}{name[:64]}"
            else:
                yield from _credentials_in(f"{prefix}{name[:64]}_", item, name)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _credentials_in(prefix, item, parent)


def _tidy(parent: str, value: Json) -> Json:
    """Return a copy of an array's element without blanks and credentials, at every depth."""
    if isinstance(value, Mapping):
        return {name: _tidy(name, item) for name, item in value.items() if _is_sendable(parent, name, item)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_tidy(parent, item) for item in value if _is_sendable("", "", item)]
    return value


def _is_sendable(parent: str, name: str, value: Json) -> bool:
    """Return whether a field has a value that is no credential.

    The name of a credential may be spread over two levels: a ``card`` has a ``number``.
    """
    if parsing.is_blank(value) or _names_credential(f"{parent}_{name}"):
        return False
    if not isinstance(value, str):
        return True
    if _JSON_WEB_TOKEN.fullmatch(value.strip()):
        return False
    return "://" not in value or not any("://" in word and _is_credential_link(word) for word in value.split())


def _names_credential(name: str) -> bool:
    # The sender decides on the length of a name: long names stay out of the cache, which bounds its size.
    return _is_credential_name(name) if len(name) <= _LONGEST_CACHED else _is_credential_name.__wrapped__(name)


@lru_cache(maxsize=4096)
def _is_credential_name(name: str) -> bool:
    return _CREDENTIAL.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", name).lower()) is not None


def _is_credential_link(link: str) -> bool:
    parameters = [part.partition("=")[0].lower() for part in re.split("[?&;#]", link)[1:] if "=" in part]
    return _CREDENTIAL_PATH.search(link) is not None or any(
        name in _CREDENTIAL_PARAMETERS or _CREDENTIAL.search(name) for name in parameters
    )
