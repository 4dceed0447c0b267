"""What is noted while a function works."""

from __future__ import annotations

import pytest

from loyalty_bridge.activity.recorder import MAX_ERRORS, Recorder, direction, endpoint


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0, "25"), (0.025, "25"), (0.0251, "50"), (1.4, "1500"), (3600, "3600000"), (3601, "more")],
)
def test_a_latency_counts_up_to_its_upper_bound(seconds: float, bucket: str) -> None:
    recorder = Recorder()

    recorder.latency("demo", "book_points", seconds)

    [counts] = recorder.counts.values()
    assert counts == {f"ms.{bucket}": 1}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("loyalty-bridge-AssignCoupon-1A2B3C4D5E6F", "assign_coupon"),
        ("loyalty-bridge-local-AssignCouponBatch-xYz12", "assign_coupon_batch"),
        ("Prod-BookPoints-1A2B3C", "book_points"),
        ("book_points", "book_points"),
        ("test", "test"),
    ],
)
def test_a_function_is_known_by_its_folder(function: str, expected: str) -> None:
    assert endpoint(function) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("forward_events", "to_engagement"), ("punchh_webhook", "to_engagement"), ("book_points", "to_loyalty")],
)
def test_an_endpoint_leads_one_way(name: str, expected: str) -> None:
    assert direction(name) == expected


def test_equal_problems_are_one_and_name_their_records() -> None:
    recorder = Recorder()

    for record in ("e-1", "e-2", "e-1", ""):
        recorder.problem("demo", "forward_events", "braze", "rejected", "phone: is no number", record)

    [seen] = recorder.problems.values()
    assert (seen.count, seen.records) == (4, {"e-1", "e-2"})


@pytest.mark.parametrize("record", ["max@example.com", "+49 151 2345678", "Max Mustermann", "{{id}}", "x" * 65])
def test_an_id_that_may_be_more_than_an_id_is_left_out(record: str) -> None:
    recorder = Recorder()

    recorder.problem("demo", "forward_events", "braze", "rejected", "phone: is no number", record)

    [seen] = recorder.problems.values()
    assert seen.records == set()


def test_too_many_different_problems_of_a_program_are_one_more() -> None:
    recorder = Recorder()

    for number in range(MAX_ERRORS + 5):
        recorder.problem("demo", "forward_events", "braze", "rejected", f"[{number}]: is no object")
    recorder.problem("other", "forward_events", "braze", "rejected", "is no object")

    counts = {(problem.program, problem.code): seen.count for problem, seen in recorder.problems.items()}
    assert counts == {("demo", "rejected"): 1, ("demo", "more"): 5, ("other", "rejected"): 1}
    assert len(recorder.problems) == MAX_ERRORS + 2


def test_what_is_taken_is_noted_no_more() -> None:
    recorder = Recorder()
    recorder.call("demo", "book_points", "ok", 0.1)

    taken = recorder.take()

    assert len(taken.counts) == 1
    assert (recorder.counts, recorder.problems, recorder.since) == ({}, {}, 0.0)
