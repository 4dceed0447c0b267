"""One HTTP exchange: deadlines that hold, and errors that tell whether a repeat may double."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from loyalty_bridge.errors import NotSent, OutcomeUnknown, Unavailable
from loyalty_bridge.infra.http_client import IDLE_SECONDS, MAX_REPLY_BYTES, Request, Send, open_client
from simulators.server import Answer, json_answer, serving
from simulators.server import Request as Received

KEY = "key-that-nobody-may-see"


class Server:
    """Answers with `answer`, or the next of `answers`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answer = json_answer(200, {"message": "success"})
        self.answers: list[Answer] = []
        self.received: list[Received] = []
        self._lock = threading.Lock()

    def __call__(self, request: Received) -> Answer:
        with self._lock:
            self.received.append(request)
            return self.answers.pop(0) if self.answers else self.answer


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    with serving(running) as running.url:
        yield running


@pytest.fixture
def send() -> Send:
    return open_client(4)


def post(url: str, body: bytes = b"{}", **headers: str) -> Request:
    return Request("POST", f"{url}/users/track", {"Authorization": f"Bearer {KEY}", **headers}, body)


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_a_request_arrives_as_it_is_and_its_reply_comes_back(server: Server, send: Send) -> None:
    server.answer = Answer(429, b"\x00wait", {"X-RateLimit-Reset": "7"})

    reply = send(post(server.url, b'{"a": 1}', **{"Content-Type": "application/json"}), soon())

    assert (reply.status, reply.headers["x-ratelimit-reset"], reply.body) == (429, "7", b"\x00wait")
    [received] = server.received
    assert (received.method, received.path, received.body) == ("POST", "/users/track", b'{"a": 1}')
    assert (received.headers["authorization"], received.headers["content-type"]) == (
        f"Bearer {KEY}",
        "application/json",
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(200, b"x" * 100, delivery="drip", interval=0.05), id="body in drops"),
        pytest.param(Answer(200, b"x" * 100, delivery="drip_headers", interval=0.05), id="headers in drops"),
        pytest.param(Answer(200, delay=30), id="too late"),
        pytest.param(Answer(0, delivery="silent", delay=30), id="silence"),
    ],
)
def test_a_reply_that_is_not_complete_by_the_deadline_is_an_unknown_outcome(
    server: Server, send: Send, answer: Answer
) -> None:
    server.answers = [answer]
    began = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        send(post(server.url), soon(1))

    assert 0.9 < time.monotonic() - began < 4
    assert send(post(server.url), soon()).status == 200


def test_a_reply_in_drops_that_is_complete_in_time_is_taken(server: Server, send: Send) -> None:
    server.answer = Answer(200, b"0123456789", delivery="drip_headers", interval=0.001)

    assert send(post(server.url), soon()).body == b"0123456789"


def test_the_deadline_of_one_exchange_does_not_end_the_next_on_its_connection(server: Server, send: Send) -> None:
    server.answers = [Answer(200), Answer(200, b"late", delay=1.5)]
    send(post(server.url), soon(1))

    reply = send(post(server.url), soon())

    assert reply.body == b"late"
    assert len({one.connection for one in server.received}) == 1


@contextmanager
def listening(act: Callable[[socket.socket], Any], connections: int = 1) -> Iterator[str]:
    """Accept connections, one after the other, do with each what `act` does, and close it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            for _ in range(connections):
                connection, _ = listener.accept()
                with connection:
                    act(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def test_a_server_that_does_not_read_is_left_by_the_deadline_without_having_the_request(send: Send) -> None:
    done = threading.Event()
    began = time.monotonic()

    with listening(lambda _: done.wait(30)) as url:
        with pytest.raises(NotSent):
            send(post(url, b"x" * 50_000_000), soon(0.3))
        took = time.monotonic() - began
        done.set()

    assert took < 4


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"220 smtp.example.org ESMTP\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", id="half a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", id="broken chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nhalf", id="broken gzip"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", id="endless headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000, id="an endless header"),
    ],
)
def test_a_broken_reply_is_an_unknown_outcome(send: Send, reply: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(reply)

    with listening(answer) as url, pytest.raises(OutcomeUnknown):
        send(post(url), soon())


def test_a_reset_is_an_unknown_outcome_and_not_repeated(server: Server, send: Send) -> None:
    server.answer = Answer(0, delivery="reset")

    with pytest.raises(OutcomeUnknown):
        send(post(server.url), soon())

    assert len(server.received) == 1


def test_no_one_listening_means_not_sent(send: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NotSent):
        send(post(f"http://127.0.0.1:{port}"), soon())


@contextmanager
def dead() -> Iterator[int]:
    """Return a port of the loopback address that answers no attempt to connect: its queue is full."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield listener.getsockname()[1]


