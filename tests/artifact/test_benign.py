"""What real libraries write must be inert: a scanner that cries wolf is switched off."""

import importlib.util
import io
import pickle
import sys
import warnings
from pathlib import Path

import pytest

from modelward.artifact.pickle import closures, rules
from modelward.artifact.pickle.streams import scan
from modelward.artifact.verdict import inspect, inspect_bytes

np = pytest.importorskip("numpy")
TOOLS = Path(__file__).parents[2] / "tools"
EXPECTED_UNPROVEN = {"scipy cKDTree", "scipy KDTree", "metric get_scorer"}
"""Left out on purpose, with the reason in tools/allowlist_reviewed.py; Lazy modules keep a bound method."""


@pytest.fixture(scope="module")
def corpus():
    spec = importlib.util.spec_from_file_location("allowlist_corpus", TOOLS / "allowlist_corpus.py")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
        yield module


def verdicts(source, protocols):
    seen, bad = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, value in source():
            if what in EXPECTED_UNPROVEN or what.startswith("module Lazy"):
                continue
            for protocol in protocols:
                try:
                    data = pickle.dumps(value, protocol)
                except (TypeError, ValueError, pickle.PicklingError, AttributeError):
                    continue
                seen += 1
                result = scan(data)
                if result.events or result.streams != 1 or result.unread:
                    bad.append((what, protocol, [event.message for event in result.events]))
    assert bad == []
    return seen


@pytest.mark.parametrize(("source", "library", "least"), [
    ("standard", "numpy", 300), ("arrays", "numpy", 900), ("scientific", "scipy", 500), ("frames", "pandas", 200), ("modules", "torch", 150),
])  # fmt: skip
def test_values_of_libraries_are_inert_in_every_protocol(corpus, source, library, least):
    pytest.importorskip(library)
    assert verdicts(getattr(corpus, source), (2, 5) if source == "modules" else range(6)) >= least


def test_every_scikit_learn_estimator_is_inert(corpus):
    pytest.importorskip("sklearn")
    assert verdicts(corpus.estimators, (2, 5)) >= 900


def test_boosted_trees_are_inert(corpus):
    pytest.importorskip("xgboost")
    pytest.importorskip("lightgbm")
    assert verdicts(corpus.boosted, (0, 2, 5)) >= 40


@pytest.fixture(scope="module")
def forest():
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = np.random.default_rng(0).random((60, 4))
    return make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, X[:, 0] > 0.5)


