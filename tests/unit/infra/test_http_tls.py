"""One HTTP exchange over TLS: whom it trusts, and its error when it does not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from loyalty_bridge.errors import NotSent
from loyalty_bridge.infra import http_client
from loyalty_bridge.infra.http_client import Request, open_client
from simulators.server import json_answer
from tests.support import tls


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a certificate that is trusted beside the public ones."""
    certificate = tls.certificate(tmp_path)
    authorities = tls.authorities(tmp_path, certificate)
    monkeypatch.setattr("certifi.where", lambda: str(authorities))
    http_client._tls.cache_clear()
    yield certificate
    http_client._tls.cache_clear()


def post(url: str) -> Request:
    return Request("POST", f"{url}/users/track", {}, b"{}")


def test_a_server_whose_authority_is_trusted_gets_the_request(trusted: Path) -> None:
    send = open_client(1)

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url:
        replies = [send(post(url), time.monotonic() + 5) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 201]


def test_the_authorities_are_read_once_for_all_connections(trusted: Path, tmp_path: Path) -> None:
    first, second = open_client(1), open_client(1)

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url:
        first(post(url), time.monotonic() + 5)
        (tmp_path / "authorities.pem").unlink()
        reply = second(post(url), time.monotonic() + 5)

    assert reply.status == 201


def test_a_server_whose_authority_is_not_trusted_gets_nothing(trusted: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    unknown = tls.certificate(tmp_path / "other")

    with tls.serving(lambda _: json_answer(201, {}), unknown) as url, pytest.raises(NotSent):
        open_client(1)(post(url), time.monotonic() + 5)


def test_a_server_with_the_certificate_of_another_host_gets_nothing(tmp_path: Path, trusted: Path) -> None:
    with tls.serving(lambda _: json_answer(201, {}), trusted) as url, pytest.raises(NotSent):
        open_client(1)(post(url.replace("127.0.0.1", "localhost")), time.monotonic() + 5)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_deployer_may_name_the_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    certificate = tls.certificate(tmp_path)
    http_client._tls.cache_clear()
    with tls.serving(lambda _: json_answer(201, {}), certificate) as url:
        with pytest.raises(NotSent):
            open_client(1)(post(url), time.monotonic() + 5)
        monkeypatch.setenv(name, str(tls.authorities(tmp_path, certificate)))
        http_client._tls.cache_clear()

        reply = open_client(1)(post(url), time.monotonic() + 5)

    http_client._tls.cache_clear()
    assert reply.status == 201


class Proxy:
    """Passes one connection on to the address that ``CONNECT`` names."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        self.asked.append(client.recv(65536).partition(b"\r\n")[0])
        host, _, port = self.asked[-1].split()[1].decode().partition(":")
        upstream = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pump, args=[upstream, client], daemon=True).start()
        _pump(client, upstream)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), sink:
        while data := source.recv(65536):
            sink.sendall(data)


def test_a_proxy_that_the_deployer_names_passes_the_request_on(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    send = open_client(1)

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url:
        replies = [send(post(url), time.monotonic() + 5) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 201]
    assert [asked.split()[:2] for asked in proxy.asked] == [[b"CONNECT", url.removeprefix("https://").encode()]]


def test_a_host_that_the_deployer_excepts_is_reached_without_the_proxy(
    trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url:
        reply = open_client(1)(post(url), time.monotonic() + 5)

    assert (reply.status, proxy.asked) == (201, [])


@pytest.mark.parametrize(
    "proxy", ["http://169.254.169.254", "http://[fe80::1]:3128", "http://127.0.0.1:1", "://", "nonsense"]
)
def test_a_proxy_that_cannot_be_one_means_not_sent(trusted: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url, pytest.raises(NotSent):
        open_client(1)(post(url), time.monotonic() + 2)
