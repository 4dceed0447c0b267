"""A simulated MoEngage: the Data API under MoEngage's documented rules, with faults on demand.

`simulate` runs it. It answers ``POST /v1/customer/ID``, ``/v1/event/ID``, ``/v1/transition/ID`` and
``/v1/integrations/authentication``. The routes below ``/_simulator/`` configure it and return what it has received, in
JSON:

=======================================  =======================================================================
``GET  /_simulator/``                    summary of every workspace by id, and requests to unknown workspaces
``PUT  /_simulator/workspaces/ID``       create or configure: ``key`` and the attributes of `Settings`
``GET  /_simulator/workspaces/ID``       settings, pending faults, summary
``POST …/ID/faults``                     queue one fault or a list: the attributes of `Fault`
``DELETE …/ID/faults``                   forget the faults
``POST …/ID/reset``                      forget faults and data
``GET  …/ID/users``                      all, or one: ``?customer_id=``, or by any attribute
``GET  …/ID/LIST``                       ``updates``, ``events`` (accepted, and when they came), ``refused``,
                                         ``silently_dropped``, ``ignored``, ``retyped``, ``requests``; ``?name=`` picks
                                         the events of one name
=======================================  =======================================================================
"""

from __future__ import annotations

import base64
import binascii
import hmac
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import unquote

from simulators import moengage_rules as rules
from simulators.moengage_rules import Failure, Settings
from simulators.moengage_workspace import Logged, Workspace
from simulators.server import Answer, Request, carry_out, json_answer, serving

CONTROL = "/_simulator/"
LISTS = ("updates", "events", "refused", "silently_dropped", "ignored", "retyped", "requests")
AUTHENTICATION = "Authentication required"

_STATES = {
    "blocked": (403, "BlockedClient", "Your account is blocked. Please contact MoEngage team."),
    "suspended": (403, "Account Suspended", "Your account is suspended. Please contact MoEngage team."),
    "temporarily_suspended": (403, "Account Temporarily Suspended", "Your account is temporarily suspended."),
    "blacklisted": (400, "Blacklisted", "Your account is blacklisted, Please contact MoEngage."),
    "ip_refused": (403, "IP Validation Required", "The address is not on the list."),
    "no_key": (409, AUTHENTICATION, "App Secret key is not set. Please login to the dashboard to set a key"),
}


class MoEngage:
    """Workspaces by id, and the address they are served at.

    Parameters
    ----------
    clock
        Gives the time in epoch seconds.
    settings
        What a workspace starts with.
    """

    def __init__(self, clock: Callable[[], float] = time.time, settings: Settings | None = None) -> None:
        self.url = ""
        self.without_workspace = 0
        self._clock = clock
        self._settings = settings or Settings()
        self._workspaces: dict[str, Workspace] = {}
        self._numbers = itertools.count(1)

    def workspace(self, id: str, **settings: Any) -> Workspace:  # noqa: A002 - that is what it is
        """Return the workspace of an id, created if need be, and change its ``key`` and some of its `Settings`."""
        workspace = self._workspaces.setdefault(id, Workspace(id, f"key-of-{id}", self._settings))
        workspace.configure(**settings)
        return workspace

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        if request.path.startswith(CONTROL):
            return self._control(request)
        now = self._clock()
        path, id_ = _addressed(request)
        if not path:
            return json_answer(404, {"message": "Not Found"})
        workspace = self._workspaces.get(id_)
        if workspace is None:
            self.without_workspace += 1
            return self._reply(partial(self._sign_in, request, id_), {})
        fault = workspace.faults.take()
        elements: list[int] = []
        answer = carry_out(partial(self._act, workspace, request, path, now, elements), fault)
        kind = fault.kind if fault else None
        workspace.requests.append(
            Logged(now, path, answer.status, sum(elements), len(request.body), request.connection, kind)
        )
        latency = workspace.settings.latency
        return replace(answer, delay=answer.delay + latency) if latency else answer

    def _act(self, workspace: Workspace, request: Request, path: str, now: float, elements: list[int]) -> Answer:
        """Carry out a request; leave the number of its elements in `elements`."""
        headers: dict[str, str] = {}

        def act() -> Mapping[str, Any]:
            self._sign_in(request, workspace.id)
            if workspace.settings.state != "open":
                raise Failure(*_STATES[workspace.settings.state])
            _check_form(request, rules.MAX_BULK if path == "transition" else rules.MAX_BODY)
            if path == "authentication":
                return _tested(workspace, rules.parse(request.body))
            passes, state = workspace.take_turn(now)
            headers.update(state)
            if not passes:
                raise Failure(429, "Rate Limits Exceeded", "Rate Limits for User / Event exceeded")
            elements.append(workspace.receive(path, rules.parse(request.body), now))
            return {"message": "Your request has been accepted and will be processed soon."}

        return self._reply(act, headers)

    def _reply(self, act: Callable[[], Mapping[str, Any]], headers: Mapping[str, str]) -> Answer:
        request_id = f"{next(self._numbers):08x}"
        try:
            return json_answer(200, {"status": "success", **act(), "request_id": request_id}, headers)
        except Failure as failure:
            if failure.kind == "IP Validation Required":  # which comes from something before the API
                return json_answer(failure.status, {"error": failure.kind, "message": str(failure)})
            error = {"message": str(failure), "type": failure.kind, "request_id": request_id}
            if failure.attribute is not None:
                error["attribute"] = failure.attribute
            return json_answer(failure.status, {"status": "fail", "error": error}, headers)

    def _sign_in(self, request: Request, id_: str) -> Mapping[str, Any]:
        """Check who calls, and that they call for their own workspace (api/data/data-overview, Response Codes)."""
        header = request.headers.get("authorization")
        if header is None:
            raise Failure(401, AUTHENTICATION, "Authentication Header Required")
        scheme, _, encoded = header.partition(" ")
        try:
            user, found, key = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, found, key = "", "", ""
        if scheme.lower() != "basic" or not found:
            raise Failure(401, AUTHENTICATION, "Invalid identity information found")
        named = self._workspaces.get(user)
        if named is None:
            raise Failure(401, AUTHENTICATION, "Invalid APP_ID used in Authentication Header")
        if not hmac.compare_digest(named.key.encode(), key.encode()):
            raise Failure(401, AUTHENTICATION, "App Secret key mismatch. Please login to the dashboard to verify key")
        if user != id_:
            raise Failure(409, "Authentication Mismatch", "App key mismatch in params and authentication")
        return {}

    def _control(self, request: Request) -> Answer:
        path = [unquote(part) for part in request.path.removeprefix(CONTROL).rstrip("/").split("/")]
        try:
            body = json.loads(request.body) if request.body else {}
            match path:
                case [""]:
                    workspaces = {id_: workspace.summary() for id_, workspace in list(self._workspaces.items())}
                    return json_answer(200, {"workspaces": workspaces, "without_workspace": self.without_workspace})
                case ["workspaces", id_] if request.method == "PUT":
                    return json_answer(200, asdict(self.workspace(id_, **body).settings))
                case ["workspaces", id_, *what] if id_ in self._workspaces:
                    return _control_workspace(self._workspaces[id_], request, what, body)
        except (TypeError, ValueError) as error:
            return json_answer(400, {"message": str(error)})
        return json_answer(404, {"message": "Not Found"})


