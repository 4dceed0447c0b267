"""How what was typed into the connection form is read."""

from __future__ import annotations

import pytest

from loyalty_bridge.admin import forms


@pytest.mark.parametrize("inside", [",", ";", "\u2028", "\x85", "\x0b", "\x1c"])
def test_a_list_has_one_entry_for_each_line_whatever_else_is_in_it(inside: str) -> None:
    channel = f"News{inside}weekly"
    shown = forms.shown(
        {"loyalty": {"membership_optins": [channel, "Post"]}},
        next(field for field in forms.fields("convercus", "braze") if field.path == "loyalty.membership_optins"),
    )

    change, _ = forms.read({"loyalty.membership_optins": [shown.replace("\n", "\r\n")]}, "convercus", "braze")

    assert change["loyalty"]["membership_optins"] == (channel, "Post")
