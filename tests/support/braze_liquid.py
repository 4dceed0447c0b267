"""Messages and webhooks rendered as Braze does it: its personalisation, Connected Content and aborts, in real Liquid.

https://www.braze.com/docs/user_guide/messaging/design_and_edit/personalize/connected_content/making_an_api_call and the
pages beside it document its behaviour.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeAlias, cast
from urllib.parse import quote

from liquid import Environment, is_undefined
from liquid.ast import Node
from liquid.exceptions import LiquidSyntaxError
from liquid.tag import Tag
from liquid.token import TOKEN_TAG

if TYPE_CHECKING:
    from liquid import BoundTemplate, RenderContext, Token
    from liquid.stream import TokenStream

RETRIES = 5
DEFAULT_CACHE_SECONDS, MAX_CACHE_SECONDS = 300, 4 * 3600
OPTIONS = {"headers", "content_type", "cache_max_age", "no_cache", "retry", "save"}

_PERSONAL = re.compile(r"(?:(\w+)\.)?\$\{(\w+)\}")
_ABORT = re.compile(r"\((?:'([^']*)'|\"([^\"]*)\")?\)")


class Answer(NamedTuple):
    """What a call answered."""

    status: int
    text: str


Fetch: TypeAlias = Callable[[str, Mapping[str, str]], Answer | None]
"""Gets a URL with headers; None when Braze has given up by then."""


class Aborted(Exception):
    """The message is not sent; the text is the reason in the Message Activity Log."""


class Braze(Environment):
    """Renders.

    Parameters
    ----------
    fetch
        Makes the calls of Connected Content.
    nothing
        What a call that failed saves: the documentation says null in one place, an empty string in another.
    clock
        By which answers in the cache grow old.
    """

    def __init__(self, fetch: Fetch, nothing: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.fetch = fetch
        self.nothing = nothing
        self.clock = clock
        self.cache: dict[str, tuple[float, Answer]] = {}
        self.wants_retry = False
        self.add_tag(_ConnectedContent)
        self.add_tag(_AbortMessage)
        self.add_filter("json_escape", lambda value: json.dumps(_text(value))[1:-1])
        self.add_filter("url_param_escape", lambda value: quote(_text(value), safe=""))

    def message(self, source: str, personal: Mapping[str, Mapping[str, str]]) -> str:
        """Render for a user, given by what ``${…}`` finds: ``custom_attribute``, ``campaign``, ``profile`` and so on.

        Raises
        ------
        Aborted
            By the message itself, or because a call with ``:retry`` failed to the end.
        """
        template = self.from_string(_plain(source))
        for _ in range(1 + RETRIES):
            self.wants_retry = False
            text = template.render(personal)  # an abort comes before any retry
            if not self.wants_retry:
                return text
        raise Aborted("Connected Content failed")

    def ask(self, url: str, options: Mapping[str, str]) -> Any:
        """Make a call of Connected Content; gives what it saves."""
        answer = self._answer(url, options)
        if answer is None or not 200 <= answer.status < 300:
            self.wants_retry |= "retry" in options
            return self.nothing
        try:
            value = json.loads(answer.text)
        except ValueError:
            return answer.text
        return value | {"__http_status_code__": answer.status} if isinstance(value, dict) else value

    def _answer(self, url: str, options: Mapping[str, str]) -> Answer | None:
        until, cached = self.cache.get(url, (0.0, None))
        if "no_cache" in options:
            cached = None
        if cached and self.clock() < until:
            return cached
        headers = json.loads(options.get("headers", "{}"))
        if kind := options.get("content_type"):
            headers |= {"Content-Type": kind, "Accept": kind}
        answer = self.fetch(url, {"User-Agent": "Braze Sender 0123456789abcdef", **headers})
        if answer and 200 <= answer.status < 300 and "no_cache" not in options:
            seconds = int(options.get("cache_max_age", DEFAULT_CACHE_SECONDS))
            seconds = min(max(seconds, DEFAULT_CACHE_SECONDS), MAX_CACHE_SECONDS)
            self.cache[url] = (self.clock() + seconds, answer)
        return answer


def _text(value: object) -> str:
    return "" if is_undefined(value) or value is None else str(value)


def _plain(source: str) -> str:
    """Write Braze's own syntax as plain Liquid: ``custom_attribute.${x}``, and ``${x}`` of the profile."""
    return _PERSONAL.sub(lambda found: f"{found[1] or 'profile'}['{found[2]}']", source)


class _ConnectedContent(Tag):
    """``{% connected_content URL :option value … %}``; Liquid may stand in all of it."""

    name = "connected_content"
    block = False

    def parse(self, stream: TokenStream) -> Node:
        token = stream.eat(TOKEN_TAG)
        url, *written = re.split(r"\s+:(?=[a-z])", stream.current.value)
        options = dict((*option.split(None, 1), "")[:2] for option in written)
        if unknown := options.keys() - OPTIONS:
            raise LiquidSyntaxError(f"no such option: {', '.join(unknown)}", token=token)
        return _ConnectedContentNode(
            token,
            self.env.from_string(url.strip()),
            {name: self.env.from_string(value) for name, value in options.items()},
        )


class _ConnectedContentNode(Node):
    def __init__(self, token: Token, url: BoundTemplate, options: Mapping[str, BoundTemplate]) -> None:
        super().__init__(token)
        self.url = url
        self.options = options
        self.blank = "save" in options

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        options = {name: _rendered(value, context) for name, value in self.options.items()}
        value = cast("Braze", context.env).ask(_rendered(self.url, context), options)
        if "save" in options:
            context.assign(options["save"], value)
            return 0
        return buffer.write(value if isinstance(value, str) else json.dumps(value))


def _rendered(template: BoundTemplate, context: RenderContext) -> str:
    buffer = StringIO()
    template.render_with_context(context, buffer)
    return buffer.getvalue()


class _AbortMessage(Tag):
    """``{% abort_message('reason') %}``; the reason may be left out."""

    name = "abort_message"
    block = False

    def parse(self, stream: TokenStream) -> Node:
        token = stream.eat(TOKEN_TAG)
        found = _ABORT.fullmatch(stream.current.value)
        if not found:
            raise LiquidSyntaxError("not abort_message('reason')", token=token)
        return _AbortMessageNode(token, found[1] or found[2] or "")


class _AbortMessageNode(Node):
    def __init__(self, token: Token, reason: str) -> None:
        super().__init__(token)
        self.reason = reason

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        raise Aborted(self.reason)
