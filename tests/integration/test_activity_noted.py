"""What each function notes for the activity of its program, and that no caller waits for it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loyalty_bridge import activity
from loyalty_bridge.actions import idempotency
from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.activity import Counts, ErrorLine, buffer
from loyalty_bridge.errors import Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.model import UNKNOWN_PROGRAM
from loyalty_bridge.parking import release as drain
from loyalty_bridge.pipeline import forwarder
from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.programs import delivery_state
from loyalty_bridge.settings import ActionSettings, DeliverySettings, ProgramSettings
from simulators import brevo
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support import webhooks
from tests.support.events import event, queued
from tests.support.functions import loaded
from tests.support.http_events import ACTIONS, LOOK_UPS, Api, context

NOT_KEY = "cvc_" + "x" * 43


@pytest.fixture(autouse=True)
def new_container(midday: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with nothing noted, and no program known."""
    monkeypatch.setattr(buffer, "_labels", {})
    buffer.recorder.take()


def noted(settings: ProgramSettings, endpoint: str, program: str = "demo") -> Counts:
    return activity.statistics(settings, program, 1)[0].endpoints.get(endpoint, Counts())


def errors(settings: ProgramSettings, program: str = "demo") -> list[ErrorLine]:
    return list(activity.errors(settings, program).lines)


def told(line: ErrorLine) -> tuple[str, str, str, str]:
    return line.endpoint, line.platform, line.code, line.reason


# Calls.


@pytest.mark.parametrize(
    ("action", "function"),
    [
        ("assign", "assign_coupon"),
        ("batch", "assign_coupon_batch"),
        ("book", "book_points"),
        ("subscribe", "subscribe_email"),
    ],
)
def test_an_action_is_noted_when_it_is_answered(api: Api, action: str, function: str) -> None:
    path, body = ACTIONS[action]
    api.post(path, body)
    api.post(path, body | {"surprise": 1})

    counts = noted(api.settings, function)
    assert counts.calls == {"ok": 1, "invalid_request": 1}
    assert counts.latency.total() == 2
    assert [told(line) for line in errors(api.settings)] == [
        (function, "convercus", "invalid_request", "body: has a field that is not known")
    ]


def test_an_action_of_unknown_outcome_is_named_by_its_id(api: Api) -> None:
    path, body = ACTIONS["book"]
    for number in range(2):
        api.upstream.misbehave(kind="status", on="create_booking", status=500)
        api.post(path, body | {"dispatch_id": f"d-{number}"})

    [line] = errors(api.settings)
    assert told(line) == (
        "book_points",
        "convercus",
        "outcome_unknown",
        "the outcome of action is not known: Convercus failed (HTTP 500)",
    )
    assert (line.count, len(line.records), line.direction) == (2, 2, "to_loyalty")


def test_what_the_platform_refuses_is_noted_with_its_code(api: Api) -> None:
    api.post("campaigns/C404/assign", {"account_id": "A1"})

    [line] = errors(api.settings)
    assert told(line)[:3] == ("assign_coupon", "convercus", "COUPON_NOT_FOUND")
    assert noted(api.settings, "assign_coupon").calls == {"not_found": 1}


