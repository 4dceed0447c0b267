"""The 24 webhook events of Brevo Loyalty as typed models, and their JSON Schemas.

Names and types are those of https://developers.brevo.com/docs/loyalty-webhooks. What an event is about is required;
what only describes it may be missing, null or blank. A field that cannot be read, or is required and missing, costs
itself alone: the event still says that something happened to its member. Fields that the page does not know are
ignored.

The schemas say what the page says. Reading is more tolerant, because the page contradicts itself and senders differ:
numbers and booleans may come as strings, ids as numbers, metadata as text or object, an expiry as ``expires_at`` or
``expired_at``, the parts of an object at the top level (``balance_definition_id``, ``card_id``), and a subscription
nested or not.

A balance definition is last in its event: its metadata may be large, and a limit on properties takes the last first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self, TypeVar, cast, get_args

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    model_validator,
)

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms import parsing

T = TypeVar("T")


class _Unreadable(NamedTuple):
    """What stands in a model for a value that cannot be read: an error would cost the whole event."""

    reason: str


_MISSING = _Unreadable("is missing")


def _required(read: Callable[[Any, str], T]) -> Callable[[Any], T | _Unreadable]:
    """Make a validator of a reader; the path of the field is added when the model is read out."""

    def validate(value: Any) -> T | _Unreadable:
        if parsing.is_blank(value):
            return _MISSING
        try:
            return read(value, "")
        except Invalid as refused:
            return _Unreadable(refused.reason)

    return validate


def _optional(read: Callable[[Any, str], T]) -> Callable[[Any], T | _Unreadable | None]:
    """Make a validator of a reader that takes null and blank as missing."""
    required = _required(read)
    return lambda value: None if parsing.is_blank(value) else required(value)


def _metadata(value: Any, field: str) -> str | Mapping[str, Any]:
    return value if isinstance(value, Mapping) else parsing.parse_text(value, field)


Id = Annotated[str, PlainValidator(_required(parsing.parse_text), json_schema_input_type=str)]
Number = Annotated[int | float, PlainValidator(_required(parsing.parse_number), json_schema_input_type=float)]
MaybeText = Annotated[str | None, PlainValidator(_optional(parsing.parse_text), json_schema_input_type=str | None)]
MaybeNumber = Annotated[
    int | float | None, PlainValidator(_optional(parsing.parse_number), json_schema_input_type=float | None)
]
MaybeBoolean = Annotated[
    bool | None, PlainValidator(_optional(parsing.parse_boolean), json_schema_input_type=bool | None)
]
MaybeTime = Annotated[
    datetime | None, PlainValidator(_optional(parsing.parse_time), json_schema_input_type=datetime | None)
]
Metadata = Annotated[
    str | Mapping[str, Any] | None,
    PlainValidator(_optional(_metadata), json_schema_input_type=str | dict[str, Any] | None),
]


class _Model(BaseModel):
    # A cold start builds the validators of the events that it sees, not of all.
    model_config = ConfigDict(frozen=True, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, Mapping):
            return cast("Self", _MISSING if parsing.is_blank(value) else _Unreadable("is not an object"))
        required = (name for name, field in cls.model_fields.items() if field.is_required())
        return handler({**dict.fromkeys(required), **value})


class Named(_Model):
    """Something that is only described."""

    id: MaybeText = None
    name: MaybeText = None


class Identified(_Model):
    """Something that state is kept of."""

    id: Id
    name: MaybeText = None


class BalanceDefinition(Identified):
    """What is counted, such as points."""

    unit: MaybeText = None
    metadata: Metadata = None


class Offer(Named):
    """What a voucher is worth."""

    public_name: MaybeText = None
    public_description: MaybeText = None
    public_image: MaybeText = None


class Membership(_Model):
    """The member's card."""

    card_id: MaybeText = None
    created_at: MaybeTime = None


class Reminder(_Model):
    """How long before something the reminder is sent: one week, three days."""

    unit: MaybeText = None
    value: Number


class Transaction(_Model):
    """A credit to a balance or a debit."""

    type: MaybeText = None
    value: Number


class Subscription(_Model):
    """The member's enrolment in the program."""

    loyalty_subscription_id: Id
    created_at: MaybeTime = None


_OBJECTS: Mapping[str, type[_Model]] = {
    "loyalty_program": Named, "balance_definition": BalanceDefinition, "membership": Membership, "offer": Offer,
    "reminder": Reminder, "subscription": Subscription, "transaction": Transaction,
    "tier": Identified, "to_tier": Identified, "from_tier": Named, "tier_group": Identified,
}  # fmt: skip
_BARE = {"membership": ("card_id",), "subscription": ("loyalty_subscription_id", "created_at")}
_PARTS = {
    name: {f"{name}_{part}": part for part in model.model_fields} | {part: part for part in _BARE.get(name, ())}
    for name, model in _OBJECTS.items()
}
"""For each object, what its parts are called when they are at the top level."""


