"""Which of a Convercus event's fields are sent: the spelling that has a value, the coupon's code, what is not named."""

from __future__ import annotations

import gc
import itertools
import json
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.model import MAX_FIELD_ERRORS, Json, MemberUpdate, UnknownField
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus.events import MAX_ENTRIES, MAX_UNKNOWN
from loyalty_bridge.platforms.convercus.settings import ConvercusRules

RECEIVED = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PERSONAL = "may show who the person is"


def read(kind: str, payload: Json, rules: ConvercusRules | None = None, **envelope: Json) -> MemberUpdate:
    sent: dict[str, Json] = {"eventId": "E-1", "eventType": kind, "accountId": "A-1", "payload": payload, **envelope}
    return convercus.read(sent, rules or ConvercusRules(), member="A-1", received=RECEIVED)


def properties(update: MemberUpdate) -> dict[str, Json]:
    assert update.event is not None
    return {name: value for name, value in update.event.properties.items() if name != "event_id"}


@pytest.mark.parametrize("nothing", [None, "", "  ", [], {}])
@pytest.mark.parametrize(
    ("spellings", "value", "field", "read_as"),
    [
        (("emailAddress", "email_address"), "a@example.com", "email", "a@example.com"),
        (("emailAddress", "EMAILADDRESS", "email"), "a@example.com", "email", "a@example.com"),
        (("phoneNumber", "phone_number", "mobile"), "+491701234567", "phone", "+491701234567"),
        (("givenName", "given-name", "firstName"), "Ann", "first_name", "Ann"),
        (("birthDate", "birth_date", "dateOfBirth"), "1990-05-07", "birth_date", "1990-05-07"),
        (("countryCode", "country_code", "country"), "DE", "country", "DE"),
        (("allowedOptins", "allowedOptIns", "allowed_optins"), ["newsletter"], "email_subscription", "opted_in"),
        (("declinedOptIns", "declinedOptins"), ["newsletter"], "email_subscription", "unsubscribed"),
        (("optins", "optIns"), [{"type": "newsletter", "flag": True}], "email_subscription", "opted_in"),
    ],
)
def test_of_two_spellings_the_one_that_has_a_value_counts_in_any_order(
    spellings: tuple[str, ...], value: Json, field: Any, read_as: str, nothing: Json
) -> None:
    for order in itertools.permutations(spellings):
        for at in range(len(order)):
            person = {name: value if place == at else nothing for place, name in enumerate(order)}

            assert read("user_changed", person).profile[field] == read_as
            assert read("membership_changed", {"membership": person}).profile[field] == read_as


def test_of_two_values_the_first_counts() -> None:
    update = read("user_changed", {"emailAddress": "a@example.com", "email_address": "b@example.com"})

    assert update.profile["email"] == "a@example.com"


def test_a_value_in_one_wrapper_is_not_deleted_by_null_in_another() -> None:
    update = read("membership_changed", {"membership": {"emailAddress": None, "user": {"email": "a@example.com"}}})

    assert update.profile["email"] == "a@example.com"


def test_a_field_that_is_null_in_every_spelling_is_removed() -> None:
    assert read("user_changed", {"emailAddress": None, "email_address": " "}).profile["email"] is None


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_custom_property_that_is_named_twice_keeps_its_value(nothing: Json) -> None:
    one: Json = {"name": "size", "value": 38}
    other: Json = {"name": "size", "value": nothing}

    for both in ([one, other], [other, one]):
        assert read("user_changed", {"customProperties": both}).custom == {"size": 38}


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ({"countryCode": "DE", "phoneNumber": 491701234567}, "+491701234567"),
        ({"countryCode": "DEU", "phoneNumber": "0170 1234567"}, "+491701234567"),
        ({"country": "Germany", "phoneNumber": 1701234567}, "+491701234567"),
        ({"phoneCountryCode": "+49", "phoneNumber": "0170 1234567"}, "+491701234567"),
        ({"phoneCountryCode": 49, "countryCode": "AT", "phoneNumber": 1701234567}, "+491701234567"),
        ({"callingCode": "0049", "mobile": "1701234567"}, "+491701234567"),
        ({"phoneNumber": "0049 170 1234567"}, "+491701234567"),
    ],
)
def test_a_phone_number_is_dialled_from_where_its_code_or_its_country_says(
    person: dict[str, Json], expected: str
) -> None:
    update = read("user_changed", person)

    assert (update.profile["phone"], update.field_errors) == (expected, ())


