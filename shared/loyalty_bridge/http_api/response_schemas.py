"""Models of the answers, for the OpenAPI file; no request needs them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, RootModel

Scalar = str | int | float | bool | None
"""A value as the loyalty platform returns it."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CouponCode(_Answer):
    """The code of the assigned coupon."""

    couponCode: str  # noqa: N815 - the contract's name


class BatchId(_Answer):
    """The id of the batch, for queries of its progress."""

    batchId: str  # noqa: N815


class BatchMember(_Answer):
    """The progress of one member of a batch."""

    account_id: str
    state: Literal["planned", "succeeded", "rejected", "unknown"]
    couponCode: str | None = None  # noqa: N815
    reason: str | None = None


class BatchProgress(_Answer):
    """The progress of a batch."""

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
    """Punchh's id of the member, if known. A member is existing if the e-mail address had an account before."""

    userId: str | None = None  # noqa: N815
    existing: bool = False


class LookUpFailed(_Answer):
    """Why the lookup failed; with status 200, so that a template can branch."""

    error: Literal["member_not_found", "internal_error"]


class MemberProfile(_Answer):
    """A member's profile. Unknown values are null; `member_id` is always present."""

    member_id: str | int
    first_name: Scalar
    last_name: Scalar
    email: Scalar
    tier_name: Scalar
    tier_id: Scalar
    points_balance: float | None
    enrollment_date: str | None


class Coupon(_Answer):
    """A coupon that the member can redeem now. Unknown values are null."""

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
    """The answer to the lookup of a coupon code."""


class Profile(RootModel[MemberProfile | LookUpFailed]):
    """The answer to the lookup of a profile."""


class Coupons(RootModel[MemberCoupons | LookUpFailed]):
    """The answer to the lookup of coupons."""


class Received(_Answer):
    """The number of events that were stored durably."""

    received: int


class Error(_Answer):
    """The answer of every failed call."""

    error: str
    message: str
    field: str = ""
    """With 400 and 413: the wrong field."""
