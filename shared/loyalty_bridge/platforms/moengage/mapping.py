"""MoEngage's Data API: updates into users and events.

A single object is posted to its own endpoint, which says what is wrong with it. Several are posted as a bulk import,
which is accepted as a whole; what it drops is seen in MoEngage's dashboard only. So every documented limit is met here,
before anything is sent. The rules are those of

- https://www.moengage.com/docs/api/data/data-overview (ids, reserved names, times)
- https://www.moengage.com/docs/user-guide/data/key-concepts/data-tracking-policies (names, values, numbers of them)
- https://www.moengage.com/docs/user-guide/data/key-concepts/event-naming-conventions
- https://www.moengage.com/docs/user-guide/data/key-concepts/support-for-object-data-type
- https://www.moengage.com/docs/api/bulk/bulk-import-users-and-events (100 KB)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeGuard

from msgspec.json import encode

from loyalty_bridge.errors import Invalid
from loyalty_bridge.member_ids import check_member_id
from loyalty_bridge.model import Event, FieldError, Json, MemberUpdate, Part, ProfileField, Purchase
from loyalty_bridge.platforms.base import AttributePath, Translation, WireObject
from loyalty_bridge.platforms.limits import UNUSABLE, printable_name
from loyalty_bridge.platforms.moengage import responses
from loyalty_bridge.platforms.moengage.settings import MoEngageRules, MoEngageSettings
from loyalty_bridge.platforms.settings import EngagementSettings

PURCHASE = "loyalty_purchase"
"""The event that a purchase becomes, since MoEngage has no purchases of its own. Its attributes are ``product_id``,
``price`` (per piece, negative for a reversal), ``quantity``, ``currency`` and the purchase's properties."""

EVENT_ID = "event_id"
"""An attribute of every event: it distinguishes two events from one that was sent twice, which MoEngage cannot."""

SETTINGS: type[EngagementSettings] = MoEngageSettings
judge = responses.judge
TAKES_FUTURE_TIMES = False
"""https://www.moengage.com/docs/api/data/data-overview"""

MAX_REQUEST_BYTES = 100_000
"""Of a bulk import; a single call may be 128 KB, and is kept to this too."""
MAX_TEXT = 512
MAX_NAME = 200
MAX_ITEMS = 50
MAX_EVENT_ATTRIBUTES = 100
MAX_OBJECT_BYTES = 25_000
"""Documented for objects; kept for arrays too, so that any value fits into a request."""
MAX_OBJECT_KEYS = 100
MAX_OBJECT_ITEMS = 100

_HEAD, _TAIL = b'{"type":"transition","elements":[', b"]}"
_ROOM = MAX_REQUEST_BYTES - len(_HEAD) - len(_TAIL)

_NO_IDS = frozenset({
    "unknown", "guest", "null", "0", "1", "true", "false", "user_attribute_unique_id", "(empty)", "na", "n/a", "",
    "dummy_seller_code", "user_id", "id", "customer_id", "uid", "userid", "none", "-2", "-1", "2",
})  # fmt: skip

_RESERVED = frozenset({"id", "_id", "status", "user_id", "source", "install", "update"})
_RESERVED_PREFIXES = ("moe_", "user_attribute_")
_RESERVED_FOR_USERS = _RESERVED | {
    # MoEngage's own attributes, in both spellings of the API, and its instructions.
    "u_n", "u_fn", "u_ln", "u_gd", "u_em", "u_mb", "u_bd", "u_l_a", "u_s_c", "uid", "geo", "cr_t", "t_rev", "t_trans",
    "name", "first_name", "last_name", "gender", "email", "mobile", "birthday", "created_time", "last_seen",
    "publisher_name", "campaign_name", "advertising_identifier", "push_preference", "installed", "uninstall_time",
    "locale_language_display", "locale_country_display", "platforms", "addvaluetoarrayfield",
    "removevaluefromarrayfield",
}  # fmt: skip

