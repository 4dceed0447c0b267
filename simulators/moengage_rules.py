"""What MoEngage documents about the bodies of its Data API: pure checks.

Sources, below https://www.moengage.com/docs/: ``api/data/data-overview`` (ids, reserved names, times, replies),
``api/user/track-user``, ``api/event/track-event``, ``api/bulk/bulk-import-users-and-events`` (fields, types, errors),
``user-guide/data/key-concepts/data-tracking-policies`` (names, values, numbers of them),
``user-guide/data/key-concepts/support-for-object-data-type``.

A check returns what MoEngage stores, with what it omits or changes silently, or it raises `Failure`. Where MoEngage
documents a rule but not the consequence of breaking it, the element fails, so that a test notices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args

Object: TypeAlias = dict[str, Any]
Drops: TypeAlias = dict[str, str]
"""Field → what MoEngage does to it without an error."""

MAX_BULK = 100_000
MAX_BODY = 128_000
MAX_TEXT = 512
MAX_NAME = 200
MAX_ITEMS = 50
MAX_EVENT_ATTRIBUTES = 100

MALFORMED = "Could not decode the request body. The JSON was incorrect or not encoded as UTF-8."

RateHeader = Literal["seconds", "timestamp", "none"]
State = Literal["open", "blocked", "suspended", "temporarily_suspended", "blacklisted", "ip_refused", "no_key"]


class Failure(Exception):
    """MoEngage refuses; what its reply says."""

    def __init__(self, status: int, kind: str, message: str, attribute: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.attribute = status, kind, attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a workspace is set up.

    Attributes
    ----------
    identifiers
        Attributes besides the id by which users are found (Identity Resolution); empty when that is off.
    objects, unset
        Whether objects as values, and ``unset_attributes``, are switched on.
    bulk_reports_errors
        Whether a bulk request with a bad element gets a 400, as the reference lists it, and nothing of it is taken. By
        default it gets its 200, as the same page says of every bulk request, and the element vanishes.
    rate_limit
        Requests in `rate_window` seconds; None for no limit and no headers about it.
    rate_header
        Whether ``x-ratelimit-reset`` is in seconds left (api/data/data-overview) or a Unix timestamp (api/rate-limits).
    state
        Of the account.
    latency
        Seconds that each answer takes.
    validate
        False: elements are counted and nothing else.
    """

    identifiers: tuple[str, ...] = ()
    objects: bool = False
    unset: bool = False
    bulk_reports_errors: bool = False
    rate_limit: int | None = None
    rate_window: float = 60.0
    rate_header: RateHeader = "seconds"
    state: State = "open"
    latency: float = 0.0
    validate: bool = True

    def __post_init__(self) -> None:
        """Refuse what is misspelt."""
        if self.rate_header not in get_args(RateHeader) or self.state not in get_args(State):
            raise ValueError(f"unknown setting: {self.rate_header} {self.state}")


class Action(NamedTuple):
    """One event as it is kept; its time in epoch seconds."""

    name: str
    time: float
    attributes: Object


def _fail(message: str, attribute: str, kind: str = "AttributeError") -> NoReturn:
    raise Failure(400, kind, message, attribute)


def _missing(message: str, attribute: str) -> NoReturn:
    _fail(message, attribute, "MissingAttributeError")


def parse(body: bytes) -> Object:
    """Read a request body; raise `Failure`."""
    if not body.strip():
        raise Failure(400, "Empty request body", "A valid JSON document is required")
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_no_json)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8 form
    except (ValueError, RecursionError):
        raise Failure(400, "Malformed JSON", MALFORMED) from None
    if not isinstance(value, dict):
        raise Failure(400, "Body type is not JSON", "A valid JSON document is required.")
    return value


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def elements(body: Object) -> list[Any]:
    """Return the elements of a bulk request."""
    if body.get("type") != "transition":
        _fail("type should be transition", "type")
    found = body.get("elements")
    if found is None:
        _missing("elements is not found in the payload", "elements")
    if not isinstance(found, list):
        raise Failure(400, "Malformed JSON", MALFORMED)
    if not found:
        _missing("elements cannot be empty array", "elements")
    return found


def kind_of(element: Any, *kinds: str) -> str:
    """Return the type of an element, which is case-sensitive and one of `kinds`."""
    if not isinstance(element, dict):
        raise Failure(400, "Malformed JSON", MALFORMED)
    if element.get("type") not in kinds:
        _fail(f"type should be {'/'.join(kinds)}", "type")
    return str(element["type"])


_NO_IDS = frozenset({
    "unknown", "guest", "null", "0", "1", "true", "false", "user_attribute_unique_id", "(empty)", "na", "n/a", "",
    "dummy_seller_code", "user_id", "id", "customer_id", "uid", "userid", "none", "-2", "-1", "2",
})  # fmt: skip


