"""Keras configurations: every injection is found, and what Keras itself writes is harmless."""

import base64
import importlib.util
import io
import json
import marshal
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import keras_code
from modelward.artifact.formats.keras import judge, known, plain, read_text
from modelward.artifact.formats.keras_json import looks_like_config
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect, inspect_bytes


def judged(config, **options):
    reading = Reading()
    judge(config, reading, "config", **options)
    return reading


def level(config, **options):
    levels = {event.level for event in judged(config, **options).events}
    return next((name for name in ("dangerous", "unproven") if name in levels), "inert")


def layer(name, module="keras.layers", registered=None, /, **config):
    return {"class_name": name, "module": module, "registered_name": registered, "config": config}


def function(name, module="builtins", registered=None):
    found = registered or name
    return {"class_name": "function", "config": name, "module": module, "registered_name": found}


def sequential(*layers):
    return {
        "class_name": "Sequential",
        "module": "keras",
        "registered_name": "Sequential",
        "config": {"name": "s", "layers": list(layers)},
    }


def compiled(source):
    """The code of the first function in an expression."""
    return next(item for item in compile(source, "<config>", "eval").co_consts if hasattr(item, "co_names"))


def marshalled(source):
    return base64.encodebytes(marshal.dumps(compiled(source))).decode()


def archive(config, **members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("config.json", config if isinstance(config, str | bytes) else json.dumps(config))
        file.writestr("metadata.json", '{"keras_version": "3.5.0", "date_saved": "2024-01-01@00:00:00"}')
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return out.getvalue()


# --- what Keras writes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    missing = [name for name in ("h5py", "keras", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"Keras writes the files, and {', '.join(missing)} is not installed")
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("write_keras.py")
    environment = os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(folder)], check=True, env=environment, timeout=300)
    return folder


@pytest.mark.parametrize("ending", [".keras", ".h5", ".weights.h5", ".json"])
def test_models_of_every_family_are_inert(written, ending):
    paths = [path for path in written.glob(f"*{ending}") if ending != ".h5" or ".weights" not in path.name]
    assert len(paths) >= 30
    reports = {path.name: inspect(path) for path in paths}
    assert {name: report.findings for name, report in reports.items() if report.verdict != "inert"} == {}
    kinds = {".keras": "keras", ".json": "model-json"}
    assert {report.format for report in reports.values()} == {kinds.get(ending, "hdf5")}


def test_facts_of_a_model(written):
    facts = inspect(written / "conv.keras").facts
    assert facts["framework"].startswith("keras 3.")
    assert {"Conv2D", "MaxPooling2D", "SeparableConv2D"} <= set(facts["operators"])
    assert facts["layers"] > 7
    old = inspect(written / "dense.h5").facts
    assert old["framework"].startswith("keras 3.")
    assert old["tensors"] == 10
    assert old["parameters"] == 4 * 8 + 8 + 4 * 8 + 2 * 8 + 8 * 3 + 3
    assert old["dtypes"] == {"float32": 10}


def test_lambdas_that_keras_writes(written):
    found = {path.name: inspect(path) for path in (written / "lambda").iterdir()}
    assert {name: report.verdict for name, report in found.items()} == {
        "computes.keras": "unproven", "computes.h5": "unproven", "imports.keras": "dangerous", "imports.h5": "dangerous",
    }  # fmt: skip
    assert any("ignores safe_mode" in finding.message for finding in found["imports.h5"].findings)
    assert any("__import__" in str(finding.call) for finding in found["imports.keras"].findings)


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "exec"), ("subprocess", "Popen"), ("shutil", "rmtree"),
     ("pickle", "loads"), ("importlib", "import_module"), ("runpy", "run_path"), ("pip._internal", "main"), ("heapq", "nsmallest"),
     ("test.support", "run"), ("ctypes", "CDLL"), ("timeit", "timeit"), ("code", "interact"), ("antigravity", "x"), ("pydoc", "pipepager"),
     ("torch.hub", "load"), ("torch", "load"), ("numpy", "load")],
)  # fmt: skip
def test_modules_that_no_model_needs(module, name):
    for config in (function(name, module), layer(name, module)):
        wanted = {"dangerous"} if module not in {"torch", "torch.hub", "numpy"} else {"dangerous", "unproven"}
        assert level(sequential(config)) in wanted
        assert level({"class_name": "Dense", "config": {"activation": {"deep": [[config]]}}}) in wanted


