"""Settings of Brevo Loyalty: its webhooks, and how its events are mapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import WebhookSettings
from loyalty_bridge.platforms.webhook_auth import Credential

if TYPE_CHECKING:
    from loyalty_bridge.platforms.form import Group


IdentifyBy = Literal[
    "ext_id", "email_id", "phone_id", "contact_id", "loyalty_subscription_id", "card_id", "member_id"
]  # fmt: skip


class BrevoRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program decides about its Brevo Loyalty events.

    Attributes
    ----------
    identify_by
        What the member is known by, in order of preference: ``ext_id``, ``email_id`` and ``phone_id`` of
        ``identifiers``, the ``contact_id``, or, for bare deliveries, the ``loyalty_subscription_id``, the
        membership's ``card_id``, or the ``member_id`` of who joins or leaves a shared subscription. An event that has
        none of these is refused.
    forward_contact_properties
        Pass on ``contact_properties``: ``EMAIL``, ``FIRSTNAME``, ``LASTNAME`` and ``SMS`` to the profile, the others
        as the customer's own attributes.
    """

    identify_by: tuple[IdentifyBy, ...] = ("ext_id", "email_id", "phone_id", "contact_id")
    forward_contact_properties: bool = False


class BrevoSettings(WebhookSettings, frozen=True, kw_only=True, tag="brevo"):
    """The Brevo Loyalty side of a connection."""

    platform: ClassVar[Literal["brevo"]] = "brevo"
    title: ClassVar[str] = "Brevo Loyalty"
    rules: BrevoRules = BrevoRules()
    webhook_auth: Literal["basic", "bearer", "header"] = "basic"
    webhook_header: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,100}\Z")] = "X-Webhook-Key"
    """The request header that carries the credential, for ``header``."""

    def credentials(self, secret: str) -> Iterator[Credential]:
        """Return what a delivery may show for a secret."""
        yield from WebhookSettings.credentials(self, secret)
        if self.webhook_auth == "header":
            yield Credential("header", secret, self.webhook_header)

    @classmethod
    def form(cls) -> tuple[Group, ...]:
        """Return the fields of the operator's form."""
        from loyalty_bridge.platforms.brevo.form import FORM

        return FORM
