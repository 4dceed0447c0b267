"""The fields of Brevo Loyalty in the operator's connection form."""

from __future__ import annotations

from loyalty_bridge.platforms.form import CREDENTIALS, Field, Group

FORM = (
    Group(
        "Brevo Loyalty",
        (
            Field(
                "loyalty.webhook_auth",
                "Webhook authentication",
                "As set in Brevo; header is one of your own.",
                "choice",
                ("basic", "bearer", "header"),
            ),
            Field("loyalty.webhook_header", "Name of the header", "With header."),
            *CREDENTIALS,
            Field(
                "loyalty.rules.identify_by",
                "Known by",
                "What a member is known by, one on each line, in order: ext_id, email_id, phone_id, contact_id, "
                "loyalty_subscription_id, card_id, member_id.",
                "list",
            ),
            Field(
                "loyalty.rules.forward_contact_properties",
                "Pass contact properties on",
                "Names, e-mail address and further attributes of the contact go to the profile.",
                "flag",
            ),
        ),
    ),
)
