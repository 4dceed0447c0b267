"""Braze's REST API."""

from __future__ import annotations

from loyalty_bridge import USER_AGENT
from loyalty_bridge.infra.http_client import Request


def users_track(endpoint: str, api_key: str, body: bytes) -> Request:
    """``POST /users/track``, without a trailing slash: with one Braze answers 403.

    https://www.braze.com/docs/api/endpoints/user_data/post_user_track
    """
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json", "User-Agent": USER_AGENT}
    return Request("POST", f"{endpoint}/users/track", headers, body)
