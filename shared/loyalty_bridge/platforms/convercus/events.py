"""Convercus: one loyalty event becomes one `MemberUpdate`.

Names of attributes, events and purchases are those of the partner page,
https://www.braze.com/docs/partners/data_and_analytics/loyalty/convercus. The incoming event is an envelope
(``eventId``, ``eventType``, ``occurredAt``, ``accountId``, ``userId``, ``partnerId``) around a ``payload`` whose fields
are named as in the public API (https://doc.convercus.io). Keys are found whatever their case and punctuation; of two
spellings the first that has a value counts. Payloads may be wrapped (``{"membership": {…}}``) or flat, and a blank text
counts as null. Fields that are not named here are sent as properties of the event, but for what may be personal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import (
    Event,
    FieldError,
    Json,
    MemberUpdate,
    Part,
    ProfileField,
    UnknownField,
    first_errors,
)
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.convercus.lookup import (
    LONGEST_CACHED,
    EventObject,
    Field,
    find_field,
    find_fields,
    find_objects,
    index_object,
    plain_name,
)
from loyalty_bridge.platforms.convercus.purchases import ORIGINALS, parse_purchase
from loyalty_bridge.platforms.convercus.settings import ConvercusRules, ConvercusSettings
from loyalty_bridge.platforms.personal import WITHHELD, is_personal, withheld_in, without_personal
from loyalty_bridge.platforms.settings import LoyaltySettings

if TYPE_CHECKING:
    from loyalty_bridge.platforms.field_reference import Reference


class _Kind(NamedTuple):
    """What is special about an event type: the names its payload may be wrapped in, and its event properties."""

    wrappers: tuple[str, ...]
    properties: tuple[str, ...]


SETTINGS: type[LoyaltySettings] = ConvercusSettings
UNKNOWN_EVENT = LOOKUP_ALIAS_PREFIX = ""
OWNER_ALIAS_PREFIX = "user:"
OWNER_ATTRIBUTES = frozenset({"convercus_user_id", "convercus_partner_id", "convercus_member_role"})
UNRESOLVED_ERROR = ("userId", "belongs to no account that is known")
AMBIGUOUS_ERRORS: Mapping[str, tuple[str, str]] = {}  # a user may own several accounts
_COMMON = ("userId", "partnerId", "interactionId")
_MEMBERSHIP = _Kind(("membership",), ("membershipId", "memberRole", "status", *_COMMON))
_OPTINS = _Kind(("membership",), (*_MEMBERSHIP.properties, "optins", "allowedOptins", "declinedOptIns"))
_USER = _Kind(("user",), ("memberRole", "status", *_COMMON))
_LOGIN = _Kind(("user",), ("channel", "platform", *_COMMON))
_PUSH_TOKEN = _Kind(("pushToken",), ("tokenType", "platform", *_COMMON))
_COUPON = _Kind(
    ("accountCoupon", "coupon"),
    (
        *("accountCouponId", "couponId", "couponCode", "externalReference", "i18nFields", "validFrom", "validTo"),
        "redeemCount",
        *("maxRedeemCount", "stateLevel", "usageType", "points", "customProperties", *_COMMON),
    ),
)

# What is listed here leaves as an event property: nothing personal and no push token.
_KINDS = {
    "account_created": _Kind(("account",), ("status", *_COMMON)),
    "membership_added": _OPTINS,
    "membership_created": _OPTINS,
    "membership_changed": _MEMBERSHIP,
    "membership_optins_changed": _OPTINS,
    "membership_terminated": _Kind(("membership",), (*_MEMBERSHIP.properties, "reason")),
    "status_level_changed": _Kind(("statusLevel",), ("level", "previousLevel", *_COMMON)),
    "balance_changed": _Kind(
        ("accountBalance", "balance"),
        (
            *("points", "lockedPoints", "statusPoints", "bookingId", "bookingType", "bookingTypeCode", "reason"),
            *("referenceId", *_COMMON),
        ),
    ),
    "account_transaction": _Kind(
        ("transaction", "accountTransaction"),
        (
            *("transactionId", "transactionType", "amount", "currencyCode", "transactionTime", "valueTime"),
            *("externalId", "points", "statusPoints", "reason", "status", "reversal", "linkedTransaction"),
            *("lineItems", "bookings", "partner", "store", *_COMMON),
        ),
    ),
    "coupon_assigned": _COUPON,
    "coupon_redeemed": _COUPON,
    "user_logged_in": _LOGIN,
    "user_logged_out": _LOGIN,
    "user_created": _USER,
    "user_changed": _USER,
    "push_token_created": _PUSH_TOKEN,
    "push_token_deleted": _PUSH_TOKEN,
}

_ENDED = "membership_terminated"
PROPERTIES: Mapping[str, tuple[str, ...]] = {kind: it.properties for kind, it in _KINDS.items()}
"""The properties of each type of event."""

_ABOUT_PERSON = {"account_created", "user_created", "user_changed"} | {k for k in _KINDS if k.startswith("membership_")}
"""Types whose flat payload is the person; elsewhere ``city`` or ``partnerId`` may be those of a store."""

_WRAPPERS = tuple(dict.fromkeys(wrapper for kind in _KINDS.values() for wrapper in kind.wrappers))

_PUSH_SUBSCRIPTION = {"push_token_created": "opted_in", "push_token_deleted": "unsubscribed"}

_RESERVED_NAMES = {"external_id", "email_subscribe"}
_RESERVED_PREFIXES = ("_", "$", "convercus_")

MAX_ENTRIES = 5_000
"""Elements of a list of opt-ins, and custom properties, that are read."""
MAX_UNKNOWN = 50
"""Fields of an event that are sent without being named here."""
_KIND_BY_PLAIN_NAME = {plain_name(name): name for name in _KINDS}
_PERSONAL = {
    plain_name(name)
    for name in (
        *("emailAddress", "email", "givenName", "familyName", "firstName", "lastName", "birthDate", "dateOfBirth"),
        *("genderCode", "gender", "phone", "phoneNumber", "mobile", "mobileNumber", "streetHouseNo", "token"),
    )
}


_ALSO_OF_PERSON = {"name", "title", "age", "initials"}
"""Names that are personal where the event is about a person."""


class _Person(NamedTuple):
    """Whom an event is about."""

    is_owner: bool
    fields: list[EventObject]
    """Where the person's own fields are."""
    ids: list[EventObject]
    """Where the person's id and role are."""


