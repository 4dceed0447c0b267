"""What a cold start pays for: heavy things are imported where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.template import ROOT

AWS_AND_HTTP = {"boto3", "requests", "urllib3"}
LOOK_UP = AWS_AND_HTTP | {"phonenumbers", "email_validator", "pydantic", "loyalty_bridge.activity.store"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("http_api.requests", AWS_AND_HTTP | {"pydantic"}),
        ("http_api.responses", AWS_AND_HTTP | {"pydantic"}),
        ("actions.idempotency", AWS_AND_HTTP | {"pydantic"}),
        ("programs.api_keys", AWS_AND_HTTP | {"pydantic"}),
        ("http_api.auth", AWS_AND_HTTP | {"phonenumbers", "email_validator", "pydantic"}),
        ("http_api.lookups", LOOK_UP),
        ("http_api.coupon_code", LOOK_UP),
        ("http_api.action", AWS_AND_HTTP | {"phonenumbers", "email_validator"}),
    ],
)
def test_a_module_does_not_import_what_no_request_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, loyalty_bridge.{module}; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "shared")},
    )

    assert f"loyalty_bridge.{module}" in loaded.stdout.split()
    assert absent.isdisjoint(loaded.stdout.split())
