"""The template as data, so that tests make tables and queues from what is deployed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (``!Ref x`` becomes ``{"Ref": "x"}``)."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix: value}


_Loader.add_multi_constructor("!", _short_form)


@cache
def template() -> dict[str, Any]:
    """Read template.yaml."""
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)
    return loaded


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """List the resources of a type, by name."""
    return {name: one for name, one in template()["Resources"].items() if one["Type"] == kind}


def statements() -> list[tuple[str, dict[str, Any]]]:
    """List what is allowed, each statement with the function whose role it is of."""
    found: list[tuple[str, dict[str, Any]]] = []

    def collect(name: str, value: Any) -> None:
        if isinstance(value, dict):
            if value.get("Effect") == "Allow":
                found.append((name, value))
            for inner in value.values():
                collect(name, inner)
        elif isinstance(value, list):
            for inner in value:
                collect(name, inner)

    for name, one in resources("AWS::Serverless::Function").items():
        collect(name, one["Properties"]["Policies"])
    for one in resources("AWS::IAM::Policy").values():
        [role] = one["Properties"]["Roles"]
        collect(role["Ref"].removesuffix("Role"), one["Properties"]["PolicyDocument"])
    return found
