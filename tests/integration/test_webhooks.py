"""The two webhooks: who may deliver, what is stored before a 200, and the answer to the sender otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.event_queue import bodies, envelope
from loyalty_bridge.event_queue.envelope import SourceRecord, group_of
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import programs
from loyalty_bridge.programs import repository
from loyalty_bridge.settings import DeliverySettings
from simulators import brevo, punchh_sender
from simulators.punchh_events import event, guest
from tests.support.parked import load_parked
from tests.support.template import ROOT
from tests.support.webhooks import (
    BASIC,
    CREDENTIAL,
    HOST,
    NOW,
    answered,
    connect,
    delivery,
    queued,
    status,
    streamed,
    streaming,
)

Platform = Literal["punchh", "loyalty"]

CHECKIN = event(guest(1), NOW - 60, "checkins", "loyalty")
VOUCHER = brevo.event(brevo.contact(1), NOW - 60, "voucher_created")
EVENTS: dict[Platform, dict[str, Any]] = {"punchh": CHECKIN, "loyalty": VOUCHER}
NOT_STORED: dict[Platform, int] = {"punchh": 503, "loyalty": 429}
BRAZE = {"api_endpoint": "http://127.0.0.1:9"}

of_both = pytest.mark.parametrize("platform", ["punchh", "loyalty"])


@pytest.fixture(autouse=True)
def connected_programs(stores: DeliverySettings) -> None:
    """Connect a program of each platform, called as its webhook."""
    connect(stores, {"platform": "punchh"}, BRAZE, program="punchh")
    connect(stores, {"platform": "brevo"}, BRAZE, program="loyalty")


def unsealed(settings: DeliverySettings) -> list[tuple[str, SourceRecord]]:
    """Take what lies on the queue: each event's record with its group."""
    messages = envelope.inbound_messages({"Records": queued(settings)})
    opened = [(one.group, envelope.decode(one, lambda key: bodies.load(settings, key))) for one in messages]
    return [(group, own) for group, record in opened for own in each_alone(record)]


def each_alone(record: SourceRecord) -> list[SourceRecord]:
    """Take a record apart that may hold several events of one member."""
    document = json.loads(record.body)
    return [envelope.single(record, one) for one in document] if isinstance(document, list) else [record]


# --- Who may deliver.

PUNCHH_URLS = [
    f"https://{HOST}/hooks/v1/programs/signed/webhooks/punchh",
    f"https://{HOST}/v1/programs/signed/webhooks/punchh",
    f"https://{HOST}/v1/programs/signed/webhooks/punchh/",
]


@pytest.mark.parametrize("url", PUNCHH_URLS)
@pytest.mark.parametrize(
    ("setting", "auth", "name", "secret", "credential"),
    [
        ("basic", "basic", "bridge", "pass:word", "bridge:pass:word"),
        ("bearer", "bearer", "", "t0ken", "t0ken"),
        ("hmac", "hmac-sha1", "bridge_client", "s3cret", "s3cret"),
        ("hmac", "hmac-sha256", "bridge_client", "s3cret", "s3cret"),
    ],
)
def test_punchh_signs_in_each_way_that_it_has(
    stores: DeliverySettings,
    url: str,
    setting: str,
    auth: punchh_sender.Auth,
    name: str,
    secret: str,
    credential: str,
) -> None:
    connect(
        stores, {"platform": "punchh", "webhook_auth": setting}, BRAZE, program="signed", webhook_credential=credential
    )
    body = json.dumps(CHECKIN)

    def told(shown: str) -> int:
        headers = punchh_sender.sign_in(url, body.encode(), auth=auth, secret=shown, name=name)
        slash = "/" if url.endswith("/") else ""
        return status(delivery("punchh", body, program="signed", headers=headers, slash=slash))

    assert (told(secret), told(f"{secret}x"), told("")) == (200, 401, 401)
    assert len(queued(stores)) == 1


