"""Who is an operator: tokens good and bad, and the groups in them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from loyalty_bridge.admin import sign_in
from loyalty_bridge.errors import Unauthorized, Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import operators
from loyalty_bridge.operations.operators import Operator, configuration, operator_of, verified_claims
from loyalty_bridge.settings import AdminSettings
from simulators.server import Answer, Request, json_answer, serving
from tests.support.issuer import CLIENT, Issuer, issuing, public_key

Make = Callable[[Issuer], str]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Run an issuer."""
    with issuing() as running:
        yield running


def settings(issuer: str, **changes: Any) -> AdminSettings:
    result = dict.fromkeys((field.name for field in fields(AdminSettings) if field.default is MISSING), "-")
    return AdminSettings(**result | {"sign_in_issuer": issuer, "sign_in_client": CLIENT} | changes)


GOOD: dict[str, Make] = {
    "an ID token": lambda issuer: issuer.token(),
    "an access token of this client": lambda issuer: issuer.access_token(),
    "an ID token of an issuer without token_use": lambda issuer: issuer.token(token_use=None),
    "for several audiences, made for this client": lambda issuer: issuer.token(aud=[CLIENT, "other"], azp=CLIENT),
    "made by a clock that is a little ahead": lambda issuer: issuer.token(iat=int(time.time()) + 20),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_token_reports_who_it_is(issuer: Issuer, case: str) -> None:
    result = verified_claims(settings(issuer.url), GOOD[case](issuer))

    assert result["sub"] == "person-1"


def _unsigned(issuer: Issuer) -> str:
    """Take the signature off a good token and say that it needs none."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "own"}).encode()).rstrip(b"=").decode()
    return f"{head}.{issuer.token().split('.')[1]}."


def _changed(issuer: Issuer) -> str:
    """Put another subject into a good token."""
    head, _, signature = issuer.token().split(".")
    return f"{head}.{issuer.token(sub='person-2').split('.')[1]}.{signature}"


BAD: dict[str, Make] = {
    "expired": lambda issuer: issuer.token(iat=1_700_000_000, exp=1_700_003_600),
    "expired, longer ago than clocks differ": lambda issuer: issuer.token(exp=int(time.time()) - 60),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 600),
    "made in the future": lambda issuer: issuer.token(iat=int(time.time()) + 600),
    "of another issuer": lambda issuer: issuer.token(iss="https://issuer.example"),
    "for another audience": lambda issuer: issuer.token(aud="other"),
    "without an audience": lambda issuer: issuer.token(aud=None),
    "for this audience, made for another client": lambda issuer: issuer.token(aud=[CLIENT, "other"], azp="other"),
    "an access token of another client": lambda issuer: issuer.access_token(client_id="other"),
    "an access token of no client": lambda issuer: issuer.access_token(client_id=None),
    "a refresh token": lambda issuer: issuer.token(token_use="refresh"),
    "without an end": lambda issuer: issuer.token(exp=None),
    "without a subject": lambda issuer: issuer.token(sub=None),
    "without a beginning": lambda issuer: issuer.token(iat=None),
    "signed with another key": lambda issuer: issuer.token(signed_with="foreign"),
    "signed with a word": lambda issuer: issuer.token(algorithm="HS256"),
    "algorithm none": lambda issuer: issuer.token(algorithm="none"),
    "a good one without its signature": _unsigned,
    "a good one with another subject": _changed,
    "no token": lambda _: "hello",
    "empty": lambda _: "",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_token_is_no_ones(issuer: Issuer, case: str) -> None:
    with pytest.raises(Unauthorized) as raised:
        verified_claims(settings(issuer.url), BAD[case](issuer))

    assert str(raised.value) == "the token is not valid"


@pytest.mark.parametrize(
    "make",
    [
        lambda issuer: issuer.token(nonce="other"),
        lambda issuer: issuer.token(),
        lambda issuer: issuer.access_token(nonce="begun"),
    ],
    ids=["of another sign-in", "without a nonce", "an access token"],
)
def test_only_the_id_token_of_the_sign_in_that_was_begun_signs_in(issuer: Issuer, make: Make) -> None:
    assert verified_claims(settings(issuer.url), issuer.token(nonce="begun"), nonce="begun")

    with pytest.raises(Unauthorized):
        verified_claims(settings(issuer.url), make(issuer), nonce="begun")


def test_keys_that_cannot_be_read_say_nothing_about_a_token(issuer: Issuer) -> None:
    with issuing() as gone:
        token, config = gone.token(), settings(gone.url)
        configuration(config)

    with pytest.raises(Unavailable):
        verified_claims(config, token)


@pytest.mark.parametrize("end", ["", "/", "/application/o/bridge/"])
def test_a_slash_at_the_end_of_the_issuer_is_not_doubled_before_its_configuration(end: str) -> None:
    def answer(request: Request) -> Any:
        asked.append(request.path)
        good = {name: f"{url}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        return json_answer(200, {"issuer": url + end, **good})

    asked: list[str] = []
    with serving(answer) as url:
        result = configuration(settings(url + end))

    assert asked == [f"{end.rstrip('/')}/.well-known/openid-configuration"]
    assert result["jwks_uri"] == f"{url}/jwks_uri"


@pytest.mark.parametrize("delivery", ["reset", "close", "silent"])
def test_keys_that_break_off_say_nothing_about_a_token(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, delivery: Any
) -> None:
    monkeypatch.setattr(operators, "_SECONDS", 0.3)
    with serving(lambda _: Answer(200, b'{"keys": []}', delivery=delivery)) as url:
        monkeypatch.setattr(operators, "configuration", lambda *_: {"jwks_uri": url})

        with pytest.raises(Unavailable):
            verified_claims(settings(issuer.url), issuer.token())


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://issuer.example"},
        {"jwks_uri": None},
        {"jwks_uri": "http://keys.example/keys"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": "https://[keys"},
    ],
)
def test_a_configuration_that_is_not_the_issuers_is_not_used(change: dict[str, Any]) -> None:
    def answer(_: object) -> Any:
        good = {name: f"{url}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        return json_answer(200, {"issuer": url, **good} | change)

    with serving(answer) as url, pytest.raises(Unavailable):
        configuration(settings(url))


@pytest.mark.parametrize(
    ("groups", "all_programs", "programs"),
    [
        (["loyalty-bridge"], True, set()),
        (["loyalty-bridge:demo", "loyalty-bridge:other", "staff"], False, {"demo", "other"}),
        ("loyalty-bridge:demo", False, {"demo"}),
        (["loyalty-bridge-admins", "Loyalty-Bridge", "xloyalty-bridge:demo"], False, set()),
        (["loyalty-bridge:", 7, None], False, set()),
        ([], False, set()),
        (None, False, set()),
        (7, False, set()),
        ({"loyalty-bridge": True}, False, set()),
    ],
)
def test_groups_report_the_programs_and_anyone_who_is_in_none_gets_none(
    groups: Any, all_programs: bool, programs: set[str]
) -> None:
    result = operator_of(settings("https://issuer.example"), {"sub": "person-1", "cognito:groups": groups})

    assert result == Operator("person-1", all_programs=all_programs, programs=frozenset(programs))


def test_claim_and_group_have_the_names_that_are_set() -> None:
    own = settings("https://issuer.example", sign_in_groups="roles", operators_group="crm")

    result = operator_of(own, {"sub": "person-1", "roles": ["crm:demo"], "cognito:groups": ["loyalty-bridge"]})

    assert result == Operator("person-1", programs=frozenset({"demo"}))


def test_algorithms_are_those_with_a_key_pair() -> None:
    assert all(name[:2] in {"RS", "PS", "ES"} for name in operators.ALGORITHMS)


@pytest.mark.parametrize(
    "keys",
    [
        Answer(200, b"<html>Maintenance</html>"),
        Answer(200, b""),
        json_answer(200, []),
        json_answer(200, {}),
        json_answer(200, {"keys": []}),
        json_answer(200, {"keys": None}),
        json_answer(200, {"keys": "none"}),
        json_answer(200, {"keys": ["own"]}),
        json_answer(200, {"keys": [{"kty": "RSA", "kid": "own"}]}),
        json_answer(200, {"keys": [public_key("own") | {"kid": "own", "kty": ["RSA"]}]}),
        Answer(200, b'{"keys": ' + b"[" * 100_000),
        json_answer(200, {"keys": [{"kty": "oct", "kid": "own", "k": "c2VjcmV0"}]}),
        json_answer(200, {"keys": [public_key("own", use="enc") | {"kid": "own"}]}),
        json_answer(500, {"keys": [public_key("own") | {"kid": "own"}]}),
        Answer(302, headers={"location": "/keys2"}),
    ],
)
def test_a_key_set_without_a_usable_key_says_nothing_about_a_token(keys: Answer) -> None:
    with issuing() as own:
        own.keys = keys

        with pytest.raises(Unavailable):
            verified_claims(settings(own.url), own.token())


@pytest.mark.parametrize(
    ("keys", "kid", "is_good"),
    [
        ([public_key("own")], None, True),
        ([public_key("own")], "own", True),
        ([public_key("own") | {"kid": "own"}], None, True),
        ([public_key("own", alg=None, use=None)], None, True),
        ([public_key("own"), public_key("foreign", use="enc") | {"kid": "x"}], None, True),
        ([public_key("own") | {"kid": "own"}], "other", False),
        ([public_key("foreign")], None, False),
        ([public_key("own") | {"kid": "own"}, public_key("foreign") | {"kid": "x"}], None, False),
        ([public_key("own") | {"kid": "own"}, public_key("foreign") | {"kid": "x"}], "own", True),
        ([public_key("own"), public_key("foreign")], None, False),
    ],
)
def test_a_single_key_needs_no_name(keys: list[dict[str, Any]], kid: str | None, is_good: bool) -> None:
    with issuing() as own:
        own.keys = json_answer(200, {"keys": keys})
        config, token = settings(own.url), own.token(kid=kid)

        if is_good:
            assert verified_claims(config, token)["sub"] == "person-1"
        else:
            with pytest.raises(Unauthorized):
                verified_claims(config, token)


def test_a_key_that_is_new_is_found_and_unknown_names_do_not_let_the_keys_be_read_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with issuing() as own:
        own.keys = json_answer(200, {"keys": [public_key("foreign") | {"kid": "before"}]})
        config, token = settings(own.url), own.token()
        for _ in range(3):
            with pytest.raises(Unauthorized):
                verified_claims(config, token)
        own.keys = None
        with pytest.raises(Unauthorized):
            verified_claims(config, token)
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + operators.KEYS_AGAIN_SECONDS + 1)

        found = verified_claims(config, token)

    assert found["sub"] == "person-1"


@pytest.mark.parametrize("use", [["access"], {"id": 1}, 7, None])
def test_a_token_with_an_odd_use_is_not_valid(issuer: Issuer, use: Any) -> None:
    token = issuer.token(token_use=use)

    if use is None:
        assert verified_claims(settings(issuer.url), token)
    else:
        with pytest.raises(Unauthorized):
            verified_claims(settings(issuer.url), token)


@pytest.mark.parametrize(
    ("methods", "secret"),
    [
        (None, "client secret: +/%ü"),
        (["client_secret_basic"], "s"),
        (["client_secret_post", "client_secret_basic"], "s"),
        (["client_secret_post"], "client secret: +/%ü"),
        (["private_key_jwt", "client_secret_post"], "s"),
        (["none"], ""),
        (None, ""),
    ],
)
def test_the_client_shows_its_secret_as_the_issuer_wants(
    monkeypatch: pytest.MonkeyPatch, methods: list[str] | None, secret: str
) -> None:
    with issuing() as own:
        own.secret = secret
        own.metadata = {"token_endpoint_auth_methods_supported": methods} if methods else {}
        config = settings(own.url, sign_in_client_secret="name" if secret else "")
        monkeypatch.setattr(
            aws, "secretsmanager", lambda: SimpleNamespace(get_secret_value=lambda **_: {"SecretString": secret})
        )

        person, back_to = sign_in.finish(config, "https://page", *come_back(config))

    assert (person.subject, back_to) == ("person-1", "/admin")


def test_the_issuers_refusal_is_logged_by_its_code(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with issuing() as own:
        own.secret = "the right one"
        config = settings(own.url, sign_in_client_secret="name")
        monkeypatch.setattr(
            aws, "secretsmanager", lambda: SimpleNamespace(get_secret_value=lambda **_: {"SecretString": "wrong"})
        )

        with pytest.raises(Unauthorized):
            sign_in.finish(config, "https://page", *come_back(config))

    assert "invalid_client" in caplog.text
    assert not any(word in caplog.text for word in ("private", "right one", "wrong"))


def come_back(settings: AdminSettings) -> tuple[dict[str, str], str]:
    """Begin a sign-in and let the issuer lead back; gives the query and what the browser has kept."""
    url, attempt = sign_in.begin(settings, "https://page", "/admin")
    back = requests.get(url, allow_redirects=False, timeout=20).headers["location"]
    return {name: one for name, (one,) in parse_qs(urlsplit(back).query).items()}, attempt
