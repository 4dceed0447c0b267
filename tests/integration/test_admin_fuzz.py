"""The operators' API against requests made up from its own description: only documented answers, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from loyalty_bridge.admin import api
from scripts.docs import DOCS
from tests.support.admin_site import Site
from tests.support.fuzzing import FUZZ, cases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("call", api.ENDPOINTS, ids=lambda call: f"{call.method}_{call.path}")
def test_only_documented_answers_come_whatever_is_asked(shared_site: Site, call: api.Endpoint, mode: str) -> None:
    description = json.loads((DOCS / "admin-openapi.json").read_text())
    token = shared_site.issuer.token()
    answers: list[int] = []

    @FUZZ
    @given(cases(description, shared_site.url, call.method, api.BASE + call.path, mode))
    def fuzz(case: Any) -> None:
        if len(answers) % 2 and "programId" in (case.path_parameters or {}):  # about what there is
            case.path_parameters = {**case.path_parameters, "programId": "demo"}
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        answers.append(response.status_code)
        case.validate_response(response)

    fuzz()

    assert 500 not in answers
