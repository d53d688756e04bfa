"""Ways to make allow-listed names call, open or corrupt something, found by reading their sources.

Those in `CALLS` and `RUNS` are loaded here without a guard, in a child process, to show what they do: they call
a callable of the file's choice. Of the others, some corrupt memory or open files when they are loaded, and some
are precautions: the source allows the step, but no release at hand could be made to take it. None may be inert.
`HARMLESS` holds the same streams without the trick, which must stay inert, so that no refusal is a blanket one.
"""

import functools
import io
import pickle
import struct
import subprocess
import sys

import msgspec
import pytest

from modelward.artifact.pickle import rules
from modelward.artifact.pickle.streams import scan
from modelward.artifact.verdict import inspect_bytes


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


def fields(**values):
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def new(module, qualname):
    return name(module, qualname) + b")\x81"


def partial(function, *args):
    return name("functools", "partial") + b"(" + function + b"".join(args) + b"tR"


def dtype(code, *, copy=b"\x88"):
    return name("numpy", "dtype") + text(code) + b"\x89" + copy + b"\x87R"


def array(shape=b"K\x00\x85"):
    return name("numpy._core.multiarray", "_reconstruct") + name("numpy", "ndarray") + shape + b"C\x01b\x87R"


def filled(kind, count, raw):
    return b"(K\x01" + b"K" + bytes([count]) + b"\x85" + kind + b"\x89C" + bytes([len(raw)]) + raw + b"tb"


P4 = b"\x80\x04"
CALLABLE = name("numpy", "max")
"""Stands for any callable that a file may refer to; the gadgets call it with arguments of their own."""
NAMESPACE = new("types", "SimpleNamespace")
RECORD = (
    b"(K\x03"
    + text("|")
    + b"N"
    + text("a")
    + b"\x85"
    + fields(a=dtype("O8") + b"K\x00\x86")
    + b"K\x08K\x01K\x1bt"
)
FOREIGN = b"(K\x03" + text(">") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
BUFFER = (
    name("numpy._core.numeric", "_frombuffer")
    + b"(C\x08"
    + b"A" * 8
    + dtype("f8")
    + b"K\x01\x85"
    + text("C")
    + b"tR"
)
WRAPPER = {
    "subclass": name("numpy", "ndarray"), "shape": b"K\x00\x85", "order": text("C"), "dtype": dtype("u1"), "allow_mmap": b"\x89",
}  # fmt: skip


def two_states():
    """joblib aligns by the first state; who looks at the second only reads the payload as text."""
    payload = name("os", "getpid") + b")R0N."
    first = (
        new("joblib.numpy_pickle", "NumpyArrayWrapper")
        + b"\x94"
        + fields(**WRAPPER, numpy_array_alignment_bytes=b"K\x10")
        + b"b\x01\x00"
    )
    hidden = (
        b"X" + struct.pack("<I", 84 + len(payload)) + b" " * 84 + payload
    )  # joblib takes X as 88 bytes of padding
    return P4 + first + b"0h\x00" + fields(**WRAPPER) + b"b" + hidden + b"0N."


def misled(change, shape):
    """Array bytes that, read as opcodes, change the array's own shape, so that its end is miscounted."""
    payload = name("os", "getpid") + b")R0N."
    values = WRAPPER | {"shape": b"K" + bytes([shape]) + b"\x85"}
    state = b"}\x94(" + b"".join(text(key) + value for key, value in values.items()) + b"u"
    body = change + b"X" + struct.pack("<I", len(payload))
    assert len(body) == shape
    return P4 + new("joblib.numpy_pickle", "NumpyArrayWrapper") + state + b"b" + body + payload + b"0N."


def estimator(version):
    return P4 + new("sklearn.svm._classes", "SVC") + fields(_sklearn_version=version) + b"b."


def linear(**state):
    return P4 + new("torch.nn.modules.linear", "Linear") + fields(**state) + b"b."


