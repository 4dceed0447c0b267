"""Sign operators in with OpenID Connect: the authorization code flow with PKCE.

https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth, https://datatracker.ietf.org/doc/html/rfc7636

The server exchanges the code, so tokens never reach the browser. The browser has a random session key in a cookie that
no script can read. Sessions are stored under the hash of the key: signing out ends a session at once, and a copy of the
table opens none.
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
"""Length of a session. A person who leaves a group keeps its access until the session ends."""
ATTEMPT_SECONDS = 600
_ERROR = re.compile(r"[a-z_]{1,50}")
SIGNED_IN = "/admin/signed-in"

_logger = logging.getLogger(__name__)


def begin(settings: AdminSettings, origin: str, back_to: str) -> tuple[str, str]:
    """Begin a sign-in.

    Parameters
    ----------
    origin
        Origin of the page, such as ``https://abc.execute-api.eu-central-1.amazonaws.com``.
    back_to
        Path to show after the sign-in.

    Returns
    -------
    tuple
        The issuer's URL, and the attempt, which the browser stores in a cookie until it returns.
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
    """Finish a sign-in when the browser returns from the issuer, and return the operator and the path to show.

    Raises
    ------
    Unauthorized
        The attempt belongs to another browser, or the issuer did not sign the person in.
    """
    try:
        begun = msgspec.json.decode(base64.urlsafe_b64decode(attempt), type=tuple[str, str, str, str])
    except (ValueError, msgspec.DecodeError):
        raise Unauthorized("the sign-in began in another browser, or too long ago") from None
    state, nonce, verifier, back_to = begun
    if not hmac.compare_digest(state.encode(), query.get("state", "").encode()):
        raise Unauthorized("the sign-in began in another browser, or too long ago")
    if "code" not in query:
        _log_rejection("authorization", query.get("error"))
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
            client = {}  # an issuer may reject a client that is named twice
    request = Request("POST", configuration["token_endpoint"], headers, urlencode(form | client).encode())
    status, result = operators.call_issuer(request)
    token = result.get("id_token") if status == 200 else None
    if not isinstance(token, str):
        _log_rejection(f"token, {status}", result.get("error"))
        raise Unauthorized("the issuer did not sign you in")
    return token


def _basic(client: str, secret: str) -> str:
    """Encode client credentials as in https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1."""
    return "Basic " + base64.b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode()).decode()


def _log_rejection(endpoint: str, error: object) -> None:
    """Log the issuer's error code; never its text, which may repeat parts of the request.

    https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    """
    code = error if isinstance(error, str) and _ERROR.fullmatch(error) else "no code"
    _logger.warning("sign-in rejected by the issuer (%s endpoint): %s", endpoint, code)


def sign_out_url(settings: AdminSettings, origin: str) -> str:
    """Return the URL that ends the issuer's session, or the page's own if the issuer has none.

    Cognito has parameters of its own:
    https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
    """
    end = operators.configuration(settings).get("end_session_endpoint")
    here = f"{origin}/admin/signed-out"
    query = {"client_id": settings.sign_in_client, "logout_uri": here, "post_logout_redirect_uri": here}
    return f"{end}?{urlencode(query)}" if end else here


def open_session(settings: AdminSettings, operator: Operator) -> str:
    """Store a session and return its key, which only the browser has."""
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
    """Load the operator of a session.

    Raises
    ------
    Unauthorized
        The session does not exist or has ended.
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
    """End a session at once."""
    with aws.reaching("the sessions"):
        aws.dynamodb().delete_item(TableName=settings.sessions_table, Key={"session": {"S": _hash(key)}})


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
