"""Purchases as Braze's eCommerce events: what is sent is what Braze takes, and both of its revenue figures agree."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.model import LineItem, MemberUpdate, Purchase
from loyalty_bridge.platforms.base import Translation
from loyalty_bridge.platforms.braze.mapping import translate
from loyalty_bridge.platforms.braze.settings import BrazeRules
from simulators.braze_orders import revenue, wrong

TIME = datetime(2026, 3, 1, 10, tzinfo=UTC)
SALE = Purchase("T1", 12.5, "EUR", TIME, properties={"storeId": "S7"}, order_id="T1")
REFUND = replace(SALE, price=-12.5, is_refund=True)
CENTS = st.integers(0, 10**7).map(lambda cents: cents / 100)
NAMES = st.text(min_size=1, max_size=300).filter(lambda text: text.strip() != "")
ITEMS = st.builds(LineItem, NAMES, st.text(max_size=300), st.integers(-1, 2000), CENTS)
PURCHASES = st.builds(
    lambda price, items, refund, adds_up, properties: Purchase(
        "T1",
        (-1 if refund else 1) * (round(sum(it.price * it.quantity for it in items), 2) if adds_up and items else price),
        "EUR",
        TIME,
        properties=properties,
        order_id="T1",
        is_refund=refund,
        items=tuple(items),
    ),
    CENTS,
    st.lists(ITEMS, max_size=4),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.text(max_size=20), st.text(max_size=300) | st.integers() | st.booleans(), max_size=5),
)


def translated(purchase: Purchase, **rules: Any) -> Translation:
    return translate(MemberUpdate(event_id="E1", member="M7", time=TIME, purchase=purchase), BrazeRules(**rules))


def event_of(translation: Translation) -> Any:
    assert translation.order
    assert translation.order.array == "events"
    return json.loads(translation.order.body)


@pytest.mark.parametrize(
    ("setting", "has_purchase", "has_order"),
    [("purchases", True, False), ("ecommerce", False, True), ("both", True, True)],
)
def test_the_setting_chooses_how_revenue_is_sent(setting: str, has_purchase: bool, has_order: bool) -> None:
    translation = translated(SALE, revenue=setting)

    assert (translation.purchase is not None, translation.order is not None) == (has_purchase, has_order)


def test_purchases_alone_are_the_default() -> None:
    assert translated(SALE).order is None


def test_a_sale_is_an_order_with_one_product_of_the_total() -> None:
    event = event_of(translated(SALE, revenue="ecommerce"))

    assert event["name"] == "ecommerce.order_placed"
    assert event["properties"] == {
        "order_id": "T1",
        "total_value": 12.5,
        "currency": "EUR",
        "products": [
            {"product_id": "T1", "product_name": "T1", "variant_id": "T1", "quantity": 1, "price": 12.5},
        ],
        "source": "loyalty",
        "metadata": {"storeId": "S7"},
    }


def test_a_reversal_refunds_its_order_with_a_positive_amount() -> None:
    event = event_of(translated(REFUND, revenue="ecommerce"))

    assert event["name"] == "ecommerce.order_refunded"
    assert (event["properties"]["order_id"], event["properties"]["total_value"]) == ("T1", 12.5)


def test_line_items_that_add_up_are_the_products() -> None:
    items = (LineItem("P1", "Tea", 2, 4.1), LineItem("P2", "", 1, 4.3))

    products = event_of(translated(replace(SALE, items=items), revenue="both"))["properties"]["products"]

    assert [(it["product_id"], it["product_name"], it["quantity"], it["price"]) for it in products] == [
        ("P1", "Tea", 2, 4.1),
        ("P2", "P2", 1, 4.3),
    ]


@pytest.mark.parametrize(
    "items",
    [
        pytest.param((LineItem("P1", "Tea", 1, 13.0),), id="before a discount"),
        pytest.param((LineItem("P1", "Tea", 1001, 0.0), LineItem("P2", "Cup", 1, 12.5)), id="too many of one"),
        pytest.param((LineItem(" ", "Tea", 1, 12.5),), id="without an id"),
    ],
)
def test_line_items_that_do_not_add_up_become_one_product(items: tuple[LineItem, ...]) -> None:
    event = event_of(translated(replace(SALE, items=items), revenue="ecommerce"))

    assert [it["price"] for it in event["properties"]["products"]] == [12.5]


def test_an_order_of_the_largest_parts_is_complete() -> None:
    items = tuple(LineItem(f"{number:02d}" + "😀" * 253, "😀" * 255, 1, 0.25) for number in range(50))
    properties = {f"field{number}": "😀" * 255 for number in range(60)}

    event = event_of(translated(replace(SALE, items=items, properties=properties), revenue="ecommerce"))

    assert wrong(event["name"], event["properties"]) == ""
    assert len(json.dumps(event["properties"], ensure_ascii=False).encode()) <= 100 * 1024


@pytest.mark.parametrize(
    ("purchase", "field"),
    [
        pytest.param(replace(REFUND, order_id=""), "purchase.order_id", id="a refund of no order"),
        pytest.param(replace(SALE, price=float("inf")), "purchase.price", id="an endless price"),
        pytest.param(replace(SALE, price=1e308, quantity=100), "purchase.price", id="an endless total"),
        pytest.param(replace(SALE, currency="Euro"), "purchase.currency", id="a currency that is none"),
        pytest.param(replace(SALE, product_id="T" * 300), "purchase.product_id", id="an endless id"),
    ],
)
def test_an_order_that_braze_would_drop_is_rejected_by_its_field(purchase: Purchase, field: str) -> None:
    translation = translated(purchase, revenue="ecommerce")

    assert translation.order is None
    assert [(error.part, error.field) for error in translation.field_errors] == [("order", field)]


@given(PURCHASES)
def test_every_order_is_taken_and_both_revenue_figures_agree(purchase: Purchase) -> None:
    event = event_of(translated(purchase, revenue="ecommerce"))

    by_total, by_products, orders = revenue([event])

    assert wrong(event["name"], event["properties"]) == ""
    assert by_total == by_products == round(purchase.price, 2)
    assert orders == (0 if purchase.is_refund else 1)
