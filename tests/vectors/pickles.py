"""Vectors of one pickle: names, the stack and the memo, every way to call, streams and frames."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vectors.asm import (
    CODE,
    COMMAND,
    PATH,
    STOP,
    Raw,
    Vector,
    benign,
    call,
    obj,
    payload,
    pickle,
    proto,
    push,
    ref,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM, RUN = Raw(ref("os:system")), push((COMMAND,))


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for group in (
        gadgets,
        names,
        memo,
        computed,
        calls,
        stack,
        attributes,
        takers,
        damaged,
        streams,
        frames,
        opcodes,
    ):
        yield from group()


def gadgets() -> Iterator[Vector]:
    # Callables that run what they are given and stand on few lists of names.
    unknown = {
        "codeop compile and run": call(
            "code:InteractiveInterpreter.runcode",
            call("code:InteractiveInterpreter"),
            call("builtins:compile", CODE, "x", "exec"),
        ),
        "bootsubprocess": call("_bootsubprocess:check_output", COMMAND),
        "sympy parser": call("sympy.parsing.sympy_parser:eval_expr", CODE, {}, {}),
        "numpy f2py": call("numpy.f2py.crackfortran:myeval", CODE, {}, {}),
        "torch module of a string": call(
            "torch._inductor.runtime.compile_tasks:_reload_python_module", "k", PATH + ".py"
        ),
        "joblib subprocess": call("joblib.testing:check_subprocess_call", ["true"]),
        "setuptools spawn": call("setuptools._distutils.spawn:spawn", ["true"]),
        "jinja code": call(
            "jinja2.environment:Template.from_code",
            call("jinja2:Environment"),
            call("builtins:compile", CODE, "x", "exec"),
            {},
        ),
        "hypothesis source": call("hypothesis.internal.reflection:source_exec_as_module", CODE),
    }
    for name, body in unknown.items():
        yield Vector("unknown-gadget", name, "model.pkl", pickle(body))
    for name, path in {
        "module nobody knows": "weights_tools.loaders:run",
        "private helper": "acme_ml._io:restore",
    }.items():
        yield Vector("unknown-gadget", name, "model.pkl", pickle(call(path, "a")), "not-clean")


def names() -> Iterator[Vector]:
    dotted = [
        "collections:_sys.modules",
        "random:_os.system",
        "pathlib:os.system",
        "shutil:os.system",
        "numpy:f2py.os.system",
        "logging:sys.modules",
        "torch.serialization:os.system",
    ]
    for path in dotted:
        yield Vector(
            "dotted-name",
            path,
            "model.pkl",
            pickle(ref(path) + (RUN + b"R" if path.endswith("system") else b"")),
            "dangerous" if path.endswith("system") else "not-clean",
        )
    for path in (
        "numpy:mean.__globals__",
        "builtins:object.__subclasses__",
        "builtins:str.__class__.__base__",
        "collections:OrderedDict.fromkeys.__self__",
    ):
        yield Vector("dotted-name", path, "model.pkl", pickle(ref(path)), "not-clean")
    for path in (
        "asyncio.unix_events:os.system",
        "sklearn.utils._testing:os.system",
        "torch.hub:os.system",
        "joblib.disk:os.system",
        "pandas.io.common:os.system",
    ):
        yield Vector("re-exported-submodule", path, "model.pkl", pickle(call(path, COMMAND)))
    for path in (
        "logging.config:importlib.import_module",
        "torch.utils.collect_env:subprocess.call",
        "pip._internal.utils.subprocess:subprocess.call",
    ):
        yield Vector("re-exported-submodule", path, "model.pkl", pickle(call(path, ["true"])))
    # without a dot: a module that holds another module's function by its own name
    for path in ("sre_parse:__builtins__", "numpy.testing._private.utils:__builtins__"):
        yield Vector("re-exported-submodule", path, "model.pkl", pickle(ref(path)), "not-clean")


def memo() -> Iterator[Vector]:
    bodies = {
        "name from a slot": text("system") + b"\x94" + text("os") + b"h\x00\x93" + RUN + b"R",
        "slot overwritten by number": text("math")
        + b"q\x00"
        + text("os")
        + b"q\x000h\x00"
        + text("system")
        + b"\x93"
        + RUN
        + b"R",
        "long slot number": text("os")
        + b"r\x70\x11\x01\x000j\x70\x11\x01\x00"
        + text("system")
        + b"\x93"
        + RUN
        + b"R",
        "slots of two widths": text("os")
        + b"r\x05\x00\x00\x000"
        + text("system")
        + b"p6\n0h\x05g6\n\x93"
        + RUN
        + b"R",
        "callable from a slot, late": SYSTEM + b"q\x010" + push([1, 2, 3]) + b"0h\x01" + RUN + b"R",
        "memoize after put": text("x")
        + b"q\x00"
        + text("os")
        + b"\x94h\x01"
        + text("system")
        + b"\x93"
        + RUN
        + b"R",
        "put changes what a benign name means": text("collections")
        + b"q\x07"
        + text("os")
        + b"q\x07"
        + b"0h\x07"
        + text("system")
        + b"\x93"
        + RUN
        + b"R",
    }
    for name, body in bodies.items():
        yield Vector("memo-confusion", name, "model.pkl", pickle(body))


def computed() -> Iterator[Vector]:
    bodies = {
        "str of str": text("os") + call("builtins:str", "system") + b"\x93" + RUN + b"R",
        "join": call(
            "builtins:getattr",
            call("builtins:__import__", "os"),
            call("builtins:str.join", "", ["sys", "tem"]),
        )
        + RUN
        + b"R",
        "codecs": text("os") + call("_codecs:encode", b"system", "latin1") + b"\x93" + RUN + b"R",
        "base64 code": call("builtins:exec", call("base64:b64decode", b"cHJpbnQoMSk=")),
        "operator": call("operator:methodcaller", "system", COMMAND)
        + b"("
        + call("builtins:__import__", "os")
        + b"tR",
        "resolve_name": call("pkgutil:resolve_name", "os:system") + RUN + b"R",
    }
    for name, body in bodies.items():
        yield Vector("computed-name", name, "model.pkl", pickle(body))
    escaped = {
        "unicode escapes": b"V\\u006fs\nV\\u0073ystem\n\x93" + RUN + b"R",
        "string escapes": b"S'\\x6fs'\nS'\\x73ystem'\n\x93" + RUN + b"R",
        "quoted in double": b'S"os"\nS"system"\n\x93' + RUN + b"R",
        "short binary string": b"U\x02os" + b"T\x06\x00\x00\x00system\x93" + RUN + b"R",
    }
    for name, body in escaped.items():
        yield Vector("escaped-name", name, "model.pkl", pickle(Raw(body)))


def calls() -> Iterator[Vector]:
    yield Vector("inst", "protocol 0", "model.pkl", b"(S'true'\nios\nsystem\n.")
    yield Vector("inst", "behind a container", "model.pkl", b"(lp0\n(S'true'\nisubprocess\nPopen\na.")
    yield Vector("obj", "protocol 1", "model.pkl", b"(cos\nsystem\nX\x04\x00\x00\x00trueo.")
    yield Vector("obj", "binary name", "model.pkl", pickle(Raw(b"(" + SYSTEM + text(COMMAND) + b"o")))
    yield Vector(
        "newobj",
        "a class that starts a process",
        "model.pkl",
        pickle(ref("subprocess:Popen") + push((COMMAND,)) + b"\x81"),
        "not-clean",
    )
    yield Vector(
        "newobj",
        "a class whose state runs",
        "model.pkl",
        pickle(obj("zipimport:zipimporter", state={"archive": PATH})),
        "not-clean",
    )
    yield Vector(
        "newobj-ex",
        "keyword arguments",
        "model.pkl",
        pickle(ref("subprocess:Popen") + push(()) + push({"args": [COMMAND]}) + b"\x92"),
        "not-clean",
    )
    yield Vector(
        "newobj-ex",
        "ctypes",
        "model.pkl",
        pickle(ref("ctypes:CDLL") + push((PATH + ".so",)) + push({}) + b"\x92"),
        "not-clean",
    )
    for code in (b"\x82\x07", b"\x83\x07\x01", b"\x84\x07\x01\x00\x00"):
        yield Vector("ext", f"opcode {code[0]:#x}", "model.pkl", pickle(Raw(code + RUN + b"R")), "not-clean")
    yield Vector(
        "ext",
        "registered by the stream itself",
        "model.pkl",
        pickle(call("copyreg:add_extension", "os", "system", 77) + b"0\x82\x4d" + RUN + b"R"),
    )
    yield Vector(
        "persid", "binary, a call inside", "model.pkl", pickle(push((call("os:system", COMMAND), 1)) + b"Q")
    )
    yield Vector("persid", "text", "model.pkl", b"Pfile:///nonexistent/x\n.", "not-clean")
    yield Vector("persid", "binary, a word", "model.pkl", pickle(push("x") + b"Q"), "not-clean")


def stack() -> Iterator[Vector]:
    hit = call("os:system", COMMAND)
    bodies = {
        "dup": {
            "callable doubled": SYSTEM + b"20" + RUN + b"R",
            "argument doubled": SYSTEM + text(COMMAND) + b"2\x860" + RUN + b"R",
        },
        "pop": {
            "result dropped": hit + b"0N",
            "dropped to the mark": b"(" + hit + b"1N",
            "mark dropped": b"(0" + hit,
            "tuple of results": b"(" + hit + b"t0N",
        },
    }
    for label, group in bodies.items():
        for name, body in group.items():
            yield Vector(label, name, "model.pkl", pickle(Raw(body)))
    yield Vector("pop", "in a key", "model.pkl", pickle(Raw(b"}" + hit + b"Ns")))
    yield Vector("pop", "in a set", "model.pkl", pickle(Raw(b"\x8f(" + hit + b"\x90")))
    yield Vector("pop", "in a frozenset", "model.pkl", pickle(Raw(b"(" + hit + b"\x91")))


def attributes() -> Iterator[Vector]:
    build = "build-on-callable"
    yield Vector(
        build,
        "a module's attribute",
        "model.pkl",
        pickle(call("importlib:import_module", "collections") + push({"OrderedDict": SYSTEM}) + b"b"),
    )
    yield Vector(
        build,
        "a class's attribute",
        "model.pkl",
        pickle(
            ref("collections:ChainMap")
            + push((None, {"__setstate__": SYSTEM}))
            + b"b"
            + obj("collections:ChainMap", state=COMMAND)
        ),
    )
    yield Vector(
        build,
        "a function's attribute",
        "model.pkl",
        pickle(ref("collections:namedtuple") + push((None, {"__wrapped__": SYSTEM})) + b"b"),
    )
    yield Vector(
        build,
        "a function's code",
        "model.pkl",
        pickle(
            ref("collections:namedtuple") + push((None, {"__code__": call("marshal:loads", b"N")})) + b"b"
        ),
    )
    yield Vector(
        build,
        "a benign class, benign value",
        "model.pkl",
        pickle(ref("collections:OrderedDict") + push((None, {"copy": 1})) + b"b"),
        "not-clean",
    )
    yield Vector(
        build,
        "a module by name",
        "model.pkl",
        pickle(ref("logging:handlers") + push({"x": 1}) + b"b"),
        "not-clean",
    )
    inject = "setstate-injection"
    yield Vector(
        inject,
        "own attribute",
        "model.pkl",
        pickle(obj("argparse:Namespace", state={"__setstate__": SYSTEM}) + push(COMMAND) + b"b"),
    )
    yield Vector(
        inject,
        "slots state",
        "model.pkl",
        pickle(obj("argparse:Namespace", state=(None, {"__setstate__": SYSTEM})) + push(COMMAND) + b"b"),
    )
    yield Vector(
        inject,
        "class of an object",
        "model.pkl",
        pickle(obj("argparse:Namespace", state={"__class__": ref("subprocess:Popen")})),
        "not-clean",
    )
    yield Vector(
        inject,
        "sklearn estimator",
        "model.pkl",
        pickle(obj("sklearn.linear_model._base:LinearRegression", state={"predict": SYSTEM})),
        "not-clean",
    )
    yield Vector(
        inject,
        "reduce of an object",
        "model.pkl",
        pickle(obj("argparse:Namespace", state={"__reduce_ex__": SYSTEM})),
        "not-clean",
    )


def takers() -> Iterator[Vector]:
    label = "callable-that-calls"
    bodies = {
        "defaultdict factory": call("collections:defaultdict", call("functools:partial", SYSTEM, COMMAND)),
        "defaultdict factory, bare": call("collections:defaultdict", SYSTEM),
        "partial, called": Raw(call("functools:partial", SYSTEM, COMMAND) + b")R"),
        "partial": call("functools:partial", SYSTEM, COMMAND),
        "map in a list": call("builtins:list", call("builtins:map", SYSTEM, [COMMAND])),
        "filter in a tuple": call("builtins:tuple", call("builtins:filter", SYSTEM, [COMMAND])),
        "reduce": call("functools:reduce", SYSTEM, [COMMAND, COMMAND]),
        "copyreg reconstructor": call(
            "copyreg:_reconstructor", ref("subprocess:Popen"), ref("builtins:object"), None
        ),
        "copyreg newobj": call("copyreg:__newobj__", ref("subprocess:Popen"), COMMAND),
        "numpy reconstruct": call("numpy._core.multiarray:_reconstruct", ref("subprocess:Popen"), (0,), b"b"),
        "torch type": call(
            "torch._tensor:_rebuild_from_type_v2", SYSTEM, ref("torch:Tensor"), (COMMAND,), {}
        ),
        "torch wrapper": call(
            "torch._utils:_rebuild_wrapper_subclass",
            ref("subprocess:Popen"),
            None,
            (1,),
            (1,),
            0,
            None,
            None,
            False,
        ),
        "map pulled by a dict": call("collections:OrderedDict", call("builtins:map", SYSTEM, [COMMAND])),
        "sorted by key": call("builtins:sorted", [COMMAND], SYSTEM),
        "itertools starmap": call("builtins:list", call("itertools:starmap", SYSTEM, [(COMMAND,)])),
        "iter with a sentinel": call(
            "builtins:list", call("builtins:iter", call("functools:partial", SYSTEM, COMMAND), 0)
        ),
        "type with a base": call("builtins:type", "x", (ref("subprocess:Popen"),), {}),
        "dict subclass with missing": obj("collections:ChainMap", state={"maps": [], "__missing__": SYSTEM}),
    }
    soft = {
        "partial",
        "defaultdict factory, bare",
        "defaultdict factory",
        "copyreg newobj",
        "numpy reconstruct",
        "copyreg reconstructor",
        "type with a base",
        "dict subclass with missing",
        "torch wrapper",
        "sorted by key",
    }
    for name, body in bodies.items():
        yield Vector(label, name, "model.pkl", pickle(body), "not-clean" if name in soft else "dangerous")


def damaged() -> Iterator[Vector]:
    hit = proto(4) + call("os:system", COMMAND)
    broken, cut = "payload-before-broken-end", "payload-before-truncated-end"
    for name, tail in {
        "unknown opcode": b"\xff",
        "empty stack": b"000000",
        "bad number": b"Iabc\n.",
        "bad memo": b"h\x63.",
        "bad utf-8": b"\x8c\x02\xff\xfe.",
        "tuple without a mark": b"t.",
        "text": b"\nhello",
    }.items():
        yield Vector(broken, name, "model.pkl", hit + tail)
    for name, tail in {
        "no stop": b"",
        "half a string": b"X\x10\x00\x00\x00ab",
        "half a frame": b"\x95\x40\x00\x00\x00\x00\x00\x00\x00ab",
        "half a name": b"cmath\nsq",
        "half a length": b"B\x01",
    }.items():
        yield Vector(cut, name, "model.pkl", hit + tail)


def streams() -> Iterator[Vector]:
    label = "several-streams"
    yield Vector(label, "second", "model.pkl", benign() + payload())
    yield Vector(label, "fourth, other protocol", "model.pkl", benign() + benign(2) + benign(0) + payload(0))
    yield Vector(
        label,
        "legacy torch order",
        "model.pt",
        pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", version=2)
        + pickle(b"M\xe9\x03", version=2)
        + pickle(push({"little_endian": True}, 2), version=2)
        + payload(2)
        + pickle(push([], 2), version=2),
    )
    yield Vector(
        "trailing-data",
        "padding, then a stream",
        "model.pkl",
        benign() + b"\x00" * 64 + payload(),
        "not-clean",
    )
    yield Vector(
        "trailing-data",
        "words, then a stream",
        "model.pkl",
        benign() + b"# weights follow\n" + payload(2),
        "not-clean",
    )
    yield Vector(
        "trailing-data",
        "a zip archive of an unpickler",
        "model.pkl",
        benign() + b"PK\x03\x04" + payload(2),
        "not-clean",
    )


def frames() -> Iterator[Vector]:
    label = "frame-boundary"
    hit = call("os:system", COMMAND)

    def frame(body: bytes) -> bytes:
        return b"\x95" + struct.pack("<Q", len(body)) + body

    yield Vector(label, "call across two frames", "model.pkl", proto(4) + frame(SYSTEM + RUN) + frame(b"R."))
    yield Vector(
        label,
        "name split by a frame",
        "model.pkl",
        proto(4) + b"\x95\x08\x00\x00\x00\x00\x00\x00\x00" + hit + STOP,
    )
    yield Vector(
        label, "frame too long", "model.pkl", proto(4) + b"\x95\xff\xff\x00\x00\x00\x00\x00\x00" + hit + STOP
    )
    yield Vector(label, "frame of nothing", "model.pkl", proto(4) + frame(b"") + hit + STOP)
    yield Vector(label, "frame in a frame", "model.pkl", proto(4) + frame(frame(hit) + STOP))
    yield Vector(
        label,
        "frame in protocol 2",
        "model.pkl",
        proto(2) + frame(call("os:system", COMMAND, version=2) + STOP),
    )
    yield Vector(label, "stop inside, call outside", "model.pkl", proto(4) + frame(b"N") + hit + STOP)
    yield Vector(label, "huge frame", "model.pkl", proto(4) + b"\x95" + b"\xff" * 7 + b"\x7f" + hit + STOP)


def opcodes() -> Iterator[Vector]:
    # Every opcode stands once before the call: whoever loses count of one misses it.
    label, hit = "every-opcode", call("os:system", COMMAND)
    before = {
        "bytearray8": b"\x96\x03\x00\x00\x00\x00\x00\x00\x00abc",
        "buffer": b"\x97",
        "readonly buffer": b"\x96\x01\x00\x00\x00\x00\x00\x00\x00a\x98",
        "binbytes8": b"\x8e\x03\x00\x00\x00\x00\x00\x00\x00abc",
        "binunicode8": b"\x8d\x03\x00\x00\x00\x00\x00\x00\x00abc",
        "long": b"L12L\n",
        "long1": b"\x8a\x02\x01\x01",
        "long4": b"\x8b\x02\x00\x00\x00\x01\x01",
        "float": b"F1.5\n",
        "binfloat": b"G" + b"\x00" * 8,
        "int": b"I7\n",
        "true": b"I01\n",
        "binint": b"J\x01\x00\x00\x00",
        "binint1": b"K\x01",
        "binint2": b"M\x01\x00",
        "string": b"S'a\\n'\n",
        "short binstring": b"U\x01a",
        "binstring": b"T\x01\x00\x00\x00a",
        "unicode": b"V\\u0041\n",
        "binbytes": b"B\x01\x00\x00\x00a",
        "short binbytes": b"C\x01a",
        "none": b"N",
        "newtrue": b"\x88",
        "newfalse": b"\x89",
        "empty tuple": b")",
        "tuple1": b"N\x85",
        "tuple2": b"NN\x86",
        "tuple3": b"NNN\x87",
        "empty list": b"]",
        "append": b"]Na",
        "appends": b"](NNe",
        "list": b"(Nl",
        "empty dict": b"}",
        "setitem": b"}NNs",
        "setitems": b"}(NNu",
        "dict": b"(NNd",
        "empty set": b"\x8f",
        "additems": b"\x8f(N\x90",
        "frozenset": b"(N\x91",
        "put": b"Np3\n",
        "binput": b"Nq\x03",
        "long binput": b"Nr\x03\x00\x00\x00",
        "memoize": b"N\x94",
        "get": b"Np3\n0g3\n",
        "binget": b"Nq\x030h\x03",
        "long binget": b"Nq\x030j\x03\x00\x00\x00",
        "pop mark": b"N(NN1",
        "second proto": b"\x80\x05N",
    }
    for name, ops in before.items():
        yield Vector(label, name, "model.pkl", pickle(Raw(ops + b"0" + hit), version=5))
    for version in range(6):
        yield Vector(label, f"protocol {version}", "model.pkl", payload(version))
