"""The setup guide: what to paste into the platforms, with a program's URLs (docs/braze.md, docs/moengage.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loyalty_bridge.platforms.braze.settings import BrazeSettings
from loyalty_bridge.platforms.brevo.settings import BrevoSettings
from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
from loyalty_bridge.platforms.moengage.settings import MoEngageSettings
from loyalty_bridge.platforms.punchh.settings import PunchhSettings
from loyalty_bridge.platforms.settings import WebhookSettings

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import OperatorSettings

_HEADERS = "X-Convercus-Key: <KEY>\nContent-Type: application/json"
_ASSIGN = """{
  "account_id": "{{<MEMBER> | json_escape}}",
  "braze_campaign_id": "{{campaign.${api_id} | json_escape}}",
  "dispatch_id": "{{campaign.${dispatch_id} | json_escape}}"
}"""
_BOOK = """{
  "booking_type": "EARNBOOKING",
  "booking_type_code": "<BOOKING_TYPE_CODE>",
  "points": 50,
  "reason": "Birthday bonus",
  "braze_campaign_id": "{{campaign.${api_id} | json_escape}}",
  "dispatch_id": "{{campaign.${dispatch_id} | json_escape}}"
}"""
_SUBSCRIBE = """{
  "account_id": "{{<MEMBER> | json_escape}}",
  "status": "allowed",
  "dispatch_id": "{{campaign.${dispatch_id} | json_escape}}"
}"""
_SIGN_UP = """{
  "user": {
    "email": {{UserAttribute['Email (Standard)']|tojson}},
    "first_name": {{UserAttribute['First Name']|tojson}},
    "last_name": {{UserAttribute['Last Name']|tojson}},
    "terms_and_conditions": "true",
    "zip_code": {{UserAttribute['Last Known Pincode']|default('')|tojson}},
    "birthday": {{UserAttribute['Birthday']|default('')|tojson}},
    "external_source": "customer_id",
    "external_source_id": {{UserAttribute['ID']|tojson}}
  }
}"""
_PARAMETERS = (
    """{"params": {"member": UserAttribute['ID']|default('')|string|urlencode, "campaign": "<CAMPAIGN_ID>"}}"""
)
_COUPON = """{% set coupon = ContentApi.punchh_coupon(<PARAMETERS>) %}
{% if coupon and coupon.coupon_code|default('') %}
<p>Your code: <strong>{{ coupon.coupon_code|e }}</strong></p>
{% endif %}"""
_CONNECTED_CONTENT = """{% connected_content
  <URL>
  :headers {"X-Convercus-Key": "<KEY>"}
  :content_type application/json
  <CACHE>
  :save <NAME>
%}"""


@dataclass(frozen=True, slots=True)
class SetupSection:
    """One step of the guide: where to paste, and the texts with their labels."""

    title: str
    where: str
    texts: tuple[tuple[str, str], ...]


def setup_guide(settings: OperatorSettings, program: Program) -> Iterator[SetupSection]:
    """Return the guide for a program's platforms."""
    side = program.connection.loyalty
    api = f"{settings.api_url}/v1/programs/{program.id}"
    match side:
        case PunchhSettings():
            yield SetupSection(
                "Punchh",
                f"In the Webhooks Manager. Authentication: {side.webhook_auth}, with this connection's credential.",
                (
                    ("Base URL", settings.punchh_webhook_base_url),
                    ("Endpoint of the webhook", f"/v1/programs/{program.id}/webhooks/punchh"),
                ),
            )
            if isinstance(program.connection.engagement, MoEngageSettings):
                yield from _moengage(api)
        case BrevoSettings():
            url = f"{settings.loyalty_webhook_base_url}/v1/programs/{program.id}/webhooks/loyalty"
            yield SetupSection(
                "Brevo Loyalty",
                "Integrations, Webhooks, Add webhook, with the events of Loyalty. "
                f"Authentication: {side.webhook_auth}, with this connection's credential.",
                (("URL to notify", url),),
            )
        case ConvercusSettings():
            yield SetupSection(
                "Convercus", "Send events by the queue, the stream, or HTTP.", tuple(_feeds(settings, program))
            )
            if isinstance(program.connection.engagement, BrazeSettings):
                yield from _braze(api, _member(program.connection.engagement))
        case WebhookSettings():
            url = f"{settings.loyalty_webhook_base_url}/v1/programs/{program.id}/webhooks/{side.platform}"
            where = f"In the settings of its webhooks. Authentication: {side.webhook_auth}, with this credential."
            yield SetupSection(side.title, where, (("URL", url),))


