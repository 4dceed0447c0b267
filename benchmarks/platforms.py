"""The simulator of an engagement platform for the benchmark, in a process of its own: it counts and checks nothing.

With a certificate it serves TLS, as the platform does:
``python -m benchmarks.platforms braze|moengage [CERTIFICATE]``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulators import braze, braze_workspace, moengage, moengage_rules
from simulators.braze import Braze
from simulators.moengage import MoEngage
from simulators.server import run
from tests.support import tls


def unchecked(platform: str) -> Braze | MoEngage:
    """Make a platform that believes everything."""
    if platform == "moengage":
        return MoEngage(settings=moengage_rules.Settings(validate=False))
    return Braze(settings=braze_workspace.Settings(validate=False))


@contextmanager
def over_tls(platform: str, certificate: Path) -> Iterator[Braze | MoEngage]:
    """Run it until the block ends."""
    made = unchecked(platform)
    with tls.serving(made.answer, certificate) as made.url:
        yield made


if __name__ == "__main__":
    _, platform, *certificate = sys.argv
    plain = moengage.simulate if platform == "moengage" else braze.simulate
    run(over_tls(platform, Path(certificate[0])) if certificate else plain(validate=False))
