"""Calls to Punchh are signed over the bytes that are sent, and each answer becomes what it means for a repeat."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from loyalty_bridge.errors import ConnectionBroken, Invalid, NotSent, OutcomeUnknown, UpstreamRejected
from loyalty_bridge.infra.http_client import Reply, Request, open_client
from loyalty_bridge.platforms.punchh.client import (
    ALREADY_MEMBER,
    Guest,
    coupon_code,
    set_external_source_id,
    sign,
    signup,
    user_information,
)
from loyalty_bridge.platforms.punchh.settings import PunchhApi
from simulators import server
from simulators.punchh import Punchh, simulate
from simulators.punchh_business import Campaign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loyalty_bridge.infra.http_client import Send

MOBILE = PunchhApi(base_url="https://server.punchh.com", client="client")
ONLINE_ORDERING = PunchhApi(base_url="https://server.punchh.com", client="client", flavour="online_ordering")
ANN = {"email": "ann@example.com", "first_name": "Ånn", "last_name": "Ash", "external_source_id": "c-1"}
GUEST = Guest(5_000_000_001, "ann@example.com", "Ånn", "Ash")


class Wire:
    """Answers with the given reply and keeps what was sent."""

    def __init__(self, status: int = 200, body: Any = b"", **headers: str) -> None:
        self.reply = Reply(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())
        self.sent: list[Request] = []

    def __call__(self, request: Request, deadline: float) -> Reply:
        self.sent.append(request)
        return self.reply


def through(punchh: Punchh) -> Send:
    """Send to a simulator without a network."""

    def send(request: Request, deadline: float) -> Reply:
        url = urlsplit(request.url)
        headers = {name.lower(): value for name, value in request.headers.items()}
        target = url.path + (f"?{url.query}" if url.query else "")
        answer = punchh.answer(
            server.Request(request.method, url.path, dict(parse_qsl(url.query)), headers, request.body, 1, target)
        )
        return Reply(answer.status, answer.headers, answer.body)

    return send


@pytest.fixture
def punchh() -> Punchh:
    return Punchh()


def sign_up(send: Send, api: PunchhApi = MOBILE, user: Any = None, **change: Any) -> int:
    options: dict[str, Any] = {
        "secret": "secret",
        "password": "a random one",
        "device_id": "device-1",
        "user_agent": None,
        "deadline": 0.0,
    }
    return signup(send, api, ANN if user is None else user, **options | change)


CALLS: dict[str, Callable[[Send], object]] = {
    "signup": sign_up,
    "external id": lambda send: set_external_source_id(send, MOBILE, GUEST, "c-1", admin_key="admin-key", deadline=0),
    "information": lambda send: user_information(send, MOBILE, admin_key="admin-key", deadline=0, user_id=1),
    "coupon": lambda send: coupon_code(send, MOBILE, GUEST, campaign_id="9", token="T0KEN", deadline=0),
}


@pytest.mark.parametrize(("algorithm", "function"), [("sha256", hashlib.sha256), ("sha1", hashlib.sha1)])
def test_a_digest_is_a_keyed_hash_of_path_and_bytes(algorithm: str, function: Any) -> None:
    digest = sign("/api2/mobile/users?a=b", b'{"a":"\xc3\x85"}', "s", algorithm)

    assert digest == hmac.new(b"s", b'/api2/mobile/users?a=b{"a":"\xc3\x85"}', function).hexdigest()


@pytest.mark.parametrize(
    ("api", "path", "algorithm"),
    [(MOBILE, "/api2/mobile/users", "sha256"), (ONLINE_ORDERING, "/api/auth/customers.json", "sha1")],
    ids=["mobile", "online ordering"],
)
def test_a_signup_signs_the_very_bytes_it_sends(api: PunchhApi, path: str, algorithm: str) -> None:
    wire = Wire(200, {"user": {"user_id": 7}, "user_id": 7})

    sign_up(wire, api)

    (request,) = wire.sent
    passwords = {"password": "a random one", "password_confirmation": "a random one"}
    assert (request.method, request.url) == ("POST", f"https://server.punchh.com{path}")
    assert request.headers["x-pch-digest"] == hmac.new(b"secret", path.encode() + request.body, algorithm).hexdigest()
    assert request.headers["punchh-app-device-id"] == "device-1"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "client": "client",
        "user": ANN | passwords | {"external_source": "customer_id"},
    }


@pytest.mark.parametrize("api", [MOBILE, ONLINE_ORDERING], ids=["mobile", "online ordering"])
def test_a_signup_is_taken_by_a_punchh_that_checks_it(punchh: Punchh, api: PunchhApi) -> None:
    user_id = sign_up(through(punchh), api)

    (user,) = punchh.business.users
    assert user_id == user.user_id
    assert user.fields == ANN | {"external_source": "customer_id"}


def test_the_source_is_reported_with_an_id_only() -> None:
    wire = Wire(200, {"user": {"user_id": 7}})

    sign_up(wire, user={"email": "ann@example.com"})
    sign_up(wire, user={"email": "ann@example.com", "external_source": "auth0", "external_source_id": "1"})

    users = [json.loads(request.body)["user"] for request in wire.sent]
    assert [user.get("external_source") for user in users] == [None, "auth0"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Diner/2.1/7 (iOS; 18)", "Diner/2.1/7 (iOS; 18)"),
        (None, "LoyaltyBridge/0.1/1 (Server; Linux)"),
        ("", "LoyaltyBridge/0.1/1 (Server; Linux)"),
        ("Diner\r\nX-Other: 1", "LoyaltyBridge/0.1/1 (Server; Linux)"),
        ("Dinér", "LoyaltyBridge/0.1/1 (Server; Linux)"),
        ("D" * 257, "LoyaltyBridge/0.1/1 (Server; Linux)"),
    ],
)
def test_the_members_user_agent_is_sent_when_it_can_be_a_header(given: str | None, sent: str) -> None:
    wire = Wire(200, {"user": {"user_id": 7}})

    sign_up(wire, user_agent=given)

    assert wire.sent[0].headers["User-Agent"] == sent


@pytest.mark.parametrize("device", ["", " ", "a\nb", "é", "d" * 257])
def test_a_device_id_that_cannot_be_a_header_is_refused_before_anything_is_sent(device: str) -> None:
    wire = Wire()

    with pytest.raises(Invalid, match="device_id"):
        sign_up(wire, device_id=device)

    assert wire.sent == []


def test_a_second_signup_says_that_the_member_exists(punchh: Punchh) -> None:
    sign_up(through(punchh))

    with pytest.raises(UpstreamRejected) as refusal:
        sign_up(through(punchh))

    assert (refusal.value.status, refusal.value.code) == (422, ALREADY_MEMBER)
    assert refusal.value.reason == "email: Email has already been taken"


@pytest.mark.parametrize(
    ("status", "body", "code", "reason"),
    [
        pytest.param(422, {"errors": {"email": ["Email has already been taken"]}}, ALREADY_MEMBER, None, id="object"),
        pytest.param(422, {"errors": "Email has already been taken"}, ALREADY_MEMBER, None, id="text"),
        pytest.param(422, {"errors": ["Email has already been taken"]}, ALREADY_MEMBER, None, id="array"),
        pytest.param(422, {"error": "Email has been taken"}, ALREADY_MEMBER, None, id="error"),
        pytest.param(
            422, {"errors": {"phone": ["has already been taken"]}}, "phone", "phone: has already been taken", id="phone"
        ),
        pytest.param(
            422,
            {"errors": {"device_already_shared": ["Device already shared."]}},
            "device_already_shared",
            "device_already_shared: Device already shared.",
            id="device",
        ),
        pytest.param(
            400,
            {"errors": {"missing_required_param": ["last_name", "first_name"]}},
            "missing_required_param",
            "missing_required_param: last_name, first_name",
            id="missing",
        ),
        pytest.param(
            422, {"errors": {"base": "No.", "email": "is invalid"}}, "base", "base: No.; email: is invalid", id="two"
        ),
        pytest.param(
            422, {"errors": "Incorrect information submitted"}, "", "Incorrect information submitted", id="no"
        ),
        pytest.param(422, {"errors": {"email": ["ann@example.com is odd"]}}, "email", "email", id="personal data"),
        pytest.param(422, {"errors": {"ann@example.com": "is odd"}}, "", "is odd", id="personal data as a name"),
        pytest.param(422, {"errors": None}, "", "", id="nothing said"),
        pytest.param(422, [], "", "", id="no object"),
        pytest.param(400, b"<html>", "", "", id="a page"),
    ],
)
def test_a_refusal_is_reported_by_code_and_reason_without_personal_data(
    status: int, body: Any, code: str, reason: str | None
) -> None:
    with pytest.raises(UpstreamRejected) as refusal:
        sign_up(Wire(status, body))

    assert (refusal.value.status, refusal.value.code) == (status, code)
    assert reason is None or refusal.value.reason == reason


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("wire", "error", "retry_after"),
    [
        pytest.param(Wire(401, {"errors": {"unknown_client": ["x"]}}), ConnectionBroken, None, id="401"),
        pytest.param(Wire(403, b"<html>"), ConnectionBroken, None, id="403"),
        pytest.param(Wire(412, b""), ConnectionBroken, None, id="412"),
        pytest.param(Wire(302, b"", location="/sign_in"), ConnectionBroken, None, id="302"),
        pytest.param(Wire(404, b"<html>"), ConnectionBroken, None, id="404 page"),
        pytest.param(Wire(429, b"", **{"retry-after": "7"}), NotSent, 7.0, id="429"),
        pytest.param(Wire(429), NotSent, None, id="429 without a time"),
        pytest.param(Wire(503, b"", **{"retry-after": "Wed, 21 Oct 2015"}), NotSent, None, id="503 come later"),
        pytest.param(Wire(503), OutcomeUnknown, None, id="503"),
        pytest.param(Wire(500, {"error": "x"}), OutcomeUnknown, None, id="500"),
        pytest.param(Wire(408), OutcomeUnknown, None, id="408"),
    ],
)
def test_a_failure_reports_whether_the_call_may_have_been_carried_out(
    call: Any, wire: Wire, error: type[Any], retry_after: float | None
) -> None:
    with pytest.raises(error) as failure:
        call(wire)

    assert type(failure.value) is error
    assert failure.value.retry_after == retry_after


@pytest.mark.parametrize("call", ["signup", "information", "coupon"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff"], ids=["empty", "page", "no text"])
def test_a_success_that_cannot_be_read_leaves_the_outcome_unknown(call: str, body: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        CALLS[call](Wire(200, body))


@pytest.mark.parametrize("user", [None, {}, {"user_id": True}, {"user_id": "x"}, {"user_id": 1.5}])
def test_a_success_without_a_user_leaves_the_outcome_unknown(user: Any) -> None:
    with pytest.raises(OutcomeUnknown):
        sign_up(Wire(200, {"user": user}))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("text", ["no account for ANN@example.com", "bo@example.com is somebody else"])
def test_an_address_is_not_repeated(call: Callable[[Send], object], text: str) -> None:
    with pytest.raises(UpstreamRejected) as refusal:
        call(Wire(422, {"errors": {"base": [text, "Try again"]}}))

    assert refusal.value.reason == "base: Try again"


def test_a_password_is_neither_repeated_nor_shown() -> None:
    wire = Wire(422, {"errors": {"password": ["a random one is too simple"]}})

    with pytest.raises(UpstreamRejected) as refusal:
        sign_up(wire)

    assert (refusal.value.code, refusal.value.reason) == ("password", "password")
    assert "random" not in repr(wire.sent)


def test_an_existing_user_gets_its_external_id(punchh: Punchh) -> None:
    user_id = sign_up(through(punchh), user={**ANN, "external_source_id": "old"})
    guest = user_information(through(punchh), MOBILE, admin_key="admin-key", deadline=0, email="ANN@example.com")
    assert guest

    for _ in range(2):
        set_external_source_id(through(punchh), MOBILE, guest, "c-2", admin_key="admin-key", deadline=0)

    assert guest == Guest(user_id, "ann@example.com", "Ånn", "Ash", joined=guest.joined)
    assert guest.joined == float(int(punchh.business.users[0].created_at))
    assert punchh.business.users[0].source == ("customer_id", "c-2")


def test_an_external_id_of_somebody_else_is_refused(punchh: Punchh) -> None:
    sign_up(through(punchh))
    user_id = sign_up(through(punchh), user={"email": "bo@example.com", "first_name": "Bo", "last_name": "Birch"})

    with pytest.raises(UpstreamRejected) as refusal:
        set_external_source_id(
            through(punchh), MOBILE, Guest(user_id, "bo@example.com"), "c-1", admin_key="admin-key", deadline=0
        )

    assert (refusal.value.status, refusal.value.code) == (422, "external_source_id")


def test_an_update_may_be_answered_with_nothing() -> None:
    set_external_source_id(Wire(204), MOBILE, GUEST, "c-1", admin_key="admin-key", deadline=0)


def test_an_unknown_user_is_none(punchh: Punchh) -> None:
    assert user_information(through(punchh), MOBILE, admin_key="admin-key", deadline=0, user_id=1) is None


def test_what_the_business_keeps_to_itself_is_empty() -> None:
    wire = Wire(200, {"id": "7", "email": None})

    assert user_information(wire, MOBILE, admin_key="k", deadline=0, user_id=7) == Guest(7)


def test_a_coupon_code_is_asked_for_in_the_guests_name() -> None:
    wire = Wire(200, {"coupon": " PCH-1 "})

    code = coupon_code(wire, MOBILE, GUEST, campaign_id="9", token="T0/KEN", deadline=0)

    (request,) = wire.sent
    header, payload, _ = dict(parse_qsl(urlsplit(request.url).query))["sign"].split(".")
    assert code == "PCH-1"
    assert request.url.startswith("https://server.punchh.com/request_coupons/T0%2FKEN.json?sign=")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "campaign_id": "9",
        "email": "ann@example.com",
        "first_name": "Ånn",
        "last_name": "Ash",
    }


def test_a_coupon_code_is_given_by_a_punchh_that_checks_the_token(punchh: Punchh) -> None:
    punchh.business.campaigns["T0KEN"] = Campaign(campaign_id="9")

    code = CALLS["coupon"](through(punchh))

    assert [(coupon.email, coupon.code) for coupon in punchh.business.coupons] == [("ann@example.com", code)]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (422, {"error": "usage_exceeded_by_guest"}, "usage_exceeded_by_guest"),
        (422, {"errors": {"usage_exceeded": ["The usage is full."]}}, "usage_exceeded"),
        (200, {"status": "coupon_code_expired"}, "coupon_code_expired"),
        (404, {"errors": {"coupon_code_type_error": "x"}}, "coupon_code_type_error"),
        (200, {"coupon": ""}, ""),
        (200, {"coupon": None}, ""),
        (200, {"coupon": {"code": "x"}}, ""),
    ],
)
def test_a_code_that_is_not_given_is_refused_by_result_code(status: int, body: Any, code: str) -> None:
    with pytest.raises(UpstreamRejected) as refusal:
        CALLS["coupon"](Wire(status, body))

    assert (refusal.value.status, refusal.value.code) == (status, code)


def test_a_write_is_sent_once_only(punchh: Punchh) -> None:
    punchh.faults.add(kind="status", status=503)

    with pytest.raises(OutcomeUnknown):
        sign_up(through(punchh))

    assert len(punchh.requests) == 1


@pytest.fixture
def served() -> Iterator[Punchh]:
    with simulate() as running:
        yield running


def test_all_calls_pass_the_real_transport(served: Punchh) -> None:
    served.business.campaigns["T0KEN"] = Campaign(campaign_id="9")
    send, deadline = open_client(1), time.monotonic() + 5
    api = PunchhApi(base_url=served.url, client="client")

    user_id = sign_up(send, api, deadline=deadline)
    guest = user_information(send, api, admin_key="admin-key", deadline=deadline, user_id=user_id)
    assert guest
    set_external_source_id(send, api, guest, "c-2", admin_key="admin-key", deadline=deadline)
    code = coupon_code(send, api, guest, campaign_id="9", token="T0KEN", deadline=deadline)

    assert served.business.users[0].source == ("customer_id", "c-2")
    assert served.business.coupons[0].code == code
    assert [request.status for request in served.requests] == [200] * 4
