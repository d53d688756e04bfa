# ruff: noqa: E501, S108 - tables of cases; a path of an attacker
"""Fresh malicious graphs: Keras, HDF5, SavedModel, TFLite, ONNX, GGUF, safetensors, skops and other model formats."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from fresh_evil_keras import CODE, hdf5, keras, zipped
from fresh_evil_weights import gguf, safetensors, skops

from vectors import encoders
from vectors.asm import COMMAND, Vector, payload
from vectors.encoders import pb

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = f"import os\nos.system({COMMAND!r})\n"


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (keras, hdf5, onnx, tensorflow, lite, gguf, safetensors, skops, others):
        yield from part()


def _onnx(
    nodes: tuple[bytes, ...],
    *,
    initial: bytes = b"",
    more: tuple[tuple[int, object], ...] = (),
    imports: tuple[tuple[str, int], ...] = (("", 17),),
) -> bytes:
    value = pb((1, "x"), (2, pb((1, pb((1, 1), (2, pb((1, pb((1, 2))))))))))
    graph = b"".join(pb((1, node)) for node in nodes) + pb((2, "g")) + initial + pb((11, value), (12, value))
    return (
        pb((1, 8), (2, "pytorch"), (7, graph))
        + b"".join(pb((8, pb((1, d), (2, v)))) for d, v in imports)
        + b"".join(pb(f) for f in more)
    )


def onnx() -> Iterator[Vector]:
    """ONNX with operators of unknown libraries and data from elsewhere."""
    relu = pb((1, "x"), (2, "x2"), (4, "Relu"))

    def outside(location: str, *extra: tuple[str, str]) -> bytes:
        entries = b"".join(pb((13, pb((1, k), (2, v)))) for k, v in (("location", location), *extra))
        return pb((5, pb((1, 4), (2, 1), (8, "w")) + entries + pb((14, 1))))

    for location in (
        "../../../../etc/passwd",
        "/etc/shadow",
        "weights/../../../secret",
        "C:\\Windows\\win.ini",
        "\\\\host\\share\\x",
        "file:///etc/passwd",
    ):
        yield Vector(
            "onnx",
            f"external data at {location}",
            "model.onnx",
            _onnx((relu,), initial=outside(location)),
            "not-clean",
        )
    yield Vector(
        "onnx",
        "external data in a constant of a branch",
        "model.onnx",
        _onnx(
            (
                pb(
                    (1, "c"),
                    (2, "y"),
                    (4, "If"),
                    (5, pb((1, "then_branch"), (20, 5), (6, outside("../../x") + pb((2, "b"))))),
                ),
            )
        ),
        "not-clean",
    )
    for domain in ("com.evil", "ai.onnx.contrib", "attacker.ops"):
        operator = "PyOp" if domain == "ai.onnx.contrib" else "RunShell"
        node = pb((1, "x"), (2, "y"), (4, operator), (7, domain), (5, pb((1, "code"), (20, 3), (4, EVIL))))
        yield Vector(
            "onnx",
            f"operator of {domain}",
            "model.onnx",
            _onnx((relu, node), imports=(("", 17), (domain, 1))),
            "not-clean",
        )
    node = pb(
        (1, "x"),
        (2, "y"),
        (4, "PythonOp"),
        (7, "com.microsoft"),
        (5, pb((1, "func_name"), (20, 3), (4, "os.system"))),
    )
    yield Vector(
        "onnx",
        "PythonOp of training",
        "model.onnx",
        _onnx((node,), imports=(("", 17), ("com.microsoft", 1))),
        "not-clean",
    )
    function = pb(
        (1, "F"),
        (4, "x"),
        (5, "y"),
        (7, pb((1, "x"), (2, "y"), (4, "Exec"), (7, "evil.inner"))),
        (10, "local"),
    )
    yield Vector(
        "onnx",
        "unknown operator inside a function",
        "model.onnx",
        _onnx(
            (pb((1, "x"), (2, "y"), (4, "F"), (7, "local")),),
            more=((25, function),),
            imports=(("", 17), ("local", 1), ("evil.inner", 1)),
        ),
        "not-clean",
    )


def _saved(*operators: tuple[str, tuple[tuple[str, str], ...]], library: bool = False) -> bytes:
    nodes = [
        pb((1, f"n{i}"), (2, op), *((5, pb((1, k), (2, pb((2, v))))) for k, v in attributes))
        for i, (op, attributes) in enumerate(operators)
    ]
    if library:
        graph = pb((2, pb((1, pb((1, pb((1, "__inference_f"))), *((3, n) for n in nodes))))))
    else:
        graph = b"".join(pb((1, node)) for node in nodes)
    return pb((1, 1), (2, pb((1, pb((4, "serve"), (5, "2.15.0"))), (2, graph))))


def tensorflow() -> Iterator[Vector]:
    """SavedModels and frozen graphs: operators that touch files or run Python."""
    place = ("Placeholder", ())
    for op in (
        "ReadFile",
        "WriteFile",
        "PyFunc",
        "EagerPyFunc",
        "PyFuncStateless",
        "MatchingFiles",
        "LoadDataset",
        "SaveDatasetV2",
        "DebugIdentityV2",
        "SinkOfTheAttacker",
        "DistributedSave",
        "ImmutableConst",
    ):
        library = op in {"WriteFile", "EagerPyFunc", "MatchingFiles"}
        yield Vector(
            "savedmodel",
            f"{op}{' in a function' if library else ''}",
            "model",
            {
                "saved_model.pb": _saved(
                    place, (op, (("token", "pyfunc_0"),)), ("Identity", ()), library=library
                ),
                "variables/variables.index": b"",
            },
            "not-clean",
        )
    yield Vector(
        "savedmodel",
        "operator hidden after a thousand",
        "model",
        {"saved_model.pb": _saved(*[("Identity", ())] * 1000, ("WriteFile", ()))},
        "not-clean",
    )
    yield Vector(
        "savedmodel",
        "keras metadata with a Lambda",
        "model",
        {
            "saved_model.pb": _saved(place),
            "keras_metadata.pb": pb(
                (
                    1,
                    pb(
                        (1, "root.layer"),
                        (3, "_tf_keras_layer"),
                        (
                            4,
                            json.dumps(
                                {
                                    "class_name": "Lambda",
                                    "config": {
                                        "function": {"class_name": "__tuple__", "items": [CODE, None, None]}
                                    },
                                }
                            ),
                        ),
                    ),
                )
            ),
        },
        "dangerous",
    )
    yield Vector(
        "savedmodel",
        "a library beside it",
        "model",
        {"saved_model.pb": _saved(place), "assets.extra/custom_ops.so": b"\x7fELF\x02\x01\x01" + b"\0" * 60},
        "not-clean",
    )
    graph = pb((1, pb((1, "a"), (2, "Placeholder"))), (1, pb((1, "b"), (2, "WriteFile"), (3, "a"), (3, "a"))))
    yield Vector("savedmodel", "frozen graph that writes", "frozen_graph.pb", graph, "not-clean")


def lite() -> Iterator[Vector]:
    yield Vector(
        "tflite", "custom operator", "model.tflite", encoders.tflite(32, "AttackerShell"), "not-clean"
    )
    for name in ("FlexPyFunc", "FlexWriteFile", "FlexEagerPyFunc", "FlexReadFile"):
        yield Vector("tflite", name, "detect.tflite", encoders.tflite(32, name), "not-clean")
    yield Vector(
        "tflite", "unknown built-in operator", "model.tflite", encoders.tflite(99999 % 2**31), "not-clean"
    )
    yield Vector(
        "tflite",
        "buffer outside the file",
        "model.tflite",
        encoders.tflite(0, offset=1 << 40, size=1 << 30),
        "not-clean",
    )
    whole = encoders.tflite(0)
    yield Vector(
        "tflite", "root outside the file", "model.tflite", struct.pack("<I", 1 << 30) + whole[4:], "not-clean"
    )


def others() -> Iterator[Vector]:
    """CoreML, TensorRT, OpenVINO, Paddle, MXNet, PMML, Flax, boosters."""
    ir = '<net name="m" version="11"><layers><layer id="0" name="x" type="Parameter" version="opset1"><data shape="1" element_type="f32"/></layer><layer id="1" name="y" type="{0}" version="{1}">{2}</layer></layers><edges/></net>'
    for op, version, data in (
        ("RunShell", "extension", ""),
        ("Evil", "attacker.ext", "<data library='/tmp/x.so'/>"),
        ("Const", "opset1", '<data offset="0" size="99999999999" shape="1" element_type="f32"/>'),
    ):
        yield Vector(
            "openvino",
            f"{op} of {version}",
            "model",
            {"model.xml": ir.format(op, version, data).encode(), "model.bin": b"\0" * 16},
            "not-clean",
        )
    yield Vector(
        "openvino",
        "external entity",
        "model.xml",
        (
            '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + ir.format("Result", "opset1", "&x;")
        ).encode(),
        "not-clean",
    )
    custom = pb(
        (1, 1),
        (2, pb((100, "m"))),
        (555, pb((10, "EvilLayer"), (30, pb((1, "k"), (20, "v"))), (40, "runs a library"))),
    )
    yield Vector("coreml", "custom model class", "model.mlmodel", custom, "not-clean")
    layer = pb((1, "c"), (2, "x"), (3, "y"), (500, pb((10, "EvilLayer"))))
    yield Vector(
        "coreml",
        "custom layer of a network",
        "model.mlmodel",
        pb((1, 4), (2, pb((100, "m"))), (500, pb((1, layer)))),
        "not-clean",
    )
    yield Vector(
        "tensorrt",
        "plan with a library inside",
        "model.engine",
        b"ftrt" + struct.pack("<4I", 239, 0, 1, 0) + b"\0" * 64 + b"\x7fELF\x02\x01\x01" + b"\0" * 200,
        "not-clean",
    )
    yield Vector(
        "tensorrt",
        "plan naming a plugin",
        "model.plan",
        b"ftrt" + b"\0" * 40 + b"EvilPlugin_TRT\0libevil_plugin.so\0" + b"\0" * 100,
        "not-clean",
    )
    block = pb(
        (1, 0),
        (2, -1 & (1 << 64) - 1),
        (4, pb((3, "py_func"), (4, pb((1, "forward_callable_id"), (2, 0), (3, 1))))),
    )
    yield Vector("paddle", "py_func operator", "inference.pdmodel", pb((1, block)), "not-clean")
    yield Vector("paddle", "parameters that are a pickle", "model.pdparams", payload(2), "dangerous")
    yield Vector("paddle", "optimizer that is a pickle", "model.pdopt", payload(4), "dangerous")
    graph = {
        "nodes": [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "Custom", "name": "c", "attrs": {"op_type": "evil"}, "inputs": [[0, 0, 0]]},
        ],
        "arg_nodes": [0],
        "heads": [[1, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10900]},
    }
    yield Vector("mxnet", "Custom operator", "model-symbol.json", json.dumps(graph).encode(), "not-clean")
    graph["nodes"][1] = {
        "op": "_subgraph_op",
        "name": "c",
        "attrs": {"library": "/tmp/evil.so"},
        "inputs": [],
    }
    yield Vector(
        "mxnet", "operator of a library", "model-symbol.json", json.dumps(graph).encode(), "not-clean"
    )
    pmml = '<?xml version="1.0"?>{0}<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header/><DataDictionary/>{1}</PMML>'
    yield Vector(
        "pmml",
        "external entity",
        "model.pmml",
        pmml.format('<!DOCTYPE PMML [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "&e;").encode(),
        "not-clean",
    )
    yield Vector(
        "pmml",
        "a billion laughs",
        "model.pmml",
        pmml.format(
            '<!DOCTYPE PMML [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>',
            "&c;",
        ).encode(),
        "not-clean",
    )
    yield Vector(
        "flax",
        "extension type of the attacker",
        "flax_model.msgpack",
        b"\x81\xa6params\xc7\x20\x7f" + b"\x80\x04" + b"\0" * 30,
        "not-clean",
    )
    yield Vector("boosters", "xgboost pickle under .ubj", "model.ubj", payload(), "not-clean")
    yield Vector("boosters", "lightgbm text that is a pickle", "lightgbm.txt", payload(0), "not-clean")
    yield Vector("boosters", "catboost name, pickle content", "model.cbm", payload(2), "not-clean")
    yield Vector(
        "mleap",
        "a member outside the folder",
        "bundle.zip",
        zipped({"bundle.json": b'{"uid":"x"}', "../../../" + "root" + "/.ssh/authorized_keys": b"x"}),
        "not-clean",
    )
