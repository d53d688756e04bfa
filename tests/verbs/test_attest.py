from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import modelward
from modelward.errors import (
    ConfigInvalid,
    ContentUnstable,
    FileDamaged,
    FileMissing,
    LedgerTampered,
    PolicyInvalid,
    PolicyRefused,
)
from modelward.ledger.store import Ledger
from modelward.vault.attest.admission import read_admission
from modelward.vault.attest.attestation import attest, read_attestations
from modelward.vault.attest.audited import read_audit
from modelward.vault.attest.binding import bound_reasons
from modelward.vault.attest.judging import Facts, admit
from modelward.vault.attest.layout import _public
from modelward.vault.attest.predicates import Release
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.tree.hashing import hash_tree
from modelward.vault.tree.walk import WalkOptions
from modelward.verbs import attest as verb
from modelward.verbs.attest import (
    audit_evidence,
    git_state,
    materials,
    provenance,
    read_release_file,
    scan_verdict,
    supply_chain,
)
from modelward.verbs.gathering import Attesting, gather
from modelward.verbs.store import recall

SIGNER = LocalSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
CERTIFIED = """
[attestations]
required = ["evidence", "scan", "provenance"]

[audit]
max-age = "30d"
max-severity = "medium"
required-checks = ["quality"]

[scan]
verdict = "inert"

[signers]
keys = ["{key}"]

[[require]]
claim = "robust-accuracy"
scope = {{ norm = "linf", eps = {eps} }}
at-least = {share}
min-n = 20
"""


@pytest.fixture
def model(tmp_path, onnx_file):
    """A folder with a linear model and a text."""
    folder = tmp_path / "model"
    folder.mkdir()
    onnx_file(folder / "linear.onnx")
    (folder / "README.md").write_text("# A linear rule\n")
    return folder


@pytest.fixture
def audited(model, points, options, tmp_path):
    """The same, audited once: quality alone."""
    modelward.audit(model / "linear.onnx", points, options(checks=("quality",)))
    return model, tmp_path / ".modelward"


@pytest.fixture
def sealed(tmp_path):
    """Attests contents over the root of a folder; gives back root and attestations."""

    def sealed(folder, *contents):
        root = hash_tree(folder).root
        place = tmp_path / "attestations"
        place.mkdir(exist_ok=True)
        for n, content in enumerate(contents):
            (place / f"{n}.json").write_bytes(attest(content, root, folder.name, [SIGNER]))
        return root, read_attestations(place, root, [SIGNER.public])

    return sealed


# From an audit to an admission


