"""One Convercus program: its accounts, coupons, bookings and tokens, and what was done to them.

Shapes are those of the samples in https://doc.convercus.io and
https://github.com/shopgate-professional-services/ext-loyalty-convercus. As far as is known nothing is idempotent:
what is sent twice is done twice, whatever its reference.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from simulators.server import Faults

CALLS = (
    *("assign_coupon", "coupon_code", "create_booking", "bookings", "memberships", "set_optins", "account_details"),
    *("account_coupons", "account", "balance"),
)
"""What a fault may be about, beside ``api`` (any of these) and ``token`` (both logins)."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a program is set up.

    Attributes
    ----------
    client_id, client_secret
        What the realm of the program gives tokens for.
    user_name, password
        The same for the older login, whose ``org`` is the program.
    expires_in
        Seconds for which a token of the realm is good; one of the older login is good for a day.
    token_length
        Characters of a token.
    interaction_ids
        The registered points of interaction; empty: any, but there must be one.
    optins
        The channels of the program.
    latency
        Seconds that each answer takes.
    """

    client_id: str = "machine-2-machine"
    client_secret: str = "simulated-secret"
    user_name: str = "bridge"
    password: str = "simulated-password"
    expires_in: float = 300
    token_length: int = 1200
    interaction_ids: tuple[str, ...] = ()
    optins: tuple[str, ...] = ("Newsletter", "Email", "SMS", "Post")
    latency: float = 0.0


class Refusal(Exception):
    """What Convercus answers with when it does not do something."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message} | details


class Effect(NamedTuple):
    """Something that was done to an account; `reference` is the booking's, `of` the coupon, type or user."""

    at: float
    call: str
    account: str
    id: str
    of: str
    reference: str


class Logged(NamedTuple):
    """A request and the status that was meant for it, whatever its fault made of it. Never a token or a body."""

    at: float
    call: str
    method: str
    path: str
    headers: Mapping[str, str]
    status: int
    connection: int
    fault: str | None


