"""One Braze workspace: what it has received, and what became of it."""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

from simulators import braze_orders
from simulators import braze_rules as rules
from simulators import braze_values as values
from simulators.server import Faults

RateHeader = Literal[
    "x-ratelimit-retry-after", "retry-after", "x-ratelimit-reset-epoch", "x-ratelimit-reset-seconds", "none"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a workspace is set up.

    Attributes
    ----------
    object_limit
        Whether 75 objects are allowed in total or in each array
        (https://www.braze.com/docs/api/errors, ``Max Input Length Exceeded``).
    rate_limit
        Requests in `rate_window` seconds; None for no limit and no headers about it.
    rate_header
        What a 429 says about the wait. The documentation of ``/users/track`` has ``x-ratelimit-retry-after`` and
        ``x-ratelimit-reset`` as seconds left, the one of all endpoints has ``x-ratelimit-reset`` as epoch seconds
        (https://www.braze.com/docs/api/api_limits); the other two forms are for clients that are to cope with anything.
    latency
        Seconds that each answer takes.
    validate
        False: objects are counted and nothing else.
    """

    object_limit: Literal["combined", "per_array"] = "combined"
    rate_limit: int | None = None
    rate_window: float = 3.0
    rate_header: RateHeader = "x-ratelimit-retry-after"
    latency: float = 0.0
    validate: bool = True

    def __post_init__(self) -> None:
        """Refuse what is misspelt."""
        if self.object_limit not in {"combined", "per_array"} or self.rate_header not in get_args(RateHeader):
            raise ValueError(f"unknown setting: {self.object_limit} {self.rate_header}")


@dataclass(slots=True)
class Profile:
    """A user. `fields` are the ones Braze knows, `custom` the customer's; times are epoch seconds."""

    braze_id: str
    external_id: str | None
    user_alias: Mapping[str, str] | None
    created_at: float
    updated_at: float
    fields: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)


class Received(NamedTuple):
    """An accepted object as it came, when it came, and when it is said to have happened (both epoch seconds)."""

    received_at: float
    braze_id: str
    time: float | None
    object: Mapping[str, Any]


class Note(NamedTuple):
    """What Braze did not do with an object: `field` is empty when it concerns all of it."""

    received_at: float
    input_array: str
    position: int
    field: str
    reason: str


class _Checked(NamedTuple):
    array: str
    position: int
    item: rules.Object
    drops: rules.Drops


class Logged(NamedTuple):
    """A request: `objects` it held, as far as it was read."""

    received_at: float
    status: int
    objects: int
    bytes: int
    connection: int
    fault: str | None


class Workspace:
    """What belongs to one REST API key."""

    def __init__(self, key: str, settings: Settings) -> None:
        self.key = key
        self.settings = settings
        self.faults = Faults()
        self._lock = threading.Lock()
        self.reset()

    def configure(self, **settings: Any) -> None:
        """Change some of the `Settings`; raise TypeError or ValueError when there are no such."""
        self.settings = replace(self.settings, **settings)

    def misbehave(self, **fault: Any) -> None:
        """Queue a `Fault`, or ``accepted_202``: once Braze's word for a request kept for later."""
        if fault.get("kind") == "accepted_202":
            fault |= {"kind": "status", "when": "after", "status": 202, "body": {"message": "queued"}}
        self.faults.add(**fault)

    def reset(self) -> None:
        """Forget everything that was received, and the faults; keep the settings."""
        with self._lock:
            self.faults.clear()
            self.processed: Counter[str] = Counter()
            self.profiles: dict[str, Profile] = {}
            self.attributes: list[Received] = []
            self.events: list[Received] = []
            self.purchases: list[Received] = []
            self.orders: list[Received] = []
            self.refused: list[Note] = []
            self.silently_dropped: list[Note] = []
            self.ignored: list[Note] = []
            self.requests: list[Logged] = []
            self._identified: defaultdict[tuple[str, ...], dict[str, Profile]] = defaultdict(dict)
            self._types: dict[str, str] = {}
            self._property_names: defaultdict[str, set[str]] = defaultdict(set)
            self._window_ends = 0.0
            self._window_used = 0

    def profile(self, **identifier: Any) -> Profile | None:
        """Find a user by ``external_id``, ``user_alias``, ``braze_id``, ``email`` or ``phone``, as Braze would."""
        with self._lock:
            return self._find(identifier)

    def take_turn(self, now: float) -> tuple[bool, dict[str, str]]:
        """Count a request against the rate limit; return whether it may pass, and the headers that say so."""
        settings = self.settings
        if settings.rate_limit is None:
            return True, {}
        with self._lock:
            if now >= self._window_ends:
                self._window_ends, self._window_used = now + settings.rate_window, 0
            passes = self._window_used < settings.rate_limit
            self._window_used += passes
            left = math.ceil(self._window_ends - now)
            reset = left if settings.rate_header in _RESET_IN_SECONDS else math.ceil(self._window_ends)
            remaining = settings.rate_limit - self._window_used
        if not passes and settings.rate_header == "none":
            return False, {}
        if not passes and settings.rate_header.endswith("retry-after"):
            return False, {settings.rate_header: str(left)}
        state = {"limit": settings.rate_limit, "remaining": remaining, "reset": reset}
        return passes, {f"x-ratelimit-{name}": str(value) for name, value in state.items()}

    def track(self, arrays: Mapping[str, list[Any]], now: float) -> tuple[int, dict[str, Any]]:
        """Process a request; give the status and the body of the reply."""
        good: list[_Checked] = []
        refused: list[Note] = []
        for array in rules.ARRAYS:
            for position, item in enumerate(arrays.get(array, ())):
                try:
                    good.append(_Checked(array, position, item, rules.check(array, item)))
                except rules.Invalid as invalid:
                    refused.append(Note(now, array, position, "", str(invalid)))
        # One bad nested value costs all nested updates of that attribute in the request.
        spoilt = {name: why for one in good for name, why in one.drops.items() if rules.is_nested(one.item.get(name))}
        with self._lock:
            self.refused += refused
            for checked in good:
                self._process(checked, spoilt, now)
        processed = Counter(checked.array for checked in good)
        reply: dict[str, Any] = {"message": "success"} | {f"{array}_processed": processed[array] for array in arrays}
        if refused:
            reply["errors"] = [
                {"type": it.reason, "input_array": it.input_array, "index": it.position} for it in refused
            ]
        if not good:
            return 400, {"message": rules.NOTHING_VALID, "errors": reply["errors"]}
        return 201, reply

    def count(self, arrays: Mapping[str, list[Any]]) -> tuple[int, dict[str, Any]]:
        """Count the objects of a request and nothing else."""
        with self._lock:
            for array, objects in arrays.items():
                self.processed[array] += len(objects)
        return 201, {"message": "success"} | {f"{array}_processed": len(objects) for array, objects in arrays.items()}

    def summary(self) -> dict[str, Any]:
        """Count what there is."""
        with self._lock:
            return {
                "processed": dict(self.processed),
                "profiles": len(self.profiles),
                "events": Counter(event.object["name"] for event in self.events),
                "purchases": len(self.purchases),
                "orders": Counter(event.object["name"] for event in self.orders),
                "refused": len(self.refused),
                "silently_dropped": len(self.silently_dropped),
                "ignored": len(self.ignored),
                "requests": Counter(request.status for request in self.requests),
                "connections": len({request.connection for request in self.requests}),
            }

    def revenue(self) -> dict[str, float]:
        """Add up the revenue of purchases, and both figures that Braze reports of orders."""
        with self._lock:
            by_total, by_products, orders = braze_orders.revenue([order.object for order in self.orders])
            purchases = sum(one.object["price"] * one.object.get("quantity", 1) for one in self.purchases)
        return {"purchases": round(purchases, 2), "orders": by_total, "products": by_products, "count": orders}

    def _process(self, checked: _Checked, spoilt: rules.Drops, now: float) -> None:
        array, position, item, drops = checked
        self.processed[array] += 1
        if array != "events" or "name" not in drops:
            profile = self._find(item) or self._created(item, now)
            if profile is None:
                self.ignored.append(Note(now, array, position, "", "an unknown user that is not to be created"))
                return
            profile.updated_at = now
            time = values.read_time(item.get("time"))
            received = Received(now, profile.braze_id, min(time.timestamp(), now) if time else None, item)
            is_order = array == "events" and item["name"] in braze_orders.SCHEMAS
            (self.orders if is_order else getattr(self, array)).append(received)
            if array == "attributes":
                nested = {name: why for name, why in spoilt.items() if rules.is_nested(item.get(name))}
                drops = self._set(profile, item, nested | drops)
            else:
                drops = drops | self._surplus(item["name" if array == "events" else "product_id"], item)
        self.silently_dropped += [Note(now, array, position, name, why) for name, why in drops.items()]

    def _surplus(self, name: str, item: rules.Object) -> rules.Drops:
        """Take note of property names; give the ones that are too many."""
        names = self._property_names[name]
        for new in item.get("properties", ()):
            if len(names) < rules.MAX_PROPERTY_NAMES:
                names.add(new)
        surplus = item.get("properties", {}).keys() - names
        return {f"properties.{name}": "more than 256 distinct names" for name in surplus}

    def _set(self, profile: Profile, item: rules.Object, drops: rules.Drops) -> rules.Drops:
        """Set the attributes of a user; give the ones that are left out."""
        late = {}
        for name, value in item.items():
            if name in rules.PROFILE:
                # An unknown country empties the field.
                if name not in drops or name == "country":
                    self._set_field(profile, name, value)
            elif name not in drops and name not in rules.PRIMARY and name not in rules.FLAGS:
                merge = item.get("_merge_objects", False)
                if reason := self._set_custom(profile.custom, name.strip(), value, merge=merge):
                    late[name] = reason
        return drops | late

    def _find(self, item: Mapping[str, Any]) -> Profile | None:
        """Find the user that an object means; among several with one address the one that Braze takes."""
        found = self._identified.get(_identifier(item), {}).values()
        return min(found, key=lambda profile: (profile.external_id is None, -profile.updated_at), default=None)

    def _created(self, item: rules.Object, now: float) -> Profile | None:
        """Create a user if Braze would: an alias wants an explicit permission, and a `braze_id` cannot be chosen."""
        if "braze_id" in item or item.get("_update_existing_only", "user_alias" in item):
            return None
        profile = Profile(f"{len(self.profiles) + 1:024x}", item.get("external_id"), item.get("user_alias"), now, now)
        self.profiles[profile.braze_id] = profile
        self._identified["braze_id", profile.braze_id][profile.braze_id] = profile
        identifier = _identifier(item)
        if identifier[0] in rules.PRIMARY:
            self._identified[identifier][profile.braze_id] = profile
        elif identifier[0] in item:
            self._set_field(profile, identifier[0], item[identifier[0]])
        return profile

    def _set_field(self, profile: Profile, name: str, value: Any) -> None:
        if name in _NORMALISED:
            value = _NORMALISED[name](value)
        if name in ("email", "phone") and value != profile.fields.get(name):
            if name in profile.fields:
                del self._identified[_identifier({name: profile.fields[name]})][profile.braze_id]
            if value is not None:
                self._identified[_identifier({name: value})][profile.braze_id] = profile
        # A consent concerns an address: every user who has it follows.
        followers = [profile]
        if name in ("email_subscribe", "subscription_groups") and "email" in profile.fields:
            followers = list(self._identified[_identifier({"email": profile.fields["email"]})].values())
        for follower in followers:
            if value is None:
                follower.fields.pop(name, None)
            else:
                follower.fields[name] = value

    def _set_custom(self, custom: dict[str, Any], name: str, value: Any, *, merge: bool) -> str | None:
        """Set a custom attribute; return what Braze left out of it."""
        if value is None:
            custom.pop(name, None)
            return None
        new = _updated(custom.get(name), value, merge=merge)
        kind = _kind(new)
        known = self._types.get(name, kind)
        if known != kind and (known, kind) != ("string", "time") and (known, new) != ("array of objects", []):
            return f"a {kind} where the attribute is a {known}"
        if kind in _SIZED and values.size(new) > rules.MAX_NESTED:
            return "larger than 100 KB"
        if new != []:  # which may become an array of either sort
            self._types[name] = known
        if kind == "array" and len(new) > rules.MAX_ELEMENTS:
            custom[name] = new[-rules.MAX_ELEMENTS :]
            return "more than 500 elements"
        custom[name] = new
        return None


_RESET_IN_SECONDS = ("x-ratelimit-retry-after", "x-ratelimit-reset-seconds")
_NORMALISED = {"phone": values.phone, "country": values.country}
_SIZED = ("array", "object", "array of objects")


def _identifier(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return by what Braze looks a user up: a primary identifier, else the e-mail address, else the phone number."""
    if "user_alias" in item:
        return ("user_alias", item["user_alias"]["alias_label"], item["user_alias"]["alias_name"])
    for name in ("external_id", "braze_id"):
        if name in item:
            return (name, item[name])
    if item.get("email"):
        return ("email", item["email"].lower())
    return ("phone", str(values.phone(item.get("phone"))))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "time" if values.is_date(value) else "string"
    if isinstance(value, list):
        return "array of objects" if rules.is_nested(value) else "array"
    return {dict: "object", bool: "boolean"}.get(type(value), "number")


def _updated(old: Any, value: Any, *, merge: bool) -> Any:
    """Return what an attribute becomes; never changes `old`, whose parts live on in what was received."""
    if isinstance(value, dict):
        if value.keys() == {"inc"} and rules.is_operation(value):
            return (old or 0) + value["inc"] if isinstance(old, int | float | None) else value["inc"]
        base = old if isinstance(old, list) else []
        if rules.is_operation(value):
            added = value.get("add", [])
            kept = [item for item in base if item not in added] + list(dict.fromkeys(added))
            return [item for item in kept if item not in value.get("remove", [])]
        if value and value.keys() <= {"$add", "$remove", "$update"}:
            return _edited(base, value, merge=merge)
        return _merged(old, value) if merge and isinstance(old, dict) else value
    if isinstance(value, list) and not rules.is_nested(value):
        return list(dict.fromkeys(value))
    return value


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    deep = {
        name: _merged(old[name], value)
        for name, value in new.items()
        if isinstance(value, dict) and isinstance(old.get(name), dict)
    }
    return {**old, **new, **deep}


def _edited(items: list[Any], edit: Mapping[str, list[Any]], *, merge: bool) -> list[Any]:
    """Apply ``$add``, ``$remove`` and ``$update``, in that order (user_guide/…/attributes/array_of_objects)."""
    items = [*items, *edit.get("$add", ())]

    def meant(item: Any, operand: Mapping[str, Any]) -> bool:
        return bool(item.get(operand["$identifier_key"]) == operand["$identifier_value"])

    for operand in edit.get("$remove", ()):
        items = [item for item in items if not meant(item, operand)]
    for operand in edit.get("$update", ()):
        new = operand["$new_object"]
        items = [(_merged(item, new) if merge else new) if meant(item, operand) else item for item in items]
    return items
