"""The sandbox Braze for the benchmark, in a process of its own: it counts objects and checks nothing.

Over TLS, as Braze is reached, when it is told a certificate: ``python -m tests.benchmarks.braze [CERTIFICATE]``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.sandbox.braze import Braze, sandbox
from local.sandbox.braze_workspace import Settings
from local.sandbox.server import run
from tests import tls


@contextmanager
def over_tls(certificate: Path) -> Iterator[Braze]:
    """Run it until the block ends."""
    braze = Braze(settings=Settings(validate=False))
    with tls.serving(braze.answer, certificate) as braze.url:
        yield braze


if __name__ == "__main__":
    run(over_tls(Path(sys.argv[1])) if sys.argv[1:] else sandbox(validate=False), None)
