"""Model configurations of Triton (`config.pbtxt`): a backend that is a program, paths that leave the model.

With the Python backend the server imports `model.py` of the version folder when it loads the model; a backend
name that Triton does not bring is a native library from the model's own folder.

Source: triton-inference-server/common protobuf/model_config.proto; core src/backend_manager.cc (search of
`libtriton_<backend>.so` in the model's folder first); python_backend README. Triton 2.62.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.shipped import source

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 4 << 20
_VERSIONS: Final = 9
"""Version folders 1 to 9 that are looked into for the program."""
_KNOWN: Final = frozenset(
    (
        "onnxruntime", "onnxruntime_onnx", "tensorrt", "tensorrt_plan", "tensorrtllm", "tensorflow",
        "tensorflow_graphdef", "tensorflow_savedmodel", "pytorch", "pytorch_libtorch", "openvino", "dali",
        "fil", "ensemble", "identity", "repeat", "square", "vllm",
    )
)  # fmt: skip
_FIELD: Final = re.compile(
    r"\b(backend|platform|runtime|default_model_filename|string_value|op_library_filename)\s*:\s*\[?\s*[\"']([^\"']*)[\"']"
)

_PATHS: Final = frozenset(("default_model_filename", "runtime", "backend", "op_library_filename"))


def read(data: Buffer, into: Reading) -> None:
    """Judge what the server would run for this model."""
    text = re.sub(r"(?m)#.*$", "", bytes(data[:LONGEST]).decode("utf-8", "replace"))
    into.facts["framework"] = "triton"
    for field, value in _FIELD.findall(text):
        into.spend()
        if (why := escapes(value)) is not None and field in _PATHS:
            into.dangerous("triton.path", f"{field} {value[:200]!r} {why}")
        elif field == "op_library_filename":
            into.unproven(
                "triton.library", f"{value[:200]!r} is a native library that the server loads first"
            )
        elif field == "string_value" and why == "leads out of the folder":
            into.unproven("triton.parameter", f"a parameter {value[:200]!r} {why}")
        elif field == "backend" and value == "python":
            _program(into)
        elif field in {"backend", "platform"} and value and value not in _KNOWN:
            message = f"the backend {value[:80]} is a native library, maybe of the model's own folder"
            into.unproven("triton.backend", message)
    if len(data) > LONGEST:
        into.missed(f"only {LONGEST} bytes of the configuration were read")
    into.proven = True


def _program(into: Reading) -> None:
    names = [f"{version}/model.py" for version in range(1, _VERSIONS + 1)]
    found = [(name, content) for name in names if (content := into.beside(name)) is not None]
    for name, content in found:
        source(into, name, content, "the server imports it when it loads the model")
    if not found:
        into.unproven("triton.python", "the model is a Python program, which the server runs to load it")
