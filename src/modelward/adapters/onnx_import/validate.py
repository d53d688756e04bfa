"""Compare an imported module with onnxruntime, and find the first operator that differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from torch import Tensor, fx

from modelward.adapters.onnx_import.graph import Network, Node, first_line, with_outputs
from modelward.adapters.ort import onnxruntime
from modelward.adapters.ort import state as runtime
from modelward.errors import FileDamaged, ModelRaised, OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.adapters.onnx_import.rewrite import Tail

    Array = NDArray[np.floating]

ROWS: Final = 64  # samples are compared this many at a time
RANDOM_BATCHES: Final = (1, 3, 16)
_RUNTIME_ERRORS: Final = (
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoSuchFile,
    runtime.RuntimeException,
    RuntimeError,
    ValueError,
    TypeError,
)


@final
@dataclass(frozen=True)
class Candidate:
    """A module to be compared.

    Attributes:
        module: gives the scores.
        tail: what turns them into the tensor `network.score`.
        batch: the file's fixed batch size, or None; onnxruntime is then run on batches of this size.
        general: whether the module takes any batch size.
    """

    module: fx.GraphModule
    tail: Tail | None
    batch: int | None
    general: bool


def gap(ours: Array, theirs: Array) -> float:
    """The largest |a - b| / max(1, |b|); infinite where shapes or non-finite entries differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))
    scaled = np.where(same, 0.0, np.where(np.isfinite(scaled), scaled, np.inf))
    return float(scaled.max(initial=0.0))


def random_inputs(samples: Array | None, shape: tuple[int, ...], dtype: str, seed: int) -> Iterator[Array]:
    """Batches of 1, 3 and 16 rows, uniform over the data's range widened by a quarter on each side.

    Without data they are standard normal.
    """
    rng = np.random.default_rng(seed)
    for rows in RANDOM_BATCHES:
        if samples is None or not len(samples):
            yield rng.standard_normal((rows, *shape)).astype(dtype)
            continue
        finite = np.where(np.isfinite(samples), samples, 0)
        low, high = finite.min(axis=0).astype(np.float64), finite.max(axis=0).astype(np.float64)
        width = np.where(high > low, high - low, max(float(high.max() - low.min()), 1.0))
        yield rng.uniform(low - width / 4, high + width / 4, (rows, *shape)).astype(dtype)


def validate(network: Network, candidate: Candidate, batches: Iterator[Array], tolerance: float) -> float:
    """Compare scores and, where a tail was taken off, the tensor after it.

    Returns:
        The largest scaled difference seen.

    Raises:
        OperatorUnsupported: it exceeds the tolerance; names the first operator that differs.
        FileDamaged: onnxruntime does not accept the model.
        ModelRaised: onnxruntime fails on an input.
    """
    before = _score_node(candidate.module).meta.get("tensor")
    names = list(dict.fromkeys([network.score, *([before] if before else [])]))
    session = _session(network, names)
    worst = 0.0
    for x in batches:
        scores = _scores(candidate, x)
        tailed = candidate.tail.apply(scores) if candidate.tail else scores
        theirs = _reference(session, network.input_name, x, candidate.batch)
        worst = max(worst, gap(tailed.numpy(), theirs[0]), gap(scores.numpy(), theirs[-1]) if before else 0.0)
        if not worst <= tolerance:
            node, size = _first_difference(network, candidate, x, tolerance)
            if size <= tolerance:
                raise OperatorUnsupported(
                    f"the scores differ from onnxruntime's by {worst:.3g} (scaled), more than {tolerance:g}, "
                    "where every operator by itself agrees: it joins some, and then computes something else"
                )
            raise OperatorUnsupported(
                f"operator {node} differs from onnxruntime by {size:.3g} (scaled), more than {tolerance:g}"
            )
    return worst


def _score_node(module: fx.GraphModule) -> fx.Node:
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    (score,) = output.all_input_nodes
    node: fx.Node = score
    return node


def _scores(candidate: Candidate, x: Array) -> Tensor:
    whole = candidate.general or candidate.batch is None
    parts = [x] if whole else list(_chunks(x, candidate.batch or 1))
    try:
        with torch.no_grad():
            return torch.cat([candidate.module(torch.from_numpy(part)) for part in parts])[: len(x)]
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        raise OperatorUnsupported(f"torch cannot run the imported graph: {first_line(error)}") from error


def _chunks(x: Array, batch: int) -> Iterator[Array]:
    """Rows in batches of exactly `batch`; the last one is filled up with its last row."""
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        yield np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])


def _session(network: Network, names: list[str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            with_outputs(network, names), options, providers=["CPUExecutionProvider"]
        )
    except runtime.NotImplemented as error:
        raise OperatorUnsupported(f"onnxruntime does not run this model: {first_line(error)}") from error
    except _RUNTIME_ERRORS as error:
        raise FileDamaged(f"onnxruntime does not accept the model: {first_line(error)}") from error


def _run(session: onnxruntime.InferenceSession, name: str, x: Array) -> list[Array]:
    try:
        outputs: list[Array] = session.run(None, {name: x})
    except (runtime.NotImplemented, *_RUNTIME_ERRORS) as error:
        raise ModelRaised(f"onnxruntime fails on an input of shape {x.shape}: {first_line(error)}") from error
    return outputs


def _reference(session: onnxruntime.InferenceSession, name: str, x: Array, batch: int | None) -> list[Array]:
    if batch is None:
        return _run(session, name, x)
    parts = [_run(session, name, part) for part in _chunks(x, batch)]
    if any(output.ndim == 0 for output in parts[0]):
        return parts[0]
    return [np.concatenate(outputs)[: len(x)] for outputs in zip(*parts, strict=True)]


@final
class _Recorder(fx.Interpreter):
    """Runs a module and keeps the value of every node that stands for an ONNX tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: Final[dict[str, tuple[Node, Array]]] = {}

    def run_node(self, n: fx.Node) -> Tensor:
        value: Tensor = super().run_node(n)
        if "tensor" in n.meta:
            self.seen[n.meta["tensor"]] = (n.meta["onnx"], value.numpy())
        return value


def _first_difference(
    network: Network, candidate: Candidate, x: Array, tolerance: float
) -> tuple[Node, float]:
    """The first operator, in the graph's order, whose output differs; else the last one."""
    if candidate.batch is not None:
        parts = list(_chunks(x, candidate.batch))
        x = parts[0]
    recorder = _Recorder(candidate.module)
    with torch.no_grad():
        recorder.run(torch.from_numpy(x))
    names = list(recorder.seen)
    theirs = _run(_session(network, names), network.input_name, x) if names else []
    worst = (network.nodes[-1], 0.0)
    for name, reference in zip(names, theirs, strict=True):
        node, ours = recorder.seen[name]
        size = gap(ours, reference)
        if not size <= tolerance:
            return node, size
        worst = max(worst, (node, size), key=lambda pair: pair[1])
    return network.nodes[-1], worst[1]
