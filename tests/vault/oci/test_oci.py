"""Layouts: their bytes, a real registry with the oras client, and every way to lie in one."""

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.core.digest import directory_digest
from modelward.errors import (
    ConfigInvalid,
    ContentChanged,
    ContentUnstable,
    FileMissing,
    OutputUnwritable,
    PathUnsafe,
    SealDamaged,
    SealRefused,
)
from modelward.vault.oci import blobs, kinds
from modelward.vault.oci.reading import read_oci
from modelward.vault.oci.writing import OciOptions, write_oci
from modelward.vault.signing.tree_statement import read_tree_statement, sign_tree
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import hash_tree

SERVER = shutil.which("docker-registry")
PROFILES = ["modelpack", "kitops"]


@pytest.fixture
def model(tmp_path):
    """Weights, configuration, documents, code, data, an empty file and a name of two scripts."""
    folder = tmp_path / "model"
    files = {
        "model.safetensors": bytes(range(256)) * 5000, "config.json": b'{"a": 1}', "README.md": b"# model\n",
        "LICENSE": b"free", "code/run.py": b"print(1)\n", "data/train.csv": b"a,b\n1,2\n", "empty.bin": b"",
        "nested/deeper/wéights-日.bin": b"\0" * 70_000,
    }  # fmt: skip
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture
def sealed(model, key):
    """A folder like a container: with its bundles inside."""
    (model / "seal.json").write_text("{}")
    tree = hash_tree(model)
    for folder in ("signatures", "attestations"):
        (model / folder).mkdir()
        (model / folder / "0.json").write_bytes(sign_tree(tree, [key], name=folder))
    return model


def index_of(layout):
    return json.loads((layout / "index.json").read_bytes())


def blob(layout, digest):
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def manifest_of(layout, place=0):
    return json.loads(blob(layout, index_of(layout)["manifests"][place]["digest"]))


@pytest.mark.parametrize("profile", PROFILES)
def test_there_and_back(tmp_path, model, profile):
    digest = write_oci(model, tmp_path / "layout", OciOptions(profile=profile))
    found = read_oci(tmp_path / "layout", tmp_path / "back")
    assert directory_digest(tmp_path / "back") == directory_digest(model)
    assert hash_tree(tmp_path / "back").root == hash_tree(model).root
    assert found.digest == digest
    assert sorted(found.files) == sorted(
        p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file()
    )
    assert found.bundles == ()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_folder_gives_the_same_bytes(tmp_path, model, profile):
    first = write_oci(model, tmp_path / "a", OciOptions(profile=profile, name="m"))
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert write_oci(copy, tmp_path / "b", OciOptions(profile=profile, name="m")) == first
    assert directory_digest(tmp_path / "a") == directory_digest(tmp_path / "b")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_layout_is_one_by_the_image_specification(tmp_path, model, profile):
    """Every blob is named by its digest, every descriptor is right, and nothing else lies there."""
    layout = tmp_path / "layout"
    digest = write_oci(model, layout, OciOptions(profile=profile, tag="v1.0"))
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = index_of(layout)
    assert index["schemaVersion"] == 2
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [one["digest"] for one in index["manifests"]] == [digest]
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "v1.0"}
    manifest = manifest_of(layout)
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    named = [*index["manifests"], manifest["config"], *manifest["layers"]]
    for one in named:
        data = blob(layout, one["digest"])
        assert len(data) == one["size"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == one["digest"]
    assert {p.name for p in (layout / "blobs/sha256").iterdir()} == {one["digest"][7:] for one in named}
    assert {p.name for p in layout.iterdir()} == {"oci-layout", "index.json", "blobs"}


def test_modelpack_names_layers_as_its_specification_does(tmp_path, model):
    layout = tmp_path / "layout"
    write_oci(model, layout, OciOptions(name="tiny", version="3"))
    manifest = manifest_of(layout)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    found = {
        layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"].removeprefix(
            "application/vnd.cncf.model."
        )
        for layer in manifest["layers"]
    }
    assert found == {
        "LICENSE": "doc.v1.raw", "README.md": "doc.v1.raw", "code/run.py": "code.v1.raw",
        "config.json": "weight.config.v1.raw", "data/train.csv": "dataset.v1.raw", "empty.bin": "weight.v1.raw",
        "model.safetensors": "weight.v1.raw", "nested/deeper/wéights-日.bin": "weight.v1.raw",
    }  # fmt: skip
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    assert config["descriptor"] == {"name": "tiny", "version": "3"}
    assert config["modelfs"] == {
        "type": "layers",
        "diffIds": [layer["digest"] for layer in manifest["layers"]],
    }
    assert config["config"] == {}


