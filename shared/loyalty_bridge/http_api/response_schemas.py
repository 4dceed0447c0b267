"""What the calls answer, as models from which the OpenAPI file is made; no request needs them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, RootModel

Scalar = str | int | float | bool | None
"""As the loyalty platform tells it."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CouponCode(_Answer):
    """The code of the assigned coupon."""

    couponCode: str  # noqa: N815 - the contract's name


class BatchId(_Answer):
    """The id under which the batch's progress is told."""

    batchId: str  # noqa: N815


class BatchMember(_Answer):
    """How far a member of a batch is."""

    account_id: str
    state: Literal["planned", "succeeded", "rejected", "unknown"]
    couponCode: str | None = None  # noqa: N815
    reason: str | None = None


class BatchProgress(_Answer):
    """How far a batch is."""

    batchId: str  # noqa: N815
    couponId: str  # noqa: N815
    total: int
    planned: int
    succeeded: int
    rejected: int
    unknown: int
    members: list[BatchMember]


class BookingId(_Answer):
    """The id of the booking."""

    bookingId: str  # noqa: N815


class MembershipSet(_Answer):
    """A membership whose opt-ins are set."""

    membership_id: str


class MembershipFailed(_Answer):
    """A membership whose opt-ins are not set, and why."""

    membership_id: str
    reason: str


class Subscribed(_Answer):
    """Which memberships were updated and which were not."""

    succeeded: list[MembershipSet]
    failed: list[MembershipFailed]


class Signup(_Answer):
    """Punchh's id of the member, where it is known. An existing member is one whose e-mail address had an account."""

    userId: str | None = None  # noqa: N815
    existing: bool = False


class LookUpFailed(_Answer):
    """Why there is nothing to show; with status 200, so that a template can branch."""

    error: Literal["member_not_found", "internal_error"]


class MemberProfile(_Answer):
    """A member's profile. What is not known is null; `member_id` is always there."""

    member_id: str | int
    first_name: Scalar
    last_name: Scalar
    email: Scalar
    tier_name: Scalar
    tier_id: Scalar
    points_balance: float | None
    enrollment_date: str | None


class Coupon(_Answer):
    """A coupon that the member can redeem now. What is not known is null."""

    coupon_id: Scalar
    code: Scalar
    title: Scalar
    description: Scalar
    status: Scalar
    value: Scalar
    valid_from: str | None
    valid_to: str | None


class MemberCoupons(_Answer):
    """A member's redeemable coupons."""

    coupons: list[Coupon]


class MemberCouponCode(_Answer):
    """The member's code of the campaign."""

    coupon_code: str


class NoCouponCode(_Answer):
    """Why there is no code; with status 200, so that a template can branch."""

    error: Literal["member_not_found", "campaign_not_found", "no_coupon", "internal_error"]


class GivenCode(RootModel[MemberCouponCode | NoCouponCode]):
    """What the look-up of a coupon code answers."""


class Profile(RootModel[MemberProfile | LookUpFailed]):
    """What the look-up of a profile answers."""


class Coupons(RootModel[MemberCoupons | LookUpFailed]):
    """What the look-up of coupons answers."""


class Received(_Answer):
    """How many events were stored durably."""

    received: int


class Error(_Answer):
    """What every failed call answers."""

    error: str
    message: str
    field: str = ""
    """With 400 and 413: what is wrong."""
