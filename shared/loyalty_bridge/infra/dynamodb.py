"""DynamoDB: items of plain values, writes under a condition, pages, and batches that repeat what is left over.

Every function raises `Unavailable` when DynamoDB does not answer, throttles for too long or rejects a request; its
callers do not repeat that in their documentation. The message names DynamoDB's error code.
"""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.infra.retry import attempts

T = TypeVar("T")

Item: TypeAlias = "dict[str, Any]"
"""Attributes as plain values: text, numbers, booleans, bytes, lists, mappings, and sets of text."""

Keys = Sequence[tuple[str, dict[str, Any]]]
"""Table and key, or table and item, in DynamoDB's own form."""

TRANSACTION_ITEMS = 100
"""Limit of one transaction (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
transaction-apis.html)."""
_LONGEST_KEY = 1000
_FINAL = ("ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException")
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html"""


def item_key(*parts: str) -> str:
    """Return the key of an item; a long one ends in a hash: ids have any length, and DynamoDB takes 2,048 bytes."""
    text = "#".join(parts)
    if len(text) <= _LONGEST_KEY and text.isascii():
        return text
    return f"{parts[0]}#{parts[1]}#{hashlib.blake2b(text.encode(errors='surrogatepass'), digest_size=32).hexdigest()}"


# Values. boto3's serializer would do the same, but its import costs a cold start more than all look-ups use of it.


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Encode attributes in DynamoDB's form; those that are None or an empty set are left out."""
    return {
        name: _encode(value)
        for name, value in values.items()
        if value is not None and not (isinstance(value, set | frozenset) and not value)
    }


def from_item(item: Mapping[str, Any]) -> Item:
    """Decode the attributes of an item; numbers become int or float, and sets become sets."""
    return {name: _decode(value) for name, value in item.items()}


def _encode(value: Any) -> dict[str, Any]:
    if kind := _SCALARS.get(type(value)):
        return {kind: value}
    if isinstance(value, int | float):
        return {"N": repr(value)}
    if isinstance(value, set | frozenset):
        return {"SS": sorted(value)}
    if isinstance(value, Mapping):
        return {"M": to_item(value)}
    if isinstance(value, list | tuple):
        return {"L": [_encode(member) for member in value]}
    raise TypeError(f"DynamoDB has no type for {type(value).__name__}")


def _decode(value: Mapping[str, Any]) -> Any:
    [(kind, content)] = value.items()
    return _DECODERS[kind](content) if kind in _DECODERS else content


