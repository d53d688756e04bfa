"""The one table from format to runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelward.errors import FormatUnknown

if TYPE_CHECKING:
    from modelward.adapters.runtime import Runtime, RuntimeSpec

PROGRAMS = frozenset({"torchscript", "torch-export"})
SANDBOXED = frozenset({"pickle", "joblib", "joblib-compressed", "skops"}) | PROGRAMS
"""Formats whose loading can run code: opened in the sandbox alone."""
TORCH = frozenset({"torch-zip", "torch-legacy", "safetensors"})
BOOSTERS = frozenset({"xgboost-json", "xgboost-ubj", "lightgbm"})
_SKLEARN = ("sklearn.ensemble", "sklearn.pipeline", "sklearn.feature_extraction.text", "pandas")
PRELOAD = {
    **dict.fromkeys(TORCH, ("torch", "safetensors")),
    "torchscript": ("torch",),
    "torch-export": ("torch", "torch._dynamo", "torch.export.pt2_archive"),
    "onnx": ("onnxruntime",),
    "xgboost-json": ("xgboost",),
    "xgboost-ubj": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost-json": ("modelward.adapters.runtimes.catboost_file",),
    "pickle": ("joblib", *_SKLEARN),
    "joblib": ("joblib", *_SKLEARN),
    "joblib-compressed": ("joblib", *_SKLEARN),
    "skops": ("skops.io", *_SKLEARN),
}
"""Libraries that a sandboxed process imports before it locks itself."""

_ADVICE = {"catboost": 'Save it as JSON, by save_model(path, format="json"), which is read without CatBoost.'}
"""What to do about formats that are recognised and not run."""


def load_runtime(spec: RuntimeSpec) -> Runtime:
    """Load a model file in this process.

    Raises:
        FormatUnknown: no runtime is known for the format.
        ModelwardError: as the runtime's own loader says.
    """
    if spec.format == "onnx":
        from modelward.adapters.runtimes import onnx_file

        return onnx_file.load(spec)
    if spec.format in TORCH:
        from modelward.adapters.runtimes import torch_module

        return torch_module.load(spec)
    if spec.format in BOOSTERS:
        from modelward.adapters.runtimes import boosters

        return boosters.load_lightgbm(spec) if spec.format == "lightgbm" else boosters.load_xgboost(spec)
    if spec.format == "catboost-json":
        from modelward.adapters.runtimes import catboost_file

        return catboost_file.load(spec)
    if spec.format in PROGRAMS:
        from modelward.adapters.runtimes import torch_script

        return torch_script.load(spec)
    if spec.format in SANDBOXED:
        from modelward.adapters.runtimes import sklearn_file

        return sklearn_file.load(spec)
    raise FormatUnknown(
        f"{spec.path}: {spec.format} is not a model that modelward can ask", advice=_ADVICE.get(spec.format)
    )
