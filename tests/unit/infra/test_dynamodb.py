"""Transactions: what is repeated is recognised by DynamoDB as the same."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loyalty_bridge.infra import aws, dynamodb


class Cancelled(ClientError):
    """As botocore's own, which a client makes."""

    def __init__(self, reason: str) -> None:
        super().__init__({"Error": {"Code": "TransactionCanceledException"}}, "TransactWriteItems")
        self.response["CancellationReasons"] = [{"Code": reason}]


@pytest.mark.parametrize(
    ("reasons", "holds"), [(["TransactionConflict"] * 2, True), (["ConditionalCheckFailed"], False)]
)
def test_a_transaction_is_repeated_under_its_token(
    monkeypatch: pytest.MonkeyPatch, reasons: list[str], holds: bool
) -> None:
    left, tokens = list(reasons), []

    def transact(ClientRequestToken: str, **_: Any) -> None:  # noqa: N803 - boto3's name
        tokens.append(ClientRequestToken)
        if left:
            raise Cancelled(left.pop())

    client = SimpleNamespace(
        transact_write_items=transact, exceptions=SimpleNamespace(TransactionCanceledException=Cancelled)
    )
    monkeypatch.setattr(aws, "dynamodb", lambda: client)

    done = [
        dynamodb.transact([{"Put": {}}], time.monotonic() + 5),
        dynamodb.transact([{"Put": {}}], time.monotonic() + 5),
    ]

    *first, second = tokens
    assert done == [holds, True]
    assert len(set(first)) == 1
    assert second not in first
