"""What one container notes, from call to call, and when it writes it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loyalty_bridge.activity.recorder import Recorder
from loyalty_bridge.errors import BridgeError, UpstreamRejected
from loyalty_bridge.model import UNKNOWN_PROGRAM

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program

tally = Recorder()

WRITE_AFTER_SECONDS = 10.0
WRITE_AFTER_ITEMS = 50
"""What may wait is written after so long, or when it has become so much."""


@dataclass(frozen=True, slots=True)
class Known:
    """Where something about a program is noted, and between which platforms it lies; those of nobody are empty."""

    program: str = UNKNOWN_PROGRAM
    loyalty: str = ""
    engagement: str = ""


_UNATTRIBUTED = Known()
_known: dict[str, Known] = {}


def register_program(program: Program) -> None:
    """Remember that a program exists, and its platforms."""
    if isinstance(program.stored, str):
        _known[program.id] = Known(program.id)
        return
    _known[program.id] = Known(program.id, program.stored.loyalty.platform, program.stored.engagement.platform)


def program_labels(program: str) -> Known:
    """Tell what is known of a program.

    One that this container has never read is nobody: anybody can call for any name.
    """
    return _known.get(program, _UNATTRIBUTED)


def problem(program: str, endpoint: str, error: BridgeError) -> None:
    """Note an error of a program; what its loyalty platform refused under that one's own code."""
    about, code, why = program_labels(program), error.word, str(error)
    if isinstance(error, UpstreamRejected):
        code, why = error.code or code, error.reason
    tally.problem(about.program, endpoint, about.loyalty, code, why, error.record)


def write_now() -> None:
    """Write what was noted."""
    _write(tally.take())


def is_due() -> bool:
    """Tell whether what waits has waited long enough."""
    return bool(tally.since) and (
        time.monotonic() - tally.since >= WRITE_AFTER_SECONDS or tally.size() >= WRITE_AFTER_ITEMS
    )


def write_beside() -> None:
    """Write what is due while the call goes on, which does not wait for it.

    Begun with the call, it is done long before the loyalty platform has answered. Lambda has nothing that runs after
    an answer without an extension, and tells no function that its container ends: what it noted last is lost then.
    """
    if is_due():
        threading.Thread(target=_write, args=(tally.take(),), daemon=True).start()


def _write(taken: Recorder) -> None:
    from loyalty_bridge.activity.store import write
    from loyalty_bridge.settings import ActivitySettings, settings

    write(settings(ActivitySettings), taken)
