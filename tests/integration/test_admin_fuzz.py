"""The operators' API against requests made up from its own description: only documented answers, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from local.docs import DOCS
from loyalty_bridge.admin import api
from tests.admin_site import Site
from tests.integration.test_api_fuzz import EXAMPLES


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("call", api.ENDPOINTS, ids=lambda call: f"{call.method}_{call.path}")
def test_only_documented_answers_come_whatever_is_asked(shared_site: Site, call: api.Endpoint, mode: str) -> None:
    taken = {check: {"enabled": False} for check in ("positive_data_acceptance", "negative_data_rejection")}
    config = schemathesis.Config.from_dict({"base-url": shared_site.url, "checks": taken})
    description = schemathesis.openapi.from_dict(json.loads((DOCS / "admin-openapi.json").read_text()), config=config)
    operation = description[api.BASE + call.path][call.method.upper()]
    token = shared_site.issuer.token()
    answers: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def fuzz(case: Any) -> None:
        if len(answers) % 2 and "programId" in (case.path_parameters or {}):  # about what there is
            case.path_parameters = {**case.path_parameters, "programId": "demo"}
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        answers.append(response.status_code)
        case.validate_response(response)

    fuzz()

    assert 500 not in answers
