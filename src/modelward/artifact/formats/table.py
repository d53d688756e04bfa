"""Which module reads which format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from modelward.artifact.format import TEXTUAL

if TYPE_CHECKING:
    from modelward.artifact.format import Format
    from modelward.artifact.reading import Read

_FORMATS: Final[dict[Format, str]] = {
    "parquet": "arrow",
    "arrow": "arrow",
    "flax-msgpack": "flax",
    "msgpack": "flax",
    "vector-index": "vector_index",
    "executorch": "executorch",
    "tflite": "tflite",
    "catboost": "catboost",
    "catboost-json": "catboost_json",
    "lightgbm": "lightgbm",
    "xgboost-binary": "xgboost",
    "xgboost-ubj": "xgboost",
    "xgboost-json": "xgboost",
    "nemo": "nemo",
    "triton": "triton",
    "shard-index": "shard_index",
    "yaml": "plain_yaml",
    "mar": "mar",
    "r-data": "rdata",
    "native-code": "native",
    "torch-package": "torch_package",
    "torch-export": "torch_export",
    "ggml": "ggml",
    "gguf": "gguf",
    "safetensors": "safetensors",
    "torchscript": "torchscript",
    "skops": "skops",
    "hf-config": "hf_config",
    "chat-template": "chat_template",
    "mlflow": "mlflow",
    "object-yaml": "object_yaml",
    "hdf5": "hdf5.reader",
    "keras": "keras",
    "model-json": "keras_json",
    "onnx": "onnx",
    "saved-model": "tensorflow",
    "tensorflow-graph": "tensorflow",
    "coreml": "coreml",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "ort": "ort",
    "paddle": "paddle",
    "paddle-params": "paddle",
    "mxnet": "mxnet",
    "mxnet-params": "mxnet",
    "pmml": "pmml",
}
"""Format -> module of `formats` whose function `read` reads it."""
_AROUND: Final[dict[Format, str]] = {
    "python": "source",
    "notebook": "notebook",
    "shell": "script",
    "requirements": "requirements",
    "model-card": "card",
    "licence": "licence",
    "lock-file": "locks",
    "conda": "manifest",
    "package-manifest": "manifest",
    "dockerfile": "dockerfile",
    "compose": "compose",
    "kubernetes": "kubernetes",
    "serving-config": "serving",
}
"""Format -> module of `around` whose function `read` looks for weaknesses in it."""


_SEARCHED: Final[frozenset[Format]] = frozenset(
    TEXTUAL - {"csv"} | {"hf-config", "chat-template", "mlflow", "object-yaml", "model-json"}
)
"""Formats that people write by hand, in which secrets are looked for."""


def readers(kind: Format) -> list[Read]:
    """The readers of a format, imported now; none when it has none."""
    places = [
        f"modelward.artifact.{room}.{table[kind]}"
        for room, table in (("formats", _FORMATS), ("around", _AROUND))
        if kind in table
    ]
    if kind in _SEARCHED:
        places.append("modelward.artifact.around.secrets")
    return [cast("Read", import_module(place).read) for place in places]
