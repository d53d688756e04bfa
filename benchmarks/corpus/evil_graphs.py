# ruff: noqa: E501 - payloads and configurations stand in one line each
"""Malicious graphs: TensorFlow, TFLite, ONNX, Core ML, TensorRT, OpenVINO, Paddle, MXNet, GGUF."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from vectors.advisories import lambda_layer, model_config
from vectors.asm import Vector, payload
from vectors.encoders import pb, tflite
from vectors.writers import Member, archive

if TYPE_CHECKING:
    from collections.abc import Iterator

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 62, 1) + bytes(40)


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    for group in (tensorflow, lite, apple, engines, openvino, others):
        yield from group()


def node(op: str, name: str = "n", *more: tuple[int, object]) -> bytes:
    return pb((1, name), (2, op), *more)


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    library = b"".join(
        pb((1, pb((1, pb((1, "f"))), *((3, inner) for inner in functions)))) for _ in range(bool(functions))
    )
    return pb(*((1, n) for n in nodes), *(((2, library),) if library else ()))


def saved(body: bytes, *meta: tuple[int, object]) -> bytes:
    return pb((1, 1), (2, pb((1, pb((4, "serve"))), (2, body), *meta)))


def tensorflow() -> Iterator[tuple[str, Vector]]:
    const = node("Const", "path")
    for group, ops in {
        "known": ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "MatchingFiles"),
        "held-out": (
            "PyFuncStateless",
            "PrintV2",
            "SaveSlices",
            "DebugIdentityV2",
            "LoadLibrary",
            "MyFastConv",
            "ImportEvent",
            "DumpGraph",
        ),
    }.items():
        for op in ops:
            expect = (
                "dangerous"
                if op in {"WriteFile", "ReadFile", "PyFunc", "EagerPyFunc", "PyFuncStateless"}
                else "not-clean"
            )
            folder = {
                "saved_model.pb": saved(graph(const, node(op))),
                "variables/variables.index": b"",
                "fingerprint.pb": pb((1, 1)),
            }
            yield group, Vector("saved-model", op, "model", folder, expect)
    yield (
        "held-out",
        Vector(
            "saved-model",
            "in a function",
            "model",
            {"saved_model.pb": saved(graph(const, functions=(node("WriteFile"),)))},
        ),
    )
    yield (
        "held-out",
        Vector(
            "saved-model",
            "in a function, custom op",
            "model",
            {"saved_model.pb": saved(graph(const, functions=(node("AcmeLoader"),)))},
            "not-clean",
        ),
    )
    asset = pb((1, pb((1, "x:0"))), (2, "../../../etc/hostname"))
    yield (
        "held-out",
        Vector(
            "saved-model",
            "asset outside the folder",
            "model",
            {"saved_model.pb": saved(graph(const), (6, asset))},
            "not-clean",
        ),
    )
    meta = pb(
        (1, pb((3, "root"), (4, "_tf_keras_sequential"), (5, json.dumps(model_config(lambda_layer())))))
    )
    yield (
        "known",
        Vector(
            "saved-model",
            "Lambda in keras_metadata",
            "model",
            {"saved_model.pb": saved(graph(const)), "keras_metadata.pb": meta},
        ),
    )
    yield "known", Vector("graph-def", "frozen, ReadFile", "frozen_graph.pb", graph(const, node("ReadFile")))
    yield (
        "known",
        Vector("graph-def", "frozen, WriteFile", "frozen_graph.pb", graph(const, node("WriteFile"))),
    )
    yield (
        "held-out",
        Vector(
            "graph-def",
            "text, PyFunc",
            "graph.pbtxt",
            b'node {\n  name: "n"\n  op: "PyFunc"\n  attr { key: "token" value { s: "f" } }\n}\nversions { producer: 9 }\n',
        ),
    )
    yield (
        "held-out",
        Vector("graph-def", "unknown op", "frozen_graph.pb", graph(const, node("AcmeLoader")), "not-clean"),
    )
    yield (
        "held-out",
        Vector(
            "graph-def",
            "meta graph, WriteFile",
            "model.ckpt.meta",
            pb((1, pb((4, "train"))), (2, graph(const, node("WriteFile")))),
        ),
    )


def lite() -> Iterator[tuple[str, Vector]]:
    for name in ("AcmeLoader", "FlexWriteFile", "FlexPyFunc", "FlexReadFile"):
        yield (
            "held-out" if name == "AcmeLoader" else "known",
            Vector("tflite", name, "model.tflite", tflite(32, name), "not-clean"),
        )
    yield (
        "held-out",
        Vector(
            "tflite",
            "buffer outside the file",
            "model.tflite",
            tflite(0, offset=2**40, size=2**20),
            "not-clean",
        ),
    )
    good = tflite(0)
    yield (
        "held-out",
        Vector(
            "tflite",
            "root outside the file",
            "model.tflite",
            struct.pack("<I", 2**31 - 1) + good[4:],
            "not-clean",
        ),
    )
    yield "held-out", Vector("tflite", "cut in half", "model.tflite", good[: len(good) // 2], "not-clean")
    yield "held-out", Vector("tflite", "unknown builtin", "model.tflite", tflite(99999), "not-clean")


def apple() -> Iterator[tuple[str, Vector]]:
    layer = pb((1, "l"), (500, pb((10, "AcmeLayer"))))
    yield (
        "known",
        Vector(
            "coreml",
            "custom layer",
            "model.mlmodel",
            pb((1, 4), (2, b""), (500, pb((1, layer)))),
            "not-clean",
        ),
    )
    yield (
        "known",
        Vector(
            "coreml",
            "custom model",
            "model.mlmodel",
            pb((1, 4), (2, b""), (555, pb((10, "AcmeModel")))),
            "not-clean",
        ),
    )
    linked = pb((1, pb((1, pb((2, "../../../nonexistent/m.mlmodelc"))))))
    yield (
        "held-out",
        Vector(
            "coreml",
            "linked model outside",
            "model.mlmodel",
            pb((1, 4), (2, b""), (556, linked)),
            "not-clean",
        ),
    )
    nested = pb((1, 4), (2, b""), (202, pb((1, pb((1, pb((1, 4), (2, b""), (500, pb((1, layer))))))))))
    yield "held-out", Vector("coreml", "custom layer in a pipeline", "model.mlmodel", nested, "not-clean")
    manifest = json.dumps(
        {
            "fileFormatVersion": "1.0.0",
            "itemInfoEntries": {
                "A": {
                    "author": "com.apple.CoreML",
                    "name": "model.mlmodel",
                    "path": "../../nonexistent/model.mlmodel",
                }
            },
            "rootModelIdentifier": "A",
        }
    ).encode()
    yield (
        "held-out",
        Vector(
            "coreml",
            "package with a path outside",
            "model.mlpackage",
            {
                "Manifest.json": manifest,
                "Data/com.apple.CoreML/model.mlmodel": pb((1, 4), (2, b""), (500, pb((1, layer)))),
            },
            "not-clean",
        ),
    )


def engines() -> Iterator[tuple[str, Vector]]:
    head = b"ftrt" + struct.pack("<IQ", 239, 0) + bytes(64)
    yield (
        "known",
        Vector(
            "tensorrt",
            "plan with a plugin library inside",
            "model.engine",
            head + ELF + b"plugin",
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "tensorrt",
            "plan naming a plugin",
            "model.plan",
            head + b"IPluginV2DynamicExt\x00AcmePlugin\x00" + b"/nonexistent/libplugin.so\x00",
            "not-clean",
        ),
    )
    yield "held-out", Vector("tensorrt", "a library as an engine", "model.engine", ELF, "not-clean")


OPENVINO = '<?xml version="1.0"?>{doctype}<net name="m" version="11"><layers><layer id="0" name="x" type="Parameter" version="opset1"><data shape="1" element_type="f32"/><output><port id="0" precision="FP32"><dim>1</dim></port></output></layer><layer id="1" name="n" type="{type}" version="{version}">{data}<input><port id="0"/></input><output><port id="1"/></output></layer></layers><edges/>{info}</net>'


def openvino() -> Iterator[tuple[str, Vector]]:
    def ir(
        kind: str = "ReLU", version: str = "opset1", doctype: str = "", data: str = "", info: str = ""
    ) -> dict[str, bytes]:
        text = OPENVINO.format(type=kind, version=version, doctype=doctype, data=data, info=info)
        return {"model.xml": text.encode(), "model.bin": b"\x00" * 16}

    yield "known", Vector("openvino", "extension layer", "ir", ir("AcmeLayer", "extension"), "not-clean")
    yield (
        "known",
        Vector(
            "openvino",
            "external entity",
            "ir",
            ir(doctype='<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/hostname">]>', info="<meta>&x;</meta>"),
            "not-clean",
        ),
    )
    yield "held-out", Vector("openvino", "unknown type in a known set", "ir", ir("AcmeLayer"), "not-clean")
    yield "held-out", Vector("openvino", "own set", "ir", ir("ReLU", "acme_opset"), "not-clean")
    yield (
        "held-out",
        Vector(
            "openvino",
            "weights outside the file",
            "ir",
            ir("Const", data=f'<data element_type="f32" shape="1" offset="{2**40}" size="4"/>'),
            "not-clean",
        ),
    )
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    yield (
        "held-out",
        Vector(
            "openvino",
            "billion laughs",
            "ir",
            ir(doctype=f"<!DOCTYPE net [{laughs}]>", info="<meta>&e11;</meta>"),
            "not-clean",
        ),
    )


def others() -> Iterator[tuple[str, Vector]]:
    def program(op: str) -> bytes:
        return pb((1, pb((1, 0), (2, -1), (4, pb((3, op))))), (4, pb((1, 0))))

    for group, op in (
        ("known", "py_func"),
        ("held-out", "acme_custom_op"),
        ("held-out", "load_combine_from"),
    ):
        yield group, Vector("paddle", op, "inference.pdmodel", program(op), "not-clean")
    yield "known", Vector("paddle", "parameters with a payload", "model.pdparams", payload(4))
    yield "known", Vector("paddle", "optimizer with a payload", "model.pdopt", payload(2))
    new_ir = {
        "base_code": {"magic": "pir", "version": 1, "trainable": True},
        "program": {
            "regions": [
                {
                    "#": "region_0",
                    "blocks": [{"#": "block_0", "args": [], "ops": [{"#": "0.py_func", "I": [], "O": []}]}],
                }
            ]
        },
    }
    yield (
        "held-out",
        Vector("paddle", "py_func in the new IR", "inference.json", json.dumps(new_ir).encode(), "not-clean"),
    )

    def symbol(op: str, attrs: dict[str, str]) -> bytes:
        return json.dumps(
            {
                "nodes": [
                    {"op": "null", "name": "data", "inputs": []},
                    {"op": op, "name": "c", "attrs": attrs, "inputs": [[0, 0, 0]]},
                ],
                "arg_nodes": [0],
                "node_row_ptr": [0, 1, 2],
                "heads": [[1, 0, 0]],
                "attrs": {"mxnet_version": ["int", 10900]},
            }
        ).encode()

    yield (
        "known",
        Vector(
            "mxnet",
            "Custom operator",
            "model-symbol.json",
            symbol("Custom", {"op_type": "acme"}),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "mxnet",
            "native operator",
            "model-symbol.json",
            symbol("_Native", {"info": "0x7f0000000000"}),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector("mxnet", "unknown operator", "model-symbol.json", symbol("acme_loader", {}), "not-clean"),
    )
    yield (
        "held-out",
        Vector(
            "mxnet",
            "parameters: huge count",
            "model-0000.params",
            struct.pack("<4Q", 0x112, 0, 2**60, 0),
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "executorch",
            "library in the program",
            "model.pte",
            struct.pack("<I", 24) + b"ET12" + bytes(40) + ELF,
            "not-clean",
        ),
    )
    yield (
        "held-out",
        Vector(
            "pt2",
            "library in the package",
            "model.pt2",
            archive(
                Member("m/archive_format", b"pt2"),
                Member("m/version", b"0"),
                Member("m/data/aotinductor/model/x.so", ELF),
            ),
            "not-clean",
        ),
    )
    yield (
        "known",
        Vector(
            "pt2",
            "payload in the sample inputs",
            "model.pt2",
            archive(
                Member("m/archive_format", b"pt2"),
                Member("m/models/model.json", b"{}"),
                Member(
                    "m/data/sample_inputs/model.pt",
                    archive(Member("m/data.pkl", payload(2)), Member("m/version", b"3\n")),
                ),
            ),
        ),
    )
    yield (
        "held-out",
        Vector(
            "pt2",
            "payload in a weight",
            "model.pt2",
            archive(
                Member("m/archive_format", b"pt2"),
                Member("m/models/model.json", b"{}"),
                Member("m/data/weights/weight_0", payload(2)),
            ),
        ),
    )
