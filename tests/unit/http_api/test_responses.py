"""Errors become answers of one shape, and every call is counted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.errors import (
    BridgeError,
    Conflict,
    InProgress,
    Invalid,
    KeyReused,
    NotConnected,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.http_api import responses
from loyalty_bridge.http_api.requests import ApiRequest
from tests.support.api_requests import CONTEXT, event

SECRET = "somebody@example.com"


@pytest.fixture(autouse=True)
def namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count as a function does, whose environment is there before its imports."""
    monkeypatch.setattr(responses.metrics.provider, "namespace", "LoyaltyBridge")


def answered(outcome: Answer | Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Answer a call that ends so: status, headers, body."""

    def work(call: ApiRequest, context: Any) -> Answer:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    result = responses.answer(event({"email": SECRET}), CONTEXT, work)
    return result["statusCode"], result["headers"], json.loads(result["body"])


def test_an_answer_is_reported_as_json_that_no_one_keeps() -> None:
    status, headers, body = answered(Answer(207, {"failed": [], "name": "Jürgen"}))

    assert (status, body) == (207, {"failed": [], "name": "Jürgen"})
    assert headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (Invalid("points", "is not a number"), 400, "invalid_request"),
        (PayloadTooLarge("body", "is too large"), 413, "too_large"),
        (Unauthorized(), 401, "unauthorized"),
        (NotFound("there is no such batch"), 404, "not_found"),
        (NotConnected("demo"), 409, "not_connected"),
        (KeyReused("the key came before"), 422, "key_reused"),
        (UpstreamRejected(404, "COUPON_NOT_FOUND", "no such coupon"), 404, "COUPON_NOT_FOUND"),
        (UpstreamRejected(409, "", "not now"), 409, "upstream_refused"),
        (UpstreamRejected(400, "X", "no"), 422, "X"),
        (UpstreamRejected(401, "X", "no"), 422, "X"),
        (UpstreamRejected(403, "X", "no"), 422, "X"),
        (UpstreamRejected(429, "X", "no"), 422, "X"),
        (OutcomeUnknown("it is not known"), 500, "outcome_unknown"),
        (NotSent("no connection"), 502, "not_sent"),
        (InProgress("it is being carried out"), 503, "in_progress"),
        (Unavailable("the journal: throttled"), 503, "unavailable"),
        (Conflict("demo"), 409, "conflict"),
    ],
)
def test_every_error_has_its_status_and_word(error: BridgeError, status: int, word: str) -> None:
    found, _, body = answered(error)

    assert (found, body["error"]) == (status, word)
    assert body["message"]
    assert set(body) <= {"error", "message", "field"}


def test_a_refusal_names_the_field() -> None:
    _, _, body = answered(Invalid("points", "is not a number"))

    assert body["field"] == "points"
    assert "is not a number" in body["message"]


@pytest.mark.parametrize("kind", [NotSent, InProgress, Unavailable])
@pytest.mark.parametrize(
    ("after", "expected"), [(None, "5"), (0.2, "1"), (-3.0, "1"), (7.2, "8"), (9000, "300"), (math.inf, "300")]
)
def test_a_useful_repeat_is_reported_when(kind: Callable[..., Unavailable], after: float | None, expected: str) -> None:
    _, headers, _ = answered(kind("not now", retry_after=after))

    assert headers["Retry-After"] == expected


@pytest.mark.parametrize("error", [OutcomeUnknown("x"), Invalid("a", "b"), UpstreamRejected(429, "", "no")])
def test_no_repeat_is_invited_where_it_is_of_no_use(error: BridgeError) -> None:
    status, headers, _ = answered(error)

    assert status not in {408, 429, 502, 503, 504}
    assert "Retry-After" not in headers


def test_a_defect_is_answered_in_the_same_shape_without_what_was_sent(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, body = answered(KeyError(SECRET))

    assert status == 500
    assert set(body) == {"error", "message"}
    assert SECRET not in str(body) + capsys.readouterr().out


@pytest.mark.parametrize(
    "outcome", [Answer(200, {"email": SECRET}), Invalid("account_id", "is blank"), Unauthorized(), ValueError(SECRET)]
)
def test_the_log_reports_the_program_and_nothing_of_the_person(
    outcome: Answer | Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(outcome)

    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "metric"),
    [
        (Answer(200, {}), "calls_2xx"),
        (Invalid("a", "b"), "calls_4xx"),
        (OutcomeUnknown("x"), "calls_5xx"),
        (ValueError("x"), "calls_5xx"),
    ],
)
def test_each_call_is_counted_by_function(
    outcome: Answer | Exception, metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(outcome)

    [counted] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if metric in line]
    assert counted[metric] == [1.0]
    assert counted["function"] == "assign-coupon"
