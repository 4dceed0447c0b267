"""Write documents that are made from the code: OpenAPI, JSON Schemas, tables of fields and settings, costs, NOTICE."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from loyalty_bridge.admin import api as admin_api
from loyalty_bridge.http_api import routes
from loyalty_bridge.platforms import field_reference
from loyalty_bridge.platforms.registry import ENGAGEMENT, LOYALTY
from loyalty_bridge.programs import setting_reference
from loyalty_bridge.programs.connection import Connection
from loyalty_bridge.programs.setting_reference import Setting
from scripts import costs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_NOTICE = """Loyalty Bridge
Copyright (c) 2026 The Loyalty Bridge contributors
Licensed under the MIT licence; see LICENSE.

The layers that `make build` makes contain these packages, installed from PyPI as published,
each under its own licence, whose text is in the package's .dist-info folder:

"""


def documents() -> Iterator[tuple[Path, str]]:
    """Return every file and its text."""
    yield DOCS / "openapi.json", _text(routes.document())
    yield DOCS / "admin-openapi.json", _text(admin_api.document())
    yield DOCS / "schemas" / "connection.json", _text(msgspec.json.schema(Connection))
    yield DOCS / "settings.md", _settings_page((DOCS / "settings.md").read_text())
    yield DOCS / "costs.md", costs.page()
    for name, platform in LOYALTY.items():
        reference = platform.reference()
        for event, schema in reference.schemas.items():
            yield DOCS / "schemas" / name / f"{event}.json", _text(schema)
        yield DOCS / f"{name}-fields.md", field_reference.page(platform.SETTINGS.title, reference)
    yield ROOT / "NOTICE", _NOTICE + "".join(f"{name}: {_licence(name)}\n" for name in _shipped())


def _settings_page(page: str) -> str:
    """Replace the tables of the page by those of the settings' types."""
    before, _, rest = page.partition("<!-- tables -->")
    after = rest.partition("<!-- end of tables -->")[2]
    tables = [_settings_table("Every program", setting_reference.common_settings())]
    titles = {name: platform.SETTINGS.title for name, platform in LOYALTY.items()}
    titles |= {name: platform.SETTINGS.title for name, platform in ENGAGEMENT.items()}
    tables += [_settings_table(title, setting_reference.list_settings(name)) for name, title in titles.items()]
    return f"{before}<!-- tables -->\n\n{''.join(tables)}<!-- end of tables -->{after}"


def _settings_table(title: str, settings: list[Setting]) -> str:
    rows = [f"| `{one.path}` | {_default(one.default)} | {one.meaning} |" for one in settings]
    return "\n".join([f"## {title}", "", "| Setting | Default | Meaning |", "|---|---|---|", *rows, "", ""])


def _default(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f"`{each}`" for each in value)
    return "" if value in ("", None) or isinstance(value, dict) else f"`{json.dumps(value).strip(chr(34))}`"


def _shipped() -> list[str]:
    """List the packages of both layers."""
    locks = "".join((ROOT / "shared" / lock).read_text() for lock in ("requirements.lock", "admin.lock"))
    return sorted(re.findall(r"^([a-z0-9-]+)==", locks, re.MULTILINE))


def _licence(package: str) -> str:
    """Read a package's licence from its metadata, where packages state it in three ways."""
    about = metadata.metadata(package)
    classifiers = [name.rpartition(" :: ")[2] for name in about.get_all("Classifier", []) if name.startswith("License")]
    return about["License-Expression"] or ", ".join(classifiers) or about["License"]


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them."""
    for path, text in documents():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
