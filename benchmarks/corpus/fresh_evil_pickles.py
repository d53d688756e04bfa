# ruff: noqa: E501, SLF001, D102 - tables of cases; the Python pickler is the one that can be extended
"""Fresh malicious pickles: a payload inside a real model, as an attacker would hide it; and broken containers."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import pickle
import random
import struct
import zlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import fresh_evil_calls as calls
import numpy as np
from joblib.numpy_pickle import NumpyPickler

from vectors import writers
from vectors.asm import COMMAND, STOP, Raw, Vector, call, push
from vectors.asm import pickle as stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN = call("posix:system", COMMAND)

MERELY_DOUBTFUL = frozenset(
    [
        "builtins:breakpoint",
        "idlelib.run:Executive.runcode",
        "torch._dynamo.guards:GuardBuilder.get",
        "sh:Command",
        "torch.utils._config_module:ConfigModule.load_config",
        "torch:compile",
        "marshal:loads",
        "asteval:Interpreter",
        "lib2to3.pgen2.grammar:Grammar.loads",
        "sympy:lambdify",
        "git.cmd:Git.execute",
        "fabric:Connection.local",
        "pkgutil:resolve_name",
        "keras.src.utils.python_utils:func_load",
        "runpy:run_module",
        "cloudpickle.cloudpickle:subimport",
        "_imp:create_dynamic",
        "importlib:import_module",
        "networkx.utils.decorators:argmap",
        "dask.delayed:delayed",
        "curses:wrapper",
        "os:kill",
        "os:_exit",
        "torch.utils.data._utils.collate:collate",
        "numpy:apply_along_axis",
        "tempfile:NamedTemporaryFile",
        "pandas:eval",
        "pandas.core.computation.eval:eval",
        "site:addpackage",
        "scipy.optimize:brentq",
        "torch.utils.cpp_extension:load_inline",
        "sys:addaudithook",
        "sys:setprofile",
        "signal:signal",
        "multiprocessing.util:spawnv_passfds",
        "_posixsubprocess:fork_exec",
        "pip._internal.utils.subprocess:call_subprocess",
        "doctest:debug_script",
        "numpy:fromfunction",
        "numpy.ctypeslib:load_library",
        "shelve:open",
        "numpy:memmap",
        "idlelib.calltip:get_entity",
        "commands:getoutput",
        "popen2:popen3",
        "__builtin__:execfile",
        "webbrowser:open",
        "joblib.parallel:BatchedCalls.__call__",
        "contextlib:ExitStack.callback",
        "ray.util.multiprocessing:Pool",
        "keras.src.saving.serialization_lib:deserialize_keras_object",
    ]
)
"""What an attacker reaches for, but what as written here fails, only returns something or needs a later use."""


class Inject(NamedTuple):
    """Stands in an object for opcodes that a pickler writes in its place."""

    raw: bytes


class Pickler(pickle._Pickler):
    """The standard library's pickler, but an `Inject` becomes its opcodes."""

    def save(self, item: object, *rest: object, **words: object) -> None:
        if type(item) is Inject:
            self.write(item.raw)
        else:
            super().save(item, *rest, **words)


class Joblib(NumpyPickler):
    """joblib's pickler, likewise."""

    def save(self, item: object) -> None:
        if type(item) is Inject:
            self.write(item.raw)
        else:
            super().save(item)


TORCH = SimpleNamespace(__name__="pickle", Pickler=Pickler, dumps=None, dump=None)


def dumped(item: object, protocol: int = 4, kind: type = Pickler) -> bytes:
    out = io.BytesIO()
    kind(out, protocol=protocol).dump(item)
    return out.getvalue()


@functools.cache
def network() -> object:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2))  # fmt: skip


def torch_file(item: object, *, legacy: bool = False) -> bytes:
    import torch

    out = io.BytesIO()
    if legacy:
        module = SimpleNamespace(__name__="pickle", Pickler=Pickler, dumps=None, dump=_dump)
        torch.save(item, out, pickle_module=module, pickle_protocol=4, _use_new_zipfile_serialization=False)
    else:
        torch.save(item, out, pickle_module=TORCH, pickle_protocol=4)
    return out.getvalue()


def _dump(item: object, file: io.BytesIO, protocol: int = 4) -> None:
    Pickler(file, protocol=protocol).dump(item)


