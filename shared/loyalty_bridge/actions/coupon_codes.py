"""Store a member's coupon codes, so that a member gets the same code of a campaign however often it is requested.

A member has one item, with an attribute for each campaign. The first request takes a lease with a conditional write,
generates the code and stores it; concurrent requests wait. If the first request dies, its lease expires and the next
one generates a code.

A generated code is not returned before it is stored. If it cannot be stored until the deadline, the container keeps it
and offers it to the next request instead of generating a second one.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from loyalty_bridge.errors import BridgeError, InProgress, Unavailable
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.infra.retry import attempts

if TYPE_CHECKING:
    from loyalty_bridge.settings import MemberSettings

_FOREVER = 1e11
"""Epoch seconds."""
_IS_FREE = "attribute_not_exists(#campaign) OR #campaign.#until <= :now"
_HAS_NO_CODE = "attribute_not_exists(#campaign.#code) OR #campaign.#until <= :now"
_MOST_UNSTORED = 1000

_unstored: OrderedDict[tuple[str, str, str], str] = OrderedDict()
"""Generated codes that this container could not store, by program, member and campaign; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A member's code of a campaign. Without a code it is the lease of a request that generates one.

    Attributes
    ----------
    until
        When it expires (epoch seconds).
    owner
        Id of the request that holds the lease.
    """

    code: str
    until: float
    owner: str = ""


@dataclass(frozen=True, slots=True)
class CodeKey:
    """A member's code of a campaign; the program is given by its `generation`."""

    program: str
    member: str
    campaign: str


def key(program: str, member: str) -> str:
    """Return the key of a member's codes in the members table; the program is given by its `generation`."""
    return dynamodb.item_key(program, "codes", member)


def from_item(item: Mapping[str, Any], campaign: str) -> StoredCode | None:
    """Read the code of a campaign from an item, which may be empty."""
    attributes = item.get(_attribute(campaign), {}).get("M")
    if not attributes:
        return None
    texts = {name: attributes.get(name, {}).get("S", "") for name in ("code", "owner")}
    return StoredCode(until=float(attributes["until"]["N"]), **texts)


def get_or_generate(
    settings: MemberSettings,
    code_key: CodeKey,
    stored: StoredCode | None,
    generate: Callable[[], str],
    *,
    deadline: float,
    days: int | None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Return the member's stored code, or generate and store one.

    Parameters
    ----------
    stored
        What the caller read last.
    deadline
        When the answer is due (of `time.monotonic`).
    days
        How long the code is stored; None: as long as the program exists.

    Raises
    ------
    InProgress
        Another request generates the code, and does not end in time.
    Unavailable
        The table does not answer. A code that was generated is stored by the next request of this container.
    """
    pause = 0.1
    while True:
        if stored and stored.until > now():
            if stored.code:
                return stored.code
            if time.monotonic() + pause >= deadline:
                raise InProgress("another call is generating this code", retry_after=stored.until - now())
            sleep(pause)
            pause = min(2 * pause, 0.5)
        lease = StoredCode("", now() + max(deadline - time.monotonic(), 0), uuid.uuid4().hex)
        is_taken, stored = _put(settings, code_key, lease, _IS_FREE, now())
        # The stored lease may be this request's own: the client repeats a write whose reply was lost.
        if is_taken or (stored and stored.owner == lease.owner):
            break
    unstored = (code_key.program, code_key.member, code_key.campaign)
    code = _unstored.get(unstored, "")
    try:
        code = code or generate()
    except BridgeError:
        with suppress(Unavailable):  # the lease expires soon anyway
            _release(settings, code_key, lease)
        raise
    _unstored[unstored] = code
    while len(_unstored) > _MOST_UNSTORED:
        _unstored.popitem(last=False)
    expiry = now() + days * 86400 if days else _FOREVER
    # When the lease expired too early, two codes were generated: the member's code is the one that is stored first.
    first = _insist(settings, code_key, StoredCode(code, expiry), deadline, now, sleep)
    _unstored.pop(unstored, None)
    return first.code if first else code


def _insist(
    settings: MemberSettings,
    code_key: CodeKey,
    new: StoredCode,
    deadline: float,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> StoredCode | None:
    """Store a generated code, repeating a write that fails until the deadline; return the code that was stored before.

    Only this request knows the code, and Punchh may not return it a second time.
    """
    for _ in attempts(deadline, first=0.05, sleep=sleep):
        try:
            return _put(settings, code_key, new, _HAS_NO_CODE, now())[1]
        except Unavailable as error:
            failure = error
    raise failure


def _put(
    settings: MemberSettings, code_key: CodeKey, new: StoredCode, condition: str, now: float
) -> tuple[bool, StoredCode | None]:
    """Write under a condition; return whether it was written, and otherwise what is stored."""
    attributes: dict[str, Any] = {"until": {"N": f"{new.until:.3f}"}}
    if new.owner:
        attributes["owner"] = {"S": new.owner}
    if new.code:
        attributes["code"] = {"S": new.code}
    names = {"#campaign": _attribute(code_key.campaign), "#code": "code", "#until": "until"}
    client = aws.dynamodb()
    try:
        with aws.reaching("the members", but=client.exceptions.ConditionalCheckFailedException):
            client.update_item(
                TableName=settings.members_table,
                Key={"member": {"S": key(code_key.program, code_key.member)}},
                UpdateExpression="SET #campaign = :new",
                ConditionExpression=condition,
                ExpressionAttributeNames={name: value for name, value in names.items() if name in condition},
                ExpressionAttributeValues={":new": {"M": attributes}, ":now": {"N": f"{now:.3f}"}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
    except client.exceptions.ConditionalCheckFailedException as failed:
        return False, from_item(cast("Mapping[str, Any]", failed.response).get("Item", {}), code_key.campaign)
    return True, None


def _release(settings: MemberSettings, code_key: CodeKey, lease: StoredCode) -> None:
    """Remove a lease, unless another request has taken it."""
    client = aws.dynamodb()
    try:
        with aws.reaching("the members", but=client.exceptions.ConditionalCheckFailedException):
            client.update_item(
                TableName=settings.members_table,
                Key={"member": {"S": key(code_key.program, code_key.member)}},
                UpdateExpression="REMOVE #campaign",
                ConditionExpression="#campaign.#until = :until",
                ExpressionAttributeNames={"#campaign": _attribute(code_key.campaign), "#until": "until"},
                ExpressionAttributeValues={":until": {"N": f"{lease.until:.3f}"}},
            )
    except client.exceptions.ConditionalCheckFailedException:
        return  # another lease


def _attribute(campaign: str) -> str:
    return f"campaign#{campaign}"
