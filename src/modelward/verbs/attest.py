"""What the ledger's store, a scan, a bill of materials and git give to the attestations of a seal."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from modelward.core.canonical import parse
from modelward.core.digest import file_digest
from modelward.core.files import read_at_most
from modelward.errors import (
    ConfigInvalid,
    ContentUnstable,
    FileDamaged,
    FileMissing,
    LedgerTampered,
    SealDamaged,
)
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import inclusion_path, tree_root
from modelward.ledger.store import Head, Ledger
from modelward.vault.attest.audited import AuditedModel, AuditEvidence, Concluded, Record
from modelward.vault.attest.audited import Head as AttestedHead
from modelward.vault.attest.layout import (
    LAYOUT_FILE,
    Functionaries,
    StepName,
    links_of,
    sign_layout,
    sign_link,
)
from modelward.vault.attest.predicates import Bom, Release, Scan, ScanFinding, ScannedFile, read_bom
from modelward.vault.attest.provenance import Code, Provenance, Run, read_stated
from modelward.vault.attest.tables import decode
from modelward.vault.tree.pool import Meter
from modelward.vault.tree.walk import WalkEntry, WalkOptions, walk
from modelward.verbs.talk import Talk
from modelward.verbs.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.artifact.verdict import ArtifactReport
    from modelward.core.subject import Subject
    from modelward.vault.attest.attestation import Written
    from modelward.vault.keys.signer import Signer
    from modelward.verbs.talk import Progress

_LARGEST_BOM: Final = 8 << 20
_DECISION: Final = b'"kind":"decision"'
_DEEPEST: Final = 8  # repositories within repositories
_FOR_GIT: Final = frozenset({"PATH", "HOME", "XDG_CONFIG_HOME", "LANG", "GIT_CEILING_DIRECTORIES"})


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of the ledger and its place."""

    index: int
    body: bytes
    result: Concluded

    def subject(self, kind: str) -> Subject | None:
        """What was examined, where its digest covers its content."""
        found = (one for one in self.result.subjects if one.kind == kind and one.identity == "digest")
        return next(found, None)


def audit_evidence(
    path: Path,
    store: str | Path,
    *,
    run: str = "",
    options: WalkOptions | None = None,
    progress: Progress | None = None,
) -> tuple[AuditEvidence, ...]:
    """The newest recorded audit of every model among what is sealed.

    Args:
        path: the file or folder that is sealed, in clear.
        store: the ledger: its folder, or the URL of its database.
        run: beginning of a run identity, where it is not to be the newest.
        options: which files are sealed.
        progress: told bytes done and bytes in all, of the files that are as long as an audited one.

    Returns:
        One per audited file, in order of their paths; at least one.

    Raises:
        FileMissing: there is no ledger, or no audit in it is of these bytes.
        LedgerTampered: the ledger is not what it was.
        PathUnsafe: the folder holds what is not sealed.
    """
    ledger = Ledger.open_read_only(store)
    try:
        head = ledger.head()
        past, leaves = _read(ledger.bodies(head.size))
    finally:
        ledger.close()
    if leaves and tree_root(leaves).hex() != head.root:
        raise LedgerTampered(f"{store}: the records that it gave do not lead to its head")
    files = walk(path, options)
    audited = [
        (decision, artifact)
        for decision in past
        if (artifact := decision.subject("artifact")) is not None and decision.result.run.startswith(run)
    ]
    digests = _digests([file for file in files if any(_as_long(file, one) for _, one in audited)], progress)
    found: dict[str, _Past] = {}
    for decision, artifact in audited:
        for file in files:
            same = _as_long(file, artifact) and digests[file.path] == artifact.digest
            if same and _parts_are_sealed(file, decision, files):
                found[file.path] = decision
    if not found:
        what = f"no run {run!r} in it" if run else "no recorded audit"
        raise FileMissing(
            f"{store}: {what} is of a file in {path}",
            advice="Run `modelward audit` on the very file that is sealed; its digest must be the same.",
        )
    return tuple(
        _evidence(file.path, found[file.path], past, (head, leaves)) for file in files if file.path in found
    )


def _read(bodies: Iterable[bytes]) -> tuple[list[_Past], list[bytes]]:
    """The decisions among records, and the leaf hash of every record; other records are not kept."""
    past: list[_Past] = []
    leaves: list[bytes] = []
    for index, body in enumerate(bodies):
        leaves.append(leaf_hash(body))
        record = parse(body) if _DECISION in body else None
        if isinstance(record, dict) and record.get("kind") == "decision":
            try:
                result = msgspec.convert(record.get("result"), Concluded)
            except msgspec.ValidationError:
                continue  # of a version whose results are not read any more
            past.append(_Past(index=index, body=body, result=result))
    return past, leaves


def _as_long(file: WalkEntry, artifact: Subject) -> bool:
    """Whether a file has an artifact's size, which is compared first, so that few are hashed."""
    return artifact.details.get("bytes", file.stat.st_size) == file.stat.st_size


