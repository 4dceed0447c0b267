"""What Brevo Loyalty events become: every property and attribute, with its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loyalty_bridge.platforms.brevo.event_models import schemas as event_schemas
from loyalty_bridge.platforms.field_reference import TEXT, TIME, TYPES_BY_SCHEMA, Reference


def reference() -> Reference:
    """Return the fields of Brevo Loyalty events."""
    schemas = event_schemas()
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
        {"event_id": TEXT, "event_source": TEXT},
        {f"loyalty_{name}": _flattened(schema, schema, "") for name, schema in schemas.items()},
        more=_MORE,
        schemas=schemas,
    )


def _flattened(schema: Mapping[str, Any], whole: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return the properties that `brevo` makes of a model: names of nested fields joined by ``_``."""
    found: dict[str, str] = {}
    for name, given in schema.get("properties", {}).items():
        forms = [one for one in given.get("anyOf", [given]) if one.get("type") != "null"]
        for form in forms:
            field = whole["$defs"][form["$ref"].rpartition("/")[2]] if "$ref" in form else form
            own = f"{path}_{name}" if path else name
            if "properties" in field:
                found |= _flattened(field, whole, own)
            else:
                kind = (
                    TIME if field.get("format") == "date-time" else TYPES_BY_SCHEMA.get(field.get("type", ""), "text")
                )
                found[own] = f"{found[own]} or {kind}" if own in found else kind
    return found


_MORE = """## Other fields

Attributes of the contact become attributes under their own names when `loyalty.rules.forward_contact_properties` is
`true`. A field of an event that is not listed here is sent as a property, under its own name, unless its name may show
who the person is. The fields of an event that is not listed here are sent and left out alike.
"""
