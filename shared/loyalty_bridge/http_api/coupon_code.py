"""The look-up of a coupon code: the one that the member was given before, else a new one of the campaign."""

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
    """Give the member's code of the campaign that the query names; a remembered one costs no call to Punchh.

    A member ``-`` is named by the query too: what MoEngage fills in are parameters
    (https://www.moengage.com/docs/user-guide/settings/advanced-settings/add-a-content-api).
    """
    told = load_settings(MemberSettings)
    named = call.path.get("accountId", "")
    campaign = _id(identifier, call.query.get("campaign", ""))
    member = _id(external_id, call.query.get("member", "")) if named == "-" else _id(identifier, named)
    secrets = (ADMIN_KEY, f"{COUPON_TOKEN_PREFIX}{campaign}")
    breakers = [credential_breaker.item_of(secret) for secret in secrets]
    admitted = auth.authenticate(told, call.program, call.headers, breakers, scope="lookups")
    program = admitted.program
    side = program.connection.loyalty
    if not isinstance(side, PunchhSettings):
        raise NotConnected(f"the loyalty platform of {program.id} is not Punchh")
    if secrets[1] not in program.secrets:
        raise Invalid("campaign", "has no token in the program")
    if not member:
        raise Invalid("accountId", "is not an id")
    names = (coupon_codes.key(program.generation, member), identities.key_of_aliases(program.generation, member))
    found = dynamodb.batch_get([(told.members_table, {"member": {"S": name}}) for name in names], deadline)
    items = {item["member"]["S"]: item for item in found[told.members_table]}

    def ask() -> str:
        user_id = user_id_of(identities.from_item(items.get(names[1], {})))
        if user_id is None:
            raise Invalid("accountId", "is not known by an id of Punchh")
        client = punchh_client(told, program, admitted.items, needs=secrets)
        return generate_code(client, user_id, campaign, deadline)

    seen = coupon_codes.opened(items.get(names[0], {}), campaign)
    code = coupon_codes.give(
        told, program.generation, member, campaign, seen, ask, deadline=deadline, days=side.coupon_code_days
    )
    return {"coupon_code": code}


def error_response(error: BridgeError) -> Response:
    """Tell why there is no code."""
    if isinstance(error, UpstreamRejected):
        return response(200, {"error": "no_coupon"})
    if isinstance(error, Invalid) and error.field == "campaign":
        return response(200, {"error": "campaign_not_found"})
    return lookups.error_response(error)


def _id(read: Callable[[str], str], value: str) -> str:
    """Give an id; empty when it is none, since a wrong key is told before a wrong id."""
    try:
        return read(value)
    except ValueError:
        return ""
