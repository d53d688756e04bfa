"""Dockerfiles and Containerfiles.

Source: Dockerfile reference (docker/docs; BuildKit's syntax 1): format, escape directive, continuation lines,
here-documents, FROM, USER, ADD --checksum, EXPOSE.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.around import workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 1 << 20
"""Bytes of a file that are looked at."""
_ESCAPE: Final = re.compile(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_DIRECTIVE: Final = re.compile(r"#\s*\w+\s*=")
_INSTRUCTION: Final = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_HERE: Final = re.compile(r"(?<!\S)\d?<<-?[\"']?([A-Za-z_]\w*)[\"']?(?!\S)")
_PAIR: Final = re.compile(r"([A-Za-z_]\w*)=(\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:[^\s\"'\\]|\\.)*)", re.DOTALL)
_ROOT: Final = frozenset({"root", "0"})


class Instruction(msgspec.Struct, frozen=True):
    """One instruction.

    Attributes:
        word: `FROM`, `RUN`, ... in capitals.
        rest: what follows, continuation lines and here-documents joined.
        line: where it starts, from 1.
    """

    word: str
    rest: str
    line: int


class Stage(msgspec.Struct):
    """A stage of the build.

    Attributes:
        line: of its FROM.
        user: named last, in it or in the stages it is built from, or "".
        named: whether the base image's own user is known to be no root.
        runs: whether it has a command; an image of data alone has none.
        empty: whether it starts from nothing.
    """

    line: int
    user: str = ""
    named: bool = False
    runs: bool = False
    empty: bool = False


def read(data: Buffer, into: Reading) -> None:
    """Report what the image gives away; the user is that of the last stage. The file has no verdict."""
    if len(data) > LONGEST:
        into.note("dockerfile.unread", f"only the first {LONGEST} bytes are looked at")
    text = bytes(data[:LONGEST]).decode("utf-8-sig", "replace")
    stages: dict[str, Stage] = {}
    last: Stage | None = None
    exposed: list[tuple[int, range]] = []
    for one in instructions(text):
        into.spend()
        if one.word == "FROM":
            last = _from(one, stages, into)
        elif one.word == "USER" and last is not None:
            last.user = one.rest.split(":")[0].strip().strip("\"'")
        else:
            if one.word in {"CMD", "ENTRYPOINT"} and last is not None:
                last.runs = True
            _instruction(one, into)
            exposed += [
                (one.line, workload.numbers(word)) for word in one.rest.split() if one.word == "EXPOSE"
            ]
    if last is not None:
        _user(last, into)
    for port in workload.management(text) if exposed else ():
        line = next((line for line, numbers in exposed if port.number in numbers), None)
        if line is not None:  # EXPOSE alone publishes nothing
            workload.published(port, "by `docker run -P`", line, into, severity="low")


def _from(one: Instruction, stages: dict[str, Stage], into: Reading) -> Stage:
    """`FROM [--platform=...] image [AS name]`; the image may be an earlier stage."""
    words = [word for word in one.rest.split() if not word.startswith("--")]
    image = words[0] if words else ""
    earlier = stages.get(image.lower())
    if earlier is not None:
        made = Stage(one.line, earlier.user, earlier.named, earlier.runs, earlier.empty)
    else:
        workload.image(image, one.line, into)
        made = Stage(one.line, named="nonroot" in image, empty=image == "scratch")
    if len(words) > 2 and words[1].upper() == "AS":
        stages[words[2].lower()] = made
    return made


def _user(stage: Stage, into: Reading) -> None:
    if stage.user.lower() in _ROOT:
        message = "the container runs as root"
    elif not stage.user and not stage.named and (stage.runs or not stage.empty):
        message = "no USER is named, so the container runs as root where its base image names no other user"
    else:
        return
    into.finding(
        "dockerfile.root-user",
        "medium",
        message,
        line=stage.line,
        remedy="End the last stage with USER and an ordinary user.",
    )


def _instruction(one: Instruction, into: Reading) -> None:
    if one.word in {"RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"}:
        workload.command(_words(one.rest), one.line, into)
    elif one.word in {"ENV", "ARG"}:
        for name, value in _pairs(one):
            into.spend()
            workload.variable(name, value, one.line, into)
    elif one.word == "ADD" and "--checksum=" not in one.rest:
        _add(one, into)


def _words(rest: str) -> str:
    """The exec form (a JSON list) as a command line, the shell form as it stands."""
    if rest.lstrip().startswith("["):
        try:
            return " ".join(word or "''" for word in msgspec.json.decode(rest.strip(), type=list[str]))
        except (msgspec.DecodeError, RecursionError):
            return rest
    return rest


def _pairs(one: Instruction) -> Iterator[tuple[str, str]]:
    """`NAME=value ...`, or the old `ENV NAME value`."""
    first, _, rest = one.rest.strip().partition(" ")
    if one.word == "ENV" and "=" not in first:
        yield first, rest.strip()
        return
    for match in _PAIR.finditer(one.rest):
        yield match[1], match[2].strip("\"'")


def _add(one: Instruction, into: Reading) -> None:
    for word in one.rest.split()[:-1]:
        if word.startswith("http://"):
            into.finding(
                "dockerfile.plain-http",
                "high",
                f"{word[:150]} comes over an unencrypted connection",
                line=one.line,
                remedy="Use https, and state --checksum=sha256:...",
            )
        elif word.startswith("https://"):
            into.finding(
                "dockerfile.unchecked-download",
                "low",
                f"{word[:150]} is added whatever it holds",
                line=one.line,
                remedy="State --checksum=sha256:...",
            )


def instructions(text: str) -> Iterator[Instruction]:
    """Every instruction of a file, with continuation lines and here-documents joined."""
    lines = text.splitlines()
    escape = _escape(lines)
    ends: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        ends.setdefault(line.lstrip("\t"), []).append(place)
    at = 0
    while at < len(lines):
        start, parts = at, list[str]()
        while at < len(lines):
            line = lines[at].rstrip()
            at += 1
            if not line or line.lstrip().startswith("#"):
                start = start if parts else at
                continue
            if not line.endswith(escape):
                parts.append(line)
                break
            parts.append(line[:-1])
        match = _INSTRUCTION.match(" ".join(parts))
        if match is None:
            continue
        word, rest = match[1].upper(), match[2]
        if word == "ONBUILD" and (inner := _INSTRUCTION.match(rest)):
            word, rest = inner[1].upper(), inner[2]
        if word in {"RUN", "COPY", "ADD"} and "<<" in rest:
            body, at = at, _here(rest, ends, at)
            rest = "\n".join([rest, *lines[body:at]]) if word == "RUN" else rest
        yield Instruction(word, rest, start + 1)


def _escape(lines: list[str]) -> str:
    """The escape directive counts among the directives at the top alone."""
    for line in lines:
        if not _DIRECTIVE.match(line.lstrip()):
            break
        if match := _ESCAPE.match(line.lstrip()):
            return "`" if match[1] == "`" else "\\"
    return "\\"


def _here(rest: str, ends: dict[str, list[int]], at: int) -> int:
    """The line after the here-documents of an instruction; one that nothing ends is none.

    Args:
        rest: of the instruction.
        ends: line without leading tabs -> where it stands.
        at: the line after the instruction's own.
    """
    for word in _HERE.findall(rest):
        places = ends.get(word, [])
        after = bisect_left(places, at)
        if after == len(places):
            break
        at = places[after] + 1
    return at
