"""Licences of models, data and packages against a policy.

An SPDX expression is allowed when one side of each OR and both sides of each AND are (SPDX 3.0, annex B).
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.finding import Finding, Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.artifact.verdict import ArtifactReport

_TOKEN: Final = re.compile(r"\s*([()]|[^\s()]+)")
_LONGEST: Final = 100
_REMEDY: Final = "Replace it, or ask those who answer for licences and extend the policy."


class LicencePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which licences may be used; names are SPDX identifiers and may hold `*`.

    Attributes:
        allow: when given, everything else is refused, what is unknown as well.
        deny: always refused.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


def judge_licences(report: ArtifactReport, policy: LicencePolicy) -> ArtifactReport:
    """Add a finding for each licence that a policy refuses.

    Args:
        report: with what its content states (`facts`).
        policy: at least one rule.
    """
    found = tuple(
        Finding(
            "licence.unknown" if not licence else "licence.refused",
            "medium" if not licence else "high",
            f"{what}: {f'the licence {licence[:200]} is refused' if licence else 'no licence is known'}",
            Location("", None),
            remedy=_REMEDY,
        )
        for what, licence in _stated(report)
        if not allowed(licence, policy)
    )
    return msgspec.structs.replace(report, findings=(*report.findings, *found)) if found else report


def _stated(report: ArtifactReport) -> Iterator[tuple[str, str]]:
    """(what, licence) of the file and of the packages that it names."""
    licence = report.facts.get("licence")
    if isinstance(licence, str):
        yield "the content", licence
    packages = report.facts.get("packages")
    for item in packages if isinstance(packages, list) else []:
        if isinstance(item, dict) and item.get("ecosystem") != "npm":
            yield str(item.get("name")), str(item.get("licence") or "")


def allowed(licence: str, policy: LicencePolicy) -> bool:
    """Whether a policy allows an SPDX expression; "" is an unknown licence.

    Args:
        licence: such as `MIT OR (Apache-2.0 AND BSD-3-Clause)`.
        policy: the rules.
    """
    if not licence:
        return not policy.allow
    tokens = _TOKEN.findall(licence)
    if len(tokens) > _LONGEST or "".join(tokens) != "".join(licence.split()):
        return False
    value, rest = _any(tokens, policy)
    return value and not rest


def _any(tokens: Sequence[str], policy: LicencePolicy) -> tuple[bool, Sequence[str]]:
    value, tokens = _all(tokens, policy)
    while tokens and tokens[0].upper() == "OR":
        other, tokens = _all(tokens[1:], policy)
        value = value or other
    return value, tokens


def _all(tokens: Sequence[str], policy: LicencePolicy) -> tuple[bool, Sequence[str]]:
    value, tokens = _one(tokens, policy)
    while tokens and tokens[0].upper() == "AND":
        other, tokens = _one(tokens[1:], policy)
        value = value and other
    return value, tokens


def _one(tokens: Sequence[str], policy: LicencePolicy) -> tuple[bool, Sequence[str]]:
    if not tokens:
        return False, tokens
    if tokens[0] == "(":
        value, tokens = _any(tokens[1:], policy)
        return (value, tokens[1:]) if tokens and tokens[0] == ")" else (False, tokens)
    name, tokens = tokens[0], tokens[1:]
    if len(tokens) > 1 and tokens[0].upper() == "WITH":
        tokens = tokens[2:]  # an exception only adds permissions
    return _named(name, policy), tokens


def _named(name: str, policy: LicencePolicy) -> bool:
    lower = name.lower()
    if any(fnmatchcase(lower, pattern.lower()) for pattern in policy.deny):
        return False
    return not policy.allow or any(fnmatchcase(lower, pattern.lower()) for pattern in policy.allow)
