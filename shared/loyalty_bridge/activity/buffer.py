"""The container's recorder: it collects activity over several calls and writes it from time to time."""

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
"""Limits of time and items after which the recorded activity is written."""


@dataclass(frozen=True, slots=True)
class ProgramLabels:
    """The program and platforms under which activity is recorded; without platforms if the program is unknown."""

    program: str = UNKNOWN_PROGRAM
    loyalty: str = ""
    engagement: str = ""


_UNATTRIBUTED = ProgramLabels()
_labels: dict[str, ProgramLabels] = {}


def register_program(program: Program) -> None:
    """Store a program's labels, once it has been read."""
    if isinstance(program.stored, str):
        _labels[program.id] = ProgramLabels(program.id)
        return
    _labels[program.id] = ProgramLabels(program.id, program.stored.loyalty.platform, program.stored.engagement.platform)


def program_labels(program: str) -> ProgramLabels:
    """Return a program's labels; those of `UNKNOWN_PROGRAM` if this container has never read it.

    Callers may send any program id.
    """
    return _labels.get(program, _UNATTRIBUTED)


def record_error(program: str, endpoint: str, error: BridgeError) -> None:
    """Record an error of a program; a rejection under the loyalty platform's own code."""
    labels, code, reason = program_labels(program), error.word, str(error)
    if isinstance(error, UpstreamRejected):
        code, reason = error.code or code, error.reason
    recorder.problem(labels.program, endpoint, labels.loyalty, code, reason, error.record)


def flush() -> None:
    """Write the recorded activity."""
    _write(recorder.take())


def is_due() -> bool:
    """Return whether the recorded activity has to be written."""
    return bool(recorder.since) and (
        time.monotonic() - recorder.since >= WRITE_AFTER_SECONDS or recorder.size() >= WRITE_AFTER_ITEMS
    )


def flush_in_background() -> None:
    """Write the recorded activity, if due, in a thread beside the call.

    It is done long before the loyalty platform has answered. Lambda runs nothing after an answer without an extension,
    and does not announce the end of a container: the last activity is lost then.
    """
    if is_due():
        threading.Thread(target=_write, args=(recorder.take(),), daemon=True).start()


def _write(taken: Recorder) -> None:
    from loyalty_bridge.activity.store import write
    from loyalty_bridge.settings import ActivitySettings, load_settings

    write(load_settings(ActivitySettings), taken)
