"""The templates of docs/braze.md, rendered as Braze does it, against the functions behind their gateway.

Beside them the example of https://www.braze.com/docs/partners/data_and_analytics/loyalty/convercus.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from loyalty_bridge.http_api import lookups
from loyalty_bridge.http_api.routes import ROUTES
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.programs.connection import Connection, merge
from loyalty_bridge.settings import DeliverySettings, load_settings
from simulators.convercus import Convercus, simulate
from simulators.convercus_program import Program
from tests.support.braze_liquid import Aborted, Answer, Braze
from tests.support.functions import loaded
from tests.support.template import ROOT, resources

PAGE = (ROOT / "docs" / "braze.md").read_text()
CONTRACT_EXAMPLE = (ROOT / "tests" / "fixtures" / "braze" / "loyalty_status.liquid").read_text()
HOST = "bridge.example.com"
PROGRAM = "ABC"
AS_DEPLOYED, BRAZE_WAITS = lookups.LIMIT_SECONDS, 2.0
LIMIT_SECONDS, GIVES_UP_SECONDS = 20.0, 29.0
"""In their place: a busy machine may stall."""

CONTEXT = SimpleNamespace(
    get_remaining_time_in_millis=lambda: 20_000,
    function_name="test",
    memory_limit_in_mb=128,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:test",
    aws_request_id="00000000-0000-0000-0000-000000000000",
)


# The page.


def blocks(heading: str, language: str) -> list[str]:
    """Return the blocks of a language in a section."""
    _, found, rest = PAGE.partition(f"\n### {heading}\n")
    assert found, heading
    section = re.split(r"\n##", rest)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def filled(text: str, key: str) -> str:
    """Put something in the place of every placeholder."""
    for name, value in {
        "SERVICE_HOST": HOST,
        "PROGRAM_ID": PROGRAM,
        "KEY": key,
        "COUPON_ID": "C1",
        "BOOKING_TYPE_CODE": "BONUS",
    }.items():
        text = text.replace(f"<{name}>", value)
    assert not re.search("<[A-Z_]+>", text)
    return text


def headings(language: str) -> set[str]:
    """Name the sections that have a block of a language."""
    return {heading for heading in re.findall(r"^### (.+)$", PAGE, re.MULTILINE) if blocks(heading, language)}


class Webhook(NamedTuple):
    """A webhook's URL and body, as they are typed into Braze."""

    url: str
    body: str


def webhook(heading: str) -> Webhook:
    (url,), (body,) = blocks(heading, "text"), blocks(heading, "json")
    return Webhook(url.strip(), body)


def webhook_headers() -> dict[str, str]:
    section = PAGE.partition("\n## Webhooks\n")[2].partition("\n###")[0]
    return dict(re.findall(r"^\| `([\w-]+)` \| `(.+)` \|$", section, re.MULTILINE))


def content(heading: str) -> str:
    (block,) = blocks(heading, "liquid")
    return block


# The service.


@cache
def routes() -> list[tuple[str, re.Pattern[str], str]]:
    """List method, path and function of the template's routes; a part of a path may be blank."""
    return [
        (
            route["Properties"]["Method"],
            re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]*)", route["Properties"]["Path"])),
            function["Properties"]["CodeUri"].removeprefix("functions/"),
        )
        for function in resources("AWS::Serverless::Function").values()
        for route in function["Properties"].get("Events", {}).values()
        if route["Type"] == "HttpApi"
    ]


@dataclass
class Service:
    """The functions behind their gateway, in this process.

    Attributes
    ----------
    spent
        Seconds that each request has been under way when its function begins: network, queueing, cold start.
    throttled
        How many of the next requests the gateway turns away.
    """

    key: str
    spent: float = 0.0
    throttled: int = 0
    urls: list[str] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> Answer | None:
        """Answer a request; None when Braze has given up on it."""
        self.urls.append(url)
        address = urlsplit(url)
        assert (address.scheme, address.netloc) == ("https", HOST)
        if self.throttled:
            self.throttled -= 1
            return Answer(429, '{"message":"Too Many Requests"}')
        found = ((path.fullmatch(address.path), name) for verb, path, name in routes() if verb == method)
        matched, function = next(((match, name) for match, name in found if match), (None, ""))
        if matched is None:
            return Answer(404, '{"message":"Not Found"}')
        arrived = time.time() - self.spent
        event = {
            "version": "2.0",
            "rawPath": unquote(address.path),
            "rawQueryString": address.query,
            "headers": {name.lower(): value for name, value in headers.items()},
            "queryStringParameters": dict(parse_qsl(address.query, keep_blank_values=True)),
            "pathParameters": {name: unquote(value) for name, value in matched.groupdict().items()},
            "requestContext": {"http": {"method": method}, "timeEpoch": int(arrived * 1000)},
            "body": body,
            "isBase64Encoded": False,
        }
        answer = loaded(function)({name: value for name, value in event.items() if value not in (None, {})}, CONTEXT)
        if method == "GET" and time.time() - arrived > GIVES_UP_SECONDS:
            return None
        return Answer(answer["statusCode"], answer["body"])


