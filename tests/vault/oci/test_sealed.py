"""Real containers as layouts, layouts before other readers' eyes, and disks that fail."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from modelward.core.digest import directory_digest
from modelward.errors import ContentChanged, OutputUnwritable, SealDamaged
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import kem
from modelward.vault.oci import blobs, kinds, reading
from modelward.vault.oci.reading import read_oci
from modelward.vault.oci.writing import OciOptions, write_oci

PROFILES = ["modelpack", "kitops"]

# The parts of opencontainers/image-spec schema/*.json that these documents use, as published for 1.1.
MEDIA = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$",
}
DESCRIPTOR = {
    "type": "object", "required": ["mediaType", "size", "digest"],
    "properties": {
        "mediaType": MEDIA, "artifactType": MEDIA, "size": {"type": "integer", "minimum": 0},
        "digest": {"type": "string", "pattern": "^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}  # fmt: skip
MANIFEST = {
    "type": "object", "required": ["schemaVersion", "config", "layers"],
    "properties": {
        "schemaVersion": {"const": 2}, "mediaType": MEDIA, "artifactType": MEDIA, "config": DESCRIPTOR, "subject": DESCRIPTOR,
        "layers": {"type": "array", "minItems": 1, "items": DESCRIPTOR},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}  # fmt: skip
INDEX = {
    "type": "object",
    "required": ["schemaVersion", "manifests"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": MEDIA,
        "manifests": {"type": "array", "items": DESCRIPTOR},
    },
}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    random = np.random.default_rng(3)
    (folder / "model.safetensors").write_bytes(random.bytes(2_500_000))
    (folder / "data/train.csv").write_text("a,b\n1,2\n")
    (folder / "config.json").write_text("{}")
    (folder / "empty.bin").write_bytes(b"")
    return folder


@pytest.fixture
def recipient():
    key = kem.generate("x25519")
    return HpkeRecipient(kem.public_of(key)), HpkeIdentity(key)


def documents(layout):
    index = json.loads((layout / "index.json").read_bytes())
    yield INDEX, index
    for one in index["manifests"]:
        yield MANIFEST, json.loads((layout / "blobs/sha256" / one["digest"][7:]).read_bytes())


@pytest.mark.parametrize("profile", PROFILES)
def test_a_container_verifies_after_the_way_there_and_back(tmp_path, model, key, profile):
    seal_folder(model, tmp_path / "m.sealed", SealOptions(signers=(key,)))
    write_oci(tmp_path / "m.sealed", tmp_path / "layout", OciOptions(profile=profile))
    found = read_oci(tmp_path / "layout", tmp_path / "back.sealed")
    assert directory_digest(tmp_path / "back.sealed") == directory_digest(tmp_path / "m.sealed")
    assert Container.open(tmp_path / "back.sealed").verify([key.public]).signers == (key.public.key_id,)
    assert len(found.bundles) == 1
    assert found.bundles[0] == (tmp_path / "m.sealed/signatures/00000000.json").read_bytes()


def test_an_encrypted_container_opens_after_the_way_there_and_back(tmp_path, model, key, recipient):
    to, identity = recipient
    seal_folder(model, tmp_path / "m.sealed", SealOptions(signers=(key,), recipients=(to,)))
    write_oci(tmp_path / "m.sealed", tmp_path / "layout")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "layout/blobs/sha256").iterdir())
    assert (model / "model.safetensors").read_bytes()[:64] not in stored
    assert b"train.csv" not in stored
    read_oci(tmp_path / "layout", tmp_path / "back.sealed")
    container = Container.open(tmp_path / "back.sealed")
    container.verify([key.public])
    container.unlock([identity]).extract(tmp_path / "opened")
    assert directory_digest(tmp_path / "opened") == directory_digest(model)


def test_a_layer_that_is_exchanged_with_its_digests_is_seen_by_the_seal(tmp_path, model, key):
    """Whoever can write the registry can write a consistent layout; the signature still says no."""
    seal_folder(model, tmp_path / "m.sealed", SealOptions(signers=(key,)))
    layout = tmp_path / "layout"
    write_oci(tmp_path / "m.sealed", layout)
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads((layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_bytes())
    layer = next(one for one in manifest["layers"] if one["annotations"][kinds.TITLE].endswith("config.json"))
    layer["digest"], layer["size"] = blobs.put(layout, b'{"evil": true}')
    digest, size = blobs.put(layout, json.dumps(manifest).encode())
    index["manifests"] = [index["manifests"][0] | {"digest": digest, "size": size}]
    (layout / "index.json").write_text(json.dumps(index))
    read_oci(layout, tmp_path / "back.sealed")
    with pytest.raises(ContentChanged):
        Container.open(tmp_path / "back.sealed").verify([key.public])


@pytest.mark.parametrize("profile", PROFILES)
def test_documents_are_valid_by_the_schemas_of_the_image_specification(tmp_path, model, key, profile):
    jsonschema = pytest.importorskip("jsonschema")
    seal_folder(model, tmp_path / "m.sealed", SealOptions(signers=(key,)))
    write_oci(tmp_path / "m.sealed", tmp_path / "layout", OciOptions(profile=profile))
    checked = 0
    for schema, document in documents(tmp_path / "layout"):
        jsonschema.validate(document, schema)
        checked += 1
    assert checked == 3


@pytest.mark.parametrize("profile", PROFILES)
def test_oras_finds_the_layout_valid_and_complete(tmp_path, model, profile):
    layouts = pytest.importorskip("oras.layout")
    write_oci(model, tmp_path / "layout", OciOptions(profile=profile, tag="v1"))
    found = layouts.NewLayout(str(tmp_path / "layout"))
    order = found.get_ordered_blobs("v1")
    assert {digest[7:] for digest in order} == {
        path.name for path in (tmp_path / "layout/blobs/sha256").iterdir()
    }


def test_documents_are_canonical(tmp_path, model):
    """No white space and sorted keys, so that there is one digest per content."""
    write_oci(model, tmp_path / "layout")
    for path in [tmp_path / "layout/index.json", tmp_path / "layout/oci-layout"]:
        data = path.read_bytes()
        assert (
            data
            == json.dumps(
                json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False
            ).encode()
        )


def test_the_published_digest(tmp_path):
    """A known answer for another implementation: two files, both profiles."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_bytes(b"{}\n")
    (tmp_path / "m/model.bin").write_bytes(bytes(range(256)))
    layers = [
        {"annotations": {"org.cncf.model.file.mediatype.untested": "true", "org.cncf.model.filepath": name,
                         "org.opencontainers.image.title": name},
         "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
         "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw", "size": len(data)}
        for name, data, kind in [("config.json", b"{}\n", "weight.config"), ("model.bin", bytes(range(256)), "weight")]
    ]  # fmt: skip
    config = {
        "config": {},
        "descriptor": {"name": "m"},
        "modelfs": {"diffIds": [x["digest"] for x in layers], "type": "layers"},
    }
    raw = json.dumps(config, separators=(",", ":")).encode()
    manifest = {
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": {"digest": "sha256:" + hashlib.sha256(raw).hexdigest(),
                   "mediaType": "application/vnd.cncf.model.config.v1+json", "size": len(raw)},
        "layers": layers, "mediaType": "application/vnd.oci.image.manifest.v1+json", "schemaVersion": 2,
    }  # fmt: skip
    data = json.dumps(manifest, separators=(",", ":")).encode()
    digest = write_oci(tmp_path / "m", tmp_path / "layout", OciOptions(name="m"))
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert digest == "sha256:ae7e442bd0128acefd9fc76a9479de718a58482c9da5994da761efb767222f42"
    assert (
        write_oci(tmp_path / "m", tmp_path / "kit", OciOptions(name="m", profile="kitops"))
        == "sha256:f248f1153334004f141226a57afa17f7fe23e145874e637ee6b41cd3fbc944d7"
    )