def _digests(files: Sequence[WalkEntry], progress: Progress | None) -> dict[str, str]:
    meter = _meter(files, progress)
    return {file.path: file_digest(Path(file.absolute), meter.add) for file in files}


def _meter(files: Sequence[WalkEntry], progress: Progress | None) -> Meter:
    return Meter(sum(file.stat.st_size for file in files), progress)


def _parts_are_sealed(file: WalkEntry, decision: _Past, files: Sequence[WalkEntry]) -> bool:
    """Whether the files that the model names as parts of itself are sealed too, and as they were audited."""
    artifact, model = decision.subject("artifact"), decision.subject("model")
    if artifact is None or model is None:
        return False
    if model.digest == artifact.digest:
        return True
    from modelward.adapters.examine import examine  # inspects the whole file

    examined = examine(Path(file.absolute))
    sealed = {os.path.realpath(one.absolute) for one in files}
    return examined.whole == model.digest and {os.path.realpath(one) for one in examined.beside} <= sealed


def _evidence(
    path: str, decision: _Past, past: Sequence[_Past], tree: tuple[Head, Sequence[bytes]]
) -> AuditEvidence:
    head, leaves = tree
    artifact, model = decision.subject("artifact"), decision.subject("model")
    body = parse(decision.body)
    assert artifact is not None  # noqa: S101  (it was found by its digests)
    assert model is not None  # noqa: S101
    assert isinstance(body, dict)  # noqa: S101  (`_read` asked)
    return AuditEvidence(
        ledger=AttestedHead(head=head.root, size=head.size),
        record=Record(
            index=decision.index,
            path=tuple(node.hex() for node in inclusion_path(leaves, decision.index)),
            body=body,
        ),
        model=AuditedModel(path=path, digest=artifact.digest, whole=model.digest),
        seen=_first_seen(decision, artifact, past),
    )


def _first_seen(decision: _Past, artifact: Subject, past: Sequence[_Past]) -> tuple[datetime, ...]:
    """When each finding was first recorded of this file, or of one of the same name before it."""
    first: dict[tuple[str, str], datetime] = {}
    for earlier in past:
        subject = earlier.subject("artifact")
        if subject is None or (subject.digest != artifact.digest and subject.name != artifact.name):
            continue
        for finding in earlier.result.findings:
            key = finding.rule, finding.location
            first[key] = min(first.get(key, earlier.result.created), earlier.result.created)
    ended = decision.result.created
    return tuple(
        min(first.get((finding.rule, finding.location), ended), ended) for finding in decision.result.findings
    )


def scan_verdict(
    path: Path, *, jobs: int = 1, options: WalkOptions | None = None, progress: Progress | None = None
) -> Scan:
    """Inspect everything that is sealed, loading nothing.

    Args:
        path: the file or folder, in clear.
        jobs: processes.
        options: which files are sealed.
        progress: told bytes done and bytes in all.

    Raises:
        FileMissing, PathUnsafe: as `walk` says.
        ContentUnstable: a file changed meanwhile.
    """
    from modelward.verbs.scan_files import inspect_all

    files = walk(path, options)
    reports = inspect_all((Path(file.absolute) for file in files), jobs)
    meter = _meter(files, progress)
    scanned = tuple(_scanned(file, report, meter) for file, report in zip(files, reports, strict=True))
    tool = f"modelward {versions().get('modelward', 'unknown')}"
    return Scan(moment=_now(), scanner=tool, files=scanned)


def _scanned(file: WalkEntry, report: ArtifactReport, meter: Meter) -> ScannedFile:
    made = ScannedFile(
        path=file.path,
        digest=file_digest(Path(file.absolute), meter.add),
        format=report.format,
        verdict=report.verdict,
        unread=report.coverage.unread,
        findings=tuple(
            ScanFinding(
                rule=finding.rule,
                severity=finding.severity,
                level=finding.level,
                message=finding.message,
                member=finding.location.member,
            )
            for finding in report.findings
            if finding.level != "note" or finding.severity != "info"
        ),
    )
    now, then = Path(file.absolute).stat(), file.stat
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (then.st_ino, then.st_size, then.st_mtime_ns):
        raise ContentUnstable(f"{file.path}: changed while it was inspected")
    return made


def materials(
    path: Path, document: Path | None = None, *, jobs: int = 1, progress: Progress | None = None
) -> Bom:
    """A bill of materials of what is sealed.

    Args:
        path: the file or folder, in clear.
        document: a CycloneDX document to take instead of making one.
        jobs: processes.
        progress: told bytes done and bytes in all, where one is made.

    Raises:
        FileMissing: the document, or what is sealed, cannot be read.
        FileDamaged: the document is no CycloneDX in JSON.
        ExtraMissing: the extra [bom] is not installed, and there is no document.
    """
    from modelward.vault import dsse

    if document is None:
        from modelward.verbs.bom import BomOptions, bom

        data = bom(path, BomOptions(jobs=jobs), Talk(progress=progress))
    else:
        too_long = FileDamaged(f"{document}: is longer than {_LARGEST_BOM:,} bytes")
        data = read_at_most(document, _LARGEST_BOM, too_long)
    try:
        value = dsse.load(data, str(document or path))
        return read_bom(value if isinstance(value, dict) else {})
    except SealDamaged as error:
        raise FileDamaged(str(error), advice="`modelward bom` writes a CycloneDX document.") from error


