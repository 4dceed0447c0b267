"""A sandbox Punchh: signup with a true check of signatures, users by admin key, dynamic coupon codes.

Run it with ``python -m simulators.punchh`` or use `sandbox` in a test; what delivers Punchh's webhooks is
`simulators.punchh_sender`. Below ``/_sandbox/`` it is told what to do and asked what it has seen, in JSON:

====================================  ==========================================================================
``GET  /_sandbox/``                   settings, pending faults, summary
``PUT  /_sandbox/settings``           change some of the attributes of `Settings`
``PUT  /_sandbox/campaigns/TOKEN``    create or change a campaign with dynamic coupon codes: attributes of `Campaign`
``POST /_sandbox/faults``             queue one fault or a list: the attributes of `Fault`
``DELETE /_sandbox/faults``           forget the faults
``POST /_sandbox/reset``              forget faults, data and the block
``GET  /_sandbox/LIST``               ``users``, ``coupons``, ``requests``
====================================  ==========================================================================
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from simulators.punchh_business import Business, Campaign, Settings, User
from simulators.server import Answer, Faults, Request, carry_out, json_answer, run, serving

CONTROL = "/_sandbox/"


class Logged(NamedTuple):
    """A request, as it was answered."""

    received_at: float
    method: str
    target: str
    status: int
    headers: Mapping[str, str]
    body: str
    fault: str | None


class Punchh:
    """One business, and the address it is served at.

    Parameters
    ----------
    clock
        Gives the time in epoch seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time, settings: Settings | None = None) -> None:
        self.url = ""
        self.business = Business(settings or Settings())
        self.faults = Faults()
        self.requests: list[Logged] = []
        self._clock = clock

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        if request.path.startswith(CONTROL):
            return self._control(request)
        now = self._clock()
        fault = self.faults.take()
        answer = carry_out(partial(self.business.act, request, now), fault)
        body = request.body.decode(errors="replace")
        kind = fault.kind if fault else None
        self.requests.append(Logged(now, request.method, request.target, answer.status, request.headers, body, kind))
        return replace(answer, delay=answer.delay + self.business.settings.latency)

    def _control(self, request: Request) -> Answer:
        try:
            body = json.loads(request.body) if request.body else {}
            found = self._told(request.method, request.path.removeprefix(CONTROL).rstrip("/").split("/"), body)
        except (TypeError, ValueError) as error:
            return json_answer(400, {"message": str(error)})
        return json_answer(404, {"message": "Not Found"}) if found is None else json_answer(200, found)

    def _told(self, method: str, path: list[str], body: Any) -> Any:
        """Do what a control request wants and give the answer; None when there is no such thing."""
        business = self.business
        lists: dict[str, list[Any]] = {"users": business.users, "coupons": business.coupons, "requests": self.requests}
        match method, path:
            case "PUT", ["settings"]:
                business.configure(**body)
            case "PUT", ["campaigns", token]:
                business.campaigns[token] = Campaign(**body)
            case "POST", ["faults"]:
                for fault in body if isinstance(body, list) else [body]:
                    self.faults.add(**fault)
            case "DELETE", ["faults"]:
                self.faults.clear()
            case "POST", ["reset"]:
                business.reset()
                self.faults.clear()
                self.requests.clear()
            case "GET", [name] if name in lists:
                return [asdict(row) if isinstance(row, User) else row._asdict() for row in list(lists[name])]
            case "GET", [""]:
                pass
            case _:
                return None
        return self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.business.settings),
            "faults": self.faults.pending(),
            "users": len(self.business.users),
            "coupons": len(self.business.coupons),
            "requests": Counter(request.status for request in self.requests),
            "blocked_until": self.business.blocked_until,
        }


@contextmanager
def sandbox(*, port: int = 0, clock: Callable[[], float] = time.time, **settings: Any) -> Iterator[Punchh]:
    """Run a Punchh until the block ends; `settings` are those of its business."""
    punchh = Punchh(clock, Settings(**settings))
    with serving(punchh.answer, port) as punchh.url:
        yield punchh


def main() -> None:
    """Run as a process."""
    parser = argparse.ArgumentParser(prog="python -m simulators.punchh", description="A sandbox Punchh on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--state-file", type=Path, help="where to write the URL and the process id as JSON")
    parser.add_argument("--client", default="client", help="the business's client key")
    parser.add_argument("--secret", default="secret", help="the client's secret, which signs requests")
    parser.add_argument("--admin-key", default="admin-key", help="the business admin's key")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each answer takes")
    told = vars(parser.parse_args())
    state_file = told.pop("state_file")
    run(sandbox(**told), state_file)


if __name__ == "__main__":
    main()
