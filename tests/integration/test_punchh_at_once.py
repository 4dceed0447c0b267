"""Many calls at once, against a store that keeps what threads write at the same time."""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.stack import ROOT, credentials, local_aws
from loyalty_bridge import settings
from loyalty_bridge.errors import BridgeError
from loyalty_bridge.http_api import coupon_code, requests
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import api_keys, credential_breaker
from loyalty_bridge.settings import SignupSettings
from simulators.punchh import Punchh
from tests.support import stores
from tests.support.http_events import PUNCHH_SECRETS, connect_punchh, context, event, make_known, routes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".tools/aws/bin/ministack").exists(), reason="needs the local AWS (make setup)"),
]

AT_ONCE = 12
ANN = {"email": "ann@example.com", "first_name": "Ann", "last_name": "Ash", "external_source_id": "c-1"}
ROUTES = {route.function: route for route in routes()}

Work = Callable[[str], Any]


@pytest.fixture(scope="module")
def store() -> Iterator[SignupSettings]:
    """Return the tables of the template in a local AWS."""
    with pytest.MonkeyPatch.context() as patch, local_aws() as endpoint:
        for name, value in credentials(endpoint).items():
            patch.setenv(name, value)
        aws._made.cache_clear()
        settings.load_settings.cache_clear()
        for name, value in stores.environment(stores.make_stores(stores.make_key())).items():
            patch.setenv(name, value)
        patch.setenv("IDEMPOTENCY_TABLE", "IdempotencyTable")
        yield settings.load_settings(SignupSettings)
        aws._made.cache_clear()
        settings.load_settings.cache_clear()


@pytest.fixture(autouse=True)
def environment() -> None:
    """Leave the environment as the local AWS needs it."""


@pytest.fixture
def connected(store: SignupSettings, punchh: Punchh) -> Callable[..., str]:
    """Return what connects the program to Punchh and makes a key."""

    def connect(**secrets: str) -> str:
        connect_punchh(store, punchh.url, secrets=PUNCHH_SECRETS | secrets)
        return api_keys.create(store, "diner", "moengage")[0]

    return connect


def look(key: str, member: str) -> str:
    made = event(
        ROUTES["member_coupon_code"],
        {"programId": "diner", "accountId": member},
        headers={"x-bridge-key": key},
        query="campaign=58293",
    )
    return str(coupon_code.look(requests.read(made), time.monotonic() + 4)["coupon_code"])


def sign_up(key: str, **change: str) -> tuple[int, Any]:
    headers = {"x-bridge-key": key, "content-type": "application/json"}
    body = json.dumps({"user": ANN | change}).encode()
    made = event(ROUTES["signup_member"], {"programId": "diner"}, headers=headers, body=body)
    response = runpy.run_path(str(ROOT / "functions/signup_member/app.py"))["handler"](made, context(30))
    return response["statusCode"], json.loads(response["body"])


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls at once; give what each says, or the name of its error."""

    def ended(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except BridgeError as error:
            return type(error).__name__

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(ended, calls))


def test_many_who_ask_for_a_members_code_get_the_same_one(
    store: SignupSettings, punchh: Punchh, connected: Callable[..., str]
) -> None:
    key = connected()
    known = punchh.business.sign_up(email="ann@example.com")
    make_known(store, known.user_id, "c-code")
    punchh.business.configure(latency=0.2)

    codes = at_once(*[lambda: look(key, "c-code")] * AT_ONCE)

    assert len(set(codes)) == 1
    assert [coupon.code for coupon in punchh.business.coupons] == codes[:1]


def test_many_signups_of_a_member_make_one_account(
    store: SignupSettings, punchh: Punchh, connected: Callable[..., str]
) -> None:
    key = connected()

    answers = at_once(*[lambda: sign_up(key)] * AT_ONCE)

    (created,) = punchh.business.users
    assert {body["userId"] for _, body in answers} == {str(created.user_id)}
    assert len(punchh.requests) == 1


def test_many_signups_with_a_new_secret_all_succeed(
    store: SignupSettings, punchh: Punchh, connected: Callable[..., str]
) -> None:
    key = connected()
    members = [f"new-{number}" for number in range(AT_ONCE)]

    def one(member: str) -> Callable[[], Any]:
        return lambda: sign_up(key, email=f"{member}@example.com", external_source_id=member)

    answers = at_once(*map(one, members))

    assert [status for status, _ in answers] == [200] * AT_ONCE
    assert len(punchh.business.users) == AT_ONCE


def test_many_signups_with_a_wrong_secret_do_not_block_the_address(
    store: SignupSettings, punchh: Punchh, connected: Callable[..., str]
) -> None:
    key = connected(punchh_client_secret="wrong")
    members = [f"wrong-{number}" for number in range(AT_ONCE)]

    def one(member: str) -> Callable[[], Any]:
        return lambda: sign_up(key, email=f"{member}@example.com", external_source_id=member)

    answers = at_once(*map(one, members))

    assert {body["error"] for _, body in answers} == {"connection_broken"}
    assert len(punchh.requests) == credential_breaker.LIMIT
    assert punchh.business.blocked_until == 0
