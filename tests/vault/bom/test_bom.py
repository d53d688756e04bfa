import hashlib
import io
import json
import pickle
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.artifact.verdict import ArtifactReport, Coverage
from modelward.errors import DocumentInvalid, ExtraMissing, FileMissing
from modelward.vault.bom.cyclonedx import cyclonedx, validate
from modelward.vault.bom.inventory import Entry, Inventory, Package, Stated, take
from modelward.vault.bom.spdx import spdx
from modelward.verbs.bom import BomOptions, bom
from modelward.verbs.talk import Talk

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    root = tmp_path / "fraud"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "index").write_bytes(b"DIRC")
    (root / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    (root / "sub" / "note.txt").write_text("A note.\n")
    np.savez(root / "train.npz", x=np.zeros(3))
    return root


def parts(document):
    return {part["name"]: part for part in json.loads(document)["components"]}


def test_every_file_is_listed_with_its_digest(folder):
    document = bom(folder)
    found = parts(document)
    assert set(found) == {"model.pkl", "sub/note.txt", "train.npz"}
    for name, part in found.items():
        (digest,) = part["hashes"]
        assert digest == {
            "alg": "SHA-256",
            "content": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
    assert [found[name]["type"] for name in sorted(found)] == ["machine-learning-model", "file", "data"]
    assert {"name": "modelward:load-verdict", "value": "inert"} in found["model.pkl"]["properties"]
    assert "modelCard" in found["model.pkl"]
    assert found["train.npz"]["data"] == [{"type": "dataset", "name": "train.npz"}]


def test_it_tells_how_far_inspecting_and_hashing_are(folder):
    """Of the training data, of the folder, and of every file that is listed."""
    told = []
    talk = Talk(progress=lambda done, total: told.append((done, total)))
    bom(folder, BomOptions(data=(folder / "train.npz",)), talk)
    training = (folder / "train.npz").stat().st_size
    whole = sum((folder / name).stat().st_size for name in ("model.pkl", "sub/note.txt", "train.npz"))
    assert [total for done, total in told if done == total] == [training, whole, whole]


def test_the_same_content_gives_the_same_document(folder):
    assert bom(folder) == bom(folder)
    assert bom(folder, BomOptions(form="spdx")) == bom(folder, BomOptions(form="spdx"))
    before = json.loads(bom(folder))["serialNumber"]
    (folder / "sub" / "note.txt").write_text("Another.\n")
    assert json.loads(bom(folder))["serialNumber"] != before


def test_training_data_outside_and_inside(folder, tmp_path):
    outside = tmp_path / "more.npy"
    np.save(outside, np.zeros(2))
    options = BomOptions(
        data=(outside, folder / "train.npz"), version="2.1", supplier="Example Ltd", name="scores"
    )
    content = json.loads(bom(folder, options))
    assert content["metadata"]["component"]["name"] == "scores"
    assert content["metadata"]["component"]["version"] == "2.1"
    assert content["metadata"]["component"]["supplier"] == {"name": "Example Ltd"}
    (model,) = [part for part in content["components"] if part["name"] == "model.pkl"]
    refs = {item["ref"] for item in model["modelCard"]["modelParameters"]["datasets"]}
    assert refs == {"training:more.npy", "training:train.npz"}
    (needs,) = [d["dependsOn"] for d in content["dependencies"] if d["ref"] == "file:model.pkl"]
    assert set(needs) == refs
    assert sum(part["name"] == "train.npz" for part in content["components"]) == 1


def test_a_single_file(folder):
    assert set(parts(bom(folder / "model.pkl"))) == {"model.pkl"}


def report(path, facts, form="requirements"):
    return ArtifactReport(str(path), form, None, Coverage(1, 0, 0, 0, ()), (), (), facts)


def test_what_files_say_about_packages_licences_and_data(tmp_path):
    (tmp_path / "requirements.txt").write_text("x")
    (tmp_path / "README.md").write_text("x")
    facts = {
        "packages": [
            {"name": "Scikit_Learn", "version": "1.7.2", "hashes": ["sha256:" + "a" * 64, "md5:x"]},
            {"name": "torch", "version": None},
            {"name": "bad name\n", "version": "1"},
            "nonsense",
        ]
    }
    card = {"licence": "apache-2.0", "datasets": ["imdb", 3], "version": "4"}
    reports = [
        report(tmp_path / "requirements.txt", facts),
        report(tmp_path / "README.md", card, "model-card"),
    ]
    found = take(tmp_path, reports, (), Stated())
    assert found.packages == (
        Package("scikit-learn", "1.7.2", ("a" * 64,), "requirements.txt"),
        Package("torch", "", (), "requirements.txt"),
    )
    assert (found.licences, found.datasets, found.version) == (("apache-2.0",), ("imdb",), "4")
    document = cyclonedx(found, version="1", at=AT)
    libraries = [part for part in json.loads(document)["components"] if part["type"] == "library"]
    assert [part["purl"] for part in libraries] == ["pkg:pypi/scikit-learn@1.7.2", "pkg:pypi/torch"]
    assert "Apache-2.0" in json.dumps(json.loads(document)["metadata"]["component"]["licenses"])


def test_spdx_can_be_read_back(folder):
    from spdx_python_model import v3_0_1 as model

    document = bom(folder, BomOptions(form="spdx", data=(folder / "train.npz",), supplier="Example Ltd"))
    objects = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(document), objects)
    (package,) = objects.foreach_type(model.ai_AIPackage)
    (dataset,) = objects.foreach_type(model.dataset_DatasetPackage)
    assert (package.name, dataset.name) == ("model.pkl", "train.npz")
    assert (
        package.verifiedUsing[0].hashValue == hashlib.sha256((folder / "model.pkl").read_bytes()).hexdigest()
    )
    (trained,) = [
        relation
        for relation in objects.foreach_type(model.Relationship)
        if relation.relationshipType == model.RelationshipType.trainedOn
    ]
    assert trained.from_ is package
    assert list(trained.to) == [dataset]
    for required in ("suppliedBy", "releaseTime", "software_downloadLocation", "software_packageVersion"):
        assert getattr(package, required), required


words = st.text(min_size=1, max_size=30)
entries = st.builds(
    Entry,
    name=words,
    kind=st.sampled_from(["model", "data", "file"]),
    format=words,
    verdict=st.sampled_from(["inert", "dangerous", "unproven", None]),
    size=st.integers(0, 2**53),
    sha256=st.just("0" * 64),
    facts=st.dictionaries(
        st.sampled_from(["licence", "framework", "inputs", "dtypes", "tensors", "x"]),
        st.one_of(words, st.integers(-9, 9), st.lists(words, max_size=2), st.dictionaries(words, st.integers(), max_size=2)),
    ),
    findings=st.dictionaries(st.sampled_from(["high", "low"]), st.integers(0, 9)),
    training=st.booleans(),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(entries, max_size=3, unique_by=lambda entry: (entry.training, entry.name)),
    words, st.lists(words, max_size=3, unique=True),
)  # fmt: skip
def test_whatever_files_say_the_documents_are_valid(found, name, licences):
    """`cyclonedx` raises when the official schema refuses its document."""
    inventory = Inventory(
        name=name,
        version="",
        supplier="",
        entries=tuple(found),
        packages=(),
        licences=tuple(licences),
        datasets=(),
    )
    cyclonedx(inventory, version="1", at=AT)
    assert json.loads(spdx(inventory, version="1", at=AT))["@graph"]


def test_what_is_not_valid_is_refused():
    with pytest.raises(DocumentInvalid, match="no valid CycloneDX"):
        validate(b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "model"}]}')


@pytest.mark.parametrize(
    ("form", "module"), [("cyclonedx", "cyclonedx.schema"), ("spdx", "spdx_python_model")]
)
def test_without_the_extra_one_sentence_names_it(folder, monkeypatch, form, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing) as caught:
        bom(folder, BomOptions(form=form))
    assert "modelward[bom]" in caught.value.advice


def test_nothing_to_list(tmp_path):
    with pytest.raises(FileMissing):
        bom(tmp_path / "absent")
    with pytest.raises(FileMissing):
        bom(tmp_path)
