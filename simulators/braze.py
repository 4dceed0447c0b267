"""A simulated Braze: ``POST /users/track`` under Braze's documented rules, with faults on demand.

`simulate` runs it. The routes below ``/_simulator/`` configure it and return what it has received, in JSON:

=======================================  =======================================================================
``GET  /_simulator/``                    summary of every workspace by key, and requests that had no valid key
``PUT  /_simulator/workspaces/KEY``      create or configure: the attributes of `Settings`
``GET  /_simulator/workspaces/KEY``      settings, pending faults, summary
``POST …/KEY/faults``                    queue one fault or a list: the attributes of `Fault`, or ``accepted_202``
``DELETE …/KEY/faults``                  forget the faults
``POST …/KEY/reset``                     forget faults and data
``GET  …/KEY/profiles``                  all, or one: ``?external_id=``, ``?email=``, ``?alias_label=&alias_name=``…
``GET  …/KEY/LIST``                      ``attributes``, ``events``, ``purchases`` (accepted objects, when they came),
                                         ``refused``, ``silently_dropped``, ``ignored``, ``requests``; ``?name=`` picks
                                         the events of one name
=======================================  =======================================================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import unquote

from simulators import braze_rules as rules
from simulators.braze_workspace import Logged, Settings, Workspace
from simulators.server import Answer, Request, carry_out, json_answer, serving

CONTROL = "/_simulator/"
LISTS = ("attributes", "events", "purchases", "refused", "silently_dropped", "ignored", "requests")


class Braze:
    """Workspaces by REST API key, and the address they are served at.

    Parameters
    ----------
    clock
        Gives the time in epoch seconds.
    settings
        What a workspace starts with.
    """

    def __init__(self, clock: Callable[[], float] = time.time, settings: Settings | None = None) -> None:
        self.url = ""
        self.without_key = 0
        self._clock = clock
        self._settings = settings or Settings()
        self._workspaces: dict[str, Workspace] = {}

    def workspace(self, key: str, **settings: Any) -> Workspace:
        """Return the workspace of a key, created if need be, and change some of its `Settings`."""
        workspace = self._workspaces.setdefault(key, Workspace(key, self._settings))
        workspace.configure(**settings)
        return workspace

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        if request.path.startswith(CONTROL):
            return self._control(request)
        now = self._clock()
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        workspace = self._workspaces.get(key) if scheme == "Bearer" else None
        if workspace is None:
            self.without_key += 1
            # Braze does repeat the key; logging this body would log a secret.
            return json_answer(401, {"message": f"Invalid API key: {key}"})
        fault = workspace.faults.take()
        objects: list[int] = []
        answer = carry_out(partial(_users_track, workspace, request, now, objects), fault)
        workspace.requests.append(
            Logged(
                now, answer.status, sum(objects), len(request.body), request.connection, fault.kind if fault else None
            )
        )
        latency = workspace.settings.latency
        return replace(answer, delay=answer.delay + latency) if latency else answer

    def _control(self, request: Request) -> Answer:
        path = [unquote(part) for part in request.path.removeprefix(CONTROL).rstrip("/").split("/")]
        try:
            body = json.loads(request.body) if request.body else {}
            match path:
                case [""]:
                    workspaces = {key: workspace.summary() for key, workspace in list(self._workspaces.items())}
                    return json_answer(200, {"workspaces": workspaces, "without_key": self.without_key})
                case ["workspaces", key] if request.method == "PUT":
                    return json_answer(200, asdict(self.workspace(key, **body).settings))
                case ["workspaces", key, *what] if key in self._workspaces:
                    return _control_workspace(self._workspaces[key], request, what, body)
        except (TypeError, ValueError) as error:
            return json_answer(400, {"message": str(error)})
        return json_answer(404, {"message": "Not Found"})


def _refusal(request: Request) -> tuple[int, str] | None:
    """Describe what is wrong with a request before its body is read (https://www.braze.com/docs/api/errors)."""
    if request.path == "/users/track/":
        return 403, "Access Denied"
    if (request.method, request.path) != ("POST", "/users/track"):
        return 404, "Not Found"
    if len(request.body) > rules.MAX_BODY:
        return 413, "Request Entity Too Large"
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "Unsupported Media Type"
    return None


def _users_track(workspace: Workspace, request: Request, now: float, objects: list[int]) -> Answer:
    """Carry out a request; leave the numbers of its objects in `objects`."""
    if refusal := _refusal(request):
        return json_answer(refusal[0], {"message": refusal[1]})
    passes, headers = workspace.take_turn(now)
    if not passes:
        return json_answer(429, {"message": "Rate Limited"}, headers)
    try:
        arrays = rules.parse(request.body)
        objects += map(len, arrays.values())
        if not workspace.settings.validate:
            return json_answer(*workspace.count(arrays), headers)
        rules.check_request(arrays, len(request.body), workspace.settings.object_limit)
        return json_answer(*workspace.track(arrays, now), headers)
    except rules.BadRequest as error:
        return json_answer(400, {"message": str(error)}, headers)


def _control_workspace(workspace: Workspace, request: Request, what: list[str], body: Any) -> Answer:
    """Do what the control request wants with one workspace."""
    match request.method, what:
        case "POST", ["faults"]:
            for fault in body if isinstance(body, list) else [body]:
                workspace.misbehave(**fault)
        case "DELETE", ["faults"]:
            workspace.faults.clear()
        case "POST", ["reset"]:
            workspace.reset()
        case "GET", ["profiles"]:
            return _profiles(workspace, dict(request.query))
        case "GET", [name] if name in LISTS:
            wanted = request.query.get("name")
            rows = [row._asdict() for row in list(getattr(workspace, name))]
            return json_answer(200, [row for row in rows if wanted in (None, row.get("object", {}).get("name"))])
        case "GET", []:
            pass
        case _:
            return json_answer(404, {"message": "Not Found"})
    state = {"settings": asdict(workspace.settings), "faults": workspace.faults.pending()}
    return json_answer(200, state | workspace.summary())


def _profiles(workspace: Workspace, query: dict[str, Any]) -> Answer:
    if not query:
        return json_answer(200, [asdict(profile) for profile in list(workspace.profiles.values())])
    if query.keys() == {"alias_label", "alias_name"}:
        query = {"user_alias": query}
    profile = workspace.profile(**query)
    return json_answer(200, asdict(profile)) if profile else json_answer(404, {"message": "Not Found"})


@contextmanager
def simulate(
    *, port: int = 0, keys: Iterable[str] = (), clock: Callable[[], float] = time.time, **settings: Any
) -> Iterator[Braze]:
    """Run a Braze until the block ends; `settings` are what its workspaces start with."""
    braze = Braze(clock, Settings(**settings))
    for key in keys:
        braze.workspace(key)
    with serving(braze.answer, port) as braze.url:
        yield braze
