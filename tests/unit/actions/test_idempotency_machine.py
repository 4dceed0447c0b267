"""No sequence of repeats, crashes and faults carries one keyed action out twice."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.actions.idempotency import BLOCK_SECONDS, Operation, decide, execute
from loyalty_bridge.actions.idempotency_store import RETENTION_SECONDS, Record, list_unknown
from loyalty_bridge.errors import InProgress, KeyReused, NotSent, OutcomeUnknown, Unavailable, UpstreamRejected
from tests.support.idempotency_table import SETTINGS, Crash, Stepped, empty_table, step_the_store

Upstream = Literal["acts", "acts, answer lost", "acts late", "fails", "is not reached", "refuses"]
Sight = Literal["sees", "sees nothing", "is down"]
Fate = Literal["pauses", "runs to its end", "dies", "loses the store"]
Told = tuple[Any, ...]

FATES = st.sampled_from(["pauses", "pauses", "runs to its end", "runs to its end", "dies", "loses the store"])

WINDOW = 120.0
FORGETS = "key of an action whose refusals are not kept"
_programs = itertools.count()


class Request(Stepped):
    """A request on its way: with a key or, being one of the equal requests without one, its fingerprint."""

    def __init__(self, call: Callable[[Stepped], Answer], keyed: bool, subject: str, expected: Told | None) -> None:
        self.keyed = keyed
        self.subject = subject
        self.expected = expected
        self.began = 0.0
        self.acted: float | None = None
        self.disturbed = False
        super().__init__(call)


class Journal(RuleBasedStateMachine):
    store = SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self.program = f"P{next(_programs)}"
        self.clock = 1_800_000_000.0
        self.start = self.clock
        self.requests: list[Request] = []
        self.effects: dict[str, list[Answer]] = defaultdict(list)  # by reference
        self.late: list[str] = []
        self.ends: dict[str, Told] = {}
        self.guards: dict[str, float] = defaultdict(float)
        self.numbers = itertools.count()

    # What upstream does

    def act(self, request: Request, upstream: Upstream, reference: str) -> Answer:
        assert request.acted is None, "one request acts twice"
        if not request.keyed:
            assert self.clock >= self.guards[request.subject], "an equal request may still be carried out"
            self.guards[request.subject] = request.began + BLOCK_SECONDS
        request.acted = self.clock
        request.pause("before acting")
        match upstream:
            case "is not reached":
                self.guards[request.subject] = 0
                raise NotSent("no connection")
            case "refuses":
                self.guards[request.subject] = 0
                raise UpstreamRejected(409, "NO", "not now")
            case "fails":
                raise OutcomeUnknown("no reply")
            case "acts late":
                self.late.append(reference)
                raise OutcomeUnknown("no reply")
        answer = self.take_effect(reference)
        request.pause("after acting")
        if upstream == "acts, answer lost":
            raise OutcomeUnknown("no reply")
        self.guards[request.subject] = self.clock + WINDOW
        return answer

    def take_effect(self, reference: str) -> Answer:
        answer = Answer(200, {"bookingId": f"B{next(self.numbers)}"})
        self.effects[reference].append(answer)
        return answer

    def look(self, request: Request, sight: Sight, seen: Record) -> Answer | None:
        request.pause("looking")
        if sight == "is down":
            raise Unavailable("no reply")
        found = self.effects[seen.reference] if sight == "sees" else []
        if found:
            self.guards[request.subject] = 0  # resolved; what guards now is not this model's matter
        return Answer(200, {**found[0].body, "found": True}) if found else None

    # What can happen

    @rule(
        subject=st.sampled_from(["key 1", "key 2", "key 3", FORGETS, "no key"]),
        upstream=st.sampled_from(["acts", "acts, answer lost", "acts late", "fails", "is not reached", "refuses"]),
        sight=st.sampled_from(["sees", "sees", "sees nothing", "is down"]),
        steps=st.integers(0, 10),
        then=FATES,
    )
    def request_comes(self, subject: str, upstream: Upstream, sight: Sight, steps: int, then: Fate) -> None:
        keyed = subject != "no key"
        request = Request(lambda _: call(), keyed, subject, self.ends.get(subject))

        def sleep(seconds: float) -> None:
            self.clock += seconds
            request.pause("asleep")

        def now() -> float:
            if request.acted is None:
                request.began = self.clock
            return self.clock

        def call() -> Answer:
            operation = Operation(
                program=self.program,
                action="book",
                key=subject if keyed else None,
                fingerprint=subject,
                about={},
                send=partial(self.act, request, upstream),
                reconcile=partial(self.look, request, sight),
                deadline=self.clock + 15,
                repeat_window=WINDOW,
                stores_rejections=subject != FORGETS,
            )
            return execute(self.store, operation, now=now, sleep=sleep)

        self.requests.append(request)
        self.run(request, steps, then)

    @precondition(lambda self: any(r.end is None for r in self.requests))
    @rule(data=st.data(), steps=st.integers(0, 10), then=FATES)
    def request_goes_on(self, data: st.DataObject, steps: int, then: Fate) -> None:
        self.run(data.draw(st.sampled_from([r for r in self.requests if r.end is None])), steps, then)

    def run(self, request: Request, steps: int, then: Fate) -> None:
        while request.end is None and (steps > 0 or then == "runs to its end"):
            request.step()
            steps -= 1
        if request.end is None and then == "dies":
            request.step(Crash())
        if (
            request.end is None
            and then == "loses the store"
            and request.at.startswith(("PutItem", "DeleteItem", "Transact"))
        ):
            request.disturbed = True
            request.step(EndpointConnectionError(endpoint_url=""))
        self.check(request)

    @precondition(lambda self: self.late)
    @rule()
    def upstream_catches_up(self) -> None:
        self.take_effect(self.late.pop())

    @precondition(lambda self: self.clock < self.start + RETENTION_SECONDS - 2 * BLOCK_SECONDS)
    @rule(seconds=st.sampled_from([1.0, 20.0, 200.0, BLOCK_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @precondition(lambda self: not self.late)
    @rule()
    def operator_decides(self) -> None:
        """An operator decides truthfully, and only on actions that no one works on."""
        for record in list_unknown(self.store, self.program, lambda: self.clock):
            subject = record.fingerprint
            if any(r.end is None and r.subject == subject for r in self.requests):
                continue
            effects = self.effects[record.reference]
            answer = Answer(200, {**effects[0].body, "decided": True}) if effects else None
            decide(self.store, self.program, record.id, answer, lambda: self.clock)
            self.guards[subject] = 0
            if answer and record.keyed:
                self.ends[subject] = _told(answer)

    # What must hold

    def check(self, request: Request) -> None:
        if request.end is None or isinstance(request.end, Crash):
            return
        assert not isinstance(request.end, KeyReused)
        if not request.keyed:
            return
        result = _told(request.end)
        if request.disturbed:
            return  # what the store did not take is reported, but not remembered
        if request.expected:
            assert result == request.expected, "a finished answer changed, or was not told"
        if result and result[0] == "refusal" and request.subject == FORGETS:
            assert request.acted is not None, "a refusal was kept"
            return
        if result:
            assert result == self.ends.setdefault(request.subject, result), "two different ends"
        if isinstance(request.end, InProgress):
            assert request.end.retry_after is not None

    @invariant()
    def no_keyed_action_happens_twice(self) -> None:
        for reference, effects in self.effects.items():
            assert len(effects) + self.late.count(reference) <= 1

    def teardown(self) -> None:
        for request in self.requests:
            if request.end is None:
                request.step(Crash())


def _told(end: object) -> Told:
    if isinstance(end, Answer):
        return ("answer", str(end.body))
    if isinstance(end, UpstreamRejected):
        return ("refusal", end.status, end.code, end.reason)
    return ()


@pytest.mark.slow
def test_no_keyed_action_is_carried_out_twice_and_no_finished_answer_changes() -> None:
    with empty_table():
        step_the_store()
        run_state_machine_as_test(
            Journal,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                suppress_health_check=list(HealthCheck),
            ),
        )
