"""Brevo Loyalty: one webhook event becomes one `MemberUpdate`.

A delivery describes itself (``event_name``, ``event_id``, ``event_date``, ``identifiers``, ``contact_id``,
``contact_properties``, ``source`` beside the event's own fields or around ``event_properties``), or it is bare: the
event's own fields only, which `complete` completes. See https://developers.brevo.com/docs/loyalty-webhooks.

**Events.** The event is called ``loyalty_<event_name>``. Its properties are the event's own fields and keep their
names; those of an object are joined by ``_``, such as ``balance_definition_name`` or ``tier_group_id``. These differ:

=========================================  =============================================================
In the delivery                            Property
=========================================  =============================================================
``id`` of a voucher                        ``voucher_id``
``expired_at``                             ``expires_at``
``subscription.loyalty_subscription_id``   ``loyalty_subscription_id``
``balance_definition.metadata``            ``balance_definition_metadata`` when it is a text, and
                                           ``balance_definition_metadata_<key>`` when it is an object
``source``                                 ``event_source``
``event_id``                               ``event_id``
=========================================  =============================================================

An event that this module does not know is called ``loyalty_event``. Its property ``loyalty_event_type`` is the name
that it came with; its fields are flattened alike, and names that an engagement platform reserves get the prefix
``loyalty_``.

**Attributes**, from the events that state a value in full. Only the number of balance definitions, of tier groups
and of loyalty programs decides how many there are:

====================================  =================================  ============================================
Attribute                             Value                              From
====================================  =================================  ============================================
``loyalty_balances``                  object: definition id → value      ``balance_value_updated``,
                                                                         ``balance_minimum_value_reached``,
                                                                         ``balance_maximum_value_reached``
``loyalty_tiers``                     object: tier group id → tier name  ``tier_…``, all four
``loyalty_tier_ids``                  object: tier group id → tier id    ``tier_…``, all four
``loyalty_subscription_id``           object: loyalty program's id →     ``subscription_created``, ``…_revoked``,
                                      text                               ``…_anniversary``
``loyalty_subscription_state``        object: loyalty program's id →     ``subscription_created``, ``…_revoked``
                                      ``active`` or ``revoked``
``loyalty_subscription_created_at``   object: loyalty program's id →     ``subscription_created``, ``…_anniversary``
                                      time
``loyalty_subscription_revoked_at``   object: loyalty program's id →     ``subscription_revoked``
                                      time of the last one
====================================  =================================  ============================================

``balance_value_expired`` and ``balance_expiration_reminder`` state no balance: whether their figure is what expires or
what is left is not documented. In keys, characters other than letters, digits, ``_`` and ``-`` become ``_``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Event, FieldError, Json, MemberUpdate, ProfileField, UnknownField
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.brevo.settings import BrevoRules, BrevoSettings, IdentifyBy
from loyalty_bridge.platforms.personal import WITHHELD, withheld_in, without_personal
from loyalty_bridge.platforms.settings import LoyaltySettings

if TYPE_CHECKING:
    from loyalty_bridge.platforms.field_reference import Reference

SETTINGS: type[LoyaltySettings] = BrevoSettings
UNKNOWN_EVENT = "loyalty_event"
"""What an event is called whose ``event_name`` is not one of the 24."""
LOOKUP_ALIAS_PREFIX = OWNER_ALIAS_PREFIX = ""
OWNER_ATTRIBUTES: frozenset[str] = frozenset()
# Each event names its member itself; without one `member` refuses it.
UNRESOLVED_ERROR = ("", "")
AMBIGUOUS_ERRORS: Mapping[str, tuple[str, str]] = {}

MAX_PROPERTIES = 100
"""MoEngage keeps the first hundred: https://www.moengage.com/docs/user-guide/data/key-concepts/data-tracking-policies"""


_ENVELOPE = frozenset({
    "event_name", "event_id", "event_date", "identifiers", "contact_id", "contact_properties", "source",
})  # fmt: skip

_STATES_BALANCE = {"balance_value_updated", "balance_minimum_value_reached", "balance_maximum_value_reached"}

_RENAMED = {"id": "voucher_id", "subscription_loyalty_subscription_id": "loyalty_subscription_id"}