def index(cls, **values):
    return P4 + name("pandas.core.indexes.base", "_new_Index") + cls + fields(**values) + b"\x86R."


def zone(key):
    return P4 + name("zoneinfo", "ZoneInfo._unpickle") + text(key) + b"K\x01\x86R."


VECTORS = {
    # a method of the state, or of an argument, is a callable of the file (duck typing)
    "state.pop": P4 + new("pandas", "StringDtype") + NAMESPACE + fields(pop=CALLABLE) + b"bb.",
    "state.get": P4 + new("lightgbm.basic", "Booster") + NAMESPACE + fields(get=CALLABLE) + b"bb.",
    "state[key] of a defaultdict": P4 + new("pandas", "DatetimeTZDtype") + name("collections", "defaultdict")
    + b")RN" + fields(default_factory=CALLABLE) + b"\x86bb.",
    "factory of a defaultdict": P4 + name("collections", "defaultdict") + b")RN" + fields(default_factory=CALLABLE) + b"\x86b.",
    "data.detach": index(name("torch.nn.parameter", "Buffer"), data=NAMESPACE + fields(detach=CALLABLE) + b"b"),
    "class that is no index": index(name("lightgbm.basic", "Booster"), model_file=text("/etc/passwd")),
    "values.dtype": P4 + name("pandas.core.indexes.period", "_new_PeriodIndex") + name("pandas", "PeriodIndex")
    + NAMESPACE + fields(view=CALLABLE) + b"b\x86R.",
    "indices of a sparse tensor": P4 + name("torch._utils", "_rebuild_sparse_tensor") + NAMESPACE + fields(a=CALLABLE) + b"b)\x86R.",
    "random generator of any class": P4 + name("numpy.random._pickle", "__bit_generator_ctor") + name("lightgbm.basic", "Booster") + b"\x85R.",
    "nodes.astype": P4 + new("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")
    + fields(nodes=NAMESPACE + fields(astype=CALLABLE, dtype=b"N") + b"b") + b"b.",
    "y.repeat": P4 + new("sklearn.isotonic", "IsotonicRegression") + fields(X_thresholds_=b"N", y_thresholds_=b"N", _build_f=CALLABLE) + b"b.",
    "tensor.as_subclass": P4 + name("torch._tensor", "_rebuild_from_type_v2") + b"(" + name("torch.jit._pickle", "build_intlist")
    + name("builtins", "int") + NAMESPACE + fields(as_subclass=CALLABLE) + b"b\x85NtR.",
    # the instance's own attributes hide its methods
    "module.register_parameter": linear(_parameters=fields(_is_full_backward_hook=b"K\x01"), register_parameter=CALLABLE),
    "module._buffers": linear(_buffers=NAMESPACE + fields(a=CALLABLE) + b"b"),
    "truth of module.bias": P4 + new("torch.nn.modules.rnn", "LSTM")
    + fields(_all_weights=b"]]K\x01aa", num_layers=b"K\x01", bidirectional=b"\x89", bias=new("scipy.sparse._coo", "coo_matrix") + fields(_getnnz=CALLABLE, coords=b"N", _shape=b"K\x01K\x01\x86") + b"b") + b"b.",
    "booster.free_network, called by __del__": P4 + new("lightgbm.basic", "Booster")
    + fields(_handle=b"N", _network=b"\x88", free_network=CALLABLE) + b"b0N.",
    "optimizer.state": P4 + new("torch.optim.adam", "Adam") + fields(defaults=b"}", param_groups=b"]" + fields(params=b"]K\x01a") + b"a", state=NAMESPACE + fields(get=CALLABLE) + b"b") + b"b.",
    "wrapper.read": P4 + new("joblib.numpy_pickle", "NumpyArrayWrapper") + fields(**WRAPPER, read=CALLABLE) + b"bN.",
    "array.__setitem__": P4 + new("scipy.sparse._dok", "dok_array") + fields(_validate_indices=CALLABLE, _shape=b"K\x01K\x01\x86") + b"bK\x01K\x02s.",
    "setter of interp1d": P4 + new("scipy.interpolate._interpolate", "interp1d")
    + fields(_check_and_update_bounds_error_for_extrapolation=CALLABLE) + fields(fill_value=text("extrapolate")) + b"\x86b.",
    # comparison and hashing
    "comparison of the version": estimator(new("pandas.arrays", "IntegerArray") + fields(_cmp_method=CALLABLE) + b"b"),
    "hash of a dictionary's key": P4 + b"}" + NAMESPACE + fields(a=CALLABLE) + b"bK\x01s.",
    "hash in a tuple": P4 + b"}" + NAMESPACE + fields(a=CALLABLE) + b"b\x85K\x01s.",
    "hash of a set's member": P4 + b"\x8f(" + NAMESPACE + fields(a=CALLABLE) + b"b\x90.",
    "hash in a frozenset": P4 + b"(" + NAMESPACE + fields(a=CALLABLE) + b"b\x91.",
    "hash in DICT": P4 + b"(" + NAMESPACE + fields(a=CALLABLE) + b"bNd.",
    "hash of pairs": P4 + name("collections", "OrderedDict") + b"](" + NAMESPACE + fields(a=CALLABLE) + b"bK\x01\x86e\x85R.",
    "hash of a list's items": P4 + name("builtins", "set") + b"](" + NAMESPACE + fields(a=CALLABLE) + b"be\x85R.",
    # files and shared objects
    "time zone from any file": P4 + name("pandas", "DatetimeTZDtype") + text("ns") + text("dateutil//etc/passwd") + b"\x86R.",
    "time zone in the text of a type": P4 + name("pandas", "CategoricalDtype") + text("datetime64[ns, dateutil//etc/passwd]") + b"\x85R.",
    "time zone in an old line": P4 + name("pandas", "PeriodDtype") + b"V\\u0064ateutil//etc/passwd\n\x85R.",
    "zone outside its folder": zone("../../etc/passwd"),
    "zone as a module": zone("a.b/c"),
    "torch.from_file": P4 + name("builtins", "getattr") + name("torch._C", "_VariableFunctionsClass") + text("from_file") + b"\x86R.",
    "number shared by all hooks": P4 + new("torch.utils.hooks", "RemovableHandle") + b"(NJ\xff\xff\xff\x7fNtb.",
    "type shared by all arrays": P4 + dtype("f8", copy=b"\x89") + FOREIGN + b"b.",
    # memory
    "type changed under an array": P4 + dtype("V8") + b"\x94" + array() + filled(b"h\x00", 1, b"A" * 8) + b"0h\x00" + RECORD + b"b.",
    "type changed twice": P4 + dtype("f8") + FOREIGN + b"b" + FOREIGN + b"b.",
    "type inside itself": P4 + dtype("V8") + b"\x94(K\x03" + text("|") + b"h\x00K\x01\x86NNK\x08K\x01K\x00tb.",
    "array filled twice": P4 + array() + filled(dtype("f8"), 1, b"A" * 8) + filled(dtype("f8"), 1, b"B" * 8)[:-1] + b"b.",
    "array over a buffer filled": P4 + BUFFER + filled(dtype("f8"), 1, b"B" * 8) + b".",
    "array that starts with items": P4 + array(b"M\xff\x00\x85") + filled(dtype("f8"), 1, b"A" * 8) + b".",
    "array's state in a tuple": P4 + new("pandas.arrays", "SparseArray") + b"(K\x01K\x01\x85" + dtype("O8") + b"\x89C\x08" + b"A" * 8 + b"tNN\x86\x86b.",
    "objects over a buffer": P4 + name("numpy._core.numeric", "_frombuffer") + b"(C\x08" + b"A" * 8 + dtype("O8") + b"K\x01\x85" + text("C") + b"tR.",
    "position outside a generator": P4 + name("numpy.random._pickle", "__bit_generator_ctor") + text("MT19937") + b"\x85R"
    + fields(state=fields(pos=b"M\xff\xff")) + b"N\x86b.",
    "nested tensor with unchecked offsets": P4 + name("torch._utils", "_rebuild_nested_tensor") + b")R.",
    # what stays behind for later calls
    "torch.load kept as a function": P4 + new("sklearn.preprocessing._function_transformer", "FunctionTransformer")
    + fields(func=name("torch.storage", "_load_from_bytes")) + b"b.",
    "torch.load as the key of max": P4 + partial(name("builtins", "max"), b"C\x01x") + b"(" + name("builtins", "max") + b")"
    + fields(key=name("torch.storage", "_load_from_bytes")) + b"Ntb.",
    "getattr kept as a function": P4 + b"]" + name("builtins", "getattr") + b"a.",
    "two states of a joblib wrapper": two_states(),
    "array bytes that change the wrapper's dictionary": misled(b"h\x00" + text("shape") + b"K\x00\x85s0", 19),
    "fields of a type changed by an item": P4 + dtype("V8") + b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}\x94"
    + text("a") + dtype("f8") + b"K\x00\x86sK\x08K\x01K\x00tb0h\x00" + text("a") + dtype("O8") + b"K\x00\x86s.",
}  # fmt: skip
HARMLESS = {
    "state of a type": P4 + new("pandas", "StringDtype") + fields(storage=text("python")) + b"b.",
    "index": index(name("pandas", "RangeIndex"), start=b"K\x00", stop=b"K\x03", step=b"K\x01"),
    "estimator": estimator(text("1.9.1")),
    "module": linear(_parameters=fields(weight=b"N"), in_features=b"K\x03"),
    "booster": P4 + new("lightgbm.basic", "Booster") + fields(_handle=b"N", _network=b"\x89") + b"b.",
    "hashes": P4 + b"}(" + dtype("f8") + b"K\x01K\x02\x86\x85K\x03K\x04u.",
    "zone": zone("America/Argentina/Buenos_Aires"),
    "zone of a type": P4 + name("pandas", "DatetimeTZDtype") + text("ns") + text("Europe/Berlin") + b"\x86R.",
    "torch.relu": P4 + name("builtins", "getattr") + name("torch._C", "_VariableFunctionsClass") + text("relu") + b"\x86R.",
    "types and arrays": P4 + dtype("f8") + FOREIGN + b"b\x94" + array() + filled(b"h\x00", 1, b"A" * 8) + b".",
    "record of objects": P4 + dtype("V8") + RECORD + b"b.",
    "generator": P4 + name("numpy.random._pickle", "__bit_generator_ctor") + text("MT19937") + b"\x85R" + fields(state=fields(pos=b"M\x70\x02")) + b"N\x86b.",
    "function transformer": P4 + new("sklearn.preprocessing._function_transformer", "FunctionTransformer") + fields(func=name("numpy", "log1p")) + b"b.",
    "partial": P4 + partial(name("builtins", "int"), text("12")) + b".",
    "one state of a joblib wrapper": P4 + new("joblib.numpy_pickle", "NumpyArrayWrapper") + fields(**WRAPPER) + b"b.",
}  # fmt: skip


