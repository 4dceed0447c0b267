"""The access token of a program's loyalty platform: one for all containers, encrypted in the store.

It is an item beside the connection, so that one round trip reads both. A container whose token is missing, rejected or
about to expire takes a lease with a conditional write and logs in. The others use the old token while it is valid, or
wait for the new one. So a burst of containers logs in once, and a container that dies delays the others no longer than
its lease.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from loyalty_bridge.errors import NotSent, Unavailable
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.infra.dynamodb import number, text
from loyalty_bridge.infra.retry import attempts
from loyalty_bridge.programs import recent
from loyalty_bridge.programs.secrets import decrypt, encrypt

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings

ITEM = "token"
"""Sort key of the item."""
RENEW_AT = 0.8
"""Share of its lifetime after which a token is renewed (https://doc.convercus.io/docs/api-authentication)."""
LEASE_SECONDS = 10.0
"""Limit of a login."""
_PLAINTEXT_BYTES = 4096  # of one KMS call: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html

Login: TypeAlias = Callable[[float], tuple[str, float]]
"""``login(deadline)``: a new token and its lifetime in seconds; raises `NotSent`."""


@dataclass(frozen=True, slots=True)
class Token:
    """The stored token; times in epoch seconds.

    Attributes
    ----------
    issue
        Rises with every login; 0 before the first.
    purpose
        Identifies the login that returned it: after a change of the connection, it is of no use.
    sealed
        The encrypted token, in pieces that KMS can encrypt.
    leased_until
        Time until which another container may be logging in.
    """

    issue: int = 0
    purpose: str = ""
    sealed: tuple[bytes, ...] = ()
    renew_at: float = 0.0
    expires: float = 0.0
    leased_until: float = 0.0


def from_item(item: Mapping[str, Any]) -> Token:
    """Decode an item, also an empty one."""
    return Token(
        issue=int(number(item, "issue")),
        purpose=text(item, "purpose"),
        sealed=tuple(item.get("sealed", ())),
        renew_at=number(item, "renew_at"),
        expires=number(item, "expires"),
        leased_until=number(item, "leased_until"),
    )


@dataclass(slots=True)
class SharedToken:
    """Returns the token that all containers share; safe for threads.

    Attributes
    ----------
    purpose
        Identifies the login.
    latest
        The item, if it was read with the program; None reads it on first use.
    clock
        Returns the time in epoch seconds.
    """

    settings: ProgramSettings
    program: str
    purpose: str
    login: Login
    latest: Token | None = None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def __call__(self, deadline: float, refused: str = "") -> str:
        """Return a token, before a deadline (of `time.monotonic`).

        Parameters
        ----------
        refused
            A token that the platform has rejected before its time.

        Raises
        ------
        NotSent
            The login failed: the request that needs the token was not sent. `ConnectionBroken` is passed on.
        """
        try:
            return self._give(deadline, refused)
        except NotSent:
            raise
        except Unavailable as error:
            raise NotSent(str(error), retry_after=error.retry_after) from error

    def _give(self, deadline: float, refused: str) -> str:
        for _ in attempts(deadline, sleep=self.sleep):
            seen, now = self._seen(), self.clock()
            value = self._value(seen) if seen.purpose == self.purpose and now < seen.expires else ""
            value = "" if value == refused else value
            if value and now < seen.renew_at:
                return value
            try:
                if now >= seen.leased_until and (new := self._renewed(seen, now, deadline, bool(value))):
                    return new
            except Unavailable:
                if not value:
                    raise
            if value:
                return value  # another container renews it, or it cannot be renewed now
            self.latest = None
            if time.monotonic() >= deadline:
                raise NotSent("the token cannot be renewed in time")
        raise NotSent("the token is being renewed", retry_after=max(seen.leased_until - now, 0))

    def _renewed(self, seen: Token, now: float, deadline: float, has_old: bool) -> str:
        """Log in under a lease; return "" if another container has it, or has renewed the token."""
        # With a token that is still valid, half of the time is left for the request that needs it.
        seconds = min((deadline - time.monotonic()) / (2 if has_old else 1), LEASE_SECONDS)
        owner = uuid.uuid4().hex
        if not _take_lease(self.settings, self.program, seen.issue, now, now + seconds, owner):
            return ""
        try:
            value, life = self.login(time.monotonic() + seconds)
        except Unavailable:
            _give_back(self.settings, self.program, owner)
            raise
        self.latest = _save(self.settings, self.program, seen.issue + 1, self.purpose, value, life, self.clock())
        return value

    def _seen(self) -> Token:
        seen = self.latest
        if seen is None:
            recent.forget(self.settings.programs_table, self.program)
            seen = self.latest = from_item(dynamodb.get(self.settings.programs_table, _key(self.program)) or {})
        return seen

    def _value(self, token: Token) -> str:
        return "".join(decrypt(self.program, piece) for piece in token.sealed)


def _take_lease(settings: ProgramSettings, program: str, issue: int, now: float, until: float, owner: str) -> bool:
    """Take the lease, unless another container has it, or has renewed the token since it was read.

    The lease that blocks the write may be our own: the client repeats a write whose reply was lost.
    """
    unchanged = "issue = :issue" if issue else "attribute_not_exists(issue)"
    is_free = "attribute_not_exists(leased_until) OR leased_until <= :now OR leased_by = :owner"
    blocker = dynamodb.update(
        settings.programs_table,
        _key(program),
        "SET leased_until = :until, leased_by = :owner",
        {":until": until, ":now": now, ":owner": owner, ":issue": issue or None},
        f"{unchanged} AND ({is_free})",
    )
    return blocker is None


def _give_back(settings: ProgramSettings, program: str, owner: str) -> None:
    expression, condition = "REMOVE leased_until, leased_by", "leased_by = :owner"
    dynamodb.update(settings.programs_table, _key(program), expression, {":owner": owner}, condition)


def _save(
    settings: ProgramSettings, program: str, issue: int, purpose: str, value: str, seconds: float, now: float
) -> Token:
    with aws.reaching("the token's key"):
        sealed = tuple(
            encrypt(settings.secrets_key, program, value[start : start + _PLAINTEXT_BYTES])
            for start in range(0, len(value), _PLAINTEXT_BYTES)
        )
    token = Token(issue, purpose, sealed, now + RENEW_AT * seconds, now + seconds)
    # When the condition fails, the lease had expired and another container was faster: both tokens are valid.
    dynamodb.update(
        settings.programs_table,
        _key(program),
        "SET issue = :issue, purpose = :purpose, sealed = :sealed, renew_at = :renew_at, expires = :expires "
        "REMOVE leased_until, leased_by",
        {f":{name}": getattr(token, name) for name in ("issue", "purpose", "sealed", "renew_at", "expires")},
        "attribute_not_exists(issue) OR issue < :issue",
    )
    recent.forget(settings.programs_table, program)
    return token


def _key(program: str) -> dict[str, Any]:
    return {"program": program, "item": ITEM}
