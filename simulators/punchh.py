"""A simulated Punchh: signup with a true check of signatures, users by admin key, dynamic coupon codes.

`simulate` runs it; `simulators.punchh_sender` delivers webhooks. The routes below ``/_simulator/`` configure it
and return what it has received, in JSON:

====================================  ==========================================================================
``GET  /_simulator/``                 settings, pending faults, summary
``PUT  /_simulator/settings``         change some of the attributes of `Settings`
``PUT  /_simulator/campaigns/TOKEN``  create or change a campaign with dynamic coupon codes: attributes of `Campaign`
``POST /_simulator/faults``           queue one fault or a list: the attributes of `Fault`
``DELETE /_simulator/faults``         forget the faults
``POST /_simulator/reset``            forget faults, data and the block
``GET  /_simulator/LIST``             ``users``, ``coupons``, ``requests``
====================================  ==========================================================================
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

from simulators.punchh_business import Business, Campaign, Settings, User
from simulators.server import Answer, Faults, Request, carry_out, json_answer, serving

CONTROL = "/_simulator/"


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
            found = self._control_business(
                request.method, request.path.removeprefix(CONTROL).rstrip("/").split("/"), body
            )
        except (TypeError, ValueError) as error:
            return json_answer(400, {"message": str(error)})
        return json_answer(404, {"message": "Not Found"}) if found is None else json_answer(200, found)

    def _control_business(self, method: str, path: list[str], body: Any) -> Any:
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
def simulate(*, port: int = 0, clock: Callable[[], float] = time.time, **settings: Any) -> Iterator[Punchh]:
    """Run a Punchh until the block ends; `settings` are those of its business."""
    punchh = Punchh(clock, Settings(**settings))
    with serving(punchh.answer, port) as punchh.url:
        yield punchh
