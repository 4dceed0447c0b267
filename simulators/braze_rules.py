"""What Braze documents about the body of ``POST /users/track``: pure checks.

Sources, below https://www.braze.com/docs/: ``api/endpoints/user_data/post_user_track`` (identifiers, error list),
``api/api_limits`` (sizes), ``api/objects_filters/`` ``user_attributes_object``, ``event_object``, ``purchase_object``
and ``user_alias_object``; below ``user_guide/data/activation/``: ``custom_data/data_types``,
``attributes/nested_custom_attribute_support``, ``attributes/array_of_objects``,
``events/custom_events/custom_event_properties`` and ``events/purchase_events``. Each function names its page.

A check ends in one of three ways. It returns the fields that Braze omits silently from an accepted object; it raises
`Invalid` when Braze rejects the object and reports it; it raises `BadRequest` when Braze rejects the request. Where
Braze documents a rule but not the consequence of breaking it, the object is rejected, so that a test notices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

from simulators import braze_orders
from simulators.braze_values import (
    CURRENCIES,
    LANGUAGES,
    country,
    is_birthday,
    is_date,
    is_email,
    is_location,
    is_number,
    is_text,
    is_zone,
    phone,
    read_time,
    size,
)

ARRAYS = ("attributes", "events", "purchases")
"""The arrays of a request, in the order in which Braze begins to process them."""

Object: TypeAlias = dict[str, Any]
Drops: TypeAlias = dict[str, str]
"""Field → why Braze leaves it out without an error."""

MAX_BODY = 4 * 1024 * 1024
MAX_OBJECTS = 75
MAX_CHARACTERS = 255
MAX_ELEMENTS = 500
MAX_PROPERTY_NAMES = 256
MAX_NESTED = 100 * 1024
MAX_PURCHASE_PROPERTIES = 50 * 1024

PRIMARY = ("external_id", "user_alias", "braze_id")
FLAGS = ("_update_existing_only", "_merge_objects", "push_token_import")
NOTHING_VALID = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."


class BadRequest(Exception):
    """Braze refuses the whole request with a 400."""


class Invalid(Exception):
    """Braze refuses the object; the text is the ``type`` of its entry in ``errors``."""


def _require(condition: object, text: str) -> None:
    if not condition:
        raise Invalid(text)


def parse(body: bytes) -> dict[str, list[Any]]:
    """Read a body into the arrays it has (post_user_track: valid UTF-8, valid JSON); raise `BadRequest`."""
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_no_json)
        if "\\ud" in text.lower():
            size(value)  # half a surrogate pair has no UTF-8 form
    except (ValueError, RecursionError):
        raise BadRequest("Bad syntax") from None
    if not isinstance(value, dict):
        raise BadRequest("Bad syntax")
    arrays = {array: value[array] for array in ARRAYS if array in value}
    if not all(isinstance(objects, list) for objects in arrays.values()) or not any(arrays.values()):
        raise BadRequest(NOTHING_VALID)
    return arrays


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def check_request(arrays: Mapping[str, list[Any]], length: int, object_limit: Literal["combined", "per_array"]) -> None:
    """Refuse a request of `length` bytes for its objects (api_limits) or their properties (nested_objects)."""
    counts = [len(objects) for objects in arrays.values()]
    if (sum(counts) if object_limit == "combined" else max(counts)) > MAX_OBJECTS:
        raise BadRequest("Max Input Length Exceeded")
    if length > MAX_NESTED:
        for item in (*arrays.get("events", ()), *arrays.get("purchases", ())):
            if isinstance(item, dict) and size(item.get("properties")) > MAX_NESTED:
                raise BadRequest("The properties of an object exceed 100 KB")


def check_identity(item: Object) -> None:
    """Refuse an object that does not name one user in one way (post_user_track, user_alias_object)."""
    given = [name for name in PRIMARY if name in item]
    _require(len(given) < 2, "You must specify only one of 'external_id', 'user_alias' or 'braze_id'")
    _require(
        given or is_text(item.get("email")) or is_text(item.get("phone")) or item.get("push_token_import") is True,
        "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required",
    )
    if not given and (item.get("email") or item.get("phone")):
        field = "email" if item.get("email") else "phone"
        _require(PROFILE[field][0](item[field]), f"'{field}' {PROFILE[field][1]}")
    if "external_id" in item:
        _require(is_text(item["external_id"]), "'external_id' must be a string")
        _require(len(item["external_id"].encode()) <= 987, "'external_id' exceeds the maximum length of 987 bytes")
    if "braze_id" in item:
        _require(is_text(item["braze_id"]), "'braze_id' must be a string")
    if "user_alias" in item:
        alias = item["user_alias"]
        _require(isinstance(alias, dict), "'user_alias' must be an object with 'alias_name' and 'alias_label'")
        for part in ("alias_name", "alias_label"):
            text = alias.get(part)
            _require(is_text(text) and len(text.encode()) <= 236, f"'{part}' must be a string of 1 to 236 bytes")
    for flag in FLAGS:
        _require(isinstance(item.get(flag, False), bool), f"'{flag}' must be a boolean")


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


_TEXT = (lambda value: isinstance(value, str), "must be a string")
_TRUTH = (lambda value: isinstance(value, bool), "must be a boolean")
_OBJECT = (lambda value: isinstance(value, dict), "must be an object")
_STATE = (_matches("opted_in|subscribed|unsubscribed"), "must be 'opted_in', 'subscribed' or 'unsubscribed'")
_SESSION = (is_date, "must be a date in ISO 8601 format")

PROFILE: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "email": (is_email, "is not a valid email address"),
    "phone": (lambda value: phone(value) is not None, "is not a valid phone number"),
    "first_name": _TEXT,
    "last_name": _TEXT,
    "home_city": _TEXT,
    "dob": (is_birthday, "must be in the format YYYY-MM-DD"),
    "gender": (_matches("[MFONP]"), "must be 'M', 'F', 'O', 'N', 'P' or null"),
    "language": (LANGUAGES.__contains__, "must be a supported language code"),
    "image_url": (_matches(r"(?s).{0,1024}"), "must be a string of at most 1024 characters"),
    "current_location": (is_location, "must be an object containing 'longitude' and 'latitude'"),
    "date_of_first_session": _SESSION,
    "date_of_last_session": _SESSION,
    "marked_email_as_spam_at": _SESSION,
    "email_subscribe": _STATE,
    "push_subscribe": _STATE,
    "subscription_groups": (lambda value: isinstance(value, list), "must be an array"),
    "push_tokens": (lambda value: isinstance(value, list), "must be an array of objects"),
    "email_open_tracking_disabled": _TRUTH,
    "email_click_tracking_disabled": _TRUTH,
    "facebook": _OBJECT,
    "twitter": _OBJECT,
    # The documentation says of these two that a value it does not know is left out.
    "country": (lambda value: country(value) is not None, ""),
    "time_zone": (is_zone, ""),
}
"""Profile field → whether a value is right, and what is wrong otherwise (user_attributes_object)."""

_NEVER_NULL = ("email_subscribe", "push_subscribe", "subscription_groups", "push_tokens")


def check_attributes(item: Object) -> Drops:
    """Check an attributes object (user_attributes_object)."""
    check_identity(item)
    _require("email_subscription_info" not in item, "'email_subscription_info' is not a valid attribute")
    if item.get("push_token_import"):
        alone = item.get("push_tokens") and not {"external_id", "braze_id"} & item.keys()
        _require(alone, "Token imports must include tokens and exclude 'external_id' and 'braze_id'")
    drops = {}
    for name, value in item.items():
        if name in PRIMARY or name in FLAGS:
            continue
        if name not in PROFILE:
            reason = _custom_attribute(name, value)
        elif (value is None and name not in _NEVER_NULL) or PROFILE[name][0](value):
            reason = None
        else:
            reason = "unknown value"
            _require(not PROFILE[name][1], f"'{name}' {PROFILE[name][1]}")
        if reason:
            drops[name] = reason
    for group in item.get("subscription_groups", ()):
        _subscription_group(group)
    for token in item.get("push_tokens", ()):
        _push_token(token)
    return drops


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _subscription_group(group: Any) -> None:
    keys = {"subscription_group_id", "subscription_state"}
    _require(isinstance(group, dict) and keys <= group.keys(), "Each subscription group must have an id and a state")
    identifier = group["subscription_group_id"]
    _require(
        isinstance(identifier, str) and _UUID.fullmatch(identifier), "'subscription_group_id' must be a valid UUID"
    )
    state = group["subscription_state"]
    _require(state in ("subscribed", "unsubscribed"), "'subscription_state' must be 'subscribed' or 'unsubscribed'")


def _push_token(token: Any) -> None:
    _require(isinstance(token, dict), "'push_tokens' must be an array of objects")
    _require(is_text(token.get("app_id")), "'app_id' must be a valid app identifier")
    _require(is_text(token.get("token")), "'token' must be a string")
    device = token.get("device_id", "12345678")
    _require(isinstance(device, str) and 8 <= len(device.encode()) <= 255, "'device_id' must be 8 to 255 bytes long")


def _custom_attribute(name: str, value: Any) -> str | None:
    """Check a custom attribute (custom_attributes, data_types); return why it is left out."""
    if wrong := wrong_name(name.strip()):
        return wrong
    if isinstance(value, str):
        _require(len(value) <= MAX_CHARACTERS, f"'{name.strip()}' exceeds {MAX_CHARACTERS} characters")
    elif isinstance(value, list) and not is_nested(value):
        _array(name.strip(), value)
    elif isinstance(value, dict) and is_operation(value):
        for operand in value.values():
            if isinstance(operand, list):
                _array(name.strip(), operand)
    elif isinstance(value, dict) and value and value.keys() <= {"$add", "$remove", "$update"}:
        return next(filter(None, (_operation(operands) for operands in value.values())), None)
    elif isinstance(value, list | dict):
        return _nested(value)
    return None


def wrong_name(name: str) -> str | None:
    """Describe what is wrong with the name of an attribute or a property (event_object)."""
    if not name or len(name) > MAX_CHARACTERS:
        return "a name that is empty or exceeds 255 characters"
    return "a name with a leading $" if name.startswith("$") else None


def is_operation(value: Object) -> bool:
    """Return whether an object increments a number or edits an array (user_attributes_object)."""
    if value.keys() == {"inc"}:
        return isinstance(value["inc"], int) and not isinstance(value["inc"], bool)
    return (
        bool(value) and value.keys() <= {"add", "remove"} and all(isinstance(items, list) for items in value.values())
    )


def is_nested(value: Any) -> bool:
    """Return whether a value is an object or an array with objects."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _array(name: str, values: Iterable[Any]) -> None:
    for value in values:
        _require(isinstance(value, str | int | float), f"'{name}' must be an array of strings, numbers or booleans")
        _require(not isinstance(value, str) or len(value) <= MAX_CHARACTERS, f"'{name}' exceeds 255 characters")