@pytest.mark.parametrize("kind", ["coupon_assigned", "coupon_redeemed"])
@pytest.mark.parametrize(
    "coupon",
    [
        {"code": "SAVE-10"},
        {"couponCode": "SAVE-10"},
        {"coupon_code": " SAVE-10 "},
        {"code": "SAVE-10", "externalReference": "R-1"},
        {"code": None, "couponCode": "SAVE-10"},
        {"externalReference": "SAVE-10"},
    ],
)
def test_the_code_of_a_coupon_is_a_property_whatever_it_is_called(kind: str, coupon: dict[str, Json]) -> None:
    flat = read(kind, {"couponId": "C1"} | coupon)
    wrapped = read(kind, {"accountCoupon": {"couponId": "C1"} | coupon})

    for update in (flat, wrapped):
        assert str(properties(update)["couponCode"]).strip() == "SAVE-10"
        assert update.unknown == ()


def test_what_the_mapping_does_not_name_is_sent_as_it_is_called() -> None:
    update = read(
        "account_transaction",
        {
            "transactionId": "T1", "transactionType": "EARNTRANSACTION", "amount": 10, "currencyCode": "EUR",
            "tenderItems": [{"type": "CASH", "amount": 10.0}], "receiptNumber": "R-7", "cashier_shift": 3, "empty": [],
        },
        terminalId="P-1",
    )  # fmt: skip

    sent = properties(update)
    assert sent["tenderItems"] == [{"type": "CASH", "amount": 10}]
    assert (sent["receiptNumber"], sent["cashier_shift"], sent["terminalId"]) == ("R-7", 3, "P-1")
    assert [one.field for one in update.unknown] == ["tenderItems", "receiptNumber", "cashier_shift", "terminalId"]
    assert update.purchase is not None
    assert "receiptNumber" not in update.purchase.properties


@pytest.mark.parametrize(
    ("kind", "fields", "lost"),
    [
        ("coupon_assigned", {"value": 10, "state": "ACTIVE"}, []),
        ("status_level_changed", {"level": {"name": "Gold"}, "validTo": "2027-01-01"}, []),
        ("user_changed", {"preferredStore": "S1", "zipCode": "1010", "nickname": "Anni", "name": "Ann"}, 3),
        ("balance_changed", {"points": 1, "ownerEmail": "a@example.com", "contact": "a@example.com"}, 2),
        ("coupon_redeemed", {"name": "Voucher", "deviceToken": "x", "cards": [{"cardNumber": "4111"}]}, 2),
        ("user_logged_in", {"ipAddress": "192.0.2.1", "browser": "Firefox"}, 1),
    ],
)
def test_what_may_report_who_the_person_is_is_not_sent_but_reported(kind: str, fields: Any, lost: Any) -> None:
    update = read(kind, fields)

    withheld = [one for one in update.unknown if one.withheld]
    assert len(withheld) == (lost or 0)
    assert {one.withheld for one in withheld} <= {PERSONAL}
    assert not {one.field for one in withheld} & properties(update).keys()


def test_a_program_may_exclude_fields() -> None:
    update = read(
        "user_logged_in", {"browserName": "F", "screen": "S"}, ConvercusRules(excluded_fields=("browser_name",))
    )

    assert update.unknown == (
        UnknownField("browserName", "is excluded by the program's settings"),
        UnknownField("screen"),
    )
    assert properties(update) == {"screen": "S"}


def test_unknown_fields_are_bounded() -> None:
    update = read("user_logged_in", {f"field{number}": number for number in range(1000)} | {"x" * 5000: 1})

    assert len(update.unknown) == MAX_UNKNOWN + 1
    assert len(properties(update)) == MAX_UNKNOWN
    assert "beyond the 50" in update.unknown[-1].withheld


@given(st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.floats() | st.text(max_size=4), st.lists)))
def test_unknown_fields_of_any_form_are_read_and_can_be_written(payload: dict[str, Json]) -> None:
    update = read("user_logged_in", payload)

    json.dumps(update.event.properties if update.event else {})
    assert all(one.withheld or one.field in properties(update) for one in update.unknown)


def test_a_custom_property_that_cannot_be_used_is_named() -> None:
    update = read("user_changed", {"customProperties": [{"name": "email_subscribe", "value": "opted_in"}]})

    assert [(one.field, one.reason) for one in update.field_errors] == [
        ("payload.customProperties.email_subscribe", "has a reserved name")
    ]


