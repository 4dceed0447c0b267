"""What the fault sweep runs: each scenario is begun, repeated in rounds until nothing is left to do, and checked."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from moto import mock_aws
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID

from loyalty_bridge import settings as environment
from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.activity import buffer
from loyalty_bridge.activity import store as activity_store
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue.envelope import group_of
from loyalty_bridge.infra import aws, retry
from loyalty_bridge.operations import redrive
from loyalty_bridge.operations.redrive import RecordFilter
from loyalty_bridge.parking import release
from loyalty_bridge.parking.parked_records import Kind
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.programs.connection import merge
from loyalty_bridge.settings import DeliverySettings, PlanSettings
from simulators import brevo, punchh_events
from simulators.braze import Braze
from simulators.convercus import Convercus
from simulators.convercus_program import Program as Upstream
from simulators.moengage import MoEngage
from simulators.punchh import Punchh
from simulators.punchh_business import Campaign
from simulators.server import Answer, Request, serving
from tests.conftest import connect
from tests.faults.injection import Crash, Faults, spoil_aws, spoilt
from tests.support.events import event
from tests.support.functions import loaded
from tests.support.http_events import PUNCHH_SECRETS, Api, connect_punchh, context, make_known
from tests.support.http_events import connect as connect_convercus
from tests.support.parked import load_parked
from tests.support.stores import environment as variables
from tests.support.stores import make_key, make_stores
from tests.support.transports import Queue, Stream, Transport, left
from tests.support.webhooks import answered, delivery
from tests.support.webhooks import connect as connect_webhooks

SECONDS = LIMITS.settle_seconds + 2
"""Of an invocation of the forwarder: two to read and send in."""
PLATFORMS = (Braze, MoEngage, Convercus, Punchh)
REAL_SQS = aws.sqs
Platform: TypeAlias = Braze | MoEngage | Convercus | Punchh
_numbers = itertools.count(1)


@dataclass
class World:
    """AWS, platforms and a bridge for one run."""

    settings: DeliverySettings
    plan_settings: PlanSettings
    faults: Faults
    transport: Transport
    braze: Braze
    moengage: MoEngage
    convercus: Convercus
    punchh: Punchh
    counts: Counter[str] = field(default_factory=Counter)
    answers: list[Any] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def deliver(self) -> None:
        """Forward what lies on the queue or stream, once."""
        size = 10 if isinstance(self.transport, Queue) else 1000
        batch = self.transport.batch(size)
        if not batch["Records"]:
            return
        outcome = forwarder.forward(batch, self.settings, SECONDS)
        self.counts += outcome.counts
        if self.faults.is_dead:
            raise Crash
        self.transport.settle(batch, outcome.to_retry)

    def parked(self) -> dict[str, set[str]]:
        """List the event ids of parked records, by kind."""
        found: dict[str, set[str]] = {"held": set(), "rejected": set(), "waiting": set()}
        with self.faults.looking():
            rows = aws.dynamodb().scan(TableName=self.settings.parked_table)["Items"]
            for program, _, kind in {row["program_kind"]["S"].rpartition("#") for row in rows}:
                found[kind] |= {entry.event_id for entry in load_parked(self.settings, cast("Kind", kind), program)}
        return found


class Scenario(NamedTuple):
    """Something that the bridge does.

    Attributes
    ----------
    begin
        Prepares it, without faults.
    round
        Does it once: faults strike in the first round, and rounds are repeated without faults.
    is_done
        Whether nothing is left to do.
    check
        Lists what is wrong in the end.
    """

    name: str
    begin: Callable[[World], None]
    round: Callable[[World], None]
    is_done: Callable[[World], bool]
    check: Callable[[World], list[str]]
    transport: type[Transport] | None = Queue


# Events.

AT = time.time() - 3600
EVENTS = {
    "old": event(eventId="old", programId="one", accountId="A1", occurredAt="2026-03-01T09:00:00Z"),
    "new": event(eventId="new", programId="one", accountId="A1", payload={"points": 500}),
    "login": event("user_logged_in", eventId="login", programId="one", accountId="A2"),
    "two": event("user_logged_in", eventId="two", programId="two", accountId="A1"),
    "account": event(
        "account_created", eventId="account", programId="one", accountId="A3", userId="U3", payload={"role": "OWNER"}
    ),
    "person": event("user_logged_in", eventId="person", programId="one", accountId=None, userId="U3"),
    "strange": event("teleported", eventId="strange", programId="one", accountId="A4"),
}
NEVER = {"strange"}
"""Events that can never be accepted."""


def _put(world: World, record: dict[str, Any]) -> None:
    world.transport.put(json.dumps(record), group_of(record["programId"], record["accountId"] or record["userId"]))


def _connect(world: World) -> None:
    for program in ("one", "two"):
        world.braze.workspace(f"key-of-{program}")
        connect(world.settings, world.braze.url, program, f"key-of-{program}")


def _forwarding(world: World) -> None:
    _connect(world)
    for record in (EVENTS["new"], *EVENTS.values()):  # the newest first, and once more: it comes twice
        _put(world, record)


def _delivering(world: World) -> None:
    world.deliver()
    _tend(world)


def _tend(world: World) -> None:
    world.counts += release.run_schedule(world.settings, 5, check_connection)
    if world.faults.is_dead:
        raise Crash


def _is_delivered(world: World) -> bool:
    parked = world.parked()
    return not left(world.transport) and not parked["held"] and not parked["waiting"]


def _arrived(world: World) -> Counter[str]:
    workspaces = (world.braze.workspace(f"key-of-{program}") for program in ("one", "two"))
    return Counter(one.object["properties"]["event_id"] for workspace in workspaces for one in workspace.events)


def _is_in_window(world: World) -> bool:
    """Whether an event may be doubled: an answer was lost, or the delivery log could not be written after one."""
    counts = world.counts
    return bool(counts["outcome_unknown"] or counts["delivery_not_recorded"] or world.notes.get("crashed"))


def _check_events(world: World) -> list[str]:
    arrived, refused = _arrived(world), world.parked()["rejected"]
    wrong = [f"{name} is lost" for name in EVENTS.keys() - NEVER if not arrived[name] and name not in refused]
    wrong += [f"{name} is refused" for name in refused - NEVER]
    wrong += [f"{name} is not refused" for name in NEVER - refused]
    doubled = sum(count - 1 for count in arrived.values() if count > 1)
    if doubled and not _is_in_window(world):
        wrong.append(f"{doubled} events are doubled, and that is not counted")
    at_two = Counter(one.object["properties"]["event_id"] for one in world.braze.workspace("key-of-two").events)
    if at_two.keys() != {"two"}:
        wrong.append(f"the other program has {sorted(at_two)}")
    profile = world.braze.workspace("key-of-one").profile(external_id="A1")
    balance = profile.custom["convercus_balance"]["points"] if profile else None
    if balance != 500:
        wrong.append(f"the newest balance is 500, and Braze has {balance}")
    return wrong


def _holding(world: World) -> None:
    _connect(world)
    world.braze.workspace("key-of-one").misbehave(kind="status", status=401, times=None)
    for record in EVENTS.values():
        _put(world, record)
    for _ in range(3):
        world.deliver()
    world.braze.workspace("key-of-one").faults.clear()
    _put(world, EVENTS["new"])


def _releasing(world: World) -> None:
    _tend(world)
    world.deliver()


def _redriving(world: World) -> None:
    _connect(world)
    sale = event(
        "account_transaction", eventId="sale", programId="one", accountId="A1",
        payload={"transactionType": "EARNTRANSACTION", "transactionId": "T1", "amount": 12.5},
    )  # fmt: skip
    for record in (*EVENTS.values(), sale):
        _put(world, record)
    while left(world.transport) or world.parked()["waiting"]:
        world.deliver()
        _tend(world)
    before = repository.load(world.settings, ["one"])["one"]
    connection = merge(before.connection, {"loyalty": {"rules": {"default_currency": "EUR"}}})
    repository.save(world.settings, before, "one", connection, {})


def _redrive(world: World) -> None:
    if "sale" in world.parked()["rejected"]:
        with suppress(Unavailable):  # the operator sees it, and redrives again
            redrive.redrive(world.settings, "one", RecordFilter("currency"))
    if world.faults.is_dead:
        raise Crash
    _delivering(world)


def _is_redriven(world: World) -> bool:
    return _is_delivered(world) and "sale" not in world.parked()["rejected"]


def _check_redrive(world: World) -> list[str]:
    bought = len(world.braze.workspace("key-of-one").purchases)
    is_right = bought == 1 or (bought > 1 and _is_in_window(world))
    return _check_events(world) + ([] if is_right else [f"{bought} purchases"])


def _crashing(world: World) -> None:
    _connect(world)
    for number, record in enumerate(EVENTS.values()):
        body = json.dumps({"payload": {"Records": [_in_stream(record, number)]}})
        key = f"{redrive.STREAM_FAILURES}{number}"
        aws.s3().put_object(Bucket=world.settings.parked_bucket, Key=key, Body=body)


def _in_stream(record: dict[str, Any], number: int) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(record).encode()).decode()
    group = group_of(record["programId"], record["accountId"] or record["userId"])
    kinesis = {"sequenceNumber": f"{number}", "partitionKey": group, "approximateArrivalTimestamp": AT, "data": data}
    return {"kinesis": kinesis}


def _redrive_crashed(world: World) -> None:
    with suppress(Unavailable):  # the operator sees it, and redrives again
        redrive.redrive_dead_letters(world.settings)
    if world.faults.is_dead:
        raise Crash
    _delivering(world)


def _is_redriven_after_crash(world: World) -> bool:
    with world.faults.looking():
        crashed = redrive.count_dead_letters(world.settings)
    return _is_delivered(world) and not crashed["batches"]


# Events by HTTP.


def _api(world: World, program: str = "demo") -> Api:
    settings = world.plan_settings
    upstream: Upstream = world.notes["upstream"]
    return Api(settings, world.notes[f"key of {program}"], upstream, program)


def _connect_convercus(world: World) -> None:
    upstream = world.convercus.program(f"R{next(_numbers)}")
    for account in ("A1", "A2", "A3"):
        upstream.account(account, points=100)
    upstream.coupon("C1")
    connect_convercus(world.plan_settings, world.convercus.url, realm=upstream.id)
    world.notes |= {"upstream": upstream, "key of demo": api_keys.create(world.plan_settings, "demo", "braze")[0]}


def _posting(world: World) -> None:
    _connect_convercus(world)
    _connect(world)
    world.notes["key of one"] = api_keys.create(world.plan_settings, "one", "sender")[0]


def _post_events(world: World) -> None:
    if not world.answers or world.answers[-1].status >= 429:
        own = [one for one in EVENTS.values() if one["programId"] == "one"]
        world.answers.append(_api(world, "one").post("events", own))
    if world.faults.is_dead:
        world.answers.clear()
        raise Crash
    if world.answers[-1].status == 202 and "two" not in world.notes:
        world.notes["two"] = True
        _put(world, EVENTS["two"])
    _delivering(world)


def _is_posted(world: World) -> bool:
    return bool(world.answers) and world.answers[-1].status < 429 and _is_delivered(world)


# Events by webhook.

DELIVERIES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "diner": (
        "punchh",
        {
            one["content_id"]: one
            for one in (
                punchh_events.event(punchh_events.guest(1), AT, "users"),
                punchh_events.event(punchh_events.guest(1), AT + 1, "checkins", "gift"),
                punchh_events.event(punchh_events.guest(1), AT + 2, "redemptions"),
            )
        },
    ),
    "club": ("loyalty", {one["event_id"]: one for one in itertools.islice(brevo.every_event(brevo.contact(1), AT), 4)}),
}
"""Platform in the URL, and the events by id, of each program whose events come by webhook."""


def _connecting_webhooks(program: str) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.braze.workspace(f"key-of-{program}")
        loyalty = {"platform": "punchh" if program == "diner" else "brevo"}
        side = {"api_endpoint": world.braze.url}
        key = f"key-of-{program}"
        connect_webhooks(world.settings, loyalty, side, program=program, braze_api_key=key)

    return begin


def _receiving(program: str) -> Callable[[World], None]:
    platform, events = DELIVERIES[program]

    def round_(world: World) -> None:
        if not world.answers:
            request = delivery(platform, list(events.values()), program=program, at=AT + 60)
            status = answered(request)["statusCode"]
            if world.faults.is_dead:
                raise Crash
            if status == 200:
                world.answers.append(status)
            elif status not in {429, 503}:
                world.notes["wrong"] = f"the delivery was answered with {status}"
        _delivering(world)

    return round_


def _checking_webhooks(program: str) -> Callable[[World], list[str]]:
    _, events = DELIVERIES[program]

    def check(world: World) -> list[str]:
        workspace = world.braze.workspace(f"key-of-{program}")
        arrived = Counter(one.object["properties"]["event_id"] for one in workspace.events)
        wrong = [world.notes["wrong"]] if "wrong" in world.notes else []
        wrong += [f"{name} is lost" for name in events if not arrived[name]]
        return wrong + [
            f"{name} is doubled" for name, count in arrived.items() if count > 1 and not _is_in_window(world)
        ]

    return check


# Actions: a caller repeats what is answered with 5xx.

REPEATS = 8
ACTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "assign coupon": ("campaigns/C1/assign", {"account_id": "A1", "braze_campaign_id": "c1"}, "assign_coupon"),
    "book points": (
        "members/A1/bookings",
        {"booking_type": "EARNBOOKING", "booking_type_code": "BDAY", "points": 50, "reason": "Birthday"},
        "create_booking",
    ),
    "set opt-ins": ("subscriptions/email", {"account_id": "A1", "status": "allowed"}, "set_optins"),
}


def _acting(name: str) -> Callable[[World], None]:
    path, body, _ = ACTIONS[name]

    def round_(world: World) -> None:
        answer = _api(world).post(path, body, idempotency_key="only-once")
        if world.faults.is_dead:
            raise Crash
        world.answers.append(answer)

    return round_


def _is_answered(world: World) -> bool:
    return bool(world.answers) and (world.answers[-1].status < 429 or len(world.answers) >= REPEATS)


def _checking_action(name: str) -> Callable[[World], list[str]]:
    call = ACTIONS[name][2]

    def check(world: World) -> list[str]:
        done = sum(effect.call == call for effect in world.notes["upstream"].effects)
        last = world.answers[-1]
        wrong = []
        if done > 1 and call != "set_optins":  # to set an opt-in twice is to set it
            wrong.append(f"it was done {done} times")
        if last.status == 200 and not done:
            wrong.append("it was answered with 200 and not done")
        if last.status >= 429 and last.body["error"] not in {"outcome_unknown", "in_progress"}:
            wrong.append(f"repeats end with {last.status} {last.body['error']}")
        return wrong

    return check


def _planning(world: World) -> None:
    _connect_convercus(world)


def _carrying_out(world: World) -> None:
    api = _api(world)
    if not world.answers or world.answers[-1].status >= 429:
        asked = {"account_ids": ["A1", "A2", "A3"]}
        answer = api.post("campaigns/C1/assign/batch", asked, idempotency_key="batch")
        if world.faults.is_dead:
            raise Crash
        world.answers.append(answer)
    queue = world.plan_settings.batches_queue_url
    with world.faults.looking():  # Lambda receives and deletes the messages
        result = aws.sqs().receive_message(QueueUrl=queue, MessageSystemAttributeNames=["All"], VisibilityTimeout=0)
    for message in result.get("Messages", ()):
        record = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "eventSource": "aws:sqs",
        }
        answer = loaded("carry_out_batch")({"Records": [record]}, context(24, "carry_out_batch"))
        if world.faults.is_dead:
            raise Crash
        if not answer["batchItemFailures"]:
            with world.faults.looking():
                aws.sqs().delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            world.notes["carried out"] = True


def _is_carried_out(world: World) -> bool:
    return "carried out" in world.notes and world.answers[-1].status < 429


def _check_batch(world: World) -> list[str]:
    done = Counter(effect.account for effect in world.notes["upstream"].effects if effect.call == "assign_coupon")
    progress = _api(world).get(f"campaigns/C1/assign/batch/{world.answers[-1].body['batchId']}").body
    states = {line["account_id"]: line["state"] for line in progress["members"]}
    wrong = [f"{name} got {count} coupons" for name, count in done.items() if count > 1]
    for name, state in states.items():
        if state not in {"succeeded", "unknown"} or (state == "succeeded" and not done[name]):
            wrong.append(f"{name} is {state} with {done[name]} coupons")
    return wrong


def _connecting_punchh(world: World) -> None:
    _connect_convercus(world)
    world.punchh.business.campaigns["token-of-58293"] = Campaign(campaign_id="58293", repeat="new")
    connect_punchh(world.plan_settings, world.punchh.url, secrets=PUNCHH_SECRETS)
    world.notes["key of diner"] = api_keys.create(world.plan_settings, "diner", "moengage")[0]
    known = world.punchh.business.sign_up(email="bo@example.com", first_name="Bo", last_name="Birch")
    make_known(world.settings, known.user_id, "c-1")


def _signing_up(world: World) -> None:
    user = {
        "email": "ann@example.com", "first_name": "Ann", "last_name": "Ash",
        "external_source": "customer_id", "external_source_id": "c-1001",
    }  # fmt: skip
    answer = _api(world, "diner").post("members", {"user": user})
    if world.faults.is_dead:
        raise Crash
    world.answers.append(answer)


def _check_signup(world: World) -> list[str]:
    made = sum(user.fields.get("email") == "ann@example.com" for user in world.punchh.business.users)
    last = world.answers[-1]
    wrong = [f"{made} members were made"] if made > 1 else []
    return wrong + (["it was answered with 200 and not done"] if last.status == 200 and not made else [])


def _asking_for_a_code(world: World) -> None:
    answer = _api(world, "diner").get("members/c-1/coupon-code", campaign="58293")
    if world.faults.is_dead:
        raise Crash
    world.answers.append(answer)


def _is_given(world: World) -> bool:
    return sum("coupon_code" in answer.body for answer in world.answers) >= 2 or len(world.answers) >= REPEATS


def _check_code(world: World) -> list[str]:
    given = {answer.body["coupon_code"] for answer in world.answers if "coupon_code" in answer.body}
    odd = {json.dumps(answer.body) for answer in world.answers if answer.status != 200}
    return [f"{len(given)} codes were shown"] * (len(given) > 1) + [f"answered with {one}" for one in odd]


SCENARIOS = (
    Scenario("forward from the queue", _forwarding, _delivering, _is_delivered, _check_events),
    Scenario("forward from the stream", _forwarding, _delivering, _is_delivered, _check_events, Stream),
    Scenario("release held records", _holding, _releasing, _is_delivered, _check_events),
    Scenario("redrive", _redriving, _redrive, _is_redriven, _check_redrive),
    Scenario("redrive what crashed", _crashing, _redrive_crashed, _is_redriven_after_crash, _check_events, Stream),
    Scenario("events by HTTP", _posting, _post_events, _is_posted, _check_events),
    *(
        Scenario(
            f"{DELIVERIES[program][0]} webhook",
            _connecting_webhooks(program),
            _receiving(program),
            lambda world: bool(world.answers) and _is_delivered(world),
            _checking_webhooks(program),
        )
        for program in DELIVERIES
    ),
    *(
        Scenario(name, _connect_convercus, _acting(name), _is_answered, _checking_action(name), None)
        for name in ACTIONS
    ),
    Scenario("assign coupons", _planning, _carrying_out, _is_carried_out, _check_batch, None),
    Scenario("sign up", _connecting_punchh, _signing_up, _is_answered, _check_signup, None),
    Scenario("coupon code", _connecting_punchh, _asking_for_a_code, _is_given, _check_code, None),
)


# The world.


@contextmanager
def aws_and_platforms(faults: Faults) -> Iterator[Callable[[Scenario], World]]:
    """Run AWS in this process and the platforms behind sockets; gives a function that makes an empty world."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        aws._made.cache_clear()
        stack.callback(aws._made.cache_clear)
        stack.enter_context(mock_aws())
        settings = make_stores(make_key())
        queue = aws.sqs().create_queue(QueueName="batches")["QueueUrl"]
        spoil_aws(faults, patch)
        # Waits between attempts are not what is tried here.
        patch.setattr(retry, "backoff", lambda *_, **__: 0.001)
        patch.setattr(coupon_batches, "PAUSE_SECONDS", 0)
        current: dict[str, Platform] = {}
        urls = {
            kind.__name__: stack.enter_context(
                serving(spoilt(faults, kind.__name__, partial(_answer, current, kind.__name__)))
            )
            for kind in PLATFORMS
        }

        def fresh(scenario: Scenario) -> World:
            for kind in PLATFORMS:
                current[kind.__name__] = kind()
                current[kind.__name__].url = urls[kind.__name__]
            return _fresh(scenario, faults, patch, settings, queue, current)

        yield fresh
    environment.load_settings.cache_clear()


