"""Convercus' REST API: logging in, and the calls that actions and look-ups need.

What is public is at https://doc.convercus.io. The calls that assign a coupon, book points and set opt-ins are public by
name only, so their paths and the names of their fields are settings; so is everything else that one program may have
otherwise than another.

Convercus repeats what is sent twice. So a read is repeated while there is time, and a write only when Convercus has
certainly not begun with it: there was no connection, or it was turned away with 429, with 503 and a time to come
back, or with 401 for its token. A bare 503 may come from a proxy that lost the connection half way: its outcome is
unknown, like that of every other 5xx.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from loyalty_bridge import USER_AGENT
from loyalty_bridge.errors import (
    ConnectionBroken,
    Invalid,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.infra.http_client import Request
from loyalty_bridge.infra.retry import backoff, wait
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.convercus.settings import ConvercusApi, WriteField

if TYPE_CHECKING:
    from loyalty_bridge.infra.http_client import Reply, Send
    from loyalty_bridge.model import Json

LEGACY_LIFE_SECONDS = 86400.0
"""For how long the token of the older login is good (https://convercus.com/coupon-api-documentation)."""
_UNTOLD_LIFE_SECONDS = 60.0
CODE_SECONDS = 3.0
"""For how long an assigned coupon is asked for its code: a repeat may ask again."""
LEAST_WAIT_SECONDS = 0.1
"""Between two attempts, also where Convercus names a shorter time."""
ACCOUNT_COUPON_ID = "account_coupon_id"
MAX_ID = 200

_PLACE = re.compile(r"\{([a-z_]+)\}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ERROR_CODE = re.compile(rf"(?![A-Z][a-z]+$){_WORD.pattern}")  # a capitalised word alone may be a name
_TOKEN = re.compile(r"[!-~]{1,65536}")
_CODE = re.compile(r"[!-;=-~]{1,200}")  # not <: that is a page


@dataclass(frozen=True, slots=True)
class Membership:
    """A person on an account. `optins`: channel → whether it is allowed."""

    user_id: str
    role: str
    optins: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Client:
    """The calls of one program. Every call ends before its deadline (of `time.monotonic`).

    ``token(deadline, refused)`` gives a token other than the one that was refused, or raises `NotSent`.

    Each raises `NotSent` when it was certainly not carried out (`ConnectionBroken` when Convercus rejects the program's
    credentials), `OutcomeUnknown` when it may have been, `UpstreamRejected` when Convercus rejected it, and `Invalid`
    for an id that no path can hold (nothing was sent then).
    A refusal keeps Convercus' code, never its words: they may repeat what was sent.
    """

    api: ConvercusApi
    send: Send
    token: Callable[[float, str], str]
    sleep: Callable[[float], None] = time.sleep

    def assign_coupon(
        self, account_id: str, coupon_id: str, *, deadline: float, valid_from: str = "", valid_to: str = ""
    ) -> str:
        """Assign a coupon and give its code. Each call assigns another one.

        When it is assigned and only its code cannot be read, `OutcomeUnknown` is about its ``account_coupon_id``.
        """
        wanted: dict[WriteField, str] = {"couponId": coupon_id, "validFrom": valid_from, "validTo": valid_to}
        body = self._named({name: value for name, value in wanted.items() if value})
        reply = self._call("assign_coupon", deadline, body, account_id=account_id)
        assigned = _created_object(reply)
        if code := _code(self._field(assigned, "code")):
            return code
        id_ = _text(self._field(assigned, "accountCouponId")) or _located(reply)
        try:
            code = self.coupon_code(id_, deadline=deadline)
        except Invalid:
            id_ = code = ""
        except (UpstreamRejected, Unavailable):
            code = ""
        # The only public client shows the external reference as the code:
        # https://github.com/shopgate-professional-services/ext-loyalty-convercus
        code = code or _code(assigned.get("externalReference"))
        if not code:
            raise OutcomeUnknown(
                "the coupon is assigned, but its code could not be read", {ACCOUNT_COUPON_ID: id_} if id_ else None
            )
        return code

    def coupon_code(self, account_coupon_id: str, *, deadline: float) -> str:
        """Read the code of an assigned coupon, within `CODE_SECONDS`; empty when it has none that can be one."""
        until = min(deadline, time.monotonic() + CODE_SECONDS)
        reply = self._call("coupon_code", until, account_coupon_id=account_coupon_id)
        try:
            value = parsing.parse_json(reply.body)
        except Invalid:
            return _code(reply.body.decode(errors="replace").strip())
        return _code(self._field(value, "code") if isinstance(value, Mapping) else value)

    def create_booking(
        self,
        account_id: str,
        *,
        booking_type: Literal["EARNBOOKING", "BURNBOOKING"],
        booking_type_code: str,
        points: float,
        reason: str,
        reference: str,
        deadline: float,
    ) -> str:
        """Book points and give the booking's id. Each call books again, whatever its reference.

        Parameters
        ----------
        points
            How many are earned or burnt, above 0.
        reference
            Kept with the booking, so that `find_booking` finds it.
        """
        sign = -1 if (booking_type, self.api.burn_points) == ("BURNBOOKING", "negative") else 1
        body: dict[WriteField, Any] = {
            "bookingType": booking_type,
            "bookingTypeCode": booking_type_code,
            "points": sign * points,
            "reason": reason,
            "referenceId": reference,
        }
        reply = self._call("create_booking", deadline, self._named(body), account_id=account_id)
        id_ = _text(self._field(_created_object(reply), "bookingId")) or _located(reply)
        if not id_:
            raise OutcomeUnknown("Convercus' answer to a booking names none")
        return id_

    def find_booking(self, account_id: str, reference: str, *, deadline: float) -> str | None:
        """Find a booking's id by its reference; None proves nothing: Convercus may book it yet."""
        rows = _rows(_parsed(self._call("bookings", deadline, account_id=account_id)))
        found = (row for row in rows if self._field(row, "referenceId") == reference)
        return next((id_ for row in found if (id_ := _text(self._field(row, "bookingId")))), None)

    def memberships(self, account_id: str, *, deadline: float) -> list[Membership]:
        """List who is on an account, with their opt-ins."""
        rows = _rows(_parsed(self._call("memberships", deadline, account_id=account_id)))
        if not all(_text(row.get("userId")) for row in rows):
            raise OutcomeUnknown("Convercus' answer holds a membership without its user")
        return [Membership(_text(row["userId"]), _text(row.get("memberRole")), self._optins(row)) for row in rows]

    def set_optins(self, account_id: str, user_id: str, optins: Mapping[str, bool], *, deadline: float) -> None:
        """Set opt-ins of one membership, by channel; the others stay."""
        body = [self._named({"type": channel, "flag": flag}) for channel, flag in optins.items()]
        self._call("set_optins", deadline, body, account_id=account_id, user_id=user_id)

    def account_details(self, account_id: str, *, deadline: float) -> Mapping[str, Json]:
        """Read an account with its balance, level and memberships."""
        return _object(_parsed(self._call("account_details", deadline, account_id=account_id)))

    def account_coupons(self, account_id: str, *, deadline: float) -> list[Mapping[str, Json]]:
        """List the coupons of an account, whatever their state."""
        return _rows(_parsed(self._call("account_coupons", deadline, account_id=account_id)))

    def _call(self, call: str, deadline: float, body: Any = None, **ids: str) -> Reply:
        """Make a call; with 401 once more under another token."""
        method, _, path = str(getattr(self.api.calls, call)).partition(" ")
        url = self.api.base_url + _filled(path, ids)
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if self.api.interaction_id:
            headers["interaction-id"] = self.api.interaction_id
        if "account_id" in ids:
            headers["id-type"] = self.api.id_type
        data = b"" if body is None else json.dumps(body).encode()
        if data:
            headers["Content-Type"] = "application/json"
        scheme = "Bearer " if self.api.auth == "oauth" else ""
        refused = ""
        for _ in range(2):
            given = self.token(deadline, refused)
            request = Request(method, url, headers | {"Authorization": scheme + given}, data)
            reply = _answered(
                partial(self.send, request),
                deadline,
                sleep=self.sleep,
                is_read=method == "GET",
                turned_away=self.api.turned_away,
            )
            if reply.status != 401:
                return reply
            refused = given
        raise ConnectionBroken("Convercus refuses a token that it has just given")

    def _named(self, body: Mapping[WriteField, Any]) -> dict[str, Any]:
        return {self.api.fields.get(name, name): value for name, value in body.items()}

    def _field(self, row: Mapping[str, Json], name: WriteField) -> Json:
        return row.get(self.api.fields.get(name, name))

    def _optins(self, membership: Mapping[str, Json]) -> dict[str, bool]:
        """Read opt-ins from either of the two forms that Convercus uses."""
        declined = _texts(membership.get("declinedOptIns", membership.get("declinedOptins")))
        allowed = _texts(membership.get("allowedOptins", membership.get("allowedOptIns")))
        found = dict.fromkeys(declined, False) | dict.fromkeys(allowed, True)
        listed = membership.get("optins")
        for optin in listed if isinstance(listed, Sequence) else ():
            if isinstance(optin, Mapping) and (channel := _text(self._field(optin, "type"))):
                found[channel] = self._field(optin, "flag") is True
        return found


def login(
    api: ConvercusApi, secret: str, send: Send, deadline: float, sleep: Callable[[float], None] = time.sleep
) -> tuple[str, float]:
    """Get a token, and for how many seconds it is good (https://doc.convercus.io/docs/api-authentication).

    Raises
    ------
    ConnectionBroken
        Convercus refuses the credentials.
    NotSent
        It gave no token for another reason.
    """
    if api.auth == "oauth":
        form = {"grant_type": "client_credentials", "client_id": api.client_id, "client_secret": secret}
        body = urlencode(form | {"scope": api.scope}).encode()
        call, base, kind = api.calls.oauth, api.auth_url, "application/x-www-form-urlencoded"
        ids = {"realm": api.realm}
    else:
        body = json.dumps({"org": api.org, "userName": api.user_name, "password": secret}).encode()
        call, base, kind, ids = api.calls.login, api.base_url, "application/json", {}
    method, _, path = call.partition(" ")
    headers = {"Content-Type": kind, "Accept": "*/*", "User-Agent": USER_AGENT}
    request = Request(method, base + _filled(path, ids), headers, body)
    try:
        reply = _answered(partial(send, request), deadline, sleep=sleep, is_read=True, turned_away=api.turned_away)
    except OutcomeUnknown as error:
        raise NotSent(f"logging in to Convercus: {error}") from None
    except UpstreamRejected as refusal:
        raise ConnectionBroken(f"Convercus refuses the program's credentials ({refusal})") from None
    if reply.status == 401:
        raise ConnectionBroken("Convercus refuses the program's credentials")
    found, life = _granted(reply) if api.auth == "oauth" else (_plain(reply), LEGACY_LIFE_SECONDS)
    if not _TOKEN.fullmatch(found):
        raise NotSent("Convercus' answer to a login holds no token")
    return found, life


def _granted(reply: Reply) -> tuple[str, float]:
    """Read https://www.rfc-editor.org/rfc/rfc6749#section-5.1."""
    try:
        grant = parsing.parse_json(reply.body)
        if not isinstance(grant, Mapping):
            return "", 0
        life = grant.get("expires_in")
        return _text(grant.get("access_token")), parsing.parse_number(
            life, "expires_in"
        ) if life else _UNTOLD_LIFE_SECONDS
    except Invalid:
        return "", 0


def _plain(reply: Reply) -> str:
    return reply.body.decode("ascii", errors="replace").strip().strip('"')


def _answered(
    send: Callable[[float], Reply],
    deadline: float,
    *,
    sleep: Callable[[float], None],
    is_read: bool,
    turned_away: Sequence[int],
) -> Reply:
    """Send until there is an answer with 2xx or 401, or a reason not to repeat."""
    for attempt in itertools.count():
        try:
            return _judged(send(deadline), turned_away)
        except Unavailable as failure:
            if isinstance(failure, OutcomeUnknown) and not is_read:
                raise
            pause = backoff(attempt) if failure.retry_after is None else max(failure.retry_after, LEAST_WAIT_SECONDS)
            if not wait(pause, deadline, sleep=sleep):
                raise
    raise AssertionError  # for the type checker: the loop has no end


def _judged(reply: Reply, turned_away: Sequence[int]) -> Reply:
    status = reply.status
    if 200 <= status < 300 or status == 401:
        return reply
    # https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4
    if status == 429 or status in turned_away or (status == 503 and reply.headers.get("retry-after", "").strip()):
        raise NotSent(f"Convercus turns requests away (HTTP {status})", retry_after=reply.retry_after())
    if 400 <= status < 500 and status != 408:
        raise _refusal(reply)
    raise OutcomeUnknown(f"Convercus failed (HTTP {status})")


def _refusal(reply: Reply) -> UpstreamRejected:
    """Read an error (``{code?, message, error[]?}``). Only words that are codes are kept."""
    try:
        error = parsing.parse_json(reply.body)
    except Invalid:
        error = None
    codes: list[str] = []
    if isinstance(error, Mapping):
        details = error.get("error")
        listed = details if isinstance(details, Sequence) and not isinstance(details, str) else ()
        for one in (error, *(detail for detail in listed[:5] if isinstance(detail, Mapping))):
            code = one.get("code")
            if isinstance(code, str) and _ERROR_CODE.fullmatch(code) and code not in codes:
                codes.append(code)
    reason = {404: "Convercus does not know it", 409: "it contradicts what Convercus knows"}.get(
        reply.status, f"Convercus refuses it (HTTP {reply.status})"
    )
    return UpstreamRejected(reply.status, codes[0] if codes else "", ": ".join([reason, *codes[1:]]))


def _filled(path: str, ids: Mapping[str, str]) -> str:
    """Fill ids into a path. Dots cannot be escaped in one: ``..`` would lead elsewhere."""
    for name, value in ids.items():
        if not value.strip() or value.strip(".") == "" or len(value) > MAX_ID or not value.isprintable():
            raise Invalid(name, "is not an id")
    return _PLACE.sub(lambda place: quote(ids[place[1]], safe=""), path)


def _parsed(reply: Reply) -> Json:
    try:
        return parsing.parse_json(reply.body, any_text=True)
    except Invalid as refusal:
        raise OutcomeUnknown(f"Convercus' answer cannot be read: {refusal.reason}") from None


def _created_object(reply: Reply) -> Mapping[str, Json]:
    """Read the description of a created object; the body may be empty when a header has its address."""
    return _object(_parsed(reply)) if reply.body.strip() else {}


def _located(reply: Reply) -> str:
    """Take the id of something that was made out of where it is."""
    return reply.headers.get("location", "").rstrip("/").rpartition("/")[2]


def _object(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise OutcomeUnknown("Convercus' answer is not an object")
    return value


def _rows(value: Json) -> list[Mapping[str, Json]]:
    """Take the rows out of a list, or out of an object that holds one list (a page) beside empty ones."""
    if isinstance(value, Mapping):
        lists = [it for it in value.values() if isinstance(it, Sequence) and not isinstance(it, str)]
        full = [it for it in lists if it] or lists[:1]
        value = full[0] if len(full) == 1 else None
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise OutcomeUnknown("Convercus' answer holds no list")
    return [row for row in value if isinstance(row, Mapping)]


def _text(value: Json) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _texts(value: Json) -> list[str]:
    return (
        [_text(it) for it in value if _text(it)] if isinstance(value, Sequence) and not isinstance(value, str) else []
    )


def _code(value: Json) -> str:
    found = _text(value)
    return found if _CODE.fullmatch(found) else ""
