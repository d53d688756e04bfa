"""Known vulnerabilities of the packages that requirements and lock files pin: from OSV on disk, or online.

Sources: the OSV schema 1.7 (affected, ranges, events); CVSS 3.1 section 7.1 (base score).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.around.packages import normalise
from modelward.artifact.finding import Finding, Location
from modelward.errors import ExtraMissing, FileDamaged, FileMissing, RemoteRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.artifact.events import Severity
    from modelward.artifact.verdict import ArtifactReport

ONLINE: Final = "online"
_LARGEST: Final = 8 << 20
_SHOWN: Final = 300


class _Package(msgspec.Struct, frozen=True):
    name: str = ""
    ecosystem: str = ""


class _Range(msgspec.Struct, frozen=True):
    type: str = ""
    events: list[dict[str, str]] = []


class _Affected(msgspec.Struct, frozen=True):
    package: _Package = _Package()
    versions: list[str] = []
    ranges: list[_Range] = []


class _Score(msgspec.Struct, frozen=True):
    type: str = ""
    score: str = ""


class Advisory(msgspec.Struct, frozen=True):
    """One entry of OSV, as far as it is used."""

    id: str
    summary: str = ""
    details: str = ""
    aliases: list[str] = []
    withdrawn: str = ""
    affected: list[_Affected] = []
    severity: list[_Score] = []
    database_specific: dict[str, object] = {}


def add_vulnerabilities(reports: Sequence[ArtifactReport], source: str) -> list[ArtifactReport]:
    """Add a finding for each known vulnerability of a pinned package.

    Args:
        reports: of a scan.
        source: `online`, or the path of an OSV export: a zip archive or a folder of JSON files.

    Raises:
        ExtraMissing: the extra [deps] is not installed.
        FileMissing: the export does not exist, or holds no advisory on PyPI.
        FileDamaged: it cannot be read.
        RemoteRefused: OSV cannot be asked.
    """
    if find_spec("packaging") is None or (source == ONLINE and find_spec("pip_audit") is None):
        raise ExtraMissing("pip-audit", "deps")
    if source != ONLINE and not Path(source).exists():
        raise FileMissing(f"{source}: there is no such OSV export")
    wanted = {pin for report in reports for pin in _pins(report)}
    known: dict[tuple[str, str], list[Finding]] = {}
    if wanted:
        known = _online(wanted) if source == ONLINE else _offline(wanted, Path(source))
    return [_judged(report, known) for report in reports]


def _pins(report: ArtifactReport) -> Iterator[tuple[str, str]]:
    """(normalised name, exact version) of packages of PyPI."""
    listed = report.facts.get("packages")
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and item.get("ecosystem") == "pypi" and item.get("version"):
            yield normalise(str(item["name"])), str(item["version"])


def _uncompared(report: ArtifactReport) -> int:
    listed = report.facts.get("packages")
    return len(listed) - len(list(_pins(report))) if isinstance(listed, list) else 0


def _judged(report: ArtifactReport, known: dict[tuple[str, str], list[Finding]]) -> ArtifactReport:
    found = [finding for pin in dict.fromkeys(_pins(report)) for finding in known.get(pin, [])]
    if left := _uncompared(report):
        message = f"{left} packages have no exact version, or are not of PyPI, and were not compared with OSV"
        found.append(Finding("dependencies.not-compared", "info", message, Location("", None)))
    return msgspec.structs.replace(report, findings=(*report.findings, *found)) if found else report


def _finding(
    pin: tuple[str, str], ids: Sequence[str], summary: str, severity: Severity, fixed: str
) -> Finding:
    name, version = pin
    words = " ".join(summary.split())[:_SHOWN]
    return Finding(
        "dependencies.vulnerable",
        severity,
        f"{name} {version}: {', '.join(ids[:3])}{': ' + words if words else ''}",
        Location("", None),
        remedy=f"Update to {fixed}."
        if fixed
        else "No fixed release is known; find out whether it concerns you.",
    )


# --- an export on the disk ----------------------------------------------------------------------------------


def _offline(wanted: set[tuple[str, str]], path: Path) -> dict[tuple[str, str], list[Finding]]:
    names = {name for name, _ in wanted}
    found: dict[str, list[Advisory]] = {}
    total = 0
    for advisory in _export(path):
        concerned = {
            normalise(one.package.name) for one in advisory.affected if one.package.ecosystem == "PyPI"
        }
        total += bool(concerned)
        for name in concerned & names if not advisory.withdrawn else ():
            found.setdefault(name, []).append(advisory)
    if not total:
        raise FileMissing(f"{path}: holds no advisory of OSV on PyPI")
    return {pin: list(_matching(pin, found.get(pin[0], []))) for pin in wanted}


def _export(path: Path) -> Iterator[Advisory]:
    decoder = msgspec.json.Decoder(Advisory)
    try:
        for content in _contents(path):
            yield decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, zipfile.BadZipFile, RecursionError) as error:
        raise FileDamaged(f"{path}: is no export of OSV: {error}") from error
    except OSError as error:
        raise FileMissing(f"{path}: {error.strerror or error}") from error


def _contents(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield file.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".json") and member.file_size <= _LARGEST:
                yield archive.read(member)


def _matching(pin: tuple[str, str], advisories: Sequence[Advisory]) -> Iterator[Finding]:
    """One finding per vulnerability: entries that are aliases of each other are one."""
    groups: list[tuple[set[str], list[Advisory]]] = []
    for advisory in advisories:
        if not _affects(advisory, pin):
            continue
        ids = {advisory.id, *advisory.aliases}
        same = [group for group in groups if group[0] & ids]
        groups = [group for group in groups if not group[0] & ids]
        groups.append((ids.union(*(g[0] for g in same)), [advisory, *(a for g in same for a in g[1])]))
    for ids, members in groups:
        levels = [level for one in members if (level := _severity(one)) is not None]
        order: tuple[Severity, ...] = ("critical", "high", "medium", "low")
        severity = min(levels, key=order.index) if levels else "medium"
        summary = next((one.summary for one in members if one.summary), members[0].details)
        shown = sorted(ids, key=lambda text: (not text.startswith("CVE"), text))
        yield _finding(pin, shown, summary, severity, _fixed(members, pin))


def _affects(advisory: Advisory, pin: tuple[str, str]) -> bool:
    return any(
        one.package.ecosystem == "PyPI"
        and normalise(one.package.name) == pin[0]
        and (pin[1] in one.versions or any(_in(span, pin[1]) for span in one.ranges))
        for one in advisory.affected
    )


def _in(span: _Range, version: str) -> bool:
    """Whether a version lies in a range of events. Source: OSV schema, "Evaluation"."""
    if span.type != "ECOSYSTEM":
        return False
    at, inside = _version(version), False
    for event in sorted(span.events, key=lambda event: _version(next(iter(event.values()), "0"))):
        kind, bound = next(iter(event.items()), ("", ""))
        if kind == "introduced" and at >= _version(bound):
            inside = True
        elif (kind == "fixed" and at >= _version(bound)) or (
            kind == "last_affected" and at > _version(bound)
        ):
            inside = False
    return inside


def _version(text: str) -> tuple[int, object]:
    """A version that compares; what is no version of PEP 440 comes before all that are."""
    from packaging.version import InvalidVersion, Version

    try:
        return 1, Version(text)
    except InvalidVersion:
        return 0, text


def _fixed(members: Sequence[Advisory], pin: tuple[str, str]) -> str:
    """The lowest release above the pinned one that an advisory calls fixed."""
    found = {
        event["fixed"]
        for advisory in members
        for one in advisory.affected
        if normalise(one.package.name) == pin[0]
        for span in one.ranges
        for event in span.events
        if span.type == "ECOSYSTEM" and "fixed" in event and _version(event["fixed"]) > _version(pin[1])
    }
    return min(found, key=_version) if found else ""


def _severity(advisory: Advisory) -> Severity | None:
    stated = str(advisory.database_specific.get("severity", "")).upper()
    words: dict[str, Severity] = {
        "CRITICAL": "critical", "HIGH": "high", "MODERATE": "medium", "MEDIUM": "medium", "LOW": "low",
    }  # fmt: skip
    if stated in words:
        return words[stated]
    scores = [score for one in advisory.severity if (score := base_score(one.score)) is not None]
    if not scores:
        return None
    return next(level for level, least in _BANDS if max(scores) >= least)


_BANDS: Final[tuple[tuple[Severity, float], ...]] = (
    ("critical", 9.0),
    ("high", 7.0),
    ("medium", 4.0),
    ("low", 0.0),
)
"""Source: CVSS 3.1, section 5, qualitative severity rating scale."""
_WEIGHTS: Final = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES: Final = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}


def base_score(vector: str) -> float | None:
    """CVSS 3.0 or 3.1 base score of a vector, 0 to 10, or None.

    Source: CVSS 3.1, sections 7.1 and 7.4, appendix A.
    """
    if not vector.startswith(("CVSS:3.0/", "CVSS:3.1/")):
        return None
    parts = dict(part.split(":", 1) for part in vector.split("/")[1:] if ":" in part)
    try:
        weight = {name: table[parts[name]] for name, table in _WEIGHTS.items()}
        privileges = _PRIVILEGES[parts["S"]][parts["PR"]]
    except KeyError:
        return None
    changed = parts["S"] == "C"
    sub = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 7.52 * (sub - 0.029) - 3.25 * (sub - 0.02) ** 15 if changed else 6.42 * sub
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    total = min(10.0, (1.08 if changed else 1.0) * (impact + exploitability))
    tenths = round(total * 100_000)
    return tenths / 100_000 if tenths % 10_000 == 0 else (tenths // 10_000 + 1) / 10


# --- online -------------------------------------------------------------------------------------------------


def _online(wanted: set[tuple[str, str]], *extra: str) -> dict[tuple[str, str], list[Finding]]:
    """Ask OSV through pip-audit, which runs as a process of its own and installs nothing."""
    with tempfile.TemporaryDirectory(prefix="modelward-") as folder:
        pinned = Path(folder, "pinned.txt")
        pinned.write_text(
            "".join(f"{name}=={version}\n" for name, version in sorted(wanted)), encoding="utf-8"
        )
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", str(pinned), "--no-deps", "--disable-pip",
            "--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", *extra,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    try:
        listed = json.loads(done.stdout)["dependencies"]
        answers = {(normalise(one["name"]), one["version"]): one["vulns"] for one in listed if "vulns" in one}
    except (ValueError, KeyError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1][:300]
        raise RemoteRefused(f"OSV could not be asked through pip-audit: {last}") from error
    return {
        pin: [
            _finding(
                pin,
                sorted({one["id"], *one["aliases"]}, key=lambda text: (not text.startswith("CVE"), text)),
                one.get("description", ""),
                "high",
                next(iter(one.get("fix_versions", [])), ""),
            )
            for one in vulnerabilities
        ]
        for pin, vulnerabilities in answers.items()
    }
