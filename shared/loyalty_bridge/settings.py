"""Settings of the functions: environment variables, read and checked once, at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TypeVar


@dataclass(frozen=True, kw_only=True)
class ActivitySettings:
    """The table of statistics and error history; without it, none are kept."""

    activity_table: str = ""


@dataclass(frozen=True, kw_only=True)
class ProgramSettings(ActivitySettings):
    """The table of programs, and the key of their secrets."""

    programs_table: str
    secrets_key: str
    allowed_hosts: str = ""
    """Hosts that a connection may name besides the platforms' own, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class MemberSettings(ProgramSettings):
    """The table of members."""

    members_table: str


@dataclass(frozen=True, kw_only=True)
class ActionSettings(ProgramSettings):
    """The table of idempotency records."""

    idempotency_table: str


@dataclass(frozen=True, kw_only=True)
class SignupSettings(ActionSettings, MemberSettings):
    """Settings of the signup: idempotency records, and the table of members for the new ids."""


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
    """The stores, and the event queue or stream, of the forwarder and the operator tools."""

    delivery_log_table: str
    parked_table: str
    parked_bucket: str
    events_queue_url: str = ""
    events_stream: str = ""
    publish_to: str = "queue"
    """``queue`` or ``stream``: where the bridge publishes if both exist."""
    dead_letter_queue_url: str = ""
    forwarder_concurrency: str = "1"
    """How many forwarders may run at the same time: each uses its share of the destination's limit."""


@dataclass(frozen=True, kw_only=True)
class OperatorSettings(DeliverySettings, BatchQueueSettings):
    """Settings of operator tools: all stores, and the audit table."""

    audit_table: str
    api_url: str = ""
    punchh_webhook_base_url: str = ""
    loyalty_webhook_base_url: str = ""


@dataclass(frozen=True, kw_only=True)
class AdminSettings(OperatorSettings):
    """Settings of the operator's page: its sessions, and the OpenID Connect provider that signs operators in."""

    sessions_table: str
    sign_in_issuer: str
    """The ``iss`` claim of the provider's tokens."""
    sign_in_client: str
    sign_in_configuration: str = ""
    """URL of the provider's OpenID Connect configuration; by default the well-known path below the issuer."""
    sign_in_client_secret: str = ""
    """ARN of the secret with the client secret, if the provider requires one besides PKCE."""
    sign_in_groups: str = "cognito:groups"
    """The claim with an operator's groups."""
    operators_group: str = "loyalty-bridge"
    """Members administer all programs; members of ``<group>:<program>`` administer that program."""


T = TypeVar("T", bound=ActivitySettings)


@cache
def load_settings(kind: type[T]) -> T:
    """Return settings from the environment variables of the same names in capitals.

    Raises
    ------
    RuntimeError
        Variables are missing or blank; the message names them.
    """
    return parse_settings(kind, os.environ)


def parse_settings(kind: type[T], variables: Mapping[str, str]) -> T:
    """Return settings from variables, as `load_settings` does from the environment."""
    values = {field.name: variables[field.name.upper()] for field in fields(kind) if field.name.upper() in variables}
    required = (field.name for field in fields(kind) if field.default is MISSING)
    if absent := [name.upper() for name in required if not values.get(name, "").strip()]:
        message = f"missing or blank: {', '.join(absent)}"
        raise RuntimeError(message)
    return kind(**values)
