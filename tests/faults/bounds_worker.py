"""Calls a function with the largest input of each kind, within the function's own memory and time.

The parent names the function. AWS runs in this process, and its memory is not counted: the limit is set
once everything is imported and connected. What happened goes to standard output, a line of JSON for each input.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, Literal, TypeAlias

from moto import mock_aws

from loyalty_bridge import settings as environment
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys
from loyalty_bridge.settings import PlanSettings
from simulators.braze import Braze
from simulators.convercus import Convercus
from simulators.server import serving
from tests.conftest import KEY, connect
from tests.support import http_events
from tests.support.events import event, queued, streamed
from tests.support.functions import loaded
from tests.support.stores import environment as variables
from tests.support.stores import make_key, make_stores
from tests.support.template import resources
from tests.support.webhooks import connect as connect_webhooks
from tests.support.webhooks import delivery

Call: TypeAlias = Callable[[str], dict[str, Any]]
RUNTIME_MEGABYTES = 80
"""Of a function's memory, what Python and the imported modules take before the first call."""
MIB = 1 << 20


def _of_size(size: int, before: str, part: str, after: str) -> str:
    """Repeat a part until the text has almost the size."""
    return before + part * ((size - len(before) - len(after)) // len(part)) + after


HEAD = '{"eventId":"e","eventType":"user_changed","programId":"demo","accountId":"A1","payload":'


INPUTS: Mapping[str, Callable[[int], str]] = {
    "empty objects": lambda size: _of_size(size, "[", "{},", "{}]"),
    "empty events": lambda size: _of_size(size, "[", '{"programId":"demo"},', "{}]"),
    "small events": lambda size: _of_size(
        size, "[", '{"programId":"demo","eventType":"user_logged_in","accountId":"A1"},', "{}]"
    ),
    "events that are refused": lambda size: _of_size(
        size, "[", '{"programId":"demo","eventType":"nonsense","accountId":"A1"},', "{}]"
    ),
    "nested arrays": lambda size: _of_size(size, HEAD, "[", ""),
    "nested objects": lambda size: _of_size(size, HEAD, '{"a":', ""),
    "one long text": lambda size: _of_size(size, HEAD + '{"firstName":"', "x", '"}}'),
    "one long name": lambda size: _of_size(size, HEAD + '{"', "x", '":1}}'),
    "one long number": lambda size: _of_size(size, HEAD + '{"points":', "9", "}}"),
    "many fields": lambda size: HEAD + "{" + ",".join(f'"f{n}":{n}' for n in range(size // 16)) + "}}",
    "one field many times": lambda size: _of_size(size, HEAD + "{", '"points":1,', '"points":2}}'),
    "custom properties": lambda size: _of_size(
        size, HEAD + '{"customProperties":[', '{"name":"n","value":[1]},', "{}]}}"
    ),
    "bad custom properties": lambda size: _of_size(size, HEAD + '{"customProperties":[', "1,", "1]}}"),
    "escapes": lambda size: _of_size(size, HEAD + '{"firstName":"', "\\u00e9", '"}}'),
    "no JSON": lambda size: "x" * size,
    "blanks": lambda size: " " * size,
}
SIZES = {
    "forward_events": 1 * MIB,
    "receive_events": 256 * 1024,
    "punchh_webhook": 4 * MIB,
    "loyalty_webhook": 4 * MIB,
    "assign_coupon": 256 * 1024,
}
"""Bytes that the gateway or the queue lets through; a webhook's body travels in base64 within Lambda's 6 MB."""


def main(function: str) -> None:
    """Call the function with each input, and write what happened."""
    properties = next(
        one["Properties"]
        for one in resources("AWS::Serverless::Function").values()
        if one["Properties"]["CodeUri"] == f"functions/{function}"
    )
    seconds, megabytes = properties["Timeout"], properties["MemorySize"]
    braze, upstream = Braze(), Convercus()
    braze.workspace(KEY)
    with mock_aws(), serving(braze.answer) as braze.url, serving(upstream.answer) as upstream.url:
        call = CALLS[function](braze.url, upstream.url)
        handler = loaded(function)
        handler(call("{}"), http_events.context(seconds, function))  # connects and imports
        limit = _address_space() + (megabytes - RUNTIME_MEGABYTES) * MIB
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for name, make in INPUTS.items():
            request = call(make(SIZES[function]))
            signal.alarm(seconds)  # ends the process, as Lambda does
            began = time.monotonic()
            with redirect_stdout(StringIO()) as result:
                answer = handler(request, http_events.context(seconds, function))
            outcome = {
                "input": name,
                "status": answer.get("statusCode", 200),
                "seconds": time.monotonic() - began,
                "defects": '"defects"' in result.getvalue(),
            }
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


def _address_space() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - not a file on a disk
        return int(statm.read().split()[0]) * resource.getpagesize()


def _stores() -> Any:
    settings = make_stores(make_key())
    named = {
        "IDEMPOTENCY_TABLE": "IdempotencyTable",
        "BATCHES_TABLE": "BatchesTable",
        "BATCHES_QUEUE_URL": aws.sqs().create_queue(QueueName="batches")["QueueUrl"],
    }
    os.environ.update(variables(settings) | named)
    return environment.load_settings(PlanSettings)


def _forwarded(braze: str, _: str) -> Call:
    connect(_stores(), braze)
    return lambda body: (streamed if body.startswith(HEAD) else queued)(body, event())


def _posted(path: str, convercus: str) -> Call:
    settings = _stores()
    http_events.connect(settings, convercus)
    key = api_keys.create(settings, "demo", "test")[0]
    found = http_events.routed("POST", f"/v1/programs/demo/{path}")
    assert found
    headers = {"content-type": "application/json", "x-convercus-key": key}
    return lambda body: http_events.event(*found, headers=headers, body=body.encode())


def _delivered(platform: Literal["punchh", "loyalty"], braze: str) -> Call:
    loyalty = {"platform": "punchh" if platform == "punchh" else "brevo"}
    connect_webhooks(_stores(), loyalty, {"api_endpoint": braze}, braze_api_key=KEY)
    return lambda body: delivery(platform, body, binary=True, at=time.time())


CALLS: Mapping[str, Callable[[str, str], Call]] = {
    "forward_events": _forwarded,
    "receive_events": lambda _, convercus: _posted("events", convercus),
    "assign_coupon": lambda _, convercus: _posted("campaigns/C1/assign", convercus),
    "punchh_webhook": lambda braze, _: _delivered("punchh", braze),
    "loyalty_webhook": lambda braze, _: _delivered("loyalty", braze),
}
"""How each function is connected; gives what makes its event of a body."""

if __name__ == "__main__":
    main(*sys.argv[1:])
