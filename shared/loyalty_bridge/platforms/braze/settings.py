"""Settings of Braze: the workspace's address, and how members and their data appear there."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.limits import UNUSABLE
from loyalty_bridge.platforms.settings import EngagementSettings, Secrets

MAX_OBJECTS = 75
MAX_ALIAS_BYTES = 236
MAX_TEXT = 255
"""Characters of a string value or a name."""


class BrazeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's workspace wants its data.


    Raises
    ------
    ValueError
        A text is beyond Braze's limit.
    """

    identifier_type: Annotated[
        Literal["external_id", "user_alias"],
        msgspec.Meta(
            title="Identifier",
            description="How members are matched to profiles. After a change, everything counts as not sent.",
        ),
    ] = "external_id"
    alias_label: Annotated[
        str | None,
        msgspec.Meta(
            title="Alias label",
            description=(
                "With user_alias. If empty: the label of the loyalty platform. After a change, everything counts as "
                "not sent."
            ),
            extra={"rare": True},
        ),
    ] = None
    update_existing_only: Annotated[
        bool,
        msgspec.Meta(
            title="Existing users only",
            description=(
                "Users that Braze does not know are left out. Attributes are then sent even if they did not change."
            ),
        ),
    ] = False
    object_limit: Annotated[
        Literal["combined", "per_array"],
        msgspec.Meta(
            title="Object limit",
            description="combined: 75 objects per request in total. per_array: for contracts with the legacy limits.",
            extra={"rare": True},
        ),
    ] = "combined"
    max_objects: Annotated[
        int,
        msgspec.Meta(
            title="Objects per request", description="At most 75.", extra={"rare": True}, ge=1, le=MAX_OBJECTS
        ),
    ] = MAX_OBJECTS
    purchase_product_id: Annotated[
        str | None,
        msgspec.Meta(
            title="Product id of purchases",
            description="A constant. If empty: the transaction id.",
            extra={"rare": True},
        ),
    ] = None
    revenue: Annotated[
        Literal["purchases", "ecommerce", "both"],
        msgspec.Meta(
            title="Revenue",
            description=(
                "purchases: purchase objects. ecommerce: events of orders, which workspaces made since autumn 2026 "
                "need. both: while you move from one to the other."
            ),
            extra={"rare": True},
        ),
    ] = "purchases"

    def __post_init__(self) -> None:
        for name in ("alias_label", "purchase_product_id"):
            if (value := getattr(self, name)) is not None and (reason := _text_error(value)):
                raise ValueError(f"{name}: {reason}")
        if self.alias_label and len(self.alias_label.encode()) > MAX_ALIAS_BYTES:
            raise ValueError(f"alias_label: is longer than {MAX_ALIAS_BYTES} bytes")


def _text_error(value: str) -> str:
    if not value.strip():
        return "is blank"
    if len(value) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    return "holds a null byte or a lone surrogate" if UNUSABLE.search(value) else ""


class BrazeSettings(EngagementSettings, frozen=True, kw_only=True, tag="braze"):
    """The Braze workspace of a program."""

    platform: ClassVar[Literal["braze"]] = "braze"
    title: ClassVar[str] = "Braze"
    secrets: ClassVar[Secrets] = {
        "braze_api_key": msgspec.Meta(title="REST API key", description="With the permission users.track.")
    }
    api_endpoint: Annotated[
        str,
        msgspec.Meta(
            title="REST endpoint", description="Of your Braze instance. Example: https://rest.iad-01.braze.com"
        ),
    ] = ""
    # https://www.braze.com/docs/user_guide/administrative/access_braze/sdk_endpoints/
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"rest\.[a-z]{2,3}-[0-9]{2}\.braze\.(com|eu)")
    rules: BrazeRules = BrazeRules()

    def is_sent_in_header(self, secret: str) -> bool:
        """Return whether a secret stands in an HTTP header as it is."""
        return secret in self.secrets

    def users(self, member_label: str) -> tuple[str, ...]:
        """Return the instance and how users are found; workspaces of one instance differ by their keys only."""
        is_alias = self.rules.identifier_type == "user_alias"
        label = (self.rules.alias_label or member_label) if is_alias else ""
        return self.api_endpoint, self.rules.identifier_type, label
