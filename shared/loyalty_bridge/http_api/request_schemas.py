"""Models of the request bodies, for validation and for the OpenAPI file.

Templates (Liquid, Jinja) render texts: numbers in strings are accepted, blanks around ids are removed, and an id that
was not rendered is rejected by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from loyalty_bridge.errors import Invalid
from loyalty_bridge.http_api.requests import EXTERNAL_ID_PATTERN, ID_PATTERN, MAX_ID, external_id, identifier, rendered
from loyalty_bridge.platforms import parsing

T = TypeVar("T")

MAX_MEMBERS = 500
MAX_POINTS = 100_000_000
_TEXT = 255
_TEXT_PATTERN = r"^[^{\x00]*[^{\s\x00][^{\x00]*$"
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


def _as_text(value: Any) -> Any:
    """Return a whole number as text, because ids may look like numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    """Return the number in a text, if it is a JSON number (``"2.49875"``, not ``"+5"``, ``" "`` or true)."""
    if isinstance(value, str):
        value = rendered(value)
        if not _NUMBER.fullmatch(value):
            raise ValueError("is not a number")
        return parsing.canonical_number(float(value))
    if isinstance(value, bool):
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _whole(value: float) -> float:
    """Return 50.0 as 50, because the loyalty platform may count in whole points only."""
    return int(value) if value.is_integer() else value


def _blank_is_absent(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _read(read: Callable[[Any, str], T]) -> Callable[[Any], T]:
    """Make a pydantic validator of a parser that raises `Invalid`."""

    def validate(value: Any) -> T:
        try:
            return read(value, "")
        except Invalid as error:
            raise ValueError(error.reason) from None

    return validate


def _moment(value: str, field: str) -> str:
    moment = parsing.parse_iso_time(value, field)
    if parsing.is_day(value):
        # Only the caller knows whether the beginning or the end of the day is meant.
        raise Invalid(field, "has no time of day")
    return moment


def _bounded(value: str) -> str:
    if len(value) > _TEXT:
        raise ValueError(f"has more than {_TEXT} characters")
    return value


def _without_nulls(answers: dict[str, str | None]) -> dict[str, str | None]:
    return {name: answer for name, answer in answers.items() if answer is not None}


def _distinct_names(answers: Any) -> Any:
    """Reject names that differ only in the blanks around them: one would replace the other."""
    if isinstance(answers, dict) and len({name.strip() for name in answers}) < len(answers):
        raise ValueError("names a field twice")
    return answers


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
ExternalId = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(external_id),
    WithJsonSchema({"type": ["string", "integer"], "maxLength": MAX_ID, "pattern": EXTERNAL_ID_PATTERN}),
]
Text = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(rendered),
    AfterValidator(_bounded),
    WithJsonSchema({"type": ["string", "integer"], "maxLength": _TEXT, "pattern": _TEXT_PATTERN}),
]
OptionalText = Annotated[
    Annotated[str, BeforeValidator(_as_text), AfterValidator(rendered), AfterValidator(_bounded)] | None,
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
                {"type": "string", "pattern": r"^[1-9][0-9]{0,7}(\.[0-9]{1,40})?$"},
            ]
        }
    ),
]
Moment = Annotated[
    Annotated[str, AfterValidator(_read(_moment))] | None,
    BeforeValidator(_blank_is_absent),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time"}),
]


Email = Annotated[
    str,
    Field(max_length=254),
    AfterValidator(rendered),
    AfterValidator(_read(parsing.parse_email)),
    WithJsonSchema({"type": "string", "maxLength": 254, "format": "email"}),
]
Day = Annotated[
    Annotated[str, AfterValidator(rendered), AfterValidator(_read(parsing.parse_birth_date))] | None,
    BeforeValidator(_blank_is_absent),
    WithJsonSchema({"type": ["string", "null"], "format": "date"}),
]
Flag = Annotated[
    Annotated[bool, BeforeValidator(_read(parsing.parse_boolean))] | None,
    BeforeValidator(_blank_is_absent),
    WithJsonSchema({"anyOf": [{"type": ["boolean", "null"]}, {"enum": ["true", "false", ""]}]}),
]


class _Body(BaseModel):
    # A cold start builds only the validators of the body that it reads.
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

    @field_validator("valid_to")
    @classmethod
    def _ends_after_its_beginning(cls, valid_to: str | None, info: ValidationInfo) -> str | None:
        valid_from = info.data.get("valid_from")
        if valid_from and valid_to and parsing.parse_time(valid_to, "") <= parsing.parse_time(valid_from, ""):
            raise ValueError("is not after valid_from")
        return valid_to


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


class SignupUser(_Body):
    """The user to sign up: the fields of Punchh's signup, except those that the bridge sets.

    The program's engagement platform decides which ids are valid, see `action.signup_context`.

    Source: https://developers.partech.com/docs/dev-portal-online-ordering (sign-up). There is no field
    for a password: the bridge makes a random one and does not store it.
    """

    email: Email
    external_source_id: ExternalId
    external_source: OptionalText = None
    first_name: OptionalText = None
    last_name: OptionalText = None
    phone: OptionalText = None
    birthday: Day = None
    anniversary: Day = None
    gender: OptionalText = None
    address_line1: OptionalText = None
    address_line2: OptionalText = None
    city: OptionalText = None
    state: OptionalText = None
    zip_code: OptionalText = None
    preferred_locale: OptionalText = None
    fav_location_id: OptionalText = None
    invite_code: OptionalText = None
    signup_channel: OptionalText = None
    terms_and_conditions: Flag = None
    age_verified_status: Flag = None
    marketing_email_subscription: Flag = None
    marketing_pn_subscription: Flag = None
    send_compliance_sms: Flag = None
    profile_field_answers: (
        Annotated[
            dict[Text, OptionalText],
            Field(max_length=50),
            BeforeValidator(_distinct_names),
            AfterValidator(_without_nulls),
        ]
        | None
    ) = None


class SignupMember(_Body):
    """Sign a member up."""

    user: SignupUser
