"""The rights that docs/deploying.md gives deployers and operators suffice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import pytest

from tests.support.template import ROOT
from tests.support.transformed import defaults, deployed, whole
from tests.unit.test_transformed import OPTIONS, allowed

POLICY = json.loads((ROOT / "docs" / "policies" / "deployer.json").read_text())
LINTER = files("cfnlint.data")
GRADUALLY = defaults() | OPTIONS["gradual"]
TYPES = sorted({one["Type"] for found in (defaults(), GRADUALLY) for one in whole(found)["Resources"].values()})
"""Of all resources, whatever their conditions say."""
NOT_USED = {
    "cloudfront:*",  # a sign-in domain of one's own
    "elasticfilesystem:*",
    "firehose:*",
    "iam:*GroupPolicy",
    "iam:*UserPolicy",
    "kinesis:*EnhancedMonitoring",
    "kinesis:UpdateShardCount",
    "kms:ListAliases",
    "lambda:*CodeSigningConfig",
    "lambda:PassCapacityProvider",
    "logs:*IndexPolicy",
    "s3files:*",
    "s3tables:*",
}
"""What CloudFormation asks for with properties that the template does not set."""


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Read CloudFormation's own schemas, which the linter ships, by type."""
    read = (
        json.loads(one.read_text()) for one in (LINTER / "schemas" / "resources").iterdir() if one.name[-5:] == ".json"
    )
    return {one["typeName"]: one for one in read}


@cache
def actions() -> dict[str, dict[str, Any]]:
    """Read which actions there are, and which of them name a resource."""
    services = json.loads((LINTER / "AdditionalSpecs" / "Policies.json").read_text())
    return {f"{name}:{action}": found for name, one in services.items() for action, found in one["Actions"].items()}


def used(kind: str) -> Iterator[str]:
    for step in ("create", "read", "update", "delete"):
        for action in schemas()[kind].get("handlers", {}).get(step, {}).get("permissions", ()):
            if action.lower() in actions() and not any(fnmatchcase(action, one) for one in NOT_USED):
                yield action  # the schemas name some that do not exist


def allowing(action: str) -> list[dict[str, Any]]:
    return [
        one
        for one in POLICY["Statement"]
        if any(fnmatchcase(action.lower(), pattern.lower()) for pattern in one["Action"])
    ]


@pytest.mark.parametrize("kind", TYPES)
def test_the_deployer_may_do_what_cloudformation_does_for_a_resource(kind: str) -> None:
    """An action that names no resource is allowed for all of them only."""
    refused = set()

    for action in used(kind):
        statements = allowing(action)
        if "Resources" not in actions()[action.lower()]:
            statements = [one for one in statements if one["Resource"] == "*"]
        if not statements:
            refused.add(action)

    assert refused == set()


def test_the_actions_of_the_deployer_exist() -> None:
    given = [one.lower() for statement in POLICY["Statement"] for one in statement["Action"]]

    assert [one for one in given if not any(fnmatchcase(action, one) for action in actions())] == []


def test_the_rights_of_the_deployer_fit_into_one_managed_policy() -> None:
    """White space does not count: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""
    assert len("".join(json.dumps(POLICY).split())) <= 6144


def test_the_deployer_passes_roles_of_the_bundle_to_its_services_only() -> None:
    [statement] = allowing("iam:PassRole")

    assert statement["Resource"] == "arn:aws:iam::*:role/loyalty-bridge*"
    assert statement["Condition"]["StringEquals"]["iam:PassedToService"]
    assert {one for one in POLICY["Statement"] if "iam:*" in one["Action"] or "*" in one["Action"]} == set()


def test_an_operator_of_the_command_line_may_do_what_the_page_does() -> None:
    resources = deployed(defaults() | {"Transport": "both"})
    page = {(action, there.lower()) for action, there in allowed(resources, "AdminRole", set(resources))}

    operator = {
        (action, re.findall(r"[a-z]+", arn.removeprefix("arn:aws:").lower().replace("loyalty-bridge", ""))[-1])
        for statement in json.loads((ROOT / "docs" / "policies" / "operator.json").read_text())["Statement"]
        for action, arn in product(statement["Action"], statement["Resource"])
    }

    signed_in = {one for one in page if one[1] == "sessionstable"}
    assert operator - {("cloudformation:DescribeStacks", "stack")} == page - signed_in