def test_a_modelpack_configuration_is_valid_by_its_schema(tmp_path, model):
    """The part of modelpack/model-spec schema/config-schema.json that is used, as published."""
    jsonschema = pytest.importorskip("jsonschema")
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    schema = {
        "type": "object", "additionalProperties": False, "required": ["descriptor", "config", "modelfs"],
        "properties": {
            "descriptor": {"type": "object", "additionalProperties": False,
                           "properties": {"name": {"type": "string", "minLength": 1}, "version": {"type": "string"}}},
            "config": {"type": "object", "additionalProperties": False},
            "modelfs": {"type": "object", "additionalProperties": False, "required": ["type", "diffIds"],
                        "properties": {"type": {"enum": ["layers"]}, "diffIds": texts}},
        },
    }  # fmt: skip
    for place, options in enumerate((OciOptions(), OciOptions(name="n", version="1"))):
        write_oci(model, tmp_path / str(place), options)
        manifest = manifest_of(tmp_path / str(place))
        jsonschema.validate(json.loads(blob(tmp_path / str(place), manifest["config"]["digest"])), schema)


def test_kitops_layers_are_archives_of_one_file_and_a_kitfile_lists_them(tmp_path, model):
    layout = tmp_path / "layout"
    write_oci(model, layout, OciOptions(profile="kitops", name="tiny", version="3"))
    manifest = manifest_of(layout)
    assert manifest["config"]["mediaType"] == "application/vnd.kitops.modelkit.config.v1+json"
    kit = json.loads(blob(layout, manifest["config"]["digest"]))
    assert kit["manifestVersion"] == "1.0.0"
    assert kit["package"] == {"name": "tiny", "version": "3"}
    listed = [kit["model"], *kit["model"]["parts"], *kit["docs"], *kit["code"], *kit["datasets"]]
    by_digest = {one["digest"]: one["path"] for one in listed}
    assert len(listed) == len(manifest["layers"]) == 8
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layout, layer["digest"]))) as archive:
            (member,) = archive.getmembers()
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
            assert archive.extractfile(member).read() == (model / member.name).read_bytes()
            assert by_digest[layer["digest"]] == member.name
    types = [layer["mediaType"].split(".")[3] for layer in manifest["layers"]]
    assert types == sorted(types, key=["model", "modelpart", "docs", "code", "dataset"].index)


