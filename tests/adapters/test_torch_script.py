"""TorchScript and torch.export files: asked in the sandbox after an inert verdict, refused otherwise."""

from __future__ import annotations

import sys
import warnings
import zipfile

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.examine import examine
from modelward.adapters.loading import load_runtime
from modelward.adapters.opening import ModelOptions, open_file
from modelward.adapters.outputs import OutputOptions
from modelward.adapters.runtime import RuntimeSpec
from modelward.core.model import Differentiable, Probeable
from modelward.errors import FileDamaged, ModelRaised, ShapeMismatch, UnsafeArtifact

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - after the skip, so that a missing extra skips

sandboxed = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Dropout(0.9), nn.Linear(8, 3)).eval()


class Two(nn.Module):
    def forward(self, a, b):
        return a + b


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Reader(nn.Module):
    """Maps a file of the machine into memory when it is asked."""

    def forward(self, x):
        return x + torch.from_file("/etc/passwd", False, 4, dtype=torch.uint8).sum()


def export(module, path, *, free=True, example=None):
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if free else {}
    x = torch.randn(2, 4) if example is None else example
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of parts of itself
        torch.export.save(torch.export.export(module, (x,), **shapes), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The network in every form, what only resembles it, and 40 rows of data with the network's own labels."""
    path = tmp_path_factory.mktemp("programs")
    made = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is being replaced; its files stay
        torch.jit.script(made).save(path / "script.pt")
        torch.jit.trace(made, torch.randn(2, 4)).save(path / "trace.pt")
        torch.jit.script(made.double()).save(path / "double.pt")
        torch.jit.script(Two()).save(path / "two.pt")
        torch.jit.script(Pair()).save(path / "pair.pt")
        torch.jit.script(Reader()).save(path / "reader.pt")
    made = network()
    export(made, path / "free.pt2")
    export(made, path / "fixed.pt2", free=False)
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    with torch.no_grad():
        np.savez(path / "data.npz", x=x, y=made(torch.from_numpy(x)).argmax(1).numpy())
    return path


def opened(folder, name):
    path = folder / name
    data = open_data(folder / "data.npz", DataOptions())
    return open_file(path, examine(path), data, None, ModelOptions(outputs=OutputOptions(outputs="logits")))


def local(path):
    """The runtime in this very process, which only a test's own file may meet."""
    found = examine(path)
    return load_runtime(RuntimeSpec(path=str(path), format=found.report.format, digest=found.digest))


@sandboxed
@pytest.mark.parametrize("name", ["script.pt", "trace.pt", "double.pt", "free.pt2", "fixed.pt2"])
def test_programs_answer_from_the_sandbox(folder, name):
    found = opened(folder, name)
    x = np.array(found.data.x, dtype=np.float32)
    with torch.no_grad():
        expected = network()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found.model.scores(x), expected, rtol=1e-5, atol=1e-6)
    for rows in (1, 3):
        np.testing.assert_allclose(found.model.scores(x[:rows]), expected[:rows], rtol=1e-5, atol=1e-6)
    assert isinstance(found.model, Probeable)
    assert not isinstance(found.model, Differentiable)
    assert "have no gradients" in found.absent["gradients"]
    with found.model.probe(10) as probe:
        assert probe.ask(x[:2]).kind == "answered"
        assert probe.ask(x[:2, :3]).kind == "raised"
        assert probe.ask(x[:2]).kind == "answered"


def test_what_a_program_says_of_its_input(folder):
    free, script = local(folder / "free.pt2").facts, local(folder / "script.pt").facts
    assert (free.shape, free.n_features, free.whole) == ((4,), 4, False)
    assert (script.shape, script.n_features) == (None, None)


def test_images_and_whole_numbers(tmp_path):
    export(nn.Flatten(), tmp_path / "images.pt2", example=torch.randn(2, 3, 5, 6))
    export(nn.Flatten(), tmp_path / "ids.pt2", example=torch.zeros(2, 7, dtype=torch.int64))
    images, ids = local(tmp_path / "images.pt2"), local(tmp_path / "ids.pt2")
    assert (images.facts.shape, images.facts.n_features, images.facts.whole) == ((3, 5, 6), None, False)
    assert (ids.facts.shape, ids.facts.whole) == ((7,), True)
    assert ids.raw(np.ones((3, 7))).dtype == np.int64


