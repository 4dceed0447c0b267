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

recorder = Recorder()

WRITE_AFTER_SECONDS = 10.0
WRITE_AFTER_ITEMS = 50
"""What may wait is written after so long, or when it has become so much."""


@dataclass(frozen=True, slots=True)
class ProgramLabels:
    """Where something about a program is noted, and between which platforms it lies; those of nobody are empty."""

    program: str = UNKNOWN_PROGRAM
    loyalty: str = ""
    engagement: str = ""


_UNATTRIBUTED = ProgramLabels()
_labels: dict[str, ProgramLabels] = {}


def register_program(program: Program) -> None:
    """Remember that a program exists, and its platforms."""
    if isinstance(program.stored, str):
        _labels[program.id] = ProgramLabels(program.id)
        return
    _labels[program.id] = ProgramLabels(program.id, program.stored.loyalty.platform, program.stored.engagement.platform)


def program_labels(program: str) -> ProgramLabels:
    """Tell what is known of a program.

    One that this container has never read is nobody: anybody can call for any name.
    """
    return _labels.get(program, _UNATTRIBUTED)


def record_error(program: str, endpoint: str, error: BridgeError) -> None:
    """Note an error of a program; what its loyalty platform refused under that one's own code."""
    about, code, why = program_labels(program), error.word, str(error)
    if isinstance(error, UpstreamRejected):
        code, why = error.code or code, error.reason
    recorder.problem(about.program, endpoint, about.loyalty, code, why, error.record)


def flush() -> None:
    """Write what was noted."""
    _write(recorder.take())


def is_due() -> bool:
    """Tell whether what waits has waited long enough."""
    return bool(recorder.since) and (
        time.monotonic() - recorder.since >= WRITE_AFTER_SECONDS or recorder.size() >= WRITE_AFTER_ITEMS
    )


def flush_in_background() -> None:
    """Write what is due while the call goes on, which does not wait for it.

    Begun with the call, it is done long before the loyalty platform has answered. Lambda has nothing that runs after
    an answer without an extension, and tells no function that its container ends: what it noted last is lost then.
    """
    if is_due():
        threading.Thread(target=_write, args=(recorder.take(),), daemon=True).start()


def _write(taken: Recorder) -> None:
    from loyalty_bridge.activity.store import write
    from loyalty_bridge.settings import ActivitySettings, load_settings

    write(load_settings(ActivitySettings), taken)
