"""The settings that a function reads from its environment."""

from __future__ import annotations

import pytest

from loyalty_bridge.settings import MemberSettings, ProgramSettings, parse_settings

TOLD = {"PROGRAMS_TABLE": "programs", "SECRETS_KEY": "key", "PATH": "/bin"}


def test_settings_are_the_variables_of_their_names() -> None:
    result = parse_settings(ProgramSettings, TOLD | {"ALLOWED_HOSTS": "127.0.0.1"})

    assert result == ProgramSettings(programs_table="programs", secrets_key="key", allowed_hosts="127.0.0.1")


def test_every_variable_that_is_missing_or_blank_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"SECRETS_KEY, MEMBERS_TABLE$"):
        parse_settings(MemberSettings, TOLD | {"SECRETS_KEY": " "})


@pytest.mark.parametrize("others", [{}, {"ALLOWED_HOSTS": ""}])
def test_what_need_not_be_reported_may_be_missing_or_blank(others: dict[str, str]) -> None:
    result = parse_settings(ProgramSettings, TOLD | others)

    assert result.allowed_hosts == ""
