"""Signing in: OpenID Connect's authorization code flow with PKCE; the code is exchanged by the server.

https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth, https://datatracker.ietf.org/doc/html/rfc7636

What the browser keeps is a random session key in a cookie that no script can read; tokens never reach it. Sessions are
stored under the key's hash, so that signing out ends one at once and a copy of the table opens none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

import msgspec

from loyalty_bridge.errors import Unauthorized
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import operators
from loyalty_bridge.operations.operators import Operator

if TYPE_CHECKING:
    from loyalty_bridge.settings import AdminSettings

SESSION_SECONDS = 4 * 3600
"""For how long somebody stays signed in; who leaves a group keeps what it gave until then at the longest."""
ATTEMPT_SECONDS = 600
_ERROR = re.compile(r"[a-z_]{1,50}")
SIGNED_IN = "/admin/signed-in"

_logger = logging.getLogger(__name__)


def begin(settings: AdminSettings, origin: str, back_to: str) -> tuple[str, str]:
    """Begin to sign somebody in.

    Parameters
    ----------
    origin
        Of the page, such as ``https://abc.execute-api.eu-central-1.amazonaws.com``.
    back_to
        Path to show afterwards.

    Returns
    -------
    tuple
        The issuer's URL to go to, and what the browser has to keep until it comes back.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = urlencode(
        {
            "response_type": "code",
            "client_id": settings.sign_in_client,
            "redirect_uri": origin + SIGNED_IN,
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    attempt = base64.urlsafe_b64encode(json.dumps([state, nonce, verifier, back_to]).encode()).decode()
    return f"{operators.configuration(settings)['authorization_endpoint']}?{query}", attempt


def finish(settings: AdminSettings, origin: str, query: Mapping[str, str], attempt: str) -> tuple[Operator, str]:
    """Sign somebody in who comes back from the issuer; gives who it is, and the path to show.

    Raises
    ------
    Unauthorized
        The attempt is not this browser's, or the issuer did not sign the person in.
    Unavailable
        The issuer does not answer.
    """
    try:
        begun = msgspec.json.decode(base64.urlsafe_b64decode(attempt), type=tuple[str, str, str, str])
    except (ValueError, msgspec.DecodeError):
        raise Unauthorized("the sign-in was begun elsewhere, or too long ago") from None
    state, nonce, verifier, back_to = begun
    if not hmac.compare_digest(state.encode(), query.get("state", "").encode()):
        raise Unauthorized("the sign-in was begun elsewhere, or too long ago")
    if "code" not in query:
        _log_refusal("authorization", query.get("error"))
        raise Unauthorized("the issuer did not sign you in")
    token = _exchange(settings, origin, query["code"], verifier)
    return operators.operator_of(settings, operators.verified_claims(settings, token, nonce=nonce)), back_to


def _exchange(settings: AdminSettings, origin: str, code: str, verifier: str) -> str:
    from loyalty_bridge.infra.http_client import Request

    configuration = operators.configuration(settings)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": origin + SIGNED_IN,
    }
    client = {"client_id": settings.sign_in_client}
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if settings.sign_in_client_secret:
        with aws.reaching("the sign-in client's secret"):
            kept = aws.secretsmanager().get_secret_value(SecretId=settings.sign_in_client_secret)
        if configuration[operators.CLIENT_AUTHENTICATION] == "client_secret_post":
            client["client_secret"] = kept["SecretString"]
        else:
            headers["authorization"] = _basic(settings.sign_in_client, kept["SecretString"])
            client = {}  # an issuer may refuse a client that is named twice
    request = Request("POST", configuration["token_endpoint"], headers, urlencode(form | client).encode())
    status, told = operators.call_issuer(request)
    token = told.get("id_token") if status == 200 else None
    if not isinstance(token, str):
        _log_refusal(f"token, {status}", told.get("error"))
        raise Unauthorized("the issuer did not sign you in")
    return token


def _basic(client: str, secret: str) -> str:
    """Encode as https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1 has it."""
    return "Basic " + base64.b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode()).decode()


def _log_refusal(endpoint: str, error: object) -> None:
    """Log why the issuer signs nobody in: its code, never its words, which may repeat what was sent.

    https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    """
    code = error if isinstance(error, str) and _ERROR.fullmatch(error) else "no code"
    _logger.warning("the issuer refuses a sign-in (%s endpoint): %s", endpoint, code)


def sign_out_url(settings: AdminSettings, origin: str) -> str:
    """Tell where the issuer ends its own session; the page itself when it does not say.

    Cognito has parameters of its own:
    https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
    """
    end = operators.configuration(settings).get("end_session_endpoint")
    here = f"{origin}/admin/signed-out"
    query = {"client_id": settings.sign_in_client, "logout_uri": here, "post_logout_redirect_uri": here}
    return f"{end}?{urlencode(query)}" if end else here


def open_session(settings: AdminSettings, operator: Operator) -> str:
    """Begin a session; gives its key, which only the browser keeps.

    Raises
    ------
    Unavailable
        DynamoDB does not take it.
    """
    key = secrets.token_urlsafe(32)
    item = {
        "session": {"S": _hash(key)},
        "operator": {"S": json.dumps([operator.subject, operator.name, operator.all_programs, *operator.programs])},
        "expires": {"N": str(int(time.time()) + SESSION_SECONDS)},
    }
    with aws.reaching("the sessions"):
        aws.dynamodb().put_item(TableName=settings.sessions_table, Item=item)
    return key


def session(settings: AdminSettings, key: str) -> Operator:
    """Tell whose session it is.

    Raises
    ------
    Unauthorized
        It is none, or none any more.
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("the sessions"):
        found = aws.dynamodb().get_item(
            TableName=settings.sessions_table, Key={"session": {"S": _hash(key)}}, ConsistentRead=True
        )
    item = found.get("Item")
    try:
        if item is None or int(item["expires"]["N"]) <= time.time():  # TTL deletes late
            raise Unauthorized("not signed in")
        subject, name, all_programs, *programs = json.loads(item["operator"]["S"])
        return Operator(subject, name, all_programs, frozenset(programs))
    except (KeyError, TypeError, ValueError):  # another version wrote it
        raise Unauthorized("not signed in") from None


def close_session(settings: AdminSettings, key: str) -> None:
    """End a session at once.

    Raises
    ------
    Unavailable
        DynamoDB does not answer.
    """
    with aws.reaching("the sessions"):
        aws.dynamodb().delete_item(TableName=settings.sessions_table, Key={"session": {"S": _hash(key)}})


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
