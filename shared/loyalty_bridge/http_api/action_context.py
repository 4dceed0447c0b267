"""From a call to who wants what of the loyalty platform: key checked, body read, client made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.actions.clients import convercus_client, punchh_client
from loyalty_bridge.actions.context import ActionContext
from loyalty_bridge.actions.convercus import assign_coupon
from loyalty_bridge.actions.idempotency import DAY
from loyalty_bridge.actions.idempotency import RESERVE_SECONDS as WAITING_RESERVE
from loyalty_bridge.actions.punchh import SIGNUP_MEMBER
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Invalid, NotConnected
from loyalty_bridge.http_api import requests
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.programs import access_token, repository
from loyalty_bridge.programs.connection import (
    PUNCHH_ADMIN_KEY,
    PUNCHH_CLIENT_SECRET,
    ConvercusSide,
    MoEngageSide,
)

if TYPE_CHECKING:
    from loyalty_bridge.actions.clients import PunchhClient
    from loyalty_bridge.actions.coupon_batches import CouponBatch
    from loyalty_bridge.http_api.auth import Access
    from loyalty_bridge.http_api.request_schemas import SignupMember
    from loyalty_bridge.http_api.requests import ApiRequest
    from loyalty_bridge.platforms.convercus import client as convercus
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import ActionSettings

RESERVE_SECONDS = 2.0
"""Kept back of the invocation, to write down how an action ended."""
ANSWER_SECONDS = 0.3
"""The same for an action whose caller waits for a few seconds only."""


def action_context(
    settings: ActionSettings,
    access: Access,
    call: ApiRequest,
    action: str,
    document: Any,
    parts: tuple[str | None, ...],
    seconds_left: float,
) -> ActionContext[convercus.Client]:
    """Tell who calls for an action, and how a repeat of it is recognised.

    Parameters
    ----------
    document
        The body as a model with ``idempotency_key`` and ``dispatch_id``.
    parts
        What the action acts on: a dispatch is shared by many members.
    """
    asked = document.model_dump(mode="json", exclude={"idempotency_key", "dispatch_id"})  # those are the key
    return ActionContext(
        settings=settings,
        program=access.program.id,
        client=convercus_client(settings, access.program, access.token),
        key=requests.idempotency_key(call, document.idempotency_key, document.dispatch_id, action, *parts),
        fingerprint=requests.fingerprint(call, action, asked),
        deadline=time.monotonic() + seconds_left - RESERVE_SECONDS,
        lease=time.time() + seconds_left,
        repeat_window=access.program.connection.repeat_window,
    )


def signup_context(
    settings: ActionSettings, access: Access, call: ApiRequest, body: SignupMember, limit: float
) -> ActionContext[PunchhClient]:
    """Tell who calls for a signup: the member's external id is the key.

    Parameters
    ----------
    limit
        In how many seconds after the gateway's receipt the answer is due.

    Raises
    ------
    Invalid
        The engagement platform of the program does not take the external id as a user's id.
    """
    if isinstance(access.program.connection.engagement, MoEngageSide):
        moengage.check_id(body.user.external_source_id, "user.external_source_id")
    left = call.seconds_left(limit)
    return ActionContext(
        settings=settings,
        program=access.program.id,
        client=punchh_client(
            settings, access.program, access.beside, needs=(PUNCHH_CLIENT_SECRET,), uses=(PUNCHH_ADMIN_KEY,)
        ),
        key=f"external_source_id:{body.user.external_source_id}",
        fingerprint=requests.fingerprint(call, SIGNUP_MEMBER, body.model_dump(mode="json")),
        deadline=time.monotonic() + left - ANSWER_SECONDS,
        lease=time.time() + left + WAITING_RESERVE,
        repeat_window=access.program.connection.repeat_window,
    )


def convercus_side(program: Program) -> ConvercusSide:
    """Give the Convercus side of a program.

    Raises
    ------
    NotConnected
        Its loyalty platform is another one.
    """
    side = program.connection.loyalty
    if not isinstance(side, ConvercusSide):
        raise NotConnected(f"the loyalty platform of {program.id} is not Convercus")
    return side


def within(limit: int | None, asked: float, field: str) -> None:
    """Check a limit of the program.

    Raises
    ------
    Invalid
        More is asked for.
    """
    if limit is not None and asked > limit:
        raise Invalid(field, f"is above the program's limit of {limit} in one call")


def carrier(settings: ActionSettings, batch: CouponBatch, seconds_left: float) -> Callable[[CouponBatch, str], str]:
    """Make what assigns a batch's coupon to a member, each under a key of batch and member.

    Raises
    ------
    NotConnected
        The program is gone, or not set up for actions.
    Unavailable
        It cannot be read.
    """
    program, items = repository.load_with(settings, batch.program, access_token.ITEM)
    if program is None:
        raise NotConnected(f"there is no program {batch.program}")
    buffer.register_program(program)
    known = access_token.from_item(items.get(access_token.ITEM, {}))
    who = ActionContext(
        settings=settings,
        program=batch.program,
        client=convercus_client(settings, program, known),
        key=f"batch:{batch.id}",
        fingerprint=batch.fingerprint,
        deadline=time.monotonic() + seconds_left - RESERVE_SECONDS,
        lease=time.time() + seconds_left,
        repeat_window=0,
        about={coupon_batches.BATCH_ID: batch.id},
        kept=coupon_batches.DAYS * DAY,  # a message may come back from the dead-letter queue after a week
    )

    def assign(batch: CouponBatch, account_id: str) -> str:
        answer = assign_coupon(
            who,
            batch.coupon_id,
            account_id,
            valid_from=batch.valid_from,
            valid_to=batch.valid_to,
            part=f"/{account_id}",
        )
        return str(answer.body["couponCode"])

    return assign
