"""One run of a task at a time: the schedule may start two, and two would lose the order of the records.

A lease in the programs' table, with a conditional write. It ends when the run ends, or with the time that Lambda gives
the run: one that dies holds up no other for longer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM

if TYPE_CHECKING:
    from loyalty_bridge.settings import ProgramSettings


def alone(settings: ProgramSettings, task: str, seconds: float, work: Callable[[], Counter[str]]) -> Counter[str]:
    """Run a task, unless another run of it is under way; return what happened, how often.

    Parameters
    ----------
    seconds
        Within which this run has ended in any case.
    """
    now = time.time()
    until = {":until": {"N": f"{now + seconds:.3f}"}}
    free = "attribute_not_exists(leased_until) OR leased_until <= :now"
    try:
        if not _update(settings, task, "SET leased_until = :until", free, until | {":now": {"N": f"{now:.3f}"}}):
            return Counter(already_running=1)
    except Unavailable:
        return Counter(unavailable=1)  # the next run tries again
    try:
        return work()
    finally:
        with suppress(Unavailable):  # the lease ends by itself
            _update(settings, task, "REMOVE leased_until", "leased_until = :until", until)


def _update(settings: ProgramSettings, task: str, change: str, condition: str, values: dict[str, Any]) -> bool:
    client = aws.dynamodb()
    failed = client.exceptions.ConditionalCheckFailedException
    try:
        with aws.reaching("the lease", but=failed):
            client.update_item(
                TableName=settings.programs_table,
                Key={"program": {"S": UNKNOWN_PROGRAM}, "item": {"S": f"lease:{task}"}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
    except failed:
        return False
    return True
