"""Sending to a model of Braze that refuses, fails and forgets to answer: nothing lost, doubled or overtaken."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty_bridge.errors import NotSent, OutcomeUnknown
from loyalty_bridge.infra.http_client import Reply
from loyalty_bridge.model import Json, Part
from loyalty_bridge.pipeline.attribute_state import AttributeState
from loyalty_bridge.pipeline.planning import Delivery, MemberBatch, OutboundObject, plan
from loyalty_bridge.pipeline.sender import ATTEMPTS, MAX_SET_ASIDE, REPLY_SECONDS, UNKNOWN_ATTEMPTS, ProgramSender, send
from loyalty_bridge.platforms.base import AttributePath, WireObject
from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.braze.settings import BrazeRules
from tests.support.deliveries import BAD, attributes, nested, new_delivery, take

Fault = Literal["pass", "429", "503", "not sent", "lost", "lost after acting", "401"]

Refuses = Literal["object", "request", "request, naming none"]

RULES = BrazeRules()
REFUSES: tuple[Refuses, ...] = ("object", "request", "request, naming none")
FAULTS: tuple[Fault, ...] = ("429", "503", "not sent", "lost", "lost after acting")


@dataclass
class Model:
    """A Braze that takes whole requests or parts of them, and notes what its caller did.

    Attributes
    ----------
    faults
        What goes wrong with the next requests, before anything is judged.
    refuses
        A bad object alone, so that its neighbours are taken; or the whole request, with or without naming it.
    most
        Requests with more objects than this are too large.
    """

    faults: list[Fault] = field(default_factory=list)
    refuses: Refuses = "object"
    most: int = 75
    profiles: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    taken: list[tuple[str, str]] = field(default_factory=list)
    """Member and name of each event and purchase that was taken."""
    overtaking: list[str] = field(default_factory=list)
    doubtful: int = 0
    """How many of them its caller was not informed of."""
    breaks_on: str = ""
    """For a request that holds this text it answers with an error, having taken nothing."""
    breaks_with: int = 500
    is_down: bool = False
    checks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post(self, items: Sequence[OutboundObject], _deadline: float) -> Reply:
        with self.lock:
            self.overtaking += overtaking(items)
            if self.is_down or (self.breaks_on and any(self.breaks_on.encode() in it.object.body for it in items)):
                return Reply(self.breaks_with, {}, b"{}")
            fault = self.faults.pop(0) if self.faults else None
            match fault:
                case "429" | "503" | "401":
                    return Reply(int(fault), {}, b'{"message": "no"}')
                case "not sent":
                    raise NotSent("no connection")
                case "lost":
                    raise OutcomeUnknown("no reply")
                case "lost after acting":
                    before = len(self.taken)
                    self.act(items)
                    self.doubtful += len(self.taken) - before
                    raise OutcomeUnknown("no reply")
            return self.act(items)

    def check(self, _deadline: float) -> Reply:
        self.checks += 1
        return Reply(500, {}, b"{}") if self.is_down else Reply(201, {}, b'{"message": "success"}')

    def act(self, items: Sequence[OutboundObject]) -> Reply:
        if len(items) > self.most:
            return Reply(413, {}, b"")
        arrays: defaultdict[str, list[bytes]] = defaultdict(list)
        for item in items:
            arrays[item.object.array].append(item.object.body)
        bad = [
            {"type": "is refused", "input_array": array, "index": index}
            for array, bodies in arrays.items()
            for index, body in enumerate(bodies)
            if BAD.encode() in body
        ]
        if bad and self.refuses == "request, naming none":
            return Reply(400, {}, b'{"message": "something is wrong"}')
        if bad and (self.refuses == "request" or len(bad) == len(items)):
            return Reply(400, {}, json.dumps({"message": "something is wrong", "errors": bad}).encode())
        for array in ("attributes", "events", "purchases"):
            for body in arrays[array]:
                if BAD.encode() not in body:
                    self.take(array, body)
        return Reply(201, {}, json.dumps({"message": "success", "errors": bad}).encode())

    def take(self, array: str, body: bytes) -> None:
        fields = json.loads(body)
        member = fields.pop("external_id")
        if array == "attributes":
            take(self.profiles[member], json.dumps(fields).encode())
        else:
            self.taken.append((member, _name(fields)))


def overtaking(items: Sequence[OutboundObject]) -> list[str]:
    """Name the members of whom something is sent while something earlier is neither there, nor refused, nor with it."""
    in_request: defaultdict[str, list[OutboundObject]] = defaultdict(list)
    for item in items:
        in_request[item.delivery.update.member].append(item)
    return [member for member, mine in in_request.items() if _overtakes(ORDER[member], mine)]


def _overtakes(deliveries: list[Delivery], items: list[OutboundObject]) -> bool:
    # Attributes come before everything, the oldest first; then each work's event and purchase.
    by_time = sorted(deliveries, key=lambda one: one.update.time)
    objects = [
        (deliveries.index(item.delivery), ("event", "purchase").index(item.part)) for item in items if not item.update
    ]
    merged = {(-1, by_time.index(one)) for item in items if item.update for one, _ in item.update.shares}
    missing = {(-1, at) for at, one in enumerate(by_time) if "attributes" in one.missing} | {
        (at, kind)
        for at, one in enumerate(deliveries)
        for kind, part in enumerate(("event", "purchase"))
        if part in one.missing
    }
    last = max([*objects, *merged])
    return objects != sorted(objects) or any(place < last for place in missing - {*objects, *merged})


ORDER: dict[str, list[Delivery]] = {}
"""The works of the members of the example under way, in order."""


def sender(model: Model, rules: BrazeRules = RULES, seconds: float = 60.0) -> ProgramSender:
    until = time.monotonic() + seconds
    made = ProgramSender(braze, rules, model.post, until, until)

    def sleep(_: float) -> None:
        made.not_before = 0.0  # the time has passed

    made.sleep = sleep
    return made


def members(*deliveries: Delivery, known: dict[str, AttributeState] | None = None) -> list[MemberBatch]:
    """Put the works of a batch together by member, with what is `known` of each."""
    ORDER.clear()
    for one in deliveries:
        ORDER.setdefault(one.update.member, []).append(one)
    known = {} if known is None else known
    return [
        MemberBatch(name, known.setdefault(name, AttributeState(b"secret")), list(mine)) for name, mine in ORDER.items()
    ]


def send_all(model: Model, people: list[MemberBatch], rules: BrazeRules = RULES) -> ProgramSender:
    """Send what is missing of the members' works, and keep what became known, as an invocation does."""
    way = sender(model, rules)
    send(way, [items for one in people if (items := plan(one, braze, rules, only_changed=True))])
    for one in people:
        one.state.versions |= one.learned
    return way


