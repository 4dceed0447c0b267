"""Settings of Brevo Loyalty: its webhooks, and how its events are mapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import WebhookSettings
from loyalty_bridge.platforms.webhook_auth import Credential

IdentifyBy = Literal[
    "ext_id", "email_id", "phone_id", "contact_id", "loyalty_subscription_id", "card_id", "member_id"
]  # fmt: skip


class BrevoRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program decides about its Brevo Loyalty events."""

    identify_by: Annotated[
        tuple[IdentifyBy, ...],
        msgspec.Meta(
            title="Members are identified by",
            description=(
                "In order of preference: ext_id, email_id, phone_id, contact_id, loyalty_subscription_id, card_id, "
                "member_id."
            ),
        ),
    ] = ("ext_id", "email_id", "phone_id", "contact_id")
    forward_contact_properties: Annotated[
        bool,
        msgspec.Meta(
            title="Send contact properties",
            description="Names, e-mail address and further attributes of the contact go to the profile.",
        ),
    ] = False


class BrevoSettings(WebhookSettings, frozen=True, kw_only=True, tag="brevo"):
    """The Brevo Loyalty side of a connection."""

    platform: ClassVar[Literal["brevo"]] = "brevo"
    title: ClassVar[str] = "Brevo Loyalty"
    rules: BrevoRules = BrevoRules()
    webhook_auth: Annotated[
        Literal["basic", "bearer", "header"],
        msgspec.Meta(
            title="Webhook authentication",
            description="As set in Brevo. header: the credential is in a request header.",
        ),
    ] = "basic"
    webhook_header: Annotated[
        str,
        msgspec.Meta(
            title="Header name",
            description="With header: the request header that contains the credential.",
            pattern=r"^[A-Za-z0-9-]{1,100}\Z",
        ),
    ] = "X-Webhook-Key"

    def credentials(self, secret: str) -> Iterator[Credential]:
        """Return what a delivery may show for a secret."""
        yield from WebhookSettings.credentials(self, secret)
        if self.webhook_auth == "header":
            yield Credential("header", secret, self.webhook_header)
