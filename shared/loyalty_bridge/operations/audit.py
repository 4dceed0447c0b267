"""Record who changed which program, and when: one line per change, written before it and completed after it.

The page's role can read and add lines, but not delete them. Lines contain neither secrets nor members' data.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import BridgeError
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM

if TYPE_CHECKING:
    from loyalty_bridge.operations.context import OperatorContext
    from loyalty_bridge.settings import OperatorSettings

DAYS = 400


@contextmanager
def audited(ctx: OperatorContext, what: str, program: str = UNKNOWN_PROGRAM, about: str = "") -> Iterator[None]:
    """Record a change before it is made, and its outcome afterwards. A change that cannot be recorded is not made.

    Parameters
    ----------
    what
        The operation, such as ``revoke_key``.
    about
        The object of the operation: an id, or the names of fields.
    """
    now = time.time()
    line: dict[str, Any] = {
        "program": {"S": program},
        "at": {"S": f"{datetime.fromtimestamp(now, UTC).isoformat(timespec='milliseconds')}#{uuid.uuid4().hex[:8]}"},
        "who": {"S": ctx.operator.subject},
        "what": {"S": what},
        "about": {"S": about[:1000]},
        "outcome": {"S": "begun"},
        "expires": {"N": str(int(now) + DAYS * 86400)},
    }
    _put(ctx.settings, line)
    try:
        yield
    except BridgeError as error:
        _put(ctx.settings, line | {"outcome": {"S": f"not done ({type(error).__name__})"}})
        raise
    _put(ctx.settings, line | {"outcome": {"S": "done"}})


def _put(settings: OperatorSettings, line: dict[str, Any]) -> None:
    with aws.reaching("the audit"):
        aws.dynamodb().put_item(TableName=settings.audit_table, Item=line)


def list_lines(settings: OperatorSettings, program: str, limit: int = 200) -> list[dict[str, str]]:
    """List the changes of a program, newest first."""
    with aws.reaching("the audit"):
        items = aws.dynamodb().query(
            TableName=settings.audit_table,
            KeyConditionExpression="program = :program",
            ExpressionAttributeValues={":program": {"S": program}},
            ScanIndexForward=False,
            Limit=limit,
        )["Items"]
    return [
        {
            "at": item["at"]["S"].partition("#")[0],
            **{name: item[name]["S"] for name in ("who", "what", "about", "outcome")},
        }
        for item in items
    ]
