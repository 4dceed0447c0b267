"""What the layers are built for, which interpreter byte-compiles them, and whose certificates the tools trust."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import built
from tests.support.template import ROOT, template

PROBE = f"include {ROOT}/shared/target.mk\nshow:\n\t@echo $(BRIDGE_PYTHON) $(BRIDGE_ARCH)\ncertificates:\n\t@env"
SYSTEM = "/usr/bin:/bin"


def made(*arguments: str, **environment: str) -> str:
    """Return what make prints in an environment of nothing else."""
    done = subprocess.run(
        ["make", "-s", *arguments],
        env={"PATH": SYSTEM, **environment},
        input=PROBE,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# The target


def test_the_layers_are_built_for_the_defaults_of_the_template() -> None:
    parameters = template()["Parameters"]

    result = made("-f", "-", "show")

    assert (
        result == f"{parameters['Runtime']['Default'].removeprefix('python')} {parameters['Architecture']['Default']}"
    )


def test_the_environment_names_another_target() -> None:
    assert made("-f", "-", "show", BRIDGE_PYTHON="3.12", BRIDGE_ARCH="x86_64") == "3.12 x86_64"


@pytest.mark.parametrize(
    ("python", "architecture", "platform"),
    [
        # Amazon Linux 2 has glibc 2.26, Amazon Linux 2023 has 2.34.
        ("3.11", "arm64", "aarch64-manylinux2014"),
        ("3.11", "x86_64", "x86_64-manylinux2014"),
        ("3.12", "arm64", "aarch64-manylinux_2_28"),
        ("3.13", "aarch64", "aarch64-manylinux_2_28"),
        ("3.14", "x86_64", "x86_64-manylinux_2_28"),
    ],
)
def test_wheels_run_on_the_operating_system_of_the_runtime(
    tmp_path: Path, python: str, architecture: str, platform: str
) -> None:
    program(tmp_path / "uv", "")
    target = {"BRIDGE_PYTHON": python, "BRIDGE_ARCH": architecture, "ARTIFACTS_DIR": "built"}

    by_uv = made("-n", "-f", f"{ROOT}/shared/Makefile", "install", **target, PATH=f"{tmp_path}:{SYSTEM}")
    by_pip = made("-n", "-f", f"{ROOT}/shared/Makefile", "install", **target)

    assert f"--python-platform {platform} " in by_uv
    machine = platform.partition("-")[0]
    assert f"--platform manylinux2014_{machine}" in by_pip
    assert (f"--platform manylinux_2_28_{machine}" in by_pip) == ("2_28" in platform)


def test_a_local_run_takes_the_wheels_of_its_machine(tmp_path: Path) -> None:
    program(tmp_path / "uv", "")
    target = {"BRIDGE_PLATFORM": "native", "ARTIFACTS_DIR": "built", "PATH": f"{tmp_path}:{SYSTEM}"}

    assert "--python-platform" not in made("-n", "-f", f"{ROOT}/shared/Makefile", "install", **target)


def test_a_built_template_deploys_for_what_it_was_built_for_only() -> None:
    parameters = built.for_target(template(), "3.12", "aarch64")["Parameters"]

    assert parameters["Runtime"] == {"Type": "String", "AllowedValues": ["python3.12"], "Default": "python3.12"}
    assert parameters["Architecture"]["AllowedValues"] == [parameters["Architecture"]["Default"]] == ["arm64"]
    assert parameters["Transport"] == template()["Parameters"]["Transport"]


def test_a_local_run_does_not_depend_on_the_list_of_runtimes() -> None:
    assert built.for_target(template(), "3.99", "x86_64")["Parameters"]["Runtime"]["AllowedValues"] == ["python3.99"]


def test_in_a_local_aws_every_address_that_the_stack_gives_is_a_local_one() -> None:
    value = {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}
    hooks = {"Fn::Sub": "https://${Hooks}.execute-api.${AWS::Region}.${AWS::URLSuffix}/hooks"}
    deployed: dict[str, Any] = {
        "Resources": {
            "Api": {"Type": "AWS::Serverless::HttpApi"},
            "Hooks": {"Type": "AWS::Serverless::Api"},
            "Admin": {"Type": "AWS::Serverless::Function", "Properties": {"Environment": {"Variables": {"A": value}}}},
        },
        "Outputs": {"ApiUrl": {"Value": value}, "Hooks": {"Value": hooks}},
    }

    local = built.for_local_aws(deployed, "http://127.0.0.1:4566")

    api = {"Fn::Sub": "http://127.0.0.1:4566/_aws/execute-api/${Api}/$default"}
    assert local["Outputs"]["ApiUrl"]["Value"] == api
    assert local["Outputs"]["Hooks"]["Value"] == {"Fn::Sub": "http://127.0.0.1:4566/_aws/execute-api/${Hooks}/hooks"}
    assert local["Resources"]["Admin"]["Properties"]["Environment"]["Variables"]["A"] == api


# The interpreter


def found(version: str, path: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Look for an interpreter where the machine has none but those of the test."""
    tools = path / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "sh").symlink_to("/bin/sh")
    return subprocess.run(
        [ROOT / "shared/interpreter.sh", version],
        env={"PATH": f"{path}:{tools}", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_interpreter_of_the_runtime_is_the_one_on_the_path(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.13", "exit 0")

    assert found("3.13", tmp_path / "bin", tmp_path).stdout.strip() == "python3.13"


def test_a_command_of_pyenv_that_does_not_work_is_passed_over_for_the_version_that_pyenv_has(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.13", "exit 127")
    has = program(tmp_path / ".pyenv/versions/3.13.0/bin/python3", "exit 0")

    assert found("3.13", tmp_path / "bin", tmp_path).stdout.strip() == str(has)


def test_an_interpreter_of_another_version_is_none(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3", f'exec {os.path.realpath("/usr/bin/env")} PATH={SYSTEM} python3 "$@"')

    assert found("3.99", tmp_path / "bin", tmp_path).returncode == 1


def test_uv_installs_the_interpreter_that_is_missing(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    program(
        tmp_path / "bin/uv", f'case "$2" in install) : > {installed};; find) [ -e {installed} ] && echo /uv/3.13;; esac'
    )

    assert found("3.13", tmp_path / "bin", tmp_path).stdout.strip() == "/uv/3.13"


def test_without_an_interpreter_the_build_fails_and_says_what_to_do(tmp_path: Path) -> None:
    program(tmp_path / "bin/uv", "exit 2")

    done = found("3.13", tmp_path / "bin", tmp_path)

    assert done.returncode == 1
    assert "There is no Python 3.13 here" in done.stderr
    assert "put python3.13 on PATH" in done.stderr
    assert done.stderr.count("\n") == 1


# The certificates


def certificates(path: Path, **environment: str) -> dict[str, str]:
    """Return the variables for tools where Python trusts a file or folder of certificates."""
    python = program(path / "python", f"echo {path / 'trusted'}")
    result = made("-f", "-", "certificates", f"PYTHON={python}", **environment)
    pairs = dict(line.split("=", 1) for line in result.splitlines() if "=" in line)
    return {name: value for name, value in pairs.items() if name.startswith("SSL_CERT")}


def test_tools_trust_what_python_trusts(tmp_path: Path) -> None:
    (tmp_path / "trusted").write_text("")

    assert certificates(tmp_path) == {"SSL_CERT_FILE": str(tmp_path / "trusted")}


def test_tools_trust_a_folder_that_python_trusts(tmp_path: Path) -> None:
    (tmp_path / "trusted").mkdir()

    assert certificates(tmp_path) == {"SSL_CERT_DIR": str(tmp_path / "trusted")}


def test_what_the_environment_says_about_certificates_stays(tmp_path: Path) -> None:
    assert certificates(tmp_path, SSL_CERT_FILE="/own.pem") == {"SSL_CERT_FILE": "/own.pem"}
    assert certificates(tmp_path, SSL_CERT_DIR="/own") == {"SSL_CERT_DIR": "/own"}


@pytest.mark.parametrize("variable", ["PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_uv_trusts_what_pip_was_reported_to_trust(tmp_path: Path, variable: str) -> None:
    assert certificates(tmp_path, **{variable: "/own.pem"}) == {"SSL_CERT_FILE": "/own.pem"}


def test_where_python_trusts_nothing_tools_keep_their_own_list(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "echo")

    assert "SSL_CERT" not in made("-f", "-", "certificates", f"PYTHON={python}")


# The first command


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("no-such-python", "no-such-python was not found: install Python 3.11 or later"),
        ("old", "Python 3.11 or later is needed, and old is 3.9: name another: make PYTHON=/path/to/python3"),
    ],
)
def test_a_python_that_cannot_do_is_said_at_once(tmp_path: Path, python: str, said: str) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "shared", "template.yaml", "requirements-dev.lock", "pyproject.toml"):
        (checkout / name).symlink_to(ROOT / name)
    program(
        tmp_path / "bin/old", """exec python3 -c 'import sys; sys.version_info = (3, 9, 1); exec(sys.argv[1])' "$2" """
    )

    done = subprocess.run(
        ["make", "setup", f"PYTHON={python}"],
        cwd=checkout,
        env={"PATH": f"{tmp_path / 'bin'}:{SYSTEM}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode
    assert said in done.stderr
    assert not (checkout / ".venv").exists()


def test_invoking_without_an_event_shows_how() -> None:
    done = subprocess.run([sys.executable, "-m", "local.invoke"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "usage: make invoke EVENT=events/" in done.stderr
