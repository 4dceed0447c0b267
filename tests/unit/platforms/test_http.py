"""One HTTP exchange: deadlines that hold, and errors that tell whether a repeat may double."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from local.sandbox.server import Answer, json_answer, serving
from local.sandbox.server import Request as Received
from loyalty_bridge.errors import NotSent, OutcomeUnknown, Unavailable
from loyalty_bridge.platforms.http import MAX_REPLY_BYTES, Request, Send, backoff, open_transport

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
    return open_transport(4)


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


def test_nobody_listening_means_not_sent(send: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NotSent):
        send(post(f"http://127.0.0.1:{port}"), soon())


@contextmanager
def dead() -> Iterator[int]:
    """Give a port of the loopback address that answers no attempt to connect: its queue is full."""
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
def test_a_key_that_fits_no_header_means_not_sent_and_is_not_told(server: Server, send: Send, key: str) -> None:
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


def test_calls_share_a_bounded_number_of_connections(server: Server) -> None:
    send = open_transport(3)
    server.answer = Answer(200, delay=0.01)

    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: send(post(server.url), soon()), range(30)))

    assert {reply.status for reply in replies} == {200}
    assert len(server.received) == 30
    assert len({one.connection for one in server.received}) <= 3


def test_a_reply_without_end_is_not_read_to_it_and_frees_its_connection(server: Server) -> None:
    send = open_transport(1)
    large = Answer(200, b"x" * (MAX_REPLY_BYTES + 100_000))
    server.answers = [large, large]

    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="too large"):
            send(post(server.url), soon())

    assert send(post(server.url), soon()).status == 200


@pytest.mark.parametrize("delivery", ["reset", "close", "silent"])
def test_a_failed_exchange_frees_its_connection(server: Server, delivery: Any) -> None:
    send = open_transport(1)
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


@pytest.mark.parametrize("attempt", range(6))
def test_a_pause_doubles_and_is_never_the_same_for_all(attempt: int) -> None:
    pauses = {backoff(attempt) for _ in range(50)}

    assert min(pauses) >= 0.25 * 2**attempt
    assert max(pauses) <= 0.5 * 2**attempt
    assert len(pauses) > 1
