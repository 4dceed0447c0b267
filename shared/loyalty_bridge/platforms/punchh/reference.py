"""What Punchh events become: every property and attribute, with its type."""

from __future__ import annotations

from loyalty_bridge.platforms.field_reference import NUMBER, TEXT, TYPES_BY_PARSER, Reference
from loyalty_bridge.platforms.punchh import events as punchh


def reference() -> Reference:
    """Return the fields of Punchh events."""
    return Reference(
        (*punchh.PROFILE, "email_subscription", "push_subscription"),
        {
            "punchh_user_id": NUMBER,
            **{f"punchh_{name}": TYPES_BY_PARSER[read] for name, read in punchh.ATTRIBUTES.items()},
            **{f"punchh_account_balance_{name}": TYPES_BY_PARSER[read] for name, read in punchh.BALANCES.items()},
        },
        {
            "event_id": TEXT,
            **{name: TYPES_BY_PARSER.get(read, "number, or text") for name, read in punchh.ENVELOPE.items()},
            "punchh_user_id": NUMBER,
        },
        {family: {} for family in sorted(punchh.FAMILIES)},
        more=_MORE,
    )


_MORE = """## Other fields

All other fields of the payload and of the user are properties of the event: names of nested objects are joined by `_`,
those of the user begin with `user_`. Links, codes and tokens by which somebody could act as the member are not sent;
`bridge explain` shows them as not sent.
"""