def events(record: Json) -> list[Json]:
    """Take a parsed record apart, as `parsing.split_events` does."""
    return [_Event(event) if isinstance(event, Mapping) else event for event in parsing.split_events(record)]


def complete(event: Json, event_name: str, received: datetime) -> Json:
    """Return the event as it is: a delivery lacks nothing."""
    return event


def reference() -> Reference:
    """Return the fields that the events become, for the documentation."""
    from loyalty_bridge.platforms.convercus import reference as module

    return module.reference()


def member(event: Json, _rules: ConvercusRules | None = None) -> str | None:
    """Return the account id that an event carries, wherever it carries it.

    Raises
    ------
    Invalid
        The event is no object, or its account id is neither a text nor an integer.
    """
    return _opened(event).member


def alias(event: Json) -> str | None:
    """Return ``user:<userId>`` for an event that carries no account; raises `Invalid` as `member` does."""
    return _opened(event).other_id


def aliases_of(event: Json) -> tuple[str, ...]:
    """Return the alias by which later events may mean this event's account: the user that it names as the OWNER.

    Raises
    ------
    Invalid
        As `member`, or the event's type is missing or unknown.
    """
    opened = _opened(event)
    return _alias_of_role(opened) if opened.person.is_owner and opened.kind != _ENDED else ()


def ended_aliases(event: Json) -> tuple[str, ...]:
    """Return the alias of a user who owns this event's account no longer: the role is another, or the membership ended.

    Raises
    ------
    Invalid
        As `aliases_of`.
    """
    opened = _opened(event)
    return _alias_of_role(opened) if not opened.person.is_owner or opened.kind == _ENDED else ()


def _alias_of_role(opened: _Event) -> tuple[str, ...]:
    """Return the alias of the person whose role an event of an account names."""
    person = opened.person
    has_role = find_field(person.ids, "memberRole", "role") is not None
    try:
        alias = _alias(person.ids) if has_role and opened.member is not None else None
    except Invalid:  # the account's event is of use without it
        alias = None
    return (alias,) if alias else ()