def test_a_signature_covers_the_body(stores: DeliverySettings) -> None:
    connect(stores, {"platform": "punchh", "webhook_auth": "hmac"}, BRAZE, program="signed", webhook_credential="key")
    headers = punchh_sender.sign_in(PUNCHH_URLS[0], b"{}", auth="hmac-sha256", secret="key", name="")

    assert status(delivery("punchh", CHECKIN, program="signed", headers=headers)) == 401


def test_a_signature_may_cover_the_whole_url_and_its_query(stores: DeliverySettings) -> None:
    connect(stores, {"platform": "punchh", "webhook_auth": "hmac"}, BRAZE, program="signed", webhook_credential="key")
    body = json.dumps(CHECKIN)
    path = "/hooks/v1/programs/signed/webhooks/punchh"

    def told(uri: str) -> int:
        signed = punchh_sender.sign_in(f"//host{uri}", body.encode(), auth="hmac-sha256", secret="key", name="")
        event = delivery("punchh", body, program="signed", headers=signed)
        return status(event | {"multiValueQueryStringParameters": {"source": ["a b"], "x": ["1", "2"]}})

    assert told(f"{path}?source=a%20b&x=1&x=2") == 200
    assert told(path) == 200
    assert told(f"{path}?source=other") == 401


@pytest.mark.parametrize(
    ("side", "auth", "secret"),
    [
        ({"webhook_auth": "basic"}, "basic", "brevo:pass:wörd"),
        ({"webhook_auth": "bearer"}, "bearer", "t0ken"),
        ({"webhook_auth": "header", "webhook_header": "X-Loyalty-Key"}, "header", "k3y"),
    ],
)
def test_brevo_signs_in_each_way_that_it_has(
    stores: DeliverySettings, side: dict[str, str], auth: brevo.Auth, secret: str
) -> None:
    connect(stores, {"platform": "brevo", **side}, BRAZE, program="signed", webhook_credential=secret)

    def told(shown: str, way: brevo.Auth = auth) -> int:
        headers = brevo.sign_in(auth=way, secret=shown, header="X-LOYALTY-KEY")
        return status(delivery("loyalty", VOUCHER, program="signed", headers=headers))

    other: brevo.Auth = "bearer" if auth != "bearer" else "basic"
    assert (told(secret), told(f"{secret}x"), told(""), told(secret, other)) == (200, 401, 401, 401)
    assert len(queued(stores)) == 1


@of_both
def test_two_credentials_are_valid_while_one_is_exchanged_for_the_other(
    stores: DeliverySettings, platform: Platform
) -> None:
    def told(credential: str) -> int:
        headers = brevo.sign_in(auth="basic", secret=credential, header="")
        return status(delivery(platform, EVENTS[platform], program=platform, headers=headers))

    def save(**secrets: str) -> None:
        before = repository.load(stores, [platform])[platform]
        repository.save(stores, before, platform, before.connection, secrets)

    save(webhook_credential_next="bridge:new")
    during = (told(CREDENTIAL), told("bridge:new"), told("bridge:other"))
    save(webhook_credential="bridge:new")

    assert during == (200, 200, 401)
    assert (told(CREDENTIAL), told("bridge:new")) == (401, 200)


@of_both
@pytest.mark.parametrize(
    "changes",
    [
        {"program": "unknown"},
        {"program": "of-convercus"},
        {"program": "no id.at all"},
        {"program": "x" * 3000},
        {"program": "-"},
        {"headers": {}},
        {"headers": {"Authorization": ""}},
        {"headers": {"Authorization": "Basic"}},
        {"headers": {"Authorization": "Basic %%%"}},
        {"headers": {"Authorization": "Basic Og=="}},
        {"headers": {"Authorization": "Basic ü"}},
        {"headers": {"Authorization": CREDENTIAL}},
    ],
    ids=str,
)
def test_who_shows_no_valid_credential_for_a_program_of_that_platform_is_turned_away_and_counted(
    stores: DeliverySettings, capsys: pytest.CaptureFixture[str], platform: Platform, changes: dict[str, Any]
) -> None:
    connect(stores, {"platform": "convercus"}, BRAZE, program="of-convercus")

    answer = answered(delivery(platform, EVENTS[platform], **{"program": platform, **changes}))

    assert (answer["statusCode"], json.loads(answer["body"])) == (401, {"unauthorized": 1})
    assert '"webhook_unauthorized":[1.0]' in capsys.readouterr().out
    assert queued(stores) == []


