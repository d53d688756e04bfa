"""Keys of a fixed seed, a ledger with one decision, and one of every kind of attestation."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.core.canonical import canonical
from modelward.ledger.merkle import leaf_hash
from modelward.ledger.proof import inclusion_path, tree_root
from modelward.vault.attest.attestation import attest, read_attestations
from modelward.vault.attest.audited import AuditEvidence
from modelward.vault.attest.judging import Facts
from modelward.vault.attest.predicates import Bom, Release, Scan, ScanFinding, ScannedFile
from modelward.vault.attest.provenance import Code, Provenance, Run, Source
from modelward.vault.keys.signer import LocalSigner

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ROOT = "sha256:" + "5e" * 32
MODEL = "sha256:" + hashlib.sha256(b"model").hexdigest()
RUN = "ab" * 32


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def model_digest():
    return MODEL


@pytest.fixture(scope="session")
def signers():
    """Three keys that are the same in every run."""
    return [LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([n] * 32))) for n in (1, 2, 3)]


@pytest.fixture(scope="session")
def signer(signers):
    return signers[0]


@pytest.fixture(scope="session")
def verifiers(signers):
    return [signer.public for signer in signers]


@pytest.fixture(scope="session")
def claim():
    """A claim as a ledger holds it."""

    def claim(kind, scope=None, **content):
        return {
            "id": kind, "statement": f"about {kind}", "scope": scope or {}, "value": None, "bracket": None,
            "interval": None, "basis": "measured", "status": None, "n": 200,
            "cost": {"seconds": 1.5, "forward": 10, "backward": 0, "queries": 3}, "evidence": ["e1"],
            "parts": [], "better": "higher", "note": "", **content,
        }  # fmt: skip

    return claim


@pytest.fixture(scope="session")
def finding():
    """A finding as a ledger holds it."""

    def finding(severity, rule=None, location=""):
        return {
            "rule": rule or f"quality.{severity}", "severity": severity, "confidence": "high", "title": "t",
            "message": "m", "location": location, "evidence": [], "remedy": "r", "techniques": [], "controls": [],
        }  # fmt: skip

    return finding


@pytest.fixture(scope="session")
def robust(claim):
    """Certified robust accuracy between two shares at linf 0.1."""

    def robust(lower, upper, eps=0.1):
        scope = {"norm": "linf", "eps": eps}
        return claim("robust-accuracy", scope, bracket={"lower": lower, "upper": upper})

    return robust


@pytest.fixture(scope="session")
def decision(robust, claim):
    """A decision of a ledger."""

    def decision(*, created=NOW, claims=None, findings=(), checks=None, skipped=(), **changes):
        accuracy = claim("accuracy", value=0.9, interval={"lower": 0.85, "upper": 0.94, "confidence": 0.95})
        started = {"quality": "finished", "evasion.certified": "finished"} if checks is None else checks
        result = {
            "ledger_head": "00" * 32, "run": RUN, "seed": 0, "created": created.isoformat(timespec="seconds"),
            "command": "modelward audit model.onnx", "versions": {"modelward": "0.1.0"},
            "subjects": [
                {"kind": "artifact", "name": "model.onnx", "digest": MODEL, "identity": "digest",
                 "format": "onnx", "details": {"bytes": 5, "large": 1e16}},
                {"kind": "model", "name": "model.onnx", "digest": MODEL, "identity": "digest", "format": "onnx",
                 "details": {}},
            ],
            "claims": [robust(0.7, 0.8), accuracy] if claims is None else list(claims),
            "findings": list(findings),
            "skipped": [{"check": check, "reason": reason} for check, reason in skipped],
            "checks": [
                {"check": check, "summary": "s", "state": state, "cut": None, "cost": {"seconds": 1.0},
                 "evidence": ["e1"], "resumed": False}
                for check, state in started.items()
            ],
            "verdict": {"outcome": "pass", "policy": "baseline", "reasons": [], "claims": []},
            "complete": True, **changes,
        }  # fmt: skip
        return {"kind": "decision", "run": RUN, "attempt": 1, "result": result}

    return decision


@pytest.fixture(scope="session")
def predicate():
    """The predicate of audit evidence: a decision amid other records of a ledger."""

    def predicate(body, *, seen=None, before=3, after=2):
        others = [{"kind": "evidence", "n": n} for n in range(before + after)]
        records = [*others[:before], body, *others[before:]]
        leaves = [leaf_hash(canonical(record)) for record in records]
        findings = body["result"]["findings"]
        stated = [body["result"]["created"]] * len(findings) if seen is None else seen
        return {
            "ledger": {"head": tree_root(leaves).hex(), "size": len(leaves)},
            "record": {
                "index": before,
                "path": [node.hex() for node in inclusion_path(leaves, before)],
                "body": body,
            },
            "model": {"path": "model.onnx", "digest": MODEL, "whole": MODEL},
            "seen": list(stated),
        }

    return predicate


@pytest.fixture(scope="session")
def evidence(decision, predicate):
    """Audit evidence, by what differs from the usual decision."""

    def evidence(*, seen=None, before=3, **changes):
        found = [moment.isoformat() for moment in seen] if seen else None
        return msgspec.convert(predicate(decision(**changes), seen=found, before=before), AuditEvidence)

    return evidence


@pytest.fixture(scope="session")
def scan():
    """A scan of one model and a text."""

    def scan(verdict="inert", *, moment=NOW, findings=()):
        found = tuple(
            ScanFinding(rule=f"scan.{severity}", severity=severity, level=level, message="m")
            for severity, level in findings
        )
        return Scan(
            moment=moment,
            scanner="modelward 0.1.0",
            files=(
                ScannedFile(path="README.md", digest="sha256:" + "11" * 32, format="text", verdict=None),
                ScannedFile(path="model.onnx", digest=MODEL, format="onnx", verdict=verdict, findings=found),
            ),
        )

    return scan


@pytest.fixture(scope="session")
def bom():
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "components": [{"type": "machine-learning-model", "name": "model.onnx"}],
    }  # fmt: skip
    return Bom(document=document)


@pytest.fixture(scope="session")
def provenance():
    return Provenance(
        code=Code(uri="https://example.org/train.git", commit="c0" * 20),
        data=(Source(name="train.parquet", uri="s3://data/train", digest={"sha256": "d1" * 32}),),
        parameters={"epochs": 10, "lr": 0.001},
        environment={"python": "3.11.2", "torch": "2.13.0"},
        run=Run(
            builder="https://example.org/cluster",
            invocation="job-7",
            started=NOW - timedelta(days=3),
            finished=NOW - timedelta(days=2),
        ),
    )


@pytest.fixture(scope="session")
def release():
    return Release(recipients=("licensee-1",), environments=("production",), until=NOW + timedelta(days=90))


@pytest.fixture(scope="session")
def all_kinds(evidence, scan, bom, provenance, release):
    return {
        "evidence": evidence(), "scan": scan(), "bom": bom, "provenance": provenance, "release": release
    }  # fmt: skip


@pytest.fixture
def store(tmp_path, signer, verifiers):
    """Writes attestations into an empty folder and reads them."""

    def store(*contents, by=None, over=ROOT, **named):
        folder = tmp_path / "attestations"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        listed = {**{f"{n}": content for n, content in enumerate(contents)}, **named}
        for name, content in listed.items():
            data = content if isinstance(content, bytes) else attest(content, over, "model", by or [signer])
            (folder / f"{name}.json").write_bytes(data)
        return read_attestations(folder, ROOT, verifiers)

    return store


@pytest.fixture
def facts(store, signer):
    """Facts about a seal that bears the given attestations."""

    def facts(*contents, moment=NOW, signed=None, recipients=None, **named):
        return Facts(
            root=ROOT,
            signers=(signer.public.key_id,) if signed is None else tuple(signed),
            moment=moment,
            attestations=store(*contents, **named),
            recipients=None if recipients is None else tuple(recipients),
        )

    return facts
