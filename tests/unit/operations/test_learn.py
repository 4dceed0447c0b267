from __future__ import annotations

import json
from typing import Any

import pytest

from loyalty_bridge.errors import Invalid
from loyalty_bridge.operations.learn import learn


def event(kind: str, payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"eventId": "E-1", "eventType": kind, "accountId": "A-1", "payload": payload} | changes


LOGIN = event("user_logged_in", {"channel": "APP", "screen": "S", "deviceId": "D"})
ROWS = {
    "one object": [json.dumps(LOGIN).encode()],
    "an array with a byte order mark": [json.dumps([LOGIN, LOGIN]).encode("utf-8-sig")],
    "lines": [f"{json.dumps(LOGIN)}\n\n{json.dumps(LOGIN)}\n".encode()],
    "several files": [json.dumps(LOGIN).encode(), json.dumps(LOGIN).encode()],
}


@pytest.mark.parametrize("files", ROWS.values(), ids=ROWS)
def test_each_field_is_mapped_sent_as_it_is_ignored_or_missing(files: list[bytes]) -> None:
    [found] = learn("convercus", files)

    assert found["event"] == "convercus_user_logged_in"
    assert found["mapped"].keys() >= {"channel", "event_id", "attribute convercus_account_id"}
    assert found["sent_as_it_is"].keys() == {"screen"}
    assert found["ignored"] == {"deviceId": "may show who the person is"}
    assert found["missing"] == ["platform", "userId", "partnerId", "interactionId"]
    assert found["events"] == found["mapped"]["channel"] == found["sent_as_it_is"]["screen"]


def test_what_cannot_be_used_is_reported_with_the_reason() -> None:
    bad = [event("nonsense", {}), event("user_logged_in", {}, occurredAt="soon"), 7]

    found = {one["event"]: one for one in learn("convercus", [json.dumps([*bad, LOGIN]).encode(), b"no JSON"])}

    assert found["rejected"]["events"] == 4
    assert found["rejected"]["ignored"] == {
        "eventType": "is not a known event type",
        "occurredAt": "is not a time",
        "record": "is not an event, which is a JSON object",
    }
    assert found["convercus_user_logged_in"]["events"] == 1


@pytest.mark.parametrize(
    ("platform", "sent", "name"),
    [
        (
            "brevo",
            {"event_name": "voucher_created", "event_id": "e", "identifiers": {"ext_id": "M"}, "id": "V",
             "color": "red", "ownerEmail": "a@example.com"},
            "loyalty_voucher_created",
        ),
        (
            "punchh",
            {"event_name": "users", "content_id": "c", "payload": {"id": 7, "external_source_id": "M"}},
            "users",
        ),
    ],
)  # fmt: skip
def test_the_other_platforms_are_learned_too(platform: str, sent: dict[str, Any], name: str) -> None:
    [found] = learn(platform, [json.dumps(sent).encode()])

    assert found["mapped"]["event_id"] == 1
    assert (found["event"], found["events"]) == (name, 1)
    if platform == "brevo":
        assert found["sent_as_it_is"] == {"color": 1}
        assert found["ignored"]["ownerEmail"] == "may show who the person is"


def test_an_unknown_platform_is_refused() -> None:
    with pytest.raises(Invalid, match="platform"):
        learn("else", [])
