"""Punchh: one webhook event becomes one `MemberUpdate`.

A delivery is an envelope around a ``payload``: https://developers.partech.com/docs/dev-portal-webhooks-manager/meta-fields.
The user is the payload's ``user``, the ``user`` beside the payload, or the payload itself where that is a user
(``users`` and some notifications). The
member's id is the user's ``external_source_id``; events without it name the user by Punchh's ``user_id``.

**Events** have the family's name and the attributes of MoEngage's own connector
(https://www.moengage.com/docs/partner-guide/commerce-and-loyalty/loyalty/punchh), so that who moves from it renames
nothing. There are nine names, and `UNKNOWN_EVENT` for a family that is not known here; types are an attribute.

=================================================  ================================================================
Property                                           From
=================================================  ================================================================
``event_id``                                       ``content_id``
``event_type``, ``action``, ``business_id``,       the same fields of the envelope; what is blank is left out
``business_uuid``, ``business_slug``
``punchh_event_name``                              ``event_name``, of an unknown family
``punchh_user_id``                                 ``user_id`` of the user or the payload
``<field>``, ``<object>_<field>``                  the payload's fields
``punchh_<field>``                                 the same, where an engagement platform or the list above has the name
``user_<field>``, ``user_account_balance_<field>`` the user's fields
=================================================  ================================================================

Arrays of objects stay arrays of objects. Whole numbers stay numbers, ids too: it is the type that the attributes have
already where another connector filled them, it survives JSON up to 64 bits, and a second type under the same name would
be worse than the rounding in JavaScript that starts at 2^53.

**Attributes** are few, because engagement platforms bound their number: `ATTRIBUTES` and, with the prefix
``punchh_account_balance_``, `BALANCES`. What changes with every event and means nothing else, such as
``last_activity_at``, is none: each change would cost a data point.

**Never forwarded**, at any depth: credentials (see `scrubber`). Of a deleted guest only that it is deleted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Event, FieldError, Json, MemberUpdate, Part, ProfileField, UnknownField
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.punchh.scrubber import CREDENTIAL, flatten_fields, list_credentials
from loyalty_bridge.platforms.punchh.settings import PunchhRules, PunchhSettings
from loyalty_bridge.platforms.settings import LoyaltySettings

if TYPE_CHECKING:
    from loyalty_bridge.platforms.field_reference import Reference

FAMILIES = frozenset({
    "users", "checkins", "redemptions", "rewards", "redeemables", "coupons", "user_coupon_redemptions",
    "marketing_notifications", "transactional_notifications",
})  # fmt: skip

SETTINGS: type[LoyaltySettings] = PunchhSettings
LOOKUP_ALIAS_PREFIX = "user:"
OWNER_ALIAS_PREFIX = ""
OWNER_ATTRIBUTES: frozenset[str] = frozenset()
UNKNOWN_EVENT = "punchh_event"
"""Of all other families together: a workspace has a limited number of names."""
UNRESOLVED_ERROR = ("payload", "names a user whose external id is not known")
AMBIGUOUS_ERRORS: Mapping[str, tuple[str, str]] = {
    "email": ("payload.user.email", "is that of several members")
}  # it was somebody else's before


def _id(value: Json, field: str) -> int | str:
    """Keep one type for an id, whether it comes as a number or as the text of one."""
    written = parsing.parse_text(value, field)
    is_number = re.fullmatch(r"0|[1-9][0-9]{0,18}", written, re.ASCII) and int(written) < 2**63
    return int(written) if is_number else written


ATTRIBUTES: Mapping[str, Callable[[Json, str], Json]] = {
    "user_status": parsing.parse_text,
    "guest_type": parsing.parse_text,
    "signup_channel": parsing.parse_text,
    "joined_at": parsing.parse_iso_time,
    "anniversary": parsing.parse_birth_date,
    "secondary_email": parsing.parse_email,
    "sms_subscription": parsing.parse_boolean,
    "state": parsing.parse_text,
    "zip_code": parsing.parse_text,
    "referral_code": parsing.parse_text,
    "favourite_store_numbers": parsing.parse_text,
}
"""The user's fields that become attributes, under their name with the prefix ``punchh_``, beside its id; a null
removes."""

BALANCES: Mapping[str, Callable[[Json, str], Json]] = {
    "current_membership_level_name": parsing.parse_text,
    "last_visit": parsing.parse_iso_time,
    **dict.fromkeys(
        (
            *("banked_currency", "loyalty_points", "net_balance", "net_debits", "pending_points", "total_credits"),
            *("total_debits", "total_lifetime_points", "total_point_credits", "total_redeemable_visits"),
            *("total_visits", "unbanked_points", "unredeemed_cards"),
        ),
        parsing.parse_number,
    ),
}
"""Fields of the user's ``account_balance``. A null means that the program does not count it, and is left out."""