def test_a_folder_without_weights_has_a_kitfile_too(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_text("{}")
    write_oci(tmp_path / "m", tmp_path / "layout", OciOptions(profile="kitops"))
    kit = json.loads(blob(tmp_path / "layout", manifest_of(tmp_path / "layout")["config"]["digest"]))
    assert [part["path"] for part in kit["model"]["parts"]] == ["config.json"]


def test_one_file_is_a_model(tmp_path):
    (tmp_path / "one.onnx").write_bytes(b"x")
    write_oci(tmp_path / "one.onnx", tmp_path / "layout")
    assert read_oci(tmp_path / "layout", tmp_path / "back").files == ("one.onnx",)


def test_equal_files_share_a_blob(tmp_path):
    (tmp_path / "m").mkdir()
    for name in ("a.bin", "b.bin"):
        (tmp_path / "m" / name).write_bytes(b"same")
    write_oci(tmp_path / "m", tmp_path / "layout")
    assert len(list((tmp_path / "layout/blobs/sha256").iterdir())) == 3
    read_oci(tmp_path / "layout", tmp_path / "back")
    assert directory_digest(tmp_path / "back") == directory_digest(tmp_path / "m")


def test_bundles_of_a_sealed_folder_are_attached(tmp_path, sealed, key):
    layout = tmp_path / "layout"
    digest = write_oci(sealed, layout)
    index = index_of(layout)["manifests"]
    assert len(index) == 3
    assert {one["artifactType"] for one in index[1:]} == {"application/vnd.dev.sigstore.bundle.v0.3+json"}
    for place in (1, 2):
        referrer = manifest_of(layout, place)
        assert referrer["subject"]["digest"] == digest
        assert referrer["subject"]["size"] == index[0]["size"]
        assert referrer["annotations"]["dev.sigstore.bundle.predicateType"] == "https://modelward.dev/tree/v1"
        assert blob(layout, referrer["config"]["digest"]) == b"{}"
    found = read_oci(layout, tmp_path / "back")
    assert directory_digest(tmp_path / "back") == directory_digest(sealed)
    assert len(found.bundles) == 2
    for data in found.bundles:
        assert verify_bundle(data, [key.public]).signers == (key.public.key_id,)


def test_a_bundle_from_elsewhere_is_attached_and_binds_the_folder(tmp_path, model, key):
    outside = tmp_path / "model.sig"
    outside.write_bytes(sign_tree(hash_tree(model), [key], name="model"))
    write_oci(model, tmp_path / "layout", OciOptions(bundles=(outside,)))
    (found,) = read_oci(tmp_path / "layout", tmp_path / "back").bundles
    said = read_tree_statement(verify_bundle(found, [key.public]).statement)
    assert said.root == hash_tree(tmp_path / "back").root


def test_what_is_attached_must_be_a_bundle(tmp_path, model):
    (tmp_path / "x.sig").write_text("{}")
    with pytest.raises(SealDamaged):
        write_oci(model, tmp_path / "layout", OciOptions(bundles=(tmp_path / "x.sig",)))
    with pytest.raises(FileMissing):
        write_oci(model, tmp_path / "layout", OciOptions(bundles=(tmp_path / "gone.sig",)))
    assert not (tmp_path / "layout").exists()


@pytest.mark.parametrize("tag", ["", "-a", ".a", "a b", "a/b", "x" * 129, "é"])
def test_what_is_no_tag_is_refused(tmp_path, model, tag):
    with pytest.raises(ConfigInvalid):
        write_oci(model, tmp_path / "layout", OciOptions(tag=tag))


def test_what_cannot_be_packed_is_refused(monkeypatch, tmp_path, model):
    with pytest.raises(FileMissing):
        write_oci(tmp_path / "gone", tmp_path / "layout")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("x")
    with pytest.raises(OutputUnwritable):
        write_oci(model, tmp_path / "there")
    write_oci(model, tmp_path / "there", OciOptions(replace=True))
    monkeypatch.setattr("modelward.vault.oci.writing.LARGEST_MANIFEST", 500)
    with pytest.raises(ConfigInvalid, match="8 files make a manifest"):
        write_oci(model, tmp_path / "layout")
    (model / "out").symlink_to("/etc")
    with pytest.raises(PathUnsafe):
        write_oci(model, tmp_path / "layout")
    assert not (tmp_path / "layout").exists()


def test_a_file_that_grows_meanwhile_is_refused(tmp_path):
    (tmp_path / "layout/blobs/sha256").mkdir(parents=True)
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(ContentUnstable, match="had 4 bytes and now has 5"):
        blobs.put_file(tmp_path / "layout", str(tmp_path / "a"), 4)
    with pytest.raises(FileMissing):
        blobs.put_file(tmp_path / "layout", str(tmp_path / "gone"), 4)


def test_kinds_of_files():
    named = {
        "model.safetensors": "weight", "data/00000000": "weight", "tokenizer.json": "weight.config",
        "LICENSE.txt": "doc", "readme": "doc", "a/b.PY": "code", "x.parquet": "dataset", "seal.json": "weight.config",
    }  # fmt: skip
    assert {path: kinds.kind_of(path) for path in named} == named


# A real registry.


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Debian's docker-registry on loopback."""
    if SERVER is None:
        pytest.skip("docker-registry is not installed")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [SERVER, "serve", str(config)],
            stdout=log,
            stderr=log,
            env={"OTEL_TRACES_EXPORTER": "none", "PATH": ""},
        ) as process,
    ):
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            else:
                pytest.skip("docker-registry does not start: " + (folder / "log").read_text()[:300])
            yield address
        finally:
            process.kill()


