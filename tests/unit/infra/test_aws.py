"""What AWS throws becomes `Unavailable`."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from simulators.server import Answer, Request, serving

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "private words"}}, "GetItem")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (THROTTLED, "the table: ThrottlingException"),
        (ReadTimeoutError(endpoint_url="http://private"), "the table: ReadTimeoutError"),
        (EndpointConnectionError(endpoint_url="http://private"), "the table: EndpointConnectionError"),
    ],
)
def test_a_failure_of_aws_is_named_without_its_words(error: Exception, expected: str) -> None:
    with pytest.raises(Unavailable) as raised, aws.reaching("the table"):
        raise error

    assert str(raised.value) == expected


def test_an_answer_that_is_expected_passes_as_it_is() -> None:
    with pytest.raises(ClientError), aws.reaching("the table", but=ClientError):
        raise THROTTLED


def test_a_store_that_does_not_answer_is_given_up_when_the_function_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("STORE_REPLY_SECONDS", "0.1")
        aws._made.cache_clear()
        began = time.monotonic()

        with pytest.raises(Unavailable), aws.reaching("the programs"):
            aws.dynamodb().get_item(TableName="Programs", Key={"program": {"S": "demo"}})

    aws._made.cache_clear()
    assert time.monotonic() - began < 4


class Store:
    """A DynamoDB that answers with `answers` first, and then as it should."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.received: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.received.append(request)
        return self.answers.pop(0) if self.answers else Answer(200, b"{}")


def error(status: int, code: str) -> Answer:
    return Answer(status, json.dumps({"__type": f"com.amazonaws#{code}", "message": "no"}).encode())


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return a store that a look-up's function asks."""
    answering = Store()
    monkeypatch.setenv("STORE_REPLY_SECONDS", "0.6")
    aws._made.cache_clear()
    with serving(answering) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield answering
    aws._made.cache_clear()


def read() -> None:
    with aws.reaching("the programs"):
        aws.dynamodb().get_item(TableName="Programs", Key={"program": {"S": "demo"}})


def note() -> None:
    with aws.reaching("the activity"):
        aws.dynamodb_once().update_item(TableName="Activity", Key={"log": {"S": "demo"}})


def decrypt() -> None:
    with aws.reaching("the secret"):
        aws.kms().decrypt(CiphertextBlob=b"sealed")


@pytest.mark.parametrize("call", [read, note, decrypt])
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(Answer(0, delivery="reset"), id="connection reset"),
        pytest.param(Answer(0, delivery="close"), id="connection closed"),
        pytest.param(error(400, "ProvisionedThroughputExceededException"), id="busy partition"),
        pytest.param(error(400, "ThrottlingException"), id="throttled"),
        pytest.param(error(500, "InternalServerError"), id="500"),
        pytest.param(error(503, "ServiceUnavailable"), id="503"),
    ],
)
def test_what_fails_at_once_is_repeated_at_once(store: Store, call: Callable[[], None], failure: Answer) -> None:
    store.answers = [Answer(200, b'{"Plaintext": "c2VjcmV0"}' if call is decrypt else b"{}"), failure]
    call()
    began = time.monotonic()

    call()

    assert len(store.received) == 3
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("call", [read, note])
def test_what_takes_time_is_not_repeated(store: Store, call: Callable[[], None]) -> None:
    store.answers = [Answer(0, delivery="silent", delay=5)]

    with pytest.raises(Unavailable):
        call()

    assert len(store.received) == 1


@pytest.mark.parametrize(
    ("failure", "most"),
    [
        (Answer(0, delivery="reset"), 2),
        (error(400, "ProvisionedThroughputExceededException"), 4),
        (error(400, "ValidationException"), 1),
        (error(400, "AccessDeniedException"), 1),
    ],
    ids=["reset", "throttled", "invalid", "denied"],
)
def test_a_store_that_keeps_failing_is_left_soon(store: Store, failure: Answer, most: int) -> None:
    store.answers = [failure] * 20
    began = time.monotonic()

    with pytest.raises(Unavailable):
        read()

    assert 1 <= len(store.received) <= most
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_connections_that_a_frozen_function_kept_are_not_used(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    read()
    read()
    real: Callable[[], Any] = getattr(time, clock)
    monkeypatch.setattr(time, clock, lambda: real() + 21)

    read()
    read()

    assert [one.connection for one in store.received] == [1, 1, 2, 2]
