"""What AWS throws becomes `Unavailable`."""

from __future__ import annotations

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
