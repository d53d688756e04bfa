# ruff: noqa: ARG001, ARG005, ICN001 - tables of what others write

"""Weights that run something: torch in all containers, joblib, numpy, dill, cloudpickle, pandas."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib

from third_asm import MARK, C, G, Item, Style, dump, emit, system
from third_evil_calls import EXPRESSION, SHELL, TOUCH, WRITE, c, g

BAD = {
    "system": system(),
    "popen": C(G("subprocess", "Popen"), (SHELL,)),
    "exec": c("builtins:exec", WRITE),
    "hook": c("torch.fx.graph_module:_exec_with_source", WRITE, {}),
    "collect": c("torch.utils.collect_env:run", TOUCH),
}
BAD["popen"] = C(G("subprocess", "call"), (SHELL,))


def state(bad, where):
    """A state dictionary of one real-looking tensor with the call somewhere."""
    tensor = "__tensor__"
    shapes = {
        "value": {"conv1.weight": tensor, "conv1.bias": bad},
        "metadata": {"state_dict": {"fc.weight": tensor}, "hyper_parameters": {"lr": bad}},
        "first": {"__init__": bad, "fc.weight": tensor},
        "ordered": C(G("collections", "OrderedDict"), (), state={"_metadata": {"": {"version": bad}}}),
        "list": [tensor, tensor, bad],
    }
    return shapes[where]


def zipped(pickled, *, root="archive", method=zipfile.ZIP_STORED, extra=(), name="data.pkl"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr(f"{root}/{name}", pickled)
        file.writestr(f"{root}/byteorder", "little")
        file.writestr(f"{root}/data/0", bytes(16))
        file.writestr(f"{root}/version", "3\n")
        file.writestr(f"{root}/.data/serialization_id", "1" * 40)
        for place, data in extra:
            file.writestr(f"{root}/{place}", data)
    return out.getvalue()


def legacy(pickled):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    return (
        magic
        + pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
        + pickled
        + pickle.dumps([], 2)
    )


def tensors(node):
    """Tensor placeholders become real persistent tensors of four floats."""
    storage = ("storage", G("torch", "FloatStorage"), "0", "cpu", 4)
    if node == "__tensor__":
        from third_asm import Raw

        style = Style(2)
        load = Raw(emit(storage, style) + b"Q")
        return C(
            G("torch._utils", "_rebuild_tensor_v2"),
            (load, 0, (2, 2), (2, 1), False, C(G("collections", "OrderedDict"), ())),
        )
    if isinstance(node, dict):
        return {key: tensors(value) for key, value in node.items()}
    if isinstance(node, list):
        return [tensors(value) for value in node]
    return node


def torches():
    for where, bad in (
        ("value", "system"),
        ("metadata", "popen"),
        ("first", "exec"),
        ("ordered", "hook"),
        ("list", "collect"),
    ):
        yield (
            f"torch zip, call in {where}",
            "torch-zip",
            "pytorch_model.bin",
            zipped(dump(tensors(state(BAD[bad], where)))),
            "torch_load",
        )
    yield (
        "torch zip, compressed members",
        "torch-zip",
        "model.pt",
        zipped(dump(state(BAD["system"], "first")), method=zipfile.ZIP_DEFLATED),
        "torch_load",
    )
    yield (
        "torch zip, other root",
        "torch-zip",
        "epoch=3-step=100.ckpt",
        zipped(dump(tensors(state(BAD["exec"], "metadata"))), root="epoch=3-step=100"),
        "torch_load",
    )
    yield (
        "torch zip, text protocol",
        "torch-zip",
        "best.pth",
        zipped(dump(BAD["system"], Style(0))),
        "torch_load",
    )
    yield (
        "torch zip, protocol 4 memo",
        "torch-zip",
        "model.pth",
        zipped(dump({"a": BAD["popen"]}, Style(4, memo="memoize"))),
        "torch_load",
    )
    yield (
        "torch zip, prefix of a shell script",
        "torch-zip",
        "model.pt",
        b"#!/bin/sh\nexit 0\n" + zipped(dump(BAD["system"])),
        "none",
        "not-clean",
    )
    yield (
        "torch zip, trailing zeros in the comment",
        "torch-zip",
        "last.pt",
        zipped(dump(BAD["system"])),
        "torch_load",
    )
    yield (
        "torch zip, bad sum of another member",
        "torch-zip",
        "model.bin",
        corrupted(zipped(dump(BAD["system"])), b"data/0"),
        "torch_load",
    )
    yield (
        "torch zip, short safetensors name",
        "torch-zip",
        "model.sft",
        zipped(dump(tensors(state(BAD["system"], "list")))),
        "torch_load",
    )
    yield "torch zip, onnx name", "torch-zip", "model.onnx", zipped(dump(BAD["exec"])), "torch_load"
    yield "torch zip, two data.pkl", "torch-zip", "two.pt", twice(dump(BAD["system"])), "torch_load"
    yield "torch zip, image name", "torch-zip", "cover.png", zipped(dump(BAD["system"])), "torch_load"
    yield "torch legacy, object", "torch-legacy", "model.pt", legacy(dump(BAD["system"])), "torch_load"
    yield (
        "torch legacy, protocol 4",
        "torch-legacy",
        "old.pth",
        legacy(dump({"net": BAD["exec"]}, Style(4))),
        "torch_load",
    )
    yield (
        "torch legacy, magic place taken",
        "torch-legacy",
        "first.pt",
        dump(BAD["system"]) + legacy(pickle.dumps({}, 2)),
        "torch_load",
    )
    yield (
        "torch legacy, system information place",
        "torch-legacy",
        "info.bin",
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + dump(BAD["popen"]),
        "torch_load",
    )
    yield (
        "torch legacy, storage keys place",
        "torch-legacy",
        "keys.bin",
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + pickle.dumps({}, 2)
        + dump([BAD["system"]]),
        "torch_load",
    )
    yield (
        "torch legacy, magic number computed",
        "torch-legacy",
        "computed.pt",
        dump(C(G("builtins", "eval"), (f"({EXPRESSION}, 119547037146038801333356)[1]",)), Style(2))
        + legacy(pickle.dumps([], 2))[len(pickle.dumps(0x1950A86A20F9469CFC6C, 2)) :],
        "torch_load",
    )
    yield "torch legacy, yaml name", "torch-legacy", "weights.yaml", legacy(dump(BAD["system"])), "torch_load"
    yield (
        "torch tar, storages",
        "torch-tar",
        "model.tar",
        tarred(
            {
                "sys_info": pickle.dumps({"little_endian": True}),
                "storages": dump(BAD["system"]),
                "tensors": pickle.dumps(0),
                "pickle": pickle.dumps({}),
            }
        ),
        "torch_load",
    )
    yield (
        "checkpoint in tar.gz",
        "torch-tar",
        "checkpoint.tar.gz",
        gzip.compress(tarred({"model/pytorch_model.bin": zipped(dump(BAD["system"]))})),
        "pickle_archived",
    )
    yield "package of torch.package", "torch-package", "model.pt", package(), "torch_package"
    yield (
        "TorchScript beside a pickle of Python",
        "torch-script",
        "scripted.pt",
        zipped(
            dump(BAD["system"]), extra=[("constants.pkl", pickle.dumps((), 2)), ("code/__torch__.py", "")]
        ),
        "none",
        "not-clean",
    )
    yield "exported program, sample inputs", "torch-pt2", "model.pt2", exported(), "torch_export"


def corrupted(data, name):
    """The stored sum of one member is wrong, in both headers."""
    parts = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        info = next(i for i in file.infolist() if i.filename.endswith(name.decode()))
    parts[info.header_offset + 14 : info.header_offset + 18] = b"\xde\xad\xbe\xef"
    place = data.index(info.filename.encode(), file.start_dir) - 46
    parts[place + 16 : place + 20] = b"\xde\xad\xbe\xef"
    return bytes(parts)


def twice(bad):
    out = io.BytesIO()
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as file:
        warnings.simplefilter("ignore")
        file.writestr("m/data.pkl", bad)
        file.writestr("m/data.pkl", bad + b"\n")
        file.writestr("m/version", "3\n")
    return out.getvalue()


def tarred(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def package():
    import torch.package

    out = io.BytesIO()
    with torch.package.PackageExporter(out) as file:
        file.extern("os")
        file.save_source_string("helper", f"import os\nos.system({TOUCH!r})\nclass Net:\n    pass\n")
        file.save_binary("model", "model.pkl", dump(C(G("helper", "Net"), ())))
    return out.getvalue()


def exported():
    import torch

    class Net(torch.nn.Module):
        def forward(self, x):
            return x + 1

    out = io.BytesIO()
    torch.export.save(torch.export.export(Net(), (torch.ones(2),)), out)
    source = zipfile.ZipFile(io.BytesIO(out.getvalue()))
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as file:
        for info in source.infolist():
            data = source.read(info)
            if "sample_inputs" in info.filename and info.filename.endswith(".pt"):
                data = zipped(dump(BAD["system"]))
            file.writestr(info.filename, data)
    return changed.getvalue()


def joblibs():
    """What joblib.load runs, in its compressions; arrays stand before and behind the call."""
    import joblib
    import numpy

    class Call:
        def __init__(self, function, *arguments):
            self.pair = function, arguments

        def __reduce__(self):
            return self.pair

    import os

    array = numpy.arange(600.0).reshape(30, 20)
    for method, level, name in (
        ("zlib", 3, "model.joblib.z"),
        ("gzip", 3, "model.pkl.gz"),
        ("bz2", 3, "model.joblib.bz2"),
        ("xz", 2, "model.joblib.xz"),
        ("lzma", 2, "model.joblib.lzma"),
        ("lz4", 1, "model.joblib.lz4"),
        (None, 0, "model.joblib"),
    ):
        out = io.BytesIO()
        joblib.dump(
            {"coef": array, "hook": Call(os.system, TOUCH), "tail": array[:3]},
            out,
            compress=(method, level) if method else 0,
        )
        yield (
            f"joblib, {method or 'plain'}, between two arrays",
            "joblib",
            name,
            out.getvalue(),
            "joblib_load",
        )
    objects = numpy.array([1, Call(exec, WRITE), "x"], dtype=object)
    out = io.BytesIO()
    joblib.dump({"classes_": objects}, out)
    yield "joblib, object array", "joblib", "encoder.joblib", out.getvalue(), "joblib_load"
    import sklearn.linear_model

    model = sklearn.linear_model.LogisticRegression()
    model.n_jobs = Call(os.system, TOUCH)
    out = io.BytesIO()
    joblib.dump(model, out, compress=3)
    yield "joblib, parameter of an estimator", "joblib", "pipeline.joblib", out.getvalue(), "joblib_load"
    model = sklearn.linear_model.Ridge().fit([[1.0], [2.0]], [1, 2])
    model.coef_ = Call(os.popen, TOUCH)
    out = io.BytesIO()
    joblib.dump([model, array], out)
    yield "joblib, attribute of a fitted estimator", "joblib", "ridge.sav", out.getvalue(), "joblib_load"


def joblib_bytes(value):
    import joblib

    out = io.BytesIO()
    joblib.dump(value, out)
    return out.getvalue()


def npy(pickled, shape="(1,)", kind="|O", version=1):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = 10 if version == 1 else 12
    header += b" " * (63 - (size + len(header)) % 64) + b"\n"
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", len(header))
        + header
        + pickled
    )


def arrays():
    yield "npy, object body", "numpy", "labels.npy", npy(dump(system())), "numpy_load"
    yield (
        "npy version 2",
        "numpy",
        "labels2.npy",
        npy(dump(c("builtins:exec", WRITE), Style(4)), "(3,)", version=2),
        "numpy_load",
    )
    yield (
        "npy version 3, two axes",
        "numpy",
        "x.npy",
        npy(dump(C(G("subprocess", "getoutput"), (TOUCH,))), "(2, 2)", version=3),
        "numpy_load",
    )
    yield (
        "npy, structured with an object field",
        "numpy",
        "records.npy",
        npy(dump(system()), "(1,)", "@@").replace(b"'@@'", b"'|O'"),
        "numpy_load",
    )
    yield "npy renamed", "numpy", "vocab.txt", npy(dump(system(), Style(0))), "numpy_load"
    for name, method in (("stored", 0), ("deflated", 8), ("bzip2", 12), ("lzma", 14)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as file:
            file.writestr("weights.npy", npy(bytes(32), "(4,)", "<f8"))
            file.writestr("names.npy", npy(dump(system(), Style(4 if method else 2))))
        yield f"npz, {name}, second member", "numpy", f"data_{name}.npz", out.getvalue(), "numpy_load"
    yield (
        "pickle under npy name",
        "numpy",
        "embedding.npy",
        dump(c("numpy.testing._private.utils:runstring", WRITE, {})),
        "numpy_load",
    )


def functions():
    import cloudpickle
    import dill

    namespace = {}
    exec(f"def predict(x=None):\n    import os\n    return os.system({TOUCH!r})\n", namespace)  # noqa: S102
    predict = namespace["predict"]

    class Runs:
        def __reduce__(self):
            return predict, ()

    Runs.__module__ = "__main__"
    yield (
        "cloudpickle, function called at load",
        "cloudpickle",
        "model.pkl",
        cloudpickle.dumps(Runs()),
        "cloudpickle_load",
    )
    yield (
        "cloudpickle, protocol 4",
        "cloudpickle",
        "python_model.pkl",
        cloudpickle.dumps({"m": Runs()}, protocol=4),
        "cloudpickle_load",
    )
    yield "dill, function called at load", "dill", "model.dill", dill.dumps(Runs(), recurse=True), "dill_load"
    yield "dill, protocol 2", "dill", "old.dill", dill.dumps([Runs()], protocol=2, recurse=True), "dill_load"

    def keeps():
        maker = type("Config", (), {"__setstate__": lambda self, s: eval(s), "__reduce__": None})  # noqa: S307
        return cloudpickle.dumps(maker)

    klass = keeps()
    body = klass.rstrip(b".")
    yield (
        "cloudpickle, class by value, then BUILD",
        "cloudpickle",
        "config.pkl",
        strip(body) + b")\x81" + emit(EXPRESSION, Style(4)) + b"b.",
        "cloudpickle_load",
    )
    yield (
        "cloudpickle, compiled code in a function",
        "cloudpickle",
        "score.pkl",
        strip(cloudpickle.dumps(predict)[:-1]) + b")R.",
        "cloudpickle_load",
    )
    yield (
        "dill, compiled code in a function",
        "dill",
        "score.dill",
        strip(dill.dumps(predict, recurse=True)[:-1]) + b")R.",
        "dill_load",
    )
    yield (
        "dill, system through a type",
        "dill",
        "loader.dill",
        dump((c("dill._dill:_load_type", "FunctionType"), system())),
        "dill_load",
    )
    yield (
        "pandas frame, then call",
        "pandas",
        "frame.pkl",
        dump({"frame": 1, "x": system()}, Style(5)),
        "pandas_pickle",
    )
    yield (
        "pandas pickle in gzip",
        "pandas",
        "frame.pkl.gz",
        gzip.compress(dump(c("builtins:exec", WRITE))),
        "pandas_pickle",
    )
    yield (
        "pandas pickle in xz",
        "pandas",
        "frame.pkl.xz",
        lzma.compress(dump(system(), Style(0))),
        "pandas_pickle",
    )
    yield (
        "pandas pickle in bz2",
        "pandas",
        "frame.pkl.bz2",
        bz2.compress(dump(c("pandas:Series.map", c("pandas:Series", [TOUCH]), g("os:system")), Style(4))),
        "pandas_pickle",
    )
    yield "pandas pickle in zip", "pandas", "frame.zip", one_zip("frame.pkl", dump(system())), "pandas_pickle"


def one_zip(name, data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    return out.getvalue()


def strip(data):
    """The stream with its frames taken out: PROTO and the opcodes."""
    import pickletools

    out, last = bytearray(), 0
    places = (
        [(op.name, place) for op, _, place in pickletools.genops(data + b".")]
        if not data.endswith(b".")
        else []
    )
    for name, place in places:
        if name == "FRAME":
            out += data[last:place]
            last = place + 9
    return bytes(out + data[last:])


def items(seed):
    for part in (torches, joblibs, arrays, functions):
        for name, label, file, data, check, *expect in part():
            yield Item(label, name, file, data, check, expect=(expect or ["dangerous"])[0])


__all__ = ["MARK", "json", "zlib"]