def number(item: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """Return a number of an item; `default` if it is absent or, written by another version, of another type."""
    value = item.get(name)
    return value if isinstance(value, int | float) else default


def text(item: Mapping[str, Any], name: str) -> str:
    """Return a text of an item; empty if it is absent or of another type."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdecimal() else float(text)


_SCALARS: Mapping[type, str] = {bool: "BOOL", str: "S", bytes: "B"}
_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "N": _number,
    "M": from_item,
    "L": lambda members: [_decode(member) for member in members],
    "SS": set,
    "BS": set,
    "NS": lambda members: set(map(_number, members)),
    "NULL": lambda _: None,
}


# Single items.


def get(table: str, key: Mapping[str, Any]) -> Item | None:
    """Read an item, strongly consistent; None if it does not exist."""
    with aws.reaching("DynamoDB"):
        reply = aws.dynamodb().get_item(TableName=table, Key=to_item(key), ConsistentRead=True)
    return from_item(reply["Item"]) if "Item" in reply else None


def put(
    table: str, item: Mapping[str, Any], condition: str = "", values: Mapping[str, Any] | None = None
) -> Item | None:
    """Write an item, in place of the one with its key.

    Parameters
    ----------
    condition, values
        ConditionExpression, and the values of its ``:placeholders``. Its ``#placeholders`` are attribute names.

    Returns
    -------
    Item | None
        None when it is written; else the item that does not meet the condition, empty if it does not exist.
    """
    return _write(aws.dynamodb().put_item, {"TableName": table, "Item": to_item(item)}, condition, values)


def update(
    table: str,
    key: Mapping[str, Any],
    expression: str,
    values: Mapping[str, Any] | None = None,
    condition: str = "",
) -> Item | None:
    """Change an item by an UpdateExpression; parameters and result are those of `put`."""
    request = {"TableName": table, "Key": to_item(key), "UpdateExpression": expression}
    return _write(aws.dynamodb().update_item, request, condition, values, expression)


def delete(
    table: str, key: Mapping[str, Any], condition: str = "", values: Mapping[str, Any] | None = None
) -> Item | None:
    """Delete an item, if it exists; parameters and result are those of `put`."""
    return _write(aws.dynamodb().delete_item, {"TableName": table, "Key": to_item(key)}, condition, values)


def _write(
    operation: Callable[..., Any],
    request: dict[str, Any],
    condition: str,
    values: Mapping[str, Any] | None,
    expression: str = "",
) -> Item | None:
    from botocore.exceptions import ClientError

    request |= _placeholders(f"{expression} {condition}", values)
    if condition:
        request |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    with aws.reaching("DynamoDB"):
        try:
            operation(**request)
        except ClientError as error:
            # By its code: a client makes the classes of its errors when they are first used, in each thread its own.
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return from_item(cast("Mapping[str, Any]", error.response).get("Item", {}))
    return None


def _placeholders(expressions: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    names = {name: name[1:] for name in re.findall(r"#\w+", expressions)}
    return {
        **({"ExpressionAttributeNames": names} if names else {}),
        **({"ExpressionAttributeValues": to_item(values)} if values else {}),
    }


# Pages.


def query(table: str, condition: str, values: Mapping[str, Any], **options: Any) -> Iterator[Item]:
    """Yield the items that meet a KeyConditionExpression, a page at a time.

    Parameters
    ----------
    values
        Of the ``:placeholders``; ``#placeholders`` are attribute names.
    options
        Further parameters of Query, such as ``ScanIndexForward``.
    """
    return _pages("query", table, {"KeyConditionExpression": condition, **options}, values)


def scan(table: str, condition: str, values: Mapping[str, Any], **options: Any) -> Iterator[Item]:
    """Yield the items of a table that meet a FilterExpression, strongly consistent, as `query` does."""
    return _pages("scan", table, {"FilterExpression": condition, "ConsistentRead": True, **options}, values)


def _pages(operation: Any, table: str, request: dict[str, Any], values: Mapping[str, Any]) -> Iterator[Item]:
    expressions = " ".join(text for name, text in request.items() if name.endswith("Expression"))
    pages = (
        aws.dynamodb()
        .get_paginator(operation)
        .paginate(TableName=table, **request, **_placeholders(expressions, values))
    )
    with aws.reaching("DynamoDB"):
        for page in pages:
            yield from map(from_item, page["Items"])


# Batches.


def batch_get(keys: Keys, deadline: float, *, first: float = 0.1) -> dict[str, list[dict[str, Any]]]:
    """Read items by key, strongly consistent: a hundred in a round trip, several round trips in parallel.

    Parameters
    ----------
    first
        Seconds of the first pause, when DynamoDB leaves keys unprocessed.

    Raises
    ------
    Unavailable
        DynamoDB has not returned all of them before `deadline` (of `time.monotonic`).
    """
    found: dict[str, list[dict[str, Any]]] = {table: [] for table, _ in keys}
    for answer in aws.run_in_parallel(lambda part: _batch_get(part, deadline, first), chunks(keys, 100)):
        for table, items in answer:
            found[table] += items
    return found


def batch_put(items: Keys, deadline: float) -> None:
    """Write items, each in place of the one with its key: 25 in a round trip, several round trips in parallel.

    Raises
    ------
    Unavailable
        DynamoDB has not accepted all of them before `deadline` (of `time.monotonic`).
    """
    if batch_put_remaining(items, deadline):
        raise Unavailable("DynamoDB does not accept all items in time")


def batch_put_remaining(items: Keys, deadline: float) -> Keys:
    """Write items as `batch_put` does; return those that DynamoDB has not accepted before `deadline`.

    Every failure is repeated until then, except that of an item that DynamoDB can never accept.
    """
    return [
        item
        for left in aws.run_in_parallel(lambda part: _batch_put(part, deadline), chunks(items, 25))
        for item in left
    ]


def update_each(updates: Sequence[Mapping[str, Any]], deadline: float) -> list[Mapping[str, Any]]:
    """Run updates as `write_each` does; each is a mapping of UpdateItem's parameters."""
    return [left["Update"] for left in write_each([{"Update": one} for one in updates], deadline)]


def write_each(writes: Sequence[Mapping[str, Any]], deadline: float) -> list[Mapping[str, Any]]:
    """Run writes, each under its own condition: a hundred in a round trip, several round trips in parallel.

    A round trip is a transaction: it costs twice the write units of single writes, and a fraction of their time. When
    another writer changes one of its items at the same moment, it is repeated.

    Parameters
    ----------
    writes
        The items of TransactWriteItems.

    Returns
    -------
    list
        Those that were not carried out: their condition does not hold, or DynamoDB can never accept them (an item
        above 400 KB).

    Raises
    ------
    Unavailable
        DynamoDB has not accepted the others before `deadline` (of `time.monotonic`).
    """
    undone = aws.run_in_parallel(lambda part: _write_each(part, deadline), chunks(writes, TRANSACTION_ITEMS))
    return [one for left in undone for one in left]


def _write_each(writes: Sequence[Mapping[str, Any]], deadline: float) -> list[Mapping[str, Any]]:
    wanted, left = list(writes), list[Mapping[str, Any]]()
    turned_away = aws.dynamodb().exceptions.TransactionCanceledException
    for _ in attempts(deadline, longest=math.inf):
        try:
            with aws.reaching("DynamoDB", but=turned_away):
                aws.dynamodb().transact_write_items(TransactItems=cast("Any", wanted))
        except turned_away as error:
            reasons = cast("Mapping[str, Any]", error.response)["CancellationReasons"]
            out = [reason.get("Code") in ("ConditionalCheckFailed", "ValidationError") for reason in reasons]
            left += [one for one, is_out in zip(wanted, out, strict=True) if is_out]
            wanted = [one for one, is_out in zip(wanted, out, strict=True) if not is_out]
            if not wanted:
                return left
        except Unavailable as error:
            if _is_final(error):  # one that can never be accepted fails the request of all
                alone = (
                    [one for write in wanted for one in _write_each([write], deadline)] if len(wanted) > 1 else wanted
                )
                return [*left, *alone]
        else:
            return left
    raise Unavailable("DynamoDB does not accept all items in time")


def transact(writes: Sequence[Mapping[str, Any]], deadline: float) -> bool:
    """Run several writes in one transaction, all or none; return whether their conditions hold.

    Parameters
    ----------
    writes
        The items of TransactWriteItems, at most `TOGETHER`.

    Raises
    ------
    Unavailable
        DynamoDB has not accepted them before `deadline` (of `time.monotonic`).
    """
    client = aws.dynamodb()
    turned_away = client.exceptions.TransactionCanceledException
    wanted: Any = list(writes)
    # By the token DynamoDB recognises a repeat whose first reply was lost: our own write is no conflict.
    token = uuid.uuid4().hex
    for _ in attempts(deadline, longest=math.inf):
        try:
            with aws.reaching("DynamoDB", but=turned_away):
                client.transact_write_items(TransactItems=wanted, ClientRequestToken=token)
        except turned_away as error:
            reasons = cast("Mapping[str, Any]", error.response)["CancellationReasons"]
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                return False
        else:
            return True
    raise Unavailable("DynamoDB does not accept all items in time")


def chunks(parts: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a sequence into pieces of at most `size`."""
    return [parts[start : start + size] for start in range(0, len(parts), size)]


def _batch_get(keys: Keys, deadline: float, first: float) -> list[tuple[str, list[dict[str, Any]]]]:
    found: list[tuple[str, list[dict[str, Any]]]] = []
    request: Any = {
        table: {"Keys": [key for name, key in keys if name == table], "ConsistentRead": True}
        for table in dict.fromkeys(name for name, _ in keys)
    }
    for _ in attempts(deadline, first=first, longest=math.inf):
        with aws.reaching("DynamoDB"):
            reply = aws.dynamodb().batch_get_item(RequestItems=request)
        found += list(reply["Responses"].items())
        request = reply.get("UnprocessedKeys")
        if not request:
            return found
    raise Unavailable("DynamoDB does not return all items in time")


def _batch_put(items: Keys, deadline: float) -> Keys:
    """Write at most 25 items; return those that are left."""
    left = items
    for _ in attempts(deadline, longest=math.inf):
        request: Any = {
            table: [{"PutRequest": {"Item": item}} for name, item in left if name == table]
            for table in dict.fromkeys(name for name, _ in left)
        }
        try:
            with aws.reaching("DynamoDB"):
                undone = aws.dynamodb().batch_write_item(RequestItems=request)["UnprocessedItems"]
        except Unavailable as error:
            if not _is_final(error):
                continue
            # One item that can never be accepted fails the request of all.
            return [one for item in left for one in _batch_put([item], deadline)] if len(left) > 1 else left
        left = [(table, one["PutRequest"]["Item"]) for table, ones in undone.items() for one in ones]
        if not left:
            break
    return left


def _is_final(error: Unavailable) -> bool:
    """Return whether DynamoDB would answer every repeat of the request in the same way."""
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in _FINAL