def fail_after(monkeypatch, module, count, code):
    """Let the disk fail at one write."""
    real, left = blobs.write_all, [count]

    def write(*args):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        return real(*args)

    monkeypatch.setattr(module, write)
    return left


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_nothing_or_the_old(tmp_path, model, monkeypatch, code):
    write_oci(model, tmp_path / "layout")
    before = directory_digest(tmp_path / "layout")
    counted = 0
    while True:
        with monkeypatch.context() as patch:
            left = fail_after(patch, "modelward.vault.oci.blobs.write_all", counted, code)
            sentence = ""
            try:
                write_oci(model, tmp_path / "layout", OciOptions(replace=True, name="new"))
            except OutputUnwritable as error:
                sentence = str(error)
            if left[0] >= 0:
                break
        assert ("disk is full" in sentence) == (code == errno.ENOSPC)
        assert directory_digest(tmp_path / "layout") == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["layout", "model"]
        counted += 1
    assert counted > 8
    assert directory_digest(tmp_path / "layout") != before


def test_a_disk_that_fails_while_unpacking_leaves_nothing(tmp_path, model, monkeypatch):
    for profile in PROFILES:
        write_oci(model, tmp_path / profile, OciOptions(profile=profile))
    for count in range(4):
        for module in ("modelward.vault.oci.blobs.write_all", "modelward.vault.oci.reading.write_all"):
            with monkeypatch.context() as patch:
                fail_after(patch, module, count, errno.ENOSPC)
                with pytest.raises(OutputUnwritable):
                    read_oci(tmp_path / ("kitops" if "reading" in module else "modelpack"), tmp_path / "out")
            assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wait", [0.0, 0.005, 0.02, 0.05])