@pytest.mark.parametrize("place", ["config", "build_config", "compile_config"])
def test_injections_anywhere_in_an_object(place):
    model = sequential(layer("Dense", units=1))
    model[place] = {**(model["config"] if place == "config" else {}), "x": {"y": function("system", "os")}}
    reading = judged(model)
    assert [event.call for event in reading.events if event.level == "dangerous"] == ["os.system"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.src.utils.python_utils", "func_load"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.saving", "load_model"),
        ("keras.models", "load_model"),
        ("keras.src.models.model", "model_from_json"),
        ("keras.utils", "image_dataset_from_directory"),
        ("keras.preprocessing.image", "save_img"),
        ("keras.src.saving.serialization_lib", "deserialize_keras_object"),
        ("keras.src.backend.common.global_state", "set_global_attribute"),
        ("tf_keras.utils", "get_file"),
        ("tensorflow.keras.utils", "get_file"),
        ("tensorflow.python.keras.utils.data_utils", "get_file"),
        ("keras.legacy.saving", "deserialize_keras_object"),
        ("keras.callbacks", "CSVLogger"),
        ("keras.applications", "ResNet50"),
        ("keras.layers", "deserialize"),
        ("keras.src.losses", "deserialize"),
    ],
)
@pytest.mark.parametrize("kind", ["function", "class"])
def test_parts_of_keras_that_are_no_model(module, name, kind):
    config = function(name, module) if kind == "function" else layer(name, module)
    assert level(layer("Lambda", function=config)) == "dangerous"


@pytest.mark.parametrize(
    "config",
    [
        function("relu"),
        function("relu", registered="function"),
        function("relu", "keras.activations"),
        function("mean_squared_error", "keras.losses"),
        function("add", "keras.ops"),
        function("HeNormal", "keras.initializers"),
        layer("Dense"),
        layer("Dense", "keras.src.layers.core.dense", "Dense"),
        layer("Dense", "tf_keras.layers"),
        layer("Dense", "tensorflow.keras.layers"),
        layer("Functional", "keras.src.engine.functional", "Functional"),
        layer("Functional", "keras.src.models.functional", "Functional"),
        layer("Adam", "keras.src.backend.torch.optimizers.torch_adam", "Adam"),
        layer("Adam", "keras.src.backend.tensorflow.optimizer", "Adam"),
        layer("Add", "keras.src.ops.numpy", "Add"),
        layer("GetItem", "keras.src.ops.numpy", "GetItem"),
        layer("DTypePolicy", "keras", None, name="mixed_float16"),
        layer("FeatureSpace", "keras.utils"),
        layer("CompileMetrics", "keras.src.trainers.compile_utils", "CompileMetrics"),
        layer("StringLookup", vocabulary=["a", "b"]),
        layer("TextVectorization", vocabulary=None),
        {"class_name": "BatchNormalizationV1", "config": {}},
        {"class_name": "Custom>Adam", "config": {"learning_rate": 0.1}},
        layer("SGD", "keras.optimizers", "Custom>SGD"),
        {"class_name": "Merge", "config": {"layers": [{"class_name": "Convolution2D", "config": {}}]}},
        {"class_name": "TensorShape", "items": [None, 3]},
        {"class_name": "__tuple__", "items": [1]},
        {"class_name": "__keras_tensor__", "config": {"shape": [1], "dtype": "float32", "keras_history": ["a", 0, 0]}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "math.multiply"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "expand_dims"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "compat.v1.nn.relu"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "raw_ops.Mul"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "keras.backend.mean"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "debugging.assert_equal"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "__operators__.add"}},
        {"class_name": "SlicingOpLambda", "config": {"name": "x", "function": "__operators__.getitem"}},
        {"class_name": "TensorFlowOpLayer", "config": {"node_def": '{"name": "x", "op": "Mul", "input": []}'}},
        layer("Lambda", function=function("relu", "keras.activations"), output_shape=[3]),
        None, 3, "relu", [], {},
    ],
)  # fmt: skip
def test_what_keras_itself_can_make(config):
    assert level(config) == "inert"


