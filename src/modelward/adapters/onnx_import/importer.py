"""The ONNX-to-torch import: read, translate, rewrite, compare.

Nothing of torch, onnx or onnxruntime is imported before `import_onnx` is called.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, final

import numpy as np

from modelward.errors import ExtraMissing, OperatorUnsupported, ShapeMismatch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import fx

    from modelward.adapters.onnx_import.graph import Network

_DYNAMIC: Final = (3, 5)  # probing batch sizes; two, so that what follows the batch shows


@final
@dataclass(frozen=True, eq=False)
class ImportedModule:
    """A torch module that reproduces an ONNX file, and how well it does.

    Attributes:
        module: maps inputs of `input_shape` to scores *before* `tail`; in eval mode, parameters frozen
            (`requires_grad` false), differentiable with respect to the input.
        tolerance: the scaled difference |a - b| / max(1, |b|) that was allowed, before and after the tail.
        measured_gap: the largest one seen.
        input_name: the graph's input.
        input_shape: its shape; None stands for any length, and only ever for the batch: an axis that the file
            leaves free is pinned to the length it has in the samples.
        input_dtype: 'float32' or 'float64'.
        output_name: the graph output that was imported.
        output_kind: what the *file* gives there: 'probabilities' if the graph ends in a Softmax, a Sigmoid
            or a ZipMap, else 'logits'.
        tail: the function taken off the end: softmax (along axis 1 or the last), sigmoid, or None.
        detection: one sentence on how output, kind and tail were found.
    """

    module: fx.GraphModule
    tolerance: float
    measured_gap: float
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: Literal["float32", "float64"]
    output_name: str
    output_kind: Literal["logits", "probabilities"]
    tail: Literal["softmax", "sigmoid"] | None
    detection: str


def import_onnx(
    path: Path, *, samples: NDArray[np.generic] | None, seed: int = 0, tolerance: float = 1e-4
) -> ImportedModule:
    """Import an ONNX graph (MLP, CNN, ResNet, transformer encoder) as a torch.fx.GraphModule, or refuse.

    The module is compared with onnxruntime on all `samples` (pass a subset of large data) and on random
    inputs around their range, at several batch sizes; with a fixed batch size, onnxruntime runs at that size.

    Args:
        path: the `.onnx` file; external weights are read from its folder only.
        samples: (n, ...) inputs in the model's own input space, or None.
        seed: of the random inputs, below 2**53.
        tolerance: largest allowed |a - b| / max(1, |b|) between module (a) and onnxruntime (b).

    Raises:
        ExtraMissing: torch, onnx or onnxruntime is not installed.
        FileMissing: the file or its weights cannot be read.
        FileDamaged: it is not a valid ONNX model.
        UnsafeArtifact: it names weights outside its folder.
        OperatorUnsupported: names the operator that is unknown, or the first whose output differs.
        ShapeMismatch: the samples do not fit, or are needed to know the input shape.
        ModelRaised: onnxruntime fails on an input.
    """
    for library in ("torch", "onnx", "onnxruntime"):
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise ExtraMissing(library, "torch") from error
    from modelward.adapters.onnx_import.graph import read_network

    network = read_network(path)
    data = None if samples is None else _typed(samples, network.dtype)
    batch, shape = _input_shape(network, data)
    if batch is None:
        return _attempt(network, shape, _DYNAMIC, data, (seed, tolerance))
    try:
        return _attempt(network, shape, (batch, batch + 1), data, (seed, tolerance))
    except OperatorUnsupported:  # not general: keep the file's own batch size
        return _attempt(network, shape, (batch,), data, (seed, tolerance))


def _typed(samples: NDArray[np.generic], dtype: str) -> NDArray[np.floating]:
    try:
        return np.ascontiguousarray(samples, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ShapeMismatch(f"samples of type {samples.dtype} do not convert to {dtype}") from error


def _input_shape(network: Network, data: NDArray[np.floating] | None) -> tuple[int | None, tuple[int, ...]]:
    """The file's batch size (None if free) and the shape of one row."""
    dims = network.dims
    if dims is None:
        if data is None:
            raise ShapeMismatch(
                f"input {network.input_name!r} declares no shape; samples are needed to know it"
            )
        dims = (None, *data.shape[1:])
    stated = tuple("?" if dim is None else dim for dim in dims)
    if len(dims) < 2:
        raise OperatorUnsupported(
            f"input {network.input_name!r} of shape {stated} has no batch axis before its features"
        )
    if data is not None:
        pairs = zip(dims[1:], data.shape[1:], strict=False)
        if data.ndim != len(dims) or any(dim not in {None, length} for dim, length in pairs):
            raise ShapeMismatch(
                f"samples of shape {data.shape} do not fit input {network.input_name!r} of {stated}"
            )
        return dims[0], data.shape[1:]
    row = tuple(dim for dim in dims[1:] if dim is not None)
    if len(row) < len(dims) - 1:
        raise ShapeMismatch(
            f"input {network.input_name!r} of shape {stated} has free axes; samples are needed to fix them"
        )
    return dims[0], row


def _attempt(
    network: Network,
    shape: tuple[int, ...],
    batches: tuple[int, ...],
    data: NDArray[np.floating] | None,
    choice: tuple[int, float],
) -> ImportedModule:
    """Translate at the given probing batch sizes, and compare."""
    from torch import fx

    from modelward.adapters.onnx_import import rewrite, validate
    from modelward.adapters.onnx_import.operators import translate

    seed, tolerance = choice
    builder, score = translate(network, shape, batches)
    end, tail = rewrite.strip_tail(builder.root, builder.graph, score)
    builder.graph.output(end)
    module = fx.GraphModule(builder.root, builder.graph, "ImportedOnnx").eval()
    module.graph.eliminate_dead_code()
    rewrite.fuse_gelu(module)
    rewrite.fuse_layer_norm(module)
    rewrite.finite_masks(module)
    rewrite.select_early(module)
    rewrite.keep_heads(module)
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    fixed = network.dims[0] if network.dims else None
    candidate = validate.Candidate(module, tail, fixed, general=len(batches) > 1)
    rows = [] if data is None else [data[i : i + validate.ROWS] for i in range(0, len(data), validate.ROWS)]
    inputs = chain(rows, validate.random_inputs(data, shape, network.dtype, seed))
    measured = validate.validate(network, candidate, inputs, tolerance)
    ending = f"a final {tail.kind} was taken off" if tail else "no final Softmax or Sigmoid was found"
    return ImportedModule(
        module=module,
        tolerance=tolerance,
        measured_gap=measured,
        input_name=network.input_name,
        input_shape=(None if candidate.general else fixed, *shape),
        input_dtype="float64" if network.dtype == "float64" else "float32",
        output_name=network.output_name,
        output_kind="probabilities" if tail or network.label_tail == "ZipMap" else "logits",
        tail=tail.kind if tail else None,
        detection=f"{network.detection}; {ending}",
    )