HALF = "\ud800"
"""Half a character: no text that can be written as UTF-8."""


@of_both
@pytest.mark.parametrize(
    "odd",
    [
        {"multiValueQueryStringParameters": {HALF: [HALF]}},
        {"multiValueHeaders": {"Authorization": [f"Basic {HALF}"], "X-Secret": [HALF], "Host": [HALF]}},
        {"path": f"/{HALF}"},
        {"body": HALF, "isBase64Encoded": False},
        {"body": "a", "isBase64Encoded": True},
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("way", ["basic", "bearer", "header", "hmac"])
def test_a_stranger_is_turned_away_whatever_the_request_is_made_of(
    stores: DeliverySettings, platform: Platform, odd: dict[str, Any], way: str
) -> None:
    kind = "brevo" if platform == "loyalty" else "punchh"
    if way == ("hmac" if kind == "brevo" else "header"):
        pytest.skip("the platform has no such way")
    header = {"webhook_header": "X-Secret"} if way == "header" else {}
    connect(stores, {"platform": kind, "webhook_auth": way, **header}, BRAZE, program="odd")
    asked = {**delivery(platform, EVENTS[platform], program="odd"), "multiValueHeaders": {}, **odd}

    assert status(asked) == 401


@of_both
def test_a_program_of_the_other_platform_learns_no_more_than_a_stranger(platform: Platform) -> None:
    other: Platform = "loyalty" if platform == "punchh" else "punchh"

    assert status(delivery(platform, EVENTS[platform], program=other)) == 401


def test_a_program_without_a_credential_takes_nothing(stores: DeliverySettings) -> None:
    connection = repository.load(stores, ["punchh"])["punchh"].connection
    repository.save(stores, None, "bare", connection, {})

    assert repository.load(stores, ["bare"])["bare"].missing() == [
        "secrets.braze_api_key",
        "secrets.webhook_credential",
    ]
    assert status(delivery("punchh", CHECKIN, program="bare")) == 401


# --- What is stored.


def test_a_delivery_lies_on_the_queue_as_it_came_in_the_order_of_its_member(stores: DeliverySettings) -> None:
    known = event(guest(1), NOW - 90, "users")
    body = json.dumps(known, indent=3)

    assert status(delivery("punchh", body, program="punchh")) == 200
    assert status(delivery("punchh", CHECKIN, program="punchh")) == 200

    [(first, one), (second, _)] = unsealed(stores)
    assert (first, second) == (group_of("punchh", "cust-00001"), group_of("punchh", f"user:{guest(1).user_id}"))
    assert (one.program, one.body, one.received.timestamp()) == ("punchh", body.encode(), NOW)


@of_both
@pytest.mark.parametrize("binary", [False, True])
def test_an_array_is_taken_apart_element_by_element(stores: DeliverySettings, platform: Platform, binary: bool) -> None:
    def make(number: int) -> dict[str, Any]:
        if platform == "punchh":
            return event(guest(number), NOW - 60, "users")
        return brevo.event(brevo.contact(number), NOW - 60, "voucher_created", reason="Größe 😀")

    elements = [make(1), make(2), make(1)]
    body = json.dumps(elements, ensure_ascii=False)

    answer = answered(delivery(platform, body, program=platform, binary=binary))

    assert json.loads(answer["body"]) == {"accepted": 3, "rejected": 0}
    stored = unsealed(stores)
    by_group: defaultdict[str, list[Any]] = defaultdict(list)
    for group, record in stored:
        by_group[group].append(json.loads(record.body))
    first, second = (group_of(platform, f"cust-0000{number}") for number in (1, 2))
    assert by_group == {first: [elements[0], elements[2]], second: [elements[1]]}


@of_both
def test_the_good_of_five_hundred_go_on_and_the_bad_one_is_refused(
    stores: DeliverySettings, platform: Platform
) -> None:
    elements = [{**EVENTS[platform], "content_id": str(number), "event_id": str(number)} for number in range(500)]
    elements[250] |= {"identifiers": None, "contact_id": None, "payload": {"user_id": {"private": 1}}}

    with streaming(stores) as settings:
        answer = answered(delivery(platform, elements, program=platform))
        stored = streamed(settings)

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"accepted": 499, "rejected": 1})
    assert len(stored) == 5  # of one member: a hundred travel together
    [entry] = load_parked(stores, "rejected", platform)
    assert entry.event_id == "250"
    assert "private" not in str(entry.field_errors)


