"""What a function is told by its environment, read and checked once, when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TypeVar


@dataclass(frozen=True, kw_only=True)
class ActivitySettings:
    """Where statistics and error history are kept; nowhere without a table."""

    activity_table: str = ""


@dataclass(frozen=True, kw_only=True)
class ProgramSettings(ActivitySettings):
    """Where the programs and their secrets are."""

    programs_table: str
    secrets_key: str
    allowed_hosts: str = ""
    """Hosts that a connection may name besides the platforms' own, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class MemberSettings(ProgramSettings):
    """Where it is remembered what is known of a member."""

    members_table: str


@dataclass(frozen=True, kw_only=True)
class ActionSettings(ProgramSettings):
    """Where the actions find the journal."""

    idempotency_table: str


@dataclass(frozen=True, kw_only=True)
class SignupSettings(ActionSettings, MemberSettings):
    """Where a signup is written down, and the ids that it makes known."""


@dataclass(frozen=True, kw_only=True)
class BatchQueueSettings(ActionSettings):
    """Settings of a function that requests the execution of coupon batches."""

    batches_queue_url: str


@dataclass(frozen=True, kw_only=True)
class PlanSettings(BatchQueueSettings):
    """Settings of a function that plans or executes coupon batches."""

    batches_table: str


@dataclass(frozen=True, kw_only=True)
class DeliverySettings(MemberSettings):
    """Where the forwarder and the operator's tools find the stores and the transport."""

    delivery_log_table: str
    parked_table: str
    parked_bucket: str
    events_queue_url: str = ""
    events_stream: str = ""
    publish_to: str = "queue"
    """Where the bridge publishes when there are both: ``queue`` or ``stream``."""
    dead_letter_queue_url: str = ""
    forwarder_concurrency: str = "1"
    """How many forwarders may be at work at once: each takes its share of the destination's limit."""


@dataclass(frozen=True, kw_only=True)
class OperatorSettings(DeliverySettings, BatchQueueSettings):
    """Where what an operator does finds everything, and where it is noted."""

    audit_table: str
    api_url: str = ""
    punchh_webhook_base_url: str = ""
    loyalty_webhook_base_url: str = ""


@dataclass(frozen=True, kw_only=True)
class AdminSettings(OperatorSettings):
    """Who signs the operators of the page in."""

    sessions_table: str
    sign_in_issuer: str
    """As the tokens name it (``iss``)."""
    sign_in_client: str
    sign_in_configuration: str = ""
    """URL of the issuer's OpenID Connect configuration, where it is not the one below the issuer."""
    sign_in_client_secret: str = ""
    """ARN of the secret that holds the client's, where the issuer wants one besides the proof of the code exchange."""
    sign_in_groups: str = "cognito:groups"
    """The claim that lists an operator's groups."""
    operators_group: str = "loyalty-bridge"
    """Who is in it is the operator of all programs; of one program, who is in ``<group>:<program>``."""


T = TypeVar("T", bound=ActivitySettings)


@cache
def load_settings(kind: type[T]) -> T:
    """Read settings from the environment variables of the same names in capitals.

    Raises
    ------
    RuntimeError
        Naming every variable that is missing or blank.
    """
    return parse_settings(kind, os.environ)


def parse_settings(kind: type[T], variables: Mapping[str, str]) -> T:
    """Read settings from variables, as `settings` does from the environment's."""
    told = {field.name: variables[field.name.upper()] for field in fields(kind) if field.name.upper() in variables}
    wanted = (field.name for field in fields(kind) if field.default is MISSING)
    if absent := [name.upper() for name in wanted if not told.get(name, "").strip()]:
        message = f"missing or blank: {', '.join(absent)}"
        raise RuntimeError(message)
    return kind(**told)