def event_id(event: Json) -> str:
    """Return the event's own id; without one, a hash of its content.

    The hash is weak: two events that happened alike and carry no time look like one event delivered twice.

    Raises
    ------
    Invalid
        The event is no object, or its ``eventId`` is neither a text nor an integer.
    """
    return _event_id(_opened(event).envelope)


def read(event: Mapping[str, Json], rules: ConvercusRules, *, member: str, received: datetime) -> MemberUpdate:
    """Map one event to the changes of one member.

    Profile fields, opt-ins and the ids of the person come only from the OWNER of the account; a payload that holds
    one person without a role is the owner's. An explicit null removes a profile field.

    Parameters
    ----------
    event
        One of `events`.
    rules
        The program's decisions.
    member
        The account id. For an event that carries only a user, call once for each account of the user: the update's
        id then ends in ``/<member>``, while the property ``event_id`` stays the source's.
    received
        When the event arrived (aware, UTC); stands in for a time that is missing, see `parsing.parse_event_time`.

    Raises
    ------
    Invalid
        The event is no object; its payload neither; its type is missing or unknown; its time or id is impossible.
    """
    opened = _opened(event)
    envelope, payload, kind, person = opened.envelope, opened.payload, opened.kind, opened.person
    source_id = _event_id(envelope)
    occurred = find_field([envelope], "occurredAt")
    time = parsing.parse_event_time(*occurred, received) if occurred else received

    field_errors: list[FieldError] = []
    body = [*find_objects([payload], *_KINDS[kind].wrappers), payload]
    properties = _properties(_KINDS[kind].properties, [*body, envelope], field_errors) | {"event_id": source_id}
    profile = _profile(person.fields, rules, received, field_errors) if person.is_owner and person.fields else {}
    if person.is_owner and kind in _PUSH_SUBSCRIPTION:
        profile["push_subscription"] = _PUSH_SUBSCRIPTION[kind]
    attributes = {
        ConvercusSettings.member_label: member,
        **_person_attributes(person, [*(person.ids if kind in _ABOUT_PERSON else []), envelope], field_errors),
        **_state_attributes(kind, body, field_errors),
    }
    if kind == "status_level_changed" and "convercus_status_level" in attributes:
        properties.setdefault("level", {"name": attributes["convercus_status_level"]})
    purchase = None
    if kind == "account_transaction":
        with _Part("purchase", field_errors):
            purchase = parse_purchase(body, properties, rules, time)
    of_person = person.fields if kind in _ABOUT_PERSON and person.is_owner else []
    unknown = _unknown(kind, [*body, *of_person, envelope], rules, properties)
    unknown += _withheld_inside([*body, *of_person, envelope], properties)
    return MemberUpdate(
        event_id=source_id if opened.other_id is None else f"{source_id}/{member}",
        member=member,
        time=time,
        profile=profile,
        attributes=attributes,
        custom=_custom(person.fields, field_errors) if person.is_owner else {},
        event=Event(f"convercus_{kind}", time, properties),
        purchase=purchase,
        field_errors=first_errors(field_errors),
        unknown=unknown,
        member_label=ConvercusSettings.member_label,
    )


class _Event(dict[str, Json]):
    """An event that is looked into once, however many questions are asked about it."""

    @cached_property
    def envelope(self) -> EventObject:
        return index_object("", self)

    @cached_property
    def payload(self) -> EventObject:
        """An event without a payload is its own."""
        found = find_field([self.envelope], "payload")
        if found is None:
            return self.envelope
        if not isinstance(found.value, Mapping):
            raise Invalid("payload", "is not an object")
        return index_object("payload", found.value)

    @cached_property
    def kind(self) -> str:
        return _kind(self.envelope)

    @cached_property
    def member(self) -> str | None:
        def found() -> Iterator[Field]:
            yield from find_fields([self.envelope, self.payload], "accountId")
            yield from find_fields(find_objects([self.payload], *_WRAPPERS), "accountId")

        return _id(found())

    @cached_property
    def other_id(self) -> str | None:
        if self.member is not None:
            return None
        return _alias([self.envelope, self.payload, *find_objects([self.payload], *_WRAPPERS)])

    @cached_property
    def person(self) -> _Person:
        return _person(self.kind, self.envelope, self.payload)


