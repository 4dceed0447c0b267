"""Settings of Braze: the workspace's address, and how members and their data appear there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.limits import UNUSABLE
from loyalty_bridge.platforms.settings import EngagementSettings

if TYPE_CHECKING:
    from loyalty_bridge.platforms.form import Group


MAX_OBJECTS = 75
MAX_ALIAS_BYTES = 236
MAX_TEXT = 255
"""Characters of a string value or a name."""


class BrazeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's workspace wants its data.

    Attributes
    ----------
    identifier_type
        Which of Braze's identifiers the member's id is.
    alias_label
        The label of the alias, for ``user_alias``; at most 236 bytes. None: that of the loyalty platform, such as
        ``convercus_account_id``.
    update_existing_only
        Do not create users.
    object_limit
        Whether 75 objects may be in a request or, with a legacy contract, in each of its arrays.
    max_objects
        That number; it can only be lowered.
    purchase_product_id
        A product id for all purchases. A transaction's id as the product (None) makes one product of each, of which
        Braze's dashboard keeps 5,000; with a constant it is among the properties, as ``transaction_id`` unless the
        source has put it there already.
    revenue
        What a transaction becomes: a purchase object, an ``ecommerce.order_placed`` or ``ecommerce.order_refunded``
        event, or both. Workspaces that Braze made since autumn 2026 have no purchase objects and need ``ecommerce``;
        a workspace that moves from purchases to events sends both until Braze has switched its reports.

    Raises
    ------
    ValueError
        A text is beyond Braze's limit.
    """

    identifier_type: Literal["external_id", "user_alias"] = "external_id"
    alias_label: str | None = None
    update_existing_only: bool = False
    object_limit: Literal["combined", "per_array"] = "combined"
    max_objects: Annotated[int, msgspec.Meta(ge=1, le=MAX_OBJECTS)] = MAX_OBJECTS
    purchase_product_id: str | None = None
    revenue: Literal["purchases", "ecommerce", "both"] = "purchases"

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
    secrets: ClassVar[tuple[str, ...]] = ("braze_api_key",)
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

    @classmethod
    def form(cls) -> tuple[Group, ...]:
        """Return the fields of the operator's form."""
        from loyalty_bridge.platforms.braze.form import FORM

        return FORM
