"""Who may call: one round trip reads the key, and now and then the program with its gate and token.

The key is read strongly consistent by each call, so that one that is revoked is refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Invalid, OutOfScope, Unauthorized
from loyalty_bridge.programs import access_token, api_keys, repository
from loyalty_bridge.programs.connection import program_id

if TYPE_CHECKING:
    from loyalty_bridge.programs.access_token import Token
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import ProgramSettings

HEADERS = ("x-convercus-key", "x-bridge-key")


@dataclass(frozen=True, slots=True)
class Access:
    """The program that a caller may use, and what all containers share about it, by its sort key."""

    program: Program
    items: Mapping[str, Mapping[str, Any]]

    @property
    def token(self) -> Token:
        """The token for its loyalty platform."""
        return access_token.from_item(self.items.get(access_token.ITEM, {}))


def authenticate(
    settings: ProgramSettings,
    program: str,
    headers: Mapping[str, str],
    items: Sequence[str] = (access_token.ITEM,),
    *,
    scope: api_keys.Scope = "actions",
) -> Access:
    """Check the caller's key.

    Parameters
    ----------
    headers
        Names in lower case.
    items
        Sort keys of further items to read.
    scope
        What the key has to be for.

    Raises
    ------
    Unauthorized
        The key is missing, malformed, unknown, revoked, or another program's; which of them is told to nobody.
    OutOfScope
        The key is not for such calls.
    Unavailable
        The key cannot be checked.
    """
    shown = next(filter(None, (headers.get(name, "").strip() for name in HEADERS)), "")
    key = api_keys.item_of(shown)
    try:
        name = program_id(program)
    except Invalid:
        raise Unauthorized from None
    if key is None:
        raise Unauthorized
    lasting = [item for item in items if item == access_token.ITEM]
    fresh = [key, *(item for item in items if item not in lasting)]
    found, stored = repository.load_recent(settings, name, fresh, lasting)
    if found is None:
        raise Unauthorized
    buffer.register_program(found)
    if key not in stored:
        raise Unauthorized
    if not api_keys.has_scope(stored[key], scope):
        raise OutOfScope(f"the key is not for {scope}")
    return Access(found, stored)
