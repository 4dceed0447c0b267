"""A stand-in for DynamoDB (and for KMS and SQS) in a process of its own, for the benchmarks.

boto3 speaks to it as to AWS, so a container pays the real price of a round trip: encoding, signing, exchange, decoding.
It does what the functions ask and checks no condition. It counts calls, and the capacity units that DynamoDB would
charge (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html): a strongly
consistent read costs one for every 4 KB of an item begun, a write one for every 1 KB. ``GET /counts`` returns them;
``DELETE /counts`` forgets them, and all items but the programs.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simulators.server import Answer, Request, json_answer, run, serving
from tests.support.template import resources

_KEYS: dict[str, list[str]] = {
    name: [key["AttributeName"] for key in table["Properties"]["KeySchema"]]
    for name, table in resources("AWS::DynamoDB::Table").items()
}
KEPT_ITEMS = "ProgramsTable"

Item = dict[str, Any]


class DynamoDb:
    """Tables by name, served at `url`; each answer takes `latency` seconds."""

    def __init__(self, latency: float) -> None:
        self.url = ""
        self._latency = latency
        self._tables: dict[str, dict[tuple[str, ...], Item]] = {name: {} for name in _KEYS}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        if request.path == "/counts":
            return self._control(request)
        service, _, operation = request.headers["x-amz-target"].partition(".")
        asked = json.loads(request.body)
        if service == "TrentService":  # KMS: what is closed is what was open
            name, other = ("Plaintext", "CiphertextBlob") if operation == "Decrypt" else ("CiphertextBlob", "Plaintext")
            return json_answer(200, {name: asked[other], "KeyId": "key"})
        if service == "AmazonSQS":  # it takes everything
            entries = [{"Id": one["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for one in asked.get("Entries", ())]
            return json_answer(200, {"MessageId": "m", "Successful": entries, "Failed": []})
        with self._lock:
            self._counts["calls"] += 1
            self._counts[operation] += 1
            reply = {
                "BatchGetItem": self._batch_get,
                "BatchWriteItem": self._batch_write,
                "GetItem": self._get_item,
                "PutItem": self._put_item,
                "UpdateItem": self._set,
                "TransactWriteItems": self._together,
            }[operation](asked)
        return Answer(
            200, json.dumps(reply).encode(), {"content-type": "application/x-amz-json-1.0"}, delay=self._latency
        )

    def _control(self, request: Request) -> Answer:
        with self._lock:
            if request.method == "DELETE":
                self._counts.clear()
                for name, table in self._tables.items():
                    if name != KEPT_ITEMS:
                        table.clear()
            return json_answer(200, self._counts)

    def _batch_get(self, asked: Any) -> Any:
        found: dict[str, list[Item]] = {}
        for name, part in asked["RequestItems"].items():
            items = [self._tables[name].get(_key(name, key)) for key in part["Keys"]]
            self._counts["read_units"] += sum(units(item, 4096) for item in items)
            found[name] = [item for item in items if item]
        return {"Responses": found, "UnprocessedKeys": {}}

    def _batch_write(self, asked: Any) -> Any:
        for name, requests in asked["RequestItems"].items():
            for request in requests:
                self._put(name, request["PutRequest"]["Item"])
        return {"UnprocessedItems": {}}

    def _get_item(self, asked: Any) -> Any:
        item = self._tables[asked["TableName"]].get(_key(asked["TableName"], asked["Key"]))
        self._counts["read_units"] += units(item, 4096)
        return {"Item": item} if item else {}

    def _set(self, asked: Any) -> Any:
        """Set the attributes of an update; what it adds or removes is left."""
        name, key = asked["TableName"], asked["Key"]
        names, values = asked.get("ExpressionAttributeNames", {}), asked["ExpressionAttributeValues"]
        assignments = re.findall(r"(#?\w+) = (:\w+)", asked["UpdateExpression"])
        made = {names.get(attribute, attribute): values[value] for attribute, value in assignments}
        self._put(name, {**key, **self._tables[name].get(_key(name, key), {}), **made})
        return {}

    def _put_item(self, asked: Any) -> Any:
        self._put(asked["TableName"], asked["Item"])
        return {}

    def _together(self, asked: Any) -> Any:
        """Do the writes of a transaction, each twice; the updates there are set attributes, or add to ``members``."""
        for write in asked["TransactItems"] * 2:
            if put := write.get("Put"):
                self._put_item(put)
            elif (update := write.get("Update")) and update["UpdateExpression"].startswith("SET"):
                self._set(update)
            elif update:
                name, key = update["TableName"], update["Key"]
                before = self._tables[name].get(_key(name, key), key)
                new = update["ExpressionAttributeValues"][":members"]["SS"]
                members = sorted({*before.get("members", {"SS": []})["SS"], *new})
                self._put(name, {**before, "members": {"SS": members}})
        return {}

    def _put(self, name: str, item: Item) -> None:
        self._tables[name][_key(name, item)] = item
        self._counts["write_units"] += units(item, 1024)


def _key(table: str, item: Item) -> tuple[str, ...]:
    return tuple(next(iter(item[name].values())) for name in _KEYS[table])


def units(item: Item | None, block: int) -> int:
    """Return how many blocks of so many bytes are begun; what is not there costs one, too."""
    return -(-max(size(item or {}), 1) // block)


def size(item: Item) -> int:
    """Return an item's bytes as DynamoDB counts them.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Any) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content.strip("-0.")) // 2 + 2
        case "B":
            return len(base64.b64decode(content))
        case "SS":
            return sum(len(text.encode()) for text in content)
        case "L":
            return 3 + sum(1 + _size(one) for one in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(one) for name, one in content.items())
    return 1


@contextmanager
def stand_in(latency: float) -> Iterator[DynamoDb]:
    """Run one until the block ends."""
    database = DynamoDb(latency)
    with serving(database.answer) as database.url:
        yield database


if __name__ == "__main__":
    run(stand_in(float(sys.argv[1])))
