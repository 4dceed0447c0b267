"""A program's connection: how it is changed, and what it lacks before events stream."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.programs.connection import Connection, Program, Secret, merge

COMPLETE = {
    "loyalty": {"membership_optins": ["Newsletter", "SMS"], "default_optins": ["Newsletter"]},
    "engagement": {"api_endpoint": "https://rest.iad-01.braze.com"},
}


def shown(connection: Connection) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(connection)))


def test_a_change_leaves_what_it_does_not_name() -> None:
    before = merge(merge(Connection(), COMPLETE), {"engagement": {"rules": {"max_objects": 50}}})

    after = merge(before, {"engagement": {"rules": {"update_existing_only": True}}, "attribute_writes": "all"})

    rules = shown(after)["engagement"]["rules"]
    assert (rules["max_objects"], rules["update_existing_only"]) == (50, True)
    assert after.engagement.api_endpoint == "https://rest.iad-01.braze.com"
    assert (after.loyalty, after.attribute_writes) == (before.loyalty, "all")


def test_a_list_is_replaced_and_not_merged() -> None:
    after = merge(merge(Connection(), COMPLETE), {"loyalty": {"membership_optins": ["Newsletter", "Push"]}})

    assert shown(after)["loyalty"]["membership_optins"] == ["Newsletter", "Push"]


def test_a_change_does_not_touch_the_connection_it_is_made_from() -> None:
    before = merge(Connection(), COMPLETE)
    as_it_was = shown(before)

    merge(before, {"engagement": {"rules": {"max_objects": 5}}, "loyalty": {"default_optins": ["SMS"]}})

    assert shown(before) == as_it_was


@pytest.mark.parametrize("platform", ["braze", "moengage"])
@pytest.mark.parametrize(
    ("writes", "existing_only", "only_changed"),
    [("changed", False, True), ("all", False, False), ("changed", True, False), ("all", True, False)],
)
def test_what_did_not_change_is_left_out_only_where_all_that_was_sent_is_there(
    platform: str, writes: str, existing_only: bool, only_changed: bool
) -> None:
    rules = {"update_existing_only": existing_only}

    connection = merge(Connection(), {"attribute_writes": writes, "engagement": {"platform": platform, "rules": rules}})

    assert connection.only_changed == only_changed


def test_names_are_trimmed() -> None:
    after = merge(Connection(), {"loyalty": {"membership_optins": [" SMS "], "default_optins": ["SMS  "]}})

    loyalty = shown(after)["loyalty"]
    assert (loyalty["membership_optins"], loyalty["default_optins"]) == (["SMS"], ["SMS"])


@pytest.mark.parametrize("before", [{}, COMPLETE, {"engagement": {"platform": "moengage"}}])
def test_a_line_break_that_was_copied_along_is_no_part_of_a_text(before: dict[str, Any]) -> None:
    change = {
        "loyalty": {"platform": "punchh", "api": {"client": "client-1\n"}},
        "engagement": {"platform": "moengage", "workspace_id": " WORKSPACE\r\n"},
    }

    after = shown(merge(merge(Connection(), before), change))

    assert (after["loyalty"]["api"]["client"], after["engagement"]["workspace_id"]) == ("client-1", "WORKSPACE")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"loyalty": {"default_optins": ["Fax"]}}, "loyalty.default_optins"),
        ({"loyalty": {"default_optins": ["Newsletter", "newsletter"]}}, "loyalty.default_optins"),
        ({"loyalty": {"membership_optins": ["SMS"]}}, "loyalty.default_optins"),
        ({"loyalty": {"membership_optins": ["Newsletter", " "]}}, "loyalty.membership_optins.1"),
        ({"loyalty": {"membership_optins": ["Newsletter", "n" * 101]}}, "loyalty.membership_optins.1"),
        ({"loyalty": {"membership_optins": "Newsletter"}}, "loyalty.membership_optins"),
        ({"loyalty": {"platform": "acme"}}, "loyalty.platform"),
        ({"loyalty": {"rules": {"opt_in_without_record": "opted_in"}}}, "loyalty.rules.opt_in_without_record"),
        ({"engagement": {"platform": "acme"}}, "engagement.platform"),
        ({"engagement": {"api_endpoint": 7}}, "engagement.api_endpoint"),
        ({"engagement": {"end_point": "https://rest.iad-01.braze.com"}}, "engagement.end_point"),
        ({"engagement": {"rules": {"object_limit": "many"}}}, "engagement.rules.object_limit"),
        ({"engagement": {"rules": {"max_objects": 76}}}, "engagement.rules.max_objects"),
        ({"engagement": {"rules": {"max_objects": 0}}}, "engagement.rules.max_objects"),
        ({"engagement": {"rules": {"alias_label": " "}}}, "engagement.rules.alias_label"),
        ({"attribute_writes": "some"}, "attribute_writes"),
        ({"loyalty": {"membership_optins": ["Newsletter", "S\x00S"]}}, "loyalty.membership_optins.1"),
        ({"loyalty": {"rules": {"excluded_fields": ["a", "b\rc"]}}}, "loyalty.rules.excluded_fields.1"),
        ({"loyalty": {"rules": {"email_optins": ["E\u2028mail"]}}}, "loyalty.rules.email_optins.0"),
        ({"loyalty": {"api": {"realm": "a\nb"}}}, "loyalty.api.realm"),
        ({"engagement": {"rules": {"alias_label": "a\tb"}}}, "engagement.rules.alias_label"),
        ({"loyalty": {"rules": {"a\nb": 1}}}, "loyalty.rules"),
        ({"secrets": {"braze_api_key": "key"}}, "secrets"),
        ({"engagement": []}, "engagement"),
    ],
)
def test_what_cannot_be_set_is_refused_by_its_name(change: dict[str, Any], field: str) -> None:
    before = merge(Connection(), COMPLETE)

    with pytest.raises(Invalid) as refused:
        merge(before, change)

    assert refused.value.field == field


def test_a_reason_names_the_opt_ins_that_are_not_the_programs() -> None:
    with pytest.raises(Invalid, match="not among membership_optins: Fax, Pager"):
        merge(Connection(), {"loyalty": {"membership_optins": ["SMS"], "default_optins": ["Pager", "SMS", "Fax"]}})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"attribute_writes": "Ida's"}, "attribute_writes: is not one of all, changed"),
        ({"attribute_writes": "Ida - at `$.loyalty`"}, "attribute_writes: is not one of all, changed"),
        ({"loyalty": {"platform": "Ida"}}, "loyalty.platform: is not one of convercus, punchh, brevo"),
        ({"engagement": {"platform": "Ida"}}, "engagement.platform: is not one of braze, moengage"),
        ({"loyalty": {"platform": "punchh", "webhook_auth": "Ida"}}, "webhook_auth: is not one of basic, bearer, hmac"),
        ({"loyalty": {"platform": "brevo", "webhook_auth": "Ida"}}, "auth: is not one of basic, bearer, header"),
        ({"loyalty": {"platform": "brevo", "rules": {"identify_by": ["Ida"]}}}, "identify_by.0: is not one of card_id"),
        ({"loyalty": {"api": {"fields": {"Ida": "code"}}}}, "loyalty.api.fields: is not one of accountCouponId"),
        ({"loyalty": {"api": {"fields": {"code": "Ida B."}}}}, "loyalty.api.fields.code: is not the name of a field"),
        ({"loyalty": {"api": {"calls": {"login": "Ida"}}}}, "loyalty.api.calls.login: is not a method and a path"),
        ({"loyalty": {"api": {"turned_away": [423, 399]}}}, "loyalty.api.turned_away.1: should be int >= 400"),
        ({"loyalty": {"api": {"realm": "Ida\nIda"}}}, "loyalty.api.realm: holds a control character"),
        ({"loyalty": {"api": {"interaction_id": "Ida\nIda"}}}, "loyalty.api.interaction_id: holds a control character"),
        ({"loyalty": {"platform": "brevo", "webhook_header": "Ida\nIda"}}, "webhook_header: holds a control character"),
        ({"loyalty": {"platform": "punchh", "coupon_code_days": 0}}, "loyalty.coupon_code_days: should be int >= 1"),
        ({"engagement": {"rules": {"max_objects": "Ida"}}}, "engagement.rules.max_objects: should be int, got str"),
        ({"engagement": {"rules": {"max_objects": 76}}}, "engagement.rules.max_objects: should be int <= 75"),
        ({"engagement": {"rules": {"alias_label": " "}}}, "engagement.rules.alias_label: is blank"),
        ({"engagement": {"colour": "Ida"}}, "engagement.colour: is not a known field"),
        ({"loyalty": ["Ida"]}, "loyalty: should be object, got array"),
    ],
)
def test_a_reason_says_what_would_be_right_and_never_the_value(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(Invalid) as refused:
        merge(Connection(), change)

    assert expected in str(refused.value)
    assert "Ida" not in str(refused.value)


def test_a_number_and_a_flag_may_be_written_as_texts() -> None:
    after = merge(Connection(), {"repeat_window": "60", "engagement": {"rules": {"update_existing_only": "true"}}})

    assert after.repeat_window == 60
    assert after.engagement.rules.update_existing_only is True


def test_a_connection_survives_being_written_and_read() -> None:
    connection = merge(merge(Connection(), COMPLETE), {"engagement": {"rules": {"identifier_type": "user_alias"}}})

    assert msgspec.json.decode(msgspec.json.encode(connection), type=Connection) == connection


STORED = (
    """
    {"loyalty":{"platform":"convercus","rules":{"default_currency":"EUR","default_country":null,
    "opt_in_without_record":"subscribed","email_optins":["email","newsletter"]},
    "api":{"base_url":"https://api.convercus.io","auth":"oauth","auth_url":"https://auth.convercus.io",
    "realm":"ABC","client_id":"machine-2-machine","scope":"openid","org":"","user_name":"","interaction_id":"",
    "id_type":"ID","burn_points":"positive","turned_away":[423],
    "calls":{"oauth":"POST /realms/{realm}/protocol/openid-connect/token","login":"POST /auth/login",
    "assign_coupon":"POST /v3/accounts/{account_id}/accountcoupons",
    "coupon_code":"GET /v2/accountcoupons/{account_coupon_id}/code",
    "create_booking":"POST /accounts/{account_id}/bookings","bookings":"GET /accounts/{account_id}/bookings",
    "memberships":"GET /accounts/{account_id}/memberships",
    "set_optins":"PATCH /accounts/{account_id}/memberships/{user_id}/optins",
    "account_details":"GET /v3/accountdetails/{account_id}",
    "account_coupons":"GET /v2/accounts/{account_id}/accountcoupons"},"fields":{"code":"couponCode"},
    "profile":{"tier_name":"level.title"},"coupon":{},"inactive_states":["inactive"]},
    "membership_optins":["Newsletter","Post"],"default_optins":["Newsletter"]},"engagement":{"platform":"braze",
    "api_endpoint":"https://rest.iad-01.braze.com","rules":{"identifier_type":"external_id",
    "alias_label":"convercus_account_id","update_existing_only":false,"object_limit":"combined",
    "max_objects":50,"purchase_product_id":null}},"attribute_writes":"all","repeat_window":120}
    """,
    """
    {"loyalty":{"platform":"punchh","rules":{"default_country":"US"},
    "api":{"base_url":"https://server.punchh.com","client":"c","flavour":"mobile",
    "external_source":"customer_id"},"coupon_code_days":null,"webhook_auth":"hmac"},
    "engagement":{"platform":"moengage","api_endpoint":"https://api-01.moengage.com","workspace_id":"W",
    "rules":{"objects":"flatten","removal":"blank","update_existing_only":false,"identity_resolution":false,
    "single_calls":false}},"attribute_writes":"changed","repeat_window":120}
    """,
    """
    {"loyalty":{"platform":"brevo","rules":{"identify_by":["email_id"],"forward_contact_properties":false},
    "webhook_auth":"basic","webhook_header":"X-Webhook-Key"},"engagement":{"platform":"braze","api_endpoint":"",
    "rules":{"identifier_type":"external_id","alias_label":"convercus_account_id","update_existing_only":false,
    "object_limit":"combined","max_objects":75,"purchase_product_id":null}},"attribute_writes":"changed",
    "repeat_window":120}
    """,
)
"""As programs that were connected before are stored."""


@pytest.mark.parametrize("document", STORED)
def test_a_program_that_is_stored_is_read_and_written_with_nothing_lost(document: str) -> None:
    connection = msgspec.json.decode(document, type=Connection)

    # What is new since then has its default.
    assert with_all_of(json.loads(document), shown(connection)) == shown(connection)


def with_all_of(changes: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Put one document over another."""
    return base | {
        name: with_all_of(value, base[name]) if isinstance(value, dict) and name in base else value
        for name, value in changes.items()
    }


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
def test_an_incomplete_connection_reports_what_is_missing(
    change: dict[str, Any], secrets: dict[str, Secret], missing: list[str]
) -> None:
    program = Program("demo", merge(Connection(), change), secrets=secrets)

    assert program.missing() == missing
