"""Spoils single calls of AWS and of simulated platforms, counted in the order in which a run makes them.

A call of AWS is one operation of a botocore client. A call of a platform is one request that its simulator gets; it is
spoilt there, behind a real socket. After a crash every further call crashes too, as in a process that has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import botocore.client
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from simulators.server import Answer, Application, Request, json_answer

Spoil: TypeAlias = Callable[[Callable[[], Any]], Any]

KINDS = (
    "crash before",
    "crash after",
    "error before",
    "error after",
    "throttled",
    "partial",
    "unavailable",
    "unreadable answer",
    "service down",
)
"""What may happen to a call. A kind that a call does not have, such as a partial answer of KMS, changes nothing."""


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Faults:
    """Spoils the calls of one run.

    Attributes
    ----------
    plan
        Kind of fault by the number of the call, from 0.
    calls
        Name of each call so far.
    struck
        Names of the calls that were spoilt.
    """

    plan: Mapping[int, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    is_on: bool = False
    is_dead: bool = False
    down: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def striking(self, plan: Mapping[int, str]) -> Iterator[None]:
        """Count and spoil calls until the block ends; a crash ends the block."""
        self.plan, self.calls, self.struck = plan, [], []
        self.is_on, self.is_dead, self.down = True, False, set()
        try:
            yield
        except Crash:
            pass
        finally:
            self.is_on = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Neither count nor spoil the calls of the test itself."""
        was, self.is_on = self.is_on, False
        yield
        self.is_on = was

    def next(self, service: str, call: str) -> str:
        """Count a call; gives the fault that it gets, or nothing."""
        with self._lock:
            if not self.is_on:
                return ""
            if self.is_dead:
                raise Crash
            kind = self.plan.get(len(self.calls), "")
            self.calls.append(f"{service} {call}")
            if kind:
                self.struck.append(f"{service} {call}")
            if kind == "service down":
                self.down.add(service)
            return "error before" if service in self.down else kind

    def die(self) -> Crash:
        """End the process: give what to raise."""
        self.is_dead = True
        return Crash()


def spoil_aws(faults: Faults, patch: pytest.MonkeyPatch) -> None:
    """Let each call of AWS pass by the faults."""
    client: Any = botocore.client.BaseClient
    real = client._make_api_call

    def call(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name

        def act(changed: Mapping[str, Any] | None = None) -> Any:
            return real(self, operation, {**parameters, **(changed or {})})

        kind = faults.next(service, operation)
        match kind:
            case "crash before":
                raise faults.die()
            case "crash after":
                act()
                raise faults.die()
            case "error before":
                raise EndpointConnectionError(endpoint_url="https://aws")
            case "error after":
                act()
                raise ReadTimeoutError(endpoint_url="https://aws")
            case "throttled":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, operation)
            case "unavailable":
                raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, operation)
            case "partial":
                return _partial(operation, parameters, act)
        return act()

    patch.setattr(client, "_make_api_call", call)


def _partial(operation: str, asked: Mapping[str, Any], act: Callable[..., Any]) -> Any:
    """Carry out the first half of a batch, and leave the rest undone as AWS does."""
    if operation in {"BatchGetItem", "BatchWriteItem"}:
        first: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for table, request in asked["RequestItems"].items():
            items = request["Keys"] if isinstance(request, dict) else request
            half = (len(items) + 1) // 2 if len(asked["RequestItems"]) == 1 else len(items) if not first else 0
            for part, some in ((first, items[:half]), (rest, items[half:])):
                if some:
                    part[table] = request | {"Keys": some} if isinstance(request, dict) else some
        return act({"RequestItems": first}) | {
            "UnprocessedKeys" if operation == "BatchGetItem" else "UnprocessedItems": rest
        }
    if operation == "SendMessageBatch":
        half = len(asked["Entries"]) // 2
        failed = [{"Id": one["Id"], "Code": "InternalError", "SenderFault": False} for one in asked["Entries"][half:]]
        done = act({"Entries": asked["Entries"][:half]}) if half else {"Successful": []}
        return done | {"Failed": failed}
    return act()


def spoilt(faults: Faults, name: str, application: Application) -> Application:
    """Make a simulated platform whose requests pass by the faults."""

    def answer(request: Request) -> Answer:
        try:
            kind = faults.next(name, f"{request.method} {request.path}")
        except Crash:
            return Answer(0, delivery="reset")
        match kind:
            case "crash before" | "error before":
                faults.is_dead |= kind == "crash before"
                return Answer(0, delivery="reset")
            case "crash after" | "error after":
                application(request)
                faults.is_dead |= kind == "crash after"
                return Answer(0, delivery="reset")
            case "throttled":
                return json_answer(429, {"message": "slow down"}, {"retry-after": "0"})
            case "unavailable":
                return json_answer(503, {"message": "unavailable"})
            case "unreadable answer":
                return Answer(application(request).status, b"<html>a proxy</html>", {"content-type": "text/html"})
            case "partial":
                application(request)
                return Answer(504, b"<html>gateway timeout</html>", {"content-type": "text/html"})
        return application(request)

    return answer
