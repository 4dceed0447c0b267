"""The settings of a program's platforms: what generic code may ask of them, whatever the vendor.

Each vendor's `settings.py` derives one class. msgspec takes a tenth of pydantic's time to import, and microseconds to
read a stored connection: lookups need both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms.webhook_auth import Credential

Name = Annotated[str, msgspec.Meta(max_length=100)]

Secrets = Mapping[str, msgspec.Meta]
"""Names of secrets, with their title and description."""

WEBHOOK_CREDENTIALS: Secrets = {
    "webhook_credential": msgspec.Meta(
        title="Webhook credential",
        description=(
            "What each delivery must show. With basic: user:password. Otherwise the token, secret or header value."
        ),
    ),
    "webhook_credential_next": msgspec.Meta(
        title="Next webhook credential",
        description="Also valid, so that you can replace the first one without losing a delivery.",
    ),
}
"""Two valid credentials, so that one can be exchanged for the other without losing a delivery."""
MIN_CREDENTIAL_LENGTH = 16


class PlatformSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform"):
    """One side of a program's connection.

    Attributes
    ----------
    platform
        The platform's name in a connection, also the tag of the class.
    title
        The platform's name for people.
    secrets
        Its secrets by name.
    hosts
        The hosts that belong to the platform; an operator allows others at deployment.
    rules
        How the program's events are mapped.
    """

    platform: ClassVar[str]
    title: ClassVar[str]
    secrets: ClassVar[Secrets] = {}
    hosts: ClassVar[re.Pattern[str]] = re.compile("(?!)")
    rules: Any = None

    def missing(self, secrets: Collection[str]) -> list[str]:  # noqa: ARG002 - a vendor may need some
        """List what streaming needs and is not set, as field names of the connection."""
        return []

    def endpoints(self) -> Mapping[str, str]:
        """Return the URLs that are set, by their path in these settings."""
        return {}

    def secret_forms(self) -> tuple[str, ...]:
        """Return the names of secrets, for people; a name may have a part in ``<…>``."""
        return tuple(self.secrets)

    def is_secret(self, name: str) -> bool:
        """Return whether a secret of that name exists."""
        return name in self.secrets

    def is_sent_in_header(self, secret: str) -> bool:  # noqa: ARG002 - a vendor may have some
        """Return whether a secret stands in an HTTP header as it is."""
        return False

    def check_secrets(self, secrets: Mapping[str, str]) -> None:
        """Check new secrets; raise `Invalid` when one cannot work or is easily guessed."""


class LoyaltySettings(PlatformSettings, frozen=True, kw_only=True):
    """Settings of a loyalty platform.

    Attributes
    ----------
    member_label
        What the member's id is called at an engagement platform: the label of an alias, and the attribute that holds
        the id, where the mapping sends one.
    """

    member_label: ClassVar[str] = "loyalty_member_id"


class WebhookSettings(LoyaltySettings, frozen=True, kw_only=True):
    """Settings of a loyalty platform that delivers its events by webhook, with a credential in each delivery."""

    secrets: ClassVar[Secrets] = WEBHOOK_CREDENTIALS
    webhook_auth: Any = "basic"
    """How a delivery shows the credential: ``basic`` (``user:password``), ``bearer``, or a scheme of the vendor."""

    def missing(self, secrets: Collection[str]) -> list[str]:
        """List the credential when no delivery can show one."""
        return ["secrets.webhook_credential"] if WEBHOOK_CREDENTIALS.keys().isdisjoint(secrets) else []

    def is_sent_in_header(self, secret: str) -> bool:
        """Return whether deliveries show the secret as it is."""
        return secret in WEBHOOK_CREDENTIALS and self.webhook_auth in {"bearer", "header"}

    def check_secrets(self, secrets: Mapping[str, str]) -> None:
        """Check new credentials.

        Raises
        ------
        Invalid
            One is too short, or is not ``user:password`` although the webhook uses Basic.
        """
        for name in WEBHOOK_CREDENTIALS:
            if name not in secrets:
                continue
            user, colon, password = secrets[name].partition(":")
            if self.webhook_auth == "basic" and not (user.strip() and colon and password.strip()):
                raise Invalid(f"secrets.{name}", "is not user:password")
            if len(secrets[name]) < MIN_CREDENTIAL_LENGTH:
                raise Invalid(
                    f"secrets.{name}", f"has fewer than {MIN_CREDENTIAL_LENGTH} characters, so that it may be guessed"
                )

    def credentials(self, secret: str) -> Iterator[Credential]:
        """Return what a delivery may show for a secret; a vendor with a scheme of its own adds it."""
        if self.webhook_auth == "basic":
            user, _, password = secret.partition(":")
            yield Credential("basic", password, user)
        elif self.webhook_auth == "bearer":
            yield Credential("bearer", secret)


class EngagementSettings(PlatformSettings, frozen=True, kw_only=True):
    """Settings of an engagement platform: its address, and how members and their data appear there."""

    api_endpoint: str = ""

    def missing(self, secrets: Collection[str]) -> list[str]:
        """List the address, and each secret that is not set."""
        absent = [] if self.api_endpoint else ["engagement.api_endpoint"]
        return absent + [f"secrets.{name}" for name in self.secrets if name not in secrets]

    def endpoints(self) -> Mapping[str, str]:
        """Return the address."""
        return {"api_endpoint": self.api_endpoint}

    def users(self, member_label: str) -> tuple[str, ...]:  # noqa: ARG002 - a vendor may find users by it
        """Return what decides which users the updates reach. `member_label` is the loyalty platform's."""
        return (self.api_endpoint,)
