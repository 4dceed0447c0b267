"""Who changed what, of which program, and when: a line before each change, which then tells how it ended.

The lines are in a table of their own, which the page can read and add to but not delete from. Never in them: values of
secrets and of members' data.
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
    """Note a change before it is made, and after it how it ended; what cannot be noted is not done.

    Parameters
    ----------
    what
        The operation, such as ``revoke_key``.
    about
        What of the program, by its id or by the names of fields.

    Raises
    ------
    Unavailable
        DynamoDB does not take the line.
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
    """List what was changed of a program, newest first.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("the audit"):
        found = aws.dynamodb().query(
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
        for item in found
    ]
