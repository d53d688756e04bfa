"""Jupyter notebooks: the code of their cells as one program, their magics as shell commands.

Source: nbformat 3 and 4 (https://nbformat.readthedocs.io, "The Notebook file format"); IPython's `!`, `!!`,
`%` and `%%` (IPython documentation, "Built-in magic commands").
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.around.python.shell import insecure
from modelward.artifact.around.source import LONGEST, analyse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 64 << 20
"""Largest notebook that is parsed, in bytes (pictures in outputs make them large)."""
CELLS: Final = 10_000

_SHELL_CELL: Final = re.compile(r"%%(?:bash|sh|script\s+\S*sh|!)")
_OTHER_CELL: Final = re.compile(r"%%(?!time|timeit|capture|prun|memit)\w")
_MAGIC: Final = re.compile(r"^(\s*)(?:([\w.,\s]+=\s*)?(!{1,2}|%{1,2}(?=[A-Za-z_]))|(\?))(.*)$")
_COMMANDS: Final = re.compile(r"^(?:pip|conda|mamba|sx|system|sc)\b")


def read(data: Buffer, into: Reading) -> None:
    """Report the weaknesses of a notebook; its outputs are not code."""
    if len(data) > LARGEST:
        into.note("source.unread", f"{len(data)} bytes of notebook are not analysed")
        return
    try:
        document = json.loads(bytes(data).decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        into.finding("source.unparsed", "info", f"the notebook is no JSON: {str(error)[:100]}")
        return
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    for number, text in _cells(document):
        into.spend(10)
        for line, content in enumerate(_python(text, number, into), 1):
            lines.append(content)
            places.append((number, line))
    _report("\n".join(lines), places, into)


def _cells(document: object) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each code cell."""
    if not isinstance(document, dict):
        return
    cells = document.get("cells")
    if not isinstance(cells, list):
        sheets = document.get("worksheets")
        cells = [
            cell
            for sheet in (sheets if isinstance(sheets, list) else [])[:100]
            if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
            for cell in sheet["cells"]
        ]
    for number, cell in enumerate(cells[:CELLS], 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", cell.get("input", ""))
            text = (
                "".join(part for part in source if isinstance(part, str))
                if isinstance(source, list)
                else source
            )
            if isinstance(text, str):
                yield number, text


def _python(text: str, number: int, into: Reading) -> list[str]:
    """The lines of a cell as Python, magics replaced by `pass`; shell commands are looked at on the way."""
    lines = text.splitlines()
    start = next((line.strip() for line in lines if line.strip()), "")
    if _SHELL_CELL.match(start):
        for line, command in enumerate(lines, 1):
            _command(command, (number, line), into)
        return []
    if _OTHER_CELL.match(start):
        return []
    made: list[str] = []
    for line, content in enumerate(lines, 1):
        magic = (
            _MAGIC.match(content)
            if content.lstrip()[:1] in {"!", "%", "?"} or "= !" in content or "=!" in content
            else None
        )
        if magic is None:
            made.append(content)
            continue
        if magic[3] in {"!", "!!"} or (magic[5] and _COMMANDS.match(magic[5].strip())):
            _command((magic[5] or "").strip(), (number, line), into)
        made.append(f"{magic[1]}pass")
    return made


def _command(command: str, place: tuple[int, int], into: Reading) -> None:
    for rule, severity, message, remedy in insecure(command):
        into.finding(
            f"source.{rule}",
            severity,
            f"cell {place[0]}, line {place[1]}: {message}",
            line=place[1],
            remedy=remedy,
        )


def _report(text: str, places: list[tuple[int, int]], into: Reading) -> None:
    if not text.strip():
        return
    analysis = analyse(text[: LONGEST + 1])
    for weakness in analysis.weaknesses:
        cell, line = places[weakness.line - 1]
        message = f"cell {cell}, line {line}: {weakness.message}"
        into.finding(weakness.rule, weakness.severity, message, line=line, remedy=weakness.remedy)
    for effect in analysis.payload:
        if effect.level == "dangerous":
            cell, line = places[effect.line - 1]
            message = f"cell {cell}, line {line}: {effect.message}: {effect.call}"
            into.finding(
                "source.payload", "high", message, line=line, remedy="remove it, or find out why it is there"
            )
    if analysis.problem is not None:
        into.finding("source.unparsed", "info", f"the cells are not analysed: {analysis.problem}")
