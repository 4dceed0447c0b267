"""Make the function that assigns a batch's coupon to its members."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.actions.clients import convercus_client
from loyalty_bridge.actions.context import ActionContext
from loyalty_bridge.actions.convercus import assign_coupon
from loyalty_bridge.actions.idempotency_store import DAY
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import NotConnected
from loyalty_bridge.programs import access_token, repository

if TYPE_CHECKING:
    from loyalty_bridge.actions.coupon_batches import CouponBatch
    from loyalty_bridge.settings import ActionSettings

RESERVE_SECONDS = 2.0
"""Part of the invocation's time that is kept for storing how an assignment ended."""


def assigner(settings: ActionSettings, batch: CouponBatch, seconds_left: float) -> Callable[[CouponBatch, str], str]:
    """Return a function that assigns a batch's coupon to a member, under a key made of batch and member.

    Raises
    ------
    NotConnected
        The program does not exist, or is not set up for actions.
    Unavailable
        The program cannot be read.
    """
    program, items = repository.load_with_items(settings, batch.program, access_token.ITEM)
    if program is None:
        raise NotConnected(f"there is no program {batch.program}")
    buffer.register_program(program)
    token = access_token.from_item(items.get(access_token.ITEM, {}))
    context = ActionContext(
        settings=settings,
        program=batch.program,
        client=convercus_client(settings, program, token),
        key=batch.key,
        fingerprint=batch.fingerprint,
        deadline=time.monotonic() + seconds_left - RESERVE_SECONDS,
        lease_expires_at=time.time() + seconds_left,
        repeat_window=0,
        about={coupon_batches.BATCH_ID: batch.id},
        retention_seconds=coupon_batches.DAYS * DAY,  # a message may leave the dead-letter queue after a week
    )

    def assign(batch: CouponBatch, account_id: str) -> str:
        answer = assign_coupon(
            context,
            batch.coupon_id,
            account_id,
            valid_from=batch.valid_from,
            valid_to=batch.valid_to,
            part=coupon_batches.part(account_id),
        )
        return str(answer.body["couponCode"])

    return assign