_PROFILE: Mapping[ProfileField, str] = {
    "email": "u_em",
    "phone": "u_mb",
    "first_name": "u_fn",
    "last_name": "u_ln",
    "birth_date": "u_bd",
    "gender": "u_gd",
    # MoEngage has a last known city, country and language of its own, which cannot be written.
    "city": "city",
    "country": "country",
    "language": "language",
    "email_subscription": "moe_unsubscribe",
    "push_subscription": "push_preference",
}
_BLANKABLE = frozenset({"u_em", "u_mb", "u_fn", "u_ln", "u_gd", "city", "country", "language"})
_NEVER_REMOVED = frozenset({"moe_unsubscribe", "push_preference"})
_GENDERS = {"M": "male", "F": "female", "O": "other", "N": "not applicable", "P": "prefer not to say"}
_SUBSCRIPTIONS = frozenset({"opted_in", "subscribed", "unsubscribed"})

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.\d+)? ?(?:Z|UTC|([+-]\d{2}:?\d{2}))?", re.ASCII
)
_LINK = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
_SCALAR = (str, int, float, type(None))


def translate(update: MemberUpdate, rules: MoEngageRules) -> Translation:
    """Turn an update into wire form.

    In names, characters other than letters, digits, ``_`` and ``-`` become ``_``; a name that is MoEngage's own gets
    the prefix ``loyalty_``. Texts end after 512 characters, as they would in MoEngage. An array becomes one of numbers
    or else of texts. A text that is a time becomes one in UTC without fractions (no zone means UTC), the only form that
    MoEngage takes for a time; Braze's form of one, ``{"$time": …}``, becomes it too. What breaks another limit is left
    out and listed in `field_errors`, by its path in the update; a null in an event, an object or an array is left out
    silently.

    Raises
    ------
    Invalid
        The member has no identifier that MoEngage takes.
    """
    identity = _identity(update, rules)
    lost = list(update.field_errors)
    attributes = _attributes(update, identity, rules, lost)
    event = _event("event", update.event, update.event_id, identity, rules, lost) if update.event else None
    purchase = None
    if update.purchase:
        bought = _as_event(update.purchase)
        purchase = _event("purchase", bought, update.event_id, identity, rules, lost)
    return Translation(identity, attributes, event, purchase, tuple(lost))


def attribute_objects(
    identity: Mapping[str, Json], values: Mapping[AttributePath, Json], rules: MoEngageRules
) -> list[WireObject]:
    """Serialise the attribute values of one member; None removes a value.

    One object, unless it exceeds a request: then it is divided.
    """
    if not values:
        return []
    named = {"_".join(keys): value for keys, value in values.items()}
    attributes: dict[str, Json] = {name: value for name, value in named.items() if value is not None}
    gone = [name for name, value in named.items() if value is None]
    user: dict[str, Json] = {"type": "customer"}
    if isinstance(identifiers := identity.get("user_identifiers"), Mapping):
        attributes |= identifiers  # of a user they are attributes, unlike those of an event
    else:
        user |= identity
    if rules.update_existing_only:
        user["update_existing_only"] = True
    if gone and rules.removal == "unset":
        user["unset_attributes"] = [{"type": "equals", "attr": name, "case_sensitive": True} for name in gone]
    elif gone:
        attributes |= dict.fromkeys(gone, "")
    item = WireObject("customer", encode({**user, "attributes": attributes}))
    if len(item.body) <= _ROOM or len(values) == 1:
        return [item]
    pairs = list(values.items())
    half = len(pairs) // 2
    return [
        *attribute_objects(identity, dict(pairs[:half]), rules),
        *attribute_objects(identity, dict(pairs[half:]), rules),
    ]


def weigh(item: WireObject, rules: MoEngageRules) -> tuple[int, ...]:
    """Return how much of a request an object uses: its bytes with a comma, or all of it."""
    return (1,) if rules.single_calls else (len(item.body) + 1,)


def capacity(rules: MoEngageRules) -> tuple[int, ...]:
    """Return what a request holds: bytes with a comma each, or one object."""
    return (1,) if rules.single_calls else (_ROOM + 1,)


def path(objects: Sequence[WireObject]) -> str:
    """Return which endpoint takes these objects: ``customer``, ``event`` or, for several, ``transition``.

    It is ``https://api-<data center>.moengage.com/v1/<path>/<workspace id>``.
    """
    return objects[0].array if len(objects) == 1 else "transition"


def body(objects: Sequence[WireObject]) -> bytes:
    """Assemble the request body for `path`: the object itself, or a bulk import of several."""
    if len(objects) == 1:
        return objects[0].body
    return _HEAD + b",".join(item.body for item in objects) + _TAIL


