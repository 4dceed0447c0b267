"""MoEngage's Data API."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

from loyalty_bridge import USER_AGENT
from loyalty_bridge.infra.http_client import Request


def data(endpoint: str, workspace_id: str, data_key: str, path: str, body: bytes) -> Request:
    """``POST /v1/<path>/<workspace id>``; `path` is one of ``customer``, ``event``, ``transition``.

    https://www.moengage.com/docs/api/data/data-overview
    """
    url = f"{endpoint}/v1/{path}/{quote(workspace_id, safe='')}"
    return Request("POST", url, _headers(workspace_id, data_key), body)


def check_connection(endpoint: str, workspace_id: str, data_key: str) -> Request:
    """``POST /v1/integrations/authentication``: checks whether endpoint, workspace and key belong together.

    https://www.moengage.com/docs/api/utilities/test-connection-api
    """
    center = re.search(r"api-([0-9]+)\.", endpoint)
    result = {
        "app_id": workspace_id,
        "app_secret": data_key,
        "source": USER_AGENT,
        "region": center[1] if center else "01",
    }
    headers = _headers(workspace_id, data_key) | {"MOE-APPKEY": workspace_id}
    return Request("POST", f"{endpoint}/v1/integrations/authentication", headers, json.dumps(result).encode())


def _headers(workspace_id: str, data_key: str) -> dict[str, str]:
    credentials = base64.b64encode(f"{workspace_id}:{data_key}".encode()).decode()
    return {"Authorization": f"Basic {credentials}", "Content-Type": "application/json", "User-Agent": USER_AGENT}
