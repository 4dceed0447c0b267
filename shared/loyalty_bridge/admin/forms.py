"""The connection form: its fields with their help, and how what was typed becomes a change of the connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loyalty_bridge.platforms import registry as platforms
from loyalty_bridge.platforms.form import Field, Group
from loyalty_bridge.platforms.punchh.settings import COUPON_TOKEN_PREFIX

Form = Mapping[str, Sequence[str]]


COUPON_CAMPAIGN, COUPON_TOKEN = "coupon_campaign", "coupon_token"
"""Fields of their own: a secret for each coupon campaign of Punchh, which is named by the campaign's id."""

LOYALTY = {name: platform.SETTINGS.title for name, platform in platforms.LOYALTY.items()}
ENGAGEMENT = {name: platform.SETTINGS.title for name, platform in platforms.ENGAGEMENT.items()}
"""The platforms' names for people."""

_COMMON = Group(
    "Rarely needed: delivery",
    (
        Field(
            "attribute_writes",
            "Attributes that did not change",
            "changed: are not sent again, since each write costs a data point; all: are.",
            "choice",
            ("changed", "all"),
        ),
        Field(
            "repeat_window",
            "Repeats of actions",
            "For how many seconds an equal action without an idempotency key gets the first answer; 0: never.",
            "number",
        ),
    ),
    is_folded=True,
)


def groups(loyalty: str, engagement: str) -> tuple[Group, ...]:
    """Give the form of a pair of platforms."""
    return (*platforms.ENGAGEMENT[engagement].SETTINGS.form(), *platforms.LOYALTY[loyalty].SETTINGS.form(), _COMMON)


def fields(loyalty: str, engagement: str) -> Iterator[Field]:
    """Give its fields."""
    for group in groups(loyalty, engagement):
        yield from group.fields


def _forms() -> Iterator[tuple[Group, ...]]:
    yield from (platform.SETTINGS.form() for platform in platforms.LOYALTY.values())
    yield from (platform.SETTINGS.form() for platform in platforms.ENGAGEMENT.values())


def label(path: str) -> str:
    """Name a setting as the form does."""
    return next(
        (field.label for form in _forms() for group in form for field in group.fields if field.path == path),
        path,
    )


def read(form: Form, loyalty: str, engagement: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Make what was typed a change of the connection, and the secrets to set; a secret that is left blank stays."""
    change: dict[str, Any] = {"loyalty": {"platform": loyalty}, "engagement": {"platform": engagement}}
    secrets: dict[str, str] = {}
    for field in fields(loyalty, engagement):
        typed = "".join(form.get(field.path, ())[:1]).strip()
        if field.kind == "secret":
            if typed:
                secrets[field.path.removeprefix("secrets.")] = typed
            continue
        *parents, name = field.path.split(".")
        place = change
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = tuple(form.get(field.path, ())) if field.kind == "several" else _value(field, typed)
    campaign, token = ("".join(form.get(name, ())[:1]).strip() for name in (COUPON_CAMPAIGN, COUPON_TOKEN))
    if token:
        secrets[f"{COUPON_TOKEN_PREFIX}{campaign}"] = token
    return change, secrets


def _value(field: Field, typed: str) -> Any:
    if field.is_optional and not typed:
        return None
    match field.kind:
        case "flag":
            return typed == "on"
        case "list":
            return tuple(
                line.strip() for line in typed.split("\n") if line.strip()
            )  # no other character ends a line here
        case "number":
            return int(typed) if is_number(typed) else typed
        case _:
            return typed


def is_number(typed: str) -> bool:
    """Check for a whole number of a length that settings have: Python refuses to read thousands of digits."""
    return typed.isascii() and typed.isdigit() and len(typed) <= 15


def shown(settings: Mapping[str, Any], field: Field) -> str:
    """Write a setting as its field shows it; a secret is not shown."""
    if field.kind == "secret":
        return ""
    value = _setting(settings, field.path)
    if isinstance(value, bool):
        return "on" if value else ""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)


def boxes(settings: Mapping[str, Any], field: Field) -> list[tuple[str, bool]]:
    """List the choices of a field of the kind `several`, and whether each is chosen.

    What is chosen and is no choice any more stays visible, so that it can be cleared.
    """
    chosen = _setting(settings, field.path) or ()
    return [(one, one in chosen) for one in dict.fromkeys((*(_setting(settings, field.choices_from) or ()), *chosen))]


def _setting(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