def test_opt_ins_that_failed_beside_others_are_noted_and_reported_with_what_happened_to_each(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = api.upstream.accounts["A1"]["memberships"][0]
    users = ("U1", "REFUSED", "THROTTLED", "TURNED_AWAY", "FAILED")
    api.upstream.account("A1", memberships=[{**owner, "userId": user} for user in users])
    execute = idempotency.execute

    def throttled(settings: ActionSettings, operation: idempotency.Operation) -> Answer:
        if operation.about["membership_id"] == "THROTTLED":
            raise Unavailable("the journal: ThrottlingException")
        return execute(settings, operation)

    monkeypatch.setattr(idempotency, "execute", throttled)
    api.upstream.misbehave(kind="pass", on="set_optins")
    for status, headers in ((409, {}), (429, {"retry-after": "60"}), (500, {})):
        api.upstream.misbehave(kind="status", on="set_optins", status=status, headers=headers)

    path, body = ACTIONS["subscribe"]
    answer = api.post(path, body, idempotency_key="k-1")

    assert answer.status == 207
    reasons = {one["membership_id"]: one["reason"] for one in answer.body["failed"]}
    assert reasons == {
        "REFUSED": "it contradicts what Convercus knows",
        "THROTTLED": "the journal: ThrottlingException",
        "TURNED_AWAY": "Convercus turns requests away (HTTP 429)",
        "FAILED": "opt-ins may be set or not; a repeat sets them: Convercus failed (HTTP 500)",
    }
    assert noted(api.settings, "subscribe_email").calls == {"ok": 1}
    assert {told(line) for line in errors(api.settings)} == {
        ("subscribe_email", "convercus", code, reasons[member])
        for member, code in {
            "REFUSED": "upstream_refused",
            "THROTTLED": "unavailable",
            "TURNED_AWAY": "not_sent",
            "FAILED": "unavailable",
        }.items()
    }


def test_a_wrong_key_is_noted_for_the_program_and_a_call_for_no_program_for_no_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "WRITE_AFTER_SECONDS", 0.0)
    path, body = ACTIONS["assign"]

    api.post(path, body, key=NOT_KEY)
    api.program = "elsewhere"
    api.post(path, body, key=NOT_KEY)

    assert noted(api.settings, "assign_coupon").calls == {"unauthorized": 1}
    assert noted(api.settings, "assign_coupon", UNKNOWN_PROGRAM).calls == {"unauthorized": 1}
    assert activity.statistics(api.settings, "elsewhere", 1)[0].endpoints == {}


