"""Records that come back: those that wait for their person to be known, the refused, and what crashed the forwarder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loyalty_bridge.errors import Unavailable
from loyalty_bridge.event_queue.envelope import SourceRecord, encode
from loyalty_bridge.infra import aws
from loyalty_bridge.infra.dynamodb import batch_put
from loyalty_bridge.model import UNKNOWN_PROGRAM, FieldError
from loyalty_bridge.operations import redrive
from loyalty_bridge.operations.redrive import Moved, RecordFilter
from loyalty_bridge.operations.trace import trace
from loyalty_bridge.parking import parked_records, release, removal
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.forwarder import Outcome, forward
from loyalty_bridge.programs import delivery_state, repository
from loyalty_bridge.programs.connection import Program, merge
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, asked_of_aws, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused


def from_queue(settings: DeliverySettings) -> dict[str, Any]:
    """Receive what is in the queue, as Lambda does."""
    result = aws.sqs().receive_message(
        QueueUrl=settings.events_queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    )
    messages = result.get("Messages", [])
    for message in messages:
        aws.sqs().delete_message(QueueUrl=settings.events_queue_url, ReceiptHandle=message["ReceiptHandle"])
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in messages
        ]
    }


def deliver(settings: DeliverySettings) -> Outcome:
    return forward(from_queue(settings), settings, 30)


def deliver_all(settings: DeliverySettings) -> None:
    while (batch := from_queue(settings))["Records"]:
        assert forward(batch, settings, 30).to_retry == []


def there(braze: Braze) -> list[str]:
    return [one.object["properties"]["event_id"] for one in braze.workspace(KEY).events]


def of_user(event_id: str = "of-user", user: str = "U1", **changes: Any) -> dict[str, Any]:
    """Make an event that names a user and no account."""
    made = event("user_logged_in", eventId=event_id, userId=user, **changes)
    del made["accountId"]
    return made


def membership(account: str = "A1", user: str = "U1") -> dict[str, Any]:
    """Make an event that names the user's account."""
    payload = {"membership": {"userId": user, "memberRole": "OWNER", "status": "ACTIVE"}}
    return event("membership_created", eventId=f"joins-{account}", accountId=account, payload=payload)


def fresh(*bodies: Any) -> dict[str, Any]:
    """Make a batch that was sent just now."""
    return queued(*bodies, sent=int(time.time() * 1000))