@pytest.mark.parametrize(
    "payload",
    [
        {"customProperties": [1] * 79_000},
        {"customProperties": [{"name": f"_{number}", "value": 1} for number in range(20_000)]},
        {"customProperties": {f"_{number}": 1 for number in range(50_000)}},
        {"customProperties": [{"name": f"p{number}", "value": 1} for number in range(30_000)]},
        {"optins": [None] * 200_000},
        {"allowedOptins": [{}] * 100_000, "declinedOptins": [7.5] * 100_000},
        {"memberships": [{"memberRole": "OWNER"}] * 50_000},
        {f"field{number}": 1 for number in range(50_000)},
        {"x" * 200_000: "y" * 200_000},
    ],
    ids=lambda payload: next(iter(payload))[:20],
)
def test_what_an_event_costs_is_bounded_and_so_is_what_is_reported_of_it(payload: dict[str, Json]) -> None:
    began = time.process_time()

    update = read("membership_changed", payload)

    assert time.process_time() - began < 2
    assert len(update.field_errors) <= MAX_FIELD_ERRORS
    assert sum(len(one.field) + len(one.reason) for one in update.field_errors) < 10_000
    assert len(update.custom) <= MAX_ENTRIES


def test_the_last_refusal_reports_how_many_more_there_are() -> None:
    update = read("user_changed", {"customProperties": [1] * 30})

    assert len(update.field_errors) == MAX_FIELD_ERRORS
    assert update.field_errors[-1].reason == "has no name or no value; and 10 more fields"


def test_long_names_are_not_remembered() -> None:
    read("user_logged_in", {"warm": 1})
    tracemalloc.start()

    for number in range(50):
        read("user_logged_in", {f"{number}" + "x" * 200_000: 1, **{f"{number}-{at}": at for at in range(1000)}})

    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3_000_000  # fifty long names alone are ten million


@pytest.mark.parametrize("said", ["off", "n", "No", "f", "none", "null", "undefined", "N/A", "", "0", False, 0, {}, []])
@pytest.mark.parametrize("name", ["reversal", "reversed", "cancelled", "canceled", "cancellation"])
def test_a_sale_that_is_said_not_to_be_taken_back_keeps_its_price(name: str, said: Json) -> None:
    sale: dict[str, Json] = {"transactionId": "T", "transactionType": "EARNTRANSACTION", "amount": 5, "currency": "EUR"}

    update = read("account_transaction", {**sale, name: said})

    assert update.purchase is not None
    assert update.purchase.price == 5


@pytest.mark.parametrize(
    ("item", "sent", "withheld"),
    [
        ({"sku": "1", "name": "Shoe", "price": 9.5}, {"sku": "1", "name": "Shoe", "price": 9.5}, []),
        ({"sku": "1", "customerName": "Ann", "Contact_Email": "x"}, {"sku": "1"}, ["customerName", "Contact_Email"]),
        ({"sku": "1", "buyer": {"id": "B1", "name": "Ann"}}, {"sku": "1", "buyer": {"id": "B1"}}, ["buyer.name"]),
        ({"sku": "1", "guests": [{"name": "Ann"}]}, {"sku": "1"}, ["guests[].name"]),
        ({"sku": "1", "note": "for a@example.com"}, {"sku": "1"}, ["note"]),
        ({"sku": "1", "call": "+49 170 1234567"}, {"sku": "1"}, ["call"]),
        ({"sku": "1", "extra": [{"name": "lastName", "value": "Ash"}]}, {"sku": "1"}, ["extra[].lastName"]),
        ({"sku": "1", "extra": [{"key": "color", "value": "red"}]}, None, []),
        ({"sku": "1", "shipTo": {"street": "Main 1", "zip": "1"}}, {"sku": "1"}, ["shipTo.street", "shipTo.zip"]),
        ({"sku": "1", "capacity": 5, "velocity": 2, "at": "2 @ 5"}, None, []),
    ],
)
def test_what_is_personal_in_a_line_item_is_left_out_and_reported(
    item: dict[str, Json], sent: dict[str, Json] | None, withheld: list[str]
) -> None:
    sale: dict[str, Json] = {"transactionId": "T", "transactionType": "EARNTRANSACTION", "amount": 5, "currency": "EUR"}

    for name in ("lineItems", "tenderItems"):
        update = read("account_transaction", {**sale, name: [item]})

        assert properties(update)[name] == [item if sent is None else sent]
        assert [one.field for one in update.unknown if one.withheld] == [f"{name}[].{field}" for field in withheld]


def test_where_a_store_is_is_not_personal() -> None:
    store: Json = {"storeId": "S1", "name": "Bonn", "city": "Bonn", "zipCode": "53111", "managerName": "Ann"}

    update = read("account_transaction", {"transactionType": "PAYWITHPOINTSTRANSACTION", "store": store})

    assert properties(update)["store"] == {"storeId": "S1", "name": "Bonn", "city": "Bonn", "zipCode": "53111"}
    assert update.unknown == (UnknownField("store.managerName", PERSONAL),)
