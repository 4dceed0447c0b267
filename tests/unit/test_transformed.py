"""The rules of AWS that no local AWS checks, held for the transformed template and every combination of parameters."""

from __future__ import annotations

import copy
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from tests.support.template import ROOT, template
from tests.support.transformed import (
    Resource,
    defaults,
    deployed,
    holds,
    in_order,
    needs,
    references,
    source,
    translated,
    whole,
)

ARN = "arn:aws:{}:eu-central-1:123456789012:{}"
CHOICES = {
    "Transport": ("sqs", "kinesis", "both", "sqs-to-kinesis"),
    "SignIn": ("cognito", "issuer", "none"),
    "Alarms": ("true", "false"),
}
OPTIONS = {
    "plain": {},
    "gradual": {"GradualDeployment": "Canary10Percent5Minutes"},
    "reserved": {"ReserveConcurrency": "true"},
    "warm": {"ProvisionedLookups": "5"},
    "vpc": {"VpcSubnetIds": "subnet-0a1b2c3d,subnet-1a2b3c4d", "VpcSecurityGroupIds": "sg-0a1b2c3d"},
    "bounded": {"PermissionsBoundary": "arn:aws:iam::123456789012:policy/boundary"},
    "key": {"DataKey": ARN.format("kms", "key/0a1b2c3d-0000-4000-8000-000000000000")},
    "named": {"NamePrefix": "acme"},
    "mails": {"AlarmEmail": "ann@example.com"},
    "topic": {"AlarmTopic": ARN.format("sns", "alarms"), "AllowedHosts": "proxy.example.com"},
    "proxy": {"HttpsProxy": "http://proxy.example.com:3128", "NoProxy": ".amazonaws.com"},
    "secret": {"SignInClientSecret": ARN.format("secretsmanager", "secret:s"), "AdminUrl": "https://a.example.com"},
}
OPTIONS["all"] = {name: value for option in OPTIONS.values() for name, value in option.items()}


def every(test: Callable[[dict[str, str]], None]) -> Any:
    """Let a test be made with every combination of parameters; one option is one test."""

    @pytest.mark.parametrize("option", OPTIONS)
    def run(option: str) -> None:
        for chosen in product(*CHOICES.values()):
            try:
                test(defaults() | dict(zip(CHOICES, chosen, strict=True)) | OPTIONS[option])
            except Exception as error:
                error.add_note(f"with {'-'.join(chosen)}, {option}")
                raise

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


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
EC2 = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
"""https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaVPCAccessExecutionRole.html"""
KEY_RIGHTS = {
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
}
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


