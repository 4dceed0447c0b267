"""Braze's ``/users/track``: updates into attributes, event and purchase objects, and what a reply means for them.

Braze drops much of what breaks its limits without an error, and one reserved name or bad address costs the whole
object. So every documented limit is met here, before anything is sent. The rules are those of

- https://www.braze.com/docs/api/endpoints/user_data/post_user_track (identifiers, limits, replies)
- https://www.braze.com/docs/api/objects_filters/user_attributes_object
- https://www.braze.com/docs/api/objects_filters/event_object
- https://www.braze.com/docs/api/objects_filters/purchase_object
- https://www.braze.com/docs/user_guide/data/activation/custom_data/data_types
- https://www.braze.com/docs/user_guide/data/activation/attributes/nested_custom_attribute_support
- https://www.braze.com/docs/api/errors
- https://www.braze.com/docs/api/api_limits
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

from msgspec.json import encode

from loyalty_bridge.errors import Invalid
from loyalty_bridge.member_ids import check_member_id
from loyalty_bridge.model import PARTS, Event, FieldError, Json, MemberUpdate, Part, ProfileField, Purchase
from loyalty_bridge.platforms.base import (
    AttributePath,
    Translation,
    WireObject,
)
from loyalty_bridge.platforms.braze import responses
from loyalty_bridge.platforms.braze.orders import order_event
from loyalty_bridge.platforms.braze.settings import MAX_ALIAS_BYTES, MAX_TEXT, BrazeRules, BrazeSettings
from loyalty_bridge.platforms.limits import UNUSABLE, printable_name
from loyalty_bridge.platforms.settings import EngagementSettings

SETTINGS: type[EngagementSettings] = BrazeSettings
judge = responses.judge
TAKES_FUTURE_TIMES = True

MAX_BODY_BYTES = 4_000_000
MAX_EXTERNAL_ID_BYTES = 987
MAX_ITEMS = 500
"""Elements of an array attribute; an array of objects is bounded by its bytes only."""
MAX_ATTRIBUTE_BYTES = 100 * 1024
"""Of one attribute that is an object or an array."""
MAX_EVENT_BYTES = 100 * 1024
"""Of all properties of one event."""
MAX_PURCHASE_BYTES = 50 * 1024
"""Of all properties of one purchase."""
MAX_PROPERTIES = 256
MAX_QUANTITY = 100

_ARRAYS = ("attributes", "events", "purchases")
_ROOM = MAX_BODY_BYTES - len('{"attributes":[],"events":[],"purchases":[]}')

_RESERVED = frozenset({
    "alias_label", "alias_name", "braze_id", "country", "current_location", "date_of_first_session",
    "date_of_last_session", "dob", "email", "email_click_tracking_disabled", "email_open_tracking_disabled",
    "email_subscribe", "email_subscription_info", "external_id", "facebook", "first_name", "gender", "home_city",
    "image_url", "language", "last_name", "marked_email_as_spam_at", "phone", "push_subscribe", "push_token_import",
    "push_tokens", "subscription_groups", "time_zone", "twitter", "user_alias",
})  # fmt: skip
_RESERVED_IN_EVENTS = frozenset({"time", "event_name"})
_RESERVED_IN_PURCHASES = _RESERVED_IN_EVENTS | {"product_id", "quantity", "price", "currency"}
_INSTRUCTIONS = frozenset({"add", "remove", "inc"})
"""Keys that make Braze change an array or a number where an object was meant."""

_SUBSCRIPTIONS = frozenset({"opted_in", "subscribed", "unsubscribed"})
_NO_SUBSCRIPTION = "is none of opted_in, subscribed, unsubscribed"

_PHONE = re.compile(r"\+[1-9][0-9]{4,14}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SEPARATOR = re.compile(r"[\s.$]")


class _Limits(NamedTuple):
    """What the values inside an attribute or among properties have to keep to."""

    size: int
    """Bytes of an attribute, or of all properties together."""
    reserved: frozenset[str] = frozenset()
    """Names that Braze takes for something else, at the top."""
    strict_keys: bool = False
    items: float = math.inf
    flat: bool = False
    times_in_arrays: bool = False


def translate(update: MemberUpdate, rules: BrazeRules) -> Translation:
    """Turn an update into wire form.

    What breaks a limit is left out and listed in `field_errors` (by its path); an event or purchase goes as a
    whole when a field that Braze requires is unusable. A null inside an object, an array or properties says nothing
    and is left out silently.

    Raises
    ------
    Invalid
        The member has no identifier that Braze takes.
    """
    identity = _identity(update, rules)
    lost: dict[Part, list[Invalid]] = {part: [] for part in PARTS}
    attributes = _attributes(update, identity, lost["attributes"])
    event = _event(update.event, identity, lost["event"]) if update.event else None
    purchase = order = None
    if update.purchase and rules.revenue != "ecommerce":
        purchase = _purchase(update.purchase, identity, rules, lost["purchase"])
    if update.purchase and rules.revenue != "purchases":
        order = _order(update.purchase, identity, lost["order"])
    field_errors = [FieldError(part, each.field, each.reason) for part, fields in lost.items() for each in fields]
    return Translation(identity, attributes, event, purchase, (*update.field_errors, *field_errors), order)


def attribute_objects(
    identity: Mapping[str, Json],
    values: Mapping[AttributePath, Json],
    rules: BrazeRules,
) -> list[WireObject]:
    """Serialise the attribute values of one member; None removes a value.

    One object, but for two cases: `_merge_objects`, which values of single keys need, would merge whole objects too, so
    these go first, in one of their own; and what exceeds a request is divided.
    """
    merged = {path[0] for path in values if len(path) > 1}
    whole: list[tuple[AttributePath, Json]] = []
    rest: list[tuple[AttributePath, Json]] = []
    for path, value in values.items():
        is_whole = bool(merged) and len(path) == 1 and (isinstance(value, Mapping) or path[0] in merged)
        (whole if is_whole else rest).append((path, value))
    flag: dict[str, Json] = {"_merge_objects": True} if merged else {}
    return [*_attribute_objects(identity, whole), *_attribute_objects({**identity, **flag}, rest)]


def weigh(item: WireObject, rules: BrazeRules) -> tuple[int, ...]:
    """Return how much of each limit of a request an object uses: number (in its array), bytes with a comma."""
    size = len(item.body) + 1
    if rules.object_limit == "combined":
        return (1, size)
    return (*(int(item.array == array) for array in _ARRAYS), size)


def capacity(rules: BrazeRules) -> tuple[int, ...]:
    """Return the limits of a request, in the order of `weigh`: objects (in each array), bytes."""
    return (*(rules.max_objects,) * (1 if rules.object_limit == "combined" else len(_ARRAYS)), _ROOM)


def body(objects: Sequence[WireObject]) -> bytes:
    """Assemble the request body; the objects of an array keep their order."""
    arrays = {array: [item.body for item in objects if item.array == array] for array in _ARRAYS}
    return b"{%s}" % b",".join(
        b'"%s":[%s]' % (array.encode(), b",".join(bodies)) for array, bodies in arrays.items() if bodies
    )


def harmless() -> WireObject:
    """Make an attributes object that Braze takes and ignores: it may only update, and its user does not exist."""
    fields = {"external_id": "loyalty-bridge-check", "_update_existing_only": True, "language": "en"}
    return WireObject("attributes", encode(fields))


def _identity(update: MemberUpdate, rules: BrazeRules) -> dict[str, Json]:
    identity: dict[str, Json]
    # An alias that is not known is created with an explicit false only.
    always = rules.update_existing_only or (update.identified_by == "id" and rules.identifier_type == "user_alias")
    flag: dict[str, Json] = {"_update_existing_only": rules.update_existing_only} if always else {}
    if update.identified_by != "id":
        identity = {update.identified_by: _profile_value(update.identified_by, update.member, "member")}
    elif rules.identifier_type == "user_alias":
        name = _member_id(update.member, MAX_ALIAS_BYTES)
        identity = {"user_alias": {"alias_name": name, "alias_label": rules.alias_label or update.member_label}}
    else:
        identity = {"external_id": _member_id(update.member, MAX_EXTERNAL_ID_BYTES)}
    return identity | flag


def check_id(value: str, field: str, rules: BrazeRules) -> None:
    """Raise `Invalid`, naming `field`, when Braze does not take a value as a user's external id or alias."""
    _check_id(value, field, MAX_ALIAS_BYTES if rules.identifier_type == "user_alias" else MAX_EXTERNAL_ID_BYTES)