@pytest.mark.parametrize(
    "config",
    [
        layer("MyLayer", None, "Custom>MyLayer"),
        layer("MyLayer", None, "MyLayer"),
        layer("MyLayer", "my_package.layers", "my_package>MyLayer"),
        layer("Dense", "keras.layers", "Custom>Evil"),
        layer("NoSuchLayer", "keras.layers"),
        layer("Backbone", "keras_hub.src.models.bert", "keras_hub>BertBackbone"),
        {"class_name": "CRF", "config": {}},
        {"class_name": "Custom>Thing", "config": {}},
        {"class_name": "Custom>Dense", "config": {}},
        {"class_name": "Addons>AdamW", "config": {}},
        function("my_loss"),
        function("my_loss", "my_package"),
        function("no_such_function", "keras.losses"),
        {"class_name": "function", "config": {"not": "a text"}, "module": "keras.losses"},
        layer("JaxLayer", call_fn=function("f")),
        layer("TFSMLayer", filepath="beside"),
        layer("StringLookup", vocabulary="vocabulary.txt"),
        {"class_name": "ClassMethod", "config": {"cls_symbol": "RaggedTensor", "method_name": "from_value"}},
        {"class_name": "InstanceMethod", "config": {"method_name": "to_tensor"}},
        {"class_name": "TFOpLambda", "config": {"function": "no_such_function"}},
        {"class_name": "TFOpLambda", "config": {"function": "debugging.experimental.enable_dump_debug_info"}},
        {"class_name": "TFOpLambda", "config": {"function": "keras.backend.eval"}},
        {"class_name": "Dense", "registered_name": "Custom>Evil", "config": {}},
        {"class_name": "TensorFlowOpLayer", "config": {"node_def": "garbage"}},
        {"class_name": "TensorFlowOpLayer", "config": {"node_def": {"op": "NoSuchOperator"}}},
        {"class_name": "Lambda", "config": {"function": "my_function", "function_type": "function", "module": "__main__"}},
    ],
)  # fmt: skip
def test_what_the_loading_program_must_bring(config):
    assert level(config) == "unproven"


def test_classes_that_a_graph_rebuilds_need_no_program():
    config = {"class_name": "MyModel", "config": {"x": function("system", "os")}}
    assert level({"class_name": "MyModel", "config": {}}, revived=True) == "inert"
    assert level(config, revived=True) == "dangerous"


def test_a_wrapped_type_is_a_class():
    spec = {
        "class_name": "__typespec__",
        "spec_name": "Popen",
        "module": "subprocess",
        "registered_name": None,
        "config": [],
    }
    assert level(spec) == "dangerous"


# --- code ---------------------------------------------------------------------------------------------------

EVIL = "lambda x: __import__('os').system('id') or x"


@pytest.mark.parametrize("source", [EVIL, "lambda x: exec('import os')", "lambda x: eval('1')", "lambda x: open('/etc/passwd').read()",
                                    "lambda x: (lambda y: __import__('socket'))(x)", "lambda x: x.__class__.__base__.__subclasses__()",
                                    "lambda x: tf.io.write_file('a', x)", "lambda x: getattr(x, 'y')", "lambda x: globals()"])  # fmt: skip
@pytest.mark.parametrize("form", ["new", "list", "text", "shape", "mask", "hidden"])
def test_code_in_a_lambda(source, form):
    code = marshalled(source)
    config = {
        "new": {
            "function": {
                "class_name": "__lambda__",
                "config": {"code": code, "defaults": None, "closure": None},
            }
        },
        "list": {"function": [code, None, None], "function_type": "lambda", "module": "__main__"},
        "text": {"function": code, "function_type": "lambda"},
        "shape": {"function": "relu", "output_shape": [code, None, None], "output_shape_type": "lambda"},
        "mask": {"function": "relu", "mask": [code, None, None], "mask_type": "lambda"},
        "hidden": {"function": "relu", "arguments": {"deep": [code]}},
    }[form]
    assert level({"class_name": "Lambda", "config": config}) == "dangerous"


def test_the_old_value_of_a_lambda():
    config = {"class_name": "__lambda__", "config": {"value": marshalled(EVIL)}}
    (event,) = judged({"x": [config]}).events
    assert "system" in event.call
    assert "'id'" in event.call


