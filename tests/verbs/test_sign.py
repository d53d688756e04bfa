"""Detached signatures through the verbs: three kinds of statement, and what each refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import serialization

import modelward
from modelward.errors import ConfigInvalid, FileMissing, KeyServiceFailed, KeyUnusable, OutputUnwritable
from modelward.vault.hazmat import asymmetric
from modelward.vault.tree import cache, hashing, reading, walk


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def pair(tmp_path_factory, write_key):
    """A private and a public key file, ECDSA on P-256."""
    return write_key(tmp_path_factory.mktemp("pair"), "key", "ecdsa-p256")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    np.save(folder / "a.npy", np.arange(100_000))
    (folder / "sub" / "b.txt").write_text("b", encoding="utf-8")
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": range(1000), "y": [str(i) for i in range(1000)]}), path, row_group_size=100)
    return path


@pytest.fixture
def signed(talk):
    """Sign a path, and give the signature's."""

    def signed(path, pair, target, **changes):
        modelward.sign(path, [str(pair[0])], target, modelward.SignOptions(**changes), talk)
        return target

    return signed


def verified(path, signature, pair, **changes):
    trust = modelward.TrustOptions(public_keys=(pair[1],))
    return modelward.verify(path, modelward.VerifyOptions(signature=signature, trust=trust, **changes))


