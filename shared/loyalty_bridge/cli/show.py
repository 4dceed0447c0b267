"""Arguments that commands share, and output as tables or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loyalty_bridge.cli import stack
from loyalty_bridge.errors import Invalid
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.connection import Program

ProgramArgument = Annotated[str, typer.Argument(metavar="PROGRAM", help="Id of the program.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def find(program: str) -> Program:
    """Load a program.

    Raises
    ------
    NotFound
        There is no program with that id.
    """
    return repository.find(stack.settings(), program)


def content(file: str) -> bytes:
    """Read a file, or standard input if the name is ``-``.

    Raises
    ------
    Invalid
        The file cannot be read.
    """
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Invalid(file, f"cannot be read: {error.strerror}") from None


def show(answer: Mapping[str, Any] | Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Write a mapping as a table of its fields, or a list as a table with one row per entry."""
    if as_json:
        # Control characters can be inside strings only, where JSON can escape them.
        text = json.dumps(answer, indent=2, ensure_ascii=False) + "\n"
        sys.stdout.write("".join(one if _is_harmless(one) else json.dumps(one)[1:-1] for one in text))
        return
    if not answer:
        sys.stdout.write("No entries.\n")
        return
    rows = _flat(answer) if isinstance(answer, Mapping) else [[str(cell) for cell in row.values()] for row in answer]
    table = Table(box=None, show_header=not isinstance(answer, Mapping))
    for name in ("", "") if isinstance(answer, Mapping) else answer[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # not as markup: ids and names come from outside
    Console().print(table)


def printable(text: str) -> str:
    """Replace characters that control a terminal, such as escape sequences and direction marks."""
    return "".join(one if _is_harmless(one) else "\N{REPLACEMENT CHARACTER}" for one in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character == "\n"


def _flat(answer: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for name, value in answer.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append([f"{prefix}{name}", text])
    return rows
