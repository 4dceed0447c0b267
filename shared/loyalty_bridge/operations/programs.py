"""What an operator does with a program, by the command line or by the page: connect it, and see how it is."""

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
    merged,
    program_id,
)

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings


def save(
    settings: ProgramSettings,
    program: str,
    change: Mapping[str, Any],
    secrets: Any,
    *,
    seen: int | None = None,
    new_workspace: bool = False,
) -> Program:
    """Create a program, or change the settings that are told and leave the rest; a held program is then released.

    A wait that its destination told stays, unless it gets another destination: another address, or a key.

    Parameters
    ----------
    secrets
        An object of secrets to set, in the clear.
    seen
        The version that the operator saw, 0 when the program is to be new; None when it does not matter.

    Raises
    ------
    Invalid
        Naming the field that is wrong.
    Conflict
        Somebody else saved it since.
    Unavailable
        A store does not answer.
    """
    program_id(program)
    before = repository.load(settings, [program]).get(program)
    if seen is not None and seen != (before.version if before else 0):
        raise Conflict(repository.conflict_message(program))
    connection = merged(_settings_to_change(before, change) if before else Connection(), change)
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
    """Check that the webhook credentials that stay are still what deliveries show.

    Raises
    ------
    Invalid
        The way to show them changes, and one that is stored is not put again.
    """

    def shown(side: object) -> tuple[str, str] | None:
        return (side.platform, side.webhook_auth) if isinstance(side, WebhookSettings) else None

    was, now = shown(before.connection.loyalty), shown(connection.loyalty)
    stay = [name for name in WEBHOOK_CREDENTIALS if name in before.secrets and name not in given]
    if now and was != now and stay:
        raise Invalid("loyalty.webhook_auth", f"changes how the credential is shown: put secrets.{stay[0]} again, too")


def _settings_to_change(before: Program, change: Mapping[str, Any]) -> Connection:
    """Give the settings that a change builds on; unreadable ones are replaced, but only as a whole.

    Raises
    ------
    Invalid
        The change leaves something out that cannot be read.
    """
    if isinstance(before.stored, str):
        if absent := [side for side in ("loyalty", "engagement") if side not in change]:
            raise Invalid(absent[0], f"is missing, and what is stored is not known: {before.stored}")
        return Connection()
    return before.stored


def _destination_of(connection: Connection) -> dict[str, Any]:
    """Tell where a connection's updates go."""
    return {name: value for name, value in msgspec.to_builtins(connection.engagement).items() if name != "rules"}


def _check_secrets(given: Any, connection: Connection) -> Mapping[str, str]:
    """Give the secrets without the blanks around them: what is copied often ends in a line break."""
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
    """Tell in a word how a program is: ``unreadable``, ``incomplete``, ``streaming``, ``held`` or ``releasing``."""
    if program.unreadable:
        return "unreadable"
    if program.missing():
        return "incomplete"
    return "streaming" if program.delivery_state.state == "live" else program.delivery_state.state


def describe(program: Program) -> dict[str, Any]:
    """Describe a program; of its secrets, the last four characters."""
    settings: Any = {"loyalty": {}, "engagement": {}} if isinstance(program.stored, str) else program.stored
    return {
        "program": program.id,
        "version": program.version,
        "state": state_of(program),
        "missing": [] if program.unreadable else program.missing(),
        "gate_reason": program.unreadable or program.delivery_state.reason,
        **msgspec.to_builtins(settings),
        "secrets": {
            name: f"…{secret.last_four}" for name, secret in program.secrets.items() if name != repository.STATE_KEY
        },
    }


def row(program: Program) -> dict[str, Any]:
    """Describe a program in a line of a list."""
    side = None if isinstance(program.stored, str) else program.stored
    return {
        "program": program.id,
        "platforms": f"{side.loyalty.platform} → {side.engagement.platform}" if side else "",
        "state": state_of(program),
        "missing": "" if program.unreadable else ", ".join(program.missing()),
    }


def release(settings: ProgramSettings, program: Program) -> None:
    """Release held records from the next minute on, without waiting for the probe.

    Raises
    ------
    NotConnected
        The program is not held.
    Unavailable
        DynamoDB does not answer.
    """
    if program.delivery_state.unreadable:
        delivery_state.replace(settings, program.id, time.time())
    elif program.delivery_state.state == "live":
        raise NotConnected(f"{program.id} is not held")
    else:
        delivery_state.start_release(settings, program.id)
