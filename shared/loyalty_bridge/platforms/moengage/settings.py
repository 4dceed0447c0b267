"""Settings of MoEngage: the workspace's address, and how members and their data appear there."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import EngagementSettings

if TYPE_CHECKING:
    from loyalty_bridge.platforms.form import Group


class MoEngageRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's workspace wants its data.

    Attributes
    ----------
    objects
        ``flatten`` an object into attributes called ``name_key`` (an array of objects into one array per key), or
        ``send`` it, where MoEngage has switched objects on; unless asked for more it takes 10 user and 5 event
        attributes that are objects. An object that is merged key by key is flattened anyway: MoEngage can only replace.
    removal
        ``unset`` removes a value, where MoEngage has switched that on:
        https://www.moengage.com/docs/user-guide/data/user-data/unset-user-attributes.
        ``blank`` puts an empty text in the place of a removed text of the profile, as was usual before; other values
        stay as they are.
    update_existing_only
        Do not create users. MoEngage knows this for attributes only: an event creates its user all the same.
    identity_resolution
        The workspace finds users by e-mail address and mobile number too, so that a member whose id is not known can
        be sent: https://www.moengage.com/docs/user-guide/data/user-data/unified-identity-identity-resolution
    single_calls
        One object per call, so that MoEngage says of each whether it takes it, at the price of many more requests.
    """

    objects: Literal["flatten", "send"] = "flatten"
    removal: Literal["blank", "unset"] = "blank"
    update_existing_only: bool = False
    identity_resolution: bool = False
    single_calls: bool = False


class MoEngageSettings(EngagementSettings, frozen=True, kw_only=True, tag="moengage"):
    """The MoEngage workspace of a program."""

    platform: ClassVar[Literal["moengage"]] = "moengage"
    title: ClassVar[str] = "MoEngage"
    secrets: ClassVar[tuple[str, ...]] = ("moengage_data_key",)
    # https://developers.moengage.com/hc/en-us/articles/11667422094740
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"api-(0[1-6]|101)\.moengage\.com")
    workspace_id: str = ""
    rules: MoEngageRules = MoEngageRules()

    def missing(self, secrets: Collection[str]) -> list[str]:
        """List the address, the workspace id and the key, where they are not set."""
        absent = [f"engagement.{name}" for name in ("api_endpoint", "workspace_id") if not getattr(self, name)]
        return absent + [f"secrets.{name}" for name in self.secrets if name not in secrets]

    def users(self, member_label: str) -> tuple[str, ...]:
        """Return the data centre and the workspace."""
        return self.api_endpoint, self.workspace_id

    @classmethod
    def form(cls) -> tuple[Group, ...]:
        """Return the fields of the operator's form."""
        from loyalty_bridge.platforms.moengage.form import FORM

        return FORM