def _opened(event: Json) -> _Event:
    if isinstance(event, _Event):
        return event
    if not isinstance(event, Mapping):
        raise Invalid("record", "is not an object")
    return _Event(event)


class _Part(NamedTuple):
    """Notes a refusal in its block, and goes on without the field (a generator would take longer than most fields)."""

    part: Part
    field_errors: list[FieldError]

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, Invalid):
            self.field_errors.append(FieldError(self.part, error.field, error.reason))
        return isinstance(error, Invalid)


def _kind(envelope: EventObject) -> str:
    found = find_field([envelope], "eventType")
    if found is None:
        raise Invalid("eventType", "is missing")
    kind = _KIND_BY_PLAIN_NAME.get(plain_name(parsing.parse_text(*found)).removeprefix("convercus"))
    if kind is None:
        raise Invalid(found.path, "is not a known event type")
    return kind


def _event_id(envelope: EventObject) -> str:
    named = [one for one in find_fields([envelope], "eventId") if not parsing.is_missing_id(one.value)]
    if named:
        return parsing.parse_text(*next((one for one in named if one.value not in ([], {})), named[0]))
    content = json.dumps(envelope.fields, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def _alias(objects: list[EventObject]) -> str | None:
    found = _id(find_fields(objects, "userId"))
    return f"user:{found}" if found else None


def _id(candidates: Iterable[Field]) -> str | None:
    """Read the first that can be a person's id.

    Raises
    ------
    Invalid
        There are some, and none can be: why the first cannot.
    """
    refusal: Invalid | None = None
    for found in candidates:
        if found.value is not None:
            try:
                return parsing.parse_member_id(*found)
            except Invalid as unusable:
                refusal = refusal or unusable
    if refusal:
        raise refusal
    return None


def _person(kind: str, envelope: EventObject, payload: EventObject) -> _Person:
    """Find the owner's membership, or the one person that the event is about."""
    accounts = [payload, *find_objects([payload], "account")]
    listed = find_field(accounts, "memberships")
    if listed and isinstance(listed.value, Sequence):
        memberships = [
            index_object(f"{listed.path}[{i}]", m) for i, m in enumerate(listed.value) if isinstance(m, Mapping)
        ]
        owners = [m for m in memberships if _is_owner([m], unsaid=len(memberships) == 1)]
        if memberships:
            fields = [*owners[:1], *find_objects(owners[:1], "user")]
            return _Person(bool(owners), fields, fields)
    wrapped = find_objects(accounts, "membership", "user")
    fields = [*wrapped, *find_objects(wrapped, "user"), *(accounts if kind in _ABOUT_PERSON else [])]
    ids = [*fields, payload, envelope]
    return _Person(_is_owner(ids, unsaid=True), fields, ids)


def _is_owner(objects: list[EventObject], *, unsaid: bool) -> bool:
    role = find_field(objects, "memberRole", "role")
    return unsaid if role is None else isinstance(role.value, str) and plain_name(role.value) == "owner"


def _person_attributes(person: _Person, partners: list[EventObject], field_errors: list[FieldError]) -> dict[str, Json]:
    """Read who the owner is to Convercus. `partners` is where a partner is the one of the membership, not of a sale."""
    if not person.is_owner:
        return {}
    result = {
        "convercus_user_id": find_field(person.ids, "userId"),
        "convercus_partner_id": find_field([*partners, *find_objects(partners, "partner")], "partnerId"),
        "convercus_member_role": find_field(person.ids, "memberRole", "role"),
    }
    attributes: dict[str, Json] = {}
    for name, found in result.items():
        if found:
            with _Part("attributes", field_errors):
                attributes[name] = (parsing.parse_member_id if name.endswith("_id") else parsing.parse_text)(*found)
    return attributes


def _state_attributes(kind: str, body: list[EventObject], field_errors: list[FieldError]) -> dict[str, Json]:
    """Read the tier and the balance from every event that states them."""
    attributes: dict[str, Json] = {}
    accounts = [*body, *find_objects(body, "account")]
    levels = [*find_objects(accounts, "level", "statusLevel"), *(body if kind == "status_level_changed" else [])]
    level = find_field(accounts, "level", "statusLevel")
    if level is None or isinstance(level.value, Mapping):
        level = find_field(levels, "name")
    if level:
        with _Part("attributes", field_errors):
            attributes["convercus_status_level"] = parsing.parse_text(*level)

    field_errors += [
        FieldError("attributes", path, "is not an object")
        for value, path in find_fields(accounts, "accountBalance", "balance")
        if not isinstance(value, Mapping | None)
    ]
    balances = [*find_objects(accounts, "accountBalance", "balance"), *(body if kind == "balance_changed" else [])]
    result = {
        "points": find_field(balances, "points"),
        "lockedPoints": find_field(balances, "lockedPoints"),
        "statusPoints": find_field(balances, "statusPoints") or find_field(levels, "currentStatePoints"),
    }
    balance: dict[str, Json] = {}
    for name, points in result.items():
        if points:
            with _Part("attributes", field_errors):
                balance[name] = parsing.parse_number(*points)
    if balance:
        attributes["convercus_balance"] = balance
    return attributes


PROFILE: Mapping[ProfileField, tuple[str, ...]] = {
    "country": ("countryCode", "country"),
    "email": ("emailAddress", "email"),
    "phone": ("phoneNumber", "phone", "mobileNumber", "mobilePhone", "mobilePhoneNumber", "mobile"),
    "first_name": ("givenName", "firstName"),
    "last_name": ("familyName", "lastName"),
    "birth_date": ("birthDate", "dateOfBirth"),
    "gender": ("genderCode", "gender"),
    "city": ("city",),
}
"""Where a person's profile fields are, in the order in which they are read."""
_CALLING_CODES = ("phoneCountryCode", "phoneCountry", "phonePrefix", "callingCode", "countryCallingCode", "dialCode")


def _profile(
    person: list[EventObject], rules: ConvercusRules, received: datetime, field_errors: list[FieldError]
) -> dict[ProfileField, Json]:
    where = [*person, *find_objects(person, "address")]
    profile: dict[ProfileField, Json] = {}

    def phone(value: Json, field: str) -> Json:
        # A number without country code is dialled from where its owner lives.
        result = find_field(where, *_CALLING_CODES)
        region = parsing.parse_calling_region(*result) if result else profile.get("country") or rules.default_country
        return parsing.parse_phone(value, region if isinstance(region, str) else None, field)

    def birth_date(value: Json, field: str) -> Json:
        return parsing.parse_birth_date(value, field, not_after=received.date() + timedelta(days=1))

    readers: Mapping[ProfileField, Callable[[Json, str], Json]] = {
        "country": parsing.parse_country,
        "email": parsing.parse_email,
        "phone": phone,
        "first_name": parsing.parse_text,
        "last_name": parsing.parse_text,
        "birth_date": birth_date,
        "gender": parsing.parse_gender,
        "city": parsing.parse_text,
    }
    for name, read_value in readers.items():
        names = PROFILE[name]
        found = find_field(where, *names) or next(find_fields(where, *names), None)
        if found:
            with _Part("attributes", field_errors):
                profile[name] = None if found.value is None else read_value(*found)
    if subscription := _email_subscription(person, rules, field_errors):
        profile["email_subscription"] = subscription
    return profile


def _email_subscription(person: list[EventObject], rules: ConvercusRules, field_errors: list[FieldError]) -> str | None:
    """Apply the mapping of the partner page: allowed wins over declined, and neither is `opt_in_without_record`."""
    channels = {plain_name(name) for name in rules.email_optins}
    lists = [
        (found, default)
        for name, default in (("optins", None), ("allowedOptins", True), ("declinedOptins", False))
        if (found := find_field(person, name))
    ]
    refused_before = len(field_errors)
    said: set[bool] = set()
    for found, default in lists:
        with _Part("attributes", field_errors):
            for entry in _entries(found):
                with _Part("attributes", field_errors):
                    channel, allowed = _optin(entry, default)
                    if plain_name(channel) in channels:
                        said.add(allowed)
            _check_length(found)
    if said:
        return "opted_in" if True in said else "unsubscribed"
    # What could not be read may have been the record: it must not reset anybody's consent.
    if not lists or len(field_errors) > refused_before or rules.opt_in_without_record == "untouched":
        return None
    return "subscribed"


def _optin(entry: Field, default: bool | None) -> tuple[str, bool]:
    """Read one opt-in. `default` is what its list says; where its own flag says otherwise, it is declined."""
    if not isinstance(entry.value, Mapping):
        if default is None:
            raise Invalid(entry.path, "is not an object")
        return parsing.parse_text(*entry), default
    fields = [index_object(entry.path, entry.value)]
    channel = find_field(fields, "type", "name")
    flag = find_field(fields, "flag")
    if channel is None or (flag is None and default is None):
        raise Invalid(entry.path, "has no type or no flag")
    own = parsing.parse_boolean(*flag) if flag else True
    return parsing.parse_text(*channel), own and default is not False


def _custom(person: list[EventObject], field_errors: list[FieldError]) -> dict[str, Json]:
    """Read the user's own properties, given as ``[{"name", "value"}]`` or as one object."""
    custom: dict[str, Json] = {}
    if (found := find_field(person, "customProperties")) is None:
        return custom
    with _Part("attributes", field_errors):
        for entry in _entries(found) if not isinstance(found.value, Mapping) else _named(found):
            with _Part("attributes", field_errors):
                name, value = _custom_property(entry, found.path)
                # Of two the first that has a value counts.
                if custom.get(name) is None or parsing.is_blank(custom[name]):
                    custom[name] = value
        if isinstance(found.value, Sequence | Mapping):
            _check_length(found)
    return custom


def _named(found: Field) -> list[Field]:
    items = islice(found.value.items(), MAX_ENTRIES) if isinstance(found.value, Mapping) else ()
    return [Field({"name": name, "value": value}, f"{found.path}.{name[:64]}") for name, value in items]


def _custom_property(entry: Field, path: str) -> tuple[str, Json]:
    given = [index_object(entry.path, entry.value)] if isinstance(entry.value, Mapping) else []
    found = find_field(given, "name") or next(find_fields(given, "name"), None)
    value = find_field(given, "value") or next(find_fields(given, "value"), None)
    if found is None or value is None:
        raise Invalid(entry.path, "has no name or no value")
    name = parsing.parse_text(*found)
    if name.lower() in _RESERVED_NAMES or name.lower().startswith(_RESERVED_PREFIXES):
        raise Invalid(f"{path}.{name[:64]}", "has a reserved name")
    return name, value.value


def _entries(found: Field) -> list[Field]:
    if isinstance(found.value, str) or not isinstance(found.value, Sequence):
        raise Invalid(found.path, "is not an array")
    return [Field(entry, f"{found.path}[{index}]") for index, entry in enumerate(islice(found.value, MAX_ENTRIES))]


def _check_length(found: Field) -> None:
    if isinstance(found.value, Sequence | Mapping) and (more := len(found.value) - MAX_ENTRIES) > 0:
        raise Invalid(found.path, f"has {more} elements more than the {MAX_ENTRIES} that are read")


def _properties(names: Iterable[str], sources: list[EventObject], field_errors: list[FieldError]) -> dict[str, Json]:
    properties: dict[str, Json] = {}
    part = _Part("event", field_errors)
    for name in names:
        if found := find_field(sources, *_ALSO_CALLED.get(name, (name,))):
            with part:
                properties[name] = _PROPERTY_READERS.get(name, _tidy)(*found)
    return properties


_ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    # As the answer to an assignment: the only public client shows the external reference as the code.
    "couponCode": ("couponCode", "code", "externalReference"),
    "currencyCode": ("currencyCode", "currency"),
}


