"""Request bodies and queries of the admin API, as models that validate them and document them in OpenAPI."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from loyalty_bridge.activity.store import DAYS
from loyalty_bridge.operations.redrive import RecordFilter
from loyalty_bridge.programs.api_keys import SCOPES, Scope

Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_utc)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SaveConnection(_Body):
    """The settings to change. Settings that are missing keep their values."""

    version: Annotated[int, Field(ge=0)]
    """The version that was read; 0 for a new program."""
    connection: dict[str, Any] = {}
    """With ``loyalty``, ``engagement``, ``attribute_writes`` and ``repeat_window``, or some of them."""
    secrets: dict[str, str] = {}
    """Write-only. The last four characters of a stored secret are shown."""
    new_workspace: bool = False
    """Whether the key belongs to another workspace, so that everything is sent again."""


class CreateKey(_Body):
    """A new key."""

    name: Name = ""
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(default_factory=lambda: list(SCOPES))
    """``lookups``, ``actions``, ``events``; default: all."""


class SendSample(_Body):
    """The test member who gets the sample event."""

    member: Id


class OfMember(_Body):
    """A member."""

    member: Id


class ExplainRecord(_Body):
    """A record as the loyalty platform sends it: any JSON."""

    record: Any


class Decide(_Body):
    """The outcome of an action, as the loyalty platform shows it."""

    happened: bool
    result: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""
    """The result, if it happened: coupon code, booking id, batch id or user id."""


class Period(_Body):
    """The number of days, including today."""

    days: Annotated[int, Field(ge=1, le=DAYS)] = 30


class ErrorSelection(_Body):
    """A selection of errors. A field that is missing selects all."""

    since: date | None = None
    until: date | None = None
    """First and last day (UTC)."""
    code: str = ""
    direction: Literal["", "to_engagement", "to_loyalty"] = ""
    endpoint: str = ""
    platform: str = ""
    record: str = ""
    """Id of a source event or an action."""
    page: str = ""
    """The value of `next` of the page before."""


class RejectedSelection(_Body):
    """A selection of rejected records. A field that is missing selects all."""

    reason: Annotated[str, StringConstraints(max_length=200)] = ""
    """Text that a reason contains."""
    since: Moment | None = None
    until: Moment | None = None

    def to_filter(self) -> RecordFilter:
        """Return the filter for parked records."""
        return RecordFilter(self.reason, self.since, self.until)
