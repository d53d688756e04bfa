"""Malicious graphs: TensorFlow, TFLite, ONNX, Core ML, TensorRT, OpenVINO, Paddle, MXNet, GGUF."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from encoders import gguf, gguf_tensor, gguf_text, pb, tflite
from vectors.advisories import lambda_layer, model_config
from vectors.asm import Vector, payload
from vectors.writers import Member, archive

if TYPE_CHECKING:
    from collections.abc import Iterator

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 62, 1) + bytes(40)


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    for group in (tensorflow, lite, onnx, apple, engines, openvino, others, ggufs):
        yield from group()


def node(op: str, name: str = "n", *more: tuple[int, object]) -> bytes:
    return pb((1, name), (2, op), *more)


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    library = b"".join(pb((1, pb((1, pb((1, "f"))), *((3, inner) for inner in functions)))) for _ in range(bool(functions)))
    return pb(*((1, n) for n in nodes), *(((2, library),) if library else ()))


def saved(body: bytes, *meta: tuple[int, object]) -> bytes:
    return pb((1, 1), (2, pb((1, pb((4, "serve"))), (2, body), *meta)))


def tensorflow() -> Iterator[tuple[str, Vector]]:
    const = node("Const", "path")
    for group, ops in {"known": ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "MatchingFiles"), "held-out": ("PyFuncStateless", "PrintV2", "SaveSlices", "DebugIdentityV2", "LoadLibrary", "MyFastConv", "ImportEvent", "DumpGraph")}.items():
        for op in ops:
            expect = "dangerous" if op in {"WriteFile", "ReadFile", "PyFunc", "EagerPyFunc", "PyFuncStateless"} else "not-clean"
            folder = {"saved_model.pb": saved(graph(const, node(op))), "variables/variables.index": b"", "fingerprint.pb": pb((1, 1))}
            yield group, Vector("saved-model", op, "model", folder, expect)
    yield "held-out", Vector("saved-model", "in a function", "model", {"saved_model.pb": saved(graph(const, functions=(node("WriteFile"),)))})
    yield "held-out", Vector("saved-model", "in a function, custom op", "model", {"saved_model.pb": saved(graph(const, functions=(node("AcmeLoader"),)))}, "not-clean")
    asset = pb((1, pb((1, "x:0"))), (2, "../../../etc/hostname"))
    yield "held-out", Vector("saved-model", "asset outside the folder", "model", {"saved_model.pb": saved(graph(const), (6, asset))}, "not-clean")
    meta = pb((1, pb((3, "root"), (4, "_tf_keras_sequential"), (5, json.dumps(model_config(lambda_layer()))))))
    yield "known", Vector("saved-model", "Lambda in keras_metadata", "model", {"saved_model.pb": saved(graph(const)), "keras_metadata.pb": meta})
    yield "known", Vector("graph-def", "frozen, ReadFile", "frozen_graph.pb", graph(const, node("ReadFile")))
    yield "known", Vector("graph-def", "frozen, WriteFile", "frozen_graph.pb", graph(const, node("WriteFile")))
    yield "held-out", Vector("graph-def", "text, PyFunc", "graph.pbtxt", b'node {\n  name: "n"\n  op: "PyFunc"\n  attr { key: "token" value { s: "f" } }\n}\nversions { producer: 9 }\n')
    yield "held-out", Vector("graph-def", "unknown op", "frozen_graph.pb", graph(const, node("AcmeLoader")), "not-clean")
    yield "held-out", Vector("graph-def", "meta graph, WriteFile", "model.ckpt.meta", pb((1, pb((4, "train"))), (2, graph(const, node("WriteFile")))))


def lite() -> Iterator[tuple[str, Vector]]:
    for name in ("AcmeLoader", "FlexWriteFile", "FlexPyFunc", "FlexReadFile", "FlexAdd"):
        yield "held-out" if name in {"AcmeLoader", "FlexAdd"} else "known", Vector("tflite", name, "model.tflite", tflite(32, name), "not-clean")
    yield "held-out", Vector("tflite", "buffer outside the file", "model.tflite", tflite(0, offset=2**40, size=2**20), "not-clean")
    good = tflite(0)
    yield "held-out", Vector("tflite", "root outside the file", "model.tflite", struct.pack("<I", 2**31 - 1) + good[4:], "not-clean")
    yield "held-out", Vector("tflite", "cut in half", "model.tflite", good[: len(good) // 2], "not-clean")
    yield "held-out", Vector("tflite", "unknown builtin", "model.tflite", tflite(99999), "not-clean")


def tensor(location: str | None, name: str = "w", *more: tuple[str, str]) -> bytes:
    if location is None:
        return pb((1, 1), (2, 1), (4, b"\x00\x00\x80\x3f"), (8, name))
    pairs = [("location", location), *more]
    return pb((1, 1), (2, 1), (8, name), *((13, pb((1, k), (2, v))) for k, v in pairs), (14, 1))


def onnx_node(op: str, *, domain: str = "", attributes: tuple[bytes, ...] = ()) -> bytes:
    return pb((1, "x"), (2, "y"), (3, "n"), (4, op), *((5, a) for a in attributes), *(((7, domain),) if domain else ()))


def model(*nodes: bytes, tensors: tuple[bytes, ...] = (), domains: tuple[str, ...] = ("",), more: tuple[tuple[int, object], ...] = ()) -> bytes:
    def value(name: str) -> bytes:
        return pb((1, name), (2, pb((1, pb((1, 1), (2, pb((1, pb((1, 1))))))))))

    body = pb(*((1, n) for n in nodes), (2, "g"), *((5, t) for t in tensors), (11, value("x")), (12, value("y")))
    return pb((1, 8), (2, "pytorch"), (7, body), *((8, pb((1, d), (2, 17)) if d else pb((2, 17))) for d in domains), *more)


def onnx() -> Iterator[tuple[str, Vector]]:
    relu = onnx_node("Relu")
    for group, places in {"known": ("../../../etc/hostname", "/etc/hostname"), "held-out": ("a/../../../etc/hostname", "..\\..\\boot.ini", "C:\\boot.ini", "file:///etc/hostname", "\\\\127.0.0.1\\share\\w", "w\x00.bin")}.items():
        for place in places:
            yield group, Vector("onnx-external-data", place, "model.onnx", model(relu, tensors=(tensor(place),)), "not-clean")
    outside = tensor("w.bin", "w", ("offset", str(2**50)), ("length", "99"))
    yield "held-out", Vector("onnx-external-data", "offset outside", "model", {"model.onnx": model(relu, tensors=(outside,)), "w.bin": b"\x00" * 8}, "not-clean")
    inner = pb((1, "value"), (5, tensor("../../etc/hostname")), (20, 4))
    yield "held-out", Vector("onnx-external-data", "in an attribute", "model.onnx", model(onnx_node("Constant", attributes=(inner,))), "not-clean")
    branch = pb((1, "then_branch"), (6, pb((1, relu), (2, "b"), (5, tensor("../../etc/hostname")))), (20, 5))
    yield "held-out", Vector("onnx-external-data", "in a subgraph", "model.onnx", model(onnx_node("If", attributes=(branch,))), "not-clean")
    sparse = pb((1, tensor("../../etc/hostname")), (2, tensor(None, "i")), (3, 4))
    body = pb((1, relu), (2, "g"), (15, sparse))
    yield "held-out", Vector("onnx-external-data", "sparse", "model.onnx", pb((1, 8), (7, body), (8, pb((2, 17)))), "not-clean")
    for group, op, domain in (("known", "PyOp", "ai.onnx.contrib"), ("known", "CustomOp", "com.acme"), ("held-out", "PyCustomOp", "ai.onnx.contrib"), ("held-out", "PythonOp", "com.microsoft"), ("held-out", "Loader", "ai.onnx.acme"), ("held-out", "Relu", "AI.ONNX")):
        yield group, Vector("onnx-custom-domain", f"{domain} {op}", "model.onnx", model(onnx_node(op, domain=domain), domains=("", domain)), "not-clean")
    function = pb((1, "Soft"), (4, "x"), (5, "y"), (7, onnx_node("Loader", domain="com.acme")), (9, pb((2, 17))), (10, "local"))
    yield "held-out", Vector("onnx-custom-domain", "in a local function", "model.onnx", model(onnx_node("Soft", domain="local"), domains=("", "local"), more=((25, function),)), "not-clean")
    hidden = pb((1, "body"), (6, pb((1, onnx_node("Loader", domain="com.acme")), (2, "b"))), (20, 5))
    yield "held-out", Vector("onnx-custom-domain", "in a loop, not imported", "model.onnx", model(onnx_node("Loop", attributes=(hidden,))), "not-clean")


def apple() -> Iterator[tuple[str, Vector]]:
    layer = pb((1, "l"), (500, pb((10, "AcmeLayer"))))
    yield "known", Vector("coreml", "custom layer", "model.mlmodel", pb((1, 4), (2, b""), (500, pb((1, layer)))), "not-clean")
    yield "known", Vector("coreml", "custom model", "model.mlmodel", pb((1, 4), (2, b""), (555, pb((10, "AcmeModel")))), "not-clean")
    linked = pb((1, pb((1, pb((2, "../../../nonexistent/m.mlmodelc"))))))
    yield "held-out", Vector("coreml", "linked model outside", "model.mlmodel", pb((1, 4), (2, b""), (556, linked)), "not-clean")
    nested = pb((1, 4), (2, b""), (202, pb((1, pb((1, pb((1, 4), (2, b""), (500, pb((1, layer))))))))))
    yield "held-out", Vector("coreml", "custom layer in a pipeline", "model.mlmodel", nested, "not-clean")
    manifest = json.dumps({"fileFormatVersion": "1.0.0", "itemInfoEntries": {"A": {"author": "com.apple.CoreML", "name": "model.mlmodel", "path": "../../nonexistent/model.mlmodel"}}, "rootModelIdentifier": "A"}).encode()
    yield "held-out", Vector("coreml", "package with a path outside", "model.mlpackage", {"Manifest.json": manifest, "Data/com.apple.CoreML/model.mlmodel": pb((1, 4), (2, b""), (500, pb((1, layer))))}, "not-clean")


def engines() -> Iterator[tuple[str, Vector]]:
    head = b"ftrt" + struct.pack("<IQ", 239, 0) + bytes(64)
    yield "known", Vector("tensorrt", "plan with a plugin library inside", "model.engine", head + ELF + b"plugin", "not-clean")
    yield "held-out", Vector("tensorrt", "plan naming a plugin", "model.plan", head + b"IPluginV2DynamicExt\x00AcmePlugin\x00" + b"/nonexistent/libplugin.so\x00", "not-clean")
    yield "held-out", Vector("tensorrt", "a pickle in the plan", "model.trt", head + payload(), "not-clean")
    yield "held-out", Vector("tensorrt", "a library as an engine", "model.engine", ELF, "not-clean")


OPENVINO = '<?xml version="1.0"?>{doctype}<net name="m" version="11"><layers><layer id="0" name="x" type="Parameter" version="opset1"><data shape="1" element_type="f32"/><output><port id="0" precision="FP32"><dim>1</dim></port></output></layer><layer id="1" name="n" type="{type}" version="{version}">{data}<input><port id="0"/></input><output><port id="1"/></output></layer></layers><edges/>{info}</net>'


def openvino() -> Iterator[tuple[str, Vector]]:
    def ir(kind: str = "ReLU", version: str = "opset1", doctype: str = "", data: str = "", info: str = "") -> dict[str, bytes]:
        text = OPENVINO.format(type=kind, version=version, doctype=doctype, data=data, info=info)
        return {"model.xml": text.encode(), "model.bin": b"\x00" * 16}

    yield "known", Vector("openvino", "extension layer", "ir", ir("AcmeLayer", "extension"), "not-clean")
    yield "known", Vector("openvino", "external entity", "ir", ir(doctype='<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/hostname">]>', info="<meta>&x;</meta>"), "not-clean")
    yield "held-out", Vector("openvino", "unknown type in a known set", "ir", ir("AcmeLayer"), "not-clean")
    yield "held-out", Vector("openvino", "own set", "ir", ir("ReLU", "acme_opset"), "not-clean")
    yield "held-out", Vector("openvino", "weights outside the file", "ir", ir("Const", data=f'<data element_type="f32" shape="1" offset="{2**40}" size="4"/>'), "not-clean")
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    yield "held-out", Vector("openvino", "billion laughs", "ir", ir(doctype=f"<!DOCTYPE net [{laughs}]>", info="<meta>&e11;</meta>"), "not-clean")


def others() -> Iterator[tuple[str, Vector]]:
    def program(op: str) -> bytes:
        return pb((1, pb((1, 0), (2, -1), (4, pb((3, op))))), (4, pb((1, 0))))

    for group, op in (("known", "py_func"), ("held-out", "acme_custom_op"), ("held-out", "load_combine_from"), ("held-out", "run_program")):
        yield group, Vector("paddle", op, "inference.pdmodel", program(op), "not-clean")
    yield "known", Vector("paddle", "parameters with a payload", "model.pdparams", payload(4))
    yield "known", Vector("paddle", "optimizer with a payload", "model.pdopt", payload(2))
    new_ir = {"base_code": {"magic": "pir", "version": 1, "trainable": True}, "program": {"regions": [{"#": "region_0", "blocks": [{"#": "block_0", "args": [], "ops": [{"#": "0.py_func", "I": [], "O": []}]}]}]}}
    yield "held-out", Vector("paddle", "py_func in the new IR", "inference.json", json.dumps(new_ir).encode(), "not-clean")

    def symbol(op: str, attrs: dict[str, str]) -> bytes:
        return json.dumps({"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": op, "name": "c", "attrs": attrs, "inputs": [[0, 0, 0]]}], "arg_nodes": [0], "node_row_ptr": [0, 1, 2], "heads": [[1, 0, 0]], "attrs": {"mxnet_version": ["int", 10900]}}).encode()

    yield "known", Vector("mxnet", "Custom operator", "model-symbol.json", symbol("Custom", {"op_type": "acme"}), "not-clean")
    yield "held-out", Vector("mxnet", "native operator", "model-symbol.json", symbol("_Native", {"info": "0x7f0000000000"}), "not-clean")
    yield "held-out", Vector("mxnet", "unknown operator", "model-symbol.json", symbol("acme_loader", {}), "not-clean")
    yield "held-out", Vector("mxnet", "parameters: huge count", "model-0000.params", struct.pack("<4Q", 0x112, 0, 2**60, 0), "not-clean")
    yield "held-out", Vector("executorch", "library in the program", "model.pte", struct.pack("<I", 24) + b"ET12" + bytes(40) + ELF, "not-clean")
    yield "held-out", Vector("pt2", "library in the package", "model.pt2", archive(Member("m/archive_format", b"pt2"), Member("m/version", b"0"), Member("m/data/aotinductor/model/x.so", ELF)), "not-clean")
    yield "known", Vector("pt2", "payload in the sample inputs", "model.pt2", archive(Member("m/archive_format", b"pt2"), Member("m/models/model.json", b"{}"), Member("m/data/sample_inputs/model.pt", archive(Member("m/data.pkl", payload(2)), Member("m/version", b"3\n")))))
    yield "held-out", Vector("pt2", "payload in a weight", "model.pt2", archive(Member("m/archive_format", b"pt2"), Member("m/models/model.json", b"{}"), Member("m/data/weights/weight_0", payload(2))))


TEMPLATES = {
    "globals of cycler": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "subclasses": "{% for c in ''.__class__.__mro__[1].__subclasses__() %}{% if c.__name__ == 'Popen' %}{{ c(['true']) }}{% endif %}{% endfor %}",
    "lipsum": "{{ lipsum.__globals__['os'].system('true') }}",
    "escaped names": "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f')|attr('\\x5f\\x5fmro\\x5f\\x5f') }}",
    "names joined": "{% set u = '_' * 2 %}{{ messages|attr(u ~ 'class' ~ u)|attr(u ~ 'base' ~ u) }}",
    "format string": "{{ '{0.__class__.__base__}'.format(messages) }}",
    "import": "{% import '/etc/hostname' as x %}{{ x }}",
    "self of the template": "{{ self._TemplateReference__context.cycler.__init__.__globals__ }}",
    "namespace": "{{ namespace.__init__.__globals__.sys.modules.os.system('true') }}",
    "map attribute": "{{ messages|map(attribute='__class__')|list }}",
    "undefined": "{{ x.__class__.__init__.__globals__ }}",
}
SOFT_TEMPLATES = {"format string", "map attribute", "escaped names", "names joined", "undefined", "self of the template", "import"}


def ggufs() -> Iterator[tuple[str, Vector]]:
    base: dict[str, str | int] = {"general.architecture": "llama", "llama.block_count": 1}
    for name, template in TEMPLATES.items():
        group = "known" if name in {"globals of cycler", "subclasses", "lipsum"} else "held-out"
        yield group, Vector("gguf-template", name, "model.gguf", gguf({**base, "tokenizer.chat_template": template}), "not-clean" if name in SOFT_TEMPLATES else "dangerous")
    yield "held-out", Vector("gguf-template", "a second template", "model.gguf", gguf({**base, "tokenizer.chat_template": "{{ messages[0].content }}", "tokenizer.chat_template.tool_use": TEMPLATES["lipsum"]}))
    body = b"\x00" * 64
    cases = {
        "offset outside": gguf(base, tensors=gguf_tensor("w", (4,), offset=2**40), count=1, tail=body),
        "shape overflows": gguf(base, tensors=gguf_tensor("w", (2**33, 2**33)), count=1, tail=body),
        "dimensions of a billion": gguf(base, tensors=gguf_tensor("w", (4,), dims=2**30), count=1, tail=body),
        "unknown type": gguf(base, tensors=gguf_tensor("w", (4,), kind=250), count=1, tail=body),
        "count of tensors": gguf(base, count=2**60),
        "count of keys": gguf(base, keys=2**60),
        "length of a key": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63),
        "array of arrays": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 3000 + struct.pack("<IQ", 4, 0),
        "array of a billion": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_text("a") + struct.pack("<IIQ", 9, 4, 2**61),
        "alignment of zero": gguf({**base, "general.alignment": 0}, tensors=gguf_tensor("w", (4,)), count=1, tail=body),
        "tensors overlap": gguf(base, tensors=gguf_tensor("a", (8,)) + gguf_tensor("b", (8,)), count=2, tail=body),
        "unknown version": gguf(base, version=99),
    }
    for name, data in cases.items():
        group = "known" if name in {"count of tensors", "count of keys", "length of a key"} else "held-out"
        yield group, Vector("gguf-bounds", name, "model.gguf", data, "not-clean")
