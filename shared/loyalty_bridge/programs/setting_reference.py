"""The settings of a connection, read from its types: path, title, description, choices, default and limits.

Form, documentation and command line help are made from this list, so each setting is described once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import inspect

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms.registry import ENGAGEMENT, LOYALTY
from loyalty_bridge.programs.connection import Connection

Kind = Literal["text", "list", "several", "flag", "choice", "number", "secret", "object"]
Side = Literal["loyalty", "engagement"]

_KINDS: Mapping[type[inspect.Type], Kind] = {
    inspect.BoolType: "flag",
    inspect.IntType: "number",
    inspect.LiteralType: "choice",
    inspect.VarTupleType: "list",
    inspect.DictType: "object",
    inspect.StructType: "object",
}
_SECTIONS = ("", "secrets", "rules", "api", "limits")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a connection, or one secret.

    Attributes
    ----------
    path
        Its place in the connection, such as ``loyalty.rules.default_currency``, or ``secrets.<name>``.
    label
        Its title; empty if the form does not have it.
    section
        The object that contains it: ``rules``, ``api``, ``limits``, or empty.
    limits
        The range of a number, for people.
    is_optional
        Whether an empty input means null, instead of an empty text.
    is_rare
        Whether it is rarely needed.
    choices_from
        Path of the setting whose values are the choices, with the kind `several`.
    """

    path: str
    label: str
    help: str
    kind: Kind
    section: str = ""
    choices: tuple[str, ...] = ()
    default: Any = None
    limits: str = ""
    is_optional: bool = False
    is_rare: bool = False
    choices_from: str = ""

    @property
    def meaning(self) -> str:
        """Its title, description, choices and limits in one text."""
        start = f"{self.label}. {self.help}" if self.label and self.help else self.label or self.help
        choices = f" One of: {', '.join(self.choices)}." if self.choices else ""
        return f"{start}{choices}{f' {self.limits}.' if self.limits else ''}".strip()


def settings_of(side: Side, platform: str) -> list[Setting]:
    """List the settings and secrets of a platform, section by section; rarely needed ones come last."""
    struct = (LOYALTY if side == "loyalty" else ENGAGEMENT)[platform].SETTINGS
    secrets = (_secret(name, meta) for name, meta in struct.secrets.items())
    found = [*_settings(struct, f"{side}."), *secrets]
    return sorted(found, key=lambda setting: (setting.is_rare, _SECTIONS.index(setting.section)))


def common_settings() -> list[Setting]:
    """List the settings of every program, whatever its platforms."""
    return [setting for setting in _settings(Connection) if setting.path not in ("loyalty", "engagement")]


def list_settings(platform: str = "") -> list[Setting]:
    """List the settings of one platform, or those of all platforms and programs.

    Raises
    ------
    Invalid
        There is no such platform.
    """
    if platform in LOYALTY:
        return settings_of("loyalty", platform)
    if platform in ENGAGEMENT:
        return settings_of("engagement", platform)
    if platform:
        raise Invalid("platform", f"is not one of {', '.join((*LOYALTY, *ENGAGEMENT))}")
    return [*common_settings(), *(setting for name in (*LOYALTY, *ENGAGEMENT) for setting in list_settings(name))]


def _secret(name: str, meta: msgspec.Meta) -> Setting:
    section = (meta.extra or {}).get("group", "secrets")
    return Setting(f"secrets.{name}", meta.title or "", meta.description or "", "secret", section)


def _settings(struct: type[msgspec.Struct], prefix: str = "", section: str = "") -> Iterator[Setting]:
    info: Any = inspect.type_info(struct)
    for field in info.fields:
        if isinstance(field.type, inspect.StructType):
            yield from _settings(field.type.cls, f"{prefix}{field.name}.", field.name)
        else:
            yield _setting(field, prefix, section)


def _setting(field: inspect.Field, prefix: str, section: str) -> Setting:
    meta: Any = field.type if isinstance(field.type, inspect.Metadata) else inspect.Metadata(field.type)
    type_: Any = meta.type
    extra, schema = meta.extra or {}, meta.extra_json_schema or {}
    is_optional = False
    if isinstance(type_, inspect.UnionType):
        is_optional = any(isinstance(each, inspect.NoneType) for each in type_.types)
        type_ = next(each for each in type_.types if not isinstance(each, inspect.NoneType))
    is_number = isinstance(type_, inspect.IntType)
    default = field.default_factory() if callable(field.default_factory) else field.default
    return Setting(
        path=f"{prefix}{field.name}",
        label=schema.get("title", ""),
        help=schema.get("description", ""),
        kind="several" if "choices_from" in extra else _KINDS.get(type(type_), "text"),
        section=extra.get("group", section),
        choices=tuple(map(str, type_.values)) if isinstance(type_, inspect.LiteralType) else (),
        default=msgspec.to_builtins(default),
        limits=_limits(type_.ge, type_.le) if is_number else "",
        is_optional=is_optional,
        is_rare=bool(extra.get("rare")),
        choices_from=extra.get("choices_from", ""),
    )


def _limits(least: int | None, most: int | None) -> str:
    if least is None or most is None:
        return "" if least is None else f"At least {least:,}"
    return f"From {least:,} to {most:,}"
