"""The fields of Convercus in the operator's connection form."""

from __future__ import annotations

from loyalty_bridge.platforms.form import Field, Group

FORM = (
    Group(
        "Convercus",
        (
            Field(
                "loyalty.membership_optins",
                "Opt-in channels",
                "All channels of the program, one on each line, spelled as in Convercus.",
                "list",
            ),
            Field(
                "loyalty.default_optins",
                "Default opt-ins",
                "Channels that an opt-in action sets when it names none. At least one.",
                "several",
                choices_from="loyalty.membership_optins",
            ),
            Field(
                "loyalty.rules.default_currency",
                "Default currency",
                "Three letters, for transactions without one; without it their purchase is refused. Example: EUR",
                is_optional=True,
            ),
            Field(
                "loyalty.rules.default_country",
                "Default country",
                "Two letters, for phone numbers without a country code. Example: DE",
                is_optional=True,
            ),
        ),
    ),
    Group(
        "Actions and look-ups on Convercus",
        (
            Field("loyalty.api.base_url", "API", "https://api.convercus.io. Empty: no action, no look-up."),
            Field(
                "loyalty.api.auth",
                "Signs in with",
                "oauth: client credentials of the realm; login: user name and password.",
                "choice",
                ("oauth", "login"),
            ),
            Field("loyalty.api.auth_url", "Sign-in host", "https://auth.convercus.io, with oauth."),
            Field("loyalty.api.realm", "Realm", "The program's, with oauth."),
            Field(
                "secrets.convercus_client_secret",
                "Client secret",
                "Of the client machine-2-machine, with oauth.",
                "secret",
            ),
            Field("loyalty.api.org", "Organisation", "With login."),
            Field("loyalty.api.user_name", "User name", "With login."),
            Field("secrets.convercus_password", "Password", "With login.", "secret"),
            Field(
                "loyalty.api.interaction_id",
                "Point of interaction",
                "The registered one in whose name the bridge acts.",
            ),
        ),
    ),
    Group(
        "Limits of actions",
        (
            Field(
                "loyalty.limits.points_per_booking",
                "Points of one booking",
                "At most. Empty: 100,000,000.",
                "number",
                is_optional=True,
            ),
            Field(
                "loyalty.limits.members_per_batch",
                "Members of one batch",
                "At most. Empty: 500.",
                "number",
                is_optional=True,
            ),
        ),
    ),
    Group(
        "Rarely needed: Convercus",
        (
            Field(
                "loyalty.rules.opt_in_without_record",
                "Opt-in list without e-mail",
                "What it says about e-mail: subscribed, or nothing (untouched).",
                "choice",
                ("subscribed", "untouched"),
            ),
            Field(
                "loyalty.rules.email_optins",
                "E-mail opt-in types",
                "Opt-in types that stand for e-mail, one on each line.",
                "list",
            ),
            Field(
                "loyalty.rules.excluded_fields",
                "Fields not to send",
                "Fields of events that the mapping does not name and Braze should not get, one on each line.",
                "list",
            ),
        ),
        is_folded=True,
    ),
)