def resolve(monkeypatch: pytest.MonkeyPatch, host: str, *ports: int) -> None:
    """Let a host have an address for each of these ports, in this order."""
    resolver = socket.getaddrinfo
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *more: addresses if name == host else resolver(name, *more))


@pytest.mark.parametrize("addresses", [1, 8])
def test_addresses_that_do_not_answer_are_left_by_the_deadline_however_many(
    send: Send, monkeypatch: pytest.MonkeyPatch, addresses: int
) -> None:
    with dead() as port:
        resolve(monkeypatch, "many.test", *[port] * addresses)
        began = time.monotonic()

        with pytest.raises(NotSent):
            send(post("http://many.test"), soon(0.3))

    assert 0.25 < time.monotonic() - began < 4


def test_another_address_gets_the_request_while_one_is_dead(
    server: Server, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dead() as port:
        resolve(monkeypatch, "many.test", port, int(server.url.rpartition(":")[2]))

        reply = send(post("http://many.test"), soon())

    assert (reply.status, len(server.received)) == (200, 1)


def test_a_handshake_that_is_not_answered_is_left_by_the_deadline(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    with dead() as port, listening(lambda _: done.wait(30)) as url:
        resolve(monkeypatch, "many.test", port, port, int(url.rpartition(":")[2]))
        began = time.monotonic()
        with pytest.raises(NotSent):
            send(post("https://many.test"), soon(0.5))
        took = time.monotonic() - began
        done.set()

    assert took < 4


def test_without_time_nothing_is_sent(server: Server, send: Send) -> None:
    with pytest.raises(NotSent):
        send(post(server.url), time.monotonic())

    assert server.received == []


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX-More: 1", f"{KEY} ключ"], ids=["line", "header", "script"])
def test_a_key_that_fits_no_header_means_not_sent_and_is_not_reported(server: Server, send: Send, key: str) -> None:
    with pytest.raises(NotSent) as error:
        send(post(server.url, Authorization=f"Bearer {key}"), soon())

    assert KEY not in str(error.value)
    assert error.value.__suppress_context__  # a log shows what is not suppressed
    assert server.received == []
    assert send(post(server.url), soon()).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(server: Server, send: Send, status: int) -> None:
    server.answer = Answer(status, headers={"location": f"{server.url}/elsewhere"})

    reply = send(post(server.url), soon())

    assert (reply.status, len(server.received)) == (status, 1)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_answer_that_asks_for_a_repeat_is_given_as_it_is(server: Server, send: Send, method: str) -> None:
    server.answer = Answer(503, headers={"retry-after": "0"})

    reply = send(Request(method, server.url, {}), soon())

    assert (reply.status, len(server.received)) == (503, 1)


def test_a_connection_is_kept_for_the_next_call(server: Server, send: Send) -> None:
    for _ in range(5):
        send(post(server.url), soon())

    assert {one.connection for one in server.received} == {1}


def test_a_connection_that_the_server_has_closed_is_not_used_again(send: Send) -> None:
    closed = threading.Semaphore(0)

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        connection.close()
        closed.release()

    with listening(answer, connections=2) as url:
        first = send(post(url), soon())
        closed.acquire(timeout=5)
        second = send(post(url), soon())

    assert (first.status, second.status) == (200, 200)


BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nelse"
"""A whole reply that answers no request of ours."""


class Raw:
    """Answers the first request with given bytes, and each further one with the request's own body."""

    def __init__(self, first: bytes, late: bytes = b"") -> None:
        self.first = first
        self.late = late
        self.connections = 0
        self.is_answered = threading.Event()
        self.is_late_sent = threading.Event()
        self._requests = 0

    def __call__(self, connection: socket.socket) -> None:
        self.connections += 1
        with suppress(OSError):
            while head := connection.recv(65536):
                body = head.rpartition(b"\r\n\r\n")[2] or connection.recv(65536)
                self._requests += 1
                if self._requests > 1:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                connection.sendall(self.first)
                if self.late:
                    self.is_answered.wait(5)
                    connection.sendall(self.late)
                    self.is_late_sent.set()


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Whatever"])
@pytest.mark.parametrize("times", [1, 3])
def test_interim_replies_are_read_past(send: Send, interim: bytes, times: int) -> None:
    hints = b"HTTP/1.1 %s\r\nlink: </x>\r\n\r\n" % interim * times
    with listening(Raw(hints + b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nown")) as url:
        replies = [send(post(url, body), soon()) for body in (b"1", b"2", b"3")]

    assert [(reply.status, reply.body) for reply in replies] == [(201, b"own"), (200, b"2"), (200, b"3")]


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        pytest.param(b"200 OK\r\ncontent-length: 2\r\n\r\n{}" + BODY, 200, id="a second reply"),
        pytest.param(b"200 OK\r\ncontent-length: 2\r\n\r\n{}" + BODY * 20_000, 200, id="many further replies"),
        pytest.param(b"200 OK\r\ncontent-length: 2\r\n\r\n{}\r\n", 200, id="a line too much"),
        pytest.param(
            b"200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + BODY, 200, id="after chunks"
        ),
        pytest.param(b"204 No Content\r\n\r\n" + BODY, 204, id="204 and more"),
        pytest.param(b"204 No Content\r\ncontent-length: 51\r\n\r\n" + BODY, 204, id="204 with a body"),
        pytest.param(b"204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", 204, id="204 in chunks, without one"),
        pytest.param(b"304 Not Modified\r\ncontent-length: 51\r\n\r\n" + BODY, 304, id="304 with a body"),
        pytest.param(b"429 Slow\r\ncontent-length: 0\r\n\r\n" + BODY, 429, id="a refusal and more"),
        pytest.param(
            b"200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            200,
            id="both framings",
        ),
        pytest.param(b"200 OK\r\ncontent-length: 2\r\ncontent-length: 53\r\n\r\n{}" + BODY, None, id="two lengths"),
        pytest.param(b"200 OK\r\ncontent-length: -2\r\n\r\n{}" + BODY, None, id="a length below 0"),
        pytest.param(b"200 OK\r\ncontent-length: +2\r\n\r\n{}" + BODY, None, id="a length with a sign"),
        pytest.param(b"200 OK\r\ncontent-length: 2, 53\r\n\r\n{}" + BODY, None, id="two lengths in one"),
        pytest.param(b"200 OK\r\ntransfer-encoding: gzip, chunked\r\ncontent-length: 2\r\n\r\n{}", None, id="codings"),
        pytest.param(b"200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 2\r\n\r\n{}", None, id="identity"),
        pytest.param(b"101 Switching Protocols\r\nupgrade: x\r\n\r\n" + BODY, None, id="another protocol"),
    ],
)
def test_no_request_gets_what_belongs_to_the_one_before(send: Send, first: bytes, outcome: int | None) -> None:
    raw = Raw(b"HTTP/1.1 " + first)
    with listening(raw, connections=2) as url:
        try:
            status: int | None = send(post(url, b"1"), soon(2)).status
        except OutcomeUnknown:
            status = None
        own = [send(post(url, body), soon()).body for body in (b"2", b"3")]
        connections = raw.connections

    assert (status, own) == (outcome, [b"2", b"3"])
    assert connections == 2


def test_a_length_that_is_said_twice_is_one_length(send: Send) -> None:
    raw = Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}")
    with listening(raw) as url:
        bodies = [send(post(url, body), soon()).body for body in (b"1", b"2")]

    assert (bodies, raw.connections) == ([b"{}", b"2"], 1)


def test_a_reply_that_comes_after_the_reply_belongs_to_no_one(send: Send) -> None:
    raw = Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nown", late=BODY)
    with listening(raw, connections=2) as url:
        first = send(post(url, b"1"), soon())
        raw.is_answered.set()
        raw.is_late_sent.wait(5)
        second = send(post(url, b"2"), soon())

    assert (first.body, second.body) == (b"own", b"2")


def test_calls_that_end_at_their_deadline_do_not_end_those_that_take_their_connections(server: Server) -> None:
    send = open_client(1)
    server.answer = Answer(200, delay=0.02)
    ends = []

    def call(number: int) -> None:
        try:
            ends.append(send(post(server.url), soon(0.2 if number % 2 else 5)).status)
        except Unavailable:
            assert number % 2, "its own deadline was far away"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(60)))

    assert ends.count(200) >= 30


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_a_connection_that_was_idle_for_long_by_either_clock_is_not_used_again(
    server: Server, send: Send, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    send(post(server.url), soon())
    real = getattr(time, clock)
    monkeypatch.setattr(time, clock, lambda: real() + IDLE_SECONDS + 1)

    for _ in range(3):
        send(post(server.url), soon())

    first, *others = [one.connection for one in server.received]
    assert len({first, *others}) == 2
    assert first not in others


def test_a_call_waits_for_a_connection_until_its_deadline_only(server: Server) -> None:
    send = open_client(1)
    server.answers = [Answer(200, delay=2)]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(send, post(server.url), soon())
        while not server.received:
            time.sleep(0.01)
        began = time.monotonic()

        with pytest.raises(NotSent):
            send(post(server.url), soon(0.3))

        took = time.monotonic() - began
        assert slow.result().status == 200

    assert 0.25 < took < 1.5
    assert len(server.received) == 1


@pytest.mark.parametrize("codings", ["gzip", "gzip, gzip", ", ".join(["gzip"] * 6), ", ".join(["gzip"] * 2000)])
def test_a_reply_that_cannot_be_decoded_frees_its_connection(server: Server, codings: str) -> None:
    send = open_client(1)
    server.answers = [Answer(200, b"nothing that was packed", headers={"content-encoding": codings})] * 3

    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            send(post(server.url), soon(1))

    assert send(post(server.url), soon(1)).status == 200


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.170.2", "fe80::1", "fd00:ec2::254"])
def test_a_host_that_leads_to_the_clouds_own_services_gets_nothing(
    send: Send, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_: [(family, socket.SOCK_STREAM, 6, "", (address, 80, 0, 0)[: 4 if ":" in address else 2])],
    )

    with pytest.raises(NotSent, match=r"\(OSError\)"):
        send(post("http://rest.test"), soon())


def test_calls_share_a_bounded_number_of_connections(server: Server) -> None:
    send = open_client(3)
    server.answer = Answer(200, delay=0.01)

    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: send(post(server.url), soon()), range(30)))

    assert {reply.status for reply in replies} == {200}
    assert len(server.received) == 30
    assert len({one.connection for one in server.received}) <= 3


def test_a_reply_without_end_is_not_read_to_it_and_frees_its_connection(server: Server) -> None:
    send = open_client(1)
    large = Answer(200, b"x" * (MAX_REPLY_BYTES + 100_000))
    server.answers = [large, large]

    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="too large"):
            send(post(server.url), soon())

    assert send(post(server.url), soon()).status == 200


@pytest.mark.parametrize("delivery", ["reset", "close", "silent"])
def test_a_failed_exchange_frees_its_connection(server: Server, delivery: Any) -> None:
    send = open_client(1)
    server.answers = [Answer(200, b"body", delivery=delivery)] * 3

    for _ in range(3):
        with pytest.raises(Unavailable):
            send(post(server.url), soon())

    assert send(post(server.url), soon()).status == 200


def test_a_request_shows_neither_its_headers_nor_its_body() -> None:
    shown = repr(post("https://rest.iad-01.braze.com", b"ida@example.org"))

    assert "rest.iad-01" in shown
    assert KEY not in shown
    assert "ida" not in shown
