"""The AWS clients: made when first used, once per container."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from loyalty_bridge import USER_AGENT
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


def _client(service: str, *, once: bool = False) -> Any:
    """Give the container's client of a service; threads may ask for it at once."""
    with _lock:
        return _made(service, once)


@cache
def _session() -> Any:
    # What boto3 adds to it (resources, transfers) takes more than half of its import time, and nothing here uses it.
    from botocore.session import get_session

    return get_session()


@cache
def _made(service: str, once: bool) -> Any:
    from botocore.config import Config

    # A store that does not answer within seconds is treated as failing: the invocation's time is limited, and that of
    # a look-up so much that it does not ask twice.
    seconds = _ONCE_SECONDS if once else float(os.environ.get("STORE_REPLY_SECONDS", "4"))
    config = Config(
        connect_timeout=min(seconds, 1),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": 3 if seconds >= 1 else 1},
        max_pool_connections=16,
        tcp_keepalive=True,
        parameter_validation=False,  # AWS checks too; checking every item here takes a tenth of the forwarder's time
        user_agent=USER_AGENT,  # botocore composes its own anew for each call, in a tenth of the call's time
    )
    client = _session().create_client(service, config=config)
    _ = client.exceptions  # made lazily, too: two threads would get different classes
    return client


def dynamodb() -> DynamoDBClient:
    """DynamoDB."""
    return cast("DynamoDBClient", _client("dynamodb"))


def dynamodb_once() -> DynamoDBClient:
    """DynamoDB, asked briefly and never twice: for what may be lost."""
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


def side_by_side(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """Do several round trips at once."""
    if len(parts) <= 1:
        return [work(part) for part in parts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_PARALLEL, len(parts))) as pool:
        return list(pool.map(work, parts))


@contextmanager
def reaching(what: str, but: type[BaseException] | tuple[()] = ()) -> Iterator[None]:
    """Turn whatever AWS throws into `Unavailable`, naming what was to be reached and AWS's code, never its text.

    Parameters
    ----------
    but
        What passes as it is: a failed condition is an answer, not a failure.
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
