"""The verb `seal`: a model or data set, encrypted for whom it is meant, signed, with its evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from modelward.errors import FileMissing, OutputUnwritable, PolicyRefused
from modelward.ledger.blobs import write_atomically
from modelward.vault.container.recipients import id_of, parse_recipient
from modelward.vault.container.writing import SealedInfo, seal_folder
from modelward.vault.container.writing import SealOptions as Writing
from modelward.vault.tree.walk import WalkOptions, paths_in
from modelward.verbs.gathering import Attesting, gather, unchanged_since
from modelward.verbs.sign import open_signers
from modelward.verbs.talk import Talk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.vault.attest.admission import Admission
    from modelward.vault.attest.attestation import Attested, Written
    from modelward.vault.container.layout import Header
    from modelward.vault.keys.signer import Signer

_SHOWN: Final = 10
"""Requirements that a refusal names."""


class SealOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to seal.

    Attributes:
        keys: references to the private keys that sign; see `modelward keys`.
        recipients: who may open it; where there is nobody, nothing is encrypted.
        evidence: store of audits; the newest audit of every sealed model is attested.
        scan: attest what loading each file can do.
        bom: attest a bill of materials: a file, or true to write one now (extra [bom]).
        provenance: file that states where the model comes from (docs/admission.md).
        release: file that states who may open it, where and until when.
        policy: file with what a verifier will demand; nothing is sealed that it would not admit.
        name: as signatures state it; else the output's, without ``.sealed``.
        hash: of all trees.
        excluded: paths that are left out.
        links: follow symbolic links that stay inside.
        replace: exchange a seal that is there already.
        jobs: threads; 0 for one per core.
        oci: folder to write the sealed folder to as an OCI layout as well.
        in_toto: folder to write the steps to as an in-toto layout with links as well, good for a year.
    """

    keys: tuple[str, ...]
    recipients: tuple[str, ...] = ()
    evidence: str | Path | None = None
    scan: bool = True
    bom: str | Path | bool = False
    provenance: str | Path | None = None
    release: str | Path | None = None
    policy: str | Path | None = None
    name: str = ""
    hash: Literal["sha256", "blake3"] = "blake3"
    excluded: tuple[str | Path, ...] = ()
    links: bool = False
    replace: bool = False
    jobs: int = 0
    oci: str | Path | None = None
    in_toto: str | Path | None = None


def seal(path: str | Path, output: str | Path, options: SealOptions, talk: Talk | None = None) -> SealedInfo:
    """Seal a file or folder into a folder that anyone can verify and its recipients alone can open.

        modelward.seal("model/", "model.sealed", modelward.SealOptions(keys=("release.pem",)))

    Args:
        path: what is sealed; it stays where it is.
        output: the sealed folder; it is there whole or not at all.
        options: how.
        talk: whom to ask for passphrases, warn, and tell of progress.

    Returns:
        What was sealed.

    Raises:
        ConfigInvalid: no key was named, or nothing is there that is to be left out.
        FileMissing, PathUnsafe, ContentUnstable: it cannot be read whole.
        KeyUnusable, KeyServiceFailed, ExtraMissing: a key or recipient cannot be used.
        PolicyRefused: the policy would not admit it; nothing was written.
        OutputUnwritable: it cannot be written, or something is there.
    """
    talk, source = talk or Talk(), Path(path)
    if not source.exists():
        raise FileMissing(f"{source}: there is no such file")
    policy = _policy(options.policy)
    signers = open_signers(options.keys, talk)
    recipients = tuple(parse_recipient(one, talk.chosen, talk.warn) for one in options.recipients)
    walking = WalkOptions(excluded=paths_in(source, options.excluded), links=options.links)
    _warn_of_names(options, talk)
    check = unchanged_since(source, walking)
    contents = gather(source, _wanted(options), walking, jobs=options.jobs, progress=talk.progress)

    def beside(header: Header, root: str, name: str) -> Mapping[str, bytes]:
        check()  # what is attested is of the files that were sealed
        made = _attested(contents, root, name, signers) if contents else {}
        if policy is not None:
            _demand(policy, header, root, made, signers)
        return made

    writing = Writing(
        recipients=recipients,
        signers=tuple(signers),
        algorithm=options.hash,
        name=options.name,
        replace=options.replace,
        jobs=options.jobs,
        walk=walking,
        progress=talk.progress,
        attest=beside,
    )
    info = seal_folder(source, Path(output), writing)
    _write_beside(source, info, [content for _, content in contents], signers, options)
    return info