def _unknown(
    kind: str, sources: list[EventObject], rules: ConvercusRules, properties: dict[str, Json]
) -> tuple[UnknownField, ...]:
    """Add the fields that the mapping does not name to the properties, or the reason why one is not sent."""
    named, excluded = _named_fields(kind), {plain_name(name) for name in rules.excluded_fields}
    found: dict[str, UnknownField] = {}
    for source in sources:
        for plain, keys in source.keys.items():
            if plain in named or plain in found or len(found) > MAX_UNKNOWN:
                continue
            value = next(
                (found.value for found in find_fields([source], keys[0]) if found.value not in (None, [], {})), None
            )
            if value is None:
                continue
            name, kept = keys[0][:LONGEST_CACHED], without_personal(value, keys[0])
            if len(found) == MAX_UNKNOWN:
                withheld = f"and what follows it is beyond the {MAX_UNKNOWN} unknown fields of an event"
            elif plain in excluded:
                withheld = "is excluded by the program's settings"
            elif kept is None or _is_personal(keys[0], plain, kind):
                withheld = WITHHELD
            elif name in properties or len(keys[0]) > LONGEST_CACHED:
                withheld = "has a name that is taken or too long"
            else:
                withheld = ""
                properties[name] = kept
            found[plain] = UnknownField(name, withheld)
    return tuple(found.values())


