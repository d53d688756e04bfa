"""TorchScript and torch.export (`.pt2`) files; loaded in the sandbox alone: both can carry pickles."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.runtime import Facts, RuntimeSpec, as_numbers, inspected_bytes
from modelward.errors import ExtraMissing, FileDamaged, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray
    from torch import fx
    from torch.export import ExportedProgram

_BATCH = 1024
"""Samples per call; bounds memory, changes no answer."""
_TYPES = {
    f"torch.{name}": np.dtype(name).type
    for name in ("float32", "float64", "float16", "int64", "int32", "uint8", "int8", "bool")
}


@final
class ScriptRuntime:
    """A compiled or exported program on the CPU, which can be asked and gives no gradients.

    Args:
        call: (n, *shape) tensor -> tensor.
        dtype: element type that it takes, as numpy names it.
        facts: what it says about itself.
    """

    def __init__(self, call: Callable[[torch.Tensor], object], dtype: type[np.generic], facts: Facts) -> None:
        self._call, self._type, self._facts = call, dtype, facts

    @property
    def facts(self) -> Facts:
        """The input's shape, where the program states one."""
        return self._facts

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Run the program.

        Raises:
            ModelRaised: the input is no batch of numbers, or the answer no single tensor.
        """
        import torch

        numbers = as_numbers(x, self._type)
        if x.ndim == 0:
            raise ModelRaised("the model takes a batch of samples, not a single number")
        answers = []
        for start in range(0, max(1, len(x)), _BATCH):
            with torch.no_grad():
                answer = self._call(torch.from_numpy(np.array(numbers[start : start + _BATCH])))
            if not isinstance(answer, torch.Tensor):
                raise ModelRaised(f"the model answered a {type(answer).__name__}, not one tensor")
            answers.append(answer.detach().numpy())
        return np.concatenate(answers)


def load(spec: RuntimeSpec) -> ScriptRuntime:
    """Open a TorchScript or torch.export file. Call it in the sandbox, after an inert verdict.

    Raises:
        UnsafeArtifact: the file is not the one that was inspected.
        ExtraMissing: torch is not installed.
        FileDamaged: torch does not accept it.
        ShapeMismatch: it does not take one tensor of numbers.
    """
    content = inspected_bytes(spec)
    try:
        import torch
    except ImportError as error:
        raise ExtraMissing("torch", "torch") from error
    script = spec.format == "torchscript"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its own older formats deprecated
            if script:
                module = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call] # torch's
            else:
                program = torch.export.load(io.BytesIO(content))
    except Exception as error:  # what torch raises on bytes that it cannot read is of many kinds
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FileDamaged(f"{spec.path}: torch cannot open it ({said})") from error
    return _script(module) if script else _exported(program)


def _script(module: torch.jit.ScriptModule) -> ScriptRuntime:
    """A module of TorchScript's language; its forward must need one argument beside itself."""
    schema: torch.FunctionSchema = module._c._get_method("forward").schema  # noqa: SLF001 - no public way
    arguments = schema.arguments[1:]
    needed = [argument.name for argument in arguments if not argument.has_default_value()]
    if len(needed) > 1 or not arguments:
        raise ShapeMismatch(f"the model takes {len(needed)} inputs; one tensor of numbers is supported")
    kind = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), None)
    call = module.eval()
    return ScriptRuntime(call, _TYPES.get(str(kind), np.float32), Facts(origin="TorchScript module"))


def _exported(program: ExportedProgram) -> ScriptRuntime:
    """A graph that torch.export wrote; a batch size that it fixes is kept to."""
    from modelward.adapters.batches import AnyBatch

    named = program.graph_signature.user_inputs
    inputs: list[fx.Node] = [node for node in program.graph.nodes if node.name in named]
    tensor = inputs[0].meta.get("val") if len(inputs) == 1 else None
    dtype = _TYPES.get(str(getattr(tensor, "dtype", None)))
    if tensor is None or dtype is None or not tensor.dim():
        raise ShapeMismatch(f"the model takes {len(named)} inputs; one tensor of numbers is supported")
    batch, *dims = (length if isinstance(length, int) else None for length in tensor.shape)
    module = program.module()
    facts = Facts(
        n_features=dims[0] if len(dims) == 1 else None,
        shape=tuple(dims) or None,
        origin="exported program",
        whole=not np.issubdtype(dtype, np.floating),
    )
    return ScriptRuntime(module if batch is None else AnyBatch(module, batch), dtype, facts)
