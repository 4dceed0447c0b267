"""Keys for inbound calls: shown once, several per program, gone at once."""

from __future__ import annotations

import re

import boto3
import pytest

from loyalty_bridge.errors import NotFound
from loyalty_bridge.programs import api_keys
from loyalty_bridge.settings import DeliverySettings

KEY = "cvc_" + "A" * 43


def test_a_key_is_shown_once_and_stored_as_a_hash_only(stores: DeliverySettings) -> None:
    key, found = api_keys.create(stores, "demo", "Braze production")

    [item] = boto3.client("dynamodb").scan(TableName=stores.programs_table)["Items"]
    assert re.fullmatch(r"cvc_[A-Za-z0-9_-]{43}", key)
    assert item["item"] == {"S": api_keys.item_of(key)}
    assert key.removeprefix("cvc_") not in str(item)
    assert found.name == "Braze production"


def test_no_two_keys_are_equal(stores: DeliverySettings) -> None:
    made = {api_keys.create(stores, "demo", "same name")[0] for _ in range(5)}

    assert len(made) == 5


def test_a_programs_keys_are_listed_and_no_others(stores: DeliverySettings) -> None:
    _, first = api_keys.create(stores, "demo", "first")
    _, second = api_keys.create(stores, "demo", "second")
    api_keys.create(stores, "other", "another program's")
    api_keys.create(stores, "demo2", "a program's whose name begins alike")

    listed = api_keys.list_all(stores, "demo")

    assert {key.id: key for key in listed} == {first.id: first, second.id: second}


def test_a_revoked_key_is_gone_and_the_others_stay(stores: DeliverySettings) -> None:
    _, gone = api_keys.create(stores, "demo", "gone")
    _, stays = api_keys.create(stores, "demo", "stays")

    api_keys.revoke(stores, "demo", gone.id)

    assert api_keys.list_all(stores, "demo") == [stays]


def test_what_is_no_key_of_the_program_cannot_be_revoked(stores: DeliverySettings) -> None:
    _, key = api_keys.create(stores, "demo", "the only one")

    for program, id_ in [("other", key.id), ("demo", ""), ("demo", "0123456789ab"), ("demo", "#")]:
        with pytest.raises(NotFound):
            api_keys.revoke(stores, program, id_)

    assert api_keys.list_all(stores, "demo") == [key]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cvc_",
        KEY[:-1],
        KEY + "A",
        KEY + "\n",
        KEY + "=",
        KEY.removeprefix("cvc_"),
        "CVC_" + "A" * 43,
        f" {KEY}",
        f"{KEY},{KEY}",
        "cvc_" + "é" * 43,
        "cvc_" + "/" * 43,
    ],
)
def test_what_cannot_be_a_key_has_no_item(text: str) -> None:
    assert api_keys.item_of(text) is None


def test_a_key_has_one_item() -> None:
    # sha256 of the key, by coreutils
    assert api_keys.item_of(KEY) == "key#14b1e6ce9f024bf699841486362c98bd49cb32284bfbad0fe489367e58290c86"
