"""Settings of MoEngage: the workspace's address, and how members and their data appear there."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

import msgspec

from loyalty_bridge.platforms.settings import EngagementSettings, Secrets


class MoEngageRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a program's workspace wants its data."""

    objects: Annotated[
        Literal["flatten", "send"],
        msgspec.Meta(
            title="Objects",
            description=(
                "flatten: an object becomes attributes name_key. send: if MoEngage has enabled objects for the "
                "workspace."
            ),
            extra={"rare": True},
        ),
    ] = "flatten"
    removal: Annotated[
        Literal["blank", "unset"],
        msgspec.Meta(
            title="Removed values",
            description=(
                "blank: a removed text becomes an empty text. unset: the value is removed, if MoEngage has enabled "
                "that."
            ),
            extra={"rare": True},
        ),
    ] = "blank"
    update_existing_only: Annotated[
        bool,
        msgspec.Meta(
            title="Existing users only",
            description=(
                "Attributes create no users, but events do. Attributes are then sent even if they did not change."
            ),
        ),
    ] = False
    identity_resolution: Annotated[
        bool,
        msgspec.Meta(
            title="Identity resolution",
            description="The workspace also finds users by e-mail address and mobile number.",
            extra={"rare": True},
        ),
    ] = False
    single_calls: Annotated[
        bool,
        msgspec.Meta(
            title="Single calls",
            description="One object per request, so that the answer names what is wrong. Needs many more requests.",
            extra={"rare": True},
        ),
    ] = False


class MoEngageSettings(EngagementSettings, frozen=True, kw_only=True, tag="moengage"):
    """The MoEngage workspace of a program."""

    platform: ClassVar[Literal["moengage"]] = "moengage"
    title: ClassVar[str] = "MoEngage"
    secrets: ClassVar[Secrets] = {
        "moengage_data_key": msgspec.Meta(
            title="Data API key", description="The API key of the Data tile; other tiles have other keys."
        )
    }
    api_endpoint: Annotated[
        str,
        msgspec.Meta(
            title="Data API host", description="Host of your data center. Example: https://api-01.moengage.com"
        ),
    ] = ""
    # https://developers.moengage.com/hc/en-us/articles/11667422094740
    hosts: ClassVar[re.Pattern[str]] = re.compile(r"api-(0[1-6]|101)\.moengage\.com")
    workspace_id: Annotated[
        str, msgspec.Meta(title="Workspace id", description="In MoEngage's settings, beside the keys.")
    ] = ""
    rules: MoEngageRules = MoEngageRules()

    def missing(self, secrets: Collection[str]) -> list[str]:
        """List the address, the workspace id and the key, where they are not set."""
        absent = [f"engagement.{name}" for name in ("api_endpoint", "workspace_id") if not getattr(self, name)]
        return absent + [f"secrets.{name}" for name in self.secrets if name not in secrets]

    def users(self, member_label: str) -> tuple[str, ...]:
        """Return the data centre and the workspace."""
        return self.api_endpoint, self.workspace_id
