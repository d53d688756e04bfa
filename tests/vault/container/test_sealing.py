"""What is sealed comes back, to those it was sealed for, whatever its shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import (
    ContentUnstable,
    FileMissing,
    OutputUnwritable,
    PathUnsafe,
    RecipientWrong,
    SignerMissing,
)
from modelward.vault.container import layout
from modelward.vault.container.reading import Container
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import floe
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.vault.tree.walk import WalkOptions

MIB = 1 << 20
SHAPES = {
    "nothing": 0,
    "a byte": 1,
    "a segment less one": MIB - 1,
    "a segment": MIB,
    "a segment and one": MIB + 1,
    "a span": 8 * MIB,
    "a span and one": 8 * MIB + 1,
    "two spans and some": 17 * MIB + 74,
}


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_every_shape_comes_back(sealed, content, people, algorithm, encrypted):
    files = {f"{index}/{name}": size for index, (name, size) in enumerate(SHAPES.items())}
    changes = {} if encrypted else {"recipients": ()}
    vendor, licensee = people
    where = sealed(files, algorithm=algorithm, **changes)
    tmp_path = where.parent
    container = Container.open(where)
    assert container.encrypted is encrypted
    assert container.verify([vendor.public]).signers == (vendor.public.key_id,)
    opened = container.unlock([licensee.identity])
    opened.extract(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "model")
    wanted = hash_tree(tmp_path / "model", TreeOptions(algorithm=algorithm))
    assert opened.tree == wanted
    assert set(opened.paths) == set(files)


@pytest.mark.parametrize("jobs", [1, 5])
def test_how_many_threads_does_not_matter(tmp_path, sealed, content, people, jobs):
    vendor, licensee = people
    where = sealed({"a": 11 * MIB + 3, "b": 5} | {f"c/{n}": n for n in range(70)}, jobs=jobs)
    container = Container.open(where)
    container.verify([vendor.public], jobs=jobs)
    container.unlock([licensee.identity]).extract(tmp_path / "out", jobs=jobs)
    assert content(tmp_path / "out") == content(tmp_path / "model")


def test_every_recipient_opens_it_and_nobody_else(sealed, licensee, other, stranger):
    container = Container.open(sealed())
    for person in (licensee, other):
        assert len(container.unlock([stranger.identity, person.identity]).paths) == 3
    for identities in ([stranger.identity], []):
        with pytest.raises(RecipientWrong):
            container.unlock(identities)


def test_one_file_is_sealed_under_its_name(tmp_path, model, vendor, licensee):
    file = model({"net.onnx": 100}) / "net.onnx"
    info = seal_folder(file, tmp_path / "n.sealed", SealOptions(recipients=(licensee.recipient,)))
    assert [entry.path for entry in info.content.entries] == ["net.onnx"]
    assert info.name == "n"
    with Container.open(info.path).unlock([licensee.identity]).file("net.onnx") as opened:
        assert opened.read(0, 100) == file.read_bytes()


def test_what_is_said_of_it(sealed, vendor):
    where = sealed(name="net.sealed")
    container = Container.open(where)
    statement = container.verify([vendor.public]).statement
    assert statement.subjects == (("net", container.index.digest),)
    manifest = next(e for e in container.index.entries if e.path == "manifest.floe")
    assert statement.predicate["container"] == {
        "encryption": "floe-aes256-gcm-hkdf-sha384-1m",
        "format": "modelward.seal/1",
        "id": container.header.container,
        "manifest": manifest.root,
    }
    assert (
        statement.predicate["root"]
        == hash_tree(
            where,
            TreeOptions(
                algorithm="blake3",
                excluded=tuple(where / n for n in ("seal.json", "tree.json", "signatures")),
            ),
        ).root
    )


def test_nothing_of_the_model_is_in_the_open(sealed, content, licensee):
    secret = b"a secret of the vendor, long enough to be found"
    where = sealed({"secret-name.bin": secret, "b": secret * 100})
    everything = b"".join([*content(where).values(), *(name.encode() for name in content(where))])
    master = layout.master_of(Container.open(where).header, [licensee.identity])
    keys = [r.key for r in Container.open(where).unlock([licensee.identity]).manifest.files]
    for word in (secret[:16], b"secret-name", master, master.hex().encode(), *keys):
        assert word not in everything


def test_no_two_containers_share_a_byte_that_could_tell(sealed, content):
    first = content(sealed(name="a.sealed"))
    second = content(sealed(name="b.sealed"))
    for name in ("data/00000000", "data/00000002", "manifest.floe"):
        assert first[name][10:42] != second[name][10:42]
    assert json.loads(first["seal.json"])["container"] != json.loads(second["seal.json"])["container"]


def test_keys_do_not_show(sealed, licensee):
    opened = Container.open(sealed()).unlock([licensee.identity])
    shown = repr(opened) + repr(opened.manifest) + repr(opened.manifest.files[0])
    assert all(
        record.key.hex() not in shown and repr(record.key) not in shown for record in opened.manifest.files
    )


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_part_is_read_alone(data, sealed, licensee, tmp_path):
    if not (tmp_path / "m.sealed").exists():
        sealed({"a": 9 * MIB + 17})
    plain = (tmp_path / "model" / "a").read_bytes()
    begin = data.draw(st.integers(0, len(plain)))
    end = data.draw(st.integers(begin, len(plain)))
    jobs = data.draw(st.sampled_from([0, 1, 3]))
    with Container.open(tmp_path / "m.sealed").unlock([licensee.identity]).file("a") as file:
        out = bytearray(end - begin)
        file.read_into(begin, memoryview(out), jobs=jobs)
        assert out == plain[begin:end]


def test_parts_that_do_not_lie_in_it(sealed, licensee):
    opened = Container.open(sealed()).unlock([licensee.identity])
    with opened.file("weights/a.bin") as file:
        assert file.read(8, 0) == b""
        for offset, size in ((-1, 1), (0, 9), (8, 1), (9, 0)):
            with pytest.raises(ValueError, match="do not lie in it"):
                file.read(offset, size)
    file.close()
    with pytest.raises(FileMissing, match="no such file"):
        opened.file("weights")


def test_parts_of_other_segments_are_not_read(sealed, licensee):
    where = sealed({"a": 3 * MIB})
    data = bytearray((where / "data/00000000").read_bytes())
    data[74 + 5] ^= 1  # in the first segment
    (where / "data/00000000").write_bytes(data)
    with Container.open(where).unlock([licensee.identity]).file("a") as file:
        assert len(file.read(MIB, 2 * MIB)) == 2 * MIB


def test_progress_is_told(tmp_path, model, licensee):
    told, back = [], []
    info = seal_folder(
        model({"a": 9 * MIB, "b": 3}),
        tmp_path / "m.sealed",
        SealOptions(
            recipients=(licensee.recipient,), progress=lambda done, total: told.append((done, total))
        ),
    )
    container = Container.open(info.path)
    container.unlock([licensee.identity]).extract(tmp_path / "out", progress=lambda *pair: back.append(pair))
    assert told[-1] == back[-1] == (9 * MIB + 3, 9 * MIB + 3)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    seen = []
    container.check_files(progress=lambda *pair: seen.append(pair))
    assert seen[-1][0] == seen[-1][1] == info.stored.length


def test_the_old_container_is_replaced_only_when_asked(sealed, content, model, tmp_path, licensee):
    where = sealed()
    before = content(where)
    with pytest.raises(OutputUnwritable, match="exists already"):
        sealed(replace=False)
    assert content(where) == before
    sealed({"other": 5})
    assert content(where) != before
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_bytes(b"1")
    with pytest.raises(OutputUnwritable, match="no container"):
        sealed(name="folder")
    assert (tmp_path / "folder" / "precious").exists()


def test_an_extraction_replaces_nothing(sealed, licensee, tmp_path, content):
    opened = Container.open(sealed()).unlock([licensee.identity])
    (tmp_path / "out").mkdir()
    opened.extract(tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "out" / "config.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "out" / "config.json").write_bytes(b"mine")
    with pytest.raises(OutputUnwritable, match="exists already"):
        opened.extract(tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_bytes() == b"mine"


def test_a_container_cannot_lie_in_what_it_seals(model):
    folder = model()
    for target in (folder, folder / "m.sealed", folder / "weights" / "m.sealed"):
        with pytest.raises(OutputUnwritable, match="lies in what is to be sealed"):
            seal_folder(folder, target, SealOptions(replace=False))


def test_sources_that_cannot_be_sealed(tmp_path, model, licensee):
    options = SealOptions(recipients=(licensee.recipient,))
    folder = model({"a": 5})
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(PathUnsafe, match="out of the folder"):
        seal_folder(folder, tmp_path / "m.sealed", options)
    (folder / "link").unlink()
    (folder / "A").write_bytes(b"")
    with pytest.raises(PathUnsafe, match="one file"):
        seal_folder(folder, tmp_path / "m.sealed", options)
    with pytest.raises(FileMissing):
        seal_folder(tmp_path / "no", tmp_path / "m.sealed", options)
    (tmp_path / "hollow").mkdir()
    with pytest.raises(FileMissing, match="holds no file"):
        seal_folder(tmp_path / "hollow", tmp_path / "m.sealed", options)
    assert not (tmp_path / "m.sealed").exists()


def test_a_link_within_the_folder_is_followed_when_asked(tmp_path, model, licensee, content):
    folder = model({"a": b"abc"})
    (folder / "b").symlink_to("a")
    options = SealOptions(recipients=(licensee.recipient,), walk=WalkOptions(links=True, ignore=("*.tmp",)))
    (folder / "c.tmp").write_bytes(b"")
    seal_folder(folder, tmp_path / "m.sealed", options)
    Container.open(tmp_path / "m.sealed").unlock([licensee.identity]).extract(tmp_path / "out")
    assert content(tmp_path / "out") == {"a": b"abc", "b": b"abc"}


def test_an_unreadable_file_leaves_nothing(tmp_path, model, licensee, monkeypatch):
    folder = model({"a": 5, "b": 2 * MIB})
    monkeypatch.setattr(os, "preadv", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(FileMissing, match="input/output error"):
        seal_folder(folder, tmp_path / "m.sealed", SealOptions(recipients=(licensee.recipient,)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


@pytest.mark.parametrize("change", ["append", "overwrite", "truncate", "replace"])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path, model, licensee, change):
    folder = model({"a": 20 * MIB})
    path = folder / "a"

    def meddle(done, total):
        if path.stat().st_size == 20 * MIB and done < total:
            if change == "append":
                with path.open("ab") as stream:
                    stream.write(b"x")
            elif change == "overwrite":
                with path.open("r+b") as stream:
                    stream.seek(19 * MIB)
                    stream.write(b"x")
            elif change == "truncate":
                os.truncate(path, 10)
            else:
                path.rename(folder / "old")
                path.write_bytes(b"new")

    options = SealOptions(recipients=(licensee.recipient,), progress=meddle, jobs=1)
    with pytest.raises(ContentUnstable):
        seal_folder(folder, tmp_path / "m.sealed", options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_many_small_files(tmp_path, sealed, content, licensee, vendor):
    """More than are made durable one by one; see benchmarks for 100,000."""
    where = sealed({f"{n % 7}/{n}": str(n).encode() for n in range(600)})
    container = Container.open(where)
    container.verify([vendor.public])
    container.unlock([licensee.identity]).extract(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "model")


def test_a_sparse_file_and_little_memory(tmp_path, vendor, licensee):
    """Memory does not grow with the file; its holes are sealed as the zeros that they read as."""
    (tmp_path / "model").mkdir()
    with (tmp_path / "model" / "a").open("wb") as stream:
        stream.truncate(200 * MIB + 7)
    code = """
