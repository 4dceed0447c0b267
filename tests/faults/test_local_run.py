"""The two commands of the README do what they say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.template import ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_local_run_deploys_the_bundle_and_everything_arrives_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.run", "demo", "--members", "15", "--events", "220"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "everything arrived, once" in done.stdout
    assert "rejected objects: 0, silently dropped: 0" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_event_runs_under_the_runtime_interface_emulator() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.invoke", "events/forward_events/sqs_status_level_changed.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"batchItemFailures": []' in done.stdout
