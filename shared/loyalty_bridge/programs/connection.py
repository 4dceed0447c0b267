"""A program's connection: its loyalty platform side, its engagement platform side, and what is missing to stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator
from pydantic_core.core_schema import ValidationInfo

from loyalty_bridge.destinations import braze
from loyalty_bridge.programs.gate import Gate
from loyalty_bridge.sources import convercus

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
ProgramId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConvercusSide(_Settings):
    """How the program's records are read."""

    platform: Literal["convercus"] = "convercus"
    rules: convercus.Rules = convercus.Rules()
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


class BrazeSide(_Settings):
    """Where the program's updates go, and under which of Braze's rules."""

    platform: Literal["braze"] = "braze"
    api_endpoint: str = ""
    rules: braze.Rules = braze.Rules()


class Connection(_Settings):
    """What an operator sets for a program; secrets are kept beside it."""

    loyalty: ConvercusSide = ConvercusSide()
    engagement: BrazeSide = BrazeSide()
    attribute_writes: Literal["changed", "all"] = "changed"
    """Whether an attribute whose value did not change is sent again (each write costs a Braze data point)."""


SECRETS = {"braze": ("braze_api_key",), "convercus": ()}
"""The secrets that streaming needs, by platform."""


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

    def missing(self) -> list[str]:
        """Tell what has to be set before events stream, as field names; empty when complete."""
        side = self.connection
        absent = [] if side.engagement.api_endpoint else ["engagement.api_endpoint"]
        absent += [f"secrets.{name}" for name in SECRETS[side.engagement.platform] if name not in self.secrets]
        if not side.loyalty.default_optins:
            absent.append("loyalty.default_optins")
        return absent


def merged(connection: Connection, change: Mapping[str, Any]) -> Connection:
    """Give a connection with some settings changed; objects are merged, everything else replaced.

    Raises
    ------
    pydantic.ValidationError
        Naming the field that is wrong.
    """
    return Connection.model_validate(_merged(connection.model_dump(), change))


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        name: _merged(before[name], value)
        for name, value in change.items()
        if isinstance(before.get(name), dict) and isinstance(value, dict)
    }
    return {**before, **change, **nested}
