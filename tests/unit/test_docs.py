"""What is published of the interface is what the code says."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from local.day import day
from loyalty_bridge.activity.recorder import MAX_ERRORS
from loyalty_bridge.errors import Invalid
from loyalty_bridge.http_api import routes
from loyalty_bridge.parking import parked_records
from loyalty_bridge.pipeline import delivery_log, engagement_client, identities, redelivery, sender
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.base import NEVER_BEGUN
from loyalty_bridge.platforms.braze.settings import BrazeRules
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus.settings import (
    ConvercusApi,
    ConvercusRules,
    ConvercusSettings,
    Endpoints,
    WriteField,
)
from loyalty_bridge.programs.connection import Connection, check_program_id, merge
from scripts.docs import DOCS, documents
from simulators.convercus_program import Program, Settings
from tests.support.contract_check import document
from tests.support.template import ROOT, resources

DAY = [one for one in day("demo", members=30, events=600) if isinstance(one.record, dict)]


def schema(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((DOCS / "schemas" / "convercus" / f"{kind}.json").read_text()))


@pytest.mark.parametrize(("path", "text"), [pytest.param(*one, id=one[0].name) for one in documents()])
def test_a_document_is_as_the_code_makes_it(path: Any, text: str) -> None:
    assert path.read_text() == text, "make docs"


def test_no_document_is_left_over() -> None:
    made = {path for path, _ in documents() if DOCS in path.parents}

    assert {
        *(DOCS / "schemas").rglob("*.*"),
        *DOCS.glob("*.json"),
        *DOCS.glob("*-fields.md"),
        DOCS / "costs.md",
        DOCS / "settings.md",
    } == made
    assert len(made) == 3 + 17 + 24 + 3 + 2


def test_the_api_is_described_in_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_the_admin_api_is_described_in_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(json.loads((DOCS / "admin-openapi.json").read_text())).validate()


def test_the_api_takes_only_ids_that_a_program_can_have() -> None:
    ids = ["demo", "7-_", "d" * 64, "d" * 65, "-demo", "_demo", "de mo", ""]
    calls = [call for path in document()["paths"].values() for call in path.values()]
    values = [it["schema"] for call in calls for it in call["parameters"] if it["name"] == "programId"]

    taken = [[one for one in ids if Draft202012Validator(schema).is_valid(one)] for schema in values]

    assert taken == [["demo", "7-_", "d" * 64]] * len(calls)
    assert [check_program_id(one) for one in taken[0]] == taken[0]


def test_every_call_names_each_of_its_answers_once() -> None:
    for call in routes.ROUTES:
        assert not call.answers.keys() & set(call.fails)
        assert {401} <= set(call.fails)


@pytest.mark.parametrize("name", routes.document()["components"]["schemas"])
def test_a_schema_of_the_api_is_one(name: str) -> None:
    Draft202012Validator.check_schema(document()["components"]["schemas"][name])


@pytest.mark.parametrize("kind", sorted({one.type for one in DAY if one.accepted}))
def test_the_events_of_a_day_are_as_published(kind: str) -> None:
    for one in DAY:
        if one.accepted and one.type == kind:
            schema(kind).validate(one.record)


def test_what_an_action_gives_is_as_published() -> None:
    program = Program("demo", Settings(), clock=lambda: 1_772_359_200.0)
    program.account("A1")
    program.coupon("C1")
    program.assign_coupon("A1", {"couponId": "C1"})
    program.create_booking("A1", {"bookingType": "EARNBOOKING", "bookingTypeCode": "BDAY", "points": 5})
    program.set_optins("A1", "U-A1", [{"type": "Newsletter", "flag": True}])

    assert len(program.events) == 3
    for event in program.events:
        schema(event["eventType"]).validate(event)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "events" / "forward_events").glob("sqs_[st]*.json")), ids=lambda it: it.stem
)
def test_the_sample_events_are_as_published(path: Any) -> None:
    for record in json.loads(path.read_text())["Records"]:
        event = json.loads(record["body"])
        for one in event if isinstance(event, list) else [event]:
            schema(one["eventType"]).validate(one)


GOOD: dict[str, Any] = {"eventType": "balance_changed", "accountId": "A1", "payload": {"points": 7}}


@pytest.mark.parametrize(
    "change",
    [
        {"eventType": "teleported"},
        {"accountId": ["A1"]},
        {"payload": []},
        {"payload": {"points": "many"}},
        {"payload": {"points": {"value": 7}}},
        {"programId": "de mo"},
        {"programId": "-demo"},
    ],
)
def test_what_is_not_an_event_is_not_as_published(change: dict[str, Any]) -> None:
    assert schema("balance_changed").is_valid(GOOD)
    assert not schema("balance_changed").is_valid(GOOD | change)


CONVERCUS = (DOCS / "convercus.md").read_text()


@pytest.mark.parametrize(
    "setting",
    [
        *(f"`loyalty.api.{name}`" for name in ConvercusApi.__struct_fields__),
        *(f"| `{name}` | `{usual}` |" for name, usual in msgspec.structs.asdict(Endpoints()).items()),
        *(f"`{name}`" for name in (*get_args(WriteField), *ConvercusApi().inactive_states, *ConvercusSettings.secrets)),
    ],
)
def test_every_setting_of_convercus_api_is_documented_with_its_default(setting: str) -> None:
    assert setting in CONVERCUS


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", CONVERCUS, re.DOTALL))
def test_an_example_of_convercus_settings_can_be_put(example: str) -> None:
    change = json.loads(example)

    merge(Connection(), {name: side for name, side in change.items() if name != "secrets"})


TEXTS = {path.name: path.read_text() for path in (ROOT / "README.md", *DOCS.glob("*.md"))}


@pytest.mark.parametrize("name", TEXTS)
def test_every_deployment_names_its_configuration(name: str) -> None:
    assert set(re.findall(r"sam deploy\s+(--\S+)", TEXTS[name])) <= {"--config-env"}


def test_the_pages_say_when_an_event_that_crashes_is_set_aside() -> None:
    queue = resources("AWS::SQS::Queue")["EventsQueue"]["Properties"]["RedrivePolicy"]
    stream = resources("AWS::Lambda::EventSourceMapping")["ForwardEventsFromStream"]["Properties"]

    assert f"After {queue['maxReceiveCount']} deliveries a record of the queue goes to" in TEXTS["delivery.md"]
    assert (stream["MaximumRetryAttempts"], stream["MaximumRecordAgeInSeconds"]) == (-1, 86400)
    assert "after one day those of the stream go to its failure bucket" in TEXTS["delivery.md"]
    assert "after one day: it lies in the bucket" in " ".join(TEXTS["operations.md"].split())


@pytest.mark.parametrize(
    "setting",
    [
        *(name for name in Connection.__struct_fields__ if name not in {"loyalty", "engagement"}),
        *(f"loyalty.rules.{name}" for name in ConvercusRules.__struct_fields__),
        *(f"engagement.rules.{name}" for name in BrazeRules.__struct_fields__),
    ],
)
def test_every_setting_of_convercus_and_braze_is_documented(setting: str) -> None:
    assert f"| `{setting}` |" in TEXTS["settings.md"]


def test_the_opt_ins_that_mean_e_mail_are_documented() -> None:
    words = ", ".join(f"`{word}`" for word in ConvercusRules().email_optins)

    assert f"`loyalty.rules.email_optins` | {words} |" in TEXTS["settings.md"]


def test_every_event_that_is_read_is_published() -> None:
    for kind in sorted(path.stem for path in (DOCS / "schemas" / "convercus").glob("*.json")):
        assert convercus.aliases_of(GOOD | {"eventType": kind}) == ()
    with pytest.raises(Invalid):
        convercus.aliases_of(GOOD | {"eventType": "teleported"})


PAGES = (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))


def headings(path: Path) -> set[str]:
    """Name a page's headings as GitHub does in links to them."""
    found = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.replace("`", "").lower()).replace(" ", "-") for one in found}