def test_who_has_no_key_does_not_make_us_write_for_each_call(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    path, body = ACTIONS["assign"]
    for _ in range(3):
        api.post(path, body, key=NOT_KEY)
    before = noted(api.settings, "assign_coupon").calls.total()

    api.post(path, body)

    assert before == 0
    assert noted(api.settings, "assign_coupon").calls == {"unauthorized": 3, "ok": 1}


def test_events_by_http_are_noted_as_calls(api: Api) -> None:
    api.post("events", {"eventType": "user_logged_in", "accountId": "A1", "payload": {}})
    api.post("events", {"eventType": "user_logged_in", "payload": {}})

    assert noted(api.settings, "receive_events").calls == {"ok": 1, "invalid_request": 1}
    assert [line.direction for line in errors(api.settings)] == ["to_engagement"]


def test_each_member_of_a_batch_is_noted(api: Api) -> None:
    api.post("campaigns/C1/assign/batch", {"account_ids": ["A1", "A404"]})
    [message] = aws.sqs().receive_message(QueueUrl=api.settings.batches_queue_url)["Messages"]
    record = {"messageId": "m", "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}

    loaded("carry_out_batch")({"Records": [record | {"attributes": {"ApproximateReceiveCount": "1"}}]}, context(60))

    assert noted(api.settings, "carry_out_batch").calls == {"ok": 1, "upstream_refused": 1}
    [line] = errors(api.settings)
    assert told(line)[:3] == ("carry_out_batch", "convercus", "ACCOUNT_NOT_FOUND")
    assert "A404" not in line.reason


def test_a_member_of_unknown_outcome_is_noted_once_however_often_its_batch_comes_back(api: Api) -> None:
    api.upstream.misbehave(kind="status", on="assign_coupon", status=500)
    api.post("campaigns/C1/assign/batch", {"account_ids": ["A1"]})
    [message] = aws.sqs().receive_message(QueueUrl=api.settings.batches_queue_url)["Messages"]
    record = {"messageId": "m", "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}

    for _ in range(3):
        loaded("carry_out_batch")({"Records": [record | {"attributes": {"ApproximateReceiveCount": "1"}}]}, context(60))

    assert noted(api.settings, "carry_out_batch").calls == {"outcome_unknown": 1}
    [line] = errors(api.settings)
    assert (line.code, line.count) == ("outcome_unknown", 1)


# Look-ups.


def finish() -> None:
    """Wait until what is written beside is written."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and thread.daemon and "write" in thread.name:
            thread.join(5)


@pytest.mark.parametrize("path", LOOK_UPS)
def test_look_ups_gather_and_are_written_in_a_later_call(api: Api, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    function = {"members/A1/profile": "member_profile", "members/A1/coupons": "member_coupons"}[path]
    for account in ("A1", "A1", "A404"):
        api.get(path.replace("A1", account))
    before = noted(api.settings, function).calls.total()
    monkeypatch.setattr(buffer, "WRITE_AFTER_SECONDS", 0.0)

    api.get(path)
    finish()

    assert before == 0
    assert noted(api.settings, function).calls == {"ok": 2, "not_found": 1}
    assert buffer.recorder.size() == 1  # the last call is written with the next


def test_no_look_up_waits_for_the_activity(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), threading.Event()

    def hang(**_: Any) -> None:
        asked.set()
        release.wait(10)
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")

    api.get(LOOK_UPS[0])
    monkeypatch.setattr(aws.dynamodb_once(), "update_item", hang)
    monkeypatch.setattr(buffer, "WRITE_AFTER_SECONDS", 0.0)

    began = time.monotonic()
    answer = api.get(LOOK_UPS[0])
    took = time.monotonic() - began
    is_asked = asked.wait(5)
    release.set()
    finish()

    assert is_asked
    assert "error" not in answer.body
    assert took < 5


def test_an_activity_that_cannot_be_written_fails_no_call(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "UpdateItem")

    monkeypatch.setattr(aws.dynamodb_once(), "update_item", fail)

    answers = [api.post(*ACTIONS["assign"]).status for _ in range(2)]

    assert answers == [200, 200]
    assert capsys.readouterr().out.count('"activity_not_written":[1.0]') == 2


# Webhooks.


def test_deliveries_are_noted_as_calls_and_what_cannot_be_used_as_events(
    stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "WRITE_AFTER_SECONDS", 0.0)
    webhooks.connect(stores, {"platform": "brevo"}, {"api_endpoint": "http://127.0.0.1:9"})
    good = brevo.event(brevo.contact(1), webhooks.NOW - 60, "voucher_created")
    strange = {"event_name": "teleported", "event_id": "e-1"}

    statuses = [
        webhooks.status(webhooks.delivery("loyalty", good)),
        webhooks.status(webhooks.delivery("loyalty", [good, strange])),
        webhooks.status(webhooks.delivery("loyalty", good, headers={})),
        webhooks.status(webhooks.delivery("loyalty", good, program="elsewhere")),
    ]

    assert statuses == [200, 200, 401, 401]
    counts = noted(stores, "loyalty_webhook")
    assert (counts.calls, counts.events) == ({"ok": 2, "unauthorized": 1}, {"received": 1, "rejected": 1})
    assert counts.latency.total() == 3
    assert noted(stores, "loyalty_webhook", UNKNOWN_PROGRAM).calls == {"unauthorized": 1}
    refused = next(line for line in errors(stores) if line.code == "rejected")
    assert (refused.platform, refused.direction, refused.records) == ("brevo", "to_engagement", ("e-1",))


# Events.


def deliver(settings: DeliverySettings, *bodies: Any) -> forwarder.Outcome:
    """Forward a batch and write what is noted, as the function does."""
    outcome = forwarder.forward(queued(*bodies), settings, 30)
    activity.write(settings, outcome.recorder)
    return outcome


def test_events_are_noted_by_what_became_of_them(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    deliver(stores, event(eventId="e-1"), event("teleported", eventId="e-2"), event(programId="elsewhere"), "{")
    deliver(stores, event(eventId="e-1"))
    deliver(stores, event(eventId="e-3", payload={"points": {}}))

    counts = noted(stores, "forward_events")
    assert counts.events == {"received": 4, "sent": 2, "rejected": 1, "suppressed": 1}
    assert counts.calls == {"ok": 2}
    assert counts.latency.total() == 2
    assert noted(stores, "forward_events", UNKNOWN_PROGRAM).events == {"received": 2, "rejected": 2}
    assert {(told(line), line.records) for line in errors(stores)} == {
        (("forward_events", "convercus", "rejected", "eventType: is not a known event type"), ("e-2",)),
        (("forward_events", "convercus", "rejected", "payload.points: is not a number"), ("e-3",)),
    }


def test_an_event_twice_in_one_batch_is_sent_once_and_suppressed_once(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    deliver(stores, event(eventId="e-1"), event(eventId="e-1"))

    assert noted(stores, "forward_events").events == {"received": 2, "sent": 1, "suppressed": 1}


def test_what_the_destination_refuses_is_its_own(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(
        kind="status",
        status=400,
        body={"message": "no", "errors": [{"type": "the event is odd", "input_array": "events", "index": 0}]},
    )

    deliver(stores, event("user_logged_in", eventId="e-1"))

    [line] = errors(stores)
    assert (line.platform, line.code, line.records) == ("braze", "rejected", ("e-1",))
    assert noted(stores, "forward_events").calls == {"rejected": 1, "ok": 1}


def test_what_is_held_is_noted_once_and_again_when_it_is_released_and_sent(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url, key="another-key-5678")
    deliver(stores, event(eventId="e-1"))
    drain.run_schedule(stores, 20, check_connection)

    held = noted(stores, "forward_events")
    assert (held.events, held.calls) == ({"received": 1, "held": 1}, {"broken": 1})
    assert noted(stores, "release_held").calls == {"broken": 1}
    assert {(line.endpoint, line.code, line.records) for line in errors(stores)} == {
        ("forward_events", "not_sent", ("e-1",)),
        ("release_held", "held", ()),
    }

    braze.workspace("another-key-5678")
    drain.run_schedule(stores, 20, check_connection)
    for record in webhooks.queued(stores):
        activity.write(stores, forwarder.forward({"Records": [record]}, stores, 30).recorder)

    assert noted(stores, "forward_events").events == {"received": 1, "held": 1, "sent": 1}
    assert noted(stores, "release_held").events == {"released": 1}
    assert noted(stores, "release_held").calls == {"broken": 1, "ok": 1}


def test_events_of_an_unfinished_connection_are_noted_as_such(stores: DeliverySettings) -> None:
    connect(stores, "", loyalty={"default_optins": ()})

    deliver(stores, event(), event())

    assert noted(stores, "forward_events").events == {"received": 2, "not_connected": 2}


def test_what_is_given_back_is_noted_when_it_is_settled(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "LIMITS", replace(LIMITS, wait_seconds=0.2))
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=429, headers={"retry-after": "3600"})

    again = deliver(stores, event(eventId="e-1")).to_retry
    delivery_state.note_success(stores, "demo")  # the wait is over
    deliver(stores, event(eventId="e-1"))

    counts = noted(stores, "forward_events")
    assert (len(again), counts.events, counts.calls) == (1, {"received": 1, "sent": 1}, {"wait": 1, "ok": 1})
    [line] = errors(stores)
    assert told(line) == ("forward_events", "braze", "not_sent", "429: over the rate limit")


def test_a_destination_that_fails_for_long_is_one_line(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, "http://127.0.0.1:9")

    for number in range(2):
        deliver(stores, event(eventId=f"e-{number}"))

    [line] = errors(stores)
    assert (line.count, line.records) == (2, ("e-0", "e-1"))


def test_the_forwarder_writes_what_it_notes(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    answer = loaded("forward_events")(queued(event()), context(30))

    assert json.dumps(answer) == '{"batchItemFailures": []}'
    assert noted(stores, "forward_events").events == {"received": 1, "sent": 1}