bad_attributes: st.SearchStrategy[dict[AttributePath, Json]] = st.just({("tier",): BAD})
no_attributes: st.SearchStrategy[dict[AttributePath, Json]] = st.just({})


@st.composite
def some_works(draw: st.DrawFn) -> list[Delivery]:
    """Draw works of a few members, some with a value, an event or a purchase that Braze will never take."""
    made = []
    for number in range(draw(st.integers(1, 14))):
        values = draw(bad_attributes | no_attributes | attributes)
        event = draw(st.sampled_from(["", "event", "event", BAD]))
        purchase = draw(st.sampled_from(["", "", "purchase", BAD]))
        member = draw(st.sampled_from(["A1", "A2", "A3"]))
        made.append(
            new_delivery(
                draw(st.integers(0, 3)),
                values,
                member=member,
                event=event and f"{event}-{number}",
                purchase=purchase and f"{purchase}-{number}",
            )
        )
    return made


def names(one: Delivery) -> dict[Part, str]:
    """Name the event and the purchase of a work."""
    there: tuple[tuple[Part, WireObject | None], ...] = (
        ("event", one.translation.event),
        ("purchase", one.translation.purchase),
    )
    return {part: _name(json.loads(object_.body)) for part, object_ in there if object_}


def _name(fields: dict[str, str]) -> str:
    return fields.get("name") or fields["product_id"]