@pytest.fixture
def client(registry):
    oras = pytest.importorskip("oras.provider")
    return oras.Registry(hostname=registry, insecure=True, tls_verify=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("profile", PROFILES)
def test_a_registry_stores_the_layout_byte_for_byte(tmp_path, sealed, key, client, profile):
    from oras.layout import NewLayout, NewLayoutFromRegistry

    layout, target = tmp_path / "layout", f"{client.hostname}/team/model-{profile}:v1"
    digest = write_oci(sealed, layout, OciOptions(profile=profile, tag="v1"))
    NewLayout(str(layout)).push_to_registry(client, target, tag="v1")
    with urllib.request.urlopen(_manifest_request(target)) as answer:  # noqa: S310  (loopback)
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.read() == blob(layout, digest)
    NewLayoutFromRegistry(str(tmp_path / "pulled"), client, target, tag="v1")
    found = read_oci(tmp_path / "pulled", tmp_path / "back", tag="v1")
    assert found.digest == digest
    assert directory_digest(tmp_path / "back") == directory_digest(sealed)
    data = (tmp_path / "back/signatures/0.json").read_bytes()
    said = read_tree_statement(verify_bundle(data, [key.public]).statement)
    for folder in ("signatures", "attestations"):
        shutil.rmtree(tmp_path / "back" / folder)
    assert said.root == hash_tree(tmp_path / "back").root


def _manifest_request(target):
    host, _, rest = target.partition("/")
    name, _, tag = rest.rpartition(":")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    return urllib.request.Request(f"http://{host}/v2/{name}/manifests/{tag}", headers=accept)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_oras_pulls_plain_files_under_their_names(tmp_path, model, registry, client):
    from oras.layout import NewLayout

    target = f"{registry}/team/plain:latest"
    write_oci(model, tmp_path / "layout")
    NewLayout(str(tmp_path / "layout")).push_to_registry(client, target)
    files = client.pull(target=target, outdir=str(tmp_path / "pulled"))
    assert len(files) == 8
    assert directory_digest(tmp_path / "pulled") == directory_digest(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_registry_takes_the_referrers(tmp_path, sealed, registry, client):
    from oras.layout import NewLayout

    target = f"{registry}/team/signed:latest"
    layout = tmp_path / "layout"
    write_oci(sealed, layout)
    NewLayout(str(layout)).push_to_registry(client, target)
    container = client.get_container(target)
    for one in index_of(layout)["manifests"][1:]:
        referrer = json.loads(blob(layout, one["digest"]))
        for part in (referrer["config"], *referrer["layers"]):
            client.upload_blob(str(layout / "blobs/sha256" / part["digest"][7:]), container, part)
        answer = client.do_request(
            f"http://{registry}/v2/team/signed/manifests/{one['digest']}", "PUT",
            data=blob(layout, one["digest"]), headers={"Content-Type": one["mediaType"]},
        )  # fmt: skip
        assert answer.status_code == 201
        assert answer.headers["Docker-Content-Digest"] == one["digest"]


# Hostile layouts.


@pytest.fixture
def forge(tmp_path):
    """A layout of any layers; `change` edits the documents before they are written."""

    def build(layers, change=lambda index, manifest: None, name="forged"):
        layout = tmp_path / name
        (layout / "blobs/sha256").mkdir(parents=True)
        listed = []
        for data, media, annotations in layers:
            digest, size = blobs.put(layout, data)
            listed.append({"mediaType": media, "digest": digest, "size": size, "annotations": annotations})
        digest, size = blobs.put(layout, b"{}")
        manifest = {
            "schemaVersion": 2, "mediaType": kinds.MANIFEST, "artifactType": kinds.MODELPACK,
            "config": {"mediaType": kinds.MODELPACK_CONFIG, "digest": digest, "size": size}, "layers": listed,
        }  # fmt: skip
        index = {"schemaVersion": 2, "mediaType": kinds.INDEX, "manifests": []}
        change(index, manifest)
        digest, size = blobs.put(layout, json.dumps(manifest).encode())
        index["manifests"].append({"mediaType": kinds.MANIFEST, "digest": digest, "size": size})
        (layout / "index.json").write_text(json.dumps(index))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return layout

    return build


RAW = kinds.layer_type("modelpack", "weight")
TAR = kinds.layer_type("kitops", "weight")


def titled(name, data=b"x"):
    return (data, RAW, {kinds.TITLE: name})


UNSAFE = [
    "../x", "a/../../x", "/etc/passwd", "a//b", "./x", "", ".", "..", "a\\b", "a\0b", "x" * 5000, "a/" + "b" * 300, "..\\x", "a/.", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE, ids=lambda name: ascii(name)[:20])
def test_unsafe_titles_are_refused(tmp_path, forge, name):
    layout = forge([titled("good"), titled(name)])
    with pytest.raises(SealDamaged):
        read_oci(layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["forged"]


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "a"), ("é", "e\u0301"), ("x/a", "X/b")]
)
def test_two_layers_for_one_file_are_refused(tmp_path, forge, names):
    with pytest.raises(SealDamaged):
        read_oci(forge([titled(name) for name in names]), tmp_path / "out")