def _member_id(value: str, most: int) -> str:
    _check_id(value, "member", most)
    return value


def _check_id(value: str, field: str, most: int) -> None:
    check_member_id(value, field)
    _require(len(value.encode()) <= most, field, f"is longer than {most} bytes")


def _attributes(update: MemberUpdate, identity: Mapping[str, Json], lost: list[Invalid]) -> dict[AttributePath, Json]:
    found: dict[AttributePath, Json] = {}
    for field, value in update.profile.items():
        name = _PROFILE[field][0]
        try:
            is_known = isinstance(value, str) and name in identity
            if not is_known or identity[name] != _profile_value(field, value, f"profile.{field}"):
                found[(name,)] = _profile(field, value, identity)
        except Invalid as refused:
            lost.append(refused)
    taken: set[str] = set()
    for source, fields in (("attributes", update.attributes), ("custom", update.custom)):
        for raw, value in fields.items():
            path = f"{source}.{printable_name(raw)}"
            try:
                name = _attribute_name(raw, path, taken)
                if source == "attributes" and isinstance(value, Mapping):
                    found |= {(name, key): item for key, item in _partial(value, path, lost).items()}
                else:
                    found[(name,)] = _whole(value, path, lost)
            except Invalid as refused:
                lost.append(refused)
            else:
                taken.add(name)
    return found


