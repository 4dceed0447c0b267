"""The example of `docs/add-a-platform.md` is a platform that the pipeline can use."""

from __future__ import annotations

import inspect
import json
import re
import sys
from datetime import UTC, datetime
from types import ModuleType

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms.base import LoyaltyPlatform
from loyalty_bridge.platforms.braze.settings import BrazeSettings
from loyalty_bridge.platforms.moengage.settings import MoEngageSettings
from loyalty_bridge.platforms.registry import ENGAGEMENT
from scripts.docs import DOCS

TEXT = (DOCS / "add-a-platform.md").read_text()
PACKAGE = "loyalty_bridge.platforms.acme"


def _modules() -> ModuleType:
    """Make the modules of the example, the second of which imports from the first."""
    sys.modules[PACKAGE] = ModuleType(PACKAGE)
    for name, code in zip(("settings", "events"), re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), strict=True):
        module = sys.modules[f"{PACKAGE}.{name}"] = ModuleType(f"{PACKAGE}.{name}")
        exec(code, module.__dict__)
    return module


ACME = _modules()

FUNCTIONS = {name for name, it in vars(LoyaltyPlatform).items() if inspect.isfunction(it) and not name.startswith("_")}
CONSTANTS = LoyaltyPlatform.__annotations__.keys()

NOW = datetime(2026, 3, 1, 10, 1, tzinfo=UTC)
RECORD = {"id": "E1", "customer": "M7", "at": "2026-03-01T10:00:00Z", "points": 40}


def test_the_example_has_everything_of_the_protocol() -> None:
    assert vars(ACME).keys() >= FUNCTIONS | CONSTANTS
    for name in FUNCTIONS:
        wanted = [*inspect.signature(getattr(LoyaltyPlatform, name)).parameters.values()][1:]
        have = [*inspect.signature(getattr(ACME, name)).parameters.values()]
        assert [it.name for it in have] == [it.name for it in wanted]


def test_the_page_explains_each_name_of_the_protocol() -> None:
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE) for name in re.findall("`(.+?)`", row)
    }

    assert explained >= FUNCTIONS | CONSTANTS


@pytest.mark.parametrize("side", [BrazeSettings(), MoEngageSettings()], ids=["braze", "moengage"])
def test_the_example_reaches_each_engagement_platform(side: BrazeSettings | MoEngageSettings) -> None:
    rules = ACME.SETTINGS().rules
    (event,) = ACME.events(json.loads(json.dumps(RECORD)))

    update = ACME.read(event, rules, member=ACME.member(event, rules), received=NOW)
    translation = ENGAGEMENT[side.platform].translate(update, side.rules)

    assert (update.event_id, update.member) == ("E1", "M7")
    assert translation.field_errors == ()
    assert translation.event
    assert b"acme_points_changed" in translation.event.body
    assert [*translation.attributes.values()] == [40]


@pytest.mark.parametrize(
    ("change", "field"), [({"customer": None}, "customer"), ({"points": "many"}, "points"), ({"id": ""}, "id")]
)
def test_the_example_refuses_what_it_cannot_use(change: dict[str, object], field: str) -> None:
    event, rules = RECORD | change, ACME.SETTINGS().rules

    with pytest.raises(Invalid) as refused:
        ACME.read(event, rules, member=ACME.member(event, rules), received=NOW)

    assert refused.value.field == field
