"""A secret that is refused is sent a few times only, also by many calls at once, and then rarely."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from loyalty_bridge.errors import ConnectionBroken, NotSent, OutcomeUnknown
from loyalty_bridge.infra.http_client import Reply, Request
from loyalty_bridge.programs import credential_breaker, repository
from loyalty_bridge.programs.connection import Connection, Program
from loyalty_bridge.programs.credential_breaker import (
    LIMIT,
    MAX_REFUSALS,
    PAUSE_SECONDS,
    TRY_SECONDS,
    Breaker,
    GuardedClient,
)
from loyalty_bridge.settings import DeliverySettings
from tests.conftest import asked_of_aws
from tests.support.lost_replies import lose_replies

SECRET = "punchh_client_secret"
REQUEST = Request("POST", "https://server.punchh.com", {})
FAR = 1e12


@dataclass
class World:
    """A program's calls, one after the other unless `during` makes another one while a request is on its way."""

    settings: DeliverySettings
    program: Program
    now: float = 1_000_000.0
    answers: str = ""
    sent: int = 0
    during: list[Callable[[], object]] = field(default_factory=list)

    def send(self, _: Request, __: float) -> Reply:
        """Answer: ``x`` refuses, ``?`` says nothing, ``f`` and ``b`` are failures that say nothing of it."""
        answer, self.answers = self.answers[0], self.answers[1:]
        self.sent += 1
        while self.during:
            self.during.pop()()
        if answer == "?":
            raise OutcomeUnknown("no reply")
        return Reply({"x": 412, "u": 401, ".": 200, "f": 500, "b": 429, "r": 422}[answer], {}, b"")

    def call(self, deadline: float = FAR) -> str:
        """Make a call of a container that reads everything again."""
        _, items = repository.load_with_items(self.settings, self.program.id, credential_breaker.item_of(SECRET))
        seen = credential_breaker.from_item(items.get(credential_breaker.item_of(SECRET), {}))
        guarded = GuardedClient(self.settings, self.program, SECRET, seen, self.send, lambda: self.now, self.wait)
        try:
            return str(guarded(REQUEST, deadline).status)
        except (ConnectionBroken, NotSent, OutcomeUnknown) as error:
            return type(error).__name__

    def save(self) -> None:
        """Save the connection."""
        self.program = repository.save(self.settings, self.program, "diner", Connection(), {})

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def all(self, answers: str) -> list[str]:
        """Make a call for each answer; a blank lets the pause pass."""
        ends = []
        for answer in answers:
            if answer == " ":
                self.now += PAUSE_SECONDS
            else:
                self.answers = answer
                ends.append(self.call())
        return ends


@pytest.fixture
def world(stores: DeliverySettings) -> World:
    return World(stores, repository.save(stores, None, "diner", Connection(), {}))


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        pytest.param("xxxxxx", 3, id="refused from the beginning"),
        pytest.param("uuuuuu", 3, id="refused in another way"),
        pytest.param("....xxxxxx", 7, id="refused later"),
        pytest.param("xx.xx.xx.", 9, id="never often in a row"),
        pytest.param("xxrxxrxxf", 9, id="another refusal is none of the secret"),
        pytest.param("?????????", 9, id="no answer is no refusal"),
        pytest.param("x?x?x?x?", 5, id="no answer is no success"),
        pytest.param("fbfbfbfbf", 9, id="a failure is no refusal"),
        pytest.param("xfxbxfxb", 5, id="a failure is no success"),
        pytest.param("xxxx fxx", 5, id="a try that fails is made again"),
        pytest.param("xxxx xx xx", 5, id="one try after each pause"),
        pytest.param("xxxx ....xx", 9, id="works again after the pause"),
        pytest.param("xxxx ?xx", 5, id="a try without an answer is made again"),
    ],
)
def test_what_is_refused_in_a_row_is_not_sent(world: World, answers: str, sent: int) -> None:
    ends = world.all(answers)

    assert world.sent == sent
    assert ends.count("ConnectionBroken") == len(answers.replace(" ", "")) - sent


def test_who_gets_no_answer_lets_the_next_one_try_at_once(world: World) -> None:
    began = world.now

    assert world.all("?????.") == ["OutcomeUnknown"] * 5 + ["200"]
    assert world.now == began


def test_who_is_stopped_learns_when_to_come_back(world: World) -> None:
    world.all("xxx")
    world.now += 100

    guarded = GuardedClient(world.settings, world.program, SECRET, Breaker(), world.send, lambda: world.now, world.wait)
    with pytest.raises(ConnectionBroken, match=SECRET) as stopped:
        guarded(REQUEST, FAR)

    assert stopped.value.retry_after == PAUSE_SECONDS - 100


