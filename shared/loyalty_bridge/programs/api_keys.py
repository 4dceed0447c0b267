"""Keys for inbound calls: shown once, stored as a hash, several per program, for some calls or all, revoked at once."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from loyalty_bridge.errors import Invalid, NotFound
from loyalty_bridge.infra import dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings

PREFIX = "cvc_"
_KEY = re.compile(r"cvc_[A-Za-z0-9_-]{43}")
_ITEM = "key#"
_ID_LENGTH = 12

Scope = Literal["lookups", "actions", "events"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Which calls a key is for: reading while a message is rendered, acting on the loyalty platform, bringing events."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key: not the key itself. `id` is the beginning of its hash."""

    id: str
    name: str
    created: datetime
    scopes: tuple[str, ...] = SCOPES


def item_of(key: str) -> str | None:
    """Name the item of a key; None for a text that cannot be one."""
    return _ITEM + hashlib.sha256(key.encode()).hexdigest() if _KEY.fullmatch(key) else None


def has_scope(item: Mapping[str, Any], scope: Scope) -> bool:
    """Return whether the key of a stored item is for a call."""
    return scope in _scopes(item)


def create(settings: ProgramSettings, program: str, name: str, scopes: Collection[str] = SCOPES) -> tuple[str, Key]:
    """Create a key; return the key itself, which is not stored, and its description.

    Raises
    ------
    Invalid
        There is no such scope, or none is named.
    """
    if not scopes or not set(scopes) <= set(SCOPES):
        raise Invalid("scopes", f"are not some of {', '.join(SCOPES)}")
    key = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    item: dict[str, Any] = {
        "program": program,
        "item": item_of(key),
        "name": name,
        "created": int(time.time()),
        "scopes": set(scopes),
    }
    dynamodb.put(settings.programs_table, item)
    return key, _from_item(item)


def list_all(settings: ProgramSettings, program: str) -> list[Key]:
    """List a program's keys, oldest first."""
    return sorted(map(_from_item, _items(settings, program, _ITEM)), key=lambda key: key.created)


def revoke(settings: ProgramSettings, program: str, id_: str) -> None:
    """Take a key back, named by its whole id; the next call with it is refused.

    Raises
    ------
    NotFound
        The program has no such key.
    """
    if len(id_) != _ID_LENGTH:
        raise NotFound(f"{program} has no key {id_}")
    items = _items(settings, program, _ITEM + id_)
    if len(items) != 1:
        raise NotFound(f"{program} has no key {id_}")
    dynamodb.delete(settings.programs_table, {"program": program, "item": items[0]["item"]})


def to_dict(key: Key) -> dict[str, Any]:
    """Describe a key in a line of a list."""
    return {"id": key.id, "name": key.name, "created": key.created.isoformat(), "scopes": list(key.scopes)}


def _items(settings: ProgramSettings, program: str, prefix: str) -> list[dynamodb.Item]:
    condition = "program = :program AND begins_with(#item, :prefix)"
    values = {":program": program, ":prefix": prefix}
    return [*dynamodb.query(settings.programs_table, condition, values, ConsistentRead=True)]


def _from_item(item: Mapping[str, Any]) -> Key:
    id_ = item["item"].removeprefix(_ITEM)[:_ID_LENGTH]
    try:
        created = datetime.fromtimestamp(int(item["created"]), UTC)
        return Key(id_, item["name"], created, _scopes(item))
    except (KeyError, TypeError, ValueError, OverflowError):  # it is valid nevertheless, and can be revoked
        return Key(id_, "(cannot be read)", datetime.fromtimestamp(0, UTC))


def _scopes(item: Mapping[str, Any]) -> tuple[str, ...]:
    scopes = item.get("scopes", SCOPES)
    return tuple(scope for scope in SCOPES if isinstance(scopes, set | tuple) and scope in scopes)
