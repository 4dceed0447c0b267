"""Read fields of a Convercus event whatever the case and punctuation of their keys.

Of two spellings the first that has a value counts; a blank text counts as null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Json

LONGEST_CACHED = 64
"""Characters of a name, and keys of an object, up to which its plain names are cached."""


class Field(NamedTuple):
    """A value and its path in the event: the arguments of a parsing function."""

    value: Json
    path: str


class EventObject(NamedTuple):
    """An object of the event, and its keys by plain name, in their order."""

    path: str
    fields: Mapping[str, Json]
    keys: Mapping[str, tuple[str, ...]]

    def field(self, key: str) -> Field:
        """Return the field with this key."""
        value = self.fields[key]
        is_blank = isinstance(value, str) and not value.strip()
        return Field(None if is_blank else value, f"{self.path}.{key[:64]}" if self.path else key[:64])


def plain_name(name: str) -> str:
    """Return the letters and digits of a name in lower case, which all its spellings share."""
    return _plain_short(name) if len(name) <= LONGEST_CACHED else _plain_short.__wrapped__(name)


@lru_cache(maxsize=4096)
def _plain_short(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def index_object(path: str, value: Mapping[str, Json]) -> EventObject:
    """Return an object of the event with its keys by plain name; `path` is its path in the event."""
    keys = tuple(value)
    is_cached = len(keys) <= LONGEST_CACHED and all(len(key) <= LONGEST_CACHED for key in keys)
    return EventObject(path, value, _by_plain_name(keys) if is_cached else _by_plain_name.__wrapped__(keys))


@lru_cache(maxsize=1024)
def _by_plain_name(keys: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return the keys of an object by plain name; cached, because the objects of one kind have the same keys."""
    found: dict[str, tuple[str, ...]] = {}
    for key in keys:
        plain = plain_name(key)
        found[plain] = (*found.get(plain, ()), key)
    return found


def find_fields(objects: Iterable[EventObject], *names: str) -> Iterator[Field]:
    """Yield the fields with these names, null ones too: object by object, and name by name."""
    for source in objects:
        for name in names:
            for key in source.keys.get(plain_name(name), ()):
                yield source.field(key)


def find_field(objects: Iterable[EventObject], *names: str) -> Field | None:
    """Return the first field that is not null; an empty array or object only without any other."""
    empty: Field | None = None
    for source in objects:
        for name in names:
            for key in source.keys.get(plain_name(name), ()):
                found = source.field(key)
                if found.value is None:
                    continue
                if found.value or isinstance(found.value, int | float):
                    return found
                empty = empty or found
    return empty


def find_objects(objects: Iterable[EventObject], *names: str) -> list[EventObject]:
    """Return the objects that are the values of these names."""
    return [index_object(path, value) for value, path in find_fields(objects, *names) if isinstance(value, Mapping)]


def require_field(objects: list[EventObject], name: str) -> Field:
    """Return the first field with this name that is not null.

    Raises
    ------
    Invalid
        No object has one.
    """
    if found := find_field(objects, name):
        return found
    raise Invalid(field_path(objects, name), "is missing")


def field_path(objects: list[EventObject], name: str) -> str:
    """Return the path that a field of the first object has or would have."""
    return f"{objects[0].path}.{name}".lstrip(".")
