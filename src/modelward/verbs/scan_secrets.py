"""More secrets: what the library detect-secrets finds in texts, beside the forms that are always looked for.

Its detectors of mere entropy and of keywords find more, and are wrong more often, so a flag asks for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward.artifact.finding import Finding, Location
from modelward.artifact.format import TEXTUAL
from modelward.errors import ExtraMissing

if TYPE_CHECKING:
    from modelward.artifact.verdict import ArtifactReport


def add_secrets(report: ArtifactReport) -> ArtifactReport:
    """Add a finding for each secret that no other finding of this file is about.

    Args:
        report: of a file on the disk; others are returned as they are.

    Raises:
        ExtraMissing: the extra [secrets] is not installed.
    """
    try:
        from detect_secrets.core.scan import scan_file
        from detect_secrets.settings import default_settings
    except ImportError as error:
        raise ExtraMissing("detect-secrets", "secrets") from error
    path = Path(report.path)
    if report.format not in TEXTUAL | {"hf-config", "mlflow", "object-yaml"} or not path.is_file():
        return report
    known = {finding.location.line for finding in report.findings if finding.rule.startswith("secrets.")}
    with default_settings():
        found = {(secret.line_number, secret.type) for secret in scan_file(str(path))}
    made = tuple(
        Finding(
            "secrets.suspected",
            "medium",
            f"detect-secrets: {kind}",
            Location("", None, line),
            remedy="If it is one, revoke it where it was issued, then remove it here and from the history.",
        )
        for line, kind in sorted(found)
        if line not in known
    )
    return msgspec.structs.replace(report, findings=(*report.findings, *made)) if made else report
