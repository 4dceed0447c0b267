"""The operator's page of the local run: an address for a browser, and a user who may sign in.

The local AWS serves the page at another address than AWS does, so the address is added to the user pool's client after
the deployment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulators.server import Answer, Request, serving

USER = "operator@example.com"
PASSWORD = "Local-operator-2026"


@contextmanager
def page(endpoint: str, outputs: dict[str, str]) -> Iterator[str]:
    """Serve the page until the block ends; yield its address."""
    gateway = f"{endpoint}/_aws/execute-api/{outputs['AdminApiId']}/$default"
    with serving(lambda request: _forwarded(gateway, request)) as origin:
        _allow_sign_in(outputs, origin)
        yield f"{origin}/admin"


def _forwarded(gateway: str, request: Request) -> Answer:
    import requests

    headers = {**request.headers, "x-forwarded-proto": "http"}
    reply = requests.request(
        request.method, gateway + request.target, headers=headers, data=request.body, allow_redirects=False, timeout=60
    )
    kept = {"content-type", "cache-control", "location", "refresh", "set-cookie"}
    passed = {name: text for name, text in reply.headers.items() if name.lower() in kept or "-policy" in name.lower()}
    return Answer(reply.status_code, reply.content, passed)


def _allow_sign_in(outputs: dict[str, str], origin: str) -> None:
    """Create the demo user and allow the sign-in to return to this address."""
    import boto3

    pool, client = outputs["UserPoolId"], outputs["UserPoolClientId"]
    users = boto3.client("cognito-idp")
    users.update_user_pool_client(
        UserPoolId=pool,
        ClientId=client,
        CallbackURLs=[f"{origin}/admin/signed-in"],
        LogoutURLs=[f"{origin}/admin/signed-out"],
        AllowedOAuthFlows=["code"],
        AllowedOAuthScopes=["openid", "email"],
        AllowedOAuthFlowsUserPoolClient=True,
        SupportedIdentityProviders=["COGNITO"],
    )
    users.admin_create_user(
        UserPoolId=pool,
        Username=USER,
        MessageAction="SUPPRESS",
        TemporaryPassword=PASSWORD,
        UserAttributes=[{"Name": "email", "Value": USER}, {"Name": "email_verified", "Value": "true"}],
    )
    users.admin_set_user_password(UserPoolId=pool, Username=USER, Password=PASSWORD, Permanent=True)
    users.admin_add_user_to_group(UserPoolId=pool, Username=USER, GroupName="loyalty-bridge")
