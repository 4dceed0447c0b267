"""What the calls take and answer, as models: they are checked against, and the OpenAPI file is made from them.

What Liquid or Jinja rendered arrives as text: numbers in strings are taken, blanks around ids are not part of them,
and an id that was not rendered is refused by name.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, WithJsonSchema

from loyalty_bridge.api.requests import ID_PATTERN, MAX_ID, identifier, rendered
from loyalty_bridge.errors import Refused
from loyalty_bridge.sources.reading import instant

MAX_MEMBERS = 500
MAX_POINTS = 100_000_000
_TEXT = 255


def _as_text(value: Any) -> Any:
    """Take a whole number for a text: ids may look like one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    """Take plain decimal text for a number (``"50"``), nothing else (``"1e9"``, ``" "``, true)."""
    if isinstance(value, str):
        value = rendered(value)
        if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,4})?", value, re.ASCII):
            raise ValueError("is not a number")
        return float(value)
    if isinstance(value, bool):
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _whole(value: float) -> float:
    """Write 50.0 as 50: the loyalty platform may count in whole points only."""
    return int(value) if value.is_integer() else value


def _blank_is_absent(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _moment(value: str) -> str:
    try:
        return instant(value, "").isoformat().replace("+00:00", "Z")
    except Refused as refusal:
        raise ValueError(refusal.reason) from None


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("holds a member twice")
    return values


Id = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(identifier),
    WithJsonSchema({"type": ["string", "integer"], "maxLength": MAX_ID, "pattern": ID_PATTERN}),
]
Text = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(max_length=_TEXT),
    AfterValidator(rendered),
    WithJsonSchema({"type": ["string", "integer"], "maxLength": _TEXT, "pattern": r"^[^{\x00]*[^{\s\x00][^{\x00]*$"}),
]
OptionalText = Annotated[
    Annotated[str, BeforeValidator(_as_text), Field(max_length=_TEXT), AfterValidator(rendered)] | None,
    BeforeValidator(_blank_is_absent),
    WithJsonSchema({"type": ["string", "integer", "null"], "maxLength": _TEXT, "pattern": r"^[^{\x00]*$"}),
]
Points = Annotated[
    float,
    BeforeValidator(_number),
    Field(gt=0, le=MAX_POINTS, allow_inf_nan=False),
    AfterValidator(_whole),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_POINTS},
                {"type": "string", "pattern": r"^[1-9][0-9]{0,7}(\.[0-9]{1,4})?$"},
            ]
        }
    ),
]
Moment = Annotated[
    Annotated[str, AfterValidator(_moment)] | None,
    BeforeValidator(_blank_is_absent),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time"}),
]


Scalar = str | int | float | bool | None
"""As the loyalty platform tells it."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssignCoupon(_Body):
    """Assign a coupon to one member."""

    account_id: Id
    braze_campaign_id: Text = Field(default_factory=str)
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class AssignCouponBatch(_Body):
    """Assign a coupon to up to 500 members."""

    account_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_MEMBERS), AfterValidator(_unique)]
    valid_from: Moment = None
    valid_to: Moment = None
    braze_campaign_id: Text = Field(default_factory=str)
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class BookPoints(_Body):
    """Book points on a member account."""

    booking_type: Literal["EARNBOOKING", "BURNBOOKING"]
    booking_type_code: Text
    points: Points
    reason: Text
    braze_campaign_id: Text = Field(default_factory=str)
    dispatch_id: OptionalText = None
    idempotency_key: OptionalText = None


class SubscribeEmail(_Body):
    """Set the e-mail opt-ins of a member's memberships."""

    account_id: Id
    status: Literal["allowed", "declined"]
    optins: Annotated[list[Text], Field(max_length=100)] | None = None
    braze_campaign_id: OptionalText = None
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


class LookUpFailed(_Body):
    """Why there is nothing to show; with status 200, so that a template can branch."""

    error: Literal["member_not_found", "internal_error"]


class MemberProfile(_Body):
    """A member's profile. What is not known is null; `member_id` is always there."""

    member_id: str | int
    first_name: Scalar
    last_name: Scalar
    email: Scalar
    tier_name: Scalar
    tier_id: Scalar
    points_balance: float | None
    enrollment_date: str | None


class Coupon(_Body):
    """A coupon that the member can redeem now. What is not known is null."""

    coupon_id: Scalar
    code: Scalar
    title: Scalar
    description: Scalar
    status: Scalar
    value: Scalar
    valid_from: str | None
    valid_to: str | None


class MemberCoupons(_Body):
    """A member's redeemable coupons."""

    coupons: list[Coupon]


class Profile(RootModel[MemberProfile | LookUpFailed]):
    """What the look-up of a profile answers."""


class Coupons(RootModel[MemberCoupons | LookUpFailed]):
    """What the look-up of coupons answers."""


class Received(_Body):
    """How many events were stored durably."""

    received: int
