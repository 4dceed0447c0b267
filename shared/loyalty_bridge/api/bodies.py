"""What the calls take and answer, as models: they are checked against, and the OpenAPI file is made from them.

What Liquid or Jinja rendered arrives as text: numbers in strings are taken, blanks around ids are not part of them,
and an id that was not rendered is refused by name.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

MAX_MEMBERS = 500
_UNRENDERED = re.compile(r"\{\{|\{%")


def _rendered(value: Any) -> Any:
    """Refuse what a template left as it was; take a number for a text, since ids may look like one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and _UNRENDERED.search(value):
        raise ValueError("was not rendered by the template")
    if isinstance(value, str) and not value.strip():
        raise ValueError("is blank")
    return value


def _number(value: Any) -> Any:
    """Take plain decimal text for a number (``"50"``), nothing else (``"1e9"``, ``" "``, true)."""
    if isinstance(value, str):
        value = _rendered(value).strip()
        if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,4})?", value, re.ASCII):
            raise ValueError("is not a number")
        return float(value)
    if isinstance(value, bool):
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _blank_is_absent(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("holds a member twice")
    return values


Id = Annotated[
    str,
    BeforeValidator(_rendered),
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
]
Text = Annotated[
    str, BeforeValidator(_rendered), StringConstraints(strip_whitespace=True, min_length=1, max_length=255)
]
OptionalText = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)] | None, BeforeValidator(_blank_is_absent)
]
Points = Annotated[
    float,
    BeforeValidator(_number),
    Field(gt=0, le=100_000_000, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 100_000_000},
                {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,4})?$"},
            ]
        }
    ),
]
Moment = Annotated[
    str | None,
    BeforeValidator(_blank_is_absent),
    AfterValidator(lambda value: value if value is None else _moment(value)),
]


def _moment(value: str) -> str:
    from loyalty_bridge.errors import Refused
    from loyalty_bridge.sources.reading import instant

    try:
        return instant(value, "").isoformat().replace("+00:00", "Z")
    except Refused as refusal:
        raise ValueError(refusal.reason) from None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssignCoupon(_Body):
    """Assign a coupon to one member."""

    account_id: Id
    braze_campaign_id: OptionalText = None
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class AssignCouponBatch(_Body):
    """Assign a coupon to up to 500 members."""

    account_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_MEMBERS), AfterValidator(_unique)]
    valid_from: Moment = None
    valid_to: Moment = None
    braze_campaign_id: OptionalText = None
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class BookPoints(_Body):
    """Book points on a member account."""

    booking_type: Literal["EARNBOOKING", "BURNBOOKING"]
    booking_type_code: Text
    points: Points
    reason: Text
    braze_campaign_id: OptionalText = None
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class SubscribeEmail(_Body):
    """Set the e-mail opt-ins of a member's memberships."""

    account_id: Id
    status: Literal["allowed", "declined"]
    optins: Annotated[list[Text], Field(max_length=100)] | None = None
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class CouponCode(_Body):
    """The code of the assigned coupon."""

    couponCode: str  # noqa: N815 - the contract's name


class BatchId(_Body):
    """The id under which the batch's progress is told."""

    batchId: str  # noqa: N815


class BatchMember(_Body):
    """How far a member of a batch is."""

    account_id: str
    state: Literal["planned", "succeeded", "refused", "unknown"]
    couponCode: str | None = None  # noqa: N815
    reason: str | None = None


class BatchProgress(_Body):
    """How far a batch is."""

    batchId: str  # noqa: N815
    couponId: str  # noqa: N815
    total: int
    planned: int
    succeeded: int
    refused: int
    unknown: int
    members: list[BatchMember]


class BookingId(_Body):
    """The id of the booking."""

    bookingId: str  # noqa: N815


class MembershipSet(_Body):
    """A membership whose opt-ins are set."""

    membership_id: str


class MembershipFailed(_Body):
    """A membership whose opt-ins are not set, and why."""

    membership_id: str
    reason: str


class Subscribed(_Body):
    """Which memberships were updated and which were not."""

    succeeded: list[MembershipSet]
    failed: list[MembershipFailed]


class Profile(_Body):
    """A member's profile; or `error`, with status 200, so that a template can branch."""

    member_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    tier_name: str | None = None
    tier_id: str | None = None
    points_balance: float | None = None
    enrollment_date: str | None = None
    error: Literal["member_not_found", "internal_error"] | None = None


class Coupon(BaseModel):
    """A redeemable coupon."""

    model_config = ConfigDict(extra="allow")

    title: str | None = None
    description: str | None = None
    status: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None


class Coupons(_Body):
    """A member's redeemable coupons; or `error`, with status 200."""

    coupons: list[Coupon] = []
    error: Literal["member_not_found", "internal_error"] | None = None


class Received(_Body):
    """How many events were stored durably."""

    received: int
