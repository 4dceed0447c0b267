"""Orders: a purchase as one of Braze's recommended eCommerce events, for workspaces without purchase objects.

Braze drops an event with one unknown, missing or mistyped property, and adds up revenue twice: over ``total_value`` for
a profile, over ``price`` × ``quantity`` of the products for a campaign. So everything of our own belongs into
``metadata``, which the caller adds, and both sums are equal.

https://www.braze.com/docs/user_guide/data/activation/events/recommended_events/ecommerce_events
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.json import encode

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import Event, Json, LineItem, Purchase
from loyalty_bridge.platforms.braze.settings import MAX_TEXT
from loyalty_bridge.platforms.limits import UNUSABLE

PLACED = "ecommerce.order_placed"
REFUNDED = "ecommerce.order_refunded"
MAX_QUANTITY = 1000
"""Of one product."""
MAX_PRODUCTS_BYTES = 40_000
"""Of all products: with 50 KB of metadata an order stays below the 100 KB of an event."""
SOURCE = "loyalty"
"""Braze wants a text that names where an order comes from."""


def order_event(purchase: Purchase) -> Event:
    """Return the event of an order, or of the refund of one when money went back.

    Raises
    ------
    Invalid
        A refund names no order, or the total is not a finite number.
    """
    total = _total(purchase)
    if purchase.is_refund and not purchase.order_id:
        raise Invalid("purchase.order_id", "is missing: a refund has to name the order that it takes back")
    properties: dict[str, Json] = {
        "order_id": purchase.order_id or purchase.product_id,
        "total_value": total,
        "currency": purchase.currency,
        "products": _products(purchase, total),
        "source": SOURCE,
    }
    return Event(REFUNDED if purchase.is_refund else PLACED, purchase.time, properties)


def _total(purchase: Purchase) -> float:
    total = float(abs(_decimal(purchase.price) * purchase.quantity)) if math.isfinite(purchase.price) else math.inf
    if not math.isfinite(total):
        raise Invalid("purchase.price", "is not a finite number")
    return total


def _products(purchase: Purchase, total: float) -> list[Mapping[str, Any]]:
    """List the line items; one product with the whole total when they are unknown, unusable or do not add up to it."""
    items = purchase.items
    if items and all(map(_is_usable, items)):
        products = [
            _product(item.product_id, item.name or item.product_id, item.quantity, item.price) for item in items
        ]
        is_exact = sum(_decimal(item.price) * item.quantity for item in items) == _decimal(total)
        if is_exact and len(encode(products)) <= MAX_PRODUCTS_BYTES:
            return products
    return [_product(purchase.product_id, purchase.product_id, 1, total)]


def _is_usable(item: LineItem) -> bool:
    is_id = len(item.product_id.strip()) > 0 and len(item.product_id) <= MAX_TEXT
    is_text = not UNUSABLE.search(item.product_id + item.name)
    return is_id and is_text and 1 <= item.quantity <= MAX_QUANTITY and 0 <= item.price < math.inf


def _product(product_id: str, name: str, quantity: int, price: float) -> Mapping[str, Any]:
    return {
        "product_id": product_id,
        "product_name": name[:MAX_TEXT],
        "variant_id": product_id,
        "quantity": quantity,
        "price": float(price),
    }


def _decimal(value: float) -> Decimal:
    """Return the number that a finite float is written as, so that cents add up."""
    return Decimal(repr(float(value)))