class LoyaltyEvent(_Model):
    """What all events have."""

    loyalty_program: Named | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make objects of parts at the top level; of two names of a field keep the one that has a value."""
        gathered: dict[str, Any] = {}
        for name, parts in _PARTS.items():
            own = data.get(name)
            if name in cls.model_fields and (own is None or isinstance(own, Mapping)):
                beside = {part: data[key] for key, part in parts.items() if not parsing.is_blank(data.get(key))}
                if found := {part: value for part, value in beside.items() if parsing.is_blank((own or {}).get(part))}:
                    gathered[name] = {**(own or {}), **found}
        blank = {
            one
            for choices in _choices(cls)
            for one in choices
            if isinstance(one, str) and one in data and parsing.is_blank(data[one]) and _has_value(data, choices)
        }
        return {**{name: value for name, value in data.items() if name not in blank}, **gathered}


def _choices(model: type[BaseModel]) -> list[list[str | AliasPath]]:
    """List the names that each field of a model may have, where there are several."""
    aliases = (field.validation_alias for field in model.model_fields.values())
    return [alias.choices for alias in aliases if isinstance(alias, AliasChoices)]


def _has_value(data: Mapping[str, Any], choices: list[str | AliasPath]) -> bool:
    for one in choices:
        value: Any = data
        for key in one.path if isinstance(one, AliasPath) else [one]:
            value = value.get(key) if isinstance(value, Mapping) else None
        if not parsing.is_blank(value):
            return True
    return False


class BalanceMinimumValueReached(LoyaltyEvent):
    """A balance fell to or below its minimum."""

    value: Number
    source_event_id: MaybeText = None
    balance_definition: BalanceDefinition


class BalanceMaximumValueReached(BalanceMinimumValueReached):
    """A balance reached its maximum."""


class BalanceTransactionUnauthorized(LoyaltyEvent):
    """A credit or a debit was not allowed."""

    transaction: Transaction
    reason: MaybeText = None
    balance_definition: BalanceDefinition


class BalanceExpirationReminder(LoyaltyEvent):
    """A part of a balance will expire soon."""

    amount: Number
    expires_at: MaybeTime = Field(None, validation_alias=AliasChoices("expires_at", "expired_at"))
    reminder: Reminder
    created_at: MaybeTime = None
    membership: Membership | None = None
    balance_definition: BalanceDefinition


class BalanceValueExpired(LoyaltyEvent):
    """A part of a balance expired."""

    value: Number
    balance_definition: BalanceDefinition


class BalanceValueUpdated(LoyaltyEvent):
    """A balance changed, or came into being."""

    value: Number
    initial_value: MaybeNumber = None
    created: MaybeBoolean = None
    expiration_date: MaybeTime = None
    transaction: Transaction | None = None
    source_event_id: MaybeText = None
    balance_definition: BalanceDefinition


class MembershipAnniversaryReminder(LoyaltyEvent):
    """The day on which the member joined will come round soon."""

    reminder: Reminder
    membership: Membership | None = None


class SubscriptionRevoked(LoyaltyEvent):
    """The member's enrolment ended."""

    loyalty_subscription_id: Id = Field(
        validation_alias=AliasChoices("loyalty_subscription_id", AliasPath("subscription", "loyalty_subscription_id"))
    )


class SubscriptionCreated(SubscriptionRevoked):
    """The member enrolled in the program."""

    created_at: MaybeTime = Field(
        None, validation_alias=AliasChoices("created_at", AliasPath("subscription", "created_at"))
    )


class SubscriptionMemberAdded(LoyaltyEvent):
    """A person joined a subscription that several share."""

    member_id: Number


class SubscriptionMemberRemoved(SubscriptionMemberAdded):
    """A person left a subscription that several share."""


class SubscriptionMonthAnniversary(LoyaltyEvent):
    """A whole number of months has passed since the enrolment."""

    subscription: Subscription


class SubscriptionYearAnniversary(SubscriptionMonthAnniversary):
    """A whole number of years has passed since the enrolment."""


class TierAnniversaryReminder(LoyaltyEvent):
    """The day on which the member came into the tier will come round soon."""

    tier: Identified
    tier_group: Identified
    reminder: Reminder
    attributed_at: MaybeTime = None
    membership: Membership | None = None


class TierAssociationUpdated(LoyaltyEvent):
    """The member moved from one tier of a group to another, or into the first one."""

    to_tier: Identified
    tier_group: Identified
    from_tier: Named | None = None
    upgraded: MaybeBoolean = None
    source_event_id: MaybeText = None


class TierAssociationMonthAnniversary(LoyaltyEvent):
    """A whole number of months has passed since the member came into the tier."""

    tier: Identified
    tier_group: Identified
    created_at: MaybeTime = None