def test_another_connection_is_tried_at_once_by_one_call(world: World) -> None:
    world.all("xxxx")

    world.save()

    assert world.all("xxx") == ["412", "ConnectionBroken", "ConnectionBroken"]
    world.save()
    assert world.all("...") == ["200"] * 3


def test_another_connection_begins_again_when_the_refusals_are_long_ago(world: World) -> None:
    world.all("xxxx ")

    world.save()

    assert world.all("xxxx") == ["412", "412", "412", "ConnectionBroken"]


@pytest.mark.parametrize("answers", ["xxx", "x.x", "xfx"])
def test_no_connection_is_tried_after_too_many_refusals_until_the_pause_is_over(world: World, answers: str) -> None:
    refused = 0
    for _ in range(20):
        refused += world.all(answers).count("412")
        world.save()

    held_up = world.all(".")
    world.now += PAUSE_SECONDS

    assert refused == MAX_REFUSALS
    assert held_up == ["ConnectionBroken"]
    assert world.all(".") == ["200"]


def test_each_secret_has_a_breaker_of_its_own(world: World) -> None:
    world.all("xxxx")
    world.answers = "."

    other = GuardedClient(world.settings, world.program, "punchh_admin_key", Breaker(), world.send)

    assert other(REQUEST, FAR).status == 200


@pytest.mark.parametrize("before", ["", "f", "b", "?"])
def test_of_many_at_once_a_few_try_and_the_others_wait_for_them(world: World, before: str) -> None:
    ends: list[str] = []
    world.all(before)

    def nested(depth: int) -> Callable[[], None]:
        def more() -> None:
            if depth:
                world.during.append(nested(depth - 1))
            ends.append(world.call(deadline=0.0))

        return more

    world.answers = "x" * 50
    world.during.append(nested(20))
    ends.append(world.call())

    assert world.sent == len(before) + LIMIT
    assert ends.count("412") == LIMIT
    assert set(ends) == {"412", "NotSent"}


def test_who_waits_goes_on_when_the_secret_works(world: World) -> None:
    ends: list[str] = []
    world.all(".")
    stale = Breaker(world.program.version, tries=LIMIT, until=world.now + TRY_SECONDS, revision=99)

    guarded = GuardedClient(world.settings, world.program, SECRET, stale, world.send, lambda: world.now, world.wait)
    world.answers = "."
    ends.append(str(guarded(REQUEST, FAR).status))

    assert ends == ["200"]


def test_tries_that_died_hold_no_one_up_for_long(world: World) -> None:
    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    for _ in range(LIMIT):
        world.answers, world.during = ".", [die]
        with pytest.raises(Died):
            world.call()
    world.answers = "."

    held_up = world.call(deadline=0.0)
    world.now += TRY_SECONDS

    assert held_up == "NotSent"
    assert world.call() == "200"


def test_a_store_that_fails_lets_nothing_be_sent(world: World) -> None:
    nowhere = replace(world.settings, programs_table="NoSuchTable")

    guarded = GuardedClient(nowhere, world.program, SECRET, Breaker(), world.send)

    with pytest.raises(NotSent):
        guarded(REQUEST, FAR)
    assert world.sent == 0


def test_what_works_costs_nothing_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.all(".")
    seen = Breaker(world.program.version, works=True, revision=2)
    nowhere = replace(world.settings, programs_table="NoSuchTable")
    world.answers = "."

    assert GuardedClient(nowhere, world.program, SECRET, seen, world.send)(REQUEST, FAR).status == 200


def test_many_refusals_at_the_same_moment_are_counted_without_a_crowd(world: World) -> None:
    calls = 40
    world.all(".")
    meeting = threading.Barrier(calls)

    def send(*_: object) -> Reply:
        meeting.wait(20)
        return Reply(412, {}, b"")

    _, items = repository.load_with_items(world.settings, "diner", credential_breaker.item_of(SECRET))
    seen = credential_breaker.from_item(items[credential_breaker.item_of(SECRET)])

    def call(_: int) -> int:
        guarded = GuardedClient(world.settings, world.program, SECRET, seen, send, lambda: world.now, world.wait)
        return guarded(REQUEST, time.monotonic() + 20).status

    with asked_of_aws() as asked, ThreadPoolExecutor(calls) as pool:
        statuses = list(pool.map(call, range(calls)))

    assert statuses == [412] * calls
    assert asked.count("UpdateItem") <= 4 * calls
    assert world.call() == "ConnectionBroken"
    world.save()
    assert world.call() == "ConnectionBroken"  # the platform has counted more than it takes


def test_a_try_whose_reply_was_lost_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_replies(monkeypatch)

    ends = world.all("fff")

    assert (ends, world.sent) == (["500"] * 3, 3)
    _, items = repository.load_with_items(world.settings, "diner", credential_breaker.item_of(SECRET))
    assert credential_breaker.from_item(items[credential_breaker.item_of(SECRET)]).tries == 0
