"""What a campaign may have done on Convercus: assign a coupon, book points, set e-mail opt-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from loyalty_bridge.actions.idempotency import Answer
from loyalty_bridge.activity import buffer
from loyalty_bridge.errors import Invalid, KeyReused, NotSent, OutcomeUnknown, Unavailable, UpstreamRejected
from loyalty_bridge.platforms.convercus.client import ACCOUNT_COUPON_ID

if TYPE_CHECKING:
    from loyalty_bridge.actions.context import ActionContext
    from loyalty_bridge.actions.idempotency import Record
    from loyalty_bridge.platforms.convercus.client import Client, Membership

ASSIGN_COUPON = "assign_coupon"
BOOK_POINTS = "book_points"
SUBSCRIBE_EMAIL = "subscribe_email"


def assign_coupon(
    caller: ActionContext[Client],
    coupon_id: str,
    account_id: str,
    *,
    valid_from: str = "",
    valid_to: str = "",
    part: str = "",
) -> Answer:
    """Assign a coupon to a member; the answer has its ``couponCode``. Raises as `journal.perform`."""

    def act(_: str) -> Answer:
        code = caller.client.assign_coupon(
            account_id, coupon_id, deadline=caller.deadline, valid_from=valid_from, valid_to=valid_to
        )
        return Answer(200, {"couponCode": code})

    def look(seen: Record) -> Answer | None:
        # Convercus keeps no reference of ours: what is assigned is known only when it said so.
        id_ = seen.about.get(ACCOUNT_COUPON_ID)
        code = caller.client.coupon_code(id_, deadline=caller.deadline) if id_ else ""
        return Answer(200, {"couponCode": code}) if code else None

    about = {"account_id": account_id, "coupon_id": coupon_id}
    return caller.perform(ASSIGN_COUPON, act, about, look, part, ready=lambda: caller.client.token(caller.deadline, ""))


def book_points(
    caller: ActionContext[Client],
    account_id: str,
    *,
    booking_type: Literal["EARNBOOKING", "BURNBOOKING"],
    booking_type_code: str,
    points: float,
    reason: str,
) -> Answer:
    """Book points on a member account; the answer has the ``bookingId``. Raises as `journal.perform`."""

    def act(reference: str) -> Answer:
        booking_id = caller.client.create_booking(
            account_id,
            booking_type=booking_type,
            booking_type_code=booking_type_code,
            points=points,
            reason=reason,
            reference=reference,
            deadline=caller.deadline,
        )
        return Answer(200, {"bookingId": booking_id})

    def look(seen: Record) -> Answer | None:
        found = caller.client.find_booking(account_id, seen.reference, deadline=caller.deadline)
        return Answer(200, {"bookingId": found}) if found else None

    about = {"account_id": account_id}
    return caller.perform(BOOK_POINTS, act, about, look, ready=lambda: caller.client.token(caller.deadline, ""))


def channels(wanted: Sequence[str] | None, defaults: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Resolve the opt-in channels of a request: those that it names, else the program's default ones.

    Raises
    ------
    Invalid
        Naming the ones that the program does not have; or there are none.
    """
    chosen = tuple(dict.fromkeys(wanted if wanted else defaults))
    if not chosen:
        raise Invalid("optins", "names no channel, and the program has no default ones")
    if foreign := [channel for channel in chosen if channel not in known]:
        unquoted = "optins: names channels that the program does not have"
        raise Invalid("optins", f"not channels of the program: {', '.join(foreign)}", unquoted=unquoted)
    return chosen


def subscribe_email(caller: ActionContext[Client], account_id: str, chosen: Sequence[str], *, allowed: bool) -> Answer:
    """Set opt-in channels on all memberships of an account: 200 when all are set, 207 when some are.

    Each membership is an action of its own in the journal: a repeat touches only those that failed, and never turns
    back what the member has decided meanwhile. Without a key, those that are as they should be are left alone.

    Raises
    ------
    UpstreamRejected
        The account is not known, or Convercus refuses every membership.
    KeyReused
        The key came before with another request, for each membership that Convercus does not refuse.
    NotSent
        Certainly none is set, and a repeat is useful.
    Unavailable
        No membership is known to be set, and a repeat is useful.
    """
    try:
        memberships = caller.client.memberships(account_id, deadline=caller.deadline)
    except OutcomeUnknown as error:  # nothing has been set yet
        raise NotSent(str(error)) from None
    if not memberships:
        raise UpstreamRejected(404, "NO_MEMBERSHIP", "the account has no membership")
    succeeded: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    errors: list[UpstreamRejected | KeyReused | Unavailable] = []
    for membership in memberships:
        try:
            _set_optins(caller, account_id, membership, dict.fromkeys(chosen, allowed))
            succeeded.append({"membership_id": membership.user_id})
        except (UpstreamRejected, KeyReused, Unavailable) as error:
            errors.append(error)
            reason = error.reason if isinstance(error, UpstreamRejected) else str(error)
            failed.append({"membership_id": membership.user_id, "reason": reason})
    if not succeeded:
        # What is told of all must be true of each: first what may have been set, last what no repeat will change.
        raise min(errors, key=lambda error: (not isinstance(error, Unavailable), isinstance(error, NotSent)))
    for failure in errors:  # a 207 is no failed call: nobody else notes them
        buffer.problem(caller.program, SUBSCRIBE_EMAIL, failure)
    return Answer(207 if failed else 200, {"succeeded": succeeded, "failed": failed})


def _set_optins(
    caller: ActionContext[Client], account_id: str, membership: Membership, optins: Mapping[str, bool]
) -> None:
    def act(_: object) -> Answer:
        try:
            caller.client.set_optins(account_id, membership.user_id, optins, deadline=caller.deadline)
        except OutcomeUnknown as error:  # setting it once more does no harm, unlike all other actions
            raise NotSent(str(error)) from error
        return Answer(200, {})

    about = {"account_id": account_id, "membership_id": membership.user_id}
    try:
        if caller.key is not None:
            part = f"/{membership.user_id}"
            caller.perform(SUBSCRIBE_EMAIL, act, about, part=part, keeps_refusals=False, resumes=True)
        elif any(membership.optins.get(channel) is not flag for channel, flag in optins.items()):
            act("")
    except NotSent as error:
        if isinstance(error.__cause__, OutcomeUnknown):
            raise Unavailable(f"opt-ins may be set or not, a repeat sets them: {error}") from None
        raise