WAYS = [
    {},
    {"hash": "blake3"},
    {"hash": "blake2b"},
    {"shards": True},
    {"statement": "tree"},
    {"statement": "tree", "hash": "blake3"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_model_verifies_by_every_kind_of_statement(model, pair, tmp_path, way, signed):
    found = verified(model, signed(model, pair, tmp_path / "m.sig", **way), pair)
    assert found.verified
    assert found.kind == "signature"
    assert found.files == 2
    assert found.signers[0].name == "key.pub"


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("change", ["altered", "missing", "added", "renamed"])
def test_every_change_is_refused_and_named(model, pair, way, change, signed):
    signature = signed(model, pair, model.parent / "m.sig", **way)
    path = model / "sub" / "b.txt"
    if change == "altered":
        path.write_text("c", encoding="utf-8")
    elif change == "missing":
        path.unlink()
    elif change == "added":
        (model / "sub" / "c.txt").write_text("c", encoding="utf-8")
    else:
        path.rename(model / "sub" / "d.txt")
    found = verified(model, signature, pair)
    assert not found.verified
    assert found.refusal == "ContentChanged"
    named = "sub/c.txt" if change == "added" else "sub/b.txt"
    assert named in found.reasons[0].detail


def test_the_reference_command_verifies_it(model, pair, tmp_path, signed):
    pytest.importorskip("model_signing")
    signature = signed(model, pair, tmp_path / "m.sig")
    words = ["verify", "key", str(model), "--signature", str(signature), "--public_key", str(pair[1])]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_the_reference_command_signs_is_verified(model, tmp_path):
    """With a key in clear: version 1.1.1 fails on every passphrase."""
    pytest.importorskip("model_signing")
    key = asymmetric.generate("ecdsa-p256")
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pair = tmp_path / "clear.pem", tmp_path / "clear.pub"
    pair[0].write_bytes(key.private_bytes(*forms))
    pair[1].write_bytes(asymmetric.public_pem(key))
    words = ["sign", "key", str(model), "--signature", str(tmp_path / "m.sig"), "--private_key", str(pair[0])]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert verified(model, tmp_path / "m.sig", pair).verified


@pytest.mark.parametrize("statement", ["openssf", "tree"])
def test_a_partial_copy_is_accepted_only_when_asked_and_listed(model, pair, tmp_path, statement, signed):
    signature = signed(model, pair, tmp_path / "m.sig", statement=statement)
    (model / "a.npy").unlink()
    assert not verified(model, signature, pair).verified
    found = verified(model, signature, pair, partial=True)
    assert found.verified
    assert found.missing == ("a.npy",)
    assert found.files == 1


@pytest.mark.parametrize("statement", ["openssf", "tree"])
def test_unsigned_files_are_accepted_only_when_asked(model, pair, tmp_path, statement, signed):
    signature = signed(model, pair, tmp_path / "m.sig", statement=statement)
    (model / "extra.txt").write_text("extra", encoding="utf-8")
    assert not verified(model, signature, pair).verified
    assert verified(model, signature, pair, unsigned=True).verified
    assert verified(model, signature, pair, excluded=(model / "extra.txt",)).verified


@pytest.mark.parametrize("statement", ["openssf", "tree"])
def test_a_misspelt_path_is_not_signed_in_silence(model, pair, tmp_path, statement, signed):
    with pytest.raises(ConfigInvalid, match="names nothing in"):
        signed(model, pair, tmp_path / "m.sig", statement=statement, excluded=("a.npy",))
    signature = signed(model, pair, tmp_path / "m.sig", statement=statement, excluded=(model / "a.npy",))
    assert verified(model, signature, pair, unsigned=True).files == 1


@pytest.mark.parametrize("content", [b"", b"weights", b"{}"])
def test_what_is_no_signature_is_not_written_over(model, pair, tmp_path, content, signed):
    """The output may be the model itself, by mistake."""
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(OutputUnwritable, match="is no signature"):
        signed(model, pair, tmp_path / "m.pt")
    assert (tmp_path / "m.pt").read_bytes() == content


def test_a_signature_may_lie_in_the_folder(model, pair, signed):
    signature = signed(model, pair, model / "model.sig")
    assert verified(model, signature, pair).verified
    signed(model, pair, model / "model.sig")
    assert verified(model, signature, pair).verified


@pytest.mark.parametrize("statement", ["openssf", "tree"])
def test_one_file_can_be_signed(model, pair, tmp_path, statement, signed):
    signature = signed(model / "a.npy", pair, tmp_path / "a.sig", statement=statement)
    assert verified(model / "a.npy", signature, pair).verified
    assert not verified(model / "sub" / "b.txt", signature, pair).verified


def test_a_signature_by_another_key_does_not_count(model, pair, tmp_path, signed):
    signature = signed(model, pair, tmp_path / "m.sig")
    (tmp_path / "other.pub").write_bytes(asymmetric.public_pem(asymmetric.generate("ed25519")))
    found = verified(model, signature, (pair[0], tmp_path / "other.pub"))
    assert not found.verified
    assert found.refusal in {"SignerMissing", "SignatureInvalid"}


def test_an_altered_statement_is_refused(model, pair, tmp_path, signed):
    import base64

    signature = signed(model, pair, tmp_path / "m.sig")
    bundle = json.loads(signature.read_bytes())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"a.npy", b"z.npy")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signature.write_text(json.dumps(bundle), encoding="utf-8")
    assert verified(model, signature, pair).refusal == "SignatureInvalid"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"mediaType": 1}', b"null"])
def test_what_is_no_bundle_is_refused(model, pair, tmp_path, content):
    (tmp_path / "m.sig").write_bytes(content)
    assert verified(model, tmp_path / "m.sig", pair).refusal == "SealDamaged"


def test_rows_are_signed_whatever_file_holds_them(table, pair, tmp_path, signed):
    signature = signed(table, pair, tmp_path / "t.sig", statement="rows")
    found = verified(table, signature, pair)
    assert found.verified
    assert found.kind == "rows"
    again = tmp_path / "again.parquet"
    pq.write_table(pq.read_table(table), again, row_group_size=100, compression="zstd")
    assert again.read_bytes() != table.read_bytes()
    assert verified(again, signature, pair).verified


def test_a_changed_row_is_refused(table, pair, tmp_path, signed):
    signature = signed(table, pair, tmp_path / "t.sig", statement="rows")
    rows = pq.read_table(table).to_pydict()
    rows["x"][555] = -1
    pq.write_table(pa.table(rows), table, row_group_size=100)
    found = verified(table, signature, pair)
    assert found.refusal == "ContentChanged"
    assert "5" in found.reasons[0].detail


