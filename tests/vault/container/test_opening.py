"""Sealed models in memory: what is trusted first, every loader against the plain file, and nothing on a disk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import (
    ContentChanged,
    FileDamaged,
    FileMissing,
    FormatUnknown,
    KeyExpired,
    RecipientWrong,
    Revoked,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
    UnsafeArtifact,
)
from modelward.vault.container import opening
from modelward.vault.container.files import SealedFile
from modelward.vault.container.layout import SEGMENTS
from modelward.vault.container.opening import open_sealed
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.stream import KEPT
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import kem
from modelward.vault.keys.keyring import Keyring, RevokedKey, RevokedRoot, RingKey
from modelward.vault.tree.leaves import CHUNK

safetensors = pytest.importorskip("safetensors.numpy")
MIB = 1 << 20
TENSORS = "weights/model.safetensors"


def arrays():
    rng = np.random.default_rng(7)
    return {
        "first": rng.normal(size=(300, 1000)).astype("f4"),
        "second": rng.normal(size=(700, 700)),
        "third": rng.integers(0, 255, MIB + 12345, dtype="u1"),
        "half": rng.normal(size=(3, 5, 7)).astype("f2"),
        "flag": rng.integers(0, 2, 11).astype("?"),
        "scalar": np.array(3, "i8"),
        "empty": np.empty((0, 4), "f4"),
        "last": rng.integers(-9, 9, (MIB // 4, 2), dtype="i4"),
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A folder of models, each in another format."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    (folder / "weights").mkdir(parents=True)
    given = arrays()
    safetensors.save_file(given, folder / TENSORS, {"format": "np"})
    np.save(folder / "c.npy", given["second"])
    np.save(folder / "fortran.npy", np.asfortranarray(given["first"]))
    np.save(folder / "empty.npy", given["empty"])
    np.save(folder / "scalar.npy", given["scalar"])
    np.save(folder / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    np.savez(folder / "stored.npz", a=given["first"], b=given["scalar"])
    np.savez_compressed(folder / "packed.npz", a=given["last"], b=given["flag"])
    np.savez(folder / "objects.npz", a=np.array([{}], object))
    (folder / "model.pkl").write_bytes(b"\x80\x04N.")
    (folder / "old.bin").write_bytes(b"(dp0\n.")
    (folder / "config.json").write_bytes(json.dumps({"layers": 2}).encode())
    (folder / "nothing").write_bytes(b"")
    (folder / "big").write_bytes(random.Random(3).randbytes(10 * MIB + 77))
    return folder


@pytest.fixture(scope="module", params=["encrypted", "in clear"])
def container(request, plain, vendor, licensee, tmp_path_factory):
    target = tmp_path_factory.mktemp("sealed") / "model.sealed"
    recipients = (licensee.recipient,) if request.param == "encrypted" else ()
    seal_folder(plain, target, SealOptions(recipients=recipients, signers=(vendor,)))
    return target


@pytest.fixture
def opened(container, vendor, licensee):
    with open_sealed(container, [licensee.identity], verifiers=[vendor.public]) as found:
        yield found


# Whom to trust


def test_it_opens_for_who_trusts_the_signer(opened, plain, vendor):
    assert opened.signers == (vendor.public.key_id,)
    assert sorted(opened.names()) == sorted(
        p.relative_to(plain).as_posix() for p in plain.rglob("*") if p.is_file()
    )
    assert opened.root.startswith("blake3:")


def test_nobody_is_trusted_by_default(container, licensee):
    with pytest.raises(SignerMissing, match="nobody is trusted"):
        open_sealed(container, [licensee.identity])


def test_danger_has_its_name(container, licensee):
    found = open_sealed(container, [licensee.identity], unsafe_unverified=True)
    assert found.signers == ()
    assert json.loads(found.read("config.json")) == {"layers": 2}


def test_trust_is_said_in_one_way(container, vendor, licensee):
    with pytest.raises(ValueError, match="unsafe_unverified"):
        open_sealed(container, [licensee.identity], verifiers=[vendor.public], unsafe_unverified=True)


def test_strangers(sealed, vendor, cosigner, stranger, licensee):
    path = sealed()
    with pytest.raises(SignerMissing):
        open_sealed(path, [licensee.identity], verifiers=[cosigner.public])
    with pytest.raises(SignerMissing, match="2 must"):
        open_sealed(path, [licensee.identity], verifiers=[vendor.public, cosigner.public], threshold=2)
    with pytest.raises(RecipientWrong):
        open_sealed(path, [stranger.identity], verifiers=[vendor.public])
    with pytest.raises(RecipientWrong):
        open_sealed(path, verifiers=[vendor.public])
    with pytest.raises(FileMissing):
        open_sealed(path / "none", verifiers=[vendor.public])


def test_no_identity_is_asked_before_the_signature_holds(sealed, vendor, cosigner):
    class Asked:
        def unwrap(self, stanza, container_id):
            pytest.fail("a key was used on what nobody signed")

    path = sealed()
    signature = path / "signatures" / "00000000.json"
    with pytest.raises(SignerMissing):
        open_sealed(path, [Asked()], verifiers=[cosigner.public])
    bundle = json.loads(signature.read_bytes())
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    signature.write_text(json.dumps(bundle))
    with pytest.raises(SignatureInvalid):
        open_sealed(path, [Asked()], verifiers=[vendor.public])
    signature.unlink()
    with pytest.raises(SignerMissing):
        open_sealed(path, [Asked()], verifiers=[vendor.public])


def test_another_manifest_is_not_opened(sealed, vendor, licensee):
    one, two = sealed(name="a.sealed"), sealed(name="b.sealed")
    (one / "manifest.floe").write_bytes((two / "manifest.floe").read_bytes())
    with pytest.raises(ContentChanged, match="manifest"):
        open_sealed(one, [licensee.identity], verifiers=[vendor.public])


def ring(signer, **changes):
    now = datetime.now(UTC).replace(microsecond=0)
    key = RingKey(
        id=signer.public.key_id,
        pem=signer.public.pem.decode(),
        name=signer.public.key_id[:16],
        valid_from=changes.pop("valid_from", now - timedelta(days=1)),
        valid_until=changes.pop("valid_until", None),
        purposes=("seal",),
    )
    facts = {
        "format": "modelward.keyring/1", "ring": "0" * 32, "version": 1, "issued": now, "expires": None,
        "owners": (signer.public.pem.decode(),), "threshold": 1, "keys": (key,),
    }  # fmt: skip
    return Keyring(**(facts | changes))


def test_a_keyring_says_who_is_trusted(sealed, vendor, cosigner, licensee):
    path = sealed()
    who = [licensee.identity]
    assert open_sealed(path, who, keyring=ring(vendor)).signers == (vendor.public.key_id,)
    with pytest.raises(SignerMissing):
        open_sealed(path, who, keyring=ring(cosigner))
    past = datetime(2020, 1, 2, tzinfo=UTC)
    with pytest.raises(KeyExpired):
        open_sealed(path, who, keyring=ring(vendor, valid_from=past - timedelta(1), valid_until=past))
    gone = RevokedKey(id=vendor.public.key_id, since=past, reason="stolen")
    with pytest.raises(Revoked):
        open_sealed(path, who, keyring=ring(vendor, revoked_keys=(gone,)))
    with pytest.raises(ValueError, match="keyring"):
        open_sealed(path, who, keyring=ring(vendor), verifiers=[vendor.public])


def test_an_expired_key_does_not_help_to_a_threshold(sealed, vendor, cosigner, licensee):
    path, past = sealed(signers=(vendor, cosigner)), datetime(2020, 1, 2, tzinfo=UTC)
    for until, enough in ((None, True), (past, False)):
        second = ring(cosigner, valid_from=past - timedelta(1), valid_until=until).keys[0]
        both = ring(vendor, keys=(*ring(vendor).keys, second))
        if enough:
            assert len(open_sealed(path, [licensee.identity], keyring=both, threshold=2).signers) == 2
        else:
            with pytest.raises(SignerMissing, match="1 keys that may seal"):
                open_sealed(path, [licensee.identity], keyring=both, threshold=2)


def test_a_revoked_root_is_refused_stored_or_in_clear(sealed, vendor, licensee):
    path = sealed()
    stored = Container.open(path).index.root
    inside = open_sealed(path, [licensee.identity], verifiers=[vendor.public]).root
    assert stored != inside
    for root in (stored, inside):
        gone = RevokedRoot(root=root, since=datetime(2026, 1, 1, tzinfo=UTC), reason="poisoned")
        with pytest.raises(Revoked):
            open_sealed(path, [licensee.identity], keyring=ring(vendor, revoked_roots=(gone,)))


# Bytes


def test_every_file_is_what_was_sealed(opened, plain):
    for name in opened.names():
        content = (plain / name).read_bytes()
        assert opened.read(name) == content
        with opened.open(name) as stream:
            assert stream.read() == content
            assert stream.read() == b""


def test_what_was_not_sealed_is_missing(opened):
    for use in (opened.read, opened.open, opened.numpy, opened.torch, opened.onnx):
        with pytest.raises(FileMissing, match="no such file was sealed"):
            use("../plain/model/config.json")
    with pytest.raises(FileMissing):
        opened.tensor("none", "first")


def test_a_disk_that_does_not_read_is_said_and_leaves_nothing_open(opened, monkeypatch):
    """Each file that is asked for begins by its header, which is read at once."""
    handles = Path("/proc/self/fd")

    def refuse(*_given):
        raise OSError(5, "Input/output error")

    before = len(list(handles.iterdir()))
    monkeypatch.setattr(os, "preadv", refuse)
    for _ in range(3):
        with pytest.raises(FileMissing, match="input/output error"):
            opened.read(opened.names()[0])
    assert len(list(handles.iterdir())) == before


MOVES = st.lists(
    st.tuples(st.sampled_from(["seek", "end", "by", "read", "all"]), st.integers(0, 10 * MIB + 200)),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_a_stream_moves_as_a_plain_file_does(opened, plain, moves):
    with opened.open("big") as stream, (plain / "big").open("rb") as model:
        for move, number in moves:
            assert step(stream, move, number) == step(model, move, number), (move, number)
            assert stream.tell() == model.tell()


def step(file, move, number):
    match move:
        case "seek":
            return file.seek(number)
        case "end":
            return file.seek(-min(number, 10 * MIB), os.SEEK_END)
        case "by":
            return file.seek(number % 999, os.SEEK_CUR)
        case "read":
            return file.read(number % (3 * MIB))
    return file.read() if number % 5 == 0 else file.readline()


def test_a_stream_is_read_only_and_closes(opened):
    stream = opened.open("big")
    assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
    for wrong in (lambda: stream.seek(-1), lambda: stream.raw.seek(0, 7)):
        with pytest.raises(ValueError, match=r"lies before|whence"):
            wrong()
    with pytest.raises(io.UnsupportedOperation):
        stream.write(b"x")
    raw = stream.raw
    stream.close()
    stream.close()
    for use in (lambda: raw.read(1), lambda: raw.seek(0), raw.readall):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_stream_keeps_few_segments(opened, plain):
    with opened.open("big") as stream:
        for at in range(0, 10 * MIB, 50_000):
            stream.raw.seek(at)
            stream.raw.read(3)
            assert len(stream.raw._kept) <= KEPT
        stream.raw.seek(20 * MIB)
        assert stream.raw.read(5) == b""
        assert stream.raw.readall() == b""


def test_a_stream_decrypts_a_segment_once(opened, counted):
    with opened.open("big") as stream:
        for _ in range(100):
            stream.seek(5 * MIB)
            assert len(stream.read(300)) == 300
    assert counted == [5]


@pytest.fixture
def counted(monkeypatch):
    """Which segments were decrypted, in order."""
    seen, segment = [], SealedFile.segment

    def counting(self, index, buffer, out):
        seen.append(index)
        return segment(self, index, buffer, out)

    monkeypatch.setattr(SealedFile, "segment", counting)
    return seen


def test_threads_share_a_stream(opened, plain):
    content, wrong = (plain / "big").read_bytes(), []

    def reader(seed):
        draw = random.Random(seed)
        with opened.open("big") as stream:
            for _ in range(60):
                at = draw.randrange(len(content))
                stream.seek(at)
                if stream.read(2000) != content[at : at + 2000]:
                    wrong.append(at)

    threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# What was altered after it was opened


def flip(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def stored(path, opened, name):
    return path / "data" / f"{opened.names().index(name):08d}"


def test_each_segment_is_held_to_what_was_signed(sealed, vendor, licensee):
    path = sealed({"big": 4 * MIB})
    opened = open_sealed(path, [licensee.identity], verifiers=[vendor.public])
    before = opened.read("big")
    flip(path / "data" / "00000000", 74 + 2 * SEGMENTS.segment + 500)
    with pytest.raises(SealDamaged, match="segment 2"):
        opened.read("big")
    with opened.open("big") as stream:
        assert stream.read(2 * CHUNK) == before[: 2 * CHUNK]
        with pytest.raises(SealDamaged, match="segment 2"):
            stream.read(1)
        stream.seek(3 * CHUNK)
        assert stream.read() == before[3 * CHUNK :]


def test_a_cut_file_and_a_missing_one(sealed, vendor, licensee):
    path = sealed({"a": 2 * MIB, "b": 10})
    opened = open_sealed(path, [licensee.identity], verifiers=[vendor.public])
    os.truncate(path / "data" / "00000000", MIB)
    with pytest.raises(SealDamaged, match="bytes long"):
        opened.open("a")
    (path / "data" / "00000001").unlink()
    with pytest.raises(ContentChanged, match="missing"):
        opened.read("b")


def test_a_licensee_cannot_craft_other_weights(sealed, vendor, licensee):
    """He holds the data keys, so what he encrypts is well formed; the signed leaves are not his."""
    path = sealed({"w": b"vendor's weights"})
    found = open_sealed(path, [licensee.identity], verifiers=[vendor.public])
    record, header = found._opened.manifest.files[0], found._opened._header
    from modelward.vault.container.layout import data_aad
    from modelward.vault.hazmat.floe import Floe

    forged = Floe.encrypting(record.key, data_aad(header, 0), SEGMENTS)
    out = bytearray(SEGMENTS.sealed_length(record.length))
    out[:74] = forged.header
    forged.encrypt_segment(0, b"licensee's weigh", memoryview(out)[74:], last=True)
    (path / "data" / "00000000").write_bytes(out)
    for use in (found.read, lambda name: found.open(name).read()):
        with pytest.raises(ContentChanged, match="not what was signed"):
            use("w")


def test_every_flipped_byte_of_a_small_container_is_refused_or_opens_nothing_else(
    sealed, vendor, licensee, content
):
    """Wherever a byte is changed, what opens is what was sealed; else it refuses."""
    path = sealed({"a": b"0123456789", "b": b""})
    good, refused, total = {"a": b"0123456789", "b": b""}, 0, 0
    for name, data in content(path).items():
        for at in range(0, len(data), 3):
            flip(path / name, at)
            total += 1
            try:
                found = open_sealed(path, [licensee.identity], verifiers=[vendor.public])
                assert {n: found.read(n) for n in found.names()} == good
            except SealRefused:
                refused += 1
            flip(path / name, at)
    assert refused > 0.9 * total


# numpy


def same(one, two):
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


@pytest.mark.parametrize("name", ["c.npy", "fortran.npy", "empty.npy", "scalar.npy"])
def test_npy(opened, plain, name):
    wanted, found = np.load(plain / name), opened.numpy(name)
    assert same(found, wanted)
    assert found.flags.writeable
    assert (found.flags.c_contiguous, found.flags.f_contiguous) == (
        wanted.flags.c_contiguous,
        wanted.flags.f_contiguous,
    )


@pytest.mark.parametrize("name", ["stored.npz", "packed.npz"])
def test_npz(opened, plain, name):
    wanted, found = np.load(plain / name), opened.numpy(name)
    assert set(found) == set(wanted.files)
    assert all(same(found[member], wanted[member]) for member in found)


def test_safetensors(opened, plain):
    wanted, found = safetensors.load_file(plain / TENSORS), opened.numpy(TENSORS)
    assert set(found) == set(wanted)
    assert all(same(found[name], wanted[name]) for name in found)
    assert all(array.flags.writeable for array in found.values())
    some = opened.numpy(TENSORS, ["last", "half"])
    assert list(some) == ["last", "half"]
    assert all(same(some[name], wanted[name]) for name in some)


def test_arrays_outlive_the_container(container, vendor, licensee, plain):
    with open_sealed(container, [licensee.identity], verifiers=[vendor.public]) as found:
        first = found.numpy(TENSORS)["first"]
        stream = found.open("config.json")
    first += 1
    assert np.allclose(first - 1, arrays()["first"], atol=1e-5)
    assert stream.read() == b'{"layers": 2}'


@pytest.mark.parametrize("name", sorted(arrays()))
def test_one_tensor(opened, name):
    assert same(opened.tensor(TENSORS, name), arrays()[name])


def test_one_tensor_decrypts_its_segments_alone(opened, counted):
    place = opened._header(TENSORS).places["first"]
    counted.clear()
    opened.tensor(TENSORS, "first")
    assert counted == list(range(place.start // CHUNK, -(-place.stop // CHUNK)))
    assert len(counted) < 4
    counted.clear()
    opened.tensor(TENSORS, "empty")
    assert counted == []


def test_tensors_that_are_not_there(opened):
    for use in (lambda: opened.tensor(TENSORS, "none"), lambda: opened.numpy(TENSORS, ["first", "none"])):
        with pytest.raises(FileDamaged, match="has no tensor none") as refusal:
            use()
        assert "Its tensors begin with" in refusal.value.advice


@pytest.mark.parametrize("name", ["objects.npy", "objects.npz", "model.pkl", "old.bin"])
def test_pickles_are_refused(opened, name):
    with pytest.raises(UnsafeArtifact):
        opened.numpy(name)
    if not name.endswith(".npy"):
        with pytest.raises(UnsafeArtifact, match="could run code"):
            opened.torch(name)


@pytest.mark.parametrize("name", ["config.json", "nothing", "big"])
def test_other_formats_are_not_guessed(opened, name):
    for use in (opened.numpy, opened.torch, lambda n: opened.tensor(n, "first")):
        with pytest.raises(FormatUnknown, match="no format that is loaded"):
            use(name)


def test_few_headers_are_kept(opened, monkeypatch):
    monkeypatch.setattr(opening, "_HEADERS", 1)
    for _ in range(3):
        opened.tensor(TENSORS, "half")
        opened._headers["other"] = opened._headers.pop(TENSORS)
    assert len(opened._headers) <= 2
    opened.close()
    assert not opened._headers


# Damaged files that somebody sealed


@pytest.fixture
def one(tmp_path, vendor):
    """Seals one file in clear, and opens it."""

    def seal(content, name="x"):
        (tmp_path / name).write_bytes(content)
        seal_folder(tmp_path / name, tmp_path / "one.sealed", SealOptions(signers=(vendor,), replace=True))
        return open_sealed(tmp_path / "one.sealed", verifiers=[vendor.public]), name

    return seal


def header(value, size=None, rest=b""):
    text = json.dumps(value).encode() if not isinstance(value, bytes) else value
    return (len(text) if size is None else size).to_bytes(8, "little") + text + rest


@pytest.mark.parametrize(
    "content",
    [
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, rest=bytes(8)),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, rest=bytes(7)),
        header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, rest=bytes(8)),
        header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, rest=bytes(8)),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, rest=bytes(8)),
        header({"a": {"dtype": "F32"}}),
        header({"a": []}),
        header(b"{]"),
        header(b'{"a":1,"a":2}'),
        header(b"{" * 3000),
        header(b"{\xff}"),
    ],
)
def test_headers_of_no_sense(one, content):
    found, name = one(content)
    for use in (found.numpy, found.torch, lambda n: found.tensor(n, "a")):
        with pytest.raises(SealDamaged):
            use(name)


def test_types_that_a_framework_lacks(one):
    found, name = one(
        header({"a": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}, rest=bytes(3))
    )
    for use in (found.numpy, found.torch):
        with pytest.raises(FormatUnknown, match="F6_E2M3"):
            use(name)
    found, name = one(header({"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, rest=bytes(8)))
    with pytest.raises(FormatUnknown, match="numpy has no type"):
        found.numpy(name)


def test_arrays_of_no_sense(one):
    buffer = io.BytesIO()
    np.save(buffer, np.arange(10))
    good = buffer.getvalue()
    broken = [good[:50], good[:-1], good + b"x", good[:6] + b"\x09" + good[7:], good.replace(b"(10,)", b"(-1,)"),
              good.replace(b"(10,)", b"(99,)"), good.replace(b"'<i8'", b"'<q9'"), good[:10] + b"\xff" * 60]  # fmt: skip
    for content in broken:
        found, name = one(content)
        with pytest.raises(FileDamaged):
            found.numpy(name)


ARCHIVE = io.BytesIO()
np.savez_compressed(ARCHIVE, a=np.arange(40), b=np.zeros(3))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_altered_archives_are_refused_in_a_sentence(one, data):
    content = bytearray(ARCHIVE.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    found, name = one(bytes(content[: data.draw(st.integers(5, len(content)))]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zipfile on names that stand twice
        with contextlib.suppress(FileDamaged, UnsafeArtifact):
            found.numpy(name)


# Nothing on a disk, nothing twice in memory


def in_child(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, env=dict(os.environ, OMP_NUM_THREADS="1"), **options,
    )  # fmt: skip


@pytest.fixture
def key_file(tmp_path_factory, plain, vendor):
    """A container whose identity a child process can open, and the vendor's public key."""
    from cryptography.hazmat.primitives import serialization

    folder = tmp_path_factory.mktemp("child")
    key = kem.generate("x25519")
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / "key.pem").chmod(0o600)
    (folder / "vendor.pem").write_bytes(vendor.public.pem)
    recipient = HpkeRecipient(kem.public_of(key))
    assert HpkeIdentity(key).key_id == recipient.key_id
    return folder, lambda source: seal_folder(
        source, folder / "m.sealed", SealOptions(recipients=(recipient,), signers=(vendor,), replace=True)
    )


