"""The template as CloudFormation gets it: transformed by SAM, with its conditions decided for given parameters.

The translator is the SAM CLI's own, in that tool's environment, since it wants another pydantic than the library.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

from tests.support.template import ROOT, template

Parameters = Mapping[str, str]
Resource = dict[str, Any]

_TRANSLATE = """
import json, sys
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

class Session:
    region_name = "eu-central-1"
    def get_partition_for_region(self, _):
        return "aws"

asked = json.load(sys.stdin)
print(json.dumps([Translator({}, Parser(), boto_session=Session()).translate(one, values) for one, values in asked]))
"""


def long_form(value: Any) -> Any:
    """Write CloudFormation's short forms in long: ``{"GetAtt": "A.Arn"}`` becomes ``{"Fn::GetAtt": ["A", "Arn"]}``."""
    if isinstance(value, list):
        return [long_form(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(name, inner)] = value.items()
        if name == "GetAtt":
            return {"Fn::GetAtt": inner.split(".", 1)}
        if name in {"FindInMap", "If", "Sub", "Join", "Equals", "Not", "And", "Or", "Split", "Select"}:
            return {f"Fn::{name}": long_form(inner)}
    return {name: long_form(inner) for name, inner in value.items()}


@cache
def source() -> dict[str, Any]:
    """Return the template before the transformation, as built: each layer and function has its code in a bucket."""
    whole: dict[str, Any] = long_form(template())
    for one in whole["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in one.get("Properties", {}):
                one["Properties"][name] = f"s3://artifacts/{one['Properties'][name].replace('/', '-')}"
    return whole


def translated(*asked: tuple[dict[str, Any], Parameters]) -> list[dict[str, Any]]:
    """Let SAM translate templates, each with the values of its parameters."""
    done = subprocess.run(
        [ROOT / ".tools/sam/bin/python", "-W", "ignore", "-c", _TRANSLATE],
        input=json.dumps(asked),
        env={"AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out: list[dict[str, Any]] = json.loads(done.stdout)
    return out


@cache
def _both() -> dict[bool, dict[str, Any]]:
    canary = defaults() | {"GradualDeployment": "Canary10Percent5Minutes"}
    at_once, gradual = translated((source(), defaults()), (source(), canary))
    return {True: gradual, False: at_once}


def whole(parameters: Parameters) -> dict[str, Any]:
    """Return the transformed template; of the parameters SAM itself looks at how versions are deployed only."""
    return _both()[parameters["GradualDeployment"] != "none"]


def defaults() -> dict[str, str]:
    """Return the parameters' defaults, as text."""
    return {name: str(one["Default"]) for name, one in template()["Parameters"].items()}


def holds(condition: Any, parameters: Parameters) -> bool:
    """Decide a condition or a rule's assertion, by its name or by its text."""
    if isinstance(condition, str):
        return holds(source()["Conditions"][condition], parameters)
    [(name, inner)] = condition.items()
    match name:
        case "Condition":
            return holds(inner, parameters)
        case "Fn::Equals":
            left, right = (parameters[one["Ref"]] if isinstance(one, dict) else str(one) for one in inner)
            return bool(left == right)
        case "Fn::Not":
            return not holds(inner[0], parameters)
        case "Fn::And":
            return all(holds(one, parameters) for one in inner)
        case "Fn::Or":
            return any(holds(one, parameters) for one in inner)
    raise AssertionError(name)


NOTHING = object()


def decided(value: Any, parameters: Parameters) -> Any:
    """Replace each ``Fn::If`` by the side that holds; what is ``AWS::NoValue`` is left out."""
    if value == {"Ref": "AWS::NoValue"}:
        return NOTHING
    if isinstance(value, list):
        return [one for one in (decided(inner, parameters) for inner in value) if one is not NOTHING]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::If"}:
        condition, yes, no = value["Fn::If"]
        return decided(yes if holds(condition, parameters) else no, parameters)
    pairs = ((name, decided(inner, parameters)) for name, inner in value.items())
    return {name: inner for name, inner in pairs if inner is not NOTHING}


def deployed(parameters: Parameters, section: str = "Resources") -> dict[str, Resource]:
    """List the resources (or outputs) that exist with these parameters, with every ``Fn::If`` decided."""
    return _deployed(tuple(parameters.items()), section)


@cache
def _conditional(gradual: bool) -> set[str]:
    """Name the resources and outputs in which something depends on a condition."""
    sections = (_both()[gradual][section] for section in ("Resources", "Outputs"))
    return {name for one in sections for name, value in one.items() if "Fn::If" in json.dumps(value)}


@cache
def _deployed(parameters: tuple[tuple[str, str], ...], section: str) -> dict[str, Resource]:
    chosen = dict(parameters)
    depends = _conditional(chosen["GradualDeployment"] != "none")
    return {
        name: decided(one, chosen) if name in depends else one
        for name, one in whole(chosen)[section].items()
        if "Condition" not in one or holds(one["Condition"], chosen)
    }


def references(value: Any) -> Iterator[str]:
    """Name what a value refers to, by ``Ref``, ``Fn::GetAtt``, ``Fn::Sub`` or ``DependsOn``."""
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "Ref":
                yield inner
            elif name == "Fn::GetAtt":
                yield inner[0]
            elif name == "DependsOn":
                yield from [inner] if isinstance(inner, str) else inner
            elif name == "Fn::Sub":
                text, own = (inner, {}) if isinstance(inner, str) else inner
                yield from references(own)
                yield from (one for one in _named(text) if one not in own)
            else:
                yield from references(inner)


def _named(text: str) -> Iterator[str]:
    for part in text.split("${")[1:]:
        name = part.split("}")[0]
        if not name.startswith("!"):
            yield name.split(".")[0]


def in_order(resources: Mapping[str, Resource]) -> list[str]:
    """Name resources so that each comes after all that it refers to; there is no such order with a circle."""
    return list(
        TopologicalSorter({name: {*references(one)} & {*resources} for name, one in resources.items()}).static_order()
    )


def needs(resources: Mapping[str, Resource], name: str) -> set[str]:
    """Name the resources that CloudFormation has finished before it begins with one."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for one in references(resources[todo.pop()]):
            if one in resources and one not in found:
                found.add(one)
                todo.append(one)
    return found
