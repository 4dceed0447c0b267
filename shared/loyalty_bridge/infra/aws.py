"""The AWS clients: created on first use, once per container.

Failures of AWS raise `Unavailable` (see `reaching`); callers do not repeat that in their documentation.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from loyalty_bridge import USER_AGENT, clocks
from loyalty_bridge.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")
R = TypeVar("R")

_PARALLEL = 8
_lock = threading.Lock()
_ONCE_SECONDS = 0.3
_IDLE_SECONDS = 20.0
"""Connections that were idle for longer are closed before use. A function that was frozen does not see what happened to
them: https://docs.aws.amazon.com/lambda/latest/dg/best-practices.html (function code, keep-alive)"""
_SHORT_SECONDS = 2.0
"""A function with a shorter limit has a caller who waits."""
_AGAIN_SECONDS = 0.25
"""Calls that failed within this time are repeated, where a caller waits."""
_MOST_ATTEMPTS = 4
_THROTTLED = frozenset({
    "ProvisionedThroughputExceededException", "ThrottlingException", "ThrottledException", "Throttling",
    "RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "TransactionInProgressException",
})  # fmt: skip
"""https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"""

_used: dict[tuple[str, bool], clocks.Moment] = {}


def _client(service: str, *, once: bool = False) -> Any:
    """Return the container's client of a service, without stale connections; safe for threads."""
    with _lock:
        client = _made(service, once)
        if (service, once) in _used and clocks.is_past(_used[service, once], _IDLE_SECONDS):
            client.close()
        _used[service, once] = clocks.moment()
        return client


@cache
def _session() -> Any:
    # What boto3 adds to it (resources, transfers) takes more than half of its import time, and nothing here uses it.
    from botocore.session import get_session

    return get_session()


@cache
def _made(service: str, once: bool) -> Any:
    from botocore.config import Config

    # A store that does not answer within seconds is treated as failing: the invocation's time is limited. Where a
    # caller waits, time-outs are not repeated.
    seconds = _ONCE_SECONDS if once else float(os.environ.get("STORE_REPLY_SECONDS", "4"))
    config = Config(
        connect_timeout=min(seconds, 1),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": 1 if seconds < _SHORT_SECONDS else 3},
        max_pool_connections=16,
        tcp_keepalive=True,
        parameter_validation=False,  # AWS checks too; checking every item here takes a tenth of the forwarder's time
        user_agent=USER_AGENT,  # botocore would compose its own for each call, in a tenth of the call's time
    )
    client = _session().create_client(service, config=config)
    _ = client.exceptions  # made lazily, too: two threads would get different classes
    if seconds < _SHORT_SECONDS:
        client.meta.events.register("before-call", _note_start)
        client.meta.events.register("needs-retry", _repeat)
    return client


def _note_start(params: Any, **_: Any) -> None:
    params["context"]["bridge_start"] = time.monotonic()


def _repeat(
    attempts: int, response: Any = None, caught_exception: Any = None, request_dict: Any = None, **_: Any
) -> float | None:
    """Return the seconds until a call that failed quickly is repeated: 0 the first time, None for never.

    A connection that broke, a throttled call and an error of AWS cost no time; a time-out does, and is not repeated.
    """
    from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

    took = time.monotonic() - request_dict["context"]["bridge_start"]
    if attempts >= _MOST_ATTEMPTS or took > _AGAIN_SECONDS:
        return None
    if response is None:
        is_cheap = isinstance(caught_exception, ConnectionClosedError | EndpointConnectionError) and attempts == 1
    else:
        http, parsed = response
        is_cheap = http.status_code >= 500 or parsed.get("Error", {}).get("Code") in _THROTTLED
    return pause(attempts) if is_cheap else None


def pause(attempts: int) -> float:
    """Return the pause before a throttled call is repeated: 0 at first, then tens of milliseconds."""
    return 0.03 * (attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311


def dynamodb() -> DynamoDBClient:
    """DynamoDB."""
    return cast("DynamoDBClient", _client("dynamodb"))


def dynamodb_once() -> DynamoDBClient:
    """DynamoDB with a short limit and no repeats, for data that may be lost."""
    return cast("DynamoDBClient", _client("dynamodb", once=True))


def kinesis() -> KinesisClient:
    """Kinesis Data Streams."""
    return cast("KinesisClient", _client("kinesis"))


def kms() -> KMSClient:
    """Key Management Service."""
    return cast("KMSClient", _client("kms"))


def s3() -> S3Client:
    """S3."""
    return cast("S3Client", _client("s3"))


def secretsmanager() -> SecretsManagerClient:
    """Secrets Manager."""
    return cast("SecretsManagerClient", _client("secretsmanager"))


def sqs() -> SQSClient:
    """SQS."""
    return cast("SQSClient", _client("sqs"))


def run_in_parallel(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """Run several round trips in parallel."""
    if len(parts) <= 1:
        return [work(part) for part in parts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_PARALLEL, len(parts))) as pool:
        return list(pool.map(work, parts))


@contextmanager
def reaching(what: str, but: type[BaseException] | tuple[()] = ()) -> Iterator[None]:
    """Turn errors of AWS into `Unavailable`, with the name of the store and AWS's error code, never its text.

    Parameters
    ----------
    but
        Errors to pass on: a failed condition is an answer, not a failure.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except but:
        raise
    except (BotoCoreError, ClientError) as error:
        response = getattr(error, "response", None) or {}  # a time-out has the attribute, and None in it
        code = response.get("Error", {}).get("Code", type(error).__name__)
        raise Unavailable(f"{what}: {code}") from error


def stored_object(bucket: str, key: str) -> bytes | None:
    """Read an object; return None if it does not exist (S3 reports that only to roles that may list the bucket)."""
    client = s3()
    try:
        with reaching("S3", but=client.exceptions.NoSuchKey):
            return client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
