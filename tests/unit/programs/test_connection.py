"""A program's connection: how it is changed, and what it lacks before events stream."""

from __future__ import annotations

from typing import Any

import pytest

from loyalty_bridge.errors import Refused
from loyalty_bridge.programs.connection import Connection, Program, Secret, merged

COMPLETE = {
    "loyalty": {"membership_optins": ["Newsletter", "SMS"], "default_optins": ["Newsletter"]},
    "engagement": {"api_endpoint": "https://rest.iad-01.braze.com"},
}


def shown(connection: Connection) -> dict[str, Any]:
    return connection.model_dump(mode="json")


def test_a_change_leaves_what_it_does_not_name() -> None:
    before = merged(merged(Connection(), COMPLETE), {"engagement": {"rules": {"max_objects": 50}}})

    after = merged(before, {"engagement": {"rules": {"update_existing_only": True}}, "attribute_writes": "all"})

    rules = shown(after)["engagement"]["rules"]
    assert (rules["max_objects"], rules["update_existing_only"]) == (50, True)
    assert after.engagement.api_endpoint == "https://rest.iad-01.braze.com"
    assert (after.loyalty, after.attribute_writes) == (before.loyalty, "all")


def test_a_list_is_replaced_and_not_merged() -> None:
    after = merged(merged(Connection(), COMPLETE), {"loyalty": {"membership_optins": ["Newsletter", "Push"]}})

    assert shown(after)["loyalty"]["membership_optins"] == ["Newsletter", "Push"]


def test_a_change_does_not_touch_the_connection_it_is_made_from() -> None:
    before = merged(Connection(), COMPLETE)
    as_it_was = before.model_dump_json()

    merged(before, {"engagement": {"rules": {"max_objects": 5}}, "loyalty": {"default_optins": ["SMS"]}})

    assert before.model_dump_json() == as_it_was


def test_names_are_trimmed() -> None:
    after = merged(Connection(), {"loyalty": {"membership_optins": [" SMS "], "default_optins": ["SMS  "]}})

    loyalty = shown(after)["loyalty"]
    assert (loyalty["membership_optins"], loyalty["default_optins"]) == (["SMS"], ["SMS"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"loyalty": {"default_optins": ["Fax"]}}, "loyalty.default_optins"),
        ({"loyalty": {"default_optins": ["Newsletter", "newsletter"]}}, "loyalty.default_optins"),
        ({"loyalty": {"membership_optins": ["SMS"]}}, "loyalty.default_optins"),
        ({"loyalty": {"membership_optins": ["Newsletter", " "]}}, "loyalty.membership_optins.1"),
        ({"loyalty": {"membership_optins": ["Newsletter", "n" * 101]}}, "loyalty.membership_optins.1"),
        ({"loyalty": {"membership_optins": "Newsletter"}}, "loyalty.membership_optins"),
        ({"loyalty": {"platform": "acme"}}, "loyalty"),
        ({"loyalty": {"rules": {"opt_in_without_record": "opted_in"}}}, "loyalty.rules.opt_in_without_record"),
        ({"engagement": {"platform": "acme"}}, "engagement"),
        ({"engagement": {"api_endpoint": 7}}, "engagement.api_endpoint"),
        ({"engagement": {"end_point": "https://rest.iad-01.braze.com"}}, "engagement.end_point"),
        ({"engagement": {"rules": {"object_limit": "many"}}}, "engagement.rules.object_limit"),
        ({"engagement": {"rules": {"max_objects": 76}}}, "engagement.rules"),
        ({"engagement": {"rules": {"max_objects": 0}}}, "engagement.rules"),
        ({"engagement": {"rules": {"alias_label": " "}}}, "engagement.rules"),
        ({"attribute_writes": "some"}, "attribute_writes"),
        ({"secrets": {"braze_api_key": "key"}}, "secrets"),
        ({"engagement": []}, "engagement"),
    ],
)
def test_what_cannot_be_set_is_refused_by_its_name(change: dict[str, Any], field: str) -> None:
    before = merged(Connection(), COMPLETE)

    with pytest.raises(Refused) as refused:
        merged(before, change)

    assert refused.value.field == field


def test_a_reason_names_the_opt_ins_that_are_not_the_programs() -> None:
    with pytest.raises(Refused, match="not among membership_optins: Fax, Pager"):
        merged(Connection(), {"loyalty": {"membership_optins": ["SMS"], "default_optins": ["Pager", "SMS", "Fax"]}})


def test_a_connection_survives_being_written_and_read() -> None:
    connection = merged(merged(Connection(), COMPLETE), {"engagement": {"rules": {"identifier_type": "user_alias"}}})

    assert Connection.model_validate_json(connection.model_dump_json()) == connection


API_KEY = {"braze_api_key": Secret(b"closed", "1234")}


@pytest.mark.parametrize(
    ("change", "secrets", "missing"),
    [
        (COMPLETE, API_KEY, []),
        (COMPLETE, {}, ["secrets.braze_api_key"]),
        (COMPLETE, {"state_key": Secret(b"closed", "1234")}, ["secrets.braze_api_key"]),
        ({**COMPLETE, "engagement": {}}, API_KEY, ["engagement.api_endpoint"]),
        ({**COMPLETE, "loyalty": {"membership_optins": ["SMS"]}}, API_KEY, ["loyalty.default_optins"]),
        ({}, {}, ["engagement.api_endpoint", "secrets.braze_api_key", "loyalty.default_optins"]),
    ],
)
def test_an_incomplete_connection_tells_what_is_missing(
    change: dict[str, Any], secrets: dict[str, Secret], missing: list[str]
) -> None:
    program = Program("demo", merged(Connection(), change), secrets=secrets)

    assert program.missing() == missing
