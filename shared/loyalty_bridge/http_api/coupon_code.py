"""Look up a member's coupon code: the stored one, or a new one of the campaign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loyalty_bridge.actions import coupon_codes
from loyalty_bridge.actions.clients import punchh_client
from loyalty_bridge.actions.punchh import generate_code
from loyalty_bridge.errors import BridgeError, Invalid, NotConnected, UpstreamRejected
from loyalty_bridge.http_api import auth, lookups
from loyalty_bridge.http_api.requests import external_id, identifier
from loyalty_bridge.http_api.responses import Response, response
from loyalty_bridge.infra import dynamodb
from loyalty_bridge.pipeline import identities
from loyalty_bridge.platforms.punchh.events import user_id_of
from loyalty_bridge.platforms.punchh.settings import ADMIN_KEY, COUPON_TOKEN_PREFIX, PunchhSettings
from loyalty_bridge.programs import credential_breaker
from loyalty_bridge.settings import MemberSettings, load_settings

if TYPE_CHECKING:
    from loyalty_bridge.http_api.requests import ApiRequest


def look(call: ApiRequest, deadline: float) -> Mapping[str, Any]:
    """Return the member's code of the campaign in the query; a stored code needs no call to Punchh.

    For the member ``-`` the query has the id, because MoEngage fills in query parameters only
    (https://www.moengage.com/docs/user-guide/settings/advanced-settings/add-a-content-api).
    """
    member_settings = load_settings(MemberSettings)
    path_id = call.path.get("accountId", "")
    campaign = _id(identifier, call.query.get("campaign", ""))
    member = _id(external_id, call.query.get("member", "")) if path_id == "-" else _id(identifier, path_id)
    secrets = (ADMIN_KEY, f"{COUPON_TOKEN_PREFIX}{campaign}")
    breakers = [credential_breaker.item_of(secret) for secret in secrets]
    access = auth.authenticate(member_settings, call.program, call.headers, breakers, scope="lookups")
    program = access.program
    side = program.connection.loyalty
    if not isinstance(side, PunchhSettings):
        raise NotConnected(f"the loyalty platform of {program.id} is not Punchh")
    if secrets[1] not in program.secrets:
        raise Invalid("campaign", "has no token in the program")
    if not member:
        raise Invalid("accountId", "is not an id")
    names = (coupon_codes.key(program.generation, member), identities.key_of_aliases(program.generation, member))
    rows = dynamodb.batch_get([(member_settings.members_table, {"member": {"S": name}}) for name in names], deadline)
    items = {item["member"]["S"]: item for item in rows[member_settings.members_table]}

    def generate() -> str:
        user_id = user_id_of(identities.from_item(items.get(names[1], {})))
        if user_id is None:
            raise Invalid("accountId", "is not known by an id of Punchh")
        client = punchh_client(member_settings, program, access.items, needs=secrets)
        return generate_code(client, user_id, campaign, deadline)

    stored = coupon_codes.from_item(items.get(names[0], {}), campaign)
    code_key = coupon_codes.CodeKey(program.generation, member, campaign)
    code = coupon_codes.get_or_generate(
        member_settings, code_key, stored, generate, deadline=deadline, days=side.coupon_code_days
    )
    return {"coupon_code": code}


def error_response(error: BridgeError) -> Response:
    """Return the response to an error of this lookup."""
    if isinstance(error, UpstreamRejected):
        return response(200, {"error": "no_coupon"})
    if isinstance(error, Invalid) and error.field == "campaign":
        return response(200, {"error": "campaign_not_found"})
    return lookups.error_response(error)


def _id(read: Callable[[str], str], value: str) -> str:
    """Return an id, or nothing if it is malformed: a wrong key is reported before a wrong id."""
    try:
        return read(value)
    except ValueError:
        return ""
