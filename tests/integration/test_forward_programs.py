"""Programs side by side: what happens to one of them is no matter to the others."""

from __future__ import annotations

import threading
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.pipeline.sender import WORKERS
from loyalty_bridge.programs import repository, secrets
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused
from tests.support.transports import Queue

OTHER = "braze-rest-api-key-5678"


def of(program: str, member: str = "A1", **changes: Any) -> dict[str, Any]:
    return event("user_logged_in", programId=program, accountId=member, **changes)


def events_of(braze: Braze, key: str) -> int:
    return len(braze.workspace(key).events)


def test_each_program_sends_to_its_own_workspace_only(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, "one", KEY)
    connect(stores, braze.url, "two", OTHER)
    braze.workspace(OTHER)

    outcome = forward(streamed(of("one"), of("two"), of("one", "A2"), of("two", "A3"), of("two", "A4")), stores, 30)

    assert (outcome.to_retry, outcome.counts["requests"]) == ([], 2)
    members = {
        key: sorted(str(profile.external_id) for profile in braze.workspace(key).profiles.values())
        for key in (KEY, OTHER)
    }
    assert members == {KEY: ["A1", "A2"], OTHER: ["A1", "A3", "A4"]}


@pytest.mark.parametrize(
    ("fault", "held", "returned"),
    [
        pytest.param({"kind": "status", "status": 401}, 2, 0, id="bad key"),
        pytest.param({"kind": "status", "status": 403, "html": True}, 2, 0, id="no access"),
        pytest.param({"kind": "status", "status": 502, "html": True}, 0, 2, id="failing"),
        pytest.param({"kind": "status", "status": 429, "headers": {"retry-after": "60"}}, 0, 2, id="rate limit"),
        pytest.param({"kind": "drip_headers"}, 0, 2, id="slow"),
        pytest.param({"kind": "reset"}, 0, 2, id="reset"),
    ],
)
def test_a_program_that_fails_keeps_its_records_while_the_others_go_on(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any], held: int, returned: int
) -> None:
    connect(stores, braze.url, "bad", OTHER)
    connect(stores, braze.url, "good", KEY)
    braze.workspace(OTHER).misbehave(**fault, times=None)
    batch = queued(of("bad"), of("good"), of("bad", "A2"), of("good", "A3"))

    outcome = forward(batch, stores, LIMITS.settle_seconds + 4)

    assert events_of(braze, KEY) == 2
    bad, good = braze.workspace(OTHER).requests[0], braze.workspace(KEY).requests[0]
    assert good.received_at - bad.received_at < 2.5
    assert outcome.counts["accepted_event"] == 2
    assert outcome.to_retry == ["message-0", "message-2"][:returned]
    assert (len(load_parked(stores, "held", "bad")), len(load_parked(stores, "held", "good"))) == (held, 0)
    assert outcome.problems.keys() == {"bad"}
    assert repository.load(stores, ["good"])["good"].delivery_state.state == "live"


def test_a_rate_limit_of_one_program_delays_the_entries_of_no_other(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url, "limited", KEY)
    connect(stores, braze.url, "failing", OTHER)
    braze.workspace(KEY).misbehave(kind="status", status=429, headers={"retry-after": "3600"}, times=None)
    braze.workspace(OTHER).misbehave(kind="status", status=503, times=None)

    outcome = forward(queued(of("limited"), of("failing")), stores, LIMITS.settle_seconds + 1)

    assert outcome.to_retry == ["message-0", "message-1"]
    limited, failing = queue.delays
    assert 3500 < limited <= 3600
    assert failing == 2


def test_a_key_that_is_not_accepted_stops_the_calls_of_its_program(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, key="not-a-key", engagement={"rules": {"max_objects": 2}})
    batch = streamed(*[of("demo", f"A{number}") for number in range(60)])

    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == []
    assert 1 <= braze.without_key <= WORKERS
    assert (outcome.counts["held"], len(load_parked(stores, "held"))) == (60, 60)


