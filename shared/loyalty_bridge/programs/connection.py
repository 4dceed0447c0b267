"""A program's connection: its loyalty platform side, its engagement platform side, and what is missing to stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_core.core_schema import ValidationInfo

from loyalty_bridge.destinations import braze, moengage
from loyalty_bridge.errors import Refused
from loyalty_bridge.platforms.convercus import Api
from loyalty_bridge.platforms.punchh import Api as PunchhApi
from loyalty_bridge.programs.gate import Gate
from loyalty_bridge.sources import Source, brevo, convercus, punchh, source

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConvercusSide(_Settings):
    """How the program's records are read, and how Convercus is reached for actions and look-ups."""

    platform: Literal["convercus"] = "convercus"
    rules: convercus.Rules = convercus.Rules()
    api: Api = Api()
    membership_optins: tuple[Name, ...] = ()
    """The opt-in channels of the program."""
    default_optins: tuple[Name, ...] = ()
    """The channels that the e-mail subscription webhook sets when its request names none."""

    @field_validator("default_optins")
    @classmethod
    def _are_channels_of_the_program(cls, chosen: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        foreign = sorted(set(chosen) - set(info.data.get("membership_optins", ())))
        if foreign:
            message = f"not among membership_optins: {', '.join(foreign)}"
            raise ValueError(message)
        return chosen


class PunchhSide(_Settings):
    """How the program's webhooks show that they are Punchh's and are read, and how Punchh is reached."""

    platform: Literal["punchh"]
    rules: punchh.Rules = punchh.Rules()
    api: PunchhApi = PunchhApi()
    coupon_code_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """For how long a member is given the same code of a campaign; None: for as long as the program lives."""
    webhook_auth: Literal["basic", "bearer", "hmac"] = "basic"
    """As chosen in Punchh's Webhooks Manager; ``hmac`` is SHA-1 or SHA-256."""


class BrevoSide(_Settings):
    """How the program's loyalty webhooks show that they are Brevo's, and how they are read."""

    platform: Literal["brevo"]
    rules: brevo.Rules = brevo.Rules()
    webhook_auth: Literal["basic", "bearer", "header"] = "basic"
    webhook_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")] = "X-Webhook-Key"
    """The header of one's own that carries the credential, for ``header``."""


class BrazeSide(_Settings):
    """Where the program's updates go, and under which of Braze's rules."""

    platform: Literal["braze"] = "braze"
    api_endpoint: str = ""
    rules: braze.Rules = braze.Rules()


class MoEngageSide(_Settings):
    """Where the program's updates go, and under which of MoEngage's rules."""

    platform: Literal["moengage"]
    api_endpoint: str = ""
    workspace_id: str = ""
    rules: moengage.Rules = moengage.Rules()


class Connection(_Settings):
    """What an operator sets for a program; secrets are kept beside it."""

    loyalty: Annotated[ConvercusSide | PunchhSide | BrevoSide, Field(discriminator="platform")] = ConvercusSide()
    engagement: Annotated[BrazeSide | MoEngageSide, Field(discriminator="platform")] = BrazeSide()
    attribute_writes: Literal["changed", "all"] = "changed"
    """Whether an attribute whose value did not change is sent again (each write costs a Braze data point)."""
    repeat_window: Annotated[int, Field(ge=0, le=86400)] = 120
    """For how many seconds after an action an equal request without an idempotency key gets the same answer."""


WEBHOOK_CREDENTIALS = ("webhook_credential", "webhook_credential_next")
"""Either is valid, so that one can be exchanged for the other without losing a delivery. Basic: ``user:password``."""

PUNCHH_CLIENT_SECRET = "punchh_client_secret"  # noqa: S105 - a name
PUNCHH_ADMIN_KEY = "punchh_admin_key"
PUNCHH_COUPON_TOKEN = "punchh_coupon_token_"  # noqa: S105 - the beginning of a name
"""The Dynamic Generation Token of a campaign; the campaign's id follows."""

SECRETS = {
    "braze": ("braze_api_key",),
    "moengage": ("moengage_data_key",),
    "convercus": ("convercus_client_secret", "convercus_password"),
    "punchh": (*WEBHOOK_CREDENTIALS, PUNCHH_CLIENT_SECRET, PUNCHH_ADMIN_KEY),
    "brevo": WEBHOOK_CREDENTIALS,
}
"""The secrets of each platform. Streaming needs those of the engagement platform, and one webhook credential of a
loyalty platform that has them. Punchh's coupon tokens are further ones, see `is_coupon_token`."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as it is stored: closed, and its last four characters to recognise it by."""

    ciphertext: bytes
    last_four: str


@dataclass(frozen=True, slots=True)
class Program:
    """A program as it is stored.

    Attributes
    ----------
    version
        Rises with every save; who saves tells which version was seen.
    epoch
        Rises when the program is pointed at another workspace: what was sent before says nothing about it.
    """

    id: str
    connection: Connection
    version: int = 0
    epoch: int = 1
    secrets: dict[str, Secret] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)

    @property
    def source(self) -> Source:
        """The module that reads its records."""
        return source(self.connection.loyalty.platform)

    def missing(self) -> list[str]:
        """Tell what has to be set before events stream, as field names; empty when complete."""
        side = self.connection
        absent = [] if side.engagement.api_endpoint else ["engagement.api_endpoint"]
        if isinstance(side.engagement, MoEngageSide) and not side.engagement.workspace_id:
            absent.append("engagement.workspace_id")
        absent += [f"secrets.{name}" for name in SECRETS[side.engagement.platform] if name not in self.secrets]
        if isinstance(side.loyalty, ConvercusSide) and not side.loyalty.default_optins:
            absent.append("loyalty.default_optins")
        if isinstance(side.loyalty, PunchhSide | BrevoSide) and self.secrets.keys().isdisjoint(WEBHOOK_CREDENTIALS):
            absent.append(f"secrets.{WEBHOOK_CREDENTIALS[0]}")
        return absent


