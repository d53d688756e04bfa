"""The formats that content is recognised as."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

Format: TypeAlias = Literal[
    # pickles, and archives that hold them
    "pickle", "joblib", "joblib-compressed", "torch-zip", "torch-legacy", "torchscript", "torch-package",
    "torch-export", "npy", "npz", "skops", "mar", "nemo",
    # tensors and graphs
    "safetensors", "gguf", "ggml", "onnx", "ort", "tflite", "executorch", "hdf5", "keras", "saved-model",
    "tensorflow-graph", "tensorflow-checkpoint", "coreml", "tensorrt", "openvino",
    "paddle", "paddle-params", "mxnet", "mxnet-params",
    "flax-msgpack", "xgboost-json", "xgboost-ubj", "xgboost-binary", "lightgbm", "catboost",
    "catboost-json", "pmml", "r-data",
    # configuration that a loader acts on
    "hf-config", "shard-index", "triton", "chat-template", "mlflow", "object-yaml", "model-json",
    # containers and native code
    "zip", "tar", "7z", "compressed", "native-code",
    # data
    "raw-numbers", "array-store", "vector-index", "word-vectors", "tokenizer-model", "ctranslate2", "msgpack",
    "tfrecord", "parquet", "arrow", "csv", "csv-compressed", "json", "text", "sqlite", "image",
    # what stands around a model: never a verdict
    "python", "python-bytecode", "notebook", "shell", "dockerfile", "compose", "kubernetes", "serving-config",
    "requirements", "lock-file", "conda", "package-manifest", "licence", "model-card", "secrets", "yaml",
    "toml", "xml", "unknown",
]  # fmt: skip

PASSIVE: Final[frozenset[Format]] = frozenset(
    (
        "npy", "npz", "parquet", "arrow", "csv", "csv-compressed", "json", "text", "sqlite", "image", "yaml",
        "toml", "xml", "ggml", "tensorflow-checkpoint", "raw-numbers", "tfrecord", "array-store",
        "vector-index", "word-vectors", "tokenizer-model", "ctranslate2",
    )
)  # fmt: skip
"""Formats whose loaders run no code of the file, unless the file holds a pickle."""

AROUND: Final[frozenset[Format]] = frozenset(
    (
        "python", "python-bytecode", "notebook", "shell", "dockerfile", "compose", "kubernetes",
        "serving-config", "requirements", "lock-file", "conda", "package-manifest", "licence", "model-card",
        "secrets",
    )
)  # fmt: skip
"""Files that no loader takes as a model: findings and no verdict."""

TEXTUAL: Final[frozenset[Format]] = frozenset((*AROUND, "json", "text", "yaml", "toml", "xml", "csv"))
"""Formats whose name and content may say that they are something more particular."""


class Sniffed(msgspec.Struct, frozen=True):
    """What a file is.

    Attributes:
        format: one of `Format`; "unknown" when no rule applies.
        reason: what in the content says so.
    """

    format: Format
    reason: str