@pytest.fixture(scope="module")
def convercus() -> Iterator[Convercus]:
    with simulate() as running:
        yield running


@pytest.fixture
def program(convercus: Convercus) -> Program:
    """Return a Convercus program with two accounts and a coupon."""
    program = convercus.program(PROGRAM)
    program.reset()
    program.account("A1", points=3250)
    program.account("A2")
    program.coupon("C1", validTo="2099-12-31T23:59:59Z")
    return program


@pytest.fixture
def service(
    stores: DeliverySettings, convercus: Convercus, program: Program, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Return the service with a connected program."""
    queue = aws.sqs().create_queue(QueueName="batches")["QueueUrl"]
    for name, value in {"IDEMPOTENCY": "IdempotencyTable", "BATCHES": "BatchesTable"}.items():
        monkeypatch.setenv(f"{name}_TABLE", value)
    monkeypatch.setenv("BATCHES_QUEUE_URL", queue)
    monkeypatch.setattr(lookups, "LIMIT_SECONDS", LIMIT_SECONDS)
    load_settings.cache_clear()
    reached = {"base_url": convercus.url, "auth_url": convercus.url, "realm": PROGRAM, "interaction_id": "BRAZE"}
    optins = {"membership_optins": ("Newsletter", "SMS"), "default_optins": ("Newsletter",)}
    # Without the window nothing but its key makes a repeat known.
    connection = merge(Connection(), {"loyalty": {"api": reached, **optins}, "repeat_window": 0})
    repository.save(stores, None, PROGRAM, connection, {"convercus_client_secret": program.settings.client_secret})
    yield Service(api_keys.create(stores, PROGRAM, "braze")[0])
    load_settings.cache_clear()


def user(account: str | None = "A1", dispatch: str = "d-1", **event_properties: str) -> dict[str, dict[str, str]]:
    """Return what Braze knows of a user while it renders."""
    value = {"title": 'The "blue" one', "points": "25", "order_id": "O-1"} | event_properties
    return {
        "custom_attribute": {"convercus_account_id": account} if account else {},
        "campaign": {"api_id": "campaign-1", "dispatch_id": dispatch},
        "event_properties": value,
        "profile": {"language": "de"} | ({"user_id": account} if account else {}),
    }


# Webhooks.


def fire(service: Service, webhook: Webhook, who: Mapping[str, Mapping[str, str]]) -> tuple[int, Any]:
    """Send a webhook as Braze does, for a user."""
    braze = Braze(lambda *_: None)
    url, body = (braze.message(filled(text, service.key), who) for text in webhook)
    headers = {name: filled(value, service.key) for name, value in webhook_headers().items()}
    answer = service.send("POST", url, headers, body)
    assert answer
    return answer.status, json.loads(answer.text)


ACTIONS = {
    "Assign a coupon": ("assign_coupon", "couponCode"),
    "Book points": ("create_booking", "bookingId"),
    "Book points for an event": ("create_booking", "bookingId"),
    "Set e-mail opt-ins": ("set_optins", "succeeded"),
}
each_action = pytest.mark.parametrize("heading", ACTIONS)


@each_action
def test_a_webhook_does_once_what_it_says_however_often_braze_repeats_it(
    service: Service, program: Program, heading: str
) -> None:
    effect, found = ACTIONS[heading]

    first, *repeats = (fire(service, webhook(heading), user()) for _ in range(3))

    assert (first[0], set(first[1]) & {found}) == (200, {found})
    assert repeats == [first, first]
    assert [(it.call, it.account) for it in program.effects] == [(effect, "A1")]


@each_action
def test_a_dispatch_that_is_shared_by_members_is_carried_out_for_each(
    service: Service, program: Program, heading: str
) -> None:
    for account in ("A1", "A2"):
        assert fire(service, webhook(heading), user(account))[0] == 200

    assert [it.account for it in program.effects] == ["A1", "A2"]


@each_action
def test_a_webhook_for_a_user_without_an_account_names_the_field_and_does_nothing(
    service: Service, program: Program, heading: str
) -> None:
    status, body = fire(service, webhook(heading), user(account=None))

    assert (status, body["error"]) == (400, "invalid_request")
    assert body["field"] == ("accountId" if "/members/" in webhook(heading).url else "account_id")
    assert not program.requests


@pytest.mark.parametrize("blank", ["points", "title"])
def test_an_event_property_that_is_missing_is_named(service: Service, program: Program, blank: str) -> None:
    status, body = fire(service, webhook("Book points for an event"), user(**{blank: ""}))

    assert (status, body["field"]) == (400, {"points": "points", "title": "reason"}[blank])
    assert not program.requests


def test_what_was_booked_is_what_the_event_reported(service: Service, program: Program) -> None:
    fire(service, webhook("Book points for an event"), user())

    (booking,) = program.bookings["A1"]
    values = ("bookingType", "bookingTypeCode", "points", "reason")
    assert [booking[name] for name in values] == ["EARNBOOKING", "BONUS", 25, 'The "blue" one']


def test_events_are_reported_apart_by_their_order_and_not_by_their_dispatch(service: Service, program: Program) -> None:
    for order, dispatch in (("O-1", "d-1"), ("O-1", "d-2"), ("O-2", "d-2")):
        fire(service, webhook("Book points for an event"), user(dispatch=dispatch, order_id=order))

    assert len(program.bookings["A1"]) == 2


@each_action
def test_a_revoked_key_does_nothing(stores: DeliverySettings, service: Service, program: Program, heading: str) -> None:
    (key,) = api_keys.list_all(stores, PROGRAM)
    api_keys.revoke(stores, PROGRAM, key.id)

    assert fire(service, webhook(heading), user())[0] == 401
    assert not program.requests


@pytest.mark.parametrize(
    ("heading", "on", "repeated"),
    [
        pytest.param("Assign a coupon", "assign_coupon", 500, id="a coupon is nowhere to be looked up"),
        pytest.param("Book points", "create_booking", 200, id="a booking is found by its reference"),
    ],
)
def test_what_may_have_been_done_is_not_sent_again(
    service: Service, program: Program, heading: str, on: str, repeated: int
) -> None:
    program.misbehave(kind="status", on=on, when="after", status=500)

    first = fire(service, webhook(heading), user())
    second = fire(service, webhook(heading), user())

    assert (first[0], first[1]["error"]) == (500, "outcome_unknown")
    assert second[0] == repeated
    assert len(program.effects) == 1


def test_what_was_not_sent_is_carried_out_by_the_repeat(service: Service, program: Program) -> None:
    program.misbehave(kind="status", on="assign_coupon", status=503, headers={"Retry-After": "60"})

    first = fire(service, webhook("Assign a coupon"), user())
    second = fire(service, webhook("Assign a coupon"), user())

    assert (first[0], first[1]["error"], second[0]) == (502, "not_sent", 200)
    assert len(program.effects) == 1


def test_what_failed_of_a_partial_success_is_set_when_it_is_sent_again(service: Service, program: Program) -> None:
    (owner,) = program.accounts["A1"]["memberships"]
    program.account("A1", memberships=[owner, {**owner, "userId": "U-2", "memberRole": "MEMBER", "optins": []}])
    program.misbehave(kind="pass", on="set_optins")
    program.misbehave(kind="status", on="set_optins", status=500)

    first = fire(service, webhook("Set e-mail opt-ins"), user(dispatch="d-1"))
    second = fire(service, webhook("Set e-mail opt-ins"), user(dispatch="d-2"))

    assert first[0] == 207
    assert [it["membership_id"] for it in first[1]["succeeded"]] == ["U-A1"]
    assert [it["membership_id"] for it in first[1]["failed"]] == ["U-2"]
    assert second[0] == 200
    assert [it["optins"] for it in program.accounts["A1"]["memberships"]] == [
        [{"type": "Newsletter", "flag": True}]
    ] * 2


def test_a_batch_is_planned_once(service: Service) -> None:
    first, second = (fire(service, webhook("Assign a coupon to many members"), user()) for _ in range(2))

    assert first[0] == 200
    assert first[1]["batchId"]
    assert second == first


def test_every_status_of_an_action_is_explained() -> None:
    section = PAGE.partition("### What a status means")[2].partition("###")[0]
    explained = {int(status) for status in re.findall(r"^\| (\d{3}) \|", section, re.MULTILINE)}

    actions = [call for call in ROUTES if call.method == "post" and isinstance(call.takes, type)]
    assert explained == {status for call in actions for status in (*call.answers, *call.fails)} | {429}


# Connected Content.


def shown(braze: Braze, service: Service, template: str, who: Mapping[str, Mapping[str, str]]) -> str:
    """Render a message; return its text, or that it is aborted."""
    try:
        text = braze.message(filled(template, service.key), who)
    except Aborted:
        return "ABORTED"
    return " ".join(text.split())


def braze_of(service: Service, nothing: str | None = None, clock: Callable[[], float] = time.monotonic) -> Braze:
    return Braze(lambda url, headers: service.send("GET", url, headers), nothing, clock)


Case = Callable[[Service, Program], str]
"""Brings about a situation, and names the account of the user."""


def _good(_: Service, program: Program) -> str:
    program.assign_coupon("A1", {"couponId": "C1"})
    return "A1"


def _without_coupons(_: Service, program: Program) -> str:
    return "A1"


def _unknown(_: Service, program: Program) -> str:
    return "A404"


def _slow_upstream(service: Service, program: Program) -> str:
    program.misbehave(kind="slow", times=None, seconds=10)
    service.spent = LIMIT_SECONDS - 0.3
    return _good(service, program)


def _failing_upstream(service: Service, program: Program) -> str:
    program.misbehave(kind="status", times=None, status=500)
    service.spent = LIMIT_SECONDS - 0.3
    return _good(service, program)


def _late(service: Service, program: Program) -> str:
    service.spent = GIVES_UP_SECONDS + 0.5
    return _good(service, program)


def _throttled(service: Service, program: Program) -> str:
    service.throttled = 100
    return _good(service, program)


def _once_throttled(service: Service, program: Program) -> str:
    service.throttled = 1
    return _good(service, program)


def _wrong_key(service: Service, program: Program) -> str:
    service.key = "cvc_" + "A" * 43
    return _good(service, program)


def _without_account(_: Service, program: Program) -> str:
    return ""


BLOCK = "<h2>Hello Max</h2> <p>Your level: <strong>Gold</strong></p> <p>Your points: <strong>3250</strong></p>"
OFFER = "<h3>Your offers</h3> <p>Gutschein C1, until 2099-12-31</p>"
BALANCE = "<p>You have 3250 points.</p>"
NO_BALANCE = "<p>Your points are waiting for you in our app.</p>"
ABORTED = "ABORTED"

# The page's table of what the message shows: situation, loyalty block, offers, points balance.
SHOWN: dict[Case, tuple[str, str, str]] = {
    _good: (f"{BLOCK} {OFFER}", "<h2>Your offers</h2> <p>Gutschein C1: <strong>CODE</strong></p>", BALANCE),
    _without_coupons: (BLOCK, ABORTED, BALANCE),
    _unknown: ("", ABORTED, NO_BALANCE),
    _slow_upstream: ("", ABORTED, NO_BALANCE),
    _failing_upstream: ("", ABORTED, NO_BALANCE),
    _late: ("", ABORTED, ABORTED),
    _throttled: ("", ABORTED, ABORTED),
    _once_throttled: ("", ABORTED, BALANCE),
    _wrong_key: ("", ABORTED, ABORTED),
    _without_account: ("", ABORTED, NO_BALANCE),
}
TEMPLATES = ("Loyalty block", "Offers, sent only when there are any", "Points balance, worth waiting for")


MESSAGES = [
    pytest.param(case, template, expected, nothing, id=f"{case.__name__.strip('_')}-{template}-{nothing!r}")
    for case, texts in SHOWN.items()
    for template, expected in zip(TEMPLATES, texts, strict=True)
    for nothing in ((None, "") if case in {_late, _throttled, _once_throttled, _wrong_key} else (None,))
]


@pytest.mark.parametrize(("case", "template", "expected", "nothing"), MESSAGES)
def test_a_message_is_right_or_is_not_sent(
    service: Service, program: Program, case: Case, template: str, expected: str, nothing: str | None
) -> None:
    account = case(service, program)

    text = shown(braze_of(service, nothing), service, content(template), user(account))

    assert re.sub(r"C1-[0-9A-F]{8}", "CODE", text) == expected


STATUS = (
    "<h2>Your Loyalty Status</h2> <p>Hi Max, you're a <strong>Gold</strong> member.</p>"
    " <p>Points balance: <strong>3250</strong></p>"
)
ACTIVE_OFFER = "<h3>Your Active Offers</h3> <p><strong>Coupon C1</strong> — valid until 2099-12-31T23:59:59Z</p>"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(_good, f"{STATUS} {ACTIVE_OFFER}", id="good"),
        pytest.param(_without_coupons, STATUS, id="without coupons"),
        pytest.param(_unknown, "", id="unknown"),
        pytest.param(_slow_upstream, "", id="slow upstream"),
    ],
)
def test_the_contracts_example_is_right_with_whatever_the_service_answers(
    service: Service, program: Program, case: Case, expected: str
) -> None:
    template = CONTRACT_EXAMPLE.replace("{programId}", "<PROGRAM_ID>").replace("cvc_…", "<KEY>")

    assert shown(braze_of(service), service, template, user(case(service, program))) == expected


def test_a_slow_convercus_is_given_up_before_braze_gives_up(
    service: Service, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LIMIT_SECONDS", AS_DEPLOYED)
    program.misbehave(kind="slow", times=None, seconds=10)
    began = time.monotonic()

    url = f"https://{HOST}/v1/programs/{PROGRAM}/members/A1/profile"
    answer = service.send("GET", url, {"X-Convercus-Key": service.key})

    assert AS_DEPLOYED < BRAZE_WAITS
    assert time.monotonic() - began < BRAZE_WAITS + 4  # a busy machine may stall; the fault lasts ten seconds
    assert answer == Answer(200, '{"error":"internal_error"}')
    assert "slow" in {request.fault for request in program.requests}


def test_a_block_without_offers_is_shown_when_only_the_coupons_fail(service: Service, program: Program) -> None:
    program.misbehave(kind="status", on="account_coupons", times=None, status=403, body={"code": "NO_RIGHT"})

    text = shown(braze_of(service), service, content("Loyalty block"), user(_good(service, program)))

    assert text == BLOCK


def test_a_member_of_whom_little_is_known_gets_a_whole_message(service: Service, program: Program) -> None:
    program.account("A1", points=0, level={}, memberships=[])

    text = shown(braze_of(service), service, content("Loyalty block"), user())

    assert text == "<h2>Hello</h2> <p>Your points: <strong>0</strong></p>"


def test_a_name_cannot_break_the_message(service: Service, program: Program) -> None:
    program.accounts["A1"]["memberships"][0]["givenName"] = "<b>Max & Co"

    text = shown(braze_of(service), service, content("Loyalty block"), user())

    assert text.startswith("<h2>Hello &lt;b&gt;Max &amp; Co</h2>")


@pytest.mark.parametrize("heading", ["Loyalty block", "Points balance, worth waiting for"])
def test_a_balance_is_asked_for_once_in_five_minutes(service: Service, program: Program, heading: str) -> None:
    now = [0.0]
    braze = braze_of(service, clock=lambda: now[0])
    texts = []

    for at in (0.0, 299.0, 301.0):
        now[0] = at
        texts.append(shown(braze, service, content(heading), user()))
        program.account("A1", points=10)

    assert ["3250" in text for text in texts] == [True, True, False]
    assert "10" in texts[-1]


@pytest.mark.parametrize("heading", ["Loyalty block", "Offers, sent only when there are any"])
def test_a_coupon_that_was_redeemed_is_in_no_further_message(service: Service, program: Program, heading: str) -> None:
    braze = braze_of(service)
    _good(service, program)

    before = shown(braze, service, content(heading), user())
    for coupon in program.account_coupons.values():
        coupon["redeemCount"] = 1
    after = shown(braze, service, content(heading), user())

    assert ("Gutschein C1" in before, "Gutschein C1" in after) == (True, False)


def test_no_url_holds_the_key(service: Service, program: Program) -> None:
    for template in TEMPLATES:
        shown(braze_of(service), service, content(template), user(_good(service, program)))

    assert service.urls
    assert not [url for url in service.urls if service.key in url]


def test_the_check_of_a_new_key_works_as_documented(service: Service, program: Program) -> None:
    program.account("A00042")
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    name, value, url = re.findall(r"-H '(.+): (.+)' '(.+)'", filled(command, service.key))[0]

    answer = service.send("GET", url, {name: value})

    assert answer
    assert json.loads(answer.text)["member_id"] == "A00042"


def test_every_template_of_the_page_is_rendered_here() -> None:
    assert headings("json") == {*ACTIONS, "Assign a coupon to many members"}
    assert headings("liquid") == set(TEMPLATES)
