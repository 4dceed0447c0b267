"""What the calls take, as models: they are checked against, and the OpenAPI file is made from them.

What Liquid or Jinja rendered arrives as text: numbers in strings are taken, blanks around ids are not part of them,
and an id that was not rendered is refused by name.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

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


class _Body(BaseModel):
    # A cold start builds the validators of the body that it reads, not of all.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


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
