"""Every reply that Braze may give, over real connections: what is accepted, given back, refused or held for it."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from loyalty_bridge.pipeline.batch import LIMITS
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import delivery_state, repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued, streamed
from tests.support.parked import load_parked, refused

BRIEFLY = LIMITS.settle_seconds + 1
"""What leaves one second to send in."""

SUCCESS = {"message": "success"}
HTML = {"kind": "status", "html": True}


def names(braze: Braze, key: str = KEY) -> list[str]:
    """Name the events that Braze has, in the order in which it got them."""
    return [str(one.object["name"]) for one in braze.workspace(key).events]


def statuses(braze: Braze) -> list[int]:
    return [request.status for request in braze.workspace(KEY).requests]


def nothing_kept(settings: DeliverySettings) -> bool:
    return not load_parked(settings, "rejected") and not load_parked(settings, "held")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "pass"}, id="201"),
        pytest.param({"kind": "status", "when": "after", "status": 200, "body": SUCCESS}, id="200"),
        pytest.param({"kind": "status", "when": "after", "status": 201, "body": SUCCESS}, id="201 without counts"),
        pytest.param({"kind": "accepted_202"}, id="202 queued"),
    ],
)
def test_a_reply_of_success_settles_the_record_for_good(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any]
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(**fault)
    batch = queued(event("balance_changed"))

    first = forward(batch, stores, 30)
    second = forward(batch, stores, 30)

    assert (first.to_retry, second.to_retry) == ([], [])
    assert (first.counts["accepted_attributes"], first.counts["accepted_event"], first.counts["requests"]) == (1, 1, 1)
    assert (second.counts["duplicates"], second.counts["requests"]) == (1, 0)
    assert names(braze) == ["convercus_balance_changed"]
    assert nothing_kept(stores)


@pytest.mark.parametrize(
    ("fault", "acted", "unknown"),
    [
        pytest.param({"kind": "status", "status": 500}, 0, 1, id="500"),
        pytest.param({"kind": "status", "status": 503}, 0, 0, id="503"),
        pytest.param({"kind": "status", "status": 504}, 0, 1, id="504"),
        pytest.param({"kind": "status", "status": 504, "when": "after"}, 1, 1, id="504 after acting"),
        pytest.param({"kind": "status", "status": 529}, 0, 0, id="529"),
        pytest.param({**HTML, "status": 502}, 0, 1, id="502 of a load balancer"),
        pytest.param({**HTML, "status": 400}, 0, 0, id="400 of a load balancer"),
        pytest.param({**HTML, "status": 200}, 0, 1, id="200 of a captive page"),
        pytest.param({**HTML, "status": 201, "when": "after"}, 1, 1, id="201 that is not JSON, after acting"),
        pytest.param({"kind": "reset", "when": "before"}, 0, 1, id="reset before acting"),
        pytest.param({"kind": "reset", "when": "after"}, 1, 1, id="reset after acting"),
        pytest.param({"kind": "close"}, 1, 1, id="closed within the body"),
    ],
)
def test_a_failure_that_passes_is_tried_again_at_once(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any], acted: int, unknown: int
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(**fault)

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert outcome.to_retry == []
    assert (outcome.counts["accepted_event"], outcome.counts["requests"]) == (1, 2)
    assert outcome.counts["outcome_unknown"] == unknown
    assert len(names(braze)) == 1 + acted
    assert nothing_kept(stores)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({**HTML, "status": 502}, id="502 of a load balancer"),
        pytest.param({"kind": "status", "status": 503}, id="503"),
        pytest.param({"kind": "status", "status": 429}, id="429 without a header"),
        pytest.param({"kind": "reset"}, id="reset"),
    ],
)
def test_a_failure_that_lasts_gives_the_records_back_and_marks_nothing(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any]
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(**fault, times=None)
    batch = streamed(event("balance_changed"), event("user_logged_in", accountId="A2"))

    failed = forward(batch, stores, BRIEFLY)
    braze.workspace(KEY).faults.clear()
    repeated = forward(batch, stores, 30)

    assert failed.to_retry == [one["kinesis"]["sequenceNumber"] for one in batch["Records"]]
    assert (failed.counts["accepted_event"], failed.counts["rejected"], failed.counts["held"]) == (0, 0, 0)
    assert failed.problems.keys() == {"demo"}
    assert (repeated.to_retry, repeated.counts["duplicates"]) == ([], 0)
    assert sorted(names(braze)) == ["convercus_balance_changed", "convercus_user_logged_in"]
    assert nothing_kept(stores)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "timeout_after_acting"}, id="silence"),
        pytest.param({"kind": "slow"}, id="too late"),
        pytest.param({"kind": "drip"}, id="slow drip of the body"),
        pytest.param({"kind": "drip_headers"}, id="slow drip of the headers"),
    ],
)
def test_a_reply_that_does_not_end_in_time_gives_the_record_back_in_time(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any]
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(**fault, times=None)
    began = time.monotonic()

    outcome = forward(queued(event("balance_changed")), stores, BRIEFLY)

    assert time.monotonic() - began < 3
    assert outcome.to_retry == ["message-0"]
    assert (outcome.counts["accepted_event"], outcome.counts["outcome_unknown"]) == (0, 1)
    assert nothing_kept(stores)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param({"status": 401, "body": {"message": f"Invalid API key: {KEY}"}}, "401", id="401"),
        pytest.param({"status": 403, "body": {"message": "Access Denied"}}, "403", id="403"),
        pytest.param({"status": 403, "html": True}, "403", id="403 of a firewall"),
        pytest.param({"status": 404, "body": {"message": "Not Found"}}, "404", id="404"),
        pytest.param({"status": 405}, "405", id="405"),
        pytest.param({"status": 415}, "415", id="415"),
    ],
)
def test_a_refused_connection_holds_the_program_and_its_records_in_order(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any], said: str
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", **fault, times=None)
    events = [event("balance_changed"), event("user_logged_in"), event("user_logged_out")]

    outcome = forward(streamed(*events), stores, 30)
    later = forward(queued(event("coupon_assigned")), stores, 30)

    assert (outcome.to_retry, later.to_retry) == ([], [])
    assert (outcome.counts["held"], outcome.counts["requests"], outcome.counts["accepted_event"]) == (3, 1, 0)
    assert (later.counts["held"], later.counts["requests"]) == (1, 0)
    bodies = [entry.record.body.decode() for entry in load_parked(stores, "held")]
    kinds = ("balance_changed", "user_logged_in", "user_logged_out", "coupon_assigned")
    assert [kind in body for kind, body in zip(kinds, bodies, strict=True)] == [True] * 4
    gate = repository.load(stores, ["demo"])["demo"].delivery_state
    assert (gate.state, gate.reason[:3]) == ("held", said)
    assert not load_parked(stores, "rejected")
    assert KEY not in f"{outcome.problems} {later.problems} {gate.reason}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_holds_the_program(stores: DeliverySettings, braze: Braze, status: int) -> None:
    connect(stores, braze.url)
    elsewhere = {"location": f"{braze.url}/users/track"}
    braze.workspace(KEY).misbehave(kind="status", status=status, headers=elsewhere)

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert (outcome.to_retry, outcome.counts["held"], statuses(braze)) == ([], 1, [status])


def test_the_wrong_key_is_not_tried_again(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, key="another-rest-api-key")

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert (outcome.to_retry, outcome.counts["held"], braze.without_key) == ([], 1, 1)
    assert "another-rest-api-key" not in str(outcome.problems)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 413, "html": True}, id="413 of a load balancer"),
        pytest.param({"status": 413}, id="413"),
        pytest.param({"status": 400, "body": {"message": "Max Input Length Exceeded"}}, id="too many objects"),
        pytest.param({"status": 400, "body": {"message": "Bad syntax"}}, id="400 that names no object"),
        pytest.param({"status": 400, "body": {"message": "Bad", "errors": ["a text"]}}, id="400 with a text as error"),
    ],
)
def test_a_request_that_is_refused_as_a_whole_is_split(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any]
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", **fault)

    outcome = forward(streamed(event("user_logged_in"), event("user_logged_out")), stores, 30)

    assert outcome.to_retry == []
    assert (outcome.counts["accepted_attributes"], outcome.counts["accepted_event"]) == (1, 2)
    assert statuses(braze) == [fault["status"], 201, 201]
    assert names(braze) == ["convercus_user_logged_in", "convercus_user_logged_out"]
    assert nothing_kept(stores)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"status": 413}, "413: too much in one request", id="413"),
        pytest.param({"status": 400, "body": {"message": "Bad syntax"}}, "400: the request is refused", id="400"),
        pytest.param({"status": 422, "body": {"message": "No"}}, "422: the request is refused", id="422"),
    ],
)
def test_what_is_refused_even_alone_is_kept_with_the_reason_and_never_counted_as_sent(
    stores: DeliverySettings, braze: Braze, fault: dict[str, Any], reason: str
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", **fault, times=None)

    outcome = forward(queued(event("balance_changed", eventId="e-1")), stores, 30)

    assert (outcome.to_retry, outcome.counts["rejected"], outcome.latencies) == ([], 1, [])
    assert (outcome.counts["accepted_event"], outcome.counts["accepted_attributes"]) == (0, 0)
    assert refused(stores) == {
        "e-1": [("attributes", "attributes", reason), ("event", "event", reason)],
    }
    assert [entry.missing for entry in load_parked(stores, "rejected")] == [("attributes", "event")]


def test_what_was_refused_is_not_in_the_delivery_log(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    batch = queued(event("balance_changed"))
    braze.workspace(KEY).misbehave(kind="status", status=413, times=None)
    forward(batch, stores, 30)
    braze.workspace(KEY).faults.clear()

    outcome = forward(batch, stores, 30)

    assert (outcome.counts["duplicates"], outcome.counts["accepted_event"]) == (0, 1)
    assert names(braze) == ["convercus_balance_changed"]


def test_a_workspace_with_75_objects_in_total_gets_them_although_the_program_allows_more(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url, engagement={"rules": {"object_limit": "per_array"}})
    batch = streamed(*[event("user_logged_in", accountId=f"A{number}") for number in range(60)])

    outcome = forward(batch, stores, 30)

    assert outcome.to_retry == []
    assert (outcome.counts["accepted_attributes"], outcome.counts["accepted_event"]) == (60, 60)
    assert [(it.status, it.objects) for it in braze.workspace(KEY).requests] == [(400, 120), (201, 60), (201, 60)]
    assert nothing_kept(stores)


WAITS = {
    "retry after": lambda seconds: {"x-ratelimit-retry-after": f"{seconds}"},
    "standard": lambda seconds: {"retry-after": f"{seconds}"},
    "seconds": lambda seconds: {"x-ratelimit-reset": f"{seconds}"},
    "epoch": lambda seconds: {"x-ratelimit-reset": f"{time.time() + seconds:.2f}"},
    "date": lambda seconds: {"retry-after": formatdate(time.time() + seconds, usegmt=True)},
}
"""The ways to tell how long to wait."""


@pytest.mark.parametrize("form", ["retry after", "seconds", "epoch"])
def test_a_rate_limit_is_waited_for_as_given(stores: DeliverySettings, braze: Braze, form: str) -> None:
    connect(stores, braze.url)
    wait = 0.6  # longer than the first pause that is taken without a header
    braze.workspace(KEY).misbehave(kind="status", status=429, headers=WAITS[form](wait))
    until = time.time() + wait - 0.02

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert (outcome.to_retry, statuses(braze)) == ([], [429, 201])
    assert braze.workspace(KEY).requests[1].received_at >= until
    assert names(braze) == ["convercus_balance_changed"]


@pytest.mark.parametrize("form", WAITS)
def test_a_rate_limit_beyond_the_time_that_is_left_is_not_waited_for(
    stores: DeliverySettings, braze: Braze, form: str
) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=429, headers=WAITS[form](120), times=None)
    began = time.monotonic()

    outcome = forward(queued(event("balance_changed")), stores, 60)

    assert time.monotonic() - began < 3
    assert (outcome.to_retry, statuses(braze)) == (["message-0"], [429])
    assert "429" in outcome.problems["demo"]
    assert nothing_kept(stores)


def test_a_rate_limit_without_a_header_is_backed_off_from(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=429)

    outcome = forward(queued(event("balance_changed")), stores, 30)

    assert (outcome.to_retry, statuses(braze)) == ([], [429, 201])
    first, second = braze.workspace(KEY).requests
    assert second.received_at - first.received_at > 0.2


def test_a_request_that_follows_a_long_wait_has_time_for_its_reply(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=429, headers={"retry-after": "0.7"})
    braze.workspace(KEY).misbehave(kind="slow", seconds=0.6)

    outcome = forward(queued(event("user_logged_in")), stores, 30, limits=replace(LIMITS, wait_seconds=1.0))

    assert (outcome.to_retry, outcome.counts["outcome_unknown"]) == ([], 0)
    assert names(braze) == ["convercus_user_logged_in"]


def test_a_wait_after_which_too_little_time_is_left_for_a_reply_is_left_to_the_next_delivery(
    stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    delivery_state.note_failure(stores, "demo", time.time(), time.time() + 1.7)
    braze.workspace(KEY).misbehave(kind="slow", seconds=0.6)

    outcome = forward(queued(event("user_logged_in")), stores, LIMITS.settle_seconds + 2)

    assert (outcome.to_retry, outcome.counts["outcome_unknown"], statuses(braze)) == (["message-0"], 0, [])


def test_one_wait_is_enough_for_all_requests_of_a_program(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, engagement={"rules": {"max_objects": 2}})
    braze.workspace(KEY, rate_limit=1, rate_window=120)
    batch = queued(*[event("user_logged_in", accountId=f"A{number}") for number in range(30)])

    outcome = forward(batch, stores, 60)

    assert outcome.counts["accepted_event"] == 1
    assert len(outcome.to_retry) == 29
    assert len(statuses(braze)) <= 9  # the first, and at most one of each connection


def test_an_invocation_without_time_gives_everything_back(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    outcome = forward(queued(event("balance_changed")), stores, LIMITS.settle_seconds - 1)

    assert (outcome.to_retry, statuses(braze)) == (["message-0"], [])


def test_a_connection_that_was_closed_in_between_costs_no_attempt(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="hang_up")
    forward(queued(event("balance_changed")), stores, 30)

    outcome = forward(queued(event("user_logged_in")), stores, 30)

    assert (outcome.to_retry, outcome.counts["requests"], outcome.counts["outcome_unknown"]) == ([], 1, 0)
    assert len(names(braze)) == 2


def test_no_one_listening_gives_the_records_back(stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")

    outcome = forward(queued(event("balance_changed")), stores, BRIEFLY)

    assert outcome.to_retry == ["message-0"]
    assert outcome.counts["outcome_unknown"] == 0  # nothing can have arrived
    assert nothing_kept(stores)


def test_a_failing_program_is_remembered_until_it_succeeds(stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    braze.workspace(KEY).misbehave(kind="status", status=503, times=None)
    batch = queued(event("balance_changed"))

    forward(batch, stores, BRIEFLY)
    failing_since = repository.load(stores, ["demo"])["demo"].delivery_state.failing_since
    forward(batch, stores, BRIEFLY)
    still = repository.load(stores, ["demo"])["demo"].delivery_state.failing_since
    braze.workspace(KEY).faults.clear()
    forward(batch, stores, 30)
    gate = repository.load(stores, ["demo"])["demo"].delivery_state

    assert failing_since == still > 0
    assert (gate.state, gate.failing_since) == ("live", 0)