import sys
from pathlib import Path
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.container.reading import Container
class Open:
    def wrap(self, master, container_id): return {"kind": "test", "wrapped": master.hex()}
    def unwrap(self, stanza, container_id): return bytes.fromhex(stanza["wrapped"])
source, target = map(Path, sys.argv[1:])
seal_folder(source, target, SealOptions(recipients=(Open(),)))
with Container.open(target).unlock([Open()]).file("a") as file:
    assert file.read(199 << 20, (1 << 20) + 7) == bytes((1 << 20) + 7)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "m.sealed")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) < 200 * 1024
    size = floe.Parameters(MIB + 32).sealed_length(200 * MIB + 7)
    assert (tmp_path / "m.sealed" / "data" / "00000000").stat().st_size == size


def test_signatures(sealed, vendor, cosigner, tmp_path):
    both = Container.open(sealed(signers=(vendor, cosigner)))
    keys = [vendor.public, cosigner.public]
    assert set(both.verify(keys, 2).signers) == {key.key_id for key in keys}
    one = Container.open(sealed())
    assert one.verify(keys).signers == (vendor.public.key_id,)
    for verifiers, threshold in ((keys, 2), ([cosigner.public], 1), ([], 1), ([vendor.public] * 2, 2)):
        with pytest.raises(SignerMissing):
            one.verify(verifiers, threshold)
    with pytest.raises(SignerMissing):
        Container.open(sealed(signers=())).verify(keys)
    with pytest.raises(ValueError, match="threshold"):
        one.verify(keys, 0)


