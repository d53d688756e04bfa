"""Names on no list: a call is dangerous when its name says so and a constant argument is of the fitting kind."""

import ast
import collections
import functools
import http.cookies
import pickle

import pytest

from modelward.artifact.pickle import rules, words
from modelward.artifact.pickle.streams import scan
from modelward.artifact.verdict import inspect_bytes

P4 = b"\x80\x04"


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def call(module, name, *args):
    given = b"".join(arg if isinstance(arg, bytes) else text(arg) for arg in args)
    return text(module) + text(name) + b"\x93(" + given + b"tR"


def levels(data, **options):
    return {event.level for event in scan(data, **options).events}


@pytest.mark.parametrize(("module", "name", "argument"), [
    ("acme.jobs", "run_shell", "id"), ("acme.jobs", "ShellTask", "curl http://h/x | sh"), ("acme.shell", "run", "touch x; id"),
    ("acme.jobs", "executeCommand", "/bin/sh"), ("acme.jobs", "run_cmd", "python x.py"), ("acme.jobs", "spawn_worker", "nc -l 1"),
    ("acme.calc", "evaluate", "f(1)"), ("acme.calc", "exec_snippet", "import x"), ("acme.calc", "parse_expr", "a.b()"),
    ("acme.calc", "sympify", "f('x')"), ("acme.ops", "load_op_library", "/tmp/x.so"), ("acme.ops", "dlopen", "x.dll"),
    ("acme.io", "unpickle_file", "/tmp/x.pkl"), ("acme.io", "load_pickle", "https://h/x.pkl"), ("acme.net", "download_model", "http://h/x"),
    ("acme.net", "open_url", "ftp://h/x"), ("acme.io", "save_state", "/etc/cron.d/x"), ("acme.io", "dump", "~/.bashrc"),
    ("acme.io", "Table.to_csv", "/etc/x"), ("acme.io", "open_file", "/tmp/x"), ("acme.io", "read_table", "s3://h/x"),
    ("acme.plot", "savefig", "/tmp/x"), ("acme.io", "Path.symlink_to", "/etc/x"), ("acme.nn", "Net.from_pretrained", "some/one"),
    ("acme.ops", "load_ops", "/tmp/x.so"),
])  # fmt: skip
def test_a_name_and_an_argument_that_fits_it_are_dangerous(module, name, argument):
    assert rules.find(module, name) is None
    assert "dangerous" in levels(P4 + call(module, name, argument) + b".")


@pytest.mark.parametrize(("module", "name", "argument"), [
    ("acme.jobs", "run", "baseline"), ("acme.jobs", "execute", "id"), ("acme.ml", "evaluate", "accuracy"), ("acme.ml", "Evaluator", "a + b"),
    ("acme.ml", "compile_model", "adam"), ("acme.ml", "SystemIdentification", "second order"), ("acme.io", "load", "weights"),
    ("acme.io", "save_format", "h5"), ("acme.net", "Url", "https://h/x"), ("acme.text", "Tokenizer", "the cat sat"),
    ("acme.ml", "process", "normalise; scale"), ("acme.io", "LibraryVersion", "1.2.so-so"), ("acme.ml", "shelling", "id"),
    ("acme.data", "downloads", "weekly"), ("acme.ml", "importance", "gain.total"), ("acme.ml", "Module", "encoder.layer"),
    ("acme.io", "OpenFile", "/data/x.csv"), ("acme.io", "Loader", "https://h/x"), ("acme.nn", "Net.from_pretrained", "base"),
    ("acme.io", "read_table", "x.csv"), ("acme.ml", "to_file_type", "csv"),
])  # fmt: skip
def test_a_name_without_such_an_argument_is_only_unknown(module, name, argument):
    assert levels(P4 + call(module, name, argument) + b".") == {"unproven"}


def test_what_an_importer_gave_is_dangerous_to_call_and_unknown_to_keep():
    made = call("acme.tools", "import_object", "acme.plugins.start")
    assert levels(P4 + made + b".") == {"unproven"}
    assert "dangerous" in levels(P4 + made + b")R.")
    assert "dangerous" in levels(P4 + call("acme.tools", "locate", "os.system") + b".")


def test_words_of_a_name():
    assert words.split("runShell_CMD2x") == {"run", "shell", "cmd", "x"}
    assert words.split("HTTPServer") == {"http", "server"}


def test_long_and_deep_arguments_are_no_fault():
    for argument in (
        "(" * 3999,
        "f(" * 1300,
        "x" * 9000,
        "a\0b(",
        "\ud800(".encode("utf-16", "surrogatepass").decode("latin-1"),
    ):
        assert words.meaning("acme", "evaluate", [argument]) is None