_RESERVED = frozenset({
    # https://www.braze.com/docs/user_guide/data/activation/events/custom_events/custom_event_properties
    "time", "event_name", "product_id", "quantity", "price", "currency",
    # https://www.moengage.com/docs/api/data/data-overview
    "id", "_id", "status", "user_id", "source",
})  # fmt: skip


events = parsing.split_events


def complete(event: Json, event_name: str, received: datetime) -> Json:
    """Complete an event with what it lacks, and lift its ``event_properties`` to the top level.

    Parameters
    ----------
    event
        One of `events`.
    event_name
        Name in the URL of the delivery; the name in the event has precedence.
    received
        Time of the delivery (aware, UTC), for an event without a time.

    Notes
    -----
    A missing id becomes a hash of the event and the minute of delivery. The hash is weak: a delivery that is repeated
    in another minute counts as another event, and two equal events within one minute count as one.

    Raises
    ------
    Invalid
        The event is no object.
    """
    result = _open(event)
    minute = received.astimezone(UTC).isoformat(timespec="minutes")
    content = json.dumps([event_name or None, minute, event], sort_keys=True, separators=(",", ":"))
    made: dict[str, Json] = {
        "event_name": event_name or None,
        "event_id": f"sha256:{hashlib.sha256(content.encode()).hexdigest()}",
        "event_date": _iso(received),
    }
    return result | {field: value for field, value in made.items() if parsing.is_missing_id(result.get(field))}


def reference() -> Reference:
    """Return the fields that the events become, for the documentation."""
    from loyalty_bridge.platforms.brevo import reference as module

    return module.reference()


def member(event: Json, rules: BrevoRules) -> str:
    """Return whom an event is about: an id, an e-mail address, or a phone number in E.164.

    Raises
    ------
    Invalid
        The event is no object, or it has nothing that `Rules.identify_by` asks for.
    """
    return _identity(_open(event), rules)[1]


def alias(_: Json) -> str | None:
    """Return that no event means a member by a second name: whom it is about is in it, or `member` refuses it."""
    return None


def aliases_of(_: Json) -> tuple[str, ...]:
    """Return that no later event means this event's member by a second name."""
    return ()


def ended_aliases(_: Json) -> tuple[str, ...]:
    """Return none."""
    return ()


def event_id(event: Json) -> str:
    """Return the event's id.

    Raises
    ------
    Invalid
        The event is no object, or its ``event_id`` is missing or neither a text nor an integer; see `complete`.
    """
    return _text(_open(event), "event_id")


def read(event: Json, rules: BrevoRules, *, member: str, received: datetime) -> MemberUpdate:
    """Map one event to the changes of its member.

    Parameters
    ----------
    event
        One of `events`, completed by `complete`.
    rules
        The program's decisions.
    member
        The result of `member` for this event.
    received
        When the event arrived (aware, UTC); stands in for a time that is missing, see `parsing.parse_event_time`.

    Raises
    ------
    Invalid
        The event is no object; it names no member; its name or id is missing; or its time is impossible.
    """
    result = _open(event)
    identified_by, _ = _identity(result, rules)
    source_id = event_id(event)
    event_type = _text(result, "event_name")
    date = result.get("event_date")
    time = received if parsing.is_blank(date) else parsing.parse_event_time(date, "event_date", received)
    # pydantic is slow to import, and only who reads an event needs it, not who takes in a delivery.
    from loyalty_bridge.platforms.brevo import event_models as brevo_events

    name = re.sub(r"[\W_]+", "_", event_type.lower()).strip("_")
    is_known = name in brevo_events.EVENTS
    properties: dict[str, Json] = {"event_id": source_id}
    if isinstance(source := result.get("source"), str) and source.strip():
        properties["event_source"] = source.strip()
    field_errors: list[FieldError] = []
    unknown: tuple[UnknownField, ...] = ()
    if is_known:
        own, lost = brevo_events.validate(name, result)
        field_errors += [FieldError("event", one.field, one.reason) for one in lost]
        _flatten(own, _RENAMED, properties, field_errors)
        raw = {key: value for key, value in result.items() if key not in _ENVELOPE}
        unknown = _unknown(brevo_events.unnamed(name, raw), properties, field_errors)
    else:
        own = {key: value for key, value in result.items() if key not in _ENVELOPE}
        properties["loyalty_event_type"] = event_type[:255]
        unknown = tuple(one for one in _unknown(own, properties, field_errors) if one.withheld)
    attributes = _state(name, own, time, field_errors) if is_known else {}
    profile, custom = _contact(result, field_errors) if rules.forward_contact_properties else ({}, {})
    return MemberUpdate(
        event_id=source_id,
        member=member,
        time=time,
        identified_by=identified_by,
        profile=profile,
        attributes=attributes,
        custom=custom,
        event=Event(f"loyalty_{name}" if is_known else UNKNOWN_EVENT, time, properties),
        field_errors=tuple(field_errors),
        unknown=unknown,
    )


