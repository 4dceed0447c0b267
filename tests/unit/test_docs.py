"""The pages say what the code does: their tables are made anew from it, and their snippets are taken by it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from loyalty_bridge.destinations import braze, moengage
from loyalty_bridge.model import MemberUpdate, ProfileField
from loyalty_bridge.programs import hosts
from loyalty_bridge.programs.connection import (
    SECRETS,
    BrazeSide,
    BrevoSide,
    Connection,
    ConvercusSide,
    MoEngageSide,
    Program,
    PunchhSide,
    Secret,
    check_credentials,
    merged,
)
from loyalty_bridge.sources import brevo, convercus, punchh
from loyalty_bridge.sources.brevo_events import EVENTS
from loyalty_bridge.sources.convercus_schemas import schemas as convercus_schemas
from tests.events import event as convercus_event
from tests.template import ROOT, template

RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)
README, LOYALTY, PUNCHH, MOENGAGE = "README.md", "docs/loyalty-webhooks.md", "docs/punchh.md", "docs/moengage.md"


def table(page: str, *heading: str) -> list[tuple[str, ...]]:
    """Give the rows of the page's table with these headings."""
    lines = (ROOT / page).read_text().splitlines()
    start = lines.index(f"| {' | '.join(heading)} |") + 2
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[start:end]]


