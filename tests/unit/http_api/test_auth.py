"""Who may call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from loyalty_bridge.errors import Unauthorized, Unavailable
from loyalty_bridge.http_api.auth import authenticate
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys, delivery_state, repository
from loyalty_bridge.programs.connection import Connection
from loyalty_bridge.settings import DeliverySettings

UNKNOWN = "cvc_" + "A" * 43


@pytest.fixture
def key(stores: DeliverySettings) -> str:
    """Return a key of the program ``demo``; there is a program ``other``, too."""
    for program in ("demo", "other"):
        repository.save(stores, None, program, Connection(), {})
    return api_keys.create(stores, "demo", "Braze")[0]


@pytest.fixture
def trips(stores: DeliverySettings) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Record the DynamoDB calls inside the block."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked.append((model.name, params))

    aws.dynamodb().meta.events.register("provide-client-params.dynamodb", note)
    yield asked
    aws.dynamodb().meta.events.unregister("provide-client-params.dynamodb", note)


@pytest.mark.parametrize("header", ["x-convercus-key", "x-bridge-key"])
def test_a_key_of_the_program_admits_in_one_consistent_round_trip(
    stores: DeliverySettings, key: str, trips: list[tuple[str, dict[str, Any]]], header: str
) -> None:
    delivery_state.hold(stores, "demo", "Braze answers 401", 1_767_607_200)
    trips.clear()

    access = authenticate(stores, "demo", {header: f" {key} ", "content-type": "application/json"})

    [(call, asked)] = trips
    assert call == "BatchGetItem"
    assert asked["RequestItems"][stores.programs_table]["ConsistentRead"] is True
    assert (access.program.id, access.program.delivery_state.state) == ("demo", "held")
    assert access.token.issue == 0


@pytest.mark.parametrize("blank", ["", " ", "\t "])
def test_a_blank_header_does_not_hide_the_key_in_the_other(stores: DeliverySettings, key: str, blank: str) -> None:
    access = authenticate(stores, "demo", {"x-convercus-key": blank, "x-bridge-key": key})

    assert access.program.id == "demo"


def test_the_shared_token_comes_with_it(stores: DeliverySettings, key: str) -> None:
    token = {"program": {"S": "demo"}, "item": {"S": "token"}, "issue": {"N": "7"}, "expires": {"N": "1767607200"}}
    boto3.client("dynamodb").put_item(TableName=stores.programs_table, Item=token)

    access = authenticate(stores, "demo", {"x-convercus-key": key})

    assert (access.token.issue, access.token.expires) == (7, 1_767_607_200)


def test_what_cannot_be_a_key_or_a_program_costs_no_round_trip(
    stores: DeliverySettings, trips: list[tuple[str, dict[str, Any]]]
) -> None:
    malformed: list[dict[str, str]] = [
        {},
        {"x-convercus-key": ""},
        {"x-convercus-key": "cvc_"},
        {"x-convercus-key": "cvc_{{key}}"},
        {"x-convercus-key": "cvc_" + "é" * 43},
        {"x-convercus-key": f"{UNKNOWN},{UNKNOWN}"},
        {"authorization": UNKNOWN},
    ]
    programs = ["", " ", ".", "demo/..", "demo#", "{{program}}", "é", "x" * 3000]

    for program, headers in [
        *(("demo", headers) for headers in malformed),
        *((program, {"x-convercus-key": UNKNOWN}) for program in programs),
    ]:
        with pytest.raises(Unauthorized):
            authenticate(stores, program, headers)

    assert trips == []


def test_every_refusal_is_the_same(stores: DeliverySettings, key: str) -> None:
    revoked, found = api_keys.create(stores, "demo", "revoked")
    api_keys.revoke(stores, "demo", found.id)
    orphan, _ = api_keys.create(stores, "nowhere", "of a program that is not connected")
    refused = []

    for program, shown in [
        ("demo", ""),
        ("demo", "malformed"),
        ("demo", UNKNOWN),
        ("demo", revoked),
        ("other", key),
        ("unknown", key),
        ("nowhere", orphan),
    ]:
        with pytest.raises(Unauthorized) as error:
            authenticate(stores, program, {"x-convercus-key": shown})
        refused.append(str(error.value))

    assert len(set(refused)) == 1


def test_a_key_is_revoked_at_once(stores: DeliverySettings, key: str) -> None:
    [result] = api_keys.list_all(stores, "demo")
    authenticate(stores, "demo", {"x-convercus-key": key})

    api_keys.revoke(stores, "demo", result.id)

    with pytest.raises(Unauthorized):
        authenticate(stores, "demo", {"x-convercus-key": key})


def test_a_key_that_cannot_be_checked_is_not_a_wrong_one(stores: DeliverySettings, key: str) -> None:
    def fail(**_: Any) -> None:
        failure: Any = {"Error": {"Code": "InternalServerError"}}
        raise ClientError(failure, "BatchGetItem")

    events = aws.dynamodb().meta.events
    events.register("before-call.dynamodb.BatchGetItem", fail)

    with pytest.raises(Unavailable):
        authenticate(stores, "demo", {"x-convercus-key": key})

    events.unregister("before-call.dynamodb.BatchGetItem", fail)
