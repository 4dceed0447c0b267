"""The simulated Punchh checks signatures, rejects and blocks as Punchh documents; its sender delivers like Punchh."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from simulators.punchh import Punchh, simulate
from simulators.punchh_business import Campaign
from simulators.punchh_events import CATALOGUE, MARKETING, TRANSACTIONAL, event, every_event, guest
from simulators.punchh_sender import LATER, PINGS, SOON, Delivery, deliver
from simulators.server import Answer, Request, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000.0
MOBILE, ONLINE_ORDERING = "/api2/mobile/users", "/api/auth/customers.json"
ALGORITHMS = {MOBILE: "sha256", ONLINE_ORDERING: "sha1"}
AGENT = {"User-Agent": "App/1.0/1 (iOS; 18)"}


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=NOW)


@pytest.fixture
def punchh(clock: SimpleNamespace) -> Iterator[Punchh]:
    with simulate(clock=lambda: clock.now, client="diner", secret="s3cret", admin_key="admin") as running:
        yield running


def person(**fields: Any) -> dict[str, Any]:
    passwords = {"password": "longenough", "password_confirmation": "longenough"}
    return {"email": "ann@example.com", "first_name": "Ann", "last_name": "Ash"} | passwords | fields


def sign_up(
    punchh: Punchh, user: Any = None, *, path: str = MOBILE, client: str = "diner", headers: Any = None, **change: Any
) -> requests.Response:
    """Sign up with a true signature, or with what `change` says of ``secret``, ``signed`` and ``algorithm``."""
    body = json.dumps({"client": client, "user": person() if user is None else user}).encode()
    algorithm = change.get("algorithm", ALGORITHMS[path.partition("?")[0]])
    message = change.get("signed", path.encode() + body)
    digest = hmac.new(change.get("secret", "s3cret").encode(), message, algorithm).hexdigest()
    own = {"Content-Type": "application/json", "punchh-app-device-id": "device-1", "x-pch-digest": digest}
    return requests.post(f"{punchh.url}{path}", body, headers=AGENT | own | (headers or {}), timeout=5)


def as_admin(punchh: Punchh, method: str, path: str, body: Any, key: str = "admin") -> requests.Response:
    headers = AGENT | {"Authorization": f"Bearer {key}"}
    return requests.request(method, f"{punchh.url}/api2/dashboard/{path}", json=body, headers=headers, timeout=5)


def token(claims: Any, key: str = "T0KEN", header: Any = None) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = part(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def coupon(punchh: Punchh, sign: str, campaign: str = "T0KEN") -> requests.Response:
    return requests.get(f"{punchh.url}/request_coupons/{campaign}.json", {"sign": sign}, timeout=5)


def control(punchh: Punchh, method: str, path: str, body: Any = None) -> Any:
    reply = requests.request(method, f"{punchh.url}/_simulator/{path}", json=body, timeout=5)
    return reply.status_code, reply.json()


def test_a_mobile_signup_gives_the_user_and_a_token(punchh: Punchh) -> None:
    reply = sign_up(punchh, person(external_source="customer_id", external_source_id="c-1"))

    (user,) = punchh.business.users
    assert reply.status_code == 200
    assert reply.json()["access_token"]["token"] == user.token
    assert (reply.json()["user"]["user_id"], reply.json()["user"]["email"]) == (user.user_id, "ann@example.com")
    assert "external_source_id" not in reply.text
    assert user.user_id > 2**32
    assert (user.device_id, user.source) == ("device-1", ("customer_id", "c-1"))
    assert "password" not in user.fields


def test_an_online_ordering_signup_is_a_201_with_another_shape(punchh: Punchh) -> None:
    reply = sign_up(punchh, path=ONLINE_ORDERING, headers={"punchh-app-device-id": None})

    (user,) = punchh.business.users
    assert reply.status_code == 201
    assert (reply.json()["user_id"], reply.json()["authentication_token"]) == (user.user_id, user.token)


def test_the_signature_covers_the_query(punchh: Punchh) -> None:
    replies = [
        sign_up(punchh, path=f"{MOBILE}?a=b%20c"),
        sign_up(punchh, path=f"{MOBILE}?a=b", signed=MOBILE.encode()),
    ]

    assert [reply.status_code for reply in replies] == [200, 412]


@pytest.mark.parametrize("path", [MOBILE, ONLINE_ORDERING])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"secret": "wrong"}, id="another secret"),
        pytest.param({"signed": b"body alone"}, id="another message"),
        pytest.param({"algorithm": "sha512"}, id="another algorithm"),
        pytest.param({"headers": {"x-pch-digest": None}}, id="none"),
        pytest.param({"headers": {"x-pch-digest": hashlib.sha256(b"x").hexdigest()}}, id="no key"),
    ],
)
def test_a_wrong_signature_is_a_412(punchh: Punchh, path: str, change: Any) -> None:
    reply = sign_up(punchh, path=path, **change)

    mobile = {"errors": {"invalid_signature": ["Signature doesn't match."]}}
    assert reply.status_code == 412
    assert reply.json() == (mobile if path == MOBILE else ["Invalid Signature"])
    assert punchh.business.users == []


def test_an_unknown_client_is_a_401_for_mobile_and_a_412_for_online_ordering(punchh: Punchh) -> None:
    replies = [sign_up(punchh, client="other", path=path) for path in (MOBILE, ONLINE_ORDERING)]

    assert [reply.status_code for reply in replies] == [401, 412]
    assert replies[0].json()["errors"].keys() == {"unknown_client"}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        pytest.param({"email": ""}, 400, "missing_required_param", id="no address"),
        pytest.param({"first_name": None}, 400, "missing_required_param", id="no first name"),
        pytest.param({"password_confirmation": None}, 400, "missing_required_param", id="no confirmation"),
        pytest.param({"email": "ann"}, 422, "email", id="no such address"),
        pytest.param({"email": "BO@example.com"}, 422, "email", id="address taken"),
        pytest.param({"password": "short", "password_confirmation": "short"}, 422, "password", id="short password"),
        pytest.param({"password_confirmation": "different"}, 422, "password_confirmation", id="another confirmation"),
        pytest.param({"external_source": "me", "external_source_id": "1"}, 422, "external_source", id="source"),
        pytest.param({"external_source": "customer_id"}, 422, "external_source_id", id="no id in the source"),
        pytest.param(
            {"external_source": "customer_id", "external_source_id": "bo"}, 422, "external_source_id", id="id taken"
        ),
    ],
)
def test_a_rejected_signup_names_the_field(punchh: Punchh, change: Any, status: int, field: str) -> None:
    sign_up(punchh, person(email="bo@example.com", external_source="customer_id", external_source_id="bo"))

    reply = sign_up(punchh, person(**change))

    assert (reply.status_code, list(reply.json()["errors"])) == (status, [field])
    assert len(punchh.business.users) == 1


@pytest.mark.parametrize("header", ["User-Agent", "punchh-app-device-id"])
def test_a_required_header_is_required(punchh: Punchh, header: str) -> None:
    reply = sign_up(punchh, headers={header: ""})

    assert (reply.status_code, reply.json()["errors"]) == (400, {"missing_required_param": [header]})


def test_a_device_is_shared_by_a_few_guests_only(punchh: Punchh) -> None:
    punchh.business.configure(guests_per_device=1)
    sign_up(punchh)

    same = sign_up(punchh, person(email="bo@example.com"))
    other = sign_up(punchh, person(email="bo@example.com"), headers={"punchh-app-device-id": "device-2"})

    assert (same.status_code, list(same.json()["errors"])) == (422, ["device_already_shared"])
    assert other.status_code == 200


def test_ten_failures_in_ten_minutes_block_the_caller_for_an_hour(punchh: Punchh, clock: SimpleNamespace) -> None:
    old = [sign_up(punchh, secret="wrong").status_code for _ in range(9)]
    clock.now += 601
    failures = [
        *(sign_up(punchh, secret="wrong").status_code for _ in range(4)),
        *(sign_up(punchh, client="other").status_code for _ in range(4)),
        as_admin(punchh, "GET", "users/info", {"user_id": 1}, key="wrong").status_code,
    ]
    before = sign_up(punchh)
    tenth = sign_up(punchh, client="other")

    blocked = sign_up(punchh, person(email="bo@example.com"))
    clock.now += 3600
    after = sign_up(punchh, person(email="bo@example.com"))

    assert old + failures == [412] * 9 + [412] * 4 + [401] * 5
    assert (before.status_code, tenth.status_code, blocked.status_code, after.status_code) == (200, 401, 403, 200)
    assert blocked.headers["content-type"] == "text/html"


@pytest.mark.parametrize("who", [{"user_id": 5_000_000_001}, {"email": "ANN@example.com"}, {"phone": "5043277269"}])
def test_a_user_is_found_with_its_live_token(punchh: Punchh, who: Any) -> None:
    sign_up(punchh, person(phone="5043277269"))

    reply = as_admin(punchh, "GET", "users/info", who)

    assert reply.status_code == 200
    assert (reply.json()["first_name"], reply.json()["authentication_token"]) == (
        "Ann",
        punchh.business.users[0].token,
    )


@pytest.mark.parametrize("who", [{"user_id": 1}, {"email": "bo@example.com"}, {}])
def test_an_unknown_user_is_not_found(punchh: Punchh, who: Any) -> None:
    reply = as_admin(punchh, "GET", "users/info", who)

    assert (reply.status_code, reply.json()) == (404, {"errors": {"user_not_found": "User Not Found"}})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({}, 200, id="right"),
        pytest.param({"email": "other@example.com"}, 422, id="another address"),
        pytest.param({"id": 1}, 404, id="another user"),
        pytest.param({"user": {"external_source": "me", "external_source_id": "c"}}, 422, id="unknown source"),
        pytest.param({"user": {"external_source": "customer_id", "external_source_id": "bo"}}, 422, id="id taken"),
    ],
)
def test_an_admin_gives_a_user_its_external_id(punchh: Punchh, body: Any, status: int) -> None:
    sign_up(punchh)
    sign_up(punchh, person(email="bo@example.com", external_source="customer_id", external_source_id="bo"))
    user = {"external_source": "customer_id", "external_source_id": "c-1"}

    reply = as_admin(punchh, "PATCH", "users", {"id": 5_000_000_001, "email": "Ann@example.com", "user": user} | body)

    assert reply.status_code == status
    assert punchh.business.users[0].source == (("customer_id", "c-1") if status == 200 else (None, None))


@pytest.mark.parametrize(("method", "path"), [("GET", "users/info"), ("PATCH", "users")])
def test_only_an_admin_may(punchh: Punchh, method: str, path: str) -> None:
    reply = as_admin(punchh, method, path, {}, key="wrong")

    assert (reply.status_code, reply.json()) == (401, {"error": "You need to sign in or sign up before continuing."})


@pytest.mark.parametrize(
    ("repeat", "second"),
    [
        ("same", {"coupon": "PCH-9-00001"}),
        ("new", {"coupon": "PCH-9-00002"}),
        ("never", {"error": "usage_exceeded_by"}),
    ],
)
def test_what_a_second_request_for_a_code_gives_is_the_campaigns(punchh: Punchh, repeat: Any, second: Any) -> None:
    punchh.business.campaigns["T0KEN"] = Campaign(campaign_id="9", repeat=repeat)
    sign = token({"campaign_id": "9", "email": "ann@example.com"})

    replies = [coupon(punchh, sign).json() for _ in range(2)]

    ((name, value),) = second.items()
    assert replies[0] == {"coupon": "PCH-9-00001"}
    assert replies[1][name].startswith(value)


@pytest.mark.parametrize(
    ("sign", "change", "error"),
    [
        pytest.param(token({"campaign_id": "9", "email": "a@b.co"}, key="other"), {}, "coupon_code_error", id="key"),
        pytest.param(token({"campaign_id": "8", "email": "a@b.co"}), {}, "coupon_code_error", id="campaign"),
        pytest.param(token({"campaign_id": "9"}), {}, "coupon_code_error", id="no address"),
        pytest.param(token([1]), {}, "coupon_code_error", id="no claims"),
        pytest.param(
            token({"campaign_id": "9", "email": "a@b.co"}, header={"alg": "none"}), {}, "coupon_code_error", id="alg"
        ),
        pytest.param("a.b", {}, "coupon_code_error", id="no token"),
        pytest.param(
            token({"campaign_id": "9", "email": "a@b.co"}), {"is_expired": True}, "coupon_code_expired", id="over"
        ),
        pytest.param(token({"campaign_id": "9", "email": "a@b.co"}), {"limit": 0}, "usage_exceeded", id="used up"),
    ],
)
def test_a_code_is_refused_with_a_result_code(punchh: Punchh, sign: str, change: Any, error: str) -> None:
    punchh.business.campaigns["T0KEN"] = Campaign(campaign_id="9", **change)

    reply = coupon(punchh, sign)

    assert (reply.status_code, reply.json()) == (422, {"error": error})
    assert punchh.business.coupons == []


def test_an_unknown_campaign_is_a_page_that_is_not_found(punchh: Punchh) -> None:
    assert coupon(punchh, token({}), campaign="OTHER").status_code == 404


def test_a_fault_strikes_before_or_after_acting(punchh: Punchh) -> None:
    punchh.faults.add(kind="status", status=503)
    punchh.faults.add(kind="timeout_after_acting", seconds=0)

    first = sign_up(punchh)
    with pytest.raises(requests.ConnectionError):
        sign_up(punchh)

    assert first.status_code == 503
    assert len(punchh.business.users) == 1
    assert [request.fault for request in punchh.requests] == ["status", "timeout_after_acting"]


def test_the_business_is_set_up_and_asked_over_http(punchh: Punchh) -> None:
    control(punchh, "PUT", "settings", {"client": "other"})
    control(punchh, "PUT", "campaigns/T1", {"campaign_id": "1"})
    control(punchh, "POST", "faults", [{"kind": "pass"}])
    sign_up(punchh, client="other")
    coupon(punchh, token({"campaign_id": "1", "email": "a@b.co"}, key="T1"), campaign="T1")

    assert control(punchh, "GET", "users")[1][0]["email"] == "ann@example.com"
    assert control(punchh, "GET", "coupons")[1][0]["code"] == "PCH-1-00001"
    assert [row["target"].partition("?")[0] for row in control(punchh, "GET", "requests")[1]] == [
        MOBILE,
        "/request_coupons/T1.json",
    ]
    assert control(punchh, "GET", "")[1]["requests"] == {"200": 2}
    assert control(punchh, "POST", "reset")[1]["users"] == 0
    assert control(punchh, "PUT", "settings", {"colour": "red"})[0] == 400
    assert control(punchh, "PUT", "campaigns/T1", {"campaign_id": "1", "repeat": "often"})[0] == 400
    assert control(punchh, "GET", "passwords")[0] == 404


# --- The sender.


class Receiver:
    """A webhook that answers with the given statuses, then with 200, and keeps what came."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.ping = 200
        self.got: list[Request] = []
        self.pinged: list[Request] = []

    def answer(self, request: Request) -> Answer:
        if request.method == "GET":
            self.pinged.append(request)
            return Answer(self.ping)
        self.got.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            return Answer(200, delivery="silent")
        return Answer(status, headers={"location": "/elsewhere"} if 300 <= status < 400 else {})

    def content_ids(self) -> list[str]:
        return [json.loads(request.body)["content_id"] for request in self.got]


