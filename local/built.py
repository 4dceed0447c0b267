"""The built template: it takes only the runtime and the architecture that its layers were built for.

With another runtime or architecture the functions would deploy, and fail at their first import.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import yaml

CONTAINER_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_LAMBDA_EXEC_WRAPPER", "LOCAL_RUN_HOST", "LOCAL_RUN_PORTS")
_API = re.compile(r"https://\$\{(\w+)\}\.execute-api\.\$\{AWS::Region\}\.\$\{AWS::URLSuffix\}")


def for_target(template: dict[str, Any], python: str, architecture: str) -> dict[str, Any]:
    """Let the template be deployed for one Python version (such as 3.13) and one architecture only."""
    architecture = architecture.replace("aarch64", "arm64")
    only = {
        name: {"Type": "String", "AllowedValues": [value], "Default": value}
        for name, value in (("Runtime", f"python{python}"), ("Architecture", architecture))
    }
    return template | {"Parameters": template["Parameters"] | only}


def for_local_aws(template: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """Return the template with the addresses that the local AWS gives to the APIs and to the user pool."""
    stages = {
        name: "/$default" if one["Type"] == "AWS::Serverless::HttpApi" else ""
        for name, one in template["Resources"].items()
    }
    text = _API.sub(
        lambda found: f"{endpoint}/_aws/execute-api/${{{found[1]}}}{stages[found[1]]}", json.dumps(template)
    )
    local: dict[str, Any] = json.loads(text)
    sign_in = {"SIGN_IN_CONFIGURATION": {"Fn::Sub": f"{endpoint}/${{UserPool}}/.well-known/openid-configuration"}}
    local["Resources"]["Admin"]["Properties"]["Environment"]["Variables"] |= sign_in
    return local


def for_containers(template: dict[str, Any]) -> dict[str, Any]:
    """Declare what a container needs to reach the local run: `sam local invoke` sets declared variables only."""
    declared = dict.fromkeys(CONTAINER_VARIABLES, "")
    template["Globals"]["Function"]["Environment"]["Variables"] |= declared
    return template


def read(path: Path) -> dict[str, Any]:
    """Read the template that `sam build` has written: it has no short forms such as ``!Ref``."""
    template: dict[str, Any] = yaml.safe_load(path.read_text())
    return template


def write(path: Path, template: dict[str, Any]) -> None:
    """Write a built template back."""
    path.write_text(yaml.safe_dump(template, sort_keys=False))


def main() -> None:
    """Run as a command of the makefile."""
    parser = argparse.ArgumentParser(prog="python -m local.built", description=__doc__)
    parser.add_argument("template", type=Path)
    parser.add_argument("python", help="such as 3.13")
    parser.add_argument("architecture", help="arm64 or x86_64")
    arguments = parser.parse_args()
    write(arguments.template, for_target(read(arguments.template), arguments.python, arguments.architecture))


if __name__ == "__main__":
    main()