def _open(event: Json) -> dict[str, Json]:
    """Take an event's fields from the top level and, where they are not there, from ``event_properties``."""
    if not isinstance(event, Mapping):
        raise Invalid("record", "is not an object")
    nested = event.get("event_properties")
    inner = nested if isinstance(nested, Mapping) else {}
    # Of two places the first that has a value counts.
    result: dict[str, Json] = {
        name: value
        for name, value in event.items()
        if value is not None
        and name != "event_properties"
        and not (parsing.is_blank(value) and not parsing.is_blank(inner.get(name)))
    }
    return {**inner, **result}


def _text(fields: Mapping[str, Json], field: str) -> str:
    if parsing.is_blank(fields.get(field)):
        raise Invalid(field, "is missing")
    return parsing.parse_text(fields[field], field)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _phone(value: Json, field: str) -> str:
    """Read a phone number as Brevo has it: with the country code, whether or not ``+`` or ``00`` is before it.

    Source: https://developers.brevo.com/reference/createcontact
    """
    return parsing.parse_phone("+" + parsing.parse_text(value, field).lstrip("+").removeprefix("00"), None, field)


def _identity(fields: Json, rules: BrevoRules) -> tuple[Literal["id", "email", "phone"], str]:
    """Find the first usable identifier of the program's order."""
    refusal = Invalid("identifiers", f"name no member by {', '.join(rules.identify_by)}")
    for identifier in rules.identify_by:
        kind, read_value, paths = _IDENTIFIERS[identifier]
        for path in paths:
            value = fields
            for key in path.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            try:
                if not parsing.is_blank(value):
                    return kind, read_value(value, path)
            except Invalid as unreadable:
                refusal = unreadable
    raise refusal


_IDENTIFIERS: Mapping[
    IdentifyBy, tuple[Literal["id", "email", "phone"], Callable[[Json, str], str], tuple[str, ...]]
] = {
    "ext_id": ("id", parsing.parse_member_id, ("identifiers.ext_id",)),
    "email_id": ("email", parsing.parse_email, ("identifiers.email_id",)),
    "phone_id": ("phone", _phone, ("identifiers.phone_id",)),
    "contact_id": ("id", parsing.parse_member_id, ("contact_id", "identifiers.contact_id")),
    "loyalty_subscription_id": (
        "id", parsing.parse_member_id, ("loyalty_subscription_id", "subscription.loyalty_subscription_id"),
    ),
    "card_id": ("id", parsing.parse_member_id, ("membership.card_id", "card_id")),
    "member_id": ("id", parsing.parse_member_id, ("member_id",)),
}  # fmt: skip
"""For each identifier what it identifies by, how it is read, and the paths that it may be at."""


def _state(name: str, fields: Mapping[str, Any], time: datetime, field_errors: list[FieldError]) -> dict[str, Json]:
    """Return the attributes of the module's table, as far as what they are kept by can be read."""
    attributes: dict[str, Json] = {}
    if name in _STATES_BALANCE and "value" in fields and (definition := _id_of(fields, "balance_definition")):
        attributes["loyalty_balances"] = {definition: fields["value"]}
    tier = fields.get("to_tier") or fields.get("tier")
    if tier and (group := _id_of(fields, "tier_group")):
        kept = {"loyalty_tier_ids": "id", "loyalty_tiers": "name"}
        attributes |= {attribute: {group: tier[part]} for attribute, part in kept.items() if part in tier}
    subscription = fields.get("subscription", fields)
    found: dict[str, Json] = {}
    if "loyalty_subscription_id" in subscription:
        found["id"] = subscription["loyalty_subscription_id"]
        if name == "subscription_revoked":
            found |= {"state": "revoked", "revoked_at": _iso(time)}
        elif "created_at" in subscription:
            found["created_at"] = _iso(subscription["created_at"])
        if name == "subscription_created":
            found["state"] = "active"
    program = _id_of(fields, "loyalty_program")
    if found and not program:
        field_errors.append(
            FieldError("attributes", "loyalty_program.id", "is missing, and a subscription is kept by it")
        )
    elif program:  # a contact may be in several programs of the account
        attributes |= {f"loyalty_subscription_{part}": {program: value} for part, value in found.items()}
    return attributes


