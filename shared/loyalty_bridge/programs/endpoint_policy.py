"""The hosts that a connection may name.

A connection's endpoint receives the program's key and its members' data, so it must be one of the platform's own hosts,
or one that the operator has allowed at deployment.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms.registry import ENGAGEMENT, LOYALTY
from loyalty_bridge.programs.connection import Connection, merge

_HOSTS = {
    **{name: platform.SETTINGS.hosts for name, platform in LOYALTY.items()},
    **{name: platform.SETTINGS.hosts for name, platform in ENGAGEMENT.items()},
}


def validate_endpoints(connection: Connection, allowed: str) -> Connection:
    """Return the connection with normalised endpoints.

    Raises
    ------
    Invalid
        An endpoint is not allowed.
    """
    change: dict[str, Any] = {}
    for name, side in (("engagement", connection.engagement), ("loyalty", connection.loyalty)):
        for path, url in side.endpoints().items():
            if url:
                *parents, last = name, *path.split(".")
                place = change
                for parent in parents:
                    place = place.setdefault(parent, {})
                place[last] = validate_endpoint(url, side.platform, allowed, f"{name}.{path}")
    return merge(connection, change)


def validate_endpoint(url: str, platform: str, allowed: str, field: str = "api_endpoint") -> str:
    """Return an endpoint without its trailing slash, if it is allowed.

    Parameters
    ----------
    allowed
        The operator's further hosts (``name`` or ``name:port``), separated by commas.

    Raises
    ------
    Invalid
        It is not; `field` is the field's path.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise Invalid(field, "is not a URL") from None
    host = (parts.hostname or "").lower()
    if parts.username is not None or parts.password is not None:
        raise Invalid(field, "must not hold a user name or password")
    if parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise Invalid(field, "must be a scheme and a host only")
    listed = {entry.strip().lower() for entry in allowed.split(",")} - {""}
    if host in listed or f"{host}:{port}" in listed:
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
            raise Invalid(field, "must start with https://")
        name = f"[{host}]" if ":" in host else host
        return f"{parts.scheme}://{name}" + (f":{port}" if port else "")
    if parts.scheme != "https":
        raise Invalid(field, "must start with https://")
    if port not in {None, 443}:
        raise Invalid(field, "must not name a port")
    if not _HOSTS[platform].fullmatch(host):
        raise Invalid(field, f"is not a host of {platform}, and the operator has not allowed it")
    return f"https://{host}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