@of_both
@pytest.mark.parametrize("unusable", [10**30, json.loads("[" * 40 + "]" * 40)])
def test_the_good_go_on_though_one_of_them_holds_what_no_platform_can_store(
    stores: DeliverySettings, platform: Platform, unusable: Any
) -> None:
    elements = [{**EVENTS[platform], "content_id": str(number), "event_id": str(number)} for number in range(3)]
    elements[1] |= {"private": unusable}

    answer = answered(delivery(platform, elements, program=platform))

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"accepted": 2, "rejected": 1})
    assert {json.loads(record.body)["event_id"] for _, record in unsealed(stores)} == {"0", "2"}
    [entry] = load_parked(stores, "rejected", platform)
    assert json.loads(entry.record.body)["event_id"] == "1"


@of_both
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "is not JSON (position 0)"),
        ("private words", "is not JSON (position 0)"),
        ('{"event_name": "users"', "is not JSON (position 22)"),
        ('"private words"', "is neither an object nor an array"),
        ("null", "is neither an object nor an array"),
        ("[null]", "is not an object"),
        ("[]", "holds no event"),
        (b"\xff\xfe", "is not UTF-8"),
        ("[" * 100_000, "is nested deeper than 32"),
        ('{"payload": NaN}', "holds NaN"),
        ('"\\ud800"', "is neither an object nor an array"),
    ],
)
def test_a_body_of_no_use_is_kept_as_refused_and_answered_like_the_rest(
    stores: DeliverySettings, platform: Platform, body: str | bytes, reason: str
) -> None:
    answer = answered(delivery(platform, body, program=platform, binary=True))

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"accepted": 0, "rejected": 1})
    assert queued(stores) == []
    [entry] = load_parked(stores, "rejected", platform)
    assert entry.field_errors[0].reason.startswith(reason)
    assert entry.record.body == (body if isinstance(body, bytes) else body.encode())
    assert "private" not in str([entry.field_errors, answer])


@of_both
@pytest.mark.parametrize("binary", [False, True])
def test_a_body_of_six_megabytes_is_stored_beside_the_queue(
    stores: DeliverySettings, platform: Platform, binary: bool
) -> None:
    large = {**EVENTS[platform], "padding": "ä" * 3_000_000}

    assert status(delivery(platform, json.dumps(large, ensure_ascii=False), program=platform, binary=binary)) == 200

    [(_, record)] = unsealed(stores)
    assert json.loads(record.body) == large


def test_a_bare_event_has_its_name_from_the_url_and_an_id_of_its_content_and_minute(stores: DeliverySettings) -> None:
    rules = {"identify_by": ("loyalty_subscription_id",)}
    connect(stores, {"platform": "brevo", "rules": rules}, BRAZE, program="bare")
    fields = brevo.EXAMPLES["subscription_created"]

    for at in (NOW, NOW + 1, NOW + 60):
        bare = delivery("loyalty", dict(fields), program="bare", event_name="subscription_created", at=at)
        assert status(bare) == 200

    values = [json.loads(record.body) for _, record in unsealed(stores)]
    assert [one["event_name"] for one in values] == ["subscription_created"] * 3
    assert values[0]["event_id"] == values[1]["event_id"] != values[2]["event_id"]
    assert values[0]["event_date"] == "2026-01-05T10:00:00.000Z"


