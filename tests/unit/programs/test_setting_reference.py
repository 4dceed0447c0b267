"""The list of settings, from which form, documentation and command line help are made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms.registry import ENGAGEMENT, LOYALTY
from loyalty_bridge.programs.connection import Connection
from loyalty_bridge.programs.setting_reference import Setting, list_settings

SETTINGS = {setting.path: setting for name in ("convercus", "braze") for setting in list_settings(name)}


def _paths(value: Any, prefix: str = "") -> set[str]:
    if not isinstance(value, dict) or prefix.rpartition(".")[0].count(".") == 2 or not value:
        return {prefix.rstrip(".")}
    return {path for name, each in value.items() for path in _paths(each, f"{prefix}{name}.")}


@pytest.mark.parametrize("loyalty", LOYALTY)
@pytest.mark.parametrize("engagement", ENGAGEMENT)
def test_every_setting_of_a_connection_is_described(loyalty: str, engagement: str) -> None:
    connection = msgspec.convert({"loyalty": {"platform": loyalty}, "engagement": {"platform": engagement}}, Connection)
    stored = msgspec.to_builtins(connection)
    del stored["loyalty"]["platform"], stored["engagement"]["platform"]

    described = {setting.path: setting.help for setting in list_settings()}

    for path in _paths(stored):
        assert any(described[each] for each in described if path == each or path.startswith(f"{each}.")), path


@pytest.mark.parametrize("platform", [*LOYALTY, *ENGAGEMENT])
def test_every_secret_has_a_title_and_a_description(platform: str) -> None:
    secrets = [setting for setting in list_settings(platform) if setting.kind == "secret"]

    assert all(setting.label and setting.help for setting in secrets)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("loyalty.rules.default_currency", {"kind": "text", "is_optional": True, "default": None}),
        ("loyalty.default_optins", {"kind": "several", "choices_from": "loyalty.membership_optins"}),
        ("loyalty.limits.members_per_batch", {"kind": "number", "is_optional": True, "limits": "At least 1"}),
        ("engagement.rules.max_objects", {"kind": "number", "limits": "From 1 to 75", "is_rare": True}),
        ("engagement.rules.identifier_type", {"kind": "choice", "choices": ("external_id", "user_alias")}),
        ("engagement.rules.update_existing_only", {"kind": "flag", "default": False}),
        ("secrets.braze_api_key", {"kind": "secret", "label": "REST API key"}),
        ("secrets.convercus_password", {"kind": "secret", "section": "api"}),
    ],
)
def test_a_setting_has_what_its_type_says(path: str, expected: dict[str, Any]) -> None:
    setting: Setting = SETTINGS[path]

    assert {name: getattr(setting, name) for name in expected} == expected


def test_an_unknown_platform_is_invalid() -> None:
    with pytest.raises(Invalid, match="braze"):
        list_settings("nope")
