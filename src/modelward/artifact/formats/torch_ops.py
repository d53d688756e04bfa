"""Operators of PyTorch by namespace: which come with it, and which reach files, processes or the network."""

from __future__ import annotations

from typing import Final

KNOWN: Final = frozenset(
    {
        "aten", "prim", "prims", "quantized", "_quantized", "quantized_decomposed", "quantization", "sparse",
        "static_runtime", "onednn", "mkldnn", "mkldnn_prepacked", "mkl", "prepacked", "xnnpack", "profiler",
        "fbgemm", "torchvision", "image", "metal_prepack", "vulkan_prepack", "inductor_prims", "rngprims",
        "higher_order", "onnx", "_native", "_dtensor", "export", "math", "metal", "vulkan", "torchao",
    }
)  # fmt: skip
"""Namespaces of PyTorch 1.5 to 2.13 and torchvision: they compute on tensors, but for those in `REACHING`."""
DISTRIBUTED: Final = frozenset({"c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem", "rpc"})
"""Namespaces that talk to other processes, of a group that the program set up."""
REACHING: Final[dict[str, str]] = {
    "aten::save": "writes a file",
    "aten::from_file": "maps a file into memory, and creates it when it is asked to",
    "aten::_save": "writes a file",
    "aten::load": "reads a file",
    "image::read_file": "reads a file",
    "image::write_file": "writes a file",
    "debugprims::load_tensor": "reads a file",
    "prim::PythonOp": "calls into Python",
    "prim::rpc_async": "calls another process",
    "prim::rpc_sync": "calls another process",
    "prim::rpc_remote": "calls another process",
    "profiler::_call_end_callbacks_on_jit_fut": "waits on another process",
    "tensorrt::execute_engine": "runs a native engine that the file holds",
}
CLASSES: Final = frozenset({"quantized", "xnnpack", "sparse", "profiler", "mkldnn", "rnn", "metal", "vulkan"})
"""Namespaces of `torch.classes` that come with PyTorch and hold weights or counters."""


def judge(namespace: str, name: str) -> tuple[bool, str] | None:
    """What is not proven about an operator: whether it reaches out of the model, and why; None if nothing."""
    base = name.split(".", 1)[0].split("[", 1)[0]
    why = REACHING.get(f"{namespace}::{base}")
    if why is not None:
        return True, why
    if namespace in DISTRIBUTED:
        return True, "talks to other processes"
    if namespace not in KNOWN:
        return False, f"belongs to {namespace}, a library of operators that PyTorch does not bring"
    return None