def _id_of(fields: Mapping[str, Any], name: str) -> str:
    """Return an object's id as a key, empty when it has none."""
    identifier = fields.get(name, {}).get("id", "")
    return _key(identifier) if identifier else ""


def _key(identifier: str) -> str:
    """Make a key that can stand in a path.

    Braze allows no ``.``, ``$`` and blanks in it, and MoEngage 200 characters for the whole path:
    https://www.braze.com/docs/user_guide/data/activation/attributes/nested_custom_attribute_support
    """
    return re.sub(r"[^\w-]", "_", identifier)[:100]


def _flatten(
    fields: Mapping[str, Any], renamed: Mapping[str, str], properties: dict[str, Json], field_errors: list[FieldError]
) -> None:
    """Add the leaves of an object to the properties, as many as there may be."""
    for path, value in _leaves(fields, ""):
        name = re.sub(r"[^\w-]", "_", renamed.get(path, path))[:200]
        name = f"loyalty_{name}" if name.lower() in _RESERVED else name
        if not name.strip("_") or name in properties:
            continue
        if len(properties) == MAX_PROPERTIES:
            reason = f"and what follows it is beyond the {MAX_PROPERTIES} properties that an event may have"
            field_errors.append(FieldError("event", name, reason))
            return
        properties[name] = value


def _unknown(
    others: Mapping[str, Any], properties: dict[str, Json], field_errors: list[FieldError]
) -> tuple[UnknownField, ...]:
    """Add the fields that no model names to the properties, but for what may be personal."""
    kept = without_personal(others)
    sent = dict(_leaves(kept, "")) if isinstance(kept, Mapping) else {}
    withheld = [UnknownField(name, WITHHELD) for name, _ in _leaves(others, "") if name not in sent]
    arrays = (path for name, value in _leaves(others, "") if name in sent for path in withheld_in(value, name))
    withheld += [UnknownField(path, WITHHELD) for path in dict.fromkeys(islice(arrays, MAX_PROPERTIES))]
    _flatten(kept if isinstance(kept, Mapping) else {}, {}, properties, field_errors)
    return (*map(UnknownField, sent), *withheld)[:MAX_PROPERTIES]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping) and value.keys() != {"$time"}:  # a time, as Braze has it inside objects
        for key, part in value.items():
            yield from _leaves(part, f"{path}_{key}" if path else key)
    elif not parsing.is_blank(value := value["$time"] if isinstance(value, Mapping) else value):
        yield path, _iso(value) if isinstance(value, datetime) else value


def _contact(
    fields: Mapping[str, Json], field_errors: list[FieldError]
) -> tuple[dict[ProfileField, Json], dict[str, Json]]:
    """Read the contact's attributes. One that is blank is not known here, which removes nothing elsewhere."""
    profile: dict[ProfileField, Json] = {}
    custom: dict[str, Json] = {}
    contact = fields.get("contact_properties")
    for name, value in contact.items() if isinstance(contact, Mapping) else ():
        field = f"contact_properties.{name[:64]}"
        standard = _PROFILE.get(name.upper())
        if parsing.is_blank(value) or (standard and standard[0] in profile):
            continue
        if standard:
            try:
                profile[standard[0]] = standard[1](value, field)
            except Invalid as refused:
                field_errors.append(FieldError("attributes", refused.field, refused.reason))
        elif name.lower().startswith("loyalty_"):
            field_errors.append(FieldError("attributes", field, "has a name that the bridge gives itself"))
        else:
            custom[name] = value
    return profile, custom


_PROFILE: Mapping[str, tuple[ProfileField, Callable[[Json, str], Json]]] = {
    "EMAIL": ("email", parsing.parse_email),
    "FIRSTNAME": ("first_name", parsing.parse_text),
    "LASTNAME": ("last_name", parsing.parse_text),
    "SMS": ("phone", _phone),
}
"""The attributes that every Brevo account has."""