def test_bundles_by_two_signers_add_up(sealed, vendor, cosigner):
    """Each signs on his own; whoever counts to two finds both."""
    from modelward.vault.signing.tree_statement import sign_tree

    where = sealed()
    container = Container.open(where)
    manifest = next(e.root for e in container.index.entries if e.path == "manifest.floe")
    data = sign_tree(container.index, [cosigner], name="m", container=container.header.signed(manifest))
    (where / "signatures" / "cosigner.json").write_bytes(data)
    assert len(Container.open(where).verify([vendor.public, cosigner.public], 2).signers) == 2


def test_two_that_seal_at_once_leave_one_whole_container(tmp_path, model, licensee, vendor, content):
    folders = [model({"a": bytes([n]) * 3 * MIB}, name=f"m{n}") for n in range(4)]
    options = SealOptions(recipients=(licensee.recipient,), signers=(vendor,), replace=True, jobs=1)
    failures = []

    def work(folder):
        try:
            seal_folder(folder, tmp_path / "m.sealed", options)
        except OutputUnwritable as error:  # the other one was there first
            failures.append(error)

    threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) < 4
    Container.open(tmp_path / "m.sealed").verify([vendor.public])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.sealed", "m0", "m1", "m2", "m3"]


def test_documents_that_are_missing(sealed, tmp_path):
    with pytest.raises(FileMissing):
        Container.open(tmp_path / "no")
    assert Path(sealed()).is_dir()


def test_segments_are_what_the_aead_says(sealed, licensee):
    """One stored segment, opened by hand."""
    where = sealed({"a": 5})
    record = Container.open(where).unlock([licensee.identity]).manifest.files[0]
    stored = (where / "data/00000000").read_bytes()
    header = Container.open(where).header
    info, aad = stored[:42], layout.data_aad(header, 0)
    message = floe.expand(record.key, info + b"MESSAGE_KEY:" + aad, 48)
    key = floe.expand(message, info + b"DEK:" + bytes(8) + aad, 32)
    body = stored[74:]
    plain = AESGCM(key).decrypt(body[4:16], body[16:], bytes(8) + b"\x01")
    assert len(plain) == 5
