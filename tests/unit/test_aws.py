"""What AWS throws becomes `Unavailable`."""

from __future__ import annotations

import socket
import time

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from loyalty_bridge import aws
from loyalty_bridge.errors import Unavailable

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "private words"}}, "GetItem")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (THROTTLED, "the table: ThrottlingException"),
        (ReadTimeoutError(endpoint_url="http://private"), "the table: ReadTimeoutError"),
        (EndpointConnectionError(endpoint_url="http://private"), "the table: EndpointConnectionError"),
    ],
)
def test_a_failure_of_aws_is_named_without_its_words(error: Exception, told: str) -> None:
    with pytest.raises(Unavailable) as raised, aws.reaching("the table"):
        raise error

    assert str(raised.value) == told


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
