"""A business on Punchh: who has signed up, what was given out, and which calls it refuses.

Sources, below https://developers.partech.com/docs/: ``dev-portal-mobile`` (sign up, additional-topics/signature-sha256
and user-agent), ``dev-portal-online-ordering`` (sign up, additional-topics/x-pch-digest-sha-1),
``dev-portal-platform-functions`` (users, additional-topics/dynamic-coupon-code-generation),
``dev-portal-developer-resources/punchh-api-security-guidelines`` (the block). Where Punchh documents a rule but not
the consequence of breaking it, the request is rejected, so that a test notices.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

from simulators.server import Answer, Request, json_answer

FAILURES, FAILURE_WINDOW, BLOCK_SECONDS = 10, 600.0, 3600.0


Repeat = Literal["same", "new", "never"]


class Refusal(Exception):
    """Punchh says no."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(status))
        self.answer = json_answer(status, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the business is set up.

    Attributes
    ----------
    secret
        The client's, for signatures.
    guests_per_device
        How many guests may share a device id.
    returns_external_ids
        Whether a user's information has the id in the other system; what is documented of it has not.
    latency
        Seconds that each answer takes.
    """

    client: str = "client"
    secret: str = "secret"
    admin_key: str = "admin-key"
    guests_per_device: int = 3
    external_sources: tuple[str, ...] = (
        *("salesforce", "customer_id", "mparticle", "azure"),
        *("aws_cognito", "auth0", "ext_idp"),
    )
    returns_external_ids: bool = False
    latency: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A coupon campaign with dynamic generation.

    Attributes
    ----------
    repeat
        What a guest gets who asks again: the same code, a new one, or ``usage_exceeded_by_guest``. Which of them is not
        documented.
    limit
        How many codes there are.
    """

    campaign_id: str
    repeat: Repeat = "same"
    limit: int | None = None
    is_expired: bool = False

    def __post_init__(self) -> None:
        """Refuse what is misspelt."""
        if self.repeat not in get_args(Repeat):
            raise ValueError(f"unknown repeat: {self.repeat}")


@dataclass(slots=True)
class User:
    """A guest; `fields` are what was sent beside the passwords."""

    user_id: int
    email: str
    token: str
    device_id: str
    created_at: float
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> tuple[Any, Any]:
        """Return the system that knows the user, and its id there."""
        return self.fields.get("external_source"), self.fields.get("external_source_id")


class Coupon(NamedTuple):
    """A code that was given out."""

    received_at: float
    campaign_id: str
    email: str
    code: str


class Business:
    """What belongs to one client key."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.campaigns: dict[str, Campaign] = {}
        self._lock = threading.Lock()
        self.reset()

    def configure(self, **settings: Any) -> None:
        """Change some of the `Settings`; raise TypeError when there are no such."""
        self.settings = replace(self.settings, **settings)

    def reset(self) -> None:
        """Forget everything that was received, and the block; keep settings and campaigns."""
        with self._lock:
            self.users: list[User] = []
            self.coupons: list[Coupon] = []
            self.blocked_until = 0.0
            self._failures: deque[float] = deque()

    def sign_up(self, **fields: Any) -> User:
        """Let a guest sign up in Punchh's own app."""
        with self._lock:
            return self._created(str(fields["email"]), "", 0.0, fields)

    def act(self, request: Request, now: float) -> Answer:
        """Answer a request; a blocked caller gets a page from what stands before Punchh."""
        with self._lock:
            if now < self.blocked_until:
                return _FORBIDDEN
            try:
                return self._route(request, now)
            except Refusal as refusal:
                if refusal.answer.status in {401, 412}:
                    self._count_failure(now)
                return refusal.answer

    def _count_failure(self, now: float) -> None:
        """Block the caller after too many failed authentications."""
        self._failures.append(now)
        while self._failures[0] <= now - FAILURE_WINDOW:
            self._failures.popleft()
        if len(self._failures) >= FAILURES:
            self.blocked_until = now + BLOCK_SECONDS
            self._failures.clear()

    def _route(self, request: Request, now: float) -> Answer:
        if coupon := re.fullmatch(r"/request_coupons/([^/]+)\.json", request.path):
            return self._coupon(coupon[1], request.query.get("sign", ""), now)
        if not request.headers.get("user-agent"):
            raise Refusal(400, {"errors": {"missing_required_param": ["User-Agent"]}})
        match (request.method, request.path):
            case ("POST", "/api2/mobile/users"):
                user = self._signed_up(request, now, "mobile")
                token = {"token": user.token, "seconds_to_expire": None, "revoked_at": None}
                return json_answer(200, {"access_token": token, "user": _shown(user)})
            case ("POST", "/api/auth/customers.json"):
                user = self._signed_up(request, now, "online_ordering")
                return json_answer(
                    201, {"id": user.user_id, **_shown(user), "authentication_token": user.token, "access_token": None}
                )
            case ("GET", "/api2/dashboard/users/info"):
                return self._information(self._as_admin(request))
            case ("PATCH", "/api2/dashboard/users"):
                return self._changed(self._as_admin(request))
        return _NOT_FOUND

    def _signed_up(self, request: Request, now: float, flavour: Literal["mobile", "online_ordering"]) -> User:
        is_mobile = flavour == "mobile"
        body = _json(request)
        self._check_caller(request, body, is_mobile=is_mobile)
        device = request.headers.get("punchh-app-device-id", "")
        if is_mobile and not device:
            raise Refusal(400, {"errors": {"missing_required_param": ["punchh-app-device-id"]}})
        fields = body.get("user")
        fields = dict(fields) if isinstance(fields, dict) else {}
        required = ("first_name", "last_name", "email", "password", "password_confirmation")
        if missing := [name for name in (required if is_mobile else ("email", "password")) if not fields.get(name)]:
            raise Refusal(400, {"errors": {"missing_required_param": missing}})
        password = fields.pop("password")
        if errors := self._wrong(fields, password, fields.pop("password_confirmation", password), device):
            raise Refusal(422, {"errors": errors})
        return self._created(fields["email"], device, now, fields)

    def _created(self, email: str, device: str, now: float, fields: dict[str, Any]) -> User:
        user_id = 5_000_000_001 + len(self.users)  # does not fit into 32 bits, as Punchh warns
        user = User(user_id, email, f"token-{uuid.uuid4()}", device, now, fields)
        self.users.append(user)
        return user

    def _check_caller(self, request: Request, body: Mapping[str, Any], *, is_mobile: bool) -> None:
        is_client = body.get("client") == self.settings.client
        if is_mobile and not is_client:
            raise Refusal(401, {"errors": {"unknown_client": ["Client ID is incorrect."]}})
        message = request.target.encode() + request.body
        digest = hmac.new(self.settings.secret.encode(), message, "sha256" if is_mobile else "sha1").hexdigest()
        shown = request.headers.get("x-pch-digest", "")
        if not is_client or not hmac.compare_digest(shown.encode(), digest.encode()):
            wrong = {"errors": {"invalid_signature": ["Signature doesn't match."]}}
            raise Refusal(412, wrong if is_mobile else ["Invalid Signature"])

    def _wrong(
        self, fields: Mapping[str, Any], password: Any, confirmation: Any, device: str
    ) -> Mapping[str, list[str]] | None:
        """Describe what is wrong with who wants to sign up."""
        email = fields["email"]
        checks = (
            ("email", isinstance(email, str) and re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email), "is invalid"),
            ("email", not self._found("email", email), "Email has already been taken"),
            ("password", isinstance(password, str) and len(password) >= 8, "is too short (minimum is 8 characters)"),
            ("password_confirmation", confirmation == password, "doesn't match Password"),
            *self._source_checks(fields, None),
            (
                "device_already_shared",
                not device or [user.device_id for user in self.users].count(device) < self.settings.guests_per_device,
                "Device already shared with maximum number of guests allowed.",
            ),
        )
        return next(({name: [text]} for name, is_right, text in checks if not is_right), None)

    def _source_checks(self, fields: Mapping[str, Any], own: User | None) -> tuple[tuple[str, bool, str], ...]:
        source = fields.get("external_source"), fields.get("external_source_id")
        if source == (None, None):
            return ()
        is_free = all(user.source != source for user in self.users if user is not own)
        return (
            ("external_source", source[0] in self.settings.external_sources, "is not included in the list"),
            ("external_source_id", isinstance(source[1], str) and source[1] != "", "can't be blank"),
            ("external_source_id", is_free, "has already been taken"),
        )

    def _found(self, name: str, value: Any) -> User | None:
        def is_meant(user: User) -> bool:
            if name == "email":
                return user.email.lower() == str(value).lower()
            return str(user.user_id if name == "user_id" else user.fields.get(name)) == str(value)

        return next(filter(is_meant, self.users), None)

    def _as_admin(self, request: Request) -> dict[str, Any]:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode(), self.settings.admin_key.encode()):
            raise Refusal(401, {"error": "You need to sign in or sign up before continuing."})
        return _json(request)

    def _information(self, body: Mapping[str, Any]) -> Answer:
        name = next((name for name in ("user_id", "email", "phone") if body.get(name)), None)
        user = self._found(name, body[name]) if name else None
        if user is None:
            raise Refusal(404, {"errors": {"user_not_found": "User Not Found"}})
        balance = {"points_balance": 0, "net_balance": 2, "banked_rewards": "2.00", "membership_level": "Bronze"}
        joined = datetime.fromtimestamp(user.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {"id": user.user_id, **_shown(user), "user_joined_at": joined, "balance": balance, "rewards": []}
        if self.settings.returns_external_ids:
            answer |= {"external_source": user.source[0], "external_source_id": user.source[1]}
        return json_answer(200, answer | {"authentication_token": user.token})

    def _changed(self, body: Mapping[str, Any]) -> Answer:
        user = self._found("user_id", body.get("id"))
        if user is None:
            raise Refusal(404, {"errors": {"user_not_found": "User Not Found"}})
        change = body.get("user")
        if str(body.get("email", "")).lower() != user.email.lower() or not isinstance(change, dict):
            raise Refusal(422, {"errors": "Incorrect information submitted"})
        for name, is_right, text in self._source_checks(change, user):
            if not is_right:
                raise Refusal(422, {"errors": {name: [text]}})
        user.fields |= change
        return json_answer(200, {"id": user.user_id, **_shown(user)})

    def _coupon(self, token: str, sign: str, now: float) -> Answer:
        campaign = self.campaigns.get(token)
        if campaign is None:
            return _NOT_FOUND
        claims = _claims(sign, token)
        email = str((claims or {}).get("email") or "").lower()
        given = [coupon for coupon in self.coupons if coupon.campaign_id == campaign.campaign_id]
        own = [coupon for coupon in given if coupon.email == email]
        refusal = None
        if claims is None or not email or str(claims.get("campaign_id")) != campaign.campaign_id:
            refusal = "coupon_code_error"
        elif campaign.is_expired:
            refusal = "coupon_code_expired"
        elif own and campaign.repeat == "never":
            refusal = "usage_exceeded_by_guest"
        elif own and campaign.repeat == "same":
            return json_answer(200, {"coupon": own[0].code})
        elif campaign.limit is not None and len(given) >= campaign.limit:
            refusal = "usage_exceeded"
        if refusal:
            raise Refusal(422, {"error": refusal})
        coupon = Coupon(now, campaign.campaign_id, email, f"PCH-{campaign.campaign_id}-{len(given) + 1:05}")
        self.coupons.append(coupon)
        return json_answer(200, {"coupon": coupon.code})


_NOT_FOUND = Answer(404, b"<html><body>Not Found</body></html>", {"content-type": "text/html"})
_FORBIDDEN = Answer(403, b"<html><body>Forbidden</body></html>", {"content-type": "text/html"})


def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, {"status": 400, "error": "data was not valid JSON"})
    return body


def _shown(user: User) -> dict[str, Any]:
    """Show a user as Punchh does; the id in other systems is not among them."""
    names = ("first_name", "last_name", "phone", "birthday", "marketing_email_subscription")
    return {
        "user_id": user.user_id,
        "email": user.email,
        **{name: user.fields.get(name) for name in names},
        "referral_code": f"REF{user.user_id}",
        "user_code": f"P{user.user_id}",
        "created_at": datetime.fromtimestamp(user.created_at, UTC).isoformat(timespec="seconds"),
    }


def _claims(token: str, key: str) -> dict[str, Any] | None:
    """Read a JSON Web Token that is signed with HS256; None when it is not."""
    header, _, rest = token.partition(".")
    payload, _, signature = rest.partition(".")
    expected = hmac.digest(key.encode(), f"{header}.{payload}".encode(), "sha256")
    try:
        if not hmac.compare_digest(_decoded(signature), expected) or json.loads(_decoded(header))["alg"] != "HS256":
            return None
        claims = json.loads(_decoded(payload))
    except (ValueError, KeyError, TypeError):
        return None
    return claims if isinstance(claims, dict) else None


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