def _profile(field: ProfileField, value: Json, identity: Mapping[str, Json]) -> Json:
    path = f"profile.{field}"
    # An address beside a phone number would be what the user is looked up by.
    finds = _PROFILE[field][0] in identity or (field == "email" and "phone" in identity)
    _require(not finds, path, "would change which user is found")
    return value if value is None else _profile_value(field, value, path)


def _profile_value(field: ProfileField, value: Json, path: str) -> str:
    _, read, reason = _PROFILE[field]
    if not isinstance(value, str):
        raise Invalid(path, "is not a text")
    found = read(_text(value, path))
    if found is None:
        raise Invalid(path, reason)
    return _text(found, path)


def _attribute_name(raw: str, path: str, taken: set[str]) -> str:
    name = _name(raw.strip(), path)  # Braze cuts these blanks
    _require(name not in _RESERVED and not name.startswith("_"), path, "has a name that is Braze's own")
    _require(name not in taken, path, "has the name of another attribute")
    return name


def _whole(value: Json, path: str, lost: list[Invalid]) -> Json:
    kept = _value(value, path, _IN_ATTRIBUTES, lost, is_whole=True)
    if isinstance(kept, dict | list):
        _require(len(encode(kept)) <= MAX_ATTRIBUTE_BYTES, path, f"is larger than {MAX_ATTRIBUTE_BYTES} bytes")
    is_instruction = isinstance(kept, dict) and kept and kept.keys() <= _INSTRUCTIONS
    _require(not is_instruction, path, "has only keys that Braze reads as an instruction")
    return kept


def _partial(value: Mapping[str, Json], path: str, lost: list[Invalid]) -> dict[str, Json]:
    for key, item in value.items():
        if item is None:
            lost.append(
                Invalid(f"{path}.{printable_name(key)}", "cannot be removed by itself: an object may not hold null")
            )
    return _fitting(_object(value, path, _IN_ATTRIBUTES, lost, top=True), _IN_ATTRIBUTES, path, lost)


def _attribute_objects(
    identity: Mapping[str, Json], values: Sequence[tuple[AttributePath, Json]]
) -> Iterable[WireObject]:
    if not values:
        return []
    fields: dict[str, Json] = {path[0]: value for path, value in values if len(path) == 1}
    nested: dict[str, dict[str, Json]] = {}
    for path, value in values:
        if len(path) > 1:
            nested.setdefault(path[0], {})[path[1]] = value
    item = WireObject("attributes", encode({**identity, **fields, **nested}))
    if len(item.body) < _ROOM or len(values) == 1:
        return [item]
    half = len(values) // 2
    return [*_attribute_objects(identity, values[:half]), *_attribute_objects(identity, values[half:])]


def _event(event: Event, identity: Mapping[str, Json], lost: list[Invalid]) -> WireObject | None:
    try:
        fields: dict[str, Json] = {"name": _name(event.name, "event.name"), "time": _time(event.time, "event.time")}
    except Invalid as refused:
        lost.append(refused)
        return None
    body = _with_properties({**identity, **fields}, event.properties, "event.properties", _IN_EVENTS, lost)
    return WireObject("events", body)