def test_more_rows_than_one_call_takes(folder):
    x = np.random.default_rng(3).normal(size=(2500, 4))
    with torch.no_grad():
        expected = network()(torch.from_numpy(x).float()).numpy()
    for name in ("script.pt", "fixed.pt2"):
        np.testing.assert_allclose(local(folder / name).raw(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (np.array(3.0), "a batch of samples"),
        (np.array([["a", "b"]]), "numbers, not"),
        (1j * np.ones((2, 4)), "not"),
    ],
)
def test_what_is_no_batch_of_numbers(folder, x, why):
    with pytest.raises(ModelRaised, match=why):
        local(folder / "script.pt").raw(x)


def test_programs_of_another_kind(folder, tmp_path):
    with pytest.raises(ShapeMismatch, match="takes 2 inputs"):
        local(folder / "two.pt")
    with pytest.raises(ModelRaised, match="a tuple, not one tensor"):
        local(folder / "pair.pt").raw(np.ones((2, 4)))
    x = torch.randn(2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Two(), (x, x)), tmp_path / "two.pt2")
    with pytest.raises(ShapeMismatch, match="takes 2 inputs"):
        local(tmp_path / "two.pt2")


def rewritten(source, target, member, content):
    """A copy of an archive with one member's bytes replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = [name for name in old.namelist() if name.endswith(member)]
        assert names
        for info in old.infolist():
            new.writestr(info, content if info.filename in names else old.read(info))
    return target


@pytest.mark.parametrize(
    ("source", "member"), [("script.pt", "data.pkl"), ("script.pt", "constants.pkl"), ("free.pt2", ".pt")]
)
def test_a_payload_is_refused_before_anything_is_loaded(folder, tmp_path, monkeypatch, source, member):
    canary = tmp_path / "canary"
    payload = b"cos\nsystem\n(V" + f"touch {canary}".encode() + b"\ntR."
    path = rewritten(folder / source, tmp_path / source, member, payload)
    monkeypatch.setattr("modelward.adapters.remote.RemoteRuntime", never)
    found = open_file(
        path, examine(path), open_data(folder / "data.npz", DataOptions()), None, ModelOptions()
    )
    assert found.model is None
    assert "was not opened" in found.absent["model"]
    assert "would run a payload" in found.absent["model"]
    assert not canary.exists()


def never(*_given):
    raise AssertionError("it was loaded")


def test_an_operator_that_reads_files_is_not_asked(folder, monkeypatch):
    monkeypatch.setattr("modelward.adapters.remote.RemoteRuntime", never)
    found = opened(folder, "reader.pt")
    assert found.model is None
    assert "unproven, not proven inert" in found.absent["model"]


@sandboxed
def test_the_lock_holds_where_the_verdict_would_not(folder):
    """Were the scan blind to it: the process that runs it cannot read the machine's files."""
    from modelward.adapters.remote import RemoteRuntime

    path = folder / "reader.pt"
    spec = RuntimeSpec(path=str(path), format="torchscript", digest=examine(path).digest)
    runtime = RemoteRuntime(spec)
    with pytest.raises(ModelRaised):
        runtime.raw(np.ones((2, 4), dtype=np.float32))
    runtime.close()


@pytest.mark.parametrize("name", ["script.pt", "free.pt2"])
def test_a_file_that_changed_after_its_inspection_is_refused(folder, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((folder / name).read_bytes())
    found = examine(path)
    path.write_bytes((folder / "trace.pt").read_bytes())
    with pytest.raises(UnsafeArtifact, match="not the file that was inspected"):
        load_runtime(RuntimeSpec(path=str(path), format=found.report.format, digest=found.digest))


@pytest.mark.parametrize(("name", "format_"), [("script.pt", "torchscript"), ("free.pt2", "torch-export")])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_cut_short_is_damaged(folder, tmp_path, name, format_, share):
    whole = (folder / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(share * len(whole))])
    import hashlib

    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(FileDamaged, match="torch cannot open it"):
        load_runtime(RuntimeSpec(path=str(path), format=format_, digest=digest))
