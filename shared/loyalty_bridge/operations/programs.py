"""Save a program's connection, release its held records, and describe its state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from loyalty_bridge.errors import Conflict, Invalid, NotConnected
from loyalty_bridge.platforms.settings import WEBHOOK_CREDENTIALS, WebhookSettings
from loyalty_bridge.programs import delivery_state, endpoint_policy, repository
from loyalty_bridge.programs.connection import (
    Connection,
    Program,
    check_program_id,
    merge,
)

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings


def save(
    settings: ProgramSettings,
    program: str,
    change: Mapping[str, Any],
    secrets: Any,
    *,
    version: int | None = None,
    new_workspace: bool = False,
) -> Program:
    """Create a program, or change the settings that are given. A held program is then released.

    A Retry-After of the destination still applies, unless the address or the key changes.

    Parameters
    ----------
    secrets
        The secrets to set, by name, in plain text.
    version
        The version that the operator has read; 0 for a new program; None to skip the check.

    Raises
    ------
    Invalid
        A field is invalid.
    Conflict
        The program was saved by someone else since then.
    """
    check_program_id(program)
    before = repository.load(settings, [program]).get(program)
    if version is not None and version != (before.version if before else 0):
        raise Conflict(repository.conflict_message(program))
    connection = merge(_settings_to_change(before, change) if before else Connection(), change)
    secrets = _check_secrets(secrets, connection)
    connection.loyalty.check_secrets(secrets)
    if before and not isinstance(before.stored, str):
        _check_stored_credentials(before, connection, secrets)
    connection = endpoint_policy.validate_endpoints(connection, settings.allowed_hosts)
    saved = repository.save(settings, before, program, connection, secrets, new_workspace=new_workspace)
    if before:
        is_new = (
            isinstance(before.stored, str)
            or _destination_of(before.stored) != _destination_of(connection)
            or not set(secrets).isdisjoint(connection.engagement.secrets)
        )
        if before.delivery_state.state == "held" and (is_new or before.delivery_state.not_before <= time.time()):
            delivery_state.start_release(settings, program)
        elif is_new and (before.delivery_state.failing_since or before.delivery_state.not_before):
            delivery_state.note_success(settings, program)  # the one that failed was another
    return saved


def _check_stored_credentials(before: Program, connection: Connection, given: Mapping[str, str]) -> None:
    """Check that the stored webhook credentials still fit the authentication scheme.

    Raises
    ------
    Invalid
        The scheme changes, and a stored credential is not set again.
    """

    def shown(side: object) -> tuple[str, str] | None:
        return (side.platform, side.webhook_auth) if isinstance(side, WebhookSettings) else None

    was, now = shown(before.connection.loyalty), shown(connection.loyalty)
    stay = [name for name in WEBHOOK_CREDENTIALS if name in before.secrets and name not in given]
    if now and was != now and stay:
        raise Invalid("loyalty.webhook_auth", f"changes how the credential is sent: set secrets.{stay[0]} again, too")


def _settings_to_change(before: Program, change: Mapping[str, Any]) -> Connection:
    """Return the settings that a change is applied to; unreadable settings must be replaced as a whole.

    Raises
    ------
    Invalid
        The stored settings are unreadable, and the change does not contain both sides.
    """
    if isinstance(before.stored, str):
        if absent := [side for side in ("loyalty", "engagement") if side not in change]:
            raise Invalid(absent[0], f"is missing, and what is stored is not known: {before.stored}")
        return Connection()
    return before.stored


def _destination_of(connection: Connection) -> dict[str, Any]:
    """Return the settings that decide where a connection's updates go."""
    return {name: value for name, value in msgspec.to_builtins(connection.engagement).items() if name != "rules"}


def _check_secrets(given: Any, connection: Connection) -> Mapping[str, str]:
    """Return the secrets without blanks around them; a copied secret often ends in a line break."""
    if not isinstance(given, Mapping):
        raise Invalid("secrets", "is not an object")
    sides = connection.loyalty, connection.engagement
    for name, secret in given.items():
        if not any(side.is_secret(name) for side in sides):
            known = {form for side in sides for form in side.secret_forms()}
            raise Invalid(f"secrets.{name}", f"is not one of {', '.join(sorted(known))}")
        if not isinstance(secret, str) or not secret.strip():
            raise Invalid(f"secrets.{name}", "is not a text")
        in_header = any(side.is_sent_in_header(name) for side in sides)
        if not secret.strip().isprintable() or (in_header and not secret.strip().isascii()):
            raise Invalid(f"secrets.{name}", "holds a character that a request cannot carry; copy it again")
    return {name: secret.strip() for name, secret in given.items()}


def state_of(program: Program) -> str:
    """Return the state of a program: ``unreadable``, ``incomplete``, ``streaming``, ``held`` or ``releasing``."""
    if program.unreadable:
        return "unreadable"
    if program.missing():
        return "incomplete"
    return "streaming" if program.delivery_state.state == "live" else program.delivery_state.state


def describe(program: Program) -> dict[str, Any]:
    """Describe a program, with the last four characters of its secrets."""
    settings: Any = {"loyalty": {}, "engagement": {}} if isinstance(program.stored, str) else program.stored
    return {
        "program": program.id,
        "version": program.version,
        "state": state_of(program),
        "missing": [] if program.unreadable else program.missing(),
        "held_because": program.unreadable or program.delivery_state.reason,
        **msgspec.to_builtins(settings),
        "secrets": {
            name: f"…{secret.last_four}" for name, secret in program.secrets.items() if name != repository.STATE_KEY
        },
    }


def row(program: Program) -> dict[str, Any]:
    """Describe a program in a row of a list."""
    side = None if isinstance(program.stored, str) else program.stored
    return {
        "program": program.id,
        "platforms": f"{side.loyalty.platform} → {side.engagement.platform}" if side else "",
        "state": state_of(program),
        "missing": "" if program.unreadable else ", ".join(program.missing()),
    }


def release(settings: ProgramSettings, program: Program) -> None:
    """Release held records from the next minute on, without a check of the connection.

    Raises
    ------
    NotConnected
        The program is not held.
    """
    if program.delivery_state.unreadable:
        delivery_state.replace(settings, program.id, time.time())
    elif program.delivery_state.state == "live":
        raise NotConnected(f"{program.id} is not held")
    else:
        delivery_state.start_release(settings, program.id)
