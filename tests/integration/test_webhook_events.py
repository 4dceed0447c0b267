"""Every event of the webhooks in `events/` is taken as the gateway would give it, and forwarded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loyalty_bridge.settings import DeliverySettings
from simulators.moengage import MoEngage
from tests.support.template import ROOT
from tests.support.webhooks import NOW, answered, connect, forwarded, recording

TAKEN, REFUSED = (200, {"accepted": 1, "rejected": 0}), (200, {"accepted": 0, "rejected": 1})
UNAUTHORIZED = (401, {"unauthorized": 1})

# What is answered, and the events that MoEngage gets of it.
ANSWERS: dict[str, tuple[tuple[int, dict[str, int]], list[str]]] = {
    "punchh_webhook/ping": ((200, {}), []),
    "punchh_webhook/users_basic": (TAKEN, ["users"]),
    "punchh_webhook/users_trailing_slash": (TAKEN, ["users"]),
    "punchh_webhook/users_base64": (TAKEN, ["users"]),
    "punchh_webhook/checkin_of_a_user_id_bearer": (TAKEN, []),  # no event has named its user
    "punchh_webhook/reward_hmac_sha1": (TAKEN, []),  # no event has named its user
    "punchh_webhook/notification_hmac_sha256": (TAKEN, ["transactional_notifications"]),
    "punchh_webhook/redeemable_of_no_member": (REFUSED, []),
    "punchh_webhook/body_not_json": (REFUSED, []),
    "punchh_webhook/wrong_credential": (UNAUTHORIZED, []),
    "punchh_webhook/unknown_program": (UNAUTHORIZED, []),
    "loyalty_webhook/voucher_created_basic": (TAKEN, ["loyalty_voucher_created"]),
    "loyalty_webhook/balance_value_updated_bearer": (TAKEN, ["loyalty_balance_value_updated"]),
    "loyalty_webhook/tier_association_updated_header": (TAKEN, ["loyalty_tier_association_updated"]),
    "loyalty_webhook/array_with_a_bad_element": (
        (200, {"accepted": 2, "rejected": 1}),
        ["loyalty_subscription_created", "loyalty_voucher_redeemed"],
    ),
    "loyalty_webhook/bare_subscription_created": (TAKEN, ["loyalty_subscription_created"]),
    "loyalty_webhook/bare_membership_anniversary_reminder": (TAKEN, ["loyalty_membership_anniversary_reminder"]),
    "loyalty_webhook/unknown_event_name": (TAKEN, ["loyalty_event"]),
    "loyalty_webhook/body_base64": (TAKEN, ["loyalty_voucher_created"]),
    "loyalty_webhook/body_not_json": (REFUSED, []),
    "loyalty_webhook/wrong_credential": (UNAUTHORIZED, []),
    "loyalty_webhook/unknown_program": (UNAUTHORIZED, []),
}
REPLAYED = frozenset(ANSWERS)

BREVO: dict[str, Any] = {
    "platform": "brevo",
    "rules": {"identify_by": ("ext_id", "loyalty_subscription_id", "card_id")},
}
PROGRAMS: list[tuple[str, dict[str, Any], str]] = [
    ("demo-punchh", {"platform": "punchh"}, "bridge:webhook-password"),
    ("demo-punchh-bearer", {"platform": "punchh", "webhook_auth": "bearer"}, "webhook-token"),
    ("demo-punchh-hmac", {"platform": "punchh", "webhook_auth": "hmac"}, "webhook-key"),
    ("demo-loyalty", BREVO, "bridge:webhook-password"),
    ("demo-loyalty-bearer", BREVO | {"webhook_auth": "bearer"}, "webhook-token"),
    ("demo-loyalty-header", BREVO | {"webhook_auth": "header"}, "webhook-key"),
]


@pytest.mark.parametrize("case", ANSWERS)
def test_a_delivery_is_answered_and_forwarded(stores: DeliverySettings, case: str) -> None:
    moengage = MoEngage(lambda: NOW)
    workspace = moengage.workspace("W1", key="data-key")
    event = json.loads((ROOT / f"events/{case}.json").read_text())

    with recording(moengage):
        engagement = {"platform": "moengage", "api_endpoint": moengage.url, "workspace_id": "W1"}
        for program, loyalty, credential in PROGRAMS:
            secrets = {"moengage_data_key": "data-key", "webhook_credential": credential}
            connect(stores, loyalty, engagement, program=program, **secrets)
        answer = answered(event)
        forwarded(stores)

    (status, body), names = ANSWERS[case]
    assert (answer["statusCode"], json.loads(answer["body"])) == (status, body)
    assert sorted(event.name for event in workspace.events) == names
    assert workspace.refused == workspace.silently_dropped == []
