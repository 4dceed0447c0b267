"""What Braze documents about recommended eCommerce events: one wrong property drops the whole event.

https://www.braze.com/docs/user_guide/data/activation/events/recommended_events/ecommerce_events
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulators.braze_values import CURRENCIES

_TEXT, _AMOUNT, _LIST, _OBJECT = "string", "float", "array", "object"
_NEEDED = {"order_id": _TEXT, "total_value": _AMOUNT, "currency": _TEXT, "products": _LIST, "source": _TEXT}
_DISCOUNTS = {"total_discounts": _AMOUNT, "discounts": _LIST, "metadata": _OBJECT}
_PLACED = {"cart_id": _TEXT, "subtotal_value": _AMOUNT, "tax": _AMOUNT, "shipping": _AMOUNT}
SCHEMAS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "ecommerce.order_placed": (_NEEDED, {**_DISCOUNTS, **_PLACED}),
    "ecommerce.order_refunded": (_NEEDED, _DISCOUNTS),
    "ecommerce.order_cancelled": ({**_NEEDED, "cancel_reason": _TEXT}, _DISCOUNTS),
}
"""Name → the properties that an event needs, and those that it may have. Another name is an ordinary custom event."""
_PRODUCT = {"product_id": _TEXT, "product_name": _TEXT, "variant_id": _TEXT, "quantity": "integer", "price": _AMOUNT}
_PRODUCT_MAY = {"image_url": _TEXT, "product_url": _TEXT, "metadata": _OBJECT}


def wrong(name: str, properties: Any) -> str:
    """Return why Braze drops an eCommerce event; empty: it takes it, or the event is of another kind."""
    if name not in SCHEMAS:
        return ""
    needed, optional = SCHEMAS[name]
    if not isinstance(properties, Mapping):
        return "missing_property: properties"
    if reason := _mismatch(properties, needed, optional, ""):
        return reason
    if properties["currency"] not in CURRENCIES:
        return "unexpected_data_type: currency"
    products = (_wrong_product(it, f"products[{number}]") for number, it in enumerate(properties["products"]))
    return next(filter(None, products), "")


def _wrong_product(product: Any, place: str) -> str:
    if not isinstance(product, Mapping):
        return f"unexpected_data_type: {place}"
    return _mismatch(product, _PRODUCT, _PRODUCT_MAY, f"{place}.")


def revenue(events: list[Mapping[str, Any]]) -> tuple[float, float, int]:
    """Add up what Braze reports of eCommerce events: Σ ``total_value``, Σ price × quantity, and the orders."""
    by_total = by_products = 0.0
    orders = 0
    for event in events:
        properties = event.get("properties", {})
        sign = {"ecommerce.order_placed": 1, "ecommerce.order_refunded": -1}.get(event["name"], 0)
        by_total += sign * properties.get("total_value", 0)
        by_products += sign * sum(it["price"] * it["quantity"] for it in properties.get("products", ()) if sign)
        orders += {"ecommerce.order_placed": 1, "ecommerce.order_cancelled": -1}.get(event["name"], 0)
    return round(by_total, 2), round(by_products, 2), orders


def _mismatch(values: Mapping[str, Any], needed: Mapping[str, str], optional: Mapping[str, str], place: str) -> str:
    for name in needed:
        if values.get(name) is None:
            return f"missing_property: {place}{name}"
    for name, value in values.items():
        kind = needed.get(name) or optional.get(name)
        if kind is None:
            return f"extra_property: {place}{name}"
        if not _is(kind, value):
            return f"unexpected_data_type: {place}{name}"
    return ""


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str) and value != ""
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        case "integer":
            return type(value) is int and 1 <= value <= 1000
        case "array":
            return isinstance(value, list) and bool(value)
    return isinstance(value, Mapping)