CHILD = """
    import os, resource, signal, sys
    from pathlib import Path
    from modelward.vault.container.opening import open_sealed
    from modelward.vault.container.recipients import open_identity
    from modelward.vault.keys.signer import Verifier
    folder = Path(sys.argv[1])
    found = open_sealed(folder / "m.sealed", [open_identity(str(folder / "key.pem"))],
                        verifiers=[Verifier((folder / "vendor.pem").read_bytes())])
"""


def test_no_file_is_written(plain, key_file, tmp_path):
    """The child may write no byte to any file, memory files and shared memory among them."""
    folder, seal = key_file
    source = shutil.copytree(plain, tmp_path / "copy")
    with contextlib.suppress(ImportError):
        from onnx import TensorProto, helper, save

        x, y = (
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3]), ("y", [1, 2]))
        )
        weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [1.0] * 6)
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
        save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
            source / "model.onnx",
        )
    seal(source)
    code = """
        import numpy
        import modelward.adapters.ort
        try:
            import torch
            has_torch = True
        except ImportError:
            has_torch = False
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            with open(folder / "probe", "wb", buffering=0) as probe:
                probe.write(b"x")
            sys.exit("a file could be written")
        except OSError:
            os.unlink(folder / "probe")
        assert found.numpy("c.npy").shape == (700, 700)
        assert found.numpy("stored.npz")["b"] == 3
        assert found.numpy("packed.npz")["b"].shape == (11,)
        assert found.tensor("weights/model.safetensors", "half").shape == (3, 5, 7)
        assert len(found.numpy("weights/model.safetensors")) == 8
        assert len(found.read("big")) == len(found.open("big").read())
        if has_torch:
            assert len(found.torch("weights/model.safetensors")) == 8
            assert found.onnx("model.onnx").run(None, {"x": numpy.ones((1, 3), "f4")})[0].shape == (1, 2)
        open_files = {os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")}
        assert not any("memfd" in f or "shm" in f for f in open_files), open_files
        os.write(1, b"done")
    """
    done = in_child(textwrap.dedent(CHILD) + textwrap.dedent(code), folder)
    assert (done.stdout, done.returncode) == ("done", 0), done.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["key.pem", "m.sealed", "vendor.pem"]


