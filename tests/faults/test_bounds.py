"""The largest input that the gateway and the queue let through costs a function no more than it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.faults.bounds_worker import INPUTS, SIZES
from tests.support.template import ROOT

SECONDS = 20.0
"""The longest that any call may take, on a slow machine; those that a caller waits for have less in the template."""


@pytest.mark.slow
@pytest.mark.parametrize("function", SIZES)
def test_the_largest_input_stays_within_the_functions_memory_and_time(function: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.bounds_worker", function],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}/shared{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"input"')]
    assert done.returncode == 0, (outcomes[-1:], done.stderr[-2000:])
    assert [one["input"] for one in outcomes] == list(INPUTS)
    assert [one for one in outcomes if one["status"] in {500, 502, 504} or one["defects"]] == []
    assert [one for one in outcomes if one["seconds"] > SECONDS] == []
