"""Settings of Punchh: its webhooks, how its events are mapped, and how its APIs are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import WEBHOOK_CREDENTIALS, Secrets, WebhookSettings
from loyalty_bridge.platforms.webhook_auth import Credential

CLIENT_SECRET = "punchh_client_secret"  # noqa: S105 - a name
ADMIN_KEY = "punchh_admin_key"
COUPON_TOKEN_PREFIX = "punchh_coupon_token_"  # noqa: S105 - the beginning of a name
"""The Dynamic Generation Token of a campaign; the campaign's id follows."""


class PunchhRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program decides about its Punchh events."""

    default_country: Annotated[
        str | None,
        msgspec.Meta(
            title="Default country",
            description=(
                "Two ISO 3166-1 letters, for phone numbers without a country code. If empty, these are rejected."
            ),
        ),
    ] = "US"


class PunchhApi(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's Punchh is reached."""

    base_url: Annotated[
        str,
        msgspec.Meta(
            title="Server",
            description="Example: https://server.punchh.com. If empty, there are no signups and no coupon codes.",
        ),
    ] = ""
    client: Annotated[
        str,
        msgspec.Meta(title="Client key", description="Your Punchh representative provides it, with the client secret."),
    ] = ""
    flavour: Annotated[
        Literal["mobile", "online_ordering"],
        msgspec.Meta(title="API", description="The API to which the client belongs."),
    ] = "mobile"
    external_source: Annotated[
        str,
        msgspec.Meta(
            title="External source", description="Punchh's name of the system whose ids are external_source_id."
        ),
    ] = "customer_id"


class PunchhSettings(WebhookSettings, frozen=True, kw_only=True, tag="punchh"):
    """The Punchh side of a connection."""

    platform: ClassVar[Literal["punchh"]] = "punchh"
    title: ClassVar[str] = "Punchh"
    secrets: ClassVar[Secrets] = {
        **WEBHOOK_CREDENTIALS,
        CLIENT_SECRET: msgspec.Meta(title="Client secret", description="For signups.", extra={"group": "api"}),
        ADMIN_KEY: msgspec.Meta(
            title="Business admin key",
            description="For coupon codes, and to find out whether a signup with unknown outcome happened.",
            extra={"group": "api"},
        ),
    }
    # https://developers.partech.com
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)?\.punchh\.com")
    member_label: ClassVar[str] = "punchh_external_id"
    rules: PunchhRules = PunchhRules()
    api: PunchhApi = PunchhApi()
    existing_accounts: Annotated[
        Literal["without_id", "any"],
        msgspec.Meta(
            title="Existing accounts",
            description=(
                "Which accounts get the external id when their e-mail address is signed up. without_id: accounts "
                "without one. any: all accounts; use it only if every address is verified."
            ),
            extra={"group": "api"},
        ),
    ] = "without_id"
    coupon_code_days: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=3650)] | None,
        msgspec.Meta(
            title="Days of a coupon code",
            description="How long a member gets the same code of a campaign. If empty: always.",
            extra={"group": "api"},
        ),
    ] = None
    webhook_auth: Annotated[
        Literal["basic", "bearer", "hmac"],
        msgspec.Meta(title="Webhook authentication", description="As chosen in Punchh's Webhooks Manager."),
    ] = "basic"

    def endpoints(self) -> Mapping[str, str]:
        """Return the address of Punchh's APIs."""
        return {"api.base_url": self.api.base_url}

    def secret_forms(self) -> tuple[str, ...]:
        """Return the names of secrets; each coupon campaign has a token."""
        return (*self.secrets, f"{COUPON_TOKEN_PREFIX}<campaign id>")

    def is_secret(self, name: str) -> bool:
        """Return whether a secret of that name exists."""
        return name in self.secrets or re.fullmatch(f"{COUPON_TOKEN_PREFIX}[A-Za-z0-9_-]{{1,64}}", name) is not None

    def is_sent_in_header(self, secret: str) -> bool:
        """Return whether a secret stands in an HTTP header as it is."""
        return secret == ADMIN_KEY or WebhookSettings.is_sent_in_header(self, secret)

    def credentials(self, secret: str) -> Iterator[Credential]:
        """Return what a delivery may show for a secret."""
        yield from WebhookSettings.credentials(self, secret)
        if self.webhook_auth == "hmac":
            yield Credential("hmac-sha256", secret)
            yield Credential("hmac-sha1", secret)