class TierAssociationYearAnniversary(TierAssociationMonthAnniversary):
    """A whole number of years has passed since the member came into the tier."""


class VoucherRedeemed(LoyaltyEvent):
    """The member used a voucher."""

    id: Id
    code: MaybeText = None
    offer: Offer | None = None


class VoucherExpired(VoucherRedeemed):
    """A voucher can no longer be used."""


class VoucherRevoked(VoucherRedeemed):
    """A voucher was taken away from the member."""

    source_event_id: MaybeText = None


class VoucherCreated(VoucherRedeemed):
    """The member got a voucher."""

    valid_from: MaybeTime = None
    expires_at: MaybeTime = Field(None, validation_alias=AliasChoices("expires_at", "expired_at"))
    source_event_id: MaybeText = None


class VoucherExpirationReminder(VoucherRedeemed):
    """A voucher will expire soon."""

    valid_from: MaybeTime = None
    expires_at: MaybeTime = Field(None, validation_alias=AliasChoices("expired_at", "expires_at"))
    reminder: Reminder
    membership: Membership | None = None


class VoucherRedeemUnauthorized(LoyaltyEvent):
    """The member tried to use a voucher and was not allowed to."""

    code: Id
    reason: MaybeText = None
    offer: Offer | None = None


class VoucherAttributionFailed(LoyaltyEvent):
    """The member should have got a voucher and did not."""

    voucher_offer_id: Id = Field(validation_alias=AliasChoices("voucher_offer_id", AliasPath("offer", "id")))
    rejection_error: MaybeText = None


EVENTS: Mapping[str, type[LoyaltyEvent]] = {
    "balance_minimum_value_reached": BalanceMinimumValueReached,
    "balance_maximum_value_reached": BalanceMaximumValueReached,
    "balance_transaction_unauthorized": BalanceTransactionUnauthorized,
    "balance_expiration_reminder": BalanceExpirationReminder,
    "balance_value_expired": BalanceValueExpired,
    "balance_value_updated": BalanceValueUpdated,
    "membership_anniversary_reminder": MembershipAnniversaryReminder,
    "subscription_created": SubscriptionCreated,
    "subscription_revoked": SubscriptionRevoked,
    "subscription_member_added": SubscriptionMemberAdded,
    "subscription_member_removed": SubscriptionMemberRemoved,
    "subscription_month_anniversary": SubscriptionMonthAnniversary,
    "subscription_year_anniversary": SubscriptionYearAnniversary,
    "tier_anniversary_reminder": TierAnniversaryReminder,
    "tier_association_updated": TierAssociationUpdated,
    "tier_association_month_anniversary": TierAssociationMonthAnniversary,
    "tier_association_year_anniversary": TierAssociationYearAnniversary,
    "voucher_created": VoucherCreated,
    "voucher_redeemed": VoucherRedeemed,
    "voucher_expired": VoucherExpired,
    "voucher_revoked": VoucherRevoked,
    "voucher_expiration_reminder": VoucherExpirationReminder,
    "voucher_redeem_unauthorized": VoucherRedeemUnauthorized,
    "voucher_attribution_failed": VoucherAttributionFailed,
}
"""The model of each event, by the name that the platform gives it."""


def validate(event_name: str, fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[Invalid]]:
    """Read the fields of an event.

    Returns
    -------
    tuple
        The fields, named and nested as on the platform's page; times are aware UTC, nothing is null. And those, by
        their dotted paths, that cannot be read, or are required and missing.
    """
    lost: list[Invalid] = []
    return _readable(EVENTS[event_name].model_validate(fields), "", lost), lost


def unnamed(event_name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event that its model does not name, nested as they are."""
    return _unnamed(EVENTS[event_name], fields)


def _unnamed(model: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    also = {str(one.path[0]) if isinstance(one, AliasPath) else one for choices in _choices(model) for one in choices}
    if issubclass(model, LoyaltyEvent):
        also |= {key for name, parts in _PARTS.items() if name in model.model_fields for key in parts}
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in model.model_fields and name not in also:
            found[name] = value
        elif isinstance(value, Mapping) and name in model.model_fields:
            annotation = model.model_fields[name].annotation
            forms = [annotation, *get_args(annotation)]
            inner = next((one for one in forms if isinstance(one, type) and issubclass(one, BaseModel)), None)
            if inner and (others := _unnamed(inner, value)):
                found[name] = others
    return found


def _readable(model: BaseModel, path: str, lost: list[Invalid]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in model:
        if isinstance(value, _Unreadable):
            lost.append(Invalid(f"{path}{name}", value.reason))
        elif isinstance(value, BaseModel):
            result[name] = _readable(value, f"{path}{name}.", lost)
        elif value is not None:
            result[name] = value
    return result


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (2020-12) of each event's own fields, by event name."""
    return {
        name: {**model.model_json_schema(), "$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
        for name, model in EVENTS.items()
    }
