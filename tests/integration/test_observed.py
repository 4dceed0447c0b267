"""What can be observed of the bridge: its log, its metrics, its activity.

Somebody who is easily recognised goes through every function and every kind of platform fault: nothing of the person
shows. And what the alarms and the dashboard watch is what the functions then emit.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest

from local.day import day
from loyalty_bridge.activity import buffer, store
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.infra import dynamodb as tables
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.programs import api_keys
from loyalty_bridge.programs import repository as programs
from loyalty_bridge.settings import DeliverySettings, MemberSettings, load_settings
from simulators import brevo, punchh_events
from simulators.braze import Braze
from simulators.braze import simulate as simulate_braze
from simulators.moengage import MoEngage
from simulators.moengage import simulate as simulate_moengage
from simulators.punchh import Punchh
from simulators.punchh import simulate as simulate_punchh
from tests.conftest import connect
from tests.support import webhooks
from tests.support.events import queued
from tests.support.functions import loaded
from tests.support.http_events import BOOKING, Api, connect_punchh, context, make_known, routes
from tests.support.template import resources, template

pytestmark = pytest.mark.slow

# Every one of them holds ``zyx`` or 5557731, whatever the case.
FIRST, LAST, EMAIL, PHONE = "Zyxwanda", "Zyxovska", "wanda.zyx@example.org", "+491515557731"
ACCOUNT, USER, EXTERNAL, NUMBER = "ZYXACCOUNT1", "ZYXUSER1", "zyx-cust-1", 5557731
CITY, REASON = "Zyxtown", "Zyx has birthday"
BRAZE_KEY, MOENGAGE_KEY, WRONG_KEY = "zyx-braze-key", "zyx-moengage-key", "cvc_" + "zyx" * 14 + "z"
PERSONAL = re.compile(r"zyx|5557731", re.IGNORECASE)

SAID = {
    "code": EMAIL,
    "message": f"{FIRST} {LAST} <{EMAIL}> {PHONE} of {ACCOUNT} may not",
    "error": [{"code": FIRST, "message": EMAIL}, {"code": "TOO_LATE", "message": PHONE}],
    "errors": [{"type": f"'{FIRST}' of {EMAIL} is no value", "input_array": "attributes", "index": 0}, EMAIL],
    "error_description": f"{BRAZE_KEY} {MOENGAGE_KEY}",
}
"""What a platform says that repeats all that it was sent."""
FAULTS: tuple[Mapping[str, Any], ...] = (
    *({"kind": "status", "status": status, "body": SAID} for status in (400, 404, 429, 500)),
    {"kind": "status", "status": 503, "headers": {"retry-after": "1"}, "body": SAID},
    {"kind": "status", "status": 502, "html": True},
    {"kind": "status", "status": 302, "headers": {"location": f"https://example.org/{EMAIL}"}, "body": SAID},
    {"kind": "status", "status": 500, "when": "after", "body": SAID},
    {"kind": "reset", "when": "after"},
    {"kind": "close"},
    {"kind": "timeout_after_acting", "seconds": 0.05},
    {"kind": "status", "status": 401, "body": SAID},
    {"kind": "pass"},
)
WEIRD = {"account_id": ACCOUNT, EMAIL: 1, FIRST: {"x": PHONE}}


@dataclass(frozen=True, slots=True)
class Observed:
    """What an operator can see."""

    log: str
    metrics: list[dict[str, Any]]
    activity: list[dict[str, Any]]


class World:
    """All programs with their platforms."""

    def __init__(self, api: Api, settings: DeliverySettings, braze: Braze, moengage: MoEngage, punchh: Punchh) -> None:
        self.api, self.settings, self.braze, self.moengage, self.punchh = api, settings, braze, moengage, punchh
        connect_punchh(api.settings, punchh.url)
        self.diner = Api(api.settings, api_keys.create(api.settings, "diner", LAST)[0], api.upstream, "diner", 2.6)
        api.seconds = 2.6
        person: dict[str, Any] = {
            "userId": USER,
            "givenName": FIRST,
            "familyName": LAST,
            "emailAddress": EMAIL,
            "phone": PHONE,
        }
        account = api.upstream.account(ACCOUNT, points=100)
        account["memberships"][0].update(person, city=CITY)
        connect(settings, braze.url, program="stream", key=BRAZE_KEY)
        self.stream_key = api_keys.create(api.settings, "stream", FIRST)[0]
        engagement = {"platform": "moengage", "api_endpoint": moengage.url, "workspace_id": "W"}
        for program, platform in (("punchh", "punchh"), ("loyalty", "brevo")):
            secrets = {"moengage_data_key": MOENGAGE_KEY}
            webhooks.connect(settings, {"platform": platform}, engagement, program=program, **secrets)

    def act(self) -> None:
        """Make every call of the API, good and bad, while the loyalty platform misbehaves."""
        numbers = count()
        assign, book = "campaigns/C1/assign", f"members/{ACCOUNT}/bookings"
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("assign_coupon", assign, {"account_id": ACCOUNT, "braze_campaign_id": "5f0c7a5e"}),
            ("create_booking", book, BOOKING | {"reason": REASON}),
            ("set_optins", "subscriptions/email", {"account_id": ACCOUNT, "status": "declined"}),
        ]
        for fault in FAULTS:
            for on, path, body in calls:
                self.api.upstream.misbehave(on=on, **fault)
                for _ in range(2):
                    self.api.post(path, body | {"dispatch_id": f"d-{next(numbers) // 2}"})
                self.api.upstream.forget_faults()
            for on, path in (("account_details", "profile"), ("account_coupons", "coupons"), ("token", "profile")):
                self.api.upstream.tokens.clear()
                self.api.upstream.misbehave(on=on, **fault)
                self.api.get(f"members/{ACCOUNT}/{path}")
                self.api.upstream.forget_faults()
        for path in (assign, book, "subscriptions/email", f"{assign}/batch", "events"):
            for bad in (
                WEIRD,
                b"{" + EMAIL.encode(),
                [EMAIL],
                {"optins": [FIRST], "account_id": ACCOUNT, "status": "allowed"},
            ):
                self.api.post(path, bad)
                self.api.post(path, bad, key=WRONG_KEY)
            self.api.post(path, {}, key=EMAIL)
            self.api.post(path, {}, idempotency_key=f"{{{{{FIRST}}}}}")
        for path in (f"members/{EMAIL}/profile", "members/A404/coupons", f"members/{{{{{FIRST}}}}}/profile"):
            self.api.get(path)
            self.api.get(path, key=WRONG_KEY, lang=FIRST)
        self.api.program, key = EMAIL, self.api.key
        self.api.post(assign, calls[0][2])
        self.api.program, self.api.key = "stream", self.stream_key
        self.api.post("events", [{"eventType": "user_logged_in", "accountId": ACCOUNT, "payload": {"x": EMAIL}}, EMAIL])
        self.api.post(assign, calls[0][2])
        self.api.program, self.api.key = "demo", key

    def dine(self) -> None:
        """Sign the member up and give a coupon code, while Punchh misbehaves."""
        person = {"email": EMAIL, "first_name": FIRST, "last_name": LAST, "phone": PHONE[1:]}
        for number, fault in enumerate(FAULTS):
            member = f"{EXTERNAL}-{number}"
            self.punchh.faults.add(**fault, times=2)
            for _ in range(2):
                self.diner.post("members", {"user": person | {"external_source_id": member}})
            self.punchh.faults.clear()
            make_known(load_settings(MemberSettings), NUMBER + number, member)
            self.punchh.faults.add(**fault, times=2)
            for campaign in ("58293", FIRST):
                self.diner.get(f"members/{member}/coupon-code", campaign=campaign)
                self.diner.get(f"members/{member}/coupon-code", campaign=campaign, key=WRONG_KEY)
            self.punchh.faults.clear()
        self.diner.post("members", {"user": {EMAIL: FIRST}})
        self.diner.post("members", {"user": person | {"birthday": FIRST}})

    def act_on_many(self) -> None:
        """Carry out a batch of which one member is refused, and one whose outcome stays unknown."""
        for account in ("ZYXACCOUNT2", "ZYXACCOUNT3"):
            self.api.upstream.account(account)
        self.plan(ACCOUNT, "ZYXNOBODY")
        self.carry_out()
        # A batch of its own: members are carried out side by side, and the fault is for this one.
        self.api.upstream.misbehave(kind="status", on="assign_coupon", status=500, body=SAID)
        self.plan("ZYXACCOUNT3")
        self.carry_out()

    def plan(self, *accounts: str) -> None:
        self.api.post("campaigns/C1/assign/batch", {"account_ids": accounts})

    def carry_out(self) -> None:
        """Carry out what is planned, and a batch that is not there."""
        for message in aws.sqs().receive_message(QueueUrl=self.api.settings.batches_queue_url)["Messages"]:
            for body in (message["Body"], json.dumps({"program": "demo", "batch": "none"})):
                record = {"messageId": "m", "receiptHandle": message["ReceiptHandle"], "body": body}
                attributes = {"ApproximateReceiveCount": "1"}
                call("carry_out_batch", {"Records": [record | {"attributes": attributes}]}, 60)

    def deliver(self) -> None:
        """Let both loyalty platforms deliver every event, and some deliveries that are none."""
        guest = punchh_events.Guest(NUMBER, EMAIL, FIRST, LAST, EXTERNAL)
        contact = brevo.Contact(NUMBER, EXTERNAL, EMAIL, PHONE, FIRST)
        at = webhooks.NOW - 3600
        users = [punchh_events.event(guest, at, "users")]
        platforms: tuple[tuple[Any, list[Any]], ...] = (
            ("punchh", [*users, *punchh_events.every_event(guest, at)]),
            ("loyalty", [*brevo.every_event(contact, at)]),
        )
        for platform, found in platforms:
            odd = [
                {**found[0], "event_name": FIRST},
                {"event_id": "e-1", "email": EMAIL},
                f'{{"x": "{EMAIL}',
                [],
                [EMAIL],
            ]
            for body in [*found[::4], *odd]:
                webhooks.answered(webhooks.delivery(platform, body, program=platform))
            for headers in ({}, {"Authorization": f"Bearer {WRONG_KEY}"}):
                webhooks.answered(webhooks.delivery(platform, found[0], program=platform, headers=headers))
                webhooks.answered(webhooks.delivery(platform, found[0], program=EMAIL, headers=headers))
        webhooks.answered(
            webhooks.delivery("loyalty", found[0] | {"event_id": EMAIL}, program="loyalty", event_name=FIRST)
        )

    def stream(self) -> None:
        """Forward what lies on the queue and a day of the person, while the engagement platform misbehaves."""
        text = json.dumps([one.record for one in day("stream", members=1, events=80)])
        person = {"givenName": FIRST, "familyName": LAST, "emailAddress": EMAIL, "phone": PHONE, "city": CITY}
        fields = {f'(?<="{name}": ")[^"]*': value for name, value in person.items()}
        for pattern, value in {r"\bA0{5}": ACCOUNT, r"\bU0{5}": USER, **fields}.items():
            text = re.sub(pattern, value, text)
        records: list[Any] = json.loads(text)
        some = [one for one in records if isinstance(one, dict) and "accountId" in one]
        odd = [{**some[0], "accountId": EMAIL}, {**some[1], "eventType": FIRST}, {**some[2], "programId": EMAIL}]
        bad = [
            {**some[3], "payload": {EMAIL: PHONE, "phone": FIRST}},
            {**some[4], "occurredAt": EMAIL, "eventId": EMAIL},
        ]
        waiting = webhooks.queued(self.settings)
        workspaces = (self.braze.workspace(BRAZE_KEY), self.moengage.workspace("W"))
        for number, fault in enumerate(FAULTS):
            for workspace in workspaces:
                workspace.faults.add(**fault, times=8)
            call("forward_events", queued(*odd, *bad, *some[number * 4 : number * 4 + 5]), 11.5)
            call("forward_events", {"Records": waiting[number * 3 : number * 3 + 3]}, 11.5)
            call("release_held", {}, 17)
            for workspace in workspaces:
                workspace.faults.clear()
            for _ in range(2):
                call("release_held", {}, 17)
                if released := webhooks.queued(self.settings):
                    call("forward_events", {"Records": released}, 30)
        call("forward_events", {"Records": waiting}, 30)
        call("forward_events", queued(*records), 30)

    def fail(self, patch: pytest.MonkeyPatch) -> None:
        """Fail on our side: a defect, stores that do not answer, an activity that is not written."""
        good = {"account_id": ACCOUNT}
        with patch.context() as broken:
            broken.setattr(programs, "load_with_items", stumble)
            broken.setattr(programs, "load", stumble)
            self.api.post("campaigns/C1/assign", good)
            webhooks.answered(webhooks.delivery("loyalty", {"email": EMAIL}, program="loyalty"))
        event = {"programId": "stream", "accountId": ACCOUNT, "eventType": "user_logged_in", "payload": {"x": EMAIL}}
        for table in ("DELIVERY_LOG_TABLE", "PROGRAMS_TABLE", "IDEMPOTENCY_TABLE"):
            with patch.context() as broken:
                broken.setenv(table, "NoSuchTable")
                load_settings.cache_clear()
                call("forward_events", queued(event), 30)
                self.api.post("campaigns/C1/assign", good)
        load_settings.cache_clear()
        with patch.context() as broken:
            broken.setattr(tables, "batch_put", unavailable)
            call("forward_events", queued(event | {"payload": {"y": PHONE}}), 30)
        for account, table in ("ZYXACCOUNT2", "IDEMPOTENCY_TABLE"), (ACCOUNT, "BATCHES_TABLE"):
            self.plan(account)
            with patch.context() as broken:
                broken.setenv(table, "NoSuchTable")
                load_settings.cache_clear()
                self.carry_out()
            load_settings.cache_clear()
        with patch.context() as broken:
            broken.setenv("EVENTS_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/none.fifo")
            contact = brevo.Contact(NUMBER, EXTERNAL, EMAIL, PHONE, FIRST)
            body = brevo.event(contact, webhooks.NOW, "voucher_created")
            webhooks.answered(webhooks.delivery("loyalty", body, program="loyalty"))
        load_settings.cache_clear()
        with patch.context() as broken:
            broken.setattr(store, "_is_written", lambda *_: False)
            self.api.post("campaigns/C1/assign", good)


def unavailable(*_: Any) -> Any:
    raise Unavailable("DynamoDB: throttled")


def stumble(*_: Any) -> Any:
    raise KeyError(EMAIL)


def call(function: str, event: Mapping[str, Any], seconds: float) -> None:
    loaded(function)(event, context(seconds, function))


@pytest.fixture(scope="module")
def observed(shared_api: Api) -> Observed:
    """Let everything happen once; the activity is read as DynamoDB has it."""
    out = io.StringIO()
    stores = load_settings(DeliverySettings)
    with (
        pytest.MonkeyPatch.context() as patch,
        simulate_braze(keys=[BRAZE_KEY]) as braze,
        simulate_moengage(workspaces={"W": MOENGAGE_KEY}) as moengage,
        simulate_punchh() as punchh,
        redirect_stdout(out),
        redirect_stderr(out),
    ):
        patch.setattr(forwarder, "LIMITS", replace(LIMITS, wait_seconds=0.3))
        patch.setattr("random.uniform", lambda *_: 0.02)  # pauses before a repeat
        patch.setattr(buffer, "WRITE_AFTER_SECONDS", 0.0)
        for route in routes():
            loaded(route.function)
        everything = logging.StreamHandler(out)
        everything.setFormatter(logging.Formatter("%(message)s %(args)s %(exc_text)s"))
        logging.getLogger().addHandler(everything)
        for logger in map(logging.getLogger, logging.root.manager.loggerDict):
            for one in logger.handlers:
                if isinstance(one, logging.StreamHandler):
                    patch.setattr(one, "stream", out)
        world = World(shared_api, stores, braze, moengage, punchh)
        world.act()
        world.dine()
        world.act_on_many()
        world.deliver()
        world.stream()
        world.fail(patch)
        logging.getLogger().removeHandler(everything)
    items = aws.dynamodb().scan(TableName=stores.activity_table)["Items"]
    lines = out.getvalue().splitlines()
    parsed = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return Observed(out.getvalue(), [one for one in parsed if "_aws" in one], [dict(item) for item in items])


def test_everything_happened(observed: Observed) -> None:
    """Else it would show nothing that nothing shows."""
    result = json.dumps(observed.activity)

    for function in {route.function for route in routes()} | {"forward_events", "release_held", "carry_out_batch"}:
        assert f"#{function}" in result, function
    for outcome in ("sent", "suppressed", "rejected", "held", "released"):
        assert f"events.{outcome}" in result, outcome
    for code in (
        "outcome_unknown",
        "not_sent",
        "unauthorized",
        "invalid_request",
        "upstream_refused",
        "internal_error",
    ):
        assert code in result, code


def test_nothing_of_a_person_and_no_key_is_in_the_log_or_the_metrics(observed: Observed, shared_api: Api) -> None:
    untimed = re.sub(r'"Timestamp": ?\d{13}\b', "", observed.log)
    shown = [line for line in untimed.splitlines() if PERSONAL.search(line) or shared_api.key in line]

    assert len(observed.log.splitlines()) > 300
    assert shown == []


def test_nothing_of_a_person_and_no_key_is_in_the_activity(observed: Observed, shared_api: Api) -> None:
    untimed = [
        {name: value for name, value in item.items() if name not in {"first", "last", "expires"} or "N" not in value}
        for item in observed.activity
    ]
    shown = [item for item in untimed if PERSONAL.search(str(item)) or shared_api.key in str(item)]

    assert len(observed.activity) > 30
    assert shown == []


# What alarms and dashboard watch.

ALARMS = resources("AWS::CloudWatch::Alarm")
_OF_AWS: dict[str, dict[str, tuple[str, set[str]]]] = {
    "AWS/Lambda": {
        "FunctionName": ("AWS::Serverless::Function", {"DestinationDeliveryFailures", "Errors", "Throttles"}),
        "EventSourceMappingUUID": (
            "AWS::Lambda::EventSourceMapping",
            {"DroppedEventCount", "OnFailureDestinationDeliveredEventCount"},
        ),
    },
    "AWS/SQS": {
        "QueueName": ("AWS::SQS::Queue", {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}),
    },
    "AWS/Kinesis": {
        "StreamName": (
            "AWS::Kinesis::Stream",
            {"GetRecords.IteratorAgeMilliseconds", "WriteProvisionedThroughputExceeded", "IncomingRecords"},
        ),
    },
    "AWS/ApiGateway": {"ApiId": ("AWS::Serverless::HttpApi", {"Count", "4xx", "5xx", "Latency"})},
}
"""AWS's metrics by the dimension that names the resource, and its type."""