def test_a_csv_file_has_rows_too(pair, tmp_path, signed):
    path = tmp_path / "rows.csv"
    pa_csv.write_csv(pa.table({"x": range(10)}), path)
    signature = signed(path, pair, tmp_path / "t.sig", statement="rows")
    assert verified(path, signature, pair).verified
    path.write_text(path.read_text(encoding="utf-8").replace("7", "8"), encoding="utf-8")
    assert not verified(path, signature, pair).verified


def test_parts_of_a_table_are_not_accepted_silently(table, pair, tmp_path, signed):
    signature = signed(table, pair, tmp_path / "t.sig", statement="rows")
    with pytest.raises(ConfigInvalid, match="verified whole"):
        verified(table, signature, pair, partial=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"statement": "tree", "shards": True}, "shards"),
        ({"statement": "tree", "hash": "blake2b"}, "blake2b"),
        ({"statement": "rows", "shards": True}, "shards"),
    ],
)
def test_options_that_exclude_each_other(model, pair, changes, words, signed):
    with pytest.raises(ConfigInvalid, match=words):
        signed(model, pair, model.parent / "m.sig", **changes)
    assert not (model.parent / "m.sig").exists()


def test_what_is_missing_is_named(model, pair, tmp_path, signed):
    with pytest.raises(FileMissing, match="nowhere"):
        signed(tmp_path / "nowhere", pair, tmp_path / "m.sig")
    with pytest.raises(FileMissing, match=r"m\.sig"):
        verified(model, tmp_path / "m.sig", pair)
    with pytest.raises(ConfigInvalid, match="no key"):
        modelward.sign(model, [], tmp_path / "m.sig")
    with pytest.raises(OutputUnwritable, match="nowhere"):
        signed(model, pair, tmp_path / "nowhere" / "m.sig")


def test_a_public_key_signs_nothing(model, pair, tmp_path, talk):
    with pytest.raises(KeyUnusable):
        modelward.sign(model, [str(pair[1])], tmp_path / "m.sig", talk=talk)


@pytest.fixture
def settled(monkeypatch):
    """Every file counts as written long ago, and so is remembered."""
    monkeypatch.setattr(cache, "_TICK", -(1 << 62))
    return monkeypatch


REMEMBERED = [way for way in WAYS if way.get("hash") != "blake3"]


@pytest.mark.parametrize("way", REMEMBERED, ids=str)
def test_it_is_signed_again_from_the_cache(model, pair, settled, signed, way):
    """The second time only what changed is read; paranoid reads all."""
    read, real = [], hashing.read_all

    def spy(entries, *more, **named):
        read.append([entry.path for entry in entries])
        return real(entries, *more, **named)

    def payload(**more):
        data = signed(model, pair, model.parent / "m.sig", **way, **more).read_bytes()
        return json.loads(data)["dsseEnvelope"]["payload"]

    settled.setattr(hashing, "read_all", spy)
    assert payload() == payload() == payload(paranoid=True)
    (model / "sub" / "b.txt").write_text("c", encoding="utf-8")
    payload()
    assert read == [["a.npy", "sub/b.txt"], [], ["a.npy", "sub/b.txt"], ["sub/b.txt"]]
    assert verified(model, model.parent / "m.sig", pair).verified
    assert read[4:] == [["a.npy", "sub/b.txt"]]


@pytest.mark.parametrize("way", REMEMBERED, ids=str)
def test_what_a_cache_says_wrongly_is_never_verified(model, pair, settled, signed, way):
    """As after a write that left all times as they were: of that a signer has `--paranoid`."""
    settled.setattr(walk, "stamp", lambda found: walk.Stamp(1, 1, found.st_size, 1, 1))
    settled.setattr(reading, "stamp", walk.stamp)
    signature = model.parent / "m.sig"
    signed(model, pair, signature, **way)
    (model / "sub" / "b.txt").write_text("c", encoding="utf-8")
    assert verified(model, signed(model, pair, signature, **way), pair).refusal == "ContentChanged"
    assert verified(model, signed(model, pair, signature, **way, paranoid=True), pair).verified


