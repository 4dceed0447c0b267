"""Items of plain values, writes under a condition, pages, and transactions that are repeated under their token."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.settings import DeliverySettings


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


VALUES: dict[str, Any] = {
    "text": "Zoë",
    "empty": "",
    "number": 7,
    "below zero": -3,
    "large": 10**30,
    "fraction": 1_700_000_000.125,
    "yes": True,
    "no": False,
    "bytes": b"\x00\xff",
    "set": {"a", "b"},
    "list": ["a", 1, [b"c"], {"d": False}],
    "mapping": {"deep": {"deeper": [1.5]}},
}


def test_a_stored_item_has_the_values_that_were_written(stores: DeliverySettings) -> None:
    key = {"program": "demo", "item": "any"}

    dynamodb.put(stores.programs_table, key | VALUES | {"none": None, "empty set": frozenset()})

    assert dynamodb.get(stores.programs_table, key) == key | VALUES


def test_a_value_that_dynamodb_has_no_type_for_is_not_written() -> None:
    with pytest.raises(TypeError, match="object"):
        dynamodb.to_item({"value": object()})


@pytest.mark.parametrize(
    ("condition", "expected"), [("n = :n", None), ("n > :n", {"program": "p", "item": "i", "n": 5})]
)
def test_a_write_under_a_condition_returns_the_item_that_does_not_meet_it(
    stores: DeliverySettings, condition: str, expected: dynamodb.Item | None
) -> None:
    table, key, values = stores.programs_table, {"program": "p", "item": "i"}, {":n": 5}
    dynamodb.put(table, key | {"n": 5})

    updated = dynamodb.update(table, key, "SET #other = :n", values, condition)
    replaced = dynamodb.put(table, key | {"n": 5}, condition, values)
    deleted = dynamodb.delete(table, key, condition, values)

    assert [updated, replaced, deleted] == [expected] * 3
    assert dynamodb.get(table, key) == expected


def test_a_condition_on_an_item_that_does_not_exist_returns_an_empty_one(stores: DeliverySettings) -> None:
    key = {"program": "p", "item": "i"}

    assert dynamodb.delete(stores.programs_table, key, "attribute_exists(program)") == {}


def test_all_pages_are_read(stores: DeliverySettings) -> None:
    for number in range(5):
        dynamodb.put(stores.programs_table, {"program": "p", "item": f"i{number}", "even": number % 2 == 0})

    queried = dynamodb.query(stores.programs_table, "program = :p", {":p": "p"}, Limit=2)
    scanned = dynamodb.scan(stores.programs_table, "#even = :yes", {":yes": True}, Limit=2)

    assert [item["item"] for item in queried] == ["i0", "i1", "i2", "i3", "i4"]
    assert sorted(item["item"] for item in scanned) == ["i0", "i2", "i4"]


def test_an_error_other_than_a_failed_condition_is_unavailable(stores: DeliverySettings) -> None:
    with pytest.raises(Unavailable, match="ResourceNotFoundException"):
        dynamodb.put("no-such-table", {"program": "p", "item": "i"}, "attribute_exists(program)")