def _operation(operands: Any) -> str | None:
    """Check what is added to, removed from or changed in an array of objects (array_of_objects)."""
    if not isinstance(operands, list):
        return "an operation without an array"
    for operand in operands:
        if isinstance(operand, dict) and {"$identifier_key", "$identifier_value"} <= operand.keys():
            operand = operand.get("$new_object", {})  # noqa: PLW2901 - the rest of it is fixed
        if not isinstance(operand, dict):
            return "an operand that is no object"
        if reason := _nested(operand):
            return reason
    return None


_BAD_KEY = re.compile(r"[ .$]|.{256}", re.DOTALL)


def _nested(value: Any) -> str | None:
    """Return why Braze leaves out a nested custom attribute (nested_custom_attribute_support)."""
    if value is None:
        return "a null inside"
    if isinstance(value, str):
        return "a string inside exceeds 255 characters" if len(value) > MAX_CHARACTERS else None
    if isinstance(value, dict):
        if value.keys() == {"$time"}:
            return None if is_date(value["$time"]) else "an invalid $time inside"
        if any(map(_BAD_KEY.search, value)):
            return "a key inside is too long or has a space, a period or a dollar sign"
        value = value.values()
    if isinstance(value, Iterable):
        return next(filter(None, map(_nested, value)), None)
    return None