ENVELOPE: Mapping[str, Callable[[Json, str], Json]] = {
    "event_type": parsing.parse_text,
    "action": parsing.parse_text,
    "business_id": _id,
    "business_uuid": parsing.parse_text,
    "business_slug": parsing.parse_text,
}
_OF_BUSINESS = ("business_id", "business_uuid", "business_slug")
_RESERVED = frozenset({
    "event_id", "punchh_user_id", "punchh_event_name", *ENVELOPE,
    # https://www.braze.com/docs/api/objects_filters/event_object
    "time", "event_name",
    # https://www.moengage.com/docs/api/data/data-overview
    "id", "_id", "status", "user_id", "source",
})  # fmt: skip

_DELETED = frozenset({"deleted", "anonymized", "anonymised", "archived"})

events = parsing.split_events


def complete(event: Json, event_name: str, received: datetime) -> Json:
    """Return the event as it is: a delivery lacks nothing."""
    return event


def reference() -> Reference:
    """Return the fields that the events become, for the documentation."""
    from loyalty_bridge.platforms.punchh import reference as module

    return module.reference()


def member(event: Json, _rules: PunchhRules | None = None) -> str | None:
    """Return the external id that an event carries.

    Raises
    ------
    Invalid
        The event or its payload is no object, its family is missing, or its id is neither a text nor an integer.
    """
    return _opened(event).member


def alias(event: Json) -> str | None:
    """Return ``user:<user_id>`` for an event that carries no external id, ``email:<hash>`` when no user id either.

    Punchh's ``redemptions`` name the user by nothing but the address
    (https://developers.punchh.com/docs/dev-portal-webhooks/webhooks/events/redemptions).

    Raises
    ------
    Invalid
        As `member`, or no person is named, so that it is of no use to wait: ``redeemables`` are the business's, and no
        member's.
    """
    opened = _opened(event)
    if opened.member is not None:
        return None
    if opened.user_id is not None:
        return alias_of(opened.user_id)
    email = _email_alias(opened)
    if email is None:
        reason = "is the business's, not a member's" if opened.family == "redeemables" else "names no user"
        raise Invalid("payload", reason)
    return email


def alias_of(user_id: object) -> str:
    """Name the alias of one of Punchh's users."""
    return f"{LOOKUP_ALIAS_PREFIX}{user_id}"


def user_id_of(aliases: Iterable[str]) -> int | None:
    """Return the Punchh user with these aliases: of several, the one who signed up last; None without one."""
    ids = (alias.removeprefix(LOOKUP_ALIAS_PREFIX) for alias in aliases if alias.startswith(LOOKUP_ALIAS_PREFIX))
    return max((int(id_) for id_ in ids if id_.isdecimal()), default=None)


def aliases_of(event: Json) -> tuple[str, ...]:
    """Return the aliases by which later events may mean this event's member; raises `Invalid` as `member` does."""
    opened = _opened(event)
    if opened.member is None:
        return ()
    user = alias_of(opened.user_id) if opened.user_id is not None else None
    email = None if _is_deleted(opened) else _email_alias(opened)
    return tuple(alias for alias in (user, email) if alias)


