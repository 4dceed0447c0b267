"""Assigning a coupon to many members: planned durably, carried out from the queue, never twice, and reported."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from inspect import unwrap
from typing import Any

import pytest

from loyalty_bridge.actions import coupon_batches, decisions, idempotency, idempotency_store
from loyalty_bridge.actions.answer import Answer as Ended
from loyalty_bridge.actions.batch_assignment import assigner
from loyalty_bridge.errors import ConnectionBroken, OutcomeUnknown
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.platforms.convercus.client import ACCOUNT_COUPON_ID
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.settings import load_settings
from tests.support.functions import loaded
from tests.support.http_events import Answer, Api, connect, context

PATH = "campaigns/C1/assign/batch"


def members(api: Api, count: int) -> list[str]:
    """Return so many accounts; the platform knows them."""
    names = [f"M{number:03d}" for number in range(count)]
    for name in names:
        api.upstream.account(name)
    return names


def plan(api: Api, account_ids: list[str], **fields: Any) -> str:
    answer = api.post(PATH, {"account_ids": account_ids, **fields})
    assert answer.status == 200, answer
    return str(answer.body["batchId"])


def progress(api: Api, batch: str) -> dict[str, Any]:
    answer = api.get(f"{PATH}/{batch}")
    assert answer.status == 200, answer
    value: dict[str, Any] = answer.body
    return value


def messages(api: Api) -> list[Any]:
    """Take what lies on the queue."""
    return (
        aws.sqs()
        .receive_message(
            QueueUrl=api.settings.batches_queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        .get("Messages", [])
    )


def event(message: Any) -> dict[str, Any]:
    """Make the event with which Lambda hands a message over."""
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }
    return {"Records": [record]}


def carry_out(message: Any, seconds: float = 60.0) -> bool:
    """Let the function carry a message out; return whether it is done with it."""
    answer = loaded("carry_out_batch")(event(message), context(seconds))
    assert answer in ({"batchItemFailures": []}, {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]})
    return not answer["batchItemFailures"]


def test_five_hundred_members_get_one_coupon_each(api: Api) -> None:
    account_ids = members(api, 500)

    batch = plan(api, account_ids, valid_from="2030-05-01T00:00:00Z", valid_to="2030-05-31T23:59:59+02:00")

    before = progress(api, batch)
    assert (before["couponId"], before["total"], before["planned"]) == ("C1", 500, 500)
    assert not api.upstream.requests
    (message,) = messages(api)
    assert json.loads(message["Body"]) == {"program": "demo", "batch": batch}
    assert carry_out(message)
    after = progress(api, batch)
    codes = {one["accountId"]: one["externalReference"] for name in account_ids for one in coupons(api, name)}
    assert after["succeeded"] == 500
    assert {one["account_id"]: one["couponCode"] for one in after["members"]} == codes
    assert Counter(api.done()) == Counter(account_ids)
    assert (coupons(api, "M000")[0]["validFrom"], coupons(api, "M000")[0]["validTo"]) == (
        "2030-05-01T00:00:00Z",
        "2030-05-31T21:59:59Z",
    )
    assert api.upstream.logins == 1


def coupons(api: Api, account: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.upstream.list_account_coupons(account)[1]
    return rows


def test_members_that_the_platform_refuses_are_reported_and_the_others_get_theirs(api: Api) -> None:
    api.upstream.account("LOCKED", status="LOCKED")

    batch = plan(api, ["A1", "LOCKED", "A404"])
    assert carry_out(*messages(api))

    result = progress(api, batch)
    assert (result["succeeded"], result["rejected"], result["planned"], result["unknown"]) == (1, 2, 0, 0)
    reasons = {one["account_id"]: one.get("reason", "") for one in result["members"]}
    assert reasons["A404"].startswith("ACCOUNT_NOT_FOUND")
    assert reasons["LOCKED"].startswith("ACCOUNT_LOCKED")
    assert api.done() == ["A1"]


def test_what_does_not_fit_into_an_invocation_is_gone_on_with_in_the_next(api: Api) -> None:
    account_ids = members(api, 40)
    batch = plan(api, account_ids)
    (message,) = messages(api)
    api.upstream.configure(latency=0.05)

    rounds = [carry_out(message, 20.3) for _ in range(2)]
    some = len(api.done())
    api.upstream.configure(latency=0.0)

    assert rounds == [False, False]
    assert 0 < some < 40
    assert progress(api, batch)["succeeded"] == some
    assert carry_out(message)
    assert Counter(api.done()) == Counter(account_ids)


class Killed(BaseException):
    """The process ends, without a word."""


@pytest.mark.filterwarnings("ignore:No application metrics")
@pytest.mark.parametrize("step", ["_store_end", "_store_outcome"])
def test_a_crash_in_the_middle_doubles_nothing(api: Api, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    account_ids = members(api, 12)
    batch = plan(api, account_ids)
    (message,) = messages(api)
    module = {"_store_end": idempotency, "_store_outcome": coupon_batches}[step]
    whole: Callable[..., Any] = getattr(module, step)
    left = iter(range(5))
    function: Any = loaded("carry_out_batch")
    monkeypatch.setitem(unwrap(function).__globals__, "RESERVE_SECONDS", 0.0)

    def dying(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, dying)
        with pytest.raises(Killed):
            carry_out(message, 10.0)

    assert carry_out(message)
    result = progress(api, batch)
    # Of what was sent and whose end was not written down, no one knows.
    assert bool(result["unknown"]) == (step == "_store_end")
    assert result["succeeded"] + result["unknown"] == 12
    assert Counter(api.done()) == Counter(account_ids)


def test_what_may_have_been_assigned_is_reported_as_unknown_until_an_operator_decides(api: Api) -> None:
    api.upstream.account("A2")
    api.upstream.misbehave(kind="status", on="assign_coupon", status=500, when="after", times=2)
    batch = plan(api, ["A1", "A2"])
    (message,) = messages(api)

    assert carry_out(message)
    before = progress(api, batch)
    first, second = idempotency_store.list_unknown(api.settings, "demo")
    idempotency.decide(api.settings, "demo", first.id, Ended(200, {"couponCode": "FOUND"}))
    assert carry_out(message)
    after = progress(api, batch)

    assert (before["unknown"], after["unknown"], after["succeeded"]) == (2, 1, 1)
    assert {one.get("couponCode") for one in after["members"]} == {"FOUND", None}
    assert second.id in next(one["reason"] for one in after["members"] if one["state"] == "unknown")
    assert Counter(api.done()) == {"A1": 1, "A2": 1}


def test_after_a_day_untried_members_are_rejected_and_the_message_ends(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = plan(api, members(api, 3))
    (message,) = messages(api)
    monkeypatch.setattr(coupon_batches, "MAX_AGE_SECONDS", -1)

    assert carry_out(message)

    after = progress(api, batch)
    assert (after["rejected"], after["planned"], api.done()) == (3, 0, [])
    assert all("plan a new batch" in member["reason"] for member in after["members"])


def test_an_expired_batch_without_a_program_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(api, members(api, 1))
    (message,) = messages(api)
    monkeypatch.setattr(coupon_batches, "MAX_AGE_SECONDS", -1)
    monkeypatch.setattr(repository, "load_with_items", lambda *_: (None, {}))

    assert carry_out(message)


def test_an_expired_batch_keeps_what_was_tried(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    account_ids = members(api, 2)
    batch = plan(api, account_ids)
    (message,) = messages(api)
    planned = coupon_batches.load(api.settings, "demo", batch)
    assert planned
    assigner(api.settings, planned, 60)(planned, account_ids[0])  # and its outcome is not stored
    monkeypatch.setattr(coupon_batches, "MAX_AGE_SECONDS", -1)

    assert carry_out(message)

    states = {member["account_id"]: member["state"] for member in progress(api, batch)["members"]}
    assert states == {account_ids[0]: "succeeded", account_ids[1]: "rejected"}
    assert api.done() == [account_ids[0]]


@pytest.mark.parametrize("decision", [("--happened", "--result", "FOUND"), ("--did-not-happen",)])
def test_what_an_operator_decides_about_a_member_goes_on_with_the_batch(
    api: Api, bridge: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, decision: tuple[str, ...]
) -> None:
    monkeypatch.setattr(decisions, "BATCH_PAUSE_SECONDS", 0)
    api.upstream.misbehave(kind="status", on="assign_coupon", status=500)
    batch = plan(api, ["A1"])
    (message,) = messages(api)
    assert carry_out(message)
    (unknown,) = idempotency_store.list_unknown(api.settings, "demo")

    assert bridge("action", "decide", "demo", unknown.id, *decision, "--yes")[0] == 0
    (asked,) = messages(api)
    assert carry_out(asked)

    (member,) = progress(api, batch)["members"]
    codes = [one["externalReference"] for one in coupons(api, "A1")]
    assert unknown.about["batch_id"] == batch
    assert [member["couponCode"]] == (codes if decision == ("--did-not-happen",) else ["FOUND"])


def test_a_code_that_could_not_be_read_is_read_when_the_batch_comes_back(api: Api) -> None:
    api.upstream.misbehave(kind="status", on="coupon_code", status=404, times=None)
    batch = plan(api, ["A1"])
    (message,) = messages(api)

    assert not carry_out(message)
    (before,) = progress(api, batch)["members"]
    api.upstream.forget_faults()

    assert carry_out(message)
    (after,) = progress(api, batch)["members"]
    assert (before["state"], "is assigned, but its code could not be read" in before["reason"]) == ("unknown", True)
    assert after["couponCode"] == coupons(api, "A1")[0]["externalReference"]
    assert api.done() == ["A1"]


def test_members_that_were_not_tried_come_before_those_whose_code_cannot_be_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coupon_batches, "PARALLEL", 1)
    planned = coupon_batches.load(api.settings, "demo", plan(api, members(api, 4)))
    assert planned
    tried: list[str] = []

    def assign(_: coupon_batches.CouponBatch, account_id: str) -> str:
        tried.append(account_id)
        if len(tried) == 3:
            raise ConnectionBroken("the secret is wrong")
        raise OutcomeUnknown("the code could not be read", {ACCOUNT_COUPON_ID: account_id})

    for _ in range(2):
        assert coupon_batches.carry_out(api.settings, planned, assign, time.monotonic() + 40)["due"] == 4

    assert tried == ["M000", "M001", "M002", "M002", "M003", "M000", "M001"]


def test_an_assignment_is_remembered_for_as_long_as_its_message_may_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = coupon_batches.load(api.settings, "demo", plan(api, ["A1"]))
    assert planned
    (message,) = messages(api)
    assert carry_out(message)
    coupon_batches._store_outcome(
        api.settings, planned, coupon_batches.MemberOutcome("A1", "planned")
    )  # as if the first had died just before it

    monkeypatch.setattr(
        idempotency, "execute", partial(idempotency.execute, now=lambda: time.time() + 29 * idempotency_store.DAY)
    )

    assert carry_out(message)
    assert (progress(api, planned.id)["succeeded"], api.done()) == (1, ["A1"])


@pytest.mark.parametrize("fields", [{"dispatch_id": "d-1"}, {}])
def test_a_plan_that_no_one_could_be_asked_to_carry_out_is_gone_on_with_by_each_repeat(
    api: Api, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    body = {"account_ids": ["A1"], **fields}
    with monkeypatch.context() as patch:
        patch.setenv("BATCHES_QUEUE_URL", f"{api.settings.batches_queue_url}-gone")
        load_settings.cache_clear()
        began = time.monotonic()
        first = api.post(PATH, body)
        second = api.post(PATH, body)
    load_settings.cache_clear()

    third = api.post(PATH, body)

    assert time.monotonic() - began < api.seconds / 2, "a repeat waited for the lease of the first"
    assert [(one.status, one.body.get("error")) for one in (first, second, third)] == [
        (503, "unavailable"),
        (503, "unavailable"),
        (200, None),
    ]
    assert carry_out(*messages(api))
    assert api.done() == ["A1"]


def test_a_platform_that_is_down_leaves_everything_planned_and_the_message_comes_back(api: Api) -> None:
    batch = plan(api, ["A1"])
    (message,) = messages(api)
    api.upstream.misbehave(kind="status", on="assign_coupon", status=503, headers={"retry-after": "600"}, times=None)

    assert not carry_out(message)

    assert progress(api, batch)["planned"] == 1
    api.upstream.forget_faults()
    assert carry_out(message)
    assert api.done() == ["A1"]


def test_a_broken_connection_is_reported_at_once_and_no_further_member_is_tried(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(api, members(api, 40))
    (message,) = messages(api)
    api.upstream.misbehave(kind="status", on="token", status=401, body={"error": "invalid_client"}, times=None)

    assert not carry_out(message)

    assert 1 <= api.upstream.logins + len(api.upstream.requests) <= coupon_batches.PARALLEL
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"connection_broken":' in line]
    assert [(it["connection_broken"], it["batch_due"]) for it in metrics] == [([1.0], [40.0])]
    api.upstream.forget_faults()
    assert carry_out(message)
    assert len(api.done()) == 40


def test_two_messages_of_one_batch_at_once_double_nothing(api: Api) -> None:
    account_ids = members(api, 20)
    planned = coupon_batches.load(api.settings, "demo", plan(api, account_ids))
    assert planned

    def work() -> None:
        coupon_batches.carry_out(api.settings, planned, assigner(api.settings, planned, 60), time.monotonic() + 40)

    threads = [threading.Thread(target=work) for _ in range(2)]  # not the function itself: it has a process of its own
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert progress(api, planned.id)["succeeded"] == 20
    assert Counter(api.done()) == Counter(account_ids)


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param({"program": "demo", "batch": "0" * 32}, id="batch"),
        pytest.param({"program": "gone", "batch": "0" * 32}, id="program"),
    ],
)
def test_a_message_about_nothing_is_done_with(api: Api, lost: dict[str, str]) -> None:
    attributes = {"ApproximateReceiveCount": "1"}

    assert carry_out({"MessageId": "m", "ReceiptHandle": "h", "Body": json.dumps(lost), "Attributes": attributes})


def test_a_plan_that_was_not_asked_to_be_carried_out_is_resumed_by_its_repeat(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = api.settings.batches_queue_url
    monkeypatch.setenv("BATCHES_QUEUE_URL", f"{queue}-gone")
    load_settings.cache_clear()
    body = {"account_ids": ["A1"]}

    failed = api.post(PATH, body)

    monkeypatch.setenv("BATCHES_QUEUE_URL", queue)
    load_settings.cache_clear()
    answers = [api.post(PATH, body) for _ in range(2)]
    assert (failed.status, failed.body["error"]) == (503, "unavailable")
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert carry_out(*messages(api))
    assert progress(api, answers[0].body["batchId"])["succeeded"] == 1
    assert api.done() == ["A1"]


@pytest.mark.parametrize("count", [1, 120])
def test_a_planner_that_comes_late_leaves_what_is_carried_out_as_it_is(
    api: Api, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    account_ids = members(api, count)
    together = dynamodb.transact

    def plan_it() -> str:
        return coupon_batches.plan(api.settings, "demo", "reference", "C1", account_ids)

    def late(*arguments: Any) -> bool:
        monkeypatch.setattr(dynamodb, "transact", together)
        plan_it()
        assert carry_out(*messages(api))
        return together(*arguments)

    monkeypatch.setattr(dynamodb, "transact", late)
    batch = plan_it()

    assert progress(api, batch)["succeeded"] == count
    assert carry_out(*messages(api))
    assert Counter(api.done()) == Counter(account_ids)


def test_a_key_gives_one_batch_and_one_message(api: Api) -> None:
    ids = {plan(api, ["A1"], idempotency_key="k-1") for _ in range(3)}

    assert len(ids) == 1
    assert len(messages(api)) == 1


def test_a_batch_of_an_unknown_coupon_is_refused_member_by_member(api: Api) -> None:
    answer = api.post("campaigns/C404/assign/batch", {"account_ids": ["A1"]})

    assert carry_out(*messages(api))

    value = api.get(f"campaigns/C404/assign/batch/{answer.body['batchId']}").body
    assert value["rejected"] == 1
    assert value["members"][0]["reason"].startswith("COUPON_NOT_FOUND")


def not_found(answer: Answer) -> bool:
    return (answer.status, answer.body["error"]) == (404, "not_found")


def test_a_batch_is_reported_to_its_own_program_under_its_own_coupon(api: Api) -> None:
    batch = plan(api, ["A1"])
    connect(api.settings, api.upstream_url(), program="other", realm=api.upstream.id)
    other = Api(api.settings, api_keys.create(api.settings, "other", "braze")[0], api.upstream, "other")

    assert not_found(other.get(f"{PATH}/{batch}"))
    assert not_found(api.get(f"campaigns/C2/assign/batch/{batch}"))
    assert not_found(api.get(f"{PATH}/{'0' * 32}"))


@pytest.mark.parametrize("batch", ["%7B%7Bid%7D%7D", "%20", "..", "a%252Fb"])
def test_what_is_no_batch_is_refused_by_name(api: Api, batch: str) -> None:
    answer = api.get(f"{PATH}/{batch}")

    assert (answer.status, answer.body["field"]) == (400, "batchId")