def wanted(deliveries: list[Delivery]) -> list[tuple[str, str]]:
    """Name the events and purchases that a Braze in good health has in the end, in order."""
    return [(one.update.member, name) for one in deliveries for name in names(one).values() if BAD not in name]


def good_values(deliveries: list[Delivery]) -> dict[str, dict[str, Any]]:
    """Return the newest values of each member, those apart that Braze will never take."""
    people: dict[str, dict[Any, Any]] = {}
    for one in sorted(deliveries, key=lambda one: one.update.time):
        if BAD not in one.translation.attributes.values():
            people.setdefault(one.update.member, {}).update(one.translation.attributes)
    return {member: nested(values) for member, values in people.items()}


def in_order(taken: list[tuple[str, str]], kind: str) -> dict[str, list[str]]:
    """Return the names of each member's events or purchases, each where it was taken first."""
    by_member: defaultdict[str, list[str]] = defaultdict(list)
    for member, name in dict.fromkeys(taken):
        if name.startswith(kind):
            by_member[member].append(name)
    return by_member


EXAMPLES = 50

cuts = st.integers(0, 10)
rules = st.builds(BrazeRules, object_limit=st.sampled_from(["combined", "per_array"]), max_objects=st.integers(1, 6))
models = st.builds(
    Model,
    faults=st.lists(st.sampled_from(FAULTS), max_size=8),
    refuses=st.sampled_from(REFUSES),
    most=st.integers(1, 8),
)


def settle(deliveries: list[Delivery], model: Model, limits: BrazeRules, cut: int) -> None:
    """Send the works in two batches, each as often as it takes."""
    known: dict[str, AttributeState] = {}
    for batch in (deliveries[:cut], deliveries[cut:]):
        people = members(*batch, known=known)
        for _ in range(20):
            send_all(model, people, limits)
            if not any(one.missing for one in batch):
                break


@settings(max_examples=EXAMPLES)
@given(some_works(), rules, models, cuts)
def test_everything_is_accepted_once_or_refused_and_nothing_is_overtaken(
    deliveries: list[Delivery], limits: BrazeRules, model: Model, cut: int
) -> None:
    settle(deliveries, model, limits, cut)

    assert not any(one.missing for one in deliveries)
    assert model.overtaking == []
    expected = Counter(wanted(deliveries))
    assert expected - Counter(model.taken) == Counter()
    assert (Counter(model.taken) - expected).total() <= model.doubtful
    for kind in ("event", "purchase"):
        assert in_order(model.taken, kind) == in_order(wanted(deliveries), kind)


@settings(max_examples=EXAMPLES)
@given(some_works(), rules, models, cuts)
def test_exactly_the_bad_parts_are_refused_with_a_reason(
    deliveries: list[Delivery], limits: BrazeRules, model: Model, cut: int
) -> None:
    settle(deliveries, model, limits, cut)

    for one in deliveries:
        bad = {part for part, name in names(one).items() if BAD in name}
        refused = {refusal.part: refusal.reason for refusal in one.field_errors}
        assert bad <= refused.keys() <= bad | {"attributes"}
        assert all(refused.values())
        assert not (refused.keys() & one.accepted)
        if "attributes" in refused:
            assert BAD in one.translation.attributes.values()


@settings(max_examples=EXAMPLES)
@given(some_works(), rules, models, cuts)
def test_braze_ends_with_the_newest_values_that_it_takes(
    deliveries: list[Delivery], limits: BrazeRules, model: Model, cut: int
) -> None:
    settle(deliveries, model, limits, cut)

    good = {member: values for member, values in good_values(deliveries).items() if values}
    assert {member: values for member, values in model.profiles.items() if values} == good