@pytest.mark.parametrize("what", VECTORS)
def test_no_gadget_of_an_allowed_name_is_inert(what):
    assert inspect_bytes(VECTORS[what], what).verdict in {"unproven", "dangerous"}


@pytest.mark.parametrize("what", HARMLESS)
def test_the_same_names_without_the_trick_are_inert(what):
    assert scan(HARMLESS[what], joblib="joblib" in what).events == []


CALLS = [
    "state.pop",
    "state.get",
    "state[key] of a defaultdict",
    "nodes.astype",
    "y.repeat",
    "module.register_parameter",
    "truth of module.bias",
    "booster.free_network, called by __del__",
    "optimizer.state",
    "setter of interp1d",
    "comparison of the version",
]
"""Vectors that call `CALLABLE` while they are loaded."""
RUNS = ["two states of a joblib wrapper", "array bytes that change the wrapper's dictionary"]
"""Vectors whose payload joblib runs."""


GENERATED = [
    ("asyncio.unix_events", "_UnixSubprocessTransport._start"), ("cProfile", "run"), ("pydoc", "locate"), ("doctest", "debug_script"),
    ("ensurepip", "_run_pip"), ("numpy.f2py.crackfortran", "getlincoef"), ("distutils.file_util", "write_file"), ("uuid", "_get_command_stdout"),
    ("_osx_support", "_read_output"), ("logging.config", "listen"), ("setuptools._distutils.spawn", "spawn"), ("_pyrepl.main", "exec"),
    ("sympy.parsing.sympy_parser", "parse_expr"), ("django.utils.module_loading", "import_string"), ("werkzeug.utils", "import_string"),
    ("flask.config", "Config.from_pyfile"), ("zipapp", "create_archive"), ("tracemalloc", "Snapshot.load"),
]  # fmt: skip
"""Found by reading sources: each reaches a sink with its arguments."""


