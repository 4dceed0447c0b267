"""The fields of Punchh in the operator's connection form."""

from __future__ import annotations

from loyalty_bridge.platforms.form import CREDENTIALS, Field, Group

FORM = (
    Group(
        "Punchh",
        (
            Field(
                "loyalty.webhook_auth",
                "Webhook authentication",
                "As chosen in Punchh's Webhooks Manager.",
                "choice",
                ("basic", "bearer", "hmac"),
            ),
            *CREDENTIALS,
            Field(
                "loyalty.rules.default_country",
                "Default country",
                "Two letters, for phone numbers without a country code. Empty: these are refused.",
                is_optional=True,
            ),
        ),
    ),
    Group(
        "Signups and coupon codes at Punchh",
        (
            Field(
                "loyalty.api.base_url",
                "Server",
                "Example: https://server.punchh.com. Empty: no signup, no coupon code.",
            ),
            Field("loyalty.api.client", "Client key", "From your Punchh representative, with the secret."),
            Field("secrets.punchh_client_secret", "Client secret", "For signups.", "secret"),
            Field(
                "loyalty.api.flavour",
                "API",
                "The one that the client belongs to.",
                "choice",
                ("mobile", "online_ordering"),
            ),
            Field(
                "secrets.punchh_admin_key",
                "Business admin key",
                "For coupon codes, and to find out whether a signup of unknown outcome happened.",
                "secret",
            ),
            Field("loyalty.api.external_source", "External source", "What Punchh calls the system of the ids."),
            Field(
                "loyalty.existing_accounts",
                "Existing accounts",
                "Which get the external id when their e-mail address is signed up. without_id: those that have "
                "none. any: also in place of another id; only where every address is verified.",
                "choice",
                ("without_id", "any"),
            ),
            Field(
                "loyalty.coupon_code_days",
                "Days of a coupon code",
                "For how long a member is given the same code of a campaign. Empty: always.",
                "number",
                is_optional=True,
            ),
        ),
    ),
)
