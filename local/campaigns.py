"""Calls of campaigns: every action and its repeat, and every lookup, through the deployed API."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import requests

from local.bundle import CAMPAIGN, Deployed, say

PROGRAM = "demo-queue"
MEMBER = "C00001"
_SECONDS = 60.0


def campaigns(bundle: Deployed) -> bool:
    """Call every action twice; return whether each was done once and came back as an event."""
    upstream = bundle.convercus.program(PROGRAM)
    for member in (MEMBER, "C00002", "C00003"):
        upstream.account(member, points=100)
    upstream.coupon("WELCOME")
    say("\nactions of Braze campaigns: each call is sent twice, as Braze repeats failed webhooks")
    calls = [
        ("assign coupon", "campaigns/WELCOME/assign", {"account_id": MEMBER, "dispatch_id": "d1"}),
        (
            "book points",
            f"members/{MEMBER}/bookings",
            {
                "booking_type": "EARNBOOKING",
                "booking_type_code": "BIRTHDAY",
                "points": "50",
                "reason": "Birthday",
                "dispatch_id": "d2",
            },
        ),
        ("e-mail opt-ins", "subscriptions/email", {"account_id": MEMBER, "status": "declined", "dispatch_id": "d3"}),
        (
            "assign to many",
            "campaigns/WELCOME/assign/batch",
            {"account_ids": ["C00002", "C00003", "C99999"], "dispatch_id": "d4"},
        ),
    ]
    good = True
    for title, path, body in calls:
        first, second = _post(bundle, path, body), _post(bundle, path, body)
        same = first.status_code == 200 and first.text == second.text
        good &= same
        say(f"  {title:16}{first.status_code}  {first.text:64.64}  again: {'the same' if same else second.text}")
        if "batchId" in first.text:
            good &= _batch(bundle, f"{path}/{first.json()['batchId']}")
    for title, path in (
        ("profile", f"members/{MEMBER}/profile"),
        ("coupons", f"members/{MEMBER}/coupons?lang=de"),
        ("unknown member", "members/C99999/profile"),
    ):
        reply = _get(bundle, path)
        good &= ("error" in reply.json()) == (title == "unknown member")
        say(f"  {title:16}{reply.status_code}  {reply.text:.150}")
    wrong = requests.get(_url(bundle, f"members/{MEMBER}/profile"), headers={"X-Convercus-Key": "cvc_no"}, timeout=60)
    say(f"  {'wrong key':16}{wrong.status_code}  {wrong.text}")
    done = [effect.call for effect in upstream.effects]
    say(f"  actions done at Convercus: {', '.join(f'{done.count(call)} × {call}' for call in sorted(set(done)))}")
    once = done.count("assign_coupon") == 3 and done.count("create_booking") == 1
    return good and wrong.status_code == 401 and once and _came_back(bundle)


def punchh_campaigns(bundle: Deployed, program: str) -> bool:
    """Sign members up and request a coupon code, as MoEngage does; return whether each was done once."""
    business = bundle.punchh.business
    before = len(business.users)
    say("\nactions of MoEngage campaigns at Punchh: each call is sent twice")
    who = {
        "email": "jo.doe@example.com",
        "first_name": "Jo",
        "last_name": "Doe",
        "terms_and_conditions": "true",
        "external_source_id": "moe-1001",
    }
    app = business.sign_up(email="kim.poe@example.com", first_name="Kim", last_name="Poe")
    known = who | {"email": "kim.poe@example.com", "external_source_id": "moe-1002"}
    wrong = who | {
        "email": "lou.roe@example.com",
        "external_source_id": "moe-1003",
        "external_source": "no-such-source",
    }
    good = True
    for title, user, status in (("signup", who, 200), ("existing member", known, 200), ("rejected", wrong, 422)):
        first, second = (_post(bundle, "members", {"user": user}, program) for _ in range(2))
        same = first.status_code == status and (first.status_code, first.text) == (second.status_code, second.text)
        good &= same
        say(f"  {title:16}{first.status_code}  {first.text:64.64}  again: {'the same' if same else second.text}")
    codes = [_get(bundle, f"members/moe-1001/coupon-code?campaign={CAMPAIGN}", program) for _ in range(2)]
    same = "coupon_code" in codes[0].json() and codes[0].text == codes[1].text
    again = "the same" if same else codes[1].text
    say(f"  {'coupon code':16}{codes[0].status_code}  {codes[0].text:64.64}  again: {again}")
    say(f"  at Punchh: {len(business.users) - before} new members, {len(business.coupons)} × coupon code")
    untouched = app.source == (None, None)  # a caller that signs an address up need not own it
    return good and same and untouched and len(business.users) == before + 2 and len(business.coupons) == 1


def _batch(bundle: Deployed, path: str) -> bool:
    """Wait until a coupon batch is finished."""
    progress: dict[str, Any] = {}

    def done() -> bool:
        progress.update(_get(bundle, path).json())
        return progress.get("planned") == 0

    carried_out = _wait(done)
    members = ", ".join(f"{one['account_id']}: {one['state']}" for one in progress.get("members", ()))
    say(f"  {'':16}     {members}")
    return carried_out and progress["succeeded"] == 2 and progress["rejected"] == 1


def _came_back(bundle: Deployed) -> bool:
    """Wait until Braze has the results: the coupon as an event, the points in the member's balance."""
    workspace = bundle.workspace(PROGRAM)

    def there() -> bool:
        profile = workspace.profile(external_id=MEMBER)
        events = [event.object for event in list(workspace.events) if event.object.get("external_id") == MEMBER]
        codes = [
            event["properties"].get("couponCode") for event in events if event["name"] == "convercus_coupon_assigned"
        ]
        balance = (profile.custom.get("convercus_balance") or {}).get("points") if profile else None
        return any(codes) and balance == 150

    came = _wait(there)
    profile = workspace.profile(external_id=MEMBER)
    shown = json.dumps(profile.custom, ensure_ascii=False) if profile else "nothing"
    say(f"  results in Braze {'arrived' if came else 'did not arrive in time'}: profile of {MEMBER} is {shown}")
    return came


def _wait(done: Any) -> bool:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        if done():
            return True
        threading.Event().wait(0.25)
    return False


def _url(bundle: Deployed, path: str, program: str = PROGRAM) -> str:
    return f"{bundle.api}/v1/programs/{program}/{path}"


def _post(bundle: Deployed, path: str, body: Any, program: str = PROGRAM) -> requests.Response:
    headers = {"X-Bridge-Key": bundle.keys[program]}
    return requests.post(_url(bundle, path, program), json=body, headers=headers, timeout=90)


def _get(bundle: Deployed, path: str, program: str = PROGRAM) -> requests.Response:
    return requests.get(_url(bundle, path, program), headers={"X-Bridge-Key": bundle.keys[program]}, timeout=60)
