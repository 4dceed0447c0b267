"""Any interleaving of deliveries, duplicates, rejections, failures, crashes and repairs ends well.

The forwarder and the release run unchanged, against AWS in this process and a Braze behind real sockets. The machine
plays the queue or stream, the schedule, the operator, and failures.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, cast, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import group_of
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.parking import blocked_groups, parked_records, release
from loyalty_bridge.pipeline import delivery_log, engagement_client, forwarder, sender
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.sender import ProgramSender
from loyalty_bridge.programs import delivery_state, repository
from loyalty_bridge.settings import DeliverySettings
from simulators import braze_rules
from simulators.braze import Braze, simulate
from tests.conftest import connect
from tests.support.events import event
from tests.support.parked import load_parked
from tests.support.rejecting_braze import BAD
from tests.support.transports import Queue, Stream, Transport, body_of, left

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("BRIDGE_EXAMPLES", "0"))
"""How many interleavings to try; 0 tries a few, always the same, as tests/conftest.py has it."""
STEPS = 40

Kind = Literal["balance", "tier", "login", "sale"]
Flaw = Literal["", "refused by Braze", "no such currency", "no such type", "no JSON"]
Fault = Literal["401", "503", "429", "reset", "reset after acting"]
Mishap = Literal["crash", "unavailable", "unavailable but done", "the schedule", "a delivery"]

FAULTS: dict[Fault, dict[str, Any]] = {
    "401": {"kind": "status", "status": 401},
    "503": {"kind": "status", "status": 503},
    "429": {"kind": "status", "status": 429, "headers": {"retry-after": "0.01"}},
    "reset": {"kind": "reset"},
    "reset after acting": {"kind": "reset", "when": "after"},
}


READ = dynamodb.batch_get
"""As it is, without a seam."""


@dataclass
class Mood:
    """How Braze takes requests: up to so many objects, and with bad ones as a whole or not at all."""

    most: int = 75
    names_nothing: bool = False


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Seams:
    """The places between any two steps, where something may happen that the code does not see.

    Patched, since a process that ends between two lines cannot be had otherwise within a test.
    """

    steps: int = -1
    mishap: Mishap = "crash"
    interludes: tuple[Callable[[], None], Callable[[], None]] = (lambda: None, lambda: None)

    def arm(self, steps: int, mishap: Mishap) -> None:
        self.steps, self.mishap = steps, mishap

    def around(self, real: Callable[..., Any], *, may_fail: bool, may_wait: bool = True) -> Callable[..., Any]:
        """Make a step of a function; it may fail as AWS does, or happen while others do something."""

        def step(*args: Any, **named: Any) -> Any:
            self.happen("unavailable" if may_fail else "", may_wait=may_wait)
            result = real(*args, **named)
            self.happen("unavailable but done" if may_fail else "", may_wait=may_wait)
            return result

        return step

    def happen(self, failure: str, *, may_wait: bool) -> None:
        """Count a step; with the last one it happens, if it can happen here."""
        self.steps -= 1
        if self.steps >= 0 or self.steps < -100:
            return
        interlude = {"the schedule": 0, "a delivery": 1}.get(self.mishap)
        if self.mishap == "crash":
            self.disarm()
            raise Crash
        if self.mishap == failure:
            self.disarm()
            raise Unavailable("a store does not answer")
        if interlude is not None and may_wait:
            self.disarm()
            self.interludes[interlude]()

    def disarm(self) -> None:
        self.steps = -1_000_000_000


@dataclass(frozen=True)
class Sent:
    """An event that a loyalty platform sent."""

    id: str
    program: str
    member: str
    kind: Kind
    flaw: Flaw
    second: int
    number: int
    body: str

    def parts(self) -> set[str]:
        """Return which parts Braze is to have in the end, besides attributes."""
        if self.flaw in {"no such type", "no JSON"} or (self.flaw == "refused by Braze" and self.kind != "balance"):
            return set()
        return {"event", "purchase"} if self.kind == "sale" and not self.flaw else {"event"}


def record(kind: Kind, flaw: Flaw, number: int, **envelope: Any) -> Any:
    """Make an event."""
    text = BAD if flaw == "refused by Braze" else f"{number % 3}"
    payloads: dict[Kind, Any] = {
        "balance": {"points": number % 3, "lockedPoints": number % 2},
        "tier": {"level": {"name": text}},
        "login": {"channel": text},
        "sale": {
            "transactionId": f"t-{envelope['eventId']}",
            "transactionType": "EARN",
            "amount": 12.5,
            "currencyCode": "none" if flaw == "no such currency" else "EUR",
            "reason": text,
        },
    }
    types = {"balance": "balance_changed", "tier": "status_level_changed", "login": "user_logged_in"}
    made = event(types.get(kind, "account_transaction"), payload=payloads[kind], **envelope)
    if flaw == "no JSON":
        return f"{made}"
    return made | {"eventType": "no such type"} if flaw == "no such type" else made


ADDRESSES = [(0, "A1"), (0, "A1"), (0, "A2"), (1, "A1")]
"""Program and member: few, so that what happens to one of them is much."""

AT = st.sampled_from([0, 0, 1])
events = st.tuples(
    st.sampled_from(get_args(Kind)), st.sampled_from(["", "", "", "", *get_args(Flaw)]), st.integers(0, 50)
)


class Machine(RuleBasedStateMachine):
    """The world around the forwarder."""

    programs = ("left", "right")
    members = ("A1", "A2")
    numbers = 0

    def __init__(
        self,
        settings: DeliverySettings,
        braze: Braze,
        mood: Mood,
        seams: Seams,
        patch: pytest.MonkeyPatch,
        moving: type[Transport],
    ) -> None:
        super().__init__()
        self.settings, self.braze, self.mood, self.seams, self.patch = settings, braze, mood, seams, patch
        mood.most, mood.names_nothing = 75, False
        self.transport: Transport = moving()
        self.sent: list[Sent] = []
        self.received: Counter[tuple[str, str]] = Counter()
        self.busy = False
        patch.setattr(aws, "sqs", lambda: self.transport)
        patch.setattr(aws, "kinesis", lambda: self.transport)
        seams.disarm()
        seams.interludes = (self._tend, partial(self._deliver, 5))

    @initialize(
        patience=st.sampled_from([0.0, 180.0]),
        writes=st.sampled_from(["changed", "all"]),
        most=st.sampled_from([2, 5, 75]),
        held=st.integers(0, 3),
    )
    def connect(self, patience: float, writes: str, most: int, held: int) -> None:
        Machine.numbers += 1
        self.ids = [f"{name}-{Machine.numbers}" for name in self.programs]
        self.limits = replace(LIMITS, hold_after_seconds=patience, programs_at_once=1)
        for program in self.ids:
            self.braze.workspace(program)
            connect(
                self.settings,
                self.braze.url,
                program,
                program,
                attribute_writes=writes,
                engagement={"rules": {"max_objects": most}},
            )
        self.hold_some(held)

    def hold_some(self, count: int) -> None:
        """Let the key be wrong for a while: what is held, and comes back, is where most can go wrong."""
        self.braze.workspace(self.ids[0]).misbehave(kind="status", status=401, times=None)
        for second in range(count):
            self._send(0, "A1", "balance", "", second)
            self._deliver(1)
        self.braze.workspace(self.ids[0]).faults.clear()

    # What the loyalty platform does.

    @rule(to=st.sampled_from(ADDRESSES), events=st.lists(events, min_size=1, max_size=4))
    def send(self, to: tuple[int, str], events: list[tuple[Kind, Flaw, int]]) -> None:
        for kind, flaw, second in events:
            self._send(*to, kind, flaw, second)

    def _send(self, at: int, member: str, kind: Kind, flaw: Flaw, second: int) -> None:
        number = len(self.sent)
        name = f"event-{Machine.numbers}-{number}"
        program = self.ids[at]
        # No two events have one time: the machine's reference does not say which of them is the newer one.
        occurred = datetime(2026, 3, 1, 10, tzinfo=UTC) + timedelta(seconds=second, milliseconds=number)
        body = body_of(
            record(
                *(kind, flaw, number),
                eventId=name,
                programId=program,
                accountId=member,
                occurredAt=occurred.isoformat(),
            )
        )
        self.sent.append(Sent(name, program, member, kind, flaw, second, number, body))
        self.transport.put(body, group_of(program, member))

    @precondition(lambda self: self.sent)
    @rule(at=st.integers(0, STEPS))
    def send_again(self, at: int) -> None:
        one = self.sent[at % len(self.sent)]
        self.transport.put(one.body, group_of(one.program, one.member))

    # What Lambda does.

    @rule(size=st.sampled_from([1, 1, 2, 3, 10]))
    def deliver(self, size: int) -> None:
        with suppress(Crash):
            self._deliver(size)

    @rule()
    def tend(self) -> None:
        with suppress(Crash):
            self._tend()

    def _tend(self) -> None:
        release.run_schedule(self.settings, 20, check_connection)

    def _deliver(self, size: int) -> None:
        if self.busy:
            return  # what this invocation has is not given to another one
        batch = self.transport.batch(size)
        if not batch["Records"]:
            return
        self.busy = True
        marked = self._marked()
        before = self._there()
        lost = self._lost_replies()
        try:
            outcome = forwarder.forward(batch, self.settings, 30, limits=self.limits)
            self.transport.settle(batch, outcome.to_retry)
        finally:
            self.busy = False
            # Whatever is there once more was not marked, or its reply was lost.
            there, lost = self._there() - before, self._lost_replies() - lost
            for name, count in there.items():
                assert name not in marked, "sent again although the ledger has it"
                assert count <= 1 + lost, "sent twice by one invocation"
            self.received += there

    def _marked(self) -> set[tuple[str, str]]:
        """Return which parts the delivery log has."""
        events = {delivery_log.key(one.program, 1, one.id): one.id for one in self.sent}
        table = self.settings.delivery_log_table
        found = READ([(table, {"event": {"B": key}}) for key in events], time.monotonic() + 20)
        return {
            (events[key], part)
            for key, parts in map(delivery_log.from_item, found.get(table, ()))
            for part in parts or ()
        }

    def _there(self) -> Counter[tuple[str, str]]:
        """Count the parts that Braze has."""
        return Counter(
            (received.object["properties"]["event_id"], part)
            for program in self.ids
            for part, objects in (
                ("event", self.braze.workspace(program).events),
                ("purchase", self.braze.workspace(program).purchases),
            )
            for received in objects
        )

    def _lost_replies(self) -> int:
        return sum(
            request.fault == "reset" and request.objects > 0
            for program in self.ids
            for request in self.braze.workspace(program).requests
        )

    # What goes wrong.

    @rule(at=AT, fault=st.sampled_from(["401", "401", *get_args(Fault)]), times=st.sampled_from([1, 1, 2, 5, None]))
    def fail(self, at: int, fault: Fault, times: int | None) -> None:
        self.braze.workspace(self.ids[at]).misbehave(**FAULTS[fault], times=times)

    @rule(most=st.integers(1, 6), names_nothing=st.booleans())
    def be_moody(self, most: int, names_nothing: bool) -> None:
        self.mood.most, self.mood.names_nothing = most, names_nothing

    @rule(at=AT)
    def mend(self, at: int) -> None:
        self.braze.workspace(self.ids[at]).faults.clear()

    @rule(steps=st.integers(0, 30), mishap=st.sampled_from(get_args(Mishap)))
    def prepare_a_mishap(self, steps: int, mishap: Mishap) -> None:
        self.seams.arm(steps, mishap)

    # How it ends.

    def teardown(self) -> None:
        if not hasattr(self, "ids"):
            return
        try:
            self._come_to_rest()
            self._check()
        finally:
            for program in self.ids:
                repository.delete(self.settings, program)
            for kind, program in [("rejected", UNKNOWN_PROGRAM), *(("held", program) for program in self.ids)]:
                for bundle in list(parked_records.batches(self.settings, kind, program)):  # type: ignore[arg-type]
                    parked_records.remove(self.settings, bundle)

    def _come_to_rest(self) -> None:
        self.seams.disarm()
        for program in self.ids:
            self.braze.workspace(program).faults.clear()
        for _ in range(60):
            self._tend()
            while left(self.transport):
                self._deliver(10)
            if not any(load_parked(self.settings, "held", program) for program in self.ids):
                break

    def _check(self) -> None:
        gates = {program: found.delivery_state for program, found in repository.load(self.settings, self.ids).items()}
        assert {one.state for one in gates.values()} == {"live"}
        assert not any(load_parked(self.settings, "held", program) for program in self.ids)
        refused = self._refused()
        for one in self.sent:
            for part in ("event", "purchase"):
                count = self.received[one.id, part]
                assert bool(count) == (part in one.parts()), f"{part} of {one}: {count}"
            if one.flaw and not (one.flaw == "no such currency" and one.kind != "sale"):
                where = one.id if one.flaw != "no JSON" else "no JSON"
                assert one.kind == "balance" or refused[where], f"nothing tells of {one}"
        self._check_order()
        self._check_values()

    def _refused(self) -> Counter[str]:
        """Count the errors by event id."""
        counts: Counter[str] = Counter()
        for program in (*self.ids, UNKNOWN_PROGRAM):
            for entry in load_parked(self.settings, "rejected", program):
                assert all(refusal.reason for refusal in entry.field_errors)
                counts[entry.event_id or "no JSON"] += len(entry.field_errors)
        return counts

    def _check_order(self) -> None:
        """Each member's events are at Braze in the order in which they were sent, those apart that came twice."""
        numbers = {one.id: one.number for one in self.sent}
        for program in self.ids:
            for member in self.members:
                there = [
                    numbers[received.object["properties"]["event_id"]]
                    for received in self.braze.workspace(program).events
                    if received.object["external_id"] == member
                    and self.received[received.object["properties"]["event_id"], "event"] == 1
                ]
                assert there == sorted(there), f"{program} {member}: {there}"

    def _check_values(self) -> None:
        """Each attribute has the value of its newest event."""
        for program in self.ids:
            for member in self.members:
                mine = sorted(
                    (one for one in self.sent if (one.program, one.member) == (program, member) and one.parts()),
                    key=lambda one: (one.second, one.number),
                )
                profile = self.braze.workspace(program).profile(external_id=member)
                custom = profile.custom if profile else {}
                for one in [one for one in mine if one.kind == "balance"][-1:]:
                    balance = custom["convercus_balance"]
                    assert (balance["points"], balance["lockedPoints"]) == (one.number % 3, one.number % 2)
                for one in [one for one in mine if one.kind == "tier"][-1:]:
                    assert custom["convercus_status_level"] == f"{one.number % 3}"


