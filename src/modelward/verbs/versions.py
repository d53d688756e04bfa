"""Versions of everything that a number can depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "modelward", "joblib", "lightgbm", "numpy", "onnx", "onnxruntime", "pyarrow", "scikit-learn", "scipy",
    "skops", "torch", "xgboost-cpu", "xgboost",
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Name to version of Python, the platform and the installed libraries that checks use."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
