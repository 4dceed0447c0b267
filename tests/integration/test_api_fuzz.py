"""The API against requests made up from its own description: only documented answers, whatever comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from loyalty_bridge.http_api import routes
from loyalty_bridge.programs import api_keys
from simulators.punchh import simulate
from tests.support.contract_check import document
from tests.support.fuzzing import FUZZ, cases
from tests.support.gateway import gateway
from tests.support.http_events import Api, connect_punchh

KNOWN = {"programId": "demo", "couponId": "C1", "accountId": "A1"}
MEMBER = {
    "email": "ann@example.com",
    "first_name": "Ann",
    "last_name": "Ash",
    "birthday": "1999-01-31",
    "anniversary": None,
    "external_source": "customer_id",
}
OF_PUNCHH = frozenset({"signup_member", "member_coupon_code"})


@pytest.fixture(scope="module")
def url(shared_api: Api) -> Iterator[str]:
    """Serve the API."""
    shared_api.upstream.account("A1", points=10**9)
    with simulate() as punchh, gateway() as running:
        connect_punchh(shared_api.settings, punchh.url)
        yield running


@pytest.fixture(scope="module")
def diners_key(shared_api: Api) -> str:
    """Make a key of the program that is connected to Punchh."""
    return api_keys.create(shared_api.settings, "diner", "moengage")[0]


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("call", routes.ROUTES, ids=lambda call: f"{call.method}_{call.function}")
def test_only_documented_answers_come_whatever_is_asked(
    shared_api: Api, diners_key: str, url: str, call: routes.Route, mode: str
) -> None:
    answers: list[int] = []
    known = KNOWN | ({"programId": "diner", "accountId": "c-1"} if call.function in OF_PUNCHH else {})
    key = diners_key if call.function in OF_PUNCHH else shared_api.key

    @FUZZ
    @given(cases(document(), url, call.method, routes.BASE + call.path, mode))
    def fuzz(case: Any) -> None:
        if len(answers) % 2:  # about what there is
            case.path_parameters = {name: known.get(name, it) for name, it in case.path_parameters.items()}
            if mode == "positive" and isinstance(case.body, dict) and "account_id" in case.body:
                case.body |= {"account_id": "A1"} | ({"optins": ["SMS"]} if "optins" in case.body else {})
            if mode == "positive" and isinstance(case.body, dict) and "user" in case.body and len(answers) % 2:
                case.body["user"] |= MEMBER | {"external_source_id": f"c-{len(answers)}"}
        response = case.call(headers={"X-Convercus-Key": key})
        answers.append(response.status_code)
        case.validate_response(response)

    fuzz()

    assert 500 not in answers
    assert any(status < 300 for status in answers) or mode == "negative" or call.path.endswith("{batchId}")