def check_event(item: Object) -> Drops:
    """Check an event object (event_object; the name's rule stands under developer_guide/analytics/logging_events)."""
    check_identity(item)
    name = item.get("name")
    _require(is_text(name) and len(str(name)) <= MAX_CHARACTERS, "'name' must be a string of 1 to 255 characters")
    _common(item)
    reason = braze_orders.wrong(str(name), item.get("properties"))
    _require(not reason, reason)
    drops = _properties(item, {"time", "event_name"})
    return {"name": "a name with a leading $"} if str(name).startswith("$") else drops


def check_purchase(item: Object) -> Drops:
    """Check a purchase object (purchase_object, purchase_events)."""
    check_identity(item)
    product = item.get("product_id")
    _require(is_text(product) and len(str(product)) <= 255, "'product_id' must be a string of 1 to 255 characters")
    currency = item.get("currency")
    _require(isinstance(currency, str) and currency in CURRENCIES, "'currency' must be an ISO 4217 currency")
    _require(is_number(item.get("price")), "'price' must be a number")
    quantity = item.get("quantity", 1)
    _require(type(quantity) is int and 1 <= quantity <= 100, "'quantity' must be an integer from 1 to 100")
    _common(item)
    drops = _properties(item, {"time", "product_id", "quantity", "event_name", "price", "currency"})
    _require(size(item.get("properties")) <= MAX_PURCHASE_PROPERTIES, _BAD_PROPERTIES)
    return drops


_BAD_PROPERTIES = "Invalid 'properties' field"


def _common(item: Object) -> None:
    _require(read_time(item.get("time")), "'time' must be a datetime in ISO 8601 format")
    _require(isinstance(item.get("app_id", ""), str), "'app_id' must be a string")


def _properties(item: Object, reserved: set[str]) -> Drops:
    """Check the properties of an event or a purchase (custom_event_properties)."""
    properties = item.get("properties", {})
    _require(isinstance(properties, dict) and not reserved & properties.keys(), _BAD_PROPERTIES)
    drops = {}
    for name, value in properties.items():
        _require(not _too_long(value), _BAD_PROPERTIES)
        if reason := wrong_name(name) or _dropped_property(value):
            drops[f"properties.{name}"] = reason
    return drops


def _too_long(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > MAX_CHARACTERS
    if isinstance(value, dict):
        value = value.values()
    return isinstance(value, Iterable) and any(map(_too_long, value))


def _dropped_property(value: Any) -> str | None:
    if value is None:
        return "null is no type of a property"
    return "a datetime inside an array" if isinstance(value, list) and any(map(is_date, value)) else None


CHECKS: Mapping[str, Callable[[Object], Drops]] = {
    "attributes": check_attributes,
    "events": check_event,
    "purchases": check_purchase,
}


def check(array: str, item: Any) -> Drops:
    """Check one object of an array; give what is left out of it; raise `Invalid` with a sentence that has no value."""
    _require(isinstance(item, dict), f"Each item of '{array}' must be an object")
    return CHECKS[array](item)
