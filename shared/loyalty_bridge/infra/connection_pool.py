"""The connections under `infra.http_client`: bounded by the exchange's deadline, and never shared by two replies.

No reply may be read as the answer to another request. A connection is kept only when the reply's length is beyond doubt
and nothing follows the reply; it is used again only while it is fresh and silent.
"""

from __future__ import annotations

import io
import re
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import allowed_gai_family, create_connection

from loyalty_bridge import clocks
from loyalty_bridge.infra.http_client import CONNECT_SECONDS, IDLE_SECONDS, unwatch
from loyalty_bridge.infra.http_client import _watched as watched

if TYPE_CHECKING:
    from ssl import SSLContext

_METADATA = ip_address("fd00:ec2::254")
_LENGTH = re.compile(r"[0-9]{1,18}")


class _Reader(io.BufferedReader):
    """What one reply is read from. When more follows the reply, the connection is shut."""

    sock: socket.socket

    def close(self) -> None:
        if not self.closed:
            # Another call may have the connection at once: this one's deadline must not end that.
            if watched.__dict__.get("sock") is self.sock:
                unwatch()
            if self._has_more():
                _shut(self.sock)
        super().close()

    def _has_more(self) -> bool:
        try:
            timeout = self.sock.gettimeout()
            self.sock.settimeout(0)
            try:
                return bool(self.peek(1))
            finally:
                self.sock.settimeout(timeout)
        except OSError:  # TLS has nothing yet, or the connection is gone
            return False


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = _Reader(self.fp.detach())
        self.fp.sock = sock

    def begin(self) -> None:
        """Read the head of the final reply.

        `http.client` reads past 100 only: https://www.rfc-editor.org/rfc/rfc9110#section-15.2.
        """
        super().begin()
        while 100 <= self.status < 200:
            if self.status == 101:
                raise HTTPException("the reply changes the protocol")
            self.headers = self.msg = None  # type: ignore[assignment]  # makes it read on
            super().begin()
        if self.status in {204, 304}:
            self.chunked = False  # whatever the headers say, no body follows
        if not self._ends_clearly():
            self.will_close = True

    def _ends_clearly(self) -> bool:
        """Check that both sides agree where the reply ends: https://www.rfc-editor.org/rfc/rfc9112#section-6.3."""
        lengths = set(self.headers.get_all("content-length", []))
        codings = [coding.strip().lower() for coding in self.headers.get_all("transfer-encoding", [])]
        if self.status in {204, 304}:
            return not codings and lengths <= {"0"}
        if codings not in ([], ["chunked"]):
            raise HTTPException("the reply has an unknown transfer coding")
        if not codings and (len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths)):
            raise HTTPException("the reply's length is not a number")
        return not (codings and lengths)


class _Connection(HTTPConnection):
    response_class = _Response
    used = (0.0, 0.0)

    @property
    def is_connected(self) -> bool:
        return super().is_connected and not clocks.is_past(self.used, IDLE_SECONDS)

    def send(self, data: Any) -> None:
        _watch(self)
        try:
            super().send(data)
        except OSError:
            watched.is_cut = True  # urllib3 goes on after some of these, to read a reply that came early
            raise

    def getresponse(self) -> Any:
        _watch(self)
        watched.is_sent = not watched.is_cut  # a request that is not complete is not carried out
        self.used = clocks.moment()
        return super().getresponse()

    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _TlsConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        self.ca_certs = None  # they are in the context already
        super().connect()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def urlopen(self, *args: Any, **options: Any) -> Any:
        """Wait for a free connection until the deadline."""
        options["pool_timeout"] = max(watched.deadline - time.monotonic(), 0)
        return super().urlopen(*args, **options)


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class Adapter(HTTPAdapter):
    """An adapter of `requests` with these connections, at most so many to a host."""

    def __init__(self, connections: int, tls: SSLContext) -> None:
        self._tls = tls
        super().__init__(4, connections, max_retries=0, pool_block=True)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the manager of direct connections."""
        super().init_poolmanager(*args, **options, ssl_context=self._tls)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make the manager of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options, ssl_context=self._tls, proxy_ssl_context=self._tls)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def _connected(connection: HTTPConnection) -> socket.socket:
    """Connect to a host's addresses in turn, `CONNECT_SECONDS` in all: urllib3 gives each of them so long.

    Half of what is left is for each, and all of it for the last: one that is dead leaves time for the others.
    """
    until = min(time.monotonic() + CONNECT_SECONDS, watched.deadline)

    def left() -> float:
        return float(max(until - time.monotonic(), 0.001))

    found = socket.getaddrinfo(connection.host, connection.port, allowed_gai_family(), socket.SOCK_STREAM)
    usable = [(str(address[0]), int(address[1])) for *_, address in found if not _is_local_service(str(address[0]))]
    if not usable:
        raise OSError("the host's address is one of the cloud's own services")
    *others, last = usable
    made = None
    for address in others:
        with suppress(OSError):  # the error of the last address is raised
            made = create_connection(address, left() / 2, socket_options=connection.socket_options)
            break
    made = made or create_connection(last, left(), socket_options=connection.socket_options)
    made.settimeout(left())  # for the handshake
    return made


def _is_local_service(address: str) -> bool:
    """Recognise where clouds keep metadata and credentials, whether of a platform's host or of a proxy's.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    """
    found = ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_link_local or found == _METADATA


def _watch(connection: HTTPConnection) -> None:
    """Shut the connection's socket at the deadline; TLS through a proxy replaces the socket on the way."""
    if connection.sock is not None and connection.sock is not watched.sock:
        unwatch()
        watched.sock = connection.sock
        watched.timer = threading.Timer(max(watched.deadline - time.monotonic(), 0), _shut, [connection.sock])
        watched.timer.daemon = True
        watched.timer.start()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)
