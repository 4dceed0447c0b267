"""Idempotency records, one request after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.actions.idempotency import Operation, decide, execute
from loyalty_bridge.actions.idempotency_store import SHARDS, Record, list_unknown, load
from loyalty_bridge.errors import (
    BridgeError,
    Conflict,
    InProgress,
    Invalid,
    KeyReused,
    NotConnected,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.infra import aws
from loyalty_bridge.settings import ActionSettings
from tests.support.idempotency_table import Crash, Stepped, empty_table, step_the_store
from tests.support.lost_replies import lose_replies

DAY = 86400.0
BOOKED = Answer(200, {"bookingId": "B1"})
_programs = itertools.count()


@pytest.fixture(scope="module")
def store() -> Iterator[ActionSettings]:
    with empty_table() as settings:
        yield settings


class World:
    """A clock, a loyalty platform that behaves as configured, and requests."""

    def __init__(self, store: ActionSettings) -> None:
        self.store = store
        self.program = f"P{next(_programs)}"
        self.clock = 1_800_000_000.0
        self.sent: list[str] = []
        self.looked: list[str] = []
        self.upstream: Answer | BaseException = BOOKED
        self.sight: Answer | BridgeError | None = None

    def now(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def send(self, reference: str) -> Answer:
        self.sent.append(reference)
        if isinstance(self.upstream, BaseException):
            raise self.upstream
        return self.upstream

    def reconcile(self, record: Record) -> Answer | None:
        self.looked.append(record.reference)
        if isinstance(self.sight, BridgeError):
            raise self.sight
        return self.sight

    def request(self, key: str | None = "K", **other: Any) -> Answer:
        given: dict[str, Any] = {
            "program": self.program,
            "action": "book",
            "fingerprint": "F",
            "send": self.send,
            "reconcile": self.reconcile,
            "about": {"account_id": "A1"},
            "deadline": self.clock + 20,
            "repeat_window": 120.0,
        }
        sleep = other.pop("sleep", self.sleep)
        return execute(self.store, Operation(key=key, **given | other), now=self.now, sleep=sleep)

    def crash(self, key: str | None = "K", **other: Any) -> None:
        """Let a request begin and end without a word."""
        self.upstream = Crash()
        with pytest.raises(Crash):
            self.request(key, **other)
        self.upstream = BOOKED

    def open(self) -> Record:
        [record] = list_unknown(self.store, self.program, self.now)
        return record


@pytest.fixture
def world(store: ActionSettings) -> World:
    aws._made.cache_clear()  # and with the client what the test before has hooked into it
    return World(store)


def test_an_action_is_carried_out_under_a_reference_and_reported(world: World) -> None:
    answer = world.request()

    assert answer == BOOKED
    assert len(world.sent) == 1
    assert list_unknown(world.store, world.program, world.now) == []


def test_a_repeat_gets_the_stored_answer(world: World) -> None:
    world.request()
    world.upstream = Answer(200, {"bookingId": "B2"})
    world.clock += 6 * DAY

    answer = world.request()

    assert answer == BOOKED
    assert len(world.sent) == 1


def test_a_repeat_of_what_was_refused_gets_the_same_refusal(world: World) -> None:
    world.upstream = UpstreamRejected(404, "COUPON_NOT_FOUND", "there is no such coupon")
    with pytest.raises(UpstreamRejected):
        world.request()
    world.upstream = BOOKED

    with pytest.raises(UpstreamRejected) as refusal:
        world.request()

    assert (refusal.value.status, refusal.value.code) == (404, "COUPON_NOT_FOUND")
    assert refusal.value.reason == "there is no such coupon"
    assert len(world.sent) == 1


def test_a_refusal_that_is_not_kept_lets_another_request_with_the_key_act(world: World) -> None:
    world.upstream = UpstreamRejected(422, "zip_code", "is invalid")
    with pytest.raises(UpstreamRejected) as refusal:
        world.request(stores_rejections=False)
    world.upstream = BOOKED

    answer = world.request(fingerprint="corrected", stores_rejections=False)

    assert refusal.value.record == world.sent[0]
    assert answer == BOOKED
    assert len(world.sent) == 2
    with pytest.raises(KeyReused):
        world.request(stores_rejections=False)


@pytest.mark.parametrize("outcome", [BOOKED, OutcomeUnknown("no reply"), UpstreamRejected(409, "NO", "no")])
def test_a_key_with_another_request_is_reported_so_whatever_became_of_the_first(
    world: World, outcome: Answer | BridgeError
) -> None:
    world.upstream = outcome
    with suppress(BridgeError):
        world.request()

    with pytest.raises(KeyReused):
        world.request(fingerprint="other")

    assert len(world.sent) == 1


@pytest.mark.parametrize("other", [{"program": "other"}, {"action": "assign"}, {"key": "other"}])
def test_the_same_key_in_another_program_or_for_another_action_is_another_key(
    world: World, other: dict[str, str]
) -> None:
    world.request()

    world.request(**other)

    assert len(set(world.sent)) == 2


@pytest.mark.parametrize("is_decided", [False, True])
def test_a_key_is_remembered_for_as_long_as_was_asked_for(world: World, *, is_decided: bool) -> None:
    if is_decided:
        world.crash(retention_seconds=30 * DAY)
        world.clock += 60
        decide(world.store, world.program, world.open().id, BOOKED, world.now)
    else:
        world.request(retention_seconds=30 * DAY)
    world.clock += 29 * DAY

    assert world.request(retention_seconds=30 * DAY) == BOOKED
    assert len(world.sent) == 1


def test_a_key_is_forgotten_after_seven_days_though_the_table_has_not_deleted_it(world: World) -> None:
    world.request()
    [id_] = world.sent
    world.clock += 7 * DAY

    assert load(world.store, world.program, id_, world.now) is None
    world.request()

    assert len(world.sent) == 2


def test_what_certainly_did_not_happen_may_be_tried_again(world: World) -> None:
    world.upstream = NotSent("no connection", retry_after=7)
    with pytest.raises(NotSent) as raised:
        world.request()
    world.upstream = BOOKED

    answer = world.request()

    assert raised.value.retry_after == 7
    assert answer == BOOKED
    assert len(world.sent) == 2


@pytest.mark.parametrize("years", [0, 3])
@pytest.mark.parametrize("how", ["no reply", "crash"])
def test_what_may_have_happened_is_never_sent_again(world: World, how: str, years: int) -> None:
    if how == "crash":
        world.crash()
    else:
        world.upstream = OutcomeUnknown("no reply")
        with pytest.raises(OutcomeUnknown):
            world.request()
        world.upstream = BOOKED
    world.clock += 60 + years * 365 * DAY

    with pytest.raises(OutcomeUnknown):
        world.request()

    assert len(world.sent) == 1
    assert world.looked == world.sent


def test_an_outcome_that_is_known_to_be_unknown_is_not_waited_for(world: World) -> None:
    world.upstream = OutcomeUnknown("no reply")
    with pytest.raises(OutcomeUnknown):
        world.request()
    before = world.clock

    with pytest.raises(OutcomeUnknown):
        world.request()

    assert world.clock == before


def test_an_effect_that_is_found_is_the_answer_from_then_on(world: World) -> None:
    world.crash()
    world.clock += 60
    world.sight = BOOKED

    answer = world.request()
    world.sight = None
    again = world.request()

    assert answer == again == BOOKED
    assert len(world.looked) == 1
    assert list_unknown(world.store, world.program, world.now) == []


@pytest.mark.parametrize(
    "sight", [Unavailable("slow"), NotSent("x"), OutcomeUnknown("x"), UpstreamRejected(404, "", "")]
)
def test_a_look_up_that_fails_proves_nothing(world: World, sight: BridgeError) -> None:
    world.crash()
    world.clock += 60
    world.sight = sight

    with pytest.raises(OutcomeUnknown):
        world.request()

    assert len(world.sent) == 1


def test_without_references_upstream_only_an_operator_can_tell(world: World) -> None:
    world.crash()
    world.clock += 60

    with pytest.raises(OutcomeUnknown):
        world.request(reconcile=None)

    assert len(world.sent) == 1


@pytest.mark.parametrize("key", ["K", None])
def test_what_may_be_done_once_more_is_done_by_each_repeat_until_it_is_known(world: World, key: str | None) -> None:
    world.crash(key, is_repeatable=True)
    world.clock += 60
    world.upstream = Unavailable("the queue")

    with pytest.raises(Unavailable, match="the queue"):
        world.request(key, is_repeatable=True)
    world.upstream = BOOKED
    answer = world.request(key, is_repeatable=True)
    again = world.request(key, is_repeatable=True)

    assert answer == again == BOOKED
    assert world.sent == [world.sent[0]] * 3
    assert list_unknown(world.store, world.program, world.now) == []


def test_what_is_resumed_in_vain_and_was_not_sent_begins_again(world: World) -> None:
    world.crash(is_repeatable=True)
    world.clock += 60
    world.upstream = NotSent("down")

    with pytest.raises(NotSent):
        world.request(is_repeatable=True)

    assert list_unknown(world.store, world.program, world.now) == []


# While another request works on it


def begun(world: World, step: str = "acting", **other: Any) -> Stepped:
    """Return a request that pauses while it acts."""

    def act(reference: str) -> Answer:
        stepped.pause("acting")
        return world.send(reference)

    stepped = Stepped(lambda _: world.request(**{"send": act} | other))
    while stepped.at != step:
        stepped.step()
    return stepped


def finish(stepped: Stepped) -> Stepped:
    while stepped.end is None:
        stepped.step()
    return stepped


def test_a_repeat_waits_for_the_first_and_gets_its_answer(world: World) -> None:
    first = begun(world)
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        world.clock += seconds
        if len(waited) == 3:
            finish(first)

    answer = world.request(sleep=sleep)

    assert answer == BOOKED
    assert len(world.sent) == 1
    assert len(waited) == 3


def test_a_repeat_waits_within_its_time_and_leaves_some_of_it(world: World) -> None:
    first = begun(world, deadline=world.clock + 60)
    before = world.clock

    with pytest.raises(InProgress) as raised:
        world.request(deadline=world.clock + 20)

    assert before + 10 < world.clock <= before + 15
    assert raised.value.retry_after == pytest.approx(before + 60 - world.clock)
    assert finish(first).end == BOOKED


def test_a_repeat_that_waits_acts_when_the_first_did_not(world: World) -> None:
    first = begun(world)
    world.upstream = NotSent("no connection")

    def sleep(seconds: float) -> None:
        finish(first)
        world.upstream = BOOKED

    answer = world.request(sleep=sleep)

    assert answer == BOOKED
    assert isinstance(first.end, NotSent)


def test_an_owner_that_was_taken_for_dead_still_reports_how_it_ended(world: World) -> None:
    late = begun(world)
    world.clock += 60
    with pytest.raises(OutcomeUnknown):
        world.request()

    finish(late)
    answer = world.request()

    assert late.end == answer == BOOKED
    assert len(world.sent) == 1


def test_a_late_owner_reports_the_end_that_was_written_before_its_own(world: World) -> None:
    late = begun(world)
    world.clock += 60
    world.sight = Answer(200, {"bookingId": "B1", "found": True})
    found = world.request()

    finish(late)

    assert late.end == found == world.sight


def test_a_late_owner_without_a_reply_reports_what_was_found_in_between(world: World) -> None:
    late = begun(world)
    world.clock += 60
    world.sight = BOOKED
    world.request()
    world.upstream = OutcomeUnknown("no reply")

    finish(late)

    assert late.end == BOOKED


def test_a_late_owner_that_was_not_sent_makes_way(world: World) -> None:
    late = begun(world)
    world.clock += 60
    with pytest.raises(OutcomeUnknown):
        world.request()
    world.upstream = NotSent("no connection")

    finish(late)
    world.upstream = BOOKED

    assert world.request() == BOOKED


# When the store fails


def fail(*, after: int = 0, **when: str) -> None:
    """Let the store fail at some requests (``_1="before"``), before or after it has done what was asked.

    With `after`, all requests behind the one of that number fail, before it has.
    """
    count = itertools.count(1)
    current = 0

    def before(**_: Any) -> None:
        nonlocal current
        current = next(count)
        strike("before")

    def strike(moment: str, **_: Any) -> None:
        if when.get(f"_{current}", "before" if 0 < after < current else "") == moment:
            failure: Any = {"Error": {"Code": "InternalServerError"}}
            raise ClientError(failure, "PutItem")

    events = aws.dynamodb().meta.events
    events.register("before-call.dynamodb", before)
    events.register("after-call.dynamodb", partial(strike, "after"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_sent_when_the_beginning_cannot_be_written_down(world: World, when: str) -> None:
    fail(_1=when)

    with pytest.raises(Unavailable) as raised:
        world.request()

    assert not isinstance(raised.value, OutcomeUnknown)
    assert world.sent == []
    assert world.request() == BOOKED


def test_a_beginning_that_was_written_but_cannot_be_taken_away_again_is_not_acted_upon(world: World) -> None:
    fail(_1="after", _2="before")
    with pytest.raises(Unavailable):
        world.request()
    world.clock += 60

    with pytest.raises(OutcomeUnknown):
        world.request()

    assert world.sent == []


def restore() -> None:
    """Let the store answer again."""
    aws._made.cache_clear()


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_is_written_down_though_the_store_fails_once(world: World, when: str) -> None:
    fail(_2=when)

    answers = [world.request(), world.request()]

    assert answers == [BOOKED, BOOKED]
    assert len(world.sent) == 1


def test_an_answer_that_cannot_be_written_down_is_reported_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    fail(after=1)

    assert world.request() == BOOKED

    restore()
    assert "not stored" in caplog.text
    world.clock += 60
    with pytest.raises(OutcomeUnknown):
        world.request()
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    "error",
    [NotSent("no connection"), Invalid("account_id", "fits into no path"), NotConnected("no address")],
    ids=lambda error: type(error).__name__,
)
def test_what_was_not_sent_is_released_though_the_store_fails_once(world: World, error: BridgeError) -> None:
    fail(_2="before")
    world.upstream = error
    with pytest.raises(type(error)):
        world.request()
    world.upstream = BOOKED

    answer = world.request()

    assert answer == BOOKED
    assert list_unknown(world.store, world.program, world.now) == []


def test_nothing_is_begun_when_what_sending_needs_cannot_be_had(world: World) -> None:
    def fails() -> None:
        raise NotSent("the token's table does not answer")

    with pytest.raises(NotSent):
        world.request(prepare=fails)

    assert list_unknown(world.store, world.program, world.now) == []
    assert world.request(prepare=lambda: None) == BOOKED
    assert world.request(prepare=fails) == BOOKED
    assert len(world.sent) == 1


def test_a_failure_that_says_nothing_about_the_outcome_does_not_hold_up_the_repeat(world: World) -> None:
    world.upstream = Unavailable("the queue of batches")
    with pytest.raises(Unavailable):
        world.request(is_repeatable=True)
    world.upstream = BOOKED

    answer = world.request(is_repeatable=True)

    assert answer == BOOKED
    assert world.clock == 1_800_000_000.0
    assert len(set(world.sent)) == 1


def test_what_was_not_sent_and_cannot_be_freed_is_taken_for_unknown(world: World) -> None:
    fail(after=1)
    world.upstream = NotSent("no connection")
    with pytest.raises(NotSent):
        world.request()
    restore()
    world.upstream = BOOKED
    world.clock += 60

    with pytest.raises(OutcomeUnknown):
        world.request()

    assert len(world.sent) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_write_that_the_client_repeats_is_recognised_as_its_own(world: World, number: int) -> None:
    count = itertools.count(1)

    def arrive_twice(params: dict[str, Any], **_: Any) -> None:
        if next(count) == number:
            boto3.client("dynamodb").put_item(**params)

    aws.dynamodb().meta.events.register("provide-client-params.dynamodb.PutItem", arrive_twice)

    answer = world.request()

    assert answer == BOOKED
    assert len(world.sent) == 1
    assert world.request() == BOOKED


# Without a key


def test_without_a_key_each_request_acts_once_the_window_is_over(world: World) -> None:
    world.request(key=None)
    world.clock += 120

    world.request(key=None)

    assert len(set(world.sent)) == 2


@pytest.mark.parametrize(("window", "sent"), [(120.0, 1), (30.0, 2), (0.0, 2)])
def test_an_equal_request_shortly_after_a_success_gets_its_answer(world: World, window: float, sent: int) -> None:
    world.request(key=None, repeat_window=window)
    world.clock += 60

    answer = world.request(key=None, repeat_window=window)

    assert answer == BOOKED
    assert len(world.sent) == sent


def test_without_a_window_a_clock_that_lags_behind_changes_nothing(world: World) -> None:
    world.request(key=None, repeat_window=0)
    world.clock -= 2

    world.request(key=None, repeat_window=0)

    assert len(world.sent) == 2


def test_another_request_is_not_held_up(world: World) -> None:
    world.request(key=None)

    world.request(key=None, fingerprint="other")

    assert len(world.sent) == 2


def test_a_refusal_does_not_hold_up_an_equal_request_without_a_key(world: World) -> None:
    world.upstream = UpstreamRejected(409, "NO", "not now")
    with pytest.raises(UpstreamRejected):
        world.request(key=None)
    world.upstream = BOOKED

    assert world.request(key=None) == BOOKED


@pytest.mark.parametrize("how", ["no reply", "crash"])
def test_without_a_key_nothing_is_sent_for_a_day_after_an_unknown_outcome(world: World, how: str) -> None:
    world.upstream = OutcomeUnknown("no reply") if how == "no reply" else Crash()
    with pytest.raises((OutcomeUnknown, Crash)):
        world.request(key=None)
    world.upstream = BOOKED
    world.clock += DAY - 1

    with pytest.raises(OutcomeUnknown):
        world.request(key=None)
    world.clock += 1
    answer = world.request(key=None)

    assert answer == BOOKED
    assert len(world.sent) == 2


@pytest.mark.parametrize("how", ["no reply", "crash"])
@pytest.mark.parametrize("decision", [BOOKED, None])
def test_without_a_key_what_is_unknown_waits_for_the_operator_though_equal_requests_act_again(
    world: World, how: str, decision: Answer | None
) -> None:
    for _ in range(2):
        world.upstream = OutcomeUnknown("no reply") if how == "no reply" else Crash()
        with pytest.raises((OutcomeUnknown, Crash)):
            world.request(key=None)
        world.clock += DAY
    world.upstream = BOOKED

    world.request(key=None)
    waiting = list_unknown(world.store, world.program, world.now)
    for record in waiting:
        decide(world.store, world.program, record.id, decision, world.now)

    assert [record.reference for record in waiting] == world.sent[:2]
    assert {record.state for record in waiting} == {"unknown"}
    assert len(world.sent) == 3
    assert list_unknown(world.store, world.program, world.now) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_makes_way_stays_on_the_list_though_the_store_fails(world: World, when: str) -> None:
    world.crash(key=None)
    world.clock += DAY
    fail(_2=when)

    with pytest.raises(Unavailable):
        world.request(key=None)

    [record] = list_unknown(world.store, world.program, world.now)
    assert [record.reference] == world.sent
    assert world.request(key=None) == BOOKED


def test_of_two_equal_requests_for_which_the_unknown_one_makes_way_one_acts(world: World) -> None:
    world.crash(key=None)
    world.clock += DAY
    late = Stepped(lambda _: world.request(key=None))
    step_the_store()
    while late.at != "TransactWriteItems":
        late.step()
    first = world.request(key=None)

    finish(late)

    assert late.end == first
    assert len(world.sent) == 2
    assert world.open().reference == world.sent[0]


def test_without_a_key_an_effect_that_is_found_is_the_answer(world: World) -> None:
    world.crash(key=None)
    world.clock += 60
    world.sight = BOOKED

    answer = world.request(key=None)

    assert answer == BOOKED
    assert len(world.sent) == 1
    assert world.looked == world.sent


def test_an_equal_request_without_a_key_waits_for_the_first(world: World) -> None:
    first = begun(world, key=None)

    def sleep(seconds: float) -> None:
        finish(first)

    answer = world.request(key=None, sleep=sleep)

    assert answer == first.end == BOOKED
    assert len(world.sent) == 1


# The operator


def test_open_actions_report_what_an_operator_needs_to_find_them_oldest_first(world: World) -> None:
    world.crash("K1")
    world.clock += 60
    world.upstream = OutcomeUnknown("no reply (ReadTimeoutError)")
    with pytest.raises(OutcomeUnknown):
        world.request("K2")
    world.upstream = BOOKED
    world.request("K3")
    working = begun(world, key="K4")

    first, second = list_unknown(world.store, world.program, world.now)

    assert [first.reference, second.reference] == world.sent[:2]
    assert (first.action, first.state, first.since, first.about) == (
        *("book", "unknown", world.clock - 60),
        {"account_id": "A1"},
    )
    assert (first.failure_reason, second.failure_reason) == ("", "no reply (ReadTimeoutError)")
    assert list_unknown(world.store, "other", world.now) == []
    working.step(Crash())


def test_what_is_reported_with_the_doubt_finds_the_effect_later(world: World) -> None:
    world.upstream = OutcomeUnknown("assigned, but its code could not be read", {"account_coupon_id": "AC1"})
    with pytest.raises(OutcomeUnknown):
        world.request()
    value = world.open().about

    answer = world.request(reconcile=lambda seen: Answer(200, {"found": seen.about["account_coupon_id"]}))

    assert value == {"account_id": "A1", "account_coupon_id": "AC1"}
    assert answer.body == {"found": "AC1"}


def test_a_record_can_be_read_by_its_id(world: World) -> None:
    world.request()
    [id_] = world.sent

    record = load(world.store, world.program, id_, world.now)

    assert record
    assert (record.state, record.answer, record.keyed) == ("succeeded", BOOKED, True)
    assert load(world.store, "other", id_, world.now) is None


def test_what_an_operator_says_has_happened_is_the_answer(world: World) -> None:
    world.crash()
    world.clock += 60

    decide(world.store, world.program, world.open().id, BOOKED, world.now)

    assert world.request() == BOOKED
    assert len(world.sent) == 1
    assert list_unknown(world.store, world.program, world.now) == []


def test_what_an_operator_says_has_not_happened_may_be_tried_again(world: World) -> None:
    world.crash()
    world.clock += 60

    decide(world.store, world.program, world.open().id, None, world.now)

    assert world.request() == BOOKED
    assert len(world.sent) == 2


@pytest.mark.parametrize(("answer", "acts"), [(BOOKED, 1), (None, 2)])
def test_a_decision_whose_reply_was_lost_is_recognised_as_ones_own(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: Answer | None, acts: int
) -> None:
    world.crash()
    world.clock += 60
    open_id = world.open().id
    lose_replies(monkeypatch)

    decide(world.store, world.program, open_id, answer, world.now)

    assert (world.request(), len(world.sent)) == (BOOKED, acts)


def test_another_decision_of_another_operator_is_not_taken_for_ones_own(world: World) -> None:
    world.crash()
    world.clock += 60
    seen = world.open()
    decide(world.store, world.program, seen.id, BOOKED, world.now)

    with pytest.raises(Conflict):
        decide(world.store, world.program, seen.id, Answer(200, {"bookingId": "another"}), world.now)


def test_the_open_actions_of_a_program_lie_in_many_partitions(world: World) -> None:
    for number in range(40):
        world.crash(key=f"K{number}")

    items = aws.dynamodb().scan(TableName=world.store.idempotency_table)["Items"]
    shards = {item["open"]["S"] for item in items if item["id"]["S"].startswith(f"{world.program}#")}
    found = list_unknown(world.store, world.program, lambda: world.clock + 60)
    assert len(shards) > SHARDS / 2
    assert len(found) == 40
    assert list_unknown(world.store, world.program.rstrip("0123456789"), lambda: world.clock + 60) == []


@pytest.mark.parametrize("answer", [BOOKED, None])
@pytest.mark.parametrize("state", ["started", "succeeded", "none"])
def test_only_what_is_unknown_can_be_decided(world: World, state: str, answer: Answer | None) -> None:
    working = begun(world) if state == "started" else None
    if state == "succeeded":
        world.request()
    id_ = world.sent[0] if world.sent else "none"
    if working:
        [id_] = [record.id for record in list_unknown(world.store, world.program, lambda: world.clock + 60)]

    with pytest.raises(Conflict):
        decide(world.store, world.program, id_, answer, world.now)

    if working:
        finish(working)
    assert len(world.sent) == (state != "none")


@pytest.mark.parametrize("answer", [Answer(200, {"bookingId": "typed in"}), None])
def test_an_operator_who_is_overtaken_by_the_end_is_reported_so(world: World, answer: Answer | None) -> None:
    late = begun(world)
    world.clock += 60
    open_id = world.open().id

    def operator(_: Stepped) -> Answer:
        decide(world.store, world.program, open_id, answer, world.now)
        return BOOKED

    overtaken = Stepped(operator)
    step_the_store()
    while overtaken.at not in {"PutItem", "DeleteItem"}:
        overtaken.step()
    finish(late)

    finish(overtaken)

    assert isinstance(overtaken.end, Conflict)
    assert world.request() == BOOKED