def test_an_array_that_was_held_is_judged_element_by_element_when_it_passes(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    delivery_state.hold(stores, "demo", "401", time.time())
    bad = json.dumps(event(eventId="bad", payload={"private": 1})).replace("1}", "NaN}")

    held = forward(streamed(f"[{json.dumps(event(eventId='good'))}, {bad}]"), stores, 30)
    delivery_state.start_release(stores, "demo")
    release.run_schedule(stores, 20, check_connection)
    deliver_all(stores)

    assert (held.counts["held"], there(braze)) == (1, ["good"])
    [entry] = load_parked(stores, "rejected")
    assert "bad" in entry.record.body.decode()


# Records that name only the person.


def test_a_record_of_a_user_waits_until_its_account_is_known_and_is_delivered_then(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    first = forward(fresh(of_user()), stores, 30)

    too_early = release.run_schedule(stores, 20, check_connection)
    again = deliver(stores)
    forward(fresh(membership()), stores, 30)
    in_time = release.run_schedule(stores, 20, check_connection)
    deliver_all(stores)

    assert (first.to_retry, first.counts["waiting"], first.counts["requests"]) == ([], 1, 0)
    assert (too_early["brought_back"], again.counts["waiting"], in_time["brought_back"]) == (1, 1, 1)
    assert there(braze) == ["joins-A1", "of-user"]
    assert braze.workspace(KEY).events[1].object["external_id"] == "A1"
    assert not load_parked(stores, "waiting", "demo")
    assert not refused(stores)


def test_a_record_of_a_user_with_several_accounts_is_delivered_to_each_once(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(fresh(membership("A1"), membership("A2")), stores, 30)

    for _ in range(2):
        forward(fresh(of_user()), stores, 30)
        deliver_all(stores)

    received = [(one.object["external_id"], one.object["name"]) for one in braze.workspace(KEY).events[2:]]
    assert sorted(received) == [("A1", "convercus_user_logged_in"), ("A2", "convercus_user_logged_in")]


def test_a_record_of_a_user_that_no_one_knows_after_a_while_is_refused(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    long_ago = datetime.now(UTC) - LIMITS.known_after - timedelta(seconds=1)
    record = SourceRecord("demo", json.dumps(of_user()).encode(), long_ago, waiting_since=long_ago)

    outcome = forward(fresh(encode(record, lambda _: "", 1_000_000)), stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"], outcome.counts["waiting"]) == ([], 1, 0)
    assert refused(stores) == {"of-user": [("event", "userId", "belongs to no account that is known")]}


def test_a_waiting_record_keeps_the_times_at_which_it_came_and_was_looked_for_first(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(queued(of_user(), sent=(sent := 1_772_359_200_000)), stores, 30)
    (first,) = load_parked(stores, "waiting", "demo")

    release.run_schedule(stores, 20, check_connection)
    deliver(stores)

    (entry,) = load_parked(stores, "waiting", "demo")
    assert int(entry.record.received.timestamp() * 1000) == sent
    assert entry.record.waiting_since == first.record.waiting_since


def test_a_record_that_comes_late_waits_for_its_person_all_the_same(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    late = forward(queued(of_user()), stores, 30)  # sent months ago
    forward(queued(membership()), stores, 30)
    release.run_schedule(stores, 20, check_connection)
    deliver_all(stores)

    assert late.counts["waiting"] == 1
    assert there(braze) == ["joins-A1", "of-user"]
    assert not refused(stores)


def test_a_record_that_waited_before_it_was_held_waits_again_when_it_passes(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    long_ago = datetime.now(UTC) - LIMITS.known_after - timedelta(seconds=1)
    delivery_state.hold(stores, "demo", "401", time.time())
    waited = SourceRecord("demo", json.dumps(of_user()).encode(), long_ago, waiting_since=long_ago)
    held = forward(fresh(encode(waited, lambda _: "", 1_000_000)), stores, 30)

    delivery_state.start_release(stores, "demo")
    release.run_schedule(stores, 20, check_connection)
    passed = deliver(stores)  # who it is may have been held behind it

    assert (held.counts["held"], passed.counts["waiting"], refused(stores)) == (1, 1, {})


def test_a_record_goes_to_the_accounts_that_were_reported_before_and_to_those_reported_with_it(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(fresh(membership("A1")), stores, 30)

    forward(fresh(membership("A2"), of_user()), stores, 30)
    deliver_all(stores)

    received = [one.object["external_id"] for one in braze.workspace(KEY).events[2:]]
    assert sorted(received) == ["A1", "A2"]


def test_the_records_of_ten_users_cost_as_many_round_trips_as_that_of_one(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    users = [f"U{number}" for number in range(10)]
    forward(fresh(*(membership(f"A{user}", user) for user in users)), stores, 30)
    deliver_all(stores)

    with asked_of_aws() as of_one:
        forward(fresh(of_user("one")), stores, 30)
    with asked_of_aws() as of_ten:
        ten = forward(fresh(*(of_user(user, user) for user in users)), stores, 30)
    deliver_all(stores)

    assert (of_ten, ten.counts["republished"]) == (of_one, 10)
    got = {(one.object["external_id"], one.object["properties"]["event_id"]) for one in braze.workspace(KEY).events}
    assert got >= {(f"A{user}", user) for user in users}


def test_a_record_is_sent_on_to_an_account_that_is_reported_behind_it(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    outcome = forward(fresh(of_user(), membership()), stores, 30)
    deliver_all(stores)

    assert (outcome.counts["republished"], outcome.counts["waiting"]) == (1, 0)
    assert there(braze) == ["joins-A1", "of-user"]


def test_a_trace_finds_a_record_of_a_user_while_it_waits(stores: DeliverySettings, braze: Braze) -> None:
    program, other = connect(stores, braze.url), connect(stores, braze.url, "other")
    forward(fresh(of_user()), stores, 30)

    values = [trace(stores, program, name)["waiting"] for name in ("of-user", "U1", "another")]

    assert [len(found) for found in values] == [1, 1, 0]
    assert trace(stores, other, "of-user")["waiting"] == []


def test_a_trace_reports_what_was_accepted_for_the_accounts_of_a_user(stores: DeliverySettings, braze: Braze) -> None:
    program = connect(stores, braze.url)
    forward(fresh(membership("A1"), membership("A2")), stores, 30)
    before = trace(stores, program, "of-user")["accepted_parts"]

    forward(fresh(of_user()), stores, 30)
    deliver_all(stores)

    assert before == []
    for name in ("of-user", "of-user/A1", "of-user/A2"):
        assert trace(stores, program, name)["accepted_parts"] == ["attributes", "event"]


def test_a_trace_forgets_nothing_of_what_was_accepted_for_one_account_when_another_takes_less(
    stores: DeliverySettings, braze: Braze
) -> None:
    program = connect(stores, braze.url)
    forward(fresh(membership("A1"), membership("A2")), stores, 30)
    forward(fresh(of_user()), stores, 30)
    of_one, of_other = from_queue(stores)["Records"]
    forward({"Records": [of_one]}, stores, 30)

    braze.workspace(KEY).misbehave(kind="status", status=400, body={"message": "rejected"}, times=None)
    forward({"Records": [of_other]}, stores, 30)

    assert [entry.event_id for entry in load_parked(stores, "rejected")] == ["of-user/A2"]
    assert trace(stores, program, "of-user")["accepted_parts"] == ["attributes", "event"]


def test_a_trace_finds_what_came_before_its_program_was_connected(stores: DeliverySettings, braze: Braze) -> None:
    forward(fresh(event("user_logged_in", eventId="early")), stores, 30)
    program, other = connect(stores, braze.url), connect(stores, braze.url, "other")

    values = [trace(stores, one, "early")["rejected"] for one in (program, other)]

    assert [[found["reasons"] for found in one] for one in values] == [[["programId: is not the id of a program"]], []]


def test_an_event_of_an_account_is_no_repeat_of_one_of_its_user_with_the_same_id(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(fresh(membership()), stores, 30)
    forward(fresh(of_user()), stores, 30)
    deliver_all(stores)

    forward(fresh(event("user_logged_in", eventId="of-user", accountId="A1")), stores, 30)

    assert there(braze) == ["joins-A1", "of-user", "of-user"]


# Refused records.


@pytest.mark.parametrize("sealed", [False, True])
def test_what_came_before_its_program_was_connected_is_redriven_into_it(
    stores: DeliverySettings, braze: Braze, sealed: bool
) -> None:
    early = event("user_logged_in", eventId="early")
    record = SourceRecord("demo", json.dumps(early).encode(), datetime.now(UTC))
    forward(fresh(encode(record, lambda _: "", 1_000_000) if sealed else early), stores, 30)
    connect(stores, braze.url)

    redriven = redrive.redrive(stores, UNKNOWN_PROGRAM, RecordFilter())
    deliver_all(stores)

    assert redriven.records == 1
    assert there(braze) == ["early"]
    assert not load_parked(stores, "rejected", UNKNOWN_PROGRAM)


def test_what_has_expired_does_not_stand_in_the_way_of_the_rest(stores: DeliverySettings, braze: Braze) -> None:
    before = connect(stores, braze.url)
    long_ago = time.time() - (parked_records.DAYS + 1) * 86400
    parked_records.park(
        stores, "rejected", "demo", [ParkedRecord(SourceRecord("demo", b"{}", datetime.now(UTC)), "gone")], long_ago
    )
    (key,) = [one["Key"] for one in aws.s3().list_objects_v2(Bucket=stores.parked_bucket)["Contents"]]
    aws.s3().delete_object(Bucket=stores.parked_bucket, Key=key)  # DynamoDB deletes what names it days later
    forward(fresh(sale(currencyCode=None)), stores, 30)

    with_currency(stores, before)
    redriven = redrive.redrive(stores, "demo", RecordFilter())

    assert redriven.records == 1
    assert not load_parked(stores, "rejected")


def test_a_long_list_of_parked_records_is_seen_to_its_end(stores: DeliverySettings) -> None:
    lines = [
        {"program_kind": {"S": "demo#rejected"}, "position": {"S": f"{number:013d}-x"}, "expires": {"N": "9999999999"}}
        | {"at": {"N": "0"}, "count": {"N": "1"}, "reasons": {"M": {}}, "missing": {"M": {}}}
        for number in range(1001)
    ]
    batch_put([(stores.parked_table, line) for line in lines], time.monotonic() + 30)

    assert sum(1 for _ in parked_records.batches(stores, "rejected", "demo")) == 1001


def test_a_reason_that_the_index_has_no_room_for_is_found_all_the_same(stores: DeliverySettings) -> None:
    record = SourceRecord("demo", b"{}", datetime.now(UTC))
    common = [
        ParkedRecord(record, f"e{n}", "", (FieldError("event", "field", f"reason {n % 50}"),)) for n in range(100)
    ]
    rare = ParkedRecord(record, "rare", "", (FieldError("event", "field", "of its own"),))
    parked_records.park(stores, "rejected", "demo", [*common, rare], time.time())

    found = [entry for _, meant in redrive.rejected(stores, "demo", RecordFilter("of its own")) for entry in meant]

    assert [entry.event_id for entry in found] == ["rare"]


def sale(event_id: str = "sale", **changes: Any) -> dict[str, Any]:
    payload = {"transactionId": f"t-{event_id}", "transactionType": "EARN", "amount": 12.5} | changes
    return event("account_transaction", eventId=event_id, payload=payload)


def with_currency(settings: DeliverySettings, before: Program) -> None:
    connection = merge(before.connection, {"loyalty": {"rules": {"default_currency": "EUR"}}})
    repository.save(settings, before, "demo", connection, {})


def test_a_redriven_record_brings_only_what_is_missing(stores: DeliverySettings, braze: Braze) -> None:
    program = connect(stores, braze.url)
    forward(queued(sale()), stores, 30)
    result = refused(stores)
    with_currency(stores, program)

    redriven = redrive.redrive(stores, "demo", RecordFilter())
    deliver_all(stores)

    assert [(part, field) for part, field, _ in result["sale"]] == [("purchase", "payload.currencyCode")]
    assert (redriven.records, refused(stores)) == (1, {})
    assert there(braze) == ["sale"]
    (purchase,) = braze.workspace(KEY).purchases
    assert (purchase.object["product_id"], purchase.object["currency"]) == ("t-sale", "EUR")


def test_a_record_that_is_redriven_in_vain_is_refused_as_before_and_doubles_nothing(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(queued(sale()), stores, 30)
    before = refused(stores)

    redrive.redrive(stores, "demo", RecordFilter())
    deliver_all(stores)

    assert refused(stores) == before
    assert (there(braze), braze.workspace(KEY).purchases) == (["sale"], [])


def test_a_record_of_no_program_that_is_redriven_in_vain_stays_as_it_came(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(queued(event("user_logged_in", programId="unknown")), stores, 30)
    before = load_parked(stores, "rejected", UNKNOWN_PROGRAM)

    redrive.redrive(stores, UNKNOWN_PROGRAM, RecordFilter())
    deliver_all(stores)

    (after,) = load_parked(stores, "rejected", UNKNOWN_PROGRAM)
    assert [after.record.body] == [it.record.body for it in before]


def test_a_redriven_attribute_does_not_overwrite_a_newer_value(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=400, body={"message": "Bad syntax"}, times=3)
    old = event("balance_changed", eventId="old", occurredAt="2026-03-01T09:00:00Z", payload={"points": 1})
    new = event("balance_changed", eventId="new", occurredAt="2026-03-01T09:30:00Z", payload={"points": 2})
    forward(queued(old), stores, 30)
    forward(queued(new), stores, 30)

    redrive.redrive(stores, "demo", RecordFilter())
    deliver_all(stores)

    profile = braze.workspace(KEY).profile(external_id="A1")
    assert profile
    assert profile.custom["convercus_balance"] == {"points": 2}
    assert there(braze) == ["new", "old"]


def test_only_the_records_that_are_meant_are_redriven_or_dropped(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    bad = [
        sale("no-currency"),
        event("no such type", eventId="no-type"),
        sale("no-currency-2"),
        event("user_logged_in", eventId="no-time", occurredAt="yesterday"),
    ]
    forward(queued(*bad), stores, 30)
    later = datetime.now(UTC) + timedelta(hours=1)

    assert redrive.redrive(stores, "demo", RecordFilter(since=later)).records == 0
    assert redrive.drop(stores, "demo", RecordFilter(until=later - timedelta(hours=2))).records == 0
    assert redrive.drop(stores, "demo", RecordFilter("eventType", until=later)).records == 1
    assert refused(stores).keys() == {"no-currency", "no-currency-2", "no-time"}
    assert redrive.redrive(stores, "demo", RecordFilter("currencyCode")).records == 2
    assert list(refused(stores)) == ["no-time"]


def test_records_stay_refused_when_they_cannot_be_put_on_the_transport(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    forward(queued(sale()), stores, 30)
    nowhere = replace(stores, events_queue_url=f"{stores.events_queue_url}-gone")

    with pytest.raises(Unavailable):
        redrive.redrive(nowhere, "demo", RecordFilter())

    assert list(refused(stores)) == ["sale"]


# What crashed the forwarder.


@pytest.fixture
def dead_letters(stores: DeliverySettings) -> Iterator[DeliverySettings]:
    queue = aws.sqs().create_queue(QueueName="dead-letters.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    yield replace(stores, dead_letter_queue_url=queue)
    aws.sqs().delete_queue(QueueUrl=queue)


def test_dead_letters_come_back_in_the_order_of_their_groups(dead_letters: DeliverySettings, braze: Braze) -> None:
    connect(dead_letters, braze.url)
    for number in range(12):
        one = event("user_logged_in", eventId=f"e{number}", accountId=f"A{number % 2}")
        aws.sqs().send_message(
            QueueUrl=dead_letters.dead_letter_queue_url,
            MessageBody=json.dumps(one),
            MessageGroupId=one["accountId"],
            MessageDeduplicationId=f"{number}",
        )
    before = redrive.count_dead_letters(dead_letters)

    moved = redrive.redrive_dead_letters(dead_letters)
    deliver_all(dead_letters)

    assert (before, moved.records) == ({"messages": 12, "batches": 0}, 12)
    assert redrive.count_dead_letters(dead_letters) == {"messages": 0, "batches": 0}
    by_member = [[name for name in there(braze) if int(name[1:]) % 2 == member] for member in (0, 1)]
    assert by_member == [["e0", "e2", "e4", "e6", "e8", "e10"], ["e1", "e3", "e5", "e7", "e9", "e11"]]


def failure_of_stream(batch: dict[str, Any], *, as_text: bool) -> str:
    """Write what Lambda puts into S3 when it gives up a batch of a stream.

    https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    """
    return json.dumps(
        {
            "requestContext": {"requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted"},
            "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
            "version": "1.0",
            "KinesisBatchInfo": {"shardId": "shardId-000000000000", "batchSize": len(batch["Records"])},
            "payload": json.dumps(batch) if as_text else batch,
        }
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_batches_given_up_of_the_stream_come_back(stores: DeliverySettings, braze: Braze, as_text: bool) -> None:
    connect(stores, braze.url)
    batch = streamed(*[event("user_logged_in", eventId=f"e{number}") for number in range(3)], "\ud800 is no text")
    key = f"{redrive.STREAM_FAILURES}mapping/shardId-000000000000/2026/03/01/2026-03-01T10.00.00-id"
    aws.s3().put_object(Bucket=stores.parked_bucket, Key=key, Body=failure_of_stream(batch, as_text=as_text))
    before = redrive.count_dead_letters(stores)

    moved = redrive.redrive_dead_letters(stores)
    deliver_all(stores)

    assert (before["batches"], moved.records, redrive.count_dead_letters(stores)["batches"]) == (1, 4, 0)
    assert there(braze) == ["e0", "e1", "e2"]
    assert len(load_parked(stores, "rejected", UNKNOWN_PROGRAM)) == 1


@pytest.mark.parametrize("way", ["queue", "stream"])
def test_what_crashed_comes_back_with_the_time_when_it_came_first(
    dead_letters: DeliverySettings, braze: Braze, way: str
) -> None:
    connect(dead_letters, braze.url)
    older, newer = (event(payload={"points": points}) for points in (100, 500))
    del older["occurredAt"]
    if way == "queue":
        aws.sqs().send_message(
            QueueUrl=dead_letters.dead_letter_queue_url,
            MessageBody=json.dumps(older),
            MessageGroupId="demo#A1",
            MessageDeduplicationId="older",
        )
    else:
        body = failure_of_stream(streamed(older, sent=time.time()), as_text=True)
        key = f"{redrive.STREAM_FAILURES}mapping/one"
        aws.s3().put_object(Bucket=dead_letters.parked_bucket, Key=key, Body=body)
    time.sleep(0.01)  # the time of the newer one is later
    forward(queued(newer | {"occurredAt": datetime.now(UTC).isoformat()}, sent=milliseconds()), dead_letters, 30)
    time.sleep(0.01)  # and that of the redrive later still

    moved = redrive.redrive_dead_letters(dead_letters)
    deliver_all(dead_letters)

    profile = braze.workspace(KEY).profile(external_id="A1")
    assert moved.records == 1
    assert profile
    assert profile.custom["convercus_balance"]["points"] == 500


def test_what_crashed_before_its_program_was_deleted_is_not_the_new_program_s(
    dead_letters: DeliverySettings, braze: Braze
) -> None:
    connect(dead_letters, braze.url)
    body = failure_of_stream(streamed(event(), sent=time.time()), as_text=True)
    key = f"{redrive.STREAM_FAILURES}mapping/one"
    aws.s3().put_object(Bucket=dead_letters.parked_bucket, Key=key, Body=body)
    removal.delete(dead_letters, "demo", 20)
    time.sleep(0.005)  # times are whole milliseconds
    connect(dead_letters, braze.url)

    redrive.redrive_dead_letters(dead_letters)
    deliver_all(dead_letters)

    assert there(braze) == []
    assert len(load_parked(dead_letters, "rejected", UNKNOWN_PROGRAM)) == 1


def milliseconds() -> int:
    return int(time.time() * 1000)


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"{}", b'{"payload": "{"}', b'{"payload": {"Records": [{}]}}', b"[" * 100_000]
)
def test_a_damaged_batch_of_the_stream_stays_and_the_others_go_on(
    stores: DeliverySettings, braze: Braze, damaged: bytes
) -> None:
    connect(stores, braze.url)
    whole = json.dumps({"payload": streamed(event())}).encode()
    for name, body in (("1", damaged), ("2", whole)):
        aws.s3().put_object(Bucket=stores.parked_bucket, Key=f"{redrive.STREAM_FAILURES}{name}", Body=body)

    moved = redrive.redrive_dead_letters(stores)

    assert (moved.records, redrive.count_dead_letters(stores)["batches"]) == (1, 1)


def test_what_crashed_stays_when_it_cannot_be_put_on_the_transport(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    aws.s3().put_object(
        Bucket=stores.parked_bucket,
        Key=f"{redrive.STREAM_FAILURES}mapping/one",
        Body=failure_of_stream(streamed(event("user_logged_in")), as_text=True),
    )
    nowhere = replace(stores, events_queue_url=f"{stores.events_queue_url}-gone")

    with pytest.raises(Unavailable):
        redrive.redrive_dead_letters(nowhere)

    assert redrive.count_dead_letters(stores)["batches"] == 1


def test_a_redrive_without_time_for_all_bundles_goes_on_with_the_next_call(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    for number in range(3):
        forward(queued(event("teleported", eventId=f"e{number}")), stores, 30)

    none = redrive.redrive(stores, "demo", RecordFilter(), seconds=0)
    rest = redrive.redrive(stores, "demo", RecordFilter())

    assert (none, rest) == (Moved(0, left=3), Moved(3))


def test_what_crashed_and_does_not_fit_into_the_time_stays(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    key = f"{redrive.STREAM_FAILURES}mapping/shardId-000000000000/2026/03/01/2026-03-01T10.00.00-id"
    aws.s3().put_object(
        Bucket=stores.parked_bucket, Key=key, Body=failure_of_stream(streamed(event(eventId="e")), as_text=True)
    )

    moved = redrive.redrive_dead_letters(stores, seconds=0)

    assert (moved, redrive.count_dead_letters(stores)["batches"]) == (Moved(0, left=1), 1)
