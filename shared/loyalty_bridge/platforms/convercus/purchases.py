"""Read the purchase, or the refund, that a Convercus transaction reports, with its line items."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Json, LineItem, Purchase
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.convercus.lookup import (
    EventObject,
    Field,
    field_path,
    find_field,
    find_fields,
    find_objects,
    plain_name,
    require_field,
)
from loyalty_bridge.platforms.convercus.settings import ConvercusRules

MAX_LINE_ITEMS = 100
"""Of one transaction; a longer list counts as unreadable, because its sum is then unknown."""

ORIGINALS = ("linkedTransaction", "originalTransaction", "reversal")
"""Fields that hold the transaction that is taken back."""
_REVERSAL = re.compile(r"revers(?:al|ed|e)|cancel(?:l?ation|l?ed)?|storno")
_NOT_TAKEN_BACK = frozenset({
    "", "0", "false", "f", "no", "n", "off", "none", "null", "undefined", "n/a", "nein", "{}", "[]",
})  # fmt: skip


def parse_purchase(
    body: list[EventObject], properties: Mapping[str, Json], rules: ConvercusRules, time: datetime
) -> Purchase | None:
    """Return the purchase that an EARN transaction reports, or the refund of its reversal or cancellation.

    None for every other transaction. `time` stands in for a transaction time that is missing.

    Raises
    ------
    Invalid
        The type, the amount, the id or the currency is missing, or cannot be read.
    """
    reversal = _reverses_earn(body)
    if reversal is None:
        return None
    amount = parsing.parse_number(*require_field(body, "amount"))
    is_refund = reversal or amount < 0
    original = _original_id(body) if is_refund else None
    product = original or require_field(body, "transactionId")
    order = original if is_refund else product
    currency = find_field(body, "currencyCode", "currency") or Field(
        rules.default_currency, field_path(body, "currencyCode")
    )
    if currency.value is None:
        raise Invalid(currency.path, "is missing, and the program has no default")
    spent = find_field(body, "transactionTime") if "transactionTime" in properties else None
    return Purchase(
        product_id=parsing.parse_text(*product),
        price=0.0 - abs(amount) if reversal else float(amount),
        currency=parsing.parse_currency(*currency),
        time=parsing.parse_event_time(*spent, time) if spent else time,
        properties={
            name: value
            for name, value in properties.items()
            if isinstance(value, str | int | float) and name not in {"amount", "currencyCode"}
        },
        order_id=parsing.parse_text(*order) if order else "",
        is_refund=is_refund,
        items=_line_items(find_field(body, "lineItems")),
    )


def _line_items(found: Field | None) -> tuple[LineItem, ...]:
    """Read the products of a transaction; empty if one of them cannot be read, because their sum would be wrong."""
    rows = found.value if found and isinstance(found.value, Sequence) and not isinstance(found.value, str) else ()
    try:
        return tuple(_line_item(row) for row in rows) if len(rows) <= MAX_LINE_ITEMS else ()
    except Invalid:
        return ()


def _line_item(row: Json) -> LineItem:
    if not isinstance(row, Mapping):
        raise Invalid("lineItems", "is not a list of objects")
    product = _first_of(row, "productId", "articleId", "articleNumber", "sku", "ean", "externalId")
    quantity = parsing.parse_number(row.get("quantity", 1), "lineItems.quantity")
    price = parsing.parse_number(_first_of(row, "price", "unitPrice", "singlePrice"), "lineItems.price")
    if quantity != int(quantity):
        raise Invalid("lineItems.quantity", "is not a whole number")
    name = _first_of(row, "name", "productName", "description")
    return LineItem(
        product_id=parsing.parse_text(product, "lineItems.productId"),
        name=parsing.parse_text(name, "lineItems.name") if name else "",
        quantity=int(quantity),
        price=float(abs(price)),
    )


def _first_of(row: Mapping[str, Json], *names: str) -> Json:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _reverses_earn(body: list[EventObject]) -> bool | None:
    """Return whether a transaction is an EARN transaction (False), takes one back (True), or is another one (None)."""
    found = require_field(body, "transactionType")
    word = plain_name(parsing.parse_text(*found))
    base = _REVERSAL.sub("", word).removeprefix("of")
    reversal = base != word or _is_taken_back(body)
    if reversal and base in {"", "transaction"}:
        original = find_field(find_objects(body, *ORIGINALS), "transactionType")
        if original is None:
            raise Invalid(found.path, "does not name the type of the reversed transaction")
        base = plain_name(parsing.parse_text(*original))
    return reversal if base in {"earn", "earntransaction"} else None


def _is_taken_back(body: list[EventObject]) -> bool:
    flags = find_fields(body, "reversal", "reversed", "cancellation", "cancelled", "canceled")
    status = find_field(body, "status")
    return any(flag is not None and str(flag).strip().lower() not in _NOT_TAKEN_BACK for flag, _ in flags) or (
        status is not None and str(status.value).strip().lower() in {"cancelled", "canceled", "reversed"}
    )


def _original_id(body: list[EventObject]) -> Field | None:
    names = ("originalTransactionId", "reversedTransactionId", "linkedTransactionId", "linkedTransaction")
    scalars = (found for found in find_fields(body, *names) if isinstance(found.value, str | int))
    return find_field(find_objects(body, *ORIGINALS), "transactionId") or next(scalars, None)