def test_the_name_in_an_event_wins_over_the_urls(stores: DeliverySettings) -> None:
    status(delivery("loyalty", VOUCHER, program="loyalty", event_name="voucher_expired"))

    [(_, record)] = unsealed(stores)
    assert json.loads(record.body)["event_name"] == "voucher_created"


# --- What cannot be stored.


@of_both
@pytest.mark.parametrize(
    ("variable", "body"),
    [
        ("EVENTS_QUEUE_URL", None),
        ("PROGRAMS_TABLE", None),
        ("PARKED_TABLE", "not JSON"),
        ("PARKED_BUCKET", "not JSON"),
        ("PARKED_BUCKET", "x" * 200_000),
    ],
)
def test_what_cannot_be_stored_is_answered_by_the_status_that_the_sender_repeats(
    stores: DeliverySettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    platform: Platform,
    variable: str,
    body: str | None,
) -> None:
    gone = "http://127.0.0.1:9/gone.fifo" if variable == "EVENTS_QUEUE_URL" else "gone"
    monkeypatch.setenv(variable, gone)

    result = status(delivery(platform, body or EVENTS[platform], program=platform))

    assert result == NOT_STORED[platform]
    assert '"webhook_not_stored":[1.0]' in capsys.readouterr().out


def test_a_secret_that_does_not_open_is_no_wrong_credential(stores: DeliverySettings) -> None:
    before = repository.load(stores, ["loyalty"])["loyalty"]
    stores_of_other = {name: secret for name, secret in before.secrets.items() if name != "webhook_credential"}
    closed = repository.load(stores, ["punchh"])["punchh"].secrets["webhook_credential"]
    foreign = type(before)("loyalty", before.connection, 1, secrets={**stores_of_other, "webhook_credential": closed})
    repository.save(stores, foreign, "loyalty", before.connection, {})

    assert status(delivery("loyalty", VOUCHER, program="loyalty")) == 429


def test_a_defect_of_ours_does_not_make_brevo_discard_an_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("PARKED_BUCKET")

    answer = answered(delivery("loyalty", VOUCHER, program="loyalty"))

    assert answer["statusCode"] == 429
    assert '"webhook_failed":[1.0]' in capsys.readouterr().out
    assert caplog.records[-1].levelname == "ERROR"
    text = str(caplog.records[-1].__dict__)
    assert "RuntimeError in parse_settings:" in text
    assert "PARKED_BUCKET" not in text  # a message may hold what was delivered


def test_a_defect_of_ours_is_found_among_the_errors_of_no_program(
    bridge: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("PARKED_BUCKET")
        answered(delivery("loyalty", VOUCHER, program="loyalty"))

    code, output, _ = bridge("errors", "-", "--code", "failed", "--json")

    assert code == 0
    assert ["RuntimeError in parse_settings:" in line["reason"] for line in json.loads(output)["errors"]] == [True]


# --- Being fast, and being there.


@pytest.mark.parametrize("slash", ["", "/"])
def test_punchhs_ping_is_answered_whatever_state_the_stores_are_in(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    aws.dynamodb().delete_table(TableName=stores.programs_table)

    for headers in ({}, BASIC):
        assert status(delivery("punchh", "", program="punchh", method="GET", headers=headers, slash=slash)) == 200
    monkeypatch.delenv("PROGRAMS_TABLE")
    assert status(delivery("punchh", "", method="GET", headers={}, slash=slash)) == 200


@pytest.mark.parametrize(
    ("program", "headers", "expected"),
    [
        pytest.param("punchh", {}, 200, id="no credential"),
        pytest.param("punchh", {"Authorization": " "}, 200, id="a blank one"),
        pytest.param("punchh", BASIC, 200, id="the right one"),
        pytest.param("punchh", {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}, 401, id="a wrong one"),
        pytest.param("punchh", {"Authorization": "Bearer webhook-password"}, 401, id="another scheme"),
        pytest.param("unknown", {}, 404, id="unknown program"),
        pytest.param("unknown", BASIC, 404, id="unknown program, with a credential"),
        pytest.param("..", {}, 404, id="no program's id"),
        pytest.param("loyalty", {}, 404, id="another platform's program"),
    ],
)
def test_punchhs_ping_reports_a_wrong_url_or_credential(program: str, headers: dict[str, str], expected: int) -> None:
    assert status(delivery("punchh", "", method="GET", program=program, headers=headers)) == expected


@pytest.mark.parametrize("body", [b"[" + b"1," * 2_000_000 + b"1]", b"[" + b"{}," * 6000 + b"{}]", b"[" + b"1," * 9000])
def test_a_delivery_of_too_many_events_is_refused_as_one(body: bytes) -> None:
    began = time.monotonic()

    answer = answered(delivery("loyalty", body, program="loyalty"))

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"accepted": 0, "rejected": 1})
    assert time.monotonic() - began < 10