def merged(connection: Connection, change: Mapping[str, Any]) -> Connection:
    """Give a connection with some settings changed; objects are merged, everything else replaced.

    Raises
    ------
    Refused
        Naming the field that is wrong.
    """
    try:
        return Connection.model_validate(_merged(connection.model_dump(), change))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        # Behind a side, pydantic names the platform that it took it for.
        path = [str(part) for place, part in enumerate(first["loc"]) if place != 1]
        raise Refused(".".join(path), first["msg"].removeprefix("Value error, ")) from None


def is_coupon_token(name: str) -> bool:
    """Tell whether a secret of that name is the token of a Punchh campaign."""
    return re.fullmatch(f"{PUNCHH_COUPON_TOKEN}[A-Za-z0-9_-]{{1,64}}", name) is not None


def check_credentials(connection: Connection, secrets: Mapping[str, str]) -> None:
    """Check webhook credentials that are to be set, which no delivery could show otherwise.

    Raises
    ------
    Refused
        One is not ``user:password`` although the webhook is to use Basic.
    """
    side = connection.loyalty
    if isinstance(side, PunchhSide | BrevoSide) and side.webhook_auth == "basic":
        for name in WEBHOOK_CREDENTIALS:
            if name in secrets and ":" not in secrets[name]:
                raise Refused(f"secrets.{name}", "is not user:password")


def program_id(text: str) -> str:
    """Check an id for a program.

    Raises
    ------
    Refused
        It is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        raise Refused("program", "is not letters, digits, _ and -, beginning with one of the first two, 64 at most")
    return text


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Merge objects; one that names another platform replaces the side: the settings before were the other one's."""
    nested = {
        name: _merged(before[name], value)
        for name, value in change.items()
        if isinstance(before.get(name), dict)
        and isinstance(value, Mapping)
        and value.get("platform", before[name].get("platform")) == before[name].get("platform")
    }
    return {**before, **change, **nested}
