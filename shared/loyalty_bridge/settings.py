"""What a function is told by its environment, read and checked once, when it starts."""

from __future__ import annotations

import os
from functools import cache
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

T = TypeVar("T", bound=BaseModel)


class ActivitySettings(BaseModel):
    """Where statistics and error history are kept; nowhere without a table."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    activity_table: str = ""


class ProgramSettings(ActivitySettings):
    """Where the programs and their secrets are."""

    programs_table: str = Field(min_length=1)
    secrets_key: str = Field(min_length=1)
    allowed_hosts: str = ""
    """Hosts that a connection may name besides the platforms' own, separated by commas."""


class MemberSettings(ProgramSettings):
    """Where it is remembered what is known of a member."""

    members_table: str = Field(min_length=1)


class ActionSettings(ProgramSettings):
    """Where the actions find the journal."""

    journal_table: str = Field(min_length=1)


class SignupSettings(ActionSettings, MemberSettings):
    """Where a signup is written down, and the ids that it makes known."""


class PlanSettings(ActionSettings):
    """Where batches of actions are planned and carried out."""

    batches_table: str = Field(min_length=1)
    batches_queue_url: str = Field(min_length=1)


class DeliverySettings(MemberSettings):
    """Where the forwarder and the operator's tools find the stores and the transport."""

    ledger_table: str = Field(min_length=1)
    kept_table: str = Field(min_length=1)
    kept_bucket: str = Field(min_length=1)
    events_queue_url: str = ""
    events_stream: str = ""
    crashed_queue_url: str = ""


class OperatorSettings(DeliverySettings, ActionSettings):
    """Where what an operator does finds everything, and where it is noted."""

    audit_table: str = Field(min_length=1)
    batches_queue_url: str = Field(min_length=1)
    api_url: str = ""
    punchh_webhook_base_url: str = ""
    loyalty_webhook_base_url: str = ""


class AdminSettings(OperatorSettings):
    """Who signs the operators of the page in."""

    sessions_table: str = Field(min_length=1)
    sign_in_issuer: str = Field(min_length=1)
    """As the tokens name it (``iss``)."""
    sign_in_configuration: str = Field(min_length=1)
    """URL of the issuer's OpenID Connect configuration."""
    sign_in_client: str = Field(min_length=1)
    sign_in_client_secret: str = ""
    """ARN of the secret that holds the client's, where the issuer wants one besides the proof of the code exchange."""
    sign_in_groups: str = "cognito:groups"
    """The claim that lists an operator's groups."""
    operators_group: str = "loyalty-bridge"
    """Who is in it is the operator of all programs; of one program, who is in ``<group>:<program>``."""


@cache
def settings(kind: type[T]) -> T:
    """Read settings from the environment variables of the same names in capitals.

    Raises
    ------
    RuntimeError
        Naming every variable that is missing or wrong.
    """
    values = {name: os.environ[name.upper()] for name in kind.model_fields if name.upper() in os.environ}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        wrong = ", ".join(str(e["loc"][0]).upper() for e in error.errors())
        message = f"environment variables missing or wrong: {wrong}"
        raise RuntimeError(message) from None