def identity(element: Object, settings: Settings) -> Object:
    """Return how an element names its user: ``{"customer_id": …}``, or the workspace's other identifiers."""
    if "customer_id" in element:
        value = element["customer_id"]
        if not isinstance(value, str):
            _fail("expected string", "customer_id", "TypeError")
        if not value:
            _missing("customer_id can not be empty Unicode String", "customer_id")
        if len(value) < 2 or value.lower() in _NO_IDS:
            _fail("customer_id is not allowed", "customer_id")
        return {"customer_id": value}
    holder = element.get("user_identifiers" if element["type"] == "event" else "attributes", {})
    if not isinstance(holder, dict):
        _fail("expected object", "user_identifiers", "TypeError")
    found = {name: holder[name] for name in settings.identifiers if holder.get(name)}
    return found or _missing("customer_id is not found in the payload", "customer_id")


CREATE_ONLY = frozenset({
    "publisher_name", "campaign_name", "u_l_a", "cr_t", "moe_gaid", "advertising_identifier",
})  # fmt: skip
"""Attributes that only the call which creates a user can set."""

_TEXTS = ("u_n", "u_fn", "u_ln", "u_gd", "geo", "name", "first_name", "last_name", "gender", "moe_sms_subscription")
_FLAGS = ("moe_unsubscribe", "moe_spam", "moe_hard_bounce", "moe_wa_subscription", "moe_sub_w", "push_preference")
_OPT_INS = ("DOUBLE_OPTED_IN", "OPTED_OUT", "OPT_IN_PENDING")


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: bool(re.fullmatch(pattern, value))


def is_date(value: str) -> bool:
    """Return whether MoEngage takes a text for a time: two forms, and an existing day."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            return bool(date.fromisoformat(value))
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value, re.ASCII) and datetime.fromisoformat(value))
    except ValueError:
        return False


def _anything(_: Any) -> bool:
    return True


_ADDRESS = _matches(r"|[^@\s,;<>\"]+@[^@\s.,]+(\.[^@\s.,]+)+")
_PHONE = _matches(r"|\+?[0-9]{6,15}")

STANDARD: Mapping[str, tuple[type, Callable[[Any], bool]]] = {
    **dict.fromkeys(_TEXTS, (str, _anything)),
    **dict.fromkeys(_FLAGS, (bool, _anything)),
    **dict.fromkeys(("u_em", "email", "moe_email"), (str, _ADDRESS)),
    **dict.fromkeys(("u_mb", "mobile", "moe_mobile"), (str, _PHONE)),
    **dict.fromkeys(("u_bd", "birthday"), (str, is_date)),
    "moe_email_optin_status": (str, lambda value: value in _OPT_INS),
    "moe_em_unsub_categories": (list, lambda value: all(isinstance(item, str) for item in value)),
    "platforms": (list, lambda value: all(isinstance(item, dict) for item in value)),
}
"""MoEngage's own attributes: their type, which it demands, and their form, without which they are of no use."""

OPERATIONS = ("addValueToArrayField", "removeValueFromArrayField")
_TYPE_NAMES = {str: "string", bool: "boolean", list: "array", dict: "object"}


def customer(element: Object, settings: Settings) -> tuple[Object, Drops]:
    """Check an element about a user (api/user/track-user); give the attributes that are kept."""
    attributes = element.get("attributes", {})
    _typed(attributes, dict, "attributes")
    _typed(element.get("update_existing_only", False), bool, "update_existing_only")
    edits = [attributes.get(operation, {}) for operation in OPERATIONS]
    for operation, edit in zip(OPERATIONS, edits, strict=True):
        _typed(edit, dict, operation)
        for items in edit.values():
            _typed(items, list, operation)
    if both := edits[0].keys() & edits[1].keys():
        _fail(f"Cannot add and remove '{min(both)}' at the same time", OPERATIONS[0], "ArrayFieldError")
    drops = {}
    if "unset_attributes" in element and not _unset(element["unset_attributes"], settings):
        drops["unset_attributes"] = "not switched on"
    kept: Object = {}
    for name, value in attributes.items():
        if name in OPERATIONS:
            kept[name] = value
            continue
        wanted, is_right = STANDARD.get(name, (object, _anything))
        if wanted is not object:
            _typed(value, wanted, name)
        elif name not in CREATE_ONLY and _is_reserved(name):
            _fail("the name is reserved", name)
        if reason := _put(kept, name, value, settings) if is_right(value) else "not of the form that it must have":
            drops[name] = reason
    return kept, drops


def _unset(conditions: Any, settings: Settings) -> bool:
    """Check the conditions under which attributes are removed; return whether the workspace does that."""
    _typed(conditions, list, "unset_attributes")
    for condition in conditions:
        _typed(condition, dict, "unset_attributes")
        if condition.get("type") not in UNSET or not isinstance(condition.get("attr"), str):
            _fail("a condition has a type and an attr", "unset_attributes")
    return settings.unset


