"""The benchmark's stream: all seventeen Convercus events, in a stated mix, of few busy and many quiet members."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

BATCH = 1000

MIX: dict[tuple[str, ...], float] = {
    ("account_transaction", "balance_changed"): 28,
    ("coupon_assigned",): 11,
    ("user_logged_in",): 9,
    ("coupon_redeemed",): 6,
    ("user_logged_out",): 4,
    ("membership_changed",): 3,
    ("membership_optins_changed",): 3,
    ("status_level_changed",): 2,
    ("user_changed",): 1.5,
    ("push_token_created",): 1,
    ("push_token_deleted",): 1,
    ("account_created", "membership_created", "user_created"): 0.5,
    ("membership_added",): 0.5,
    ("membership_terminated",): 0.5,
}
"""What happens to a member at once, and how often: the weights of all events add up to a hundred."""

_CITIES = (("Berlin", "DE", "+49301"), ("Wien", "AT", "+4315"), ("Zürich", "CH", "+41442"), ("Lyon", "FR", "+33478"))
_TIERS = ("Basic", "Silver", "Gold", "Platinum")


def batches(events: int, *, programs: int, containers: int) -> list[list[dict[str, Any]]]:
    """Make Lambda events of up to 1,000 stream records for each container; a member's records go to one container."""
    streams: list[list[dict[str, Any]]] = [[] for _ in range(containers)]
    for event in _traffic(events, members=max(events // 5, 1), programs=programs):
        data = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
        stream = streams[int(event["accountId"], 16) % containers]
        stream.append(
            {
                "eventSource": "aws:kinesis",
                "kinesis": {
                    "sequenceNumber": f"{len(stream):056d}",
                    "partitionKey": f"{event['programId']}#{event['accountId']}",
                    "approximateArrivalTimestamp": datetime.fromisoformat(event["occurredAt"]).timestamp() + 1,
                    "data": base64.b64encode(data).decode(),
                },
            }
        )
    return [[{"Records": stream[at : at + BATCH]} for at in range(0, len(stream), BATCH)] for stream in streams]


def _traffic(events: int, *, members: int, programs: int) -> Iterator[dict[str, Any]]:
    """Make events in the order in which they happen, over eleven hours that have just passed.

    A member's share falls with its rank (as one over the root of the rank, so that the busiest tenth of the members
    makes a third of the events), and each program has as many members. Every event carries its account.
    """
    chance = random.Random(11)
    people = [_person(chance, number) for number in range(members)]
    shares = list(accumulate((1 + rank) ** -0.5 for rank in range(members)))
    happenings, weights = list(MIX), list(accumulate(MIX.values()))
    time, step = datetime.now(UTC) - timedelta(hours=11), timedelta(hours=11) / (events + 1)
    while events:
        (person,) = chance.choices(people, cum_weights=shares)
        (happening,) = chance.choices(happenings, cum_weights=weights)
        for kind in happening[:events]:
            time += step
            events -= 1
            yield {
                "eventId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                "eventType": kind,
                "programId": f"program-{person['number'] % programs}",
                "occurredAt": time.isoformat().replace("+00:00", "Z"),
                "accountId": person["account"],
                "userId": person["user"],
                "partnerId": "P1",
                "payload": _payload(chance, person, kind),
            }


def _person(chance: random.Random, number: int) -> dict[str, Any]:
    city, country, prefix = chance.choice(_CITIES)
    return {
        "number": number,
        "account": f"{chance.getrandbits(64):016x}",
        "user": f"{chance.getrandbits(64):016x}",
        "phone": f"{prefix}{chance.randrange(10**5, 10**6)}",
        "city": city,
        "country": country,
        "newsletter": chance.random() < 0.6,
        "points": chance.randrange(0, 900),
        "tier": chance.randrange(len(_TIERS)),
    }


def _payload(chance: random.Random, person: dict[str, Any], kind: str) -> dict[str, Any]:
    match kind:
        case "account_transaction":
            return _transaction(chance, person)
        case "balance_changed":
            person["points"] = max(0, person["points"] + chance.randrange(-80, 120))
            return {
                "points": person["points"],
                "lockedPoints": 0,
                "statusPoints": str(person["points"]),
                "bookingId": f"B{chance.getrandbits(40):010x}",
                "bookingType": "TRANSACTION",
            }
        case "status_level_changed":
            before, person["tier"] = person["tier"], chance.randrange(len(_TIERS))
            return {"level": {"name": _TIERS[person["tier"]]}, "previousLevel": {"name": _TIERS[before]}}
        case "coupon_assigned" | "coupon_redeemed":
            return {
                "accountCouponId": f"{chance.getrandbits(64):016x}",
                "couponId": f"C{chance.randrange(12)}",
                "i18nFields": {"en": {"title": "Ten percent off"}, "de": {"title": "Zehn Prozent Rabatt"}},
                "validFrom": "2026-01-01T00:00:00Z",
                "redeemCount": int(kind == "coupon_redeemed"),
                "maxRedeemCount": 1,
            }
        case "membership_optins_changed":
            person["newsletter"] = not person["newsletter"]
            return _membership(person)
        case "push_token_created" | "push_token_deleted":
            return {"tokenType": "FCM", "platform": "ANDROID"}
        case "user_logged_in" | "user_logged_out":
            return {"channel": "APP"}
        case "user_created" | "user_changed":
            return _user(person)
        case "account_created":
            return {
                "accountId": person["account"],
                "status": "ACTIVE",
                "accountBalance": {"points": person["points"], "lockedPoints": 0},
                "level": {"name": _TIERS[person["tier"]], "currentStatePoints": person["points"]},
                "memberships": [_membership(person)],
            }
    return _membership(person)


def _transaction(chance: random.Random, person: dict[str, Any]) -> dict[str, Any]:
    """Make one that spends points (one in eight), takes an earlier one back (one in twenty), or earns."""
    made: dict[str, Any] = {"transactionId": f"T{chance.getrandbits(40):010x}"}
    draw = chance.random()
    if draw < 0.125:
        return made | {"transactionType": "PAYWITHPOINTSTRANSACTION", "points": -chance.randrange(10, 200), "amount": 0}
    made |= {
        "transactionType": "EARNTRANSACTION",
        "amount": f"{chance.uniform(2, 180):.2f}" if draw < 0.5 else round(chance.uniform(2, 180), 2),
        "currencyCode": "CHF" if person["country"] == "CH" else "EUR",
        "store": {"storeId": f"S{chance.randrange(9)}", "name": "Filiale"},
    }
    if draw < 0.175:
        made |= {"reversal": True, "linkedTransaction": f"T{chance.getrandbits(40):010x}"}
    return made


def _membership(person: dict[str, Any]) -> dict[str, Any]:
    return _user(person) | {
        "membershipId": f"M{person['number']}",
        "memberRole": "OWNER",
        "partnerId": "P1",
        "optins": [{"type": "Newsletter", "flag": person["newsletter"]}, {"type": "Post", "flag": True}],
    }


def _user(person: dict[str, Any]) -> dict[str, Any]:
    return {
        "userId": person["user"],
        "givenName": "Clara",
        "familyName": f"Albrecht-{person['number']}",
        "emailAddress": f"clara.{person['number']}@example.com",
        "phone": person["phone"],
        "birthDate": f"{1950 + person['number'] % 56}-03-{1 + person['number'] % 28:02d}",
        "genderCode": "FEMALE",
        "city": person["city"],
        "countryCode": person["country"],
        "customProperties": [{"name": "favourite_store", "value": f"Store {len(person['city'])}"}],
    }
