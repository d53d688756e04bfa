"""Suppressions that stand in the text they are about, with a reason and an end.

    data = pickle.load(file)  # modelward: ignore[source.unpickles] our own cache until=2027-06-30

Only findings about source, configuration, secrets and dependencies are suppressed, never a verdict, and only
in the file itself, not in members of archives. A suppression without a reason, or after its last day,
suppresses nothing and is a finding of its own.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import msgspec

from modelward.artifact.finding import Finding, Location

_COMMENT: Final = re.compile(r"modelward: ignore\[([\w.,* -]{1,200})\](.{0,400})")
_UNTIL: Final = re.compile(r"\buntil=(\S+)")
_MOST: Final = 10_000


class _Suppression(msgspec.Struct, frozen=True):
    rules: tuple[str, ...]
    reason: str
    until: date | None


def suppress(findings: tuple[Finding, ...], content: bytes, today: date) -> tuple[Finding, ...]:
    """Mark the findings that a comment on their line, or on the line above, suppresses.

    Args:
        findings: of one text.
        content: the text, UTF-8.
        today: a suppression counts up to and on its last day.

    Returns:
        all findings, `accepted` where suppressed, and one more per suppression that is void.
    """
    lines = content.decode("utf-8", "replace").splitlines()
    marked: dict[int, _Suppression] = {}
    void: list[Finding] = []
    for number, line in enumerate(lines, 1):
        match = _COMMENT.search(line) if "modelward: ignore" in line else None
        if match is None or len(marked) > _MOST:
            continue
        found = _read(match, today)
        if isinstance(found, str):
            void.append(Finding("suppression.void", "low", found, Location("", None, number)))
            continue
        marked[number] = found
        if line.lstrip().startswith(("#", "//")):
            marked.setdefault(number + 1, found)
    return (*(_judged(finding, marked) for finding in findings), *void)


def _read(match: re.Match[str], today: date) -> _Suppression | str:
    rest = match[2]
    until = _UNTIL.search(rest)
    last = None
    if until is not None:
        rest = rest[: until.start()] + rest[until.end() :]
        try:
            last = date.fromisoformat(until[1])
        except ValueError:
            return (
                f"the suppression's end {until[1][:40]!r} is no date like 2027-06-30: nothing is suppressed"
            )
        if last < today:
            return f"the suppression ended on {last}, so it suppresses nothing"
    reason = rest.strip(" \t:-*/\"'}")
    if len(reason) < 5:
        return "the suppression gives no reason behind the bracket, so it suppresses nothing"
    return _Suppression(tuple(word.strip() for word in match[1].split(",")), reason, last)


def _judged(finding: Finding, marked: dict[int, _Suppression]) -> Finding:
    here = marked.get(finding.location.line or 0)
    if here is None or finding.level != "note" or finding.location.member:
        return finding
    if not any(_covers(rule, finding.rule) for rule in here.rules):
        return finding
    end = f" (until {here.until})" if here.until else ""
    return msgspec.structs.replace(finding, accepted=f"suppressed in the file: {here.reason}{end}")


def _covers(pattern: str, rule: str) -> bool:
    """`source.pickle-load` covers itself, `source.*` every rule of the group; `*` alone covers nothing."""
    return pattern == rule or (pattern.endswith(".*") and rule.startswith(pattern[:-1]))