UNSET: Mapping[str, Callable[[str, str], bool]] = {
    "equals": lambda name, wanted: name == wanted,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": lambda name, wanted: wanted in name,
}


def event(element: Object, settings: Settings, now: float) -> tuple[list[Action], Drops]:
    """Check an element with events (api/event/track-event); give the events that are kept."""
    if "device_id" in element:
        _typed(element["device_id"], str, "device_id")
    actions = element.get("actions")
    if actions is None:
        _missing("actions is not found in the payload", "actions")
    if not isinstance(actions, list) or not all(isinstance(action, dict) for action in actions):
        raise Failure(400, "Malformed JSON", MALFORMED)
    if not actions:
        _missing("actions can not be empty Array", "actions")
    drops: Drops = {}
    return [_action(action, settings, now, drops) for action in actions], drops


def _action(action: Object, settings: Settings, now: float, drops: Drops) -> Action:
    name = action.get("action")
    if name is None:
        _missing("action is not found in the payload", "action")
    if not isinstance(name, str):
        _fail(MALFORMED, "action", "Malformed JSON")
    if not name.strip():
        _missing("action cannot be empty Unicode string", "action")
    if len(name) > MAX_NAME or _is_reserved(name):
        _fail("the name is reserved or too long", "action")
    if "." in name:
        drops["action"] = "periods become blanks"
    _typed(action.get("platform", ""), str, "platform")
    offset = action.get("user_timezone_offset", 0)
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not -54_000 <= offset <= 54_000:
        _fail("expected seconds from -54000 to 54000", "user_timezone_offset")
    attributes = _event_attributes(action.get("attributes", {}), settings, drops)
    return Action(name.replace(".", " "), _time(action.get("current_time", now), now), attributes)


def _event_attributes(attributes: Any, settings: Settings, drops: Drops) -> Object:
    _typed(attributes, dict, "attributes")
    kept: Object = {}
    for position, (name, value) in enumerate(attributes.items()):
        if position >= MAX_EVENT_ATTRIBUTES:
            drops[f"attributes.{name}"] = f"comes after {MAX_EVENT_ATTRIBUTES} others"
            continue
        if _is_reserved(name):
            _fail("the name is reserved", name)
        if reason := _put(kept, name, value, settings):
            drops[f"attributes.{name}"] = reason
    return kept


def _time(value: Any, now: float) -> float:
    """Read a time: ISO 8601, or a Unix timestamp in seconds, or in milliseconds as the samples have it."""
    seconds = None
    if isinstance(value, str) and not value.isdecimal():
        try:
            time = datetime.fromisoformat(value)
            seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        seconds = float(value) / (1000 if float(value) > 1e11 else 1)
    if seconds is None:
        _fail("not a time", "current_time")
    if seconds > now:
        _fail("a time in the future is not accepted", "current_time")
    return seconds


_RESERVED = frozenset({"id", "_id", "", "status", "user_id", "source", "install", "update"})


def _is_reserved(name: str) -> bool:
    return name.strip().lower() in _RESERVED or name.lower().startswith(("moe_", "user_attribute_"))


def _typed(value: Any, wanted: type, attribute: str) -> None:
    if not isinstance(value, wanted):
        _fail(f"expected {_TYPE_NAMES[wanted]}", attribute, "TypeError")


def _put(kept: Object, name: str, value: Any, settings: Settings) -> str | None:
    """Keep what MoEngage keeps of a value; return what it does not."""
    if len(name) > MAX_NAME:
        _fail("the name is too long", name)
    if isinstance(value, str) and len(value) > MAX_TEXT and not re.match(r"[a-z][a-z0-9+.-]*://", value, re.IGNORECASE):
        kept[name] = value[:MAX_TEXT]
        return f"cut after {MAX_TEXT} characters"
    if reason := _unusable(value, objects=settings.objects or name == "platforms"):
        return reason
    kept[name] = value
    return None


def _unusable(value: Any, *, objects: bool) -> str | None:
    reason = None
    if value is None:
        reason = "null is no value"
    elif isinstance(value, str) and len(value) > MAX_TEXT:
        reason = f"a link of more than {MAX_TEXT} characters"
    elif isinstance(value, dict) and not objects:
        reason = "objects are not switched on"
    elif isinstance(value, list) and len(value) > MAX_ITEMS:
        reason = f"more than {MAX_ITEMS} elements"
    elif isinstance(value, list) and not _are_alike(value):
        reason = "elements of several types"
    elif isinstance(value, list | dict):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        reason = next(filter(None, (_unusable(item, objects=objects) for item in inner)), None)
    return reason


def _are_alike(items: list[Any]) -> bool:
    kinds = {"number" if type(item) in {int, float} else type(item).__name__ for item in items}
    return len(kinds) <= 1 and "list" not in kinds
