"""Who wants an action, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from loyalty_bridge.actions import idempotency

if TYPE_CHECKING:
    from loyalty_bridge.actions.idempotency import Answer, IdempotencySettings, Record

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class ActionContext(Generic[C]):
    """Who wants an action, and until when.

    Attributes
    ----------
    client
        Reaches the program's loyalty platform.
    key
        The caller's idempotency key; None when it has none.
    fingerprint
        Hash of the whole request.
    deadline
        When the answer is due (of `time.monotonic`).
    lease
        The same in epoch seconds.
    repeat_window
        For how many seconds an equal request without a key gets the stored answer.
    about
        Ids that the journal keeps with each action, besides the action's own.
    kept
        For how many seconds the journal remembers how a request with a key ended.
    """

    settings: IdempotencySettings
    program: str
    client: C
    key: str | None
    fingerprint: str
    deadline: float
    lease: float
    repeat_window: float
    about: Mapping[str, str] = field(default_factory=dict)
    kept: float = idempotency.KEPT_SECONDS

    def perform(
        self,
        action: str,
        act: Callable[[str], Answer],
        about: Mapping[str, str],
        look: Callable[[Record], Answer | None] | None = None,
        part: str = "",
        *,
        ready: Callable[[], object] | None = None,
        keeps_refusals: bool = True,
        resumes: bool = False,
    ) -> Answer:
        """Carry an action out unless it was before; `part` tells the steps of one request apart."""
        return idempotency.execute(
            self.settings,
            self.program,
            action,
            self.key and self.key + part,
            self.fingerprint + part,
            act,
            look,
            about={**about, **self.about},
            deadline=self.lease,
            repeat_window=self.repeat_window,
            ready=ready,
            keeps_refusals=keeps_refusals,
            resumes=resumes,
            kept=self.kept,
        )
