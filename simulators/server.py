"""The base of the simulators: an HTTP/1.1 server, faults on demand, and JSON answers.

A simulator is a function from `Request` to `Answer`. The server keeps connections alive, disables Nagle's algorithm and
writes each answer at once, so that a benchmark measures its client.
"""

from __future__ import annotations

import itertools
import json
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Literal, Protocol, TypeAlias, get_args
from urllib.parse import parse_qsl, urlsplit

Delivery = Literal["whole", "drip", "drip_headers", "close", "reset", "silent", "hang_up"]
Kind = Literal["pass", "status", "slow", "drip", "drip_headers", "reset", "close", "hang_up", "timeout_after_acting"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has arrived completely.

    Header names are lower case, `connection` numbers the TCP connection, `target` is path and query as they came.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, and how.

    Attributes
    ----------
    delivery
        ``whole`` in one write; ``drip`` the headers, then the body byte by byte; ``drip_headers`` all of it byte by
        byte; ``close`` half of the body, then the end; ``reset`` a TCP reset; ``silent`` nothing; ``hang_up`` all of
        it, then the end of the connection without a word about it.
    delay
        Seconds to wait first.
    interval
        Seconds between two dripped bytes.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = "whole"
    delay: float = 0.0
    interval: float = 0.0


Application: TypeAlias = Callable[[Request], Answer]


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a JSON body."""
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A misbehaviour for the next requests.

    Attributes
    ----------
    kind
        ``pass`` lets a request through; ``status`` answers with `status`; ``slow`` answers after `seconds`;
        ``timeout_after_acting`` acts, says nothing for `seconds` and closes; for the others see `Answer.delivery`.
    times
        For how many requests; None until it is cleared.
    when
        Whether ``status`` and ``reset`` strike before the request is carried out or after it. Every other kind
        carries it out.
    html
        Whether ``status`` comes with a page of the kind that load balancers make, in place of the JSON in `body`.
    """

    kind: Kind
    times: int | None = 1
    when: Literal["before", "after"] = "before"
    status: int = 503
    html: bool = False
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 30.0
    interval: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what is misspelt: a fault that never strikes makes a test pass for nothing."""
        if self.kind not in get_args(Kind) or self.when not in {"before", "after"}:
            raise ValueError(f"unknown fault: {self.kind} {self.when}")


class Faults:
    """A queue of faults; each strikes `Fault.times` requests before the next has its turn."""

    def __init__(self) -> None:
        self._queue: deque[Fault] = deque()
        self._lock = threading.Lock()

    def add(self, **fault: Any) -> None:
        """Queue a fault, given by the attributes of `Fault`; raise TypeError or ValueError when it is none."""
        self._queue.append(Fault(**fault))

    def clear(self) -> None:
        self._queue.clear()

    def pending(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._queue]

    def take(self) -> Fault | None:
        """Take the fault for one request."""
        with self._lock:
            if not self._queue:
                return None
            fault = self._queue[0]
            if fault.times is not None:
                if fault.times > 1:
                    self._queue[0] = replace(fault, times=fault.times - 1)
                else:
                    self._queue.popleft()
            return fault


def carry_out(act: Callable[[], Answer], fault: Fault | None) -> Answer:
    """Answer one request by `act`, spoilt by the fault."""
    if fault is None or fault.kind == "pass":
        return act()
    spoilt = Answer(0)
    if fault.kind not in {"status", "reset"} or fault.when == "after":
        spoilt = act()
    match fault.kind:
        case "status" if fault.html:
            title = f"{fault.status} {_phrase(fault.status)}"
            page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\r\n"
            return Answer(fault.status, page.encode(), {"content-type": "text/html", **fault.headers})
        case "status":
            return json_answer(fault.status, fault.body or {"message": _phrase(fault.status)}, fault.headers)
        case "slow":
            return replace(spoilt, delay=fault.seconds)
        case "timeout_after_acting":
            return replace(spoilt, delivery="silent", delay=fault.seconds)
        case delivery:
            return replace(spoilt, delivery=delivery, interval=fault.interval)


def _phrase(status: int) -> str:
    return responses.get(status, "Unknown")


class _Connection(BaseHTTPRequestHandler):
    """One TCP connection and the thread that serves it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    raw_requestline: bytes  # set by the base class

    def setup(self) -> None:
        super().setup()
        self.number = next(self.server.numbers)
        self.server.live.add(self.connection)

    def finish(self) -> None:
        self.server.live.discard(self.connection)
        with suppress(ConnectionError):
            super().finish()

    def handle(self) -> None:
        # A client that gives up in the middle is an ordinary event.
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        pass

    def parse_request(self) -> bool:
        # The base class parses headers as those of an e-mail, which is more than half of a small request's work.
        self.requestline = self.raw_requestline.decode("latin-1")
        self.command, self.path, self.request_version = self.requestline.split()
        self.fields: dict[str, str] = {}
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            self.fields[name.lower()] = value.strip()
        self.close_connection = self.fields.get("connection", "").lower() == "close"
        return True

    def exchange(self) -> None:
        length = int(self.fields.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query)) if url.query else {}
        request = Request(self.command, url.path, query, self.fields, body, self.number, self.path)
        answer = self.server.application(request)
        if answer.delay:
            self.server.stopping.wait(answer.delay)
        self.deliver(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = exchange  # noqa: N815 - the names that the base class looks for

    def deliver(self, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", f"content-length: {len(answer.body)}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in answer.headers.items()), "\r\n"]).encode()
        self.close_connection |= answer.delivery in {"close", "reset", "silent", "hang_up"}
        match answer.delivery:
            case "whole" | "hang_up":
                self.wfile.write(head + answer.body)
            case "close":
                self.wfile.write(head + answer.body[: len(answer.body) // 2])
            case "drip":
                self.wfile.write(head)
                self.drip(answer.body, answer.interval)
            case "drip_headers":
                self.drip(head + answer.body, answer.interval)
            case "reset":
                # Lingering for no time makes close() send RST and forget what was still to be sent.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "silent":
                pass

    def drip(self, data: bytes, interval: float) -> None:
        for position in range(len(data)):
            self.wfile.write(data[position : position + 1])
            if self.server.stopping.wait(interval):
                break


class Server(ThreadingHTTPServer):
    """Serve an application on 127.0.0.1, one thread per connection; see `serving`."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        self.numbers = itertools.count(1)
        self.live: set[socket.socket] = set()
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), _Connection)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of the host's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def shutdown_request(self, request: Any) -> None:
        """Close at once: the orderly shutdown of the base class would say goodbye before a reset."""
        self.close_request(request)


@contextmanager
def serving(application: Application, port: int = 0) -> Iterator[str]:
    """Serve until the block ends, then drop every connection; give the base URL. Port 0 takes a free one."""
    with Server(application, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()
            for connection in list(server.live):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Platform(Protocol):
    """A running simulator."""

    url: str


def run(simulator: AbstractContextManager[Platform]) -> None:
    """Run a simulator as a process until SIGTERM or SIGINT; print its URL as JSON once it listens."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), simulator as platform:
        print(json.dumps({"url": platform.url}), flush=True)
        threading.Event().wait()
