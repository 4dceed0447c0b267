"""A sample of the fault sweep; `make faults` runs the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.injection import Faults
from tests.faults.scenarios import SCENARIOS, Scenario, World, aws_and_platforms
from tests.faults.sweep import sweep

Fresh = Callable[[Scenario], World]


@pytest.fixture(scope="module")
def fresh() -> Iterator[Fresh]:
    with aws_and_platforms(Faults()) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.filterwarnings("ignore::UserWarning:aws_lambda_powertools")
def test_no_fault_loses_or_doubles_anything(scenario: Scenario, fresh: Fresh) -> None:
    result = sweep(scenario, fresh, every=17, triples=2)

    assert result.wrong == []
    assert result.runs.total() > 4