def _answer(current: Mapping[str, Platform], name: str, request: Request) -> Answer:
    return current[name].answer(request)


def _fresh(
    scenario: Scenario,
    faults: Faults,
    patch: pytest.MonkeyPatch,
    settings: DeliverySettings,
    queue: str,
    platforms: dict[str, Any],
) -> World:
    for table in get_backend("dynamodb")[ACCOUNT_ID]["us-east-1"].tables.values():
        table.items.clear()
    for bucket in get_backend("s3")[ACCOUNT_ID]["aws"].buckets.values():
        bucket.keys.clear()
    patch.setattr(aws, "sqs", REAL_SQS)
    get_backend("sqs")[ACCOUNT_ID]["us-east-1"].reset()
    aws.sqs().create_queue(QueueName="batches")
    named = {
        "IDEMPOTENCY_TABLE": "IdempotencyTable",
        "BATCHES_TABLE": "BatchesTable",
        "BATCHES_QUEUE_URL": queue,
    }
    for name, value in (variables(settings) | named).items():
        patch.setenv(name, value)
    restart(patch)
    if scenario.transport:
        transport = scenario.transport()
        for name in ("send_message_batch", "put_records"):
            if real := getattr(transport, name, None):
                patch.setattr(transport, name, _spoilt_put(faults, name, real))
        patch.setattr(aws, "sqs", lambda: transport)
        patch.setattr(aws, "kinesis", lambda: transport)
    else:
        transport = Queue()
    if scenario.transport is Stream:
        settings = replace(settings, events_queue_url="", events_stream="events")
    world = World(
        settings,
        environment.load_settings(PlanSettings),
        faults,
        transport,
        **{name.lower(): platform for name, platform in platforms.items()},
    )
    scenario.begin(world)
    restart(patch)
    return world


