"""AWS as it is when replies get lost: the client repeats a write that was carried out already."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError


def lose_replies(patch: pytest.MonkeyPatch) -> None:
    """Carry out each single conditional write twice; the caller learns how the second one ended."""
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def twice(self: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if "ConditionExpression" in parameters:
            with suppress(ClientError):  # it was not carried out: the repeat is the first
                real(self, operation, parameters)
        return real(self, operation, parameters)

    patch.setattr(BaseClient, "_make_api_call", twice)
