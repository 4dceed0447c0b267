"""A simulated Convercus: login, accounts, coupons, bookings and opt-ins, with faults on demand.

`simulate` runs it. A program is the realm of ``POST /realms/ID/protocol/openid-connect/token`` and the ``org`` of
``POST /auth/login``. The routes below ``/_simulator/`` configure it and return what it has received, in JSON:

=======================================  =======================================================================
``GET  /_simulator/``                    summary of every program by id, and requests that had no valid token
``PUT  /_simulator/programs/ID``         create or configure: the attributes of `Settings`
``GET  /_simulator/programs/ID``         settings, pending faults, summary
``PUT  …/ID/accounts/ACCOUNT``           create an account or change fields of it; ``points`` is its balance
``GET  …/ID/accounts/ACCOUNT``           the account
``PUT  …/ID/coupons/COUPON``             create the definition of a coupon or change fields of it
``POST …/ID/faults``                     queue one fault or a list: the attributes of `Fault`, the kinds ``late`` and
                                         ``expired_token``; ``on`` picks a call, ``api`` (any) or ``token``
``DELETE …/ID/faults``                   forget the faults
``POST …/ID/release``                    carry out what ``late`` has postponed
``POST …/ID/reset``                      forget faults and data
``GET  …/ID/LIST``                       ``effects`` (what was done), ``events``, ``requests``; ``?account=`` picks
                                         those of one account
=======================================  =======================================================================
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote

from simulators.convercus_program import Event, Logged, Program, Refusal, Settings
from simulators.server import Answer, Fault, Request, carry_out, json_answer, serving

CONTROL = "/_simulator/"
DAY = 86400.0

# Name, method, path, and what is done; "account" groups mean an account by the id-type header.
_CALLS: tuple[tuple[str, str, re.Pattern[str], Callable[..., tuple[int, Any]]], ...] = tuple(
    (name, method, re.compile(path.replace("ACCOUNT", "(?P<account>[^/]+)")), act)
    for name, method, path, act in (
        ("assign_coupon", "POST", "(?:/v2)?/accounts/ACCOUNT/accountcoupons", Program.assign_coupon),
        ("account_coupons", "GET", "(?:/v2)?/accounts/ACCOUNT/accountcoupons", Program.list_account_coupons),
        ("coupon_code", "GET", "/v2/accountcoupons/(?P<account_coupon>[^/]+)/code", Program.coupon_code),
        ("create_booking", "POST", "/accounts/ACCOUNT/bookings", Program.create_booking),
        ("bookings", "GET", "/accounts/ACCOUNT/bookings", Program.list_bookings),
        ("memberships", "GET", "/accounts/ACCOUNT/memberships", Program.list_memberships),
        ("set_optins", "PATCH", "/accounts/ACCOUNT/memberships/(?P<user>[^/]+)/optins", Program.set_optins),
        ("account_details", "GET", "(?:/v3)?/accountdetails/ACCOUNT", Program.account_details),
        ("account", "GET", "/accounts/ACCOUNT", Program.account_head),
        ("balance", "GET", "/accounts/ACCOUNT/balance", Program.balance),
    )
)
_REALM = re.compile("/realms/([^/]+)/protocol/openid-connect/token")


class Convercus:
    """Programs by id, and the address they are served at.

    Parameters
    ----------
    clock
        Gives the time in epoch seconds.
    settings
        What a program starts with.
    on_event
        Receives each event of an action, as Convercus would put it on the program's feed.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        settings: Settings | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.url = ""
        self.without_token = 0
        self._clock = clock
        self._settings = settings or Settings()
        self._on_event = on_event
        self._programs: dict[str, Program] = {}

    def program(self, id_: str, **settings: Any) -> Program:
        """Return a program, created if need be, and change some of its `Settings`."""
        program = self._programs.setdefault(id_, Program(id_, self._settings, self._clock, self._on_event))
        program.configure(**settings)
        return program

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        if request.path.startswith(CONTROL):
            return self._control(request)
        if realm := _REALM.fullmatch(request.path):
            return self._log_in(unquote(realm[1]), request, _granted)
        if request.path == "/auth/login":
            return self._log_in(_org(request), request, _logged_in)
        authorization = request.headers.get("authorization", "")
        program = next((it for it in list(self._programs.values()) if it.accepts(authorization)), None)
        if program is None:
            self.without_token += 1
            # Logging this body would log a secret.
            return _refused(401, "UNAUTHORIZED", f"Not valid: {authorization}")
        return self._call(program, request)

    def _log_in(self, id_: str, request: Request, grant: Callable[[Program, Request], Answer]) -> Answer:
        program = self._programs.get(id_)
        if program is None:
            return json_answer(404, {"error": "Realm does not exist"})
        fault = program.faults["token"].take()
        answer = carry_out(partial(grant, program, request), fault)
        self._log(program, "token", request, answer, fault)
        return answer

    def _call(self, program: Program, request: Request) -> Answer:
        found = next(
            (
                (name, match.groupdict(), act)
                for name, method, path, act in _CALLS
                if method == request.method and (match := path.fullmatch(request.path))
            ),
            None,
        )
        if found is None:
            return _refused(404, "NOT_FOUND", "No such resource")
        name, ids, act = found
        perform = partial(_performed, program, request, ids, act)
        for on in (name, "api"):
            if fault := program.late_faults[on].take():
                program.late.append(perform)
                perform = partial(Answer, 202)
                break
            if fault := program.faults[on].take():
                break
        answer = carry_out(perform, fault)
        self._log(program, name, request, answer, fault)
        latency = program.settings.latency
        return replace(answer, delay=answer.delay + latency) if latency else answer

    def _log(self, program: Program, call: str, request: Request, answer: Answer, fault: Fault | None) -> None:
        headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        program.requests.append(
            Logged(
                self._clock(),
                call,
                request.method,
                request.path,
                headers,
                answer.status,
                request.connection,
                fault.kind if fault else None,
            )
        )

    def _control(self, request: Request) -> Answer:
        path = [unquote(part) for part in request.path.removeprefix(CONTROL).rstrip("/").split("/")]
        try:
            body = json.loads(request.body) if request.body else {}
            match path:
                case [""]:
                    programs = {id_: program.summary() for id_, program in list(self._programs.items())}
                    return json_answer(200, {"programs": programs, "without_token": self.without_token})
                case ["programs", id_] if request.method == "PUT":
                    return json_answer(200, asdict(self.program(id_, **body).settings))
                case ["programs", id_, *what] if id_ in self._programs:
                    return _control_program(self._programs[id_], request, what, body)
        except (TypeError, ValueError) as error:
            return json_answer(400, {"message": str(error)})
        return json_answer(404, {"message": "Not Found"})