@pytest.mark.parametrize(("module", "qualname"), GENERATED)
def test_a_call_that_reaches_a_sink_is_dangerous_and_a_reference_is_not_more_than_before(
    module, qualname, level
):
    assert level(P4 + name(module, qualname) + text("x") + text("y") + b"\x86R.") == "dangerous"


@pytest.mark.parametrize("qualname", ["dedent", "indent", "TextWrapper"])
def test_a_function_without_a_sink_stays_unknown_or_allowed(qualname, level):
    assert level(P4 + name("textwrap", qualname) + text("x") + b"\x85R.") != "dangerous"


def test_a_reference_to_a_generated_gadget_is_unproven(level):
    assert level(P4 + name("tracemalloc", "Snapshot.load") + b".") == "unproven"
    assert level(P4 + name("werkzeug.utils", "import_string") + b".") == "unproven"


@pytest.mark.parametrize(
    "argument", ["os.system", "os", "subprocess:Popen", "builtins.eval", "curl http://x | sh"]
)
def test_an_unknown_callable_given_the_name_of_a_payload_is_dangerous(argument, level):
    assert level(P4 + name("mypkg.tools", "resolve") + text(argument) + b"\x85R.") == "dangerous"
    assert level(P4 + name("mypkg.tools", "resolve") + text("model.weights") + b"\x85R.") == "unproven"


