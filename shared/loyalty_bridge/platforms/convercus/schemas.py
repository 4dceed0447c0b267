"""JSON Schemas of the Convercus events.

They say what to send: names and types as in https://doc.convercus.io. Reading is more tolerant: keys in other
spellings, payloads wrapped or flat, booleans as texts.
"""

from __future__ import annotations

from typing import Any

from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.convercus.events import _ABOUT_PERSON, _KINDS

_TEXT = {"type": ["string", "null"]}
_ID = {"type": ["string", "integer", "null"]}
_NUMBER = {"type": ["number", "string", "null"], "pattern": r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_OBJECT = {"type": ["object", "null"]}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
_TEXTS = {"type": "array", "items": {"type": "string"}}

_LEVEL = {
    "type": ["object", "null"],
    "properties": {"levelId": _ID, "name": {"type": "string"}, "currentStatePoints": _NUMBER},
    "required": ["name"],
}
_OPTIN = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "flag": {"type": "boolean"}},
    "required": ["type", "flag"],
}
_CUSTOM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "value": {"type": ["string", "number", "boolean"]}},
    "required": ["name", "value"],
}

_PERSON: dict[str, dict[str, Any]] = {
    "givenName": _TEXT,
    "familyName": _TEXT,
    "emailAddress": _TEXT,
    "birthDate": {"type": ["string", "null"], "format": "date"},
    "genderCode": _TEXT,
    "phoneNumber": _TEXT,
    "city": _TEXT,
    "countryCode": _TEXT,
    "customProperties": {"type": "array", "items": _CUSTOM},
    "optins": {"type": "array", "items": _OPTIN},
    "allowedOptins": _TEXTS,
    "declinedOptIns": _TEXTS,
}

_TYPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("points", "lockedPoints", "statusPoints", "amount", "redeemCount", "maxRedeemCount"), _NUMBER),
    **dict.fromkeys(("transactionTime", "valueTime", "validFrom", "validTo"), _TIME),
    **dict.fromkeys(("level", "previousLevel"), _LEVEL),
    **dict.fromkeys(("partner", "store", "i18nFields"), _OBJECT),
    **dict.fromkeys(("lineItems", "bookings"), _OBJECTS),
    **_PERSON,
    "linkedTransaction": {"type": ["object", "string", "integer", "null"]},
    "reversal": {"type": ["boolean", "null"]},
}
"""What is neither a text nor an id."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (2020-12) of each event, by its type."""
    return {kind: _schema(kind) for kind in _KINDS}


def _schema(kind: str) -> dict[str, Any]:
    names = _KINDS[kind].properties
    payload = {name: _TYPES.get(name, _ID if name.endswith("Id") else _TEXT) for name in names}
    if kind in _ABOUT_PERSON:
        payload |= _PERSON
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind,
        "type": "object",
        "properties": {
            "eventId": {**_ID, "description": "By it a repeated delivery is recognised"},
            "eventType": {"const": kind},
            "programId": {"type": "string", "pattern": f"^{parsing.PROGRAM_ID}$"},
            "occurredAt": {**_TIME, "description": "When it is missing, the arrival counts"},
            "accountId": _ID,
            "userId": _ID,
            "partnerId": _ID,
            "payload": {"type": "object", "properties": payload, **_needs(kind)},
        },
        "required": ["eventType", "payload"],
        "anyOf": [{"required": ["accountId"]}, {"required": ["userId"]}],
    }


def _needs(kind: str) -> dict[str, Any]:
    """Return what an event is nothing without."""
    needed = {
        "account_transaction": ["transactionType"],
        "status_level_changed": ["level"],
        "coupon_assigned": ["couponId"],
        "coupon_redeemed": ["couponId"],
    }
    return {"required": needed[kind]} if kind in needed else {}
