"""Bodies that are too large for the queue or stream: they lie in S3, and the envelope carries their key."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from loyalty_bridge.errors import Invalid
from loyalty_bridge.infra import aws

if TYPE_CHECKING:
    from loyalty_bridge.settings import DeliverySettings

_KEY = re.compile("bodies/[0-9a-f]{32}")


def save(settings: DeliverySettings, body: bytes) -> str:
    """Store a body and return its key."""
    key = f"bodies/{uuid.uuid4().hex}"
    with aws.reaching("the stored bodies"):
        aws.s3().put_object(Bucket=settings.parked_bucket, Key=key, Body=body)
    return key


def load(settings: DeliverySettings, key: str) -> bytes:
    """Read a stored body.

    Raises
    ------
    Invalid
        The key does not name a body, or its body has expired.
    """
    body = aws.stored_object(settings.parked_bucket, key) if _KEY.fullmatch(key) else None
    if body is None:
        raise Invalid("stored", "does not name a stored body")
    return body