def tar_of(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def typed(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_an_archive_of_nothing_is_nothing(tmp_path, forge):
    assert read_oci(forge([(b"", TAR, {}), (bytes(1024), TAR, {}), titled("a")]), tmp_path / "out").files == (
        "a",
    )


def test_archives_of_other_tools_are_read(tmp_path, forge):
    """Several files, folders, a leading `./`, gzip."""
    plain = tar_of((typed("d", tarfile.DIRTYPE), b""), ("./d/a", b"1"), ("n" * 150 + "/b", b"2" * 3000))
    layout = forge([(plain, TAR, {}), (gzip.compress(tar_of(("c", b"3"))), TAR + "+gzip", {}), titled("e")])
    assert read_oci(layout, tmp_path / "out").files == ("d/a", "n" * 150 + "/b", "c", "e")
    assert (tmp_path / "out/d/a").read_bytes() == b"1"
    assert (tmp_path / "out/c").read_bytes() == b"3"


@pytest.mark.parametrize(
    "data",
    [
        tar_of(("../x", b"1")), tar_of(("/x", b"1")), tar_of(("a", b"1"), ("a", b"2")), tar_of(("a", b"1"), ("A", b"2")),
        tar_of(("a", b"1"), ("a/b", b"2")), tar_of((typed("l", tarfile.SYMTYPE, "/etc"), b"")),
        tar_of((typed("l", tarfile.LNKTYPE, "a"), b"")), tar_of((typed("f", tarfile.FIFOTYPE), b"")),
        tar_of((typed("d", tarfile.CHRTYPE), b"")), tar_of(("a", b"1" * 600))[:700], b"no archive at all" * 100,
        tar_of(("a", b"1"))[:1024] + bytes(1024) + tar_of(("hidden", b"2")),
    ],
    ids=["up", "absolute", "twice", "case", "file-folder", "link", "hard", "fifo", "device", "cut", "noise", "hidden"],
)  # fmt: skip
def test_archives_that_lie_are_refused(tmp_path, forge, data):
    with pytest.raises(SealDamaged):
        read_oci(forge([(data, TAR, {})]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_archives_that_do_not_unzip_are_refused(monkeypatch, tmp_path, forge):
    good = gzip.compress(tar_of(("a", b"1" * 100_000)))
    for place, data in enumerate((good[:-20], good[:40] + b"\xff" * 40 + good[80:], b"plain")):
        with pytest.raises(SealDamaged):
            read_oci(forge([(data, TAR + "+gzip", {})], name=f"z{place}"), tmp_path / "out")


def test_archives_that_expand_without_end_are_refused(monkeypatch, tmp_path, forge):
    """Each is within the bound, and all of them together are not."""
    layers = [(gzip.compress(tar_of((name, bytes(90_000)))), TAR + "+gzip", {}) for name in "abc"]
    most = sum(len(data) for data, _, _ in layers) * 16
    plain = len(gzip.decompress(layers[0][0]))
    monkeypatch.setattr("modelward.vault.oci.reading._BESIDE", 3 * plain - most)
    assert read_oci(forge(layers, name="small"), tmp_path / "fits").files == ("a", "b", "c")
    monkeypatch.setattr("modelward.vault.oci.reading._BESIDE", 3 * plain - most - 1)
    with pytest.raises(SealDamaged, match="layers expand to more than 16 times their size"):
        read_oci(forge(layers, name="bomb"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    empty = gzip.compress(bytes(200_000))  # the same one again and again counts as one
    with pytest.raises(SealDamaged, match="expand to more"):
        read_oci(forge([(empty, TAR + "+gzip", {})] * 5, name="again"), tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda i, m: m.update(schemaVersion=1), lambda i, m: m.pop("layers"), lambda i, m: m.pop("config"), lambda i, m: m.update(layers={}),
        lambda i, m: m["config"].update(digest="sha256:00"), lambda i, m: m["config"].update(digest="sha512:" + "0" * 128),
        lambda i, m: m["config"].update(size=-1), lambda i, m: m["config"].update(size="2"), lambda i, m: m["config"].update(mediaType="x"),
        lambda i, m: m["layers"][0].update(digest="sha256:" + "0" * 64), lambda i, m: m["layers"][0].update(annotations={}),
        lambda i, m: m["layers"][0].update(annotations={kinds.TITLE: 1}), lambda i, m: m["layers"][0].update(annotations=[]),
        lambda i, m: m["layers"][0].update(annotations={kinds.TITLE: "a", kinds.FILEPATH: "b"}),
        lambda i, m: m["layers"][0].update(mediaType="application/vnd.cncf.model.weight.v1.tar+zstd"),
        lambda i, m: m["layers"][0].update(digest="sha256:../../../../etc/passwd"), lambda i, m: i.update(schemaVersion=3),
        lambda i, m: i.update(manifests=[{"mediaType": kinds.MANIFEST, "digest": "sha256:" + "1" * 64, "size": 1}]),
    ],
)  # fmt: skip
def test_documents_that_lie_are_refused(tmp_path, forge, change):
    with pytest.raises(SealDamaged):
        read_oci(forge([titled("a")], change), tmp_path / "out")


@pytest.mark.parametrize("size", [0, 2, 10**12])
def test_a_layer_of_another_size_is_refused(tmp_path, forge, size):
    with pytest.raises(ContentChanged):
        read_oci(forge([titled("a")], lambda i, m: m["layers"][0].update(size=size)), tmp_path / "out")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_tampered_blob_is_seen(tmp_path, sealed, profile):
    layout = tmp_path / "layout"
    write_oci(sealed, layout, OciOptions(profile=profile))
    for path in sorted((layout / "blobs/sha256").iterdir()):
        before = path.read_bytes()
        for data in (before + b"x", before[:-1] + b"\x7f" if before else b"y"):
            path.write_bytes(data)
            with pytest.raises(ContentChanged):
                read_oci(layout, tmp_path / "out")
        path.unlink()
        with pytest.raises(SealDamaged, match="lacks"):
            read_oci(layout, tmp_path / "out")
        path.write_bytes(before)
    read_oci(layout, tmp_path / "out")


def test_blobs_that_are_no_files_are_refused(tmp_path, forge):
    layout = forge([titled("a", b"content")])
    path = layout / "blobs/sha256" / hashlib.sha256(b"content").hexdigest()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SealDamaged, match="not a regular file"):
        read_oci(layout, tmp_path / "out")
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"content")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SealDamaged):
        read_oci(layout, tmp_path / "out")


def test_several_artifacts_ask_for_a_tag(tmp_path, model):
    layout, other = tmp_path / "layout", tmp_path / "other"
    write_oci(model, layout, OciOptions(tag="one"))
    (model / "config.json").write_text("{}")
    write_oci(model, other, OciOptions(tag="two"))
    shutil.copytree(other / "blobs", layout / "blobs", dirs_exist_ok=True)
    index = index_of(layout)
    index["manifests"] += index_of(other)["manifests"]
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(SealDamaged, match="holds 2 artifacts"):
        read_oci(layout, tmp_path / "out")
    read_oci(layout, tmp_path / "out", tag="two")
    assert (tmp_path / "out/config.json").read_text() == "{}"
    with pytest.raises(SealDamaged, match="holds 0 artifacts"):
        read_oci(layout, tmp_path / "out2", tag="three")
    with pytest.raises(OutputUnwritable):
        read_oci(layout, tmp_path / "out", tag="one")
    read_oci(layout, tmp_path / "out", tag="one", replace=True)
    assert (tmp_path / "out/config.json").read_text() == '{"a": 1}'


def test_an_index_of_several_platforms_is_no_model(tmp_path, forge):
    layout = forge([titled("a")])
    index = index_of(layout)
    index["manifests"][0]["mediaType"] = kinds.INDEX
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(SealDamaged, match="index of several"):
        read_oci(layout, tmp_path / "out")


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"imageLayoutVersion": "2.0.0"}', b"{" * 100_000, b" " * (1 << 27)]
)
def test_documents_that_are_none_are_refused(tmp_path, forge, name, data):
    layout = forge([titled("a")])
    (layout / name).write_bytes(data)
    with pytest.raises(SealDamaged):
        read_oci(layout, tmp_path / "out")


