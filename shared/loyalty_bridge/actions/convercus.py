"""Actions on Convercus: assign a coupon, book points, set e-mail opt-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Invalid, KeyReused, NotSent, OutcomeUnknown, Unavailable, UpstreamRejected
from loyalty_bridge.platforms.convercus.client import ACCOUNT_COUPON_ID

if TYPE_CHECKING:
    from loyalty_bridge.actions.context import ActionContext
    from loyalty_bridge.actions.idempotency_store import Record
    from loyalty_bridge.platforms.convercus.client import Client, Membership

ASSIGN_COUPON = "assign_coupon"
BOOK_POINTS = "book_points"
SUBSCRIBE_EMAIL = "subscribe_email"


def assign_coupon(
    context: ActionContext[Client],
    coupon_id: str,
    account_id: str,
    *,
    valid_from: str = "",
    valid_to: str = "",
    part: str = "",
) -> Answer:
    """Assign a coupon to a member; the answer holds its ``couponCode``. Raises as `idempotency.execute`."""

    def send(_: str) -> Answer:
        code = context.client.assign_coupon(
            account_id, coupon_id, deadline=context.deadline, valid_from=valid_from, valid_to=valid_to
        )
        return Answer(200, {"couponCode": code})

    def reconcile(record: Record) -> Answer | None:
        # Convercus stores no reference of the bridge: an assignment is known only by the id in its answer.
        id_ = record.about.get(ACCOUNT_COUPON_ID)
        code = context.client.coupon_code(id_, deadline=context.deadline) if id_ else ""
        return Answer(200, {"couponCode": code}) if code else None

    about = {"account_id": account_id, "coupon_id": coupon_id}
    return context.execute(
        ASSIGN_COUPON, send, about, reconcile, part=part, prepare=lambda: context.client.token(context.deadline, "")
    )


def book_points(
    context: ActionContext[Client],
    account_id: str,
    *,
    booking_type: Literal["EARNBOOKING", "BURNBOOKING"],
    booking_type_code: str,
    points: float,
    reason: str,
) -> Answer:
    """Book points on a member account; the answer holds the ``bookingId``. Raises as `idempotency.execute`."""

    def send(reference: str) -> Answer:
        booking_id = context.client.create_booking(
            account_id,
            booking_type=booking_type,
            booking_type_code=booking_type_code,
            points=points,
            reason=reason,
            reference=reference,
            deadline=context.deadline,
        )
        return Answer(200, {"bookingId": booking_id})

    def reconcile(record: Record) -> Answer | None:
        booking_id = context.client.find_booking(account_id, record.reference, deadline=context.deadline)
        return Answer(200, {"bookingId": booking_id}) if booking_id else None

    about = {"account_id": account_id}
    return context.execute(
        BOOK_POINTS, send, about, reconcile, prepare=lambda: context.client.token(context.deadline, "")
    )


def resolve_channels(requested: Sequence[str] | None, defaults: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the requested opt-in channels, or the program's default ones.

    Raises
    ------
    Invalid
        A channel is not one of the program's, or there is no channel.
    """
    channels = tuple(dict.fromkeys(requested if requested else defaults))
    if not channels:
        raise Invalid("optins", "names no channel, and the program has no default ones")
    if unknown := [channel for channel in channels if channel not in known]:
        unquoted = "optins: names channels that the program does not have"
        raise Invalid("optins", f"not channels of the program: {', '.join(unknown)}", unquoted=unquoted)
    return channels


def subscribe_email(
    context: ActionContext[Client], account_id: str, channels: Sequence[str], *, allowed: bool
) -> Answer:
    """Set opt-in channels on all memberships of an account; the answer is 200 if all are set, 207 if only some are.

    Each membership is an action of its own. So a repeat changes only those that failed, and never reverts what the
    member has decided since. Without a key, memberships that already have the wanted opt-ins are not changed.

    Raises
    ------
    UpstreamRejected
        The account is not known, or Convercus rejects every membership.
    KeyReused
        The key was used before with another request, for each membership that Convercus does not reject.
    NotSent
        No membership is set; a repeat is useful.
    Unavailable
        No membership is known to be set; a repeat is useful.
    """
    try:
        memberships = context.client.memberships(account_id, deadline=context.deadline)
    except OutcomeUnknown as error:  # nothing has been set yet
        raise NotSent(str(error)) from None
    if not memberships:
        raise UpstreamRejected(404, "NO_MEMBERSHIP", "the account has no membership")
    succeeded: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    errors: list[UpstreamRejected | KeyReused | Unavailable] = []
    for membership in memberships:
        try:
            _set_optins(context, account_id, membership, dict.fromkeys(channels, allowed))
            succeeded.append({"membership_id": membership.user_id})
        except (UpstreamRejected, KeyReused, Unavailable) as error:
            errors.append(error)
            reason = error.reason if isinstance(error, UpstreamRejected) else str(error)
            failed.append({"membership_id": membership.user_id, "reason": reason})
    if not succeeded:
        # One error stands for all: first the kind that may have been set, last the kind that no repeat changes.
        raise min(errors, key=lambda error: (not isinstance(error, Unavailable), isinstance(error, NotSent)))
    for failure in errors:  # a 207 is not a failed call, so only this place records them
        buffer.record_error(context.program, SUBSCRIBE_EMAIL, failure)
    return Answer(207 if failed else 200, {"succeeded": succeeded, "failed": failed})


def _set_optins(
    context: ActionContext[Client], account_id: str, membership: Membership, optins: Mapping[str, bool]
) -> None:
    def send(_: object) -> Answer:
        try:
            context.client.set_optins(account_id, membership.user_id, optins, deadline=context.deadline)
        except OutcomeUnknown as error:  # unlike all other actions, this one is harmless to repeat
            raise NotSent(str(error)) from error
        return Answer(200, {})

    about = {"account_id": account_id, "membership_id": membership.user_id}
    try:
        if context.key is not None:
            part = f"/{membership.user_id}"
            context.execute(SUBSCRIBE_EMAIL, send, about, part=part, stores_rejections=False, is_repeatable=True)
        elif any(membership.optins.get(channel) is not flag for channel, flag in optins.items()):
            send("")
    except NotSent as error:
        if isinstance(error.__cause__, OutcomeUnknown):
            raise Unavailable(f"opt-ins may be set or not; a repeat sets them: {error}") from None
        raise