def _purchase(
    purchase: Purchase, identity: Mapping[str, Json], rules: BrazeRules, lost: list[Invalid]
) -> WireObject | None:
    try:
        fields: dict[str, Json] = {
            "product_id": rules.purchase_product_id or _filled(purchase.product_id, "purchase.product_id"),
            "currency": purchase.currency,
            "price": purchase.price,
            "quantity": purchase.quantity,
            "time": _time(purchase.time, "purchase.time"),
        }
        # The loyalty platform checked the currency; whether Braze takes it shows in its reply.
        _require(_CURRENCY.fullmatch(purchase.currency), "purchase.currency", "is not the letters of ISO 4217")
        _require(_is_number(purchase.price), "purchase.price", "is not a finite number")
        is_quantity = type(purchase.quantity) is int and 1 <= purchase.quantity <= MAX_QUANTITY
        _require(is_quantity, "purchase.quantity", f"is not a whole number between 1 and {MAX_QUANTITY}")
    except Invalid as refused:
        lost.append(refused)
        return None
    given = dict(purchase.properties)
    if rules.purchase_product_id and purchase.product_id not in given.values():
        given.setdefault("transaction_id", purchase.product_id)
    body = _with_properties({**identity, **fields}, given, "purchase.properties", _IN_PURCHASES, lost)
    return WireObject("purchases", body)


def _order(purchase: Purchase, identity: Mapping[str, Json], lost: list[Invalid]) -> WireObject | None:
    """Serialise a purchase as an event of an order; everything but ``metadata`` is as Braze's schema wants it."""
    try:
        _filled(purchase.order_id or purchase.product_id, "purchase.order_id")
        _filled(purchase.product_id, "purchase.product_id")
        _require(_CURRENCY.fullmatch(purchase.currency), "purchase.currency", "is not the letters of ISO 4217")
        event = order_event(purchase)
    except Invalid as invalid:
        lost.append(invalid)
        return None
    try:
        metadata = _object(purchase.properties, "purchase.properties", _IN_METADATA, lost, top=True)
    except Invalid:
        metadata = {}  # each property is in `lost`
    metadata = _fitting(metadata, _IN_METADATA, "purchase.properties", lost)
    properties = {**event.properties, "metadata": metadata} if metadata else event.properties
    return _event(replace(event, properties=properties), identity, lost)


def _with_properties(
    fields: Mapping[str, Json], values: Mapping[str, Json], path: str, limits: _Limits, lost: list[Invalid]
) -> bytes:
    """Serialise an object with the field ``properties``, or without it when there are none."""
    try:
        kept = _object(values, path, limits, lost, top=True)
    except Invalid:
        kept = {}  # each property is in `lost`
    if len(kept) > MAX_PROPERTIES:
        lost.append(Invalid(path, f"has {len(kept) - MAX_PROPERTIES} more than the {MAX_PROPERTIES} that are taken"))
        kept = dict(list(kept.items())[:MAX_PROPERTIES])
    whole = encode({**fields, "properties": kept} if kept else fields)
    if len(whole) <= limits.size:
        return whole
    kept = _fitting(kept, limits, path, lost)
    return encode({**fields, "properties": kept} if kept else fields)


def _fitting(values: dict[str, Json], limits: _Limits, path: str, lost: list[Invalid]) -> dict[str, Json]:
    """Leave out the largest values until the rest is small enough."""
    excess = len(encode(values)) - limits.size
    if excess <= 0:
        return values
    sizes = {name: len(encode({name: value})) - 1 for name, value in values.items()}  # braces are a comma too many
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if excess > 0:
            excess -= sizes.pop(name)
            lost.append(Invalid(f"{path}.{printable_name(name)}", f"makes the whole larger than {limits.size} bytes"))
    return {name: values[name] for name in sizes}


def _value(value: Json, path: str, limits: _Limits, lost: list[Invalid], *, is_whole: bool = False) -> Json:
    """Return what is usable of a value; the value itself has to be.

    Parameters
    ----------
    is_whole
        It is an attribute, and not inside one, where ``{"$time": …}`` is a time.
    """
    if isinstance(value, str):
        return _text(value, path)
    if value is None or isinstance(value, int | float):
        _require(value is None or math.isfinite(value), path, "is not a finite number")
        return value
    if not isinstance(value, Mapping):
        return _array(value, path, limits, lost)
    if limits.strict_keys and not is_whole and value.keys() == {"$time"}:
        _require(_is_time(value["$time"]), path, "is not a time as Braze reads it")
        return value
    return _object(value, path, limits, lost)


