"""Webhooks of Punchh and Brevo, delivered to the bridge and forwarded to MoEngage."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from itertools import chain

import requests

from local.bundle import CREDENTIAL, MOENGAGE, Deployed, say
from local.campaigns import punchh_campaigns
from simulators import brevo, punchh_events, punchh_sender
from simulators.moengage import MoEngage

_MEMBERS = 3
_SECONDS = 120.0


def webhooks(bundle: Deployed) -> bool:
    """Deliver every event of both platforms, some twice and out of order; return whether each arrived once."""
    loyalty, punchh, moengage = bundle.webhooks["brevo"], bundle.webhooks["punchh"], bundle.moengage
    now = time.time() - 3600
    say("\nwebhooks of Brevo: the 24 events of three members, a fifth of them twice, out of order, to MoEngage")
    events = [one for number in range(_MEMBERS) for one in brevo.every_event(brevo.contact(number), now)]
    sent = brevo.deliver(loyalty, events, secret=CREDENTIAL, duplicate=0.2, reorder=3)
    good = _show(moengage, "BREVO", Counter(one.outcome for one in sent), {one["event_id"] for one in events})

    say(
        "\nwebhooks of Punchh: every documented event of three guests, a fifth of them twice, out of order, to MoEngage"
    )
    guests = [punchh_events.guest(number) for number in range(_MEMBERS)]
    users = [punchh_events.event(guest, now, "users") for guest in guests]
    others = chain.from_iterable(punchh_events.every_event(guest, now + 60) for guest in guests)
    # A redeemable belongs to the business, not to a guest.
    sent_events = [*users, *(one for one in others if one["event_name"] != "redeemables")]
    name, _, password = CREDENTIAL.partition(":")
    delivered = punchh_sender.deliver(
        punchh, sent_events, secret=password, name=name, auth="basic", duplicate=0.2, reorder=3
    )
    outcomes = Counter(str(one.outcome) for one in delivered)
    good &= _show(moengage, "PUNCHH", outcomes, {str(one["content_id"]) for one in sent_events})
    good &= punchh_campaigns(bundle, MOENGAGE["punchh"])
    wrong = requests.post(loyalty, json=events[0], auth=("loyalty", "wrong"), timeout=60)
    say(f"webhook with a wrong password: {wrong.status_code} {wrong.text}")
    return good and wrong.status_code == 401


def _show(moengage: MoEngage, workspace_id: str, outcomes: Counter[str], expected: set[str]) -> bool:
    """Wait until every event has arrived, then show what MoEngage has."""
    workspace = moengage.workspace(workspace_id)
    until = time.monotonic() + _SECONDS

    def arrived() -> list[str]:
        return [str(event.attributes.get("event_id")) for event in list(workspace.events)]

    while time.monotonic() < until and not expected <= set(arrived()):
        threading.Event().wait(0.25)
    ids = arrived()
    user = workspace.users[0] if workspace.users else None
    say(f"  deliveries: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    say(
        f"  {len(expected)} events sent, {len(set(ids))} arrived, {len(ids) - len(set(ids))} duplicates, "
        f"dropped by MoEngage: {len(workspace.silently_dropped)}; "
        f"{len({event.name for event in workspace.events})} event names"
    )
    say(f"  profile of {user.id}: {json.dumps(user.attributes, ensure_ascii=False):.300}" if user else "  no user")
    return set(ids) == expected and len(ids) == len(expected) and not workspace.silently_dropped
