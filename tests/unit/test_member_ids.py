from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.member_ids import check_member_id
from loyalty_bridge.model import MemberUpdate
from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.braze.settings import BrazeRules
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.platforms.moengage.settings import MoEngageRules

NO_IDS = [
    "", " ", "undefined", "null", "NULL", "None", "nil", "<nil>", "NaN", "Infinity", "N/A", "(not set)", " undefined ",
    "[object Object]", "[object Null]", "[Object object]", "true", "False", "{}", "[]",
    "(null)", "[null]", "'undefined'", '"null"', "null;", "undefined,undefined", "null null", "null-null", "null_null",
    "None None", "NaN|NaN", "[object Object],[object Object]", "[object HTMLDivElement]", "%!s(<nil>)", "#N/A", "#REF!",
    "\\N", "-", "--", "?", "''", ",", "()", "00000000-0000-0000-0000-000000000000",
    "{{${user_id}}}", "{{ user.id }}", "{% if x %}A1", "${user.id}", "A{{x}}1",
    "\ufeffA1", "A\u200b1", "A1\u200d", "A\xa01", "A\x001", "A\t1", "A1\n",
    "A\u20601", "\u202eA1", "A\u00ad1", "A\u034f1",
    "\u3164", "A\u28001", "A\ufe0f1", "a\ud800",
]  # fmt: skip
IDS = [
    "4711",
    "A00042",
    "a-b_c.d",
    "nullable",
    "None1",
    "Nan Ng",
    "ä€",
    "会員1",
    "a b",
    "null-7",
    "NA-4711",
    "empty_1",
    "#4711",
    "-4711",
    "00000000-0000-0000-0000-000000000001",
    "A1{2}",
    "100%",
    "😀1",
]
UPDATE = MemberUpdate(event_id="e-1", member="A1", time=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("value", NO_IDS)
def test_what_cannot_be_the_id_of_one_member_is_refused_for_every_destination(value: str) -> None:
    update = dataclasses.replace(UPDATE, member=value)

    with pytest.raises(Invalid, match=r"^account_id: "):
        check_member_id(value, "account_id")
    with pytest.raises(Invalid, match=r"^member: "):
        braze.translate(update, BrazeRules())
    with pytest.raises(Invalid, match=r"^member: "):
        braze.translate(update, BrazeRules(identifier_type="user_alias"))
    with pytest.raises(Invalid, match=r"^member: "):
        moengage.translate(update, MoEngageRules())


@pytest.mark.parametrize("value", IDS)
def test_any_other_text_is_an_id(value: str) -> None:
    update = dataclasses.replace(UPDATE, member=value)

    check_member_id(value, "account_id")

    assert braze.translate(update, BrazeRules()).identity == {"external_id": value}
    assert moengage.translate(update, MoEngageRules()).identity == {"customer_id": value}
