"""AWS throttles, fails, denies, or a clock jumps: records stay where they are, and the counts say so."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from loyalty_bridge.infra import aws, retry
from loyalty_bridge.infra import dynamodb as tables
from loyalty_bridge.parking import parked_records, release
from loyalty_bridge.pipeline import deduplication, forwarder
from loyalty_bridge.pipeline.batch import LIMITS, InvocationBatch
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.sender import ProgramSender, send
from loyalty_bridge.programs import delivery_state, repository, secrets
from loyalty_bridge.programs.connection import Program
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused
from tests.support.transports import Queue

BRIEFLY = LIMITS.settle_seconds + 1
"""What leaves one second to send in."""

Call = Callable[..., Any]


def throttled(**_: Any) -> Any:
    raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"}}, "Any")


def denied(**_: Any) -> Any:
    raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "arn:aws:iam::1:role/secret"}}, "Any")


def silent(**_: Any) -> Any:
    raise ReadTimeoutError(endpoint_url="https://aws")


def concerning(table: str, real: Call, otherwise: Call) -> Call:
    """Let batches that concern a table end otherwise."""
    return lambda **request: (otherwise if table in request["RequestItems"] else real)(**request)


def leaving(real: Call, undone: str, times: int) -> Call:
    """Let DynamoDB do the first item of each table only, so many times."""
    calls: list[None] = []

    def call(RequestItems: dict[str, Any], **_: Any) -> Any:  # noqa: N803 - boto3's name
        calls.append(None)
        if len(calls) > times:
            return real(RequestItems=RequestItems)
        first: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for table, request in RequestItems.items():
            items = request["Keys"] if isinstance(request, dict) else request
            for part, some in ((first, items[:1]), (rest, items[1:])):
                if some:
                    part[table] = request | {"Keys": some} if isinstance(request, dict) else some
        return real(RequestItems=first) | {undone: rest}

    return call


def some_events(count: int = 3) -> list[dict[str, Any]]:
    return [event("balance_changed", eventId=f"e{number}", accountId=f"A{number}") for number in range(count)]


def there(braze: Braze, key: str = KEY) -> list[str]:
    return [one.object["properties"]["event_id"] for one in braze.workspace(key).events]


@pytest.mark.parametrize("table", ["ProgramsTable", "DeliveryLogTable", "MembersTable"])
@pytest.mark.parametrize("failure", [throttled, denied, silent])
def test_without_memory_nothing_is_sent_and_everything_is_given_back(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, table: str, failure: Call
) -> None:
    connect(stores, braze.url)
    batch = streamed(*some_events())
    with monkeypatch.context() as patch:
        real = aws.dynamodb().batch_get_item
        patch.setattr(aws.dynamodb(), "batch_get_item", concerning(table, real, failure))

        failed = forwarder.forward(batch, stores, 30)
    repeated = forwarder.forward(batch, stores, 30)

    assert failed.to_retry == [record["kinesis"]["sequenceNumber"] for record in batch["Records"]]
    assert (failed.counts["returned"], failed.counts["requests"], failed.counts["rejected"]) == (3, 0, 0)
    assert "secret" not in str(failed.problems)
    assert (repeated.to_retry, repeated.counts["duplicates"], there(braze)) == ([], 0, ["e0", "e1", "e2"])


@pytest.mark.parametrize(
    ("operation", "undone"), [("batch_get_item", "UnprocessedKeys"), ("batch_write_item", "UnprocessedItems")]
)
def test_what_dynamodb_leaves_undone_is_taken_up_again(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, operation: str, undone: str
) -> None:
    monkeypatch.setattr(retry, "backoff", lambda *_, **__: 0.001)
    connect(stores, braze.url)
    batch = queued(*some_events(5))
    with monkeypatch.context() as patch:
        real = getattr(aws.dynamodb(), operation)
        call = leaving(real, undone, 4)
        # The programs are so few that what is left over gives the batch back.
        patch.setattr(aws.dynamodb(), operation, concerning("ProgramsTable", call, real))

        first = forwarder.forward(batch, stores, 30)
    second = forwarder.forward(batch, stores, 30)

    assert (first.to_retry, first.counts["delivery_not_recorded"]) == ([], 0)
    assert (second.counts["duplicates"], second.counts["requests"]) == (5, 0)
    assert there(braze) == [f"e{number}" for number in range(5)]


def test_what_dynamodb_leaves_undone_for_long_gives_the_batch_back_in_time(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, braze.url)
    real = aws.dynamodb().batch_get_item
    call = leaving(real, "UnprocessedKeys", 1_000)
    monkeypatch.setattr(aws.dynamodb(), "batch_get_item", concerning("ProgramsTable", call, real))
    began = time.monotonic()

    outcome = forwarder.forward(queued(*some_events(9)), stores, BRIEFLY)

    assert time.monotonic() - began < 4
    assert (outcome.counts["returned"], outcome.counts["requests"]) == (9, 0)


@pytest.mark.parametrize("tables", [("DeliveryLogTable",), ("DeliveryLogTable", "MembersTable")])
def test_what_was_accepted_and_cannot_be_written_down_is_acknowledged_and_counted(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, tables: tuple[str, ...]
) -> None:
    monkeypatch.setattr(deduplication, "WRITE_SECONDS", 0.5)
    connect(stores, braze.url)
    call = aws.dynamodb().batch_write_item
    for table in tables:
        call = concerning(table, call, throttled)
    monkeypatch.setattr(aws.dynamodb(), "batch_write_item", call)

    outcome = forwarder.forward(queued(*some_events()), stores, 30)

    assert outcome.to_retry == []  # a repeat would double them for certain
    assert outcome.counts["delivery_not_recorded"] == 3 * len(tables)
    assert there(braze) == ["e0", "e1", "e2"]


def balance(points: int, second: int) -> dict[str, Any]:
    return event(occurredAt=f"2026-03-01T10:00:{second:02d}Z", payload={"points": points})


def points(braze: Braze) -> Any:
    profile = braze.workspace(KEY).profile(external_id="A1")
    assert profile
    return profile.custom["convercus_balance"]["points"]


def failing_once(real: Call, failure: Call) -> Call:
    calls: list[None] = []

    def call(**request: Any) -> Any:
        calls.append(None)
        return (failure if len(calls) == 1 else real)(**request)

    return call


@pytest.mark.parametrize("writes", ["changed", "all"])
@pytest.mark.parametrize("table", ["DeliveryLogTable", "MembersTable"])
@pytest.mark.parametrize("failure", [throttled, denied, silent])
def test_the_newest_value_stays_though_a_write_fails_once(
    stores: DeliverySettings,
    braze: Braze,
    monkeypatch: pytest.MonkeyPatch,
    writes: str,
    table: str,
    failure: Call,
) -> None:
    connect(stores, braze.url, attribute_writes=writes)
    with monkeypatch.context() as patch:
        real = aws.dynamodb().batch_write_item
        patch.setattr(aws.dynamodb(), "batch_write_item", concerning(table, real, failing_once(real, failure)))

        first = forwarder.forward(queued(balance(500, 30)), stores, 30)
    forwarder.forward(queued(balance(100, 10)), stores, 30)

    assert (first.to_retry, first.counts["delivery_not_recorded"]) == ([], 0)
    assert points(braze) == 500


@pytest.mark.parametrize("writes", ["changed", "all"])
def test_attributes_come_again_when_their_state_could_not_be_written_and_events_do_not(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, writes: str
) -> None:
    monkeypatch.setattr(deduplication, "WRITE_SECONDS", 0.5)
    connect(stores, braze.url, attribute_writes=writes)
    batch = queued(balance(500, 30))
    with monkeypatch.context() as patch:
        real = aws.dynamodb().batch_write_item
        patch.setattr(aws.dynamodb(), "batch_write_item", concerning("MembersTable", real, throttled))

        first = forwarder.forward(batch, stores, 30)
    second = forwarder.forward(batch, stores, 30)
    forwarder.forward(queued(balance(100, 10)), stores, 30)

    assert (first.to_retry, first.counts["delivery_not_recorded"]) == (["message-0"], 1)
    assert (second.to_retry, second.counts["accepted_attributes"]) == ([], 1)
    assert len(there(braze)) == 2
    assert points(braze) == 500


@pytest.mark.parametrize("writes", ["changed", "all"])
def test_the_newest_values_stay_though_another_member_s_mark_could_not_be_written_either(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, writes: str
) -> None:
    monkeypatch.setattr(deduplication, "WRITE_SECONDS", 0.5)
    connect(stores, braze.url, attribute_writes=writes)
    batch = queued(balance(500, 30), *some_events(40))
    calls: list[None] = []

    def second_part(**request: Any) -> Any:
        calls.append(None)
        return (throttled if len(request["RequestItems"]["DeliveryLogTable"]) < 25 else real)(**request)

    with monkeypatch.context() as patch:
        real = aws.dynamodb().batch_write_item
        ledger = concerning("DeliveryLogTable", real, second_part)
        patch.setattr(aws.dynamodb(), "batch_write_item", concerning("MembersTable", ledger, throttled))

        first = forwarder.forward(batch, stores, 30)
    assert calls
    again = {"Records": [record for record in batch["Records"] if record["messageId"] in first.to_retry]}
    forwarder.forward(again, stores, 30)
    forwarder.forward(queued(balance(100, 10)), stores, 30)

    assert "message-0" in first.to_retry
    assert len(there(braze)) == 42
    assert points(braze) == 500


class Ended(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("writes", ["changed", "all"])
@pytest.mark.parametrize("table", ["DeliveryLogTable", "MembersTable"])
def test_the_newest_value_stays_though_the_process_ends_between_the_two_writes(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, writes: str, table: str
) -> None:
    def end(**_: Any) -> Any:
        raise Ended

    connect(stores, braze.url, attribute_writes=writes)
    batch = queued(balance(500, 30))
    with monkeypatch.context() as patch:
        real = aws.dynamodb().batch_write_item
        patch.setattr(aws.dynamodb(), "batch_write_item", concerning(table, real, end))
        with pytest.raises(Ended):
            forwarder.forward(batch, stores, 30)

    forwarder.forward(batch, stores, 30)
    forwarder.forward(queued(balance(100, 10)), stores, 30)

    assert points(braze) == 500


def test_an_item_that_dynamodb_never_takes_is_given_up_at_once_and_the_others_are_written(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ValidationException", "Message": "Item size"}}, "BatchWriteItem")

    real = aws.dynamodb().batch_write_item
    monkeypatch.setattr(
        aws.dynamodb(),
        "batch_write_item",
        lambda **request: (too_large if "large" in json.dumps(request) else real)(**request),
    )
    items = [(stores.members_table, {"member": {"S": name}}) for name in ("a", "large", "b")]
    began = time.monotonic()

    left = tables.batch_put_remaining(items, time.monotonic() + 20)

    found = tables.batch_get(
        [(stores.members_table, {"member": {"S": name}}) for name in ("a", "large", "b")], began + 20
    )
    assert left == items[1:2]
    assert sorted(item["member"]["S"] for item in found[stores.members_table]) == ["a", "b"]
    assert time.monotonic() - began < 5


def test_a_program_that_hangs_does_not_delay_the_marks_of_the_others(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()
    for program in ("hanging", "good"):
        connect(stores, braze.url, program, braze.workspace(program).key)
    settled = deduplication.save

    def hang(sender: ProgramSender, groups: Any) -> None:
        if any(b"A-hanging" in item.object.body for group in groups for item in group):
            assert written.wait(20), "the marks of the others wait for a program that hangs"
        send(sender, groups)

    def note(batch: InvocationBatch, program: Program, members: Any) -> deduplication.Saved:
        done = settled(batch, program, members)
        if program.id == "good":
            written.set()
        return done

    monkeypatch.setattr(forwarder, "send", hang)
    monkeypatch.setattr(deduplication, "save", note)

    outcome = forwarder.forward(
        queued(
            event("user_logged_in", programId="hanging", accountId="A-hanging"),
            event("user_logged_in", programId="good", accountId="A-good"),
        ),
        stores,
        40,
    )

    assert outcome.to_retry == []


def no_object(settings: DeliverySettings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aws.s3(), "put_object", denied)


def no_index(settings: DeliverySettings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aws.dynamodb(), "put_item", throttled)


def no_mark(settings: DeliverySettings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aws.dynamodb(), "batch_write_item", throttled)


def no_gate(settings: DeliverySettings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aws.dynamodb(), "update_item", throttled)


@pytest.mark.parametrize("break_", [no_object, no_index, no_mark, no_gate])
def test_records_of_a_broken_connection_are_given_back_when_they_cannot_be_kept(
    stores: DeliverySettings,
    braze: Braze,
    monkeypatch: pytest.MonkeyPatch,
    break_: Callable[[DeliverySettings, pytest.MonkeyPatch], None],
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=401, times=None)
    for one in some_events():
        queue.put(json.dumps(one), "demo#A1")
    with monkeypatch.context() as patch:
        break_(stores, patch)
        batch = queue.batch(10)

        failed = forwarder.forward(batch, stores, 30)
    queue.settle(batch, failed.to_retry)
    repeated = forwarder.forward(batch, stores, 30)
    queue.settle(batch, repeated.to_retry)
    braze.workspace(KEY).faults.clear()
    while queue.messages or load_parked(stores, "held"):
        release.run_schedule(stores, 20, check_connection)
        batch = queue.batch(10)
        queue.settle(batch, forwarder.forward(batch, stores, 30).to_retry)

    assert (len(failed.to_retry), failed.counts["returned"], failed.counts["accepted_event"]) == (3, 3, 0)
    assert (repeated.to_retry, repeated.counts["held"]) == ([], 3)
    assert there(braze) == ["e0", "e1", "e2"]
    assert repository.load(stores, ["demo"])["demo"].delivery_state.state == "live"


def test_what_is_refused_is_given_back_until_it_can_be_kept(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, braze.url)
    batch = queued(event("no such type", eventId="bad"), event("user_logged_in", eventId="good", accountId="A2"))
    with monkeypatch.context() as patch:
        patch.setattr(aws.s3(), "put_object", denied)

        failed = forwarder.forward(batch, stores, 30)
    kept_later = forwarder.forward(batch, stores, 30)

    assert (failed.to_retry, failed.counts["park_failed"], failed.counts["rejected"]) == (["message-0"], 1, 0)
    assert (kept_later.to_retry, kept_later.counts["rejected"], list(refused(stores))) == ([], 1, ["bad"])
    assert there(braze) == ["good"]


def test_a_secret_that_does_not_open_for_minutes_holds_its_program_until_it_does(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url)
    batch = queued(event("user_logged_in", eventId="e1"))
    with monkeypatch.context() as patch:
        secrets._decrypted.clear()
        patch.setattr(aws.kms(), "decrypt", denied)

        given_back = forwarder.forward(batch, stores, 30)
        later = time.time() + LIMITS.hold_after_seconds + 1
        held = forwarder.forward(batch, stores, 30, now=later)
        not_probed = release.run_schedule(stores, 20, check_connection)
    probed = release.run_schedule(stores, 20, check_connection)
    batch = queue.batch(10)
    forwarder.forward(batch, stores, 30)

    assert (given_back.to_retry, given_back.counts["held"], given_back.counts["requests"]) == (["message-0"], 0, 0)
    assert (held.to_retry, held.counts["held"]) == ([], 1)
    assert (not_probed["unavailable"], not_probed["released"]) == (1, 0)
    assert probed["released"] == 1
    assert there(braze) == ["e1"]


def test_another_workspace_gets_everything_though_the_delivery_log_and_the_state_know_the_one_before(
    stores: DeliverySettings, braze: Braze
) -> None:
    before = connect(stores, braze.url)
    braze.workspace("other")
    batch = queued(event("balance_changed", eventId="e1"))
    forwarder.forward(batch, stores, 30)
    repository.save(stores, before, "demo", before.connection, {"braze_api_key": "other"}, new_workspace=True)

    moved = forwarder.forward(batch, stores, 30)
    repeated = forwarder.forward(batch, stores, 30)

    assert (moved.counts["duplicates"], moved.counts["accepted_attributes"], moved.counts["accepted_event"]) == (
        0,
        1,
        1,
    )
    assert (repeated.counts["duplicates"], repeated.counts["requests"]) == (1, 0)
    assert (there(braze), there(braze, "other")) == (["e1"], ["e1"])
    profile = braze.workspace("other").profile(external_id="A1")
    assert profile
    assert profile.custom["convercus_balance"]["points"] == 120


@pytest.mark.parametrize("jump", [-3600.0, 3600.0], ids=["back", "ahead"])
def test_a_clock_that_jumps_changes_no_order_and_loses_nothing(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=401, times=None)
    now = time.time()

    for number, clock in enumerate([now, now + jump, now]):
        forwarder.forward(queued(event("user_logged_in", eventId=f"e{number}")), stores, 30, now=clock)
    held = [json.loads(entry.record.body)["eventId"] for entry in load_parked(stores, "held")]
    braze.workspace(KEY).faults.clear()
    release.run_schedule(stores, 20, check_connection)
    forwarder.forward(queue.batch(10), stores, 30)

    assert held == ["e0", "e1", "e2"]
    assert there(braze) == ["e0", "e1", "e2"]


def test_a_failure_from_the_future_holds_nothing(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, braze.url)
    delivery_state.note_failure(stores, "demo", time.time() + 3600)
    braze.workspace(KEY).misbehave(kind="status", status=429, headers={"retry-after": "60"})

    outcome = forwarder.forward(queued(event("user_logged_in")), stores, BRIEFLY)

    assert (outcome.to_retry, outcome.counts["held"]) == (["message-0"], 0)


@pytest.mark.parametrize(
    "break_",
    [
        pytest.param(lambda patch: patch.setattr(aws.dynamodb(), "scan", throttled), id="the programs"),
        pytest.param(lambda patch: patch.setattr(aws.dynamodb(), "query", throttled), id="the index"),
        pytest.param(lambda patch: patch.setattr(aws.s3(), "get_object", denied), id="the records"),
        pytest.param(
            lambda patch: patch.setattr(Queue, "send_message_batch", lambda *_, **__: throttled()), id="queue"
        ),
        pytest.param(lambda patch: patch.setattr(aws.dynamodb(), "update_item", throttled), id="the gate"),
        pytest.param(lambda patch: patch.setattr(aws.dynamodb(), "delete_item", throttled), id="taking off"),
    ],
)
def test_a_schedule_that_cannot_release_says_so_and_releases_the_next_time(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, break_: Callable[[Any], None]
) -> None:
    queue = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=401)
    forwarder.forward(queued(event("user_logged_in", eventId="e1")), stores, 30)
    with monkeypatch.context() as patch:
        break_(patch)

        failed = release.run_schedule(stores, 20, check_connection)
    still_held = len(load_parked(stores, "held"))
    released = release.run_schedule(stores, 20, check_connection)
    batch = queue.batch(10)
    forwarder.forward(batch, stores, 30)

    assert (failed["unavailable"] > 0, failed["went_live"], still_held) == (True, 0, 1)
    assert (released["unavailable"], released["released"], released["went_live"]) == (0, 1, 1)
    assert there(braze) == ["e1"]
    assert not load_parked(stores, "held")


def test_what_only_a_part_was_put_of_is_put_again_and_arrives_once(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []

    def fail_once() -> None:
        calls.append(None)
        if len(calls) == 2:
            throttled()

    queue = Queue(on_call=fail_once)
    monkeypatch.setattr(aws, "sqs", lambda: queue)
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=401)
    forwarder.forward(queued(*[event("user_logged_in", eventId=f"e{n}") for n in range(3)]), stores, 30)

    failed = release.run_schedule(stores, 20, check_connection)
    release.run_schedule(stores, 20, check_connection)
    outcome = forwarder.forward(queue.batch(10), stores, 30)

    assert (failed["unavailable"], failed["released"]) == (1, 0)
    assert (len(queue.messages), outcome.counts["duplicates"]) == (4, 1)
    assert there(braze) == ["e0", "e1", "e2"]
    assert not list(parked_records.batches(stores, "held", "demo"))
