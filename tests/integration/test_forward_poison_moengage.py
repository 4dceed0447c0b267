"""One object on which MoEngage fails or that it rejects: it alone is rejected, and its neighbours arrive in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from loyalty_bridge.pipeline import sender
from loyalty_bridge.pipeline.forwarder import Outcome, forward
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Connection, merge
from loyalty_bridge.settings import DeliverySettings
from simulators.moengage import MoEngage
from simulators.moengage_workspace import Workspace
from simulators.server import Answer, Request, json_answer, serving
from tests.support.events import event, queued, streamed
from tests.support.parked import refused

POISON = "poison"
SIZE = 16
MOST_OBJECTS = 2 * SIZE
"""Each member's attributes, and each event."""
HALVINGS = 5
"""Until one of so many objects is alone."""


def fails(status: int, kind: str) -> Callable[[Request], Answer]:
    """Make MoEngage's error reply, which names no element of a bulk import."""
    error = {"attribute": "attributes", "message": "A sentence", "type": kind, "request_id": "ZbPXtKFL"}
    return lambda _: json_answer(status, {"status": "fail", "error": error})


REJECTIONS: dict[str, Callable[[Request], Answer]] = {
    "400 InvalidParams": fails(400, "InvalidParams"),
    "400 Malformed JSON": fails(400, "Malformed JSON"),
    "413": fails(413, "PayloadTooLarge"),
    "413 of a proxy": lambda _: Answer(413, b"<html>Request Entity Too Large</html>"),
}
FAILURES: dict[str, Callable[[Request], Answer]] = {
    "500": fails(500, "ServerError"),
    "500 of a proxy": lambda _: Answer(500, b"<html>Internal Server Error</html>"),
    "503": fails(503, "ServerError"),
    "400 ServerError": fails(400, "ServerError"),
}
POSITIONS: dict[str, tuple[int, ...]] = {
    "first": (0,),
    "in the middle": (7,),
    "last": (SIZE - 1,),
    "two neighbours": (7, 8),
    "three apart": (1, 8, 14),
}
Batch = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "backoff", lambda _: 0.01)


def run(
    settings: DeliverySettings, reply: Callable[[Request], Answer], batch: dict[str, Any]
) -> tuple[Outcome, Workspace]:
    """Deliver a batch to a MoEngage that answers in this way to each request that holds the poison."""
    moengage = MoEngage()
    workspace = moengage.workspace("W1", key="data-key")

    def answer(request: Request) -> Answer:
        return reply(request) if POISON.encode() in request.body else moengage.answer(request)

    with serving(answer) as url:
        connection = merge(
            Connection(),
            {
                "loyalty": {"membership_optins": ("Newsletter",), "default_optins": ("Newsletter",)},
                "engagement": {"platform": "moengage", "api_endpoint": url, "workspace_id": "W1"},
            },
        )
        repository.save(settings, None, "demo", connection, {"moengage_data_key": "data-key"})
        outcome = forward(batch, settings, 30)
    return outcome, workspace


def some(bad: tuple[int, ...], *, members: int) -> list[dict[str, Any]]:
    """Make events of so many members in turn; those at some places hold the poison."""
    return [
        event(
            "balance_changed",
            eventId=f"e{at:02}",
            accountId=f"Member{at % members}",
            occurredAt=f"2026-03-01T10:00:{at:02}Z",
            payload={"points": at} | ({"reason": POISON} if at in bad else {}),
        )
        for at in range(SIZE)
    ]


def check(outcome: Outcome, workspace: Workspace, settings: DeliverySettings, bad: tuple[int, ...]) -> None:
    """Check that all but the poison arrived once, each member's in order, and that the poison is rejected."""
    arrived = [one.attributes["event_id"] for one in workspace.events]
    by_member: dict[str | None, list[str]] = {}
    for one in workspace.events:
        by_member.setdefault(one.user, []).append(str(one.attributes["event_id"]))
    assert outcome.to_retry == []
    assert Counter(arrived) == {f"e{at:02}": 1 for at in range(SIZE) if at not in bad}
    assert all(ids == sorted(ids) for ids in by_member.values())
    assert set(refused(settings)) == {f"e{at:02}" for at in bad}


@pytest.mark.parametrize("members", [SIZE, 4, 1])
@pytest.mark.parametrize("bad", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("reply", [*REJECTIONS, *FAILURES])
def test_objects_that_moengage_rejects_or_fails_on_are_rejected_alone(
    stores: DeliverySettings, reply: str, bad: tuple[int, ...], members: int
) -> None:
    outcome, workspace = run(stores, (REJECTIONS | FAILURES)[reply], queued(*some(bad, members=members)))

    check(outcome, workspace, stores, bad)
    reasons = {reason for errors in refused(stores).values() for _, _, reason in errors}
    assert len(reasons) == 1
    assert reply[:3] in reasons.pop()
    assert outcome.counts["requests"] <= most_requests(reply, len(bad))


@pytest.mark.parametrize("batch_of", [queued, streamed])
@pytest.mark.parametrize("reply", [*REJECTIONS, *FAILURES])
def test_an_object_within_a_members_sequence_is_rejected_alone_on_queue_and_stream(
    stores: DeliverySettings, reply: str, batch_of: Batch
) -> None:
    outcome, workspace = run(stores, (REJECTIONS | FAILURES)[reply], batch_of(*some((6,), members=2)))

    check(outcome, workspace, stores, (6,))
    assert outcome.counts["requests"] <= most_requests(reply, 1)


@pytest.mark.parametrize("members", [SIZE, 1])
@pytest.mark.parametrize("reply", REJECTIONS)
def test_a_batch_of_rejected_objects_is_rejected_with_twice_as_many_requests_at_most(
    stores: DeliverySettings, reply: str, members: int
) -> None:
    bad = tuple(range(SIZE))

    outcome, workspace = run(stores, REJECTIONS[reply], queued(*some(bad, members=members)))

    check(outcome, workspace, stores, bad)
    assert outcome.counts["requests"] < 2 * MOST_OBJECTS


def most_requests(reply: str, bad: int) -> int:
    """Return the most requests of one batch with so many bad objects."""
    if reply in REJECTIONS:  # the whole, then two halves at each step
        return 1 + bad * 2 * HALVINGS
    if reply.startswith("500"):  # may have been taken: the whole twice, each member or object, a bad one again
        return 2 + SIZE + 3 * bad
    return 2 + bad * (2 * HALVINGS + sender.ATTEMPTS - 1)
