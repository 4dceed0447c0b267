"""The fields of MoEngage in the operator's connection form."""

from __future__ import annotations

from loyalty_bridge.platforms.form import Field, Group

FORM = (
    Group(
        "MoEngage",
        (
            Field(
                "engagement.api_endpoint",
                "Data API host",
                "Of your data centre. Example: https://api-01.moengage.com",
            ),
            Field("engagement.workspace_id", "Workspace id", "In MoEngage's settings, beside the keys."),
            Field("secrets.moengage_data_key", "Data API key", "The key of Data: each feature has its own.", "secret"),
            Field(
                "engagement.rules.update_existing_only",
                "Only known users",
                "Attributes create no users. Events do all the same. Unchanged attributes are sent too.",
                "flag",
            ),
        ),
    ),
    Group(
        "Rarely needed: MoEngage",
        (
            Field(
                "engagement.rules.objects",
                "Objects",
                "flatten: attributes name_key; send: where MoEngage has switched objects on.",
                "choice",
                ("flatten", "send"),
            ),
            Field(
                "engagement.rules.removal",
                "Removed values",
                "blank: an empty text; unset: where MoEngage has switched that on.",
                "choice",
                ("blank", "unset"),
            ),
            Field(
                "engagement.rules.identity_resolution",
                "Identity resolution",
                "The workspace finds users by e-mail address and mobile number too.",
                "flag",
            ),
            Field(
                "engagement.rules.single_calls",
                "Single calls",
                "One object a call, whose answer names what is wrong; many more requests.",
                "flag",
            ),
        ),
        is_folded=True,
    ),
)
