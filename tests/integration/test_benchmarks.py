"""The forwarder's benchmark runs, and the goals that no clock reports are met."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.template import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["braze", "moengage"])
def test_the_forwarder_sends_as_few_requests_over_as_few_connections_as_can_be(tmp_path: Path, platform: str) -> None:
    report = tmp_path / "report.json"
    size = ["--events", "3000", "--reply-ms", "0", "--programs", "1", "3"]
    quick = [*size, "--platform", platform, "--json", str(report)]

    subprocess.run([sys.executable, "-m", "benchmarks.forward", *quick], cwd=ROOT, check=True, timeout=100)

    runs = json.loads(report.read_text())
    assert [(run["way"], run["programs"]) for run in runs] == [
        (way, programs) for programs in (1, 3) for way in ("naive", "off", "on")
    ]
    for run in runs:
        assert run["requests"] <= run["least_requests"] * 1.01 or run["way"] == "naive"
        assert run["connections"] <= run["workers"] or run["way"] == "naive"
        assert (run["round_trips"] > 0) == (run["way"] == "on")
