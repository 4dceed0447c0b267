"""What the admin API takes, as models: they are checked against, and the OpenAPI file is made from them."""

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
    """What is to be set; what is not told stays."""

    version: Annotated[int, Field(ge=0)]
    """As it was read; 0 for a program that is to be new."""
    connection: dict[str, Any] = {}
    """With ``loyalty``, ``engagement``, ``attribute_writes`` and ``repeat_window``, or some of them."""
    secrets: dict[str, str] = {}
    """Write-only; of a secret that is kept, the last four characters are shown."""
    new_workspace: bool = False
    """Forget what was sent so far: the key belongs to another workspace."""


class CreateKey(_Body):
    """A key that is to be made."""

    name: Name = ""
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(default_factory=lambda: list(SCOPES))
    """What it is for: ``lookups``, ``actions``, ``events``; all unless they are named."""


class SendSample(_Body):
    """Whom the sample event is for."""

    member: Id


class OfMember(_Body):
    """Whom it concerns."""

    member: Id


class ExplainRecord(_Body):
    """A record as the loyalty platform sends it: any JSON."""

    record: Any


class Decide(_Body):
    """What the loyalty platform shows of an action."""

    happened: bool
    result: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""
    """Of what happened: the coupon's code, the booking's or the batch's id, or the signed-up user's."""


class Period(_Body):
    """How far back statistics go, today included."""

    days: Annotated[int, Field(ge=1, le=DAYS)] = 30


class ErrorSelection(_Body):
    """Which errors are meant: all that are not left out."""

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
    """Where the page before ended."""


class RejectedSelection(_Body):
    """Which refused records are meant: all that are not left out."""

    reason: Annotated[str, StringConstraints(max_length=200)] = ""
    """Part of the reason."""
    since: Moment | None = None
    until: Moment | None = None

    def which(self) -> RecordFilter:
        """Give the choice as the shelves know it."""
        return RecordFilter(self.reason, self.since, self.until)