@every
def test_what_is_referred_to_exists_under_the_same_conditions(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    known = {*resources, *template()["Parameters"]}

    for name, one in {**resources, **deployed(parameters, "Outputs")}.items():
        absent = {there for there in references(one) if there not in known and not there.startswith("AWS::")}
        assert not absent, name


@every
def test_a_mapping_is_made_after_all_that_lets_it_read(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    mappings = of_type(resources, "AWS::Lambda::EventSourceMapping")

    assert len(mappings) == 2 + (parameters["Transport"] in {"both", "sqs-to-kinesis"})
    for name, mapping in mappings.items():
        before = needs(resources, name)
        may = set(allowed(resources, role_of(resources, function_of(mapping)), before))
        origin = mapping["EventSourceArn"]["Fn::GetAtt"][0]
        wanted = {(action, origin) for action in READS[resources[origin]["Type"]]}
        if "DestinationConfig" in mapping:
            bucket = mapping["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
            wanted |= {("s3:PutObject", bucket), ("s3:ListBucket", bucket)}
        assert wanted <= may, name


@every
def test_no_managed_policy_lets_a_function_do_more_than_it_does(parameters: dict[str, str]) -> None:
    """SAM attaches three to every role, and none of them names a resource.

    Logs are fenced in; traces belong to no resource; and the interfaces of a VPC are Lambda's to make, not the code's:
    https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
    """
    resources = deployed(parameters)

    for name in of_type(resources, "AWS::Lambda::Function"):
        role = resources[role_of(resources, name)]["Properties"]
        statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        logs, network = (one for one in statements if one["Effect"] == "Deny")
        assert {arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]} == {
            "AWSLambdaBasicExecutionRole",
            "AWSXrayWriteOnlyAccess",
            "AWSLambdaVPCAccessExecutionRole",
        }, name
        assert set(logs["Action"]) == {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}, name
        assert logs["NotResource"]["Fn::Sub"].endswith(":log-group:${AWS::StackName}-*"), name
        assert {one for one in network["Action"] if one.startswith("ec2:")} == EC2, name
        assert network["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}, name


@every
def test_every_role_is_of_one_function_and_its_policies_name_resources(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    roles = [role_of(resources, name) for name in of_type(resources, "AWS::Lambda::Function")]

    assert sorted(roles) == sorted({*of_type(resources, "AWS::IAM::Role")} - {"DeploymentRole"})
    for role in roles:
        for policy in resources[role]["Properties"]["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Deny" or list(references(statement["Resource"])), role


def paths() -> Iterator[tuple[str, str]]:
    for name, api in whole(defaults())["Resources"].items():
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


@every
def test_time_outs_retries_and_concurrency_are_in_proportion(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)

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


@every
def test_what_is_invoked_asynchronously_says_how_often_it_is_tried(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    values = {one["FunctionName"]["Ref"]: one for one in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()}
    scheduled = {
        function
        for rule in of_type(resources, "AWS::Events::Rule").values()
        for target in rule["Targets"]
        for function in references(target["Arn"])
    }

    assert scheduled == set(values) == {"ReleaseHeld"}
    for config in values.values():
        assert {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"} <= set(config)


@every
def test_only_who_writes_to_the_queue_it_reads_may_do_so_again_and_again(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    loops = set()

    for mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").values():
        function, origin = function_of(mapping), mapping["EventSourceArn"]["Fn::GetAtt"][0]
        if ("sqs:SendMessage", origin) in allowed(resources, role_of(resources, function), set(resources)):
            loops.add(function)

    may = {name for name, one in of_type(resources, "AWS::Lambda::Function").items() if "RecursiveLoop" in one}
    assert loops <= may == {"ForwardEvents"}


def test_nothing_that_holds_data_goes_with_the_stack_or_with_a_parameter() -> None:
    """But a stack that was never made to its end leaves nothing behind; and what has a name cannot be replaced."""
    held = {name: one for name, one in whole(defaults())["Resources"].items() if one["Type"] in HOLDS_DATA}
    del held["SessionsTable"]  # who was signed in signs in once more

    assert {one["Type"] for one in held.values()} == HOLDS_DATA
    for name, one in held.items():
        assert one["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert one["UpdateReplacePolicy"] == "Retain", name
        assert not NAMES & set(one["Properties"]), name
        assert "DeletionProtection" not in one["Properties"], name  # a first deployment that fails could not go back


@pytest.mark.parametrize(("before", "after"), list(product(CHOICES["Transport"], repeat=2)))
def test_changing_the_transport_takes_nothing_away_that_holds_events(before: str, after: str) -> None:
    old, new = (deployed(defaults() | {"Transport": one}) for one in (before, after))

    gone = {name for name in old if name not in new and old[name]["Type"] in HOLDS_DATA}

    assert all(old[name]["DeletionPolicy"] == "RetainExceptOnCreate" for name in gone)
    if after in {"both", "sqs-to-kinesis"}:
        assert set(old) <= set(new)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        (("sqs", "sqs-to-kinesis", "kinesis"), "ForwardEventsFromQueue"),
        (("kinesis", "both", "sqs"), "ForwardEventsFromStream"),
    ],
)
def test_while_the_transport_changes_the_old_one_is_read_and_nothing_enters_it(
    steps: tuple[str, ...], left: str
) -> None:
    """So it is empty some time later, and nothing is in it when it is no longer read."""
    before, during, after = (deployed(defaults() | {"Transport": one}) for one in steps)
    targets = [
        {
            one["Environment"]["Variables"]["PUBLISH_TO"]
            for one in of_type(step, "AWS::Lambda::Function").values()
            if "PUBLISH_TO" in one["Environment"]["Variables"]
        }
        for step in (before, during, after)
    ]

    old, new = ("queue", "stream") if steps[0] == "sqs" else ("stream", "queue")
    assert targets == [{old}, {new}, {new}]
    assert [left in step for step in (before, during, after)] == [True, True, False]


@every
def test_an_alarm_computes_with_each_of_its_metrics(parameters: dict[str, str]) -> None:
    alarms = of_type(deployed(parameters), "AWS::CloudWatch::Alarm")

    assert bool(alarms) == (parameters["Alarms"] == "true")
    for name, alarm in alarms.items():
        if "Metrics" in alarm:
            [expression] = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
            ids = {one["Id"] for one in alarm["Metrics"] if "MetricStat" in one}
            assert set(re.findall(r"\bm\d+\b", expression)) == ids, name


def test_two_stacks_of_an_account_have_metrics_of_their_own() -> None:
    functions = of_type(whole(defaults())["Resources"], "AWS::Lambda::Function").values()

    services = [one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for one in functions]

    assert all(one == {"Ref": "AWS::StackName"} for one in services)


def test_the_second_factor_is_asked_for() -> None:
    pool = template()["Resources"]["UserPool"]["Properties"]

    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])


@every
def test_a_client_secret_is_named_to_the_page_that_may_read_it_only(parameters: dict[str, str]) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:1:secret:s"
    resources = deployed(parameters | {"SignInClientSecret": arn})
    if "Admin" not in resources:
        return

    named = resources["Admin"]["Properties"]["Environment"]["Variables"]["SIGN_IN_CLIENT_SECRET"]
    may = ("secretsmanager:GetSecretValue", "SignInClientSecret") in set(allowed(resources, "AdminRole", set()))

    assert (named != "") == may == (parameters["SignIn"] == "issuer")


@every
def test_resources_can_be_made_one_after_the_other(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)

    assert len(in_order(resources)) == len(resources)


# ---------------------------------------------------------------- VERSIONS

CALLED = {"AssignCoupon", "AssignCouponBatch", "BookPoints", "SignupMember", "SubscribeEmail"}
LOOKUPS = {"MemberCouponCode", "MemberCoupons", "MemberProfile"}


def versions(resources: Mapping[str, Resource]) -> dict[str, tuple[str, dict[str, Any]]]:
    result = of_type(resources, "AWS::Lambda::Version")
    return {one["FunctionName"]["Ref"]: (name, one) for name, one in result.items()}


@every
def test_campaigns_call_the_alias_and_a_new_version_takes_over_as_given(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    aliases = {name: one for name, one in resources.items() if one["Type"] == "AWS::Lambda::Alias"}
    gradual = parameters["GradualDeployment"] != "none"

    called = {
        name
        for methods in resources["Api"]["Properties"]["Body"]["paths"].values()
        for operation in methods.values()
        for name in references(operation["x-amazon-apigateway-integration"]["uri"])
        if name in resources
    }

    assert called == {*aliases, "ReceiveEvents"}
    assert {one["Properties"]["FunctionName"]["Ref"] for one in aliases.values()} == CALLED | LOOKUPS
    for alias in aliases.values():
        assert ("CodeDeployLambdaAliasUpdate" in alias.get("UpdatePolicy", {})) == gradual
    groups = of_type(resources, "AWS::CodeDeploy::DeploymentGroup")
    assert len(groups) == (len(aliases) if gradual else 0)
    for group in groups.values():
        assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]}
        assert group["AlarmConfiguration"].get("Enabled", False) == (parameters["Alarms"] == "true")


@every
def test_lookups_are_kept_warm_where_it_is_wanted(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    aliases = of_type(resources, "AWS::Lambda::Alias").values()

    warm = {one["FunctionName"]["Ref"] for one in aliases if "ProvisionedConcurrencyConfig" in one}

    assert warm == (LOOKUPS if parameters["ProvisionedLookups"] != "0" else set())


def test_a_parameter_that_changes_a_function_changes_its_version() -> None:
    """CloudFormation publishes a version when a version's text changes, not when the function does."""
    resources = whole(defaults())["Resources"]

    def parameters_of(value: Any, seen: frozenset[str] = frozenset()) -> set[str]:
        named = set(references(value)) | {one for name in conditions_of(value) for one in of_condition(name)}
        layers = {one for one in named if resources.get(one, {}).get("Type") == "AWS::Lambda::LayerVersion"} - seen
        # As it is before the transformation: SAM puts the parameters' values into a layer, which changes its name.
        of_layers = [parameters_of(source()["Resources"]["SharedLayer"], seen | layers) for _ in layers]
        return {one for one in named if one in template()["Parameters"]}.union(*of_layers)

    def conditions_of(value: Any) -> Iterator[str]:
        if isinstance(value, list):
            for one in value:
                yield from conditions_of(one)
        elif isinstance(value, dict):
            for name, inner in value.items():
                if name == "Fn::If":
                    yield inner[0]
                yield from conditions_of(inner)

    def of_condition(name: str) -> set[str]:
        return set(references(source()["Conditions"][name]))

    assert {*versions(resources)} == CALLED | LOOKUPS
    for function, (_, version) in versions(resources).items():
        assert parameters_of(resources[function]["Properties"]) == parameters_of(version["Description"]), function
        assert "SharedLayer" in next(iter(references(version["Description"]))), function


def test_a_function_that_changes_has_a_new_version() -> None:
    changes = [
        ("SharedLayer", "ContentUri", "s3://artifacts/another"),
        ("MemberProfile", "CodeUri", "s3://artifacts/another"),
        ("MemberProfile", "Timeout", 4),
    ]
    changed = [copy.deepcopy(source()) for _ in changes]
    for one, (resource, name, value) in zip(changed, changes, strict=True):
        one["Resources"][resource]["Properties"][name] = value

    after = translated(*((one, defaults()) for one in changed))

    old = versions(whole(defaults())["Resources"])["MemberProfile"]
    for one, change in zip(after, changes, strict=True):
        assert versions(one["Resources"])["MemberProfile"] != old, change  # another name, or another layer in its text


def test_the_text_of_a_version_and_of_a_layer_is_short_enough() -> None:
    """Descriptions may have 256 characters, a layer's licence 512; most of them are the parameters'."""
    limits = {name: one.get("MaxLength", 0) for name, one in template()["Parameters"].items()}

    version = "layer 99999 WARNING  " + "x" * (limits["VpcSubnetIds"] + limits["VpcSecurityGroupIds"])
    layer = source()["Resources"]["SharedLayer"]["Properties"]["Description"]["Fn::Sub"]

    assert len(version) <= 256
    assert len(layer.replace("${AllowedHosts}", "x" * limits["AllowedHosts"])) <= 256
    licence = source()["Resources"]["SharedLayer"]["Properties"]["LicenseInfo"]["Fn::Sub"]
    for name in ("HttpsProxy", "NoProxy"):
        licence = licence.replace(f"${{{name}}}", "x" * limits[name])
    assert len(licence) <= 512
    assert "$" not in licence


# ---------------------------------------------------------------- OPTIONS


@every
def test_options_reach_all_that_they_are_for(parameters: dict[str, str]) -> None:
    resources = deployed(parameters)
    key, boundary, vpc = (parameters[name] for name in ("DataKey", "PermissionsBoundary", "VpcSubnetIds"))

    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        assert ("VpcConfig" in function) == bool(vpc), name
        assert ("ReservedConcurrentExecutions" in function) == (
            name == "ForwardEvents" and parameters["ReserveConcurrency"] == "true"
        ), name
        may = {
            action for action, resource in allowed(resources, role_of(resources, name), set()) if resource == "DataKey"
        }
        assert may == (KEY_RIGHTS if key else set()), name
        variables = function["Environment"]["Variables"]
        assert variables["HTTPS_PROXY"] == {"Ref": "HttpsProxy"}, name  # AWS's client calls through it, too
        assert variables["NO_PROXY"] == {"Ref": "NoProxy"}, name
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        assert ("PermissionsBoundary" in role) == bool(boundary), name
    for name, one in resources.items():
        if one["Type"] in HOLDS_DATA - {"AWS::KMS::Key", "AWS::Cognito::UserPool"}:
            assert ("DataKey" in set(references(one))) == bool(key), name
    for name in ("PunchhApi", "LoyaltyWebhookApi", "AdminApi"):
        if name in resources:
            named = str(resources[name]["Properties"].get("Name"))
            assert ("'NamePrefix'" in named) == (parameters["NamePrefix"] != ""), name


# ---------------------------------------------------------------- PARAMETERS

GIVEN = {
    "AdminUrl": (
        ["", "https://bridge.example.com", "https://b.example.com:8443"],
        ["https://b.example.com/", "http://b.example.com", "b.example.com"],
    ),
    "AlarmEmail": (["", "ann@example.com"], ["ann", "ann@example", "ann@example.com, bob@example.com"]),
    "AlarmTopic": (["", ARN.format("sns", "alarms")], ["alarms", ARN.format("sqs", "alarms")]),
    "AllowedHosts": (
        ["", "127.0.0.1", "a.example.com,b.example.com:8443", "a.example.com, b.example.com"],
        ["https://a.example.com", "a b", "a,", "a/b"],
    ),
    "Architecture": (["arm64", "x86_64"], ["arm", ""]),
    "DataKey": (
        ["", OPTIONS["key"]["DataKey"], ARN.format("kms", "key/mrk-0a1b2c3d")],
        ["alias/aws/s3", ARN.format("kms", "alias/mine")],
    ),
    "ForwarderConcurrency": (["2", "1000"], ["1", "1001", "many"]),
    "GradualDeployment": (["none", "Linear10PercentEvery1Minute"], ["AllAtOnce", ""]),
    "HttpsProxy": (
        ["", "http://proxy.example.com:3128", "https://10.0.0.7"],
        ["proxy.example.com:3128", "http://ann:secret@proxy.example.com", "http://proxy.example.com/", "socks5://a"],
    ),
    "NoProxy": (
        ["", ".amazonaws.com", "sqs.eu-central-1.amazonaws.com,10.0.0.0/8,b.example.com:8443"],
        ["a, b", "https://a.example.com", "a,", "*.example.com"],
    ),
    "LogRetentionDays": (["14", "90", "3653"], ["0", "91", "100"]),
    "NamePrefix": (["", "acme-crm"], ["1st", "a_b", "a b", "x" * 65]),
    "OperatorsGroup": (["loyalty-bridge"], ["", "a b", "a:b", "x" * 64]),
    "PermissionsBoundary": (
        ["", "arn:aws:iam::123456789012:policy/a/b"],
        ["boundary", "arn:aws:iam::123456789012:role/a"],
    ),
    "ProvisionedLookups": (["0", "1000"], ["-1", "1001"]),
    "SignInClient": (["", "0oa1b2c3"], ["0oa 1"]),
    "SignInClientSecret": (
        ["", ARN.format("secretsmanager", "secret:s-AbCdEf")],
        ["my-secret", ARN.format("ssm", "parameter/s")],
    ),
    "SignInGroups": (["groups", "https://acme.example/groups"], ["", "my groups"]),
    "SignInIssuer": (
        ["", "https://login.example.com/", "https://login.example.com/realms/a"],
        ["login.example.com", "http://login.example.com", "https://login.example.com?a=b", "https://a b"],
    ),
    "VpcSecurityGroupIds": (
        ["", "sg-0a1b2c3d", "sg-0a1b2c3d,sg-1a2b3c4d"],
        ["subnet-0a1b2c3d", "sg-1,", "sg-0a1b2c3d, sg-1a2b3c4d"],
    ),
    "VpcSubnetIds": (["", "subnet-0a1b2c3d,subnet-1a2b3c4d"], ["sg-0a1b2c3d", "subnet-1 ,subnet-2"]),
}


def takes(parameter: Mapping[str, Any], value: str) -> bool:
    """Decide as CloudFormation does whether a parameter takes a value."""
    if "AllowedValues" in parameter:
        return value in map(str, parameter["AllowedValues"])
    if parameter["Type"] == "Number":
        number = float(value) if re.fullmatch(r"-?\d+", value) else math.nan
        return bool(parameter["MinValue"] <= number <= parameter["MaxValue"])
    long = len(value) > parameter.get("MaxLength", 4096)
    return not long and re.search(parameter["AllowedPattern"], value) is not None


@pytest.mark.parametrize(("name", "values"), GIVEN.items(), ids=GIVEN)
def test_a_parameter_takes_what_works_and_nothing_else(name: str, values: tuple[list[str], list[str]]) -> None:
    good, bad = values
    parameter = template()["Parameters"][name]

    assert [one for one in good if not takes(parameter, one)] == []
    assert [one for one in bad if takes(parameter, one)] == []


@pytest.mark.parametrize("name", template()["Parameters"])
def test_a_parameter_is_bounded_and_says_what_it_takes(name: str) -> None:
    parameter = template()["Parameters"][name]

    bounded = {"AllowedValues", "AllowedPattern"} & set(parameter) or {"MinValue", "MaxValue"} <= set(parameter)
    assert bounded
    assert re.fullmatch(r"(Choose|Give|Name) .+\.", parameter["ConstraintDescription"])
    assert re.fullmatch(r"\S.+\.", parameter["Description"])
    assert len(parameter["Description"]) <= 4000
    assert takes(parameter, str(parameter["Default"]))


def test_every_parameter_is_documented() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text()

    assert [name for name in template()["Parameters"] if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, ""),
        ({"SignIn": "issuer"}, "SignInIssuer"),
        ({"SignIn": "issuer", "SignInIssuer": "https://a.example.com"}, "SignInClient"),
        ({"SignIn": "issuer", "SignInIssuer": "https://a.example.com", "SignInClient": "c"}, ""),
        ({"VpcSubnetIds": "subnet-0a1b2c3d"}, "VpcSecurityGroupIds"),
        ({"VpcSecurityGroupIds": "sg-0a1b2c3d"}, "VpcSubnetIds"),
        (OPTIONS["vpc"], ""),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(change: dict[str, str], complaint: str) -> None:
    given = defaults() | change

    complaints = [
        assertion["AssertDescription"]
        for rule in source()["Rules"].values()
        if holds(rule["RuleCondition"], given)
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], given)
    ]

    assert bool(complaints) == bool(complaint)
    assert all(one.endswith(".") for one in complaints)
    assert not complaint or f"needs {complaint}" in complaints[0]


def test_the_application_is_published_under_the_projects_version_and_licence() -> None:
    about = template()["Metadata"]["AWS::ServerlessRepo::Application"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert about["SemanticVersion"] == project["version"]
    assert about["SpdxLicenseId"] == project["license"]
    assert about["Name"] == project["name"]
    assert all((ROOT / about[name]).is_file() for name in ("LicenseUrl", "ReadmeUrl"))
