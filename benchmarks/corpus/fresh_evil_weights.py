# ruff: noqa: E501 - tables of cases
"""Fresh malicious weights: GGUF with templates and wrong numbers, safetensors, skops."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from fresh_evil_keras import zipped

from vectors import encoders
from vectors.asm import Vector, payload

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATES = {
    "globals of a loop": "{% for x in ().__class__.__base__.__subclasses__() %}{% if 'warning' in x.__name__ %}{{ x()._module.__builtins__['__import__']('os').popen('true').read() }}{% endif %}{% endfor %}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('true').read() }}",
    "attr filter": "{{ (lipsum|attr('__globals__'))['os']|attr('system')('true') }}",
    "hexadecimal names": "{{ lipsum['\\x5f\\x5fglobals\\x5f\\x5f']['os']['popen']('true') }}",
    "joined names": "{{ messages|attr(['__cla','ss__']|join) }}",
    "formatted names": "{% set u = '%c'|format(95) %}{{ ''|attr(u~u~'class'~u~u)|attr(u~u~'mro'~u~u) }}",
    "joiner": "{{ joiner.__init__.__globals__.os.system('true') }}",
    "namespace": "{{ namespace.__init__.__globals__.__builtins__.exec('print(1)') }}",
    "self": "{{ self.__init__.__globals__.__builtins__.__import__('os').system('true') }}",
    "macro": "{% macro m() %}{% endmacro %}{{ m.__class__.__init__.__globals__ }}",
    "string format": "{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}",
    "after a usual template": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}{{ bos_token.__class__.__mro__[1].__subclasses__() }}{% endif %}",
    "include of a file": "{% include '/etc/passwd' %}",
    "raise_exception": "{{ raise_exception.__globals__['__builtins__']['eval']('1') }}",
}


def gguf() -> Iterator[Vector]:
    for name, template in TEMPLATES.items():
        expect = (
            "not-clean"
            if name
            in {
                "include of a file",
                "joined names",
                "formatted names",
                "macro",
                "string format",
                "after a usual template",
            }
            else "dangerous"
        )
        key = "tokenizer.chat_template.tool_use" if name == "joiner" else "tokenizer.chat_template"
        yield Vector(
            "gguf",
            f"template: {name}",
            "model-Q4_K_M.gguf",
            encoders.gguf(
                {"general.architecture": "llama", "general.name": "m", "llama.block_count": 1, key: template}
            ),
            expect,
        )
    head = {"general.architecture": "llama"}
    for name, data in {
        "more keys than the file has": encoders.gguf(head, keys=1 << 40),
        "more tensors than the file has": encoders.gguf(head, count=1 << 61),
        "tensor of too many dimensions": encoders.gguf(
            head, tensors=encoders.gguf_tensor("w", (2,), dims=90), count=1
        ),
        "tensor outside the file": encoders.gguf(
            head, tensors=encoders.gguf_tensor("w", (1 << 40, 1 << 30)), count=1, tail=b"\0" * 32
        ),
        "product that wraps around": encoders.gguf(
            head, tensors=encoders.gguf_tensor("w", (1 << 32, 1 << 32, 4)), count=1, tail=b"\0" * 32
        ),
        "text longer than the file": b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 1 << 62)
        + b"x" * 40,
    }.items():
        yield Vector("gguf", name, "model.gguf", data, "not-clean")


def safetensors() -> Iterator[Vector]:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for name, data in {
        "overlap": encoders.safetensors({"a": entry, "b": entry}, b"\0" * 8),
        "outside the file": encoders.safetensors({"a": {**entry, "data_offsets": [0, 1 << 40]}}, b"\0" * 8),
        "a pickle between tensors": encoders.safetensors({"a": entry}, b"\0" * 8 + payload()),
        "header longer than the file": encoders.safetensors({"a": entry}, b"", size=1 << 50),
        "negative offsets": encoders.safetensors({"a": {**entry, "data_offsets": [-8, 0]}}, b"\0" * 8),
        "shape that disagrees": encoders.safetensors({"a": {**entry, "shape": [1 << 40]}}, b"\0" * 8),
        "a name twice": encoders.safetensors(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}',
            b"\0" * 8,
        ),
        "a pickle only": payload(),
    }.items():
        yield Vector("safetensors", name, "model.safetensors", data, "not-clean")


def skops() -> Iterator[Vector]:
    """Skops schemas: nodes that name functions, methods and operators."""

    def made(root: dict[str, object]) -> bytes:
        schema = {**root, "protocol": 2, "_skops_version": "0.11.0"}
        return zipped({"schema.json": json.dumps(schema).encode()})

    def node(loader: str, module: str, name: str, content: object = None) -> dict[str, object]:
        return {
            "__class__": name,
            "__module__": module,
            "__loader__": loader,
            "__id__": 7,
            "content": content or {},
        }

    text = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": '"true"',
        "is_json": True,
    }
    function = {
        **node("FunctionNode", "os", "system"),
        "content": {"module_path": "os", "function": "system"},
    }
    operator = {
        **node("OperatorFuncNode", "builtins", "eval"),
        "attrs": {
            "__class__": "tuple",
            "__module__": "builtins",
            "__loader__": "TupleNode",
            "content": [text],
        },
    }
    method = {
        **node("MethodNode", "builtins", "int"),
        "content": {"func": "__class__", "obj": node("TypeNode", "os", "system")},
    }
    partial = {
        **node("PartialNode", "functools", "partial"),
        "content": {
            "func": function,
            "args": {
                "__class__": "tuple",
                "__module__": "builtins",
                "__loader__": "TupleNode",
                "content": [text],
            },
            "kwds": None,
            "namespace": None,
        },
    }
    reduce_ = {
        **node("ReduceNode", "subprocess", "Popen"),
        "reduce": {
            "args": {
                "__class__": "tuple",
                "__module__": "builtins",
                "__loader__": "TupleNode",
                "content": [text],
            }
        },
    }
    pipe = node(
        "ObjectNode",
        "sklearn.preprocessing._function_transformer",
        "FunctionTransformer",
        {
            "__class__": "dict",
            "__module__": "builtins",
            "__loader__": "DictNode",
            "key_types": {},
            "content": {"func": function},
        },
    )
    for name, root in {
        "FunctionNode": function,
        "OperatorFuncNode": operator,
        "MethodNode": method,
        "PartialNode": partial,
        "ReduceNode": reduce_,
        "function of a transformer": pipe,
        "ObjectNode of a foreign class": node("ObjectNode", "evilpkg.core", "Model"),
    }.items():
        yield Vector("skops", name, "model.skops", made(root), "not-clean")
    yield Vector("skops", "a joblib file under that name", "model.skops", payload(), "not-clean")