def _object(
    value: Mapping[str, Json], path: str, limits: _Limits, lost: list[Invalid], *, top: bool = False
) -> dict[str, Json]:
    _require(top or not limits.flat, path, "is an object, of which Braze would make a text")
    given = {name: item for name, item in value.items() if item is not None}
    kept: dict[str, Json] = {}
    for name, item in given.items():
        field = f"{path}.{printable_name(name)}"
        try:
            _require(not (reason := _key_fault(name[: MAX_TEXT + 1], limits, top)), field, reason)
            kept[name] = _value(item, field, limits, lost)
        except Invalid as refused:
            lost.append(refused)
    _require(kept or not given, path, "holds nothing usable")
    return kept


def _array(value: Sequence[Json], path: str, limits: _Limits, lost: list[Invalid]) -> list[Json]:
    given = [(index, item) for index, item in enumerate(value) if item is not None]
    if limits.flat and any(isinstance(item, list | tuple | Mapping) for _, item in given):
        raise Invalid(path, "holds objects or arrays, of which Braze would make texts")
    if limits.strict_keys and any(isinstance(item, list | tuple) for _, item in given):
        raise Invalid(path, "is an array of arrays, which Braze takes in no attribute")
    if not limits.times_in_arrays and any(_is_time(item) for _, item in given):
        raise Invalid(path, "holds times, which Braze takes in no array of properties")
    if len(given) > limits.items and not all(isinstance(item, Mapping) for _, item in given):
        raise Invalid(path, f"has more than {limits.items} elements")
    kept: list[Json] = []
    for index, item in given:
        try:
            kept.append(_value(item, f"{path}[{index}]", limits, lost))
        except Invalid as refused:
            lost.append(refused)
    _require(kept or not given, path, "holds nothing usable")
    return kept


@lru_cache(maxsize=4096)
def _key_fault(name: str, limits: _Limits, top: bool) -> str:
    """Return what is wrong with a key, if anything; remembered, because keys come again with every event."""
    if limits.strict_keys and _SEPARATOR.search(name):
        return "has a blank, a period or a dollar sign in its name"
    if top and name in limits.reserved:
        return "has a name that is Braze's own"
    try:
        _name(name, "")
    except Invalid as refused:
        return refused.reason
    return ""


def _name(value: str, path: str) -> str:
    # Stated for properties in the API, for events and attributes in the SDKs:
    # https://www.braze.com/docs/developer_guide/analytics/logging_events
    _require(not value.startswith("$"), path, "has a name that begins with a dollar sign")
    return _filled(value, path)


def _filled(value: str, path: str) -> str:
    _require(value.strip(), path, "is blank")
    return _text(value, path)


def _text(value: str, path: str) -> str:
    if len(value) > MAX_TEXT:
        raise Invalid(path, f"is longer than {MAX_TEXT} characters")
    if UNUSABLE.search(value):
        raise Invalid(path, "holds a null byte or a lone surrogate")
    return value


def _require(fits: object, path: str, reason: str) -> None:
    if not fits:
        raise Invalid(path, reason)


def _time(value: datetime, path: str) -> str:
    _require(value.utcoffset() is not None, path, "has no time zone")
    try:
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    except OverflowError:
        raise Invalid(path, "is not a possible time") from None


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_time(value: Json) -> bool:
    """Return whether Braze takes a text for a time.

    https://www.braze.com/docs/user_guide/data/activation/custom_data/data_types
    """
    if not isinstance(value, str) or len(value) > MAX_TEXT or not _MAY_BE_TIME.match(value):
        return False
    try:
        return datetime.fromisoformat(_COLON_MILLISECONDS.sub(".", value)).year <= 3000
    except ValueError:
        return bool(_OTHER_TIME.fullmatch(value))


_MAY_BE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:$|[T ])|[0-9]{2}/|[A-Z][a-z]{2} ")
_COLON_MILLISECONDS = re.compile(r"(?<=:[0-9]{2}:[0-9]{2}):(?=[0-9]{3})")
_OTHER_TIME = re.compile(
    r"[0-9]{2}/[0-9]{2}/[0-9]{4}"
    r"|[A-Z][a-z]{2} (?:[0-9]{2}|[A-Z][a-z]{2}) [0-9]{1,2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.?\s?\S+ [0-9]{4}"
)