def test_what_was_accepted_before_the_connection_broke_is_neither_held_nor_repeated(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    events = [of("demo") for _ in range(100)]  # of one member, so in two requests, one after the other
    braze.workspace(KEY).misbehave(kind="pass")
    braze.workspace(KEY).misbehave(kind="status", status=401, times=None)

    outcome = forward(streamed(*events), stores, 30)

    there = [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events]
    held = [entry.record.body.decode() for entry in load_parked(stores, "held")]
    assert outcome.to_retry == []
    assert there == [one["eventId"] for one in events[:74]]
    assert [one["eventId"] in body for one, body in zip(events[74:], held, strict=True)] == [True] * 26


def break_secret(settings: DeliverySettings, program: str, name: str) -> None:
    """Return a program a secret that was encrypted for another one."""
    foreign = boto3.client("kms").encrypt(
        KeyId=settings.secrets_key, Plaintext=b"00" * 32, EncryptionContext={"program": "another"}
    )
    boto3.client("dynamodb").update_item(
        TableName=settings.programs_table,
        Key={"program": {"S": program}, "item": {"S": "connection"}},
        UpdateExpression="SET secrets.#name.ciphertext = :foreign",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":foreign": {"B": foreign["CiphertextBlob"]}},
    )


@pytest.mark.parametrize("name", ["braze_api_key", "state_key"])
def test_a_secret_that_does_not_open_stops_its_own_program_only(
    stores: DeliverySettings, braze: Braze, name: str
) -> None:
    connect(stores, braze.url, "bad", KEY)
    connect(stores, braze.url, "good", KEY)
    break_secret(stores, "bad", name)

    outcome = forward(queued(of("bad"), of("good", "A2")), stores, 30)

    assert events_of(braze, KEY) == 1
    assert outcome.to_retry == ["message-0"]
    assert outcome.problems.keys() == {"bad"}


def test_secrets_that_take_long_to_open_are_waited_for_side_by_side(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("bad-1", "bad-2", "bad-3", "good"):
        connect(stores, braze.url, program, KEY)
    together, really = threading.Barrier(3), aws.kms().decrypt

    def decrypt(**asked: Any) -> Any:
        if asked["EncryptionContext"]["program"] == "good":
            return really(**asked)
        together.wait(timeout=5)
        raise ReadTimeoutError(endpoint_url="https://kms")

    monkeypatch.setattr(secrets, "_decrypted", {})
    monkeypatch.setattr(aws.kms(), "decrypt", decrypt)
    outcome = forward(queued(of("bad-1"), of("bad-2", "A2"), of("bad-3", "A3"), of("good", "A4")), stores, 30)

    assert events_of(braze, KEY) == 1
    assert outcome.to_retry == ["message-0", "message-1", "message-2"]
    assert outcome.problems.keys() == {"bad-1", "bad-2", "bad-3"}


@pytest.mark.parametrize(
    "key", ["ключ-ключ-ключ", "key\nX-Injected: 1", "pasted-key\n"], ids=["script", "lines", "line"]
)
def test_a_key_that_fits_no_header_stops_its_own_program_only(stores: DeliverySettings, braze: Braze, key: str) -> None:
    connect(stores, braze.url, "bad", key)
    connect(stores, braze.url, "good", KEY)

    outcome = forward(queued(of("bad"), of("good")), stores, 30)

    assert events_of(braze, KEY) == 1
    assert len(outcome.to_retry) + len(load_parked(stores, "held", "bad")) == 1
    assert key not in str(outcome.problems)


def test_events_of_an_incomplete_connection_are_counted_and_not_kept(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, loyalty={"default_optins": ()})

    outcome = forward(queued(of("demo"), of("demo", "A2")), stores, 30)

    assert (outcome.to_retry, outcome.counts["not_connected"], outcome.counts["requests"]) == ([], 2, 0)
    assert not load_parked(stores, "held")
    assert not refused(stores)


def test_connections_are_kept_and_bounded(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, engagement={"rules": {"max_objects": 2}})
    braze.workspace(KEY, latency=0.01)

    first = forward(streamed(*[of("demo", f"A{number}") for number in range(40)]), stores, 30)
    second = forward(streamed(*[of("demo", f"A{number}") for number in range(40)]), stores, 30)

    assert (first.to_retry, second.to_retry) == ([], [])
    assert events_of(braze, KEY) == 80
    assert len({request.connection for request in braze.workspace(KEY).requests}) <= WORKERS
