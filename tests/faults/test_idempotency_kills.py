"""Processes that carry actions out are killed at every step; no keyed action happens twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.stack import ROOT, credentials, local_aws
from simulators.server import Answer, Request, json_answer, serving
from tests.faults.idempotency_worker import STEPS
from tests.support.idempotency_table import SETTINGS, create_table

KILLS = int(os.environ.get("BRIDGE_KILLS", "3"))
LATER = 60.0
"""When every lease is over (seconds)."""

Run = Callable[..., list[dict[str, Any]]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".tools/aws/bin/ministack").exists(), reason="needs the local AWS (make setup)"),
]


class Upstream:
    """Books each time it is asked to."""

    def __init__(self) -> None:
        self.booked: Counter[str] = Counter()
        self.changed = threading.Condition()

    def __call__(self, request: Request) -> Answer:
        reference = request.path.removeprefix("/")
        with self.changed:
            if request.method == "POST":
                self.booked[reference] += 1
                self.changed.notify_all()
            found = self.booked[reference]
        return json_answer(200 if found else 404, {"bookingId": f"{reference}-{found}"})

    def has_booked(self, times: int) -> bool:
        """Wait until it has: a request may arrive after its sender has died."""
        with self.changed:
            return self.changed.wait_for(lambda: self.booked.total() >= times, timeout=10)


@pytest.fixture(scope="module")
def local() -> Iterator[tuple[Upstream, Run]]:
    upstream = Upstream()
    with pytest.MonkeyPatch.context() as patch, local_aws() as endpoint, serving(upstream) as url:
        for name, value in credentials(endpoint).items():
            patch.setenv(name, value)
        create_table(SETTINGS)
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.idempotency_worker", url],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        asks, replies = worker.stdin, worker.stdout
        assert asks
        assert replies

        def run(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
            asks.write(json.dumps(jobs) + "\n")
            asks.flush()
            ends: list[dict[str, Any]] = json.loads(replies.readline())
            return ends

        yield upstream, run
        asks.close()
        replies.close()
        worker.wait(10)


@pytest.fixture
def upstream(local: tuple[Upstream, Run]) -> Upstream:
    local[0].booked.clear()
    return local[0]


@pytest.fixture
def run(local: tuple[Upstream, Run]) -> Run:
    return local[1]


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize(
    ("step", "booked_then", "outcome_if_looked_up", "outcome_if_not"),
    [
        ("before begin", 0, "answer", "answer"),
        ("after begin", 0, "OutcomeUnknown", "OutcomeUnknown"),
        ("before acting", 0, "OutcomeUnknown", "OutcomeUnknown"),
        ("request sent", 1, "answer", "OutcomeUnknown"),
        ("after acting", 1, "answer", "OutcomeUnknown"),
        ("before end", 1, "answer", "OutcomeUnknown"),
        ("after end", 1, "answer", "answer"),
    ],
)
def test_an_action_whose_process_is_killed_does_not_happen_twice(
    upstream: Upstream,
    run: Run,
    step: str,
    booked_then: int,
    outcome_if_looked_up: str,
    outcome_if_not: str,
    looks: bool,
) -> None:
    key = uuid.uuid4().hex
    [killed] = run({"key": key, "dies": step})
    assert killed == {"signal": signal.SIGKILL}
    assert upstream.has_booked(booked_then)

    repeats = run(*[{"key": key, "later": LATER, "looks": looks, "seconds": 30}] * 2)

    expected = outcome_if_looked_up if looks else outcome_if_not
    assert [answer.get("error", "answer") for answer in repeats] == [expected] * 2
    assert repeats[0] == repeats[1]
    assert upstream.booked.total() == max(booked_then, step == "before begin")


def test_of_equal_requests_at_once_one_acts_and_all_get_its_answer(upstream: Upstream, run: Run) -> None:
    ends = run(*[{"key": uuid.uuid4().hex, "seconds": 30}] * 8)

    assert upstream.booked.total() == 1
    assert "answer" in ends[0]
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("seed", range(KILLS))
def test_no_mix_of_kills_and_repeats_makes_an_action_happen_twice(upstream: Upstream, run: Run, seed: int) -> None:
    chance = random.Random(seed)
    key = uuid.uuid4().hex
    answers: list[Any] = []
    for round_ in range(3):
        jobs = [
            {
                "key": key,
                "dies": chance.choice([*STEPS, None]),
                "later": round_ * LATER,
                "looks": chance.random() < 0.5,
            }
            for _ in range(3)
        ]
        answers += [end["answer"] for end in run(*jobs) if "answer" in end]

    assert max(upstream.booked.values(), default=0) <= 1
    assert upstream.booked.total() <= 1
    assert all(answer == answers[0] for answer in answers)
