"""What Convercus events become: every property and attribute, with its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loyalty_bridge.platforms.convercus.events import MAX_ENTRIES, MAX_UNKNOWN, PROFILE, PROPERTIES
from loyalty_bridge.platforms.convercus.schemas import schemas as event_schemas
from loyalty_bridge.platforms.field_reference import NUMBER, TEXT, TIME, TYPES_BY_SCHEMA, Reference


def reference() -> Reference:
    """Return the fields of Convercus events."""
    schemas = event_schemas()
    return Reference(
        (*PROFILE, "email_subscription", "push_subscription"),
        {
            **dict.fromkeys(("convercus_account_id", "convercus_user_id", "convercus_partner_id"), TEXT),
            **dict.fromkeys(("convercus_member_role", "convercus_status_level"), TEXT),
            "convercus_balance": "object: `points`, `lockedPoints`, `statusPoints` (numbers)",
        },
        {"event_id": TEXT},
        {
            f"convercus_{kind}": {
                name: _type_of(name, schemas[kind]["properties"]["payload"]["properties"].get(name, {}))
                for name in properties
            }
            for kind, properties in PROPERTIES.items()
        },
        more=_MORE,
        schemas=schemas,
    )


def _type_of(name: str, schema: Mapping[str, Any]) -> str:
    if "format" in schema:
        return TIME
    if "pattern" in schema:
        return NUMBER
    types = schema.get("type", "string")
    named = [TYPES_BY_SCHEMA.get(one, one) for one in ([types] if isinstance(types, str) else types) if one != "null"]
    return "text, or number as it is sent" if name.endswith("Id") else " or ".join(dict.fromkeys(named))


_MORE = f"""## Custom properties

The properties of the user (`customProperties`) become attributes under their own names, at most
{MAX_ENTRIES:,} of an event. A property is left out alone, and named among the refused records, when

- its name is `external_id` or `email_subscribe`, or begins with `_`, `$` or `convercus_`;
- the engagement platform reserves its name (Braze: `email`, `phone`, `gender`, …);
- its name or a text in it is longer than 255 characters (Braze);
- it is an array of arrays, or of more than 500 texts or numbers (Braze);
- it is larger than 100 KB, or a name inside it has a blank, a period or a dollar sign (Braze).

The first value fixes the type in Braze: a property should always be a number, or always a text.

## Other fields

A field of an event that is not listed here is sent as a property of the event, under its own name, but not with the
purchase. It is not sent when its name may show who the person is (such as `contactEmail`, `zipCode`, `cardNumber`),
when `loyalty.rules.excluded_fields` names it, or when it is one of more than {MAX_UNKNOWN}. Fields inside
objects and arrays, listed or not, are left out alike, but for the place of a store or a partner. `bridge explain`
shows both, the page **Activity** counts them, and `bridge learn FILE` finds them in recorded events.
"""