@settings(max_examples=EXAMPLES)
@given(some_works(), rules, st.integers(0, 3))
def test_a_broken_connection_stops_the_program_and_loses_nothing(
    deliveries: list[Delivery], limits: BrazeRules, before: int
) -> None:
    people = members(*deliveries)
    passing, broken = cast("list[Fault]", ["pass"] * before), cast("list[Fault]", ["401"] * 50)
    model = Model(faults=passing + broken)

    way = send_all(model, people, limits)

    assert bool(way.failing) == way.broken == any(one.missing for one in deliveries)
    assert model.overtaking == []
    for one in deliveries:
        for part, name in names(one).items():
            assert ((one.update.member, name) in model.taken) == (part in one.accepted)
            assert (part in one.missing) + (part in one.accepted) + any(part == it.part for it in one.field_errors) == 1


def test_one_bad_object_that_is_not_named_is_found_in_few_requests() -> None:
    deliveries = [new_delivery(member=f"A{number}", event=BAD if number == 42 else "event") for number in range(75)]
    model = Model(refuses="request, naming none")

    way = send_all(model, members(*deliveries))

    assert [one.update.member for one in deliveries if one.field_errors] == ["A42"]
    assert len(model.taken) == 74
    assert way.counts["requests"] <= 1 + 2 * 7  # halving 75 seven times


def test_a_request_that_is_too_large_is_halved_until_it_fits() -> None:
    deliveries = [new_delivery(event=f"event-{number}") for number in range(16)]
    model = Model(most=4)

    way = send_all(model, members(*deliveries))

    assert [name for _, name in model.taken] == [f"event-{number}" for number in range(16)]
    assert way.counts["requests"] == 1 + 2 + 4


@pytest.mark.parametrize("refuses", REFUSES)
def test_attributes_that_are_taken_apart_still_go_before_everything_else(refuses: Refuses) -> None:
    deliveries = [
        new_delivery(0, {("tier",): "gold"}, event="event-0"),
        new_delivery(1, {("tier",): BAD}, event="event-1"),
        *[new_delivery(event=f"event-{number}") for number in range(2, 8)],
    ]
    model = Model(refuses=refuses, most=4)

    send_all(model, members(*deliveries))

    assert model.overtaking == []
    assert model.profiles == {"A1": {"tier": "gold"}}
    assert [name for _, name in model.taken] == [f"event-{number}" for number in range(8)]
    assert [bool(one.field_errors) for one in deliveries] == [False, True, *[False] * 6]


@pytest.mark.parametrize("refuses", REFUSES)
def test_attributes_that_are_taken_apart_keep_to_the_limit_of_a_request(refuses: Refuses) -> None:
    deliveries = [
        new_delivery(second, {("tier",): BAD if second in (5, 12) else f"tier-{second}"}) for second in range(13)
    ]
    model = Model(refuses=refuses)
    way = sender(model, BrazeRules(max_objects=4))
    sizes: list[int] = []

    def post(items: Sequence[OutboundObject], deadline: float) -> Reply:
        sizes.append(len(items))
        return model.post(items, deadline)

    way.post = post
    send(way, [plan(one, braze, way.rules, only_changed=True) for one in members(*deliveries)])

    assert max(sizes) <= 4
    assert [at for at, one in enumerate(deliveries) if one.field_errors] == [5, 12]
    assert model.profiles == {"A1": {"tier": "tier-11"}}


def test_a_value_that_is_older_than_the_known_one_does_not_come_up_when_a_newer_one_is_refused() -> None:
    known: dict[str, AttributeState] = {}
    model = Model()
    send_all(model, members(new_delivery(2, {("tier",): "gold"}), known=known))

    deliveries = [new_delivery(1, {("tier",): "silver"}), new_delivery(3, {("tier",): BAD})]
    send_all(model, members(*deliveries, known=known))

    assert model.profiles == {"A1": {"tier": "gold"}}
    assert [bool(one.field_errors) for one in deliveries] == [False, True]


