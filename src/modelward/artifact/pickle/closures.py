"""Functions and classes that a file brings itself, as cloudpickle and dill write them.

Building a code object, a function, a cell or a class runs nothing of the file, as long as nothing calls what
was built. So each is a symbolic value that knows what it holds, and every way in which loading could call it
ends here or in `classes.py`: calling it, instantiating its class, giving a state, subclassing, item opcodes.

Source: cloudpickle/cloudpickle.py 2.2 to 3.1 (_make_function, _function_setstate, _make_skeleton_class,
_class_setstate, ...), dill/_dill.py 0.3.6 to 0.4 (_create_function, _create_type, _import_module, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.events import Event, Level
from modelward.artifact.pickle import rules
from modelward.artifact.pickle.built import Built, built, make, outside
from modelward.artifact.pickle.classes import CLASSES, attributes
from modelward.artifact.pickle.values import Global, Map, Obj, Seq, call_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.schema import Matcher
    from modelward.artifact.pickle.values import Value

_FUNCTION: Final = frozenset(
    {"__name__", "__qualname__", "__annotations__", "__kwdefaults__", "__defaults__", "__module__",
     "__doc__", "__closure__", "_cloudpickle_submodules", "__globals__", "__type_params__", "__dict__"}
)  # fmt: skip
"""What cloudpickle and dill set on a function."""
_WORDS: Final = frozenset(
    {"system", "popen", "Popen", "subprocess", "__import__", "socket", "execv", "execve", "execvp",
     "check_output", "check_call", "getoutput", "getstatusoutput", "urlopen", "urlretrieve",
     "__subclasses__", "__globals__", "__builtins__", "ctypes", "CDLL", "rmtree", "pty", "fork",
     "import_module", "exec", "spawn", "startfile", "runpy", "marshal", "create_connection"}
)  # fmt: skip
"""Names in code that lead to programs, source text, native code or the network."""
_BUILTINS: Final = frozenset({"eval", "compile"})
"""As above, but common as names of methods: they count when the code looks them up as global names."""
_GLOBAL_OPCODES: Final = frozenset({116, 101, 91, 92, 93})
"""LOAD_GLOBAL and LOAD_NAME of Python 3.6 to 3.14."""
_QUIET_MODULES: Final = frozenset(
    ("__main__", "__future__", "_thread", "abc", "argparse", "array", "base64", "binascii", "bisect",
     "builtins", "calendar", "cmath", "collections", "colorsys", "configparser", "contextlib", "copy",
     "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "errno", "fnmatch", "fractions",
     "functools", "hashlib", "heapq", "hmac", "html", "io", "itertools", "json", "keyword", "logging",
     "math", "numbers", "operator", "pathlib", "pprint", "queue", "random", "re", "reprlib", "secrets",
     "statistics", "string", "struct", "textwrap", "time", "traceback", "types", "typing",
     "typing_extensions", "unicodedata", "uuid", "warnings", "weakref", "zlib", "zoneinfo")
)  # fmt: skip
"""Modules whose import does nothing that matters, besides those on the allow-list."""
_COMMON_MODULES: Final = frozenset(
    ("os", "sys", "os.path", "posixpath", "glob", "shutil", "tempfile", "inspect", "threading", "pickle",
     "ast", "gc", "signal", "urllib", "urllib.parse", "http", "importlib", "concurrent",
     "concurrent.futures", "gzip", "requests")
)  # fmt: skip
"""Modules that honest functions refer to; nothing is reached through them without a further step."""


# --- code and functions ------------------------------------------------------------------------------------


def _code(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`types.CodeType(...)`, `dill._dill._create_code(...)`: a code object, which does nothing by itself."""
    if not 14 <= len(args) <= 22 or not all(_in_code(judge, arg) for arg in args):
        return outside(judge, callee, args, pos)
    return make("code", pos, args, _word(judge, args))


def _in_code(judge: Judge, value: Value) -> bool:
    if isinstance(value, Seq):
        return all(_in_code(judge, item) for item in value.items)
    if isinstance(value, Obj):
        plain = {"builtins.bytes", "builtins.complex", "builtins.slice", "builtins.frozenset"}
        return built(value, "code") is not None or value.tag in plain
    return isinstance(value, int) or (isinstance(value, Global) and value.path == "builtins.Ellipsis")


