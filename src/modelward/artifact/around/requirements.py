"""Requirements files of pip.

Source: pip 26 documentation, "Requirements File Format"; PEP 508 (names, markers), PEP 440 (`==`, `===`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.around.packages import Requirement, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 8 << 20
DEPTH: Final = 5
"""Files that include each other."""
_NAME: Final = re.compile(
    r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?)\s*(?:\[[^\]]{0,300}\])?\s*(.*)", re.DOTALL
)
_EXACT: Final = re.compile(r"\(?\s*={2,3}\s*([^\s,;*()]+)\s*\)?\s*(?:;.*)?")
_HASH: Final = re.compile(r"--hash[= ](\w+:[0-9a-fA-F]+)")
_EGG: Final = re.compile(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)")
_INCLUDE: Final = re.compile(r"(?:-r|--requirement|-c|--constraint)[= ]?\s*(\S+)")
_OPTION: Final = re.compile(r"(--[a-z-]+|-[if])[= ]?\s*(\S*)")


def read(data: Buffer, into: Reading) -> None:
    """Judge the packages of the file and of those that it includes from beside it."""
    text = bytes(data[:LONGEST]).decode("utf-8", "replace")
    judge(list(_all(text, into, 0)), into, pins="low")


def _all(text: str, into: Reading, depth: int) -> Iterator[Requirement]:
    for number, line in _logical(text):
        into.spend()
        if match := _INCLUDE.match(line):
            inner = into.beside(match[1]) if depth < DEPTH and "://" not in match[1] else None
            if inner is not None:
                shown = inner[:LONGEST].decode("utf-8", "replace")
                yield from (_placed(one, number) for one in _all(shown, into, depth + 1))
        elif line.startswith("-") and not line.startswith(("-e", "--editable")):
            _option(line, number, into)
        elif (one := parse(line, number)) is not None:
            yield one


def _placed(one: Requirement, line: int) -> Requirement:
    """An included package stands, for this file, at the line that includes it."""
    return Requirement(name=one.name, version=one.version, hashes=one.hashes, url=one.url, line=line)


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """(first line, text) without comments, continuation lines joined."""
    held, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        first = first or number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = (held + line).strip()
        if whole:
            yield first, whole
        held, first = "", 0
    if held.strip():
        yield first, held.strip()


def parse(text: str, line: int | None = None) -> Requirement | None:
    """One requirement, or None when the text is none.

    Args:
        text: such as `torch[cuda]==2.13.0 ; python_version > "3.10" --hash=sha256:...`.
        line: where it stands.
    """
    hashes = tuple(match.lower() for match in _HASH.findall(text))
    text = _HASH.sub("", text).strip()
    text = re.sub(r"^(?:-e|--editable)[= ]?\s*", "", text)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|(?:git|hg|svn|bzr)\+", text):
        egg = _EGG.search(text)
        last = text.split("#")[0].rstrip("/").rsplit("/", 1)[-1]
        name = egg[1] if egg else re.split(r"[-@]|\.git|\.zip|\.tar", last)[0]
        return Requirement(name=name or last, hashes=hashes, url=text.split()[0], line=line)
    match = _NAME.fullmatch(text)
    if match is None or text.startswith((".", "/")):
        return None
    name, rest = match[1], match[2]
    if rest.startswith("@"):
        url = rest[1:].split(";")[0].split()
        return Requirement(name=name, hashes=hashes, url=url[0] if url else "", line=line)
    if rest and not re.match(r"[<>]|[=!~]=|[;(]", rest):
        return None
    exact = _EXACT.fullmatch(rest)
    return Requirement(name=name, version=exact[1] if exact else "", hashes=hashes, line=line)


def _option(line: str, number: int, into: Reading) -> None:
    match = _OPTION.match(line)
    if match is None:
        return
    name, value = match[1], re.sub(r"//[^/@]*@", "//", match[2])[:150]
    if name == "--trusted-host":
        into.finding(
            "dependencies.trusted-host",
            "high",
            f"packages are taken from {value} without checking its certificate",
            line=number,
            remedy="Remove --trusted-host, and give the index a valid certificate.",
        )
    elif name in {"-i", "--index-url", "--extra-index-url", "-f", "--find-links"} and value.startswith(
        "http://"
    ):
        into.finding(
            "dependencies.plain-http",
            "high",
            f"packages come over an unencrypted connection: {value}",
            line=number,
            remedy="Use https.",
        )
    elif name == "--extra-index-url":
        into.finding(
            "dependencies.second-index",
            "medium",
            f"pip takes the highest version of either index, so a name of {value} can be taken elsewhere",
            line=number,
            remedy="Use one index that proxies the other, or pin hashes.",
        )
