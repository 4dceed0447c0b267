"""Source records of the loyalty platforms, read into `MemberUpdate`. Pure functions: no AWS, no HTTP.

A source is a module with the functions of `Source`, called as its platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from loyalty_bridge.model import Json, MemberUpdate


class Source(Protocol):
    """The functions that a source module offers; each raises `Refused`. `rules` is that source's own `Rules`."""

    UNKNOWN_EVENT: str
    """The name of events whose type is not known here; empty where such are refused."""
    ASKED_BY: str
    """Beginning of the aliases by which the platform is asked for a member, and which are one member's at a time;
    empty: there are none."""
    OWNED_BY: str
    """Beginning of the aliases that own a member: a member has one of them at a time; empty: there are none."""
    OF_OWNER: frozenset[str]
    """The attributes that tell who the owner is, besides profile and custom attributes."""
    UNKNOWN_PERSON: tuple[str, str]
    """With which field and reason an event is refused whose `alias` nobody has told about; where there are aliases."""
    SEVERAL_MEMBERS: Mapping[str, tuple[str, str]]
    """The same for aliases that mean one member and have been told of several, by what they begin with up to ``:``."""

    def events(self, record: Json) -> list[Json]:
        """Take a record apart into events."""

    def member(self, event: Json, rules: Any) -> str | None:
        """Tell the member that an event is about; None when it names only another id of theirs."""

    def alias(self, event: Json) -> str | None:
        """Tell that other id."""

    def known_as(self, event: Json) -> tuple[str, ...]:
        """Tell the other ids by which later events may mean this event's member."""

    def left_by(self, event: Json) -> tuple[str, ...]:
        """Tell the other ids by which this event's member is meant no longer."""

    def event_id(self, event: Json) -> str:
        """Tell the id that all deliveries of an event share."""

    def read(self, event: Mapping[str, Json], rules: Any, *, member: str, received: datetime) -> MemberUpdate:
        """Turn an event into what it tells about a member."""


@cache
def source(platform: str) -> Source:
    """Choose the module that reads a platform's records; only that one is imported."""
    return cast("Source", import_module(f"loyalty_bridge.sources.{platform}"))
