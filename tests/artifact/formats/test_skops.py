"""skops: each kind of node by what loading does with it; every estimator that skops dumps."""

import contextlib
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.verdict import inspect_bytes
from modelward.errors import FileDamaged


def archive(node, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", json.dumps(node))
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def node(loader, path, **more):
    module, _, name = path.rpartition(".")
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def text(value):
    return node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def verdict(tree, **more):
    return inspect_bytes(
        archive({**tree, "protocol": 2, "_skops_version": "0.16"}, **more), "m.skops"
    ).verdict


EMPTY = node("ListNode", "builtins.list", content=[])
ESTIMATOR = node(
    "ObjectNode",
    "sklearn.linear_model._logistic.LogisticRegression",
    content=node(
        "DictNode",
        "builtins.dict",
        content={"C": text(1.0)},
        key_types=node("ListNode", "builtins.list", content=[node("TypeNode", "builtins.str")]),
    ),
)


@pytest.mark.parametrize("tree", [
    ESTIMATOR, EMPTY, text("a"), node("SetNode", "builtins.set", content=[]), node("TupleNode", "builtins.tuple", content=[text(1)]),
    node("FunctionNode", "numpy.mean"), node("FunctionNode", "scipy.special._ufuncs.expit"), node("FunctionNode", "sklearn.metrics._classification.accuracy_score"),
    node("TypeNode", "numpy.float64"), node("SliceNode", "builtins.slice", content={"start": 0, "stop": 1, "step": None}),
    node("PartialNode", "functools.partial", content={"func": node("FunctionNode", "numpy.mean"), "args": EMPTY, "kwds": EMPTY, "namespace": EMPTY}),
    node("MethodNode", "sklearn.linear_model._logistic.LogisticRegression", content={"func": "predict", "obj": ESTIMATOR}),
    node("OperatorFuncNode", "operator.itemgetter", attrs=node("TupleNode", "builtins.tuple", content=[text("a")])),
    node("RandomGeneratorNode", "numpy.random._generator.Generator", content={"bit_generator": {"content": {"bit_generator": text("PCG64")}}, "seed_seq": EMPTY}),
    node("RandomStateNode", "numpy.random.mtrand.RandomState", content=EMPTY), node("LossNode", "sklearn._loss._loss.CyHalfSquaredError", content=EMPTY),
    node("ConstructorFromReduceNode", "datetime.timezone", content=EMPTY), node("ObjectNode", "sklearn.neighbors._kd_tree.KDTree", content=EMPTY),
    node("DefaultDictNode", "collections.defaultdict", content={"main": EMPTY, "default_factory": node("TypeNode", "builtins.list")}),
])  # fmt: skip
def test_nodes_that_only_build(tree):
    assert verdict(tree) == "inert"


OS = "os.system"
EVIL = [
    node("FunctionNode", OS), node("FunctionNode", "builtins.function", content={"module_path": "os", "function": "system"}), node("TypeNode", "builtins.eval"),
    node("PartialNode", "functools.partial", content={"func": node("FunctionNode", OS), "args": EMPTY, "kwds": EMPTY, "namespace": EMPTY}),
    node("OperatorFuncNode", "operator.call", attrs=EMPTY), node("OperatorFuncNode", "operator.attrgetter", attrs=node("TupleNode", "builtins.tuple", content=[text("__globals__.x")])),
    node("MethodNode", "sklearn.pipeline.Pipeline", content={"func": "__reduce_ex__", "obj": ESTIMATOR}), node("ObjectNode", "subprocess.Popen", content=EMPTY),
    node("RandomGeneratorNode", "numpy.random._generator.Generator", content={"bit_generator": {"content": {"bit_generator": text("seed")}}, "seed_seq": EMPTY}),
    node("ListNode", "builtins.exec", content=[text("import os")]), node("LossNode", "os.system", content=EMPTY), node("ConstructorFromReduceNode", OS, content=EMPTY),
    node("ReduceNode", OS, content=EMPTY), node("NdArrayNode", OS, type="numpy", file="x.npy"), node("NoSuchNode", OS),
    node("DictNode", "builtins.dict", content={"id": text(1)}, key_types=node("ListNode", "builtins.list", content=[node("TypeNode", OS)])),
]  # fmt: skip


@pytest.mark.parametrize("tree", EVIL)
def test_nodes_that_run_something(tree):
    assert verdict(tree) == "dangerous"
    assert verdict({**ESTIMATOR, "deep": {"er": [tree]}}) == "dangerous"


@pytest.mark.parametrize("tree", [
    node("ObjectNode", "mypkg.Net", content=EMPTY), node("FunctionNode", "mypkg.f"), node("ListNode", "mypkg.List", content=[]), node("TypeNode", "mypkg.Net"),
    node("LossNode", "sklearn._loss._loss.Other", content=EMPTY), node("ConstructorFromReduceNode", "mypkg.Net", content=EMPTY), node("NoSuchNode", "builtins.str"),
    node("MethodNode", "mypkg.Net", content={"func": "run", "obj": EMPTY}), node("NdArrayNode", "mypkg.Array", type="numpy", file="x.npy"),
    node("DictNode", "mypkg.Dict", content={}, key_types=EMPTY), node("RandomStateNode", "mypkg.State", content=EMPTY),
    node("DictNode", "builtins.dict", content={}, key_types=node("ListNode", "builtins.list", content=[node("TypeNode", "sklearn.svm._classes.SVC")])),
])  # fmt: skip
def test_names_that_are_not_known(tree):
    assert verdict(tree) == "unproven"


@pytest.mark.parametrize("protocol", [3, -1, True, "2"])
def test_other_protocols_are_unproven(protocol):
    assert inspect_bytes(archive({**ESTIMATOR, "protocol": protocol}), "m").verdict == "unproven"


def test_members_are_read_and_missing_ones_named():
    pickled = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
    array = node("NdArrayNode", "numpy.ndarray", type="numpy", file="x.npy")
    report = inspect_bytes(archive(array), "m")
    assert (report.verdict, report.findings[0].rule) == ("inert", "skops.missing")
    assert verdict(array, x_npy=pickled) == "dangerous"


def test_both_of_two_schemas_are_judged():
    for pair in ((ESTIMATOR, EVIL[0]), (EVIL[0], ESTIMATOR)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("schema.json", json.dumps(pair[0]))
            with pytest.warns(UserWarning, match="Duplicate"):
                file.writestr("schema.json", json.dumps(pair[1]))
        assert inspect_bytes(buffer.getvalue(), "m").verdict == "dangerous"


@pytest.mark.parametrize("content", [b"{", b"[]", b"1", b"\xff", b'{"a":' * 5000])
def test_damaged_schemas_are_unproven(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", content)
    report = inspect_bytes(buffer.getvalue(), "m")
    assert (report.format, report.verdict) == ("skops", "unproven")


@pytest.mark.filterwarnings("ignore")
def test_every_estimator_that_skops_dumps_is_inert():
    skops = pytest.importorskip("skops.io", reason="the library that writes these files")
    np = pytest.importorskip("numpy")
    from sklearn.utils import all_estimators

    X = np.random.default_rng(0).random((30, 4))
    y, seen = (X[:, 0] > 0.5).astype(int), 0
    for name, kind in all_estimators():
        try:
            estimator = kind()
        except TypeError:
            continue
        if "n_estimators" in estimator.get_params():
            estimator.set_params(n_estimators=2)
        if any(
            word in name
            for word in (
                "Tree",
                "Forest",
                "Boosting",
                "KNeighbors",
                "Scaler",
                "SVC",
                "PCA",
                "Gaussian",
                "Isotonic",
            )
        ):
            with contextlib.suppress(ValueError):
                estimator.fit(X, y)
        try:
            data = skops.dumps(estimator)
        except (TypeError, ValueError, AttributeError, skops.exceptions.UnsupportedTypeException):
            continue  # what skops cannot write is no file
        seen += 1
        assert (name, inspect_bytes(data, name).verdict) == (name, "inert")
    assert seen >= 150


TREES = st.recursive(st.one_of(st.none(), st.integers(), st.text(max_size=8)), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["__class__", "__module__", "__loader__", "content", "func", "obj", "attrs", "key_types", "file"]), inner, max_size=5),
), max_leaves=12)  # fmt: skip


@given(
    TREES,
    st.sampled_from(["MethodNode", "OperatorFuncNode", "RandomGeneratorNode", "DictNode", "FunctionNode"]),
)
def test_any_tree_gives_a_verdict(tree, loader):
    report = inspect_bytes(
        archive(
            {
                "__loader__": loader,
                "__module__": "a",
                "__class__": "b",
                "content": tree,
                "attrs": tree,
                "key_types": tree,
            }
        ),
        "m",
    )
    assert report.verdict in {"inert", "unproven", "dangerous"}


@given(st.binary(max_size=300))
def test_any_bytes_give_a_verdict(content):
    with contextlib.suppress(FileDamaged):
        inspect_bytes(archive(ESTIMATOR)[:-22] + content, "m")