def test_a_killed_writer_leaves_the_old_layout(tmp_path, model, wait):
    """kill -9 wherever it happens to be."""
    write_oci(model, tmp_path / "layout")
    before = directory_digest(tmp_path / "layout")
    code = (
        "import sys\nfrom pathlib import Path\nfrom modelward.vault.oci.writing import OciOptions, write_oci\n"
        "print('ready', flush=True)\nplace = 0\n"
        "while True:\n    place += 1\n"
        "    write_oci(Path(sys.argv[1]), Path(sys.argv[2]), OciOptions(replace=True, name=str(place)))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(model), str(tmp_path / "layout")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
    assert directory_digest(tmp_path / "layout") == before or read_oci(tmp_path / "layout", tmp_path / "out")
    read_oci(tmp_path / "layout", tmp_path / "out", replace=True)
    assert directory_digest(tmp_path / "out") == directory_digest(model)


def test_a_large_sparse_file_is_streamed(tmp_path):
    """A layer of 220 MB, by a process whose memory is limited to less."""
    (tmp_path / "m").mkdir()
    with (tmp_path / "m/model.bin").open("wb") as stream:
        stream.truncate(220 << 20)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from modelward.vault.oci.writing import write_oci\nfrom modelward.vault.oci.reading import read_oci\n"
        "write_oci(Path(sys.argv[1]) / 'm', Path(sys.argv[1]) / 'layout')\n"
        "read_oci(Path(sys.argv[1]) / 'layout', Path(sys.argv[1]) / 'back')\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 200_000
    assert (tmp_path / "back/model.bin").stat().st_size == 220 << 20


def test_many_small_files(tmp_path):
    (tmp_path / "m").mkdir()
    for place in range(500):
        (tmp_path / "m" / f"{place:04d}.bin").write_bytes(str(place).encode())
    write_oci(tmp_path / "m", tmp_path / "layout")
    assert len(read_oci(tmp_path / "layout", tmp_path / "back").files) == 500
    assert directory_digest(tmp_path / "back") == directory_digest(tmp_path / "m")


def test_the_layout_may_lie_in_the_folder(tmp_path, model):
    """What is written there is not packed a second time."""
    first = write_oci(model, model / "layout")
    again = write_oci(model, model / "layout", OciOptions(replace=True))
    assert first == again


def test_a_referrer_that_names_another_subject_is_left_out(tmp_path, model, key):
    seal_folder(model, tmp_path / "m.sealed", SealOptions(signers=(key,)))
    layout = tmp_path / "layout"
    write_oci(tmp_path / "m.sealed", layout)
    index = json.loads((layout / "index.json").read_bytes())
    referrer = json.loads((layout / "blobs/sha256" / index["manifests"][1]["digest"][7:]).read_bytes())
    referrer["subject"]["digest"] = "sha256:" + "0" * 64
    digest, size = blobs.put(layout, json.dumps(referrer).encode())
    index["manifests"][1] |= {"digest": digest, "size": size}
    (layout / "index.json").write_text(json.dumps(index))
    assert read_oci(layout, tmp_path / "back").bundles == ()


def test_a_folder_among_the_blobs_is_no_blob(tmp_path, model):
    layout = tmp_path / "layout"
    write_oci(model, layout)
    index = json.loads((layout / "index.json").read_bytes())
    path = layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]
    path.unlink()
    path.mkdir()
    with pytest.raises(SealDamaged, match="not a regular file"):
        read_oci(layout, tmp_path / "out")
    shutil.rmtree(layout / "blobs")
    with pytest.raises(SealDamaged, match="lacks"):
        read_oci(layout, Path(tmp_path / "out"))


def test_a_bundle_that_is_listed_many_times_is_read_once(tmp_path, model, key, monkeypatch):
    """A small layout must neither keep us busy nor fill the memory."""
    seal_folder(model, tmp_path / "m.sealed", SealOptions(signers=(key,)))
    layout = tmp_path / "layout"
    write_oci(tmp_path / "m.sealed", layout)
    index = json.loads((layout / "index.json").read_bytes())
    entry = index["manifests"][1]
    referrer = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_bytes())
    bundle = referrer["layers"][0]
    referrer["layers"] *= 50
    digest, size = blobs.put(layout, json.dumps(referrer).encode())
    index["manifests"] += [{**entry, "digest": digest, "size": size}] * 50
    (layout / "index.json").write_text(json.dumps(index))
    read = []
    monkeypatch.setattr(blobs.Layout, "read", spied(blobs.Layout.read, read))
    found = read_oci(layout, tmp_path / "back").bundles
    assert [len(data) for data in found] == [bundle["size"]]
    assert len(read) <= 9
    monkeypatch.setattr(reading, "_LARGEST_BUNDLES", bundle["size"] - 1)
    with pytest.raises(SealDamaged, match="more than"):
        read_oci(layout, tmp_path / "again")


def spied(read, calls):
    def spy(self, name, limit):
        calls.append(name)
        return read(self, name, limit)

    return spy
