"""Coupon codes that were given: a member gets the same code of a campaign again, however often it is asked for.

One item for each member, with an attribute for each campaign: who asks first takes it with a conditional write, and
fills in the code; who asks meanwhile waits. When the first dies, its lease ends, and the next one asks.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from loyalty_bridge.errors import BridgeError, InProgress, Unavailable
from loyalty_bridge.infra import aws, dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.settings import MemberSettings

_FOREVER = 1e11
"""Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Given:
    """A campaign's code of a member; without one, somebody is asking for it.

    Attributes
    ----------
    until
        When it is over (epoch seconds).
    owner
        Who is asking for it.
    """

    code: str
    until: float
    owner: str = ""


def key(program: str, member: str) -> str:
    """Name the codes of a member of a program, by its `generation`, in the table of the members."""
    return dynamodb.item_key(program, "codes", member)


def opened(item: Mapping[str, Any], campaign: str) -> Given | None:
    """Read the code of a campaign in an item, also an empty one."""
    found = item.get(_attribute(campaign), {}).get("M")
    texts = {name: found.get(name, {}).get("S", "") for name in ("code", "owner")} if found else {}
    return found and Given(until=float(found["until"]["N"]), **texts)


def give(
    settings: MemberSettings,
    program: str,
    member: str,
    campaign: str,
    seen: Given | None,
    ask: Callable[[], str],
    *,
    deadline: float,
    days: int | None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Give the code that the member has, or else the one that `ask` gets; it is remembered before it is given.

    Parameters
    ----------
    seen
        What was known when it was last read.
    deadline
        When the answer is due (of `time.monotonic`).
    days
        For how long the code is given again; None: for as long as the program lives.

    Raises
    ------
    InProgress
        Somebody else asks, and has no code in time.
    Unavailable
        The table does not answer.
    """
    pause = 0.1
    while True:
        if seen and seen.until > now():
            if seen.code:
                return seen.code
            if time.monotonic() + pause >= deadline:
                raise InProgress("another call is asking for this code", retry_after=seen.until - now())
            sleep(pause)
            pause = min(2 * pause, 0.5)
        mine = Given("", now() + max(deadline - time.monotonic(), 0), uuid.uuid4().hex)
        taken, seen = _write(
            settings,
            program,
            member,
            campaign,
            mine,
            "attribute_not_exists(#campaign) OR #campaign.#until <= :now",
            now(),
        )
        # What stands in the way may be our own: the client repeats a write whose reply was lost.
        if taken or (seen and seen.owner == mine.owner):
            break
    try:
        code = ask()
    except BridgeError:
        with suppress(Unavailable):  # it is over soon anyway
            _give_up(settings, program, member, campaign, mine)
        raise
    until = now() + days * 86400 if days else _FOREVER
    # Of two, when a lease was over too early, the first that is written down is the member's.
    _, first = _write(
        settings, program, member, campaign, Given(code, until), "attribute_not_exists(#campaign.#code)", now()
    )
    return first.code if first else code


def _write(
    settings: MemberSettings,
    program: str,
    member: str,
    campaign: str,
    given: Given,
    condition: str,
    now: float,
) -> tuple[bool, Given | None]:
    """Write under a condition; tell whether it was, and else what is there."""
    told: dict[str, Any] = {"until": {"N": f"{given.until:.3f}"}}
    if given.owner:
        told["owner"] = {"S": given.owner}
    if given.code:
        told["code"] = {"S": given.code}
    names = {"#campaign": _attribute(campaign), "#code": "code", "#until": "until"}
    client = aws.dynamodb()
    try:
        with aws.reaching("the members", but=client.exceptions.ConditionalCheckFailedException):
            client.update_item(
                TableName=settings.members_table,
                Key={"member": {"S": key(program, member)}},
                UpdateExpression="SET #campaign = :given",
                ConditionExpression=condition,
                ExpressionAttributeNames={name: it for name, it in names.items() if name in condition + "#campaign"},
                ExpressionAttributeValues={":given": {"M": told}}
                | ({":now": {"N": f"{now:.3f}"}} if ":now" in condition else {}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
    except client.exceptions.ConditionalCheckFailedException as failed:
        return False, opened(cast("Mapping[str, Any]", failed.response).get("Item", {}), campaign)
    return True, None


def _give_up(settings: MemberSettings, program: str, member: str, campaign: str, mine: Given) -> None:
    """Let the next one ask, unless somebody else does already."""
    client = aws.dynamodb()
    try:
        with aws.reaching("the members", but=client.exceptions.ConditionalCheckFailedException):
            client.update_item(
                TableName=settings.members_table,
                Key={"member": {"S": key(program, member)}},
                UpdateExpression="REMOVE #campaign",
                ConditionExpression="#campaign.#until = :mine",
                ExpressionAttributeNames={"#campaign": _attribute(campaign), "#until": "until"},
                ExpressionAttributeValues={":mine": {"N": f"{mine.until:.3f}"}},
            )
    except client.exceptions.ConditionalCheckFailedException:
        return  # another lease


def _attribute(campaign: str) -> str:
    return f"campaign#{campaign}"