@pytest.fixture
def mood() -> Mood:
    return Mood()


@pytest.fixture
def braze(mood: Mood, monkeypatch: pytest.MonkeyPatch) -> Iterator[Braze]:
    """Run a Braze that refuses the objects that hold `BAD`; its rules are patched: nothing that we send breaks one."""
    check, check_request = braze_rules.check, braze_rules.check_request

    def picky(array: str, item: Any) -> braze_rules.Drops:
        if BAD in json.dumps(item):
            raise braze_rules.Invalid("is refused")
        return check(array, item)

    def moody(arrays: Any, *rest: Any) -> None:
        if sum(map(len, arrays.values())) > mood.most:
            raise braze_rules.BadRequest("Max Input Length Exceeded")
        if mood.names_nothing and BAD in json.dumps(arrays):
            raise braze_rules.BadRequest("something is wrong")
        check_request(arrays, *rest)

    monkeypatch.setattr(braze_rules, "check", picky)
    monkeypatch.setattr(braze_rules, "check_request", moody)
    with simulate() as running:
        yield running


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Seams:
    """Open the seams, and let no time pass between attempts: what is proven is the order of steps, not their pace."""
    made = Seams()
    failing = [
        *((parked_records, name) for name in ("park", "remove", "records")),
        *((blocked_groups, name) for name in ("load", "block", "unblock")),
        *(
            (delivery_state, name)
            for name in ("hold", "extend_watch", "start_release", "activate", "note_failure", "note_success")
        ),
        *((publisher, name) for name in ("_to_queue", "_to_stream")),
        (dynamodb, "batch_get"),
    ]
    for module, name in failing:
        monkeypatch.setattr(module, name, made.around(getattr(module, name), may_fail=True))
    # What a destination has and the delivery log could not store is counted; it is not proven here.
    monkeypatch.setattr(dynamodb, "batch_put_remaining", made.around(dynamodb.batch_put_remaining, may_fail=False))
    chunks = publisher._chunks
    monkeypatch.setattr(
        publisher, "_chunks", lambda sealed, *, most, most_bytes: chunks(sealed, most=3, most_bytes=9**9)
    )
    monkeypatch.setattr(sender, "backoff", lambda _: 0.001)
    # One thread, so that what failed once fails again.
    monkeypatch.setattr(sender, "WORKERS", 1)
    open_sender = engagement_client.open_sender

    def opened(*args: Any) -> ProgramSender:
        sender = open_sender(*args)
        sender.post = made.around(sender.post, may_fail=False, may_wait=False)
        return sender

    monkeypatch.setattr(forwarder, "open_sender", opened)
    return made


@pytest.mark.parametrize("moving", [Queue, Stream])
def test_every_interleaving_ends_with_everything_there_once_and_in_order(
    stores: DeliverySettings,
    braze: Braze,
    mood: Mood,
    seams: Seams,
    monkeypatch: pytest.MonkeyPatch,
    moving: type[Transport],
) -> None:
    value = stores if moving is Queue else replace(stores, events_queue_url="", events_stream="stream")

    run_state_machine_as_test(
        cast("Any", partial(Machine, value, braze, mood, seams, monkeypatch, moving)),
        settings=settings(
            max_examples=EXAMPLES or 12,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
