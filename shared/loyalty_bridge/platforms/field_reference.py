"""What a loyalty platform's events become: every property and attribute, with its type.

Made from the mappings, for the pages of the documentation and for `operations.learn`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from loyalty_bridge.model import ProfileField
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.brevo import event_models as brevo_events
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus import schemas as convercus_schemas
from loyalty_bridge.platforms.punchh import events as punchh

_TEXT, _NUMBER, _TIME, _DAY, _FLAG = "text", "number", "time (ISO 8601)", "day (`YYYY-MM-DD`)", "boolean"
_OF_READER: Mapping[Callable[..., Any], str] = {
    parsing.parse_text: _TEXT,
    parsing.parse_number: _NUMBER,
    parsing.parse_iso_time: _TIME,
    parsing.parse_boolean: _FLAG,
    parsing.parse_birth_date: _DAY,
    parsing.parse_email: "e-mail address",
}
_OF_SCHEMA = {"string": _TEXT, "integer": _NUMBER, "number": _NUMBER, "boolean": _FLAG, "object": "object"}

PROFILE: Mapping[ProfileField, str] = dict.fromkeys(get_args(ProfileField), _TEXT) | {
    "email": "e-mail address",
    "phone": "phone number (E.164)",
    "birth_date": _DAY,
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
    """

    profile: tuple[ProfileField, ...]
    attributes: Mapping[str, str]
    common: Mapping[str, str]
    events: Mapping[str, Mapping[str, str]]


def references() -> dict[str, Reference]:
    """Give what comes from each platform."""
    return {"convercus": _convercus(), "punchh": _punchh(), "brevo": _brevo()}


def _convercus() -> Reference:
    schemas = convercus_schemas.schemas()
    return Reference(
        (*convercus.PROFILE, "email_subscription", "push_subscription"),
        {
            **dict.fromkeys(("convercus_account_id", "convercus_user_id", "convercus_partner_id"), _TEXT),
            **dict.fromkeys(("convercus_member_role", "convercus_status_level"), _TEXT),
            "convercus_balance": "object: `points`, `lockedPoints`, `statusPoints` (numbers)",
        },
        {"event_id": _TEXT},
        {
            f"convercus_{kind}": {
                name: _of_convercus(name, schemas[kind]["properties"]["payload"]["properties"].get(name, {}))
                for name in properties
            }
            for kind, properties in convercus.PROPERTIES.items()
        },
    )


def _of_convercus(name: str, schema: Mapping[str, Any]) -> str:
    if "format" in schema:
        return _TIME
    if "pattern" in schema:
        return _NUMBER
    types = schema.get("type", "string")
    named = [_OF_SCHEMA.get(one, one) for one in ([types] if isinstance(types, str) else types) if one != "null"]
    return "text, or number as it is sent" if name.endswith("Id") else " or ".join(dict.fromkeys(named))


def _punchh() -> Reference:
    return Reference(
        (*punchh.PROFILE, "email_subscription", "push_subscription"),
        {
            "punchh_user_id": _NUMBER,
            **{f"punchh_{name}": _OF_READER[read] for name, read in punchh.ATTRIBUTES.items()},
            **{f"punchh_account_balance_{name}": _OF_READER[read] for name, read in punchh.BALANCES.items()},
        },
        {
            "event_id": _TEXT,
            **{name: _OF_READER.get(read, "number, or text") for name, read in punchh.ENVELOPE.items()},
            "punchh_user_id": _NUMBER,
        },
        {f"{family}": {} for family in sorted(punchh.FAMILIES)},
    )


def _brevo() -> Reference:
    return Reference(
        ("email", "first_name", "last_name", "phone"),
        {
            "loyalty_balances": "object: number by balance definition",
            **dict.fromkeys(("loyalty_tiers", "loyalty_tier_ids"), "object: text by tier group"),
            **dict.fromkeys(("loyalty_subscription_id", "loyalty_subscription_state"), "object: text by program"),
            **dict.fromkeys(
                ("loyalty_subscription_created_at", "loyalty_subscription_revoked_at"), "object: time by program"
            ),
        },
        {"event_id": _TEXT, "event_source": _TEXT},
        {f"loyalty_{name}": _flattened(schema, schema, "") for name, schema in brevo_events.schemas().items()},
    )


