"""What is documented from the code: both OpenAPI files, and a JSON Schema of every event under docs/schemas/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loyalty_bridge.admin import api as admin_api
from loyalty_bridge.api import contract
from loyalty_bridge.sources import brevo_events, convercus_schemas

DOCS = Path(__file__).parent.parent / "docs"


def documents() -> Iterator[tuple[Path, str]]:
    """Give every file and its text."""
    yield DOCS / "openapi.json", _text(contract.openapi())
    yield DOCS / "admin-openapi.json", _text(admin_api.openapi())
    for platform, schemas in (("convercus", convercus_schemas.schemas()), ("brevo", brevo_events.schemas())):
        for name, schema in schemas.items():
            yield DOCS / "schemas" / platform / f"{name}.json", _text(schema)


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them."""
    for path, text in documents():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
