"""The connection form: its groups of settings, and the change of the connection that its input makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from loyalty_bridge.platforms import registry as platforms
from loyalty_bridge.platforms.punchh.settings import COUPON_TOKEN_PREFIX
from loyalty_bridge.programs.setting_reference import Setting, common_settings, list_settings, settings_of

Form = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together; rarely needed ones are folded."""

    title: str
    fields: tuple[Setting, ...]
    is_folded: bool = False


COUPON_CAMPAIGN, COUPON_TOKEN = "coupon_campaign", "coupon_token"
"""Fields for the secret of a Punchh coupon campaign, whose name contains the campaign's id."""
LOYALTY, ENGAGEMENT = (
    {name: platform.SETTINGS.title for name, platform in registry.items()}
    for registry in (platforms.LOYALTY, platforms.ENGAGEMENT)
)
"""Titles of the platforms by name."""


def groups(loyalty: str, engagement: str) -> tuple[Group, ...]:
    """Return the form for a pair of platforms."""
    return (
        *_groups(settings_of("engagement", engagement), ENGAGEMENT[engagement]),
        *_groups(settings_of("loyalty", loyalty), LOYALTY[loyalty]),
        *_groups(common_settings(), "delivery"),
    )


def _groups(settings: Iterable[Setting], title: str) -> Iterator[Group]:
    shown = [setting for setting in settings if setting.label]
    for name, grouped in groupby(shown, lambda setting: _group_title(setting, title)):
        members = tuple(grouped)
        yield Group(name, members, members[0].is_rare)


def _group_title(setting: Setting, title: str) -> str:
    if setting.is_rare:
        return f"Rarely needed: {title}"
    return {"api": f"Actions and lookups at {title}", "limits": "Limits of actions"}.get(setting.section, title)


def fields(loyalty: str, engagement: str) -> Iterator[Setting]:
    """Return the settings on the form for a pair of platforms."""
    for group in groups(loyalty, engagement):
        yield from group.fields


def label(path: str) -> str:
    """Return the title of a setting."""
    return next((setting.label for setting in list_settings() if setting.path == path), path)


def read(form: Form, loyalty: str, engagement: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert the input to a change of the connection and secrets to set. A blank secret keeps its value."""
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


def _value(field: Setting, typed: str) -> Any:
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
    """Return whether a text is a whole number of at most 15 digits; Python rejects thousands of digits."""
    return typed.isascii() and typed.isdigit() and len(typed) <= 15


def shown(settings: Mapping[str, Any], field: Setting) -> str:
    """Return the text of a setting in its field; a secret is not shown."""
    if field.kind == "secret":
        return ""
    value = _setting(settings, field.path)
    if isinstance(value, bool):
        return "on" if value else ""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)


def boxes(settings: Mapping[str, Any], field: Setting) -> list[tuple[str, bool]]:
    """List the choices of a field of kind `several`, and whether each is chosen.

    A chosen value that is no longer a choice stays visible, so that it can be cleared.
    """
    chosen = _setting(settings, field.path) or ()
    return [(one, one in chosen) for one in dict.fromkeys((*(_setting(settings, field.choices_from) or ()), *chosen))]


def _setting(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
