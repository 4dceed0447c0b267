"""Compare recorded events of a loyalty platform with the mapping: fields that are mapped, ignored or missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, cast

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Json, MemberUpdate
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.registry import LOYALTY


def learn(platform: str, files: Iterable[bytes]) -> list[dict[str, Any]]:
    """Describe by event type what the mapping does with events. Nothing is sent.

    Parameters
    ----------
    files
        Each file is an event, an array of events, or one event per line.

    Returns
    -------
    list
        For each event type: the number of events, how often each property, attribute and profile field was set
        (``mapped``), which unknown fields are sent (``sent_as_it_is``), which fields are not, and why (``ignored``),
        and which documented properties no event has (``missing``). Events that cannot be used have type ``rejected``.

    Raises
    ------
    Invalid
        The platform is unknown.
    """
    if platform not in LOYALTY:
        raise Invalid("platform", f"is not one of {', '.join(LOYALTY)}")
    documented = LOYALTY[platform].reference()
    types: defaultdict[str, _TypeCounts] = defaultdict(_TypeCounts)
    for data in files:
        for event in _events(data):
            found = _read(platform, event)
            types[found.event.name if isinstance(found, MemberUpdate) and found.event else "rejected"].add(found)
    return [
        {
            "event": name,
            "events": seen.events,
            "mapped": dict(seen.mapped),
            "sent_as_it_is": dict(seen.sent),
            "ignored": seen.ignored,
            "missing": [one for one in documented.events.get(name, ()) if one not in seen.mapped],
        }
        for name, seen in sorted(types.items())
    ]


class _TypeCounts:
    """Counts of one event type."""

    def __init__(self) -> None:
        self.events = 0
        self.mapped: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.ignored: dict[str, str] = {}

    def add(self, found: MemberUpdate | Invalid) -> None:
        self.events += 1
        if isinstance(found, Invalid):
            self.ignored[found.field] = found.reason
            return
        sent = [one.field for one in found.unknown if not one.withheld]
        properties = found.event.properties if found.event else {}
        self.mapped.update(name for name in properties if name not in sent)
        self.mapped.update(f"attribute {name}" for name in (*found.attributes, *found.custom))
        self.mapped.update(f"profile {name}" for name in found.profile)
        self.sent.update(sent)
        self.ignored |= {one.field: one.withheld for one in found.unknown if one.withheld}
        self.ignored |= {one.field: one.reason for one in found.field_errors}


def _events(data: bytes) -> Iterator[Json]:
    try:
        documents = [parsing.parse_each(data)[0]]
    except Invalid:
        documents = []
        for line in filter(None, map(bytes.strip, data.splitlines())):
            try:
                documents.append(parsing.parse_each(line)[0])
            except Invalid:
                documents.append(None)
    for document in documents:
        yield from document if isinstance(document, list) else [document]


def _read(platform: str, event: Json) -> MemberUpdate | Invalid:
    reads = LOYALTY[platform]
    rules = reads.SETTINGS().rules
    now = datetime.now(UTC)
    if not isinstance(event, dict):
        return Invalid("record", "is not an event, which is a JSON object")
    try:
        [opened] = cast("list[dict[str, Json]]", reads.events(event))
        member = reads.member(opened, rules) or "unknown"
        return reads.read(opened, rules, member=member, received=now)
    except Invalid as error:
        return error