def prose(path: Path) -> str:
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)


def links(path: Path) -> list[tuple[Path, str]]:
    found = [one.partition("#") for one in re.findall(r"\]\(([^)\s]+)\)", prose(path)) if "://" not in one]
    return [((path.parent / there).resolve() if there else path, heading) for there, _, heading in found]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_link_leads_to_a_page_and_a_heading_that_are_there(path: Path) -> None:
    dead = [
        (there.name, heading)
        for there, heading in links(path)
        if not there.exists() or (heading and heading not in headings(there))
    ]

    assert dead == []


def test_the_readme_links_every_page() -> None:
    assert {*PAGES} - {there for there, _ in links(ROOT / "README.md")} == {ROOT / "README.md"}


def test_the_architecture_lists_every_table() -> None:
    stores = prose(DOCS / "architecture.md").partition("## The stores")[2].partition("\n## ")[0]

    assert {*re.findall(r"^\| `(\w+Table)`", stores, re.MULTILINE)} == resources("AWS::DynamoDB::Table").keys()


RETIRED = re.compile(
    r"\b(told|tells?|shelf|shelves|desk|gates?|lanes?|tally|journal|epoch|ledger|anew|whoever|nobody|mend|meanwhile)\b",
    re.IGNORECASE,
)
WRITTEN = [path for path in PAGES if path.name != "CHANGELOG.md" and not path.name.endswith("-fields.md")]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_a_page_uses_the_words_of_the_vocabulary(path: Path) -> None:
    assert RETIRED.findall(re.sub("`[^`]*`", "", prose(path))) == []


