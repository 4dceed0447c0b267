"""A made-up day of a loyalty program: some hundred members, some thousand events of all types, and a few bad ones."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_FIRST = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hannes", "Ida", "Jonas", "Klara", "Leon")
_LAST = ("Albrecht", "Brandt", "Conrad", "Dietrich", "Engel", "Fischer", "Graf", "Huber", "Jung", "Keller")
_CITIES = (("Berlin", "DE", "+49301"), ("Wien", "AT", "+4315"), ("Zürich", "CH", "+41442"), ("Lyon", "FR", "+33478"))
_TIERS = ("Basic", "Silver", "Gold", "Platinum")

# How often a type happens on a day, beside the once-in-a-lifetime ones of new members.
_MIX = {
    "account_transaction": 34,
    "balance_changed": 24,
    "coupon_assigned": 9,
    "coupon_redeemed": 5,
    "user_logged_in": 8,
    "user_logged_out": 5,
    "status_level_changed": 4,
    "membership_changed": 3,
    "membership_optins_changed": 3,
    "user_changed": 2,
    "push_token_created": 2,
    "push_token_deleted": 1,
    "membership_added": 1,
    "membership_terminated": 1,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """An event of the day: the record, its member's key for the transport, and what is to become of it."""

    record: str | dict[str, Any]
    member: str
    type: str
    accepted: bool
    purchase: bool = False


