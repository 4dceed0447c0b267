"""Run one event under Lambda's runtime interface emulator, against the local run, which it starts if none runs."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from local import rie, stack
from local.bundle import deployed, say


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="make invoke", usage="make invoke EVENT=events/<function>/<case>.json")
    parser.add_argument("event", type=Path, help="events/<function>/<case>.json")
    event: Path = parser.parse_args().event
    if not event.is_file():
        sys.exit(f"{event} does not exist; choose a file events/<function>/<case>.json")
    name = event.parent.name
    with nullcontext() if stack.is_running() else deployed():
        environment = function_environment(name)
        with rie.running(name, environment, log=stack.HOME / "invoke.log") as function:
            say(json.dumps(function.invoke(json.loads(event.read_text())), indent=2))
    say(f"log of the function: {(stack.HOME / 'invoke.log').relative_to(stack.ROOT)}")


def function_environment(name: str) -> dict[str, str]:
    """Read the variables of a function of the local run, with the credentials for the local AWS."""
    logical = "".join(part.capitalize() for part in name.split("_"))
    way = stack.credentials(json.loads(stack.ENDPOINTS.read_text())["aws"])
    variables: dict[str, dict[str, str]] = json.loads(stack.ENV_VARS.read_text())
    return variables[logical] | way


if __name__ == "__main__":
    main()