def _word(judge: Judge, args: Sequence[Value]) -> str | None:
    """The first name or text in the arguments of a code object that runs something."""
    code = next((raw for arg in args if isinstance(arg, int | Obj) and (raw := judge.match.raw(arg))), b"")
    for arg in args:
        for number, item in enumerate(arg.items if isinstance(arg, Seq) else ()):
            if (inner := built(item, "code")) is not None and inner.word:
                return inner.word
            text = judge.match.text(item)
            if text is None:
                continue
            if text in _WORDS or (text in _BUILTINS and _looks_up(code, number)):
                return text
            if word := next((word for word in rules.dangers().arguments if word in text), None):
                return word
    return None


def _looks_up(code: bytes, number: int) -> bool:
    pairs = zip(code[::2], code[1::2], strict=False)
    return any(opcode in _GLOBAL_OPCODES and number in {arg, arg >> 1} for opcode, arg in pairs)


def _function(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`_make_function(code, globals, ...)`, `_create_function(...)`, `types.FunctionType(...)`."""
    code = built(args[0], "code") if args else None
    names = args[1] if len(args) > 1 else None
    scope = isinstance(names, Map | int) or (isinstance(names, Global) and names.path == "builtins.__main__")
    cells = args[4] if len(args) > 4 else None
    if code is None:
        return outside(judge, callee, args, pos, level="dangerous")
    if not 2 <= len(args) <= 7 or not scope or not _cells(cells):
        return outside(judge, callee, args, pos)
    _built_function(judge, code.word, pos)
    return make("function", pos, args, code.word)


def _cells(value: Value | None) -> bool:
    items = value.items if isinstance(value, Seq) else []
    return value is None or isinstance(value, int) or (
        isinstance(value, Seq) and all(built(item, "cell") is not None for item in items)
    )  # fmt: skip


def _built_function(judge: Judge, word: str | None, pos: int) -> None:
    if word is not None:
        message = f"a function built from code in the file holds {word!r}: calling it would run that"
        judge.record(Event("pickle.built-payload", "unproven", message, pos), word)
    else:
        message = "functions are built from code in the file; loading runs none of it, but calling one does"
        judge.record(Event("pickle.built", "note", message, pos))


def _function_state(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`_function_setstate(function, (attributes, slots))`."""
    if len(args) != 2 or built(args[0], "function") is None:
        return outside(judge, callee, args, pos)
    give_state(judge, args[0], args[1], pos)
    return Obj("built.none", pos)


def _cell(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`_make_empty_cell()`, `_make_cell(value)`, `_create_cell(value)`."""
    return make("cell", pos, args) if len(args) <= 1 else outside(judge, callee, args, pos)


def _method(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`types.MethodType(function, owner)`: of the file's functions, or of one that may be referred to."""
    if len(args) == 2 and judge.match.matches_one("value", args[0]):
        return make("function", pos, args)
    inner = built(args[0], "function") if len(args) == 2 else None
    return make("function", pos, args, inner.word) if inner is not None else outside(judge, callee, args, pos)


def _descriptor(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`property(...)`, `classmethod(f)`, `staticmethod(f)`: they read the documentation of a function."""
    known = all(isinstance(arg, int) or built(arg, "function", "descriptor") is not None for arg in args)
    if not args or not known:
        return outside(judge, callee, args, pos)
    words = (found.word for arg in args if (found := built(arg)) is not None)
    return make("descriptor", pos, args, next((word for word in words if word), None))


def _proxy(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`types.MappingProxyType(dictionary)`."""
    if len(args) == 1 and isinstance(args[0], Map):
        return make("proxy", pos, args)
    return outside(judge, callee, args, pos)


def _set_cell(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`setattr(cell, "cell_contents", value)` and attributes of a built class, as dill writes them."""
    target = args[0] if len(args) == 3 else None
    if isinstance(target, Obj) and built(target, "cell") and judge.match.text(args[1]) == "cell_contents":
        target.held.append(args[2])
        return Obj("built.none", pos)
    if (found := built(target, "class")) is not None and judge.match.text(args[1]) is not None:
        attributes(judge, found, [(args[1], args[2])], pos)
        return Obj("built.none", pos)
    text = call_text(judge.data, callee, args)
    judge.record(
        Event("pickle.payload", "dangerous", "builtins.setattr overwrites attributes", pos, text), callee.path
    )
    return judge.unknown(pos, tainted=True)


def _set_items(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`dill._dill._setitems(target, source)`: items of one dictionary into another."""
    if len(args) != 2 or not isinstance(args[0], Map) or not isinstance(args[1], Map):
        return outside(judge, callee, args, pos)
    judge.keys(args[1].keys, pos)
    args[0].keys += args[1].keys
    args[0].values += args[1].values
    return Obj("built.none", pos)


# --- names and modules -------------------------------------------------------------------------------------


def _type_by_name(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`cloudpickle._builtin_type(name)` and `dill._dill._load_type(name)`: a built-in type."""
    name = judge.match.text(args[0]) if len(args) == 1 else None
    if name in _TYPES:
        return Global("types", name, pos, _CALLED, None)
    if name in {"ClassType", "TypeType"}:
        name = "type"
    if name == "SuperType":
        return Global("builtins", "super", pos, rules.Entry("value"), None)
    if name in {"NoneType", "EllipsisType", "NotImplementedType"}:
        return Obj("typing.hint", pos)
    home, real = _OTHER_TYPES.get(name or "", ("types", name or ""))
    if (known := rules.find(home, real)) is not None:
        return Global(home, real, pos, known, None)
    entry = rules.find("builtins", name) if name is not None else None
    if name is None or entry is None or rules.payload("builtins", name):
        return outside(judge, callee, args, pos)
    return Global("builtins", name, pos, entry, None)


def _module(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`subimport(name)`, `_import_module(name)`: an import, and the module as a value."""
    name = judge.match.text(args[0]) if args else None
    if name is None or len(args) > 2:
        return outside(judge, callee, args, pos)
    result = make("module", pos, ())
    text = call_text(judge.data, callee, args)
    module, _, last = name.rpartition(".")
    if rules.find(module, last) is not None and not _known_module(name):
        return Global(module, last, pos, rules.find(module, last), None)  # dill imports classes this way too
    if _known_module(name):
        return result
    why = rules.payload(name, "") or rules.payload(module, last)
    result.tainted = why is not None
    level: Level = "dangerous" if why is not None and name not in _COMMON_MODULES else "unproven"
    message = f"{name} is imported, which {why}" if why else f"{name} is imported, and not on the allow-list"
    judge.record(Event("pickle.import", level, message, pos, text), name)
    return result


def _known_module(name: str) -> bool:
    if name in _QUIET_MODULES:
        return True
    if name in rules.allowlist().modules:
        return rules.payload(name, "") is None
    return (
        any(module.startswith(f"{name}.") for module in rules.allowlist().modules)
        and rules.payload(name, "") is None
    )


def _constant(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`dill._dill._eval_repr(text)` evaluates its text; dill writes it for two constants."""
    if len(args) == 1 and judge.match.text(args[0]) in {"NotImplemented", "Ellipsis"}:
        return Obj("built.none", pos)
    text = call_text(judge.data, callee, args)
    judge.record(
        Event("pickle.payload", "dangerous", f"{callee.path} evaluates source text", pos, text), callee.path
    )
    return judge.unknown(pos, tainted=True)


def _array(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`dill._dill._create_array(function, arguments, state, attributes)`: a call, then a state."""
    if len(args) not in {3, 4} or judge.match.scalar(args[-1] if len(args) == 4 else 0) not in {None, 0}:
        return outside(judge, callee, args, pos)
    result = judge.call(args[0], args[1], pos)
    judge.build(result, args[2], pos)
    return result


def _namedtuple(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`dill._dill._create_namedtuple(name, fields, module, defaults)`, which imports the module first."""
    home = judge.match.text(args[2]) if len(args) in {3, 4} else None
    fields = args[1].items if home is not None and isinstance(args[1], Seq) else []
    names = [judge.match.text(item) or "" for item in (*args[:1], *fields)]
    if home is None or not _known_module(home) or not all(name.isidentifier() for name in names):
        return outside(judge, callee, args, pos)
    result = make("class", pos, args)
    result.built = Built("class", entry=rules.Entry("class", state="dict", base=True))
    return result


def _new_module(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`dynamic_subimport(name, attributes)`: a module object that is not imported."""
    if len(args) == 2 and judge.match.text(args[0]) is not None and isinstance(args[1], Map):
        return make("module", pos, args)
    return outside(judge, callee, args, pos)


def give_state(judge: Judge, target: Value, state: Value, pos: int) -> None:
    """BUILD, or `_function_setstate`, of something that the file built."""
    found = built(target, "function")
    parts = state.items if isinstance(state, Seq) and len(state.items) == 2 else [state]
    match = judge.match
    if (
        found is None
        or not isinstance(target, Obj)
        or not all(_attributes_only(match, part) for part in parts)
    ):
        message = "a state is given to something that the file built, in a way no pickler does"
        judge.record(Event("pickle.patched", "dangerous", message, pos), message)
        return
    slots = parts[1] if len(parts) == 2 else None
    for key, value in zip(slots.keys, slots.values, strict=False) if isinstance(slots, Map) else ():
        name = match.text(key)
        if name not in _FUNCTION or (name == "__closure__" and not _cells(value)):
            message = f"{name} is set on a function built from the file"
            judge.record(Event("pickle.patched", "unproven", message, pos), message)
    target.held += [part for part in parts if isinstance(part, Map)]


def _attributes_only(match: Matcher, part: Value) -> bool:
    return match.scalar(part) is None or (
        isinstance(part, Map) and part.whole and all(match.text(key) is not None for key in part.keys)
    )


_CALLED: Final = rules.Entry("function")
_TYPES: Final = {
    "CodeType": _code, "FunctionType": _function, "LambdaType": _function, "CellType": _cell,
    "MethodType": _method, "MappingProxyType": _proxy, "ModuleType": _new_module,
}  # fmt: skip
_OTHER_TYPES: Final = {"PartialType": ("functools", "partial"), "ItemGetterType": ("operator", "itemgetter")}
_CLOUDPICKLE: Final = {
    "_make_function": _function, "_function_setstate": _function_state, "_make_empty_cell": _cell,
    "_make_cell": _cell,
    "_builtin_type": _type_by_name, "subimport": _module, "dynamic_subimport": _new_module,
    **{name: follow for name, follow in CLASSES.items() if name != "_create_type"},
}  # fmt: skip
_DILL: Final = {
    "_create_function": _function, "_create_code": _code, "_create_cell": _cell, "_load_type": _type_by_name,
    "_import_module": _module, "_create_type": CLASSES["_create_type"], "_setitems": _set_items,
    "_create_array": _array, "_create_namedtuple": _namedtuple, "_eval_repr": _constant,
}  # fmt: skip
CLOUDPICKLE: Final = tuple(
    f"{home}{module}"
    for home in ("", "joblib.externals.", "pyspark.", "ray.", "numba.")
    for module in ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "cloudpickle")
)
"""Modules in which releases, and packages that ship a copy, have cloudpickle's functions."""


def _numba(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """Functions that numba compiled are bytes that loading unpickles again: they are walked, and unproven."""
    inner = judge.match.raw(args[0]) if len(args) == 1 else None
    if inner is None or len(judge.embedded) >= _EMBEDDED:
        return outside(judge, callee, args, pos, level="dangerous")
    judge.embedded.append(inner)
    message = f"{callee.path} unpickles a function of the file and compiles it"
    judge.record(Event("pickle.built-call", "unproven", message, pos), callee.path)
    return judge.unknown(pos)


_EMBEDDED: Final = 1000
"""Most pickles inside one pickle that are walked."""
SPECIAL: Final = {
    "numba.core.serialize._unpickle__CustomPickled": _numba,
    **{f"{module}.{name}": follow for module in CLOUDPICKLE for name, follow in _CLOUDPICKLE.items()},
    **{
        f"{module}.{name}": follow for module in ("dill._dill", "dill.dill") for name, follow in _DILL.items()
    },
    **{f"types.{name}": follow for name, follow in _TYPES.items()},
    **dict.fromkeys(("builtins.property", "builtins.classmethod", "builtins.staticmethod"), _descriptor),
    "builtins.setattr": _set_cell,
}
"""Callables that build something, each followed by a function."""
