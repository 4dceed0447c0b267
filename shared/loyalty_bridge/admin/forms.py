"""The connection form: its fields with their help, and how what was typed becomes a change of the connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loyalty_bridge.platforms.punchh.settings import COUPON_TOKEN_PREFIX

Form = Mapping[str, Sequence[str]]
Kind = Literal["text", "list", "several", "flag", "choice", "number", "secret"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form.

    Attributes
    ----------
    path
        Of the setting in the connection, such as ``loyalty.rules.default_currency``; or ``secrets.<name>``.
    is_optional
        Whether nothing typed means that there is no value, where an empty text is none.
    choices_from
        Path of the setting whose values are the choices, with the kind `several`.
    """

    path: str
    label: str
    help: str = ""
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    is_optional: bool = False
    choices_from: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together; the rarely needed ones are folded away."""

    title: str
    fields: tuple[Field, ...]
    is_folded: bool = False


COUPON_CAMPAIGN, COUPON_TOKEN = "coupon_campaign", "coupon_token"
"""Fields of their own: a secret for each coupon campaign of Punchh, which is named by the campaign's id."""
LOYALTY = {"convercus": "Convercus", "punchh": "Punchh", "brevo": "Brevo Loyalty"}
ENGAGEMENT = {"braze": "Braze", "moengage": "MoEngage"}
"""The platforms by the names that people know."""

_CREDENTIALS = (
    Field(
        "secrets.webhook_credential",
        "Webhook credential",
        "What each delivery has to show. With basic: user:password; else the token, the secret, or the header's value.",
        "secret",
    ),
    Field(
        "secrets.webhook_credential_next",
        "Next webhook credential",
        "Valid beside the first, so that one can be exchanged for the other without losing a delivery.",
        "secret",
    ),
)
_GROUPS: Mapping[str, tuple[Group, ...]] = {
    "convercus": (
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
    ),
    "punchh": (
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
                *_CREDENTIALS,
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
    ),
    "brevo": (
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
                *_CREDENTIALS,
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
    ),
    "braze": (
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
                    "engagement.rules.purchase_product_id",
                    "Product id of purchases",
                    "A constant; empty: the transaction's id.",
                    is_optional=True,
                ),
            ),
            is_folded=True,
        ),
    ),
    "moengage": (
        Group(
            "MoEngage",
            (
                Field(
                    "engagement.api_endpoint",
                    "Data API host",
                    "Of your data centre. Example: https://api-01.moengage.com",
                ),
                Field("engagement.workspace_id", "Workspace id", "In MoEngage's settings, beside the keys."),
                Field(
                    "secrets.moengage_data_key", "Data API key", "The key of Data: each feature has its own.", "secret"
                ),
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
    ),
}
_COMMON = Group(
    "Rarely needed: delivery",
    (
        Field(
            "attribute_writes",
            "Attributes that did not change",
            "changed: are not sent again, since each write costs a data point; all: are.",
            "choice",
            ("changed", "all"),
        ),
        Field(
            "repeat_window",
            "Repeats of actions",
            "For how many seconds an equal action without an idempotency key gets the first answer; 0: never.",
            "number",
        ),
    ),
    is_folded=True,
)


def groups(loyalty: str, engagement: str) -> tuple[Group, ...]:
    """Give the form of a pair of platforms."""
    return (*_GROUPS[engagement], *_GROUPS[loyalty], _COMMON)


def fields(loyalty: str, engagement: str) -> Iterator[Field]:
    """Give its fields."""
    for group in groups(loyalty, engagement):
        yield from group.fields


def label(path: str) -> str:
    """Name a setting as the form does."""
    return next(
        (field.label for some in _GROUPS.values() for group in some for field in group.fields if field.path == path),
        path,
    )


def read(form: Form, loyalty: str, engagement: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Make what was typed a change of the connection, and the secrets to set; a secret that is left blank stays."""
    change: dict[str, Any] = {"loyalty": {"platform": loyalty}, "engagement": {"platform": engagement}}
    secrets: dict[str, str] = {}
    for field in fields(loyalty, engagement):
        typed = "".join(form.get(field.path, ())[:1]).strip()
        if field.kind == "secret":
            if typed:
                secrets[field.path.removeprefix("secrets.")] = typed
            continue
        *parents, name = field.path.split(".")
        place = change
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = tuple(form.get(field.path, ())) if field.kind == "several" else _value(field, typed)
    campaign, token = ("".join(form.get(name, ())[:1]).strip() for name in (COUPON_CAMPAIGN, COUPON_TOKEN))
    if token:
        secrets[f"{COUPON_TOKEN_PREFIX}{campaign}"] = token
    return change, secrets


def _value(field: Field, typed: str) -> Any:
    if field.is_optional and not typed:
        return None
    match field.kind:
        case "flag":
            return typed == "on"
        case "list":
            return tuple(
                line.strip() for line in typed.split("\n") if line.strip()
            )  # no other character ends a line here
        case "number":
            return int(typed) if is_number(typed) else typed
        case _:
            return typed


def is_number(typed: str) -> bool:
    """Check for a whole number of a length that settings have: Python refuses to read thousands of digits."""
    return typed.isascii() and typed.isdigit() and len(typed) <= 15


def shown(settings: Mapping[str, Any], field: Field) -> str:
    """Write a setting as its field shows it; a secret is not shown."""
    if field.kind == "secret":
        return ""
    value = _setting(settings, field.path)
    if isinstance(value, bool):
        return "on" if value else ""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)


def boxes(settings: Mapping[str, Any], field: Field) -> list[tuple[str, bool]]:
    """List the choices of a field of the kind `several`, and whether each is chosen.

    What is chosen and is no choice any more stays visible, so that it can be cleared.
    """
    chosen = _setting(settings, field.path) or ()
    return [(one, one in chosen) for one in dict.fromkeys((*(_setting(settings, field.choices_from) or ()), *chosen))]


def _setting(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