def test_a_call_of_an_allowed_name_is_not_looked_up_among_the_gadgets():
    code = "import sys\nfrom modelward.artifact.pickle import rules\nfrom modelward.artifact.pickle.streams import scan\nscan(bytes.fromhex(sys.argv[1]))\nprint(rules.gadgets.cache_info().currsize)"
    stream = P4 + name("collections", "OrderedDict") + b")R."
    assert unguarded(code, stream) == "0\n"


def unguarded(code, *streams):
    """What a child process prints that loads the streams by `code`."""
    for module in ("numpy", "torch", "pandas", "sklearn", "lightgbm", "joblib"):
        pytest.importorskip(module)
    run = [sys.executable, "-W", "ignore", "-c", code, *(stream.hex() for stream in streams)]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def test_the_gadgets_call_what_the_file_chooses_when_they_are_loaded_unguarded():
    code = (
        "import contextlib, numpy, pickle, sys\ncalls = []\n"
        "def load(stream):\n"
        "  calls.clear()\n"
        "  with contextlib.suppress(Exception): pickle.loads(bytes.fromhex(stream))\n"
        "  return len(calls) > 0\n"
        "for stream in sys.argv[1:]: load(stream)\n"  # imports call numpy.max themselves
        "numpy.max = lambda *a, **k: calls.append(1)\n"
        "for stream in sys.argv[1:]: print(load(stream))"
    )
    harmless = [HARMLESS[what] for what in ("estimator", "module", "booster")]
    found = unguarded(code, *(VECTORS[what] for what in CALLS), *harmless).split()
    assert found == ["True"] * len(CALLS) + ["False"] * 3