@pytest.mark.parametrize("source", ["lambda x: x * 2 + 1", "lambda x: x[:, 0]", "lambda x: tf.nn.l2_normalize(x, axis=1)", "lambda x: K.mean(x)",
                                    "lambda x: keras.ops.relu(x) / 255.0", "lambda x: tf.cast(x, tf.float32)"])  # fmt: skip
def test_code_that_computes_with_tensors_is_not_dangerous(source):
    config = {"function": [marshalled(source), None, None], "function_type": "lambda"}
    assert level({"class_name": "Lambda", "config": config}) == "unproven"


def test_bytes_that_no_python_writes_are_dangerous():
    raw = base64.b64encode(b"\xe3\x01\x00\x00os system not a code object").decode()
    (event,) = judged({"class_name": "Lambda", "config": {"function": [raw, None, None]}}).events
    assert event.level == "dangerous"
    assert "system" in event.call


def value(content):
    if isinstance(content, tuple):
        return b"(" + struct.pack("<I", len(content)) + b"".join(map(value, content))
    if isinstance(content, str):
        return b"u" + struct.pack("<I", len(content)) + content.encode()
    if isinstance(content, bytes):
        return b"s" + struct.pack("<I", len(content)) + content
    if isinstance(content, int):
        return b"i" + struct.pack("<i", content)
    return b"N"


@pytest.mark.parametrize(
    ("numbers", "fields"), [(4, 8), (5, 8), (6, 8), (5, 9)], ids=["2.7", "3.0", "3.8", "3.11"]
)
def test_code_objects_of_every_python(numbers, fields):
    names = ("os", "system")
    before = (
        struct.pack(f"<{numbers}I", *range(numbers))
        + value(b"\x00\x01")
        + value(("text", 3, None, ("inner",)))
    )
    if fields == 9:
        after = (
            value(names)
            + value(("x",))
            + value(b"\0")
            + value("file.py")
            + value("<lambda>")
            + value("f.<lambda>")
        )
        after += struct.pack("<I", 1) + value(b"") + value(b"")
    else:
        after = value(names) + value(("x",)) + value(()) + value(()) + value("file.py") + value("<lambda>")
        after += struct.pack("<I", 1) + value(b"")
    found = keras_code.parse(b"c" + before + after)
    assert keras_code.everything(found) == (names, ("text", "inner"))


def test_names_are_those_of_the_compiler():
    for source in (
        EVIL,
        "lambda a, *b, c=1, **d: [e.f(g) for g in b if (lambda: h)()]",
        "lambda: (1, 2.5, 3j, 10**40, b'x', 'é', ..., None)",
    ):
        code = compiled(source)
        found = keras_code.parse(marshal.dumps(code))
        wanted, stack = set(), [code]
        while stack:
            item = stack.pop()
            wanted |= set(item.co_names)
            stack += [one for one in item.co_consts if isinstance(one, type(code))]
        assert set(keras_code.everything(found)[0]) == wanted


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"c", b"\xe3", b"\xe3" + bytes(20)]))
def test_any_bytes_as_code(data, start):
    found = keras_code.parse(start + data)
    assert found is None or isinstance(found, keras_code.Code)


@settings(max_examples=200, deadline=None)
@given(where=st.integers(0, 400), new=st.integers(0, 255))
def test_changed_code(where, new):
    raw = bytearray(marshal.dumps(compiled(EVIL)))
    raw[where % len(raw)] = new
    config = {"class_name": "Lambda", "config": {"function": [base64.b64encode(raw).decode(), None, None]}}
    assert level(config) != "inert"


def test_deep_and_wide_code_ends():
    assert keras_code.parse(b"c" + b"(\x01\0\0\0" * 5000) is None
    assert keras_code.parse(b"c" + bytes(20) + b"(\xff\xff\xff\x0f") is None


# --- files and other libraries ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../x.txt", "https://example.com/v.txt", "C:\\x.txt", "gs://bucket/v.txt", "~/x"],
)
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("StringLookup", "vocabulary"),
        ("IntegerLookup", "vocabulary"),
        ("TextVectorization", "vocabulary"),
        ("TFSMLayer", "filepath"),
    ],
)
def test_files_that_a_layer_names(name, key, path):
    assert level(layer(name, **{key: path})) == "dangerous"
    assert level({"class_name": name, "config": {key: path}}) == "dangerous"