@pytest.mark.parametrize("compress", [0, 1, 9, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_joblib_in_every_compression(forest, compress, tmp_path):
    joblib = pytest.importorskip("joblib")
    path = tmp_path / "renamed.csv"
    joblib.dump(forest, path, compress=compress)
    report = inspect(path)
    assert report.verdict == "inert"
    assert report.format == ("joblib" if compress == 0 else "joblib-compressed")
    assert report.coverage.arrays > 20
    assert report.coverage.unread == ()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_joblib_in_every_protocol_and_with_objects(protocol, level):
    joblib = pytest.importorskip("joblib")
    values = [np.arange(5), np.array([{"a": 1}, None], object), np.ones((0, 3)), np.asfortranarray(np.ones((3, 4))), np.array(["a", "bc"]),
              np.zeros(2, [("a", "f4"), ("b", object)]), np.array(["2020-01-01"], "M8[D]"), np.float32(3)]  # fmt: skip
    buffer = io.BytesIO()
    joblib.dump({"values": values, "alpha": 1, "beta": "x"}, buffer, protocol=protocol)
    result = scan(buffer.getvalue(), joblib=True)
    assert {event.level for event in result.events} <= {"note"}
    assert (result.streams, result.unread) == (1, 0)
    assert result.arrays == 7


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.BatchNorm2d(2),
        torch.nn.ReLU(),
        torch.nn.Linear(2, 2),
        torch.nn.LSTM(2, 2),
    )
    checkpoint = {
        "model": net.state_dict(),
        "optimiser": torch.optim.Adam(net.parameters()).state_dict(),
        "epoch": 3,
        "loss": 0.5,
    }
    for value in (
        net.state_dict(),
        net,
        checkpoint,
        torch.ones(2),
        [torch.ones(2, dtype=torch.bfloat16)],
        torch.eye(3).to_sparse(),
    ):
        for new in (True, False):
            path = tmp_path / "model.bin"
            torch.save(value, path, _use_new_zipfile_serialization=new)
            report = inspect(path)
            assert (report.verdict, report.format) == ("inert", "torch-zip" if new else "torch-legacy"), (
                report.findings
            )


def test_a_folder_of_torch_distributed_checkpoint_is_inert(tmp_path):
    torch = pytest.importorskip("torch")
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    net = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = {"model": net.state_dict(), "optimiser": optimiser.state_dict(), "step": 3, "name": "run"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.save(state, checkpoint_id=tmp_path)
    assert {path.name: inspect(path).verdict for path in tmp_path.iterdir()} == {
        ".metadata": "inert",
        "__0_0.distcp": "inert",
    }


def test_tensors_inside_an_ordinary_pickle():
    torch = pytest.importorskip("torch")
    for protocol in range(6):
        report = inspect_bytes(pickle.dumps({"weights": torch.ones(3)}, protocol), "x")
        assert report.verdict == "inert", report.findings
        assert report.coverage.streams > 1


def test_arrays_on_disk(tmp_path):
    np.save(tmp_path / "a", np.ones(3))
    np.save(tmp_path / "b", np.array([{}, 1], object), allow_pickle=True)
    np.savez(tmp_path / "c", x=np.ones(3), y=np.array(["a", 2], object))
    np.savez_compressed(tmp_path / "d", x=np.ones(3))
    found = {
        path.name: (report.format, report.verdict)
        for path in sorted(tmp_path.iterdir())
        for report in [inspect(path)]
    }
    assert found == {
        "a.npy": ("npy", None),
        "b.npy": ("npy", "inert"),
        "c.npz": ("npz", "inert"),
        "d.npz": ("npz", None),
    }


def test_old_module_paths_are_allowed():
    for module, name in (("sklearn.ensemble.forest", "RandomForestClassifier"), ("numpy.core.multiarray", "_reconstruct"),
                         ("sklearn.tree.tree", "DecisionTreeClassifier"), ("scipy.sparse.csr", "csr_matrix"), ("numpy.core.multiarray", "scalar")):  # fmt: skip
        assert rules.find(module, name) is not None


def test_the_two_lists_agree():
    """No automatic entry is also on the list of payloads: what is on both was reviewed by hand."""
    both = {
        f"{module}.{name}"
        for module in rules.allowlist().modules
        for name, entry in rules.names(module).items()
        if entry.kind != "enum"
        and module != "ast"
        and f"{module}.{name}" not in closures.SPECIAL
        and rules.payload(module, name)
    }
    assert both <= {f"torch.jit._pickle.{name}" for name in (
        "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "build_tensor_from_id", "restore_type_tag")} | {
        "functools.reduce", "_functools.reduce", "operator.attrgetter", "operator.methodcaller", "joblib.memory.Memory",
        "http.cookies.SimpleCookie", "http.cookies.Morsel", "numba.core.serialize.custom_rebuild", "numba.core.registry.CPUDispatcher", "builtins.__dict__", "dill._dill", "inspect.Signature", "inspect.Parameter", "inspect._empty", "string.Formatter", "os.stat_result", *(f"{module}.{name}" for module in closures.CLOUDPICKLE for name in (
            "_make_dict_keys", "_gen_ellipsis", "_gen_not_implemented", "_get_dataclass_field_type_sentinel", "_make_typevar"))}  # fmt: skip


def test_every_schema_is_well_formed():
    words = {
        "none",
        "bool",
        "int",
        "float",
        "str",
        "bytes",
        "const",
        "list",
        "tuple",
        "dict",
        "set",
        "plain",
        "data",
        "class",
        "pure",
        "factory",
        "any",
        "value",
        "@raw",
        "@dict",
        "@keys",
        "@pairs",
        "@zone",
        "@empty",
        "@crs",
        "@values",
        "hint",
        "function",
    }
    for module in rules.allowlist().modules:
        for name, entry in rules.names(module).items():
            assert entry.kind in {"class", "function", "value", "enum"}, (module, name)
            for pattern in [
                part for schemas in (entry.call, entry.new) for schema in schemas or () for part in schema
            ]:
                for choice in pattern.rstrip("?*").split("|"):
                    assert choice in words or choice[0] in "=#'", (module, name, choice)


def test_nothing_scanned_is_imported():
    code = "import sys\nfrom modelward.artifact.verdict import inspect_bytes\nr = inspect_bytes(bytes.fromhex(sys.argv[1]), 'x')\nprint(r.verdict, sorted(m for m in ('colorsys', 'numpy', 'torch') if m in sys.modules))"
    import subprocess

    data = b"\x80\x04\x8c\x08colorsys\x8c\x0argb_to_hsv\x93\x8c\x05numpy\x8c\x07ndarray\x93\x86."
    done = subprocess.run(
        [sys.executable, "-c", code, data.hex()], capture_output=True, text=True, check=True
    )
    assert done.stdout == "unproven []\n"