def harmless() -> WireObject:
    """Make a user object that MoEngage takes and ignores: it may only update, and its user does not exist."""
    user = {"type": "customer", "customer_id": "loyalty-bridge-check", "update_existing_only": True}
    return WireObject("customer", encode({**user, "attributes": {"language": "en"}}))


def check_id(value: str, field: str, rules: MoEngageRules) -> None:
    """Check a customer id: it must be the id of a member, and not a value that MoEngage blocks.

    https://www.moengage.com/docs/api/data/data-overview

    Raises
    ------
    Invalid
        Naming `field`.
    """
    check_member_id(value, field)
    if len(value.strip()) < 2 or value.strip().lower() in _NO_IDS:
        raise Invalid(field, "is a value that MoEngage does not take as an id")


def _identity(update: MemberUpdate, rules: MoEngageRules) -> dict[str, Json]:
    if update.identified_by != "id":
        if not rules.identity_resolution:
            raise Invalid("member", f"is known by {update.identified_by} only, and users are found by their id")
        name = _PROFILE[update.identified_by]
        return {"user_identifiers": {name: _standard(update.identified_by, update.member, "member")}}
    if len(update.member) > MAX_TEXT:
        raise Invalid("member", f"has more than {MAX_TEXT} characters")
    check_id(update.member, "member", rules)
    return {"customer_id": update.member}


def _attributes(
    update: MemberUpdate, identity: Mapping[str, Json], rules: MoEngageRules, lost: list[FieldError]
) -> dict[AttributePath, Json]:
    found: dict[str, Json] = {}
    identifiers = identity.get("user_identifiers")
    for field, value in update.profile.items():
        name, where = _PROFILE[field], f"profile.{field}"
        try:
            final = None if value is None else _standard(field, value, where)
        except Invalid as refused:
            lost.append(FieldError("attributes", refused.field, refused.reason))
            continue
        if not isinstance(identifiers, Mapping) or name not in identifiers:
            found[name] = final
        elif final != identifiers[name]:
            lost.append(FieldError("attributes", where, "would change which user is found"))
    for raw, value in update.attributes.items():
        leaves = _leaves(raw, value, f"attributes.{printable_name(raw)}", "flatten")
        _collect("attributes", leaves, _RESERVED_FOR_USERS, found, lost)
    for raw, value in update.custom.items():
        leaves = _leaves(raw, value, f"custom.{printable_name(raw)}", rules.objects)
        _collect("attributes", leaves, _RESERVED_FOR_USERS, found, lost)

    def can_be_removed(name: str) -> bool:
        return name not in _NEVER_REMOVED if rules.removal == "unset" else name in _BLANKABLE

    return {(name,): value for name, value in found.items() if value is not None or can_be_removed(name)}


