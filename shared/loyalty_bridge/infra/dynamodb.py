"""Many items in few round trips: batch reads and writes of DynamoDB that take what is left over up again."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.infra.retry import attempts

T = TypeVar("T")

Keys = Sequence[tuple[str, dict[str, Any]]]
"""Table and key, or table and item."""

TRANSACTION_ITEMS = 100
"""Writes that a transaction takes (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/
transaction-apis.html)."""
_LONGEST_KEY = 1000
_FINAL = ("ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException")
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html"""


def item_key(*parts: str) -> str:
    """Make the key of an item; DynamoDB takes 2,048 bytes, and whoever sends an id may send any length."""
    told = "#".join(parts)
    if len(told) <= _LONGEST_KEY and told.isascii():
        return told
    return f"{parts[0]}#{parts[1]}#{hashlib.blake2b(told.encode(errors='surrogatepass'), digest_size=32).hexdigest()}"


def batch_get(keys: Keys, deadline: float) -> dict[str, list[dict[str, Any]]]:
    """Read items by key, strongly consistent: a hundred in a round trip, several round trips at once.

    Raises
    ------
    Unavailable
        When DynamoDB does not give all of them before `deadline` (of `time.monotonic`).
    """
    found: dict[str, list[dict[str, Any]]] = {table: [] for table, _ in keys}
    for answer in aws.side_by_side(lambda part: _batch_get(part, deadline), chunks(keys, 100)):
        for table, items in answer:
            found[table] += items
    return found


def batch_put(items: Keys, deadline: float) -> None:
    """Write items, each replacing what is there: twenty-five in a round trip, several round trips at once.

    Raises
    ------
    Unavailable
        When DynamoDB does not take all of them before `deadline` (of `time.monotonic`).
    """
    if batch_put_remaining(items, deadline):
        raise Unavailable("DynamoDB does not take what was given")


def batch_put_remaining(items: Keys, deadline: float) -> Keys:
    """Write items as `write` does; gives those that DynamoDB has not taken before `deadline`.

    Every failure is repeated until then, except that of an item that DynamoDB can never take.
    """
    return [
        item for left in aws.side_by_side(lambda part: _batch_put(part, deadline), chunks(items, 25)) for item in left
    ]


def update_each(updates: Sequence[Mapping[str, Any]], deadline: float) -> list[Mapping[str, Any]]:
    """Change items as `each` does.

    Parameters
    ----------
    updates
        The parameters of UpdateItem.

    Raises
    ------
    Unavailable
        When DynamoDB does not take all of the others before `deadline` (of `time.monotonic`).
    """
    return [left["Update"] for left in write_each([{"Update": one} for one in updates], deadline)]


def write_each(writes: Sequence[Mapping[str, Any]], deadline: float) -> list[Mapping[str, Any]]:
    """Do writes, each under its own condition: a hundred in a round trip, several round trips at once.

    A round trip is a transaction, which writes twice as much as single writes, in a fraction of their time; what is
    changed by somebody else meanwhile turns it away, and it is tried again.

    Parameters
    ----------
    writes
        The items of TransactWriteItems.

    Returns
    -------
    list
        Those that were not done: their condition does not hold, or DynamoDB never takes them (an item beyond 400 KB).

    Raises
    ------
    Unavailable
        When DynamoDB does not take all of the others before `deadline` (of `time.monotonic`).
    """
    undone = aws.side_by_side(lambda part: _write_each(part, deadline), chunks(writes, TRANSACTION_ITEMS))
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
            if _is_final(error):  # one that can never be taken fails the request of all
                alone = (
                    [one for write in wanted for one in _write_each([write], deadline)] if len(wanted) > 1 else wanted
                )
                return [*left, *alone]
        else:
            return left
    raise Unavailable("DynamoDB does not take what was given")


def transact(writes: Sequence[Mapping[str, Any]], deadline: float) -> bool:
    """Do several writes in one round trip, all or none of them; tell whether their conditions hold.

    Parameters
    ----------
    writes
        The items of TransactWriteItems, at most `TOGETHER`.

    Raises
    ------
    Unavailable
        When DynamoDB does not take them before `deadline` (of `time.monotonic`).
    """
    client = aws.dynamodb()
    turned_away = client.exceptions.TransactionCanceledException
    wanted: Any = list(writes)
    # DynamoDB recognises a repeat whose first reply was lost, and does not take our own write for another's.
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
    raise Unavailable("DynamoDB does not take what was given")


def chunks(parts: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a sequence."""
    return [parts[start : start + size] for start in range(0, len(parts), size)]


def _batch_get(keys: Keys, deadline: float) -> list[tuple[str, list[dict[str, Any]]]]:
    found: list[tuple[str, list[dict[str, Any]]]] = []
    request: Any = {
        table: {"Keys": [key for name, key in keys if name == table], "ConsistentRead": True}
        for table in dict.fromkeys(name for name, _ in keys)
    }
    for _ in attempts(deadline, longest=math.inf):
        with aws.reaching("DynamoDB"):
            reply = aws.dynamodb().batch_get_item(RequestItems=request)
        found += list(reply["Responses"].items())
        request = reply.get("UnprocessedKeys")
        if not request:
            return found
    raise Unavailable("DynamoDB does not give what was asked for")


def _batch_put(items: Keys, deadline: float) -> Keys:
    """Write at most twenty-five items; gives those that are left."""
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
            # One item that can never be taken fails the request of all.
            return [one for item in left for one in _batch_put([item], deadline)] if len(left) > 1 else left
        left = [(table, one["PutRequest"]["Item"]) for table, ones in undone.items() for one in ones]
        if not left:
            break
    return left


def _is_final(error: Unavailable) -> bool:
    """Tell whether DynamoDB would answer every repeat of a request in the same way."""
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in _FINAL
