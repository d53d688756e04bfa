"""What else is attested: scan verdicts, bills of materials, release policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec

from modelward.core.canonical import JSON
from modelward.core.finding import Severity
from modelward.errors import PolicyInvalid, SealDamaged
from modelward.vault.attest.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

SCAN: Final = "https://modelward.dev/scan/v1"
BOM: Final = "https://cyclonedx.org/bom"
RELEASE: Final = "https://modelward.dev/release/v1"

Loading: TypeAlias = Literal["inert", "dangerous", "unproven", "error"]
_WORST: Final[tuple[Loading, ...]] = ("dangerous", "error", "unproven", "inert")
_T = TypeVar("_T", bound=msgspec.Struct)
_Digest = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}\\Z")]


class ScanFinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One finding of the static scan; see `docs/formats/scan-json.md`."""

    rule: str
    severity: Severity
    level: Literal["dangerous", "unproven", "note"]
    message: str
    member: str = ""


class ScannedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sealed file.

    Attributes:
        path: POSIX path within what is sealed.
        digest: of its bytes.
        format: by content.
        verdict: what loading it could do; null where no loader takes it as a model.
        unread: sentences on what was not read.
        findings: all but the harmless.
    """

    path: str
    digest: _Digest
    format: str
    verdict: Loading | None
    unread: tuple[str, ...] = ()
    findings: tuple[ScanFinding, ...] = ()


class Scan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The predicate of a scan verdict.

    Attributes:
        moment: when it was made.
        scanner: name and version.
        files: every sealed file, in order of their paths.
    """

    moment: Moment
    scanner: str
    files: tuple[ScannedFile, ...]

    @property
    def verdict(self) -> Loading | None:
        """The worst of all files, their findings included; null when no file is loaded as a model."""
        seen = {file.verdict for file in self.files}
        seen |= {f.level for file in self.files for f in file.findings if f.level != "note"}
        return next((verdict for verdict in _WORST if verdict in seen), None)


class Bom(msgspec.Struct, frozen=True, kw_only=True):
    """A bill of materials in CycloneDX.

    Attributes:
        document: the whole.
    """

    document: dict[str, JSON]

    @property
    def components(self) -> int:
        """How many components it lists."""
        listed = self.document.get("components")
        return len(listed) if isinstance(listed, list) else 0


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use what is sealed, where, and when; what is null or empty is not limited.

    Attributes:
        recipients: ids of those who may open it.
        environments: names of where it may run.
        since: not before.
        until: not after.
    """

    recipients: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None

    def check(self) -> None:
        """Refuse a policy that limits nothing or can never hold.

        Raises:
            PolicyInvalid: it does.
        """
        if not (self.recipients or self.environments or self.since or self.until):
            raise PolicyInvalid("the release policy limits nothing", advice="State who, where or until when.")
        if self.since and self.until and self.since >= self.until:
            raise PolicyInvalid("the release policy ends before it begins")
        for names in (self.recipients, self.environments):
            if "" in names or len(set(names)) != len(names):
                raise PolicyInvalid("the release policy names somebody or somewhere twice, or by no name")


def read_scan(predicate: Mapping[str, JSON]) -> Scan:
    """Read the predicate of a scan verdict.

    Raises:
        SealDamaged: it is none, or names a file twice.
    """
    scan = _convert(predicate, Scan, "scan verdict")
    if not scan.files or len({file.path for file in scan.files}) != len(scan.files):
        raise SealDamaged("the scan verdict names no file, or one twice")
    return scan


def read_bom(predicate: Mapping[str, JSON]) -> Bom:
    """Read a bill of materials.

    Raises:
        SealDamaged: it is no CycloneDX of version 1.
    """
    version = predicate.get("specVersion")
    if predicate.get("bomFormat") != "CycloneDX" or not isinstance(version, str):
        raise SealDamaged("the bill of materials is no CycloneDX document")
    if not re.fullmatch(r"1\.[0-9]{1,3}", version):
        raise SealDamaged(f"CycloneDX {version[:20]!r} is not known")
    listed = predicate.get("components", [])
    if not isinstance(listed, list) or not all(isinstance(component, dict) for component in listed):
        raise SealDamaged("the components of the bill of materials are no list of objects")
    return Bom(document=dict(predicate))


def read_release(predicate: Mapping[str, JSON]) -> Release:
    """Read a release policy, strictly: a limit that is not understood is not passed over.

    Raises:
        SealDamaged: it has a key that is not known, or limits nothing.
    """
    release = _convert(predicate, Release, "release policy")
    try:
        release.check()
    except PolicyInvalid as error:
        raise SealDamaged(str(error)) from error
    return release


def _convert(predicate: Mapping[str, JSON], kind: type[_T], what: str) -> _T:
    try:
        return msgspec.convert(predicate, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise SealDamaged(f"the {what} is not as its format has it: {str(error)[:200]}") from error
