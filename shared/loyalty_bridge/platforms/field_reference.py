"""The fields that a loyalty platform's events become, for the pages of the documentation and `operations.learn`.

Each platform makes its `Reference` from its mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from loyalty_bridge.model import ProfileField
from loyalty_bridge.platforms import parsing

TEXT, NUMBER, TIME, DAY, FLAG = "text", "number", "time (ISO 8601)", "day (`YYYY-MM-DD`)", "boolean"
TYPES_BY_PARSER: Mapping[Callable[..., Any], str] = {
    parsing.parse_text: TEXT,
    parsing.parse_number: NUMBER,
    parsing.parse_iso_time: TIME,
    parsing.parse_boolean: FLAG,
    parsing.parse_birth_date: DAY,
    parsing.parse_email: "e-mail address",
}
TYPES_BY_SCHEMA = {"string": TEXT, "integer": NUMBER, "number": NUMBER, "boolean": FLAG, "object": "object"}

PROFILE: Mapping[ProfileField, str] = dict.fromkeys(get_args(ProfileField), TEXT) | {
    "email": "e-mail address",
    "phone": "phone number (E.164)",
    "birth_date": DAY,
    "gender": "`M`, `F`, `O`, `N` or `P`",
    "country": "two letters (ISO 3166-1)",
    "language": "two letters (ISO 639-1), or three",
    "email_subscription": "`opted_in`, `subscribed` or `unsubscribed`",
    "push_subscription": "`opted_in`, `subscribed` or `unsubscribed`",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """What comes from a platform.

    Attributes
    ----------
    profile
        The profile fields that its events may set.
    attributes, common, events
        Types by name: of attributes, of properties that all events have, of those of each event.
    more
        What the tables do not say, as Markdown.
    schemas
        JSON Schemas of the platform's events, by type, where they are known.
    """

    profile: tuple[ProfileField, ...]
    attributes: Mapping[str, str]
    common: Mapping[str, str]
    events: Mapping[str, Mapping[str, str]]
    more: str = ""
    schemas: Mapping[str, Any] = field(default_factory=dict)


def page(title: str, one: Reference) -> str:
    """Return the page of a platform as Markdown."""
    parts = [
        f"# What {title} events become\n\nMade from the code by `make docs`.\n",
        _table("Profile fields", {name: PROFILE[name] for name in one.profile}),
        _table("Attributes", one.attributes),
        one.more,
        _table("Properties of every event", one.common),
        *(_table(f"`{name}`", properties) for name, properties in one.events.items() if properties),
    ]
    if not any(one.events.values()):
        parts.append(f"## Events\n\n{', '.join(f'`{name}`' for name in one.events)}\n")
    return "\n".join(part for part in parts if part)


def _table(title: str, rows: Mapping[str, str]) -> str:
    lines = "".join(f"| `{name}` | {kind} |\n" for name, kind in rows.items())
    return f"## {title}\n\n| Name | Type |\n|---|---|\n{lines}"