def test_the_hidden_payloads_run_when_joblib_loads_them_unguarded():
    code = (
        "import io, os, joblib, sys\ncalls = []\nos.getpid = lambda: calls.append(1) or 1\n"
        "for stream in sys.argv[1:]:\n  calls.clear()\n  joblib.load(io.BytesIO(bytes.fromhex(stream)))\n  print(len(calls) > 0)"
    )
    streams = [*(VECTORS[what] for what in RUNS), HARMLESS["one state of a joblib wrapper"]]
    assert unguarded(code, *streams).split() == ["True", "True", "False"]


def test_an_array_that_joblib_restored_cannot_be_given_a_state():
    state = fields(**WRAPPER) + b"b" + filled(dtype("f8"), 1, b"A" * 8) + b"."
    events = scan(P4 + new("joblib.numpy_pickle", "NumpyArrayWrapper") + state, joblib=True).events
    assert "pickle.state" in {event.rule for event in events if event.level == "unproven"}


def test_wide_nesting_of_types_is_described_once_each():
    inner = dtype("f8")
    stream = P4 + inner + b"\x94"
    for level in range(1, 60):
        size = b"J" + struct.pack("<i", 8 << min(level, 20))
        both = fields(a=b"h" + bytes([level - 1]) + b"K\x00\x86", b=b"h" + bytes([level - 1]) + b"K\x00\x86")
        names = text("a") + text("b") + b"\x86"
        stream += (
            b"0" + dtype("V8") + b"\x94(K\x03" + text("|") + b"N" + names + both + size + b"K\x01K\x00tb"
        )
    assert scan(stream + b".").streams == 1


def distribution(change=lambda text: text):
    stats = pytest.importorskip("scipy.stats")
    data = pickle.dumps(stats.uniform(1, 2), 4)
    found = change(data)
    assert found is data or found != data
    return found


def test_a_distribution_is_allowed_with_the_source_text_of_scipy_only(level):
    assert level(distribution()) == "inert"
    changed = distribution(lambda data: data.replace(b"return (), loc, scale\n", b"return (), help(), 3\n"))
    assert level(changed) != "inert"


TIGHT = {
    "a formula that loading evaluates": new("statsmodels.base.data", "PandasData") + fields(restore_model_spec=b"\x88", formula=text("y ~ a")) + b"b",
    "a reduce of any function": name("functools", "reduce") + name("builtins", "len") + b"]\x86R",
    "an attrgetter of a hidden name": name("operator", "attrgetter") + text("__globals__") + b"\x85R",
    "an attrgetter of a path to a payload": name("operator", "attrgetter") + text("a.system") + b"\x85R",
    "a hint of a function": name("_operator", "getitem") + name("typing", "List") + name("copyreg", "_reconstructor") + b"\x86R",
    "an item of anything but a hint": name("_operator", "getitem") + name("builtins", "__dict__") + text("eval") + b"\x86R",
    "items of the interpreter's names": name("builtins", "__dict__") + text("len") + name("builtins", "max") + b"s",
    "an iterator of a namespace": name("builtins", "iter") + NAMESPACE + b"\x85R",
    "an iterator that calls": name("builtins", "iter") + CALLABLE + b"N\x86R",
    "a handle of hooks with another state": new("torch.utils.hooks", "RemovableHandle") + NAMESPACE + b"K\x01\x86b",
    "a pattern from a namespace": name("re", "_compile") + NAMESPACE + b"K\x00\x86R",
    "an array of a namespace": name("array", "array") + text("d") + NAMESPACE + fields(a=CALLABLE) + b"b\x86R",
    "a slot that no slot is": new("scipy.interpolate._cubic", "CubicSpline") + b"N" + fields(__class__=CALLABLE) + b"\x86b",
    "a callable in an array of objects to pandas": name("pandas", "Interval") + partial(CALLABLE) + b"K\x01\x86R",
}  # fmt: skip


