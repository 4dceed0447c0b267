"""The house rules of the template, executable."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from loyalty_bridge.actions import coupon_batches
from loyalty_bridge.http_api import lookups
from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import engagement_client
from tests.support.permissions import denied, needed, watched
from tests.support.template import ROOT, resources, statements, template

FUNCTIONS = resources("AWS::Serverless::Function")
ALARMS = resources("AWS::CloudWatch::Alarm")
SIX = 6
DAY = 86400


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_own_log_group_with_retention(name: str) -> None:
    group = FUNCTIONS[name]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]

    assert group == f"{name}Logs"
    assert resources("AWS::Logs::LogGroup")[group]["Properties"]["RetentionInDays"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_of_its_own(name: str) -> None:
    properties = FUNCTIONS[name]["Properties"]

    assert "Role" not in properties
    assert properties["Policies"]


def test_a_function_may_do_named_things_to_named_resources() -> None:
    result = statements()

    assert result
    for name, statement in result:
        assert "*" not in json.dumps(statement["Action"]), name
        assert statement["Resource"] != "*", name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_add_to_the_activity_and_do_no_more_with_it(name: str) -> None:
    allowed = [
        statement["Action"]
        for policy in FUNCTIONS[name]["Properties"]["Policies"]
        for statement in policy.get("Statement", ())
        if statement.get("Resource") == {"GetAtt": "ActivityTable.Arn"}
    ]

    assert allowed == [["dynamodb:Query" if name == "Admin" else "dynamodb:UpdateItem"]]  # the page shows it


def test_who_talks_to_no_platform_opens_no_secret() -> None:
    secrets = {"GetAtt": "SecretsKey.Arn"}
    may = {name for name, one in statements() if "kms:Decrypt" in one["Action"] and one["Resource"] == secrets}

    assert set(FUNCTIONS) - may == {"AssignCouponBatch", "ReceiveEvents"}


def test_a_call_that_the_role_of_a_function_does_not_allow_is_reported() -> None:
    def handler(*_: Any) -> None:
        with mock_aws(), suppress(ClientError):
            aws.dynamodb().delete_item(TableName="DeliveryLogTable", Key={"event": {"B": b"e"}})

    watched("forward_events", handler)({}, None)

    assert denied() == {("ForwardEvents", "dynamodb:DeleteItem", "DeliveryLogTable")}
    assert denied() == set()


@pytest.mark.parametrize(
    ("call", "parameters", "permissions"),
    [
        (
            "dynamodb:BatchGetItem",
            {"RequestItems": {"A": {}, "B": {}}},
            ["dynamodb:BatchGetItem A", "dynamodb:BatchGetItem B"],
        ),
        ("dynamodb:Query", {"TableName": "A", "IndexName": "open"}, ["dynamodb:Query A/index/open"]),
        (
            "dynamodb:TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "A"}}, {"ConditionCheck": {"TableName": "B"}}]},
            ["dynamodb:PutItem A", "dynamodb:ConditionCheckItem B"],
        ),
        ("s3:ListObjectsV2", {"Bucket": "kept"}, ["s3:ListBucket ParkedBucket"]),
        ("s3:PutObject", {"Bucket": "kept", "Key": "bodies/1"}, ["s3:PutObject ParkedBucket/bodies/1"]),
        ("sqs:SendMessageBatch", {"QueueUrl": "https://sqs/1/batches"}, ["sqs:SendMessage BatchesQueue"]),
        ("kms:Encrypt", {}, ["kms:Encrypt SecretsKey"]),
    ],
)
def test_a_call_needs_the_permissions_of_its_parts(
    call: str, parameters: dict[str, Any], permissions: list[str]
) -> None:
    service, _, operation = call.partition(":")

    assert [f"{action} {resource}" for action, resource in needed(service, operation, parameters)] == permissions


def test_the_events_queue_hides_what_is_worked_on_for_six_times_the_forwarders_time_out() -> None:
    queue = resources("AWS::SQS::Queue")["EventsQueue"]["Properties"]

    assert queue["VisibilityTimeout"] >= SIX * FUNCTIONS["ForwardEvents"]["Properties"]["Timeout"]


def test_a_queue_is_not_drawn_on_by_more_than_its_function_may_run() -> None:
    """What is drawn and then throttled counts as received, and ends in the dead-letter queue."""
    mappings = [
        (one["Properties"]["FunctionName"]["Ref"], one["Properties"])
        for one in resources("AWS::Lambda::EventSourceMapping").values()
        if "StartingPosition" not in one["Properties"]
    ]

    assert {name for name, _ in mappings} == {"ForwardEvents", "CarryOutBatch"}
    for name, mapping in mappings:
        most = mapping["ScalingConfig"]["MaximumConcurrency"]
        reserved = {"If": ["IsReserved", most, {"Ref": "AWS::NoValue"}]}
        assert FUNCTIONS[name]["Properties"].get("ReservedConcurrentExecutions", reserved) == reserved, name


def test_all_forwarders_together_keep_to_the_limit_of_the_destination() -> None:
    function = FUNCTIONS["ForwardEvents"]["Properties"]
    parameter = template()["Parameters"]["ForwarderConcurrency"]

    assert function["Environment"]["Variables"]["FORWARDER_CONCURRENCY"] == {"Ref": "ForwarderConcurrency"}
    assert function["ReservedConcurrentExecutions"]["If"][:2] == ["IsReserved", {"Ref": "ForwarderConcurrency"}]
    mapping = resources("AWS::Lambda::EventSourceMapping")["ForwardEventsFromQueue"]["Properties"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "ForwarderConcurrency"}}
    for forwarders in (parameter["MinValue"], parameter["Default"], parameter["MaxValue"]):
        assert forwarders * engagement_client.share(forwarders) <= 3000


def test_every_queue_that_is_worked_on_gives_up_into_a_dead_letter_queue() -> None:
    queues = resources("AWS::SQS::Queue")
    targets = {
        one["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["GetAtt"].split(".")[0]
        for one in queues.values()
        if "RedrivePolicy" in one["Properties"]
    }

    for name, one in queues.items():
        if name not in targets:
            assert 1 <= one["Properties"]["RedrivePolicy"]["maxReceiveCount"] <= 100, name


def test_every_stream_mapping_gives_up_by_age_and_keeps_what_it_gives_up() -> None:
    retention = resources("AWS::Kinesis::Stream")["EventsStream"]["Properties"]["RetentionPeriodHours"] * 3600
    mappings = [
        one["Properties"]
        for one in resources("AWS::Lambda::EventSourceMapping").values()
        if "StartingPosition" in one["Properties"]
    ]

    assert mappings
    for mapping in mappings:
        assert mapping["MaximumRetryAttempts"] in {-1, 10000}
        # Longer than an outage of a store, and no longer: a record that crashes the function blocks its shard so long.
        assert mapping["MaximumRecordAgeInSeconds"] == DAY < retention
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["DestinationConfig"]["OnFailure"]["Destination"]


@pytest.mark.parametrize(
    ("name", "in_a_row", "limit"),
    [
        ("MemberProfile", 2, lookups.LIMIT_SECONDS),  # the program, its secret
        ("MemberCoupons", 2, lookups.LIMIT_SECONDS),
        ("MemberCouponCode", 4, lookups.MOENGAGE_SECONDS),  # and what the member has, and a second secret
    ],
)
def test_stores_that_do_not_answer_are_given_up_within_the_limit_of_a_look_up(
    name: str, in_a_row: int, limit: float
) -> None:
    variables = FUNCTIONS[name]["Properties"]["Environment"]["Variables"]

    assert float(variables["STORE_REPLY_SECONDS"]) * in_a_row < limit


def test_no_secret_stands_in_the_template() -> None:
    words = ("secret", "password", "apikey", "api_key", "token")

    for name, function in FUNCTIONS.items():
        for variable, value in function["Properties"].get("Environment", {}).get("Variables", {}).items():
            if any(word in variable.lower() for word in words):
                assert isinstance(value, dict), f"{name}: {variable}"


def test_every_function_folder_is_deployed_and_has_events() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    deployed = {one["Properties"]["CodeUri"].removeprefix("functions/") for one in FUNCTIONS.values()}

    assert folders == deployed
    assert folders == {path.parent.name for path in (ROOT / "events").glob("*/*.json")}


def test_every_alarm_has_its_section_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()

    sections = re.findall(r"^### (\w+)$", runbook, re.MULTILINE)
    assert sections == list(ALARMS)


def test_what_is_put_off_of_a_batch_is_reported_in_every_period_of_its_alarm() -> None:
    metrics = [one["MetricStat"] for one in ALARMS["BatchesPostponed"]["Properties"]["Metrics"] if "MetricStat" in one]
    between = coupon_batches.MAX_PAUSE_SECONDS + FUNCTIONS["CarryOutBatch"]["Properties"]["Timeout"]

    assert {one["Metric"]["MetricName"] for one in metrics} == {"batch_due", "batch_unavailable"}
    assert all(one["Period"] > between for one in metrics)


def test_a_coupon_batch_ends_by_its_age_before_its_message_is_given_up() -> None:
    receives = resources("AWS::SQS::Queue")["BatchesQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"]
    pauses = [
        min(coupon_batches.PAUSE_SECONDS * number, coupon_batches.MAX_PAUSE_SECONDS) for number in range(1, receives)
    ]

    assert sum(pauses) > coupon_batches.MAX_AGE_SECONDS


def test_every_route_has_metrics_of_its_own() -> None:
    api = resources("AWS::Serverless::HttpApi")["Api"]["Properties"]

    for name, one in {"default": api["DefaultRouteSettings"], **api["RouteSettings"]}.items():
        assert one["DetailedMetricsEnabled"] is True, name


def test_handlers_are_short() -> None:
    for path in (ROOT / "functions").glob("*/app.py"):
        lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
        assert len(lines) <= 50, path


def test_what_only_the_page_needs_is_in_its_own_layer() -> None:
    shared, own = (
        {line.split("==")[0] for line in (ROOT / "shared" / name).read_text().splitlines() if re.match(r"\w.*==", line)}
        for name in ("requirements.lock", "admin.lock")
    )

    assert {"starlette", "mangum", "jinja2", "pyjwt", "cryptography"} <= own
    assert shared.isdisjoint(own)
    assert [name for name, one in FUNCTIONS.items() if "Layers" in one["Properties"]] == ["Admin"]
