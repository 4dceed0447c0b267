"""The local run: ``demo`` shows every direction, ``stay`` keeps everything running."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from local import stack
from local.bundle import deployed, say
from local.campaigns import campaigns
from local.demo import stream_day
from local.statistics import statistics
from local.webhooks import webhooks


def demo(members: int, events: int) -> int:
    """Show every direction; 0 when all went as it should."""
    with deployed() as bundle:
        streamed = stream_day(bundle, members, events)
        acted = campaigns(bundle)
        delivered = webhooks(bundle)
        good = all((streamed, acted, delivered, statistics(bundle)))
        say("\neverything arrived, once" if good else "\nnot everything went as it should")
        return 0 if good else 1


def stay() -> int:
    """Keep the bundle running until it is interrupted."""
    with deployed() as bundle:
        say(stack.ENDPOINTS.read_text())
        say(f"API keys: {bundle.keys}")
        say(f"the addresses are in {stack.ENDPOINTS.relative_to(stack.ROOT)}; Ctrl-C stops everything")
        done = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: done.set())
        done.wait()
    return 0


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m local.run", description=__doc__)
    parser.add_argument("what", choices=("demo", "stay"))
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--events", type=int, default=1200, help="events of each program, beside those of joining")
    told = parser.parse_args()
    try:
        code = demo(told.members, told.events) if told.what == "demo" else stay()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