class Payload:
    def __reduce__(self):
        return os.system, ("id",)


def test_a_pickled_module_is_judged_by_the_pickle_machine():
    module = base64.b64encode(pickle.dumps(Payload())).decode()
    report = inspect_bytes(archive(sequential(layer("TorchModuleWrapper", module=module))), "x.keras")
    assert report.verdict == "dangerous"
    assert any(finding.rule.startswith("pickle.") for finding in report.findings)
    assert judged(layer("TorchModuleWrapper", module="ä")).unread


@pytest.mark.parametrize("symbol", ["io.write_file", "io.read_file", "py_function", "numpy_function", "load_op_library", "saved_model.load",
                                    "keras.utils.get_file", "raw_ops.WriteFile", "compat.v1.py_func", "raw_ops.EagerPyFunc", "raw_ops.SaveV2", "keras.models.load_model"])  # fmt: skip
def test_functions_of_tensorflow_that_act(symbol):
    assert level({"class_name": "TFOpLambda", "config": {"name": "x", "function": symbol}}) == "dangerous"


@pytest.mark.parametrize("operator", ["WriteFile", "ReadFile", "PyFunc", "SaveV2"])
def test_operators_of_tensorflow_that_act(operator):
    config = {"node_def": json.dumps({"op": operator})}
    assert level({"class_name": "TensorFlowOpLayer", "config": config}) == "dangerous"


# --- containers ---------------------------------------------------------------------------------------------


def test_an_archive_with_a_payload():
    report = inspect_bytes(archive(sequential(layer("Lambda", function=function("system", "os")))), "m.keras")
    assert (report.format, report.verdict) == ("keras", "dangerous")


def test_an_archive_of_known_layers():
    report = inspect_bytes(archive(sequential(layer("Dense", units=2))), "m.keras")
    assert (report.format, report.verdict) == ("keras", "inert")
    assert report.facts["framework"] == "keras 3.5.0"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-8-sig"])
def test_texts_as_python_reads_them(encoding):
    text = json.dumps(sequential(function("system", "os"))).encode(encoding)
    assert inspect_bytes(archive(text), "m.keras").verdict == "dangerous"


