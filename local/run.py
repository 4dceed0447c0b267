"""The local run: ``demo`` runs every flow once and shows the results, ``stay`` keeps everything running."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from contextlib import suppress

from local import relay, stack
from local.bundle import Deployed, deployed, say
from local.campaigns import campaigns
from local.demo import stream_day
from local.statistics import statistics
from local.webhooks import webhooks


def demo(members: int, events: int) -> int:
    """Run every flow and return the exit code: 0 when all results are as expected."""
    with deployed() as bundle:
        streamed = stream_day(bundle, members, events)
        acted = campaigns(bundle)
        delivered = webhooks(bundle)
        good = all((streamed, acted, delivered, statistics(bundle)))
        say(
            "\nOK: every event arrived exactly once, every action was done exactly once"
            if good
            else "\nFAILED: some results are not as expected; see the lines above"
        )
        return 0 if good else 1


def stay(containers: str) -> int:
    """Keep the bundle running until it is interrupted."""
    with deployed(containers) as bundle:
        _show(bundle)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        say("stopping …")
    return 0


def _show(bundle: Deployed) -> None:
    urls = json.loads(stack.ENDPOINTS.read_text())
    say("\nsimulators (docs/local.md lists the routes below /_simulator/, which show and configure them):")
    for name in ("braze", "moengage", "convercus", "punchh", "brevo"):
        say(f"  {name:24}{urls[name]}")
    say(f"\nprograms at {bundle.api}/v1/programs/…, with their API keys")
    for program, key in bundle.keys.items():
        say(f"  {program:24}{key}")
    say(f"\nall addresses: {stack.ENDPOINTS.relative_to(stack.ROOT)}; to connect your own program: docs/local.md")
    say("Ctrl-C stops everything")


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m local.run", description=__doc__)
    parser.add_argument("what", choices=("demo", "stay"))
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument(
        "--events", type=int, default=1200, help="events of each program, in addition to those of joining"
    )
    parser.add_argument(
        "--containers", default="", help="address at which containers of `sam local invoke` reach this machine"
    )
    arguments = parser.parse_args()
    _check(arguments.containers)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell makes background processes ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        code = demo(arguments.members, arguments.events) if arguments.what == "demo" else stay(arguments.containers)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _check(containers: str) -> None:
    """Check first that the address exists, since the rest takes a minute."""
    if stack.is_address(containers):
        try:
            relay.listening(containers, [0])[0].close()
        except OSError:
            sys.exit(f"{containers} is not an address of this machine: use Docker's, from `ip -4 address show docker0`")


if __name__ == "__main__":
    main()