LAZY = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
import app
from loyalty_bridge.platforms.registry import LOYALTY
platform, body = sys.argv[2], __import__("json").loads(sys.argv[3])
reader = LOYALTY[platform]
reader.member(body, importlib.import_module(f"loyalty_bridge.platforms.{platform}.events").SETTINGS().rules)
wanted = {"loyalty_bridge.platforms.brevo.event_models", "phonenumbers", "email_validator", "requests"}
print(*sorted(wanted & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("function", "platform", "body"), [("punchh_webhook", "punchh", CHECKIN), ("loyalty_webhook", "brevo", VOUCHER)]
)
def test_a_delivery_waits_for_no_model_of_an_event(function: str, platform: str, body: dict[str, Any]) -> None:
    code = [sys.executable, "-c", LAZY, str(ROOT / "functions" / function), platform, json.dumps(body)]

    loaded = subprocess.run(code, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()

    assert loaded == []


@of_both
@pytest.mark.parametrize("make", [lambda one: one, lambda one: {**one, "payload": {}, "identifiers": {}}])
def test_the_log_reports_neither_the_member_nor_a_credential(
    caplog: pytest.LogCaptureFixture, platform: Platform, make: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    answered(delivery(platform, make(EVENTS[platform]), program=platform))

    text = str([record.__dict__ for record in caplog.records])
    assert f"'program': '{platform}'" in text
    secret = (guest(1).email, brevo.contact(1).email, "cust-00001", str(guest(1).user_id), CREDENTIAL, *BASIC.values())
    assert [word for word in secret if word in text] == []


# Another way to show the credential.

KEPT = {"webhook_credential": CREDENTIAL, "webhook_credential_next": "brevo:another-password"}


@pytest.mark.parametrize(
    ("change", "given", "asked"),
    [
        ({"webhook_auth": "bearer"}, [], "webhook_credential"),
        ({"webhook_auth": "hmac"}, ["webhook_credential"], "webhook_credential_next"),
        ({"webhook_auth": "bearer"}, list(KEPT), None),
        ({"webhook_auth": "basic"}, [], None),
        ({"platform": "brevo"}, [], "webhook_credential"),
    ],
)
def test_another_way_to_show_a_credential_wants_the_credential_again(
    stores: DeliverySettings, change: dict[str, str], given: list[str], asked: str | None
) -> None:
    before = connect(stores, {"platform": "punchh"}, {}, program="changing", **KEPT)
    secrets = {name: f"a new credential of {name}" for name in given}
    refused = None

    try:
        programs.save(stores, "changing", {"loyalty": change}, secrets)
    except Invalid as refusal:
        refused = refusal

    saved = repository.load(stores, ["changing"])["changing"]
    assert (refused and refused.field) == (asked and "loyalty.webhook_auth")
    assert asked is None or f"secrets.{asked} again" in str(refused)
    assert (saved.version == before.version) is (asked is not None)
