"""The project's words, held in code, strings, comments, templates and help texts; test_docs.py holds the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.template import ROOT

RETIRED = re.compile(
    r"\b(told|tell|tells|telling|shelf|shelves|desk|gates?|lanes?|tally|tallies|journal|ledger"
    r"|drain(?:s|ed|ing)?|sandbox(?:es)?|anew|whoever|nobody|mend(?:s|ed|ing)?|meanwhile|at hand|one's own"
    r"|(?:is|are|was|were) to be)\b",
    re.IGNORECASE,
)
"""Words that have a better one in docs/architecture.md."""

ALLOWED = {
    "--no-sandbox": "an option of Chromium",
    "sandbox.punchh.com": "a host of Punchh",
}

REMAINING = {"tests": 299}
"""Occurrences that are left in each folder. The numbers may only fall."""

FOLDERS = ("benchmarks", "functions", "local", "scripts", "shared", "simulators", "tests")
FILES = ("template.yaml", "samconfig.toml", "Makefile", "pyproject.toml")
KINDS = {".py", ".html", ".jinja", ".yaml", ".toml", ".mk", ".sh", ".css"}


def texts(place: str) -> Iterator[tuple[Path, str]]:
    """Read the files of a folder, or one file, with identifiers split into their words."""
    below = ROOT / place
    paths = [below] if below.is_file() else sorted(path for path in below.rglob("*") if path.suffix in KINDS)
    for path in paths:
        if path != Path(__file__):
            text = path.read_text()
            for allowed in ALLOWED:
                text = text.replace(allowed, "")
            yield path, re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)


@pytest.mark.parametrize("place", [*FOLDERS, *FILES])
def test_a_retired_word_is_not_used(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path, text in texts(place)
        for number, line in enumerate(text.splitlines(), 1)
        for word in RETIRED.findall(line)
    ]

    assert len(found) <= REMAINING.get(place, 0), "\n".join(found)


@pytest.mark.parametrize("allowed", ALLOWED)
def test_an_exception_is_still_needed(allowed: str) -> None:
    assert any(allowed in path.read_text() for place in FOLDERS for path in (ROOT / place).rglob("*.py"))
