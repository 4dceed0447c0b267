"""Every file of `events/` is an event that its handler takes as Lambda would give it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.functions import CONTEXT, handler
from tests.support.template import ROOT

Run = Callable[[str], Any]


@pytest.fixture
def run(stores: DeliverySettings, braze: Braze) -> Run:
    """Return what runs ``<function>/<case>`` with connected programs."""
    for program in ("demo-queue", "demo-stream"):
        connect(stores, braze.url, program)
    return lambda case: handler(case.split("/")[0])(json.loads((ROOT / f"events/{case}.json").read_text()), CONTEXT)


FORWARDED = {
    "sqs_status_level_changed": (["convercus_status_level_changed"], 0),
    "sqs_transaction_and_reversal": (["convercus_account_transaction"] * 3, 2),
    "sqs_several_members": (
        ["convercus_balance_changed", "convercus_membership_created", "convercus_status_level_changed"],
        0,
    ),
    "sqs_bad_records_among_good": (["convercus_balance_changed"], 0),
    "sqs_envelope_of_the_bridge": (["convercus_user_changed"], 0),
    "kinesis_batch": (
        [
            "convercus_account_transaction",
            "convercus_balance_changed",
            "convercus_membership_created",
            "convercus_status_level_changed",
        ],
        1,
    ),
}


@pytest.mark.parametrize("case", FORWARDED)
def test_a_batch_is_forwarded(run: Run, braze: Braze, case: str) -> None:
    answer = run(f"forward_events/{case}")

    events, purchases = FORWARDED[case]
    assert answer == {"batchItemFailures": []}
    assert sorted(event.object["name"] for event in braze.workspace(KEY).events) == sorted(events)
    assert len(braze.workspace(KEY).purchases) == purchases
    assert not braze.workspace(KEY).silently_dropped


def test_the_schedule_tends_the_programs(run: Run) -> None:
    assert run("release_held/every_minute") is None


REPLAYED = frozenset({f"forward_events/{case}" for case in FORWARDED} | {"release_held/every_minute"})


def test_every_event_has_its_test() -> None:
    """A file here whose name ends in ``events`` lists in `REPLAYED` which it replays."""
    tests = [import_module(f"tests.integration.{path.stem}") for path in Path(__file__).parent.glob("test_*events.py")]
    replayed = [case for test in tests for case in getattr(test, "REPLAYED", ())]

    assert sorted(replayed) == sorted(
        str(path.relative_to(ROOT / "events").with_suffix("")) for path in (ROOT / "events").glob("*/*.json")
    )