@pytest.mark.parametrize("what", TIGHT)
def test_what_was_allowed_later_is_allowed_no_further(what, level):
    assert level(P4 + TIGHT[what] + b".") not in {"inert", "note"}


def test_objects_inside_a_joblib_array_are_known_to_what_takes_it(level):
    joblib = pytest.importorskip("joblib")
    pandas = pytest.importorskip("pandas")

    def written(values):
        buffer = io.BytesIO()
        joblib.dump(pandas.DataFrame({"a": pandas.Series(values, dtype=object)}), buffer)
        return level(buffer.getvalue(), joblib=True)

    assert written(["x", None, {"a": 1}]) in {"inert", "note"}
    assert written(["x", functools.partial(max, 1)]) == "unproven"


# --- callables that reach something, by hand and by reading sources ------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "matplotlib:use", "matplotlib.pyplot:switch_backend", "matplotlib.dviread:find_tex_file", "PIL.ImageMath:unsafe_eval", "PIL.Image:open",
        "PIL.ImageShow:Viewer.show_file", "PIL.PngImagePlugin:PngImageFile", "psutil:Process.kill", "psutil:Popen", "fcntl:flock", "winreg:CreateKey",
        "mailbox:Maildir", "datasets:load_dataset", "huggingface_hub:snapshot_download", "accelerate.commands.launch:simple_launcher",
        "lark:Lark.load", "polars:LazyFrame.deserialize", "attr:make_class", "pathlib:Path.write_text", "builtins:str.format",
        "ultralytics.utils.checks:check_requirements", "h5py:File", "fsspec:open_files", "numpy:ndarray.tofile", "wandb:init",
        "keras.config:enable_unsafe_deserialization", "torch.distributed:init_process_group", "pandas.compat.pickle_compat:load",
        "logging.handlers:BaseRotatingHandler", "zipfile:Path", "invoke.runners:Local.start", "spacy.util:load_model", "fastai.learner:load_learner",
    ],
)  # fmt: skip
def test_calling_what_reaches_a_program_source_a_file_or_a_connection_is_dangerous(path):
    module, qualname = path.split(":")
    data = P4 + name(module, qualname) + b"(" + text("x") + b"tR."
    assert "dangerous" in {event.level for event in scan(data).events}, path


@pytest.mark.parametrize(
    "path",
    [
        "psutil._common:svmem",
        "wandb.sdk.lib.config:Config",
        "gradio.data_classes:FileData",
        "PIL.Image:Image",
        "spacy.vocab:Vocab",
    ],
)
def test_making_an_object_of_such_a_library_is_not(path):
    module, qualname = path.split(":")
    data = P4 + name(module, qualname) + b")\x81."
    assert "dangerous" not in {event.level for event in scan(data).events}, path


@pytest.mark.parametrize(
    "path",
    [
        "numpy:allclose", "numpy:isclose", "numpy:histogram", "numpy:unique_all", "numpy.linalg:svd", "numpy.linalg:eigh", "numpy.linalg:qr",
        "typing:Optional", "typing:TypeVar", "collections:namedtuple", "ast:literal_eval", "warnings:warn",
    ],
)  # fmt: skip
def test_what_warns_or_names_fields_reaches_nothing(path):
    """A warning reads a line of the file that calls; a namedtuple evaluates names that it checked."""
    module, qualname = path.split(":")
    assert all(qualname not in names.split() for names in listed_gadgets(module).values())


def listed_gadgets(module):
    raw = rules.gadgets().modules.get(module)
    return msgspec.json.decode(raw, type=dict[str, str]) if raw is not None else {}


def test_no_gadget_has_a_schema_of_arguments():
    """A name that may be called in some way is judged by its schema alone."""
    both = {
        f"{module}.{qualname}"
        for module in rules.gadgets().modules
        for names in listed_gadgets(module).values()
        for qualname in names.split()
        if (entry := rules.find(module, qualname)) is not None and entry.call is not None
    }
    assert both == set()
