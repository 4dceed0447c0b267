"""The context of an action: program, client, idempotency key and deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from loyalty_bridge.actions import idempotency
from loyalty_bridge.actions.idempotency import Operation
from loyalty_bridge.actions.idempotency_store import RETENTION_SECONDS

if TYPE_CHECKING:
    from loyalty_bridge.actions.answer import Answer
    from loyalty_bridge.actions.idempotency_store import Record
    from loyalty_bridge.settings import ActionSettings

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class ActionContext(Generic[C]):
    """What every action of a request needs.

    Attributes
    ----------
    client
        Client of the program's loyalty platform.
    key
        The caller's idempotency key; None without one.
    fingerprint
        Hash of the whole request.
    deadline
        When the answer is due (of `time.monotonic`).
    lease_expires_at
        When the invocation ends, in epoch seconds.
    repeat_window
        Seconds in which an equal request without a key gets the stored answer.
    about
        Ids that are stored with each action, besides the action's own.
    retention_seconds
        How long the end of a request with a key is remembered.
    """

    settings: ActionSettings
    program: str
    client: C
    key: str | None
    fingerprint: str
    deadline: float
    lease_expires_at: float
    repeat_window: float
    about: Mapping[str, str] = field(default_factory=dict)
    retention_seconds: float = RETENTION_SECONDS

    def execute(
        self,
        action: str,
        send: Callable[[str], Answer],
        about: Mapping[str, str],
        reconcile: Callable[[Record], Answer | None] | None = None,
        *,
        part: str = "",
        prepare: Callable[[], object] | None = None,
        stores_rejections: bool = True,
        is_repeatable: bool = False,
    ) -> Answer:
        """Execute an action at most once, as `idempotency.execute`; `part` distinguishes the steps of one request."""
        operation = Operation(
            program=self.program,
            action=action,
            key=self.key and self.key + part,
            fingerprint=self.fingerprint + part,
            about={**about, **self.about},
            send=send,
            reconcile=reconcile,
            prepare=prepare,
            deadline=self.lease_expires_at,
            repeat_window=self.repeat_window,
            stores_rejections=stores_rejections,
            is_repeatable=is_repeatable,
            retention_seconds=self.retention_seconds,
        )
        return idempotency.execute(self.settings, operation)