@pytest.fixture(scope="module")
def certified(tmp_path_factory, points, linear):
    """A linear model, audited with proofs, and what is attested of it."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("certified")
    model = folder / "model"
    model.mkdir()
    shutil.copy(linear, model)
    result = modelward.audit(
        model / "linear.onnx",
        points,
        modelward.AuditOptions(
            checks=("quality", "evasion.certified", "evasion.query"),
            limit=20,
            norm=("linf",),
            eps=(0.1, 0.2),
            store=folder / ".modelward",
        ),
    )
    (evidence,) = audit_evidence(model, folder / ".modelward")
    contents = (
        evidence,
        scan_verdict(model),
        provenance(None, folder=git_folder(folder), builder="https://b"),
    )
    return model, result, contents


def git_folder(folder):
    place = folder / "code"
    place.mkdir()
    (place / "train.py").write_text("print(1)\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://user:secret@example.org/train.git"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one"],
    ):
        subprocess.run(["git", "-C", str(place), *words], check=True, env=environment, capture_output=True)
    return place


def judged(certified, tmp_path, sealed, *, eps, share, moment=None):
    model, _, contents = certified
    root, found = sealed(model, *contents)
    path = tmp_path / "policy.toml"
    path.write_text(CERTIFIED.format(key=SIGNER.public.key_id, eps=eps, share=share))
    facts = Facts(
        root=root,
        signers=(SIGNER.public.key_id,),
        moment=moment or datetime.now(UTC),
        attestations=found,
    )
    return admit(read_admission(path), facts)


def certified_share(result, eps):
    return next(c.bracket for c in result.claims if c.id == "robust-accuracy" and c.scope["eps"] == eps).lower


@pytest.mark.parametrize("eps", [0.1, 0.2])
def test_a_real_audit_admits_at_the_share_that_was_proved(certified, tmp_path, sealed, eps):
    share = certified_share(certified[1], eps)
    assert share > 0
    verdict = judged(certified, tmp_path, sealed, eps=eps, share=share)
    assert verdict.outcome == "pass", str(verdict)
    verdict.enforce()


def test_the_same_audit_is_refused_just_above_it(certified, tmp_path, sealed):
    """By the sentence that says which requirement is not met, and what was seen."""
    bracket = next(c for c in certified[1].claims if c.scope.get("eps") == 0.2).bracket
    assert bracket.lower < 0.99, "the radius is too small to tell shares apart"
    above = round(bracket.lower + 0.01, 4)
    verdict = judged(certified, tmp_path, sealed, eps=0.2, share=above)
    assert verdict.outcome == ("fail" if bracket.upper < above else "unknown")
    with pytest.raises(PolicyRefused) as refused:
        verdict.enforce()
    assert f"robust-accuracy (eps 0.2, norm linf) at least {above:g}" in str(refused.value)
    assert f"{bracket.lower:.4g}" in str(refused.value)
    assert "n = 20" in str(refused.value)


def test_a_radius_that_nobody_examined_is_refused(certified, tmp_path, sealed):
    verdict = judged(certified, tmp_path, sealed, eps=0.3, share=0.1)
    assert verdict.outcome == "unknown"
    assert "no such claim was made, only eps 0.1, norm linf; eps 0.2" in verdict.reasons[0].detail


def test_the_same_audit_a_year_later_is_refused(certified, tmp_path, sealed):
    share = certified_share(certified[1], 0.1)
    later = datetime.now(UTC) + timedelta(days=365)
    verdict = judged(certified, tmp_path, sealed, eps=0.1, share=share, moment=later)
    assert verdict.outcome == "fail"
    assert "365 days ago" in verdict.reasons[0].detail


def test_the_provenance_of_a_repository_holds_no_password(certified):
    stated = certified[2][2]
    assert stated.code.uri == "https://example.org/train.git"
    assert len(stated.code.commit) == 40
    assert not stated.code.modified
    assert stated.environment["python"]


# Evidence and the bytes that are sealed


def test_evidence_is_the_decision_of_the_ledger(audited):
    model, store = audited
    (evidence,) = audit_evidence(model, store)
    result = recall(store)
    audit = read_audit(msgspec.to_builtins(evidence))
    assert evidence.ledger.head == result.ledger_head
    assert audit.result.run == result.run
    assert [c.id for c in audit.result.claims] == [c.id for c in result.claims]
    assert [c.value for c in audit.result.claims] == [c.value for c in result.claims]
    assert evidence.model.path == "linear.onnx"
    assert audit.moment.isoformat() == result.created


def test_a_single_file_is_audited_and_sealed_alone(audited):
    model, store = audited
    (evidence,) = audit_evidence(model / "linear.onnx", store)
    assert evidence.model.path == "linear.onnx"


def test_an_audit_of_another_model_is_refused(audited, onnx_file):
    """One byte of the file changed after the audit, or the whole model was exchanged."""
    model, store = audited
    onnx_file(model / "linear.onnx", weights=((1.0, -1.0),) * 3)
    with pytest.raises(FileMissing, match="no recorded audit is of a file"):
        audit_evidence(model, store)
    data = bytearray((model / "linear.onnx").read_bytes())
    data[-1] ^= 1
    (model / "linear.onnx").write_bytes(data)
    with pytest.raises(FileMissing, match="no recorded audit"):
        audit_evidence(model, store)


def test_the_file_counts_and_not_its_name(audited):
    model, store = audited
    (model / "linear.onnx").rename(model / "renamed.onnx")
    (evidence,) = audit_evidence(model, store)
    assert evidence.model.path == "renamed.onnx"


def test_a_live_model_has_no_bytes_to_seal(rule, points, options, model, tmp_path):
    modelward.audit(rule, points, options(checks=("quality",)))
    with pytest.raises(FileMissing, match="no recorded audit"):
        audit_evidence(model, tmp_path / ".modelward")


def test_the_newest_audit_is_taken_and_another_by_its_run(audited, points, options):
    model, store = audited
    first = recall(store).run
    second = modelward.audit(model / "linear.onnx", points, options(checks=("quality",), seed=5))
    (newest,) = audit_evidence(model, store)
    assert newest.record.body["run"] == second.run != first
    (chosen,) = audit_evidence(model, store, run=first[:12])
    assert chosen.record.body["run"] == first
    assert chosen.ledger == newest.ledger
    for evidence in (newest, chosen):
        read_audit(msgspec.to_builtins(evidence))
    with pytest.raises(FileMissing, match="no run 'ffffffff' in it"):
        audit_evidence(model, store, run="ffffffff")


def test_every_audited_file_of_a_folder_has_its_evidence(audited, points, options, onnx_file):
    model, store = audited
    onnx_file(model / "a-second.onnx", weights=((-2.0, 2.0),) * 3)
    modelward.audit(model / "a-second.onnx", points, options(checks=("quality",)))
    found = audit_evidence(model, store)
    assert [one.model.path for one in found] == ["a-second.onnx", "linear.onnx"]
    assert {one.record.body["run"] for one in found} == {one.record.body["run"] for one in found}
    assert len({one.record.index for one in found}) == 2


def test_weights_beside_the_model_must_be_sealed_too(tmp_path, points, options, onnx_file):
    folder = tmp_path / "model"
    folder.mkdir()
    onnx_file(folder / "linear.onnx", external="weights.bin")
    modelward.audit(folder / "linear.onnx", points, options(checks=("quality",)))
    store = tmp_path / ".modelward"
    (evidence,) = audit_evidence(folder, store)
    assert evidence.model.whole != evidence.model.digest
    with pytest.raises(FileMissing):  # the graph alone
        audit_evidence(folder / "linear.onnx", store)
    with pytest.raises(FileMissing):  # the weights are left out
        audit_evidence(folder, store, options=WalkOptions(ignore=("*.bin",)))
    weights = bytearray((folder / "weights.bin").read_bytes())
    weights[0] ^= 1
    (folder / "weights.bin").write_bytes(weights)
    with pytest.raises(FileMissing):  # other weights under the same graph
        audit_evidence(folder, store)


def test_a_ledger_that_was_altered_gives_no_evidence(audited):
    import sqlite3

    model, store = audited
    with sqlite3.connect(store / "ledger.db") as db:
        db.execute("UPDATE leaf SET body = CAST(replace(body, '\"seed\":0', '\"seed\":1') AS BLOB)")
    db.close()
    with pytest.raises(LedgerTampered):
        audit_evidence(model, store)


def test_a_ledger_that_answers_otherwise_when_it_is_asked_again_gives_no_evidence(audited, monkeypatch):
    model, store = audited
    bodies = Ledger.bodies
    monkeypatch.setattr(Ledger, "bodies", lambda *asked: (body for body in list(bodies(*asked))[::-1]))
    with pytest.raises(LedgerTampered, match="do not lead to its head"):
        audit_evidence(model, store)


def test_no_ledger_is_no_evidence(model, tmp_path):
    with pytest.raises(FileMissing, match="no ledger"):
        audit_evidence(model, tmp_path / "none")


def test_decisions_of_another_form_are_passed_over(audited):
    model, store = audited
    ledger = Ledger.open(store)
    ledger.append({"kind": "decision", "run": "00" * 32, "attempt": 1, "result": {"old": True}})
    ledger.append({"kind": "note", "text": '"kind":"decision"'})
    ledger.close()
    (evidence,) = audit_evidence(model, store)
    assert evidence.ledger.size == evidence.record.index + 3


def recorded(result, created, findings, **changes):
    """A decision as the verb `audit` records one, at another time and with other findings."""
    plain = json.loads(msgspec.json.encode(result))
    for check in plain["checks"]:
        check["evidence"] = []
    plain |= {"created": created.isoformat(timespec="seconds"), "findings": findings, **changes}
    return {"kind": "decision", "run": plain["run"], "attempt": 1, "result": plain}


def test_when_a_finding_was_first_seen(audited, onnx_file):
    """Over all audits of this file, and of those of its name before it."""
    model, store = audited
    result = recall(store)
    found = {
        "rule": "quality.gap", "severity": "high", "confidence": "high", "title": "t", "message": "m",
        "location": "", "evidence": [], "remedy": "r", "techniques": [], "controls": [],
    }  # fmt: skip
    elsewhere = {**found, "location": "column b"}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    other = [{**s, "digest": "sha256:" + "00" * 32} for s in json.loads(msgspec.json.encode(result.subjects))]
    stranger = [{**s, "name": "another.onnx"} for s in other]
    ledger = Ledger.open(store)
    ledger.append(
        recorded(result, start - timedelta(days=9), [found], subjects=stranger),
        recorded(result, start, [found], subjects=other),
        recorded(result, start + timedelta(days=1), [found]),
        recorded(result, start + timedelta(days=2), [found, elsewhere]),
    )
    ledger.close()
    (evidence,) = audit_evidence(model, store)
    assert evidence.seen == (start, start + timedelta(days=2))
    read_audit(msgspec.to_builtins(evidence))


# The other attestations


def test_a_scan_names_every_file_and_its_digest(model):
    scan = scan_verdict(model)
    assert [file.path for file in scan.files] == ["README.md", "linear.onnx"]
    assert [file.verdict for file in scan.files] == [None, "inert"]
    assert scan.verdict == "inert"
    assert scan.scanner.startswith("modelward ")
    assert abs(datetime.now(UTC) - scan.moment) < timedelta(minutes=1)


def test_a_scan_finds_a_payload(model):
    (model / "evil.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")
    scan = scan_verdict(model)
    assert scan.verdict == "dangerous"
    evil = next(file for file in scan.files if file.path == "evil.pkl")
    assert evil.verdict == "dangerous"
    assert {finding.level for finding in evil.findings} >= {"dangerous"}


def test_a_scan_looks_where_the_verb_scan_does_not(model):
    """What is sealed is scanned, folders of version control included."""
    (model / ".git").mkdir()
    (model / ".git" / "hook.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")
    assert scan_verdict(model).verdict == "dangerous"
    assert scan_verdict(model, options=WalkOptions(ignore=(".git",))).verdict == "inert"


def test_a_file_that_changes_while_it_is_scanned(model, monkeypatch):
    def changing(path, told):
        found = real(path, told)
        path.write_text("# Another text\n")
        return found

    real = verb.file_digest
    monkeypatch.setattr(verb, "file_digest", changing)
    with pytest.raises(ContentUnstable, match=r"README\.md"):
        scan_verdict(model)


def test_each_reading_tells_how_far_it_is(audited):
    """What is hashed for evidence, for a scan, and for a bill of materials."""
    pytest.importorskip("cyclonedx")
    model, store = audited
    sizes = {file.name: file.stat().st_size for file in model.iterdir()}
    whole = sum(sizes.values())
    for wanted, ends in (
        (Attesting(evidence=store), [sizes["linear.onnx"]]),
        (Attesting(scan=True), [whole]),
        (Attesting(bom=True), [whole, whole]),
    ):
        told = []
        gather(model, wanted, progress=lambda done, total, told=told: told.append((done, total)))
        assert [total for done, total in told if done == total] == ends, wanted


def test_a_scan_tells_of_a_large_file_while_it_is_read(tmp_path):
    (tmp_path / "large.bin").write_bytes(bytes(3 << 20))
    told = []
    scan_verdict(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(done << 20, 3 << 20) for done in (1, 2, 3)]


def test_a_bill_of_materials_is_made_or_taken(model, tmp_path):
    pytest.importorskip("cyclonedx")
    made = materials(model)
    assert made.document["bomFormat"] == "CycloneDX"
    assert {component["name"] for component in made.document["components"]} == {"README.md", "linear.onnx"}
    document = tmp_path / "bom.json"
    document.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5"}))
    assert materials(model, document).document["specVersion"] == "1.5"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"bomFormat": "SPDX"}', '{"bomFormat": "CycloneDX", "bomFormat": "x"}', "\xff"]
)
def test_a_document_that_is_no_bill_of_materials(text, model, tmp_path):
    document = tmp_path / "bom.json"
    document.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileDamaged):
        materials(model, document)


def test_a_document_that_cannot_be_read(model, tmp_path, monkeypatch):
    with pytest.raises(FileMissing, match="cannot be read"):
        materials(model, tmp_path / "none.json")
    monkeypatch.setattr(verb, "_LARGEST_BOM", 10)
    (tmp_path / "long.json").write_text("{}" * 20)
    with pytest.raises(FileDamaged, match="longer than 10 bytes"):
        materials(model, tmp_path / "long.json")


def test_git_says_which_code_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_state(tmp_path) is None
    place = git_folder(tmp_path)
    state = git_state(place)
    assert (len(state.commit), state.modified) == (40, False)
    (place / "train.py").write_text("print(2)\n")
    assert git_state(place).modified
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(place) is None


def test_a_repository_runs_nothing_of_its_own(tmp_path, monkeypatch):
    """A monitor that the repository configures would run at `git status`."""
    place = git_folder(tmp_path)
    ran = tmp_path / "ran"
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(place), "config", "core.fsmonitor", str(hook)], check=True)
    assert git_state(place) is not None
    assert not ran.exists()


def configured(place, **settings):
    for key, value in settings.items():
        subprocess.run(["git", "-C", str(place), "config", key.replace("__", "."), value], check=True)


@pytest.mark.parametrize("key", ["clean", "process", "smudge"])
def test_filters_of_a_repository_are_not_run(tmp_path, key):
    """`git status` would pipe what looks changed through a filter that the repository names."""
    place, ran = git_folder(tmp_path), tmp_path / "ran"
    configured(place, **{f"filter__a b__{key}": f"touch {ran}; cat", "filter__a b__required": "true"})
    (place / ".git" / "info" / "attributes").write_text('* filter="a b"\n* filter=b\n')
    configured(place, **{f"filter__b__{key}": f"touch {ran}; cat"})
    os.utime(place / "train.py", (0, 0))
    assert git_state(place) is not None
    assert not ran.exists()


def test_a_filter_that_cannot_be_switched_off_leaves_it_open_whether_code_changed(tmp_path):
    place, ran = git_folder(tmp_path), tmp_path / "ran"
    configured(place, **{"filter__a=b__clean": f"touch {ran}; cat"})
    (place / ".git" / "info" / "attributes").write_text("* filter=a=b\n")
    os.utime(place / "train.py", (0, 0))
    assert git_state(place).modified
    assert not ran.exists()


def test_missing_objects_are_not_fetched(tmp_path):
    """Of a partial clone git fetches what it lacks, by a program that the repository names."""
    place, ran = git_folder(tmp_path), tmp_path / "ran"
    settings = {
        "remote__origin__url": str(place),
        "remote__origin__promisor": "true",
        "remote__origin__uploadpack": f"touch {ran}; git-upload-pack",
        "core__repositoryformatversion": "1",
        "extensions__partialClone": "origin",
    }
    configured(place, **settings)
    shutil.rmtree(place / ".git" / "objects")
    (place / ".git" / "objects").mkdir()
    (place / ".git" / "index").unlink()
    git_state(place)
    assert not ran.exists()


def test_changes_in_a_repository_within_are_seen_and_nothing_of_it_is_run(tmp_path):
    place, ran = git_folder(tmp_path), tmp_path / "ran"
    (tmp_path / "other").mkdir()
    inner = git_folder(tmp_path / "other").rename(place / "inner")
    words = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for more in (["-c", "advice.addEmbeddedRepo=false", "add", "inner"], [*words, "commit", "-qm", "two"]):
        subprocess.run(["git", "-C", str(place), *more], check=True, capture_output=True)
    assert not git_state(place).modified
    configured(inner, filter__evil__clean=f"touch {ran}; cat", core__fsmonitor=f"touch {ran}")
    (inner / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    os.utime(inner / "train.py", (0, 0))
    assert not git_state(place).modified
    (inner / "train.py").write_text("print(2)\n")
    assert git_state(place).modified
    assert not ran.exists()


def test_git_is_told_no_secret(tmp_path, monkeypatch):
    place, told = git_folder(tmp_path), tmp_path / "told"
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nenv > {told}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("MODELWARD_PASSPHRASE", "a-secret")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    assert git_state(place) is None
    assert "a-secret" not in told.read_text()
    assert "/elsewhere" not in told.read_text()


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://user:secret@example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org/a@b.git", "https://example.org/a@b.git"),
        ("ssh://git@example.org:22/a.git", "ssh://example.org:22/a.git"),
        ("git@example.org:a.git", "git@example.org:a.git"),
        ("", ""),
        ("https://[::1", ""),
    ],
)
def test_no_password_of_a_remote_is_attested(url, kept):
    assert verb._without_secrets(url) == kept


def test_provenance_without_a_file_needs_a_builder_and_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(ConfigInvalid, match="who ran the training"):
        provenance(None, folder=tmp_path)
    with pytest.raises(PolicyInvalid, match="neither code nor data"):
        provenance(None, folder=tmp_path, builder="https://b")


def test_provenance_of_a_file_takes_the_commit_from_git(tmp_path):
    place = git_folder(tmp_path)
    stated = place / "provenance.toml"
    stated.write_text('[run]\nbuilder = "https://b"\n[parameters]\nlr = 0.1\n')
    found = provenance(stated)
    assert found.code == git_state(place)
    assert found.parameters == {"lr": 0.1}
    stated.write_text(
        '[run]\nbuilder = "https://b"\n[code]\ncommit = "' + "ab" * 20 + '"\n[environment]\na = 1\n'
    )
    found = provenance(stated)
    assert found.code.commit == "ab" * 20
    assert found.environment == {"a": 1}


def test_a_release_policy_of_a_file(tmp_path):
    path = tmp_path / "release.toml"
    path.write_text('environments = ["production"]\nuntil = 2027-01-01T00:00:00Z\n')
    assert read_release_file(path) == Release(
        environments=("production",), until=datetime(2027, 1, 1, tzinfo=UTC)
    )
    path.write_text("")
    with pytest.raises(PolicyInvalid, match="limits nothing"):
        read_release_file(path)
    path.write_text("untill = 2027-01-01T00:00:00Z\n")
    with pytest.raises(ConfigInvalid, match="did you mean 'until'"):
        read_release_file(path)
    path.write_text("until = 2027-01-01T00:00:00\n")
    with pytest.raises(ConfigInvalid, match="until"):
        read_release_file(path)


# The files at hand


def test_attested_digests_are_compared_with_files_in_clear(audited, sealed):
    model, store = audited
    _, found = sealed(model, *audit_evidence(model, store), scan_verdict(model))
    assert [reason.status for reason in bound_reasons(found, model)] == ["holds", "holds"]
    (model / "README.md").write_text("# Another\n")
    evidence, scan = bound_reasons(found, model)
    assert (evidence.status, scan.status) == ("holds", "refuted")
    assert scan.detail == "README.md is another file"
    (model / "new.bin").write_bytes(b"x")
    assert "new.bin was not scanned" in bound_reasons(found, model)[1].detail
    (model / "linear.onnx").unlink()
    evidence, scan = bound_reasons(found, model)
    assert evidence.detail == "linear.onnx is not there"
    assert scan.status == "refuted"


def test_attestations_without_digests_of_files_are_not_compared(model, sealed):
    _, found = sealed(model, Release(environments=("here",)))
    assert bound_reasons(found, model) == ()


# in-toto


def test_in_toto_follows_a_model_from_its_training_to_its_seal(certified, tmp_path, monkeypatch):
    verifylib = pytest.importorskip("in_toto.verifylib")
    metadata = pytest.importorskip("in_toto.models.metadata")
    model, _, contents = certified
    root = hash_tree(model).root
    soon = datetime.now(UTC) + timedelta(days=1)
    other = LocalSigner(Ed25519PrivateKey.from_private_bytes(b"\x08" * 32))
    made = supply_chain(model, contents, root, [SIGNER, other], expires=soon)
    assert {name.split(".")[0] for name in made} == {"root", "train", "audit", "seal"}
    assert len(made) == 7
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    layout = metadata.Metadata.load(str(tmp_path / "root.layout"))
    monkeypatch.chdir(tmp_path)
    keys = {key.public.key_id: _public(key.public) for key in (SIGNER, other)}
    verifylib.in_toto_verify(layout, keys, str(tmp_path))
    (tmp_path / f"seal.{SIGNER.public.key_id[:8]}.link").unlink()
    exceptions = pytest.importorskip("in_toto.exceptions")
    with pytest.raises((exceptions.ThresholdVerificationError, exceptions.LinkNotFoundError)):
        verifylib.in_toto_verify(layout, keys, str(tmp_path))


def test_a_seal_alone_is_a_chain_of_one_step(model):
    soon = datetime.now(UTC) + timedelta(days=1)
    made = supply_chain(model, [], "sha256:" + "00" * 32, [SIGNER], expires=soon)
    assert sorted(made) == ["root.layout", f"seal.{SIGNER.public.key_id[:8]}.link"]
