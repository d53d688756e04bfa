"""Torch modules: a trusted factory with weights from a file, or a live module."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.runtime import Facts, RuntimeSpec, as_numbers
from modelward.errors import ConfigInvalid, ExtraMissing, FileDamaged, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import torch
    from numpy.typing import NDArray
    from torch import nn

_BATCH = 1024
"""Samples per forward pass; bounds memory, changes no answer."""


@final
class TorchRuntime:
    """A module in evaluation mode, on the device where it is.

    Attributes:
        module: (n, *shape) float32 -> (n, k) or (n, 1) or (n,); for texts it is given a list of n str, and
            its factory has built its tokenizer into it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval()
        self._facts = Facts(origin="torch module")

    @property
    def facts(self) -> Facts:
        """A module says nothing about itself."""
        return self._facts

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Run the module without gradients."""
        import torch

        answers = []
        texts = x.dtype.kind == "O"
        numbers = x if texts else as_numbers(x, np.float32)
        if x.ndim == 0:
            raise ModelRaised("the model takes a batch of samples, not a single number")
        weight = next(self.module.parameters(), None)
        device = torch.device("cpu") if weight is None else weight.device
        for start in range(0, max(1, len(x)), _BATCH):
            part = np.array(numbers[start : start + _BATCH])
            with torch.no_grad():
                answer = self.module(part.tolist() if texts else torch.from_numpy(part).to(device))
                answers.append(answer.cpu().numpy())
        return np.concatenate(answers)


def load(spec: RuntimeSpec) -> TorchRuntime:
    """Build the module with the factory and fill it from a state_dict or safetensors file.

    Raises:
        ExtraMissing: torch or safetensors is not installed.
        ConfigInvalid: no factory was named, or it does not give a module.
        FileDamaged: the weights cannot be read as tensors alone.
        ShapeMismatch: names or shapes of the weights are not those of the module.
    """
    try:
        import torch
    except ImportError as error:
        raise ExtraMissing("torch", "torch") from error
    weights = _read_safetensors(spec.path) if spec.format == "safetensors" else _read_state_dict(spec.path)
    module = build(spec.factory, spec.import_from)
    if not isinstance(module, torch.nn.Module):
        raise ConfigInvalid(
            f"--factory {spec.factory} returned {type(module).__name__}, not a torch.nn.Module"
        )
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ShapeMismatch(
            f"{spec.path}: the weights do not fit --factory {spec.factory} ({' '.join(lines[1:2])[:200]})",
            advice="The factory must build the very architecture the weights were saved from.",
        ) from error
    return TorchRuntime(module)


def build(factory: str | None, import_from: str | None) -> object:
    """Call a factory that the user named; the one place where code named by a user is imported.

    Raises:
        ConfigInvalid: there is none, or it cannot be imported or called.
    """
    if factory is None:
        raise ConfigInvalid(
            "this file holds weights without an architecture",
            advice="Name the function that builds the module: --factory package.module:function.",
        )
    name, _, function = factory.partition(":")
    if not name or not function:
        raise ConfigInvalid(f"--factory {factory!r} is not of the form package.module:function")
    try:
        target = getattr(_module(name, import_from), function)
    except Exception as error:  # the user's own code runs here, and can raise anything
        raise ConfigInvalid(f"--factory {factory} cannot be imported ({_said(error)})") from error
    try:
        built: object = target()
    except Exception as error:  # as above
        raise ConfigInvalid(
            f"--factory {factory} cannot be called without arguments ({_said(error)})"
        ) from error
    return built


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _module(name: str, import_from: str | None) -> ModuleType:
    """Import a factory's module; one of the same name from another folder makes room for it."""
    if import_from is not None:
        if import_from not in sys.path:
            sys.path.insert(0, import_from)
        wanted = Path(import_from, *name.split(".")).with_suffix(".py")
        known = sys.modules.get(name)
        if (
            known is not None
            and wanted.is_file()
            and Path(known.__file__ or "").resolve() != wanted.resolve()
        ):
            sys.path.remove(import_from)
            sys.path.insert(0, import_from)
            del sys.modules[name]
            importlib.invalidate_caches()
    return importlib.import_module(name)


def _read_state_dict(path: str) -> Mapping[str, torch.Tensor]:
    import torch

    try:
        # weights_only builds tensors and plain containers and nothing else (torch >= 2.6).
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        KeyError,
        TypeError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FileDamaged(
            f"{path}: is not a state_dict of plain tensors ({reason})",
            advice="Save weights with torch.save(model.state_dict(), path) or as safetensors.",
        ) from error
    weights = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise FileDamaged(f"{path}: holds {type(content).__name__}, not a state_dict of plain tensors")
    return weights


def _read_safetensors(path: str) -> Mapping[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ExtraMissing("safetensors", "torch") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise FileDamaged(f"{path}: safetensors cannot read it ({str(error)[:200]})") from error
