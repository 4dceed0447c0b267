"""Settings of Punchh: its webhooks, how its events are mapped, and how its APIs are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import WEBHOOK_CREDENTIALS, WebhookSettings
from loyalty_bridge.platforms.webhook_auth import Credential

if TYPE_CHECKING:
    from loyalty_bridge.platforms.form import Group


CLIENT_SECRET = "punchh_client_secret"  # noqa: S105 - a name
ADMIN_KEY = "punchh_admin_key"
COUPON_TOKEN_PREFIX = "punchh_coupon_token_"  # noqa: S105 - the beginning of a name
"""The Dynamic Generation Token of a campaign; the campaign's id follows."""


class PunchhRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program decides about its Punchh events.

    Attributes
    ----------
    default_country
        ISO 3166-1 alpha-2 country of phone numbers without ``+``; None refuses them.
    """

    default_country: str | None = "US"


class PunchhApi(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's Punchh is reached.

    Attributes
    ----------
    base_url
        Such as ``https://server.punchh.com``; empty: no action and no look-up is possible.
    client
        The business's client key; names it, and proves nothing.
    flavour
        Which API signs members up.
    external_source
        What Punchh calls the system whose ids are ``external_source_id``: ``customer_id``, or another one that was
        arranged with Punchh.
    """

    base_url: str = ""
    client: str = ""
    flavour: Literal["mobile", "online_ordering"] = "mobile"
    external_source: str = "customer_id"


class PunchhSettings(WebhookSettings, frozen=True, kw_only=True, tag="punchh"):
    """The Punchh side of a connection."""

    platform: ClassVar[Literal["punchh"]] = "punchh"
    title: ClassVar[str] = "Punchh"
    secrets: ClassVar[tuple[str, ...]] = (*WEBHOOK_CREDENTIALS, CLIENT_SECRET, ADMIN_KEY)
    # https://developers.partech.com
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)?\.punchh\.com")
    member_label: ClassVar[str] = "punchh_external_id"
    rules: PunchhRules = PunchhRules()
    api: PunchhApi = PunchhApi()
    existing_accounts: Literal["without_id", "any"] = "without_id"
    """Which existing accounts get the external id when their e-mail address is signed up: those without one, or any. An
    address proves nothing unless it is verified."""
    coupon_code_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    """For how many days a member gets the same code of a campaign; None: as long as the program exists."""
    webhook_auth: Literal["basic", "bearer", "hmac"] = "basic"
    """As chosen in Punchh's Webhooks Manager; ``hmac`` is SHA-1 or SHA-256."""

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

    @classmethod
    def form(cls) -> tuple[Group, ...]:
        """Return the fields of the operator's form."""
        from loyalty_bridge.platforms.punchh.form import FORM

        return FORM
