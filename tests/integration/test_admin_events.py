"""The events of the operator's page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from loyalty_bridge.admin import sign_in
from loyalty_bridge.operations.operators import Operator
from loyalty_bridge.programs import api_keys
from loyalty_bridge.settings import AdminSettings, DeliverySettings, load_settings
from tests.conftest import connect
from tests.support.admin_site import serving_admin
from tests.support.functions import CONTEXT, loaded
from tests.support.issuer import issuing
from tests.support.template import ROOT

CASES: dict[str, tuple[int, str]] = {
    "programs_by_session": (200, "demo-queue"),
    "not_signed_in": (303, ""),
    "api_without_token": (401, "not signed in"),
    "api_token_not_valid": (401, "the token is not valid"),
    "key_made_by_a_form": (201, "It is not shown again"),
    "form_of_a_foreign_page": (403, "does not come from this page"),
}
REPLAYED = frozenset(f"admin/{case}" for case in CASES)


@pytest.fixture
def signed_in(stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sign an operator in with the session of the events."""
    connect(stores, "https://rest.iad-01.braze.com", "demo-queue")
    monkeypatch.setattr("secrets.token_urlsafe", lambda _: "session-of-the-events-of-this-folder")
    with issuing() as issuer, serving_admin(stores, issuer, monkeypatch), asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        sign_in.open_session(load_settings(AdminSettings), Operator("person-1", all_programs=True))
        yield
        asyncio.set_event_loop(None)


@pytest.mark.parametrize("case", CASES)
def test_an_event_is_answered(signed_in: None, stores: DeliverySettings, case: str) -> None:
    event = json.loads((ROOT / "events" / "admin" / f"{case}.json").read_text())

    result: dict[str, Any] = loaded("admin")(event, CONTEXT)

    status, text = CASES[case]
    assert result["statusCode"] == status
    assert text in result["body"]
    assert result["headers"]["cache-control"] == "no-store"
    assert len(api_keys.list_all(stores, "demo-queue")) == (1 if case == "key_made_by_a_form" else 0)