def _withheld_inside(sources: list[EventObject], properties: Mapping[str, Json]) -> tuple[UnknownField, ...]:
    """Return which fields inside the objects and arrays that are sent are left out, because they may be personal."""
    found = (find_field(sources, *_ALSO_CALLED.get(name, (name,))) for name in properties)
    objects = (
        one for one in found if one and isinstance(one.value, Mapping | Sequence) and not isinstance(one.value, str)
    )
    paths = (path for one in objects for path in withheld_in(one.value, one.path.rpartition(".")[2]))
    return tuple(UnknownField(path, WITHHELD) for path in dict.fromkeys(islice(paths, MAX_UNKNOWN)))


@lru_cache(maxsize=32)
def _named_fields(kind: str) -> frozenset[str]:
    """Return the plain names of all fields that are read from an event of a kind."""
    also = [name for names in _ALSO_CALLED.values() for name in names] if kind in _COUPON_OR_SALE else []
    person = [name for names in PROFILE.values() for name in names]
    return (
        frozenset(
            plain_name(name)
            for name in (*_KINDS[kind].properties, *_READ_EVERYWHERE, *_READ_FROM.get(kind, ()), *also, *person)
        )
        | _PERSONAL
    )


_COUPON_OR_SALE = {"coupon_assigned", "coupon_redeemed", "account_transaction"}
_READ_EVERYWHERE = (
    *(
        "eventId",
        "eventType",
        "occurredAt",
        "programId",
        "accountId",
        "payload",
        "account",
        "membership",
        "memberships",
    ),
    *("user", "partner", "memberRole", "role", "address", "customProperties", "optins", "allowedOptins"),
    *("declinedOptins", "level", "statusLevel", "accountBalance", "balance", *_WRAPPERS, *_CALLING_CODES),
)
_READ_FROM = {
    "status_level_changed": ("name", "levelId", "currentStatePoints"),
    "account_transaction": (
        *(*ORIGINALS, "reversed", "cancellation", "cancelled", "canceled", "originalTransactionId"),
        *("reversedTransactionId", "linkedTransactionId"),
    ),
}


def _is_personal(name: str, plain: str, kind: str) -> bool:
    is_of_person = kind in _ABOUT_PERSON and plain in _ALSO_OF_PERSON
    return is_of_person or plain in _PERSONAL or is_personal(name)


def _tidy(value: Json, field: str) -> Json:
    """Copy a value without empty fields and, in an object or array, without personal ones."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return parsing.canonical_number(value)
    kept = without_personal(value, field.rpartition(".")[2])
    return kept if kept is not None else {} if isinstance(value, Mapping) else []


def _level(value: Json, field: str) -> Json:
    """Return a level as an object, so that the type of the property never changes."""
    return {"name": parsing.parse_text(value, field)} if isinstance(value, str) else _tidy(value, field)


_PROPERTY_READERS: Mapping[str, Callable[[Json, str], Json]] = {
    **dict.fromkeys(("amount", "points", "lockedPoints", "statusPoints"), parsing.parse_number),
    **dict.fromkeys(("redeemCount", "maxRedeemCount"), parsing.parse_number),
    **dict.fromkeys(("transactionTime", "valueTime", "validFrom", "validTo"), parsing.parse_iso_time),
    **dict.fromkeys(("level", "previousLevel"), _level),
}
