"""What a list of required packages shows: pins, hashes, imitated names, and where the packages come from."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.events import Severity
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

SHOWN: Final = 6
"""Names listed in one finding."""
KEPT: Final = 5_000
"""Most packages of one file that are kept for an inventory."""
_SHORT: Final = 5
"""Names of fewer characters are near many others by chance."""


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One required package.

    Attributes:
        name: as written.
        version: the one exact version, or "".
        hashes: as `sha256:<hex>`.
        url: a direct reference (a URL or a version control address), or "".
        line: in the file, from 1, or None.
        ecosystem: `pypi`, `conda` or `npm`.
    """

    name: str
    version: str = ""
    hashes: tuple[str, ...] = ()
    url: str = ""
    line: int | None = None
    ecosystem: str = "pypi"


class Known(msgspec.Struct, frozen=True):
    """What `packages.toml` states.

    Attributes:
        licences: normalised name -> SPDX expression, of packages that models often need.
        squatted: normalised name -> why it is no package to install.
        misnamed: normalised name -> the package that people mean by it.
    """

    licences: dict[str, str]
    squatted: dict[str, str]
    misnamed: dict[str, str]


@cache
def known() -> Known:
    """The table of known packages; read once."""
    text = Path(__file__).with_name("packages.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Known)


def normalise(name: str) -> str:
    """A package's name as indexes compare it. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def judge(required: Sequence[Requirement], into: Reading, *, pins: Severity | None) -> None:
    """Report on all packages of one file, and keep them for an inventory.

    Args:
        required: in order.
        into: what the file's reader says.
        pins: how bad a missing version is; None where ranges are meant, as in the manifest of a library.
    """
    into.facts["packages"] = cast("JSON", [_fact(one) for one in required[:KEPT]])
    if pins is not None:
        _pins(required, into, pins)
    for one in required[:KEPT]:
        into.spend()
        _direct(one, into)
        if one.ecosystem != "npm":
            _imitation(one, into)


def _fact(one: Requirement) -> dict[str, JSON]:
    return {
        "name": one.name,
        "version": one.version,
        "hashes": list(one.hashes),
        "ecosystem": one.ecosystem,
        "licence": known().licences.get(normalise(one.name), ""),
    }


def _pins(required: Sequence[Requirement], into: Reading, severity: Severity) -> None:
    loose = [one for one in required if not one.version and not one.url]
    if loose:
        into.finding(
            "dependencies.unpinned",
            severity,
            f"{len(loose)} of {len(required)} packages are not pinned to one version: {_names(loose)}",
            line=loose[0].line,
            remedy="Pin exact versions, for instance with `uv pip compile --generate-hashes`.",
        )
    bare = [one for one in required if one.version and not one.hashes and one.ecosystem == "pypi"]
    if bare:
        into.finding(
            "dependencies.unhashed",
            "low",
            f"{len(bare)} of {len(required)} packages have no hash, so any content is taken: {_names(bare)}",
            line=bare[0].line,
            remedy="Add hashes, and install with `pip install --require-hashes`.",
        )


def _names(required: Sequence[Requirement]) -> str:
    more = f" and {len(required) - SHOWN} more" if len(required) > SHOWN else ""
    return ", ".join(one.name[:60] for one in required[:SHOWN]) + more


_COMMIT: Final = re.compile(r"@[0-9a-f]{40}(?:[#&?].*)?$")


def _direct(one: Requirement, into: Reading) -> None:
    """A package from an address of its own, past the index."""
    if not one.url:
        return
    shown = re.sub(r"//[^/@]*@", "//", one.url)[:150]
    if one.url.startswith("http://") or "+http://" in one.url or one.url.startswith("git://"):
        into.finding(
            "dependencies.plain-http",
            "high",
            f"{one.name} comes over an unencrypted connection: {shown}",
            line=one.line,
            remedy="Use https.",
        )
    elif "+" in one.url.split(":", 1)[0] and not _COMMIT.search(one.url):
        into.finding(
            "dependencies.moving-source",
            "medium",
            f"{one.name} comes from a branch or tag, which can be moved: {shown}",
            line=one.line,
            remedy="Name the full commit (40 hexadecimal digits).",
        )
    elif one.url.startswith("https://") and not one.hashes and "#sha256=" not in one.url:
        into.finding(
            "dependencies.unhashed-source",
            "medium",
            f"{one.name} comes from an address without a hash: {shown}",
            line=one.line,
            remedy="Add `#sha256=...` to the address.",
        )


def _imitation(one: Requirement, into: Reading) -> None:
    name = normalise(one.name)
    if name in known().squatted:
        into.finding(
            "dependencies.squatted",
            "high",
            f"{one.name}: {known().squatted[name]}",
            line=one.line,
            remedy="Remove it; if it was installed, treat the machine as compromised until it was looked at.",
        )
    elif (meant := known().misnamed.get(name) or imitated(name)) is not None:
        into.finding(
            "dependencies.imitation",
            "medium",
            f"{one.name} looks like {meant}, and is none of the packages that models usually need",
            line=one.line,
            remedy=f"Check that it is not a misspelt {meant}.",
        )


def imitated(name: str) -> str | None:
    """The known package that a name imitates, or None.

    One edit (insertion, deletion, replacement, swap: Damerau-Levenshtein distance 1), the parts in
    another order, or no hyphens.
    """
    names = known().licences
    if name in names or len(name) < _SHORT:
        return None
    same = _squeezed(name)
    for candidate in names:
        if len(candidate) < _SHORT:
            continue
        if same == _squeezed(candidate) or sorted(name.split("-")) == sorted(candidate.split("-")):
            return candidate
        if abs(len(name) - len(candidate)) <= 1 and _one_edit(name, candidate):
            return candidate
    return None


def _squeezed(name: str) -> str:
    return name.replace("-", "").replace("0", "o").replace("1", "l")


def _one_edit(first: str, second: str) -> bool:
    """Whether two different names are one edit apart."""
    if len(first) > len(second):
        first, second = second, first
    at = next((index for index, char in enumerate(first) if char != second[index]), len(first))
    if len(first) < len(second):
        return first[at:] == second[at + 1 :]
    swapped = first[at : at + 2] == second[at : at + 2][::-1]
    return first[at + 1 :] == second[at + 1 :] or (swapped and first[at + 2 :] == second[at + 2 :])
