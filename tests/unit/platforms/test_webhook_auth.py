"""The credential of the webhook distinguishes deliveries of Punchh from those of others."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.platforms.webhook_auth import Credential, is_authentic
from simulators.punchh_sender import sign_in

TARGET = "/v1/programs/demo/webhooks/punchh?a=b%20c"
BODY = b'{"content_id":"1","name":"\xc3\x85nn"}'
BASIC = Credential("basic", "pass:wörd", "user")
BEARER = Credential("bearer", "t0ken")
SHA1 = Credential("hmac-sha1", "s3cret")
SHA256 = Credential("hmac-sha256", "s3cret")
HEADER = Credential("header", "v4lue", "X-Webhook-Key")
CREDENTIALS = pytest.mark.parametrize("credential", [BASIC, BEARER, SHA1, SHA256, HEADER], ids=lambda one: one.scheme)


def shown(credential: Credential, body: bytes = BODY, url: str = f"https://host.example{TARGET}") -> dict[str, str]:
    """Return the headers of a delivery with this credential."""
    if credential.scheme == "header":
        return {credential.name.lower(): credential.secret}
    return sign_in(url, body, auth=credential.scheme, secret=credential.secret, name=credential.name)


def digest(credential: Credential, message: bytes, secret: str = "s3cret") -> bytes:
    return hmac.digest(secret.encode(), message, credential.scheme.removeprefix("hmac-"))


def basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@CREDENTIALS
def test_punchhs_own_deliveries_are_let_in(credential: Credential) -> None:
    assert is_authentic([credential], shown(credential), TARGET, BODY)


@CREDENTIALS
def test_another_secret_is_not(credential: Credential) -> None:
    other = Credential(credential.scheme, credential.secret + "x", credential.name)

    assert not is_authentic([credential], shown(other), TARGET, BODY)


@CREDENTIALS
def test_two_credentials_are_valid_at_once(credential: Credential) -> None:
    new = Credential(credential.scheme, "the new one", credential.name)

    assert is_authentic([new, credential], shown(credential), TARGET, BODY)
    assert is_authentic([credential, new], shown(new), TARGET, BODY)
    assert not is_authentic([new], shown(credential), TARGET, BODY)


@CREDENTIALS
def test_a_credential_of_one_scheme_is_of_no_use_in_another(credential: Credential) -> None:
    schemes: list[Any] = ["basic", "bearer", "hmac-sha1", "hmac-sha256"]
    others = [Credential(scheme, credential.secret, "x") for scheme in schemes if scheme != credential.scheme]

    assert not is_authentic(others, shown(credential), TARGET, BODY)


@pytest.mark.parametrize(
    ("credential", "authorization"),
    [
        pytest.param(BASIC, f"Basic {basic('user:pass:wörd')}", id="basic in capitals"),
        pytest.param(BASIC, f" BASIC  {basic('user:pass:wörd')} ", id="basic with blanks"),
        pytest.param(BEARER, "Bearer t0ken", id="bearer in capitals"),
        pytest.param(SHA256, f"HMAC {digest(SHA256, TARGET.encode() + BODY).hex()}", id="hmac in capitals"),
        pytest.param(SHA256, digest(SHA256, TARGET.encode() + BODY).hex(), id="bare"),
        pytest.param(SHA1, digest(SHA1, TARGET.encode() + BODY).hex().upper(), id="bare in capitals"),
        pytest.param(SHA1, f"hmac sha1 {digest(SHA1, TARGET.encode() + BODY).hex()}", id="algorithm named"),
        pytest.param(SHA256, f"hmac {base64.b64encode(digest(SHA256, TARGET.encode() + BODY)).decode()}", id="base64"),
        pytest.param(
            SHA256, f"hmac {digest(SHA256, TARGET.partition('?')[0].encode() + BODY).hex()}", id="without the query"
        ),
    ],
)
def test_what_punchh_leaves_open_is_let_in(credential: Credential, authorization: str) -> None:
    headers = {"authorization": authorization}

    assert is_authentic([credential], headers, TARGET, BODY)


@pytest.mark.parametrize(
    ("credential", "authorization"),
    [
        pytest.param(BASIC, None, id="none"),
        pytest.param(BASIC, "", id="empty"),
        pytest.param(BASIC, "basic", id="scheme only"),
        pytest.param(BASIC, f"basic {basic('user')}", id="no password"),
        pytest.param(BASIC, f"basic {basic('other:pass:wörd')}", id="another user"),
        pytest.param(BASIC, "basic ?", id="no base64"),
        pytest.param(BASIC, basic("user:pass:wörd"), id="no scheme"),
        pytest.param(BEARER, "bearer T0KEN", id="token in capitals"),
        pytest.param(BEARER, "t0ken", id="token without scheme"),
        pytest.param(BEARER, "bearer tökén", id="not ASCII"),
        pytest.param(SHA256, f"hmac {digest(SHA256, BODY).hex()}", id="body alone"),
        pytest.param(SHA256, f"hmac {digest(SHA256, TARGET.encode()).hex()}", id="address alone"),
        pytest.param(SHA256, f"hmac {digest(SHA1, TARGET.encode() + BODY).hex()}", id="another algorithm"),
        pytest.param(SHA256, f"hmac {digest(SHA256, TARGET.encode() + BODY).hex()[:-1]}", id="cut off"),
        pytest.param(SHA256, f"basic {digest(SHA256, TARGET.encode() + BODY).hex()}", id="another scheme"),
        pytest.param(SHA256, "hmac ", id="no digest"),
        pytest.param(SHA256, "hmac é", id="no digest in ASCII"),
    ],
)
def test_everything_else_is_kept_out(credential: Credential, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}

    assert not is_authentic([credential], headers, TARGET, BODY)


@pytest.mark.parametrize("name", ["", "moengage_bridge", "Ånn"])
def test_a_signature_counts_whatever_the_client_is_called(name: str) -> None:
    assert is_authentic([SHA256], shown(SHA256) | {"x-pch-key": name}, TARGET, BODY)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "bearer "},
        {"authorization": f"basic {basic(':')}"},
        {"authorization": f"hmac {hmac.new(b'', TARGET.encode() + BODY, 'sha256').hexdigest()}"},
    ],
)
def test_an_empty_secret_lets_no_one_in(headers: dict[str, str]) -> None:
    empty = [Credential("basic", ""), Credential("bearer", ""), Credential("hmac-sha256", "")]

    assert not is_authentic(empty, headers, TARGET, BODY)


def test_no_credential_lets_no_one_in() -> None:
    assert not is_authentic([], shown(BASIC), TARGET, BODY)


def test_an_empty_body_is_signed_by_the_address_alone() -> None:
    assert is_authentic([SHA256], shown(SHA256, b""), TARGET, b"")


@given(body=st.binary(max_size=64), position=st.integers(min_value=0, max_value=63))
def test_a_signature_is_worth_nothing_with_another_body(body: bytes, position: int) -> None:
    headers = shown(SHA256, body)
    changed = body[:position] + b"!" + body[position:]

    assert is_authentic([SHA256], headers, TARGET, body)
    assert not is_authentic([SHA256], headers, TARGET, changed)


@given(authorization=st.text(max_size=80))
def test_whatever_is_sent_is_answered(authorization: str) -> None:
    assert not is_authentic([BASIC, BEARER, SHA1, SHA256], {"authorization": authorization}, TARGET, BODY)


def test_a_credential_does_not_show_its_secret() -> None:
    assert "t0ken" not in repr(BEARER)
