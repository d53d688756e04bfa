"""Python source: weaknesses that a reviewer would name, and what loading the code would do.

The text is parsed into a syntax tree and looked at; nothing is compiled or run.
"""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.around.python import commands, loads, network
from modelward.artifact.around.python.payload import Effect, effects
from modelward.artifact.around.python.walk import walk
from modelward.artifact.around.python.weakness import Weakness
from modelward.artifact.encoding import source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.artifact.around.python.scope import Seen, Site
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 2 << 20
"""Longest source that is parsed, in characters."""
KEPT: Final = 500
"""Most weaknesses of one source that are kept."""

_RULES: Final = {**loads.RULES, **commands.RULES, **network.RULES}


class Analysis(msgspec.Struct, frozen=True):
    """What the syntax tree of one source says.

    Attributes:
        weaknesses: in order of lines.
        payload: what runs on import or when a loader calls an entry, and should not; in order. Empty for
            ordinary model code.
        problem: why it could not be analysed as a whole, or None.
    """

    weaknesses: tuple[Weakness, ...]
    payload: tuple[Effect, ...]
    problem: str | None = None

    @property
    def level(self) -> str:
        """`dangerous`, `unproven` (also when it could not be analysed) or "" when the payload is empty."""
        levels = {effect.level for effect in self.payload}
        if "dangerous" in levels:
            return "dangerous"
        return "unproven" if levels or self.problem is not None else ""


def analyse(text: str, *, inner: bool = False) -> Analysis:
    """Look at Python source.

    Args:
        text: the source.
        inner: it is a text inside source that is run as code; such a text is not followed further.
    """
    if len(text) > LONGEST:
        return Analysis((), (), f"{len(text)} characters of source; {LONGEST} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        seen = walk(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return Analysis((), (), f"it cannot be parsed as Python 3: {_reason(error)}")
    problem = None if seen.complete else "it has more parts than are looked at"
    return Analysis(
        tuple(_weaknesses(seen)), () if inner and _nested(seen) else tuple(effects(seen)), problem
    )


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno or '?'})"
    return "it is nested too deeply" if isinstance(error, RecursionError | MemoryError) else str(error)[:200]


def _nested(seen: Seen) -> bool:
    """Whether text inside text would be followed once more."""
    return sum(site.path in {"builtins.exec", "builtins.eval"} for site in seen.sites) > 20


def _weaknesses(seen: Seen) -> list[Weakness]:
    found: dict[tuple[str, int], Weakness] = {}
    for site in seen.sites:
        for weakness in _of(site):
            found.setdefault((weakness.rule, weakness.line), weakness)
        if len(found) >= KEPT:
            break
    return sorted(found.values(), key=lambda weakness: weakness.line)


def _of(site: Site) -> Iterable[Weakness]:
    if site.stored is not None:
        judged = [network.stored(site)]
    else:
        rule = _RULES.get(site.path)
        judged = [rule(site) if rule else None, loads.trust_remote_code(site)]
    return [weakness for weakness in judged if weakness is not None]


def read(data: Buffer, into: Reading) -> None:
    """Report the weaknesses of a Python file; a file of source has no verdict."""
    if len(data) > LONGEST * 4:
        into.note("source.unread", f"{len(data)} bytes of source are not analysed")
        return
    report(analyse(source(bytes(data))), into)


def report(analysis: Analysis, into: Reading, *, first: int = 1, where: str = "") -> None:
    """Turn an analysis into findings.

    Args:
        analysis: of one source.
        into: what is found.
        first: line of the file at which the source begins.
        where: said before each message, e.g. `cell 3: `.
    """
    for weakness in analysis.weaknesses:
        into.finding(
            weakness.rule,
            weakness.severity,
            where + weakness.message,
            line=weakness.line + first - 1,
            remedy=weakness.remedy,
        )
    for effect in analysis.payload:
        if effect.level == "dangerous":
            when = f"when {effect.entry} is called" if effect.entry else "when the file is imported"
            into.finding(
                "source.payload",
                "high",
                f"{where}{effect.message} {when}: {effect.call}",
                line=effect.line + first - 1,
                remedy="remove it, or find out why it is there",
            )
    if analysis.problem is not None:
        into.finding("source.unparsed", "info", f"{where}the source is not analysed: {analysis.problem}")


def siblings(text: str) -> list[str]:
    """Modules of the same folder that a source imports (`from .layers import Norm`), as paths."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text[:LONGEST])
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found.update(dict.fromkeys(name.replace(".", "/") for name in names if name and name != "*"))
    return list(found)