def _email(address: str) -> str | None:
    """Return an address as Braze takes it, its domain in Punycode; None when Braze does not.

    https://www.braze.com/docs/user_guide/channels/email/email_setup/email_validation
    """
    local, _, host = address.rpartition("@")
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            return None
    if not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit():
        return None
    if any(name in host.lower() for name in _OF_MICROSOFT):
        fits = bool(_MICROSOFT.fullmatch(local.partition("+")[0])) and len(local) <= MAX_LOCAL_PART
    else:
        fits = bool(_LOCAL_PART.fullmatch(local)) and all(
            character.isascii() or unicodedata.category(character)[0] in "LMNPS" for character in local
        )
        fits = fits and (len(local) > 1 or host.lower() not in _OF_GOOGLE)
    return f"{local}@{host}" if fits else None


MAX_LOCAL_PART = 64
_LOCAL_PART = re.compile(r"(?!\.)[\w\-^+$'&#/!%*=?`|~.\u0080-\U0010ffff]{1,64}(?<!\.)", re.ASCII)
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+", re.IGNORECASE
)
_OF_MICROSOFT = ("msn", "hotmail", "outlook", "live")
_MICROSOFT = re.compile(r"\w[\w-]*(?:\.[\w-]+)*", re.ASCII)
_OF_GOOGLE = frozenset({"gmail.com", "googlemail.com"})


def _language(code: str) -> str | None:
    """Return a language as Braze knows it; None when it does not."""
    code = _OTHER_LANGUAGE_CODES.get(code, code)
    return code if code in _LANGUAGES else None


_LANGUAGE_CODES = """
af agq ak am ar as asa ay az bas be bem bez bg bm bn bo br brx bs ca cgg chr cs cy da dav de dje dua dyo dz ebu ee el
en eo es et eu ewo fa ff fi fil fo fr ga gd gl gn gsw gu guz gv ha haw he hi hr hu hy id ig ii is it iu ja jmc jv ka
kab kam kde kea khq ki kk kl kln km kn ko kok ks ksb ksf ku kw ky la lb lg ln lo lt lu luo luy lv mas mer mfe mg mgh
mk ml mn mo mr ms mt mua my naq nb nd ne nl nn nus nyn om or pa pl ps pt qu rm rn ro rof ru rw rwk sa saq sbp sd se
seh ses shi si sk sl sn so sq sr su sv sw swc ta te teo tg th ti tk tl to tr tt twq tzm ug uk ur uz vai vi vun xh xog
yav yi yo zh zu
"""
_LANGUAGES = frozenset(_LANGUAGE_CODES.split())
"""https://www.braze.com/docs/user_guide/data/unification/user_data/language_codes"""
_OTHER_LANGUAGE_CODES = {"no": "nb", "iw": "he", "in": "id", "ji": "yi", "jw": "jv"}
"""Codes that Braze does not know, of languages that it knows by another."""


def _if(fits: Callable[[str], object]) -> Callable[[str], str | None]:
    return lambda value: value if fits(value) else None


_PROFILE: Mapping[ProfileField, tuple[str, Callable[[str], str | None], str]] = {
    "email": ("email", _email, "is not an e-mail address that Braze takes"),
    "phone": ("phone", _if(_PHONE.fullmatch), "is not a phone number in E.164"),
    "first_name": ("first_name", str, ""),
    "last_name": ("last_name", str, ""),
    "birth_date": ("dob", _if(_is_date), "is not a date as YYYY-MM-DD"),
    "gender": ("gender", _if(frozenset("MFONP").__contains__), "is none of M, F, O, N, P"),
    "city": ("home_city", str, ""),
    "country": ("country", _if(re.compile("[A-Z]{2}").fullmatch), "is not a country in ISO 3166-1 alpha-2"),
    "language": ("language", _language, "is not a language code that Braze supports"),
    "email_subscription": ("email_subscribe", _if(_SUBSCRIPTIONS.__contains__), _NO_SUBSCRIPTION),
    "push_subscription": ("push_subscribe", _if(_SUBSCRIPTIONS.__contains__), _NO_SUBSCRIPTION),
}
"""Braze's name, how a value is read (None: it is not one), and the reason then."""

_IN_ATTRIBUTES = _Limits(
    MAX_ATTRIBUTE_BYTES, reserved=_INSTRUCTIONS, strict_keys=True, items=MAX_ITEMS, times_in_arrays=True
)
_IN_EVENTS = _Limits(MAX_EVENT_BYTES, reserved=_RESERVED_IN_EVENTS)
_IN_METADATA = _Limits(MAX_PURCHASE_BYTES)
_IN_PURCHASES = _Limits(MAX_PURCHASE_BYTES, reserved=_RESERVED_IN_PURCHASES, flat=True)
