"""One object that makes the destination fail, programs that never answer, and the limit of all forwarders together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from loyalty_bridge.pipeline import engagement_client, sender
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from simulators.server import Answer, Request, json_answer, serving
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused

HTML = b"<html><title>Bad Gateway</title></html>"
BAD = "poison"

Spoilt = Callable[[Callable[[], Answer]], Answer]

TAKES_NOTHING: dict[str, Spoilt] = {
    "500": lambda _: json_answer(500, {"message": "Internal Server Error"}),
    "502 of a proxy": lambda _: Answer(502, HTML),
    "503": lambda _: json_answer(503, {"message": "Service Unavailable"}),
    "reset": lambda _: Answer(0, delivery="reset"),
    "silence": lambda _: Answer(0, delivery="silent", delay=1.2),
}
OF_A_FIREWALL: dict[str, Spoilt] = {"403 of a firewall": lambda _: Answer(403, HTML)}
TAKES_IT: dict[str, Spoilt] = {
    "504 after acting": lambda act: replace(act(), status=504, body=HTML),
    "200 that is not JSON": lambda act: replace(act(), status=200, body=HTML),
    "closed within the body": lambda act: replace(act(), delivery="close"),
    "silence after acting": lambda act: replace(act(), delivery="silent", delay=1.2),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "REPLY_SECONDS", 0.6)
    monkeypatch.setattr(sender, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(sender, "backoff", lambda _: 0.01)


@contextmanager
def spoilt(braze: Braze, spoil: Spoilt, *, only: bytes = BAD.encode()) -> Iterator[str]:
    """Serve a Braze that fails whenever a request holds some bytes."""

    def answer(request: Request) -> Answer:
        def act() -> Answer:
            return braze.answer(request)

        return spoil(act) if only in request.body else act()

    with serving(answer) as url:
        yield url


def some(size: int, bad: int) -> list[dict[str, Any]]:
    """Make events of as many members, one of which holds what makes the destination fail."""
    return [
        event(
            "balance_changed",
            eventId=f"e{at}",
            accountId=f"A{at}",
            payload={"points": at} | ({"reason": BAD} if at == bad else {}),
        )
        for at in range(size)
    ]


def copies(braze: Braze, key: str = KEY) -> Counter[str]:
    return Counter(str(one.object["properties"]["event_id"]) for one in braze.workspace(key).events)


@pytest.mark.parametrize("batch_of", [queued, streamed])
@pytest.mark.parametrize("fault", [*TAKES_NOTHING, *TAKES_IT, *OF_A_FIREWALL])
def test_what_makes_the_destination_fail_is_set_aside_with_its_reason_and_its_neighbours_arrive(
    stores: DeliverySettings, braze: Braze, fault: str, batch_of: Callable[..., dict[str, Any]]
) -> None:
    with spoilt(braze, (TAKES_NOTHING | TAKES_IT | OF_A_FIREWALL)[fault]) as url:
        connect(stores, url)

        outcome = forward(batch_of(*some(12, 5)), stores, 30)

    arrived = copies(braze)
    assert outcome.to_retry == []
    assert set(arrived) - {"e5"} == {f"e{at}" for at in range(12) if at != 5}
    assert set(refused(stores)) == {"e5"}
    assert all("other data is taken" in reason for _, _, reason in refused(stores)["e5"])
    doubled = sum(count - 1 for count in arrived.values())
    assert outcome.counts["set_aside"] == 1
    assert outcome.counts["requests"] <= 2 + 12 + 2 + sender.ATTEMPTS  # twice whole, each member, two objects of one
    if fault in TAKES_IT:
        assert doubled > 0
        assert max(count for id_, count in arrived.items() if id_ != "e5") <= 3
        assert arrived["e5"] <= 5
        assert outcome.counts["outcome_unknown"] > 0
    else:
        assert doubled == 0


@pytest.mark.parametrize("bad", [0, 3, 7])
@pytest.mark.parametrize("members", [1, 8])
def test_an_object_without_an_answer_is_found_though_the_wait_takes_all_the_time(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, members: int, bad: int
) -> None:
    limits = replace(LIMITS, wait_seconds=0.3)
    with spoilt(braze, TAKES_NOTHING["silence"]) as url:
        connect(stores, url)
        records = [one | {"accountId": f"A{at % members}"} for at, one in enumerate(some(8, bad))]
        left = records
        for _ in range(5):
            outcome = forward(queued(*left), stores, LIMITS.settle_seconds + 2, limits=limits)
            left = [one for at, one in enumerate(left) if f"message-{at}" in outcome.to_retry]

    assert left == []
    assert set(refused(stores)) == {f"e{bad}"}
    assert copies(braze) == {f"e{at}": 1 for at in range(8) if at != bad}


@pytest.mark.parametrize("fault", [*TAKES_NOTHING, *TAKES_IT])
def test_a_destination_that_fails_for_everything_sets_nothing_aside_and_gets_no_copies(
    stores: DeliverySettings, braze: Braze, fault: str
) -> None:
    with spoilt(braze, (TAKES_NOTHING | TAKES_IT)[fault], only=b"") as url:
        connect(stores, url)
        batch = queued(*some(10, 5))

        outcomes = [forward(batch, stores, LIMITS.settle_seconds + 4) for _ in range(3)]

    assert all(len(outcome.to_retry) == 10 for outcome in outcomes)
    assert (load_parked(stores, "rejected"), sum(outcome.counts["set_aside"] for outcome in outcomes)) == ([], 0)
    assert [outcome.counts["requests"] for outcome in outcomes[1:]] == [0] * 2
    assert max(copies(braze).values(), default=0) == (sender.UNKNOWN_ATTEMPTS if fault in TAKES_IT else 0)


def test_a_single_record_that_makes_the_destination_fail_does_not_hold_its_program_up(
    stores: DeliverySettings, braze: Braze
) -> None:
    with spoilt(braze, TAKES_NOTHING["500"]) as url:
        connect(stores, url)

        bad = forward(queued(*some(1, 0)), stores, 30)
        good = forward(queued(*some(3, 9)), stores, 30)

    assert (bad.to_retry, good.to_retry, set(refused(stores)), good.counts["accepted_event"]) == ([], [], {"e0"}, 3)
    assert repository.load(stores, ["demo"])["demo"].delivery_state.failing_since == 0


def test_programs_that_do_not_answer_starve_no_other(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "REPLY_SECONDS", 1.5)
    monkeypatch.setattr(sender, "CHECK_SECONDS", 0.5)
    silent, good = [f"s{at}" for at in range(40)], [f"g{at}" for at in range(5)]
    for program in silent + good:
        connect(stores, braze.url, program, program)
        braze.workspace(program)
    for program in silent:
        braze.workspace(program).misbehave(kind="timeout_after_acting", seconds=2, times=None)
    batch = streamed(*[event("user_logged_in", programId=program) for program in silent + good])

    outcomes = [forward(batch, stores, LIMITS.settle_seconds + 5) for _ in range(2)]

    assert [len(braze.workspace(program).events) for program in good] == [1] * 5
    assert all(len(braze.workspace(program).events) <= sender.UNKNOWN_ATTEMPTS for program in silent)
    assert [outcome.counts["accepted_event"] for outcome in outcomes] == [5, 0]
    assert outcomes[1].counts["requests"] == 0


def test_programs_that_failed_before_begin_after_the_others(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = replace(LIMITS, programs_at_once=1)
    for program in ("bad", "good"):
        connect(stores, braze.url, program, program)
        braze.workspace(program)
    braze.workspace("bad").misbehave(kind="status", status=503, times=sender.ATTEMPTS + 2)  # and two checks
    batch = streamed(event("user_logged_in", programId="bad"), event("user_logged_in", programId="good"))
    forward(batch, stores, 30, limits=limits)
    again = streamed(event("user_logged_out", programId="bad"), event("user_logged_out", programId="good"))

    forward(again, stores, 30, limits=limits)

    assert braze.workspace("good").requests[-1].received_at < braze.workspace("bad").requests[-1].received_at


def test_a_forwarder_begins_no_more_requests_than_its_share_of_the_destinations_limit(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engagement_client, "LIMIT_SECONDS", 0.5)
    engagement_client._turns.cache_clear()
    connect(stores, braze.url, engagement={"rules": {"max_objects": 1}})
    limited = replace(stores, forwarder_concurrency="750")  # 4 of 3,000
    batch = streamed(*[event("user_logged_in", accountId=f"A{at}") for at in range(8)])

    outcome = forward(batch, limited, 30)

    times = [request.received_at for request in braze.workspace(KEY).requests]
    assert (outcome.to_retry, len(times)) == ([], 16)
    assert times == sorted(times)
    assert all(later - earlier > 0.5 - 0.15 for earlier, later in zip(times, times[4:], strict=False))
    engagement_client._turns.cache_clear()


def test_what_is_not_counted_as_processed_is_shown_to_the_operator(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    short = {"message": "success", "attributes_processed": 1, "events_processed": 0}
    braze.workspace(KEY).misbehave(kind="status", when="after", status=201, body=short)

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert (outcome.to_retry, outcome.counts["not_processed"]) == ([], 1)
    assert [(one.code, seen.count) for one, seen in outcome.recorder.problems.items()] == [("not_processed", 1)]