def test_a_folder_that_is_no_layout_is_refused(tmp_path):
    with pytest.raises(SealDamaged, match="lacks oci-layout"):
        read_oci(tmp_path, tmp_path / "out")


def test_every_flipped_bit_of_the_index_is_refused_or_irrelevant(tmp_path):
    layout = tmp_path / "layout"
    (tmp_path / "one.bin").write_bytes(b"1")
    digest = write_oci(tmp_path / "one.bin", layout)
    data = (layout / "index.json").read_bytes()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1
        (layout / "index.json").write_bytes(flipped)
        try:
            assert read_oci(layout, tmp_path / "out", replace=True).digest == digest
        except SealRefused:
            continue


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_manifest_is_read_or_refused(tmp_path_factory, data):
    """Values of the right names and any types, and any bytes for archives."""
    leaf = st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["sha256:" + "0" * 64, RAW, TAR])
    value = st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=5,
    )
    tmp_path = tmp_path_factory.mktemp("any")
    content = data.draw(st.binary(max_size=1500))
    keys = st.sampled_from(
        ["schemaVersion", "mediaType", "config", "layers", "artifactType", "annotations", "subject"]
    )
    edits = data.draw(st.dictionaries(keys, value, max_size=2))
    layout = tmp_path / "l"
    (layout / "blobs/sha256").mkdir(parents=True)
    digest, size = blobs.put(layout, content)
    empty, two = blobs.put(layout, b"{}")
    layer = {"mediaType": data.draw(st.sampled_from([RAW, TAR, TAR + "+gzip"])), "digest": digest, "size": size,
             "annotations": {kinds.TITLE: data.draw(st.text(max_size=6))}}  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": kinds.EMPTY, "digest": empty, "size": two},
        "layers": [layer],
    } | edits
    digest, size = blobs.put(layout, json.dumps(manifest).encode())
    index = {"schemaVersion": 2, "manifests": [{"mediaType": kinds.MANIFEST, "digest": digest, "size": size}]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    try:
        found = read_oci(layout, tmp_path / "out")
    except SealRefused:
        assert not (tmp_path / "out").exists()
    else:
        assert all((tmp_path / "out" / name).is_file() for name in found.files)
    assert {p.name for p in tmp_path.iterdir()} <= {"l", "out"}


def test_folders_are_read_from_anywhere(monkeypatch, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    write_oci(Path("model"), Path("layout"))
    read_oci(Path("layout"), Path("back"))
    assert directory_digest(Path("back")) == directory_digest(model)


def test_an_index_of_many_small_values_does_not_fill_the_memory():
    with pytest.raises(SealDamaged, match="values"):
        blobs.read_index(b'{"manifests":[' + b"[]," * (1 << 21) + b"[]]}")