def test_a_computed_name_in_array_bytes_counts_when_it_spells_a_payload():
    """pickle.load would read the bytes of a joblib array as opcodes; numbers do not spell `posix`."""
    wrapper = text("joblib.numpy_pickle") + text("NumpyArrayWrapper") + b"\x93)\x81"
    dtype = text("numpy") + text("dtype") + b"\x93" + text("u1") + b"\x89\x88\x87R"
    for parts, expected in (
        (("pos", "ix", "system"), True),
        (("xisop", "", "metsys"), True),
        (("ab", "cd", "ef"), False),
    ):
        joined = call("acme", "concat", parts[0], parts[1])
        body = b"0" + joined + call("acme", "same", parts[2]) + b"\x93."
        state = b"}(" + b"".join(text(key) + value for key, value in {
            "subclass": text("numpy") + text("ndarray") + b"\x93", "shape": b"K" + bytes([len(body)]) + b"\x85", "order": text("C"),
            "dtype": dtype, "allow_mmap": b"\x89"}.items()) + b"u"  # fmt: skip
        found = levels(P4 + wrapper + state + b"b" + body + b".", joblib=True)
        assert ("dangerous" in found) is expected
        assert "unproven" not in found or expected


@pytest.mark.parametrize("value", [
    ast.parse("x + f(1)"), http.cookies.SimpleCookie("a=1; b=2"),
    collections.defaultdict(functools.partial(collections.defaultdict, functools.partial(collections.defaultdict, int)), {1: {}}),
], ids=["tree", "cookie", "nested"])  # fmt: skip
def test_harmless_corners_of_the_standard_library_are_inert(value):
    for protocol in (2, 4, 5):
        assert scan(pickle.dumps(value, protocol)).events == []


def test_items_that_become_attributes_are_ordinary_names_and_data():
    made = text("yacs.config") + text("CfgNode") + b"\x93)\x81"
    assert scan(P4 + made + b"}b" * 0 + text("a") + b"K\x01s.").events == []
    for key, value in (
        ("__setstate__", text("numpy") + text("max") + b"\x93"),
        ("__class__", b"K\x01"),
        ("a", text("numpy") + text("max") + b"\x93"),
    ):
        assert levels(P4 + made + text(key) + value + b"s.") == {"unproven"}


def test_a_partial_of_a_dictionary_without_a_harmless_factory_is_no_factory():
    inner = (
        text("functools") + text("partial") + b"\x93" + text("collections") + text("defaultdict") + b"\x93"
    )
    outer = text("collections") + text("defaultdict") + b"\x93"
    for factory in (b"\x85R", text("numpy") + text("save") + b"\x93\x86R"):
        assert levels(P4 + outer + inner + factory + b"\x85R.") != set()


def test_metadata_of_a_configuration_is_omegaconfs_own():
    made = text("omegaconf.dictconfig") + text("DictConfig") + b"\x93)\x81"
    own = text("omegaconf.base") + text("ContainerMetadata") + b"\x93)\x81"
    assert scan(P4 + made + b"}" + text("_metadata") + own + b"sb.").events == []
    assert levels(P4 + made + b"}" + text("_metadata") + made + b"sb.") == {"unproven"}
    assert levels(P4 + made + b"}b.") == {"unproven"}


def test_a_coordinate_system_is_given_by_its_number():
    made = text("pyproj.crs.crs") + text("CRS") + b"\x93"
    assert scan(P4 + made + text("EPSG:4326") + b"\x85R.").events == []
    assert levels(P4 + made + text("+init=/tmp/x:1") + b"\x85R.") == {"unproven"}


@pytest.mark.parametrize(("module", "name"), [
    ("sklearn.tree._tree", "Tree"), ("scipy.stats._continuous_distns", "norm_gen"), ("geopandas.geodataframe", "GeoDataFrame"),
])  # fmt: skip
def test_a_state_without_what_its_check_asks_for_is_no_fault(module, name):
    assert "dangerous" not in levels(P4 + text(module) + text(name) + b"\x93)\x81}b.")


def test_results_of_scipy_take_their_attributes_by_name():
    made = (
        text("scipy.stats._stats_py")
        + text("LinregressResult")
        + b"\x93(K\x01K\x02t}"
        + text("intercept_stderr")
    )
    assert scan(P4 + made + b"K\x03s\x92.").events == []
    assert levels(P4 + made + text("numpy") + text("max") + b"\x93s\x92.") == {"unproven"}


def test_functions_that_numba_compiled_are_walked_and_stay_unproven():
    wrap = text("numba.core.serialize") + text("_unpickle__CustomPickled") + b"\x93"
    for inner, expected in (
        (pickle.dumps((int, {})), "unproven"),
        (b"cposix\nsystem\n(Vid\ntR.", "dangerous"),
    ):
        data = P4 + wrap + b"C" + bytes([len(inner)]) + inner + b"\x85R."
        assert inspect_bytes(data, "x.pkl").verdict == expected