def test_an_object_that_is_too_large_alone_is_refused() -> None:
    deliveries = [new_delivery(event="event"), new_delivery(purchase="purchase")]
    model = Model(most=0)

    send_all(model, members(*deliveries))

    assert [[(it.part, it.reason) for it in one.field_errors] for one in deliveries] == [
        [("event", "413: too much in one request")],
        [("purchase", "413: too much in one request")],
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_that_lasts_stops_after_a_few_attempts_and_leaves_everything_missing(fault: Fault) -> None:
    deliveries = [new_delivery(0, {("tier",): "gold"}, event="event")]
    people = members(*deliveries)

    faults: list[Fault] = [fault] * 50

    way = send_all(Model(faults=faults), people)

    attempts = UNKNOWN_ATTEMPTS if fault.startswith("lost") else ATTEMPTS
    assert (way.counts["requests"], bool(way.failing), way.broken) == (attempts, True, False)
    assert deliveries[0].missing == {"attributes", "event"}
    assert people[0].state.versions == {}


def test_what_lies_behind_a_failing_request_of_a_member_is_not_tried() -> None:
    deliveries = [new_delivery(event=f"event-{number}") for number in range(6)]
    faults: list[Fault] = ["503"] * 50
    model = Model(faults=["pass", *faults])

    way = send_all(model, members(*deliveries), BrazeRules(max_objects=2))

    assert way.counts["requests"] == 1 + ATTEMPTS
    assert [bool(one.missing) for one in deliveries] == [False, False, True, True, True, True]


def test_a_wait_beyond_the_end_is_not_begun() -> None:
    deliveries = [new_delivery(event="event")]
    way = sender(Model(), seconds=5)
    slept: list[float] = []
    way.sleep = slept.append
    way.post = lambda items, deadline: Reply(429, {"retry-after": "60"}, b"{}")

    send(way, [plan(one, braze, BrazeRules(), only_changed=True) for one in members(*deliveries)])

    assert (slept, way.counts["requests"]) == ([], 1)
    assert way.not_before - time.monotonic() > 50
    assert "429" in way.failing


def test_no_request_may_last_beyond_the_end() -> None:
    way = sender(Model(), seconds=5)
    deadlines: list[float] = []

    def post(items: Sequence[OutboundObject], deadline: float) -> Reply:
        deadlines.append(deadline)
        return Reply(201, {}, b'{"message": "success"}')

    way.post = post
    send(way, [plan(one, braze, BrazeRules(), only_changed=True) for one in members(new_delivery(event="event"))])

    assert deadlines == [way.reply_until]


def test_a_request_that_is_begun_in_the_last_moment_has_its_time_for_the_reply() -> None:
    deliveries = [new_delivery(event="event")]
    way = sender(Model(), seconds=0.1)
    way.reply_until += 60
    lefts: list[float] = []

    def post(items: Sequence[OutboundObject], deadline: float) -> Reply:
        lefts.append(deadline - time.monotonic())
        return Reply(201, {}, b'{"message": "success"}')

    way.post = post
    send(way, [plan(one, braze, BrazeRules(), only_changed=True) for one in members(*deliveries)])

    assert lefts == [pytest.approx(REPLY_SECONDS, abs=1)]
    assert not deliveries[0].missing


def test_a_request_is_not_begun_after_the_last_moment_to_begin_one() -> None:
    deliveries = [new_delivery(event="event")]
    model = Model()
    way = sender(model, seconds=0)
    way.reply_until += 60

    send(way, [plan(one, braze, BrazeRules(), only_changed=True) for one in members(*deliveries)])

    assert (model.taken, way.counts["requests"], way.failing) == ([], 0, "no time left to send")
    assert deliveries[0].missing == {"event"}


def test_a_request_whose_outcome_is_not_known_is_sent_again_and_counted() -> None:
    deliveries = [new_delivery(event="event")]
    model = Model(faults=["lost after acting"])

    way = send_all(model, members(*deliveries))

    assert (model.taken, way.counts["outcome_unknown"]) == ([("A1", "event")] * 2, 1)
    assert not deliveries[0].missing


def all_items(people: list[MemberBatch], rules: BrazeRules = RULES) -> list[list[OutboundObject]]:
    return [items for one in people if (items := plan(one, braze, rules, only_changed=True))]


@pytest.mark.parametrize("bad", [0, 7, 41])
def test_an_object_that_makes_the_destination_fail_is_set_aside_and_its_neighbours_arrive(bad: int) -> None:
    deliveries = [
        new_delivery(member=f"A{at % 9}", event=f"event-{at}" + ("-poison" if at == bad else "")) for at in range(42)
    ]
    model = Model(breaks_on="poison")
    way = sender(model)
    way.check = model.check

    send(way, all_items(members(*deliveries)))

    assert [at for at, one in enumerate(deliveries) if one.field_errors] == [bad]
    assert "other data is taken" in deliveries[bad].field_errors[0].reason
    assert Counter(name for _, name in model.taken) == Counter(f"event-{at}" for at in range(42) if at != bad)
    assert not any(one.missing for one in deliveries)
    assert (model.overtaking, way.failing, way.counts["set_aside"]) == ([], "", 1)
    assert way.counts["requests"] <= 2 + 9 + 5 + 2  # twice whole, each member, each object of one, the culprit again


def test_a_request_that_was_certainly_not_taken_is_halved() -> None:
    deliveries = [
        new_delivery(member=f"A{at}", event=f"event-{at}" + ("-poison" if at == 30 else "")) for at in range(64)
    ]
    model = Model(breaks_on="poison", breaks_with=503)
    way = sender(model)
    way.check = model.check

    send(way, all_items(members(*deliveries)))

    assert [at for at, one in enumerate(deliveries) if one.field_errors] == [30]
    assert len(model.taken) == 63
    assert way.counts["requests"] <= 2 + 2 * 6 + ATTEMPTS  # 64 are halved six times


def test_one_record_of_a_merged_write_is_set_aside_and_the_others_are_sent() -> None:
    deliveries = [
        new_delivery(at, {("tier",): "poison" if at == 2 else f"tier-{at}"}, event=f"event-{at}") for at in range(4)
    ]
    model = Model(breaks_on="poison")
    way = sender(model)
    way.check = model.check

    deliveries[3].translation = dataclasses.replace(deliveries[3].translation, attributes={("level",): "poison"})
    send(way, all_items(members(*deliveries)))

    assert [at for at, one in enumerate(deliveries) if one.field_errors] == [2, 3]
    assert model.profiles["A1"] == {"tier": "tier-1"}
    assert [name for _, name in model.taken] == [f"event-{at}" for at in range(4)]
    assert model.overtaking == []


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_set_aside_when_the_destination_takes_nothing(fault: Fault) -> None:
    deliveries = [new_delivery(member=f"A{at}", event=f"event-{at}") for at in range(20)]
    model = Model(is_down=True) if fault == "503" else Model(faults=[fault] * 500)
    way = sender(model)

    def check(_: float) -> Reply:
        if fault.startswith("lost"):
            raise OutcomeUnknown("no reply")
        return Reply(503, {}, b"{}")

    way.check = check
    send(way, all_items(members(*deliveries)))

    assert all(one.missing and not one.field_errors for one in deliveries)
    assert way.failing
    assert way.counts["requests"] <= ATTEMPTS


def test_of_many_objects_that_make_the_destination_fail_few_are_set_aside_at_a_time() -> None:
    deliveries = [new_delivery(member=f"A{at}", event=f"event-{at}-poison") for at in range(20)]
    model = Model(breaks_on="poison")
    way = sender(model)
    way.check = model.check

    send(way, all_items(members(*deliveries)))

    assert sum(bool(one.field_errors) for one in deliveries) == way.counts["set_aside"] == MAX_SET_ASIDE
    assert sum(bool(one.missing) for one in deliveries) == 20 - MAX_SET_ASIDE
    assert way.failing


def test_requests_that_are_taken_apart_at_the_same_time_share_their_threads() -> None:
    deliveries = [new_delivery(member=f"A{at}", event=f"event-{at}-poison") for at in range(80)]
    model = Model(breaks_on="poison")
    way = sender(model, BrazeRules(max_objects=10))
    before, most = threading.active_count(), 0

    def post(items: Sequence[OutboundObject], deadline: float) -> Reply:
        nonlocal most
        most = max(most, threading.active_count() - before)
        time.sleep(0.005)  # so long a reply takes: requests overlap
        return model.post(items, deadline)

    way.post, way.check, way.workers = post, model.check, 4
    send(way, all_items(members(*deliveries), way.rules))

    assert way.counts["set_aside"] == MAX_SET_ASIDE
    assert 4 <= most <= 2 * 4


def test_a_single_object_that_fails_once_or_twice_is_not_set_aside() -> None:
    deliveries = [new_delivery(event="event")]
    model = Model(faults=["503", "503", "503"])
    way = sender(model)
    way.check = model.check

    send(way, all_items(members(*deliveries)))

    assert (deliveries[0].missing, deliveries[0].field_errors, model.taken) == (set(), [], [("A1", "event")])


def test_a_program_that_failed_before_sends_nothing_until_the_destination_takes_data() -> None:
    deliveries = [new_delivery(member=f"A{at}", event=f"event-{at}") for at in range(5)]
    model = Model(is_down=True)
    down = sender(model)
    down.check, down.was_failing = model.check, True
    send(down, all_items(members(*deliveries)))
    model.is_down = False
    up = sender(model)
    up.check, up.was_failing = model.check, True

    send(up, all_items(members(*deliveries)))

    assert (down.counts["requests"], bool(down.failing), model.checks) == (0, True, 2)
    assert (up.counts["requests"], up.failing, len(model.taken)) == (1, "", 5)


@pytest.mark.parametrize(
    ("reply", "is_broken"), [(Reply(401, {}, b"{}"), True), (Reply(429, {"retry-after": "60"}, b"{}"), False)]
)
def test_what_the_destination_answers_to_the_harmless_object_counts(reply: Reply, is_broken: bool) -> None:
    way = sender(Model())
    way.check, way.was_failing = lambda _: reply, True

    send(way, all_items(members(new_delivery(event="event"))))

    assert (way.counts["requests"], way.broken, str(reply.status) in way.failing) == (0, is_broken, True)
    assert (way.not_before - time.monotonic() > 50) != is_broken


@pytest.mark.parametrize("fault", ["lost", "lost after acting"])
def test_a_request_whose_outcome_stays_unknown_is_repeated_once(fault: Fault) -> None:
    deliveries = [new_delivery(member=f"A{at}", event=f"event-{at}") for at in range(20)]
    model = Model(faults=[fault] * 50)

    way = send_all(model, members(*deliveries))

    assert way.counts["requests"] == way.counts["outcome_unknown"] == UNKNOWN_ATTEMPTS
    assert max(Counter(model.taken).values(), default=0) in {0, UNKNOWN_ATTEMPTS}


def test_no_request_is_begun_before_the_forwarders_turn() -> None:
    way = sender(Model())
    way.turn = lambda _: False

    send(way, all_items(members(new_delivery(event="event"))))

    assert (way.counts["requests"], way.failing) == (0, "no time left to send")


@pytest.mark.parametrize(("remaining", "reset", "waits"), [("0", "40", True), ("1", "40", False), ("0", "", False)])
def test_a_limit_that_is_used_up_is_waited_for_before_it_is_exceeded(remaining: str, reset: str, waits: bool) -> None:
    deliveries = [new_delivery(member=f"A{at}", event="event") for at in range(2)]
    way = sender(Model(), BrazeRules(max_objects=1), seconds=10)
    headers = {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
    way.post = lambda items, deadline: Reply(201, headers, b'{"message": "success"}')
    way.workers = 1

    send(way, all_items(members(*deliveries), way.rules))

    assert (way.counts["requests"], bool(way.failing)) == ((1, True) if waits else (2, False))
    assert (way.not_before - time.monotonic() > 30) == waits