def test_every_config_of_an_archive_counts():
    out = io.BytesIO(archive(sequential(function("system", "os"))))
    with zipfile.ZipFile(out, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", json.dumps(sequential(layer("Dense"))))
    assert inspect_bytes(out.getvalue(), "m.keras").verdict == "dangerous"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"class_name": NaN', "\0\0"])
def test_a_config_that_is_no_json_is_not_proven(text):
    assert inspect_bytes(archive(text), "m.keras").verdict == "unproven"


def test_weights_in_an_archive_are_read(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py writes the weights")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/x.h5", "/")
    content = (tmp_path / "w.h5").read_bytes()
    report = inspect_bytes(archive(sequential(layer("Dense")), model__weights__h5=content), "m.keras")
    assert report.verdict == "dangerous"
    assert any(finding.rule == "hdf5.external-link" for finding in report.findings)
    assert report.members[-1].path == "model.weights.h5"


def test_texts_that_are_configurations():
    text = json.dumps(sequential(layer("Dense")))
    assert looks_like_config(text.encode())
    assert looks_like_config(b'\xef\xbb\xbf\n {"x": 1, ' + text[1:].encode())
    assert looks_like_config(text.replace("class_name", "\\u0063lass_name").encode())
    assert looks_like_config(b"backend: tensorflow\nclass_name: Sequential\nconfig:\n  name: x\n")
    for other in (
        b"",
        b"{}",
        b'{"_class_name": "UNet", "config": {}}',
        b'{"class_name": "x"}',
        b"class_name: x\n",
        b"\x80\x04N.",
    ):
        assert not looks_like_config(other)


def test_json_and_yaml_of_a_model():
    evil = sequential(layer("Lambda", function=function("system", "os")))
    assert inspect_bytes(json.dumps(evil).encode(), "m.json").verdict == "dangerous"
    assert inspect_bytes(json.dumps({"pad": "x" * 100_000, **evil}).encode(), "m.json").verdict == "dangerous"
    report = inspect_bytes(json.dumps(sequential(layer("Dense"))).encode(), "m.json")
    assert (report.format, report.verdict) == ("model-json", "inert")


@pytest.mark.parametrize(
    "extra",
    [{"transformers_version": "4.1"}, {"model_type": "x", "architectures": ["a"]}, {"tokenizer_class": "B"}, {"nbformat": 4},
     {"learner": {}}, {"nodes": [], "arg_nodes": [], "heads": []}, {"pad": "x" * 200_000, "peft_type": "LORA"}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["m.json", "config.json"])
def test_keys_of_other_formats_hide_nothing(extra, name):
    text = json.dumps({**extra, **layer("Lambda", function=function("system", "os"))}).encode()
    assert inspect_bytes(text, name).verdict == "dangerous"
    harmless = json.dumps({**extra, "class_name": 3, "config": "x"}).encode()
    assert inspect_bytes(harmless, name).verdict != "dangerous"


def yaml_level(text):
    from modelward.artifact.formats.keras_json import read

    reading = Reading()
    read(text.encode(), reading)
    levels = {event.level for event in reading.events}
    return next((name for name in ("dangerous", "unproven") if name in levels), "inert")


def test_yaml_configurations():
    start = "backend: tensorflow\nclass_name: Sequential\nkeras_version: 2.3.1\nconfig:\n"
    dense = "  layers:\n  - class_name: Dense\n    config: &c {units: 3, activation: ~}\n  - class_name: Dense\n    config: *c\n"
    assert yaml_level(start + dense) == "inert"
    assert yaml_level(start + "  x: !!python/object/apply:os.system [id]\n") == "dangerous"
    assert yaml_level(start + "  x: {class_name: function, config: system, module: os}\n") == "dangerous"
    assert yaml_level(start + "  x: &a {y: *a}\n") == "inert"
    with pytest.raises(Malformed):
        yaml_level(start + "  x: {")


# --- limits -------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "class_name",
                    "config",
                    "module",
                    "registered_name",
                    "function",
                    "code",
                    "vocabulary",
                    "node_def",
                    "x",
                ]
            )
            | st.text(max_size=4),
            inner
            | st.sampled_from(
                [
                    "Lambda",
                    "function",
                    "__lambda__",
                    "TFOpLambda",
                    "keras.layers",
                    "Dense",
                    "os",
                    "TorchModuleWrapper",
                ]
            ),
            max_size=5,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(config=VALUES)
def test_any_value_is_judged(config):
    judged(config)


@settings(max_examples=100, deadline=None)
@given(text=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_text_is_judged(text):
    read_text(text, Reading(), "x")


def test_steps_are_bounded(monkeypatch):
    monkeypatch.setattr("modelward.artifact.reading.STEPS", 100)
    with pytest.raises(Exhausted):
        judged([[0] * 50] * 10 + [[1]] + [[] for _ in range(100)])


def test_the_table_names_its_releases():
    table = known()
    assert {"keras", "tf_keras"} <= set(table.libraries)
    assert "Dense" in table.classes["keras.layers"]
    assert "get_file" not in {name for names in table.functions.values() for name in names}
    assert not table.operations & {
        "eval",
        "exec",
        "open",
        "getattr",
        "__import__",
        "io",
        "system",
        "os",
        "globals",
        "utils",
        "get_file",
        "py_function",
    }
    assert {"os", "subprocess", "builtins"} <= table.stdlib
    assert (
        plain("tf_keras.src.layers.core.dense")
        == plain("keras.api.layers.core.dense")
        == "keras.layers.core.dense"
    )


def test_yaml_with_quoted_keys_is_a_configuration():
    text = '"class_name": Sequential\n"config": !!python/object/apply:os.system [id]\n'
    assert inspect_bytes(text.encode(), "model.yaml").verdict == "dangerous"


@pytest.mark.parametrize("prefix", ["keras>", "Custom>"])
def test_a_layer_by_its_registered_name_has_the_same_rules(prefix):
    layer = {"class_name": f"{prefix}StringLookup", "config": {"vocabulary": "/etc/passwd"}}
    text = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})
    assert inspect_bytes(text.encode(), "config.json").verdict == "dangerous"
