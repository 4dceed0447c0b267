"""Documents made from the code: OpenAPI files, a JSON Schema of every event under docs/schemas/, costs, and NOTICE."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from loyalty_bridge.admin import api as admin_api
from loyalty_bridge.http_api import openapi
from loyalty_bridge.platforms import field_reference
from loyalty_bridge.platforms.registry import LOYALTY
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
    """Give every file and its text."""
    yield DOCS / "openapi.json", _text(openapi.openapi())
    yield DOCS / "admin-openapi.json", _text(admin_api.openapi())
    yield DOCS / "costs.md", costs.page()
    for name, platform in LOYALTY.items():
        reference = platform.reference()
        for event, schema in reference.schemas.items():
            yield DOCS / "schemas" / name / f"{event}.json", _text(schema)
        yield DOCS / f"{name}-fields.md", field_reference.page(platform.SETTINGS.title, reference)
    yield ROOT / "NOTICE", _NOTICE + "".join(f"{name}: {_licence(name)}\n" for name in _shipped())


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