def provenance(stated: Path | None, *, folder: Path | None = None, builder: str = "") -> Provenance:
    """How a model was trained: as a file states it, and as git has it where the file names no commit.

    Args:
        stated: a `provenance.toml`; null: git, the installed libraries and `builder` alone.
        folder: in the repository of the code; null: where `stated` lies.
        builder: URI of who ran the training, where there is no file.

    Raises:
        FileMissing, ConfigInvalid: the file cannot be read.
        PolicyInvalid: neither code nor data is known by digest.
    """
    if stated is None and not builder:
        raise ConfigInvalid("nobody says who ran the training", advice="Name the builder by a URI.")
    found = Provenance(run=Run(builder=builder)) if stated is None else read_stated(stated)
    if found.code is None:
        where = folder or (Path() if stated is None else stated.parent)
        found = msgspec.structs.replace(found, code=git_state(where))
    if not found.environment:
        found = msgspec.structs.replace(found, environment=dict(versions()))
    found.check()
    return found


def git_state(folder: Path) -> Code | None:
    """The commit that a folder is at; null where there is no repository, no commit, or no git."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    remote = _git(folder, "config", "--get", "remote.origin.url") or ""
    return Code(uri=_without_secrets(remote.strip()), commit=commit.strip(), modified=_changed(folder))


def _changed(folder: Path, depth: int = 0) -> bool:
    """Whether a repository, or one within it, holds what no commit holds; true where that cannot be said."""
    filters = _git(folder, "config", "--name-only", "-z", "--get-regexp", r"^filter\.") or ""
    drivers = {name.rpartition(".")[0] for name in filters.split("\0") if name}
    if depth > _DEEPEST or any("=" in driver for driver in drivers):  # `-c` cannot name such a driver
        return True
    off = [word for one in drivers for key in ("clean", "process") for word in ("-c", f"{one}.{key}=")]
    asked = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    within = _git(folder, "ls-files", "--stage", "-z", "--", ":/")
    if within is None or _git(folder, *off, *asked) != "":
        return True
    links = [entry.partition("\t")[2] for entry in within.split("\0") if entry.startswith("160000 ")]
    inner = [folder / link for link in links]
    return any(_changed(one, depth + 1) for one in inner if (one / ".git").exists())


def _git(folder: Path, *words: str) -> str | None:
    # Nothing that a repository configures is run: neither monitors, hooks and filters nor what fetches from
    # elsewhere. Nor does git learn the passphrases and tokens that are in this process's environment.
    safe = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    environment = {name: value for name, value in os.environ.items() if name in _FOR_GIT}
    environment |= {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder.absolute()), *safe, *words],  # noqa: S607  (git of the user's own path)
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):  # text that is not UTF-8 is a ValueError
        return None
    return done.stdout if done.returncode == 0 else None


def _without_secrets(url: str) -> str:
    """A URL without the name and password that may stand in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.scheme else url


def read_release_file(path: Path) -> Release:
    """Read a release policy from TOML: `recipients`, `environments`, `since`, `until`.

    Raises:
        FileMissing, ConfigInvalid: it cannot be read.
        PolicyInvalid: it limits nothing, or can never hold.
    """
    release = decode(path, Release)
    release.check()
    return release


def supply_chain(
    path: Path,
    contents: Sequence[Written],
    root: str,
    signers: Sequence[Signer],
    *,
    expires: datetime,
    options: WalkOptions | None = None,
) -> dict[str, bytes]:
    """The steps that led to a seal as an in-toto layout with links, for in-toto's own tools.

    Args:
        path: what is sealed, in clear.
        contents: what is attested of it; provenance and evidence make steps.
        root: of the sealed tree.
        signers: keys that sign the layout and, all of them, every link.
        expires: end of the layout, with a zone.
        options: which files are sealed.

    Returns:
        File name to content.

    Raises:
        KeyUnusable: in-toto's tools know no signatures of one of the keys.
        FileMissing, PathUnsafe: as `walk` says.
    """
    files = {file.path: file_digest(Path(file.absolute)) for file in walk(path, options)}
    stated = next((one for one in contents if isinstance(one, Provenance)), None)
    audits = [one for one in contents if isinstance(one, AuditEvidence)]
    links = links_of(files, root, provenance=stated, audits=audits)
    keys = Functionaries(keys=tuple(signer.public for signer in signers), threshold=len(signers))
    roles: dict[StepName, Functionaries] = {link.step: keys for link in links}
    made = {LAYOUT_FILE: sign_layout(links, roles, expires=expires, signers=signers)}
    return made | dict(sign_link(link, signer) for link in links for signer in signers)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