SERVICE = (f"service={os.environ['POWERTOOLS_SERVICE_NAME']}",)
"""The dimension of the bridge's own metrics; the template gives each stack its own value."""


def watched(alarm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the metrics of an alarm."""
    if "MetricName" in alarm:
        return [alarm]
    return [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]


def emitted(metrics: list[dict[str, Any]]) -> set[tuple[str, str, tuple[str, ...]]]:
    """Tell namespace, name and dimensions of each metric."""
    return {
        (one["Namespace"], metric["Name"], tuple(f"{name}={line[name]}" for name in dimensions))
        for line in metrics
        for one in line["_aws"]["CloudWatchMetrics"]
        for dimensions in one["Dimensions"]
        for metric in one["Metrics"]
    }


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_watches_what_is_emitted(observed: Observed, name: str) -> None:
    alarm, needed = ALARMS[name], set()
    for metric in watched(alarm["Properties"]):
        dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        if metric["Namespace"] == "LoyaltyBridge":
            assert dimensions == {"service": {"Ref": "AWS::StackName"}}
            assert (metric["Namespace"], metric["MetricName"], SERVICE) in emitted(observed.metrics)
            continue
        [(dimension, (kind, metrics))] = [one for one in _OF_AWS[metric["Namespace"]].items() if one[0] in dimensions]
        value = dimensions[dimension]
        resource = value["Ref"] if "Ref" in value else value["GetAtt"].split(".")[0]
        assert metric["MetricName"] in metrics
        assert template()["Resources"][resource]["Type"] == kind
        needed.add(template()["Resources"][resource].get("Condition"))
    of_some = {"UseSqs": "HasQueueAlarms", "UseKinesis": "HasStreamAlarms", "HasPage": "HasPageAlarms"}
    [condition] = {of_some[one] for one in needed if one in of_some} or {"HasAlarms"}
    assert alarm["Condition"] == condition


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(metric: str) -> None:
    functions = {
        one["Value"]["Ref"]
        for alarm in ALARMS.values()
        for found in watched(alarm["Properties"])
        if found["MetricName"] == metric
        for one in found["Dimensions"]
    }

    assert functions == set(resources("AWS::Serverless::Function"))


def test_the_routes_whose_latency_is_watched_are_the_look_ups() -> None:
    values = {
        one["Value"]
        for name in ("LookupsSlow", "CouponCodesSlow")
        for metric in watched(ALARMS[name]["Properties"])
        for one in metric["Dimensions"]
        if one["Name"] == "Resource"
    }

    assert values == {route.path for route in routes() if route.method == "GET" and "/members/" in route.path}


def test_every_alarm_notifies_its_topic() -> None:
    for alarm in ALARMS.values():
        actions = alarm["Properties"]["AlarmActions"]
        assert actions == alarm["Properties"]["OKActions"] == ALARMS["Defects"]["Properties"]["AlarmActions"]
        assert len(watched(alarm["Properties"])) <= 10  # CloudWatch takes no more in one alarm


def rendered(value: Any, conditions: Mapping[str, bool]) -> str:
    """Resolve what CloudFormation would; a resource is its name."""
    if isinstance(value, str):
        return value
    [(function, result)] = value.items()
    if function == "If":
        return rendered(result[1] if conditions[result[0]] else result[2], conditions)
    if function == "Join":
        return str(result[0]).join(rendered(one, conditions) for one in result[1])
    if function == "Sub":
        text, names = (result, {}) if isinstance(result, str) else result
        known = {name: rendered(one, conditions) for name, one in names.items()}
        return re.sub(r"\$\{([\w.:]+)\}", lambda found: known.get(found[1], found[1]), text)
    return str(result)


@pytest.mark.parametrize("alarms", [True, False])
@pytest.mark.parametrize(("sqs", "kinesis"), [(True, False), (False, True), (True, True)])
def test_the_dashboard_shows_every_alarm_and_only_what_is_emitted(
    observed: Observed, sqs: bool, kinesis: bool, alarms: bool
) -> None:
    [dashboard] = resources("AWS::CloudWatch::Dashboard").values()
    conditions = {
        "UseSqs": sqs,
        "UseKinesis": kinesis,
        "HasAlarms": alarms,
        "HasQueueAlarms": alarms and sqs,
        "HasStreamAlarms": alarms and kinesis,
        "HasPage": True,
        "HasPageAlarms": alarms,
    }

    payload = json.loads(rendered(dashboard["Properties"]["DashboardBody"], conditions))["widgets"]

    shown = {one.removesuffix(".Arn") for widget in payload for one in widget["properties"].get("alarms", ())}
    assert shown == {name for name, one in ALARMS.items() if conditions[one["Condition"]]}
    metrics = [metric for widget in payload for metric in widget["properties"].get("metrics", ())]
    ours = {name for namespace, name, *_ in metrics if namespace == "LoyaltyBridge"}
    assert {tuple(rest[:2]) for namespace, _, *rest in metrics if namespace == "LoyaltyBridge"} == {
        ("service", "AWS::StackName")
    }
    assert ours <= {name for _, name, dimensions in emitted(observed.metrics) if dimensions == SERVICE}
    functions = {one[3] for one in metrics if one[0] == "AWS/Lambda"}
    assert functions == set(resources("AWS::Serverless::Function"))
