"""The fields of Braze in the operator's connection form."""

from __future__ import annotations

from loyalty_bridge.platforms.form import Field, Group

FORM = (
    Group(
        "Braze",
        (
            Field(
                "engagement.api_endpoint",
                "REST endpoint",
                "Of your Braze instance. Example: https://rest.iad-01.braze.com",
            ),
            Field("secrets.braze_api_key", "REST API key", "With the permission users.track.", "secret"),
            Field(
                "engagement.rules.identifier_type",
                "Members are",
                "How members are matched to profiles. After a change nothing counts as sent already.",
                "choice",
                ("external_id", "user_alias"),
            ),
            Field(
                "engagement.rules.update_existing_only",
                "Only known users",
                "Users that Braze does not know are left out. Unchanged attributes are sent too.",
                "flag",
            ),
        ),
    ),
    Group(
        "Rarely needed: Braze",
        (
            Field(
                "engagement.rules.alias_label",
                "Alias label",
                "With user_alias. Empty: the loyalty platform's own, such as convercus_account_id. After a change "
                "nothing counts as sent already.",
                is_optional=True,
            ),
            Field(
                "engagement.rules.object_limit",
                "Object limit",
                "combined: 75 objects a request in total; per_array: contracts with the legacy limits.",
                "choice",
                ("combined", "per_array"),
            ),
            Field("engagement.rules.max_objects", "Objects a request", "Fewer than 75, if need be.", "number"),
            Field(
                "engagement.rules.revenue",
                "Revenue",
                "purchases: purchase objects; ecommerce: events of orders, which workspaces made since autumn "
                "2026 need; both: while you move from one to the other.",
                "choice",
                ("purchases", "ecommerce", "both"),
            ),
            Field(
                "engagement.rules.purchase_product_id",
                "Product id of purchases",
                "A constant; empty: the transaction's id.",
                is_optional=True,
            ),
        ),
        is_folded=True,
    ),
)
