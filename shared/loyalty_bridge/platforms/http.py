"""One HTTP exchange: kept-alive connections, deadlines that hold, and errors that tell whether a repeat may double.

`requests` follows redirects and bounds each read, not the whole; a token must not follow a redirect, and an answer
dripping in byte by byte would outlive the invocation. So its adapter is used directly, with a watchdog that shuts the
socket when the time is up.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from loyalty_bridge.destinations.wire import Reply
from loyalty_bridge.errors import NotSent, OutcomeUnknown

if TYPE_CHECKING:
    from ssl import SSLContext

    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

CONNECT_SECONDS = 3.0
MAX_REPLY_BYTES = 4 * 1024 * 1024

_watched = threading.local()
"""Of each thread's exchange: its deadline, whether all is sent, and the watchdog's timer."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent. Its representation shows neither headers nor body: they hold keys and members' data."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


Send: TypeAlias = Callable[[Request, float], Reply]
"""``send(request, deadline)``: the answer, before `deadline` (of `time.monotonic`).

Raises `NotSent` when the request certainly did not arrive, `OutcomeUnknown` when it may have been carried out.
"""


def open_transport(connections: int) -> Send:
    """Make a transport that keeps at most so many connections to a host open, and alive between calls."""
    adapter = _adapter(connections)

    def send(request: Request, deadline: float) -> Reply:
        # Imported here: only who sends pays for it at cold start.
        import requests
        from urllib3.exceptions import HTTPError

        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise NotSent("no time left to send")
        _watched.deadline, _watched.is_sent = deadline, False
        try:
            prepared = requests.Request(request.method, request.url, dict(request.headers), data=request.body).prepare()
            response = adapter.send(
                prepared, stream=True, timeout=(min(CONNECT_SECONDS, remaining), remaining), verify=True
            )
            body = response.raw.read(MAX_REPLY_BYTES + 1, decode_content=True)
            if time.monotonic() >= deadline:
                raise OutcomeUnknown("the reply was not complete in time")
            if len(body) > MAX_REPLY_BYTES:
                response.close()
                raise OutcomeUnknown("the reply is too large")
            response.raw.release_conn()
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            # The text may hold the key: of a header that cannot be written (a ValueError), the whole is told.
            cause = type(_root(error)).__name__
            if _watched.is_sent:
                raise OutcomeUnknown(f"no reply ({cause})") from None
            raise NotSent(f"no connection or no possible request ({cause})") from None
        finally:
            _unwatch()
        return Reply(response.status_code, {name.lower(): text for name, text in response.headers.items()}, body)

    return send


def _root(error: BaseException) -> BaseException:
    """Find what urllib3 reported inside what requests and its retries wrapped around it."""
    inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
    return _root(inner) if isinstance(inner, BaseException) else error


def _watch(connection: HTTPConnection) -> None:
    _watched.is_sent = True  # all of it; of less, nothing is carried out
    sock = connection.sock
    if sock is not None:
        _watched.timer = threading.Timer(max(_watched.deadline - time.monotonic(), 0), _shut, [sock])
        _watched.timer.daemon = True
        _watched.timer.start()


def _unwatch() -> None:
    timer = _watched.__dict__.pop("timer", None)
    if timer:
        timer.cancel()


def _adapter(connections: int) -> HTTPAdapter:
    from requests.adapters import HTTPAdapter

    adapter = HTTPAdapter(max_retries=0)
    adapter.init_poolmanager(4, connections, block=True, ssl_context=_tls())
    adapter.poolmanager.pool_classes_by_scheme = _pools()
    return adapter


def _connected(connection: HTTPConnection) -> socket.socket:
    """Connect to a host's addresses in turn, `CONNECT_SECONDS` in all: urllib3 gives each of them so long.

    Half of what is left is for each, and all of it for the last: one that is dead leaves time for the others.
    """
    from urllib3.util.connection import allowed_gai_family, create_connection

    until = min(time.monotonic() + CONNECT_SECONDS, _watched.deadline)

    def left() -> float:
        return float(max(until - time.monotonic(), 0.001))

    found = socket.getaddrinfo(connection.host, connection.port, allowed_gai_family(), socket.SOCK_STREAM)
    *others, last = ((str(address[0]), int(address[1])) for *_, address in found)
    made = None
    for address in others:
        with suppress(OSError):  # the last one tells why there is no connection
            made = create_connection(address, left() / 2, socket_options=connection.socket_options)
            break
    made = made or create_connection(last, left(), socket_options=connection.socket_options)
    made.settimeout(left())  # for the handshake
    return made


@cache
def _pools() -> dict[str, type[HTTPConnectionPool]]:
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Watched(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self)

        def getresponse(self) -> Any:
            _watch(self)
            return super().getresponse()

    class WatchedTls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self)

        def connect(self) -> None:
            self.ca_certs = None  # they are in the context already
            super().connect()

        def getresponse(self) -> Any:
            _watch(self)
            return super().getresponse()

    class Pool(HTTPConnectionPool):
        ConnectionCls = Watched

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = WatchedTls

    return {"http": Pool, "https": TlsPool}


@cache
def _tls() -> SSLContext:
    """Read the authorities once: for each connection anew, it would take longer than to map a hundred events."""
    from certifi import where
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.load_verify_locations(where())
    return context


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it was closed meanwhile
        sock.shutdown(socket.SHUT_RDWR)


def backoff(attempt: int) -> float:
    """Seconds to wait after a failure that names no time: 0.5 × 2ⁿ, with jitter, so that containers do not agree."""
    return float(0.5 * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311
