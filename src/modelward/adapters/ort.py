"""The one door to onnxruntime: from 1.31 on it starts a telemetry thread at import, unless told not to."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
)
"""What onnxruntime raises; its own errors share no base class."""

__all__ = ["ERRORS", "onnxruntime", "state"]