def _standard(field: ProfileField, value: Json, where: str) -> str | bool:
    """Return a field of the profile as MoEngage writes it."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid(where, "is not a text")
    if field in {"email_subscription", "push_subscription"}:
        if value not in _SUBSCRIPTIONS:
            raise Invalid(where, "is none of opted_in, subscribed, unsubscribed")
        # One flag says that e-mails are not wanted, the other that pushes are.
        return (value == "unsubscribed") == (field == "email_subscription")
    if field == "birth_date" and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise Invalid(where, "is not a date as YYYY-MM-DD")
    if len(value) > MAX_TEXT and field in {"email", "phone"}:
        raise Invalid(where, f"has more than {MAX_TEXT} characters")  # half an address would be another one
    shown = {"phone": value.removeprefix("+"), "gender": _GENDERS.get(value, value)}.get(field, value)
    return _text(shown, where)


def _as_event(purchase: Purchase) -> Event:
    own: dict[str, Json] = {
        "product_id": purchase.product_id,
        "price": purchase.price,
        "quantity": purchase.quantity,
        "currency": purchase.currency,
    }
    clashing = {f"loyalty_{name}": value for name, value in purchase.properties.items() if name in own}
    others = {name: value for name, value in purchase.properties.items() if name not in own}
    return Event(PURCHASE, purchase.time, {**own, **others, **clashing})


def _event(
    part: Literal["event", "purchase"],
    event: Event,
    event_id: str,
    identity: Mapping[str, Json],
    rules: MoEngageRules,
    lost: list[FieldError],
) -> WireObject | None:
    own = event.properties.get(EVENT_ID)
    if own is not None and not isinstance(own, str):
        lost.append(FieldError(part, f"{part}.properties.{EVENT_ID}", "is not a text"))
    # It comes first: of too many attributes MoEngage takes the first.
    collected: dict[str, Json] = {EVENT_ID: UNUSABLE.sub("?", own if isinstance(own, str) else event_id)[:MAX_TEXT]}
    for raw, value in event.properties.items():
        if raw != EVENT_ID:
            leaves = _leaves(raw, value, f"{part}.properties.{printable_name(raw)}", rules.objects)
            _collect(part, leaves, _RESERVED, collected, lost)
    kept: dict[str, Json] = {name: value for name, value in collected.items() if value is not None}
    for name in list(kept)[MAX_EVENT_ATTRIBUTES:]:
        lost.append(
            FieldError(part, f"{part}.properties.{printable_name(name)}", f"comes after {MAX_EVENT_ATTRIBUTES} others")
        )
        del kept[name]
    try:
        action: dict[str, Json] = {
            "action": _name(event.name, f"{part}.name", _RESERVED),
            "current_time": _instant(event.time, f"{part}.time"),
        }
    except Invalid as refused:
        lost.append(FieldError(part, refused.field, refused.reason))
        return None

    def written(attributes: Json) -> bytes:
        return encode({"type": "event", **identity, "actions": [{**action, "attributes": attributes}]})

    item = WireObject("event", written(kept))
    if len(item.body) > _ROOM:
        item = WireObject("event", written(_fitting(kept, _ROOM - len(written({})), part, lost)))
    return item


def _fitting(values: dict[str, Json], room: int, part: Part, lost: list[FieldError]) -> dict[str, Json]:
    """Leave out the largest values until the rest fits."""
    sizes = {name: len(encode({name: value})) - 1 for name, value in values.items()}  # a comma for two braces
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) - 1 <= room:
            break
        del sizes[name]
        reason = f"makes the event larger than {MAX_REQUEST_BYTES} bytes"
        lost.append(FieldError(part, f"{part}.properties.{printable_name(name)}", reason))
    return {name: values[name] for name in sizes}


def _collect(
    part: Part,
    leaves: Iterable[tuple[str, Json, str]],
    reserved: frozenset[str],
    found: dict[str, Json],
    lost: list[FieldError],
) -> None:
    """Put values into `found` as MoEngage takes them; what it does not take is noted."""
    for raw, value, where in leaves:
        try:
            name = _name(raw, where, reserved)
            if name in found:
                lost.append(FieldError(part, where, "has the name of another field"))
            else:
                found[name] = _value(value, where) if isinstance(value, _SCALAR) else _bounded(value, where)
        except Invalid as refused:
            lost.append(FieldError(part, refused.field, refused.reason))


def _bounded(value: Json, where: str) -> Json:
    """Return an array or object that is small enough."""
    final = _value(value, where)
    if len(encode(final)) > MAX_OBJECT_BYTES:
        raise Invalid(where, f"is larger than {MAX_OBJECT_BYTES} bytes")
    if _count_keys(final) > MAX_OBJECT_KEYS:
        raise Invalid(where, f"has more than {MAX_OBJECT_KEYS} keys")
    return final


def _leaves(name: str, value: Json, where: str, objects: Literal["flatten", "send"]) -> Iterator[tuple[str, Json, str]]:
    """Take a value apart into what becomes one attribute each: name, value, path."""
    if objects == "send" or isinstance(value, _SCALAR) or _is_wrapped_time(value):
        yield name, value, where
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(_joined(name, key), item, f"{where}.{printable_name(key)}", objects)
    elif _is_table(rows := _items(value)):
        columns: dict[str, list[Json]] = {}
        for row in rows:
            for key, item in row.items():
                columns.setdefault(key, []).append(item)
        for key, column in columns.items():
            yield from _leaves(_joined(name, key), column, f"{where}[].{printable_name(key)}", objects)
    else:
        yield name, value, where


def _joined(name: str, key: str) -> str:
    """Name a field of an object; of a name that is too long no more than shows it."""
    return f"{name[: MAX_NAME + 1]}_{key[: MAX_NAME + 1]}"


def _items(array: Sequence[Json]) -> list[Json]:
    """List the elements of an array and of the arrays in it, but for nulls."""
    return [
        item
        for element in array
        for item in (_items(element) if isinstance(element, Sequence) and not isinstance(element, str) else [element])
        if item is not None
    ]


def _is_table(rows: list[Json]) -> TypeGuard[list[Mapping[str, Json]]]:
    return bool(rows) and all(isinstance(row, Mapping) and not _is_wrapped_time(row) for row in rows)


def _is_wrapped_time(value: Json) -> TypeGuard[Mapping[str, Json]]:
    """Recognise ``{"$time": …}``, as Braze has times inside objects; MoEngage has them as texts, inside objects too."""
    return isinstance(value, Mapping) and value.keys() == {"$time"}


def _value(value: Json, where: str) -> Json:
    """Return a value as MoEngage takes it; None for an empty array or object."""
    if isinstance(value, str):
        return _text(value, where)
    if _is_wrapped_time(value):
        return _time(value["$time"], where)
    if isinstance(value, Mapping):
        return _object(value, where) or None
    if isinstance(value, Sequence):
        return _array(_items(value), where) or None
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(where, "is not a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Invalid(where, "is beyond 64 bits")
    return value


def _object(value: Mapping[str, Json], where: str) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    for key, item in value.items():
        field = f"{where}.{printable_name(key)}"
        name = _name(key, field, frozenset())
        if name in kept:
            raise Invalid(field, "has the name of another field")
        final = _value(item, field)
        if final is not None:
            kept[name] = final
    return kept


def _array(items: list[Json], where: str) -> list[Json]:
    if _is_table(items):
        if len(items) > MAX_OBJECT_ITEMS:
            raise Invalid(where, f"has more than {MAX_OBJECT_ITEMS} objects")
        return [row for item in items if (row := _object(item, f"{where}[]"))]
    if any(isinstance(item, Mapping) and not _is_wrapped_time(item) for item in items):
        raise Invalid(where, "holds both objects and other values")
    if len(items) > MAX_ITEMS:
        raise Invalid(where, f"has more than {MAX_ITEMS} elements")
    values = [_value(item, where) for item in items]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return [value if isinstance(value, str) else json.dumps(value) for value in values]
    return [float(number) for number in numbers] if any(isinstance(n, float) for n in numbers) else [*numbers]


def _count_keys(value: Json) -> int:
    if isinstance(value, Mapping):
        return len(value) + sum(_count_keys(item) for item in value.values())
    return max((_count_keys(item) for item in value), default=0) if isinstance(value, list) else 0


def _name(raw: str, where: str, reserved: frozenset[str]) -> str:
    written = raw.strip()
    if not written:
        raise Invalid(where, "has no name")
    name = _cleaned(written, reserved) if len(written) <= MAX_NAME else written  # nothing long is remembered
    if len(name) > MAX_NAME:
        raise Invalid(where, f"has a name of more than {MAX_NAME} characters")
    return name


@lru_cache(maxsize=4096)
def _cleaned(raw: str, reserved: frozenset[str]) -> str:
    # Periods would become blanks; blanks and signs keep a name from being used in MoEngage's templates.
    name = re.sub(r"[^\w-]", "_", raw)
    is_reserved = name.lower() in reserved or name.lower().startswith(_RESERVED_PREFIXES)
    return f"loyalty_{name}" if is_reserved else name


def _text(value: str, where: str) -> str:
    if UNUSABLE.search(value):
        raise Invalid(where, "holds a null byte or a lone surrogate")
    if len(value) > MAX_TEXT and _LINK.match(value.strip()):
        raise Invalid(where, f"is a link of more than {MAX_TEXT} characters")
    if found := _TIME.fullmatch(value):
        with suppress(ValueError, Invalid):  # it may only look like a time
            return _instant(datetime.fromisoformat("{}T{}{}".format(*found.groups("+00:00"))), where)
    return value[:MAX_TEXT]


def _time(value: Json, where: str) -> str:
    written = _text(value, where) if isinstance(value, str) else ""
    with suppress(ValueError):
        datetime.fromisoformat(written)
        return written
    raise Invalid(where, "is not a time as MoEngage reads it")


def _instant(time: datetime, where: str) -> str:
    if time.utcoffset() is None:
        raise Invalid(where, "has no time zone")
    try:
        return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    except OverflowError:
        raise Invalid(where, "is not a possible time") from None