LIBRARY = ROOT / "shared" / "loyalty_bridge"


@pytest.mark.parametrize("name", ["architecture.md", "add-a-platform.md"])
def test_a_file_that_a_page_names_is_there(name: str) -> None:
    """A name of an example stands for any: `acme` for a vendor, `<name>` for a function."""
    named = {one.rstrip("/") for one in re.findall(r"`([\w./<>*-]+(?:/|\.py|\.json|\.yaml|\.md))`", prose(DOCS / name))}
    patterns = {one: re.sub("acme_webhook|acme|<[a-z]+>", "*", one) for one in named}

    absent = [one for one, it in patterns.items() if not any(any(below.glob(it)) for below in (LIBRARY, ROOT))]

    assert len(named) > 10
    assert absent == []


@pytest.mark.parametrize(
    ("page", "figure", "expected", "text"),
    [
        ("delivery.md", LIMITS.hold_after_seconds, 180, "a destination fails for more than three minutes"),
        ("delivery.md", redelivery.LONGEST, 7200, "up to two hours from the queue"),
        ("delivery.md", redelivery.LONGEST_OF_STREAM, 20, "up to twenty seconds from the stream"),
        ("delivery.md", sender.MAX_SET_ASIDE, 3, "At most three objects per program and invocation"),
        ("delivery.md", parsing.MAX_EVENTS, 20_000, "one record has more than 20,000 events"),
        ("delivery.md", delivery_log.DAYS, 30, "The delivery log remembers an event for 30 days"),
        ("delivery.md", parked_records.DAYS, 30, "Held, rejected and waiting records are stored for 30 days"),
        ("delivery.md", parsing.MAX_AHEAD, timedelta(minutes=5), "A time more than five minutes ahead counts"),
        (
            "delivery.md",
            {it for it in NEVER_BEGUN if it >= 500},
            {501, 503, 505, 511, 529},
            "except 501, 503, 505, 511 and 529, with which servers turn a request away unread",
        ),
        ("performance.md", engagement_client.share(50), 60, "with 50 forwarders, 60 requests in any 3 seconds"),
        ("convercus.md", identities.MOST_MEMBERS, 100, "A user with more than 100 accounts"),
        ("convercus.md", LIMITS.known_after, timedelta(minutes=15), "It waits up to 15 minutes for one"),
        ("operations.md", MAX_ERRORS, 25, "writes at most 25 different errors of a program"),
        ("operations.md", parked_records.DAYS, 30, "nothing is lost for 30 days"),
    ],
)
def test_a_figure_of_a_page_is_that_of_the_code(page: str, figure: object, expected: object, text: str) -> None:
    assert figure == expected
    assert text in " ".join(TEXTS[page].split())
