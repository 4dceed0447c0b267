"""The rules of AWS that no local AWS checks, held for the transformed template and every combination of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from tests.template import template
from tests.transformed import Resource, decided, defaults, deployed, holds, needs, references, whole

CHOICES = {
    "Transport": ("sqs", "kinesis", "both"),
    "SignIn": ("cognito", "issuer", "none"),
    "Alarms": ("true", "false"),
}
COMBINATIONS = [defaults() | dict(zip(CHOICES, chosen, strict=True)) for chosen in product(*CHOICES.values())]
EVERY = pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda it: "-".join(it[name] for name in CHOICES))

READS = {
    "AWS::SQS::Queue": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    "AWS::Kinesis::Stream": {
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "kinesis:SubscribeToShard",
    },
}
"""What Lambda does in a function's name to read from a source.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, services-kinesis-create.html
"""
HOLDS_DATA = {
    "AWS::Cognito::UserPool",
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
}
NAMES = {"BucketName", "Name", "QueueName", "TableName", "UserPoolName"}


def of_type(resources: Mapping[str, Resource], kind: str) -> dict[str, dict[str, Any]]:
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == kind}


def role_of(resources: Mapping[str, Resource], function: str) -> str:
    return str(resources[function]["Properties"]["Role"]["Fn::GetAtt"][0])


def function_of(mapping: Mapping[str, Any]) -> str:
    [name] = references(mapping["FunctionName"])
    return name


def allowed(resources: Mapping[str, Resource], role: str, among: set[str]) -> Iterator[tuple[str, str]]:
    """List the actions that a role and its own policies allow, each with the resource; policies count if `among`."""
    documents = [one["PolicyDocument"] for one in resources[role]["Properties"].get("Policies", ())]
    documents += [
        one["PolicyDocument"]
        for name, one in of_type(resources, "AWS::IAM::Policy").items()
        if name in among and {"Ref": role} in one["Roles"]
    ]
    for statement in (one for document in documents for one in document["Statement"] if one["Effect"] == "Allow"):
        for resource in references(statement["Resource"]):
            yield from ((action, resource) for action in statement["Action"])


@EVERY
def test_what_is_referred_to_exists_under_the_same_conditions(parameters: dict[str, str]) -> None:
    resources = deployed(whole(), parameters)
    outputs = {
        name: decided(whole(), one, parameters)
        for name, one in whole()["Outputs"].items()
        if "Condition" not in one or holds(whole(), one["Condition"], parameters)
    }
    known = {*resources, *whole()["Parameters"]}

    for name, one in {**resources, **outputs}.items():
        absent = {there for there in references(one) if there not in known and not there.startswith("AWS::")}
        assert not absent, name


@EVERY
def test_a_mapping_is_made_after_all_that_lets_it_read(parameters: dict[str, str]) -> None:
    resources = deployed(whole(), parameters)
    mappings = of_type(resources, "AWS::Lambda::EventSourceMapping")

    assert len(mappings) == 2 + (parameters["Transport"] == "both")
    for name, mapping in mappings.items():
        before = needs(resources, name)
        may = set(allowed(resources, role_of(resources, function_of(mapping)), before))
        origin = mapping["EventSourceArn"]["Fn::GetAtt"][0]
        wanted = {(action, origin) for action in READS[resources[origin]["Type"]]}
        if "DestinationConfig" in mapping:
            bucket = mapping["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
            wanted |= {("s3:PutObject", bucket), ("s3:ListBucket", bucket)}
        assert wanted <= may, name


@EVERY
def test_no_managed_policy_lets_a_function_do_more_than_it_does(parameters: dict[str, str]) -> None:
    """SAM attaches two to every role: to write logs, which are fenced in, and traces, which belong to no resource."""
    resources = deployed(whole(), parameters)

    for name in of_type(resources, "AWS::Lambda::Function"):
        role = resources[role_of(resources, name)]["Properties"]
        attached = {arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]}
        denied = {
            (action, str(statement.get("NotResource", statement.get("Resource"))))
            for policy in role["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
            for action in statement["Action"]
        }
        assert attached == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"}, name
        for action in ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"):
            assert any(one == action and ":log-group:${AWS::StackName}-*" in fence for one, fence in denied), name


@EVERY
def test_every_role_is_of_one_function_and_its_policies_name_resources(parameters: dict[str, str]) -> None:
    resources = deployed(whole(), parameters)
    roles = [role_of(resources, name) for name in of_type(resources, "AWS::Lambda::Function")]

    assert sorted(roles) == sorted(set(roles))
    for role in roles:
        for policy in resources[role]["Properties"]["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Deny" or list(references(statement["Resource"])), role


def paths() -> Iterator[tuple[str, str]]:
    for name, api in whole()["Resources"].items():
        if "Body" in api.get("Properties", {}):
            yield from ((name, path) for path in api["Properties"]["Body"]["paths"])
        if api["Type"] == "AWS::ApiGatewayV2::Route":
            yield api["Properties"]["ApiId"]["Ref"], api["Properties"]["RouteKey"].split(" ", 1)[1]


def test_a_level_of_the_paths_has_one_name_for_its_variable() -> None:
    names: dict[tuple[str, str], set[str]] = {}

    for api, path in paths():
        parts = path.split("/")
        for number, part in enumerate(parts):
            if part.startswith("{"):
                before = re.sub(r"\{[^}]*}", "{}", "/".join(parts[:number]))
                names.setdefault((api, before), set()).add(part)

    assert len(names) > 5
    assert {at: found for at, found in names.items() if len(found) > 1} == {}


@EVERY
def test_time_outs_retries_and_concurrency_are_in_proportion(parameters: dict[str, str]) -> None:
    resources = deployed(whole(), parameters)

    for mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").values():
        origin = resources[mapping["EventSourceArn"]["Fn::GetAtt"][0]]
        function = resources[function_of(mapping)]["Properties"]
        if origin["Type"] == "AWS::SQS::Queue":
            queue = origin["Properties"]
            dead = resources[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]["Properties"]
            assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
            assert 5 <= queue["RedrivePolicy"]["maxReceiveCount"] <= 100
            assert dead["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]
            assert dead.get("FifoQueue", False) == queue.get("FifoQueue", False)
            most = mapping["ScalingConfig"]["MaximumConcurrency"]
            assert function.get("ReservedConcurrentExecutions", most) == most
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        called_by = {
            one["Principal"]
            for one in of_type(resources, "AWS::Lambda::Permission").values()
            if name in references(one["FunctionName"])
        }
        if "apigateway.amazonaws.com" in called_by:
            assert function["Timeout"] < 30, name  # the gateway's own
        if "events.amazonaws.com" in called_by:
            assert function["Timeout"] < 60, name  # the next run


@EVERY
def test_what_is_invoked_asynchronously_says_how_often_it_is_tried(parameters: dict[str, str]) -> None:
    resources = deployed(whole(), parameters)
    told = {one["FunctionName"]["Ref"]: one for one in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()}
    scheduled = {
        function
        for rule in of_type(resources, "AWS::Events::Rule").values()
        for target in rule["Targets"]
        for function in references(target["Arn"])
    }

    assert scheduled == set(told) == {"DrainHeld"}
    for config in told.values():
        assert {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"} <= set(config)


@EVERY
def test_only_who_writes_to_the_queue_it_reads_may_do_so_again_and_again(parameters: dict[str, str]) -> None:
    resources = deployed(whole(), parameters)
    loops = set()

    for mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").values():
        function, origin = function_of(mapping), mapping["EventSourceArn"]["Fn::GetAtt"][0]
        if ("sqs:SendMessage", origin) in allowed(resources, role_of(resources, function), set(resources)):
            loops.add(function)

    may = {name for name, one in of_type(resources, "AWS::Lambda::Function").items() if "RecursiveLoop" in one}
    assert loops <= may == {"ForwardEvents"}


def test_nothing_that_holds_data_goes_with_the_stack_or_with_a_parameter() -> None:
    """But a stack that was never made to its end leaves nothing behind; and what has a name cannot be replaced."""
    held = {name: one for name, one in whole()["Resources"].items() if one["Type"] in HOLDS_DATA}
    del held["SessionsTable"]  # who was signed in signs in once more

    assert {one["Type"] for one in held.values()} == HOLDS_DATA
    for name, one in held.items():
        assert one["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert one["UpdateReplacePolicy"] == "Retain", name
        assert not NAMES & set(one["Properties"]), name
        assert "DeletionProtection" not in one["Properties"], name  # a first deployment that fails could not go back


@pytest.mark.parametrize(("before", "after"), list(product(CHOICES["Transport"], repeat=2)))
def test_changing_the_transport_takes_nothing_away_that_holds_events(before: str, after: str) -> None:
    old, new = (deployed(whole(), defaults() | {"Transport": one}) for one in (before, after))

    gone = {name for name in old if name not in new and old[name]["Type"] in HOLDS_DATA}

    assert all(old[name]["DeletionPolicy"] == "RetainExceptOnCreate" for name in gone)
    if after == "both":
        assert set(old) <= set(new)


@EVERY
def test_an_alarm_computes_with_each_of_its_metrics(parameters: dict[str, str]) -> None:
    alarms = of_type(deployed(whole(), parameters), "AWS::CloudWatch::Alarm")

    assert bool(alarms) == (parameters["Alarms"] == "true")
    for name, alarm in alarms.items():
        if "Metrics" in alarm:
            [expression] = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
            ids = {one["Id"] for one in alarm["Metrics"] if "MetricStat" in one}
            assert set(re.findall(r"\bm\d+\b", expression)) == ids, name


def test_the_second_factor_is_asked_for() -> None:
    pool = template()["Resources"]["UserPool"]["Properties"]

    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])


@EVERY
def test_a_client_secret_is_named_to_the_page_that_may_read_it_only(parameters: dict[str, str]) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:1:secret:s"
    resources = deployed(whole(), parameters | {"SignInClientSecret": arn})
    if "Admin" not in resources:
        return

    named = resources["Admin"]["Properties"]["Environment"]["Variables"]["SIGN_IN_CLIENT_SECRET"]
    may = ("secretsmanager:GetSecretValue", "SignInClientSecret") in set(allowed(resources, "AdminRole", set()))

    assert (named != "") == may == (parameters["SignIn"] == "issuer")