def _spoilt_put(faults: Faults, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """Let records pass by the faults on their way to the queue or stream."""

    def put(**asked: Any) -> Any:
        kind = faults.next("transport", name)
        entries = "Entries" if "Entries" in asked else "Records"
        match kind:
            case "crash before":
                raise faults.die()
            case "crash after":
                real(**asked)
                raise faults.die()
            case "error before" | "throttled" | "unavailable":
                raise EndpointConnectionError(endpoint_url="https://aws")
            case "error after":
                real(**asked)
                raise ReadTimeoutError(endpoint_url="https://aws")
            case "partial":
                half = len(asked[entries]) // 2
                real(**{**asked, entries: asked[entries][:half]})
                rest = asked[entries][half:]
                if entries == "Records":
                    failed: list[dict[str, str]] = [{}] * half + [{"ErrorCode": "InternalFailure"}] * len(rest)
                    return {"FailedRecordCount": len(rest), "Records": failed}
                return {"Failed": [{"Id": one["Id"], "Code": "InternalError", "SenderFault": False} for one in rest]}
        return real(**asked)

    return put


def restart(patch: pytest.MonkeyPatch | None = None) -> None:
    """Forget what a process remembers, as a new container does."""
    environment.load_settings.cache_clear()
    buffer.recorder.__init__()  # type: ignore[misc]
    activity_store._paused_until = 0.0
    loaded.cache_clear()
