"""Authenticate API calls: one round trip reads the key and, from time to time, the program with its further items.

Each call reads the key with strong consistency, so a revoked key is rejected at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Invalid, OutOfScope, Unauthorized
from loyalty_bridge.programs import access_token, api_keys, repository
from loyalty_bridge.programs.connection import check_program_id

if TYPE_CHECKING:
    from loyalty_bridge.programs.access_token import Token
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import ProgramSettings

HEADERS = ("x-convercus-key", "x-bridge-key")


@dataclass(frozen=True, slots=True)
class Access:
    """The program of an authenticated call, and further items of its partition by sort key."""

    program: Program
    items: Mapping[str, Mapping[str, Any]]

    @property
    def token(self) -> Token:
        """The access token for the program's loyalty platform."""
        return access_token.from_item(self.items.get(access_token.ITEM, {}))


def authenticate(
    settings: ProgramSettings,
    program: str,
    headers: Mapping[str, str],
    items: Sequence[str] = (access_token.ITEM,),
    *,
    scope: api_keys.Scope = "actions",
) -> Access:
    """Check the caller's API key and return the program.

    Parameters
    ----------
    headers
        Names in lower case.
    items
        Sort keys of further items to read.
    scope
        Scope that the key must have.

    Raises
    ------
    Unauthorized
        The key is missing, malformed, unknown, revoked, or another program's; the error does not say which.
    OutOfScope
        The key has another scope.
    Unavailable
        The key cannot be read.
    """
    value = next(filter(None, (headers.get(name, "").strip() for name in HEADERS)), "")
    key = api_keys.item_of(value)
    try:
        name = check_program_id(program)
    except Invalid:
        raise Unauthorized from None
    if key is None:
        raise Unauthorized
    lasting = [item for item in items if item == access_token.ITEM]
    fresh = [key, *(item for item in items if item not in lasting)]
    loaded, stored = repository.load_recent(settings, name, fresh, lasting)
    if loaded is None:
        raise Unauthorized
    buffer.register_program(loaded)
    if key not in stored:
        raise Unauthorized
    if not api_keys.has_scope(stored[key], scope):
        raise OutOfScope(f"the key is not for {scope}")
    return Access(loaded, stored)