def test_keyless_signing_needs_a_token_and_never_as_an_argument(model, tmp_path, monkeypatch):
    """The service is not asked: nothing here has a network."""
    with pytest.raises(ConfigInvalid, match="never an argument"):
        modelward.sign(model, ["sigstore:eyJhbGciOi"], tmp_path / "m.sig")
    with pytest.raises(ConfigInvalid, match="no variable NO_SUCH"):
        modelward.sign(model, ["sigstore:env:NO_SUCH"], tmp_path / "m.sig")
    with pytest.raises(ConfigInvalid, match="stands alone"):
        modelward.sign(model, ["sigstore:", "key.pem"], tmp_path / "m.sig")
    pytest.importorskip("sigstore")
    monkeypatch.setenv("A_TOKEN", "none.at.all")
    with pytest.raises(KeyServiceFailed) as refusal:
        modelward.sign(model, ["sigstore:env:A_TOKEN"], tmp_path / "m.sig")
    assert "none.at.all" not in str(refusal.value)
    assert not (tmp_path / "m.sig").exists()


def test_an_identity_counts_as_one_issuer_vouches_for_it(model, pair, tmp_path, signed):
    signature = signed(model, pair, tmp_path / "m.sig")

    def asked(**changes):
        trust = modelward.TrustOptions(**changes)
        return modelward.verify(model, modelward.VerifyOptions(signature=signature, trust=trust))

    with pytest.raises(ConfigInvalid, match="issuer"):
        asked(identity="a@example.com")
    with pytest.raises(ConfigInvalid, match="signs once"):
        asked(identity="a@example.com", issuer="https://issuer.example", threshold=2)
    pytest.importorskip("sigstore")
    found = asked(identity="a@example.com", issuer="https://issuer.example")
    assert found.refusal == "SealDamaged"  # it is by a key, so no identity signed it


def test_the_signed_table_tells_which_rows_changed(table, pair, tmp_path, signed):
    signature = signed(table, pair, tmp_path / "t.sig", statement="rows")
    old = tmp_path / "old.parquet"
    old.write_bytes(table.read_bytes())
    rows = pq.read_table(table).to_pydict()
    rows["x"][555] = -1
    del rows["x"][700], rows["y"][700]
    pq.write_table(pa.table(rows), table, row_group_size=100)
    found = verified(table, signature, pair, against=old)
    assert not found.verified
    assert "1 row changed (first at row 555)" in found.reasons[0].detail
    assert "1 row removed (first at row 700)" in found.reasons[0].detail
    assert not verified(table, signature, pair, against=table).verified


def test_a_signature_that_never_ends_is_refused_before_it_fills_the_memory(model, pair, tmp_path):
    """What lies beside a model may be a link to a device, whose length is said to be 0."""
    endless = tmp_path / "model.sig"
    endless.symlink_to("/dev/zero")
    with pytest.raises(ConfigInvalid, match="so it is no signature"):
        verified(model, endless, pair)


def test_a_small_model_is_signed_and_verified_without_what_costs_time():
    """The commands import nothing that only other commands, or mishaps, have a use for."""
    code = (
        "import sys; import modelward.cli.seal, modelward.cli.verify, modelward.verbs.sign, modelward.verbs.verify; "
        "costly = {'numpy', 'pyarrow', 'cryptography.x509', 'blake3', 'sqlite3', 'rich', 'rfc8785', 'zipfile', "
        "'difflib', 'traceback', 'asyncio', 'concurrent.futures', 'socket', 'ssl', 'subprocess'}; "
        "print(sorted(costly & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