def _addressed(request: Request) -> tuple[str, str]:
    """Return what is called, and for which workspace; blanks when it is nothing known."""
    match request.method, request.path.split("/"):
        case "POST", ["", "v1", ("customer" | "event" | "transition") as path, id_]:
            return path, unquote(id_)
        case "POST", ["", "v1", "integrations", "authentication"]:
            return "authentication", request.headers.get("moe-appkey", "")
    return "", ""


def _check_form(request: Request, limit: int) -> None:
    media = request.headers.get("content-type")
    if media is None:
        raise Failure(400, "Missing header value", "The Content-Type Header is required")
    if media.partition(";")[0].strip().lower() != "application/json":
        raise Failure(415, "MediaTypeError", "Unsupported Media Type")
    if len(request.body) > limit:
        raise Failure(413, "PayloadTooLarge", "Payload size exceeds 128 KB")


def _tested(workspace: Workspace, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a test of the connection (api/utilities/test-connection-api)."""
    for name in ("app_id", "app_secret", "source", "region"):
        if not isinstance(body.get(name), str):
            raise Failure(400, "MissingAttributeError", f"{name} is not found in the payload", name)
    if (body["app_id"], body["app_secret"]) != (workspace.id, workspace.key):
        raise Failure(401, AUTHENTICATION, "App Secret key mismatch. Please login to the dashboard to verify key")
    return {"app_name": workspace.id}


def _control_workspace(workspace: Workspace, request: Request, what: list[str], body: Any) -> Answer:
    """Do what the control request wants with one workspace."""
    match request.method, what:
        case "POST", ["faults"]:
            for fault in body if isinstance(body, list) else [body]:
                workspace.faults.add(**fault)
        case "DELETE", ["faults"]:
            workspace.faults.clear()
        case "POST", ["reset"]:
            workspace.reset()
        case "GET", ["users"] if request.query:
            user = workspace.user(**request.query)
            return json_answer(200, asdict(user)) if user else json_answer(404, {"message": "Not Found"})
        case "GET", ["users"]:
            return json_answer(200, [asdict(user) for user in list(workspace.users)])
        case "GET", [name] if name in LISTS:
            wanted = request.query.get("name")
            rows = [row._asdict() for row in list(getattr(workspace, name))]
            return json_answer(200, [row for row in rows if wanted in (None, row.get("name"))])
        case "GET", []:
            pass
        case _:
            return json_answer(404, {"message": "Not Found"})
    state = {"settings": asdict(workspace.settings), "faults": workspace.faults.pending()}
    return json_answer(200, state | workspace.summary())


@contextmanager
def simulate(
    *,
    port: int = 0,
    workspaces: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    **settings: Any,
) -> Iterator[MoEngage]:
    """Run a MoEngage until the block ends; `workspaces` are ids with their keys, `settings` what they start with."""
    moengage = MoEngage(clock, Settings(**settings))
    for id_, key in (workspaces or {}).items():
        moengage.workspace(id_, key=key)
    with serving(moengage.answer, port) as moengage.url:
        yield moengage
