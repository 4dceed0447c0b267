"""One MoEngage workspace: what it has received, and what became of it."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from simulators import moengage_rules as rules
from simulators.moengage_rules import Failure, Settings
from simulators.server import Faults

MAX_EVENT_NAMES = 512
MAX_CUSTOM_ATTRIBUTES = 256


@dataclass(slots=True)
class User:
    """A user; `id` is None while only other identifiers are known. Times are epoch seconds."""

    id: str | None
    created_at: float
    updated_at: float
    attributes: dict[str, Any] = field(default_factory=dict)


class Update(NamedTuple):
    """The attributes that one accepted element set, and when it came."""

    received_at: float
    user: str | None
    attributes: Mapping[str, Any]


class Event(NamedTuple):
    """An accepted event: when it came and when it is said to have happened (both epoch seconds)."""

    received_at: float
    user: str | None
    name: str
    time: float
    attributes: Mapping[str, Any]


class Note(NamedTuple):
    """What MoEngage did not do: `field` is empty when it concerns the whole element."""

    received_at: float
    path: str
    position: int
    field: str
    reason: str


class Logged(NamedTuple):
    """A request: `elements` it held, as far as it was read."""

    received_at: float
    path: str
    status: int
    elements: int
    bytes: int
    connection: int
    fault: str | None


class _Checked(NamedTuple):
    position: int
    element: rules.Object
    identity: rules.Object
    kept: Any
    drops: rules.Drops


class Workspace:
    """What belongs to one workspace id; `key` is its Data API key."""

    def __init__(self, id: str, key: str, settings: Settings) -> None:  # noqa: A002 - that is what it is
        self.id = id
        self.key = key
        self.settings = settings
        self.faults = Faults()
        self._lock = threading.Lock()
        self.reset()

    def configure(self, *, key: str | None = None, **settings: Any) -> None:
        """Change the key or some of the `Settings`; raise TypeError or ValueError when there are no such."""
        self.key = self.key if key is None else key
        self.settings = replace(self.settings, **settings)

    def reset(self) -> None:
        """Forget everything that was received, and the faults; keep the settings."""
        with self._lock:
            self.faults.clear()
            self.processed: Counter[str] = Counter()
            self.users: list[User] = []
            self.updates: list[Update] = []
            self.events: list[Event] = []
            self.refused: list[Note] = []
            self.silently_dropped: list[Note] = []
            self.ignored: list[Note] = []
            self.retyped: list[Note] = []
            self.requests: list[Logged] = []
            self._by_id: dict[str, User] = {}
            self._types: dict[tuple[str, str], str] = {}
            self._event_names: set[str] = set()
            self._custom: set[str] = set()
            self._window_ends = 0.0
            self._window_used = 0

    def user(self, **identity: Any) -> User | None:
        """Find a user by ``customer_id``, or by any attribute."""
        with self._lock:
            return self._find(identity)

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
            remaining = settings.rate_limit - self._window_used
        if settings.rate_header == "none":
            return passes, {}
        reset = math.ceil(self._window_ends - (now if settings.rate_header == "seconds" else 0))
        state = {"limit": settings.rate_limit, "remaining": remaining, "reset": reset}
        return passes, {f"x-ratelimit-{name}": str(value) for name, value in state.items()}

    def receive(self, path: str, body: rules.Object, now: float) -> int:
        """Take a request of one of the paths ``customer``, ``event``, ``transition``; give the number of elements.

        Raises
        ------
        Failure
            Nothing was taken.
        """
        elements = rules.elements(body) if path == "transition" else [body]
        if not self.settings.validate:
            with self._lock:
                self.processed.update(element["type"] for element in elements if isinstance(element, dict))
            return len(elements)
        kinds = ("customer", "event", "device") if path == "transition" else (path,)
        good: list[_Checked] = []
        for position, element in enumerate(elements):
            try:
                good.append(self._checked(position, element, kinds, now))
            except Failure as failure:
                # The bulk import answers before it looks.
                is_reported = path != "transition" or self.settings.bulk_reports_errors
                note = Note(now, path, position, failure.attribute or "", f"{failure.kind}: {failure}")
                (self.refused if is_reported else self.silently_dropped).append(note)
                if is_reported:
                    raise
        with self._lock:
            for checked in good:
                self._process(checked, path, now)
        return len(elements)

    def summary(self) -> dict[str, Any]:
        """Count what there is."""
        with self._lock:
            lists = ("refused", "silently_dropped", "ignored", "retyped")
            return {
                "processed": dict(self.processed),
                "users": len(self.users),
                "updates": len(self.updates),
                "events": Counter(event.name for event in self.events),
                **{name: len(getattr(self, name)) for name in lists},
                "requests": Counter(request.status for request in self.requests),
                "connections": len({request.connection for request in self.requests}),
            }

    def _checked(self, position: int, element: Any, kinds: tuple[str, ...], now: float) -> _Checked:
        kind = rules.kind_of(element, *kinds)
        identity = rules.identity(element, self.settings)
        if kind == "device":
            return _Checked(position, element, identity, None, {"": "devices are not kept here"})
        if kind == "customer":
            return _Checked(position, element, identity, *rules.customer(element, self.settings))
        return _Checked(position, element, identity, *rules.event(element, self.settings, now))

    def _process(self, checked: _Checked, path: str, now: float) -> None:
        position, element, identity, kept, drops = checked
        kind = element["type"]
        self.processed[kind] += 1
        user = self._find(identity)
        if kind == "customer" and user is None and element.get("update_existing_only", False):
            self.ignored.append(Note(now, path, position, "", "an unknown user that is not to be created"))
            return
        is_new = user is None
        user = user or self._created(identity, now)
        user.updated_at = now
        retyped: list[str] = []
        if kind == "customer":
            drops = drops | self._set(user, kept, element, is_new=is_new, retyped=retyped)
        elif kind == "event":
            drops = drops | self._log(user, kept, now, retyped)
        if kind == "customer":
            self.updates.append(Update(now, user.id, kept))
        self.silently_dropped += [Note(now, path, position, name, why) for name, why in drops.items()]
        self.retyped += [Note(now, path, position, name, "has had another type") for name in retyped]

    def _set(
        self, user: User, kept: dict[str, Any], element: rules.Object, *, is_new: bool, retyped: list[str]
    ) -> rules.Drops:
        """Set the attributes of a user; give the ones that are left out."""
        late = {}
        for name, value in kept.items():
            if name in rules.OPERATIONS:
                self._edit(user, name, value)
            elif name in rules.CREATE_ONLY and not is_new:
                late[name] = "can only be set with the user's creation"
            elif self._is_surplus(name):
                late[name] = f"more than {MAX_CUSTOM_ATTRIBUTES} distinct names"
            else:
                user.attributes[name] = value
                self._note_type("user", name, value, retyped)
        if self.settings.unset:
            for condition in element.get("unset_attributes", ()):
                for name in [name for name in user.attributes if _is_meant(name, condition)]:
                    del user.attributes[name]
        return late

    def _is_surplus(self, name: str) -> bool:
        """Take note of the name of a custom attribute; return whether it is one too many."""
        if name in rules.STANDARD or name in rules.CREATE_ONLY or name in self._custom:
            return False
        if len(self._custom) >= MAX_CUSTOM_ATTRIBUTES:
            return True
        self._custom.add(name)
        return False

    def _edit(self, user: User, operation: str, edits: Mapping[str, list[Any]]) -> None:
        for name, items in edits.items():
            old = user.attributes.get(name)
            base = old if isinstance(old, list) else []
            rest = [item for item in base if item not in items]
            user.attributes[name] = rest if operation.startswith("remove") else [*rest, *items]

    def _log(self, user: User, actions: list[rules.Action], now: float, retyped: list[str]) -> rules.Drops:
        """Keep events; give the ones that are left out."""
        late = {}
        for action in actions:
            if len(self._event_names | {action.name}) > MAX_EVENT_NAMES:
                late["action"] = f"more than {MAX_EVENT_NAMES} distinct names"
                continue
            self._event_names.add(action.name)
            self.events.append(Event(now, user.id, *action))
            for name, value in action.attributes.items():
                self._note_type(action.name, name, value, retyped)
        return late

    def _note_type(self, of: str, name: str, value: Any, retyped: list[str]) -> None:
        """Remember an attribute's type. MoEngage does not document what a second one does."""
        if value not in ("", []) and self._types.setdefault((of, name), _kind(value)) != _kind(value):
            retyped.append(name)

    def _find(self, identity: Mapping[str, Any]) -> User | None:
        if "customer_id" in identity:
            return self._by_id.get(identity["customer_id"])
        return next((user for user in self.users if identity.items() <= user.attributes.items()), None)

    def _created(self, identity: rules.Object, now: float) -> User:
        user = User(identity.get("customer_id"), now, now)
        self.users.append(user)
        if user.id is None:
            user.attributes |= identity
        else:
            self._by_id[user.id] = user
        return user


def _is_meant(name: str, condition: Mapping[str, Any]) -> bool:
    wanted = condition["attr"]
    if not condition.get("case_sensitive", True):
        name, wanted = name.lower(), wanted.lower()
    return rules.UNSET[condition["type"]](name, wanted)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "date" if rules.is_date(value) else "text"
    return {dict: "object", bool: "boolean", list: "array"}.get(type(value), "number")