def test_tensors_are_in_memory_once(tmp_path, key_file):
    source = tmp_path / "large"
    source.mkdir()
    safetensors.save_file({f"t{i}": np.ones(MIB, "f4") for i in range(24)}, source / "m.safetensors")
    folder, seal = key_file
    seal(source)
    code = """
        import numpy
        found.tensor("m.safetensors", "t0")
        peak = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
        before = peak()
        arrays = found.numpy("m.safetensors")
        assert sum(a.nbytes for a in arrays.values()) == 96 << 20
        os.write(1, b"%d" % (peak() - before))
    """
    done = in_child(textwrap.dedent(CHILD) + textwrap.dedent(code), folder)
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout) / 1024
    assert 90 < grown < 96 + 24


def test_importing_it_loads_no_framework():
    done = in_child("""
        import sys
        import modelward.vault.container.opening
        print(sorted({"numpy", "torch", "onnx", "onnxruntime", "pyrage", "hvac"} & set(sys.modules)))
    """)
    assert done.stdout.strip() == "[]", done.stderr


def test_keys_are_in_no_repr(opened):
    shown = repr(opened) + repr(opened._opened) + repr(opened._opened.manifest.files[0])
    for record in opened._opened.manifest.files:
        assert not record.key or record.key.hex() not in shown
        assert not record.key or repr(record.key) not in shown
