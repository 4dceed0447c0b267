"""One HTTP exchange over TLS: whom it trusts, and what it tells when it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.sandbox.server import json_answer
from loyalty_bridge.errors import NotSent
from loyalty_bridge.platforms import http
from loyalty_bridge.platforms.http import Request, open_transport
from tests import tls


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a certificate that is trusted beside the public ones."""
    certificate = tls.certificate(tmp_path)
    authorities = tls.authorities(tmp_path, certificate)
    monkeypatch.setattr("certifi.where", lambda: str(authorities))
    http._tls.cache_clear()
    yield certificate
    http._tls.cache_clear()


def post(url: str) -> Request:
    return Request("POST", f"{url}/users/track", {}, b"{}")


def test_a_server_whose_authority_is_trusted_gets_the_request(trusted: Path) -> None:
    send = open_transport(1)

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url:
        replies = [send(post(url), time.monotonic() + 5) for _ in range(2)]

    assert [reply.status for reply in replies] == [201, 201]


def test_the_authorities_are_read_once_for_all_connections(trusted: Path, tmp_path: Path) -> None:
    first, second = open_transport(1), open_transport(1)

    with tls.serving(lambda _: json_answer(201, {}), trusted) as url:
        first(post(url), time.monotonic() + 5)
        (tmp_path / "authorities.pem").unlink()
        reply = second(post(url), time.monotonic() + 5)

    assert reply.status == 201


def test_a_server_whose_authority_is_not_trusted_gets_nothing(trusted: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    unknown = tls.certificate(tmp_path / "other")

    with tls.serving(lambda _: json_answer(201, {}), unknown) as url, pytest.raises(NotSent):
        open_transport(1)(post(url), time.monotonic() + 5)


def test_a_server_with_the_certificate_of_another_host_gets_nothing(tmp_path: Path, trusted: Path) -> None:
    with tls.serving(lambda _: json_answer(201, {}), trusted) as url, pytest.raises(NotSent):
        open_transport(1)(post(url.replace("127.0.0.1", "localhost")), time.monotonic() + 5)