def codes(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def snippets(page: str) -> list[dict[str, Any]]:
    found = re.findall(r"^ *```json\n(.*?)^ *```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [json.loads(text) for text in found]


def loyalty_update(name: str) -> MemberUpdate:
    """Read the documented sample of an event, delivered with an envelope."""
    sample = json.loads((ROOT / "tests" / "fixtures" / "loyalty-webhooks" / f"{name}.json").read_text())
    told = {"event_name": name, "event_id": "e-1", "source": "loyalty", "identifiers": {"ext_id": "m-1"}, **sample}
    return brevo.read(told, brevo.Rules(), member="m-1", received=RECEIVED)


def punchh_update(family: str, envelope: Mapping[str, Any] = MappingProxyType({}), **user: Any) -> MemberUpdate:
    payload = {"user": {"user_id": 111, "external_source_id": "m-1", **user}}
    told = {"event_name": family, "content_id": "c-1", "payload": payload, **envelope}
    return punchh.read(told, punchh.Rules(), member="m-1", received=RECEIVED)


def test_the_loyalty_page_lists_what_each_of_the_24_events_becomes() -> None:
    common = {"event_id", "event_source", "loyalty_program_id", "loyalty_program_name"}
    expected = []
    for name in EVENTS:
        update = loyalty_update(name)
        assert update.event
        assert common <= update.event.properties.keys()
        # The samples' metadata is an object with the one field `key`.
        own = [re.sub("_metadata_key$", "_metadata_<key>", one) for one in update.event.properties if one not in common]
        expected.append((f"`{name}`", f"`{update.event.name}`", codes(*own), codes(*update.attributes)))

    rows = table(LOYALTY, "Webhook", "Event", "Properties", "Attributes")

    assert len(rows) == 24
    assert rows == expected


def test_the_loyalty_page_lists_each_attribute_and_its_name_in_moengage() -> None:
    in_moengage: dict[str, set[str]] = {}
    for name in EVENTS:
        update = loyalty_update(name)
        for attribute, value in update.attributes.items():
            keys = "<id>" if isinstance(value, dict) else ""
            in_moengage.setdefault(attribute, set()).add(f"`{attribute}_{keys}`" if keys else "the same")

    rows = {named(first)[0]: {last} for first, _, last in table(LOYALTY, "Attribute", "Value", "In MoEngage")}

    assert rows == in_moengage


def test_an_unknown_loyalty_event_is_called_as_the_page_says() -> None:
    told: Any = {"event_name": "sky_fell", "event_id": "e-1", "identifiers": {"ext_id": "m-1"}}

    update = brevo.read(told, brevo.Rules(), member="m-1", received=RECEIVED)

    assert update.event
    assert f"arrives as `{update.event.name}`" in (ROOT / LOYALTY).read_text()


@pytest.mark.parametrize(
    ("identifier", "paths", "known_as"),
    [
        tuple(cell.strip("`") if place != 1 else cell for place, cell in enumerate(row))
        for row in table(LOYALTY, "`identify_by`", "From", "Known as")
    ],
)
def test_a_member_is_found_where_the_loyalty_page_says(identifier: Any, paths: str, known_as: str) -> None:
    value, kind = {
        "id": ("4711", "id"),
        "e-mail address": ("ann@example.com", "email"),
        "phone number": ("+4915112345678", "phone"),
    }[known_as]
    rules = brevo.Rules(identify_by=(identifier,))
    for path in named(paths):
        told: Any = value
        for key in reversed(path.split(".")):
            told = {key: told}

        found = brevo.member(told, rules)
        update = brevo.read(
            {"event_name": "sky_fell", "event_id": "e-1", **told}, rules, member=found, received=RECEIVED
        )

        assert (found, update.identified_by) == (value, kind)


def test_the_loyalty_page_lists_every_identifier() -> None:
    rows = table(LOYALTY, "`identify_by`", "From", "Known as")

    assert [row[0].strip("`") for row in rows] == list(get_args(brevo.IdentifyBy))


def test_the_punchh_page_lists_every_family_and_its_event() -> None:
    rows = table(PUNCHH, "`event_name`", "Event")

    *known, unknown = [(named(family), named(event)) for family, event in rows]
    assert {family for (family,), _ in known} == punchh.FAMILIES
    for (family,), (name,) in known:
        update = punchh_update(family)
        assert update.event
        assert update.event.name == name
    assert unknown == ([], [punchh.UNKNOWN_EVENT])


def test_the_punchh_page_lists_the_properties_that_every_event_has() -> None:
    envelope = {
        "event_type": "loyalty", "action": "create", "business_id": 7, "business_uuid": "u-1", "business_slug": "s",
    }  # fmt: skip
    rows = table(PUNCHH, "Property", "From")

    update = punchh_update("new_family", envelope)

    assert update.event
    listed = {name for cell, _ in rows for name in named(cell) if "<" not in name}
    assert listed == {name for name in update.event.properties if not name.startswith("user_")}


def test_the_punchh_page_lists_every_attribute() -> None:
    expected = [
        ("`punchh_user_id`", "`user_id`"),
        *((f"`punchh_{name}`", f"`{name}`") for name in punchh.ATTRIBUTES),
        *((f"`punchh_account_balance_{name}`", f"`account_balance.{name}`") for name in punchh.BALANCES),
    ]

    assert table(PUNCHH, "Attribute", "From") == expected


def test_the_punchh_page_tells_the_profile_field_of_each_platform() -> None:
    samples: dict[str, Any] = {
        "email": "ann@example.com", "phone": "+14155550100", "first_name": "Ann", "last_name": "Lee",
        "birthday": "1999-01-01", "gender": "female", "city": "Town", "preferred_locale": "en-US",
        "marketing_email_subscription": True, "marketing_pn_subscription": True,
    }  # fmt: skip
    expected = []
    for name, value in samples.items():
        update = punchh_update("users", {}, **{name: value})
        (in_braze,) = braze.translate(update, braze.Rules()).attributes.keys() - {("punchh_user_id",)}
        (in_moengage,) = moengage.translate(update, moengage.Rules()).attributes.keys() - {("punchh_user_id",)}
        expected.append((codes(name), codes(*in_braze), codes(*in_moengage)))

    assert table(PUNCHH, "Punchh", "Braze", "MoEngage") == expected


def test_the_moengage_page_tells_the_name_of_each_profile_field() -> None:
    values = {"email": "ann@example.com", "phone": "+14155550100", "birth_date": "1999-01-01", "gender": "F"}
    expected = []
    for name in get_args(ProfileField):
        value = "subscribed" if name.endswith("_subscription") else values.get(name, "text")
        update = MemberUpdate(event_id="e-1", member="m-1", time=RECEIVED, profile={name: value})
        (attribute,) = moengage.translate(update, moengage.Rules()).attributes
        expected.append((codes(name), codes(*attribute)))

    assert table(MOENGAGE, "From the profile", "Attribute") == expected


def test_the_moengage_page_tells_what_a_purchase_and_a_balance_become() -> None:
    spent = {"transactionId": "t-1", "transactionType": "EARNTRANSACTION", "amount": 12.5, "currencyCode": "EUR"}
    bought, balance = (
        moengage.translate(convercus.read(told, convercus.Rules(), member="A1", received=RECEIVED), moengage.Rules())
        for told in (convercus_event("account_transaction", payload=spent), convercus_event("balance_changed"))
    )
    assert bought.purchase
    (action,) = json.loads(bought.purchase.body)["actions"]

    (purchase_cell, balance_cell) = [row[1] for row in table(MOENGAGE, "In Braze", "In MoEngage")]

    name, *properties = named(purchase_cell)
    assert name == action["action"] == moengage.PURCHASE
    assert list(action["attributes"])[: len(properties) + 1] == ["event_id", *properties]
    keys = {"_".join(path) for path in balance.attributes if path[0].startswith("convercus_balance")}
    assert set(named(balance_cell)) == keys


def test_the_moengage_page_counts_the_names_that_are_used_up() -> None:
    rows = {
        source: (int(events), attributes)
        for source, events, attributes in table(MOENGAGE, "Source", "Event names", "Attributes")
    }

    assert rows["Convercus"][0] == len(convercus_schemas()) + 1
    assert rows["Punchh"] == (len(punchh.FAMILIES) + 1, str(1 + len(punchh.ATTRIBUTES) + len(punchh.BALANCES)))
    assert rows["Brevo"][0] == len(EVENTS) + 1


@dataclass(frozen=True)
class Setting:
    name: str
    default: str


def shown(value: Any) -> str:
    """Write a default as the tables do."""
    if isinstance(value, bool):
        return codes(str(value).lower())
    if isinstance(value, tuple):
        return codes(*value)
    return codes(str(value)) if value else ""


def settings(prefix: str, side: type[BaseModel], *, platform: bool = True) -> list[Setting]:
    """List the settings of one side of a connection."""
    listed = []
    for name, field in side.model_fields.items():
        if name == "rules":
            listed += [
                Setting(f"{prefix}.rules.{rule.name}", "" if rule.default is MISSING else shown(rule.default))
                for rule in fields(field.default)
            ]
        elif name != "api" and (platform or name != "platform"):
            listed.append(Setting(f"{prefix}.{name}", "" if field.is_required() else shown(field.default)))
    return listed


@pytest.mark.parametrize(
    ("page", "prefix", "side"),
    [(LOYALTY, "loyalty", BrevoSide), (PUNCHH, "loyalty", PunchhSide), (MOENGAGE, "engagement", MoEngageSide)],
)
def test_a_page_lists_every_setting_with_its_default(page: str, prefix: str, side: type[BaseModel]) -> None:
    rows = table(page, "Setting", "Default", "Meaning")

    listed = {Setting(name.strip("`"), default) for name, default, _ in rows}
    assert listed == set(settings(prefix, side))


@pytest.mark.parametrize(
    "name",
    [
        *(setting.name for setting in settings("loyalty", ConvercusSide, platform=False)),
        *(setting.name for setting in settings("engagement", BrazeSide, platform=False)),
        *(Connection.model_fields.keys() - {"loyalty", "engagement"}),
    ],
)
def test_the_readme_lists_every_setting(name: str) -> None:
    assert codes(name) in [row[0] for row in table(README, "Setting", "Default", "Meaning")]


def test_the_readme_lists_no_setting_that_there_is_not() -> None:
    there = {
        *(setting.name for setting in settings("loyalty", ConvercusSide)),
        *(setting.name for setting in settings("engagement", BrazeSide)),
        *Connection.model_fields,
    }

    assert {row[0].strip("`") for row in table(README, "Setting", "Default", "Meaning")} <= there


@pytest.mark.parametrize(
    ("page", "least"),
    [
        (README, 2),
        (LOYALTY, 6),
        (PUNCHH, 4),
        (MOENGAGE, 1),
    ],
)
def test_the_snippets_of_a_page_can_be_put_one_after_the_other(page: str, least: int) -> None:
    known = {name for names in SECRETS.values() for name in names}
    connection = Connection()
    found = snippets(page)

    assert len(found) >= least
    for snippet in found:
        secrets = snippet.pop("secrets", {})
        connection = hosts.checked(merged(connection, snippet), "")
        check_credentials(connection, secrets)

        assert secrets.keys() <= known


@pytest.mark.parametrize("page", [LOYALTY, PUNCHH])
def test_a_program_is_connected_by_the_one_snippet_for_its_platform(page: str) -> None:
    first = [snippet for snippet in snippets(page) if "engagement" in snippet]

    platforms = set()
    for snippet in first:
        secrets = {name: Secret(b"", "") for name in snippet.pop("secrets")}
        program = Program("demo", merged(Connection(), snippet), secrets=secrets)
        platforms.add(program.connection.engagement.platform)

        assert program.missing() == []
    assert platforms == {"braze", "moengage"}


@pytest.mark.parametrize(
    ("page", "output", "function"),
    [
        (LOYALTY, "LoyaltyWebhookBaseUrl", "LoyaltyWebhook"),
        (PUNCHH, "PunchhWebhookBaseUrl", "PunchhWebhook"),
    ],
)
def test_the_urls_of_a_page_are_routes_of_the_template(page: str, output: str, function: str) -> None:
    routes = {
        event["Properties"]["Path"] for event in template()["Resources"][function]["Properties"]["Events"].values()
    }
    text = (ROOT / page).read_text()
    written = re.findall(r"/v1/programs/<program>/webhooks/[a-z/<>_]+", text)

    told = {url.replace("<program>", "{programId}").replace("<event_name>", "{eventName}") for url in written}

    assert told == routes
    assert output in text
    assert output in template()["Outputs"]


@pytest.mark.parametrize("page", [README, LOYALTY, PUNCHH, MOENGAGE])
def test_the_links_of_a_page_to_others_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page

        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
        assert not heading or heading in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings]
