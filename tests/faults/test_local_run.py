"""The first commands of the README do what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local import stack
from tests.support.template import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ELSEWHERE = Path("/")


@pytest.fixture(scope="module")
def staying() -> Iterator[dict[str, Any]]:
    """Return the addresses of what `make local` leaves running."""
    with subprocess.Popen(
        [sys.executable, "-m", "local.run", "stay"], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        assert stack.ENDPOINTS.exists(), said
        yield json.loads(stack.ENDPOINTS.read_text())
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def bridge(*arguments: str) -> str:
    """Run `bridge --local` in another folder than the project's."""
    done = subprocess.run(
        [Path(sys.executable).parent / "bridge", "--local", *arguments],
        cwd=ELSEWHERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def there(look: Callable[[], bool], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if look():
            return True
        threading.Event().wait(0.2)
    return False


def test_the_local_run_deploys_the_bundle_and_everything_arrives_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.run", "demo", "--members", "15", "--events", "220"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "OK: every event arrived exactly once" in done.stdout
    assert "objects rejected by Braze: 0, silently dropped: 0" in done.stdout
    assert not list(tmp_path.glob("ministack*"))
    assert there(lambda: not list(stack.HOME.glob("aws-*")), 300)
    assert not stack.ENDPOINTS.exists()


def test_the_first_look_up_is_answered(staying: dict[str, Any]) -> None:
    key = json.loads(bridge("key", "create", "demo-queue", "--name", "first", "--json"))["key"]
    for what in ("profile", "coupons"):
        url = f"{staying['api']}/v1/programs/demo-queue/members/C00001/{what}"

        payload = requests.get(url, headers={"X-Convercus-Key": key}, timeout=60).json()

        assert "error" not in payload


def test_a_program_of_a_persons_own_works(staying: dict[str, Any], tmp_path: Path) -> None:
    moengage, convercus = staying["moengage"] + "/_simulator/workspaces/MINE", staying["convercus"]
    requests.put(moengage, json={"key": "my-data-key"}, timeout=60)
    own = f"{convercus}/_simulator/programs/mine"
    for path, what in (("", {"client_secret": "my-secret"}), ("/accounts/A1", {"points": 100}), ("/coupons/C1", {})):
        requests.put(own + path, json=what, timeout=60)
    connection = {
        "loyalty": {
            "membership_optins": ["Newsletter"],
            "default_optins": ["Newsletter"],
            "api": {"base_url": convercus, "auth_url": convercus, "realm": "mine", "interaction_id": "demo"},
        },
        "engagement": {"platform": "moengage", "api_endpoint": staying["moengage"], "workspace_id": "MINE"},
        "secrets": {"moengage_data_key": "my-data-key", "convercus_client_secret": "my-secret"},
    }
    (tmp_path / "mine.json").write_text(json.dumps(connection))

    bridge("program", "put", "mine", str(tmp_path / "mine.json"))
    bridge("program", "test", "mine")
    templates = bridge("program", "setup", "mine")
    key = json.loads(bridge("key", "create", "mine", "--name", "mine", "--json"))["key"]
    url = f"{staying['api']}/v1/programs/mine"
    assigned = requests.post(
        f"{url}/campaigns/C1/assign",
        json={"account_id": "A1", "dispatch_id": "d1"},
        headers={"X-Convercus-Key": key},
        timeout=60,
    )

    assert f"{url}/events" in templates
    assert "amazonaws.com" not in templates
    assert assigned.status_code == 200, assigned.text
    assert there(lambda: requests.get(moengage, timeout=60).json()["events"] == {"convercus_coupon_assigned": 1}), (
        requests.get(moengage, timeout=60).text
    )


def test_brevos_sender_delivers_what_it_is_ordered_to(staying: dict[str, Any]) -> None:
    order = {"names": ["voucher_created"]}

    payload = requests.post(f"{staying['brevo']}/_simulator/deliveries", json=order, timeout=60).json()

    workspace = f"{staying['moengage']}/_simulator/workspaces/BREVO"
    assert payload == {"outcomes": {"delivered": 1}, "discarded": []}
    assert there(lambda: requests.get(workspace, timeout=60).json()["events"] == {"loyalty_voucher_created": 1})


def test_the_variables_for_a_container_are_those_of_the_deployed_functions(staying: dict[str, Any]) -> None:
    variables = json.loads(stack.ENV_VARS.read_text())

    assert variables["ForwardEvents"]["AWS_ENDPOINT_URL"] == staying["aws"]
    assert variables["ForwardEvents"]["DELIVERY_LOG_TABLE"] == staying["tables"]["DeliveryLogTable"]
    assert {"MemberProfile", "AssignCoupon", "Admin"} < set(variables)


def test_one_event_runs_under_the_runtime_interface_emulator(staying: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.invoke", "events/forward_events/sqs_status_level_changed.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"batchItemFailures": []' in done.stdout


def test_a_second_local_run_says_that_there_is_one(staying: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.run", "stay"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "a local run is under way in this folder" in done.stderr
    assert stack.ENDPOINTS.exists()