def _flattened(schema: Mapping[str, Any], whole: Mapping[str, Any], path: str) -> dict[str, str]:
    """Give the properties that `brevo` makes of a model: names of nested fields joined by ``_``."""
    found: dict[str, str] = {}
    for name, given in schema.get("properties", {}).items():
        forms = [one for one in given.get("anyOf", [given]) if one.get("type") != "null"]
        for form in forms:
            field = whole["$defs"][form["$ref"].rpartition("/")[2]] if "$ref" in form else form
            own = f"{path}_{name}" if path else name
            if "properties" in field:
                found |= _flattened(field, whole, own)
            else:
                kind = _TIME if field.get("format") == "date-time" else _OF_SCHEMA.get(field.get("type", ""), "text")
                found[own] = f"{found[own]} or {kind}" if own in found else kind
    return found


def page(platform: str) -> str:
    """Write the page of a platform."""
    one = references()[platform]
    title = {"convercus": "Convercus", "punchh": "Punchh", "brevo": "Brevo Loyalty"}[platform]
    parts = [
        f"# What {title} events become\n\nMade from the code by `make docs`.\n",
        _table("Profile fields", {name: PROFILE[name] for name in one.profile}),
        _table("Attributes", one.attributes),
        _MORE[platform],
        _table("Properties of every event", one.common),
        *(_table(f"`{name}`", properties) for name, properties in one.events.items() if properties),
    ]
    if not any(one.events.values()):
        parts.append(f"## Events\n\n{', '.join(f'`{name}`' for name in one.events)}\n")
    return "\n".join(part for part in parts if part)


def _table(title: str, rows: Mapping[str, str]) -> str:
    lines = "".join(f"| `{name}` | {kind} |\n" for name, kind in rows.items())
    return f"## {title}\n\n| Name | Type |\n|---|---|\n{lines}"


_MORE = {
    "convercus": f"""## Custom properties

The properties of the user (`customProperties`) become attributes under their own names, at most
{convercus.MAX_ENTRIES:,} of an event. A property is left out alone, and named among the refused records, when

- its name is `external_id` or `email_subscribe`, or begins with `_`, `$` or `convercus_`;
- the engagement platform reserves its name (Braze: `email`, `phone`, `gender`, …);
- its name or a text in it is longer than 255 characters (Braze);
- it is an array of arrays, or of more than 500 texts or numbers (Braze);
- it is larger than 100 KB, or a name inside it has a blank, a period or a dollar sign (Braze).

The first value fixes the type in Braze: a property should always be a number, or always a text.

## Other fields

A field of an event that is not listed here is sent as a property of the event, under its own name, but not with the
purchase. It is not sent when its name may tell who the person is (such as `contactEmail`, `zipCode`, `cardNumber`),
when `loyalty.rules.excluded_fields` names it, or when it is one of more than {convercus.MAX_UNKNOWN}. Fields inside
objects and arrays, listed or not, are left out alike, but for the place of a store or a partner. `bridge explain`
shows both, the page **Activity** counts them, and `bridge learn FILE` finds them in recorded events.
""",
    "punchh": """## Other fields

All other fields of the payload and of the user are properties of the event: names of nested objects are joined by `_`,
those of the user begin with `user_`. Links, codes and tokens by which somebody could act as the member are not sent;
`bridge explain` shows them as not sent.
""",
    "brevo": """## Other fields

Attributes of the contact become attributes under their own names when `loyalty.rules.forward_contact_properties` is
`true`. A field of an event that is not listed here is sent as a property, under its own name, unless its name may tell
who the person is. The fields of an event that is not listed here are sent and left out alike.
""",
}
