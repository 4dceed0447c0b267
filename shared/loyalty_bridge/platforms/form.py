"""The fields of the operator's connection form, described by each platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loyalty_bridge.platforms.settings import WEBHOOK_CREDENTIALS

Kind = Literal["text", "list", "several", "flag", "choice", "number", "secret"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form.

    Attributes
    ----------
    path
        Of the setting in the connection, such as ``loyalty.rules.default_currency``; or ``secrets.<name>``.
    is_optional
        Whether nothing typed means that there is no value, where an empty text is none.
    choices_from
        Path of the setting whose values are the choices, with the kind `several`.
    """

    path: str
    label: str
    help: str = ""
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    is_optional: bool = False
    choices_from: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together; the rarely needed ones are folded away."""

    title: str
    fields: tuple[Field, ...]
    is_folded: bool = False


CREDENTIALS = (
    Field(
        f"secrets.{WEBHOOK_CREDENTIALS[0]}",
        "Webhook credential",
        "What each delivery has to show. With basic: user:password; else the token, the secret, or the header's value.",
        "secret",
    ),
    Field(
        f"secrets.{WEBHOOK_CREDENTIALS[1]}",
        "Next webhook credential",
        "Valid beside the first, so that one can be exchanged for the other without losing a delivery.",
        "secret",
    ),
)