def _feeds(settings: OperatorSettings, program: Program) -> Iterator[tuple[str, str]]:
    group = f"'{program.id}#<ACCOUNT_ID>'"
    if settings.events_queue_url:
        send = f"aws sqs send-message --queue-url '{settings.events_queue_url}'"
        yield "By the queue", f"{send} \\\n  --message-group-id {group} --message-body file://event.json"
    if settings.events_stream:
        send = f"aws kinesis put-record --stream-name '{settings.events_stream}'"
        yield "By the stream", f"{send} \\\n  --partition-key {group} --data fileb://event.json"
    yield "By HTTP: POST", f"{settings.api_url}/v1/programs/{program.id}/events"
    yield "Headers", _HEADERS


def _moengage(api: str) -> Iterator[SetupSection]:
    yield SetupSection(
        "MoEngage: sign members up",
        "Create Campaign, Connectors, Custom: method POST, body type JSON.",
        (
            ("URL", f"{api}/members"),
            ("Headers", "X-Bridge-Key: <KEY>\nContent-Type: application/json"),
            ("Body", _SIGN_UP),
        ),
    )
    yield SetupSection(
        "MoEngage: show a coupon code",
        "Settings, Advanced Settings, Content API, Add: name punchh_coupon, method GET, "
        "URL parameters member (the user's id) and campaign.",
        (
            ("URL", f"{api}/members/-/coupon-code"),
            ("Header", "X-Bridge-Key: <KEY>"),
            ("In the message", _COUPON.replace("<PARAMETERS>", _PARAMETERS)),
        ),
    )


def _member(side: BrazeSettings) -> str:
    """Return the member's id in Liquid. With aliases it is an attribute, which an app's SDK may overwrite."""
    is_alias = side.rules.identifier_type == "user_alias"
    return "custom_attribute.${convercus_account_id}" if is_alias else "${user_id}"


def _braze(api: str, member: str) -> Iterator[SetupSection]:
    named = f"{api}/members/{{{{{member} | url_param_escape}}}}"
    yield SetupSection(
        "Braze: webhooks",
        "In a webhook campaign, or in a Canvas step with a webhook message: method POST, raw text. "
        "Keep the filter behind every value.",
        (
            ("Request headers", _HEADERS),
            ("Assign a coupon: URL", f"{api}/campaigns/<COUPON_ID>/assign"),
            ("Assign a coupon: body", _ASSIGN.replace("<MEMBER>", member)),
            ("Book points: URL", f"{named}/bookings"),
            ("Book points: body", _BOOK),
            ("Set e-mail opt-ins: URL", f"{api}/subscriptions/email"),
            ("Set e-mail opt-ins: body", _SUBSCRIBE.replace("<MEMBER>", member)),
        ),
    )
    profile = (f"{named}/profile", ":cache_max_age 300", "member")
    coupons = (f"{named}/coupons?lang={{{{${{language}} | url_param_escape}}}}", ":no_cache", "offers")
    yield SetupSection(
        "Braze: Connected Content",
        "At the beginning of a message. Test for a field that is always present, such as member.member_id.",
        tuple(
            (label, _CONNECTED_CONTENT.replace("<URL>", url).replace("<CACHE>", cache).replace("<NAME>", name))
            for label, (url, cache, name) in (("Profile", profile), ("Coupons", coupons))
        ),
    )