class Program:
    """What belongs to one program (realm, org).

    Parameters
    ----------
    on_event
        Receives each event of a change of an account.
    """

    def __init__(
        self, id_: str, settings: Settings, clock: Callable[[], float], on_event: Callable[[Event], None] | None = None
    ) -> None:
        self.id = id_
        self.settings = settings
        self.on_event = on_event
        self._clock = clock
        self.lock = threading.RLock()
        self.reset()

    def configure(self, **settings: Any) -> None:
        """Change some of the `Settings`; raise TypeError when there are no such."""
        self.settings = replace(self.settings, **settings)

    def reset(self) -> None:
        """Forget everything but the settings."""
        with self.lock:
            self.accounts: dict[str, dict[str, Any]] = {}
            self.coupons: dict[str, dict[str, Any]] = {}
            self.account_coupons: dict[str, dict[str, Any]] = {}
            self.codes: dict[str, str] = {}
            self.bookings: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
            self.effects: list[Effect] = []
            self.events: list[Event] = []
            self.requests: list[Logged] = []
            self.late: list[Callable[[], object]] = []
            self.logins = 0
            self.tokens: dict[str, float] = {}
            self.faults: defaultdict[str, Faults] = defaultdict(Faults)
            self.late_faults: defaultdict[str, Faults] = defaultdict(Faults)
            self._numbers = itertools.count(1)

    def misbehave(self, *, kind: str, on: str = "api", **fault: Any) -> None:
        """Queue a `Fault` for a call, or two more kinds.

        ``late`` postpones the request until `release` and answers with `status` (500) or, after `seconds`, closes the
        connection without an answer; ``expired_token`` ends every token at once.
        """
        if on not in {*CALLS, "api", "token"}:
            raise ValueError(f"no such call: {on}")
        if kind == "expired_token":
            self.tokens.clear()
        elif kind == "late":
            silent = "seconds" in fault
            self.late_faults[on].add(**{"kind": "timeout_after_acting" if silent else "status", "status": 500} | fault)
        else:
            self.faults[on].add(kind=kind, **fault)

    def forget_faults(self) -> None:
        """Forget the faults; what was put aside stays."""
        for faults in (*self.faults.values(), *self.late_faults.values()):
            faults.clear()

    def release(self) -> int:
        """Carry out what was put aside; return how many calls."""
        with self.lock:
            late, self.late = self.late, []
            for act in late:
                act()
        return len(late)

    # What a test or a demo puts in.

    def account(self, id_: str, **fields: Any) -> dict[str, Any]:
        """Create an account with one OWNER, or change some of its fields; ``points`` is its balance."""
        with self.lock:
            points = fields.pop("points", None)
            account = self.accounts.setdefault(id_, self._new_account(id_))
            account.update(fields)
            if points is not None:
                account["accountBalance"]["points"] = points
            return account

    def coupon(self, id_: str, **fields: Any) -> dict[str, Any]:
        """Create the definition of a coupon, or change some of its fields."""
        with self.lock:
            titles = {"en": {"title": f"Coupon {id_}", "description": "Once per member"}}
            coupon = self.coupons.setdefault(
                id_,
                {
                    "couponId": id_,
                    "status": "ACTIVE",
                    "i18nFields": titles | {"de": {"title": f"Gutschein {id_}", "description": "Einmal pro Mitglied"}},
                    "images": [],
                    "maxRedeemCount": 1,
                    "usageType": "INCENTIVE",
                    "points": 0,
                    "customProperties": [],
                    "validFrom": "2020-01-01T00:00:00Z",
                    "validTo": "2099-12-31T23:59:59Z",
                },
            )
            coupon.update(fields)
            return coupon

    # Tokens.

    def grant(self, seconds: float, scheme: str) -> str:
        """Return a token that is good for so many seconds, in a header that begins with `scheme`."""
        with self.lock:
            self.logins += 1
            token = ("ey" + secrets.token_urlsafe(self.settings.token_length))[: self.settings.token_length]
            self.tokens[scheme + token] = self._clock() + seconds
            return token

    def accepts(self, authorization: str) -> bool:
        """Return whether the content of the header is good."""
        return self.tokens.get(authorization, 0) > self._clock()

    # The calls; `account` is the id of one that exists.

    def find(self, id_: str, id_type: str) -> str:
        """Return the account that an id means, by the ``id-type`` header."""
        with self.lock:
            if id_type == "ID" and id_ in self.accounts:
                return id_
            for account in self.accounts.values():
                if any((it["type"], it["code"]) == (id_type, id_) for it in account["identifiers"]):
                    return str(account["accountId"])
        # Convercus repeats what it was asked for; passing this on would pass on an id.
        raise Refusal(404, "ACCOUNT_NOT_FOUND", f"Account {id_} does not exist")

    def account_details(self, account: str) -> tuple[int, Any]:
        return 200, {**self.accounts[account], "accountCoupons": self._coupons_of(account)}

    def account_head(self, account: str) -> tuple[int, Any]:
        return 200, {"id": account, "program": self.id, "status": self.accounts[account]["status"]}

    def balance(self, account: str) -> tuple[int, Any]:
        return 200, self.accounts[account]["accountBalance"]

    def list_account_coupons(self, account: str) -> tuple[int, Any]:
        return 200, self._coupons_of(account)

    def list_bookings(self, account: str) -> tuple[int, Any]:
        return 200, self.bookings[account]

    def list_memberships(self, account: str) -> tuple[int, Any]:
        return 200, self.accounts[account]["memberships"]

    def coupon_code(self, account_coupon: str) -> tuple[int, Any]:
        if account_coupon not in self.codes:
            raise Refusal(404, "COUPON_NOT_FOUND", f"Account coupon {account_coupon} does not exist")
        return 200, {"code": self.codes[account_coupon]}

    def assign_coupon(self, account: str, body: Any) -> tuple[int, Any]:
        """Return the account one more account coupon."""
        wanted = _object(body, {"couponId"}, {"validFrom", "validTo"})
        self._check_active(account)
        coupon = self.coupons.get(wanted["couponId"])
        if coupon is None:
            raise Refusal(404, "COUPON_NOT_FOUND", f"Coupon {wanted['couponId']} does not exist")
        if coupon["status"] != "ACTIVE":
            details = [{"code": "NOT_YET_REDEEMABLE", "message": "not yet"}]
            raise Refusal(409, "COUPON_NOT_ACTIVATED", "The coupon is not active", error=details)
        id_ = str(uuid.uuid4())
        assigned = coupon | wanted | {"accountCouponId": id_, "accountId": account, "redeemCount": 0}
        assigned["stateLevel"] = assigned.pop("status")
        self.account_coupons[id_] = assigned
        self.codes[id_] = f"{wanted['couponId']}-{secrets.token_hex(4).upper()}"
        self._note("assign_coupon", account, id_, wanted["couponId"])
        self._emit("coupon_assigned", account, assigned | {"code": self.codes[id_]})
        return 201, assigned

    def create_booking(self, account: str, body: Any) -> tuple[int, Any]:
        """Book, once more, whether or not there is a booking with that reference."""
        wanted = _object(body, {"bookingType", "bookingTypeCode", "points"}, {"reason", "referenceId"})
        if wanted["bookingType"] not in {"EARNBOOKING", "BURNBOOKING"}:
            raise Refusal(400, "INVALID_BOOKING_TYPE", f"{wanted['bookingType']} is no booking type")
        points = wanted["points"]
        if isinstance(points, bool) or not isinstance(points, int | float) or not points:
            raise Refusal(400, "INVALID_POINTS", f"{points} are no points")
        self._check_active(account)
        balance = self.accounts[account]["accountBalance"]
        change = -abs(points) if wanted["bookingType"] == "BURNBOOKING" else points
        if change < 0 and balance["points"] + change < 0:
            raise Refusal(409, "NOT_ENOUGH_POINTS", f"The balance is {balance['points']}")
        now = self._now()
        booking = wanted | {
            "bookingId": str(uuid.uuid4()),
            "bookingTime": now,
            "valueTime": now,
            "locked": False,
            "partner": {"partnerId": "P1", "name": "Partner 1"},
            "store": {"storeId": "S1", "name": "Store 1"},
        }
        balance["points"] += change
        self.bookings[account].append(booking)
        self._note("create_booking", account, booking["bookingId"], wanted["bookingType"], wanted.get("referenceId"))
        shown = ("bookingId", "bookingType", "bookingTypeCode", "reason", "referenceId")
        self._emit("balance_changed", account, balance | {name: booking[name] for name in shown if name in booking})
        return 201, booking

    def set_optins(self, account: str, user: str, body: Any) -> tuple[int, Any]:
        """Set what is named, leave the rest."""
        membership = next((it for it in self.accounts[account]["memberships"] if it["userId"] == user), None)
        if membership is None:
            raise Refusal(404, "MEMBERSHIP_NOT_FOUND", f"User {user} is no member of {account}")
        if not isinstance(body, list) or not body:
            raise Refusal(400, "INVALID_BODY", "not a list of opt-ins")
        wanted = [_object(optin, {"type", "flag"}, set()) for optin in body]
        for optin in wanted:
            if optin["type"] not in self.settings.optins or not isinstance(optin["flag"], bool):
                raise Refusal(400, "UNKNOWN_OPTIN", f"{optin['type']} is no opt-in")
        flags = {it["type"]: it["flag"] for it in (*membership["optins"], *wanted)}
        membership["optins"] = [{"type": channel, "flag": flag} for channel, flag in flags.items()]
        self._note("set_optins", account, user, ",".join(it["type"] for it in wanted))
        self._emit("membership_optins_changed", account, membership, user)
        return 200, membership

    def summary(self) -> dict[str, Any]:
        """Count what there is."""
        with self.lock:
            effects: defaultdict[str, int] = defaultdict(int)
            for effect in self.effects:
                effects[effect.call] += 1
            return {
                "accounts": len(self.accounts),
                "coupons": len(self.coupons),
                "effects": dict(effects),
                "late": len(self.late),
                "logins": self.logins,
                "requests": len(self.requests),
            }

    def _new_account(self, id_: str) -> dict[str, Any]:
        number = next(self._numbers)
        owner = {
            "userId": f"U-{id_}",
            "memberRole": "OWNER",
            "givenName": "Max",
            "familyName": "Mustermann",
            "emailAddress": f"member{number}@example.com",
            "birthDate": "1980-02-29",
            "genderCode": "MALE",
            "city": "München",
            "countryCode": "DE",
            "partnerId": "P1",
            "optins": [],
            "customProperties": [],
            "createdAt": "2021-03-04T05:06:07Z",
        }
        return {
            "accountId": id_,
            "status": "ACTIVE",
            "accountBalance": {"points": 100, "lockedPoints": 0},
            "level": {"levelId": "L2", "name": "Gold", "currentStatePoints": 3250, "neededStatePointsNextLevel": 5000},
            "identifiers": [
                {"identifierId": f"I-{id_}", "code": f"CARD-{id_}", "type": "CARDCODE", "status": "ACTIVE"}
            ],
            "memberships": [owner],
        }

    def _coupons_of(self, account: str) -> list[dict[str, Any]]:
        return [
            {**coupon, "externalReference": self.codes[id_]}
            for id_, coupon in self.account_coupons.items()
            if coupon["accountId"] == account
        ]

    def _check_active(self, account: str) -> None:
        if self.accounts[account]["status"] != "ACTIVE":
            raise Refusal(409, "ACCOUNT_LOCKED", f"Account {account} is not active")

    def _note(self, call: str, account: str, id_: str, of: str, reference: str | None = None) -> None:
        self.effects.append(Effect(self._clock(), call, account, id_, of, reference or ""))

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _emit(self, kind: str, account: str, payload: Mapping[str, Any], user: str | None = None) -> None:
        owner = next((it["userId"] for it in self.accounts[account]["memberships"]), None)
        event = {
            "eventId": str(uuid.uuid4()),
            "eventType": kind,
            "programId": self.id,
            "occurredAt": self._now(),
            "accountId": account,
            "userId": user or owner,
            "payload": dict(payload),
        }
        self.events.append(event)
        if self.on_event:
            self.on_event(event)


def _object(body: Any, needed: set[str], optional: set[str]) -> dict[str, Any]:
    """Refuse a body with other fields than these; all but points and flags are texts."""
    if not isinstance(body, dict):
        raise Refusal(400, "INVALID_BODY", "not an object")
    for name in needed - body.keys():
        raise Refusal(400, "MISSING_FIELD", f"{name} is missing")
    for name in body.keys() - needed - optional:
        raise Refusal(400, "UNKNOWN_FIELD", f"{name} is unknown")
    for name, value in body.items():
        if name not in {"points", "flag"} and not (isinstance(value, str) and value.strip()):
            raise Refusal(400, "INVALID_FIELD", f"{name} is not a text")
    return dict(body)