def placed(state: dict[str, object], raw: bytes, where: int) -> dict[str, object]:
    """The payload as one more entry: at the start, in the middle or at the end."""
    pairs = list(state.items())
    at = (0, len(pairs) // 2, len(pairs))[where % 3]
    return dict([*pairs[:at], ("num_batches", Inject(raw)), *pairs[at:]])


def state_dict(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    name = draw.choice(("pytorch_model.bin", "model.pt", "model.pth", "best.pt"))
    return name, torch_file(placed(dict(network().state_dict()), raw, draw.randrange(3)))


def legacy(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    return "weights.pth", torch_file(
        placed(dict(network().state_dict()), raw, draw.randrange(3)), legacy=True
    )


def lightning(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    import torch

    net = network()
    best = torch.optim.Adam(net.parameters())
    point = {
        "epoch": 3, "global_step": 900, "pytorch-lightning_version": "2.2.1", "state_dict": net.state_dict(),
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "x.ckpt"}},
        "optimizer_states": [best.state_dict()], "lr_schedulers": [], "hyper_parameters": {"lr": 1e-3},
    }  # fmt: skip
    point[draw.choice(("callbacks", "hyper_parameters"))]["extra"] = Inject(raw)
    return "epoch=3-step=900.ckpt", torch_file(point)


def whole_module(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    import copy

    net = copy.deepcopy(network())
    net[draw.randrange(4)].__dict__["_cache"] = Inject(raw)
    return "model_full.pt", torch_file(net)


@functools.cache
def pipeline() -> bytes:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(3)
    x = draw.normal(size=(80, 5))
    return pickle.dumps(
        make_pipeline(StandardScaler(), RandomForestClassifier(4, random_state=0)).fit(x, x[:, 0] > 0)
    )


def sklearn_with(raw: bytes, draw: random.Random) -> object:
    model = pickle.loads(pipeline())
    where = draw.randrange(3)
    target = (model, model[0], model[1].estimators_[2])[where]
    target.__dict__ = placed(target.__dict__, raw, draw.randrange(3))
    return model


def sklearn_pickle(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    return draw.choice(("model.pkl", "clf.pickle", "finalized_model.sav")), dumped(sklearn_with(raw, draw))


def joblib_plain(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    return "model.joblib", dumped(sklearn_with(raw, draw), kind=Joblib)


def joblib_packed(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    pack: Callable[[bytes], bytes] = draw.choice((zlib.compress, gzip.compress, bz2.compress, lzma.compress))
    return draw.choice(("model.joblib", "pipeline.pkl.z")), pack(dumped(sklearn_with(raw, draw), kind=Joblib))


def npy(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    items = np.array(["cat", "dog", {"id": 1}, None], dtype=object)
    items[draw.randrange(4)] = Inject(raw)
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": (4,)})
    return "labels.npy", out.getvalue() + dumped(items)


def npz(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    out = io.BytesIO()
    np.save(out, np.arange(12.0).reshape(3, 4))
    members = [("weights.npy", out.getvalue()), ("names.npy", npy(raw, draw)[1])]
    draw.shuffle(members)
    return "params.npz", writers.archive(*(writers.Member(n, d, method=8) for n, d in members))


def frame(raw: bytes, _draw: random.Random) -> tuple[str, bytes]:
    import pandas as pd

    table = pd.DataFrame({"text": ["a", "b"], "extra": [1, 2]}).astype({"extra": object})
    table.loc[1, "extra"] = [0]
    table["extra"] = pd.Series([1, Inject(raw)], dtype=object)
    return "features.pkl", dumped(table)


def prelude(raw: bytes, _draw: random.Random) -> tuple[str, bytes]:
    """The payload first, its result thrown away, then a model as it was."""
    return "model.pkl", b"\x80\x04" + raw + b"0" + pipeline()[2:]


def epilogue(raw: bytes, _draw: random.Random) -> tuple[str, bytes]:
    return "model.pkl", pipeline()[:-1] + raw + b"0" + STOP


def packed(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    which = draw.choice(("gz", "bz2", "xz", "zst"))
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": writers.zstd}[which]
    return f"frame.pkl.{which}", pack(sklearn_pickle(raw, draw)[1])


def tarred(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    name, data = draw.choice((state_dict, sklearn_pickle, joblib_plain))(raw, draw)
    return "model.tar.gz", writers.tar(
        {"code/inference.py": b"import json\n", f"model/{name}": data}, kind="w:gz"
    )


def zipped(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    name, data = draw.choice((state_dict, legacy, joblib_packed))(raw, draw)
    return "release.zip", writers.archive(
        writers.Member("README.md", b"# model\n"), writers.Member(f"weights/{name}", data, method=8)
    )


def bare(raw: bytes, draw: random.Random) -> tuple[str, bytes]:
    body = push({"model_state": {"w": [1, 2, 3]}, "args": Raw(raw)})
    return draw.choice(("vectorizer.pkl", "data.dat", "model")), stream(body)


CARRIERS = (
    state_dict, sklearn_pickle, joblib_plain, bare, lightning, npy, joblib_packed, prelude, legacy,
    whole_module, epilogue, frame, npz, packed, tarred, zipped,
)  # fmt: skip


def vectors(seed: int) -> Iterator[Vector]:
    """All of this file; the seed draws the place of each payload inside its carrier."""
    draw = random.Random(seed)
    cases: list[tuple[str, str, bytes, str]] = []
    for label in ("process", "evaluated", "indirect", "effects"):
        for path, *arguments in getattr(calls, label.upper()):
            expect = "not-clean" if path in MERELY_DOUBTFUL else "dangerous"
            cases.append((label, path, call(path, *arguments), expect))
    for name, raw, expect in calls.obscured():
        cases.append(("obscured", name, raw, expect))
    for index, (label, name, raw, expect) in enumerate(cases):
        carrier = CARRIERS[(index * 5 + seed) % len(CARRIERS)]
        file, data = carrier(raw, draw)
        yield Vector(label, f"{name} in {carrier.__name__}", file, data, expect)
    for name, raw, protocol, expect in calls.machine():
        yield Vector("machine", name, "model.pkl", stream(raw, version=protocol), expect)
    yield from broken(draw)
    yield from stories()


def broken(draw: random.Random) -> Iterator[Vector]:
    """Payloads in files that end badly, or in containers that readers disagree about."""
    state = state_dict(PLAIN, draw)[1]
    plain = PLAIN + b"0" + push({"w": [1]})
    whole = stream(plain)
    for name, data in {
        "no end": whole[:-1],
        "an unknown opcode after": whole[:-1] + b"\xff.",
        "cut inside a text": b"\x80\x04" + PLAIN + b"\x8c\x20abc",
        "an empty stack after": b"\x80\x04" + PLAIN + b"00000.",
        "a module that does not exist after": b"\x80\x04" + PLAIN + b"cnot_a_module_x\ny\n.",
        "protocol 99 later": b"\x80\x04" + PLAIN + b"\x80\x63.",
        "zeros after": whole + b"\x00" * 4096,
    }.items():
        yield Vector("broken", name, "model.pkl", data)
    yield Vector("broken", "second stream of a file read in a loop", "data.pkl", pickle.dumps([1, 2]) + whole, "not-clean")  # fmt: skip
    data = whole_name(state)
    cut = zlib.compress(whole)
    yield Vector("broken", "torch, members under a wrong checksum", "model.bin", rezipped(state, crc=1))
    yield Vector("broken", "torch, flagged as encrypted in the directory only", "model.bin", rezipped(state, central_flags=1), "not-clean")  # fmt: skip
    yield Vector("broken", "torch behind a script", "model.pt", rezipped(state, prefix=b"#!/bin/sh\n"), "not-clean")  # fmt: skip
    yield Vector("broken", "torch with bytes after", "model.pt", state + b"\n" * 100, "not-clean")
    yield Vector("broken", "torch, stored as deflated", "model.pt", rezipped(state, method=8), "dangerous")
    yield Vector("broken", "torch as 7z", "model.pth", writers.seven(data[0], data[1]), "not-clean")
    yield Vector(
        "broken",
        "torch zip in 7z",
        "pytorch_model.bin",
        writers.seven("pytorch_model.bin", state),
        "not-clean",
    )
    yield Vector("broken", "zlib cut before its end", "model.joblib", cut[:-4])
    yield Vector(
        "broken", "gzip without its trailer", "model.pkl.gz", gzip.compress(whole, mtime=0)[:-8], "not-clean"
    )
    yield Vector("broken", "two gzip members", "model.pkl.gz", gzip.compress(whole[:20]) + gzip.compress(whole[20:]))  # fmt: skip
    yield Vector(
        "broken", "gzip in gzip", "model.pkl.gz.gz", gzip.compress(gzip.compress(whole)), "not-clean"
    )
    yield Vector("broken", "tar in zip in tar", "bundle.tar", writers.tar({"a.zip": writers.archive(writers.Member("b.tar", writers.tar({"model.pkl": whole})))}), "not-clean")  # fmt: skip
    for suffix in ("safetensors", "onnx", "gguf", "json", "txt", "h5", "png", "csv"):
        yield Vector("renamed", f"pickle as .{suffix}", f"model.{suffix}", whole, "not-clean")
        if suffix in {"safetensors", "onnx", "txt", "h5"}:
            yield Vector("renamed", f"torch zip as .{suffix}", f"model.{suffix}", state, "not-clean")
    yield Vector("renamed", "no name at all", "0a1b2c3d4e5f", whole)
    for protocol in (0, 1, 2, 3, 5):
        text = f"protocol {protocol} by the library"
        item = {"vocab": ["a", "b"], "model": Inject(call("posix:system", COMMAND, version=min(protocol, 3)))}
        yield Vector("protocol", text, "tokenizer.pickle", dumped(item, protocol))


def whole_name(state: bytes) -> tuple[str, bytes]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(state)) as file:
        name = next(name for name in file.namelist() if name.endswith("data.pkl"))
        return name, file.read(name)


def rezipped(state: bytes, *, prefix: bytes = b"", **fields: int) -> bytes:
    """The members of a torch archive, written again with other fields."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(state)) as file:
        members = [writers.Member(name, file.read(name), **fields) for name in file.namelist()]
    return writers.archive(*members, prefix=prefix, shift=int(bool(prefix)))


def stories() -> Iterator[Vector]:
    """After public write-ups: what the files did, with a harmless command."""
    shell = "import os\nif os.name == 'posix': os.system('true')\n"
    state = dict(network().state_dict())
    runpy = call("runpy:_run_code", push(shell), {})
    yield Vector("story", "hub account with a reverse shell in a state dict", "pytorch_model.bin", torch_file({**state, "x": Inject(call("builtins:exec", shell))}))  # fmt: skip
    yield Vector("story", "runpy in a BERT checkpoint", "pytorch_model.bin", torch_file({"bert.pooler.weight": state["0.weight"], "e": Inject(runpy)}))  # fmt: skip
    yield Vector("story", "broken pickle in 7z", "model.pt", writers.seven("archive/data.pkl", b"\x80\x02" + call("builtins:exec", shell, version=2) + b"}q"), "not-clean")  # fmt: skip
    bits = np.unpackbits(np.frombuffer(b"print(1)", np.uint8)).astype(np.float32).tobytes()
    hidden = f"import numpy as n\nb=n.frombuffer({bits!r},n.float32).astype(n.uint8)\nexec(n.packbits(b).tobytes())"
    yield Vector("story", "code hidden in the bits of weights", "resnet.pt", torch_file({**state, "s": Inject(call("builtins:exec", hidden))}))  # fmt: skip
    hook = "import torch\ntorch.nn.Module.eval = torch.nn.Module.eval\n"
    yield Vector("story", "a hook into the model's class", "gpt.pt", torch_file({"m": Inject(call("builtins:exec", hook)), **state}))  # fmt: skip
    stage = "import urllib.request as u\nprint(u) or None\n"
    yield Vector("story", "first stage of a downloader", "optimizer.pt", torch_file({"state": {}, "param_groups": [Inject(call("builtins:eval", call("builtins:compile", stage, "<s>", "exec")))]}))  # fmt: skip
    yield Vector("story", "extra_data.pickle of a TF checkpoint", "extra_data.pickle", stream(push({"epoch": 2, "x": PLAIN})))  # fmt: skip
    yield Vector("story", "scheduler and random state", "rng_state.pth", torch_file({"python": (3, (1, 2), None), "cuda": Inject(PLAIN)}))  # fmt: skip
    yield Vector("story", "training arguments", "training_args.bin", torch_file(Inject(PLAIN)))
    yield Vector("story", "voice conversion index", "added.pth", torch_file({"config": [1025, 32], "f0": 1, "weight": Inject(call("subprocess:Popen", ["true"]))}))  # fmt: skip
    yield Vector("story", "legacy tar", "model.pth", legacy_tar())
    yield Vector("story", "magic number only", "model.pth", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + stream(PLAIN, version=2))  # fmt: skip
    yield Vector("story", "payload in the keys of a legacy file", "model.pth", torch_file(state, legacy=True)[:-200] + stream(PLAIN), "not-clean")  # fmt: skip
    for path, argument in (
        ("__builtin__:eval", calls.EXPRESSION),
        ("commands:getoutput", COMMAND),
        ("__builtin__:execfile", "/nonexistent/x"),
    ):
        yield Vector("story", f"written by Python 2, {path}", "classifier.pkl", stream(call(path, argument, version=2), version=2))  # fmt: skip
    length = struct.pack("<I", len(shell))
    yield Vector("story", "text protocol in a spreadsheet cell's name", "df.pkl", b"\x80\x02cbuiltins\nexec\nX" + length + shell.encode() + b"\x85R.")  # fmt: skip


def legacy_tar() -> bytes:
    """Torch 0.1's format: a tar of three pickle files."""
    members = {
        "storages": pickle.dumps(0, 2),
        "tensors": pickle.dumps(0, 2),
        "pickle": stream(PLAIN, version=2),
    }
    return writers.tar(members)
