"""Findings: rules that fired."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Severity: TypeAlias = Literal["info", "low", "medium", "high", "critical"]
Confidence: TypeAlias = Literal["low", "medium", "high"]

SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")
"""Mildest first."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that fired.

    Attributes:
        rule: stable id, ``<check>.<what>``.
        severity: how bad it is if true.
        confidence: how sure the rule is.
        title: a few words.
        message: one or two sentences with the numbers.
        location: file, member, column or input concerned.
        evidence: digests of the evidence.
        remedy: what to do about it.
        techniques: ids of attack techniques (MITRE ATLAS); `governance` holds their meaning.
        controls: ids of controls (NIST CSF 2.0, CoSAI risk map).
    """

    rule: str
    severity: Severity
    confidence: Confidence
    title: str
    message: str
    location: str = ""
    evidence: tuple[str, ...] = ()
    remedy: str
    techniques: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()


def severity_rank(severity: Severity) -> int:
    """0 for ``info`` up to 4 for ``critical``."""
    return SEVERITIES.index(severity)