def _refused(status: int, code: str, message: str) -> Answer:
    return json_answer(status, {"code": code, "message": message})


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _org(request: Request) -> str:
    try:
        body = json.loads(request.body)
    except ValueError:
        return ""
    return str(body.get("org")) if isinstance(body, dict) else ""


def _granted(program: Program, request: Request) -> Answer:
    """Return a token as Keycloak does (https://doc.convercus.io/docs/api-authentication)."""
    form = {name: values[0] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
    if request.method != "POST" or _kind(request) != "application/x-www-form-urlencoded":
        return json_answer(400, {"error": "invalid_request", "error_description": "Missing form parameter: grant_type"})
    if form.get("grant_type") != "client_credentials":
        return json_answer(400, {"error": "unsupported_grant_type", "error_description": "Unsupported grant_type"})
    settings = program.settings
    if (form.get("client_id"), form.get("client_secret")) != (settings.client_id, settings.client_secret):
        problem = "Invalid client or Invalid client credentials"
        return json_answer(401, {"error": "unauthorized_client", "error_description": problem})
    if form.get("scope") != "openid":
        return json_answer(400, {"error": "invalid_scope", "error_description": "Invalid scopes"})
    token = program.grant(settings.expires_in, "Bearer ")
    rest = {"token_type": "Bearer", "scope": "openid", "refresh_expires_in": 0, "not-before-policy": 0}
    return json_answer(200, {"access_token": token, "expires_in": settings.expires_in} | rest)


def _logged_in(program: Program, request: Request) -> Answer:
    """Return a token as plain text (https://convercus.com/coupon-api-documentation)."""
    given = json.loads(request.body)
    wanted = {"org": program.id, "userName": program.settings.user_name, "password": program.settings.password}
    if request.method != "POST" or _kind(request) != "application/json" or wanted.items() - given.items():
        return _refused(401, "UNAUTHORIZED", "Bad credentials")
    return Answer(200, program.grant(DAY, "").encode(), {"content-type": "text/plain"})


def _checked(program: Program, request: Request) -> dict[str, Any]:
    """Check the headers of a call; give its ``body`` when it has one."""
    interaction, known = request.headers.get("interaction-id"), program.settings.interaction_ids
    if not interaction:
        raise Refusal(400, "INTERACTION_ID_MISSING", "The header interaction-id is missing")
    if known and interaction not in known:
        raise Refusal(403, "INTERACTION_UNKNOWN", "The point of interaction is not registered")
    if request.method == "GET":
        return {}
    if _kind(request) != "application/json":
        raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send application/json")
    try:
        return {"body": json.loads(request.body)}
    except ValueError:
        raise Refusal(400, "INVALID_BODY", "not JSON") from None


def _performed(
    program: Program, request: Request, ids: Mapping[str, str], act: Callable[..., tuple[int, Any]]
) -> Answer:
    """Carry out a call, one at a time as a database would."""
    arguments: dict[str, Any] = {name: unquote(value) for name, value in ids.items()}
    try:
        arguments |= _checked(program, request)
        with program.lock:
            if "account" in arguments:
                arguments["account"] = program.find(arguments["account"], request.headers.get("id-type", "ID"))
            status, body = act(program, **arguments)
            answer = json_answer(status, body)
    except Refusal as refusal:
        return json_answer(refusal.status, refusal.body)
    if status == 201 and "bookingId" in body:
        location = f"/accounts/{arguments['account']}/bookings/{body['bookingId']}"
        return replace(answer, headers={**answer.headers, "location": location})
    return answer


def _control_program(program: Program, request: Request, what: list[str], body: Any) -> Answer:
    """Do what the control request wants with one program."""
    match request.method, what:
        case "PUT", ["accounts" | "coupons" as kind, id_]:
            create = program.account if kind == "accounts" else program.coupon
            return json_answer(200, create(id_, **body))
        case "GET", ["accounts", id_] if id_ in program.accounts:
            return json_answer(200, program.accounts[id_])
        case "GET", ["effects" | "events" | "requests" as name]:
            rows = [row if isinstance(row, dict) else row._asdict() for row in list(getattr(program, name))]
            wanted = request.query.get("account")
            return json_answer(200, [it for it in rows if wanted in (None, it.get("account"), it.get("accountId"))])
        case "GET", []:
            return json_answer(200, _state(program))
        case "POST" | "DELETE" as method, [name] if (method, name) in _COMMANDS:
            _COMMANDS[method, name](program, body)
            return json_answer(200, _state(program))
    return json_answer(404, {"message": "Not Found"})


def _misbehave(program: Program, faults: Any) -> None:
    for fault in faults if isinstance(faults, list) else [faults]:
        program.misbehave(**fault)


_COMMANDS: Mapping[tuple[str, str], Callable[[Program, Any], object]] = {
    ("POST", "faults"): _misbehave,
    ("DELETE", "faults"): lambda program, _: program.forget_faults(),
    ("POST", "release"): lambda program, _: program.release(),
    ("POST", "reset"): lambda program, _: program.reset(),
}


def _state(program: Program) -> dict[str, Any]:
    queues = {"late": program.late_faults, "faults": program.faults}
    pending = {kind: {on: it.pending() for on, it in queue.items()} for kind, queue in queues.items()}
    return {"settings": asdict(program.settings), "pending": pending} | program.summary()


@contextmanager
def simulate(
    *,
    port: int = 0,
    programs: Iterable[str] = (),
    clock: Callable[[], float] = time.time,
    on_event: Callable[[Event], None] | None = None,
    **settings: Any,
) -> Iterator[Convercus]:
    """Run a Convercus until the block ends; `settings` are what its programs start with."""
    convercus = Convercus(clock, Settings(**settings), on_event)
    for id_ in programs:
        convercus.program(id_)
    with serving(convercus.answer, port) as convercus.url:
        yield convercus