class Time:
    """A clock that only moves while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if seconds:
            self.slept.append(seconds)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with serving(receiver.answer) as receiver.url:
        yield receiver


def send(receiver: Receiver, events: Any, path: str = "/hook?x=1", time: Time | None = None, **changed: Any) -> Any:
    time = time or Time()
    options: dict[str, Any] = {"name": "user", "secret": "pass"} | changed
    return deliver(f"{receiver.url}{path}", events, clock=lambda: time.now, sleep=time.sleep, **options)


def outcomes(deliveries: list[Delivery]) -> list[tuple[list[int], str]]:
    return [(delivery.statuses, delivery.outcome) for delivery in deliveries]


def events(count: int) -> list[dict[str, Any]]:
    return [event(guest(1), NOW + number, "users", "", "update") for number in range(count)]


def test_every_documented_event_is_delivered_in_the_envelope(receiver: Receiver) -> None:
    deliveries = send(receiver, list(every_event(guest(1), NOW)))

    got = [json.loads(request.body) for request in receiver.got]
    assert {delivery.outcome for delivery in deliveries} == {"delivered"}
    assert len(got) == len({it["content_id"] for it in got}) == len(CATALOGUE)
    assert Counter(it["event_name"].strip().replace("transactional", "") for it in got) == {
        "users": 3,
        "checkins": 2,
        "redemptions": 1,
        "rewards": 1,
        "redeemables": 1,
        "coupons": 2,
        "user_coupon_redemptions": 1,
        "marketing_notifications": len(MARKETING),
        "_notifications": len(TRANSACTIONAL),
    }
    assert (len(MARKETING), len(TRANSACTIONAL)) == (11, 50)
    assert all({"content_id", "timestamp", "business_id", "event_type", "action", "payload"} <= it.keys() for it in got)
    assert {len(str(it["timestamp"])) for it in got} == {10, 13}


def test_what_is_odd_about_punchhs_payloads_is_there() -> None:
    made = {(it["event_name"], it["event_type"], it["action"]): it for it in every_event(guest(1), NOW)}

    user = made["users", "", "create"]["payload"]
    assert (user["external_source_id"], user["account_balance"]["total_debits"]) == ("cust-00001", "0.0")
    assert user["user_id"] > 2**32
    assert "user" not in made["checkins", "loyalty", "create"]["payload"]
    assert "user_id" not in str(made["redemptions", "", "create"])
    assert "user" not in made["redeemables", "", "create"]["payload"]
    assert "external_source_id" not in made["rewards", "", "create"]["payload"]["user"]
    assert (" transactional_notifications", "feedback_reply", "create") in made
    assert ("_notifications", "checkin_void", "create") in made
    assert "reset_password_token" in str(made["transactional_notifications", "reset_password_instruction", "create"])


@pytest.mark.parametrize(
    ("auth", "algorithm"), [("basic", None), ("bearer", None), ("hmac-sha1", "sha1"), ("hmac-sha256", "sha256")]
)
def test_each_request_shows_who_sends_it(receiver: Receiver, auth: Any, algorithm: str | None) -> None:
    send(receiver, events(1), auth=auth)

    (got,), (ping,) = receiver.got, receiver.pinged
    expected = {"basic": f"basic {base64.b64encode(b'user:pass').decode()}", "bearer": "bearer pass"}
    if algorithm:
        expected[auth] = f"hmac {hmac.new(b'pass', b'/hook?x=1' + got.body, algorithm).hexdigest()}"
        assert ping.headers["authorization"] == f"hmac {hmac.new(b'pass', b'/hook?x=1', algorithm).hexdigest()}"
    assert got.headers["authorization"] == expected[auth]
    assert got.headers.get("x-pch-key") == ("user" if algorithm else None)


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        pytest.param(429, SOON, id="429"),
        pytest.param(0, SOON, id="no answer"),
        pytest.param(500, LATER, id="500"),
        pytest.param(503, LATER, id="503"),
        pytest.param(302, (), id="redirect"),
        pytest.param(401, (), id="401"),
        pytest.param(204, (), id="204"),
    ],
)
def test_an_event_is_retried_as_punchh_does_and_then_lost(
    receiver: Receiver, status: int, waits: tuple[float, ...]
) -> None:
    time = Time()
    receiver.statuses = [status] * 20

    deliveries = send(receiver, events(1), time=time)

    assert outcomes(deliveries) == [([status or 408] * (len(waits) + 1), "lost")]
    assert tuple(time.slept) == waits
    assert len(set(receiver.content_ids())) == 1
    assert {request.path for request in receiver.got} == {"/hook"}


def test_the_waits_of_the_documentation_add_up() -> None:
    assert (sum(SOON), sum(LATER)) == (240, 13_680)


def test_others_go_on_while_one_waits(receiver: Receiver) -> None:
    receiver.statuses = [503, 202, 429]

    deliveries = send(receiver, events(3))

    ids = [delivery.content_id for delivery in deliveries]
    assert outcomes(deliveries) == [([503, 200], "delivered"), ([202], "delivered"), ([429, 200], "delivered")]
    assert receiver.content_ids() == [*ids, ids[2], ids[0]]


def test_patience_bounds_the_waiting(receiver: Receiver) -> None:
    time = Time()
    receiver.statuses = [500] * 9

    deliveries = send(receiver, events(1), time=time, patience=150)

    assert outcomes(deliveries) == [([500] * 3, "lost")]
    assert time.slept == [60, 120]


@pytest.mark.parametrize("status", [301, 404, 202])
def test_nothing_is_delivered_to_a_webhook_that_does_not_pass_activation(receiver: Receiver, status: int) -> None:
    receiver.ping = status

    deliveries = send(receiver, events(2))

    assert outcomes(deliveries) == [([], "inactive")] * 2
    assert receiver.got == []


def test_a_webhook_that_loses_too_many_events_is_suspended_and_revived_by_a_ping(receiver: Receiver) -> None:
    time = Time()
    receiver.statuses = [400, 400]

    deliveries = send(receiver, events(4), time=time, breaker=1)

    assert [delivery.outcome for delivery in deliveries] == ["lost", "lost", "delivered", "delivered"]
    assert time.slept == [PINGS[0]]


def test_a_suspended_webhook_that_never_answers_is_given_up(receiver: Receiver) -> None:
    time = Time()
    receiver.statuses, receiver.ping = [400, 400], 500

    deliveries = send(receiver, events(4), time=time, breaker=1, activate=False)

    assert [delivery.outcome for delivery in deliveries] == ["lost", "lost", "suspended", "suspended"]
    assert time.slept == list(PINGS)
    assert len(receiver.pinged) == len(PINGS)


def test_events_can_be_duplicated_byte_by_byte(receiver: Receiver) -> None:
    send(receiver, events(10), duplicate=1.0)

    assert set(Counter(request.body for request in receiver.got).values()) == {2}


def test_events_can_come_out_of_order_by_some_places(receiver: Receiver) -> None:
    made = events(50)

    send(receiver, made, reorder=3, seed=1)

    order = receiver.content_ids()
    offsets = [abs(order.index(it["content_id"]) - place) for place, it in enumerate(made)]
    assert sorted(order) == sorted(it["content_id"] for it in made)
    assert 0 < max(offsets) <= 3


def test_events_can_be_late(receiver: Receiver) -> None:
    time = Time()

    send(receiver, events(20), delay=60, time=time)

    assert 30 < sum(time.slept) < 60
    assert receiver.content_ids() != [it["content_id"] for it in events(20)]


def test_the_same_seed_gives_the_same_disorder(receiver: Receiver) -> None:
    options: dict[str, Any] = {"duplicate": 0.5, "reorder": 5, "delay": 9, "seed": 7, "patience": math.inf}

    send(receiver, events(20), **options)
    first = receiver.content_ids()
    receiver.got.clear()
    send(receiver, events(20), **options)

    assert receiver.content_ids() == first