def _wanted(options: SealOptions) -> Attesting:
    return Attesting(
        evidence=options.evidence,
        scan=options.scan,
        bom=options.bom,
        provenance=options.provenance,
        release=options.release,
    )


def _warn_of_names(options: SealOptions, talk: Talk) -> None:
    """Attestations lie in clear, also where what they speak of is encrypted."""
    naming = {
        "give --no-scan": options.scan,
        "leave out --evidence": options.evidence is not None,
        "leave out --bom": options.bom is not False,
    }
    avoiding = [way for way, given in naming.items() if given]
    if options.recipients and avoiding:
        talk.warn(
            "everybody can read names and SHA-256 of the encrypted files in what is attested of them; "
            f"to keep these secret, {' and '.join(avoiding)}"
        )


def _write_beside(
    source: Path,
    info: SealedInfo,
    contents: Sequence[Written],
    signers: Sequence[Signer],
    options: SealOptions,
) -> None:
    """The same seal as an OCI layout, and its steps for in-toto's tools, where they are asked for."""
    if options.oci is not None:
        from modelward.vault.oci.writing import OciOptions, write_oci

        write_oci(info.path, Path(options.oci), OciOptions(name=info.name, replace=options.replace))
    if options.in_toto is None:
        return
    from modelward.verbs.attest import supply_chain

    walking = WalkOptions(excluded=tuple(Path(p) for p in options.excluded), links=options.links)
    expires = datetime.now(UTC) + timedelta(days=365)
    made = supply_chain(source, contents, info.stored.root, signers, expires=expires, options=walking)
    folder = Path(options.in_toto)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            write_atomically(folder / name, data, mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{folder}: cannot be written ({error.strerror})") from error


def _policy(path: str | Path | None) -> Admission | None:
    if path is None:
        return None
    from modelward.vault.attest.admission import read_admission

    return read_admission(Path(path))


def _attested(
    contents: Sequence[tuple[str, Written]], root: str, name: str, signers: Sequence[Signer]
) -> dict[str, bytes]:
    from modelward.vault.attest.attestation import attest

    return {f"{file}.json": attest(content, root, name, signers) for file, content in contents}


def _demand(
    policy: Admission, header: Header, root: str, made: Mapping[str, bytes], signers: Sequence[Signer]
) -> None:
    """Read the attestations as a verifier will, and hold them against the policy."""
    from modelward.vault.attest.attestation import Attestations, verify_attestation
    from modelward.vault.attest.judging import Facts, admit

    verifiers = [signer.public for signer in signers]
    held: tuple[Attested, ...] = tuple(
        verify_attestation(data, root, verifiers, file=file) for file, data in made.items()
    )
    facts = Facts(
        root=root,
        signers=tuple(verifier.key_id for verifier in verifiers),
        moment=datetime.now(UTC),
        attestations=Attestations(held=held),
        recipients=tuple(id_of(one) for one in header.recipients),
    )
    verdict = admit(policy, facts)
    unmet = [f"{one.requirement} ({one.detail})" for one in verdict.reasons if one.status != "holds"]
    if verdict.outcome != "pass":
        more = f"; and {len(unmet) - _SHOWN} more" if len(unmet) > _SHOWN else ""
        raise PolicyRefused(
            f"policy {policy.name!r}: {len(unmet)} of {len(verdict.reasons)} requirements not met: "
            f"{'; '.join(unmet[:_SHOWN])}{more}",
            advice="Nothing was written. Attest what is missing, or change what is demanded.",
        )
