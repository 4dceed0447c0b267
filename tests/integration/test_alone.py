"""What must not run twice at once: a second run ends at once, and a run that died holds up no other for long."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loyalty_bridge.infra import aws
from loyalty_bridge.parking.single_run import alone
from loyalty_bridge.programs import repository
from loyalty_bridge.settings import DeliverySettings

WORKED: Counter[str] = Counter(worked=1)


def work() -> Counter[str]:
    return WORKED


def test_the_second_of_two_runs_at_once_does_nothing(stores: DeliverySettings) -> None:
    during: list[Counter[str]] = []

    def long_work() -> Counter[str]:
        during.append(alone(stores, "tend", 50, work))
        during.append(alone(stores, "another", 50, work))
        return WORKED

    first = alone(stores, "tend", 50, long_work)
    after = alone(stores, "tend", 50, work)

    assert (first, after) == (WORKED, WORKED)
    assert during == [Counter(already_running=1), WORKED]


def test_a_run_that_fails_lets_the_next_one_begin(stores: DeliverySettings) -> None:
    def failing() -> Counter[str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        alone(stores, "tend", 50, failing)

    assert alone(stores, "tend", 50, work) == WORKED


def test_a_run_that_died_holds_up_no_other_for_longer_than_its_own_time(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    values: list[Counter[str]] = []

    def overlong() -> Counter[str]:
        for later in (49.0, 50.1):
            clock[0] = now + later
            values.append(alone(stores, "tend", 50, still_running if later > 50 else work))
        return WORKED

    def still_running() -> Counter[str]:
        return WORKED

    alone(stores, "tend", 50, overlong)

    assert values == [Counter(already_running=1), WORKED]


def test_who_ends_late_does_not_end_the_lease_of_the_next(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    values: list[Counter[str]] = []

    def second() -> Counter[str]:
        alone(stores, "tend", 50, work)
        values.append(alone(stores, "tend", 50, work))
        return WORKED

    def first() -> Counter[str]:
        clock[0] = now + 51
        return alone(stores, "tend", 50, second)

    alone(stores, "tend", 50, first)

    assert values == [Counter(already_running=1)]


def test_a_store_that_does_not_answer_leaves_the_work_to_the_next_run(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")

    monkeypatch.setattr(aws.dynamodb(), "update_item", failing)

    assert alone(stores, "tend", 50, work) == Counter(unavailable=1)


def test_a_lease_is_no_program(stores: DeliverySettings) -> None:
    alone(stores, "tend", 50, lambda: Counter(programs=len(list(repository.load_all(stores)))))

    assert list(repository.load_all(stores)) == []