def ended_aliases(_: Json) -> tuple[str, ...]:
    """Return none: the next member with an external id takes it over."""
    return ()


def _email_alias(opened: _Opened) -> str | None:
    """Return an alias that does not show the address."""
    found = opened.user.get("email")
    # A word for a missing address would be one person of many.
    if not isinstance(found, str) or "@" not in found.strip()[1:-1]:
        return None
    return f"email:{hashlib.sha256(found.strip().lower().encode()).hexdigest()}"


def event_id(event: Json) -> str:
    """Return the event's ``content_id``; without one, a hash of its content.

    The hash is weak: two events that are equal in every field look like one that was delivered twice.

    Raises
    ------
    Invalid
        The event is no object, or its ``content_id`` is neither a text nor an integer.
    """
    if not isinstance(event, Mapping):
        raise Invalid("record", "is not an object")
    if not parsing.is_missing_id(found := event.get("content_id")):
        return parsing.parse_text(found, "content_id")
    content = [event.get(name) for name in ("event_name", "event_type", "action", "timestamp", "payload")]
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True, separators=(',', ':')).encode()).hexdigest()}"


def read(event: Json, rules: PunchhRules, *, member: str, received: datetime) -> MemberUpdate:
    """Map one event to the changes of its member.

    Parameters
    ----------
    event
        One of `events`.
    rules
        The program's decisions.
    member
        The external id: the event's own, or the one that its `alias` means. In the second case the update's id ends in
        ``/<member>``, while the property ``event_id`` stays the source's.
    received
        When the event arrived (aware, UTC); stands in for a time that is missing, see `parsing.parse_event_time`.

    Raises
    ------
    Invalid
        The event or its payload is no object; its family is missing; its id or time is impossible.
    """
    opened = _opened(event)
    source_id = event_id(event)
    answer = opened.envelope.get("timestamp")
    time = received if parsing.is_blank(answer) else parsing.parse_event_time(answer, "timestamp", received)
    field_errors = [*opened.field_errors]
    properties: dict[str, Json] = {"event_id": source_id, **_described(opened, field_errors)}
    profile: dict[ProfileField, Json] = {}
    attributes: dict[str, Json] = {"punchh_user_status": "deleted"}
    withheld = [("user", "is not sent of a deleted guest")]
    if not _is_deleted(opened):
        names = [*list_credentials("", opened.payload_fields()), *list_credentials("user_", opened.user_fields())]
        withheld = [(name, CREDENTIAL) for name in names]
        balance = _balance(opened, field_errors)
        _add(properties, flatten_fields("", opened.payload_fields()))
        _add(properties, flatten_fields("user_", {**opened.user_fields(), "account_balance": balance}))
        profile = _profile(opened, rules, received, field_errors)
        attributes = _attributes(opened, field_errors)
        attributes |= {f"punchh_account_balance_{name}": balance[name] for name in BALANCES if name in balance}
    return MemberUpdate(
        event_id=source_id if opened.member is not None else f"{source_id}/{member}",
        member=member,
        time=time,
        profile=profile,
        attributes=attributes,
        event=Event(opened.family if opened.family in FAMILIES else UNKNOWN_EVENT, time, properties),
        field_errors=tuple(field_errors),
        unknown=tuple(UnknownField(name, reason, expected=True) for name, reason in withheld),
        member_label=PunchhSettings.member_label,
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """An event taken apart; `path` is where the user is."""

    envelope: Mapping[str, Json]
    family: str
    payload: Mapping[str, Json]
    user: Mapping[str, Json]
    path: str
    member: str | None
    user_id: str | None
    field_errors: tuple[FieldError, ...]

    def payload_fields(self) -> dict[str, Json]:
        """List the fields of the payload beside the user and the business."""
        if self.path == "payload":
            return {}
        return {name: value for name, value in self.payload.items() if name not in {"user", *_OF_BUSINESS}}

    def user_fields(self) -> dict[str, Json]:
        """List the fields of the user beside its id, its balance and the business."""
        ours = {"user_id", "account_balance", *_OF_BUSINESS}
        return {name: value for name, value in self.user.items() if name not in ours}


def _opened(event: Json) -> _Opened:
    if not isinstance(event, Mapping):
        raise Invalid("record", "is not an object")
    if parsing.is_blank(event.get("event_name")):
        raise Invalid("event_name", "is missing")
    family = parsing.parse_text(event["event_name"], "event_name").lower()
    # Samples of transactional notifications are printed so.
    family = "transactional_notifications" if family == "_notifications" else family
    payload = event.get("payload")
    if not isinstance(payload, Mapping):
        raise Invalid("payload", "is not an object")
    path, user = _user(family, event, payload)
    balance = user.get("account_balance")
    beside = event.get("user")
    places = {path: user, "payload": payload}
    places |= {"user": beside} if isinstance(beside, Mapping) else {}
    places |= {f"{path}.account_balance": balance} if isinstance(balance, Mapping) else {}
    field_errors: list[FieldError] = []
    user_id = None
    for place, fields in places.items():
        with _part("event", field_errors):
            user_id = user_id or _id_of(place, fields, "user_id")
    return _Opened(event, family, payload, user, path, _member(places), user_id, tuple(field_errors))


def _member(places: Mapping[str, Mapping[str, Json]]) -> str | None:
    """Find the external id: the first that can be one; raises `Invalid` when there are some, and none can be."""
    refusal: Invalid | None = None
    for place, fields in places.items():
        try:
            if found := _id_of(place, fields, "external_source_id"):
                return found
        except Invalid as unusable:
            refusal = refusal or unusable
    if refusal:
        raise refusal
    return None


def _user(family: str, event: Mapping[str, Json], payload: Mapping[str, Json]) -> tuple[str, Mapping[str, Json]]:
    """Find the user and its path."""
    inside, beside = payload.get("user"), event.get("user")
    if isinstance(inside, Mapping):
        return "payload.user", _of_two(inside, beside)
    if family == "users" or "user_status" in payload or "account_balance" in payload:
        return "payload", _of_two(payload, beside)
    return ("user", beside) if isinstance(beside, Mapping) else ("payload.user", {})


def _of_two(user: Mapping[str, Json], beside: Json) -> Mapping[str, Json]:
    """Return a user that stands in two places: the first value that is not empty counts."""
    if not isinstance(beside, Mapping):
        return user
    return {**beside, **{name: value for name, value in user.items() if not _is_said_beside(value, beside.get(name))}}


def _is_said_beside(value: Json, other: Json) -> bool:
    return parsing.is_blank(value) and not parsing.is_blank(other)


def _id_of(path: str, fields: Mapping[str, Json], name: str) -> str | None:
    return None if parsing.is_blank(fields.get(name)) else parsing.parse_member_id(fields[name], f"{path}.{name}")


def _is_deleted(opened: _Opened) -> bool:
    said = {str(opened.envelope.get("action")).strip().lower(), str(opened.user.get("user_status")).strip().lower()}
    return opened.family == "users" and not said.isdisjoint({"delete", *_DELETED})


@contextmanager
def _part(part: Part, field_errors: list[FieldError]) -> Iterator[None]:
    """Note a refusal and go on without the field."""
    try:
        yield
    except Invalid as refusal:
        field_errors.append(FieldError(part, refusal.field, refusal.reason))


def _described(opened: _Opened, field_errors: list[FieldError]) -> dict[str, Json]:
    """Return the properties that MoEngage's own connector sends with every event."""
    result: dict[str, Json] = {}
    for name, read_value in ENVELOPE.items():
        found = opened.envelope.get(name)
        if parsing.is_blank(found) and name in _OF_BUSINESS:
            found = opened.payload.get(name)
        if not parsing.is_blank(found):
            with _part("event", field_errors):
                result[name] = read_value(found, name)
    if opened.family not in FAMILIES:
        result["punchh_event_name"] = opened.family[:255]
    if opened.user_id is not None:
        result["punchh_user_id"] = _id(opened.user_id, "user_id")
    return result


def _add(properties: dict[str, Json], fields: Iterator[tuple[str, Json]]) -> None:
    for name, value in fields:
        properties.setdefault(f"punchh_{name}" if name in _RESERVED else name, value)


def _balance(opened: _Opened, field_errors: list[FieldError]) -> dict[str, Json]:
    """Read the balance, its numbers as numbers: some come as texts."""
    found = opened.user.get("account_balance")
    balance: dict[str, Json] = {}
    if not isinstance(found, Mapping):
        return balance
    for name, value in found.items():
        if name in BALANCES and not parsing.is_blank(value):
            with _part("attributes", field_errors):
                balance[name] = BALANCES[name](value, f"{opened.path}.account_balance.{name}")
        elif name not in BALANCES and name != "user_id":
            balance[name] = value
    return balance


def _attributes(opened: _Opened, field_errors: list[FieldError]) -> dict[str, Json]:
    attributes: dict[str, Json] = {}
    for name, read_value in ATTRIBUTES.items():
        if name in opened.user:
            value = opened.user[name]
            with _part("attributes", field_errors):
                attributes[f"punchh_{name}"] = (
                    None if parsing.is_blank(value) else read_value(value, f"{opened.path}.{name}")
                )
    if opened.user_id is not None:
        attributes["punchh_user_id"] = _id(opened.user_id, "user_id")
    return attributes


PROFILE: Mapping[ProfileField, str] = {
    "email": "email",
    "phone": "phone",
    "first_name": "first_name",
    "last_name": "last_name",
    "birth_date": "birthday",
    "gender": "gender",
    "city": "city",
    "language": "preferred_locale",
}
"""Where the user's profile fields are."""


def _profile(
    opened: _Opened, rules: PunchhRules, received: datetime, field_errors: list[FieldError]
) -> dict[ProfileField, Json]:
    def phone(value: Json, field: str) -> Json:
        return parsing.parse_phone(value, rules.default_country, field)

    def birth_date(value: Json, field: str) -> Json:
        return parsing.parse_birth_date(value, field, not_after=received.date() + timedelta(days=1))

    readers: Mapping[ProfileField, Callable[[Json, str], Json]] = {
        "email": parsing.parse_email,
        "phone": phone,
        "first_name": parsing.parse_text,
        "last_name": parsing.parse_text,
        "birth_date": birth_date,
        "gender": _gender,
        "city": parsing.parse_text,
        "language": parsing.parse_language,
    }
    profile: dict[ProfileField, Json] = {}
    for field, name in PROFILE.items():
        read_value = readers[field]
        if name in opened.user:
            value = opened.user[name]
            with _part("attributes", field_errors):
                profile[field] = None if parsing.is_blank(value) else read_value(value, f"{opened.path}.{name}")
    with _part("attributes", field_errors):
        # What cannot be read may be an objection: it must not become a consent.
        wanted = False if _flag(opened, "unsubscribed") else _flag(opened, "marketing_email_subscription")
        if wanted is not None:
            profile["email_subscription"] = "subscribed" if wanted else "unsubscribed"
    with _part("attributes", field_errors):
        if (wanted := _flag(opened, "marketing_pn_subscription")) is not None:
            profile["push_subscription"] = "subscribed" if wanted else "unsubscribed"
    return profile


def _flag(opened: _Opened, name: str) -> bool | None:
    value = opened.user.get(name)
    return None if parsing.is_blank(value) else parsing.parse_boolean(value, f"{opened.path}.{name}")


def _gender(value: Json, field: str) -> str | None:
    return "P" if str(value).strip().lower() == "declined" else parsing.parse_gender(value, field)
