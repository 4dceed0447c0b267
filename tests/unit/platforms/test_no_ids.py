"""Ids that say nothing: they must neither join the events of many members, nor make many events one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms.brevo import events as brevo
from loyalty_bridge.platforms.brevo.settings import BrevoRules
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus.settings import ConvercusRules
from loyalty_bridge.platforms.punchh import events as punchh

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NO_IDS = ["undefined", "null", "(null)", "NaN", "[object Object]", "None", "-", "undefined,undefined"]
NO_MEMBERS = [*NO_IDS, "\ufeffA1", "A\u200b1", "{{${user_id}}}"]


def of_convercus(**fields: Any) -> dict[str, Any]:
    return {"eventId": "E-1", "eventType": "user_changed", "payload": {"memberRole": "OWNER"}, **fields}


def of_punchh(guest: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"event_name": "checkins", "content_id": "c-1", "payload": {"user": guest, "points": 5}, **fields}


def of_brevo(identifiers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"event_name": "voucher_redeemed", "event_id": "e-1", "id": "v-1", "identifiers": identifiers, **fields}


@pytest.mark.parametrize("no_id", NO_MEMBERS)
def test_an_event_of_convercus_without_an_id_is_refused(no_id: str) -> None:
    with pytest.raises(Invalid, match=r"^accountId: "):
        convercus.member(of_convercus(accountId=no_id))
    with pytest.raises(Invalid, match=r"^userId: "):
        convercus.alias(of_convercus(userId=no_id))


@pytest.mark.parametrize("no_id", NO_MEMBERS)
def test_an_id_counts_wherever_it_is_beside_one_that_says_nothing(no_id: str) -> None:
    assert convercus.member(of_convercus(accountId=no_id, account_id="A-1")) == "A-1"
    assert convercus.member(of_convercus(accountId=no_id, payload={"account": {"accountId": "A-1"}})) == "A-1"
    assert punchh.member(of_punchh({"external_source_id": no_id}, user={"external_source_id": "C-1"})) == "C-1"
    assert punchh.alias(of_punchh({"user_id": no_id, "email": "a@example.com"})) == punchh.alias(
        of_punchh({"email": "a@example.com"})
    )
    assert brevo.member(of_brevo({"ext_id": no_id, "email_id": "a@example.com"}), BrevoRules()) == "a@example.com"


@pytest.mark.parametrize("no_id", NO_MEMBERS)
def test_a_user_without_an_id_is_no_second_name_of_an_account(no_id: str) -> None:
    event = of_convercus(accountId="A-1", userId=no_id)

    update = convercus.read(event, ConvercusRules(), member="A-1", received=NOW)

    assert convercus.aliases_of(event) == ()
    assert "convercus_user_id" not in update.attributes
    assert [one.field for one in update.field_errors] == ["userId"]


@pytest.mark.parametrize("no_id", NO_MEMBERS)
def test_an_event_of_punchh_without_an_id_is_refused(no_id: str) -> None:
    with pytest.raises(Invalid, match=r"^payload.user.external_source_id: "):
        punchh.member(of_punchh({"external_source_id": no_id, "user_id": 7}))
    with pytest.raises(Invalid, match="names no user"):
        punchh.alias(of_punchh({"user_id": no_id}))


@pytest.mark.parametrize("no_address", [*NO_IDS, "n/a", "@", "none@"])
def test_a_word_for_a_missing_address_is_no_second_name_of_a_guest(no_address: str) -> None:
    assert punchh.aliases_of(of_punchh({"external_source_id": "C-1", "email": no_address})) == ()
    with pytest.raises(Invalid, match="names no user"):
        punchh.alias(of_punchh({"email": no_address}))


@pytest.mark.parametrize("no_id", NO_MEMBERS)
def test_an_event_of_brevo_without_an_id_is_refused(no_id: str) -> None:
    with pytest.raises(Invalid, match=r"^identifiers.ext_id: "):
        brevo.member(of_brevo({"ext_id": no_id}), BrevoRules())


@pytest.mark.parametrize("no_id", NO_IDS)
def test_two_events_whose_ids_say_nothing_stay_two(no_id: str) -> None:
    found: list[str] = []
    for named in ("A-1", "A-2"):
        found.append(convercus.event_id(of_convercus(eventId=no_id, accountId=named)))
        found.append(punchh.event_id(of_punchh({"external_source_id": named}, content_id=no_id)))
        found.append(brevo.event_id(brevo.complete(of_brevo({"ext_id": named}, event_id=no_id), "", NOW)))

    assert len(set(found)) == 6
