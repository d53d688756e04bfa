# ruff: noqa: E501 - payloads and configurations stand in one line each
"""Malicious ONNX and GGUF files."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vectors.asm import Vector
from vectors.encoders import gguf, gguf_tensor, gguf_text, pb

if TYPE_CHECKING:
    from collections.abc import Iterator


def vectors() -> Iterator[tuple[str, Vector]]:
    """Pairs of `known` or `held-out` and a vector."""
    yield from onnx()
    yield from ggufs()


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
SOFT_TEMPLATES = {
    "format string",
    "map attribute",
    "escaped names",
    "names joined",
    "undefined",
    "self of the template",
    "import",
}


def ggufs() -> Iterator[tuple[str, Vector]]:
    base: dict[str, str | int] = {"general.architecture": "llama", "llama.block_count": 1}
    for name, template in TEMPLATES.items():
        group = "known" if name in {"globals of cycler", "subclasses", "lipsum"} else "held-out"
        yield (
            group,
            Vector(
                "gguf-template",
                name,
                "model.gguf",
                gguf({**base, "tokenizer.chat_template": template}),
                "not-clean" if name in SOFT_TEMPLATES else "dangerous",
            ),
        )
    yield (
        "held-out",
        Vector(
            "gguf-template",
            "a second template",
            "model.gguf",
            gguf(
                {
                    **base,
                    "tokenizer.chat_template": "{{ messages[0].content }}",
                    "tokenizer.chat_template.tool_use": TEMPLATES["lipsum"],
                }
            ),
        ),
    )
    body = b"\x00" * 64
    cases = {
        "offset outside": gguf(base, tensors=gguf_tensor("w", (4,), offset=2**40), count=1, tail=body),
        "shape overflows": gguf(base, tensors=gguf_tensor("w", (2**33, 2**33)), count=1, tail=body),
        "dimensions of a billion": gguf(base, tensors=gguf_tensor("w", (4,), dims=2**30), count=1, tail=body),
        "unknown type": gguf(base, tensors=gguf_tensor("w", (4,), kind=250), count=1, tail=body),
        "count of tensors": gguf(base, count=2**60),
        "count of keys": gguf(base, keys=2**60),
        "length of a key": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63),
        "array of arrays": b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + gguf_text("a")
        + struct.pack("<I", 9)
        + struct.pack("<IQ", 9, 1) * 3000
        + struct.pack("<IQ", 4, 0),
        "array of a billion": b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + gguf_text("a")
        + struct.pack("<IIQ", 9, 4, 2**61),
        "alignment of zero": gguf(
            {**base, "general.alignment": 0}, tensors=gguf_tensor("w", (4,)), count=1, tail=body
        ),
        "tensors overlap": gguf(
            base, tensors=gguf_tensor("a", (8,)) + gguf_tensor("b", (8,)), count=2, tail=body
        ),
        "unknown version": gguf(base, version=99),
    }
    for name, data in cases.items():
        group = "known" if name in {"count of tensors", "count of keys", "length of a key"} else "held-out"
        yield group, Vector("gguf-bounds", name, "model.gguf", data, "not-clean")


def onnx() -> Iterator[tuple[str, Vector]]:
    relu = onnx_node("Relu")
    for group, places in {
        "known": ("../../../etc/hostname", "/etc/hostname"),
        "held-out": (
            "a/../../../etc/hostname",
            "..\\..\\boot.ini",
            "C:\\boot.ini",
            "file:///etc/hostname",
            "\\\\127.0.0.1\\share\\w",
            "w\x00.bin",
        ),
    }.items():
        for place in places:
            yield (
                group,
                Vector(
                    "onnx-external-data",
                    place,
                    "model.onnx",
                    model(relu, tensors=(tensor(place),)),
                    "not-clean",
                ),
            )
    outside = tensor("w.bin", "w", ("offset", str(2**50)), ("length", "99"))
    yield (
        "held-out",
        Vector(
            "onnx-external-data",
            "offset outside",
            "model",
            {"model.onnx": model(relu, tensors=(outside,)), "w.bin": b"\x00" * 8},
            "not-clean",
        ),
    )
    inner = pb((1, "value"), (5, tensor("../../etc/hostname")), (20, 4))
    yield (
        "held-out",
        Vector(
            "onnx-external-data",
            "in an attribute",
            "model.onnx",
            model(onnx_node("Constant", attributes=(inner,))),
            "not-clean",
        ),
    )
    branch = pb((1, "then_branch"), (6, pb((1, relu), (2, "b"), (5, tensor("../../etc/hostname")))), (20, 5))
    yield (
        "held-out",
        Vector(
            "onnx-external-data",
            "in a subgraph",
            "model.onnx",
            model(onnx_node("If", attributes=(branch,))),
            "not-clean",
        ),
    )
    sparse = pb((1, tensor("../../etc/hostname")), (2, tensor(None, "i")), (3, 4))
    body = pb((1, relu), (2, "g"), (15, sparse))
    yield (
        "held-out",
        Vector(
            "onnx-external-data", "sparse", "model.onnx", pb((1, 8), (7, body), (8, pb((2, 17)))), "not-clean"
        ),
    )
    for group, op, domain in (
        ("known", "PyOp", "ai.onnx.contrib"),
        ("known", "CustomOp", "com.acme"),
        ("held-out", "PyCustomOp", "ai.onnx.contrib"),
        ("held-out", "PythonOp", "com.microsoft"),
        ("held-out", "Loader", "ai.onnx.acme"),
        ("held-out", "Relu", "AI.ONNX"),
    ):
        yield (
            group,
            Vector(
                "onnx-custom-domain",
                f"{domain} {op}",
                "model.onnx",
                model(onnx_node(op, domain=domain), domains=("", domain)),
                "not-clean",
            ),
        )
    function = pb(
        (1, "Soft"),
        (4, "x"),
        (5, "y"),
        (7, onnx_node("Loader", domain="com.acme")),
        (9, pb((2, 17))),
        (10, "local"),
    )
    yield (
        "held-out",
        Vector(
            "onnx-custom-domain",
            "in a local function",
            "model.onnx",
            model(onnx_node("Soft", domain="local"), domains=("", "local"), more=((25, function),)),
            "not-clean",
        ),
    )
    hidden = pb((1, "body"), (6, pb((1, onnx_node("Loader", domain="com.acme")), (2, "b"))), (20, 5))
    yield (
        "held-out",
        Vector(
            "onnx-custom-domain",
            "in a loop, not imported",
            "model.onnx",
            model(onnx_node("Loop", attributes=(hidden,))),
            "not-clean",
        ),
    )


def tensor(location: str | None, name: str = "w", *more: tuple[str, str]) -> bytes:
    if location is None:
        return pb((1, 1), (2, 1), (4, b"\x00\x00\x80\x3f"), (8, name))
    pairs = [("location", location), *more]
    return pb((1, 1), (2, 1), (8, name), *((13, pb((1, k), (2, v))) for k, v in pairs), (14, 1))


def onnx_node(op: str, *, domain: str = "", attributes: tuple[bytes, ...] = ()) -> bytes:
    return pb(
        (1, "x"),
        (2, "y"),
        (3, "n"),
        (4, op),
        *((5, a) for a in attributes),
        *(((7, domain),) if domain else ()),
    )


def model(
    *nodes: bytes,
    tensors: tuple[bytes, ...] = (),
    domains: tuple[str, ...] = ("",),
    more: tuple[tuple[int, object], ...] = (),
) -> bytes:
    def value(name: str) -> bytes:
        return pb((1, name), (2, pb((1, pb((1, 1), (2, pb((1, pb((1, 1))))))))))

    body = pb(
        *((1, n) for n in nodes), (2, "g"), *((5, t) for t in tensors), (11, value("x")), (12, value("y"))
    )
    return pb(
        (1, 8),
        (2, "pytorch"),
        (7, body),
        *((8, pb((1, d), (2, 17)) if d else pb((2, 17))) for d in domains),
        *more,
    )
