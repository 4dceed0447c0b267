"""HTTP exchanges: keep-alive, strict deadlines, and errors that say whether a repeat may act twice.

`requests` follows redirects and bounds each read, not the whole; a token must not follow a redirect, and an answer
dripping in byte by byte would outlive the invocation. So its adapter is used directly, with a watchdog that shuts the
socket when the time is up.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from loyalty_bridge.errors import NotSent, OutcomeUnknown

if TYPE_CHECKING:
    from ssl import SSLContext


CONNECT_SECONDS = 3.0
MAX_WAIT_SECONDS = 3600.0
"""No platform documents a limit over a longer time, so no true reply asks for a longer wait."""
MAX_REPLY_BYTES = 4 * 1024 * 1024
IDLE_SECONDS = 4.0
"""A connection that was idle for longer is not used again. Many servers close one after 5 s (Node.js, Apache), and a
function that was frozen does not see it: https://nodejs.org/api/http.html#serverkeepalivetimeout"""

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")

_watched = threading.local()
"""Of each thread's exchange: its deadline, whether all is sent, and the watchdog's timer with the socket it shuts."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Its representation shows neither headers nor body: they hold keys and members' data."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP reply; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json_object(self) -> Mapping[str, Any] | None:
        """Return the body as a JSON object: empty if it is other JSON, None if it is not JSON at all."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else {}

    def retry_after(self, *headers: str, now: float | None = None) -> float | None:
        """Return how many seconds the server asks to wait, from 0 to `MAX_WAIT_SECONDS`.

        A header may hold seconds, an epoch or, by HTTP itself, a date
        (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).

        Parameters
        ----------
        headers
            Names in order of preference; by default ``retry-after``.
        now
            Epoch seconds.

        Returns
        -------
        float | None
            None when no header can be read.
        """
        now = time.time() if now is None else now
        pauses = (_seconds(self.headers.get(name, "").strip(), now) for name in headers or ("retry-after",))
        return next((min(max(pause, 0.0), MAX_WAIT_SECONDS) for pause in pauses if pause is not None), None)

    def rate_limit_pause(self, now: float) -> float:
        """Return the seconds until the next window of a used-up rate limit, or 0; `now` is in epoch seconds.

        Braze and MoEngage send these headers with every reply: https://www.braze.com/docs/api/api_limits,
        https://www.moengage.com/docs/api/rate-limits
        """
        is_used_up = self.headers.get("x-ratelimit-remaining", "").strip() == "0"
        return (self.retry_after("x-ratelimit-reset", now=now) or 0.0) if is_used_up else 0.0


def _seconds(text: str, now: float) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text) - now if float(text) > 1_000_000_000 else float(text)
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


Send: TypeAlias = Callable[[Request, float], Reply]
"""``send(request, deadline)``: the answer, before `deadline` (of `time.monotonic`).

Raises `NotSent` when the request certainly did not arrive, `OutcomeUnknown` when it may have been carried out.
"""


def open_client(connections: int) -> Send:
    """Return a `Send` that keeps at most so many connections to a host open between calls."""
    # Imported here: only functions that send pay for it at cold start.
    from loyalty_bridge.infra.connection_pool import Adapter

    adapter = Adapter(connections, _tls())

    def send(request: Request, deadline: float) -> Reply:
        import requests
        from urllib3.exceptions import HTTPError

        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise NotSent("no time left to send")
        _watched.deadline, _watched.is_sent, _watched.is_cut, _watched.sock = deadline, False, False, None
        try:
            prepared = requests.Request(request.method, request.url, dict(request.headers), data=request.body).prepare()
            proxies = _proxies(request.url)
            timeout = (min(CONNECT_SECONDS, remaining), remaining)
            with adapter.send(prepared, stream=True, timeout=timeout, verify=True, proxies=proxies) as response:
                if "," in response.headers.get("content-encoding", ""):
                    raise OutcomeUnknown("the reply is encoded more than once")  # a few bytes may become gigabytes
                body = response.raw.read(MAX_REPLY_BYTES + 1, decode_content=True)
            if time.monotonic() >= deadline:
                raise OutcomeUnknown("the reply was not complete in time")
            if len(body) > MAX_REPLY_BYTES:
                raise OutcomeUnknown("the reply is too large")
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            # Never use the error's text: for an invalid header (a ValueError) it contains the value, i.e. the API key.
            cause = type(_root(error)).__name__
            if _watched.is_sent:
                raise OutcomeUnknown(f"no reply ({cause})") from None
            raise NotSent(f"no connection or no possible request ({cause})") from None
        finally:
            unwatch()
        return Reply(response.status_code, {name.lower(): text for name, text in response.headers.items()}, body)

    return send


def _root(error: BaseException) -> BaseException:
    """Return the error of urllib3 that requests and its retries have wrapped."""
    inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
    return _root(inner) if isinstance(inner, BaseException) else error


def unwatch() -> None:
    """Cancel the watchdog of the thread's exchange."""
    timer = _watched.__dict__.pop("timer", None)
    if timer:
        timer.cancel()


def _proxies(url: str) -> dict[str, str]:
    """Return the proxy that the environment sets for this address, as `requests` does for ``https://``."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if not proxy or not url.startswith("https:"):
        return {}
    from requests.utils import should_bypass_proxies

    return {} if should_bypass_proxies(url, no_proxy=None) else {"https": proxy}


@cache
def _tls() -> SSLContext:
    """Read the authorities once: for each connection, it would take longer than to map a hundred events.

    A deployer may name others than the public ones, as `requests` and OpenSSL know it: a proxy that opens TLS needs it.
    """
    from certifi import where
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or where()
    context.load_verify_locations(**{"capath" if Path(authorities).is_dir() else "cafile": authorities})
    return context
