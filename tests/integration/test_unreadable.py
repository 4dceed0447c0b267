"""A program whose item another version wrote, or that is damaged: it alone stops, keeps its records, and says so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import programs
from loyalty_bridge.parking import release
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.integration.test_admin_api import call
from tests.support.admin_site import Site
from tests.support.events import event
from tests.support.functions import CONTEXT, handler
from tests.support.http_events import ACTIONS, LOOK_UPS, Api
from tests.support.parked import load_parked
from tests.support.transports import Queue
from tests.support.webhooks import delivery

Item = dict[str, Any]


def with_setting(name: str, value: Any) -> Callable[[Item], Item]:
    """Change a setting, as a version that knows it may have saved it."""

    def change(item: Item) -> Item:
        return item | {"settings": {"S": json.dumps(json.loads(item["settings"]["S"]) | {name: value})}}

    return change


DAMAGED_SETTINGS: dict[str, Callable[[Item], Item]] = {
    "a setting of the next version": with_setting("a_setting_of_the_next_version", True),
    "a platform of the next version": with_setting("engagement", {"platform": "klaviyo"}),
    "a value of the next version": with_setting("attribute_writes", "sometimes"),
    "no JSON": lambda item: item | {"settings": {"S": "{"}},
    "nested without an end": lambda item: item | {"settings": {"S": '{"loyalty":' + "[" * 20_000}},
    "no settings": lambda item: {name: value for name, value in item.items() if name != "settings"},
    "settings of another type": lambda item: item | {"settings": {"B": b"\x00"}},
    "a destination version that is no number": lambda item: item | {"destination_version": {"S": "first"}},
    "secrets in another form": lambda item: item | {"secrets": {"L": []}},
    "a secret in another form": lambda item: item | {"secrets": {"M": {"braze_api_key": {"S": "x"}}}},
    "a time beyond the calendar": lambda item: item | {"since": {"N": "9" * 30}},
    "a version that is no integer": lambda item: item | {"version": {"N": "1.5"}},
    "a secret of another type": lambda item: (
        item | {"secrets": {"M": {"braze_api_key": {"M": {"ciphertext": {"S": "x"}}}}}}
    ),
    "without the key of its hashes": lambda item: item | {"secrets": {"M": {}}},
}
DAMAGED_GATES: dict[str, Item] = {
    "a state of the next version": {"state": {"S": "paused"}},
    "a state of another type": {"state": {"N": "1"}},
    "a time in a list": {"state": {"S": "live"}, "since": {"L": [{"N": "1"}]}},
    "a state in an object": {"state": {"M": {"S": {"S": "live"}}}},
    "a state that is a list": {"state": {"SS": ["live"]}},
    "a time that is no number": {"state": {"S": "live"}, "since": {"NULL": True}},
    "a time that is none": {"state": {"S": "live"}, "not_before": {"S": "soon"}},
}


class World:
    """Two connected programs, their transport, and the schedule."""

    def __init__(self, settings: DeliverySettings, braze: Braze) -> None:
        self.settings, self.braze, self.queue = settings, braze, Queue()
        for name in ("good", "odd"):
            braze.workspace(f"key-of-{name}")
            connect(settings, braze.url, name, f"key-of-{name}")
        self.before = self.item("connection")

    def item(self, kind: str) -> Item:
        key: Item = {"program": {"S": "odd"}, "item": {"S": kind}}
        return dict(aws.dynamodb().get_item(TableName=self.settings.programs_table, Key=key).get("Item", key))

    def write(self, item: Item) -> None:
        aws.dynamodb().put_item(TableName=self.settings.programs_table, Item=item)

    def come(self, *names: str) -> None:
        for program in ("good", "odd"):
            for name in names:
                one = event("user_logged_in", eventId=name, programId=program)
                self.queue.put(json.dumps(one), f"{program}#A1")

    def deliver(self) -> forwarder.Outcome:
        batch = self.queue.batch(10)
        outcome = forwarder.forward(batch, self.settings, 30)
        self.queue.settle(batch, outcome.to_retry)
        return outcome

    def there(self, program: str) -> list[str]:
        return [one.object["properties"]["event_id"] for one in self.braze.workspace(f"key-of-{program}").events]

    def held(self) -> list[str]:
        return [json.loads(entry.record.body)["eventId"] for entry in load_parked(self.settings, "held", "odd")]


@pytest.fixture
def world(stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(stores, braze)
    monkeypatch.setattr(aws, "sqs", lambda: made.queue)
    return made


@pytest.mark.parametrize("damage", DAMAGED_SETTINGS.values(), ids=DAMAGED_SETTINGS)
def test_records_are_held_in_order_until_the_settings_can_be_read(world: World, damage: Callable[[Item], Item]) -> None:
    world.write(damage(world.before))
    world.come("e1", "e2")

    outcome = world.deliver()
    tended = +release.run_schedule(world.settings, 20, check_connection)
    listed = {program.id: programs.row(program)["state"] for program in repository.load_all(world.settings)}
    meanwhile = world.there("good"), world.there("odd"), world.held()
    world.write(world.before)
    world.come("e3")
    world.deliver()
    release.run_schedule(world.settings, 20, check_connection)
    world.deliver()

    assert meanwhile == (["e1", "e2"], [], ["e1", "e2"])
    assert (list(outcome.problems), outcome.to_retry) == (["odd"], [])
    assert tended == Counter(programs=2, programs_held=1)
    assert listed == {"good": "streaming", "odd": "unreadable"}
    assert (world.there("good"), world.there("odd")) == (["e1", "e2", "e3"], ["e1", "e2", "e3"])


@pytest.mark.parametrize("damage", DAMAGED_GATES.values(), ids=DAMAGED_GATES)
def test_records_are_held_until_an_operator_writes_an_unreadable_delivery_state_again(
    world: World, damage: Item
) -> None:
    world.write(world.item("delivery_state") | damage)
    world.come("e1")

    world.deliver()
    release.run_schedule(world.settings, 20, check_connection)
    kept_as_it_was = {name: world.item("delivery_state").get(name) for name in damage}
    meanwhile = world.there("good"), world.there("odd"), world.held()
    programs.release(world.settings, repository.load(world.settings, ["odd"])["odd"])
    release.run_schedule(world.settings, 20, check_connection)
    world.deliver()

    assert kept_as_it_was == damage
    assert meanwhile == (["e1"], [], ["e1"])
    assert world.there("odd") == ["e1"]


def test_what_was_held_is_looked_for_however_long_the_settings_could_not_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(DAMAGED_SETTINGS["no JSON"](world.before))
    world.come("e1")
    world.deliver()
    world.write(world.item("delivery_state") | {"watch_until": {"N": "1"}})  # a day ago

    release.run_schedule(world.settings, 20, check_connection)
    world.write(world.before)
    release.run_schedule(world.settings, 20, check_connection)
    world.deliver()

    assert world.there("odd") == ["e1"]


def test_unreadable_settings_are_replaced_as_a_whole_and_never_in_part(world: World) -> None:
    world.write(DAMAGED_SETTINGS["a setting of the next version"](world.before))
    whole = {
        "loyalty": {"platform": "convercus", "membership_optins": ["SMS"], "default_optins": ["SMS"]},
        "engagement": {"platform": "braze", "api_endpoint": world.braze.url},
    }

    with pytest.raises(Invalid, match="engagement"):
        programs.save(world.settings, "odd", {"loyalty": whole["loyalty"]}, {})
    saved = programs.save(world.settings, "odd", whole, {})
    world.come("e1")
    world.deliver()

    assert (programs.state_of(saved), world.there("odd")) == ("streaming", ["e1"])


@pytest.mark.parametrize(
    "damage", [{"at": {"S": "then"}}, {"destination_version": {"L": []}}, {"cursor_at": {"N": "1"}}]
)
def test_a_deletion_that_cannot_be_read_holds_up_nothing_and_its_id_can_be_used(world: World, damage: Item) -> None:
    world.come("e1")
    world.write(
        {"program": {"S": "gone"}, "item": {"S": "deleted"}, "at": {"N": "1"}, "destination_version": {"N": "1"}}
        | {"due": {"N": "1"}, "under_way": {"BOOL": True}}
        | damage
    )

    tended = release.run_schedule(world.settings, 20, check_connection)
    connect(world.settings, world.braze.url, "gone", "key-of-good")
    world.deliver()

    assert (tended["deleted"], tended["unavailable"]) == (1, 0)
    assert world.there("good") == ["e1"]


@pytest.mark.parametrize(
    "damage",
    [
        {"versions": {"B": b"x"}},
        {"versions": {"M": {}}},
        {"destination_version": {"S": "one"}},
        {"versions": {"B": b"\xff" * 99}},
    ],
)
def test_a_state_of_a_member_that_cannot_be_read_is_forgotten_and_stops_no_one(world: World, damage: Item) -> None:
    world.come("e1")
    world.deliver()
    (member,) = [
        item
        for item in aws.dynamodb().scan(TableName=world.settings.members_table)["Items"]
        if item["member"]["S"] == "odd#member#A1"
    ]
    aws.dynamodb().put_item(TableName=world.settings.members_table, Item=member | damage)
    world.come("e2")

    outcome = world.deliver()

    assert outcome.to_retry == []
    assert (world.there("good"), world.there("odd")) == (["e1", "e2"], ["e1", "e2"])


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_an_action_is_not_carried_out_and_may_be_repeated(api: Api, action: tuple[str, dict[str, Any]]) -> None:
    _damage(api.settings.programs_table, api.program)

    answer = api.post(*action)

    assert (answer.status, answer.body["error"]) == (503, "connection_broken")


@pytest.mark.parametrize("path", LOOK_UPS)
def test_a_lookup_answers_that_it_failed(api: Api, path: str) -> None:
    _damage(api.settings.programs_table, api.program)

    assert api.get(path)[:2] == (200, {"error": "internal_error"})


@pytest.mark.parametrize(("platform", "function"), [("punchh", "punchh_webhook"), ("loyalty", "loyalty_webhook")])
def test_a_webhook_is_asked_to_deliver_again(world: World, platform: Any, function: str) -> None:
    world.write(DAMAGED_SETTINGS["no JSON"](world.before))

    answer = handler(function)(delivery(platform, {"a": 1}, program="odd"), CONTEXT)

    assert answer["statusCode"] in {429, 503}


def test_page_and_api_show_the_program_and_why(site: Site, stores: DeliverySettings) -> None:
    for program in ("demo", "odd"):
        connect(stores, "http://127.0.0.1:9", program, KEY)
    _damage(stores.programs_table, "odd")

    browser = site.browser()
    paths = ("", *(f"/programs/odd{tail}" for tail in ("", "/connection", "/records", "/keys", "/delete")))
    pages = {path: browser.get(f"{site.url}/admin{path}", timeout=20) for path in paths}
    listed = call(site, "GET", "/programs").json()
    shown = call(site, "GET", "/programs/odd").json()

    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
    assert all("cannot be read" in pages[path].text for path in ("", "/programs/odd", "/programs/odd/connection"))
    assert [one["state"] for one in listed["programs"]] == ["streaming", "unreadable"]
    assert (shown["state"], "cannot be read" in shown["held_because"]) == ("unreadable", True)


def test_a_key_that_cannot_be_read_can_be_seen_and_revoked(stores: DeliverySettings) -> None:
    _, good = api_keys.create(stores, "demo", "good")
    item = {"program": {"S": "demo"}, "item": {"S": f"key#{'a' * 64}"}, "created": {"S": "today"}}
    aws.dynamodb().put_item(TableName=stores.programs_table, Item=item)

    listed = [key.id for key in api_keys.list_all(stores, "demo")]
    api_keys.revoke(stores, "demo", "a" * 12)

    assert listed == ["a" * 12, good.id]
    assert api_keys.list_all(stores, "demo") == [good]


def _damage(table: str, program: str) -> None:
    aws.dynamodb().update_item(
        TableName=table,
        Key={"program": {"S": program}, "item": {"S": "connection"}},
        UpdateExpression="SET settings = :damaged",
        ExpressionAttributeValues={":damaged": {"S": "{"}},
    )