def day(program: str, *, members: int, events: int) -> Iterator[Planned]:
    """Make a day's events in the order in which they happen."""
    chance = random.Random(7)
    start = datetime.now(UTC) - timedelta(hours=12)
    people = [_person(chance, number) for number in range(members)]
    moment = _clock(chance, start, timedelta(hours=11, minutes=30) / max(events + 3 * members, 1))
    for person in people:
        yield _planned(program, person, "account_created", _account(person), next(moment))
        yield _planned(program, person, "membership_created", _membership(person), next(moment))
        yield _planned(program, person, "user_created", _user(person), next(moment))
    kinds, weights = list(_MIX), list(_MIX.values())
    bad = _bad(program, people[0])
    # Who leaves does nothing else: a record of the user alone that is on its way then means no account any more.
    leaving = [people.pop() for _ in range(len(people) // 10)]
    for number in range(events):
        if number % 200 == 199 and bad:
            yield bad.pop()
        kind = chance.choices(kinds, weights)[0]
        if kind == "membership_terminated" and not leaving:
            kind = "membership_changed"
        person = leaving.pop() if kind == "membership_terminated" else chance.choice(people)
        yield _planned(program, person, kind, _payload(chance, person, kind), next(moment))


def _clock(chance: random.Random, start: datetime, step: timedelta) -> Iterator[datetime]:
    while True:
        yield start
        start += step * chance.uniform(0.2, 1.8)


def _person(chance: random.Random, number: int) -> dict[str, Any]:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    city, country, prefix = chance.choice(_CITIES)
    return {
        "account": f"A{number:05d}",
        "user": f"U{number:05d}",
        "first": first,
        "last": last,
        "email": f"{first}.{last}.{number}@example.com".lower(),
        "phone": f"{prefix}{chance.randrange(10**5, 10**6)}",
        "birth": f"{chance.randrange(1950, 2006)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}",
        "gender": chance.choice(("FEMALE", "MALE", "DIVERSE")),
        "city": city,
        "country": country,
        "newsletter": chance.random() < 0.6,
        "points": chance.randrange(0, 900),
        "tier": 0,
        "transactions": [],
    }


def _planned(program: str, person: dict[str, Any], kind: str, payload: dict[str, Any], moment: datetime) -> Planned:
    event: dict[str, Any] = {
        "eventId": str(uuid.uuid4()),
        "eventType": kind,
        "programId": program,
        "occurredAt": moment.isoformat().replace("+00:00", "Z"),
        "userId": person["user"],
        "payload": payload,
    }
    alone = kind in {"user_changed", "user_logged_out"}  # Convercus names only the person, not the account
    if not alone:
        event["accountId"] = person["account"]
    purchase = kind == "account_transaction" and payload["transactionType"] == "EARNTRANSACTION"
    return Planned(event, person["user"] if alone else person["account"], kind, True, purchase)


def _account(person: dict[str, Any]) -> dict[str, Any]:
    return {
        "accountId": person["account"],
        "status": "ACTIVE",
        "accountBalance": {"points": person["points"], "lockedPoints": 0},
        "level": {"name": _TIERS[person["tier"]], "currentStatePoints": person["points"]},
        "memberships": [_membership(person)],
    }


def _membership(person: dict[str, Any]) -> dict[str, Any]:
    return _user(person) | {
        "memberRole": "OWNER",
        "partnerId": "P1",
        "optins": [{"type": "Newsletter", "flag": person["newsletter"]}, {"type": "Post", "flag": True}],
    }


def _user(person: dict[str, Any]) -> dict[str, Any]:
    return {
        "userId": person["user"],
        "givenName": person["first"],
        "familyName": person["last"],
        "emailAddress": person["email"],
        "phone": person["phone"],
        "birthDate": person["birth"],
        "genderCode": person["gender"],
        "city": person["city"],
        "countryCode": person["country"],
        "customProperties": [{"name": "favourite_store", "value": f"Store {len(person['city'])}"}],
    }


def _payload(chance: random.Random, person: dict[str, Any], kind: str) -> dict[str, Any]:
    makers: dict[str, Callable[[random.Random, dict[str, Any]], dict[str, Any]]] = {
        "account_transaction": _transaction,
        "balance_changed": _balance,
        "status_level_changed": _level,
        "coupon_assigned": lambda chance, _: _coupon(chance, 0),
        "coupon_redeemed": lambda chance, _: _coupon(chance, 1),
        "membership_optins_changed": _optins,
        "push_token_created": lambda _chance, _person: {"tokenType": "FCM", "platform": "ANDROID"},
        "push_token_deleted": lambda _chance, _person: {"tokenType": "FCM", "platform": "ANDROID"},
        "user_logged_in": lambda _chance, _person: {"channel": "APP"},
        "user_logged_out": lambda _chance, _person: {"channel": "APP"},
        "user_changed": lambda _, person: _user(person),
    }
    return makers[kind](chance, person) if kind in makers else _membership(person)


def _balance(chance: random.Random, person: dict[str, Any]) -> dict[str, Any]:
    person["points"] = max(0, person["points"] + chance.randrange(-80, 120))
    return {"points": person["points"], "lockedPoints": 0, "statusPoints": str(person["points"])}


def _level(chance: random.Random, person: dict[str, Any]) -> dict[str, Any]:
    before, person["tier"] = person["tier"], chance.randrange(len(_TIERS))
    return {"level": {"name": _TIERS[person["tier"]]}, "previousLevel": {"name": _TIERS[before]}}


def _coupon(chance: random.Random, redeemed: int) -> dict[str, Any]:
    return {
        "accountCouponId": str(uuid.UUID(int=chance.getrandbits(128))),
        "couponId": f"C{chance.randrange(12)}",
        "i18nFields": {"en": {"title": "Ten percent off"}, "de": {"title": "Zehn Prozent Rabatt"}},
        "validFrom": "2026-01-01T00:00:00Z",
        "redeemCount": redeemed,
        "maxRedeemCount": 1,
    }


def _optins(_: random.Random, person: dict[str, Any]) -> dict[str, Any]:
    person["newsletter"] = not person["newsletter"]
    return {
        "memberRole": "OWNER",
        "userId": person["user"],
        "allowedOptins": ["Newsletter"] if person["newsletter"] else [],
        "declinedOptIns": [] if person["newsletter"] else ["Newsletter"],
    }


def _transaction(chance: random.Random, person: dict[str, Any]) -> dict[str, Any]:
    draw = chance.random()
    if draw < 0.06 and person["transactions"]:
        original: dict[str, Any] = person["transactions"].pop()
        reversal = {
            "transactionId": f"T{chance.getrandbits(40):010x}",
            "reversal": True,
            "linkedTransaction": original["transactionId"],
        }
        return original | reversal
    if draw < 0.18:
        return {
            "transactionId": f"T{chance.getrandbits(40):010x}",
            "transactionType": "PAYWITHPOINTSTRANSACTION",
            "points": -chance.randrange(10, 200),
            "amount": 0,
        }
    transaction = {
        "transactionId": f"T{chance.getrandbits(40):010x}",
        "transactionType": "EARNTRANSACTION",
        "amount": f"{chance.uniform(2, 180):.2f}" if draw < 0.5 else round(chance.uniform(2, 180), 2),
        "currencyCode": "CHF" if person["country"] == "CH" else "EUR",
        "store": {"storeId": f"S{chance.randrange(9)}", "name": "Filiale"},
    }
    person["transactions"].append(transaction)
    return transaction


def _bad(program: str, person: dict[str, Any]) -> list[Planned]:
    base = {"programId": program, "accountId": person["account"], "payload": {}}
    records: list[str | dict[str, Any]] = [
        '{"eventType": "balance_changed", broken',
        {**base, "eventId": "bad-1", "eventType": "teleported"},
        {**base, "eventId": "bad-2", "eventType": "balance_changed", "occurredAt": "2026-13-45"},
        {**base, "eventId": "bad-3", "eventType": "balance_changed", "programId": "unknown"},
        {**base, "eventId": "bad-4", "eventType": "balance_changed", "accountId": None},
        {**base, "eventId": "bad-5", "eventType": "balance_changed", "payload": []},
    ]
    return [Planned(record, person["account"], "bad record", False) for record in records]
