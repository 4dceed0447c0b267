"""Twenty programs, one of them hostile in turn: the other nineteen lose nothing, double nothing and are not delayed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from simulators.server import serving
from tests.conftest import connect
from tests.support.events import event, queued, streamed

PROGRAMS = [f"p{number:02}" for number in range(20)]
HOSTILE, *OTHERS = PROGRAMS
EVENTS = 5
SLACK_SECONDS = 3.0
"""What a busy machine may add; the rest is a ratio."""

Batch = Callable[..., dict[str, Any]]


@dataclass
class Town:
    """Twenty connected programs, and one Braze that has a workspace for each."""

    settings: DeliverySettings
    braze: Braze

    def run(self, batch: Batch, hostile: list[Any], run: str) -> tuple[float, Counter[str]]:
        """Forward one batch, the hostile program's records first.

        Returns
        -------
        tuple
            Seconds from the begin of the invocation until the others' last event was accepted, and how often each
            of their events of this run arrived.
        """
        records = hostile + [one for program in OTHERS for one in logins(program, run)]
        began = time.time()
        forwarder.forward(batch(*records), self.settings, 60)
        arrived = [
            (one.received_at, one.object["properties"]["event_id"])
            for program in OTHERS
            for one in self.braze.workspace(program).events
            if one.received_at >= began
        ]
        return max((at for at, _ in arrived), default=0.0) - began, Counter(name for _, name in arrived)


def logins(program: str, run: str) -> list[Any]:
    return [
        event("user_logged_in", eventId=f"{program}-{run}-{number}", programId=program, accountId=f"A{number}")
        for number in range(EVENTS)
    ]


@pytest.fixture
def town(stores: DeliverySettings) -> Iterator[Town]:
    """Return twenty programs that are connected to a Braze."""
    braze = Braze()
    with serving(braze.answer) as braze.url:
        for program in PROGRAMS:
            braze.workspace(program)
            connect(stores, braze.url, program, program)
        yield Town(stores, braze)


def silent(there: Town) -> None:
    there.braze.workspace(HOSTILE).misbehave(kind="slow", seconds=30, times=None)


def failing(there: Town) -> None:
    there.braze.workspace(HOSTILE).misbehave(kind="status", status=503, times=None)


def behind_a_broken_proxy(there: Town) -> None:
    there.braze.workspace(HOSTILE).misbehave(kind="status", status=502, html=True, times=None)


def refusing(there: Town) -> None:
    there.braze.workspace(HOSTILE).misbehave(kind="status", status=400, times=None)


def with_broken_settings(there: Town) -> None:
    aws.dynamodb().update_item(
        TableName=there.settings.programs_table,
        Key={"program": {"S": HOSTILE}, "item": {"S": "connection"}},
        UpdateExpression="SET settings = :settings",
        ExpressionAttributeValues={":settings": {"S": '{"loyalty": {"platform": "of a newer version"}}'}},
    )


def as_it_is(_: Town) -> None:
    pass


def huge(_: Town) -> list[Any]:
    payload = {"customProperties": [{"name": f"n{number}", "value": "x" * 20} for number in range(4000)]}
    return [
        event("user_changed", eventId=f"{HOSTILE}-{number}", programId=HOSTILE, payload=payload) for number in range(3)
    ]


def unusable(_: Town) -> list[Any]:
    return [[{} for _ in range(50_000)], "[" * 5000, '{"programId": "p00"}' + " " * 100_000]


def of_one_alias(first: int, count: int) -> list[Any]:
    owner = {"programId": HOSTILE, "userId": "kiosk", "payload": {"role": "OWNER"}}
    return [
        event("account_created", eventId=f"{HOSTILE}-{number}", accountId=f"K{number}", **owner)
        for number in range(first, first + count)
    ]


def shared_by_many(there: Town) -> None:
    there.run(streamed, of_one_alias(0, 150), "before")


HOSTILITIES: dict[str, tuple[Callable[[Town], None], Callable[[Town], list[Any]]]] = {
    "silent": (silent, lambda _: logins(HOSTILE, "beside")),
    "5xx": (failing, lambda _: logins(HOSTILE, "beside")),
    "broken proxy": (behind_a_broken_proxy, lambda _: logins(HOSTILE, "beside")),
    "endless field_errors": (refusing, lambda _: logins(HOSTILE, "beside") * 20),
    "broken settings": (with_broken_settings, lambda _: logins(HOSTILE, "beside")),
    "huge records": (as_it_is, huge),
    "unusable records": (as_it_is, unusable),
    "shared alias": (shared_by_many, lambda _: of_one_alias(150, 30)),
}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [queued, streamed], ids=["queue", "stream"])
@pytest.mark.parametrize("name", HOSTILITIES)
def test_a_hostile_program_neither_delays_nor_doubles_nor_loses_the_events_of_others(
    town: Town, name: str, batch: Batch
) -> None:
    spoil, records = HOSTILITIES[name]
    town.run(batch, [], "warm")
    alone, _ = town.run(batch, [], "alone")
    spoil(town)

    beside, arrived = town.run(batch, records(town), "beside")

    assert arrived == Counter(one["eventId"] for program in OTHERS for one in logins(program, "beside"))
    assert beside < 1.5 * alone + SLACK_SECONDS
