from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loyalty_bridge.platforms.brevo import event_models as brevo_events

EXAMPLES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "fixtures" / "loyalty-webhooks").glob("*.json"))
}
MOMENT = datetime(2025, 6, 10, 7, 9, 1, 696000, tzinfo=UTC)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def example(name: str, **changes: Any) -> dict[str, Any]:
    return EXAMPLES[name] | changes


def without(name: str, *fields: str) -> dict[str, Any]:
    return {field: value for field, value in EXAMPLES[name].items() if field not in fields}


def read(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Read an event of which nothing is lost."""
    found, lost = brevo_events.validate(name, fields)
    assert lost == []
    return found


def with_times(value: Any) -> Any:
    """Return an example's values as they are read, `expired_at` under the one name of an expiry."""
    if isinstance(value, dict):
        return {{"expired_at": "expires_at"}.get(key, key): with_times(item) for key, item in value.items()}
    return MOMENT if value == "2025-06-10T07:09:01.696Z" else value


def test_each_documented_event_has_a_model() -> None:
    assert len(EXAMPLES) == 24
    assert EXAMPLES.keys() == brevo_events.EVENTS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_documented_field_is_read(name: str) -> None:
    result = read(name, EXAMPLES[name])

    assert result == with_times(EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_fields_that_are_not_documented_are_ignored(name: str) -> None:
    result = read(name, example(name, event_name=name, something_new={"deep": [1, None]}))

    assert result == with_times(EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_event_without_its_loyalty_program_is_read_all_the_same(name: str) -> None:
    result = read(name, without(name, "loyalty_program"))

    assert result == with_times(without(name, "loyalty_program"))


DEFINITION = EXAMPLES["balance_value_updated"]["balance_definition"]
SUBSCRIPTION = {"created_at": "2025-06-10T07:09:01.696Z", "loyalty_subscription_id": "s-1"}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("balance_value_updated", {"value": "12.50"}, {"value": 12.5}),
        ("balance_value_updated", {"value": -3}, {"value": -3}),
        ("balance_value_updated", {"created": "false"}, {"created": False}),
        (
            "balance_value_updated",
            {"expiration_date": "2025-06-10"},
            {"expiration_date": datetime(2025, 6, 10, tzinfo=UTC)},
        ),
        (
            "balance_value_updated",
            {"transaction": {"type": "debit", "value": "7"}},
            {"transaction": {"type": "debit", "value": 7}},
        ),
        (
            "balance_value_updated",
            {"balance_definition": {**DEFINITION, "metadata": "as text"}},
            {"balance_definition": {**DEFINITION, "metadata": "as text"}},
        ),
        (
            "balance_value_updated",
            {"balance_definition": {"id": 7, "metadata": ""}},
            {"balance_definition": {"id": "7"}},
        ),
        ("subscription_member_added", {"member_id": "123"}, {"member_id": 123}),
        ("tier_association_updated", {"upgraded": "TRUE", "from_tier": {}}, {"upgraded": True, "from_tier": {}}),
        ("voucher_created", {"offer": {"id": 5, "public_name": " "}}, {"offer": {"id": "5"}}),
    ],
)
def test_loose_values_are_read_as_their_type(name: str, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(name, example(name, **changes)) == with_times(EXAMPLES[name]) | expected


@pytest.mark.parametrize(
    ("name", "nulls"),
    [
        ("balance_value_updated", ["expiration_date", "initial_value", "created", "transaction", "source_event_id"]),
        ("tier_association_updated", ["from_tier", "upgraded", "source_event_id"]),
        ("voucher_created", ["code", "expires_at", "valid_from", "offer", "source_event_id"]),
        ("voucher_expiration_reminder", ["expired_at", "membership"]),
    ],
)
def test_null_means_missing_where_a_field_only_describes(name: str, nulls: list[str]) -> None:
    result = read(name, example(name, **dict.fromkeys(nulls)))

    assert result == with_times(without(name, *nulls))


@pytest.mark.parametrize(
    ("name", "gone", "instead", "expected"),
    [
        ("voucher_created", ["expires_at"], {"expired_at": "2026-01-01T00:00:00Z"}, {"expires_at": NEW_YEAR}),
        (
            "voucher_expiration_reminder",
            ["expired_at"],
            {"expires_at": "2026-01-01T00:00:00Z"},
            {"expires_at": NEW_YEAR},
        ),
        (
            "balance_expiration_reminder",
            ["expires_at"],
            {"expired_at": "2026-01-01T00:00:00Z"},
            {"expires_at": NEW_YEAR},
        ),
        (
            "subscription_created",
            ["created_at", "loyalty_subscription_id"],
            {"subscription": SUBSCRIPTION},
            with_times(SUBSCRIPTION),
        ),
        (
            "subscription_revoked",
            ["loyalty_subscription_id"],
            {"subscription": SUBSCRIPTION},
            {"loyalty_subscription_id": "s-1"},
        ),
        ("subscription_year_anniversary", ["subscription"], SUBSCRIPTION, {"subscription": with_times(SUBSCRIPTION)}),
        (
            "subscription_month_anniversary",
            ["subscription"],
            {"subscription_loyalty_subscription_id": "s-1"},
            {"subscription": {"loyalty_subscription_id": "s-1"}},
        ),
        (
            "balance_value_expired",
            ["balance_definition"],
            {"balance_definition_id": "d-1", "balance_definition_unit": "points"},
            {"balance_definition": {"id": "d-1", "unit": "points"}},
        ),
        (
            "tier_association_month_anniversary",
            ["tier", "tier_group"],
            {"tier_id": "t", "tier_group_id": "g"},
            {"tier": {"id": "t"}, "tier_group": {"id": "g"}},
        ),
        ("membership_anniversary_reminder", ["membership"], {"card_id": "c-1"}, {"membership": {"card_id": "c-1"}}),
        ("voucher_attribution_failed", ["voucher_offer_id"], {"offer": {"id": "o-1"}}, {"voucher_offer_id": "o-1"}),
        ("voucher_redeemed", ["loyalty_program"], {"loyalty_program_id": "p-1"}, {"loyalty_program": {"id": "p-1"}}),
    ],
)
def test_fields_are_found_where_another_event_has_them(
    name: str, gone: list[str], instead: dict[str, Any], expected: dict[str, Any]
) -> None:
    renamed = {{"expired_at": "expires_at"}.get(field, field) for field in gone}
    rest = {field: value for field, value in with_times(EXAMPLES[name]).items() if field not in renamed}

    assert read(name, without(name, *gone) | instead) == rest | expected


@pytest.mark.parametrize(
    ("name", "changes", "field", "reason"),
    [
        ("balance_value_updated", {"value": "lots"}, "value", "is not a number"),
        ("balance_value_updated", {"value": True}, "value", "is not a number"),
        ("balance_value_updated", {"value": None}, "value", "is missing"),
        ("balance_value_updated", {"balance_definition": "points"}, "balance_definition", "is not an object"),
        ("balance_value_updated", {"balance_definition": {"name": "Points"}}, "balance_definition.id", "is missing"),
        ("balance_value_updated", {"balance_definition": {"id": " "}}, "balance_definition.id", "is missing"),
        (
            "balance_value_updated",
            {"balance_definition": {"id": "d", "metadata": [1]}},
            "balance_definition.metadata",
            "is not a text",
        ),
        ("balance_value_updated", {"transaction": {"value": "x"}}, "transaction.value", "is not a number"),
        ("balance_value_updated", {"expiration_date": "soon"}, "expiration_date", "is not a time"),
        ("balance_value_updated", {"created": "perhaps"}, "created", "is not a boolean"),
        (
            "membership_anniversary_reminder",
            {"membership": {"created_at": {}}},
            "membership.created_at",
            "is not a time",
        ),
        ("subscription_created", {"loyalty_subscription_id": ["s"]}, "loyalty_subscription_id", "is not a text"),
        ("subscription_member_removed", {"member_id": {}}, "member_id", "is not a number"),
        ("tier_association_updated", {"to_tier": {"id": True}}, "to_tier.id", "is not a text"),
        ("voucher_created", {"loyalty_program": "VIP"}, "loyalty_program", "is not an object"),
        ("voucher_created", {"offer": {"public_image": ["x"]}}, "offer.public_image", "is not a text"),
    ],
)
def test_a_field_that_cannot_be_read_costs_itself_alone(
    name: str, changes: dict[str, Any], field: str, reason: str
) -> None:
    found, lost = brevo_events.validate(name, example(name, **changes))

    assert [(one.field, one.reason) for one in lost] == [(field, reason)]
    assert found.items() >= with_times(without(name, field.partition(".")[0])).items()


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("balance_maximum_value_reached", ["balance_definition", "value"]),
        ("balance_minimum_value_reached", ["balance_definition", "value"]),
        ("balance_value_expired", ["balance_definition", "value"]),
        ("balance_value_updated", ["balance_definition", "value"]),
        ("balance_transaction_unauthorized", ["balance_definition", "transaction"]),
        ("balance_expiration_reminder", ["amount", "balance_definition", "reminder"]),
        ("membership_anniversary_reminder", ["reminder"]),
        ("subscription_created", ["loyalty_subscription_id"]),
        ("subscription_revoked", ["loyalty_subscription_id"]),
        ("subscription_member_added", ["member_id"]),
        ("subscription_member_removed", ["member_id"]),
        ("subscription_month_anniversary", ["subscription"]),
        ("subscription_year_anniversary", ["subscription"]),
        ("tier_anniversary_reminder", ["reminder", "tier", "tier_group"]),
        ("tier_association_updated", ["tier_group", "to_tier"]),
        ("tier_association_month_anniversary", ["tier", "tier_group"]),
        ("tier_association_year_anniversary", ["tier", "tier_group"]),
        ("voucher_attribution_failed", ["voucher_offer_id"]),
        ("voucher_created", ["id"]),
        ("voucher_expiration_reminder", ["id", "reminder"]),
        ("voucher_expired", ["id"]),
        ("voucher_redeem_unauthorized", ["code"]),
        ("voucher_redeemed", ["id"]),
        ("voucher_revoked", ["id"]),
    ],
)
def test_what_an_event_is_about_is_required_and_nothing_else(name: str, required: list[str]) -> None:
    lost_without = {
        field: [(one.field, one.reason) for one in brevo_events.validate(name, without(name, field))[1]]
        for field in EXAMPLES[name]
    }

    assert {field: lost for field, lost in lost_without.items() if lost} == {
        field: [(field, "is missing")] for field in required
    }
    assert sorted(brevo_events.schemas()[name]["required"]) == required


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_field_that_is_missing_costs_itself_alone(name: str) -> None:
    for field in EXAMPLES[name]:
        for absent in (without(name, field), example(name, **{field: None}), example(name, **{field: " "})):
            assert brevo_events.validate(name, absent)[0] == with_times(without(name, field)), field


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_part_of_an_object_that_is_missing_costs_itself_alone(name: str) -> None:
    for field, value in EXAMPLES[name].items():
        for part in value if isinstance(value, dict) else ():
            rest = {key: item for key, item in value.items() if key != part}

            found, lost = brevo_events.validate(name, example(name, **{field: rest}))

            assert found == with_times(EXAMPLES[name]) | {field: with_times(rest)}
            assert [one.field for one in lost] in ([], [f"{field}.{part}"])


def test_there_is_a_schema_of_each_event_with_the_documented_names() -> None:
    schemas = brevo_events.schemas()

    assert {name: set(schema["properties"]) for name, schema in schemas.items()} == {
        name: set(example) for name, example in EXAMPLES.items()
    }
    assert {schema["title"] for schema in schemas.values()} == EXAMPLES.keys()
    json.dumps(schemas)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_documented_example_is_valid_by_its_schema(name: str) -> None:
    validator = jsonschema.Draft202012Validator(brevo_events.schemas()[name])

    validator.check_schema(validator.schema)
    assert list(validator.iter_errors(EXAMPLES[name])) == []
    assert list(validator.iter_errors(example(name, loyalty_program="VIP"))) != []
